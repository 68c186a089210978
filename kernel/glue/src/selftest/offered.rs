// SPDX-License-Identifier: GPL-2.0
//! The contracts are in `vexfs.h`, under the same names; `selftest.c` judges the answers.

use alloc::{boxed::Box, vec::Vec};
use core::{
    ffi::{CStr, c_char, c_void},
    str,
};

use super::copy;
use crate::{
    c,
    errno::{Error, status},
    incoming,
    memory::try_box,
};

fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().copied().map(u64::from).sum()
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `data` and `len` are as [`incoming::bytes`] wants them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_sum(data: *const u8, len: usize) -> u64 {
    // SAFETY: needed to read C's memory. `vexfs.h` asks this of the caller.
    unsafe { incoming::bytes(data, len) }.map_or(0, sum)
}

fn upper(text: &[u8], out: &mut [u8]) -> Result<usize, Error> {
    str::from_utf8(text).map_err(|_| Error::BadText)?;
    let used = copy(text, out)?;
    out.iter_mut().take(used).for_each(|byte| byte.make_ascii_uppercase());
    Ok(used)
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `text` and `len` are as [`incoming::bytes`] wants them, `out` and `size` as [`incoming::room`]
/// does, and `used` as [`incoming::place`] does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_upper(
    text: *const u8,
    len: usize,
    out: *mut u8,
    size: usize,
    used: *mut usize,
) -> i32 {
    // SAFETY: needed to use C's memory. `vexfs.h` asks this of the caller, and that they do not
    // overlap.
    let (text, out) = unsafe { (incoming::bytes(text, len), incoming::room(out, size)) };
    // SAFETY: as above.
    let used = unsafe { incoming::place(used) };
    status(used.and_then(|used| {
        used.put(upper(text?, out?)?);
        Ok(())
    }))
}

fn text_length(buffer: &[u8]) -> Result<usize, Error> {
    let string = CStr::from_bytes_until_nul(buffer).map_err(|_| Error::Invalid)?;
    let text = string.to_str().map_err(|_| Error::BadText)?;
    Ok(text.len())
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `buffer` and `size` are as [`incoming::bytes`] wants them, `length` as [`incoming::place`] does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_text_length(
    buffer: *const u8,
    size: usize,
    length: *mut usize,
) -> i32 {
    // SAFETY: needed to use C's memory. `vexfs.h` asks this of the caller.
    let (buffer, length) = unsafe { (incoming::bytes(buffer, size), incoming::place(length)) };
    status(length.and_then(|length| {
        length.put(text_length(buffer?)?);
        Ok(())
    }))
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `string` is null, or ends in a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_string_sum(string: *const c_char) -> u64 {
    if string.is_null() {
        return 0;
    }
    // SAFETY: needed to see C's string. It is not null, and `vexfs.h` asks the rest of the caller.
    sum(unsafe { CStr::from_ptr(string) }.to_bytes())
}

/// See `vexfs.h`.
#[unsafe(no_mangle)]
pub extern "C" fn vexfs_rs_test_error(index: u32) -> i32 {
    let error = Error::ALL.get(index as usize).copied();
    status(error.map_or(Ok(()), Err))
}

fn calculate(operator: u8, left: i64, right: i64) -> Result<i64, Error> {
    let result = match operator {
        b'+' => left.checked_add(right),
        b'-' => left.checked_sub(right),
        b'*' => left.checked_mul(right),
        b'/' if right == 0 => return Err(Error::Domain),
        b'/' => left.checked_div(right),
        _ => return Err(Error::Invalid),
    };
    result.ok_or(Error::Overflow)
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `result` is as [`incoming::place`] wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_calculate(
    operator: u8,
    left: i64,
    right: i64,
    result: *mut i64,
) -> i32 {
    // SAFETY: needed to answer C. `vexfs.h` asks this of the caller.
    let result = unsafe { incoming::place(result) };
    status(result.and_then(|result| {
        result.put(calculate(operator, left, right)?);
        Ok(())
    }))
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `data` and `len` are as [`incoming::bytes`] wants them, and `visit` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_visit(
    data: *const u8,
    len: usize,
    visit: Option<unsafe extern "C" fn(context: *mut c_void, byte: u8) -> i32>,
    context: *mut c_void,
) -> i32 {
    let Some(visit) = visit else {
        return Error::Invalid.errno();
    };
    // SAFETY: needed to read C's memory. `vexfs.h` asks this of the caller.
    let bytes = match unsafe { incoming::bytes(data, len) } {
        Ok(bytes) => bytes,
        Err(error) => return error.errno(),
    };
    bytes
        .iter()
        // SAFETY: needed to call C. The context is the one that C passed along with the function.
        .map(|byte| unsafe { visit(context, *byte) })
        .find(|result| *result != 0)
        .unwrap_or(0)
}

/// See `vexfs.h`.
#[unsafe(no_mangle)]
pub extern "C" fn vexfs_rs_test_descend(depth: u32) -> u64 {
    match depth.checked_sub(1) {
        Some(less) => u64::from(depth) + c::test_descend(less),
        None => 0,
    }
}

/// What a handle of `vexfs_rs_test_counter_new` points to.
struct Counter {
    total: u64,
}

/// See `vexfs.h`.
#[unsafe(no_mangle)]
pub extern "C" fn vexfs_rs_test_counter_new(start: u64) -> *mut c_void {
    match try_box(Counter { total: start }) {
        Ok(counter) => Box::into_raw(counter).cast(),
        Err(_) => core::ptr::null_mut(),
    }
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `counter` is null, or a handle that was not freed and is not in use; `total` is as [`incoming::place`] wants it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_counter_add(
    counter: *mut c_void,
    amount: u64,
    total: *mut u64,
) -> i32 {
    // SAFETY: needed to find the counter of a handle. Where it is not null, `vexfs.h` asks of the caller that it is one,
    // and that no other call uses it meanwhile.
    let counter = unsafe { counter.cast::<Counter>().as_mut() };
    // SAFETY: needed to answer C. `vexfs.h` asks this of the caller.
    let total = unsafe { incoming::place(total) };
    status(total.and_then(|total| {
        let counter = counter.ok_or(Error::Invalid)?;
        counter.total = counter.total.checked_add(amount).ok_or(Error::Overflow)?;
        total.put(counter.total);
        Ok(())
    }))
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `counter` is null, or a handle that was not freed and is not in use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_counter_free(counter: *mut c_void) {
    if counter.is_null() {
        return;
    }
    // SAFETY: needed to take the counter back. It came from `Box::into_raw`, and `vexfs.h` asks of the
    // caller that this is its only end.
    drop(unsafe { Box::from_raw(counter.cast::<Counter>()) });
}

/// Each byte in a box of its own, and the boxes in a list: what fails on the way takes down what is there.
fn collect(bytes: &[u8]) -> Result<u64, Error> {
    let mut list = Vec::new();
    list.try_reserve_exact(bytes.len())?;
    for byte in bytes {
        let boxed = try_box(*byte)?;
        if let Some(slot) = list.spare_capacity_mut().first_mut() {
            slot.write(boxed);
            // SAFETY: needed because `push` would give up where there is no room. The slot behind the last has just been
            // written.
            unsafe { list.set_len(list.len() + 1) };
        }
    }
    Ok(list.iter().map(|byte| u64::from(**byte)).sum())
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `data` and `len` are as [`incoming::bytes`] wants them, `sum` as [`incoming::place`] does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_test_collect(data: *const u8, len: usize, sum: *mut u64) -> i32 {
    // SAFETY: needed to use C's memory. `vexfs.h` asks this of the caller.
    let (bytes, sum) = unsafe { (incoming::bytes(data, len), incoming::place(sum)) };
    status(sum.and_then(|sum| {
        sum.put(collect(bytes?)?);
        Ok(())
    }))
}
