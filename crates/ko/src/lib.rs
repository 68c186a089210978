// SPDX-License-Identifier: GPL-2.0-only
//! Relocatable objects: what an archive exports, and what a kernel would refuse in a module.
//!
//! Bytes in, findings out: nothing here opens a file, starts a program, or knows of machines.
#![forbid(unsafe_code)]

mod archive;
mod check;

pub use archive::{exports, undefined};
pub use check::{Finding, check};

use thiserror::Error;

/// Why bytes can't be read as what they are said to be.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes are no archive.
    #[error("this is no static library")]
    Archive(#[source] object::Error),
    /// A member of an archive, or an object itself, is malformed.
    #[error("{name} is no readable ELF object")]
    Object {
        /// The member's name, or `the object`.
        name: String,
        /// What is wrong.
        #[source]
        source: object::Error,
    },
    /// The object is for another machine than x86-64.
    #[error("{name} is for {architecture}, not for x86-64")]
    Architecture {
        /// The member's name, or `the object`.
        name: String,
        /// What it is for.
        architecture: String,
    },
}
