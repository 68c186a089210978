// SPDX-License-Identifier: GPL-2.0-only
#![no_std]
extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};

struct Kernels;

// SAFETY: nothing of it is ever run.
unsafe impl GlobalAlloc for Kernels {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Kernels = Kernels;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_push(list: &mut Vec<u64>, number: u64) -> bool {
    if list.try_reserve(1).is_err() {
        return false;
    }
    let length = list.len();
    list.spare_capacity_mut().first_mut().into_iter().for_each(|place| _ = place.write(number));
    // SAFETY: there is room for one more, and it was written.
    unsafe { list.set_len(length.wrapping_add(1)) };
    true
}
