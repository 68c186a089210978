// SPDX-License-Identifier: GPL-2.0-only
//! What a benchmark is handed. All of the measuring is C's, in `vexlab/kbench_main.h`; here is the loop.

use core::fmt;
use core::hint::black_box;

use crate::{Outcome, Test};

/// A benchmark that runs: `struct kbench` in `vexlab/kbench.h`.
#[repr(C)]
pub struct Bench {
    test: Test,
    turns: u64,
    begin: extern "C" fn(&mut Bench) -> u64,
    end: extern "C" fn(&mut Bench) -> u64,
    /// The runner's own.
    runner: [u64; 7],
}

impl Bench {
    /// Measures what the closure does: it is called again and again, with interrupts off, so it must not sleep. Its
    /// first call is not measured. To be used once.
    ///
    /// The closure's value has to be worked out, and is written to memory, which takes an instruction or two; with
    /// [`keep`] a number is kept without.
    #[inline(always)]
    pub fn iter<R>(&mut self, mut body: impl FnMut() -> R) {
        let mut left = (self.begin)(self);
        while left != 0 {
            while left != 0 {
                black_box(body());
                left = left.wrapping_sub(1);
            }
            left = (self.end)(self);
        }
    }

    /// It can't be measured, for a reason of one line: as [`Test::fail`].
    pub fn fail(&mut self, reason: fmt::Arguments<'_>) {
        self.test.fail(reason);
    }

    /// As [`Test::fail_bytes`].
    pub fn fail_bytes(&mut self, reason: &[u8]) {
        self.test.fail_bytes(reason);
    }

    /// It can't be measured here, for a reason of one line: as [`Test::skip`].
    pub fn skip(&mut self, reason: &str) {
        self.test.skip(reason);
    }

    /// What a benchmark's function returned.
    #[doc(hidden)]
    pub fn settle<R: Outcome>(&mut self, outcome: R) {
        outcome.settle(&mut self.test);
    }
}

/// The number has to be worked out; to have it takes no instruction.
#[inline(always)]
pub fn keep(number: u64) {
    #[cfg(target_pointer_width = "64")]
    // SAFETY: needed because `black_box` writes to memory. There is no instruction in it.
    unsafe {
        core::arch::asm!("/* {} */", in(reg) number, options(nomem, nostack, preserves_flags));
    }
    #[cfg(not(target_pointer_width = "64"))]
    black_box(number);
}

/// The same number, of which the compiler knows nothing any more: what is computed of it is computed in each turn.
#[inline(always)]
#[must_use]
pub fn hide(number: u64) -> u64 {
    #[cfg(target_pointer_width = "64")]
    {
        let mut hidden = number;
        // SAFETY: needed because `black_box` writes to memory. There is no instruction in it.
        unsafe {
            core::arch::asm!("/* {} */", inout(reg) hidden, options(nomem, nostack, preserves_flags));
        }
        hidden
    }
    #[cfg(not(target_pointer_width = "64"))]
    black_box(number)
}

/// Goes through a benchmark once on the host, where nothing is measured.
///
/// # Panics
///
/// When it fails.
#[doc(hidden)]
pub fn bench_on_host<R: Outcome>(function: fn(&mut Bench) -> R) {
    extern "C" fn begin(bench: &mut Bench) -> u64 {
        bench.turns
    }
    extern "C" fn end(_: &mut Bench) -> u64 {
        0
    }
    let mut text = [0; 2048];
    let mut bench = Bench { test: Test::new(&mut text), turns: 1, begin, end, runner: [0; 7] };
    let outcome = function(&mut bench);
    bench.settle(outcome);
    let Bench { test, .. } = bench;
    assert!(!test.has_failed(), "{}", core::str::from_utf8(test.said()).unwrap_or("it has failed"));
}
