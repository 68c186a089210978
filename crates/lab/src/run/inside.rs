// SPDX-License-Identifier: GPL-2.0-only
//! Builds, tests and commands inside of a machine with a distribution: with its compiler and its kernel's headers, from
//! the project's live source on `/src`. The Rust side is compiled on the host, for the configuration of the machine's
//! kernel, or by the machine's own compiler, as the user wants it, and linked here; what was built comes to the host, to
//! be judged as any module is before it is loaded.

/// A module that was built in the machine is judged here.
mod checking;
/// The Rust side, by a compiler of the machine's.
mod compiling;
mod helper;
/// From the source in the machine to a module.
mod making;
/// What was seen of a run, and what it ends in.
mod seen;
/// The module is loaded, tested and unloaded.
mod testing;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wire::Process;

pub use compiling::has_rust;
use helper::{Helper, Lost, Said};
use seen::Seen;

use super::splats::Expected;
use super::trouble::Trouble;
use super::{Options, Record, told};
use crate::Lab;
use crate::build::ProofKey;
use crate::environment::{Conversation, Ends};
use crate::error::{Error, Result};
use crate::image::Ssh;
use crate::machine::Accelerator;
use crate::project::Project;
use crate::verdict::{Class, Phase};

/// Where the Rust side of a module is compiled that is built in a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RustFrom {
    /// On this host, with the compiler that the project uses here.
    #[default]
    Host,
    /// In the machine, with its own.
    Inside,
}

/// How long what takes no time may take in an emulated machine.
const SHORT: Duration = Duration::from_secs(60);

/// A machine with a distribution that is ready, with the project's folder mounted.
#[derive(Debug)]
pub struct Place<'a> {
    /// What the user calls it.
    pub name: &'a str,
    /// What it was made from: an image's name, or a file's path.
    pub image: &'a str,
    /// How it is reached.
    pub ssh: &'a Ssh,
    /// The file that its console goes to.
    pub console: &'a Path,
    /// What runs its instructions.
    pub accelerator: Accelerator,
}

/// A module that was built in a machine, and has passed the checks.
#[derive(Debug, Clone)]
pub struct Built {
    /// A copy of it here.
    pub module: PathBuf,
    /// The release of the machine's kernel.
    pub release: String,
    /// How long compiling took, Rust on the host and C in the machine, and the checks.
    pub time: Duration,
    /// Where it is in the machine.
    there: String,
    key: Option<ProofKey>,
}

/// Builds the project's module in a machine.
///
/// # Errors
///
/// When the source does not build, a check refuses the module, the machine lacks what it takes, its headers are those of
/// another kernel, or it can't be talked to.
pub fn build(lab: &Lab, project: &Project, place: &Place<'_>, options: Options) -> Result<Built> {
    Inside::enter(lab, project, place, options)?.build()
}

/// Builds the project's module in a machine, loads it there, tests it, and unloads it.
///
/// # Errors
///
/// When it does not come to loading. What the machine shows then is in the [`Record`].
pub fn test(lab: &Lab, project: &Project, place: &Place<'_>, options: Options) -> Result<Record> {
    told(lab, &options.called(project), place.name, || tested(lab, project, place, options))
}

fn tested(lab: &Lab, project: &Project, place: &Place<'_>, options: Options) -> Result<Record> {
    let started = Instant::now();
    let mut inside = Inside::enter(lab, project, place, options)?;
    let built = inside.build()?;
    inside.seen.phase(Phase::Build, built.time);
    let mut all_skipped = false;
    let outcome = inside
        .load(&built)
        .and_then(|()| inside.prove(&built))
        .and_then(|()| inside.tests(&built).map(|skipped| all_skipped = skipped))
        .and_then(|()| inside.unload())
        .and_then(|()| inside.last_look());
    inside.finish(outcome, all_skipped, started)
}

/// Runs a program as root in a machine, beside the project's module, which is built and loaded there, if there is a
/// project. `shows` says whether there is something on `/src`, where the program starts then.
///
/// # Errors
///
/// As [`test`].
pub fn command(
    lab: &Lab,
    project: Option<&Project>,
    place: &Place<'_>,
    options: Options,
    shows: bool,
    process: Process,
    ends: &mut Ends<'_>,
) -> Result<Record> {
    let what = project.map_or_else(|| "no module".to_owned(), |project| options.called(project));
    told(lab, &what, place.name, || match project {
        Some(project) => command_beside(lab, project, place, options, shows, process, ends),
        None => {
            let started = Instant::now();
            let mut seen = Seen::from_now(lab, place, what.clone(), Expected::default(), options.allowed);
            let outcome = seen.program(shows, process, ends);
            seen.finish(outcome, false, started)
        }
    })
}

fn command_beside(
    lab: &Lab,
    project: &Project,
    place: &Place<'_>,
    options: Options,
    shows: bool,
    process: Process,
    ends: &mut Ends<'_>,
) -> Result<Record> {
    let started = Instant::now();
    let mut inside = Inside::enter(lab, project, place, options)?;
    inside.seen.tells = false;
    let built = inside.build()?;
    inside.seen.phase(Phase::Build, built.time);
    let outcome = inside
        .load(&built)
        .and_then(|()| inside.seen.program(shows, process, ends))
        .and_then(|()| inside.look_at_the_kernel());
    inside.finish(outcome, false, started)
}

/// A step's result: on, or to the end.
type Step<T = ()> = Result<T, Trouble>;

/// A run inside of a machine.
struct Inside<'a> {
    lab: &'a Lab,
    project: &'a Project,
    place: &'a Place<'a>,
    options: Options,
    helper: Helper,
    seen: Seen<'a>,
}

impl<'a> Inside<'a> {
    fn enter(lab: &'a Lab, project: &'a Project, place: &'a Place<'a>, options: Options) -> Result<Self> {
        let helper = Helper::start(&place.ssh.with_user("root"), &lab.cancel)?;
        let expected = Expected::of(project.manifest());
        let seen = Seen::from_now(lab, place, options.called(project), expected, options.allowed);
        Ok(Self { lab, project, place, options, helper, seen })
    }

    /// Asks for something in which none of the module's code runs.
    fn ask(&mut self, what: &str, request: serde_json::Value, limit: Duration) -> Result<Said> {
        self.helper.ask(request, limit).map_err(|lost| match lost {
            Lost::Interrupted(error) => error,
            lost => Error::lab(format!("{what} in the machine {} failed", self.place.name))
                .with_source(lost.to_string()),
        })
    }

    fn finish(mut self, outcome: Step, all_skipped: bool, started: Instant) -> Result<Record> {
        if outcome.as_ref().is_err_and(|trouble| !matches!(trouble.class, Class::MachineLost | Class::Hang)) {
            // What is known without it is judged without it.
            let _ = self.state();
        }
        self.seen.finish(outcome, all_skipped, started)
    }
}
