// SPDX-License-Identifier: GPL-2.0
//! The Rust part of `vexfs.ko`.
//!
//! Only integers, pointers and lengths cross to and from the C part. The contract of every function
//! that crosses, its ownership, units, errors and context, is written in `kernel/vexfs.h` and
//! nowhere else; what is said here is why the Rust side keeps it.
#![no_std]
#![cfg_attr(
    not(feature = "ktest"),
    allow(dead_code, reason = "the boundary is made for a file system; so far only tests use all of it")
)]

// The name `alloc` stays free for those who use it; the allocator itself is in `memory`.
extern crate alloc;

/// What crossing the boundary costs, and what Rust's collections do.
#[cfg(feature = "ktest")]
mod bench;
/// Prototypes of what the C part offers.
mod c;
/// The one list of errors, and the errno that each becomes.
mod errno;
/// Slices and references of what C passes as pointers and lengths.
mod incoming;
/// Lines for the kernel's log.
mod log;
/// The global allocator.
mod memory;
/// What a panic does.
mod panic;
/// A keyed hash that shows that this code is in the module.
mod proof;
/// The tests that Rust judges, and what it offers to those that C judges.
#[cfg(feature = "ktest")]
mod selftest;
/// Text in a buffer of fixed size.
mod text;

/// See `vexfs.h`.
#[unsafe(no_mangle)]
pub extern "C" fn vexfs_rs_init() -> i32 {
    log::line(log::Level::Info, concat!("Rust part ", env!("CARGO_PKG_VERSION"), " is ready"));
    0
}
