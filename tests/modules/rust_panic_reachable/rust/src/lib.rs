// SPDX-License-Identifier: GPL-2.0
//! Panics when it is asked to.
#![no_std]

use core::panic::PanicInfo;

unsafe extern "C" {
    fn panicked(file: *const u8, len: usize, line: u32);
}

/// Reads beyond a table's end where the number is too large.
#[unsafe(no_mangle)]
pub extern "C" fn panics_at(index: usize) -> u32 {
    let table = [2, 3, 5, 7];
    table[index]
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    // SAFETY: the text is there for as long as the module.
    unsafe { panicked(file.as_ptr(), file.len(), line) };
    // C does not come back, which the objects' checker has no way to know.
    loop {}
}
