// SPDX-License-Identifier: GPL-2.0-only
//! What the plugin has written: `Recorder::text` in `crates/profiler` says what is on each line.

use std::collections::HashMap;

/// The first line.
const FORM: &str = "vexlab-profile 1";

/// A block of instructions, as the emulator has executed them one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins in the machine; 0 for a block of a program.
    pub(super) address: u64,
    pub(super) instructions: u64,
    pub(super) code: Vec<u8>,
}

/// All that was counted in a machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) blocks: HashMap<u32, Block>,
    /// The calls that are told from each other: in which one it was made, and where it returns to. The first is
    /// the root, and each is made in an earlier one.
    pub(super) calls: Vec<(usize, u64)>,
    /// How often a block was executed below a call.
    pub(super) counts: Vec<(usize, u32, u64)>,
}

impl Raw {
    /// Reads it. Gives the line that is none of a profile, or what is missing.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some(FORM) {
            return Err(format!("it does not begin with `{FORM}`"));
        }
        let mut raw = Self { calls: vec![(0, 0)], ..Self::default() };
        for line in lines.by_ref() {
            if line == "end" {
                return Ok(raw);
            }
            raw.take(line).ok_or_else(|| format!("`{}` is no line of one", line.escape_debug()))?;
        }
        Err("it has no end".to_owned())
    }

    fn take(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["block", number, address, instructions, code] => {
                let address = hexadecimal(address)?;
                let block = Block { address, instructions: instructions.parse().ok()?, code: bytes(code)? };
                self.blocks.insert(number.parse().ok()?, block);
            }
            ["call", number, from, returns_to] => {
                let (number, from): (usize, usize) = (number.parse().ok()?, from.parse().ok()?);
                if number != self.calls.len() || from >= number {
                    return None;
                }
                self.calls.push((from, hexadecimal(returns_to)?));
            }
            ["count", call, block, executions] => {
                let (call, block) = (call.parse().ok()?, block.parse().ok()?);
                if call >= self.calls.len() || !self.blocks.contains_key(&block) {
                    return None;
                }
                self.counts.push((call, block, executions.parse().ok()?));
            }
            _ => return None,
        }
        Some(())
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    match text {
        "-" => Some(Vec::new()),
        _ if text.len().is_multiple_of(2) && text.is_ascii() => {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the recorder's own test.
    const TEXT: &str = "vexlab-profile 1\nblock 0 0 3 -\nblock 1 8000000000000100 2 9090\n\
        call 1 0 8000000000000050\ncall 2 1 8000000000000105\ncount 0 0 2\ncount 2 1 3\nend\n";

    #[test]
    fn what_the_plugin_writes_is_read() {
        let raw = Raw::parse(TEXT).unwrap();
        let block = Block { address: 0x8000_0000_0000_0100, instructions: 2, code: vec![0x90, 0x90] };
        assert_eq!(raw.blocks[&1], block);
        assert_eq!(raw.calls, [(0, 0), (0, 0x8000_0000_0000_0050), (1, 0x8000_0000_0000_0105)]);
        assert_eq!(raw.counts, [(0, 0, 2), (2, 1, 3)]);
    }

    #[test]
    fn what_is_none_is_refused() {
        let problem = |text: &str| Raw::parse(text).unwrap_err();
        insta::assert_snapshot!(problem("what?"), @"it does not begin with `vexlab-profile 1`");
        insta::assert_snapshot!(problem(TEXT.trim_end_matches("end\n")), @"it has no end");
        let with = |line: &str| problem(&TEXT.replace("end\n", &format!("{line}\nend\n")));
        insta::assert_snapshot!(with("call 3 3 10"), @"`call 3 3 10` is no line of one");
        insta::assert_snapshot!(with("call 9 1 10"), @"`call 9 1 10` is no line of one");
        insta::assert_snapshot!(with("count 3 1 1"), @"`count 3 1 1` is no line of one");
        insta::assert_snapshot!(with("count 2 7 1"), @"`count 2 7 1` is no line of one");
        insta::assert_snapshot!(with("block 4 1 1 9"), @"`block 4 1 1 9` is no line of one");
    }
}
