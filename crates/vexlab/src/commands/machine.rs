// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab run` and `vexlab shell`.

use std::path::Path;

use lab::Lab;
use lab::environment::DEFAULT_KERNEL;
use lab::error::{Error, Result};
use lab::event::Event;
use lab::kernel::Kernel;
use lab::link::Outgoing;
use lab::project::Project;
use lab::run::{self, Record, Terminal};
use lab::verdict::Class;
use wire::{Exit, Process, Stream, WindowSize};

use super::{environment, kernels};
use crate::cli::{CommandArgs, RunArgs, ShellArgs};
use crate::output;
use crate::terminal::{self, Keys};

/// A machine that has ended.
struct Ended {
    module: String,
    kernel: String,
    record: Record,
}

/// Runs a command in a machine and gives its exit status.
pub(crate) fn run(lab: &Lab, dir: &Path, arguments: &CommandArgs) -> Result<u8> {
    let process =
        Process { arguments: arguments.command.clone(), environment: environment_of_ours(), terminal: None };
    let ended =
        in_machine(lab, dir, &arguments.run, arguments.no_module, process, &mut terminal::send_input)?;
    Ok(exit_status(&ended))
}

/// Opens a shell in a machine. Without a terminal on our side it has none either, and reads its commands from
/// our standard input as any shell does.
pub(crate) fn shell(lab: &Lab, dir: &Path, arguments: &ShellArgs) -> Result<u8> {
    if let Some(name) = &arguments.name {
        return environment::shell(lab, name);
    }
    let mut keys = Keys::ours();
    let process = a_shell(keys.terminal());
    let mut input = |outgoing: Outgoing| keys.send(outgoing);
    let ended = in_machine(lab, dir, &arguments.run, arguments.no_module, process, &mut input);
    keys.end()?;
    Ok(exit_status(&ended?))
}

/// A shell as a program of a machine.
pub(super) fn a_shell(terminal: Option<WindowSize>) -> Process {
    Process { arguments: vec!["sh".into(), "-l".into()], environment: environment_of_ours(), terminal }
}

fn in_machine(
    lab: &Lab,
    dir: &Path,
    arguments: &RunArgs,
    no_module: bool,
    process: Process,
    input: &mut dyn FnMut(Outgoing),
) -> Result<Ended> {
    let project = if no_module { None } else { Some(Project::find(dir)?) };
    let kernel = one_kernel(lab, arguments, project.as_ref())?;
    let options: run::Options = arguments.into();
    let mut show = |stream: Stream, bytes: &[u8]| lab.reporter.event(&Event::Output(stream, bytes));
    let mut terminal = Terminal { output: &mut show, input };
    let record = run::command(lab, project.as_ref(), &kernel, options, process, &mut terminal)?;
    let module = project.as_ref().map_or("no module", Project::name).to_owned();
    Ok(Ended { module, kernel: kernel.name().to_owned(), record })
}

fn one_kernel(lab: &Lab, arguments: &RunArgs, project: Option<&Project>) -> Result<Kernel> {
    let named = &arguments.build.kernel;
    let name = match (named.as_slice(), project) {
        ([name], _) => name,
        ([], Some(project)) => &project.manifest().kernels[0],
        ([], None) => DEFAULT_KERNEL,
        (several, _) => {
            return Err(Error::usage(format!(
                "{} kernels are named, and a command runs on one",
                several.len()
            ))
            .with_remedy("give --kernel once"));
        }
    };
    let mut kernels = kernels(lab, &[name.to_owned()], None)?;
    Ok(kernels.remove(0))
}

/// The command's own status, unless something went wrong around it.
fn exit_status(ended: &Ended) -> u8 {
    let record = &ended.record;
    match (record.class, record.exit) {
        (Class::Passed, Some(exit)) => status_of(exit),
        _ => {
            output::verdict(&ended.module, &ended.kernel, record);
            record.class.exit_status()
        }
    }
}

/// A program's end as a shell has it.
pub(super) fn status_of(exit: Exit) -> u8 {
    let status = match exit {
        Exit::Status(status) => status,
        Exit::Signal(signal) => 128 + signal,
    };
    u8::try_from(status).unwrap_or(u8::MAX)
}

/// What a program in a machine has of our environment.
pub(super) fn environment_of_ours() -> Vec<(String, String)> {
    std::env::var("TERM").map(|term| ("TERM".to_owned(), term)).into_iter().collect()
}
