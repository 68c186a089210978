// SPDX-License-Identifier: GPL-2.0-only
//! The Kernel Test Anything Protocol: a result for each kernel, with those of its tests inside.
//!
//! Source: `Documentation/dev-tools/ktap.rst`.

use std::io::{self, Write};

use lab::error::{Context, Result};
use lab::verdict::{Class, Outcome};

use crate::Told;
use crate::format::{Run, Test};
use crate::text::{plain, plain_line, splat};

/// Writes what is told of runs.
///
/// # Errors
///
/// When it can't be written.
pub fn write(told: Told<'_>, to: &mut dyn Write) -> Result<()> {
    report(told, to).context(|| "write the KTAP report".to_owned())
}

fn report(told: Told<'_>, to: &mut dyn Write) -> io::Result<()> {
    let results = told.runs.len() + usize::from(told.error.is_some());
    // A plan of no test at all is no report.
    writeln!(to, "KTAP version 1\n1..{}", results.max(1))?;
    for (run, number) in told.runs.iter().zip(1..) {
        of_run(run, number, to)?;
    }
    if let Some(error) = told.error {
        diagnostics("", &error.lines(), to)?;
        writeln!(to, "not ok {results} vexlab # {}", error.class)?;
    } else if told.runs.is_empty() {
        writeln!(to, "not ok 1 vexlab # nothing was run")?;
    }
    Ok(())
}

fn of_run(run: &Run, number: usize, to: &mut dyn Write) -> io::Result<()> {
    let module = name(&run.module);
    if !run.tests.is_empty() {
        writeln!(to, "  KTAP version 1\n  1..{}", run.tests.len())?;
        for (test, number) in run.tests.iter().zip(1..) {
            of_test(test, number, to)?;
        }
    }
    diagnostics("", &run.why(), to)?;
    for report in &run.splats {
        diagnostics("", &splat(report), to)?;
    }
    let (result, class) = match run.class {
        Class::Passed => ("ok", String::new()),
        class => ("not ok", format!(" # {class}")),
    };
    writeln!(to, "{result} {number} {module} on {}{class}", name(&run.kernel))
}

fn of_test(test: &Test, number: usize, to: &mut dyn Write) -> io::Result<()> {
    let name = name(&test.name);
    let result = match test.outcome {
        Outcome::Passed | Outcome::Flaky | Outcome::Skipped => "ok",
        Outcome::Failed => "not ok",
    };
    if test.outcome == Outcome::Skipped {
        let why = plain_line(&test.details.join("; "));
        let why = why.strip_prefix("SKIP").map_or(&*why, str::trim_start);
        return writeln!(to, "  {result} {number} {name} # SKIP {why}");
    }
    diagnostics("  ", &test.details, to)?;
    let flaky = match test.outcome {
        Outcome::Flaky => format!(" # flaky: it passed at attempt {}", test.attempts),
        _ => String::new(),
    };
    writeln!(to, "  {result} {number} {name}{flaky}")
}

fn diagnostics(indent: &str, lines: &[String], to: &mut dyn Write) -> io::Result<()> {
    let lines = lines.iter().map(|line| plain(line).into_owned());
    for line in lines.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()) {
        writeln!(to, "{indent}# {line}")?;
    }
    Ok(())
}

/// A name that does not end where a directive would begin.
fn name(name: &str) -> String {
    plain_line(name).replace('#', "_")
}

#[cfg(test)]
mod tests {
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
    fn it_is_read_back_as_a_whole_report() {
        let mut runs = specimen::runs();
        runs[1].tests[1].name = "a # SKIP b\nnot ok 7 c".to_owned();
        runs[1].tests[1].details = vec!["one\nok 1 two".to_owned()];
        let error = specimen::trouble();
        for error in [None, Some(&error)] {
            let text = written(Told { runs: &runs, error });
            let (lines, problem) = lab::ktap::parse(&text);
            assert_eq!(problem, None, "{text}");
            let failed = lines.iter().filter(|line| line.outcome == Outcome::Failed).count();
            let of_tests: usize = runs.iter().map(|run| run.count(Outcome::Failed)).sum();
            let of_runs = runs.iter().filter(|run| run.class != Class::Passed).count();
            assert_eq!(failed, of_tests + of_runs + usize::from(error.is_some()), "{text}");
        }
    }

    #[test]
    fn nothing_at_all_is_no_pass() {
        insta::assert_snapshot!(written(Told { runs: &[], error: None }), @r"
        KTAP version 1
        1..1
        not ok 1 vexlab # nothing was run
        ");
    }
}
