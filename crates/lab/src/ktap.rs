// SPDX-License-Identifier: GPL-2.0-only
//! Reads the Kernel Test Anything Protocol.
//!
//! Source: `Documentation/dev-tools/ktap.rst`. Nested results are indented by two spaces a level; the
//! result of the outer test follows those of its parts.

use std::fmt;

use crate::verdict::Outcome;

/// One result line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The test's name, with those of the tests around it: `outer/inner`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Its diagnostic lines, and the reason of a skip.
    pub details: Vec<String>,
}

/// Why a text is not a complete report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It does not begin with a version line.
    NoVersion,
    /// It ends before the plan is fulfilled.
    Incomplete {
        /// How many results the plan announces.
        planned: usize,
        /// How many there are.
        found: usize,
    },
    /// It has no plan, so nobody knows whether it is complete.
    NoPlan,
    /// It has more results than planned, or they are out of order.
    OutOfOrder {
        /// The line.
        line: String,
    },
    /// It plans no test at all.
    Empty,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVersion => write!(f, "it does not begin with `KTAP version 1`"),
            Self::Incomplete { planned, found } => {
                write!(f, "it announces {planned} results and has {found}")
            }
            Self::NoPlan => write!(f, "it has no plan (`1..N`)"),
            Self::OutOfOrder { line } => write!(f, "the result `{line}` is out of order"),
            Self::Empty => write!(f, "it has no test"),
        }
    }
}

#[derive(Default)]
struct Level {
    planned: Option<usize>,
    found: usize,
    details: Vec<String>,
    /// The results of parts, whose outer name isn't known yet.
    lines: Vec<Line>,
}

/// Reads a report. What could be read is returned even when the report is not complete.
pub fn parse(text: &str) -> (Vec<Line>, Option<Problem>) {
    let mut lines = text.lines();
    if !lines.next().is_some_and(is_version) {
        return (Vec::new(), Some(Problem::NoVersion));
    }
    let mut levels = vec![Level::default()];
    let mut problem = None;
    for line in lines {
        let trimmed = line.trim_start_matches(' ');
        let depth = (line.len() - trimmed.len()) / 2;
        if is_version(trimmed) {
            levels.resize_with(depth + 1, Level::default);
        } else if let Some((passed, number, rest)) = result_line(trimmed) {
            let inner: Vec<Level> = levels.split_off((depth + 1).min(levels.len()));
            let level = levels.last_mut().expect("the outermost level is never split off");
            level.found += 1;
            if number != level.found || level.planned.is_some_and(|planned| number > planned) {
                problem.get_or_insert(Problem::OutOfOrder { line: trimmed.to_owned() });
            }
            let result = result(passed, rest, std::mem::take(&mut level.details));
            for part in inner {
                problem = problem.or(unfulfilled(&part));
                level.lines.extend(
                    part.lines.into_iter().map(|l| Line { name: format!("{}/{}", result.name, l.name), ..l }),
                );
            }
            level.lines.push(result);
        } else if let Some(plan) = trimmed.strip_prefix("1..").and_then(|n| n.trim().parse().ok()) {
            if let Some(level) = levels.last_mut() {
                level.planned = Some(plan);
            }
        } else if let Some(detail) = trimmed.strip_prefix('#')
            && let Some(level) = levels.last_mut()
        {
            level.details.push(detail.trim().to_owned());
        }
    }
    let mut results = Vec::new();
    for level in levels {
        problem = problem.or(unfulfilled(&level));
        results.extend(level.lines);
    }
    (results, problem)
}

/// The result of the one test that a report is to be of, and its diagnostics.
pub fn of_one(name: &str, text: &str) -> (Outcome, Vec<String>) {
    let (mut lines, problem) = parse(text);
    let why = match (problem, lines.len()) {
        (None, 1) if lines[0].name == name => {
            let line = lines.remove(0);
            return (line.outcome, line.details);
        }
        (Some(problem), _) => problem.to_string(),
        (None, _) => format!("it is not of the one test `{name}`"),
    };
    (Outcome::Failed, vec![format!("no complete KTAP report came: {why}")])
}

fn is_version(line: &str) -> bool {
    line.trim_end() == "KTAP version 1"
}

fn unfulfilled(level: &Level) -> Option<Problem> {
    match level.planned {
        None => Some(Problem::NoPlan),
        Some(0) => Some(Problem::Empty),
        Some(planned) if planned != level.found => Some(Problem::Incomplete { planned, found: level.found }),
        Some(_) => None,
    }
}

/// Takes `ok 3 - name # directive` apart.
fn result_line(line: &str) -> Option<(bool, usize, &str)> {
    let (passed, rest) = match line.strip_prefix("ok ") {
        Some(rest) => (true, rest),
        None => (false, line.strip_prefix("not ok ")?),
    };
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let number = rest[..digits].parse().ok()?;
    Some((passed, number, rest[digits..].trim_start().trim_start_matches("- ")))
}

fn result(passed: bool, rest: &str, mut details: Vec<String>) -> Line {
    let (name, directive) =
        rest.split_once('#').map_or((rest, ""), |(name, directive)| (name, directive.trim()));
    let mut outcome = if passed { Outcome::Passed } else { Outcome::Failed };
    let word = directive.split_whitespace().next().unwrap_or("");
    if word.eq_ignore_ascii_case("skip") {
        outcome = Outcome::Skipped;
    }
    if !directive.is_empty() {
        details.push(directive.to_owned());
    }
    Line { name: name.trim().to_owned(), outcome, details }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flat_report() {
        let (lines, problem) = parse(
            "KTAP version 1\n1..3\nok 1 one\n# expected 1, got 2\nnot ok 2 - two\nok 3 three # SKIP no disk\n",
        );
        assert_eq!(problem, None);
        let outcomes: Vec<_> = lines.iter().map(|l| (l.name.as_str(), l.outcome)).collect();
        assert_eq!(
            outcomes,
            [("one", Outcome::Passed), ("two", Outcome::Failed), ("three", Outcome::Skipped)]
        );
        assert_eq!(lines[1].details, ["expected 1, got 2"]);
        assert_eq!(lines[2].details, ["SKIP no disk"]);
    }

    #[test]
    fn a_report_of_one_test_is_of_that_test() {
        let one = |text| of_one("a", text);
        assert_eq!(one("KTAP version 1\n1..1\nok 1 a\n"), (Outcome::Passed, Vec::new()));
        let why = |text| one(text).1.join("\n");
        insta::assert_snapshot!(why("KTAP version 1\n1..1\nok 1 b\n"), @"no complete KTAP report came: it is not of the one test `a`");
        insta::assert_snapshot!(why("KTAP version 1\n1..1\n"), @"no complete KTAP report came: it announces 1 results and has 0");
        assert_eq!(one("").0, Outcome::Failed);
    }

    #[test]
    fn nested_results_carry_the_outer_name() {
        let (lines, problem) = parse(
            "KTAP version 1\n1..2\n  KTAP version 1\n  1..2\n  ok 1 a\n  not ok 2 b\nnot ok 1 outer\nok 2 last\n",
        );
        assert_eq!(problem, None);
        let names: Vec<_> = lines.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["outer/a", "outer/b", "outer", "last"]);
    }

    #[test]
    fn what_is_not_complete_is_not_a_report() {
        let problem = |text| parse(text).1;
        assert_eq!(problem(""), Some(Problem::NoVersion));
        assert_eq!(problem("all good\n"), Some(Problem::NoVersion));
        assert_eq!(problem("KTAP version 1\nok 1 a\n"), Some(Problem::NoPlan));
        assert_eq!(problem("KTAP version 1\n1..0\n"), Some(Problem::Empty));
        assert_eq!(
            problem("KTAP version 1\n1..2\nok 1 a\n"),
            Some(Problem::Incomplete { planned: 2, found: 1 })
        );
        assert!(matches!(
            problem("KTAP version 1\n1..2\nok 2 a\nok 1 b\n"),
            Some(Problem::OutOfOrder { .. })
        ));
        assert!(matches!(
            problem("KTAP version 1\n1..1\nok 1 a\nok 2 b\n"),
            Some(Problem::OutOfOrder { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(KTAP version 1\n)?( {0,6}(KTAP version 1|1\\.\\.[0-9]{0,3}|(not )?ok [0-9]{0,2}.{0,9}|#.{0,5})\n){0,12}") {
            let _ = parse(&text);
        }
    }
}
