// SPDX-License-Identifier: GPL-2.0
//! The tests of this boundary from its other side are in `selftest.c`.

use core::{
    ffi::{CStr, c_void},
    hint::black_box,
    ptr,
};

use ktest::{Test, ktest};

use super::report::Expect;
use crate::{c, errno::Error};

/// Sum of bytes, by C.
fn sum(bytes: &[u8]) -> u64 {
    // SAFETY: needed to call C. Pointer and length are those of a slice, which C only reads.
    unsafe { c::vexfs_c_test_sum(bytes.as_ptr(), bytes.len()) }
}

/// Reverses bytes, by C, and returns what C returned.
fn reverse(bytes: &[u8], out: &mut [u8]) -> i32 {
    // SAFETY: needed to call C. Pointers and lengths are those of slices, of which C reads the first
    // and writes the second, and a `&mut` overlaps with nothing.
    unsafe { c::vexfs_c_test_reverse(bytes.as_ptr(), bytes.len(), out.as_mut_ptr(), out.len()) }
}

#[ktest(
    name = "rust.boundary.slices",
    of = "vexfs_c_test_sum: good edge",
    of = "vexfs_c_test_reverse: good edge bad"
)]
fn slices(report: &mut Test) {
    let bytes: [u8; 200] = core::array::from_fn(|index| index as u8);
    report.number("sum of 0 to 199", 199 * 200 / 2, sum(&bytes));
    report.number("sum of 10 to 19", 145, sum(&bytes[10..20]));
    report.number("sum of no bytes", 0, sum(&[]));

    let mut out = *b"....";
    report.signed("reversing", 0, reverse(b"abc", &mut out).into());
    report.bytes("reversed, and the byte behind", b"cba.", &out);
    report.signed("reversing no bytes", 0, reverse(b"", &mut []).into());
    report.signed(
        "reversing without room",
        Error::NoSpace.errno().into(),
        reverse(b"abcde", &mut out).into(),
    );
    report.bytes("the buffer, left alone", b"cba.", &out);
    let middle = out.get_mut(1..4).unwrap_or_default();
    report.signed("reversing to an odd address", 0, reverse(b"xyz", middle).into());
    report.bytes("reversed there", b"czyx", &out);
}

/// A string that C has, which is there as long as the module.
fn string(index: u32) -> Option<&'static CStr> {
    let start = c::test_string(index);
    if start.is_null() {
        return None;
    }
    // SAFETY: needed to see C's string. C promises a NUL at its end and that it lives as long as the
    // module, which is longer than this code can run.
    Some(unsafe { CStr::from_ptr(start) })
}

#[ktest(name = "rust.boundary.strings", of = "vexfs_c_test_string: good edge bad")]
fn strings(report: &mut Test) {
    let bytes = |index| string(index).map_or(&b"(null)"[..], CStr::to_bytes);
    report.bytes("string 0", b"", bytes(0));
    report.bytes("string 1", b"vexfs", bytes(1));
    report.bytes("string 2", b"v\xffx", bytes(2));
    report.bytes("string 3", b"(null)", bytes(3));
    report.bytes("string u32::MAX", b"(null)", bytes(u32::MAX));
    let is_text = |index| string(index).is_some_and(|string| string.to_str().is_ok());
    report.holds("string 1 is UTF-8", is_text(1));
    report.holds("string 2 is not UTF-8", !is_text(2));
}

#[ktest(name = "rust.boundary.errors", of = "vexfs_c_test_error: good edge")]
fn errors(report: &mut Test) {
    for (index, error) in (0..).zip(Error::ALL) {
        report.signed("errno of an error", c::test_error(index).into(), error.errno().into());
    }
    let behind = Error::ALL.len() as u32;
    report.signed("errno behind the last", 0, c::test_error(behind).into());
    report.signed("errno of u32::MAX", 0, c::test_error(u32::MAX).into());
}

/// Has C count down, and calls a closure for each number until it returns something other than 0.
fn count_down<F: FnMut(u64) -> i32>(count: u64, mut visit: F) -> i32 {
    unsafe extern "C" fn call<F: FnMut(u64) -> i32>(context: *mut c_void, number: u64) -> i32 {
        // SAFETY: needed to find the closure again. `context` is the pointer made of it below, the
        // closure is alive and nobody else uses it until `count_down` returns.
        let visit = unsafe { &mut *context.cast::<F>() };
        visit(number)
    }
    // SAFETY: needed to call C. C passes the pointer on to `call` as it is and keeps nothing.
    unsafe { c::vexfs_c_test_count_down(count, Some(call::<F>), ptr::from_mut(&mut visit).cast()) }
}

#[ktest(name = "rust.boundary.callback", of = "vexfs_c_test_count_down: good edge bad")]
fn callback(report: &mut Test) {
    let mut numbers = [0_u8; 6];
    let mut calls = 0;
    let result = count_down(black_box(5), |number| {
        if let Some(slot) = numbers.get_mut(calls) {
            *slot = number as u8;
        }
        calls += 1;
        0
    });
    report.signed("result", 0, result.into());
    report.size("calls", 5, calls);
    report.bytes("numbers counted", &[4, 3, 2, 1, 0, 0], &numbers);

    let mut last = 0;
    let ended = count_down(black_box(1000), |number| {
        last = number;
        if number == 990 { Error::BadText.errno() } else { 0 }
    });
    report.signed("result that ends it", Error::BadText.errno().into(), ended.into());
    report.number("number it ended at", 990, last);

    report.signed("result of no calls", 0, count_down(0, |_| 1).into());
    // SAFETY: needed to call C. `vexfs.h` allows NULL, for which C calls nothing.
    let refused = unsafe { c::vexfs_c_test_count_down(3, None, ptr::null_mut()) };
    report.signed("result without a callback", Error::Invalid.errno().into(), refused.into());
}

#[ktest(
    name = "rust.boundary.reentry",
    of = "vexfs_c_test_descend: good edge",
    of = "vexfs_c_test_count_down: good"
)]
fn reentry(report: &mut Test) {
    let mut total = 0;
    let result = count_down(black_box(4), |outer| {
        count_down(outer, |inner| {
            total += 10 * outer + inner + sum(&[1, 2]);
            0
        })
    });
    report.signed("result", 0, result.into());
    // (3,2) (3,1) (3,0) (2,1) (2,0) (1,0): tens, ones, and 3 each time
    report.number("sum over all pairs", 90 + 40 + 10 + 4 + 6 * 3, total);
    report.number("descent from 15", 15 * 16 / 2, c::test_descend(black_box(15)));
    report.number("descent from 0", 0, c::test_descend(black_box(0)));
}
