// SPDX-License-Identifier: GPL-2.0-only
//! Under `cargo test` the attribute makes ordinary tests.

use ktest::{Bench, Test, expect, expect_eq, expect_ne, kbench, keep, ktest, require_eq};

fn half(number: u32) -> Option<u32> {
    number.is_multiple_of(2).then_some(number / 2)
}

#[ktest]
fn halves(test: &mut Test) -> ktest::Result {
    expect_eq!(test, half(4), Some(2));
    expect_ne!(test, half(4), half(6));
    require_eq!(test, half(3), None);
    Ok(())
}

/// Its name in a kernel makes no difference here.
#[ktest(name = "halves.of-nothing")]
fn of_nothing(test: &mut Test) {
    expect!(test, half(0) == Some(0));
}

/// A benchmark is gone through once.
#[kbench(name = "halves.speed")]
fn halving(bench: &mut Bench) {
    bench.iter(|| keep(half(4).map_or(0, u64::from)));
}
