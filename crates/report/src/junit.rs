// SPDX-License-Identifier: GPL-2.0-only
//! JUnit's XML, as code hosts and CI servers read it: a suite for each kernel, a case for each test.
//!
//! There is no specification; `quick-junit` writes what Jenkins' `junit-10.xsd` has, with Maven's `flakyFailure`.

use std::io::Write;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use lab::error::{Error, Result};
use lab::verdict::{Class, Outcome};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite};

use crate::Told;
use crate::format::{Run, Splat, Test, Trouble};
use crate::text::{plain, plain_line, splat};

/// Writes what is told of runs. Whatever is no pass is a failure in it, or an error: where nothing was judged.
///
/// # Errors
///
/// When it can't be written.
pub fn write(told: Told<'_>, to: &mut dyn Write) -> Result<()> {
    let mut report = Report::new("vexlab");
    report.add_test_suites(told.runs.iter().map(suite));
    if let Some(error) = told.error {
        let mut suite = TestSuite::new("vexlab");
        suite.add_test_case(TestCase::new("vexlab", of_trouble(error)));
        report.add_test_suite(suite);
    }
    report.serialize(to).map_err(|error| Error::lab("write the JUnit report").with_source(error))
}

fn suite(run: &Run) -> TestSuite {
    let mut suite = TestSuite::new(plain_line(&run.kernel));
    suite.set_time(duration(run.seconds));
    if let Some(started) = DateTime::from_timestamp_millis(run.started.as_millisecond()) {
        suite.set_timestamp(DateTime::<FixedOffset>::from(started));
    }
    suite.add_property(("class", run.class.name()));
    suite.add_property(("module", &*plain_line(&run.module)));
    if let Some(accelerator) = &run.accelerator {
        suite.add_property(("accelerator", &*plain_line(accelerator)));
    }
    for test in &run.tests {
        suite.add_test_case(case(run, &test.name, test.seconds, of_test(run, test)));
    }
    if run.has_trouble_of_its_own() {
        suite.add_test_case(case(run, "verdict", None, of_run(run)));
    }
    suite
}

fn case(run: &Run, name: &str, seconds: Option<f64>, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(plain_line(name), status);
    case.set_classname(plain_line(&run.module));
    if let Some(seconds) = seconds {
        case.set_time(duration(seconds));
    }
    case
}

fn of_test(run: &Run, test: &Test) -> TestCaseStatus {
    let during = |splat: &&Splat| splat.during.as_deref() == Some(&test.name);
    let splats: Vec<&Splat> = run.splats.iter().filter(during).collect();
    let text = text(&test.details, &splats);
    let message = plain_line(test.details.first().map_or("", String::as_str));
    match test.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(message);
            status
        }
        Outcome::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("test-failed").set_message(message).set_description(text);
            status
        }
        Outcome::Flaky => {
            let mut failure = TestRerun::new(NonSuccessKind::Failure);
            failure.set_type("flaky").set_message(message).set_description(text);
            let mut status = TestCaseStatus::success();
            status.add_rerun(failure);
            status
        }
    }
}

/// The status of a run whose class no test tells.
fn of_run(run: &Run) -> TestCaseStatus {
    if let Some(error) = &run.error {
        return of_trouble(error);
    }
    let kind = match run.class {
        Class::LabFailed | Class::MachineLost | Class::Interrupted | Class::Usage => NonSuccessKind::Error,
        _ => NonSuccessKind::Failure,
    };
    let mut status = TestCaseStatus::non_success(kind);
    let splats: Vec<&Splat> = run.splats.iter().collect();
    let message = plain_line(run.reasons.first().map_or(run.class.meaning(), String::as_str));
    status.set_type(run.class.name()).set_message(message).set_description(text(&run.reasons, &splats));
    status
}

fn of_trouble(trouble: &Trouble) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_type(trouble.class.name()).set_message(plain_line(&trouble.message));
    status.set_description(text(&trouble.lines(), &[]));
    status
}

fn text(lines: &[String], splats: &[&Splat]) -> String {
    let splats = splats.iter().flat_map(|report| splat(report));
    let lines: Vec<String> = lines.iter().cloned().chain(splats).collect();
    // The writer drops tabs.
    plain(&lines.join("\n")).replace('\t', "    ")
}

/// A time that may come out of a damaged record.
fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roxmltree::Document;

    use super::*;
    use crate::specimen;

    fn written(told: Told<'_>) -> String {
        let mut text = Vec::new();
        write(told, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn what_is_written() {
        let runs = specimen::runs();
        insta::assert_snapshot!(written(Told { runs: &runs, error: None }));
    }

    #[test]
    fn nothing_that_is_no_pass_is_green() {
        for class in Class::ALL {
            let mut run = specimen::passed();
            run.class = class;
            let text = written(Told { runs: &[run], error: None });
            let document = Document::parse(&text).unwrap();
            let red = document.descendants().filter(|n| n.has_tag_name("failure") || n.has_tag_name("error"));
            assert_eq!(red.count(), usize::from(class != Class::Passed), "{class}: {text}");
        }
        let error = specimen::trouble();
        let text = written(Told { runs: &[specimen::passed()], error: Some(&error) });
        assert!(text.contains(r#"errors="1""#), "{text}");
    }

    proptest! {
        #[test]
        fn whatever_a_test_is_called_it_is_xml(text in "\\PC{0,9}[\u{0}-\u{2f}\u{7f}-\u{9f}]{0,9}(\\]\\]>|\u{ffff}|<!--)?.{0,9}") {
            let mut run = specimen::failed();
            run.tests[0].name = text.clone();
            run.tests[1].details = vec![text.clone()];
            run.reasons = vec![text.clone()];
            run.kernel = text.clone();
            run.splats[0].title = text.clone();
            let written = written(Told { runs: &[run], error: None });
            let document = Document::parse(&written).expect("it is well-formed");
            let case = document.descendants().find(|node| node.has_tag_name("testcase")).unwrap();
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            prop_assert_eq!(words(case.attribute("name").unwrap()), words(&plain_line(&text)));
        }
    }
}
