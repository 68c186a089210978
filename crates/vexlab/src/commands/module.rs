// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab build`, `vexlab link` and `vexlab test`.

use std::path::{Path, PathBuf};

use lab::Lab;
use lab::cache::Staging;
use lab::environment::{self, Name};
use lab::error::{Error, Kind, Result};
use lab::event::Event;
use lab::image::{self, Base, Share, Ssh};
use lab::kernel::Kernel;
use lab::machine::Accelerator;
use lab::project::Project;
use lab::run::inside::{self, Place};
use lab::run::{Failure, Kept, Order};
use lab::verdict::Class;
use lab::{build, kernel, run};

use super::kernels;
use crate::cli::{BuildCommand, LinkArgs, TestArgs};
use crate::output;

/// Builds the project's module for each kernel, or in a machine.
pub(crate) fn build(lab: &Lab, dir: &Path, command: &BuildCommand) -> Result<()> {
    let project = Project::find(dir)?;
    let arguments = &command.build;
    let options = build::Options { tests: command.test, ..(&arguments.how).into() };
    if let Some(image) = &command.inside {
        let machine = Inside::start(lab, &project, image, None, false)?;
        let built = inside::build(lab, &project, &machine.place(), options)?;
        let (module, release) = (&built.module, &built.release);
        output::print(format!("{module} for {release} in {image} ({:.2} s)", built.time.as_secs_f64()));
        return Ok(());
    }
    for kernel in kernels(lab, &arguments.kernel, Some(&project))? {
        let built = build::build(lab, &project, &kernel, options)?;
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
    let options: run::Options = arguments.into();
    if let Some(image) = &command.inside {
        let what = project.called(options.build);
        let tested = Inside::start(lab, &project, image, options.accelerator, options.cold)
            .inspect_err(|error| {
                lab.reporter.event(&Event::Failed(&Failure::at_once(&what, image, error)));
            })
            .and_then(|machine| {
                inside::test(lab, &project, &machine.place(), options.build, options.allowed)
            });
        let class = tested.map_or_else(of_failure, |record| Ok(record.class))?;
        lab.reporter.event(&Event::Summary(&[(image.to_owned(), class)]));
        return Ok(class.exit_status());
    }
    let kernels = kernels(lab, &arguments.build.kernel, Some(&project))?;
    if command.list {
        return list(lab, &project, &kernels[0], &command.into());
    }
    let worst = test_on_each(lab, &project, &kernels, &command.into(), &mut Kept::default())?;
    Ok(worst.exit_status())
}

/// Tests the project's module on each kernel, and tells the verdicts. Gives the worst.
pub(crate) fn test_on_each(
    lab: &Lab,
    project: &Project,
    kernels: &[Kernel],
    order: &Order,
    kept: &mut Kept,
) -> Result<Class> {
    let mut classes = Vec::new();
    for kernel in kernels {
        let tested = run::test(lab, project, kernel, order, kept);
        let class = tested.map_or_else(of_failure, |record| Ok(record.class))?;
        classes.push((kernel.name().to_owned(), class));
    }
    lab.reporter.event(&Event::Summary(&classes));
    let worst = classes.into_iter().map(|(_, class)| class).max_by_key(|class| class.exit_status());
    Ok(worst.unwrap_or(Class::Passed))
}

/// Prints the tests' names.
fn list(lab: &Lab, project: &Project, kernel: &Kernel, order: &Order) -> Result<u8> {
    let names = run::list(lab, project, kernel, order)?;
    names.iter().for_each(output::print);
    match order.selection.filters.as_slice() {
        [_, ..] if names.is_empty() => {
            let filters: Vec<_> = order.selection.filters.iter().map(|text| format!("`{text}`")).collect();
            Err(Error::usage(format!("no test has {} in its name", filters.join(" or ")))
                .with_remedy("`vexlab test --list` without it lists them all"))
        }
        _ => Ok(0),
    }
}

/// A machine with a distribution that sees a project, for as long as this value is there.
enum Inside {
    /// One that is kept, and stays.
    Kept { name: String, ssh: Ssh, console: PathBuf, accelerator: Accelerator },
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
            return Ok(Self::Kept { name: name.to_owned(), ssh, console, accelerator });
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
            Self::Kept { name, ssh, console, accelerator } => {
                Place { name, ssh, console, accelerator: *accelerator }
            }
            Self::Fresh { name, machine, .. } => {
                let (ssh, console) = (machine.ssh(), machine.console());
                Place { name, ssh, console, accelerator: machine.accelerator() }
            }
        }
    }
}

/// The class of a run that did not come to a machine. What stops every other run as well is returned instead.
fn of_failure(error: Error) -> Result<Class> {
    match error.kind() {
        Kind::Interrupted | Kind::Usage => Err(error),
        Kind::Build | Kind::Check | Kind::Lab | Kind::MachineLost => Ok(Class::from(&error)),
    }
}
