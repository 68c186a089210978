// SPDX-License-Identifier: GPL-2.0
//! The contracts are in `vexfs.h`, under the same names. What is sound whatever it is called with has a
//! safe function of its own here: `cbindgen`, which compares the two sides, passes over a `safe fn`.

use core::ffi::{c_char, c_void};

unsafe extern "C" {
    pub(crate) fn vexfs_c_alloc(size: usize, align: usize) -> *mut c_void;
    pub(crate) fn vexfs_c_free(memory: *mut c_void, size: usize, align: usize);
    fn vexfs_c_alloc_count() -> u64;
    fn vexfs_c_alloc_bytes() -> u64;
    pub(crate) fn vexfs_c_log(level: u32, text: *const u8, len: usize);
    fn vexfs_c_bug();
    pub(crate) fn vexfs_c_test_sum(data: *const u8, len: usize) -> u64;
    pub(crate) fn vexfs_c_test_reverse(data: *const u8, len: usize, out: *mut u8, size: usize) -> i32;
    fn vexfs_c_test_string(index: u32) -> *const c_char;
    fn vexfs_c_test_error(index: u32) -> i32;
    pub(crate) fn vexfs_c_test_count_down(
        count: u64,
        visit: Option<unsafe extern "C" fn(context: *mut c_void, number: u64) -> i32>,
        context: *mut c_void,
    ) -> i32;
    fn vexfs_c_test_descend(depth: u32) -> u64;
    fn vexfs_c_bench_empty(number: u64) -> u64;
    fn vexfs_c_bench_through(number: u64) -> u64;
    pub(crate) fn vexfs_c_bench_crc32c(data: *const u8, len: usize) -> u32;
    fn vexfs_c_test_fail_alloc(nth: u64) -> u64;
}

/// Allocations made and not yet given back.
pub(crate) fn alloc_count() -> u64 {
    // SAFETY: needed to call C. It reads a counter.
    unsafe { vexfs_c_alloc_count() }
}

/// Bytes asked for and not yet given back.
pub(crate) fn alloc_bytes() -> u64 {
    // SAFETY: needed to call C. It reads a counter.
    unsafe { vexfs_c_alloc_bytes() }
}

/// Ends in `BUG()`.
pub(crate) fn bug() -> ! {
    // SAFETY: needed to call C. It touches nothing of Rust's.
    unsafe { vexfs_c_bug() }
    // It has not returned. An instruction that traps shows this to the compiler, and to objtool, which may see
    // this object without the C part; a loop would be code that objtool finds no way to in the whole module.
    // SAFETY: needed because the stable library has no trap. It ends the task, and nothing runs after it.
    unsafe { core::arch::asm!("ud2", options(noreturn)) }
}

/// The constant C string of that number, or null.
pub(crate) fn test_string(index: u32) -> *const c_char {
    // SAFETY: needed to call C. It takes any number.
    unsafe { vexfs_c_test_string(index) }
}

/// The errno that C has for the error of that number.
pub(crate) fn test_error(index: u32) -> i32 {
    // SAFETY: needed to call C. It takes any number.
    unsafe { vexfs_c_test_error(index) }
}

/// The sum of all numbers down from this one, made by C and Rust by turns. Goes that deep into the stack.
pub(crate) fn test_descend(depth: u32) -> u64 {
    // SAFETY: needed to call C. It takes any number that the stack suffices for, and the tests, which
    // alone call this, stay at 16.
    unsafe { vexfs_c_test_descend(depth) }
}

/// The number, by way of C.
#[inline(always)]
pub(crate) fn bench_empty(number: u64) -> u64 {
    // SAFETY: needed to call C. It takes any number.
    unsafe { vexfs_c_bench_empty(number) }
}

/// The number, by way of C and then of Rust.
#[inline(always)]
pub(crate) fn bench_through(number: u64) -> u64 {
    // SAFETY: needed to call C. It takes any number.
    unsafe { vexfs_c_bench_through(number) }
}

/// Has the allocation of this number fail, counted from 1; 0 for none. Returns how many were left to the last such.
pub(crate) fn test_fail_alloc(nth: u64) -> u64 {
    // SAFETY: needed to call C. It sets a counter; that allocations fail is nothing new to Rust.
    unsafe { vexfs_c_test_fail_alloc(nth) }
}
