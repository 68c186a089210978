// SPDX-License-Identifier: GPL-2.0-only
#![no_main]

#[path = "../src/coverage.rs"]
mod target;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| target::coverage(bytes));
