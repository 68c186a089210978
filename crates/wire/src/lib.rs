// SPDX-License-Identifier: GPL-2.0-only
//! Messages between `vexlab` on the host and the agent in the virtual machine.
//!
//! The two ends share one ordered, reliable byte stream (a virtio-serial port). Each message is one
//! [frame](frame): a length, then the message with its [channel](Channel) in postcard's encoding. The host sends
//! [`Request`]s; the agent answers each of a channel, in order, with exactly one [`Reply`] that
//! [ends](Reply::ends_request) it, and may send other replies (output, log records) before that. The session's last message is [`Reply::Bye`]: a
//! session that ends without one was cut short, whatever came before.
//!
//! Nothing here does I/O, and nothing here trusts its input: a frame from the other side is bytes until
//! [`Decoder`] has checked it.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod frame;
pub mod life;
mod message;
pub mod samples;

pub use frame::{Decoder, FrameError, encode};
pub use message::{
    Addressed, Challenge, Channel, Exit, MAIN, Marker, MarkerError, Process, Reply, Request, SEED,
    SHARE_MESSAGE, Stream, WINDOW, WindowSize,
};

/// The version of this protocol. Both sides send theirs in the first message, and neither goes on when
/// they differ.
pub const VERSION: u16 = 7;

/// The name of the virtio-serial port that carries the messages.
pub const PORT: &str = "vexlab.agent";

/// The kernel parameter that marks a machine as ours; its value is a [`Marker`].
pub const MARKER_PARAMETER: &str = "vexlab.machine";

/// The folder of the machine for what is sent to be loaded. It is on the initramfs, and so in memory.
pub const PAYLOAD: &str = "/vexlab/payload";

/// The record that the agent puts in the place of those that the kernel overwrote before they were read.
pub const LOST_RECORDS: &str = "vexlab-agent: the kernel's log lost records";
