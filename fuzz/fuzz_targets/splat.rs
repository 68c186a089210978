// SPDX-License-Identifier: GPL-2.0-only
#![no_main]

#[path = "../src/splat.rs"]
mod splat;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| splat::splat(bytes));
