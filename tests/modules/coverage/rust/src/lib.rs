// SPDX-License-Identifier: GPL-2.0
#![no_std]

#[unsafe(no_mangle)]
pub extern "C" fn halves_of(number: u64) -> u64 {
    if number % 2 == 0 {
        exact(number)
    } else {
        rounded(number)
    }
}

fn exact(number: u64) -> u64 {
    number / 2
}

fn rounded(number: u64) -> u64 {
    number.div_ceil(2)
}

#[unsafe(no_mangle)]
pub extern "C" fn halves_on_old() -> u64 {
    1
}

#[unsafe(no_mangle)]
pub extern "C" fn halves_on_new() -> u64 {
    2
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
