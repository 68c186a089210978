// SPDX-License-Identifier: GPL-2.0
//! A crate that the Kbuild file forgot.
#![no_std]

/// A number.
#[unsafe(no_mangle)]
pub extern "C" fn rust_left_out_number() -> u32 {
    1
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
