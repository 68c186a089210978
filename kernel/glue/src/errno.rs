// SPDX-License-Identifier: GPL-2.0
//! Numbers as in the kernel's `asm-generic/errno-base.h` and `asm-generic/errno.h`. The self-tests
//! `c.errors` and `rust.boundary.errors` compare them with the headers that C was compiled with.

use alloc::collections::TryReserveError;

/// Something that C is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// The kernel has no memory for it.
    NoMemory,
    /// An argument is outside of what the function takes.
    Invalid,
    /// What was asked for is not there.
    NoData,
    /// The caller's buffer is too small.
    NoSpace,
    /// Text that is not UTF-8.
    BadText,
    /// The result does not fit its type.
    Overflow,
    /// The operation has no result.
    Domain,
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
        match self {
            Error::NoMemory => -12,
            Error::Invalid => -22,
            Error::Domain => -33,
            Error::NoSpace => -28,
            Error::NoData => -61,
            Error::Overflow => -75,
            Error::BadText => -84,
        }
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
