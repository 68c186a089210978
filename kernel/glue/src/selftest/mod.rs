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
/// What C refuses.
mod refusals;
/// What a test has to say.
mod report;

use crate::errno::Error;

/// Copies bytes to the beginning of a buffer that is large enough, and returns how many.
fn copy(bytes: &[u8], room: &mut [u8]) -> Result<usize, Error> {
    room.get_mut(..bytes.len()).ok_or(Error::NoSpace)?.copy_from_slice(bytes);
    Ok(bytes.len())
}
