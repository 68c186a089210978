// SPDX-License-Identifier: GPL-2.0-only
//! Annotations of GitHub's: lines on standard output that a runner shows beside the source.
//!
//! Source: GitHub's documentation, *Workflow commands for GitHub Actions*.

use lab::verdict::Outcome;

use crate::Told;
use crate::format::{Run, Splat, Test, Trouble};
use crate::text::{culprit, plain, plain_line, splat};

/// What has a runner take nothing as a command until [`resume`] with the same word. Without it, what a test prints
/// could be a command.
pub fn stop(word: &str) -> String {
    format!("::stop-commands::{word}")
}

/// What has a runner take commands again.
pub fn resume(word: &str) -> String {
    format!("::{word}::")
}

/// A line for each failed test, each report of a kernel's, and each run that ended in something else than a pass
/// without either.
pub fn annotations(told: Told<'_>) -> Vec<String> {
    told.runs.iter().flat_map(of_run).chain(told.error.map(|error| of_trouble("vexlab", error))).collect()
}

fn of_run(run: &Run) -> Vec<String> {
    if let Some(error) = &run.error {
        return vec![of_trouble(&format!("{}: {} on {}", error.class, run.module, run.kernel), error)];
    }
    let failed = run.tests.iter().filter(|test| test.outcome == Outcome::Failed);
    let tests = failed.map(|test| of_test(run, test));
    let mut lines: Vec<String> = tests.chain(run.splats.iter().map(|splat| of_splat(run, splat))).collect();
    if lines.is_empty() && run.has_trouble_of_its_own() {
        let title = format!("{}: {} on {}", run.class, run.module, run.kernel);
        lines.push(annotation(&[("title", title)], &run.reasons));
    }
    lines
}

fn of_test(run: &Run, test: &Test) -> String {
    let title = format!("test {} failed on {}", test.name, run.kernel);
    let why = if test.details.is_empty() { &run.reasons } else { &test.details };
    annotation(&[("title", title)], why)
}

fn of_splat(run: &Run, report: &Splat) -> String {
    let mut properties = Vec::new();
    if let Some(place) = culprit(report) {
        properties.extend([("file", place.file.clone()), ("line", place.line.to_string())]);
        properties.extend(place.column.map(|column| ("col", column.to_string())));
    }
    properties.push(("title", format!("{} on {}", report.kind, run.kernel)));
    annotation(&properties, &splat(report))
}

fn of_trouble(title: &str, trouble: &Trouble) -> String {
    let lines = trouble.lines();
    let mut properties = Vec::new();
    if let Some((file, line)) = lines.iter().find_map(|line| place_of_error(line)) {
        properties.extend([("file", file.to_owned()), ("line", line.to_owned())]);
    }
    properties.push(("title", title.to_owned()));
    annotation(&properties, &lines)
}

/// The file and the line of a compiler's error: `FILE:LINE:COLUMN: error: …`, or rustc's `  --> FILE:LINE:COLUMN`.
fn place_of_error(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("cause: ").unwrap_or(text);
    let place = match text.trim_start().strip_prefix("--> ") {
        Some(place) => place,
        None => text.split_once(": error: ").or_else(|| text.split_once(": fatal error: "))?.0,
    };
    let mut parts = place.rsplitn(3, ':');
    let (column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(column) && is_number(line)).then_some((file, line))
}

fn annotation(properties: &[(&str, String)], lines: &[String]) -> String {
    let properties: Vec<String> =
        properties.iter().map(|(key, value)| format!("{key}={}", property(value))).collect();
    format!("::error {}::{}", properties.join(","), data(&lines.join("\n")))
}

fn data(text: &str) -> String {
    plain(text).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(&plain_line(text)).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimen;

    #[test]
    fn what_is_written() {
        let (runs, error) = (specimen::runs(), specimen::trouble());
        insta::assert_snapshot!(annotations(Told { runs: &runs, error: Some(&error) }).join("\n"));
    }

    #[test]
    fn compilers_say_where() {
        let cases = [
            ("cause: /src/a.c:7:16: error: 'x' undeclared", Some(("/src/a.c", "7"))),
            ("a:b.c:7:16: fatal error: b.h: No such file", Some(("a:b.c", "7"))),
            ("  --> src/lib.rs:12:5", Some(("src/lib.rs", "12"))),
            ("--> nowhere", None),
            ("ld: a.o: error: it is none", None),
            ("a.c:7: note: here", None),
        ];
        for (text, place) in cases {
            assert_eq!(place_of_error(text), place, "{text}");
        }
    }

    #[test]
    fn a_text_stays_in_its_place() {
        let mut run = specimen::failed();
        run.splats.clear();
        run.tests[1].name = "a,file=/etc/passwd::b\n::set-output".to_owned();
        run.tests[1].details = vec!["100%\n::error::c".to_owned()];
        insta::assert_snapshot!(annotations(Told { runs: &[run], error: None }).join("\n"), @"::error title=test a%2Cfile=/etc/passwd%3A%3Ab %3A%3Aset-output failed on debian-6.12::100%25%0A::error::c");
    }
}
