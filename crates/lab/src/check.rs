// SPDX-License-Identifier: GPL-2.0-only
//! Modules' files, judged as kernels would judge them.

use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::{Value, json};

use crate::Lab;
use crate::error::Result;
use crate::kernel::read_module;

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
/// from being judged; the order is that of `files`.
pub fn files(lab: &Lab, files: &[PathBuf], judges: &[ko::Kernel]) -> Vec<Outcome> {
    files.par_iter().map(|file| (file.clone(), one(lab, file, judges))).collect()
}

fn one(lab: &Lab, file: &Path, judges: &[ko::Kernel]) -> Result<Vec<Judged>> {
    lab.cancel.check()?;
    let bytes = read_module(file)?;
    let judge = |kernel: &ko::Kernel| Judged {
        file: file.to_owned(),
        kernel: kernel.name.clone(),
        report: ko::check(kernel, &bytes, &ko::Policy::default()),
    };
    Ok(judges.iter().map(judge).collect())
}

/// The outcomes as JSON: a list of objects with `file`, and either `error` or `kernel`, `refused`, `errno` and
/// `findings`.
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
    let findings: Vec<Value> = report
        .findings()
        .map(|finding| {
            json!({
                "rule": finding.rule.name,
                "class": finding.rule.class.name(),
                "message": finding.message,
                "symbol": finding.symbol,
                "section": finding.section,
                "offset": finding.offset,
                "errno": finding.errno.map(ko::Errno::name),
                "kernel": finding.kernel,
                "remedy": finding.remedy,
                "first": first == Some(std::ptr::from_ref(finding)),
            })
        })
        .collect();
    json!({
        "file": file,
        "kernel": kernel,
        "module": report.name,
        "refused": report.is_refused(),
        "errno": report.errno().map(ko::Errno::name),
        "findings": findings,
        "more": report.more,
    })
}
