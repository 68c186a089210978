// SPDX-License-Identifier: GPL-2.0-only
//! A running machine, and the conversation with the agent in it.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use command_fds::{CommandFdExt, FdMapping};
use wire::{Decoder, Reply, Request, Stream};

use crate::cancel::{Cancel, POLL};
use crate::console::Watch;
use crate::error::{Context, Error, Result};
use crate::machine::Machine;
use crate::process::end_group;

/// The descriptors that QEMU finds its sockets at.
const AGENT_FD: i32 = 3;
const CONSOLE_FD: i32 = 4;

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
            Self::Interrupted(error) => error.fmt(f),
        }
    }
}

/// One record of the machine's kernel log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The `printk` level, 0 to 7.
    pub level: u8,
    /// The text.
    pub text: String,
}

/// What the caller of a request is shown while it is carried out.
pub trait Listener {
    /// Output of the command, or content of the file.
    fn output(&mut self, stream: Stream, bytes: &[u8]);
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
    incoming: Receiver<Incoming>,
    outgoing: Outgoing,
    watch: Arc<Watch>,
    log: Vec<LogRecord>,
    cancel: Cancel,
    qemu_log: PathBuf,
    open: bool,
    started: Instant,
    /// When the last reply arrived.
    answered: Instant,
}

#[derive(Debug)]
enum Incoming {
    Reply(Reply, Instant),
    Nonsense(String),
    Closed,
}

/// Sends to the agent from any thread. A thread of its own writes to the socket, so that a machine that
/// reads nothing keeps nobody from noticing.
#[derive(Debug, Clone)]
pub struct Outgoing {
    frames: Sender<Vec<u8>>,
    waiting: Arc<(Mutex<usize>, Condvar)>,
}

/// How many messages may wait to be written before a sender of input has to wait, too.
const WAITING_LIMIT: usize = 8;

impl Outgoing {
    fn start(mut port: UnixStream) -> Self {
        let (frames, receiver) = mpsc::channel::<Vec<u8>>();
        let waiting = Arc::new((Mutex::new(0), Condvar::new()));
        let outgoing = Self { frames, waiting: Arc::clone(&waiting) };
        std::thread::spawn(move || {
            for frame in receiver {
                // A closed socket is noticed by the one who reads from it.
                let _ = port.write_all(&frame);
                *waiting.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
                waiting.1.notify_all();
            }
        });
        outgoing
    }

    fn send(&self, request: &Request) -> Result<(), Lost> {
        let frame =
            wire::encode(request).map_err(|error| Lost::Nonsense(format!("nothing, since {error}")))?;
        *self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.frames.send(frame).map_err(|_| Lost::Ended { qemu: String::new() })
    }

    /// Sends one of the requests that are not answered, to the running program; waits while many are
    /// waiting to be written. False when the session is over.
    pub fn input(&self, request: &Request) -> bool {
        let mut waiting = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner);
        while *waiting >= WAITING_LIMIT {
            waiting = self.waiting.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        drop(waiting);
        self.send(request).is_ok()
    }
}

impl Session {
    /// Starts the machine and greets its agent. The console goes to `console.log` in `dir`, QEMU's own words to `qemu.log`.
    ///
    /// # Errors
    ///
    /// When QEMU can't be started or the files can't be made.
    pub fn start(machine: &Machine, dir: &Path, cancel: &Cancel) -> Result<Self> {
        let (port, agent_end) = UnixStream::pair().context(|| "make a socket for the agent".to_owned())?;
        let (console, console_end) =
            UnixStream::pair().context(|| "make a socket for the console".to_owned())?;
        let console_file = create(&dir.join("console.log"))?;
        let qemu_log = dir.join("qemu.log");
        let started = Instant::now();
        let child = spawn(machine, agent_end.into(), console_end.into(), create(&qemu_log)?)?;

        let watch = Arc::new(Watch::default());
        let (sender, incoming) = mpsc::channel();
        let outgoing = Outgoing::start(port.try_clone().context(|| "share the agent's socket".to_owned())?);
        std::thread::spawn({
            let watch = Arc::clone(&watch);
            move || keep_console(console, console_file, &watch)
        });
        std::thread::spawn(move || read_replies(port, &sender));
        let unix_seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let hello = Request::Hello { version: wire::VERSION, marker: machine.marker, unix_seconds };
        outgoing.send(&hello).map_err(|lost| Error::lab(lost.to_string()))?;
        Ok(Self {
            child,
            incoming,
            outgoing,
            watch,
            log: Vec::new(),
            cancel: cancel.clone(),
            qemu_log,
            open: true,
            started,
            answered: started,
        })
    }

    /// What has been seen of the console.
    pub fn console(&self) -> &Watch {
        &self.watch
    }

    /// The kernel's log so far, as the agent sent it.
    pub fn log(&self) -> &[LogRecord] {
        &self.log
    }

    /// The means to send input to the running program.
    pub fn outgoing(&self) -> Outgoing {
        self.outgoing.clone()
    }

    /// Waits until the agent of this machine has answered the greeting that was sent when it was started.
    /// Gives the time from the start to the answer, which may have come long before it was waited for.
    ///
    /// # Errors
    ///
    /// [`Lost`], also when the agent refuses.
    pub fn wait_for_boot(&mut self, limit: Duration) -> Result<Duration, Lost> {
        match self.wait(Some(limit), &mut Collect::default())? {
            Reply::Hello { version: wire::VERSION, .. } => Ok(self.answered - self.started),
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
            match self.incoming.recv_timeout(POLL) {
                Ok(Incoming::Reply(Reply::Output { stream, data }, _)) => listener.output(stream, &data),
                Ok(Incoming::Reply(Reply::Log { level, text, .. }, _)) => {
                    self.log.push(LogRecord { level, text })
                }
                Ok(Incoming::Reply(Reply::Refused { reason }, _)) => {
                    return Err(Lost::Nonsense(format!("a refusal: {reason}")));
                }
                Ok(Incoming::Reply(reply, arrived)) => {
                    debug_assert!(reply.ends_request());
                    self.answered = arrived;
                    return Ok(reply);
                }
                Ok(Incoming::Nonsense(what)) => return Err(Lost::Nonsense(what)),
                Ok(Incoming::Closed) | Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {
                    self.cancel.check().map_err(Lost::Interrupted)?;
                    // Whoever is asked may have died of it with a lock in hand, and never answer.
                    if !oops_seen && self.watch.has_oopsed() {
                        oops_seen = true;
                        limit = Some(limit.map_or(AFTER_OOPS, |limit| limit.min(AFTER_OOPS)));
                        deadline = limit.map(|limit| Instant::now() + limit);
                    }
                    if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                        return Err(self.ended());
                    }
                }
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

fn create(path: &Path) -> Result<File> {
    File::create(path).context(|| format!("make {}", path.display()))
}

/// Starts QEMU in a process group of its own. `setpriv` makes the kernel end it when the thread that started
/// it ends, however that happens; it replaces itself by QEMU, so that the process is QEMU's.
fn spawn(machine: &Machine, agent: OwnedFd, console: OwnedFd, errors: File) -> Result<Child> {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&machine.qemu)
        .args(machine.arguments(AGENT_FD, CONSOLE_FD))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(errors)
        .process_group(0)
        .fd_mappings(vec![
            FdMapping { parent_fd: agent, child_fd: AGENT_FD },
            FdMapping { parent_fd: console, child_fd: CONSOLE_FD },
        ])
        .map_err(|_| Error::lab("QEMU's sockets collide"))?;
    command.spawn().map_err(|cause| match cause.kind() {
        io::ErrorKind::NotFound => {
            Error::lab("setpriv is not installed").with_remedy("apt-get install util-linux")
        }
        _ => Error::lab("start QEMU through setpriv").with_source(cause),
    })
}

fn keep_console(mut console: UnixStream, mut file: File, watch: &Watch) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = console.read(&mut buffer) {
        // A full disk must not stop the machine: what can't be kept is still watched.
        let _ = file.write_all(&buffer[..length]);
        watch.push(&buffer[..length]);
    }
    watch.end();
}

fn read_replies(mut port: UnixStream, sender: &Sender<Incoming>) {
    let mut decoder = Decoder::default();
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = port.read(&mut buffer) {
        decoder.push(&buffer[..length]);
        loop {
            let message = match decoder.next() {
                Ok(None) => break,
                Ok(Some(reply)) => Incoming::Reply(reply, Instant::now()),
                Err(error) => Incoming::Nonsense(format!("bytes that are no message: {error}")),
            };
            let end = matches!(message, Incoming::Nonsense(_));
            if sender.send(message).is_err() || end {
                return;
            }
        }
    }
    // The receiver may be gone already.
    let _ = sender.send(Incoming::Closed);
}
