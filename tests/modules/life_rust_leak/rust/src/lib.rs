// SPDX-License-Identifier: GPL-2.0
//! A crate that loses a box.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::c_void;

unsafe extern "C" {
    fn life_rust_leak_alloc(size: usize) -> *mut c_void;
    fn life_rust_leak_free(memory: *mut c_void);
}

struct Kernel;

// SAFETY: C's functions are `kmalloc` and `kfree`, and all that is asked for here fits their alignment.
unsafe impl GlobalAlloc for Kernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: C's function takes any size.
        unsafe { life_rust_leak_alloc(layout.size()) }.cast()
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: the trait asks of its callers that the memory came from `alloc`.
        unsafe { life_rust_leak_free(memory.cast()) }
    }
}

#[global_allocator]
static KERNEL: Kernel = Kernel;

/// Loses 64 bytes.
#[inline(never)]
fn keep() -> bool {
    let mut bytes: Vec<u8> = Vec::new();
    let has_room = bytes.try_reserve_exact(64).is_ok();
    core::mem::forget(bytes);
    has_room
}

/// Called by init.
#[unsafe(no_mangle)]
pub extern "C" fn life_rust_leak_begin() {
    core::hint::black_box(keep());
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
