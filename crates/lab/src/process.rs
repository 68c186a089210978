// SPDX-License-Identifier: GPL-2.0-only
//! Programs of the host: run to their end, watched, and ended with all they started.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::cancel::{Cancel, POLL};
use crate::error::{Context, Error, Result};

/// How long a program's pipes are read after it ended, when something it left behind keeps them open.
const LINGER: Duration = Duration::from_millis(500);

/// What a program printed and how it ended.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output; with [`Program::merged`], standard error too, in the order of writing.
    pub output: String,
    /// Standard error, unless merged.
    pub errors: String,
}

/// The first program of this name in `PATH`; a path with a `/` is itself.
pub fn find(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = Path::new(name.as_ref());
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// A program of the host, to be run to its end.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: OsString,
    package: Option<&'static str>,
    merged: bool,
    limit: Option<Duration>,
}

impl Program {
    /// The program of this name or path.
    pub fn new(name: impl AsRef<OsStr>) -> Self {
        Self {
            command: Command::new(name.as_ref()),
            name: name.as_ref().to_owned(),
            package: None,
            merged: false,
            limit: None,
        }
    }

    /// Names the Debian package that has the program, for the message when it is missing.
    pub fn from_package(mut self, package: &'static str) -> Self {
        self.package = Some(package);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes a variable from its environment.
    pub fn env_remove(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The folder to run in.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Collects standard output and standard error as one text, as a terminal would show them.
    pub fn merged(mut self) -> Self {
        self.merged = true;
        self
    }

    /// Ends the program when it takes longer.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs the program in a process group of its own and collects what it prints. The group is ended when
    /// the wait is cancelled or the limit passes.
    ///
    /// # Errors
    ///
    /// When it can't be started, is cancelled, or takes too long. A program that fails is no error here.
    pub fn run(mut self, cancel: &Cancel) -> Result<Finished> {
        if find(&self.name).is_none() {
            return Err(self.missing());
        }
        self.command.stdin(Stdio::null()).process_group(0);
        let pipes = (|| -> io::Result<_> {
            let (out_reader, out_writer) = io::pipe()?;
            let errors = if self.merged {
                self.command.stderr(out_writer.try_clone()?);
                None
            } else {
                let (reader, writer) = io::pipe()?;
                self.command.stderr(writer);
                Some(reader)
            };
            self.command.stdout(out_writer);
            Ok((out_reader, errors))
        })();
        let (out, errors) = pipes.context(|| "make a pipe".to_owned())?;
        let mut child = self.command.spawn().context(|| format!("start {}", self.name.display()))?;
        let _guard = GroupGuard::start(&child)?;
        // The command keeps the pipes' writing ends, and the readers would never see an end.
        drop(self.command);

        let (sender, receiver) = mpsc::channel();
        read_in_background(out, 0, sender.clone());
        if let Some(errors) = errors {
            read_in_background(errors, 1, sender.clone());
        }
        drop(sender);

        let deadline = self.limit.map(|limit| Instant::now() + limit);
        let mut texts = [Vec::new(), Vec::new()];
        let mut status = None;
        loop {
            match receiver.recv_timeout(POLL) {
                Ok((which, bytes)) => texts[which].extend_from_slice(&bytes),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => match status {
                    // A process left behind may keep the pipe open; the program itself has ended.
                    Some((_, since)) if Instant::now() - since > LINGER => break,
                    Some(_) => {}
                    None => {
                        let ended =
                            child.try_wait().context(|| format!("wait for {}", self.name.display()))?;
                        status = ended.map(|status| (status, Instant::now()));
                    }
                },
            }
            let late = deadline.is_some_and(|deadline| Instant::now() > deadline);
            if late || cancel.is_cancelled() {
                end_group(&mut child);
                cancel.check()?;
                return Err(Error::lab(format!(
                    "{} was ended: it took longer than {} s",
                    self.name.display(),
                    self.limit.unwrap_or_default().as_secs()
                )));
            }
        }
        let status = match status {
            Some((status, _)) => status,
            None => child.wait().context(|| format!("wait for {}", self.name.display()))?,
        };
        let [output, errors] = texts.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(Finished { status, output, errors })
    }

    fn missing(&self) -> Error {
        let missing = Error::lab(format!("{} is not installed", self.name.display()));
        match self.package {
            Some(package) => missing.with_remedy(format!("apt-get install {package}")),
            None => missing,
        }
    }
}

/// Ends a process group when this process dies, however that happens: a compiler's whole family, where the
/// death of its head would leave the others running. It is a shell that waits for a line: one comes when all
/// is well, and none when there is nobody left to write it.
struct GroupGuard {
    shell: Child,
}

impl GroupGuard {
    fn start(head: &Child) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", "read -r line || kill -s KILL -- \"-$1\"", "sh", &head.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context(|| "start sh".to_owned())?;
        Ok(Self { shell })
    }
}

impl Drop for GroupGuard {
    fn drop(&mut self) {
        if let Some(mut line) = self.shell.stdin.take() {
            // It can't have ended before it has read the line.
            let _ = line.write_all(b"done\n");
        }
        let _ = self.shell.wait();
    }
}

/// Ends a child that was started in a process group of its own, and all that it started there.
pub fn end_group(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // An error means that the group is gone already.
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
}

fn read_in_background(mut pipe: io::PipeReader, which: usize, sender: mpsc::Sender<(usize, Vec<u8>)>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send((which, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_and_status_are_collected() {
        let finished = Program::new("sh")
            .args(["-c", "echo out; echo err >&2; exit 3"])
            .run(&Cancel::default())
            .unwrap();
        assert_eq!((finished.output.as_str(), finished.errors.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let error =
            Program::new("no-such-program").from_package("none-such").run(&Cancel::default()).unwrap_err();
        assert_eq!(error.to_string(), "no-such-program is not installed");
        assert_eq!(error.remedy(), Some("apt-get install none-such"));
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended() {
        let started = Instant::now();
        let error = Program::new("sh")
            .args(["-c", "sleep 60 & sleep 60"])
            .limit(Duration::from_millis(50))
            .run(&Cancel::default())
            .unwrap_err();
        assert!(error.to_string().starts_with("sh was ended"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_cancelled_wait_ends_the_program() {
        let cancel = Cancel::default();
        cancel.cancel();
        let error = Program::new("sleep").args(["60"]).run(&cancel).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Interrupted);
    }
}
