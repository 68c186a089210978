// SPDX-License-Identifier: GPL-2.0-only
//! Where a machine's processors were, looked at again and again.
//!
//! What was seen travels as [`Reply::Output`](crate::Reply::Output) on standard output: one [frame](crate::frame) with a
//! [`Sampled`] for each stack, and a last one that says that all have come.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// What has a sample taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Clock {
    /// So many cycles of the processor have passed. Interrupts that are off don't keep it from being looked at.
    Cycles,
    /// So much time has passed, by a timer of the kernel's: where interrupts are off, it is looked at when they are on
    /// again.
    Timer,
}

/// A part of what was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sampled {
    /// Where it was.
    Stack(Stack),
    /// All that was seen has come.
    End(Summary),
}

/// A place, and how often a processor was there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stack {
    /// The samples.
    pub samples: u64,
    /// The kernel's addresses, innermost first: the instruction, then what each call returns to. None of a program.
    pub addresses: Vec<u64>,
}

/// How it was looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// By which clock.
    pub clock: Clock,
    /// Samples that were taken and not kept, for want of memory.
    pub lost: u64,
    /// How often the kernel has stopped sampling for a while, since it took too long.
    pub paused: u64,
}

/// A piece of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// What is there; nothing where that can't be read.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// The most addresses that are kept of a machine, in all stacks together.
pub const MOST_ADDRESSES: usize = 1 << 20;
