// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab build`, `vexlab link` and `vexlab test`.

use std::path::{Path, PathBuf};

use lab::Lab;
use lab::cache::Staging;
use lab::environment::{self, Name};
use lab::error::{Error, Kind, Result};
use lab::image::{self, Base, Share, Ssh};
use lab::kernel::Kernel;
use lab::machine::Accelerator;
use lab::project::Project;
use lab::run::Kept;
use lab::run::inside::{self, Place};
use lab::share::Shown;
use lab::verdict::Class;
use lab::{build, kernel, run};

use super::kernels;
use crate::cli::{BuildCommand, LinkArgs, RunArgs, TestArgs};
use crate::output;

/// Builds the project's module for each kernel, or in a machine.
pub(crate) fn build(lab: &Lab, dir: &Path, command: &BuildCommand) -> Result<()> {
    let project = Project::find(dir)?;
    let arguments = &command.build;
    if let Some(image) = &command.inside {
        let machine = Inside::start(lab, &project, image, None, false)?;
        let options = run::Options { build: (&arguments.how).into(), ..run::Options::default() };
        let built = inside::build(lab, &project, &machine.place(), options)?;
        let (module, release) = (built.module.display(), &built.release);
        output::print(format!("{module} for {release} in {image} ({:.2} s)", built.time.as_secs_f64()));
        return Ok(());
    }
    for kernel in kernels(lab, &arguments.kernel, Some(&project))? {
        let built = build::build(lab, &project, &kernel, (&arguments.how).into())?;
        build::check(lab, &kernel, &built, &project.manifest().check, false)?;
        let time = (built.build_time + built.link_time).as_secs_f64();
        output::print(format!("{} for {} ({time:.2} s)", built.module.display(), kernel.name()));
    }
    Ok(())
}

/// Links a static library into an object.
pub(crate) fn link(lab: &Lab, arguments: &LinkArgs) -> Result<()> {
    let kernel = arguments.kernel.as_deref().map(|name| kernel::resolve(lab, name)).transpose()?;
    let LinkArgs { archive, export, output, .. } = arguments;
    let object = build::link(lab, archive, export, kernel.as_ref(), output)?;
    let (functions, relaxed) = (object.exports.len(), object.relaxed);
    let uses = if relaxed == 1 { "use" } else { "uses" };
    let functions = if functions == 1 { "1 function".to_owned() } else { format!("{functions} functions") };
    crate::output::print(format!(
        "{}: {functions} for C; {relaxed} {uses} of a global offset table made direct",
        object.path.display()
    ));
    Ok(())
}

/// Tests the project's module on each kernel. The exit status is that of the worst verdict.
pub(crate) fn test(lab: &Lab, dir: &Path, command: &TestArgs) -> Result<u8> {
    let project = Project::find(dir)?;
    let arguments = &command.run;
    if let Some(image) = &command.inside {
        let options: run::Options = arguments.into();
        let tested = Inside::start(lab, &project, image, options.accelerator, options.cold)
            .and_then(|machine| inside::test(lab, &project, &machine.place(), options));
        let class = match tested {
            Ok(record) => {
                output::verdict(&what(&project, arguments), image, &record);
                record.class
            }
            Err(error) => report(&what(&project, arguments), image, error)?,
        };
        return Ok(class.exit_status());
    }
    let kernels = kernels(lab, &arguments.build.kernel, Some(&project))?;
    let worst = test_on_each(lab, &project, &kernels, arguments, &mut Kept::default())?;
    Ok(worst.exit_status())
}

/// Tests the project's module on each kernel, and prints the verdicts. Gives the worst.
pub(crate) fn test_on_each(
    lab: &Lab,
    project: &Project,
    kernels: &[Kernel],
    arguments: &RunArgs,
    kept: &mut Kept,
) -> Result<Class> {
    let options: run::Options = arguments.into();
    let what = what(project, arguments);
    let shown = Shown { root: arguments.root.into(), ..Shown::default() };
    let mut worst = Class::Passed;
    for kernel in kernels {
        let class = match run::test(lab, project, kernel, options, &shown, kept) {
            Ok(record) => {
                output::verdict(&what, kernel.name(), &record);
                record.class
            }
            Err(error) => report(&what, kernel.name(), error)?,
        };
        if class.exit_status() > worst.exit_status() {
            worst = class;
        }
    }
    Ok(worst)
}

/// A machine with a distribution that sees a project, for as long as this value is there.
enum Inside {
    /// One that is kept, and stays.
    Kept { name: String, image: String, ssh: Ssh, console: PathBuf, accelerator: Accelerator },
    /// A fresh one of an image.
    Fresh { name: String, machine: Box<image::Running>, _dir: Staging },
}

impl Inside {
    fn start(
        lab: &Lab,
        project: &Project,
        name: &str,
        accelerator: Option<Accelerator>,
        cold: bool,
    ) -> Result<Self> {
        if let Ok(kept) = Name::parse(name)
            && environment::is_whole(lab, &kept)
        {
            let ssh = environment::ssh(lab, &kept)?;
            let console = environment::console(lab, &kept);
            let record = environment::list(lab).into_iter().find(|(other, _)| *other == kept);
            let accelerator = record.and_then(|(_, record)| record.ok()?.accelerator);
            let accelerator = accelerator.unwrap_or(Accelerator::Tcg);
            let image = environment::kind(lab, &kept)?.what().to_owned();
            return Ok(Self::Kept { name: name.to_owned(), image, ssh, console, accelerator });
        }
        let base = Base::find(lab, name)?;
        let share = Share { path: project.root().to_owned(), writable: false };
        let options = image::Options { accelerator, cold, share: Some(share), ..Default::default() };
        let dir = lab.cache.staging()?;
        let mut machine = image::up(lab, &base, &options, dir.path())?;
        machine.mount_source()?;
        Ok(Self::Fresh { name: name.to_owned(), machine: Box::new(machine), _dir: dir })
    }

    fn place(&self) -> Place<'_> {
        match self {
            Self::Kept { name, image, ssh, console, accelerator } => {
                Place { name, image, ssh, console, accelerator: *accelerator }
            }
            Self::Fresh { name, machine, .. } => {
                let (ssh, console) = (machine.ssh(), machine.console());
                Place { name, image: name, ssh, console, accelerator: machine.accelerator() }
            }
        }
    }
}

/// The module as the verdict names it: a pass without Rust must not read like one with it.
fn what(project: &Project, arguments: &RunArgs) -> String {
    let name = project.name();
    match (&project.manifest().rust, &arguments.build.how) {
        (Some(_), how) if how.c_only => format!("{name} without its Rust side"),
        (Some(_), how) if how.minimal => format!("{name} with its minimal Rust side"),
        _ => name.to_owned(),
    }
}

/// Prints the verdict of a run that did not come to a machine. What stops every other run as well is
/// returned instead.
fn report(what: &str, kernel: &str, error: Error) -> Result<Class> {
    if matches!(error.kind(), Kind::Interrupted | Kind::Usage) {
        return Err(error);
    }
    let class = Class::from(&error);
    output::error(&error);
    output::print(format!("{class}: {what} on {kernel}"));
    Ok(class)
}
