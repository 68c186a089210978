// SPDX-License-Identifier: GPL-2.0-only
//! The commands: each reads its arguments, has the lab do the work, and prints what came of it.

mod bench;
mod cache;
mod check;
mod coverage;
mod doctor;
mod environment;
mod gdb;
mod image;
mod kernel;
mod log;
mod machine;
mod module;
mod profile;
mod watch;
mod whole;

use std::path::Path;

use clap::CommandFactory;
use lab::Lab;
use lab::environment::MadeWith;
use lab::error::{Context, Error, Result};
use lab::kernel::Kernel;
use lab::machine::Accelerator;
use lab::project::{self, Project};
use lab::run::inside::RustFrom;
use lab::share::{Root, Shown};
use lab::{build, run, verdict};

use crate::cli::{self, Cli, Command, Compiled, How, RunArgs, SelectionArgs, TestArgs, WholeArgs};
use crate::interrupt::Interrupt;
use crate::output;

/// Carries a command out. Gives the exit status.
pub(crate) fn dispatch(lab: &Lab, cli: &Cli, interrupt: &Interrupt) -> Result<u8> {
    match &cli.command {
        Command::Doctor => doctor::doctor(lab),
        Command::Kernel(command) => kernel::kernel(lab, command).map(|()| 0),
        Command::Image(command) => image::image(lab, command).map(|()| 0),
        Command::Build(arguments) => module::build(lab, &cli.project, arguments).map(|()| 0),
        Command::Link(arguments) => module::link(lab, arguments).map(|()| 0),
        Command::Test(arguments) if arguments.watch => watch::watch(lab, &cli.project, arguments),
        Command::Test(arguments) => module::test(lab, &cli.project, arguments),
        Command::Bench(arguments) => bench::bench(lab, &cli.project, arguments),
        Command::Coverage(arguments) => coverage::coverage(lab, &cli.project, arguments),
        Command::Log(arguments) => log::log(lab, arguments).map(|()| 0),
        Command::Report(arguments) => log::report(lab, arguments).map(|()| 0),
        Command::Check(arguments) => check::check(lab, &cli.project, arguments),
        Command::Run(arguments) => machine::run(lab, &cli.project, arguments),
        Command::Shell(arguments) => machine::shell(lab, &cli.project, arguments),
        Command::Gdb(arguments) => gdb::gdb(lab, &cli.project, arguments, interrupt),
        Command::Profile(arguments) => profile::profile(lab, &cli.project, arguments),
        Command::Up(arguments) => environment::up(lab, &cli.project, arguments).map(|()| 0),
        Command::Ps => {
            environment::ps(lab);
            Ok(0)
        }
        Command::Exec(arguments) => environment::exec(lab, arguments),
        Command::Cp(arguments) => lab::environment::copy(lab, &arguments.from, &arguments.to).map(|()| 0),
        Command::Logs(arguments) => environment::logs(lab, arguments),
        Command::Stop(arguments) => environment::stop(lab, arguments).map(|()| 0),
        Command::Restart(arguments) => environment::restart(lab, arguments).map(|()| 0),
        Command::Rm(arguments) => environment::rm(lab, arguments).map(|()| 0),
        Command::Ssh(arguments) => environment::ssh(lab, arguments),
        Command::SshConfig(machine) => environment::ssh_config(lab, machine).map(|()| 0),
        Command::Keep(arguments) => lab::environment::keep(lab, &arguments.folder).map(|()| 0),
        Command::Cache(command) => cache::cache(lab, command).map(|()| 0),
        Command::Init => init(&cli.project).map(|()| 0),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "vexlab", &mut std::io::stdout());
            Ok(0)
        }
        Command::Man { dir } => man(dir).map(|()| 0),
        Command::Doc { page } => {
            let text = match page {
                cli::Page::ExitCodes => verdict::exit_status_page(),
                cli::Page::ReportFormat => report::page(),
                cli::Page::Rules => ko::rules_page(),
                cli::Page::Splats => lab::splat::kinds_page(),
            };
            output::print_raw(text.as_bytes());
            Ok(0)
        }
    }
}

fn init(dir: &Path) -> Result<()> {
    let path = project::init(dir)?;
    output::print(format!("wrote {}; `vexlab test` is next", path.display()));
    Ok(())
}

fn man(dir: &Path) -> Result<()> {
    lab::cache::make_dir(dir)?;
    clap_mangen::generate_to(Cli::command(), dir).context(|| format!("write man pages to {}", dir.display()))
}

/// The kernels that the user named, or the project's.
fn kernels(lab: &Lab, named: &[String], project: Option<&Project>) -> Result<Vec<Kernel>> {
    let names: &[String] = match project {
        Some(project) if named.is_empty() => &project.manifest().kernels,
        _ => named,
    };
    names.iter().map(|name| lab::kernel::resolve(lab, name)).collect()
}

/// What is run has its tests in it.
impl From<&How> for build::Options {
    fn from(how: &How) -> Self {
        Self { c_only: how.c_only, minimal: how.minimal, tests: true, coverage: false }
    }
}

impl From<&RunArgs> for run::Options {
    fn from(arguments: &RunArgs) -> Self {
        Self {
            build: (&arguments.build.how).into(),
            accelerator: arguments.accel.map(Into::into),
            kernel_decides: arguments.no_check,
            cold: arguments.cold,
            life_only: false,
            recorded: None,
            rust: arguments.compiled.rust.into(),
            allowed: arguments.allow.iter().copied().collect(),
        }
    }
}

impl From<&SelectionArgs> for run::Selection {
    fn from(arguments: &SelectionArgs) -> Self {
        let SelectionArgs { filters, jobs, retries, repeat, fail_fast, isolated } = arguments;
        Self {
            filters: filters.clone(),
            jobs: (*jobs).into(),
            retries: *retries,
            repeat: *repeat,
            fail_fast: *fail_fast,
            isolated: *isolated,
            no_life: false,
        }
    }
}

impl From<&WholeArgs> for MadeWith {
    fn from(arguments: &WholeArgs) -> Self {
        let WholeArgs { memory, processors, package, limit } = arguments;
        Self { memory: *memory, processors: *processors, packages: package.clone(), limit: *limit }
    }
}

/// What is to be done in machines of ours, for what needs them.
fn order(arguments: &TestArgs, what: &str) -> Result<run::Order> {
    let root = our_root(&arguments.run, what)?;
    Ok(run::Order {
        options: run::Options { life_only: arguments.life, ..(&arguments.run).into() },
        shown: Shown { root, ..Shown::default() },
        selection: run::Selection { no_life: arguments.no_life, ..(&arguments.selection).into() },
    })
}

/// What programs see in a machine of ours, for what needs one.
fn our_root(arguments: &RunArgs, what: &str) -> Result<Root> {
    let root = match &arguments.root {
        cli::Root::Tiny => Root::Tiny,
        cli::Root::Host => Root::Host,
        cli::Root::Image(image) => {
            return Err(Error::usage(format!("{what} does not go with the image {image}"))
                .with_remedy("leave --root away: it works in a machine with a kernel of vexlab's"));
        }
    };
    refuse_for_ours(&arguments.whole)?;
    refuse_inside(&arguments.compiled)?;
    Ok(root)
}

/// Refuses for a machine of ours what is for one with a distribution.
fn refuse_for_ours(arguments: &WholeArgs) -> Result<()> {
    if MadeWith::from(arguments).is_empty() {
        return Ok(());
    }
    Err(Error::usage("--memory, --processors, --package and --limit are for a machine with a distribution")
        .with_remedy("name an image with --root; for others [machine] and [timeouts] in vexlab.toml say it"))
}

/// Refuses to have Rust compiled in a machine of ours, which has no compiler.
fn refuse_inside(arguments: &Compiled) -> Result<()> {
    match arguments.rust {
        cli::RustFrom::Host => Ok(()),
        cli::RustFrom::Inside => Err(Error::usage("--rust inside is for a machine with a distribution")
            .with_remedy("name an image with --root, or such a machine with `build --in` or `test --in`")),
    }
}

impl From<cli::RustFrom> for RustFrom {
    fn from(rust: cli::RustFrom) -> Self {
        match rust {
            cli::RustFrom::Host => Self::Host,
            cli::RustFrom::Inside => Self::Inside,
        }
    }
}

impl From<cli::Accelerator> for Accelerator {
    fn from(accelerator: cli::Accelerator) -> Self {
        match accelerator {
            cli::Accelerator::Kvm => Self::Kvm,
            cli::Accelerator::Tcg => Self::Tcg,
        }
    }
}
