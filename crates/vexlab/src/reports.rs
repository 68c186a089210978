// SPDX-License-Identifier: GPL-2.0-only
//! Where events go: to the screen, to the records of runs, and to the reports that were asked for.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lab::cache::write_atomically;
use lab::error::{Error, Kind, Result};
use lab::event::{Event, Reporter};
use lab::verdict::Class;
use report::format::{self, Run, Trouble};
use report::{Recorder, Told, github, junit, ktap};
use wire::Stream;

use crate::cli::{Command, ProfileFormat, TestArgs, TestFormat};
use crate::output::{self, Screen};

/// What standard output is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Tests' results and verdicts.
    Tests,
    /// The same, with annotations.
    Github,
    /// Events as JSON.
    Json,
    /// The output of a command in the machine: of the run, only trouble is told.
    Command,
    /// One object, which the command prints: of the run nothing is told, and what a command in the machine prints goes to
    /// standard error.
    Object,
}

/// A kind of report that is written to a file.
type Writer = fn(Told<'_>, &mut dyn Write) -> Result<()>;

/// Takes events, and hands them on.
pub(crate) struct Reports {
    screen: Arc<Screen>,
    style: Style,
    files: Vec<(PathBuf, Writer)>,
    recorder: Mutex<Recorder>,
    /// Why a report could not be written.
    unwritten: Mutex<Option<Error>>,
    /// What has GitHub's runner take commands again: nobody who writes to the screen knows it.
    word: String,
}

impl Reports {
    /// Makes the reports that a command is to have. Until it comes to its end, they say that it did not: what reads
    /// them must not find those of another run, nor nothing.
    pub(crate) fn new(screen: Arc<Screen>, command: &Command) -> Result<Self> {
        let (style, files) = match command {
            Command::Test(arguments) => (style_of(arguments), files_of(arguments)),
            Command::Coverage(_) => (Style::Tests, Vec::new()),
            Command::Profile(arguments) if arguments.format == ProfileFormat::Json => {
                (Style::Object, Vec::new())
            }
            _ => (Style::Command, Vec::new()),
        };
        let mut word = String::new();
        if style == Style::Github {
            word = lab::random_word()?;
            output::print(github::stop(&word));
        }
        let unwritten = Mutex::default();
        let reports = Self { screen, style, files, recorder: Mutex::default(), unwritten, word };
        reports.write(Told { runs: &[], error: Some(&Trouble::unfinished()) })?;
        Ok(reports)
    }

    /// The command is over, with this status or error. Gives what the program is to end with.
    pub(crate) fn finish(&self, ended: Result<u8>) -> Result<u8> {
        if let Err(error) = &ended {
            self.event(&Event::Error(error));
        }
        if self.style == Style::Github {
            output::print(github::resume(&self.word));
        }
        match lock(&self.unwritten).take() {
            Some(error) if matches!(ended, Ok(0)) => Err(error),
            Some(error) => {
                output::error(&error);
                ended
            }
            None => ended,
        }
    }

    /// Writes the reports to their files, each in one step.
    fn write(&self, told: Told<'_>) -> Result<()> {
        self.files.iter().try_for_each(|(path, write)| {
            let mut text = Vec::new();
            write(told, &mut text)?;
            let written = write_atomically(path, &text);
            written.map_err(|error| error.while_doing(&format!("write the report {}", path.display())))
        })
    }

    /// Prints an event.
    fn print(&self, event: &format::Event) {
        match (self.style, event) {
            (Style::Json, event) => output::print(event.line()),
            (Style::Tests | Style::Github, format::Event::End(run)) => verdict(run),
            (Style::Tests | Style::Github, format::Event::Summary { runs, .. }) => output::summary(runs),
            (Style::Command, format::Event::End(run)) => {
                let is_told_by_the_command = run.class == Class::Passed && run.exit.is_some();
                if run.error.is_none() && !is_told_by_the_command {
                    output::verdict(run);
                }
            }
            (Style::Tests | Style::Github | Style::Command | Style::Object, _) => {}
        }
    }

    /// Writes the reports of what is known now.
    fn report(&self, told: Told<'_>) {
        if let Err(error) = self.write(told) {
            *lock(&self.unwritten) = Some(error);
        }
        if self.style == Style::Github {
            output::print(github::resume(&self.word));
            github::annotations(told).iter().for_each(output::print);
            output::print(github::stop(&self.word));
        }
    }
}

impl Reporter for Reports {
    fn event(&self, event: &Event<'_>) {
        match (self.style, event) {
            (Style::Json, Event::Test(_) | Event::Output(..)) | (Style::Object, Event::Test(_)) => {}
            (Style::Object, Event::Output(_, bytes)) => {
                self.screen.event(&Event::Output(Stream::Stderr, bytes));
            }
            _ => self.screen.event(event),
        }
        if let (Style::Tests | Style::Github, Event::Failed(failure)) = (self.style, event)
            && !ends_all(failure.error)
        {
            output::error(failure.error);
        }
        // They are recorded one after the other, whichever thread they come from.
        let mut recorder = lock(&self.recorder);
        let (event, written) = recorder.take(event);
        if let Err(error) = written {
            output::aside(&format!("the run has no record: {error}"));
        }
        let Some(event) = event else { return };
        self.print(&event);
        if matches!(event, format::Event::Summary { .. } | format::Event::Error(_)) {
            self.report(recorder.told());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn style_of(arguments: &TestArgs) -> Style {
    match arguments.format {
        TestFormat::Text => Style::Tests,
        TestFormat::Json => Style::Json,
        TestFormat::Github => Style::Github,
    }
}

fn files_of(arguments: &TestArgs) -> Vec<(PathBuf, Writer)> {
    let junit = arguments.junit.iter().map(|path| (path.clone(), junit::write as Writer));
    let ktap = arguments.ktap.iter().map(|path| (path.clone(), ktap::write as Writer));
    junit.chain(ktap).collect()
}

/// Whether an error is that of the whole command, which prints it itself.
fn ends_all(error: &Error) -> bool {
    matches!(error.kind(), Kind::Interrupted | Kind::Usage)
}

/// Prints a run's verdict. The error of one in which nothing could be judged was printed.
fn verdict(run: &Run) {
    match &run.error {
        None => output::verdict(run),
        Some(error) if matches!(error.class, Class::Interrupted | Class::Usage) => {}
        Some(_) => output::print(format!("{}: {} on {}", run.class, run.module, run.kernel)),
    }
}
