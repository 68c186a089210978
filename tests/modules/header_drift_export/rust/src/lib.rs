// SPDX-License-Identifier: GPL-2.0
//! Exports another function than the header says.
#![no_std]

/// A number.
#[unsafe(no_mangle)]
pub extern "C" fn drift_rust(number: u64) -> u32 {
    number as u32
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
