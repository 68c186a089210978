// SPDX-License-Identifier: GPL-2.0
//! The other side of `boundary.h`.
#![no_std]

use core::ffi::c_void;

#[cfg(feature = "ktest")]
mod tests;

unsafe extern "C" {
    fn boundary_c_alloc(size: usize) -> *mut c_void;
    fn boundary_c_free(memory: *mut c_void);
    fn boundary_c_bug();
}

/// Twice a number.
///
/// # Safety
///
/// `twice` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn boundary_rs_double(number: i32, twice: *mut i32) -> i32 {
    let Some(result) = number.checked_mul(2) else { return -34 };
    // SAFETY: needed to answer C, which vouches for the place.
    unsafe { twice.write(result) };
    0
}

/// A number, in memory of its own for a moment.
#[unsafe(no_mangle)]
pub extern "C" fn boundary_rs_store(number: u32) -> u32 {
    // SAFETY: needed to call C. It takes any size.
    let memory = unsafe { boundary_c_alloc(4) }.cast::<u32>();
    if memory.is_null() {
        return 0;
    }
    // SAFETY: needed to use what C gave. It is not null, and large and aligned enough.
    unsafe {
        memory.write_volatile(number);
        let number = memory.read_volatile();
        boundary_c_free(memory.cast());
        number
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: needed to call C. It does not return.
    unsafe { boundary_c_bug() };
    loop {}
}
