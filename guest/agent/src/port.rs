// SPDX-License-Identifier: GPL-2.0-only
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use wire::{Addressed, Channel, Decoder, FrameError, Reply, Request};

use crate::boot::BootError;
use crate::sys;

/// Where the kernel lists the ports of virtio-serial devices, each with its `name`.
const PORTS: &str = "/sys/class/virtio-ports";

/// How long the port may take to appear after its driver was loaded.
const LONGEST_SEARCH: Duration = Duration::from_secs(10);

/// How long it is looked for without a pause. The driver's worker, which this process makes way for, takes
/// less; the shortest pause is longer than that where the kernel has no fine timers (yet).
const BRISK_SEARCH: Duration = Duration::from_millis(100);

/// From how many bytes that wait to be sent on nothing more is read from programs and from the log.
const FULL: usize = 1 << 20;

/// How many bytes are received before what they say is looked at.
const RECEIVED_AT_ONCE: usize = 256 << 10;

/// The port to the host.
pub(crate) struct Port {
    device: File,
    decoder: Decoder<Addressed<Request>>,
    outgoing: VecDeque<u8>,
    connected: bool,
    /// Whether the other end is a [carrier](crate::carrier) instead of the host.
    carried: bool,
}

impl Port {
    /// Waits for the port to appear, and opens it. The device is found by the driver at once, its ports
    /// are announced by messages that take a moment more.
    pub(crate) fn find() -> Result<Self, BootError> {
        let begin = Instant::now();
        let path = loop {
            if let Some(path) = search() {
                break path;
            }
            let passed = begin.elapsed();
            if passed > LONGEST_SEARCH {
                let action = format!("look for the virtio port {}", wire::PORT);
                return Err(BootError { action, cause: io::ErrorKind::NotFound.into() });
            }
            if passed < BRISK_SEARCH {
                thread::yield_now();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        };
        let device = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let device =
            device.map_err(|cause| BootError { action: format!("open {}", path.display()), cause })?;
        Ok(Self {
            device,
            decoder: Decoder::default(),
            outgoing: VecDeque::new(),
            connected: false,
            carried: false,
        })
    }

    /// Gives the port away, with what was received and not yet looked at and what was not yet sent, and goes on
    /// with a stream to whoever has it.
    pub(crate) fn hand_over(&mut self, stream: UnixStream) -> Self {
        let next = Self {
            device: File::from(OwnedFd::from(stream)),
            decoder: Decoder::default(),
            outgoing: VecDeque::new(),
            connected: true,
            carried: true,
        };
        mem::replace(self, next)
    }

    /// Whether the port was given away.
    pub(crate) fn is_carried(&self) -> bool {
        self.carried
    }

    /// Appends whole frames to what is to be sent.
    pub(crate) fn queue_frames(&mut self, frames: &[u8]) {
        self.outgoing.extend(frames);
    }

    /// Whether the host has been at the other end. Until then the port is always ready, with nothing.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether so much waits to be sent that nothing should be added but what ends a request.
    pub(crate) fn is_full(&self) -> bool {
        self.outgoing.len() >= FULL
    }

    /// Whether something waits to be sent.
    pub(crate) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Takes what the host has sent. `UnexpectedEof` when the host was there and has gone.
    pub(crate) fn receive(&mut self) -> io::Result<()> {
        let mut bytes = [0; 4096]; // a driver's buffer, which is the most that one read returns
        let mut received = 0;
        while received < RECEIVED_AT_ONCE {
            match self.device.read(&mut bytes) {
                Ok(0) if self.connected => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.connected = true;
                    self.decoder.push(&bytes[..length]);
                    received += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.connected = true;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The next request that has been received as a whole.
    pub(crate) fn request(&mut self) -> Result<Option<Addressed<Request>>, FrameError> {
        self.decoder.next()
    }

    /// Appends a reply to what is to be sent.
    pub(crate) fn queue(&mut self, channel: Channel, reply: Reply) -> Result<(), FrameError> {
        self.outgoing.extend(wire::encode(&Addressed::new(channel, reply))?);
        Ok(())
    }

    /// Forgets what has not been sent yet.
    pub(crate) fn discard_outgoing(&mut self) {
        self.outgoing.clear();
    }

    /// Sends as much as the host takes now.
    pub(crate) fn send(&mut self) -> io::Result<()> {
        while self.has_outgoing() {
            match self.device.write(self.outgoing.as_slices().0) {
                Ok(length) => drop(self.outgoing.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends everything, unless the host is gone or has not taken it after `longest`. What the port has accepted the
    /// host may not have read yet, and a machine that powers off takes it along: so it is waited for the host to go.
    pub(crate) fn send_last(&mut self, longest: Duration) -> io::Result<()> {
        let end = Instant::now() + longest;
        loop {
            self.send()?;
            let left = end.saturating_duration_since(Instant::now());
            if self.carried && !self.has_outgoing() {
                return self.wait_for_carrier(left);
            }
            let events = if self.has_outgoing() { libc::POLLOUT } else { 0 };
            let mut watched = [libc::pollfd { fd: self.as_raw_fd(), events, revents: 0 }];
            sys::wait_until_ready(&mut watched, Some(left))?;
            if left.is_zero() || watched[0].revents & libc::POLLHUP != 0 {
                return Ok(());
            }
        }
    }
}

impl Port {
    /// Says that nothing follows, and waits until the carrier has sent everything, which ends it.
    fn wait_for_carrier(&mut self, longest: Duration) -> io::Result<()> {
        UnixStream::from(OwnedFd::from(self.device.try_clone()?)).shutdown(Shutdown::Write)?;
        let end = Instant::now() + longest;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let mut watched = [libc::pollfd { fd: self.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
            sys::wait_until_ready(&mut watched, Some(left))?;
            if left.is_zero() || matches!(self.device.read(&mut [0; 4096]), Ok(0)) {
                return Ok(());
            }
        }
    }
}

impl AsRawFd for Port {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

/// The device file of our port, if it is there already.
fn search() -> Option<PathBuf> {
    fs::read_dir(PORTS).ok()?.flatten().find_map(|entry| {
        let name = fs::read_to_string(entry.path().join("name")).ok()?;
        (name.trim_end() == wire::PORT).then(|| PathBuf::from("/dev").join(entry.file_name()))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn port(stream: UnixStream) -> Port {
        stream.set_nonblocking(true).unwrap();
        Port {
            device: File::from(OwnedFd::from(stream)),
            decoder: Decoder::default(),
            outgoing: VecDeque::from(vec![7; FULL]),
            connected: true,
            carried: false,
        }
    }

    #[test]
    fn the_last_words_are_read_before_the_machine_ends() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let was_read = AtomicBool::new(false);
        thread::scope(|scope| {
            let was_read = &was_read;
            scope.spawn(move || {
                theirs.read_exact(&mut vec![0; FULL]).unwrap();
                was_read.store(true, Ordering::SeqCst);
            });
            port(ours).send_last(Duration::from_secs(60)).unwrap();
            assert!(was_read.load(Ordering::SeqCst));
        });
    }

    #[test]
    fn a_host_that_reads_nothing_is_not_waited_for_without_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut port = port(ours);
        port.send_last(Duration::from_millis(10)).unwrap();
        assert!(port.has_outgoing());
        drop(theirs);
    }
}
