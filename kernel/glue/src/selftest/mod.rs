// SPDX-License-Identifier: GPL-2.0
//! Each test compares what the code does in this kernel with what it must do. Values go through
//! `black_box`, so that the compiler cannot work the comparison out beforehand.

/// Integer and checked arithmetic.
mod arithmetic;
/// Rust calls C, and is called back.
mod boundary;
/// The collections of `alloc`.
#[cfg(not(feature = "kernel-minimal"))]
mod collections;
/// `core::fmt`.
#[cfg(not(feature = "kernel-minimal"))]
mod formatting;
/// The allocator.
mod memory;
/// Trait objects.
mod objects;
/// What the tests that C judges call.
mod offered;
/// What a test has to say.
mod report;

use crate::{
    errno::{Error, status},
    incoming,
    text::Text,
};
use report::Report;

/// A test: its name, and the function that says what is wrong, if anything is.
struct Test {
    name: &'static str,
    run: fn(&mut Report<'_>),
}

/// The tests of each module, in the order in which they run.
const GROUPS: &[&[Test]] = &[
    memory::TESTS,
    objects::TESTS,
    arithmetic::TESTS,
    boundary::TESTS,
    #[cfg(not(feature = "kernel-minimal"))]
    collections::TESTS,
    #[cfg(not(feature = "kernel-minimal"))]
    formatting::TESTS,
];

fn all() -> impl Iterator<Item = &'static Test> {
    GROUPS.iter().copied().flatten()
}

/// See `vexfs.h`.
#[unsafe(no_mangle)]
pub extern "C" fn vexfs_rs_selftest_count() -> usize {
    all().count()
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `name` and `size` are as [`incoming::room`] wants them, and `used` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_selftest_name(
    index: usize,
    name: *mut u8,
    size: usize,
    used: *mut usize,
) -> i32 {
    // SAFETY: needed to write to C's memory. `vexfs.h` asks this of the caller.
    let room = unsafe { incoming::room(name, size) };
    let copied = all().nth(index).ok_or(Error::Invalid).and_then(|test| copy(test.name.as_bytes(), room));
    status(copied.map(|len| {
        // SAFETY: needed to answer C. `vexfs.h` asks of the caller that a usize fits there.
        unsafe { used.write(len) }
    }))
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `report` and `size` are as [`incoming::room`] wants them, and `used` may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_selftest_run(
    index: usize,
    report: *mut u8,
    size: usize,
    used: *mut usize,
) -> i32 {
    let Some(test) = all().nth(index) else {
        return Error::Invalid.errno();
    };
    // SAFETY: needed to write to C's memory. `vexfs.h` asks this of the caller.
    let room = unsafe { incoming::room(report, size) };
    let mut report = Report::new(Text::new(room));
    (test.run)(&mut report);
    // SAFETY: needed to answer C. `vexfs.h` asks of the caller that a usize fits there.
    unsafe { used.write(report.len()) };
    i32::from(report.failed())
}

/// Copies bytes to the beginning of a buffer that is large enough, and returns how many.
fn copy(bytes: &[u8], room: &mut [u8]) -> Result<usize, Error> {
    room.get_mut(..bytes.len()).ok_or(Error::NoSpace)?.copy_from_slice(bytes);
    Ok(bytes.len())
}
