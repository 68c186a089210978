// SPDX-License-Identifier: GPL-2.0-only
//! Modules' files, judged as kernels would judge them.

use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};

use crate::Lab;
use crate::build;
use crate::error::{Error, Result};
use crate::kernel::read_module;
use crate::project::Project;

/// What came of one file on one kernel.
#[derive(Debug)]
pub struct Judged {
    /// The file.
    pub file: PathBuf,
    /// The kernel's name.
    pub kernel: String,
    /// Whether its project refuses it for a hazard that nothing allows.
    pub strict: bool,
    /// What there is to say of it.
    pub report: ko::Report,
}

/// What came of one file: a report for each kernel, or why it can't be read.
pub type Outcome = (PathBuf, Result<Vec<Judged>>);

/// Judges each file for each kernel, on all processors. What is wrong with one file doesn't keep the others
/// from being judged; the order is that of `files`. A module of the project's is held to what the project says of it.
pub fn files(lab: &Lab, files: &[PathBuf], judges: &[ko::Kernel], project: Option<&Project>) -> Vec<Outcome> {
    files.par_iter().map(|file| (file.clone(), one(lab, file, judges, project))).collect()
}

fn one(lab: &Lab, file: &Path, judges: &[ko::Kernel], project: Option<&Project>) -> Result<Vec<Judged>> {
    lab.cancel.check()?;
    let bytes = read_module(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let own =
        project.filter(|project| name.split_once(".ko").is_some_and(|(stem, _)| stem == project.name()));
    let judge = |kernel: &ko::Kernel| {
        let policy = own.map(|own| ko::Policy {
            partial: build::is_partial(own, file),
            ..own.manifest().check.policy(&kernel.name, Vec::new())
        });
        let policy = policy.unwrap_or_default();
        let report = ko::check(kernel, &bytes, &policy);
        let strict = own.is_some_and(|own| own.manifest().check.strict);
        Judged { file: file.to_owned(), kernel: kernel.name.clone(), strict, report }
    };
    Ok(judges.iter().map(judge).collect())
}

/// The outcomes as JSON: a list of objects with `file`, and either `error` or `kernel`, `refused`, `errno`,
/// `findings`, `allowed` and what was measured, in bytes.
pub fn json(outcomes: &[Outcome]) -> String {
    let mut list = Vec::new();
    for (file, outcome) in outcomes {
        match outcome {
            Ok(judged) => list.extend(judged.iter().map(value)),
            Err(error) => {
                let cause = std::error::Error::source(error).map(ToString::to_string);
                list.push(json!({ "file": file, "error": error.to_string(), "cause": cause }));
            }
        }
    }
    format!("{:#}\n", Value::Array(list))
}

/// The outcomes as SARIF 2.1.0 (OASIS): one run, with all rules and a result for each finding.
pub fn sarif(outcomes: &[Outcome]) -> String {
    let rules: Vec<Value> = ko::rules().map(sarif_rule).collect();
    let (mut results, mut notifications) = (Vec::new(), Vec::new());
    for (file, outcome) in outcomes {
        match outcome {
            Ok(judged) => results.extend(judged.iter().flat_map(sarif_results)),
            Err(error) => notifications.push(json!({
                "level": "error",
                "message": { "text": message_of(error) },
                "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri(&file.to_string_lossy()) } } }],
            })),
        }
    }
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "vexlab", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "invocations": [{
                "executionSuccessful": notifications.is_empty(),
                "toolExecutionNotifications": notifications,
            }],
            "results": results,
        }],
    });
    format!("{log:#}\n")
}

fn message_of(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

fn level(class: ko::Class) -> &'static str {
    match class {
        ko::Class::Refusal => "error",
        ko::Class::Hazard => "warning",
    }
}

fn sarif_rule(rule: &ko::Rule) -> Value {
    json!({
        "id": rule.name,
        "shortDescription": { "text": rule.title },
        "fullDescription": { "text": format!("{} {}", rule.what, rule.why) },
        "help": { "text": format!("The kernel: {}. To mend it: {}.", rule.kernel, rule.mend) },
        "defaultConfiguration": { "level": level(rule.class) },
    })
}

fn sarif_results(judged: &Judged) -> impl Iterator<Item = Value> {
    judged.report.findings().map(move |finding| sarif_result(judged, finding))
}

fn sarif_result(judged: &Judged, finding: &ko::Finding) -> Value {
    let index = ko::rules().position(|rule| rule.name == finding.rule.name);
    let module = judged.file.to_string_lossy();
    let line = finding.line.as_deref().and_then(|line| line.rsplit_once(':'));
    let line = line.and_then(|(file, number)| Some((file, number.parse::<u64>().ok()?)));
    let place = match line {
        Some((file, line)) => {
            json!({ "artifactLocation": { "uri": uri(file) }, "region": { "startLine": line } })
        }
        None => json!({ "artifactLocation": { "uri": uri(&module) } }),
    };
    let mut location = json!({ "physicalLocation": place });
    if let Some(symbol) = &finding.symbol {
        let name = format!("{:#}", rustc_demangle::demangle(symbol));
        location["logicalLocations"] = json!([{ "name": name, "decoratedName": symbol, "kind": "function" }]);
    }
    json!({
        "ruleId": finding.rule.name,
        "ruleIndex": index,
        "level": level(finding.rule.class),
        "message": { "text": finding.message },
        "locations": [location],
        "properties": {
            "module": module,
            "kernel": judged.kernel,
            "section": finding.section,
            "offset": finding.offset,
            "errno": finding.errno.map(ko::Errno::name),
            "says": finding.kernel,
            "remedy": finding.remedy,
        },
    })
}

/// A path as a reference of RFC 3986: one that begins with `/` with the scheme `file`.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' | b'+' => {
                uri.push(char::from(byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri
}

fn value(judged: &Judged) -> Value {
    let Judged { file, kernel, report, .. } = judged;
    let first = report.first().map(std::ptr::from_ref);
    let findings = report.findings().map(|one| {
        let mut value = finding(one);
        value["first"] = (first == Some(std::ptr::from_ref(one))).into();
        value
    });
    let allowed = report.allowed.iter().map(|allowed| {
        let mut value = finding(&allowed.finding);
        value["reason"] = allowed.reason.clone().into();
        value
    });
    let stack = report.measures.stack.as_ref().map(|stack| {
        let chain = stack.deepest.iter().map(|(name, bytes)| json!({ "function": name, "bytes": bytes }));
        json!({
            "available": stack.available,
            "largest": { "function": stack.largest.0, "bytes": stack.largest.1 },
            "depth": stack.depth(),
            "deepest": chain.collect::<Vec<_>>(),
            "unknown": stack.unknown,
        })
    });
    json!({
        "file": file,
        "kernel": kernel,
        "module": report.name,
        "refused": report.is_refused(),
        "errno": report.errno().map(ko::Errno::name),
        "findings": findings.collect::<Vec<_>>(),
        "allowed": allowed.collect::<Vec<_>>(),
        "more": report.more(),
        "size": report.measures.size,
        "stack": stack,
    })
}

fn finding(finding: &ko::Finding) -> Value {
    json!({
        "rule": finding.rule.name,
        "class": finding.rule.class.name(),
        "message": finding.message,
        "symbol": finding.symbol,
        "section": finding.section,
        "offset": finding.offset,
        "line": finding.line,
        "errno": finding.errno.map(ko::Errno::name),
        "kernel": finding.kernel,
        "remedy": finding.remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sarif_names_each_rule_once_and_says_which_files_were_not_read() {
        let outcomes = [(PathBuf::from("a b.ko"), Err(Error::usage("it is not there")))];
        let log: Value = serde_json::from_str(&sarif(&outcomes)).unwrap();
        let run = &log["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), ko::rules().count());
        assert_eq!(run["results"], json!([]));
        let notification = &run["invocations"][0]["toolExecutionNotifications"][0];
        assert_eq!(notification["message"]["text"], "it is not there");
        assert_eq!(notification["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "a%20b.ko");
        assert_eq!(uri("/src/ä.c"), "file:///src/%C3%A4.c");
    }
}
