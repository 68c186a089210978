// SPDX-License-Identifier: GPL-2.0
//! A crate whose answer nobody asks for.
#![no_std]

/// A number.
#[unsafe(no_mangle)]
pub extern "C" fn proof_pretended_unused() -> u32 {
    1
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
