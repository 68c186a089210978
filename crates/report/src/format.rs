// SPDX-License-Identifier: GPL-2.0-only
//! Events and records as JSON. `docs/report-format.md`, which is made from [`page`](crate::page()), describes them.
//!
//! A key is never left out: what isn't known is `null`. Within a version keys may be added; a key that goes, or means
//! something else, makes another version.

use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use lab::error::{Error, Told};
use lab::run::{self, Record};
use lab::splat::{self, Frame, Kind, Process, RustPanic};
use lab::verdict::{Class, Outcome, Phase, TestResult};
use serde::{Deserialize, Serialize};

/// The version of the format.
pub const VERSION: u32 = 1;

/// An object of the format: one line of `vexlab test --format json`, or a run's `record.json`.
#[derive(Debug, Serialize)]
struct Object<'a> {
    version: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run begins.
    Begin {
        /// What belongs together: all runs of one command have the same.
        invocation: String,
        /// The module.
        module: String,
        /// The kernel.
        kernel: String,
    },
    /// A phase is over.
    Phase(PhaseTime),
    /// A test begins.
    TestBegin {
        /// Its name.
        name: String,
    },
    /// A test ended.
    Test(Test),
    /// The kernel reported trouble.
    Splat(Splat),
    /// Something that the user should know.
    Note {
        /// One line.
        text: String,
    },
    /// A run is over.
    End(Box<Run>),
    /// All runs are over.
    Summary {
        /// Each run's verdict.
        runs: Vec<Verdict>,
        /// The worst class.
        class: Class,
        /// The status that the program exits with.
        exit_status: u8,
    },
    /// What was asked for did not come to its end.
    Error(Trouble),
}

/// A run: all that is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Its name, where something of it is kept.
    pub id: Option<String>,
    /// What belongs together: all runs of one command have the same.
    pub invocation: String,
    /// The module.
    pub module: String,
    /// The kernel.
    pub kernel: String,
    /// When it began.
    pub started: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// What it ended in.
    pub class: Class,
    /// What led to a class other than passed.
    pub reasons: Vec<String>,
    /// Why nothing could be judged.
    pub error: Option<Trouble>,
    /// How the command ended, when it was one that was run.
    pub exit: Option<Exit>,
    /// What ran the guest's instructions: `kvm` or `tcg`.
    pub accelerator: Option<String>,
    /// The phases, in order.
    pub phases: Vec<PhaseTime>,
    /// The tests, in order.
    pub tests: Vec<Test>,
    /// What the kernel reported, in order.
    pub splats: Vec<Splat>,
    /// The folder with what is kept of it.
    pub dir: Option<String>,
    /// The console of the machine in which the worst was seen: a path in that folder.
    pub console: Option<String>,
}

/// The time of a phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// How long it took.
    pub seconds: f64,
}

/// A test's result.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: Option<f64>,
    /// How often it was run.
    pub attempts: u32,
    /// Why, line by line.
    pub details: Vec<String>,
}

/// A report of the kernel's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Splat {
    /// What it complains of.
    pub kind: Kind,
    /// One line that is the same each time.
    pub title: String,
    /// The report as it was printed, without time stamps.
    pub lines: Vec<String>,
    /// Where it happened, innermost first.
    pub trace: Vec<Frame>,
    /// The registers that it shows.
    pub registers: Vec<Register>,
    /// Which process was running.
    pub process: Option<Process>,
    /// On which processor.
    pub cpu: Option<u32>,
    /// When it began, after the kernel's start.
    pub seconds: Option<f64>,
    /// The test in which it happened.
    pub during: Option<String>,
    /// What Rust said of it, where it was a panic.
    pub panic: Option<RustPanic>,
}

/// A register.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Register {
    /// Its name.
    pub name: String,
    /// What is in it: `0x` and sixteen digits, since not every reader of JSON has numbers of 64 bits.
    pub value: String,
}

/// What went wrong where nothing could be judged.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Trouble {
    /// The class that it makes.
    pub class: Class,
    /// What failed.
    pub message: String,
    /// Why, each followed by its own cause.
    pub causes: Vec<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// A run in short.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verdict {
    /// The kernel.
    pub kernel: String,
    /// What the run ended in.
    pub class: Class,
}

impl Event {
    /// The event as one line of JSON, without the line's end.
    pub fn line(&self) -> String {
        let object = Object { version: VERSION, event: self };
        serde_json::to_string(&object).expect("keys are strings, and nothing fails by itself")
    }
}

impl Run {
    /// A run that was judged.
    pub(crate) fn of_record(record: &Record, invocation: &str) -> Self {
        Self {
            id: name_of(&record.dir),
            invocation: invocation.to_owned(),
            module: record.module.clone(),
            kernel: record.kernel.clone(),
            started: timestamp(record.started),
            seconds: seconds(record.time),
            class: record.class,
            reasons: record.reasons.clone(),
            error: None,
            exit: record.exit.map(Into::into),
            accelerator: Some(record.accelerator.name().to_owned()),
            phases: phases(&record.phases),
            tests: record.tests.iter().map(Into::into).collect(),
            splats: record.splats.iter().map(Into::into).collect(),
            dir: Some(record.dir.display().to_string()),
            console: record.console.strip_prefix(&record.dir).ok().map(|path| path.display().to_string()),
        }
    }

    /// A run in which nothing could be judged.
    pub(crate) fn of_failure(failure: &run::Failure<'_>, invocation: &str) -> Self {
        Self {
            id: failure.dir.and_then(name_of),
            invocation: invocation.to_owned(),
            module: failure.module.to_owned(),
            kernel: failure.kernel.to_owned(),
            started: timestamp(failure.started),
            seconds: seconds(failure.time),
            class: Class::from(failure.error),
            reasons: Vec::new(),
            error: Some(failure.error.into()),
            exit: None,
            accelerator: None,
            phases: Vec::new(),
            tests: Vec::new(),
            splats: Vec::new(),
            dir: failure.dir.map(|dir| dir.display().to_string()),
            console: None,
        }
    }

    /// The path of the console, which a record can't have elsewhere than in the run's folder.
    pub fn console_path(&self) -> Option<PathBuf> {
        let console = Path::new(self.console.as_deref()?);
        let stays = console.components().all(|part| matches!(part, Component::Normal(_)));
        if stays { Some(Path::new(self.dir.as_deref()?).join(console)) } else { None }
    }

    /// The consoles of its machines, by their numbers: the first one's is in the run's folder, each other one's in a folder
    /// of that number.
    pub fn machines(&self) -> Vec<(usize, PathBuf)> {
        let Some(dir) = self.dir.as_deref().map(Path::new) else { return Vec::new() };
        let folders = std::fs::read_dir(dir).into_iter().flatten().flatten();
        let number = |name: std::ffi::OsString| name.to_str()?.parse().ok();
        let mut numbers: Vec<usize> = folders.filter_map(|entry| number(entry.file_name())).collect();
        numbers.sort_unstable();
        let folder = |number: usize| if number == 1 { dir.to_owned() } else { dir.join(number.to_string()) };
        let consoles = std::iter::once(1).chain(numbers).map(|one| (one, folder(one).join("console.log")));
        consoles.filter(|(_, path)| path.is_file()).collect()
    }

    /// How many tests ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.tests.iter().filter(|test| test.outcome == outcome).count()
    }

    /// What led to the verdict, line by line.
    pub fn why(&self) -> Vec<String> {
        let error = self.error.iter().flat_map(Trouble::lines);
        self.reasons.iter().cloned().chain(error).collect()
    }

    /// Whether a class that is no pass is not told by a test that failed.
    pub fn has_trouble_of_its_own(&self) -> bool {
        match self.class {
            Class::Passed => false,
            Class::TestFailed => self.count(Outcome::Failed) == 0,
            _ => true,
        }
    }
}

impl Trouble {
    /// What a report says that was begun, and never finished.
    pub fn unfinished() -> Self {
        Self {
            class: Class::LabFailed,
            message: "vexlab did not come to its end".to_owned(),
            causes: Vec::new(),
            remedy: None,
        }
    }

    /// As a person reads it, line by line.
    pub fn lines(&self) -> Vec<String> {
        let causes = self.causes.iter().map(|cause| format!("cause: {cause}"));
        let remedy = self.remedy.iter().map(|remedy| format!("help: {remedy}"));
        let texts = std::iter::once(self.message.clone()).chain(causes).chain(remedy);
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }
}

impl From<&Error> for Trouble {
    fn from(error: &Error) -> Self {
        let told = Told::from(error);
        Self { class: Class::from(error), message: told.message, causes: told.causes, remedy: told.remedy }
    }
}

impl From<&TestResult> for Test {
    fn from(test: &TestResult) -> Self {
        Self {
            name: test.name.clone(),
            outcome: test.outcome,
            seconds: test.time.map(seconds),
            attempts: test.attempts,
            details: test.details.clone(),
        }
    }
}

impl From<&splat::Splat> for Splat {
    fn from(splat: &splat::Splat) -> Self {
        let registers = splat.registers.iter();
        let registers =
            registers.map(|(name, value)| Register { name: name.clone(), value: format!("{value:#018x}") });
        Self {
            kind: splat.kind,
            title: splat.title.clone(),
            lines: splat.lines.clone(),
            trace: splat.trace.clone(),
            registers: registers.collect(),
            process: splat.process.clone(),
            cpu: splat.cpu,
            seconds: splat.at.map(seconds),
            during: splat.during.clone(),
            panic: splat.panic.clone(),
        }
    }
}

/// Whatever shows a report of the lab's shows one of a record.
impl From<&Splat> for splat::Splat {
    fn from(splat: &Splat) -> Self {
        let value = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
        let registers = splat.registers.iter();
        Self {
            kind: splat.kind,
            title: splat.title.clone(),
            lines: splat.lines.clone(),
            trace: splat.trace.clone(),
            registers: registers.map(|register| (register.name.clone(), value(&register.value))).collect(),
            process: splat.process.clone(),
            cpu: splat.cpu,
            at: splat.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            during: splat.during.clone(),
            panic: splat.panic.clone(),
        }
    }
}

impl From<wire::Exit> for Exit {
    fn from(exit: wire::Exit) -> Self {
        match exit {
            wire::Exit::Status(status) => Self::Status(status),
            wire::Exit::Signal(signal) => Self::Signal(signal),
        }
    }
}

/// A run's name is that of its folder.
fn name_of(dir: &Path) -> Option<String> {
    dir.file_name().map(|name| name.to_string_lossy().into_owned())
}

fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}

/// Times are told to the microsecond.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e6
}

fn phases(phases: &[(Phase, Duration)]) -> Vec<PhaseTime> {
    phases.iter().map(|(phase, time)| PhaseTime { phase: *phase, seconds: seconds(*time) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimen;

    #[test]
    fn a_report_is_the_same_there_and_back() {
        let splat = specimen::splat();
        assert_eq!(Splat::from(&splat::Splat::from(&splat)), splat);
    }

    #[test]
    fn no_record_names_a_console_of_elsewhere() {
        let of =
            |console: &str| Run { console: Some(console.to_owned()), ..specimen::passed() }.console_path();
        let dir = specimen::passed().dir.unwrap();
        assert_eq!(of("2/console.log"), Some(Path::new(&dir).join("2/console.log")));
        for elsewhere in ["/etc/passwd", "../console.log", "2/../../console.log"] {
            assert_eq!(of(elsewhere), None, "{elsewhere}");
        }
    }
}
