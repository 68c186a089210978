// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab check`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use ko::{Finding, Report};
use lab::Lab;
use lab::check::{Judged, Outcome};
use lab::error::{Error, Kind, Result, nearest};
use lab::kernel::{self, Condition, Kernel};
use lab::project::Project;
use lab::verdict::Class;

use super::kernels;
use crate::cli::{CheckArgs, Format};
use crate::output::{self, print};

/// Prints what kernels would say to modules. The exit status is that of the worst.
pub(crate) fn check(lab: &Lab, dir: &Path, arguments: &CheckArgs) -> Result<u8> {
    if let Some(name) = &arguments.explain {
        return explain(name);
    }
    let started = Instant::now();
    let all = match &arguments.all_modules {
        Some(name) => Some(kernel::resolve(lab, name)?),
        None => None,
    };
    let files = match &all {
        Some(kernel) => kernel.modules()?.files().collect(),
        None => arguments.files.clone(),
    };
    let judges = judges(lab, dir, arguments, all)?;
    let judges = judges.iter().map(Kernel::judge).collect::<Result<Vec<_>>>()?;
    let outcomes = lab::check::files(lab, &files, &judges);
    let brief = arguments.all_modules.is_some();
    match arguments.format {
        Format::Json => output::print_raw(lab::check::json(&outcomes).as_bytes()),
        Format::Sarif => output::print_raw(lab::check::sarif(&outcomes).as_bytes()),
        Format::Text => outcomes.iter().for_each(|outcome| show(outcome, brief)),
    }
    if brief && arguments.format == Format::Text {
        summary(&outcomes, started);
    }
    status(outcomes)
}

fn explain(name: &str) -> Result<u8> {
    let Some(rule) = ko::rule_named(name) else {
        let error = Error::usage(format!("there is no rule called {name}"));
        let names = || ko::rules().map(|rule| rule.name);
        let list = names().collect::<Vec<_>>().join(", ");
        return Err(match nearest(name, names()) {
            Some(near) => error.with_remedy(format!("did you mean {near}? the rules are: {list}")),
            None => error.with_remedy(format!("the rules are: {list}")),
        });
    };
    output::print_raw(ko::explain(rule).as_bytes());
    Ok(0)
}

/// The kernels that are to judge: those named, all that are here, the one whose modules are checked, or the
/// project's.
fn judges(lab: &Lab, dir: &Path, arguments: &CheckArgs, all: Option<Kernel>) -> Result<Vec<Kernel>> {
    if arguments.all_kernels {
        let here = kernel::list(lab)
            .into_iter()
            .filter(|listed| matches!(listed.condition, Condition::Present { .. }));
        let names: Vec<String> = here.map(|listed| listed.known.name.to_owned()).collect();
        if names.is_empty() {
            return Err(Error::usage("no kernel is here").with_remedy("vexlab kernel add NAME"));
        }
        return kernels(lab, &names, None);
    }
    match all {
        Some(kernel) if arguments.kernel.is_empty() => Ok(vec![kernel]),
        None if arguments.kernel.is_empty() => {
            let project = Project::find(dir).map_err(|error| {
                error.with_remedy("say which kernel is to judge: --kernel NAME, or --all-kernels")
            })?;
            kernels(lab, &[], Some(&project))
        }
        _ => kernels(lab, &arguments.kernel, None),
    }
}

fn show(outcome: &Outcome, brief: bool) {
    match &outcome.1 {
        Err(error) => output::error(error),
        Ok(all) => all.iter().for_each(|judged| show_one(judged, brief)),
    }
}

fn show_one(judged: &Judged, brief: bool) {
    let Judged { file, kernel, report } = judged;
    let file = file.display();
    let Some(first) = report.first() else {
        if !brief {
            print(format!("ok: {file} on {kernel}"));
        }
        return;
    };
    print(format!("refused: {file} on {kernel}: {}", consequence(report)));
    line(first);
    if brief {
        return;
    }
    print(format!("    help: {}", first.remedy));
    let others: Vec<&Finding> = report.refusals.iter().filter(|other| !std::ptr::eq(*other, first)).collect();
    if !others.is_empty() {
        print("  beside that:");
    }
    for (index, other) in others.iter().enumerate() {
        line(other);
        // What helps is said once, after the last of the same.
        let next = others.get(index + 1).map(|next| &next.remedy);
        if other.remedy != first.remedy && next != Some(&other.remedy) {
            print(format!("    help: {}", other.remedy));
        }
    }
    if report.more > 0 {
        print(format!("  and {} findings more", report.more));
    }
}

fn line(finding: &Finding) {
    print(format!("  {}: {finding}", finding.rule.name));
}

/// What comes of loading it.
fn consequence(report: &Report) -> String {
    match report.errno() {
        Some(errno) => format!("loading it would fail with errno {} ({})", errno.number(), errno.name()),
        None => "the kernel would not notice".to_owned(),
    }
}

/// How many modules were refused for what.
fn summary(outcomes: &[Outcome], started: Instant) {
    let mut refused: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut judged = BTreeMap::new();
    for one in outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).flatten() {
        *judged.entry(one.kernel.as_str()).or_insert(0_usize) += 1;
        if let Some(first) = one.report.first() {
            *refused.entry((&one.kernel, first.rule.name)).or_default() += 1;
        }
    }
    for (kernel, count) in judged {
        let of_this = refused.iter().filter(|((of, _), _)| *of == kernel);
        let total: usize = of_this.clone().map(|(_, count)| count).sum();
        print(format!(
            "{kernel}: {count} modules, {total} refused ({:.2} s)",
            started.elapsed().as_secs_f64()
        ));
        for ((_, rule), count) in of_this {
            print(format!("  {count:>5} {rule}"));
        }
    }
}

/// The status of the worst: a file that can't be read is worse than one that is refused.
fn status(outcomes: Vec<Outcome>) -> Result<u8> {
    let mut worst = Class::Passed;
    for (_, outcome) in outcomes {
        let class = match outcome {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => Class::from(&error),
            Ok(all) if all.iter().any(|judged| judged.report.is_refused()) => Class::RefusedByCheck,
            Ok(_) => continue,
        };
        if class.exit_status() > worst.exit_status() {
            worst = class;
        }
    }
    Ok(worst.exit_status())
}
