// SPDX-License-Identifier: GPL-2.0-only
//! A client's conversation with the agent of a machine that is kept.

use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use wire::{Exit, MAIN, Process, Reply, Request, Stream};

use crate::Lab;
use crate::cancel::{Cancel, POLL};
use crate::error::{Context, Error, Kind, Result};
use crate::link::{Incoming, Link, Outgoing, Taken};
use crate::run;

use super::control::talk;
use super::name::Name;
use super::record::{Place, Record, State};

/// How long a keeper may take to write down how its machine has ended.
const OBITUARY: Duration = Duration::from_secs(5);

/// The signal that a program gets whose output nobody reads.
const BROKEN_PIPE: i32 = 13;

/// The two ends of a program in the machine.
pub struct Ends<'a> {
    /// Takes its output. An error means that nobody reads it any more; then it is ended.
    pub output: &'a mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    /// Gets the means to send keys, sizes and signals to the program once it was started.
    pub input: &'a mut dyn FnMut(Outgoing),
}

/// A conversation with the agent of a machine that is kept. What it has left running ends with it.
pub struct Conversation<'a> {
    lab: &'a Lab,
    place: Place,
    record: Record,
    stream: std::os::unix::net::UnixStream,
    link: Link,
    outgoing: Outgoing,
    incoming: Receiver<Incoming>,
    taken: Taken,
}

impl<'a> Conversation<'a> {
    /// Opens one with the machine of this name.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or none that runs.
    pub fn open(lab: &'a Lab, name: &Name) -> Result<Self> {
        let (place, record, stream) = talk(lab, name)?;
        let what = || format!("talk to the machine {name}");
        let link = Link::new(stream.try_clone().context(what)?).context(what)?;
        let (sender, incoming) = mpsc::channel();
        let outgoing = link.open(MAIN, Box::new(move |incoming| sender.send(incoming).is_ok()));
        Ok(Self { lab, place, record, stream, link, outgoing, incoming, taken: Taken::default() })
    }

    /// Runs a program in the machine until it ends by itself, or nobody reads its output.
    ///
    /// # Errors
    ///
    /// When the machine ends first.
    pub fn run(&mut self, process: Process, ends: &mut Ends<'_>) -> Result<Exit> {
        let name = process.arguments.first().cloned().unwrap_or_default();
        self.send(&Request::Run(process))?;
        (ends.input)(self.outgoing.clone());
        loop {
            match self.next(None)? {
                Reply::Output { stream, data } => {
                    if (ends.output)(stream, &data).is_err() {
                        return Ok(Exit::Signal(BROKEN_PIPE));
                    }
                }
                Reply::Exited(exit) => return Ok(exit),
                Reply::Failed { action, errno } => {
                    let (exit, why) = run::not_run(&action, errno);
                    self.lab.note(&why);
                    return Ok(exit);
                }
                other => return Err(unexpected(&name, &other)),
            }
        }
    }

    pub(super) fn send(&self, request: &Request) -> Result<()> {
        self.outgoing.send(request).map_err(|lost| Error::lab(lost.to_string()))
    }

    /// The request to stop that whoever has opened it keeps an eye on.
    pub(super) fn cancel(&self) -> Cancel {
        self.lab.cancel.clone()
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        self.outgoing.clone()
    }

    /// Lets whoever waits to send input wait no longer: the program has ended.
    pub(super) fn stop_input(&self) {
        self.link.close(MAIN);
    }

    /// The next reply of interest; output counts as taken. Where there is a `cancel`, it is not waited for longer.
    pub(super) fn next(&mut self, cancel: Option<&Cancel>) -> Result<Reply> {
        loop {
            match self.incoming.recv_timeout(POLL) {
                Ok(Incoming::Reply(Reply::InputTaken { .. } | Reply::Log { .. }, _)) => {}
                Ok(Incoming::Reply(reply, _)) => {
                    if let Reply::Output { data, .. } = &reply {
                        // One that has ended takes no notice.
                        let _ = self.taken.count(data.len(), &self.outgoing);
                    }
                    return Ok(reply);
                }
                Ok(Incoming::Nonsense(what)) => {
                    return Err(Error::lab(format!(
                        "the keeper of the machine {} sent {what}",
                        self.place.name
                    )));
                }
                Ok(Incoming::Closed) | Err(RecvTimeoutError::Disconnected) => return Err(self.lost()),
                Err(RecvTimeoutError::Timeout) => cancel.map_or(Ok(()), Cancel::check)?,
            }
        }
    }

    /// Why there is no more of the conversation.
    fn lost(&self) -> Error {
        let name = &self.place.name;
        let deadline = std::time::Instant::now() + OBITUARY;
        let error = |why: &str| Error::new(Kind::MachineLost, format!("the machine {name} {why}"));
        loop {
            match self.place.look(self.lab) {
                Ok(Some(record)) if record.is_still(&self.record) => {}
                Ok(Some(Record { state: State::Dead { reason, .. }, .. })) => {
                    return error(&format!("has died meanwhile: {reason}")).with_remedy(format!(
                        "`vexlab logs {name}` shows its console, `vexlab up {name}` starts it anew"
                    ));
                }
                Ok(Some(Record { state: State::Stopped, .. })) => return error("was stopped meanwhile"),
                Ok(Some(_)) => return error("was started anew meanwhile"),
                Ok(None) => return error("was removed meanwhile"),
                Err(error) => return error,
            }
            if std::time::Instant::now() > deadline {
                return error("has closed the connection");
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        // The keeper notices; it may have done so first.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

pub(super) fn unexpected(what: &str, reply: &Reply) -> Error {
    Error::lab(format!("{what}: the agent answered {reply:?}"))
}
