// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab run` and `vexlab shell`.

use std::path::Path;

use lab::Lab;
use lab::environment::{DEFAULT_KERNEL, Ends};
use lab::error::{Context, Error, Result};
use lab::event::Event;
use lab::image::Share;
use lab::kernel::Kernel;
use lab::link::Outgoing;
use lab::project::Project;
use lab::run::{self, Record, Terminal, inside};
use lab::share::program::{self, Program};
use lab::share::{self, Shown, Source};
use lab::verdict::Class;
use wire::{Exit, Process, Stream, WindowSize};

use super::whole::{Whole, its_own_kernel, the_project};
use super::{environment, kernels, our_root};
use crate::cli::{CommandArgs, Root, RunArgs, RustFrom, ShellArgs, SourceArgs};
use crate::output;
use crate::terminal::{self, Keys};

/// What `run` and `shell` have in common.
struct Wish<'a> {
    dir: &'a Path,
    run: &'a RunArgs,
    no_module: bool,
    source: &'a SourceArgs,
    /// Whether the project's folder is shown without having been asked for.
    shows_project: bool,
}

/// Runs a command in a machine and gives its exit status.
pub(crate) fn run(lab: &Lab, dir: &Path, arguments: &CommandArgs) -> Result<u8> {
    let CommandArgs { run, no_module, source, command } = arguments;
    let mut process = Process { environment: environment_of_ours(), ..Process::new(command.clone()) };
    let program = match (&run.root, &mut process.arguments[0]) {
        (Root::Host | Root::Image(_), _) => None,
        (Root::Tiny, word) => program::find(lab, word)?.inspect(|program| program.path.clone_into(word)),
    };
    let wish = Wish { dir, run, no_module: *no_module, source, shows_project: false };
    Ok(exit_status(&in_machine(lab, &wish, program, process, &mut terminal::send_input)?))
}

/// Opens a shell in a machine. Without a terminal on our side it has none either, and reads its commands from
/// our standard input as any shell does.
pub(crate) fn shell(lab: &Lab, dir: &Path, arguments: &ShellArgs) -> Result<u8> {
    if let Some(name) = &arguments.name {
        return environment::shell(lab, name);
    }
    let ShellArgs { run, no_module, source, .. } = arguments;
    let mut keys = Keys::ours();
    let root = match run.root {
        Root::Tiny => Some(share::Root::Tiny),
        Root::Host => Some(share::Root::Host),
        Root::Image(_) => None,
    };
    let process = a_shell(root, keys.terminal());
    let mut input = |outgoing: Outgoing| keys.send(outgoing);
    let wish = Wish { dir, run, no_module: *no_module, source, shows_project: true };
    let ended = in_machine(lab, &wish, None, process, &mut input);
    keys.end()?;
    Ok(exit_status(&ended?))
}

/// A shell as a program of a machine: the user's own where that is there, root's where the machine has a distribution
/// and so no `root` of ours.
pub(super) fn a_shell(root: Option<share::Root>, terminal: Option<WindowSize>) -> Process {
    let command = match (root, std::env::var("SHELL")) {
        (Some(share::Root::Host), Ok(shell)) if shell.starts_with('/') => vec![shell],
        (Some(_), _) => vec!["sh".into(), "-l".into()],
        (None, _) => ["sh", "-c", r#"exec "${SHELL:-sh}" -l"#].map(str::to_owned).into(),
    };
    Process { environment: environment_of_ours(), terminal, ..Process::new(command) }
}

fn in_machine(
    lab: &Lab,
    wish: &Wish<'_>,
    program: Option<Program>,
    process: Process,
    input: &mut dyn FnMut(Outgoing),
) -> Result<Record> {
    let project = wanted_project(lab, wish)?;
    let source = wanted_source(wish, project.as_ref())?;
    if let Root::Image(image) = &wish.run.root {
        return in_a_distribution(lab, wish, image, project.as_ref(), source, process, input);
    }
    let kernel = one_kernel(lab, wish.run, project.as_ref())?;
    let options: run::Options = wish.run.into();
    let root = our_root(wish.run, "this")?;
    let shown = Shown { root, source, programs: program.into_iter().collect() };
    let mut show = |stream: Stream, bytes: &[u8]| lab.reporter.event(&Event::Output(stream, bytes));
    let mut terminal = Terminal { output: &mut show, input };
    run::command(lab, project.as_ref(), &kernel, options, &shown, process, &mut terminal)
}

fn in_a_distribution(
    lab: &Lab,
    wish: &Wish<'_>,
    image: &str,
    project: Option<&Project>,
    source: Option<Source>,
    process: Process,
    input: &mut dyn FnMut(Outgoing),
) -> Result<Record> {
    if !wish.run.build.kernel.is_empty() {
        return Err(its_own_kernel());
    }
    let share = match source {
        Some(Source { folder, writable }) => {
            let path = std::fs::canonicalize(&folder);
            Some(Share {
                path: path.context(|| format!("there is no folder {}", folder.display()))?,
                writable,
            })
        }
        None => project.map(the_project),
    };
    if let (Some(project), Some(share)) = (project, &share)
        && share.path != project.root()
    {
        let source = share.path.display();
        return Err(Error::usage(format!(
            "the module is built from the project's folder on /src, where {source} can't be then"
        ))
        .with_remedy("leave DIR away, or the module: --no-module"));
    }
    let options: run::Options = wish.run.into();
    let shows = share.is_some();
    let machine = Whole::fresh(lab, image, project, share, options, &wish.run.whole)?;
    let mut ends = Ends { output: &mut output::stream, input };
    inside::command(lab, project, &machine.place(), options, shows, process, &mut ends)
}

/// The project whose module is loaded. Whoever is in none gets a machine without one, and is told; unless something is
/// asked of the module.
fn wanted_project(lab: &Lab, wish: &Wish<'_>) -> Result<Option<Project>> {
    let run = wish.run;
    if wish.no_module {
        return Ok(None);
    }
    if run.build.how.c_only || run.build.how.minimal || run.no_check || run.compiled.rust == RustFrom::Inside
    {
        return Project::find(wish.dir).map(Some);
    }
    let project = Project::find_any(wish.dir)?;
    if project.is_none() {
        lab.note("there is no project here, so no module is loaded; with --no-module this is not said");
    }
    Ok(project)
}

/// The folder to show at /src: the one that is named, or the project's, where that is wanted.
fn wanted_source(wish: &Wish<'_>, project: Option<&Project>) -> Result<Option<Source>> {
    let SourceArgs { src, rw } = wish.source;
    let folder = match (src, project) {
        (Some(Some(named)), _) => named.clone(),
        (None, Some(project)) if wish.shows_project => project.root().to_owned(),
        (None, _) if !rw => return Ok(None),
        (_, Some(project)) => project.root().to_owned(),
        (_, None) => Project::find(wish.dir)?.root().to_owned(),
    };
    Ok(Some(Source { folder, writable: *rw }))
}

pub(super) fn one_kernel(lab: &Lab, arguments: &RunArgs, project: Option<&Project>) -> Result<Kernel> {
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
pub(super) fn exit_status(record: &Record) -> u8 {
    match (record.class, record.exit) {
        (Class::Passed, Some(exit)) => status_of(exit),
        _ => record.class.exit_status(),
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
