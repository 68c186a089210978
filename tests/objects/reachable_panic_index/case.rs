// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[inline(never)]
fn nth(bytes: &[u8], index: usize) -> u8 {
    bytes[index]
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_nth(bytes: &[u8; 8], index: usize) -> u8 {
    nth(bytes, index)
}
