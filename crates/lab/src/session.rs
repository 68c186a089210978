// SPDX-License-Identifier: GPL-2.0-only
//! A running machine, and the conversation with the agent in it.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use command_fds::{CommandFdExt, FdMapping};
use wire::{Challenge, MAIN, Reply, Request, Stream};

use crate::cancel::{Cancel, POLL};
use crate::console::{Watch, end_of};
use crate::control::Control;
use crate::error::{Context, Error, Result};
use crate::link::{Incoming, Link, Outgoing, Taken};
use crate::machine::{Machine, Sockets, Start};
use crate::process::end_group;
use crate::qmp::{self, Message, Version};
use crate::splat::{Splat, merge, parse_lines};

/// The descriptors that QEMU finds its sockets at.
pub(crate) const SOCKETS: Sockets = Sockets { agent: 3, console: 4, control: 5 };

/// How long QEMU may take to carry out a command, saving included.
const CONTROL: Duration = Duration::from_secs(10);

/// How long an answer is waited for after the kernel has oopsed.
const AFTER_OOPS: Duration = Duration::from_secs(3);

/// Why a conversation came to an early end. The machine is of no use after it.
#[derive(Debug)]
pub enum Lost {
    /// The agent did not answer in time.
    TimedOut {
        /// How long was waited.
        limit: Duration,
    },
    /// QEMU ended, or the agent's port closed, before the end message.
    Ended {
        /// What QEMU printed on standard error.
        qemu: String,
    },
    /// What came from the machine is no message, or not one that fits.
    Nonsense(String),
    /// QEMU won't, or can't, save or restore the machine.
    Control(String),
    /// Whoever listened has heard enough.
    Enough,
    /// The user stopped it.
    Interrupted(Error),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut { limit } => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Self::Ended { qemu } if qemu.trim().is_empty() => {
                write!(f, "the machine ended without its end message")
            }
            Self::Ended { qemu } => {
                write!(f, "the machine ended without its end message; QEMU said: {}", qemu.trim())
            }
            Self::Nonsense(what) => write!(f, "the machine sent {what}"),
            Self::Control(what) => write!(f, "QEMU said: {what}"),
            Self::Enough => write!(f, "nothing more was waited for"),
            Self::Interrupted(error) => error.fmt(f),
        }
    }
}

/// One record of the machine's kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The `printk` level, 0 to 7.
    pub level: u8,
    /// When it was made: the time since the machine's kernel started.
    pub at: Duration,
    /// The text.
    pub text: String,
}

/// What the caller of a request is shown while it is carried out.
pub trait Listener {
    /// Output of the command, or content of the file.
    fn output(&mut self, stream: Stream, bytes: &[u8]);

    /// Whether nothing more is to be waited for, the end of the request included.
    fn has_enough(&self) -> bool {
        false
    }
}

/// A listener that keeps the output as one text.
#[derive(Debug, Default)]
pub struct Collect(pub Vec<u8>);

/// How much output a test may have, in bytes; the rest is dropped.
const COLLECT_LIMIT: usize = 16 << 20;

impl Listener for Collect {
    fn output(&mut self, _: Stream, bytes: &[u8]) {
        let room = COLLECT_LIMIT.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A running machine. Its QEMU ends with this value.
#[derive(Debug)]
pub struct Session {
    child: Child,
    incoming: Receiver<Event>,
    link: Link,
    outgoing: Outgoing,
    taken: Taken,
    watch: Arc<Watch>,
    log: Vec<LogRecord>,
    cancel: Cancel,
    console_log: PathBuf,
    qemu_log: PathBuf,
    open: bool,
    challenge: Challenge,
    control: Option<Control>,
    /// The QEMU that saved the machine, where it was restored.
    restored: Option<Version>,
    started: Instant,
    /// When the last reply arrived.
    answered: Instant,
}

/// What a session waits for.
#[derive(Debug)]
enum Event {
    Agent(Incoming),
    Control(Message),
}

/// What [`Session::hear`] has heard.
enum Heard {
    Reply(Reply, Instant),
    Aside,
    Nothing,
}

impl Session {
    /// Starts the machine and greets its agent. The console goes to `console.log` in `dir`, behind what is there
    /// already, QEMU's own words to `qemu.log`.
    ///
    /// # Errors
    ///
    /// When QEMU can't be started or the files can't be made.
    pub fn start(machine: &Machine, dir: &Path, cancel: &Cancel) -> Result<Self> {
        let pair = |what: &str| UnixStream::pair().context(|| format!("make a socket for {what}"));
        let (port, agent_end) = pair("the agent")?;
        let (console, console_end) = pair("the console")?;
        let (control, control_end) = match machine.start {
            Start::PowerOn => (None, None),
            Start::ToBeSaved(_) | Start::Restored(_) => {
                let (ours, theirs) = pair("QEMU")?;
                (Some(ours), Some(theirs))
            }
        };
        let console_log = dir.join("console.log");
        let console_file = File::options()
            .append(true)
            .create(true)
            .open(&console_log)
            .context(|| format!("make {}", console_log.display()))?;
        let qemu_log = dir.join("qemu.log");
        let errors = File::create(&qemu_log).context(|| format!("make {}", qemu_log.display()))?;
        let ends = [
            (SOCKETS.agent, Some(agent_end)),
            (SOCKETS.console, Some(console_end)),
            (SOCKETS.control, control_end),
        ];
        let started = Instant::now();
        let child = spawn(&machine.qemu, machine.arguments(SOCKETS), ends, errors)?;

        let watch = Arc::new(Watch::default());
        let (sender, incoming) = mpsc::channel();
        let link = Link::new(port).context(|| "share the agent's socket".to_owned())?;
        let outgoing = link.open(MAIN, {
            let sender = sender.clone();
            Box::new(move |incoming| sender.send(Event::Agent(incoming)).is_ok())
        });
        std::thread::spawn({
            let watch = Arc::clone(&watch);
            move || keep_console(console, console_file, &watch)
        });
        let control = control.map(Control::open);
        if let Some(control) = &control {
            control.listen(move |message| {
                // Where nobody listens any more, it must still be read.
                let _ = sender.send(Event::Control(message));
                true
            })?;
        }
        let (hello, challenge) = greeting(machine)?;
        let session = Self {
            child,
            incoming,
            link,
            outgoing,
            taken: Taken::default(),
            watch,
            log: Vec::new(),
            cancel: cancel.clone(),
            console_log,
            qemu_log,
            open: true,
            challenge,
            control,
            restored: None,
            started,
            answered: started,
        };
        session.send(&hello).map_err(|lost| Error::lab(lost.to_string()))?;
        Ok(session)
    }

    /// Starts a machine from its saved state: as [`start`](Self::start), with the state of its devices, which
    /// this version of QEMU has saved, in a file.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start). That it can't be restored is told by [`wait_for_boot`](Self::wait_for_boot).
    pub fn restore(
        machine: &Machine,
        devices: &Path,
        version: &Version,
        dir: &Path,
        cancel: &Cancel,
    ) -> Result<Self> {
        let mut session = Self::start(machine, dir, cancel)?;
        if let Some(control) = &mut session.control {
            // Nobody waits until QEMU has read it; its processors start as soon as all is there.
            control.tell(&[qmp::restore(version, devices)]);
        }
        session.restored = Some(version.clone());
        Ok(session)
    }

    /// Saves the machine, whose agent waits, by writing the state of its devices to a file; its memory is one
    /// already. It has stopped for ever then. Where it can't be saved it goes on. Gives the QEMU that did it.
    ///
    /// # Errors
    ///
    /// [`Lost`]; after [`Lost::Control`] the machine goes on.
    pub fn save(&mut self, devices: &Path) -> Result<Version, Lost> {
        self.control(&[])?;
        let version = self.control.as_ref().and_then(Control::version).cloned();
        let version = version.ok_or_else(|| Lost::Control("it did not say which it is".to_owned()))?;
        self.control(&[qmp::tell_progress(), qmp::save(&version, devices)])?;
        let end = |control: &Control| match control.migration() {
            Some("completed") => devices.exists(),
            status => status == Some("failed"),
        };
        self.hear_until(end)?;
        match self.control.as_ref().and_then(Control::migration) {
            Some("completed") => Ok(version),
            _ => {
                let said = fs::read_to_string(&self.qemu_log).unwrap_or_default();
                Err(Lost::Control(format!("saving failed\n{said}")))
            }
        }
    }

    /// Stops the machine's processors while there is nothing to do for it, where QEMU listens.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub fn pause(&mut self) -> Result<(), Lost> {
        if self.control.is_some() { self.control(&[qmp::pause()]) } else { Ok(()) }
    }

    /// Has a machine that may be [paused](Self::pause) go on, and greets its agent once more: that proves that it
    /// lives, and gives it the present time.
    ///
    /// # Errors
    ///
    /// [`Lost`], also when the agent refuses.
    pub fn resume(&mut self, machine: &Machine, limit: Duration) -> Result<(), Lost> {
        if self.control.is_some() {
            self.control(&[qmp::resume()])?;
        }
        let (hello, expected) = greeting(machine).map_err(|error| Lost::Nonsense(error.to_string()))?;
        match self.request(&hello, limit)? {
            Reply::Hello { version: wire::VERSION, challenge } if challenge == expected => Ok(()),
            other => Err(Lost::Nonsense(format!("{other:?} instead of its greeting"))),
        }
    }

    /// Tells QEMU to do things, and waits until they are done.
    fn control(&mut self, commands: &[String]) -> Result<(), Lost> {
        let Some(control) = &mut self.control else {
            return Err(Lost::Control("nothing, since it was not asked to listen".to_owned()));
        };
        control.tell(commands);
        self.hear_until(Control::is_quiet)?;
        let refusal = self.control.as_ref().and_then(Control::refusal);
        refusal.map_or(Ok(()), |why| Err(Lost::Control(why.to_owned())))
    }

    fn hear_until(&mut self, done: impl Fn(&Control) -> bool) -> Result<(), Lost> {
        let deadline = Instant::now() + CONTROL;
        while !self.control.as_ref().is_some_and(&done) {
            self.hear_aside()?;
            if Instant::now() > deadline {
                return Err(Lost::TimedOut { limit: CONTROL });
            }
        }
        Ok(())
    }

    /// Asks nothing of the machine for a while. What its kernel says meanwhile is kept.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub fn leave_alone(&mut self, time: Duration) -> Result<(), Lost> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.hear_aside()?;
        }
        Ok(())
    }

    /// As [`hear`](Self::hear), while no request is being carried out.
    fn hear_aside(&mut self) -> Result<(), Lost> {
        match self.hear()? {
            Heard::Reply(reply, _) => Err(Lost::Nonsense(format!("{reply:?}, for which nobody asked"))),
            Heard::Aside | Heard::Nothing => Ok(()),
        }
    }

    /// What comes next, at the latest after a moment. What the kernel and QEMU say on the side is kept.
    fn hear(&mut self) -> Result<Heard, Lost> {
        match self.incoming.recv_timeout(POLL) {
            Ok(Event::Agent(Incoming::Reply(Reply::Log { level, uptime_micros, text }, _))) => {
                self.log.push(LogRecord { level, at: Duration::from_micros(uptime_micros), text });
            }
            Ok(Event::Agent(Incoming::Reply(Reply::InputTaken { .. }, _))) => {}
            Ok(Event::Agent(Incoming::Reply(reply, arrived))) => return Ok(Heard::Reply(reply, arrived)),
            Ok(Event::Control(message)) => {
                if let Some(control) = &mut self.control {
                    control.heard(message);
                    if let (Some(_), Some(why)) = (&self.restored, control.refusal()) {
                        return Err(Lost::Control(why.to_owned()));
                    }
                }
            }
            Ok(Event::Agent(Incoming::Nonsense(what))) => return Err(Lost::Nonsense(what)),
            Ok(Event::Agent(Incoming::Closed)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(self.ended());
            }
            Err(RecvTimeoutError::Timeout) => {
                self.cancel.check().map_err(Lost::Interrupted)?;
                if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                    return Err(self.ended());
                }
                return Ok(Heard::Nothing);
            }
        }
        Ok(Heard::Aside)
    }

    /// What has been seen of the console.
    pub fn console(&self) -> &Watch {
        &self.watch
    }

    /// The kernel's log so far, as the agent sent it.
    pub fn log(&self) -> &[LogRecord] {
        &self.log
    }

    /// What the kernel has reported, in order, each report once. The agent sends more than the console has, and the
    /// console has what comes after the agent's end.
    pub fn splats(&self) -> Vec<Splat> {
        parse_lines(merge(&self.log, &end_of(&self.console_log)))
    }

    /// The means to send input to the running program.
    pub fn outgoing(&self) -> Outgoing {
        self.outgoing.clone()
    }

    /// The stream to the agent, for conversations beside this one.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Lets the machine run by itself: what concerns it as a whole is no longer waited for, and `ended` is told of its
    /// end, with what it sent if that was no message.
    pub fn leave(&mut self, ended: impl FnOnce(Option<String>) + Send + 'static) {
        let mut ended = Some(ended);
        self.outgoing = self.link.open(
            MAIN,
            Box::new(move |incoming| {
                let why = match incoming {
                    // The kernel's log, which its console has as well.
                    Incoming::Reply(..) => return true,
                    Incoming::Nonsense(what) => Some(what),
                    Incoming::Closed => None,
                };
                if let Some(ended) = ended.take() {
                    ended(why);
                }
                false
            }),
        );
        self.incoming = mpsc::channel().1;
        self.log = Vec::new();
    }

    /// What QEMU has said of itself.
    pub fn qemu_said(&self) -> String {
        fs::read_to_string(&self.qemu_log).unwrap_or_default().trim().to_owned()
    }

    /// Waits until the agent of this machine has answered the greeting that was sent when it was started.
    /// Gives the time from the start to the answer, which may have come long before it was waited for.
    ///
    /// # Errors
    ///
    /// [`Lost`], also when the agent refuses.
    pub fn wait_for_boot(&mut self, limit: Duration) -> Result<Duration, Lost> {
        let mut reply = self.wait(Some(limit), &mut Collect::default());
        if let Some(saved) = self.restored.clone() {
            if reply.is_ok() {
                self.hear_until(Control::is_quiet)?;
            }
            if let Some(here) =
                self.control.as_ref().and_then(Control::version).filter(|here| **here != saved)
            {
                reply = Err(Lost::Control(format!("this is {here}, and it was saved by {saved}")));
            }
        }
        match reply? {
            Reply::Hello { version: wire::VERSION, challenge, .. } if challenge == self.challenge => {
                Ok(self.answered - self.started)
            }
            other => Err(Lost::Nonsense(format!("{other:?} instead of its greeting"))),
        }
    }

    /// Sends a request and waits for the reply that ends it.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub fn request(&mut self, request: &Request, limit: Duration) -> Result<Reply, Lost> {
        self.send(request)?;
        self.wait(Some(limit), &mut Collect::default())
    }

    /// Sends a request without waiting for its reply.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub fn send(&self, request: &Request) -> Result<(), Lost> {
        self.outgoing.send(request)
    }

    /// Waits for the reply that ends the request sent last, with output going to `listener` as it comes;
    /// without a limit, until the machine ends.
    ///
    /// # Errors
    ///
    /// [`Lost`].
    pub fn wait(&mut self, limit: Option<Duration>, listener: &mut dyn Listener) -> Result<Reply, Lost> {
        let mut limit = limit;
        let mut deadline = limit.map(|limit| Instant::now() + limit);
        let mut oops_seen = false;
        loop {
            match self.hear()? {
                Heard::Reply(Reply::Output { stream, data }, _) => {
                    listener.output(stream, &data);
                    if listener.has_enough() {
                        return Err(Lost::Enough);
                    }
                    self.taken.count(data.len(), &self.outgoing)?;
                }
                Heard::Reply(Reply::Refused { reason }, _) => {
                    return Err(Lost::Nonsense(format!("a refusal: {reason}")));
                }
                Heard::Reply(reply, arrived) => {
                    debug_assert!(reply.ends_request());
                    self.answered = arrived;
                    return Ok(reply);
                }
                Heard::Aside => {}
                // Whoever is asked may have died of it with a lock in hand, and never answer.
                Heard::Nothing if !oops_seen && self.watch.has_oopsed() => {
                    oops_seen = true;
                    limit = Some(limit.map_or(AFTER_OOPS, |limit| limit.min(AFTER_OOPS)));
                    deadline = limit.map(|limit| Instant::now() + limit);
                }
                Heard::Nothing => {}
            }
            if let (Some(limit), Some(deadline)) = (limit, deadline)
                && Instant::now() > deadline
            {
                return Err(Lost::TimedOut { limit });
            }
        }
    }

    /// Copies a file into the machine.
    ///
    /// # Errors
    ///
    /// [`Lost`], or the agent's refusal as [`Lost::Nonsense`].
    pub fn put(&mut self, path: &str, mode: u32, content: &[u8], limit: Duration) -> Result<(), Lost> {
        let mut pieces = content.chunks(wire::frame::CHUNK);
        let mut append = false;
        loop {
            let data = pieces.next().unwrap_or_default().to_vec();
            let request = Request::Put { path: path.to_owned(), mode, append, data };
            match self.request(&request, limit)? {
                Reply::Done => {}
                other => return Err(Lost::Nonsense(format!("{other:?} for the file {path}"))),
            }
            append = true;
            if pieces.len() == 0 {
                return Ok(());
            }
        }
    }

    /// Ends the machine at once and waits until all of its console has been read.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            end_group(&mut self.child);
            self.watch.wait_for_end(Duration::from_secs(5));
        }
    }

    /// Lets a machine that is dying by itself finish its last words, then ends it.
    pub fn let_die(&mut self, limit: Duration) {
        self.watch.wait_for_end(limit);
        self.end();
    }

    fn ended(&self) -> Lost {
        Lost::Ended { qemu: fs::read_to_string(&self.qemu_log).unwrap_or_default() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// A greeting for the machine's agent, and the challenge that is to come back.
fn greeting(machine: &Machine) -> Result<(Request, Challenge)> {
    let random = || "read random bytes".to_owned();
    let challenge = Challenge::from_le_bytes(crate::random_bytes().context(random)?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let request = Request::Hello {
        version: wire::VERSION,
        marker: machine.marker,
        challenge,
        unix_nanos: u64::try_from(now.as_nanos()).unwrap_or_default(),
        seed: crate::random_bytes().context(random)?,
    };
    Ok((request, challenge))
}

/// Starts QEMU in a process group of its own. `setpriv` makes the kernel end it when the thread that started
/// it ends, however that happens; it replaces itself by QEMU, so that the process is QEMU's.
pub(crate) fn spawn(
    qemu: &Path,
    arguments: Vec<OsString>,
    sockets: [(i32, Option<UnixStream>); 3],
    errors: File,
) -> Result<Child> {
    let mut command = Command::new("setpriv");
    let mappings = sockets.into_iter().filter_map(|(child_fd, socket)| {
        let parent_fd = OwnedFd::from(socket?);
        Some(FdMapping { parent_fd, child_fd })
    });
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(qemu)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .process_group(0)
        .fd_mappings(mappings.collect())
        .map_err(|_| Error::lab("QEMU's sockets collide"))?;
    command.spawn().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => {
            Error::lab("setpriv is not installed").with_remedy("apt-get install util-linux")
        }
        _ => Error::lab("start QEMU through setpriv").with_source(cause),
    })
}

/// Keeps what a machine's console says in a file, and watches it.
pub(crate) fn keep_console(mut console: UnixStream, mut file: File, watch: &Watch) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = console.read(&mut buffer) {
        // A full disk must not stop the machine: what can't be kept is still watched, and the run is told.
        if let Err(error) = file.write_all(&buffer[..length]) {
            watch.lose(&error);
        }
        watch.push(&buffer[..length]);
    }
    watch.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_that_can_not_be_kept_is_watched_all_the_same_and_is_told_of() {
        for (file, lost) in
            [("/dev/full", Some("No space left on device (os error 28)")), ("/dev/null", None)]
        {
            let (console, mut machine) = UnixStream::pair().unwrap();
            machine.write_all(b"BUG: one\n").unwrap();
            drop(machine);
            let watch = Watch::default();
            keep_console(console, File::options().append(true).open(file).unwrap(), &watch);
            assert_eq!(watch.worst().unwrap().title, "one");
            assert_eq!(watch.lost().as_deref(), lost);
        }
    }
}
