// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab run` and `vexlab shell`.

use std::path::Path;

use lab::Lab;
use lab::error::{Error, Result};
use lab::event::Event;
use lab::kernel::Kernel;
use lab::link::Outgoing;
use lab::project::Project;
use lab::run::{self, Record, Terminal};
use lab::share::{Source, Wanted};
use lab::verdict::Class;
use wire::{Exit, Process, Stream};

use super::kernels;
use crate::cli::{CommandArgs, Root, RunArgs, ShellArgs, SourceArgs};
use crate::output;
use crate::terminal::{self, Raw};

/// The kernel for a machine without a project, where the user names none.
const DEFAULT_KERNEL: &str = "debian-6.1-cloud";

/// A machine that has ended.
struct Ended {
    module: String,
    kernel: String,
    record: Record,
}

/// Runs a command in a machine and gives its exit status.
pub(crate) fn run(lab: &Lab, dir: &Path, arguments: &CommandArgs) -> Result<u8> {
    let process = Process { environment: environment(), ..Process::new(arguments.command.clone()) };
    let ended =
        in_machine(lab, dir, &arguments.run, arguments.no_module, &arguments.source, false, process, &mut terminal::send_input)?;
    Ok(exit_status(&ended))
}

/// Opens a shell in a machine. Without a terminal on our side it has none either, and reads its commands from
/// our standard input as any shell does.
pub(crate) fn shell(lab: &Lab, dir: &Path, arguments: &ShellArgs) -> Result<u8> {
    let on_terminal = terminal::is_ours();
    let mut raw = None;
    let mut failed = None;
    let mut input = |outgoing: Outgoing| {
        let entered = Raw::enter().and_then(|entered| {
            raw = entered;
            terminal::send_sizes(outgoing.clone())
        });
        failed = entered.err();
        match on_terminal {
            true => terminal::send_keys(outgoing),
            false => terminal::send_input(outgoing),
        }
    };
    let process = Process {
        environment: environment(),
        terminal: on_terminal.then(terminal::size),
        ..Process::new(shell_command(arguments.run.root))
    };
    let ended = in_machine(lab, dir, &arguments.run, arguments.no_module, &arguments.source, true, process, &mut input);
    // What is printed from here on is for a terminal in its ordinary state.
    drop(raw);
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(exit_status(&ended?))
}

/// The shell: where the user's own is there, that one.
fn shell_command(root: Root) -> Vec<String> {
    match (root, std::env::var("SHELL")) {
        (Root::Host, Ok(shell)) if shell.starts_with('/') => vec![shell],
        _ => vec!["sh".into(), "-l".into()],
    }
}

fn in_machine(
    lab: &Lab,
    dir: &Path,
    arguments: &RunArgs,
    no_module: bool,
    source: &SourceArgs,
    with_source: bool,
    process: Process,
    input: &mut dyn FnMut(Outgoing),
) -> Result<Ended> {
    let project = if no_module { None } else { Some(Project::find(dir)?) };
    let kernel = one_kernel(lab, arguments, project.as_ref())?;
    let options: run::Options = arguments.into();
    let mut show = |stream: Stream, bytes: &[u8]| lab.reporter.event(&Event::Output(stream, bytes));
    let mut terminal = Terminal { output: &mut show, input };
    let shown = Wanted {
        root: arguments.root.into(),
        source: wanted_source(dir, source, with_source.then_some(project.as_ref()).flatten())?,
    };
    let record = run::command(lab, project.as_ref(), &kernel, options, &shown, process, &mut terminal)?;
    let module = project.as_ref().map_or("no module", Project::name).to_owned();
    Ok(Ended { module, kernel: kernel.name().to_owned(), record })
}

/// The folder to show at /src: the one that is named, the one that the user is in, or that of the project which is
/// shown in any case.
fn wanted_source(dir: &Path, arguments: &SourceArgs, project: Option<&Project>) -> Result<Option<Source>> {
    let folder = match (&arguments.src, project) {
        (Some(Some(named)), _) => named.clone(),
        (Some(None), _) => Project::find(dir)?.root().to_owned(),
        (None, Some(project)) => project.root().to_owned(),
        (None, None) if arguments.rw => Project::find(dir)?.root().to_owned(),
        (None, None) => return Ok(None),
    };
    Ok(Some(Source { folder, writable: arguments.rw }))
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
        (Class::Passed, Some(Exit::Status(status))) => u8::try_from(status).unwrap_or(u8::MAX),
        // As a shell has it.
        (Class::Passed, Some(Exit::Signal(signal))) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        _ => {
            output::verdict(&ended.module, &ended.kernel, record);
            record.class.exit_status()
        }
    }
}

fn environment() -> Vec<(String, String)> {
    std::env::var("TERM").map(|term| ("TERM".to_owned(), term)).into_iter().collect()
}
