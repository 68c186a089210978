// SPDX-License-Identifier: GPL-2.0-only
//! A function for C.
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_add(one: i32, other: i32) -> i32 {
    one.wrapping_add(other)
}
