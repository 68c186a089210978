// SPDX-License-Identifier: GPL-2.0-only
//! What is done with a module to see how it lives: deeds that one process of the machine does in order, and what
//! came of each.
//!
//! What came of them travels as [`Reply::Output`](crate::Reply::Output) on standard output: one
//! [frame](crate::frame) with a [`Result`] for each deed, as soon as it is done. So it is known how far it got
//! when a deed never comes back.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// Load the module. Gives [`Came::Done`] or [`Came::Failed`].
    Load {
        /// Its parameters, separated by spaces.
        parameters: String,
    },
    /// Have allocations of slabs fail that would rather wait for memory, where the kernel can fail any (failslab), and have
    /// it say where it fails one. Gives [`Came::Done`], or [`Came::Failed`] where it can't.
    Failslab,
    /// Load the module while an allocation fails of whoever loads it. Gives [`Came::Injected`], or [`Came::Failed`] where
    /// the kernel has no `fail-nth`.
    LoadFailing {
        /// Its parameters, separated by spaces.
        parameters: String,
        /// Which one fails, counted from 1. The loader's own count as well, and come first.
        allocation: u32,
    },
    /// Unload the module, by its name. Gives [`Came::Done`] or [`Came::Failed`].
    Unload {
        /// For how many milliseconds it is tried again as long as the module is in use.
        patience: u32,
    },
    /// List what the kernel has. Gives [`Came::Listed`].
    Look,
    /// Count what the kernel has allocated. Gives [`Came::Counted`].
    Count,
    /// Have the kernel free what it frees later. Gives [`Came::Done`].
    Settle,
    /// Take hold of the first of these that counts as a use of the module. Gives [`Came::Held`] with its place in
    /// the list.
    Hold {
        /// What may be one.
        handles: Vec<Handle>,
    },
    /// Let go of what is held. Gives [`Came::Done`].
    Release,
    /// Read a parameter of the loaded module. Gives [`Came::Text`], or [`Came::Failed`] where it can't be read.
    Parameter {
        /// Its name.
        name: String,
    },
}

/// What a module can be held by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Handle {
    /// A file system of this name, about to be mounted.
    FileSystem(String),
    /// A file that is opened.
    File(String),
}

/// What came of a [`Deed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Came {
    /// It was done.
    Done,
    /// It was refused.
    Failed {
        /// The kernel's error number.
        errno: i32,
    },
    /// What became of an allocation that was to fail, and of loading the module.
    Injected(Injected),
    /// What there is.
    Listed(Listing),
    /// How much there is.
    Counted(Counts),
    /// What is held, by its place in the list; nothing where none of them counts as a use.
    Held(Option<u32>),
    /// What a file says.
    Text(String),
}

/// What became of an allocation that was to fail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// The kernel's error number, where the module was not loaded.
    pub errno: Option<i32>,
    /// How many allocations were still to come up to the one that was to fail: 0 where it has failed.
    pub left: u32,
    /// Where it failed, as the kernel says it: `function+0x12/0x80 [module]`, innermost first, at most [`MOST_FRAMES`].
    /// Empty where it does not say, as for what may be refused in silence.
    pub trace: Vec<String>,
}

/// The most lines of [`Injected::trace`].
pub const MOST_FRAMES: usize = 40;

/// What a kernel has at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// All of it, in no order; what is there twice is named twice.
    pub entries: Vec<Entry>,
    /// Whether there was more than fits ([`MOST_ENTRIES`], [`MOST_TEXT`]).
    pub cut: bool,
}

/// The most entries of a [`Listing`].
pub const MOST_ENTRIES: usize = 16 << 10;

/// The most bytes that the texts of a [`Listing`] have together: with all else it fits into a message.
pub const MOST_TEXT: usize = 640 << 10;

/// Something that a kernel has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// Its name or path. An area of [`Kind::Vmalloc`] is its place, its size in bytes, and who asked for it,
    /// with spaces between them.
    pub name: String,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A loaded module.
    Module,
    /// A path below `/proc`.
    Proc,
    /// A path below `/sys`.
    Sys,
    /// A path in debugfs.
    Debug,
    /// A path below `/dev`.
    Node,
    /// A line of `/proc/devices`.
    Device,
    /// A line of `/proc/misc`.
    Misc,
    /// A line of `/proc/filesystems`, without its `nodev`.
    FileSystem,
    /// A slab cache that has its slabs for itself.
    Slab,
    /// A kernel thread.
    Thread,
    /// An area of `/proc/vmallocinfo`.
    Vmalloc,
    /// The function of a pending high-resolution timer.
    Timer,
}

/// How much of the kernel's memory is in use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Each slab cache.
    pub slabs: Vec<Slab>,
    /// Pages that are in no list of the kernel's: neither free nor a part of a file, a program, a slab or anything
    /// else that it counts.
    pub pages: i64,
}

/// How much of a slab cache is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slab {
    /// Its name.
    pub name: String,
    /// The objects in use, to the object.
    pub objects: u64,
    /// An object's size in bytes.
    pub size: u32,
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn the_longest_listing_is_a_message() {
        let entry = |length| Entry { kind: Kind::FileSystem, name: "x".repeat(length) };
        let entries = vec![entry(MOST_TEXT / MOST_ENTRIES); MOST_ENTRIES];
        assert!(crate::encode(&Came::Listed(Listing { entries, cut: true })).is_ok());
        let entries = vec![entry(MOST_TEXT)];
        assert!(crate::encode(&Came::Listed(Listing { entries, cut: true })).is_ok());
    }
}
