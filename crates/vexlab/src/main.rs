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

fn main() -> ExitCode {
    // Before anything else, so that it holds for every thread and every program that follows.
    if let Err(error) = lab::host::forbid_module_loading() {
        output::error(&error);
        return ExitCode::from(Class::LabFailed.exit_status());
    }
    let cli = Cli::parse();
    let screen = Arc::new(Screen::new());
    let status = set_up(&screen).and_then(|(lab, interrupt)| commands::dispatch(&lab, &cli, &interrupt));
    screen.clear();
    match status {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            output::error(&error);
            ExitCode::from(Class::from(&error).exit_status())
        }
    }
}

/// The cache, the screen, and the signals that stop a run.
fn set_up(screen: &Arc<Screen>) -> Result<(Lab, Interrupt)> {
    let cancel = Cancel::default();
    let interrupt = Interrupt::watch(&cancel)?;
    let cache = Cache::of_user()?;
    cache.sweep();
    Ok((Lab { cache, reporter: screen.clone(), cancel }, interrupt))
}
