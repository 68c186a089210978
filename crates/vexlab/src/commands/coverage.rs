// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab coverage`.

use std::fs;
use std::path::Path;

use coverage::{Count, Coverage};
use lab::Lab;
use lab::cache::write_atomically;
use lab::covered;
use lab::error::{Error, Result};
use lab::event::Event;
use lab::kernel::Kernel;
use lab::project::Project;
use lab::run::{self, Measured};
use lab::share::Shown;
use lab::verdict::Class;
use report::text;

use super::module::of_failure;
use super::{kernels, our_root};
use crate::cli::CoverageArgs;
use crate::output;

/// Tests the project's module on each kernel, and says which of its lines and branches were run on any of them. The exit
/// status is that of the worst verdict.
pub(crate) fn coverage(lab: &Lab, dir: &Path, arguments: &CoverageArgs) -> Result<u8> {
    let project = Project::find(dir)?;
    let root = our_root(&arguments.run, "coverage")?;
    let order = run::Order {
        options: (&arguments.run).into(),
        shown: Shown { root, ..Shown::default() },
        selection: run::Selection { no_life: arguments.no_life, ..(&arguments.selection).into() },
    };
    let kernels = kernels(lab, &arguments.run.build.kernel, Some(&project))?;
    let mut all = None;
    let mut verdicts = Vec::new();
    for kernel in &kernels {
        let (class, counted) = on(lab, &project, kernel, &order)?;
        verdicts.push((kernel.name().to_owned(), class));
        if let Some(counted) = counted {
            all.get_or_insert_with(Coverage::default).join(counted);
        }
    }
    lab.reporter.event(&Event::Summary(&verdicts));
    let worst = verdicts.iter().map(|(_, class)| *class).max_by_key(|class| class.exit_status());
    let worst = worst.unwrap_or(Class::Passed);
    let Some(all) = all else {
        return match worst {
            Class::Passed => Err(Error::lab("nothing was counted")),
            // What the run has told says why.
            class => Ok(class.exit_status()),
        };
    };
    print(&all);
    write(&project, &all, &kernels, arguments)?;
    Ok(worst.exit_status())
}

/// What a run on a kernel ended in, and what was counted, as far as it came to that.
fn on(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &run::Order,
) -> Result<(Class, Option<Coverage>)> {
    let (record, measured) = match run::measure(lab, project, kernel, order) {
        Ok(run) => run,
        Err(error) => return Ok((of_failure(error)?, None)),
    };
    let Some(measured) = measured else { return Ok((record.class, None)) };
    tell_lost(lab, kernel, &measured);
    match covered::of(lab, project, &measured) {
        Ok(counted) => Ok((record.class, Some(counted))),
        // The run's own verdict says why there is nothing.
        Err(error) if measured.counters.is_none() => {
            output::error(&error);
            let class = if record.class == Class::Passed { Class::from(&error) } else { record.class };
            Ok((class, None))
        }
        Err(error) => Err(error),
    }
}

fn tell_lost(lab: &Lab, kernel: &Kernel, measured: &Measured) {
    if !measured.lost.is_empty() {
        let names: Vec<String> =
            measured.lost.iter().map(|name| text::plain_line(name).to_string()).collect();
        lab.note(&format!(
            "on {} the counts of {} are lost: the machine ended before they could be read",
            kernel.name(),
            names.join(", ")
        ));
    }
}

/// Prints the figures of each file and of all.
fn print(coverage: &Coverage) {
    let width = coverage.files.keys().map(|path| path.chars().count()).max().unwrap_or(0).max(8);
    let row = |name: &str, lines: Count, branches: Count| {
        output::print(format!("{name:width$}  {}  {}", figures(lines), figures(branches)).trim_end());
    };
    output::print(format!("{:width$}  {:>9}  {:>7}  {:>9}", "", "lines", "", "branches").trim_end());
    for (path, file) in &coverage.files {
        row(&text::plain_line(path), file.line_count(), file.branch_count());
    }
    row("together", coverage.line_count(), coverage.branch_count());
}

fn figures(count: Count) -> String {
    let share = count.permille().map(|permille| format!("{}.{} %", permille / 10, permille % 10));
    format!("{:>9}  {:>7}", format!("{}/{}", count.hit, count.all), share.unwrap_or_default())
}

/// Writes the reports that were asked for.
fn write(project: &Project, all: &Coverage, kernels: &[Kernel], arguments: &CoverageArgs) -> Result<()> {
    if let Some(path) = &arguments.lcov {
        write_atomically(path, coverage::lcov(all).as_bytes())?;
    }
    if let Some(path) = &arguments.html {
        let title = format!("Coverage of {}", project.name());
        let source = |file: &str| fs::read_to_string(project.root().join(file)).ok();
        write_atomically(path, coverage::page(all, &title, source).as_bytes())?;
    }
    if let Some(path) = &arguments.markdown {
        write_atomically(path, markdown(project, all, kernels, &arguments.selection.filters).as_bytes())?;
    }
    Ok(())
}

/// The figures as a page, with what they are of.
fn markdown(project: &Project, all: &Coverage, kernels: &[Kernel], filters: &[String]) -> String {
    let name = project.name();
    let tests = match filters {
        [] => "all tests".to_owned(),
        filters => format!("the tests with {} in their names", filters.join(" or ")),
    };
    let on: Vec<&str> = kernels.iter().map(Kernel::name).collect();
    let together = if on.len() > 1 { " together" } else { "" };
    let on = on.join(" and ");
    let left_out: Vec<String> =
        project.manifest().coverage.leave_out.iter().map(|pattern| format!("`{pattern}`")).collect();
    let left_out = match left_out.as_slice() {
        [] => String::new(),
        patterns => format!("Left out: {}.\n\n", patterns.join(", ")),
    };
    format!(
        "# Coverage of {name}\n\nWhat {tests} run of its C and Rust in the kernel, on {on}{together}. A branch is each way \
         that a\ncondition can go. Made by `vexlab coverage --markdown`.\n\n{left_out}{}",
        coverage::markdown(all)
    )
}
