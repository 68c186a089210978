// SPDX-License-Identifier: GPL-2.0-only
//! Each folder of `tests/objects` with an `expect.toml` is a test: a module is made of its sources, and what is said of
//! it has to be what the file says, nothing less and nothing more. Adding a case means adding a folder; what can be
//! written in one is in `tests/objects/README.md`.
#![forbid(unsafe_code)]

/// From sources to a module.
mod build;
/// `expect.toml`.
mod case;
/// Bytes of a finished module that are changed.
mod change;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, iter};

use case::{Case, Defaults, Expected};
use ko::{Finding, Report};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut names: Vec<String> = fs::read_dir(cases())
        .expect("the cases can be listed")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| cases().join(name).join("expect.toml").exists())
        .collect();
    names.sort();
    let all = names.clone();
    let coverage =
        Trial::test("every_rule_has_a_case_that_breaks_it_and_one_that_nearly_does", move || coverage(&all));
    let trials = names.into_iter().map(|name| Trial::test(name.clone(), move || judge(&name)));
    libtest_mimic::run(&arguments, trials.chain(iter::once(coverage)).collect()).exit();
}

/// The folder with the cases.
fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/objects")
}

fn judge(name: &str) -> Result<(), Failed> {
    let defaults = Defaults::read(&cases())?;
    let case = Case::read(&cases(), name)?;
    let kernel = defaults.kernel(&case.kernel)?;
    let mut module = build::module(&cases(), name, &case, &kernel)?;
    for change in &case.changes {
        change.apply(&mut module)?;
    }
    if let Some(folder) = std::env::var_os("KEEP_OBJECTS") {
        fs::write(Path::new(&folder).join(format!("{name}.ko")), &module)?;
    }
    let report = ko::check(&kernel, &module, &case.policy.policy());
    let wrong = compare(&case, &report);
    if wrong.is_empty() {
        return Ok(());
    }
    let found = report.findings().map(as_expectation).collect::<String>();
    let allowed = report.allowed.iter().map(|one| as_expectation(&one.finding)).collect::<String>();
    let errno = report.errno().map_or("nothing", ko::Errno::name);
    let (wrong, size) = (wrong.join("\n"), report.measures.size);
    Err(format!("{wrong}\n\nfound, with {errno} and {size} bytes:\n{found}\nallowed:\n{allowed}").into())
}

/// What is not as expected.
fn compare(case: &Case, report: &Report) -> Vec<String> {
    let mut wrong = Vec::new();
    let is_compared = |rule: &str| !case.ignore.iter().any(|one| one == rule);
    let found: Vec<&Finding> = report.findings().filter(|one| is_compared(one.rule.name)).collect();
    let expected: Vec<&Expected> = case.findings.iter().filter(|one| is_compared(&one.rule)).collect();
    pair("finding", &expected, &found, &mut wrong);
    let found: Vec<&Finding> = report.allowed.iter().map(|one| &one.finding).collect();
    let expected: Vec<&Expected> = case.allowed.iter().collect();
    pair("allowed", &expected, &found, &mut wrong);
    if report.more() != case.more {
        wrong.push(format!("more: {} are expected, {} are only counted", case.more, report.more()));
    }
    let errno = report.errno().map(ko::Errno::name);
    if errno != case.errno.as_deref() {
        wrong.push(format!("errno: {:?} is expected, and it is {errno:?}", case.errno));
    }
    let is_refusal = |rule: &str| ko::rule_named(rule).is_some_and(|rule| rule.class == ko::Class::Refusal);
    let first = case.findings.iter().find(|one| is_refusal(&one.rule));
    if let (Some(expected), Some(found)) = (first, report.first())
        && !expected.is_met_by(found)
    {
        wrong.push(format!("the first refusal is another: {found}"));
    }
    wrong
}

/// Finds for each expected finding another one that meets it.
fn pair(what: &str, expected: &[&Expected], found: &[&Finding], wrong: &mut Vec<String>) {
    let mut rest = found.to_vec();
    for one in expected {
        match rest.iter().position(|finding| one.is_met_by(finding)) {
            Some(index) => drop(rest.remove(index)),
            None => wrong.push(format!("{what}: missing {one:?}")),
        }
    }
    wrong
        .extend(rest.iter().map(|finding| format!("{what}: not expected: {}: {finding}", finding.rule.name)));
}

/// A finding as it would be expected.
fn as_expectation(finding: &Finding) -> String {
    let text =
        |key: &str, value: Option<&str>| value.map_or(String::new(), |text| format!("{key} = '{text}'\n"));
    let symbol = finding.symbol.as_deref().map(|symbol| format!("{:#}", rustc_demangle::demangle(symbol)));
    [
        "\n[[finding]]\n".to_owned(),
        text("rule", Some(finding.rule.name)),
        text("symbol", symbol.as_deref()),
        text("section", finding.section.as_deref()),
        finding.offset.map_or(String::new(), |offset| format!("offset = {offset:#x}\n")),
        text("line", case::line(finding)),
        text("message", Some(&finding.message)),
        text("kernel", finding.kernel.as_deref()),
    ]
    .concat()
}

/// A rule without a case in which it says no, or without one in which it must not, is not tested.
fn coverage(names: &[String]) -> Result<(), Failed> {
    let (mut broken, mut nearly) = (BTreeSet::new(), BTreeSet::new());
    let mut wrong = Vec::new();
    for name in names {
        let case = Case::read(&cases(), name)?;
        let fires: BTreeSet<String> =
            case.findings.iter().chain(&case.allowed).map(|one| one.rule.clone()).collect();
        for rule in fires.iter().chain(&case.silent).chain(&case.ignore) {
            if ko::rule_named(rule).is_none() {
                wrong.push(format!("{name}: there is no rule {rule}"));
            }
        }
        wrong.extend(case.silent.intersection(&fires).map(|rule| format!("{name}: {rule} is both")));
        broken.extend(fires);
        nearly.extend(case.silent);
    }
    for rule in ko::rules() {
        if !broken.contains(rule.name) {
            wrong.push(format!("no case breaks the rule {}", rule.name));
        }
        if !nearly.contains(rule.name) {
            wrong.push(format!("no case names the rule {} as silent", rule.name));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}
