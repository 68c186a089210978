// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab check`.

use std::collections::{BTreeMap, BTreeSet};
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
    let all_modules = all.is_some();
    let judges = judges(lab, dir, arguments, all)?;
    let judges = judges.iter().map(Kernel::judge).collect::<Result<Vec<_>>>()?;
    let project = if all_modules { None } else { Project::find_any(dir)? };
    let outcomes = lab::check::files(lab, &files, &judges, project.as_ref());
    let brief = all_modules;
    match arguments.format {
        Format::Json => output::print_raw(lab::check::json(&outcomes).as_bytes()),
        Format::Sarif => output::print_raw(lab::check::sarif(&outcomes).as_bytes()),
        Format::Text => outcomes.iter().for_each(|outcome| show(outcome, brief)),
    }
    if brief && arguments.format == Format::Text {
        summary(&outcomes, started);
    }
    status(outcomes, arguments.strict)
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
    let Judged { file, kernel, report, .. } = judged;
    let file = file.display();
    match report.first() {
        Some(first) => {
            print(format!("refused: {file} on {kernel}: {}", consequence(report)));
            line(first);
            if brief {
                return;
            }
            print(format!("    help: {}", first.remedy));
            let others = report.refusals.iter().filter(|other| !std::ptr::eq(*other, first));
            list("  beside that:", &others.collect::<Vec<_>>(), &first.remedy);
        }
        None if brief => return,
        None if report.hazards.is_empty() => print(format!("ok: {file} on {kernel}")),
        None => print(format!("hazards: {file} on {kernel}: it would be loaded")),
    }
    list(if report.is_refused() { "  hazards:" } else { "" }, &report.hazards.iter().collect::<Vec<_>>(), "");
    if report.more() > 0 {
        print(format!("  and {} findings more", report.more()));
    }
    for allowed in &report.allowed {
        line(&allowed.finding);
        print(format!("    allowed: {}", allowed.reason));
    }
    measures(report);
}

/// Prints findings, each remedy once, after the last of the same; none for those that are mended by `known`.
fn list(title: &str, findings: &[&Finding], known: &str) {
    if !findings.is_empty() && !title.is_empty() {
        print(title);
    }
    for (index, finding) in findings.iter().enumerate() {
        line(finding);
        let next = findings.get(index + 1).map(|next| &next.remedy);
        if finding.remedy != known && next != Some(&finding.remedy) {
            print(format!("    help: {}", finding.remedy));
        }
    }
}

/// What the module takes up and needs.
fn measures(report: &Report) {
    let measures = &report.measures;
    if measures.size > 0 {
        print(format!("  size: {} bytes in memory", measures.size));
    }
    let Some(stack) = &measures.stack else { return };
    let (largest, bytes) = &stack.largest;
    print(format!("  stack: largest frame {bytes} bytes in {largest}"));
    let chain: Vec<String> = stack.deepest.iter().map(|(name, bytes)| format!("{name} ({bytes})")).collect();
    print(format!(
        "  stack: deepest chain {} of {} bytes: {}",
        stack.depth(),
        stack.available,
        chain.join(" → ")
    ));
    if !stack.unknown.is_empty() {
        print(format!("  stack: and what these need: {}", stack.unknown.join(", ")));
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

/// How many modules were refused for what, and have which hazards.
fn summary(outcomes: &[Outcome], started: Instant) {
    let mut kernels: BTreeMap<&str, Summary<'_>> = BTreeMap::new();
    for one in outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref().ok()).flatten() {
        let summary = kernels.entry(one.kernel.as_str()).or_default();
        summary.modules += 1;
        if let Some(first) = one.report.first() {
            *summary.refused.entry(first.rule.name).or_default() += 1;
        }
        let hazards: BTreeSet<&str> = one.report.hazards.iter().map(|hazard| hazard.rule.name).collect();
        hazards.into_iter().for_each(|rule| *summary.hazards.entry(rule).or_default() += 1);
    }
    for (kernel, Summary { modules, refused, hazards }) in kernels {
        let total: usize = refused.values().sum();
        let seconds = started.elapsed().as_secs_f64();
        print(format!("{kernel}: {modules} modules, {total} refused ({seconds:.2} s)"));
        refused.iter().for_each(|(rule, count)| print(format!("  {count:>5} {rule}")));
        hazards.iter().for_each(|(rule, count)| print(format!("  {count:>5} with the hazard {rule}")));
    }
}

/// How many modules there are, and how many of them a rule is about.
#[derive(Default)]
struct Summary<'a> {
    modules: usize,
    refused: BTreeMap<&'a str, usize>,
    hazards: BTreeMap<&'a str, usize>,
}

/// The status of the worst: a file that can't be read is worse than one that is refused.
fn status(outcomes: Vec<Outcome>, strict: bool) -> Result<u8> {
    let mut worst = Class::Passed;
    for (_, outcome) in outcomes {
        let is_bad = |judged: &Judged| {
            judged.report.is_refused() || (strict || judged.strict) && !judged.report.hazards.is_empty()
        };
        let class = match outcome {
            Err(error) if error.kind() == Kind::Interrupted => return Err(error),
            Err(error) => Class::from(&error),
            Ok(all) if all.iter().any(is_bad) => Class::RefusedByCheck,
            Ok(_) => continue,
        };
        if class.exit_status() > worst.exit_status() {
            worst = class;
        }
    }
    Ok(worst.exit_status())
}
