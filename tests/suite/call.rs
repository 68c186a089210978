// SPDX-License-Identifier: GPL-2.0-only
use std::ffi::OsStr;
use std::fmt;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How often a program that runs is looked at.
const POLL: Duration = Duration::from_millis(10);

/// A call that has not been made yet.
pub(crate) struct Call {
    command: Command,
    deadline: Instant,
    input: Vec<u8>,
}

/// A program that runs. It and its process group are killed with this value.
pub(crate) struct Running {
    child: Child,
    deadline: Instant,
    stdin: Option<ChildStdin>,
    stdout: Collected,
    stderr: Collected,
    what: String,
    over: bool,
}

/// A program that has ended.
pub(crate) struct Ended {
    /// Its exit status; of one that a signal ended, 128 and the signal, as a shell has it.
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    what: String,
}

impl Call {
    pub(crate) fn new(command: Command, deadline: Instant) -> Self {
        Self { command, deadline, input: Vec::new() }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// What the program reads from standard input; nothing by itself.
    pub(crate) fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Starts the program and waits for its end.
    pub(crate) fn run(self) -> Ended {
        let input = self.input.clone();
        let mut running = self.start();
        if let Some(mut stdin) = running.stdin.take() {
            // A program that doesn't read its input is the test's business.
            let _ = stdin.write_all(&input);
        }
        running.wait()
    }

    /// Starts the program, with standard input left open.
    pub(crate) fn start(mut self) -> Running {
        let what = format!("{:?}", self.command);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("start {what}: {error}"));
        let stdout = Collected::from(child.stdout.take().expect("standard output is a pipe"));
        let stderr = Collected::from(child.stderr.take().expect("standard error is a pipe"));
        let stdin = child.stdin.take();
        Running { child, deadline: self.deadline, stdin, stdout, stderr, what, over: false }
    }
}

impl Running {
    /// Sends a signal to the program itself, not to what it started.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.group(), signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.what));
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Writes to the program's standard input, which stays open.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(bytes).unwrap_or_else(|error| panic!("write to {}: {error}", self.what));
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for the program's end. One that takes longer than its test may is killed.
    pub(crate) fn wait(mut self) -> Ended {
        drop(self.stdin.take());
        let status = self.wait_for_status();
        self.over = true;
        // What it started keeps the pipes open as long as it runs: it is to be gone by now.
        let limit = Instant::now() + Duration::from_secs(5);
        while !(self.stdout.is_closed() && self.stderr.is_closed()) {
            if Instant::now() > limit {
                self.kill();
                panic!("{} ended and left a process behind: {}", self.what, self.so_far());
            }
            thread::sleep(POLL);
        }
        let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
        Ended { status, stdout: self.stdout.text(), stderr: self.stderr.text(), what: self.what.clone() }
    }

    fn wait_for_status(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if Instant::now() > self.deadline {
                self.kill();
                panic!("{} was killed: the test's time is over. {}", self.what, self.so_far());
            }
            thread::sleep(POLL);
        }
    }

    fn so_far(&self) -> String {
        format!("Until then, on stdout:\n{}\non stderr:\n{}", self.stdout.text(), self.stderr.text())
    }

    fn group(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        pid.expect("a process has a number")
    }

    fn kill(&mut self) {
        // An error means that they are gone already.
        let _ = kill_process_group(self.group(), Signal::KILL);
        let _ = self.child.wait();
        self.over = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.over {
            self.kill();
        }
    }
}

impl Ended {
    /// What a user reads in the end: the status and both outputs, without the lines that say what takes long,
    /// since that differs.
    pub(crate) fn told(&self) -> String {
        let passing =
            ["compiling ", "copying ", "booting ", "fetching ", "unpacking ", "waiting ", "measuring "];
        let stays = |line: &&str| !passing.iter().any(|word| line.starts_with(word));
        let lines = self.stdout.lines().chain(self.stderr.lines().filter(stays));
        lines.fold(format!("status {}", self.status), |text, line| text + "\n" + line)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
            self.what, self.status, self.stdout, self.stderr
        )
    }
}

/// What a pipe has given so far.
struct Collected {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Collected {
    fn from(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let bytes = Arc::clone(&bytes);
            move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                    let mut bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner);
                    bytes.extend_from_slice(&buffer[..length]);
                }
            }
        });
        Self { bytes, reader }
    }

    fn is_closed(&self) -> bool {
        self.reader.is_finished()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}
