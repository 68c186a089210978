// SPDX-License-Identifier: GPL-2.0
//! A crate that spends its time in a function that is inlined.
#![no_std]

/// Mixes a number once.
#[inline(always)]
fn mixed(value: u64) -> u64 {
    (value ^ (value >> 13)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Mixes a number, so many times.
#[unsafe(no_mangle)]
pub extern "C" fn profiled_in_rust(start: u64, rounds: u64) -> u64 {
    let mut value = start;
    let mut left = rounds;
    while left > 0 {
        value = mixed(value);
        left -= 1;
    }
    value
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
