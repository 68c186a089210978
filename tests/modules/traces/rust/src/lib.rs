// SPDX-License-Identifier: GPL-2.0
//! Generic functions, closures and a panic, for traces to tell of.
#![no_std]

use core::panic::PanicInfo;

unsafe extern "C" {
    safe fn traces_warn(x: u32) -> u32;
    fn traces_panicked(file: *const u8, len: usize, line: u32);
}

mod deep {
    /// Is inlined in `middle`.
    #[inline(always)]
    pub fn generic<T: Into<u32>>(value: T) -> u32 {
        crate::traces_warn(value.into()) + 1
    }

    /// Is inlined in what C calls.
    #[inline(always)]
    pub fn middle<T: Into<u32>>(value: T) -> u32 {
        generic(value) * 2
    }
}

/// C calls Rust, which calls C.
#[unsafe(no_mangle)]
pub extern "C" fn traces_generic(x: u32) -> u32 {
    deep::middle(x as u16)
}

#[inline(never)]
fn apply(f: &dyn Fn(u32) -> u32) -> u32 {
    f(3) + 1
}

/// The same, through a closure.
#[unsafe(no_mangle)]
pub extern "C" fn traces_closure(x: u32) -> u32 {
    let f: &dyn Fn(u32) -> u32 = &|y| traces_warn(x + y) + 1;
    apply(core::hint::black_box(f))
}

/// Reads beyond a table's end where the number is too large, as 7 is.
#[unsafe(no_mangle)]
pub extern "C" fn traces_table(index: usize) -> u32 {
    let table = [2, 3, 5, 7];
    table[index]
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (file, line) = info.location().map_or(("?", 0), |place| (place.file(), place.line()));
    // SAFETY: the text is there for as long as the module.
    unsafe { traces_panicked(file.as_ptr(), file.len(), line) };
    // C does not come back, which the objects' checker has no way to know.
    loop {}
}
