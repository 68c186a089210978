// SPDX-License-Identifier: GPL-2.0-only
//! Which reports fail a run: all but those that a test expects, and those that are allowed.

use std::fmt;

use serde::Deserialize;

use super::{Kind, Splat};
use crate::error::nearest;

/// A set of kinds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds(u32);

impl Kinds {
    /// Whether a kind is in it.
    pub fn contains(self, kind: Kind) -> bool {
        self.0 & bit(kind) != 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |set, kind| set | bit(kind)))
    }
}

fn bit(kind: Kind) -> u32 {
    1 << kind as u32
}

/// One `[[test.expect]]`: a report that is to come while the test runs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Table")]
pub struct Expectation {
    /// Its kind.
    pub kind: Kind,
    /// A text that is in its title.
    pub pattern: String,
    /// Why it is to come.
    pub reason: String,
    /// Of a file's tests the one in which it is to come.
    pub test: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    splat: String,
    pattern: String,
    reason: String,
    test: Option<String>,
}

impl TryFrom<Table> for Expectation {
    type Error = String;

    fn try_from(table: Table) -> Result<Self, String> {
        let Table { splat, pattern, reason, test } = table;
        if reason.trim().is_empty() {
            return Err(format!("`{splat}` is expected without a reason: say in `reason` why it is to come"));
        }
        Ok(Self { kind: kind_named(&splat)?, pattern, reason, test })
    }
}

/// The kind with this name, or why there is none.
///
/// # Errors
///
/// What is wrong with the name, and which one may have been meant.
pub fn kind_named(name: &str) -> Result<Kind, String> {
    Kind::from_name(name).ok_or_else(|| {
        let meant = nearest(name, Kind::ALL.map(Kind::name)).map(|meant| format!("did you mean `{meant}`? "));
        let meant = meant.unwrap_or_default();
        format!("there is no kind of report called `{name}`; {meant}docs/splats.md lists them")
    })
}

impl Expectation {
    /// Whether this report is the one.
    pub fn is_met_by(&self, splat: &Splat) -> bool {
        self.kind == splat.kind && splat.title.contains(&self.pattern)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no {} with `{}` in its title came, which was expected: {}",
            self.kind, self.pattern, self.reason
        )
    }
}

/// What a run's reports come to.
#[derive(Debug, Default)]
pub struct Judged<'a> {
    /// Those that fail the run.
    pub failures: Vec<&'a Splat>,
    /// Those that are allowed for this run.
    pub allowed: Vec<&'a Splat>,
}

/// Judges reports by what the tests that they came in expect.
pub fn judge<'a>(splats: &'a [Splat], expected: &[(String, Vec<Expectation>)], allowed: Kinds) -> Judged<'a> {
    let is_expected = |splat: &Splat| {
        let own = expected.iter().filter(|(test, _)| splat.during.as_ref() == Some(test));
        own.flat_map(|(_, expectations)| expectations).any(|expectation| expectation.is_met_by(splat))
    };
    let mut judged = Judged::default();
    for splat in splats.iter().filter(|splat| !is_expected(splat)) {
        match allowed.contains(splat.kind) {
            true => judged.allowed.push(splat),
            false => judged.failures.push(splat),
        }
    }
    judged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::splat::parse;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        let set: Kinds = [Kind::Bug, Kind::Panic].into_iter().collect();
        for kind in Kind::ALL {
            assert_eq!(set.contains(kind), [Kind::Bug, Kind::Panic].contains(&kind), "{kind}");
        }
    }

    #[test]
    fn only_the_test_that_expects_a_report_may_have_it() {
        let mut splats = parse("[    1.000000] WARNING: CPU: 0 PID: 1 at m.c:1 f+0x5/0x10 [m]\n");
        let expectation = |kind, pattern: &str| Expectation {
            kind,
            pattern: pattern.into(),
            reason: "x".into(),
            test: None,
        };
        let failures = |splats: &[Splat], expectation: Expectation, allowed: &[Kind]| {
            let expected = [("t".to_owned(), vec![expectation])];
            judge(splats, &expected, allowed.iter().copied().collect()).failures.len()
        };
        splats[0].during = Some("t".into());
        assert_eq!(failures(&splats, expectation(Kind::Warning, "in f+"), &[]), 0);
        assert_eq!(failures(&splats, expectation(Kind::Warning, "in g+"), &[]), 1);
        assert_eq!(failures(&splats, expectation(Kind::Bug, "in f+"), &[]), 1);
        assert_eq!(failures(&splats, expectation(Kind::Bug, "in f+"), &[Kind::Warning]), 0);
        splats[0].during = Some("another".into());
        assert_eq!(failures(&splats, expectation(Kind::Warning, "in f+"), &[]), 1);
    }

    #[test]
    fn a_name_that_is_none_has_the_nearest_beside_it() {
        insta::assert_snapshot!(kind_named("page-falt").unwrap_err(), @"there is no kind of report called `page-falt`; did you mean `page-fault`? docs/splats.md lists them");
        insta::assert_snapshot!(kind_named("everything").unwrap_err(), @"there is no kind of report called `everything`; docs/splats.md lists them");
    }
}
