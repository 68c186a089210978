// SPDX-License-Identifier: GPL-2.0-only
use std::collections::HashMap;
use std::mem;

/// A call in the tree of calls, by its number. Calls that lead to the same place by the same way are one.
pub(crate) type Call = u32;

/// What is not below any call that is known.
pub(crate) const ROOT: Call = 0;

/// Addresses with the same bits above these are on one stack: the kernel aligns its stacks to their size.
///
/// Source: `THREAD_SIZE` and `IRQ_STACK_SIZE` in `arch/x86/include/asm/page_64_types.h` of Linux.
const STACK_BITS: u32 = 14;

/// A call that was not returned from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    /// Where on the stack it has put the address to return to.
    slot: u64,
    call: Call,
}

/// The calls that are open on each stack.
///
/// A stack grows down. So whoever calls or returns at some place has left all that is below: what was never
/// returned from (a thread that ended, a jump out of a function, a return that was a jump) goes without further
/// ado when its place is used again.
#[derive(Debug, Default)]
pub(crate) struct Stacks {
    /// Which stack `open` is.
    current: u64,
    open: Vec<Open>,
    others: HashMap<u64, Vec<Open>>,
}

impl Stacks {
    /// All that was called below `slot`, or had put its address to return to there, was left. Gives the innermost call
    /// that is open then, and whether there was one of just that place.
    pub(crate) fn leave(&mut self, slot: u64) -> (Call, bool) {
        let stack = slot >> STACK_BITS;
        if stack != self.current {
            let next = self.others.remove(&stack).unwrap_or_default();
            let before = mem::replace(&mut self.open, next);
            self.others.insert(self.current, before);
            self.current = stack;
        }
        let mut is_known = false;
        while let Some(open) = self.open.pop_if(|open| open.slot <= slot) {
            is_known = open.slot == slot;
        }
        (self.innermost(), is_known)
    }

    /// The innermost call was left from another place of the stack. Gives the one around it.
    pub(crate) fn leave_innermost(&mut self) -> Call {
        self.open.pop();
        self.innermost()
    }

    fn innermost(&self) -> Call {
        self.open.last().map_or(ROOT, |open| open.call)
    }

    /// The call that was made there.
    pub(crate) fn enter(&mut self, slot: u64, call: Call) {
        self.open.push(Open { slot, call });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(stacks: &mut Stacks, slot: u64, call: Call) -> Call {
        let (from, _) = stacks.leave(slot);
        stacks.enter(slot, call);
        from
    }

    #[test]
    fn a_return_leads_back_to_the_caller() {
        let mut stacks = Stacks::default();
        assert_eq!(called(&mut stacks, 0x3ff8, 1), ROOT);
        assert_eq!(called(&mut stacks, 0x3fe0, 2), 1);
        assert_eq!(stacks.leave(0x3fe0), (1, true));
        assert_eq!(called(&mut stacks, 0x3fd0, 3), 1);
        assert_eq!(stacks.leave(0x3fd0), (1, true));
        assert_eq!(stacks.leave(0x3ff8), (ROOT, true));
    }

    #[test]
    fn each_stack_has_its_own_calls() {
        let mut stacks = Stacks::default();
        called(&mut stacks, 0x3ff8, 1);
        assert_eq!(called(&mut stacks, 0x7ff8, 2), ROOT);
        assert_eq!(called(&mut stacks, 0x3fe0, 3), 1);
        assert_eq!(stacks.leave(0x7ff8), (ROOT, true));
    }

    /// A thread that ends never returns, and the next one that gets its stack begins at the top.
    #[test]
    fn what_was_never_returned_from_is_forgotten() {
        let mut stacks = Stacks::default();
        called(&mut stacks, 0x3ff8, 1);
        called(&mut stacks, 0x3f00, 2);
        called(&mut stacks, 0x3e00, 3);
        assert_eq!(called(&mut stacks, 0x3f80, 4), 1);
        assert_eq!(called(&mut stacks, 0x3ff8, 5), ROOT);
    }

    /// A retpoline puts another address where its own call has put one, and returns to it.
    #[test]
    fn a_return_to_elsewhere_leaves_the_call() {
        let mut stacks = Stacks::default();
        called(&mut stacks, 0x3ff8, 1);
        called(&mut stacks, 0x3ff0, 2);
        assert_eq!(stacks.leave(0x3ff0), (1, true));
    }

    /// A function may have moved the address that it returns to.
    #[test]
    fn a_return_from_another_place_is_known_as_one() {
        let mut stacks = Stacks::default();
        called(&mut stacks, 0x3ff8, 1);
        called(&mut stacks, 0x3ff0, 2);
        assert_eq!(stacks.leave(0x3f00), (2, false));
        assert_eq!(stacks.leave_innermost(), 1);
    }
}
