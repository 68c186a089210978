// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_copy(to: &mut [u8; 64], from: &[u8; 64], count: usize) {
    to[..count].copy_from_slice(&from[..count]);
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_parse(text: &[u8; 4]) -> u32 {
    core::str::from_utf8(text).unwrap().parse().unwrap()
}
