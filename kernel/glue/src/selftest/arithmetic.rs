// SPDX-License-Identifier: GPL-2.0
//! Among them what the processor has no instruction for, which `compiler_builtins` adds.

use core::hint::black_box;

use ktest::{Test, ktest};

use super::report::Expect;

#[ktest(name = "rust.arithmetic.checked")]
fn checked(report: &mut Test) {
    let (least, greatest) = (black_box(i64::MIN), black_box(i64::MAX));
    let (one, none) = (black_box(1), black_box(0));
    report.checked("greatest + 1", None, greatest.checked_add(one));
    report.checked("greatest + 0", Some(i64::MAX), greatest.checked_add(none));
    report.checked("least - 1", None, least.checked_sub(one));
    report.checked("least - -1", Some(-i64::MAX), least.checked_sub(-one));
    report.checked("greatest * 2", None, greatest.checked_mul(black_box(2)));
    report.checked("-least", None, least.checked_neg());
    report.checked("least / -1", None, least.checked_div(-one));
    report.checked("1 / 0", None, one.checked_div(none));
    report.checked("1 % 0", None, one.checked_rem(none));
    report.checked("-7 / 2", Some(-3), black_box(-7_i64).checked_div(black_box(2)));
    report.checked("-7 % 2", Some(-1), black_box(-7_i64).checked_rem(black_box(2)));
    report.checked("1 << 64", None, one.checked_shl(black_box(64)));
    report.checked("3 to the 40th", None, black_box(3_i64).checked_pow(black_box(40)));
    report.checked(
        "3 to the 39th",
        Some(4_052_555_153_018_976_267),
        black_box(3_i64).checked_pow(black_box(39)),
    );
}

#[ktest(name = "rust.arithmetic.wrapping")]
fn wrapping(report: &mut Test) {
    let greatest = black_box(u64::MAX);
    report.number("wrapping add", 4, greatest.wrapping_add(black_box(5)));
    report.number("saturating add", u64::MAX, greatest.saturating_add(black_box(5)));
    report.number("wrapping multiply", u64::MAX - 1, greatest.wrapping_mul(black_box(2)));
    let (sum, carried) = black_box(200_u8).overflowing_add(black_box(100));
    report.number("overflowing add", 44, sum.into());
    report.holds("its carry", carried);
    report.signed("wrapping negate", i64::MIN, black_box(i64::MIN).wrapping_neg());
}

#[ktest(name = "rust.arithmetic.wide")]
fn wide(report: &mut Test) {
    let product = u128::from(black_box(u64::MAX)) * u128::from(black_box(u64::MAX - 2));
    report.number("product, low half", 3, product as u64);
    report.number("product, high half", u64::MAX - 3, (product >> 64) as u64);
    let quotient = product / black_box(1_000_000_007_u128);
    let rest = product % black_box(1_000_000_007_u128);
    report.holds("quotient and rest give the product", quotient * 1_000_000_007 + rest == black_box(product));
    report.holds("the rest is less than the divisor", rest < 1_000_000_007);
    let signed = black_box(-1_i128 << 100) / black_box(1 << 90);
    report.signed("signed quotient", -1024, signed as i64);
}

#[ktest(name = "rust.arithmetic.bits")]
fn bits(report: &mut Test) {
    let value = black_box(0x0123_4567_89ab_cdef_u64);
    report.number("bits set", 32, value.count_ones().into());
    report.number("leading zeros", 7, value.leading_zeros().into());
    report.number("zeros of zero", 64, black_box(0_u64).trailing_zeros().into());
    report.number("rotated", 0x1234_5678_9abc_def0, value.rotate_left(black_box(4)));
    report.number("bytes swapped", 0xefcd_ab89_6745_2301, value.swap_bytes());
    report.bytes("little-endian", &[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01], &value.to_le_bytes());
    report.number("from big-endian", 0x0102_0304, u32::from_be_bytes(black_box([1, 2, 3, 4])).into());
    report.number("square root", 99, black_box(9999_u64).isqrt());
}

#[ktest(name = "rust.arithmetic.conversion")]
fn conversion(report: &mut Test) {
    report.holds("300 is no u8", u8::try_from(black_box(300_u64)).is_err());
    report.holds("-1 is no u64", u64::try_from(black_box(-1_i64)).is_err());
    report.number("truncated", 44, (black_box(300_u64) as u8).into());
    report.signed("sign extended", -2, (black_box(0xfe_u8) as i8).into());
    report.checked("parsed", Some(-120), black_box("-120").parse().ok());
    report.checked("parsed, out of range", None, black_box("9223372036854775808").parse().ok());
    report.checked("parsed, no number", None, black_box("12x").parse().ok());
}
