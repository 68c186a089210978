// SPDX-License-Identifier: GPL-2.0-only
//! Which test a report of the kernel's came in.

use std::time::Duration;

use super::trouble::Trouble;
use crate::project::Manifest;
use crate::session::LogRecord;
use crate::splat::{Expectation, Judged, Kinds, Severity, Splat, judge};
use crate::verdict::{Class, Outcome};

/// What was asked of a machine, and how much of the kernel's log had come by the end of each: what is logged while a
/// request is carried out comes before its answer.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// How much there was before the first.
    before: Option<usize>,
    answered: Vec<(String, usize)>,
    under_way: Option<String>,
}

impl Asked {
    /// Something is asked on behalf of this test, with so many records in the log.
    pub(super) fn begin(&mut self, test: &str, records: usize) {
        self.before.get_or_insert(records);
        self.under_way = Some(test.to_owned());
    }

    /// It was answered, with so many records in the log.
    pub(super) fn end(&mut self, records: usize) {
        self.answered.extend(self.under_way.take().map(|test| (test, records)));
    }

    /// Tells each report the test in whose time it began. One after the last answer belongs to what was under way.
    pub(super) fn attribute(&self, splats: &mut [Splat], log: &[LogRecord]) {
        for splat in splats {
            splat.during = splat.at.and_then(|at| self.test_at(at, log)).map(str::to_owned);
        }
    }

    /// Those of these reports that began in a test's time.
    pub(super) fn splats_of(&self, test: &str, mut splats: Vec<Splat>, log: &[LogRecord]) -> Vec<Splat> {
        self.attribute(&mut splats, log);
        splats.retain(|splat| splat.during.as_deref() == Some(test));
        splats
    }

    fn test_at(&self, at: Duration, log: &[LogRecord]) -> Option<&str> {
        let last = |records: usize| log[..records.min(log.len())].iter().map(|record| record.at).max();
        if self.before.and_then(last).is_none_or(|last| at <= last)
            && self.before.is_none_or(|before| before > 0)
        {
            return None;
        }
        let answered =
            self.answered.iter().find(|(_, records)| last(*records).is_some_and(|last| at <= last));
        answered.map(|(test, _)| test.as_str()).or(self.under_way.as_deref())
    }
}

/// Which reports are expected, by the test that expects them.
#[derive(Debug, Default)]
pub(super) struct Expected(Vec<(String, Vec<Expectation>)>);

impl Expected {
    /// What a project's tests expect.
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self(manifest.expected())
    }

    /// The tests that expect the kernel to report something.
    pub(super) fn tests(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(test, _)| test.as_str())
    }

    /// Whether the test called so expects the kernel to report something.
    pub(super) fn by(&self, test: &str) -> bool {
        self.tests().any(|name| name == test)
    }

    /// Judges all reports of a run.
    pub(super) fn judge<'a>(&self, splats: &'a [Splat], allowed: Kinds) -> Judged<'a> {
        judge(splats, &self.0, allowed)
    }

    /// A test's result, with what it expects of the kernel and what `came` in its time: it fails where one has not
    /// come. How a program ends that the kernel kills as expected says nothing. Gives also whether the machine has ended
    /// with it.
    pub(super) fn result(
        &self,
        test: &str,
        outcome: Outcome,
        details: Vec<String>,
        came: impl FnOnce() -> Vec<Splat>,
    ) -> (Outcome, Vec<String>, bool) {
        let expected = self.0.iter().find(|(name, _)| name == test && outcome != Outcome::Skipped);
        let Some((_, expected)) = expected else { return (outcome, details, false) };
        let splats = came();
        let is_met = |expected: &&Expectation| splats.iter().any(|splat| expected.is_met_by(splat));
        let unmet: Vec<String> = expected.iter().filter(|e| !is_met(e)).map(ToString::to_string).collect();
        if !unmet.is_empty() {
            return (Outcome::Failed, details.into_iter().chain(unmet).collect(), false);
        }
        let mut oopses = splats.iter().filter(|splat| splat.severity() == Severity::Oops);
        if oopses.any(|splat| expected.iter().any(|expected| expected.is_met_by(splat))) {
            return (Outcome::Passed, Vec::new(), true);
        }
        (outcome, details, false)
    }
}

/// Why a run goes no further behind a test that has ended the machine.
pub(super) fn ended_by(test: &str) -> Trouble {
    let reason = format!("{test} has ended the machine, as it expects; the module is not unloaded");
    Trouble::new(Class::Passed, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_belongs_to_the_test_in_whose_time_it_began() {
        let record = |seconds| LogRecord { level: 4, at: Duration::from_secs(seconds), text: "x".into() };
        let log = [record(1), record(2), record(4), record(6)];
        let mut asked = Asked::default();
        let test = |asked: &Asked, at| asked.test_at(Duration::from_secs(at), &log).map(str::to_owned);
        assert_eq!(test(&asked, 1), None);
        asked.begin("load", 1);
        assert_eq!(test(&asked, 1), None, "while it booted");
        assert_eq!(test(&asked, 2).as_deref(), Some("load"));
        asked.end(2);
        asked.begin("one", 2);
        asked.end(3);
        asked.begin("quiet", 3);
        asked.end(3);
        asked.begin("two", 3);
        asked.end(4);
        for (at, expected) in [(2, "load"), (3, "one"), (4, "one"), (5, "two"), (6, "two")] {
            assert_eq!(test(&asked, at).as_deref(), Some(expected), "at {at} s");
        }
        assert_eq!(test(&asked, 7), None, "when all was answered");
        asked.begin("unload", 4);
        assert_eq!(test(&asked, 7).as_deref(), Some("unload"));
    }
}
