// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use wire::{Exit, Process};

use super::{Conversation, Ends, Place, Record, Step};
use crate::Lab;
use crate::cancel::POLL;
use crate::console::{Splat, Watch, splat};
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::run::trouble::{Trouble, incomplete, verdict, with_tests};
use crate::run::{new_dir, report_phase};
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
    /// How the program ended, if one was run.
    exit: Option<Exit>,
    /// Whether results are told as they come.
    pub(super) tells: bool,
}

impl<'a> Seen<'a> {
    pub(super) fn from_now(lab: &'a Lab, place: &'a Place<'a>, module: String) -> Self {
        let console = fs::metadata(place.console).map_or(0, |data| data.len());
        let (log, phases, results) = (Vec::new(), Vec::new(), Vec::new());
        let began = SystemTime::now();
        Self { lab, place, module, began, console, log, phases, results, exit: None, tells: true }
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
        let result = TestResult { name: name.to_owned(), outcome, time, attempts: 1, details };
        if self.tells {
            self.lab.reporter.event(&Event::Test(&result));
        }
        self.results.push(result);
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
        let splat = self.worst_splat(&console);
        let incomplete = incomplete(console_lost, false);
        let (mut class, mut reasons) = verdict(outcome, splat.as_ref(), incomplete);
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
            splats: Vec::new(),
            class,
            reasons,
            exit,
            accelerator: place.accelerator,
            phases,
            time: started.elapsed(),
            tests: results,
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
        let is_silent = || self.worst_splat(&self.console_since().unwrap_or_default()).is_none();
        while is_silent() && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
    }

    fn console_since(&self) -> io::Result<Vec<u8>> {
        said_since(self.place.console, self.console)
    }

    /// The worst trouble, on the console or in the log: either may lack the end.
    fn worst_splat(&self, console: &[u8]) -> Option<Splat> {
        let watch = Watch::default();
        watch.push(console);
        watch.end();
        let log = self.log.iter().filter_map(|line| splat(line)).max_by_key(|splat| splat.severity);
        [watch.worst(), log].into_iter().flatten().max_by_key(|splat| splat.severity)
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
