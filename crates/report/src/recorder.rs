// SPDX-License-Identifier: GPL-2.0-only
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use lab::cache::write_atomically;
use lab::error::{Kind, Result};
use lab::event;
use lab::verdict::Class;

use crate::format::{self, Event, PhaseTime, Run, Test, Trouble, Verdict};
use crate::store::RECORD;

/// What the lab tells, collected: the runs of one command, each of which is written to its folder as it ends.
///
/// Runs are told one after the other.
#[derive(Debug)]
pub struct Recorder {
    invocation: String,
    runs: Vec<Run>,
    /// What is known of the run that is going on.
    tests: Vec<Test>,
    phases: Vec<PhaseTime>,
    error: Option<Trouble>,
    /// Whether what begins next belongs to another round.
    over: bool,
}

/// All that is known of a command's runs.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// Those that are over.
    pub runs: &'a [Run],
    /// Why there are no more.
    pub error: Option<&'a Trouble>,
}

impl Default for Recorder {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let invocation = format!("{}-{:06}-{}", now.as_secs(), now.subsec_micros(), std::process::id());
        Self { invocation, runs: Vec::new(), tests: Vec::new(), phases: Vec::new(), error: None, over: false }
    }
}

impl Recorder {
    /// Takes an event. Gives what it is in the format, unless it is none of a run's.
    ///
    /// # Errors
    ///
    /// When a run's record can't be written. The event is taken all the same.
    pub fn take(&mut self, event: &event::Event<'_>) -> (Option<Event>, Result<()>) {
        let mut written = Ok(());
        let event = match event {
            event::Event::Progress { .. } | event::Event::ProgressEnd | event::Event::Output(..) => None,
            event::Event::Note(text) => Some(Event::Note { text: (*text).to_owned() }),
            event::Event::Begin { module, kernel } => {
                if self.over {
                    *self = Self::default();
                }
                self.tests.clear();
                self.phases.clear();
                let (module, kernel) = ((*module).to_owned(), (*kernel).to_owned());
                Some(Event::Begin { invocation: self.invocation.clone(), module, kernel })
            }
            event::Event::Phase(phase, time) => {
                let phase = PhaseTime { phase: *phase, seconds: format::seconds(*time) };
                self.phases.push(phase.clone());
                Some(Event::Phase(phase))
            }
            event::Event::TestBegin { name } => Some(Event::TestBegin { name: (*name).to_owned() }),
            event::Event::Test(test) => {
                self.tests.push((*test).into());
                Some(Event::Test((*test).into()))
            }
            event::Event::Splat(splat) => Some(Event::Splat((*splat).into())),
            event::Event::End(record) => {
                let run = Run::of_record(record, &self.invocation);
                Some(self.end(run, Some(&record.dir), &mut written))
            }
            event::Event::Failed(failure) => {
                let (tests, phases) = (std::mem::take(&mut self.tests), std::mem::take(&mut self.phases));
                let run = Run { tests, phases, ..Run::of_failure(failure, &self.invocation) };
                // A round that was stopped is told of no more when another begins.
                self.over = failure.error.kind() == Kind::Interrupted;
                Some(self.end(run, failure.dir, &mut written))
            }
            event::Event::Summary(runs) => {
                self.over = true;
                Some(summary(runs))
            }
            event::Event::Error(error) => {
                let trouble = Trouble::from(*error);
                self.error = Some(trouble.clone());
                Some(Event::Error(trouble))
            }
        };
        (event, written)
    }

    /// What is known so far.
    pub fn told(&self) -> Told<'_> {
        Told { runs: &self.runs, error: self.error.as_ref() }
    }

    fn end(&mut self, run: Run, dir: Option<&Path>, written: &mut Result<()>) -> Event {
        self.runs.push(run.clone());
        let event = Event::End(Box::new(run));
        if let Some(dir) = dir {
            *written = write_atomically(&dir.join(RECORD), format!("{}\n", event.line()).as_bytes());
        }
        event
    }
}

fn summary(runs: &[(String, Class)]) -> Event {
    let verdicts = runs.iter().map(|(kernel, class)| Verdict { kernel: kernel.clone(), class: *class });
    let worst = runs.iter().map(|(_, class)| *class).max_by_key(|class| class.exit_status());
    let class = worst.unwrap_or(Class::Passed);
    Event::Summary { runs: verdicts.collect(), class, exit_status: class.exit_status() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lab::error::Error;
    use lab::event::Event as Happened;
    use lab::run::Failure;
    use lab::verdict::{Outcome, TestResult};

    use super::*;

    const BEGIN: Happened<'_> = Happened::Begin { module: "demo", kernel: "debian-6.1" };

    fn fail(recorder: &mut Recorder, error: &Error, dir: Option<&Path>) -> Result<()> {
        let failure = Failure { dir, ..Failure::at_once("demo", "debian-6.1", error) };
        recorder.take(&Happened::Failed(&failure)).1
    }

    #[test]
    fn what_was_seen_of_a_run_that_was_interrupted_is_told_until_another_begins() {
        let mut recorder = Recorder::default();
        let time = Some(Duration::from_millis(7));
        let load =
            TestResult { name: "load".into(), outcome: Outcome::Passed, time, attempts: 1, details: vec![] };
        let _ = recorder.take(&BEGIN);
        let _ = recorder.take(&Happened::Test(&load));
        fail(&mut recorder, &Error::new(Kind::Interrupted, "interrupted"), None).unwrap();
        let [run] = recorder.told().runs else { panic!("one run") };
        assert_eq!((run.class, &*run.tests[0].name), (Class::Interrupted, "load"));

        let _ = recorder.take(&BEGIN);
        assert!(recorder.told().runs.is_empty());
    }

    #[test]
    fn rounds_do_not_mix_and_runs_of_one_do() {
        let mut recorder = Recorder::default();
        let error = Error::new(Kind::Build, "it does not build");
        for _ in 0..2 {
            let _ = recorder.take(&BEGIN);
            fail(&mut recorder, &error, None).unwrap();
        }
        let [one, other] = recorder.told().runs else { panic!("two runs") };
        assert_eq!(one.invocation, other.invocation);
        let first = one.invocation.clone();
        let _ = recorder.take(&Happened::Summary(&[]));
        assert_eq!(recorder.told().runs.len(), 2);
        let (Some(Event::Begin { invocation, .. }), _) = recorder.take(&BEGIN) else { panic!("it begins") };
        assert_ne!(invocation, first);
        assert!(recorder.told().runs.is_empty());
    }

    #[test]
    fn a_run_without_a_place_for_its_record_is_told_all_the_same() {
        let mut recorder = Recorder::default();
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Error::lab("no");
        assert!(fail(&mut recorder, &error, Some(file.path())).is_err());
        assert_eq!(recorder.told().runs.len(), 1);
        let dir = tempfile::tempdir().unwrap();
        fail(&mut recorder, &error, Some(dir.path())).unwrap();
        assert!(dir.path().join(RECORD).exists());
    }
}
