// SPDX-License-Identifier: GPL-2.0
//! Numbers as in the kernel's `asm-generic/errno-base.h` and `asm-generic/errno.h`. The self-tests
//! `c.errors` and `rust.boundary.errors` compare them with the headers that C was compiled with.

use alloc::collections::TryReserveError;

/// Something that C is told. Its value is the negative errno, so that nothing has to be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Error {
    /// The kernel has no memory for it.
    NoMemory = -12,
    /// An argument is outside of what the function takes.
    Invalid = -22,
    /// The caller's buffer is too small.
    NoSpace = -28,
    /// The operation has no result.
    Domain = -33,
    /// What was asked for is not there.
    NoData = -61,
    /// The result does not fit its type.
    Overflow = -75,
    /// Text that is not UTF-8.
    BadText = -84,
}

impl Error {
    /// All of them, in the order in which the self-tests number them.
    pub(crate) const ALL: [Error; 7] = [
        Error::NoMemory,
        Error::Invalid,
        Error::NoData,
        Error::NoSpace,
        Error::BadText,
        Error::Overflow,
        Error::Domain,
    ];

    /// The negative errno.
    pub(crate) const fn errno(self) -> i32 {
        self as i32
    }
}

impl From<TryReserveError> for Error {
    fn from(_: TryReserveError) -> Self {
        Error::NoMemory
    }
}

/// What C gets for a result that holds nothing but success: 0 or a negative errno.
pub(crate) fn status(result: Result<(), Error>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => error.errno(),
    }
}
