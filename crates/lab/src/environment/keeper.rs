// SPDX-License-Identifier: GPL-2.0-only
//! The process that keeps a machine: it owns the QEMU, which ends with it, and serves those who use the machine.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::Lab;
use crate::error::{Context, Error, Kind, Result, Told};
use crate::event::{Event, Reporter};
use crate::link::Link;
use crate::share::Place as Programs;

use super::guest;
use super::machine::Machine;
use super::name::Name;
use super::protocol::{Answer, Messages, News, Order, Task, listen, say};
use super::record::{Place, Record, State};

/// How often the keeper looks whether it was told to stop by a signal, and whether its folder is still there.
const ATTENTION: Duration = Duration::from_millis(250);

/// How long a machine that has ended may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What happens to a machine that is kept.
enum Happening {
    /// It has ended, with what it sent if that was no message. The number says which start it was.
    Ended(u32, Option<String>),
    /// A client wants something, and waits for the answer.
    Wanted(Order, UnixStream),
}

/// Keeps the machine of this folder in the cache until it ends, or is to. Who has started this process is at the
/// other end of standard input, says there with what to start the machine, and is told of its beginning.
///
/// # Errors
///
/// When there is nobody to be told. All else is told there.
pub fn keep(lab: &Lab, folder: &Path) -> Result<()> {
    // Where it leads a group it was started by hand, and stays with its terminal.
    let _ = rustix::process::setsid();
    let starter = io::stdin().as_fd().try_clone_to_owned();
    let starter = UnixStream::from(starter.context(|| "share standard input".to_owned())?);
    let mut tasks = Messages::<Task>::of(&starter).context(|| "share standard input".to_owned())?;
    let Ok(Some(task)) = tasks.next() else {
        return Err(
            Error::usage("nobody says here what machine to keep").with_remedy("start one by `vexlab up`")
        );
    };
    let name = Name::parse(&folder.file_name().unwrap_or_default().to_string_lossy())?;
    let place = Place::of(lab, &name);

    let starter = Arc::new(starter);
    let is_up = Arc::new(AtomicBool::new(false));
    let lab = &Lab { reporter: Arc::new(Relay(Arc::clone(&starter))), ..lab.clone() };
    std::thread::spawn({
        let (is_up, cancel) = (Arc::clone(&is_up), lab.cancel.clone());
        move || {
            // Nothing more is said: this is its end.
            let _ = tasks.next();
            if !is_up.load(Ordering::SeqCst) {
                cancel.cancel();
            }
        }
    });

    let kept = match Kept::start(lab, place, task) {
        Ok(kept) => kept,
        Err(error) => {
            let told = say(&starter, &News::Failed(Told::from(&error)));
            return told.context(|| "tell that the machine did not start".to_owned());
        }
    };
    is_up.store(true, Ordering::SeqCst);
    if say(&starter, &News::Ready).and_then(|()| detach(kept.place.dir())).is_err() {
        // Whoever wanted it has gone in the last moment.
        lab.cancel.cancel();
    }
    kept.serve()
}

/// Lets go of what was shared with whoever has started this process.
fn detach(dir: &Path) -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(File::create(dir.join("keeper.log"))?)?;
    Ok(())
}

/// Tells events to whoever has started this process, as long as there is someone.
struct Relay(Arc<UnixStream>);

impl Reporter for Relay {
    fn event(&self, event: &Event<'_>) {
        let news = match event {
            Event::Progress { what, done, total } => {
                News::Progress { what: (*what).to_owned(), done: *done, total: *total }
            }
            Event::ProgressEnd => News::ProgressEnd,
            Event::Note(line) => News::Note((*line).to_owned()),
            // They are of runs.
            Event::Begin { .. }
            | Event::TestBegin { .. }
            | Event::Phase(..)
            | Event::Test(_)
            | Event::Splat(_)
            | Event::Output(..)
            | Event::End(_)
            | Event::Failed(_)
            | Event::Summary(_)
            | Event::Error(_) => return,
        };
        let _ = say(&self.0, &news);
    }
}

/// What clients are served with: the stream to the machine's agent, while there is one, and where programs run.
#[derive(Default)]
struct Service {
    link: Mutex<Option<(Link, Programs)>>,
    channels: AtomicU32,
}

impl Service {
    fn link(&self) -> MutexGuard<'_, Option<(Link, Programs)>> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine that is kept by this process.
struct Kept<'a> {
    lab: &'a Lab,
    place: Place,
    record: Record,
    machine: Machine,
    programs: Programs,
    service: Arc<Service>,
    happenings: Receiver<Happening>,
    happens: Sender<Happening>,
    starts: u32,
}

impl<'a> Kept<'a> {
    /// Starts the machine, and listens to clients. Nothing is left of a machine that says nothing; of another its
    /// console, and the record that it is dead.
    fn start(lab: &'a Lab, place: Place, Task { settings }: Task) -> Result<Self> {
        let before = place.read().ok().flatten();
        let mut record = place.claim(lab, settings)?;
        let settings = &record.settings;
        let started = settings.kind.start(lab, settings.cold, place.dir());
        let begun = started.and_then(|started| {
            let _ = std::fs::remove_file(place.socket());
            let listener = listen(&place.socket());
            let listener = listener.context(|| format!("listen at {}", place.socket().display()))?;
            record.accelerator = Some(started.accelerator);
            record.is_now(State::Running);
            place.keep(lab, &record)?;
            Ok((started.machine, started.place, listener))
        });
        let (machine, programs, listener) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                give_up(lab, &place, &mut record, before, &error);
                return Err(error);
            }
        };
        let (happens, happenings) = mpsc::channel();
        let service = Arc::<Service>::default();
        std::thread::spawn({
            let (service, happens) = (Arc::clone(&service), happens.clone());
            move || accept(&listener, &service, &happens)
        });
        let mut kept =
            Self { lab, place, record, machine, programs, service, happenings, happens, starts: 0 };
        kept.open();
        Ok(kept)
    }

    /// Lets clients in, and the machine run.
    fn open(&mut self) {
        self.starts += 1;
        let (number, happens) = (self.starts, self.happens.clone());
        self.machine.leave(move |why| drop(happens.send(Happening::Ended(number, why))));
        *self.service.link() = self.machine.link().map(|link| (link, self.programs.clone()));
    }

    /// Ends the machine, and with it what clients say to it.
    fn close(&mut self) {
        *self.service.link() = None;
        self.machine.end();
    }

    /// Serves until the machine has ended.
    fn serve(mut self) -> Result<()> {
        loop {
            match self.happenings.recv_timeout(ATTENTION) {
                Ok(Happening::Ended(number, why)) if number == self.starts => return self.has_ended(why),
                Ok(Happening::Ended(..)) => {}
                Ok(Happening::Wanted(order, client)) => {
                    let done = match order {
                        Order::Restart => self.restart(),
                        Order::Stop | Order::Talk => self.stop(),
                    };
                    let goes_on = matches!((order, &done), (Order::Restart, Ok(())));
                    let answer = done.map_or_else(|error| Answer::Failed((&error).into()), |()| Answer::Done);
                    // Whoever has asked may have gone.
                    let _ = say(&client, &answer);
                    if !goes_on {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout) if self.lab.cancel.is_cancelled() => return self.stop(),
                Err(RecvTimeoutError::Timeout) if self.machine.has_ended() => return self.has_ended(None),
                // The cache was deleted: nobody can reach the machine any more, or knows of it.
                Err(RecvTimeoutError::Timeout) if !self.place.dir().exists() => {
                    self.close();
                    return Ok(());
                }
                Err(_) => {}
            }
        }
    }

    fn stop(&mut self) -> Result<()> {
        self.close();
        self.place.release(self.lab, &mut self.record, State::Stopped)
    }

    /// Starts the machine anew. Where that fails it is dead.
    fn restart(&mut self) -> Result<()> {
        self.close();
        self.record.is_now(State::Starting);
        self.place.keep(self.lab, &self.record)?;
        let settings = &self.record.settings;
        let started = settings.kind.start(self.lab, settings.cold, self.place.dir()).and_then(|started| {
            self.record.accelerator = Some(started.accelerator);
            self.record.is_now(State::Running);
            self.place.keep(self.lab, &self.record)?;
            Ok((started.machine, started.place))
        });
        match started {
            Ok((machine, programs)) => {
                self.machine = machine;
                self.programs = programs;
                self.open();
                Ok(())
            }
            Err(error) => {
                let state = State::Dead { reason: error.to_string(), last_line: self.last_line() };
                self.place.release(self.lab, &mut self.record, state)?;
                Err(error)
            }
        }
    }

    /// Writes down how the machine has ended by itself.
    fn has_ended(&mut self, sent: Option<String>) -> Result<()> {
        *self.service.link() = None;
        self.machine.let_die(LAST_WORDS);
        let splat = self.machine.worst();
        let reason = match (sent, splat, self.machine.qemu_said()) {
            (Some(sent), ..) => format!("it sent {sent}"),
            (None, Some(splat), _) => splat.title,
            (None, None, said) if said.is_empty() => "it was powered off, or its QEMU ended".to_owned(),
            (None, None, said) => format!("its QEMU ended, and said: {said}"),
        };
        let state = State::Dead { reason, last_line: self.last_line() };
        self.place.release(self.lab, &mut self.record, state)
    }

    fn last_line(&self) -> Option<String> {
        self.machine.last_line()
    }
}

/// Leaves of a machine that did not start what is of use: its console, where it has said something.
fn give_up(lab: &Lab, place: &Place, record: &mut Record, before: Option<Record>, error: &Error) {
    let said = std::fs::metadata(place.console()).is_ok_and(|data| data.len() > 0);
    let state = match (error.kind(), before) {
        (Kind::Interrupted, Some(_)) => State::Stopped,
        (kind, before) if kind != Kind::Interrupted && (said || before.is_some()) => {
            State::Dead { reason: error.to_string(), last_line: None }
        }
        _ => return drop(place.remove(lab)),
    };
    // That it can't be written down is less than the error that is told.
    let _ = place.release(lab, record, state);
}

/// Lets clients in for as long as this process lives.
fn accept(listener: &UnixListener, service: &Arc<Service>, happens: &Sender<Happening>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else {
            // Too many of them at once: it passes.
            std::thread::sleep(ATTENTION);
            continue;
        };
        let (service, happens) = (Arc::clone(service), happens.clone());
        let thread = std::thread::Builder::new();
        // Where there is no thread for it, it is told by the end of the stream.
        let _ = thread.spawn(move || serve_client(&stream, &service, &happens));
    }
}

fn serve_client(stream: &UnixStream, service: &Service, happens: &Sender<Happening>) {
    let Ok(mut orders) = Messages::<Order>::of(stream) else { return };
    match orders.next() {
        Ok(Some(Order::Talk)) => talk(stream, service),
        Ok(Some(order)) => {
            // It is answered there.
            if let Ok(client) = stream.try_clone() {
                let _ = happens.send(Happening::Wanted(order, client));
            }
        }
        Ok(None) | Err(_) => {}
    }
}

fn talk(stream: &UnixStream, service: &Service) {
    let link = service.link().clone();
    let Some((link, programs)) = link else {
        let error = Error::lab("the machine is just being ended, or started anew");
        let answer = Answer::Failed((&error.with_remedy("try again in a moment")).into());
        // Whoever has asked may have gone.
        let _ = say(stream, &answer);
        return;
    };
    let channel = service.channels.fetch_add(1, Ordering::Relaxed) + 1;
    if say(stream, &Answer::Done).is_ok() {
        guest::pass_on(stream, &link, channel, programs);
    }
}
