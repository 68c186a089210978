// SPDX-License-Identifier: GPL-2.0-only
//! A stream to an agent, and the conversations on it.
//!
//! Two threads own the stream's two directions. What comes in goes to the [`Sink`] of its channel; what goes out
//! is queued, so that a machine which reads nothing keeps nobody from noticing. A program's input is sent only as
//! far as the program keeps up with it: see [`wire::WINDOW`].

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use wire::{Addressed, Channel, Decoder, Reply, Request, WINDOW};

use crate::session::Lost;

/// What comes in on a channel.
#[derive(Debug)]
pub enum Incoming {
    /// The agent said this, and when it arrived.
    Reply(Reply, Instant),
    /// What came is no message; why. Nothing follows.
    Nonsense(String),
    /// The stream has ended. Nothing follows.
    Closed,
}

/// Takes what comes in on a channel, on the thread that reads the stream: it must not wait. False when nobody is
/// there any more.
pub type Sink = Box<dyn FnMut(Incoming) -> bool + Send>;

/// A stream to an agent. Cloned for each that opens conversations on it.
#[derive(Clone)]
pub struct Link {
    frames: Sender<Vec<u8>>,
    routes: Arc<Mutex<Routes>>,
}

#[derive(Default)]
struct Routes {
    open: HashMap<Channel, Route>,
    /// Why no more will come.
    end: Option<Option<String>>,
}

struct Route {
    sink: Sink,
    window: Arc<Window>,
}

impl Link {
    /// Takes the stream over.
    ///
    /// # Errors
    ///
    /// When it can't be shared between two threads.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        let (frames, receiver) = mpsc::channel::<Vec<u8>>();
        let routes = Arc::new(Mutex::new(Routes::default()));
        let mut out = stream.try_clone()?;
        std::thread::spawn(move || {
            for frame in receiver {
                // A closed socket is noticed by the one who reads from it.
                let _ = out.write_all(&frame);
            }
        });
        std::thread::spawn({
            let routes = Arc::clone(&routes);
            move || {
                let end = read(stream, &routes);
                lock(&routes).close(end);
            }
        });
        Ok(Self { frames, routes })
    }

    /// Opens a conversation. One that was open on this channel ends.
    pub fn open(&self, channel: Channel, mut sink: Sink) -> Outgoing {
        let window = Arc::new(Window::default());
        let outgoing = Outgoing { channel, frames: self.frames.clone(), window: Arc::clone(&window) };
        let mut routes = lock(&self.routes);
        match routes.end.clone() {
            None => drop(routes.open.insert(channel, Route { sink, window })),
            Some(end) => {
                window.close();
                sink(end.map_or(Incoming::Closed, Incoming::Nonsense));
            }
        }
        outgoing
    }

    /// Forgets a conversation: what still comes in on its channel is dropped.
    pub fn close(&self, channel: Channel) {
        if let Some(route) = lock(&self.routes).open.remove(&channel) {
            route.window.close();
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Routes {
    fn hand_out(&mut self, Addressed { channel, message }: Addressed<Reply>, arrived: Instant) {
        let Some(route) = self.open.get_mut(&channel) else { return };
        if let Reply::InputTaken { bytes } = message {
            route.window.give(bytes as usize);
        }
        if !(route.sink)(Incoming::Reply(message, arrived)) {
            self.open.remove(&channel);
        }
    }

    fn close(&mut self, end: Option<String>) {
        for (_, mut route) in self.open.drain() {
            route.window.close();
            (route.sink)(end.clone().map_or(Incoming::Closed, Incoming::Nonsense));
        }
        self.end = Some(end);
    }
}

/// Reads until the stream ends, or what comes is no message; why, then.
fn read(mut stream: UnixStream, routes: &Mutex<Routes>) -> Option<String> {
    let mut decoder = Decoder::<Addressed<Reply>>::default();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        decoder.push(&buffer[..length]);
        loop {
            match decoder.next() {
                Ok(None) => break,
                Ok(Some(reply)) => lock(routes).hand_out(reply, Instant::now()),
                Err(error) => return Some(format!("bytes that are no message: {error}")),
            }
        }
    }
    None
}

/// How much of a program's input may still be sent.
#[derive(Debug)]
struct Window {
    left: Mutex<Option<usize>>,
    changed: Condvar,
}

impl Default for Window {
    fn default() -> Self {
        Self { left: Mutex::new(Some(WINDOW)), changed: Condvar::new() }
    }
}

impl Window {
    fn update(&self, update: impl FnOnce(Option<usize>) -> Option<usize>) {
        let mut left = lock(&self.left);
        *left = update(*left);
        self.changed.notify_all();
    }

    fn give(&self, bytes: usize) {
        self.update(|left| left.map(|left| (left + bytes).min(WINDOW)));
    }

    /// Begins again, for another program.
    fn reset(&self) {
        self.update(|left| left.map(|_| WINDOW));
    }

    fn close(&self) {
        self.update(|_| None);
    }

    /// Whether so much may be sent at once; then it counts as sent.
    fn try_take(&self, bytes: usize) -> bool {
        match &mut *lock(&self.left) {
            Some(left) if *left >= bytes => {
                *left -= bytes;
                true
            }
            _ => false,
        }
    }

    /// Waits until so much may be sent. False when nothing may any more.
    fn take(&self, bytes: usize) -> bool {
        let mut left = lock(&self.left);
        loop {
            match &mut *left {
                None => return false,
                Some(left) if *left >= bytes => {
                    *left -= bytes;
                    return true;
                }
                Some(_) => left = self.changed.wait(left).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Sends to the agent on one channel, from any thread.
#[derive(Debug, Clone)]
pub struct Outgoing {
    channel: Channel,
    frames: Sender<Vec<u8>>,
    window: Arc<Window>,
}

impl Outgoing {
    /// Sends a request.
    ///
    /// # Errors
    ///
    /// [`Lost`], when it is too long, or nobody sends any more.
    pub fn send(&self, request: &Request) -> Result<(), Lost> {
        if let Request::Run(_) = request {
            self.window.reset();
        }
        let frame = wire::encode(&Addressed::new(self.channel, request))
            .map_err(|error| Lost::Nonsense(format!("nothing, since {error}")))?;
        self.frames.send(frame).map_err(|_| Lost::Ended { qemu: String::new() })
    }

    /// Sends one of the requests that are not answered, to the running program; waits while that has not taken
    /// what was sent before. False when the session is over.
    pub fn input(&self, request: &Request) -> bool {
        self.window.take(input_bytes(request)) && self.send(request).is_ok()
    }

    /// As [`input`](Self::input), for input from elsewhere, that was to be sent only as far as the program keeps up
    /// with it. False also when there is more.
    pub fn pass_on(&self, request: &Request) -> bool {
        self.window.try_take(input_bytes(request)) && self.send(request).is_ok()
    }

    /// The conversation that it sends in.
    pub fn channel(&self) -> Channel {
        self.channel
    }
}

/// How much of a window a request takes up.
fn input_bytes(request: &Request) -> usize {
    if let Request::Stdin { data } = request { data.len().min(WINDOW) } else { 0 }
}

/// Counts what was taken of a program's output, to tell the agent now and then.
#[derive(Debug, Default)]
pub struct Taken(usize);

impl Taken {
    /// Counts output, and tells when it is worth a message.
    ///
    /// # Errors
    ///
    /// As [`Outgoing::send`].
    pub fn count(&mut self, bytes: usize, outgoing: &Outgoing) -> Result<(), Lost> {
        self.0 += bytes;
        if self.0 < WINDOW / 4 {
            return Ok(());
        }
        let bytes = u32::try_from(std::mem::take(&mut self.0)).unwrap_or(u32::MAX);
        outgoing.send(&Request::OutputTaken { bytes })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Receiver;

    use wire::MAIN;

    use super::*;

    /// A link, and the agent's end of its stream.
    fn pair() -> (Link, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours).unwrap(), theirs)
    }

    fn listen(link: &Link, channel: Channel) -> (Outgoing, Receiver<Incoming>) {
        let (sender, receiver) = mpsc::channel();
        (link.open(channel, Box::new(move |incoming| sender.send(incoming).is_ok())), receiver)
    }

    fn say(agent: &mut UnixStream, channel: Channel, reply: Reply) {
        agent.write_all(&wire::encode(&Addressed::new(channel, reply)).unwrap()).unwrap();
    }

    #[test]
    fn each_hears_what_is_said_to_it() {
        let (link, mut agent) = pair();
        let (_, main) = listen(&link, MAIN);
        let (_, other) = listen(&link, 7);
        say(&mut agent, 8, Reply::Done);
        say(&mut agent, 7, Reply::Killed { signal: 9 });
        say(&mut agent, MAIN, Reply::Done);
        assert!(matches!(main.recv().unwrap(), Incoming::Reply(Reply::Done, _)));
        assert!(matches!(other.recv().unwrap(), Incoming::Reply(Reply::Killed { signal: 9 }, _)));
    }

    #[test]
    fn the_end_is_told_to_all_and_to_those_who_come_later() {
        let (link, agent) = pair();
        let (outgoing, main) = listen(&link, MAIN);
        drop(agent);
        assert!(matches!(main.recv().unwrap(), Incoming::Closed));
        let (_, later) = listen(&link, 1);
        assert!(matches!(later.recv().unwrap(), Incoming::Closed));
        assert!(!outgoing.input(&Request::StdinEnd), "nobody reads it");
    }

    #[test]
    fn bytes_that_are_no_message_end_it_for_all() {
        let (link, mut agent) = pair();
        let (_, main) = listen(&link, MAIN);
        agent.write_all(&[0xff; 16]).unwrap();
        assert!(matches!(main.recv().unwrap(), Incoming::Nonsense(_)));
    }

    #[test]
    fn input_waits_for_a_slow_program() {
        let (link, mut agent) = pair();
        let (outgoing, _main) = listen(&link, MAIN);
        let data = Request::Stdin { data: vec![0; WINDOW / 2] };
        assert!(outgoing.input(&data) && outgoing.input(&data));
        assert!(!outgoing.pass_on(&data), "it is too much");
        let (sent, third) = mpsc::channel();
        let reader = std::thread::spawn({
            let mut agent = agent.try_clone().unwrap();
            move || io::copy(&mut agent, &mut io::sink())
        });
        std::thread::spawn(move || sent.send(outgoing.input(&data)));
        assert!(third.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        say(&mut agent, MAIN, Reply::InputTaken { bytes: (WINDOW / 2) as u32 });
        assert!(third.recv().unwrap());
        agent.shutdown(std::net::Shutdown::Both).unwrap();
        reader.join().unwrap().unwrap();
    }
}
