// SPDX-License-Identifier: GPL-2.0-only
//! Modules' files, judged as kernels would judge them.

use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};

use crate::Lab;
use crate::error::Result;
use crate::kernel::read_module;
use crate::project::Project;

/// What came of one file on one kernel.
#[derive(Debug)]
pub struct Judged {
    /// The file.
    pub file: PathBuf,
    /// The kernel's name.
    pub kernel: String,
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
        let policy = own.map(|own| own.manifest().check.policy(&kernel.name, Vec::new())).unwrap_or_default();
        let report = ko::check(kernel, &bytes, &policy);
        Judged { file: file.to_owned(), kernel: kernel.name.clone(), report }
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

fn value(judged: &Judged) -> Value {
    let Judged { file, kernel, report } = judged;
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
