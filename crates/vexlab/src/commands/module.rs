// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab build`, `vexlab link` and `vexlab test`.

use std::path::Path;

use lab::Lab;
use lab::error::{Error, Kind, Result};
use lab::kernel::Kernel;
use lab::project::Project;
use lab::run::Kept;
use lab::run::inside;
use lab::share::Shown;
use lab::verdict::Class;
use lab::{build, kernel, run};

use super::whole::{Whole, its_own_kernel, the_project};
use super::{kernels, our_root, refuse_for_ours};
use crate::cli::{BuildCommand, LinkArgs, Root, RunArgs, TestArgs};
use crate::output;

/// Builds the project's module for each kernel, or in a machine.
pub(crate) fn build(lab: &Lab, dir: &Path, command: &BuildCommand) -> Result<()> {
    let project = Project::find(dir)?;
    let arguments = &command.build;
    if let Some(name) = &command.inside {
        let options = run::Options { build: (&arguments.how).into(), ..run::Options::default() };
        let machine = Whole::named(lab, &project, name, options, &command.whole)?;
        let built = inside::build(lab, &project, &machine.place(), options)?;
        let (module, release) = (built.module.display(), &built.release);
        output::print(format!("{module} for {release} in {name} ({:.2} s)", built.time.as_secs_f64()));
        return Ok(());
    }
    refuse_for_ours(&command.whole)?;
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
    let options: run::Options = arguments.into();
    let machine = match (&command.inside, &arguments.root) {
        (Some(name), _) => Some((name, Whole::named(lab, &project, name, options, &arguments.whole))),
        (None, Root::Image(_)) if !arguments.build.kernel.is_empty() => return Err(its_own_kernel()),
        (None, Root::Image(image)) => {
            let share = Some(the_project(&project));
            Some((image, Whole::fresh(lab, image, Some(&project), share, options, &arguments.whole)))
        }
        (None, _) => None,
    };
    if let Some((name, machine)) = machine {
        let tested = machine.and_then(|machine| inside::test(lab, &project, &machine.place(), options));
        let class = match tested {
            Ok(record) => {
                output::verdict(&what(&project, arguments), name, &record);
                record.class
            }
            Err(error) => report(&what(&project, arguments), name, error)?,
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
    let shown = Shown { root: our_root(arguments, "this")?, ..Shown::default() };
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
