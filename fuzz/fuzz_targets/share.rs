// SPDX-License-Identifier: GPL-2.0-only
#![no_main]

#[path = "../src/share.rs"]
mod share;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let scratch = tempfile::tempdir().expect("a folder");
    share::share(scratch.path(), bytes);
});
