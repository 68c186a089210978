// SPDX-License-Identifier: GPL-2.0-only
//! A conversation with QEMU: what it was told, and what it has said so far.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::error::{Context, Result};
use crate::qmp::{self, Message, Version};

/// Our side of the conversation.
#[derive(Debug)]
pub(crate) struct Control {
    socket: UnixStream,
    /// Commands without an answer.
    unanswered: usize,
    version: Option<Version>,
    refusal: Option<String>,
    migration: Option<String>,
}

impl Control {
    /// Opens the conversation, and says what holds for saving and restoring alike.
    pub(crate) fn open(socket: UnixStream) -> Self {
        let mut control = Self { socket, unanswered: 0, version: None, refusal: None, migration: None };
        control.tell(&[qmp::open(), qmp::leave_memory_out()]);
        control
    }

    /// Tells QEMU to do things, one after the other. It takes them when it gets to it.
    pub(crate) fn tell(&mut self, commands: &[String]) {
        self.unanswered += commands.len();
        // That it has ended is noticed by the one who waits for what it says, or for its machine.
        let _ = self.socket.write_all(commands.concat().as_bytes());
    }

    /// The other half of the conversation: hands on what QEMU says until it says no more.
    pub(crate) fn listen(&self, mut hear: impl FnMut(Message) -> bool + Send + 'static) -> Result<()> {
        let socket = self.socket.try_clone().context(|| "share QEMU's socket".to_owned())?;
        std::thread::spawn(move || {
            for line in BufReader::new(socket).lines().map_while(Result::ok) {
                if !hear(Message::parse(&line).unwrap_or(Message::Other)) {
                    break;
                }
            }
        });
        Ok(())
    }

    /// Keeps what QEMU has said.
    pub(crate) fn heard(&mut self, message: Message) {
        match message {
            Message::Greeting(version) => self.version = Some(version),
            Message::Done => self.unanswered = self.unanswered.saturating_sub(1),
            Message::Refused(why) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.refusal.get_or_insert(why);
            }
            Message::Migration(status) => self.migration = Some(status),
            Message::Other => {}
        }
    }

    /// Whether all that it was told is answered, which its greeting comes before.
    pub(crate) fn is_quiet(&self) -> bool {
        self.unanswered == 0
    }

    /// Which QEMU it is, once it has said so.
    pub(crate) fn version(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Why the first command that it refused was.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.refusal.as_deref()
    }

    /// How far saving or restoring is.
    pub(crate) fn migration(&self) -> Option<&str> {
        self.migration.as_deref()
    }
}
