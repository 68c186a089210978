// SPDX-License-Identifier: GPL-2.0-only
//! A plugin of QEMU's that counts what an emulated machine executes, by the calls that led there.
//!
//! It is told of each call's push and each return's pop, and so knows the calls that are open on each of the
//! kernel's stacks; what a block of instructions executes counts for those that are open then. Nothing is sampled
//! and nothing is unwound. It counts between two marks: instructions that do nothing and that nobody else has,
//! which the agent executes before and after what is to be looked at. At the second mark it writes all that it has
//! counted to a file ([`recorder::Recorder::text`]).
//!
//! Arguments: `out=FILE`.
#![deny(unsafe_code)]

/// What an instruction is for us.
mod instruction;
/// Counts, by block and by open calls.
mod recorder;
/// The calls that are open on each stack.
mod stacks;
/// QEMU's side of it, and all that is unsafe.
#[cfg(not(test))]
mod sys;
