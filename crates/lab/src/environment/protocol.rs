// SPDX-License-Identifier: GPL-2.0-only
//! What the processes around a kept machine say to each other, in frames as the machine's agent has them.

use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wire::Decoder;

use crate::error::Told;

use super::kind::Settings;

/// What a client wants of a keeper: the first thing it says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// End the machine.
    Stop,
    /// Start it anew.
    Restart,
    /// Let me talk to its agent: once this is answered, requests and replies follow, on the main channel.
    Talk,
}

/// What a keeper answers.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Done,
    Failed(Told),
}

/// What a keeper is told by whoever started it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) settings: Settings,
}

/// What a keeper tells whoever started it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum News {
    Progress {
        what: String,
        done: u64,
        total: u64,
    },
    ProgressEnd,
    Note(String),
    /// The machine runs. Nothing follows.
    Ready,
    /// It does not. Nothing follows.
    Failed(Told),
}

/// Sends one message.
pub(super) fn say<M: Serialize>(mut to: &UnixStream, message: &M) -> io::Result<()> {
    to.write_all(&wire::encode(message).map_err(io::Error::other)?)
}

/// Messages as they come.
pub(super) struct Messages<M> {
    stream: UnixStream,
    decoder: Decoder<M>,
    message: PhantomData<M>,
}

impl<M: DeserializeOwned> Messages<M> {
    pub(super) fn of(stream: &UnixStream) -> io::Result<Self> {
        Ok(Self { stream: stream.try_clone()?, decoder: Decoder::default(), message: PhantomData })
    }

    /// The next one; nothing when the stream has ended.
    pub(super) fn next(&mut self) -> io::Result<Option<M>> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(message) = self.decoder.next().map_err(io::Error::other)? {
                return Ok(Some(message));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(length) => self.decoder.push(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A socket's name that is short enough wherever its folder is: at most 108 bytes may be in one.
struct Short {
    dir: OwnedFd,
    path: PathBuf,
}

impl Short {
    fn of(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(parent, flags, Mode::empty())?;
        let path = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
        Ok(Self { dir, path })
    }
}

/// Listens at a path of any length.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    let short = Short::of(path)?;
    let listener = UnixListener::bind(&short.path);
    drop(short.dir);
    listener
}

/// Connects to who listens at a path of any length.
pub(super) fn connect(path: &Path) -> io::Result<UnixStream> {
    let short = Short::of(path)?;
    let stream = UnixStream::connect(&short.path);
    drop(short.dir);
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_may_lie_as_deep_as_any_file() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(200)).join("e".repeat(200));
        std::fs::create_dir_all(&deep).unwrap();
        let path = deep.join("socket");
        let listener = listen(&path).unwrap();
        let client = connect(&path).unwrap();
        say(&client, &Order::Restart).unwrap();
        drop(client);
        let (server, _) = listener.accept().unwrap();
        let mut orders = Messages::<Order>::of(&server).unwrap();
        assert!(matches!(orders.next(), Ok(Some(Order::Restart))));
        assert!(matches!(orders.next(), Ok(None)));
    }
}
