// SPDX-License-Identifier: GPL-2.0-only
//! What the two sides say to each other.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::life::Deed;

/// Marks a machine as started by `vexlab`: 128 bits, 32 hexadecimal digits on the kernel's command line. They
/// are a digest of what the machine was made of, so that one which is restored from a saved state is told from
/// all that were made in another way. Holding one proves nothing by itself; the agent compares the one it was
/// booted with with the one that the host sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker([u8; 16]);

/// A number that the host makes up for each session, and that the agent has to say back: what answers is
/// running now, and hears this host.
pub type Challenge = u64;

/// Which of the conversations on one stream a message belongs to. Each has its own requests, one at a time; what
/// concerns the whole machine (the greeting, the kernel's log, the end) is said on [`MAIN`].
pub type Channel = u32;

/// The conversation of whoever has started the machine.
pub const MAIN: Channel = 0;

/// How many bytes of a program's input, and of its output, may be on the way on one channel without having been
/// taken: who is slow holds back nobody else.
pub const WINDOW: usize = 1 << 20;

/// The longest message of a share in bytes, either way: [`CHUNK`](crate::frame::CHUNK) of a file's content, and what
/// is said about it.
pub const SHARE_MESSAGE: usize = crate::frame::CHUNK + 4096;

/// A message with the conversation that it belongs to: what travels in a frame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addressed<M> {
    /// The conversation.
    pub channel: Channel,
    /// What is said.
    pub message: M,
}

impl<M> Addressed<M> {
    /// A message on a channel.
    pub fn new(channel: Channel, message: M) -> Self {
        Self { channel, message }
    }
}

/// How many random bytes the host gives to a machine: what the kernel's random pool holds.
pub const SEED: usize = 32;

/// A text that is not a [`Marker`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a machine's marker is 32 hexadecimal digits")]
pub struct MarkerError;

impl Marker {
    /// The marker with these bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Marker {
    type Err = MarkerError;

    fn from_str(text: &str) -> Result<Self, MarkerError> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(MarkerError);
        }
        u128::from_str_radix(text, 16).map(|n| Self(n.to_be_bytes())).map_err(|_| MarkerError)
    }
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A program to run in the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The program, looked up in the machine's `PATH` unless it holds a slash, and its arguments.
    pub arguments: Vec<String>,
    /// Added to the machine's environment; a name given here replaces one given there.
    pub environment: Vec<(String, String)>,
    /// With a size, the program runs on a terminal of its own, and all output is [`Stream::Stdout`].
    pub terminal: Option<WindowSize>,
    /// The folder that is its `/`, made by [`Request::Root`]; the machine's own without one.
    pub root: Option<String>,
    /// The folder below its `/` that it starts in.
    pub directory: String,
}

impl Process {
    /// A program on the machine's own file system, which starts in `/`, on pipes.
    pub fn new(arguments: Vec<String>) -> Self {
        Self { arguments, environment: Vec::new(), terminal: None, root: None, directory: "/".into() }
    }
}

/// What the host asks for. Every request is answered by exactly one [`Reply`] that ends it, except those
/// that go to a running process (`Stdin`, `StdinEnd`, `OutputTaken`, `Resize`, `Signal`) or to a share (`ShareReply`,
/// `ShareEnd`), which are not answered. New ones come last: a runner in another language knows them by their places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Opens the session. Answered by [`Reply::Hello`]. A machine that is saved while nothing is being carried
    /// out is greeted once more when it is restored, by another host process and at another time.
    Hello {
        /// The host's [`VERSION`](crate::VERSION).
        version: u16,
        /// The marker that the host booted this machine with.
        marker: Marker,
        /// To be said back.
        challenge: Challenge,
        /// The host's clock: nanoseconds since 1970.
        unix_nanos: u64,
        /// Random bytes for the machine's own random numbers, which are those of every other machine that was
        /// restored from the same state until then.
        seed: [u8; SEED],
    },
    /// Writes to a file, making its folders. Answered by [`Reply::Done`] or [`Reply::Failed`].
    Put {
        /// An absolute path in the machine.
        path: String,
        /// The file's permission bits.
        mode: u32,
        /// Whether `data` goes behind what the file holds, or replaces it.
        append: bool,
        /// At most [`CHUNK`](crate::frame::CHUNK) bytes.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// Reads a file to its end as [`Reply::Output`] on standard output. Ended by [`Reply::Done`],
    /// [`Reply::Failed`], or [`Reply::Killed`].
    Read {
        /// An absolute path in the machine.
        path: String,
    },
    /// Writes `input` to a file and, through the same open file, reads the answer (for files whose state
    /// is per open file). Ended like `Read`.
    Ask {
        /// An absolute path in the machine.
        path: String,
        /// What to write, in one call.
        input: Vec<u8>,
    },
    /// Loads a module with `finit_module(2)`. Answered by [`Reply::Done`], [`Reply::Failed`], or
    /// [`Reply::Killed`].
    Load {
        /// The `.ko` file's absolute path in the machine.
        path: String,
        /// The module's parameters, separated by spaces.
        parameters: String,
    },
    /// Unloads a module with `delete_module(2)`, never by force. Answered like `Load`.
    Unload {
        /// The module's name.
        name: String,
    },
    /// Has one process do things with a module, in order. What came of each is sent as [`Reply::Output`], as
    /// [`life`](crate::life) says. Ended like `Read`.
    Exercise {
        /// The `.ko` file's absolute path in the machine.
        path: String,
        /// The module's name.
        name: String,
        /// What to do.
        deeds: Vec<Deed>,
    },
    /// Runs a program. Ended by [`Reply::Exited`] or [`Reply::Failed`].
    Run(Process),
    /// Mounts a folder that the host serves on this channel, as long as it likes. Answered by [`Reply::Done`] or
    /// [`Reply::Failed`]; before and after that, each [`Reply::ShareRequest`] is answered by a `ShareReply`.
    Share {
        /// The folder of the machine to mount it on, which is made.
        path: String,
        /// Whether the machine may change it.
        writable: bool,
    },
    /// A message for the machine's kernel, as `fuse(4)` has it.
    ShareReply {
        /// At most [`SHARE_MESSAGE`] bytes.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The host serves this channel's share no longer: it is gone for whoever uses it.
    ShareEnd,
    /// Makes a root file system for programs: what a folder shows, with what is changed kept in memory, and the
    /// machine's own `/proc`, `/sys`, `/dev`, `/run` and `/tmp` in it. Answered by [`Reply::Done`] or
    /// [`Reply::Failed`].
    Root {
        /// An absolute path in the machine, of what is shown.
        lower: String,
        /// An absolute path in the machine, of the folder that becomes the root, which is made.
        path: String,
    },
    /// Makes each of these absolute paths, unless it is there, a symbolic link to what has the same path below a
    /// folder; the first folder on the way that is not there, if there is one. Answered by [`Reply::Done`] or
    /// [`Reply::Failed`].
    Show {
        /// The folder.
        from: String,
        /// The paths.
        paths: Vec<String>,
    },
    /// Bytes for the running program's standard input; no more than [`WINDOW`] that were not
    /// [taken](Reply::InputTaken).
    Stdin {
        /// At most [`CHUNK`](crate::frame::CHUNK) bytes.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// No more standard input follows.
    StdinEnd,
    /// So many bytes of [`Reply::Output`] have been taken by whoever they are for.
    OutputTaken {
        /// Their number since this was said last.
        bytes: u32,
    },
    /// The terminal has a new size.
    Resize(WindowSize),
    /// Sends a signal to the running program's process group.
    Signal {
        /// The signal's number on Linux.
        number: i32,
    },
    /// Ends the session. Answered by [`Reply::Bye`]; then the machine powers off.
    PowerOff,
    /// Reads pieces of a file as [`Reply::Output`] on standard output: one [frame](crate::frame) with a
    /// [`Piece`](crate::samples::Piece) for each. Ended like `Read`.
    ReadAt {
        /// An absolute path in the machine.
        path: String,
        /// Where each piece begins, and its length, which is at most [`CHUNK`](crate::frame::CHUNK) bytes.
        pieces: Vec<(u64, u64)>,
    },
    /// Has it looked at where the processors are while an `Ask` or a `Run` is carried out, from now on. Answered by
    /// [`Reply::Done`] or [`Reply::Failed`].
    Sample {
        /// How often in a second, on each processor.
        rate: u32,
    },
    /// Ends that, and sends what was seen as [`Reply::Output`], as [`samples`](crate::samples) says. Ended by
    /// [`Reply::Done`] or [`Reply::Failed`].
    Samples,
}

/// Which of a program's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// It ended by itself with this status, 0 to 255.
    Status(i32),
    /// This signal ended it.
    Signal(i32),
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The session is open.
    Hello {
        /// The agent's [`VERSION`](crate::VERSION).
        version: u16,
        /// The host's.
        challenge: Challenge,
    },
    /// The request was carried out.
    Done,
    /// The kernel, or the agent, refused.
    Failed {
        /// What was being done, with the object's name: `open /sys/…`.
        action: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The helper process that made the system call did not come back from it: the kernel killed it, as
    /// it does when it oopses.
    Killed {
        /// The signal that ended it.
        signal: i32,
    },
    /// So many bytes of [`Request::Stdin`] have been taken by the program, or dropped since it takes no more.
    InputTaken {
        /// Their number since this was said last.
        bytes: u32,
    },
    /// Output of the running program, or content of the file being read; no more than [`WINDOW`] that was not
    /// [taken](Request::OutputTaken) while the program runs.
    Output {
        /// Where it was written.
        stream: Stream,
        /// At most [`CHUNK`](crate::frame::CHUNK) bytes.
        #[serde(with = "serde_bytes")]
        data: Vec<u8>,
    },
    /// A message of the machine's kernel for the host that serves this channel's share, as `fuse(4)` has it.
    ShareRequest {
        /// At most [`SHARE_MESSAGE`] bytes.
        #[serde(with = "serde_bytes")]
        message: Vec<u8>,
    },
    /// The program ended; all its output has been sent.
    Exited(Exit),
    /// A record of the kernel's log. Records made while a request is carried out are sent before the
    /// reply that ends it.
    Log {
        /// The `printk` level, 0 (emergency) to 7 (debug).
        level: u8,
        /// Microseconds since the machine's kernel started.
        uptime_micros: u64,
        /// The text, without its prefix.
        text: String,
    },
    /// The agent won't work in this place, or with this host.
    Refused {
        /// Why.
        reason: String,
    },
    /// The end message.
    Bye {
        /// The kernel's taint bits, as `/proc/sys/kernel/tainted` has them.
        taint: u64,
        /// The same, when the agent had booted.
        taint_before: u64,
        /// The modules that are still loaded, one name each.
        modules: Vec<String>,
    },
}

impl Reply {
    /// Whether this reply ends the request that it answers. `Output`, `InputTaken`, `Log` and `ShareRequest` do not.
    pub fn ends_request(&self) -> bool {
        !matches!(
            self,
            Self::Output { .. } | Self::InputTaken { .. } | Self::Log { .. } | Self::ShareRequest { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_marker_is_its_own_text() {
        let marker = Marker::new(*b"0123456789abcdef");
        assert_eq!(marker.to_string().parse(), Ok(marker));
    }

    #[test]
    fn what_is_not_a_marker_is_refused() {
        for text in ["", "12", "+123456789abcdef0123456789abcdef", &"g".repeat(32), &"a".repeat(33)] {
            assert_eq!(text.parse::<Marker>(), Err(MarkerError), "{text}");
        }
    }
}
