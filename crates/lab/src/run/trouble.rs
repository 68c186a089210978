// SPDX-License-Identifier: GPL-2.0-only
//! What it means when a run does not go its way: a pure judgement of what was seen.

use crate::console::{Severity, Splat};
use crate::error::{Error, Kind};
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

/// What a machine's part of a run ends in, and why, that went on to its end or did not, and in which the kernel
/// reported `splat`; and, where what was seen is `incomplete`, why.
pub(super) fn verdict(
    outcome: Result<(), Trouble>,
    splat: Option<&Splat>,
    incomplete: Option<String>,
) -> (Class, Vec<String>) {
    let (class, mut reasons) = match outcome {
        Ok(()) => (Class::Passed, Vec::new()),
        Err(trouble) => (trouble.class, trouble.reasons),
    };
    reasons.extend(splat.map(|splat| format!("kernel: {}", splat.title)));
    let mut class = with_splat(class, splat);
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

/// The class of a run that came to `class`, during which the kernel reported `splat`. A splat explains what
/// followed it, so it counts more than any failure but that of the lab itself.
fn with_splat(class: Class, splat: Option<&Splat>) -> Class {
    match (class, splat.map(|splat| splat.severity)) {
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

    fn splat(severity: Severity) -> Splat {
        Splat { severity, title: "x".into() }
    }

    #[test]
    fn what_the_kernel_reports_outranks_what_followed() {
        let oops = splat(Severity::Oops);
        for class in [Class::Passed, Class::TestFailed, Class::Hang, Class::MachineLost, Class::UnloadFailed]
        {
            assert_eq!(with_splat(class, Some(&oops)), Class::Oops);
        }
        assert_eq!(with_splat(Class::LabFailed, Some(&oops)), Class::LabFailed);
        assert_eq!(with_splat(Class::MachineLost, Some(&splat(Severity::Lockup))), Class::Hang);
    }

    #[test]
    fn a_warning_spoils_a_pass_and_hides_nothing_worse() {
        let warning = splat(Severity::Warning);
        assert_eq!(with_splat(Class::Passed, Some(&warning)), Class::KernelWarning);
        assert_eq!(with_splat(Class::UnloadFailed, Some(&warning)), Class::UnloadFailed);
        assert_eq!(with_splat(Class::Passed, None), Class::Passed);
    }

    #[test]
    fn what_is_not_whole_spoils_a_pass_and_hides_nothing() {
        let full = || incomplete(Some("No space left on device".to_owned()), true);
        let reason = "the console could not be kept whole: No space left on device";
        assert_eq!(incomplete(None, false), None);
        assert!(incomplete(None, true).is_some());
        assert_eq!(verdict(Ok(()), None, None), (Class::Passed, vec![]));
        assert_eq!(verdict(Ok(()), None, full()), (Class::LabFailed, vec![reason.to_owned()]));
        let hang = || Err(Trouble::new(Class::Hang, "slow"));
        assert_eq!(verdict(hang(), None, full()), (Class::Hang, vec!["slow".to_owned(), reason.to_owned()]));
    }

    #[test]
    fn a_kernel_that_died_is_no_pass_even_when_its_log_says_nothing() {
        assert_eq!(of_taint(1 << 7 | 1 << 12).unwrap().class, Class::Oops);
        assert!(of_taint(1 << 12 | 1 << 13).is_none(), "out of tree and unsigned");
    }
}
