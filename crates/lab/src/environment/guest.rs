// SPDX-License-Identifier: GPL-2.0-only
//! A client's conversation with the machine's agent, as the keeper passes it on.
//!
//! Each client has a channel of its own. How far a program's output and input run ahead is up to the two ends; the
//! keeper sees to it that neither claims more than it may, so that what is on its way here stays small.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use wire::{Addressed, Channel, MAIN, Reply, Request};

use crate::link::{Incoming, Link, Outgoing};
use crate::share::Place;

use super::protocol::{Messages, say};

/// How long a program may take to end after its client has gone and it was told so.
const PATIENCE: Duration = Duration::from_secs(2);

/// Signals' numbers, which the machine's kernel shares with ours.
const HANGUP: i32 = 1;
const KILL: i32 = 9;

/// A client's conversation.
struct Guest {
    outgoing: Outgoing,
    /// Where its programs run.
    programs: Place,
    /// The request that is being carried out.
    request: Mutex<Option<Kind>>,
    changed: Condvar,
    /// How much output has gone to the client of which it has not said that it was taken.
    untaken: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Program,
    Other,
}

/// The client says what no client may.
#[derive(Debug)]
struct Forbidden;

/// Passes everything on until the client or the machine has gone. What the client has left running is ended.
pub(super) fn pass_on(stream: &UnixStream, link: &Link, channel: Channel, programs: Place) {
    let (Ok(mut requests), Ok(replies)) = (Messages::<Addressed<Request>>::of(stream), stream.try_clone())
    else {
        return;
    };
    let (sender, receiver) = mpsc::channel();
    let guest = Arc::new_cyclic(|guest: &std::sync::Weak<Guest>| {
        let guest = guest.clone();
        let sink = move |incoming: Incoming| {
            let ends = match &incoming {
                Incoming::Reply(reply, _) => reply.ends_request(),
                Incoming::Closed | Incoming::Nonsense(_) => true,
            };
            if let Some(guest) = guest.upgrade().filter(|_| ends) {
                guest.is_over();
            }
            sender.send(incoming).is_ok()
        };
        Guest {
            outgoing: link.open(channel, Box::new(sink)),
            programs,
            request: Mutex::default(),
            changed: Condvar::new(),
            untaken: AtomicU64::new(0),
        }
    });
    let writer = std::thread::spawn({
        let guest = Arc::clone(&guest);
        move || write(&receiver, &replies, &guest)
    });
    while let Ok(Some(Addressed { channel: MAIN, message })) = requests.next() {
        if guest.take(message).is_err() {
            break;
        }
    }
    // It hears nothing more, however it was that it has gone.
    let _ = stream.shutdown(Shutdown::Both);
    guest.hang_up();
    link.close(channel);
    let _ = writer.join();
}

/// Writes what comes from the machine to the client, which may be slow.
fn write(replies: &Receiver<Incoming>, stream: &UnixStream, guest: &Guest) {
    let mut gone = false;
    for incoming in replies {
        let Incoming::Reply(reply, _) = incoming else { break };
        if gone {
            continue;
        }
        if let Reply::Output { data, .. } = &reply {
            guest.untaken.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        gone = say(stream, &Addressed::new(MAIN, reply)).is_err();
    }
    let _ = stream.shutdown(Shutdown::Both);
}

impl Guest {
    /// Passes a request on.
    fn take(&self, mut request: Request) -> Result<(), Forbidden> {
        match &mut request {
            // The machine is its keeper's, and so is what it is shown.
            Request::Hello { .. }
            | Request::PowerOff
            | Request::Share { .. }
            | Request::ShareReply { .. }
            | Request::ShareEnd
            | Request::Root { .. }
            | Request::Show { .. }
            | Request::Sample { .. }
            | Request::Samples => return Err(Forbidden),
            Request::OutputTaken { bytes } => {
                let taken = |untaken: u64| untaken.checked_sub(u64::from(*bytes));
                self.untaken
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken)
                    .map_err(|_| Forbidden)?;
            }
            Request::Stdin { .. } | Request::StdinEnd | Request::Resize(_) | Request::Signal { .. } => {}
            Request::Run(process) => {
                self.programs.hold(process);
                self.begin(Kind::Program)?;
            }
            Request::Put { .. }
            | Request::Read { .. }
            | Request::ReadAt { .. }
            | Request::Ask { .. }
            | Request::Load { .. }
            | Request::Unload { .. }
            | Request::Exercise { .. } => self.begin(Kind::Other)?,
        }
        if self.outgoing.pass_on(&request) { Ok(()) } else { Err(Forbidden) }
    }

    fn begin(&self, kind: Kind) -> Result<(), Forbidden> {
        match &mut *self.lock() {
            Some(_) => Err(Forbidden),
            none => {
                *none = Some(kind);
                Ok(())
            }
        }
    }

    fn is_over(&self) {
        *self.lock() = None;
        self.changed.notify_all();
    }

    /// Ends the program that still runs, as a terminal that is closed does; by force where that is not enough.
    fn hang_up(&self) {
        if *self.lock() != Some(Kind::Program) {
            return;
        }
        for number in [HANGUP, KILL] {
            // Where the machine has gone, so has the program.
            let _ = self.outgoing.send(&Request::Signal { number });
            if self.wait(PATIENCE) {
                return;
            }
        }
    }

    /// Waits until nothing is being carried out any more, at most so long. Says whether that is so.
    fn wait(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut request = self.lock();
        while request.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            request = self.changed.wait_timeout(request, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kind>> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread::{JoinHandle, spawn};

    use wire::{Exit, Process, Stream, WINDOW};

    use super::*;

    const CHANNEL: Channel = 7;

    /// A client, a machine's agent, and what is between them.
    struct Scene {
        client: UnixStream,
        replies: Messages<Addressed<Reply>>,
        agent: UnixStream,
        requests: Messages<Addressed<Request>>,
        between: JoinHandle<()>,
    }

    fn scene() -> Scene {
        let (client, server) = UnixStream::pair().unwrap();
        let (ours, agent) = UnixStream::pair().unwrap();
        let link = Link::new(ours).unwrap();
        Scene {
            replies: Messages::of(&client).unwrap(),
            requests: Messages::of(&agent).unwrap(),
            client,
            agent,
            between: spawn(move || pass_on(&server, &link, CHANNEL, Place::default())),
        }
    }

    impl Scene {
        fn asks(&self, request: Request) {
            say(&self.client, &Addressed::new(MAIN, request)).unwrap();
        }

        fn answers(&self, reply: Reply) {
            say(&self.agent, &Addressed::new(CHANNEL, reply)).unwrap();
        }

        fn agent_hears(&mut self) -> Request {
            let Addressed { channel, message } = self.requests.next().unwrap().unwrap();
            assert_eq!(channel, CHANNEL);
            message
        }

        fn client_hears(&mut self) -> Option<Reply> {
            let Ok(Some(Addressed { channel: MAIN, message })) = self.replies.next() else { return None };
            Some(message)
        }

        fn runs_a_program(&mut self) {
            let run = Request::Run(Process::new(vec!["true".into()]));
            self.asks(run.clone());
            assert_eq!(self.agent_hears(), run);
        }
    }

    #[test]
    fn requests_and_replies_get_through_on_a_channel_of_their_own() {
        let mut scene = scene();
        scene.runs_a_program();
        scene.answers(Reply::Exited(Exit::Status(3)));
        assert_eq!(scene.client_hears(), Some(Reply::Exited(Exit::Status(3))));
        scene.runs_a_program();
    }

    #[test]
    fn a_client_that_goes_takes_its_program_with_it() {
        let mut scene = scene();
        scene.runs_a_program();
        scene.client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(scene.agent_hears(), Request::Signal { number: HANGUP });
        // It takes no notice.
        assert_eq!(scene.agent_hears(), Request::Signal { number: KILL });
        scene.answers(Reply::Exited(Exit::Signal(KILL)));
        scene.between.join().unwrap();
    }

    #[test]
    fn what_no_client_may_say_ends_the_conversation() {
        let taken = Request::OutputTaken { bytes: 1 };
        let much = Request::Stdin { data: vec![0; WINDOW / 2] };
        for said in [vec![Request::PowerOff], vec![taken], vec![much.clone(), much.clone(), much]] {
            let mut scene = scene();
            let count = said.len();
            let heard = spawn({
                move || {
                    let mut heard = 0;
                    while let Ok(Some(_)) = scene.requests.next() {
                        heard += 1;
                    }
                    (scene.between.join(), heard)
                }
            });
            let client = scene.client;
            for request in said {
                // The last may find nobody.
                let _ = say(&client, &Addressed::new(MAIN, request));
            }
            assert!(scene.replies.next().is_ok_and(|reply| reply.is_none()), "it is told nothing more");
            scene.agent.shutdown(Shutdown::Both).unwrap();
            let (ended, heard) = heard.join().unwrap();
            ended.unwrap();
            assert_eq!(heard, count - 1, "the agent heard of none of it");
        }
    }

    #[test]
    fn the_machines_end_is_the_conversations() {
        let mut scene = scene();
        scene.runs_a_program();
        scene.answers(Reply::Output { stream: Stream::Stdout, data: vec![1] });
        assert!(scene.client_hears().is_some());
        scene.agent.shutdown(Shutdown::Both).unwrap();
        assert_eq!(scene.client_hears(), None);
        scene.between.join().unwrap();
    }
}
