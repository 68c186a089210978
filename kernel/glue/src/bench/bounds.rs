// SPDX-License-Identifier: GPL-2.0
//! An index that is checked: with an answer where it is out of bounds, and with a panic.

use core::hint::black_box;

use ktest::{Bench, hide, kbench, keep};

const BYTES: [u8; 16] = [7; 16];

#[inline(never)]
fn at(bytes: &[u8], index: usize) -> u64 {
    bytes.get(index).copied().map_or(0, u64::from)
}

#[inline(never)]
fn at_or_panic(bytes: &[u8], index: usize) -> u64 {
    bytes[index].into()
}

#[kbench(name = "call.bounds_rust")]
fn panic_free(bench: &mut Bench) {
    let bytes = black_box(&BYTES[..]);
    bench.iter(|| keep(at(bytes, hide(3) as usize)));
}

#[kbench(name = "call.bounds_rust_panics")]
fn panicking(bench: &mut Bench) {
    let bytes = black_box(&BYTES[..]);
    bench.iter(|| keep(at_or_panic(bytes, hide(3) as usize)));
}
