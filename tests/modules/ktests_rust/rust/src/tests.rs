// SPDX-License-Identifier: GPL-2.0
//! They find each other's names nowhere: the link collects them.

use ktest::{Test, expect, expect_eq, ktest, require};

use crate::ktests_rust_divisor;

#[ktest]
fn divisors(test: &mut Test) {
    expect_eq!(test, ktests_rust_divisor(48, 36), 12);
    expect!(test, ktests_rust_divisor(7, 5) == 1);
}

#[ktest(name = "rust.wrong-divisors")]
fn wrong_divisors(test: &mut Test) -> ktest::Result {
    expect_eq!(test, Some(ktests_rust_divisor(48, 36)), Some(13));
    require!(test, ktests_rust_divisor(1, 2) > 1);
    test.fail(format_args!("not reached"));
    Ok(())
}

#[ktest]
fn returns_an_error(_: &mut Test) -> Result<(), &'static str> {
    Err("no divisor")
}

#[ktest]
fn skips(test: &mut Test) {
    test.skip("nothing to divide");
}
