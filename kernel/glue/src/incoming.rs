// SPDX-License-Identifier: GPL-2.0
//! The only difference between C's pairs of pointer and length and Rust's slices is that C may pass
//! NULL for nothing.

/// The bytes that C passed.
///
/// # Safety
///
/// `data` points to `len` bytes that may be read and that nobody writes during `'a`, or `len` is 0.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: usize) -> &'a [u8] {
    if len == 0 {
        return &[];
    }
    // SAFETY: needed to see C's memory as a slice. The caller vouches for the memory; it is not
    // NULL, as C has bytes there, and bytes need no alignment.
    unsafe { core::slice::from_raw_parts(data, len) }
}

/// The room that C passed, to write to.
///
/// # Safety
///
/// `out` points to `size` initialised bytes that nobody else uses during `'a`, or `size` is 0.
pub(crate) unsafe fn room<'a>(out: *mut u8, size: usize) -> &'a mut [u8] {
    if size == 0 {
        return &mut [];
    }
    // SAFETY: needed to write to C's memory. The caller vouches for the memory; it is not NULL, as C
    // has bytes there, and bytes need no alignment.
    unsafe { core::slice::from_raw_parts_mut(out, size) }
}
