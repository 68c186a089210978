// SPDX-License-Identifier: GPL-2.0-only
//! Named tests in the Rust part of a kernel module.
//!
//! A test is a function with the attribute [`ktest`]. It passes unless it fails, skips or returns an error. Its C part
//! lists and runs it, by `vexlab/ktest_main.h`; `docs/ktest.md` says how the two are put together.
//!
//! ```
//! use ktest::{Test, expect_eq, ktest, require};
//!
//! # fn half(number: u32) -> Option<u32> { (number % 2 == 0).then_some(number / 2) }
//! #[ktest]
//! fn halves(test: &mut Test) -> ktest::Result {
//!     expect_eq!(test, half(4), Some(2));
//!     let number = half(6);
//!     require!(test, number.is_some());
//!     Ok(())
//! }
//! ```
//!
//! A benchmark is a function with the attribute [`kbench`], which has [`Bench::iter`] measure something; see
//! `docs/bench.md`.
//!
//! ```
//! use ktest::{Bench, kbench, keep};
//!
//! # fn half(number: u64) -> u64 { number / 2 }
//! #[kbench]
//! fn halving(bench: &mut Bench) {
//!     bench.iter(|| keep(half(7)));
//! }
//! ```
//!
//! The parts of a crate that need no kernel are tested on the host as well: under `cargo test` the attribute makes
//! ordinary tests.
//!
//! A test can say which function of the interface between C and Rust it calls, and with arguments of which kinds. It is in
//! the module then, and vexlab's build looks whether it is so.
//!
//! ```
//! # use ktest::{Test, ktest};
//! #[ktest(name = "rust.sums", of = "example_sum: good edge")]
//! fn sums(_: &mut Test) {}
//! ```
//!
//! Two things are refused while compiling: a name that is none, and an attribute on something else.
//!
//! ```compile_fail
//! #[ktest::ktest(name = "two words")]
//! fn named(_: &mut ktest::Test) {}
//! ```
//!
//! ```compile_fail
//! #[ktest::ktest]
//! struct Function;
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

/// Benchmarks.
mod bench;
/// The macros that compare.
mod compare;

use core::ffi::c_char;
use core::fmt::{self, Debug, Write as _};

pub use bench::{Bench, bench_on_host, hide, keep};
pub use ktest_macros::{kbench, ktest};

/// Which layout [`Case`] and [`Test`] have: `KTEST_LAYOUT` in `vexlab/ktest.h`.
const LAYOUT: u32 = 3;

const PASSED: u32 = 0;
const FAILED: u32 = 1;
const SKIPPED: u32 = 2;

/// A test that runs: `struct ktest` in `vexlab/ktest.h`.
///
/// What it is told is bounded; what exceeds that is left out, and the report says so.
#[repr(C)]
pub struct Test {
    /// Has `size` bytes, which are nobody else's as long as the test runs; the first `used` of them are the text.
    text: *mut u8,
    size: usize,
    used: usize,
    outcome: u32,
    cut_off: u32,
}

impl Test {
    fn new(text: &mut [u8]) -> Self {
        Self { text: text.as_mut_ptr(), size: text.len(), used: 0, outcome: PASSED, cut_off: 0 }
    }

    /// The test has failed, for a reason of one line. It goes on.
    pub fn fail(&mut self, reason: fmt::Arguments<'_>) {
        self.failed();
        // What there is no room for is left out, and an error of what is formatted is no error of the test's.
        let _ = self.write_fmt(reason);
        self.push(b"\n");
    }

    /// As [`Test::fail`], for a reason that needs no formatting: `core::fmt` stays out of the module.
    pub fn fail_bytes(&mut self, reason: &[u8]) {
        self.failed();
        self.push(reason);
        self.push(b"\n");
    }

    /// The test can't be done here, for a reason of one line. It may return then. If it has failed, it stays so.
    pub fn skip(&mut self, reason: &str) {
        if self.outcome != FAILED {
            self.outcome = SKIPPED;
            self.push(reason.as_bytes());
            self.push(b"\n");
        }
    }

    /// Whether it has failed so far.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.outcome == FAILED
    }

    /// The reasons to skip don't matter any more.
    fn failed(&mut self) {
        if self.outcome == SKIPPED {
            self.used = 0;
        }
        self.outcome = FAILED;
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = self.size.saturating_sub(self.used);
        let count = room.min(bytes.len());
        if count < bytes.len() {
            self.cut_off = 1;
        }
        // SAFETY: needed to write where C has room. Of the `size` bytes at `text`, which nobody else uses while the
        // test runs, `room` are free behind the first `used`, and no more than those are written.
        unsafe { self.text.add(self.used).copy_from_nonoverlapping(bytes.as_ptr(), count) };
        self.used = self.used.saturating_add(count);
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> &[u8] {
        // SAFETY: needed to read what was written. The first `used` bytes at `text` were.
        unsafe { core::slice::from_raw_parts(self.text, self.used) }
    }
}

impl fmt::Write for Test {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

/// A test has failed, and has been told why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed;

/// What a test may return.
pub type Result = core::result::Result<(), Failed>;

/// What a test's function returns, and what it means.
pub trait Outcome {
    /// Tells the test.
    fn settle(self, test: &mut Test);
}

impl Outcome for () {
    fn settle(self, _: &mut Test) {}
}

impl<E: Debug> Outcome for core::result::Result<(), E> {
    fn settle(self, test: &mut Test) {
        if let (Err(error), false) = (self, test.has_failed()) {
            test.fail(format_args!("it returned the error {error:?}"));
        }
    }
}

/// What is called of a case.
#[repr(C)]
union Run {
    test: extern "C" fn(&mut Test),
    bench: extern "C" fn(&mut Bench),
}

const TEST: u32 = 0;
const BENCH: u32 = 1;

/// A test or a benchmark as it is found in the section `.ktests`, by reference: `struct ktest_case` in
/// `vexlab/ktest.h`.
#[repr(C)]
pub struct Case {
    layout: u32,
    kind: u32,
    name: *const c_char,
    run: Run,
}

// SAFETY: needed for a static. Nothing in it ever changes: the name is a constant text.
unsafe impl Sync for Case {}

impl Case {
    /// A test. `name` has letters, digits, `_`, `.`, `:` and `-`, and a NUL at its end.
    ///
    /// # Panics
    ///
    /// While compiling, if it is no such name.
    #[doc(hidden)]
    #[must_use]
    pub const fn new(name: &'static str, run: extern "C" fn(&mut Test)) -> Self {
        Self::of(name, TEST, Run { test: run })
    }

    /// A benchmark, as [`Case::new`].
    ///
    /// # Panics
    ///
    /// While compiling, if it is no such name.
    #[doc(hidden)]
    #[must_use]
    pub const fn bench(name: &'static str, run: extern "C" fn(&mut Bench)) -> Self {
        Self::of(name, BENCH, Run { bench: run })
    }

    const fn of(name: &'static str, kind: u32, run: Run) -> Self {
        assert!(is_name(name.as_bytes()), "the name of a test has letters, digits, `_`, `.`, `:` and `-`");
        Self { layout: LAYOUT, kind, name: name.as_ptr().cast(), run }
    }
}

/// What a test says of itself, as it is found in the section `.ktest_claims`: `struct ktest_claim` in `vexlab/ktest.h`.
#[doc(hidden)]
#[repr(C)]
pub struct Claim {
    test: &'static Case,
    of: *const c_char,
}

// SAFETY: needed for a static. Nothing in it ever changes: both are constants.
unsafe impl Sync for Claim {}

impl Claim {
    /// `of` is `FUNCTION: KINDS`, with a NUL at its end.
    #[must_use]
    pub const fn new(test: &'static Case, of: &'static str) -> Self {
        Self { test, of: of.as_ptr().cast() }
    }
}

const fn is_name(bytes: &[u8]) -> bool {
    let Some((0, name)) = bytes.split_last() else { return false };
    let mut rest = name;
    while let Some((byte, more)) = rest.split_first() {
        if !byte.is_ascii_alphanumeric() && !matches!(byte, b'_' | b'.' | b':' | b'-') {
            return false;
        }
        rest = more;
    }
    !name.is_empty() && name.len() <= 255
}

/// Runs a test on the host, where one that skips passes.
///
/// # Panics
///
/// When it fails.
#[doc(hidden)]
pub fn on_host<R: Outcome>(function: fn(&mut Test) -> R) {
    let mut text = [0; 2048];
    let mut test = Test::new(&mut text);
    function(&mut test).settle(&mut test);
    assert!(!test.has_failed(), "{}", core::str::from_utf8(test.said()).unwrap_or("it has failed"));
}

#[cfg(test)]
mod tests;
