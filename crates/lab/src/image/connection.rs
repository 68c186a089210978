// SPDX-License-Identifier: GPL-2.0-only

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::ssh::{PACKAGE, Ssh};
use crate::error::{Context, Error, Result};
use crate::process::end_group;

/// How much of what ssh complains of is kept, in bytes.
const COMPLAINTS: u64 = 4096;

/// Runs programs for a client, in the messages of a tiny machine's agent.
pub(crate) const RUNNER: &str = include_str!("guest/runner.py");

/// An ssh connection to a program in a machine. It ends with this value.
#[derive(Debug)]
pub(crate) struct Connection {
    child: Child,
    errors: Receiver<String>,
}

impl Connection {
    /// Starts a Python program in the machine. The stream is its standard input and output.
    ///
    /// # Errors
    ///
    /// When ssh can't be started. That it gets nowhere is the end of the stream.
    pub(crate) fn open(ssh: &Ssh, program: &str) -> Result<(UnixStream, Self)> {
        let line = ssh.command(&["python3", "-c", program].map(str::to_owned));
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]);
        Self::to(command)
    }

    fn to(mut command: Command) -> Result<(UnixStream, Self)> {
        let what = || "start ssh".to_owned();
        let (ours, theirs) = UnixStream::pair().context(what)?;
        let input = OwnedFd::from(theirs.try_clone().context(what)?);
        // A Ctrl-C of ours is not for ssh: what is to end in the machine is told so.
        command.stdin(input).stdout(OwnedFd::from(theirs)).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => {
                Error::lab("ssh is not installed").with_remedy(format!("apt-get install {PACKAGE}"))
            }
            _ => Error::lab(what()).with_source(cause),
        })?;
        // The command keeps the stream's other end, and we would never see the end.
        drop(command);
        let (sender, errors) = mpsc::channel();
        if let Some(mut pipe) = child.stderr.take() {
            std::thread::spawn(move || {
                let mut said = Vec::new();
                // What has come until it fails is what there is.
                let _ = pipe.by_ref().take(COMPLAINTS).read_to_end(&mut said);
                let _ = sender.send(String::from_utf8_lossy(&said).trim().to_owned());
                let _ = io::copy(&mut pipe, &mut io::sink());
            });
        }
        Ok((ours, Self { child, errors }))
    }

    /// What ssh, or the program, has complained of, once the stream has ended.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.errors.recv_timeout(Duration::from_secs(1)).ok().filter(|said| !said.is_empty())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        end_group(&mut self.child);
    }
}
