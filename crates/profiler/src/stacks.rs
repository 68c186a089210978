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
    /// A call has put the address to return to into `slot`. Gives the innermost call that is open then: where the
    /// new one was made.
    pub(crate) fn leave(&mut self, slot: u64) -> Call {
        let stack = slot >> STACK_BITS;
        if stack != self.current {
            let next = self.others.remove(&stack).unwrap_or_default();
            let before = mem::replace(&mut self.open, next);
            self.others.insert(self.current, before);
            self.current = stack;
        }
        while self.open.pop_if(|open| open.slot <= slot).is_some() {}
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
        let from = stacks.leave(slot);
        stacks.enter(slot, call);
        from
    }

    #[test]
    fn a_return_leads_back_to_the_caller() {
        let mut stacks = Stacks::default();
        assert_eq!(called(&mut stacks, 0x3ff8, 1), ROOT);
        assert_eq!(called(&mut stacks, 0x3fe0, 2), 1);
        assert_eq!(stacks.leave(0x3fe0), 1);
        assert_eq!(called(&mut stacks, 0x3fd0, 3), 1);
        assert_eq!(stacks.leave(0x3fd0), 1);
        assert_eq!(stacks.leave(0x3ff8), ROOT);
    }

    #[test]
    fn each_stack_has_its_own_calls() {
        let mut stacks = Stacks::default();
        called(&mut stacks, 0x3ff8, 1);
        assert_eq!(called(&mut stacks, 0x7ff8, 2), ROOT);
        assert_eq!(called(&mut stacks, 0x3fe0, 3), 1);
        assert_eq!(stacks.leave(0x7ff8), ROOT);
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
        assert_eq!(stacks.leave(0x3ff0), 1);
    }
}
