// SPDX-License-Identifier: GPL-2.0-only
//! Machines are started, stopped, started anew and removed.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use crate::Lab;
use crate::cancel::POLL;
use crate::error::{Context, Error, Kind, Result};
use crate::project::Project;

use super::kind::{Choice, Settings};
use super::name::Name;
use super::protocol::{Answer, Messages, News, Order, Task, connect, say};
use super::record::{Place, Record, State, find, not_running};

/// How long a keeper may take to stop its machine, or to let a client in.
const PATIENCE: Duration = Duration::from_secs(10);

/// Starts a machine, which runs on when this process has ended. One that there was before is started with the
/// settings that it had, but for what is chosen now. `keeper` is a command to which the machine's folder is added,
/// and that calls [`keep`](super::keep()).
///
/// # Errors
///
/// When there is a machine of this name that runs, or it can't be started.
pub fn up(
    lab: &Lab,
    name: &Name,
    project: Option<&Project>,
    choice: &Choice<'_>,
    keeper: Command,
) -> Result<Record> {
    let place = Place::of(lab, name);
    let mut settings = match place.look(lab)? {
        // One that never came up has none that have proved good.
        Some(record) if record.accelerator.is_some() => {
            record.settings.kind.require_same(name, choice)?;
            record.settings.with(choice)
        }
        _ => Settings::new(project, choice),
    };
    settings.kind.provide(lab)?;
    start(lab, &place, settings, keeper)
}

/// Starts a machine anew, from its saved state where there is one; whoever is connected to it is not any more.
/// `keeper` is as for [`up`], and called where the machine does not run.
///
/// # Errors
///
/// When there is none, or it can't be started.
pub fn restart(lab: &Lab, name: &Name, keeper: Command) -> Result<Record> {
    let (place, record) = find(lab, name)?;
    match record.state {
        State::Starting => return Err(not_running(&record)),
        State::Running => {
            order(lab, &place, &Order::Restart, None)?;
        }
        State::Stopped | State::Dead { .. } => {
            let mut settings = record.settings;
            settings.kind.provide(lab)?;
            return start(lab, &place, settings, keeper);
        }
    }
    find(lab, name).map(|(_, record)| record)
}

/// Stops a machine. What it said, and what it is started with, are kept.
///
/// # Errors
///
/// When there is none of this name, or none that runs.
pub fn stop(lab: &Lab, name: &Name) -> Result<()> {
    let (place, record) = find(lab, name)?;
    if record.owner.is_none() {
        return Err(not_running(&record));
    }
    end(lab, &place, &record)
}

/// Removes a machine with all that was kept of it. One that runs is only removed by `force`.
///
/// # Errors
///
/// When there is none, or it runs.
pub fn remove(lab: &Lab, name: &Name, force: bool) -> Result<()> {
    let place = Place::of(lab, name);
    match find(lab, name) {
        Ok((_, record)) if record.owner.is_some() && force => end(lab, &place, &record)?,
        Ok((_, record)) if record.owner.is_some() => {
            return Err(Error::usage(format!("the machine {name} is {}", record.state.word()))
                .with_remedy(format!("`vexlab stop {name}` first, or `vexlab rm --force {name}`")));
        }
        // Force is for records that can't be read, too.
        Err(error) if !force || !place.dir().exists() => return Err(error),
        _ => {}
    }
    place.remove_if_over(lab, force)
}

/// Ends a machine through its keeper; a keeper that does not listen is ended itself, and its machine with it.
fn end(lab: &Lab, place: &Place, record: &Record) -> Result<()> {
    let Some(owner) = &record.owner else { return Ok(()) };
    let listens = match record.state {
        State::Running => order(lab, place, &Order::Stop, Some(PATIENCE)).is_ok(),
        _ => owner.ask_to_end().is_ok(),
    };
    if listens {
        owner.wait_for_end(PATIENCE);
    }
    owner.kill()?;
    place.look(lab).map(drop)
}

/// Has the keeper of a running machine do something.
fn order(lab: &Lab, place: &Place, order: &Order, limit: Option<Duration>) -> Result<UnixStream> {
    let ask = || -> io::Result<(UnixStream, Option<Answer>)> {
        let stream = connect(&place.socket())?;
        stream.set_read_timeout(limit)?;
        say(&stream, order)?;
        let answer = Messages::<Answer>::of(&stream)?.next()?;
        stream.set_read_timeout(None)?;
        Ok((stream, answer))
    };
    match ask() {
        Ok((stream, Some(Answer::Done))) => Ok(stream),
        Ok((_, Some(Answer::Failed(told)))) => Err(told.into()),
        // It may have ended in this moment: then its record says so.
        ended => {
            let cause = match ended.err() {
                Some(error) if error.kind() == ErrorKind::WouldBlock => "its keeper says nothing".to_owned(),
                Some(error) => error.to_string(),
                None => "its keeper has closed the connection".to_owned(),
            };
            Err(not_running(&find(lab, &place.name)?.1).with_source(cause))
        }
    }
}

/// A machine that runs.
pub(super) fn running(lab: &Lab, name: &Name) -> Result<(Place, Record)> {
    let (place, record) = find(lab, name)?;
    match record.state {
        State::Running => Ok((place, record)),
        _ => Err(not_running(&record)),
    }
}

/// A stream to the agent of a running machine.
pub(super) fn talk(lab: &Lab, place: &Place) -> Result<UnixStream> {
    order(lab, place, &Order::Talk, Some(PATIENCE))
}

/// Starts a keeper and waits until its machine runs.
fn start(lab: &Lab, place: &Place, settings: Settings, keeper: Command) -> Result<Record> {
    let what = || "start the process that keeps the machine".to_owned();
    let (ours, theirs) = UnixStream::pair().context(what)?;
    let mut keeper = spawn(keeper, place.dir(), theirs.into()).context(what)?;
    let started = say(&ours, &Task { settings }).context(what).and_then(|()| follow(lab, &ours));
    // One that has failed, or was told to stop, ends by itself.
    drop(ours);
    if started.is_err() {
        let _ = keeper.wait();
    }
    started?;
    find(lab, &place.name).map(|(_, record)| record)
}

fn spawn(mut keeper: Command, folder: &Path, end: OwnedFd) -> io::Result<Child> {
    // The folder that it is started in may be removed while it runs. It leaves our session by itself.
    keeper.arg(folder).current_dir("/").stdin(end).stdout(Stdio::null()).spawn()
}

/// Hands on what the keeper tells until its machine runs, or does not.
fn follow(lab: &Lab, stream: &UnixStream) -> Result<()> {
    let what = || "hear how the machine fares".to_owned();
    let mut messages = Messages::<News>::of(stream).context(what)?;
    let (sender, news) = mpsc::channel();
    std::thread::spawn(move || {
        while let Ok(Some(message)) = messages.next() {
            if sender.send(message).is_err() {
                return;
            }
        }
    });
    let mut told_to_stop = false;
    loop {
        if lab.cancel.is_cancelled() && !told_to_stop {
            told_to_stop = true;
            // It notices, and tells when it has cleaned up.
            stream.shutdown(std::net::Shutdown::Write).context(what)?;
        }
        match news.recv_timeout(POLL) {
            Ok(News::Progress { what, done, total }) => lab.progress(&what, done, total),
            Ok(News::ProgressEnd) => lab.progress_end(),
            Ok(News::Note(line)) => lab.note(&line),
            Ok(News::Ready) => return Ok(()),
            Ok(News::Failed(told)) => return Err(told.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                lab.cancel.check()?;
                return Err(Error::new(Kind::Lab, "the process that keeps the machine ended without a word")
                    .with_remedy("run the command again; `vexlab doctor` looks at this machine"));
            }
        }
    }
}
