// SPDX-License-Identifier: GPL-2.0
//! Is no Rust.
#![no_std]

/// A number.
#[unsafe(no_mangle)]
pub extern "C" fn rust_error_number() -> u32 {
    undeclared_name
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
