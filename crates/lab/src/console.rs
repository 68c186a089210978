// SPDX-License-Identifier: GPL-2.0-only
//! The machine's serial console: kept whole, and watched for what the kernel says when it is in trouble.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How bad a [`Splat`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A warning with a trace; the kernel goes on.
    Warning,
    /// Something did not come to an end: a lockup, a hung task, a stall.
    Lockup,
    /// An oops or a panic.
    Oops,
}

/// Trouble that the kernel reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splat {
    /// How bad it is.
    pub severity: Severity,
    /// The line that says so, without its time stamp.
    pub title: String,
}

/// How a line begins, and what it means then. A word inside a line means nothing.
const SPLATS: &[(&str, Severity)] = &[
    ("BUG: ", Severity::Oops),
    ("Oops: ", Severity::Oops),
    ("Kernel panic - not syncing: ", Severity::Oops),
    ("kernel BUG at ", Severity::Oops),
    ("general protection fault", Severity::Oops),
    ("invalid opcode: ", Severity::Oops),
    ("divide error: ", Severity::Oops),
    ("stack segment: ", Severity::Oops),
    ("watchdog: BUG: soft lockup", Severity::Lockup),
    ("rcu: INFO: rcu_", Severity::Lockup),
    ("INFO: task ", Severity::Lockup),
    ("WARNING: ", Severity::Warning),
];

/// Lines that begin like trouble and are none: what `prefix` they have, and what makes them harmless.
fn is_harmless(text: &str) -> bool {
    // A trace's warning names the processor: "WARNING: CPU: 0 PID: 1 at FILE:LINE FUNCTION". Since 6.18 or
    // so it begins with the place.
    text.starts_with("WARNING: ") && !text.contains(" at ")
        || text.starts_with("INFO: task ") && !text.contains(" blocked for more than ")
}

/// Whether a line of the kernel's log is trouble. `text` is the line without its time stamp.
pub fn splat(text: &str) -> Option<Splat> {
    let (_, severity) = SPLATS.iter().find(|(prefix, _)| text.starts_with(prefix))?;
    (!is_harmless(text)).then(|| Splat { severity: *severity, title: text.to_owned() })
}

/// A console's line without the kernel's time stamp: `[    1.234567] text` or `[    1.234567][   T12] text`.
pub fn without_time_stamp(line: &str) -> &str {
    let mut rest = line.trim_end_matches(['\r', '\n']);
    while let Some((stamp, after)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
        if !stamp.bytes().all(|b| b.is_ascii_digit() || matches!(b, b' ' | b'.' | b'T' | b'C')) {
            break;
        }
        rest = after;
    }
    rest.strip_prefix(' ').unwrap_or(rest)
}

/// What has been seen of a console so far. Shared between the thread that reads it and the one that waits.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Seen {
    bytes: u64,
    line: Vec<u8>,
    splats: Vec<Splat>,
    tail: std::collections::VecDeque<String>,
    /// Why not all of it could be kept.
    lost: Option<String>,
    ended: bool,
}

/// The longest line that is looked at, in bytes; the rest of a longer one is kept in the file only.
const LINE_LIMIT: usize = 4096;
const TAIL: usize = 30;
const SPLAT_LIMIT: usize = 100;

impl Watch {
    /// Takes bytes as they come from the machine.
    pub fn push(&self, bytes: &[u8]) {
        let mut seen = self.lock();
        seen.bytes += bytes.len() as u64;
        for &byte in bytes {
            if byte == b'\n' {
                seen.end_line();
            } else if seen.line.len() < LINE_LIMIT {
                seen.line.push(byte);
            }
        }
        self.changed.notify_all();
    }

    /// Not all of what came could be kept, and why.
    pub fn lose(&self, why: &std::io::Error) {
        self.lock().lost.get_or_insert_with(|| why.to_string());
    }

    /// Why what is kept is not all that came.
    pub fn lost(&self) -> Option<String> {
        self.lock().lost.clone()
    }

    /// No more bytes will come.
    pub fn end(&self) {
        let mut seen = self.lock();
        seen.end_line();
        seen.ended = true;
        self.changed.notify_all();
    }

    /// Whether the machine has said anything at all.
    pub fn is_silent(&self) -> bool {
        self.lock().bytes == 0
    }

    /// The worst trouble so far; of several equally bad ones the first.
    pub fn worst(&self) -> Option<Splat> {
        let seen = self.lock();
        let worst = seen.splats.iter().map(|s| s.severity).max()?;
        seen.splats.iter().find(|s| s.severity == worst).cloned()
    }

    /// Whether the kernel has oopsed or panicked.
    pub fn has_oopsed(&self) -> bool {
        self.lock().splats.iter().any(|splat| splat.severity == Severity::Oops)
    }

    /// The last lines.
    pub fn tail(&self) -> Vec<String> {
        self.lock().tail.iter().cloned().collect()
    }

    /// Waits until the console has ended, or for `limit`.
    pub fn wait_for_end(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut seen = self.lock();
        while !seen.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            seen = self.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        // Every change leaves the value usable, so a panic elsewhere does not spoil it.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        if self.splats.len() < SPLAT_LIMIT {
            self.splats.extend(splat(without_time_stamp(&line)));
        }
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(line: &str) -> Option<Severity> {
        splat(without_time_stamp(line)).map(|s| s.severity)
    }

    #[test]
    fn trouble_is_known_by_how_a_line_begins() {
        let cases = [
            (
                "[    1.171428] BUG: kernel NULL pointer dereference, address: 0000000000000000",
                Severity::Oops,
            ),
            ("[    1.2] kernel BUG at /src/m.c:9!", Severity::Oops),
            ("[    1.2][   T31] Oops: invalid opcode: 0000 [#1] PREEMPT SMP", Severity::Oops),
            ("[    1.2] Kernel panic - not syncing: Attempted to kill init!", Severity::Oops),
            ("[   28.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [insmod:31]", Severity::Lockup),
            ("[    1.2] WARNING: CPU: 0 PID: 31 at /src/m.c:9 f+0x5/0x10 [m]", Severity::Warning),
        ];
        for (line, expected) in cases {
            assert_eq!(severity(line), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_word_inside_a_line_is_no_trouble() {
        for line in [
            "[    1.2] DEBUG: all is well",
            "[    1.2] vexfs: no BUG: here",
            "[    1.2] WARNING: this module is experimental",
            "[    1.2] INFO: task manager started",
            "BUGGY",
            "",
        ] {
            assert_eq!(severity(line), None, "{line}");
        }
    }

    #[test]
    fn lines_are_put_together_and_the_first_of_the_worst_counts() {
        let watch = Watch::default();
        assert!(watch.is_silent());
        watch.push(b"[ 1.0] WARNING: CPU: 0 PID: 1 at a.c:1\r\n[ 1.1] BUG: on");
        watch.push(b"e\n[ 1.2] BUG: two");
        assert_eq!(watch.worst().unwrap().title, "BUG: one");
        watch.end();
        assert_eq!(watch.tail().last().unwrap(), "[ 1.2] BUG: two");
        assert!(!watch.is_silent());
    }
}
