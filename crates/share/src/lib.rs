// SPDX-License-Identifier: GPL-2.0-only
//! A folder of the host as a file system for a guest: a FUSE server without a `/dev/fuse`.
//!
//! The guest's kernel makes requests, somebody carries them here as bytes, and [`Server::answer`] gives the bytes of
//! the reply. Nothing here knows how they travel.
//!
//! **A guest sees no more than it was given.** Requests are what a hostile kernel might send. Every path is resolved
//! by the host's kernel beneath the shared folder and without following a single symbolic link (`openat2(2)`): links
//! are followed by the guest, in the guest. What a [`View`] leaves out does not exist. Devices, pipes and sockets are
//! shown and never opened. Where a share is read-only nothing is ever opened for writing, whatever is asked.
#![forbid(unsafe_code)]

mod folder;
mod nodes;
mod reply;
mod request;
mod server;
mod view;

pub use server::{Garbage, Options, Server};
pub use view::View;

/// The most bytes of a file that one request reads or writes.
pub const LARGEST_TRANSFER: u32 = 256 << 10;

/// The most bytes that a message may have, either way.
pub const LARGEST_MESSAGE: usize = LARGEST_TRANSFER as usize + 4096;
