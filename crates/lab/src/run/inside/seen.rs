// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use wire::{Exit, Process};

use super::{Conversation, Ends, Place, Record, Step};
use crate::Lab;
use crate::cancel::POLL;
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::run::splats::{Asked, Expected};
use crate::run::trouble::{Trouble, incomplete, verdict, with_tests};
use crate::run::{new_dir, report_phase};
use crate::session::LogRecord;
use crate::splat::{Kinds, Line, Splat, merge, parse_lines, unexplained_taint};
use crate::verdict::{Class, Outcome, Phase, TestResult};

/// How long a machine that has gone may take for its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is seen of a run inside of a machine.
pub(super) struct Seen<'a> {
    lab: &'a Lab,
    place: &'a Place<'a>,
    /// The module as the verdict names it.
    module: String,
    began: SystemTime,
    /// How long the console was when this began.
    console: u64,
    /// What the kernel has said since then.
    pub(super) log: Vec<String>,
    phases: Vec<(Phase, Duration)>,
    pub(super) results: Vec<TestResult>,
    /// Which test asked when.
    pub(super) asked: Asked,
    /// Which reports are expected, by the test that expects them.
    pub(super) expected: Expected,
    /// What the kernel's taint was at the first look, and at the last.
    taint: Option<(u64, u64)>,
    /// Which reports fail nothing.
    allowed: Kinds,
    /// The test that has ended the machine, as it expects.
    pub(super) ended_by: Option<String>,
    /// How the program ended, if one was run.
    exit: Option<Exit>,
    /// Whether results are told as they come.
    pub(super) tells: bool,
}

impl<'a> Seen<'a> {
    pub(super) fn from_now(
        lab: &'a Lab,
        place: &'a Place<'a>,
        module: String,
        expected: Expected,
        allowed: Kinds,
    ) -> Self {
        let console = fs::metadata(place.console).map_or(0, |data| data.len());
        let (log, phases, results) = (Vec::new(), Vec::new(), Vec::new());
        let began = SystemTime::now();
        let (asked, taint, ended_by, exit, tells) = (Asked::default(), None, None, None, true);
        Self {
            lab,
            place,
            module,
            began,
            console,
            log,
            phases,
            results,
            asked,
            expected,
            taint,
            allowed,
            ended_by,
            exit,
            tells,
        }
    }

    pub(super) fn phase(&mut self, phase: Phase, time: Duration) {
        report_phase(self.lab, &mut self.phases, phase, time);
    }

    pub(super) fn result(
        &mut self,
        name: &str,
        outcome: Outcome,
        time: Option<Duration>,
        details: Vec<String>,
    ) {
        let (outcome, details) = self.as_expected(name, outcome, details);
        let result = TestResult { name: name.to_owned(), outcome, time, attempts: 1, details };
        if self.tells {
            self.lab.reporter.event(&Event::Test(&result));
        }
        self.results.push(result);
    }

    /// A test's result, with what it expects of the kernel.
    fn as_expected(&mut self, name: &str, outcome: Outcome, details: Vec<String>) -> (Outcome, Vec<String>) {
        let came = || self.asked.splats_of(name, self.splats(), &self.records());
        let (outcome, details, has_ended) = self.expected.result(name, outcome, details, came);
        if has_ended {
            self.ended_by = Some(name.to_owned());
        }
        (outcome, details)
    }

    /// The kernel's taint, as it is now.
    pub(super) fn tainted(&mut self, taint: u64) {
        let (before, _) = self.taint.unwrap_or((taint, taint));
        self.taint = Some((before, taint));
    }

    /// The kernel's log so far.
    fn records(&self) -> Vec<LogRecord> {
        let record = |line: &String| {
            let line = Line::of_console(line);
            Some(LogRecord { level: 0, at: line.at?, text: line.text.to_owned() })
        };
        self.log.iter().filter_map(record).collect()
    }

    /// What the kernel has reported. What can't be read is not there to be judged; the log is.
    fn splats(&self) -> Vec<Splat> {
        let console = self.console_since().unwrap_or_default();
        parse_lines(merge(&self.records(), &String::from_utf8_lossy(&console)))
    }

    /// Runs the user's program until it ends by itself.
    pub(super) fn program(&mut self, shows: bool, process: Process, ends: &mut Ends<'_>) -> Step {
        let started = Instant::now();
        let exit = Conversation::with(self.lab, self.place.name, self.place.ssh, shows)
            .and_then(|mut conversation| conversation.run(process, ends, Some(&self.lab.cancel)));
        self.exit = Some(exit.map_err(|error| {
            let class = match error.kind() {
                Kind::Interrupted => Class::Interrupted,
                Kind::MachineLost => Class::MachineLost,
                _ => Class::LabFailed,
            };
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Trouble::new(class, format!("{error}{}", cause.unwrap_or_default()))
        })?);
        self.phase(Phase::Tests, started.elapsed());
        Ok(())
    }

    pub(super) fn finish(self, outcome: Step, all_skipped: bool, started: Instant) -> Result<Record> {
        if outcome.as_ref().is_err_and(|trouble| trouble.class == Class::MachineLost) {
            self.wait_for_last_words();
        }
        let (console, console_lost) = match self.console_since() {
            Ok(console) => (console, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let mut splats = self.splats();
        self.asked.attribute(&mut splats, &self.records());
        if let Some((before, after)) = self.taint {
            splats.extend(unexplained_taint(before, after, &splats));
        }
        splats.iter().for_each(|splat| self.lab.reporter.event(&Event::Splat(splat)));
        let judged = self.expected.judge(&splats, self.allowed);
        let (mut class, mut reasons) = verdict(outcome, &judged, incomplete(console_lost, false));
        with_tests(&mut class, &mut reasons, &self.results, all_skipped);
        if class == Class::Interrupted {
            return Err(Error::new(Kind::Interrupted, "interrupted"));
        }
        let dir = self.keep_console(console)?;
        let Self { place, module, began, phases, results, exit, .. } = self;
        Ok(Record {
            module,
            kernel: place.name.to_owned(),
            started: began,
            splats,
            class,
            reasons,
            exit,
            accelerator: place.accelerator,
            phases,
            time: started.elapsed(),
            tests: results,
            counted: Vec::new(),
            console: dir.join("console.log"),
            dir,
        })
    }

    /// Keeps what was said on the console as the record's, since the machine's own goes with it.
    fn keep_console(&self, mut text: Vec<u8>) -> Result<PathBuf> {
        let dir = new_dir(self.lab)?;
        let path = dir.join("console.log");
        text.extend(self.log.iter().flat_map(|line| format!("{line}\n").into_bytes()));
        fs::write(&path, text).context(|| format!("write {}", path.display()))?;
        Ok(dir)
    }

    /// That a machine has gone may be known before all that it said has been read.
    fn wait_for_last_words(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        while self.splats().is_empty() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }

    fn console_since(&self) -> io::Result<Vec<u8>> {
        said_since(self.place.console, self.console)
    }
}

/// What a console, which is kept in a file, has said since it was `length` bytes long.
fn said_since(console: &Path, length: u64) -> io::Result<Vec<u8>> {
    let mut file = fs::File::open(console)?;
    if file.metadata()?.len() < length {
        return Err(io::Error::other(format!("{} has become shorter", console.display())));
    }
    file.seek(SeekFrom::Start(length))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_that_was_cut_off_is_not_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "before, after").unwrap();
        assert_eq!(said_since(file.path(), 8).unwrap(), b"after");
        fs::write(file.path(), "after").unwrap();
        assert!(said_since(file.path(), 8).unwrap_err().to_string().ends_with(" has become shorter"));
        assert!(said_since(Path::new("/nowhere"), 0).is_err());
    }
}
