// SPDX-License-Identifier: GPL-2.0-only
//! Instructions that read a slot of the global offset table: where they are, and what they become.

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, Instruction};
use object::elf;

/// The relocation that goes with a rewritten instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patch {
    /// Its type.
    pub(super) kind: elf::RelocationType,
    /// How many bytes earlier than before the field begins.
    pub(super) earlier: u64,
    /// Its addend.
    pub(super) addend: i64,
}

/// What a field relative to the next instruction has as its addend when it ends the instruction.
pub(super) const AT_END: i64 = -4;

/// A one-byte `nop`.
const NOP: u8 = 0x90;

/// REX.W says that the operand has 64 bits; REX.R is the high bit of the register in ModRM's middle.
const REX_W: u8 = 8;
const REX_R: u8 = 4;

/// Rewrites one instruction so that it has the symbol's address in itself. `code` is the instruction, whose
/// last four bytes are the field. `constant` says that the address is a number rather than a place near
/// the code. `None`, and nothing is changed, when the instruction has no such form.
///
/// The forms are those of the x86-64 psABI, B.2 "Optimize GOTPCRELX Relocations", with three choices:
///
/// * An immediate operand is `R_X86_64_32S`, whatever the operand's size: in the kernel's code model every
///   address is in the top 2 GiB, so it is its lower half with the sign extended.
/// * A call is followed by its `nop` (`ld -z call-nop=suffix-nop`). GNU ld's default, a prefix, would make
///   a six-byte call; the kernel patches call sites as `e8` and four bytes (`arch/x86/kernel/callthunks.c`).
/// * `push` is rewritten too, as `push $address` and a `nop`.
pub(super) fn make_direct(code: &mut [u8], constant: bool) -> Option<Patch> {
    let pc_relative = Patch { kind: elf::R_X86_64_PC32, earlier: 0, addend: AT_END };
    let branch = Patch { kind: elf::R_X86_64_PLT32, earlier: 1, addend: AT_END };
    let immediate = Patch { kind: elf::R_X86_64_32S, earlier: 0, addend: 0 };
    let (rex, opcode, modrm) = match *code {
        [opcode, modrm, _, _, _, _] => (None, opcode, modrm),
        [rex @ 0x40..=0x4f, opcode, modrm, _, _, _, _] => (Some(rex), opcode, modrm),
        _ => return None,
    };
    // Only `disp32(%rip)`, which is mod 00 and r/m 101.
    if modrm & 0b11_000_111 != 0b00_000_101 {
        return None;
    }
    let register = modrm >> 3 & 7;
    let (opcode, modrm, patch) = match (opcode, register) {
        // mov slot, %reg: lea address, %reg
        (0x8b, _) if !constant => {
            let at = code.len() - 6;
            code[at] = 0x8d;
            code[at + 2..].fill(0);
            return Some(pc_relative);
        }
        // mov slot, %reg: mov $address, %reg
        (0x8b, _) => (0xc7, 0xc0 | register, immediate),
        // test %reg, slot: test $address, %reg
        (0x85, _) => (0xf7, 0xc0 | register, immediate),
        // add, or, adc, sbb, and, sub, xor, cmp: the operation's number moves from the opcode to ModRM.
        (0x03 | 0x0b | 0x13 | 0x1b | 0x23 | 0x2b | 0x33 | 0x3b, _) => {
            (0x81, 0xc0 | opcode & 0x38 | register, immediate)
        }
        (0xff, 2 | 4 | 6) if rex.is_none() => {
            let (opcode, patch) = match register {
                2 => (0xe8, branch),
                4 => (0xe9, branch),
                _ => (0x68, Patch { earlier: 1, ..immediate }),
            };
            code.copy_from_slice(&[opcode, 0, 0, 0, 0, NOP]);
            return Some(patch);
        }
        _ => return None,
    };
    let at = code.len() - 6;
    if let Some(rex) = rex {
        // The register moves from ModRM's middle to its end, and its high bit with it, from REX.R to REX.B.
        code[0] = 0x40 | rex & REX_W | (rex & REX_R) >> 2;
    }
    code[at] = opcode;
    code[at + 1] = modrm;
    code[at + 2..].fill(0);
    Some(patch)
}

/// Finds the instructions of a section by decoding it from known starts, once and forwards.
pub(super) struct Walk<'a> {
    decoder: Decoder<'a>,
    starts: &'a [u64],
    instruction: Instruction,
    /// The last instruction, and where its field relative to the next instruction begins.
    last: (Range<u64>, Option<u64>),
    /// Whether what was decoded since the last known start makes sense.
    sane: bool,
}

impl<'a> Walk<'a> {
    /// `starts` are offsets at which an instruction begins, ascending.
    pub(super) fn new(code: &'a [u8], starts: &'a [u64]) -> Self {
        let decoder = Decoder::new(64, code, DecoderOptions::NONE);
        Self { decoder, starts, instruction: Instruction::default(), last: (0..0, None), sane: true }
    }

    /// The instruction whose last four bytes are the field at this offset, relative to the next
    /// instruction. Offsets have to be asked for in ascending order.
    pub(super) fn ending_with(&mut self, field: u64) -> Option<Range<u64>> {
        let known = self.starts.partition_point(|start| *start <= field);
        let start = known.checked_sub(1).and_then(|index| self.starts.get(index)).copied().unwrap_or(0);
        let agrees = self.sane && start == self.last.0.end;
        if start > self.last.0.start && !agrees {
            self.last = (start..start, None);
            self.sane = true;
        }
        while self.sane && self.last.0.end <= field {
            let at = self.last.0.end;
            self.decoder.set_position(usize::try_from(at).ok()?).ok()?;
            if !self.decoder.can_decode() {
                return None;
            }
            self.decoder.decode_out(&mut self.instruction);
            self.sane = !self.instruction.is_invalid();
            let offsets = self.decoder.get_constant_offsets(&self.instruction);
            let relative = self.instruction.is_ip_rel_memory_operand() && offsets.displacement_size() == 4;
            let displacement = relative.then(|| at + offsets.displacement_offset() as u64);
            self.last = (at..at + self.instruction.len() as u64, displacement);
        }
        let (range, displacement) = &self.last;
        (self.sane && *displacement == Some(field) && range.end == field + 4).then(|| range.clone())
    }
}
