// SPDX-License-Identifier: GPL-2.0
//! Calls from Rust, and what C's benchmarks call. The contracts are in `vexfs.h`.

use core::ffi::{CStr, c_char};

use ktest::{Bench, Test, kbench, keep, ktest};

use crate::{c, incoming};

/// See `vexfs.h`.
#[unsafe(no_mangle)]
pub extern "C" fn vexfs_rs_bench_empty(number: u64) -> u64 {
    number
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `data` and `len` are as [`incoming::bytes`] wants them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_bench_first(data: *const u8, len: usize) -> u64 {
    // SAFETY: needed to read C's memory. `vexfs.h` asks this of the caller.
    let bytes = unsafe { incoming::bytes(data, len) };
    bytes.ok().and_then(<[u8]>::first).copied().map_or(0, u64::from)
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `string` is not null, and ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_bench_length(string: *const c_char) -> u64 {
    // SAFETY: needed to see C's string. `vexfs.h` asks this of the caller.
    unsafe { CStr::from_ptr(string) }.to_bytes().len() as u64
}

#[kbench(name = "call.rust_c")]
fn rust_c(bench: &mut Bench) {
    bench.iter(|| keep(c::bench_empty(7)));
}

#[kbench(name = "call.rust_c_rust")]
fn rust_c_rust(bench: &mut Bench) {
    bench.iter(|| keep(c::bench_through(7)));
}

#[ktest(name = "call.to_c", of = "vexfs_c_bench_empty: good edge", of = "vexfs_c_bench_through: good edge")]
fn to_c(test: &mut Test) {
    for number in [0, 7, u64::MAX] {
        if c::bench_empty(number) != number || c::bench_through(number) != number {
            test.fail_bytes(b"another number came back");
        }
    }
}
