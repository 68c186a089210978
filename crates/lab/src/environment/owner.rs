// SPDX-License-Identifier: GPL-2.0-only
//! Whose a machine is: a process, told from all others that had, or will have, its number.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

use crate::cancel::POLL;
use crate::error::{Context, Result};
use crate::host;

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its number.
    pub process: i32,
    /// When it was started: clock ticks since the host's boot.
    started: u64,
    /// The host's boot.
    boot: String,
}

impl Owner {
    /// This process.
    ///
    /// # Errors
    ///
    /// When `/proc` does not have it.
    pub fn this_process() -> Result<Self> {
        let process = rustix::process::getpid().as_raw_pid();
        let started = started(process).ok_or("it is not there");
        let started = started.context(|| format!("read /proc/{process}/stat"))?;
        Ok(Self { process, started, boot: host::boot_id() })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        started(self.process) == Some(self.started) && self.boot == host::boot_id()
    }

    /// Asks it to end, as whoever logs out does.
    ///
    /// # Errors
    ///
    /// When it can't be asked.
    pub fn ask_to_end(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends it at once, and waits until it is gone. One that is gone already is no error.
    ///
    /// # Errors
    ///
    /// When it can't be ended.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        let gone = self.wait_for_end(Duration::from_secs(10));
        gone.then_some(()).ok_or("it goes on").context(|| format!("end process {}", self.process))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let what = || format!("signal process {}", self.process);
        let Some(process) = Pid::from_raw(self.process) else { return Ok(()) };
        // What is held is the process that has the number now; it is looked at before it is hit.
        match rustix::process::pidfd_open(process, PidfdFlags::empty()) {
            Ok(held) if self.is_alive() => rustix::process::pidfd_send_signal(held, signal).context(what),
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context(what),
        }
    }

    /// Waits until it is gone, at most so long. Says whether it is.
    pub fn wait_for_end(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }
}

/// When the process with this number was started; nothing where there is none, or one that has ended and that
/// nobody has asked for its status yet.
///
/// Source: proc(5), `/proc/PID/stat`: fields 3 and 22. The second is a name, which may hold anything.
fn started(process: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") { None } else { fields.nth(18)?.parse().ok() }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_told_from_another_with_its_number() {
        let this = Owner::this_process().unwrap();
        assert!(this.is_alive());
        assert!(!Owner { started: this.started + 1, ..this.clone() }.is_alive());
        assert!(!Owner { boot: "another one".into(), ..this }.is_alive());
    }

    #[test]
    fn what_is_ended_is_gone_and_nobody_else_is_hit() {
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = i32::try_from(child.id()).unwrap();
        let owner = Owner { process, started: started(process).unwrap(), boot: host::boot_id() };
        Owner { started: owner.started + 1, ..owner.clone() }.kill().unwrap();
        assert!(owner.is_alive(), "it was meant for another");
        owner.kill().unwrap();
        // Nobody has asked for its status yet.
        assert!(!owner.is_alive());
        child.wait().unwrap();
        owner.kill().unwrap();
    }
}
