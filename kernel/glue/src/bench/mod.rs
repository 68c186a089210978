// SPDX-License-Identifier: GPL-2.0
//! Benchmarks, beside those of `bench.c`. What is held against what is in `vexlab.toml`.

/// Indices that are checked.
mod bounds;
/// Calls between C and Rust.
mod call;
/// A checksum.
mod checksum;
/// Memory.
mod memory;
/// Lookups.
#[cfg(not(feature = "kernel-minimal"))]
mod tree;
