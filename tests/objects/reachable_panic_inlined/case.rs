// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[inline(always)]
fn first(bytes: &[u8]) -> u8 {
    *bytes.first().unwrap()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn case_rs_first(bytes: *const u8, length: usize) -> u8 {
    // SAFETY: The caller says so.
    first(unsafe { core::slice::from_raw_parts(bytes, length) })
}
