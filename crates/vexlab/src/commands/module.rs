// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab build`, `vexlab link` and `vexlab test`.

use std::path::Path;

use lab::Lab;
use lab::error::{Error, Kind, Result};
use lab::event::Event;
use lab::kernel::Kernel;
use lab::project::Project;
use lab::run::inside;
use lab::run::{Failure, Kept, Order};
use lab::verdict::Class;
use lab::{build, kernel, run};

use super::whole::{Whole, its_own_kernel, the_project};
use super::{kernels, order, our_root, refuse_for_ours, refuse_inside};
use crate::cli::{BuildCommand, LinkArgs, Root, SelectionArgs, TestArgs};
use crate::output;

/// Builds the project's module for each kernel, or in a machine.
pub(crate) fn build(lab: &Lab, dir: &Path, command: &BuildCommand) -> Result<()> {
    let project = Project::find(dir)?;
    let arguments = &command.build;
    let how = build::Options { tests: command.test, ..(&arguments.how).into() };
    if let Some(name) = &command.inside {
        let rust = command.compiled.rust.into();
        let options = run::Options { build: how, rust, ..run::Options::default() };
        let machine = Whole::named(lab, &project, name, options, &command.whole)?;
        let built = inside::build(lab, &project, &machine.place(), options)?;
        let (module, release) = (built.module.display(), &built.release);
        output::print(format!("{module} for {release} in {name} ({:.2} s)", built.time.as_secs_f64()));
        return Ok(());
    }
    refuse_for_ours(&command.whole)?;
    refuse_inside(&command.compiled)?;
    for kernel in kernels(lab, &arguments.kernel, Some(&project))? {
        let built = build::build(lab, &project, &kernel, how)?;
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
            if let Some(what) = chosen(command) {
                our_root(arguments, what)?;
            }
            let share = Some(the_project(&project));
            Some((image, Whole::fresh(lab, image, Some(&project), share, options, &arguments.whole)))
        }
        (None, _) => None,
    };
    if let Some((name, machine)) = machine {
        let what = options.called(&project);
        let tested = machine
            .inspect_err(|error| {
                lab.reporter.event(&Event::Failed(&Failure::at_once(&what, name, error)));
            })
            .and_then(|machine| inside::test(lab, &project, &machine.place(), options));
        let class = tested.map_or_else(of_failure, |record| Ok(record.class))?;
        lab.reporter.event(&Event::Summary(&[(name.to_owned(), class)]));
        return Ok(class.exit_status());
    }
    let kernels = kernels(lab, &arguments.build.kernel, Some(&project))?;
    let order = order(command, "this")?;
    if command.list {
        return list(lab, &project, &kernels[0], &order);
    }
    let worst = test_on_each(lab, &project, &kernels, &order, &mut Kept::default())?;
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

/// What of a command is only for machines of ours, by its name on the command line.
fn chosen(command: &TestArgs) -> Option<&'static str> {
    let SelectionArgs { filters, jobs, retries, repeat, fail_fast, isolated } = &command.selection;
    let all = [
        (command.list, "--list"),
        (command.life, "--life"),
        (!filters.is_empty(), "a filter"),
        (*jobs > 1, "--jobs"),
        (*retries > 0, "--retries"),
        (*repeat > 1, "--repeat"),
        (*fail_fast, "--fail-fast"),
        (*isolated, "--isolated"),
    ];
    all.into_iter().find_map(|(is_chosen, name)| is_chosen.then_some(name))
}

/// The class of a run that did not come to a machine. What stops every other run as well is returned instead.
pub(super) fn of_failure(error: Error) -> Result<Class> {
    match error.kind() {
        Kind::Interrupted | Kind::Usage => Err(error),
        Kind::Build | Kind::Check | Kind::Lab | Kind::MachineLost => Ok(Class::from(&error)),
    }
}
