// SPDX-License-Identifier: GPL-2.0-only
//! What the machine's kernel has said: its log, which the helper reads, and its console.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::helper::Said;
use super::{Inside, SHORT, Step};
use crate::error::{Context, Result};
use crate::run::new_dir;
use crate::run::splats::as_expected;
use crate::session::LogRecord;
use crate::splat::{Line, Splat, merge, parse_lines};
use crate::verdict::Outcome;

impl Inside<'_> {
    /// Asks for the kernel's state, and keeps what it has said.
    pub(super) fn state(&mut self) -> Step<Said> {
        let said = self.ask_module("the kernel's state", json!({ "op": "state" }), SHORT)?;
        let lines = said.value.get("log").and_then(|log| log.as_array());
        let lines = lines.into_iter().flatten().filter_map(|line| line.as_str());
        self.log.extend(lines.map(str::to_owned));
        Ok(said)
    }

    /// Keeps what was said on the console as the record's, since the machine's own goes with it.
    pub(super) fn keep_console(&self, mut text: Vec<u8>) -> Result<PathBuf> {
        let dir = new_dir(self.lab)?;
        let path = dir.join("console.log");
        text.extend(self.log.iter().flat_map(|line| format!("{line}\n").into_bytes()));
        fs::write(&path, text).context(|| format!("write {}", path.display()))?;
        Ok(dir)
    }

    /// Hears what the kernel has said while this test ran.
    pub(super) fn hear(&mut self, test: &str) -> Step {
        self.asked.begin(test, self.log.len());
        self.state()?;
        self.asked.end(self.log.len());
        Ok(())
    }

    /// A test's result, with what it expects of the kernel.
    pub(super) fn as_expected(
        &mut self,
        name: &str,
        outcome: Outcome,
        details: Vec<String>,
    ) -> (Outcome, Vec<String>) {
        let expected = self.project.manifest().expected().into_iter().find(|(test, _)| test == name);
        let Some((_, expected)) = expected.filter(|_| outcome != Outcome::Skipped) else {
            return (outcome, details);
        };
        // What can't be heard is on the console.
        let _ = self.state();
        let splats = self.asked.splats_of(name, self.splats(), &self.records());
        let (outcome, details, has_ended) = as_expected(&expected, &splats, outcome, details);
        self.ended_by = has_ended.then(|| name.to_owned());
        (outcome, details)
    }

    /// The kernel's log so far.
    pub(super) fn records(&self) -> Vec<LogRecord> {
        let record = |line: &String| {
            let line = Line::of_console(line);
            Some(LogRecord { level: 0, at: line.at?, text: line.text.to_owned() })
        };
        self.log.iter().filter_map(record).collect()
    }

    /// What the kernel has reported.
    pub(super) fn splats(&self) -> Vec<Splat> {
        // What can't be read is not there to be judged; the log is.
        let console = said_since(self.place.console, self.console).unwrap_or_default();
        parse_lines(merge(&self.records(), &String::from_utf8_lossy(&console)))
    }
}

/// What a console, which is kept in a file, has said since it was `length` bytes long.
pub(super) fn said_since(console: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(console)?;
    if file.metadata()?.len() < length {
        return Err(io::Error::other(format!("{} has become shorter", console.display())));
    }
    file.seek(SeekFrom::Start(length))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
