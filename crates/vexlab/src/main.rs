// SPDX-License-Identifier: GPL-2.0-only
//! The program: parses, dispatches, prints and exits. Nothing else in the workspace prints or exits.
#![forbid(unsafe_code)]

/// The command line.
mod cli;
/// One function for each command.
mod commands;
/// The signals that stop a run.
mod interrupt;
/// What a user sees.
mod output;
/// Where events go.
mod reports;
/// The terminal on this side of a shell.
mod terminal;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::error::Result;
use lab::verdict::Class;

use cli::Cli;
use interrupt::Interrupt;
use output::Screen;
use reports::Reports;

fn main() -> ExitCode {
    // Before anything else, so that it holds for every thread and every program that follows.
    if let Err(error) = lab::host::forbid_module_loading() {
        output::error(&error);
        return ExitCode::from(Class::LabFailed.exit_status());
    }
    let cli = Cli::parse();
    let screen = Arc::new(Screen::new());
    match Reports::new(screen.clone(), &cli.command).and_then(|reports| carry_out(&cli, &screen, reports)) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::error(&error);
            ExitCode::from(Class::from(&error).exit_status())
        }
    }
}

/// Carries the command out, and has its reports written. Gives the exit status.
fn carry_out(cli: &Cli, screen: &Screen, reports: Reports) -> Result<u8> {
    let reports = Arc::new(reports);
    let status = set_up(&reports).and_then(|(lab, interrupt)| commands::dispatch(&lab, cli, &interrupt));
    screen.clear();
    reports.finish(status)
}

/// The cache, whom to tell, and the signals that stop a run.
fn set_up(reports: &Arc<Reports>) -> Result<(Lab, Interrupt)> {
    let cancel = Cancel::default();
    let interrupt = Interrupt::watch(&cancel)?;
    let cache = Cache::of_user()?;
    cache.sweep();
    Ok((Lab { cache, reporter: reports.clone(), cancel }, interrupt))
}
