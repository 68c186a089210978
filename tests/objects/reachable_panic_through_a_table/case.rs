// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// What C calls, by pointer.
#[repr(C)]
pub struct Operations {
    nth: extern "C" fn(&[u8; 8], usize) -> u8,
}

extern "C" fn nth(bytes: &[u8; 8], index: usize) -> u8 {
    bytes[index]
}

static OPERATIONS: Operations = Operations { nth };

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_operations() -> &'static Operations {
    &OPERATIONS
}
