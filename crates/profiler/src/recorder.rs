// SPDX-License-Identifier: GPL-2.0-only
use std::collections::HashMap;
use std::fmt::Write;

use crate::stacks::{Call, ROOT, Stacks};

/// A block of instructions, by its number.
pub(crate) type BlockId = u32;

/// Where the kernel's addresses begin.
const KERNEL: u64 = 1 << 63;

/// The most calls that are told from each other; what is called beyond counts for its caller.
const MOST_CALLS: usize = 1 << 22;

/// Instructions that are executed one after another, as QEMU has translated them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    /// Where it begins. Of blocks of programs only the length counts.
    pub(crate) address: u64,
    pub(crate) instructions: u32,
    pub(crate) code: Vec<u8>,
}

/// What was executed between the marks.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    is_open: bool,
    blocks: Vec<Known>,
    numbers: HashMap<Block, BlockId>,
    /// From where each call was made, and where it returns to. The first is the root.
    calls: Vec<(Call, u64)>,
    known_calls: HashMap<(Call, u64), Call>,
    stacks: Stacks,
    /// The innermost call that is open.
    now: Call,
    /// Whether the last return was from a place where no call had put anything.
    is_astray: bool,
    /// How often each pair was executed.
    counts: Vec<(Call, BlockId, u64)>,
    slots: HashMap<(Call, BlockId), u32>,
}

/// A block, and where it was counted the last time.
#[derive(Debug)]
struct Known {
    block: Block,
    is_program: bool,
    call: Call,
    slot: u32,
}

/// No place in the counts.
const NOWHERE: u32 = u32::MAX;

impl Recorder {
    /// The number of a block that was translated, once more perhaps.
    pub(crate) fn number(&mut self, mut block: Block) -> BlockId {
        let is_program = block.address < KERNEL;
        if is_program {
            block.address = 0;
            block.code.clear();
        }
        if let Some(number) = self.numbers.get(&block) {
            return *number;
        }
        let number = self.blocks.len() as BlockId;
        self.numbers.insert(block.clone(), number);
        self.blocks.push(Known { block, is_program, call: ROOT, slot: NOWHERE });
        number
    }

    /// Counting begins: what is on the stacks is not known any more.
    pub(crate) fn begin(&mut self) {
        self.is_open = true;
        self.stacks = Stacks::default();
        self.now = ROOT;
        self.is_astray = false;
        if self.calls.is_empty() {
            self.calls.push((ROOT, 0));
        }
    }

    /// Counting ends. Gives what was counted so far, if it had begun.
    pub(crate) fn end(&mut self) -> Option<String> {
        std::mem::take(&mut self.is_open).then(|| self.text())
    }

    /// A block is executed.
    pub(crate) fn executed(&mut self, number: BlockId) {
        if !self.is_open {
            return;
        }
        let Some(known) = self.blocks.get_mut(number as usize) else { return };
        if known.is_program {
            // Whoever comes from a program begins at the top of a stack.
            self.now = ROOT;
        } else if self.is_astray && self.calls[self.now as usize].1 == known.block.address {
            // It goes on where the innermost call returns to: that had moved its address, as the kernel does where it
            // saves registers for an interrupt (`error_entry` in `arch/x86/entry/entry_64.S`).
            self.now = self.stacks.leave_innermost();
        }
        self.is_astray = false;
        if known.slot == NOWHERE || known.call != self.now {
            let new = self.counts.len() as u32;
            known.call = self.now;
            known.slot = *self.slots.entry((self.now, number)).or_insert(new);
            if known.slot == new {
                self.counts.push((self.now, number, 0));
            }
        }
        self.counts[known.slot as usize].2 += 1;
    }

    /// A call has put the address to return to into this place of the stack.
    pub(crate) fn called(&mut self, slot: u64, returns_to: u64) {
        if !self.is_open || slot < KERNEL {
            return;
        }
        let (from, _) = self.stacks.leave(slot);
        self.now = self.call(from, returns_to);
        self.stacks.enter(slot, self.now);
    }

    /// A return has read where to go on from this place of the stack.
    pub(crate) fn returned(&mut self, slot: u64) {
        if self.is_open && slot >= KERNEL {
            let (now, is_known) = self.stacks.leave(slot);
            (self.now, self.is_astray) = (now, !is_known);
        }
    }

    fn call(&mut self, from: Call, returns_to: u64) -> Call {
        if let Some(call) = self.known_calls.get(&(from, returns_to)) {
            return *call;
        }
        if self.calls.len() >= MOST_CALLS {
            return from;
        }
        let call = self.calls.len() as Call;
        self.calls.push((from, returns_to));
        self.known_calls.insert((from, returns_to), call);
        call
    }

    /// All that was counted, as lines of words; numbers are decimal, addresses and code hexadecimal:
    ///
    /// ```text
    /// vexlab-profile 1
    /// block NUMBER ADDRESS INSTRUCTIONS CODE      `-` for the code of programs
    /// call NUMBER FROM RETURNS-TO                 FROM is a smaller number; 0 is the root, which has no line
    /// count CALL BLOCK EXECUTIONS
    /// end
    /// ```
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("vexlab-profile 1\n");
        // Writing to a text doesn't fail.
        for (number, Known { block, .. }) in
            self.blocks.iter().enumerate().filter(|(_, known)| known.slot != NOWHERE)
        {
            let _ = write!(text, "block {number} {:x} {} ", block.address, block.instructions);
            if block.code.is_empty() {
                text.push('-');
            }
            for byte in &block.code {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        for (number, (from, returns_to)) in self.calls.iter().enumerate().skip(1) {
            let _ = writeln!(text, "call {number} {from} {returns_to:x}");
        }
        for (call, block, executions) in &self.counts {
            let _ = writeln!(text, "count {call} {block} {executions}");
        }
        text.push_str("end\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(recorder: &mut Recorder, address: u64, instructions: u32) -> BlockId {
        recorder.number(Block { address, instructions, code: vec![0x90; instructions as usize] })
    }

    #[test]
    fn what_is_executed_counts_for_the_calls_that_are_open() {
        let mut recorder = Recorder::default();
        let program = block(&mut recorder, 0x40_0000, 3);
        let outer = block(&mut recorder, KERNEL + 0x100, 2);
        let inner = block(&mut recorder, KERNEL + 0x200, 1);
        recorder.executed(outer);
        recorder.begin();
        recorder.executed(program);
        recorder.called(KERNEL + 0x3ff8, KERNEL + 0x50);
        recorder.executed(outer);
        for _ in 0..3 {
            recorder.called(KERNEL + 0x3ff0, KERNEL + 0x105);
            recorder.executed(inner);
            recorder.returned(KERNEL + 0x3ff0);
        }
        recorder.executed(outer);
        // It went back to the program by another way.
        recorder.executed(program);
        let text = recorder.end().unwrap();
        recorder.executed(inner);
        assert!(recorder.end().is_none());
        assert_eq!(
            text,
            "vexlab-profile 1\nblock 0 0 3 -\nblock 1 8000000000000100 2 9090\nblock 2 8000000000000200 1 90\n\
             call 1 0 8000000000000050\ncall 2 1 8000000000000105\n\
             count 0 0 2\ncount 1 1 2\ncount 2 2 3\nend\n"
        );
    }

    /// Translated once more it is the same; another code at its place is another one.
    #[test]
    fn a_block_is_what_it_does() {
        let mut recorder = Recorder::default();
        let first = block(&mut recorder, KERNEL, 2);
        assert_eq!(block(&mut recorder, KERNEL, 2), first);
        assert_ne!(
            recorder.number(Block { address: KERNEL, instructions: 2, code: vec![0x90, 0xc3] }),
            first
        );
        // Nobody asks where a program was.
        assert_eq!(block(&mut recorder, 0x1000, 2), block(&mut recorder, 0x2000, 2));
    }

    /// As `error_entry` does it.
    #[test]
    fn a_call_may_return_from_another_place() {
        let mut recorder = Recorder::default();
        let entry = block(&mut recorder, KERNEL + 0x100, 2);
        let after = block(&mut recorder, KERNEL + 0x105, 1);
        let elsewhere = block(&mut recorder, KERNEL + 0x300, 1);
        recorder.begin();
        recorder.called(KERNEL + 0x3ff0, KERNEL + 0x105);
        recorder.executed(entry);
        recorder.returned(KERNEL + 0x3f00);
        recorder.executed(after);
        // A return that is a jump leads elsewhere, and leaves nothing.
        recorder.called(KERNEL + 0x3ff0, KERNEL + 0x105);
        recorder.returned(KERNEL + 0x3f00);
        recorder.executed(elsewhere);
        let text = recorder.end().unwrap();
        let counts: Vec<&str> = text.lines().filter(|line| line.starts_with("count")).collect();
        assert_eq!(counts, ["count 1 0 1", "count 0 1 1", "count 1 2 1"]);
    }

    #[test]
    fn programs_stacks_are_not_followed() {
        let mut recorder = Recorder::default();
        recorder.begin();
        recorder.called(0x7fff_0000_0ff8, 0x40_0005);
        recorder.returned(0x7fff_0000_0ff8);
        assert_eq!(recorder.end().unwrap(), "vexlab-profile 1\nend\n");
    }
}
