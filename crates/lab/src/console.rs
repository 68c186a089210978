// SPDX-License-Identifier: GPL-2.0-only
//! The machine's serial console: kept whole, and watched for what the kernel says when it is in trouble.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::splat::{Line, Parser, Severity, Splat};

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
    parser: Parser,
    splats: Vec<Splat>,
    tail: VecDeque<String>,
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
        let rest = seen.parser.finish();
        seen.keep(rest);
        seen.ended = true;
        self.changed.notify_all();
    }

    /// Whether the machine has said anything at all.
    pub fn is_silent(&self) -> bool {
        self.lock().bytes == 0
    }

    /// The worst trouble so far that the kernel has told to its end; of several equally bad ones the first.
    pub fn worst(&self) -> Option<Splat> {
        let seen = self.lock();
        let worst = seen.splats.iter().map(Splat::severity).max()?;
        seen.splats.iter().find(|splat| splat.severity() == worst).cloned()
    }

    /// Whether the kernel has oopsed or panicked, or is just telling so.
    pub fn has_oopsed(&self) -> bool {
        self.lock().parser.severity() == Some(Severity::Oops)
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

/// How much of a console is looked at again, in bytes: what the agent did not send is at its end.
const CONSOLE_END: u64 = 16 << 20;

/// The end of a console's file. What can't be read is not there to be judged; the log is.
pub(crate) fn end_of(file: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(CONSOLE_END)))?;
        file.read_to_end(&mut bytes)
    });
    drop(read);
    String::from_utf8_lossy(&bytes).into_owned()
}

impl Seen {
    fn end_line(&mut self) {
        if self.line.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).trim_end().to_owned();
        let splats = self.parser.line(Line::of_console(&line));
        self.keep(splats);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn keep(&mut self, splats: Vec<Splat>) {
        let room = SPLAT_LIMIT.saturating_sub(self.splats.len());
        self.splats.extend(splats.into_iter().take(room));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_and_the_first_of_the_worst_counts() {
        let watch = Watch::default();
        assert!(watch.is_silent());
        watch.push(b"[    1.000000] WARNING: CPU: 0 PID: 1 at a.c:1 f+0x1/0x2\r\n[    1.000001] ---[ end trace 0 ]---\n");
        assert_eq!(watch.worst().unwrap().title, "WARNING in f+0x1");
        watch.push(b"[    1.100000] BUG: unable to handle page fault\n[    1.100001] Oops: 00");
        assert!(watch.has_oopsed() && watch.worst().unwrap().title == "WARNING in f+0x1");
        watch.push(b"00 [#1] SMP\n[    1.100002] RIP: 0010:one+0x1/0x2\n");
        watch
            .push(b"[    1.200000] BUG: unable to handle page fault\n[    1.200001] RIP: 0010:two+0x1/0x2\n");
        watch.end();
        assert_eq!(watch.worst().unwrap().title, "page fault in one+0x1");
        assert_eq!(watch.tail().last().unwrap(), "[    1.200001] RIP: 0010:two+0x1/0x2");
        assert!(!watch.is_silent());
    }
}
