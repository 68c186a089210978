// SPDX-License-Identifier: GPL-2.0
//! Halves numbers.
#![no_std]

/// Half of a number.
#[unsafe(no_mangle)]
pub extern "C" fn drift_rs_half(number: u64) -> u32 {
    (number / 2) as u32
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
