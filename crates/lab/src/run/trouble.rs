// SPDX-License-Identifier: GPL-2.0-only
//! What it means when a run does not go its way: a pure judgement of what was seen.

use crate::error::{Error, Kind};
use crate::splat::{Judged, Severity, Splat};
use crate::verdict::{Class, Outcome, TestResult};

/// Why a run goes no further, with what has been seen so far.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) class: Class,
    pub(super) reasons: Vec<String>,
}

impl Trouble {
    pub(super) fn new(class: Class, reason: impl Into<String>) -> Self {
        Self { class, reasons: vec![reason.into()] }
    }

    /// It as an error, where a machine's verdict isn't what was asked for.
    pub(super) fn into_error(self, what: &str) -> Error {
        match self.class {
            Class::Interrupted => Error::new(Kind::Interrupted, "interrupted"),
            _ => Error::lab(what).with_source(self.reasons.join("\n")),
        }
    }

    pub(super) fn because(mut self, reasons: impl IntoIterator<Item = String>) -> Self {
        self.reasons.extend(reasons);
        self
    }
}

/// The `D` of the kernel's taint: it has died, that is oopsed.
///
/// Source: `Documentation/admin-guide/tainted-kernels.rst`.
const TAINT_DIED: u64 = 1 << 7;

/// What a machine's part of a run ends in, and why, that went on to its end or did not, and in which the kernel's
/// reports came to this; and, where what was seen is `incomplete`, why.
pub(super) fn verdict(
    outcome: Result<(), Trouble>,
    judged: &Judged<'_>,
    incomplete: Option<String>,
) -> (Class, Vec<String>) {
    let (mut class, mut reasons) = match outcome {
        Ok(()) => (Class::Passed, Vec::new()),
        Err(trouble) => (trouble.class, trouble.reasons),
    };
    let is_oops = |splat: &&Splat| splat.severity() == Severity::Oops;
    if class == Class::Oops && judged.allowed.iter().any(is_oops) && !judged.failures.iter().any(is_oops) {
        class = Class::Passed;
    }
    reasons.extend(titles(&judged.failures, "kernel: "));
    reasons.extend(titles(&judged.allowed, "kernel, allowed: "));
    let worst = judged.failures.iter().map(|splat| splat.severity()).max();
    let mut class = with_splat(class, worst);
    if let Some(why) = incomplete {
        // What is missing may be what would have spoiled the pass.
        if class == Class::Passed {
            class = Class::LabFailed;
        }
        reasons.push(why);
    }
    (class, reasons)
}

/// Why what was seen of a machine is not all that was said, where the console lost something or the log did.
pub(super) fn incomplete(console_lost: Option<String>, log_lost: bool) -> Option<String> {
    let console = console_lost.map(|why| format!("the console could not be kept whole: {why}"));
    console.or_else(|| log_lost.then(|| "the kernel's log lost records before they were read".to_owned()))
}

/// What a run's tests make of its class.
pub(super) fn with_tests(
    class: &mut Class,
    reasons: &mut Vec<String>,
    results: &[TestResult],
    all_skipped: bool,
) {
    let failed = results.iter().filter(|test| test.outcome == Outcome::Failed).count();
    if *class == Class::Passed && failed > 0 {
        *class = Class::TestFailed;
        reasons.push(format!("{failed} of {} tests failed", results.len()));
    } else if *class == Class::Passed && all_skipped {
        *class = Class::TestFailed;
        reasons.push("not one of the project's tests ran: all were skipped".to_owned());
    }
}

/// The most reports that are named with a verdict.
const NAMED: usize = 10;

/// What was reported, the worst first, and each thing once however often it came.
fn titles(splats: &[&Splat], prefix: &str) -> Vec<String> {
    let mut splats = splats.to_vec();
    splats.sort_by_key(|splat| std::cmp::Reverse(splat.severity()));
    let mut titles: Vec<String> = Vec::new();
    for splat in splats {
        if titles.iter().all(|title| *title != splat.title) {
            titles.push(splat.title.clone());
        }
    }
    let more = titles.len().saturating_sub(NAMED);
    titles.truncate(NAMED);
    let mut lines: Vec<String> = titles.into_iter().map(|title| format!("{prefix}{title}")).collect();
    if more > 0 {
        lines.push(format!("{prefix}{more} more"));
    }
    lines
}

/// The class of a run that came to `class`, during which the kernel reported what is as bad as this. A report explains
/// what followed it, so it counts more than any failure but that of the lab itself.
fn with_splat(class: Class, worst: Option<Severity>) -> Class {
    match (class, worst) {
        (Class::LabFailed | Class::Interrupted, _) | (_, None) => class,
        (_, Some(Severity::Oops)) => Class::Oops,
        (_, Some(Severity::Lockup)) => Class::Hang,
        (Class::Passed | Class::TestFailed, Some(Severity::Warning)) => Class::KernelWarning,
        (_, Some(Severity::Warning)) => class,
    }
}

/// What the kernel's taint says beside its log.
pub(super) fn of_taint(taint: u64) -> Option<Trouble> {
    (taint & TAINT_DIED != 0).then(|| Trouble::new(Class::Oops, "the kernel's taint says that it oopsed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_reports_outranks_what_followed() {
        for class in [Class::Passed, Class::TestFailed, Class::Hang, Class::MachineLost, Class::UnloadFailed]
        {
            assert_eq!(with_splat(class, Some(Severity::Oops)), Class::Oops);
        }
        assert_eq!(with_splat(Class::LabFailed, Some(Severity::Oops)), Class::LabFailed);
        assert_eq!(with_splat(Class::MachineLost, Some(Severity::Lockup)), Class::Hang);
    }

    #[test]
    fn a_warning_spoils_a_pass_and_hides_nothing_worse() {
        let warning = Some(Severity::Warning);
        assert_eq!(with_splat(Class::Passed, warning), Class::KernelWarning);
        assert_eq!(with_splat(Class::UnloadFailed, warning), Class::UnloadFailed);
        assert_eq!(with_splat(Class::Passed, None), Class::Passed);
    }

    #[test]
    fn what_is_not_whole_spoils_a_pass_and_hides_nothing() {
        let full = || incomplete(Some("No space left on device".to_owned()), true);
        let reason = "the console could not be kept whole: No space left on device";
        let quiet = Judged::default();
        assert_eq!(incomplete(None, false), None);
        assert!(incomplete(None, true).is_some());
        assert_eq!(verdict(Ok(()), &quiet, None), (Class::Passed, vec![]));
        assert_eq!(verdict(Ok(()), &quiet, full()), (Class::LabFailed, vec![reason.to_owned()]));
        let hang = || Err(Trouble::new(Class::Hang, "slow"));
        let said = vec!["slow".to_owned(), reason.to_owned()];
        assert_eq!(verdict(hang(), &quiet, full()), (Class::Hang, said));
    }

    #[test]
    fn what_is_allowed_is_told_and_fails_nothing() {
        let splats = crate::splat::parse(
            "[    1.000000] Oops: 0000 [#1] SMP\n[    1.000001] RIP: 0010:f+0x5/0x10 [m]\n\
             [    2.000000] WARNING: CPU: 0 PID: 1 at m.c:1 g+0x5/0x10 [m]\n\
             [    3.000000] WARNING: CPU: 0 PID: 1 at m.c:1 g+0x5/0x10 [m]\n",
        );
        let all: Vec<&Splat> = splats.iter().collect();
        let trouble = || Err(Trouble::new(Class::Oops, "killed"));
        let judged = Judged { failures: Vec::new(), allowed: all.clone() };
        let (class, reasons) = verdict(trouble(), &judged, None);
        assert_eq!(class, Class::Passed);
        assert_eq!(
            reasons,
            ["killed", "kernel, allowed: page fault in f+0x5 [m]", "kernel, allowed: WARNING in g+0x5 [m]"]
        );
        let judged = Judged { failures: all[1..].to_vec(), allowed: all[..1].to_vec() };
        assert_eq!(verdict(trouble(), &judged, None).0, Class::KernelWarning);
        let judged = Judged { failures: all, allowed: Vec::new() };
        assert_eq!(verdict(trouble(), &judged, None).0, Class::Oops);
    }

    #[test]
    fn a_kernel_that_died_is_no_pass_even_when_its_log_says_nothing() {
        assert_eq!(of_taint(1 << 7 | 1 << 12).unwrap().class, Class::Oops);
        assert!(of_taint(1 << 12 | 1 << 13).is_none(), "out of tree and unsigned");
    }
}
