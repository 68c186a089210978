// SPDX-License-Identifier: GPL-2.0-only

use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::machine::Machine;
use crate::cancel::{Cancel, POLL};
use crate::console::Watch;
use crate::control::Control;
use crate::error::{Context, Error, Result};
use crate::machine::Start;
use crate::process::end_group;
use crate::qmp::{self, Message, Version};
use crate::session::{SOCKETS, keep_console, spawn};

/// How long QEMU may take to carry out a command, saving included.
const CONTROL: Duration = Duration::from_secs(60);

/// The longest line of the keeper that is taken, in bytes.
const LINE_LIMIT: u64 = 64 << 10;

/// What QEMU says when it can't have the port that ssh is to be behind.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// Why a conversation came to an early end. The machine is of no use after it.
#[derive(Debug)]
pub(super) enum Lost {
    /// There was no answer in time.
    TimedOut(Duration),
    /// The port on 127.0.0.1 belongs to someone else.
    PortTaken,
    /// QEMU ended; what it said.
    Ended(String),
    /// The keeper or QEMU said no.
    Refused(String),
    /// The user stopped it.
    Interrupted(Error),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Self::PortTaken => write!(f, "the port for ssh is taken"),
            Self::Ended(said) if said.trim().is_empty() => write!(f, "the machine ended"),
            Self::Ended(said) => write!(f, "the machine ended; QEMU said: {}", said.trim()),
            Self::Refused(why) => f.write_str(why),
            Self::Interrupted(error) => error.fmt(f),
        }
    }
}

enum Incoming {
    Line(String),
    Control(Message),
}

/// What the keeper answers.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    id: Option<u64>,
    /// The command's exit status, or 1 where the request was not understood.
    pub(super) status: i32,
    /// The end of what the command said.
    pub(super) output: String,
}

/// A running QEMU with a distribution in it, and the conversations with both. It ends with this value.
#[derive(Debug)]
pub(super) struct Keeper {
    child: Child,
    port: UnixStream,
    incoming: Receiver<Incoming>,
    control: Option<Control>,
    watch: Arc<Watch>,
    qemu_log: PathBuf,
    cancel: Cancel,
    requests: u64,
    open: bool,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.debug_tuple("Line").field(line).finish(),
            Self::Control(message) => f.debug_tuple("Control").field(message).finish(),
        }
    }
}

impl Keeper {
    /// Starts QEMU. The console goes to `console.log` in `dir`, QEMU's own words to `qemu.log`.
    pub(super) fn start(machine: &Machine, dir: &Path, cancel: &Cancel) -> Result<Self> {
        let pair = |what: &str| UnixStream::pair().context(|| format!("make a socket for {what}"));
        let (port, port_end) = pair("the keeper")?;
        let (console, console_end) = pair("the console")?;
        let (control, control_end) = match machine.start {
            Start::PowerOn => (None, None),
            Start::ToBeSaved(_) | Start::Restored(_) => {
                let (ours, theirs) = pair("QEMU")?;
                (Some(ours), Some(theirs))
            }
        };
        let make = |name: &str| {
            let path = dir.join(name);
            File::create(&path).context(|| format!("make {}", path.display()))
        };
        let (console_file, errors) = (make("console.log")?, make("qemu.log")?);
        let ends = [
            (SOCKETS.agent, Some(port_end)),
            (SOCKETS.console, Some(console_end)),
            (SOCKETS.control, control_end),
        ];
        let child = spawn(&machine.qemu, machine.arguments(SOCKETS), ends, errors)?;
        let watch = Arc::new(Watch::default());
        std::thread::spawn({
            let watch = Arc::clone(&watch);
            move || keep_console(console, console_file, &watch)
        });
        let (sender, incoming) = mpsc::channel();
        let control = control.map(Control::open);
        if let Some(control) = &control {
            let sender = sender.clone();
            control.listen(move |message| sender.send(Incoming::Control(message)).is_ok())?;
        }
        let reader = port.try_clone().context(|| "share the keeper's socket".to_owned())?;
        std::thread::spawn(move || read_lines(reader, &sender));
        let (cancel, qemu_log) = (cancel.clone(), dir.join("qemu.log"));
        Ok(Self { child, port, incoming, control, watch, qemu_log, cancel, requests: 0, open: true })
    }

    /// What has been seen of the console.
    pub(super) fn console(&self) -> &Watch {
        &self.watch
    }

    /// Waits until the keeper has said that the machine is ready.
    pub(super) fn wait_until_ready(&mut self, word: &str, limit: Duration) -> Result<(), Lost> {
        let expected = format!("ready {word}");
        self.hear_until(limit, |_, line| (line == Some(&expected)).then_some(()))
    }

    /// Tells QEMU to restore the machine.
    pub(super) fn restore(&mut self, devices: &Path, version: &Version) {
        if let Some(control) = &mut self.control {
            control.tell(&[qmp::restore(version, devices)]);
        }
    }

    /// The QEMU that runs, once it has said which it is.
    pub(super) fn version(&self) -> Option<&Version> {
        self.control.as_ref().and_then(Control::version)
    }

    /// Saves the machine; it has stopped for ever then.
    pub(super) fn save(&mut self, devices: &Path) -> Result<Version, Lost> {
        self.hear_until(CONTROL, |keeper, _| {
            keeper.control.as_ref().is_none_or(Control::is_quiet).then_some(())
        })?;
        let version = self.version().cloned();
        let (Some(control), Some(version)) = (&mut self.control, version) else {
            return Err(Lost::Refused("QEMU did not say which it is".to_owned()));
        };
        control.tell(&[qmp::tell_progress(), qmp::save(&version, devices)]);
        let devices = devices.to_owned();
        let status = self.hear_until(CONTROL, |keeper, _| {
            let status = keeper.control.as_ref().and_then(Control::migration)?;
            let over = status == "failed" || (status == "completed" && devices.exists());
            over.then(|| status.to_owned())
        })?;
        if status == "completed" { Ok(version) } else { Err(Lost::Refused(format!("saving {status}"))) }
    }

    /// Has the keeper set the clock and seed the random pool, which proves that the machine lives: what it answers
    /// has a number in it that no other has.
    pub(super) fn freshen(&mut self, limit: Duration) -> Result<(), Lost> {
        let seed: [u8; 64] = crate::random_bytes().map_err(|error| Lost::Refused(error.to_string()))?;
        let hex: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let answer = self.request(json!({ "time": now, "seed": hex }), limit)?;
        if answer.status == 0 { Ok(()) } else { Err(Lost::Refused(answer.output)) }
    }

    /// Runs a command in the machine as root, and waits for its end.
    pub(super) fn run(&mut self, command: &[&str], limit: Duration) -> Result<Answer, Lost> {
        self.request(json!({ "run": command }), limit)
    }

    fn request(&mut self, mut request: Value, limit: Duration) -> Result<Answer, Lost> {
        let start: [u8; 4] = crate::random_bytes().map_err(|error| Lost::Refused(error.to_string()))?;
        self.requests += 1;
        let id = u64::from(u32::from_le_bytes(start)) << 20 | self.requests;
        request["id"] = json!(id);
        // That nobody reads it is noticed by the one who waits for the answer.
        let _ = self.port.write_all(format!("{request}\n").as_bytes());
        self.hear_until(limit, |_, line| {
            let answer: Answer = serde_json::from_str(line?).ok()?;
            (answer.id == Some(id)).then_some(answer)
        })
    }

    /// Listens until `done` gives something; it is asked again after each thing that was heard.
    fn hear_until<T>(
        &mut self,
        limit: Duration,
        done: impl Fn(&Self, Option<&String>) -> Option<T>,
    ) -> Result<T, Lost> {
        let deadline = Instant::now() + limit;
        loop {
            let mut line = None;
            match self.incoming.recv_timeout(POLL) {
                Ok(Incoming::Line(heard)) => line = Some(heard),
                Ok(Incoming::Control(message)) => {
                    if let Some(control) = &mut self.control {
                        control.heard(message);
                        if let Some(why) = control.refusal() {
                            return Err(Lost::Refused(format!("QEMU said: {why}")));
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    self.cancel.check().map_err(Lost::Interrupted)?;
                    if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                        return Err(self.ended());
                    }
                    if Instant::now() > deadline {
                        return Err(Lost::TimedOut(limit));
                    }
                }
            }
            if let Some(result) = done(self, line.as_ref()) {
                return Ok(result);
            }
        }
    }

    fn ended(&self) -> Lost {
        self.watch.wait_for_end(Duration::from_secs(1));
        let said = fs::read_to_string(&self.qemu_log).unwrap_or_default();
        if said.contains(PORT_TAKEN) { Lost::PortTaken } else { Lost::Ended(said) }
    }

    /// What QEMU has said of itself.
    pub(super) fn qemu_said(&self) -> String {
        fs::read_to_string(&self.qemu_log).unwrap_or_default().trim().to_owned()
    }

    /// Whether QEMU still runs.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// QEMU's process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the machine at once and waits until all of its console has been read.
    pub(super) fn end(&mut self) {
        if std::mem::take(&mut self.open) {
            end_group(&mut self.child);
            self.watch.wait_for_end(Duration::from_secs(5));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

/// Hands on what the keeper says, line by line; what comes from a machine is not believed to have an end.
fn read_lines(port: UnixStream, sender: &Sender<Incoming>) {
    let mut reader = BufReader::new(port);
    loop {
        let mut line = Vec::new();
        match reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            _ => return,
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if sender.send(Incoming::Line(line)).is_err() {
            return;
        }
    }
}
