// SPDX-License-Identifier: GPL-2.0-only
//! What a user sees: results on standard output, everything on the way there on standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program prints")]

mod profile;
mod trace;

use std::error::Error as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lab::error::Error;
use lab::event::{Event, Reporter};
use lab::profile::{Annotated, Profile};
use lab::splat::Splat;
use lab::verdict::{Class, Outcome};
use report::format::{PhaseTime, Run, Test, Verdict};
use report::text::{plain, plain_line};

use crate::terminal;

/// Work that takes less is not worth a line.
const PATIENCE: Duration = Duration::from_secs(1);

/// Shows events: as bars where standard error is a terminal, as plain lines where it isn't.
pub(crate) struct Screen {
    work: Arc<Mutex<Option<Work>>>,
    bars: bool,
}

/// The work that is going on.
struct Work {
    what: String,
    since: Instant,
    shown: Option<ProgressBar>,
    said: bool,
    done: u64,
    total: u64,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let work = Arc::new(Mutex::new(None));
        let bars = stderr().is_terminal();
        std::thread::spawn({
            let work = Arc::clone(&work);
            move || {
                loop {
                    std::thread::sleep(Duration::from_millis(100));
                    if let Some(work) = lock(&work).as_mut() {
                        Work::show(work, bars);
                    }
                }
            }
        });
        Self { work, bars }
    }

    /// Takes whatever is shown of work off the screen.
    pub(crate) fn clear(&self) {
        if let Some(bar) = lock(&self.work).take().and_then(|work| work.shown) {
            bar.finish_and_clear();
        }
    }

    /// Prints a line while work may be shown.
    fn line(&self, print: impl FnOnce()) {
        match lock(&self.work).as_ref().and_then(|work| work.shown.as_ref()) {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

fn lock(work: &Mutex<Option<Work>>) -> MutexGuard<'_, Option<Work>> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Work {
    /// Shows work that has gone on for long enough.
    fn show(&mut self, bars: bool) {
        if self.since.elapsed() < PATIENCE {
            return;
        }
        if !bars {
            if !std::mem::replace(&mut self.said, true) {
                eprintln!("{}", self.what);
            }
            return;
        }
        let bar = self.shown.get_or_insert_with(|| {
            let bar =
                ProgressBar::new(self.total).with_style(style(self.total)).with_elapsed(self.since.elapsed());
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.set_message(self.what.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        bar.set_position(self.done);
    }
}

fn style(total: u64) -> ProgressStyle {
    let template = match total {
        0 => "{spinner} {msg} ({elapsed})",
        _ => "{spinner} {msg} {bar:30} {percent} %",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

impl Reporter for Screen {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Progress { what, done, total } => {
                let mut work = lock(&self.work);
                if work.as_ref().is_none_or(|work| work.what != *what) {
                    if let Some(bar) = work.take().and_then(|work| work.shown) {
                        bar.finish_and_clear();
                    }
                    let what = (*what).to_owned();
                    *work = Some(Work {
                        what,
                        since: Instant::now(),
                        shown: None,
                        said: false,
                        done: 0,
                        total: *total,
                    });
                }
                if let Some(work) = work.as_mut() {
                    (work.done, work.total) = (*done, *total);
                    work.show(self.bars);
                }
            }
            Event::ProgressEnd => self.clear(),
            Event::Note(line) => self.line(|| eprintln!("{line}")),
            Event::Test(result) => self.line(|| test(&(*result).into())),
            Event::Begin { .. }
            | Event::TestBegin { .. }
            | Event::Phase(..)
            | Event::Splat(_)
            | Event::End(_)
            | Event::Failed(_)
            | Event::Summary(_)
            | Event::Error(_) => {}
            // A reader that went away stops nothing: the verdict is the exit status.
            Event::Output(stream, bytes) => self.line(|| drop(self::stream(*stream, bytes))),
        }
    }
}

/// Prints a test's result.
pub(crate) fn test(test: &Test) {
    let mark = match test.outcome {
        Outcome::Passed => "  ok  ",
        Outcome::Failed => " FAIL ",
        Outcome::Flaky => "flaky ",
        Outcome::Skipped => " skip ",
    };
    let time = test.seconds.map(|time| format!("  {time:.3} s")).unwrap_or_default();
    println!("{mark} {}{time}", plain_line(&test.name));
    for line in &test.details {
        println!("         {}", plain_line(line));
    }
}

/// Prints a run's verdict: the failed tests once more where they are far above, one line, and what led to it where it
/// isn't a pass.
pub(crate) fn verdict(run: &Run) {
    let failed = far_above(&run.tests);
    if !failed.is_empty() {
        println!("failed:");
        failed.into_iter().for_each(test);
    }
    let mut counts = format!("{} passed", run.count(Outcome::Passed));
    for (outcome, word) in
        [(Outcome::Failed, "failed"), (Outcome::Flaky, "flaky"), (Outcome::Skipped, "skipped")]
    {
        if run.count(outcome) > 0 {
            counts.push_str(&format!(", {} {word}", run.count(outcome)));
        }
    }
    let accelerator =
        run.accelerator.iter().map(|name| format!(" ({})", plain_line(name))).collect::<String>();
    let (module, kernel) = (plain_line(&run.module), plain_line(&run.kernel));
    println!("{}: {module} on {kernel}{accelerator}: {counts}", run.class);
    println!("  {} in all: {}", seconds(run.seconds), phases(&run.phases));
    for reason in run.why() {
        println!("  {}", plain_line(&reason));
    }
    splats(&run.splats.iter().map(Into::into).collect::<Vec<_>>());
    if run.class != Class::Passed
        && let Some(console) = run.console_path()
    {
        println!("  console: {}", console.display());
    }
}

/// How many lines a reader sees above the verdict without looking for them.
const IN_SIGHT: usize = 15;

/// The failed tests, where the first is so far above the verdict that they are worth being printed again.
fn far_above(tests: &[Test]) -> Vec<&Test> {
    let first = tests.iter().position(|test| test.outcome == Outcome::Failed);
    let below = first.map_or(&[][..], |first| &tests[first..]);
    let lines: usize = below.iter().map(|test| 1 + test.details.len()).sum();
    let failed = below.iter().filter(|test| test.outcome == Outcome::Failed);
    if lines > IN_SIGHT { failed.collect() } else { Vec::new() }
}

/// Prints the verdict over several kernels.
pub(crate) fn summary(verdicts: &[Verdict]) {
    if verdicts.len() > 1 {
        print(summarised(verdicts));
    }
}

fn summarised(verdicts: &[Verdict]) -> String {
    let bad = verdicts.iter().filter(|verdict| verdict.class != Class::Passed);
    let bad: Vec<_> = bad.map(|verdict| format!("{} on {}", verdict.class, verdict.kernel)).collect();
    let passed = verdicts.len() - bad.len();
    let bad = if bad.is_empty() { String::new() } else { format!(": {}", bad.join(", ")) };
    format!("{passed} of {} kernels passed{bad}", verdicts.len())
}

/// How many different reports of the kernel's are shown; the console has all.
const SHOWN_SPLATS: usize = 5;

/// Prints what the kernel reported; of equal reports, the first, and how many there were.
fn splats(splats: &[Splat]) {
    let colour = stdout().is_terminal();
    let different = trace::different(splats);
    for (splat, times) in different.iter().take(SHOWN_SPLATS) {
        print(format!("\n{}", trace::render(splat, *times, colour).trim_end()));
    }
    if different.len() > SHOWN_SPLATS {
        print(format!("\nand {} different reports more", different.len() - SHOWN_SPLATS));
    }
    if !splats.is_empty() {
        print("");
    }
}

/// A size on disk.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000))
}

/// The phases and their times on one line.
fn phases(phases: &[PhaseTime]) -> String {
    let times = phases.iter().map(|phase| format!("{} {}", phase.phase.name(), seconds(phase.seconds)));
    times.collect::<Vec<_>>().join(", ")
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.2} s")
}

/// Prints an error: what failed, why, and what to do.
pub(crate) fn error(error: &Error) {
    let colour = stderr().is_terminal();
    let (red, plain) = if colour { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
    eprintln!("{red}error{plain}: {error}");
    let mut cause = error.source();
    while let Some(this) = cause {
        eprintln!("{}", indented("cause", &this.to_string()));
        cause = this.source();
    }
    if let Some(remedy) = error.remedy() {
        eprintln!("{}", indented("help", remedy));
    }
}

fn indented(label: &str, text: &str) -> String {
    let mut lines = text.lines();
    let mut out = format!("  {label}: {}", lines.next().unwrap_or_default());
    for line in lines {
        out.push_str("\n    ");
        out.push_str(line);
    }
    out
}

/// Prints what a program in a machine printed. An error means that nobody reads its standard output any more; that
/// nobody reads its standard error ends no program.
pub(crate) fn stream(stream: wire::Stream, bytes: &[u8]) -> std::io::Result<()> {
    match stream {
        wire::Stream::Stdout => stdout().write_all(bytes).and_then(|()| stdout().flush()),
        wire::Stream::Stderr => {
            let _ = stderr().write_all(bytes);
            Ok(())
        }
    }
}

/// Prints a line of a command's result.
pub(crate) fn print(line: impl AsRef<str>) {
    // A reader that went away, as `head` does, is no failure of ours.
    let _ = writeln!(stdout(), "{}", line.as_ref());
}

/// Prints the functions with the most instructions.
pub(crate) fn profile(title: &str, profile: &Profile, top: usize) {
    print(profile::render(title, profile, top).trim_end());
}

/// Prints a function's instructions.
pub(crate) fn annotated(function: &Annotated) {
    print(profile::annotated(function).trim_end());
}

/// Prints a line of what is going on.
pub(crate) fn aside(line: &str) {
    // As above.
    let _ = writeln!(stderr(), "{line}");
}

/// Begins at the top of an empty screen where standard output is a terminal. What was there is scrolled away, and
/// can be scrolled back to.
pub(crate) fn new_page() {
    if stdout().is_terminal() {
        let rows = terminal::size().rows;
        let away = "\n".repeat(rows.into());
        print_raw(format!("\x1b[{rows};1H{away}\x1b[H").as_bytes());
        // What follows may go to standard error.
        let _ = stdout().flush();
    }
}

/// The files that standard output and standard error go to, where they do.
pub(crate) fn files() -> Vec<PathBuf> {
    let outputs = ["/proc/self/fd/1", "/proc/self/fd/2"].into_iter();
    outputs.filter_map(|link| std::fs::read_link(link).ok()).filter(|path| path.is_file()).collect()
}

/// Prints a text of a command's result as it is.
pub(crate) fn print_raw(bytes: &[u8]) {
    let _ = stdout().write_all(bytes);
}

/// Prints what came out of a machine: as it is, or so that a terminal takes it for nothing but text.
pub(crate) fn print_foreign(bytes: &[u8]) {
    if stdout().is_terminal() {
        print_raw(plain(&String::from_utf8_lossy(bytes)).as_bytes());
    } else {
        print_raw(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(outcome: Outcome, lines: usize) -> Test {
        let details = vec![String::new(); lines];
        Test { name: String::new(), outcome, seconds: None, attempts: 1, details }
    }

    #[test]
    fn failures_are_told_again_where_they_are_out_of_sight() {
        let mut tests = vec![result(Outcome::Passed, 0), result(Outcome::Failed, 3)];
        assert!(far_above(&tests).is_empty());
        tests.extend(vec![result(Outcome::Passed, 0); 11]);
        assert!(far_above(&tests).is_empty(), "15 lines");
        tests.push(result(Outcome::Failed, 0));
        assert_eq!(far_above(&tests).len(), 2);
        assert!(far_above(&vec![result(Outcome::Passed, 0); 100]).is_empty());
    }

    #[test]
    fn one_line_over_all_kernels() {
        let verdict = |kernel: &str, class| Verdict { kernel: kernel.to_owned(), class };
        let mut verdicts = vec![verdict("debian-6.1", Class::Passed), verdict("debian-7.3", Class::Passed)];
        insta::assert_snapshot!(summarised(&verdicts), @"2 of 2 kernels passed");
        verdicts.push(verdict("debian-6.12", Class::Oops));
        insta::assert_snapshot!(summarised(&verdicts), @"2 of 3 kernels passed: oops on debian-6.12");
    }
}
