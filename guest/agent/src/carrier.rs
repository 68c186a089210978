// SPDX-License-Identifier: GPL-2.0-only
//! A process of its own between the port and the agent, from the first share on.
//!
//! Whoever serves a file system must wait for nobody who uses it, and the agent does: a program that sends a file of
//! a share into a pipe holds that pipe's lock until it has been answered, and the agent reads the pipe. So the
//! carrier takes over the port, answers for shares alone, and passes everything else on, as it comes, to the agent
//! and back. It touches no pipe, no program and no path.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use wire::{Addressed, Channel, FrameError, Reply, Request};

use crate::job::{self, Job};
use crate::port::Port;
use crate::share::Share;
use crate::{kmsg, sys};

/// How long what the agent said last may take to be sent.
const LONGEST_GOODBYE: Duration = Duration::from_secs(5);

/// From how many bytes that the agent has not taken on no more is received for it. Replies for shares come between
/// them, so it is far more than the host sends before it waits.
const MOST_FOR_AGENT: usize = 64 << 20;

/// The places of what is waited for, before those of the shares.
const PORT: usize = 0;
const AGENT: usize = 1;
const CHILDREN: usize = 2;
const SHARES: usize = 3;

struct Carrier {
    port: Port,
    agent: File,
    from_agent: Vec<u8>,
    to_agent: VecDeque<u8>,
    children: File,
    mounting: Vec<Job>,
    shares: Vec<Share>,
}

/// Starts the carrier, which takes `port` over. Gives the agent's end of what it passes on.
pub(crate) fn start(port: &mut Port, first: Addressed<Request>) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    // In the agent the port is closed with this value, and in the carrier its own end of the pair.
    let taken = port.hand_over(ours);
    sys::fork(move || {
        let outcome = Carrier::new(taken, theirs).and_then(|mut carrier| carrier.carry(first));
        if let Err(error) = outcome {
            kmsg::say(kmsg::ERROR, format_args!("carry between the host and the agent: {error}"));
        }
        0
    })?;
    Ok(())
}

fn nonsense(error: FrameError) -> io::Error {
    io::Error::other(error.to_string())
}

impl Carrier {
    fn new(port: Port, agent: UnixStream) -> io::Result<Self> {
        Ok(Self {
            port,
            agent: File::from(OwnedFd::from(agent)),
            from_agent: Vec::new(),
            to_agent: VecDeque::new(),
            children: sys::child_events()?,
            mounting: Vec::new(),
            shares: Vec::new(),
        })
    }

    /// Carries until one of the two ends is closed; what the agent said by then is sent.
    fn carry(&mut self, first: Addressed<Request>) -> io::Result<()> {
        self.handle(first)?;
        self.take_requests()?;
        loop {
            let mut watched = self.wait()?;
            let ready = |place: usize| watched[place].revents != 0;
            let (port, agent, children) = (ready(PORT), ready(AGENT), ready(CHILDREN));
            if port {
                self.port.receive()?;
                self.take_requests()?;
            }
            for (index, place) in watched.split_off(SHARES).iter().enumerate().rev() {
                if place.revents != 0 && !self.shares[index].ask(&mut self.port).map_err(nonsense)? {
                    self.shares.remove(index);
                }
            }
            if children {
                self.collect_children()?;
            }
            self.tell_agent()?;
            if agent && !self.hear_agent()? {
                return self.port.send_last(LONGEST_GOODBYE);
            }
            self.port.send()?;
        }
    }

    fn wait(&self) -> io::Result<Vec<libc::pollfd>> {
        let full = self.port.is_full();
        let events = |read: bool, write: bool| {
            (if read { libc::POLLIN } else { 0 }) | (if write { libc::POLLOUT } else { 0 })
        };
        let watch = |fd, events| libc::pollfd { fd, events, revents: 0 };
        let mut watched = vec![
            watch(
                self.port.as_raw_fd(),
                events(self.to_agent.len() < MOST_FOR_AGENT, self.port.has_outgoing()),
            ),
            watch(self.agent.as_raw_fd(), events(!full, !self.to_agent.is_empty())),
            watch(self.children.as_raw_fd(), libc::POLLIN),
        ];
        watched.extend(
            self.shares.iter().map(|share| watch(if full { -1 } else { share.wanted() }, libc::POLLIN)),
        );
        sys::wait_until_ready(&mut watched, None)?;
        Ok(watched)
    }

    fn take_requests(&mut self) -> io::Result<()> {
        while let Some(request) = self.port.request().map_err(nonsense)? {
            self.handle(request)?;
        }
        Ok(())
    }

    fn handle(&mut self, request: Addressed<Request>) -> io::Result<()> {
        let channel = request.channel;
        match request.message {
            Request::Share { path, writable } => {
                let action = format!("share {path}");
                match Share::start(channel, path, writable) {
                    Ok((share, job)) => {
                        self.shares.retain(|share| share.channel() != channel);
                        self.shares.push(share);
                        self.mounting.push(job.on(channel));
                    }
                    Err(error) => {
                        let reply = Reply::Failed { action, errno: job::errno(&error) };
                        self.port.queue(channel, reply).map_err(nonsense)?;
                    }
                }
            }
            Request::ShareReply { message } => self.reply(channel, &message),
            Request::ShareEnd => self.shares.retain(|share| share.channel() != channel),
            message => {
                let frame = wire::encode(&Addressed::new(channel, message)).map_err(nonsense)?;
                self.to_agent.extend(frame);
            }
        }
        Ok(())
    }

    /// Hands the host's reply to the kernel. One that the kernel does not take ends the share.
    fn reply(&mut self, channel: Channel, message: &[u8]) {
        let Some(index) = self.shares.iter().position(|share| share.channel() == channel) else { return };
        if let Err(error) = self.shares[index].reply(message) {
            kmsg::say(kmsg::WARNING, format_args!("answer for a share: {error}"));
            self.shares.remove(index);
        }
    }

    /// Collects the processes that mount, and tells the host what came of it.
    fn collect_children(&mut self) -> io::Result<()> {
        let _ = self.children.read(&mut [0; 1024]);
        while let Some((process, ending)) = sys::reap() {
            let Some(index) = self.mounting.iter().position(|job| job.process() == process) else { continue };
            let mut job = self.mounting.remove(index);
            let channel = job.channel();
            let reply = job.conclude(ending, &mut self.port).map_err(nonsense)?;
            if reply == Reply::Done {
                self.shares
                    .iter_mut()
                    .filter(|share| share.channel() == channel)
                    .for_each(Share::was_mounted);
            } else {
                self.shares.retain(|share| share.channel() != channel);
            }
            self.port.queue(channel, reply).map_err(nonsense)?;
        }
        Ok(())
    }

    /// Passes on what the agent takes now.
    fn tell_agent(&mut self) -> io::Result<()> {
        while !self.to_agent.is_empty() {
            match self.agent.write(self.to_agent.as_slices().0) {
                Ok(length) => drop(self.to_agent.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Passes on what the agent says, in whole messages. False when it says no more.
    fn hear_agent(&mut self) -> io::Result<bool> {
        let mut bytes = [0; 64 << 10];
        let goes_on = match self.agent.read(&mut bytes) {
            Ok(length) => {
                self.from_agent.extend_from_slice(&bytes[..length]);
                length > 0
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => true,
            Err(error) => return Err(error),
        };
        let whole = wire::frame::whole(&self.from_agent);
        self.port.queue_frames(&self.from_agent[..whole]);
        self.from_agent.drain(..whole);
        Ok(goes_on)
    }
}
