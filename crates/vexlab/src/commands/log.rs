// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab log` and `vexlab report`.

use std::fs;

use jiff::tz::TimeZone;
use lab::Lab;
use lab::cache::write_atomically;
use lab::error::{Context, Error, Result};
use report::format::{Exit, Run};
use report::store::{self, Entry};
use report::{html, text};

use crate::cli::{LogArgs, ReportArgs};
use crate::output;

/// Shows past runs.
pub(crate) fn log(lab: &Lab, arguments: &LogArgs) -> Result<()> {
    let Some(name) = &arguments.run else {
        store::list(&lab.cache)?.iter().for_each(|entry| output::print(in_short(entry)));
        return Ok(());
    };
    let run = store::find(&lab.cache, name)?;
    if arguments.console {
        return console(&run);
    }
    output::print(format!("{}  {}", run.id.as_deref().unwrap_or_default(), time(&run)));
    run.tests.iter().for_each(output::test);
    for splat in &run.splats {
        text::splat(splat).iter().for_each(|line| output::print(format!("  {}", text::plain_line(line))));
    }
    output::verdict(&run);
    if let Some(exit) = run.exit {
        output::print(format!("  the command ended with {}", ended(exit)));
    }
    Ok(())
}

/// Writes a page of runs.
pub(crate) fn report(lab: &Lab, arguments: &ReportArgs) -> Result<()> {
    let runs = match &arguments.runs[..] {
        [] => store::newest(&lab.cache)?,
        names => names.iter().map(|name| store::find(&lab.cache, name)).collect::<Result<_>>()?,
    };
    write_atomically(&arguments.html, html::page(&runs).as_bytes())?;
    let count = if runs.len() == 1 { "1 run".to_owned() } else { format!("{} runs", runs.len()) };
    output::print(format!("{}: {count}", arguments.html.display()));
    Ok(())
}

fn in_short(entry: &Entry) -> String {
    let Entry { id, run } = entry;
    match run {
        Ok(run) => {
            let (what, kernel) = (text::plain_line(&run.module), text::plain_line(&run.kernel));
            let command = run.exit.map(|exit| format!(", command: {}", ended(exit))).unwrap_or_default();
            format!("{id}  {}  {}: {what} on {kernel}, {:.2} s{command}", time(run), run.class, run.seconds)
        }
        Err(error) => format!("{id}  {error}"),
    }
}

fn ended(exit: Exit) -> String {
    match exit {
        Exit::Status(status) => format!("status {status}"),
        Exit::Signal(signal) => format!("signal {signal}"),
    }
}

/// When a run began, by the clock on the wall.
fn time(run: &Run) -> String {
    run.started.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn console(run: &Run) -> Result<()> {
    let none = || Error::usage("the run has no console: it did not come to a machine");
    let path = run.console_path().ok_or_else(none)?;
    let console = fs::read(&path).context(|| format!("read {}", path.display()))?;
    output::print_foreign(&console);
    Ok(())
}
