// SPDX-License-Identifier: GPL-2.0
//! Declares another function than the header says.
#![no_std]

unsafe extern "C" {
    fn drift_c(len: usize, bytes: *const u8) -> u32;
}

/// Calls C.
#[unsafe(no_mangle)]
pub extern "C" fn drift_rust() -> u32 {
    // SAFETY: it would not be: that is what the header is compared for.
    unsafe { drift_c(1, [7].as_ptr()) }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
