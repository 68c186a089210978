// SPDX-License-Identifier: GPL-2.0-only

/// The instruction that marks the beginning of what is to be counted: `nopl 0x6c786576(%rax,%rax,1)`, a `nop` of
/// eight bytes with a number that no compiler pads with. The agent's `sys::mark` has the same.
const BEGIN: [u8; 8] = *b"\x0f\x1f\x84\x00vexl";

/// The one that marks the end.
const END: [u8; 8] = *b"\x0f\x1f\x84\x00lxev";

/// What an instruction does that has to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Pushes where it is to be returned to.
    Call,
    /// Takes from the stack where to go on.
    Return,
    /// Counting begins.
    Begin,
    /// Counting ends.
    End,
    /// Nothing that matters.
    Other,
}

/// What the instruction with these bytes does.
///
/// Source: Intel's Software Developer's Manual, volume 2: near `CALL` is E8 or FF /2, near `RET` C3 or C2.
pub(crate) fn does(bytes: &[u8]) -> Does {
    if bytes == BEGIN {
        return Does::Begin;
    }
    if bytes == END {
        return Does::End;
    }
    let is_prefix =
        |byte: &u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x40..=0x4f | 0x64..=0x67 | 0xf2 | 0xf3);
    let first = bytes.iter().position(|byte| !is_prefix(byte)).unwrap_or(bytes.len());
    match bytes[first..] {
        [0xe8, ..] => Does::Call,
        [0xff, operand, ..] if operand >> 3 & 7 == 2 => Does::Call,
        [0xc3 | 0xc2, ..] => Does::Return,
        _ => Does::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_and_returns_are_known_with_their_prefixes() {
        let all: [(&[u8], Does); 12] = [
            (&[0xe8, 1, 0, 0, 0], Does::Call),
            (&[0xff, 0xd0], Does::Call),
            (&[0x41, 0xff, 0xd3], Does::Call),
            (&[0xff, 0x15, 0, 0, 0, 0], Does::Call),
            (&[0x2e, 0xe8, 1, 0, 0, 0], Does::Call),
            (&[0xff, 0xe0], Does::Other),
            (&[0xff, 0x30], Does::Other),
            (&[0xc3], Does::Return),
            (&[0xf3, 0xc3], Does::Return),
            (&[0xc2, 8, 0], Does::Return),
            (&[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0], Does::Other),
            (&[], Does::Other),
        ];
        for (bytes, expected) in all {
            assert_eq!(does(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn only_the_marks_are_marks() {
        assert_eq!(does(&BEGIN), Does::Begin);
        assert_eq!(does(&END), Does::End);
        let mut other = BEGIN;
        other[7] ^= 1;
        assert_eq!(does(&other), Does::Other);
    }
}
