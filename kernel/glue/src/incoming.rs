// SPDX-License-Identifier: GPL-2.0
//! What C passes, as Rust sees it. C may pass NULL for nothing, and by mistake for something; a length that no memory
//! has; and a place for a number that is aligned to nothing. The first and the last are fine, the others are refused.

use core::ptr::NonNull;

use crate::errno::Error;

/// Whether C can have this at all.
fn is_possible<T>(data: *const T, len: usize) -> bool {
    !data.is_null() && isize::try_from(len).is_ok()
}

/// The bytes that C passed.
///
/// # Safety
///
/// `data` is null, `len` is 0 or more than memory can have, or `data` points to `len` bytes that may be read and that
/// nobody writes during `'a`.
pub(crate) unsafe fn bytes<'a>(data: *const u8, len: usize) -> Result<&'a [u8], Error> {
    // In this order it is two branches, which is what C needs for as much.
    match isize::try_from(len) {
        Ok(0) => Ok(&[]),
        // SAFETY: needed to see C's memory as a slice. The caller vouches for the memory; the pointer is not null, the
        // length is one that memory can have, and bytes need no alignment.
        Ok(_) if !data.is_null() => Ok(unsafe { core::slice::from_raw_parts(data, len) }),
        _ => Err(Error::Invalid),
    }
}

/// The room that C passed, to write to.
///
/// # Safety
///
/// `out` is null, `size` is 0 or more than memory can have, or `out` points to `size` initialised bytes that nobody else
/// uses during `'a`.
pub(crate) unsafe fn room<'a>(out: *mut u8, size: usize) -> Result<&'a mut [u8], Error> {
    if size == 0 {
        return Ok(&mut []);
    }
    if !is_possible(out, size) {
        return Err(Error::Invalid);
    }
    // SAFETY: needed to write to C's memory. The caller vouches for the memory; the pointer is not null, the length is
    // one that memory can have, and bytes need no alignment.
    Ok(unsafe { core::slice::from_raw_parts_mut(out, size) })
}

/// A place of C's for one value. Holding one proves that it is there, and that nobody else uses it.
pub(crate) struct Place<T>(NonNull<T>);

/// The place that C passed.
///
/// # Safety
///
/// `out` is null, or a `T` can be written there for as long as the place is held.
pub(crate) unsafe fn place<T>(out: *mut T) -> Result<Place<T>, Error> {
    NonNull::new(out).map(Place).ok_or(Error::Invalid)
}

impl<T> Place<T> {
    /// Answers C.
    pub(crate) fn put(self, value: T) {
        // SAFETY: needed to write to C's memory. Whoever made this vouches for it; no alignment is needed to write so.
        unsafe { self.0.as_ptr().write_unaligned(value) }
    }
}
