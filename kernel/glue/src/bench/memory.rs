// SPDX-License-Identifier: GPL-2.0
//! Memory as a vector gets it and gives it back, from the allocator in `memory`.

use alloc::vec::Vec;

use ktest::{Bench, kbench, keep};

/// A vector with room for so many bytes, and its end.
#[inline(always)]
fn measure(bench: &mut Bench, size: usize) {
    bench.iter(|| {
        let mut bytes = Vec::<u8>::new();
        let got = bytes.try_reserve_exact(size).is_ok();
        keep(bytes.as_ptr() as u64);
        keep(got.into());
    });
}

#[kbench(name = "memory.rust_64")]
fn small(bench: &mut Bench) {
    measure(bench, 64);
}

#[kbench(name = "memory.rust_4k")]
fn page(bench: &mut Bench) {
    measure(bench, 4 << 10);
}

#[kbench(name = "memory.rust_1m")]
fn large(bench: &mut Bench) {
    measure(bench, 1 << 20);
}
