// SPDX-License-Identifier: GPL-2.0-only
//! What a user sees: results on standard output, everything on the way there on standard error.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is where the program prints")]

mod trace;

use std::error::Error as _;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lab::error::Error;
use lab::event::{Event, Reporter};
use lab::run::Record;
use lab::splat::Splat;
use lab::verdict::{Outcome, Phase, TestResult};

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
            Event::Test(test) => self.line(|| print_test(test)),
            Event::Begin { .. }
            | Event::TestBegin { .. }
            | Event::Phase(..)
            | Event::Splat(_)
            | Event::End(_) => {}
            // A reader that went away stops nothing: the verdict is the exit status.
            Event::Output(stream, bytes) => self.line(|| drop(self::stream(*stream, bytes))),
        }
    }
}

fn print_test(test: &TestResult) {
    let mark = match test.outcome {
        Outcome::Passed => "  ok  ",
        Outcome::Failed => " FAIL ",
        Outcome::Flaky => "flaky ",
        Outcome::Skipped => " skip ",
    };
    let time = test.time.map(|time| format!("  {:.3} s", time.as_secs_f64())).unwrap_or_default();
    println!("{mark} {}{time}", test.name);
    for line in &test.details {
        println!("         {line}");
    }
}

/// Prints a run's verdict: one line, and what led to it where it isn't a pass.
pub(crate) fn verdict(record: &Record) {
    let count = |outcome| record.tests.iter().filter(|test| test.outcome == outcome).count();
    let mut counts = format!("{} passed", count(Outcome::Passed));
    for (outcome, word) in
        [(Outcome::Failed, "failed"), (Outcome::Flaky, "flaky"), (Outcome::Skipped, "skipped")]
    {
        if count(outcome) > 0 {
            counts.push_str(&format!(", {} {word}", count(outcome)));
        }
    }
    println!(
        "{}: {} on {} ({}): {counts}",
        record.class,
        record.module,
        record.kernel,
        record.accelerator.name()
    );
    println!("  {} in all: {}", seconds(record.time), phases(&record.phases));
    for reason in &record.reasons {
        println!("  {reason}");
    }
    splats(&record.splats);
    if record.class != lab::verdict::Class::Passed {
        println!("  console: {}", record.console().display());
    }
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
fn phases(phases: &[(Phase, Duration)]) -> String {
    let times: Vec<_> =
        phases.iter().map(|(phase, time)| format!("{} {}", phase.name(), seconds(*time))).collect();
    times.join(", ")
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
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
