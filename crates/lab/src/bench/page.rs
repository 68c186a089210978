// SPDX-License-Identifier: GPL-2.0-only
//! Results as tables in Markdown: pairs that `vexlab.toml` holds against each other, then all.

use super::{Benchmark, Measured, Mode, Report};
use crate::project::{Beside, Project};

/// What costs no more than this many instructions more than what it is held against is as good.
const MORE: f64 = 2.0;

/// What costs no more than this many times as much is as good.
const TIMES: f64 = 1.1;

/// A page with the tables of each report.
pub fn page(project: &Project, reports: &[Report]) -> String {
    reports.iter().map(|report| tables(project, report)).collect()
}

fn tables(project: &Project, report: &Report) -> String {
    let setting = &report.setting;
    let (unit, how) = match setting.mode {
        Mode::Counted => ("instructions", "counted, exactly, without the loop around it"),
        Mode::Timed => ("nanoseconds", "timed, with the loop around it"),
    };
    let mut page = format!(
        "\n## What a call costs: {} on {}, {unit}\n\nMade by `vexlab bench --format markdown`; {how}. {}, {}.\n",
        report.module,
        setting.kernel,
        setting.release,
        setting.compilers.join(", ")
    );
    let rows: Vec<String> = project
        .manifest()
        .benches
        .iter()
        .flat_map(|table| table.beside.iter().filter_map(|pair| row(report, &table.name, pair)))
        .collect();
    if !rows.is_empty() {
        page.push_str(&format!(
            "\n| what | {unit} | beside | times | more | why |\n| --- | ---: | ---: | ---: | ---: | --- |\n{}",
            rows.concat()
        ));
    }
    page.push_str(&format!("\n| benchmark | {unit} |\n| --- | ---: |\n"));
    for benchmark in &report.benchmarks {
        let value = match &benchmark.result {
            Measured::Failed { why } => format!("not measured: {}", cell(why)),
            Measured::Skipped { why } => format!("skipped: {}", cell(why)),
            Measured::Varied { why, .. } => format!("{}: {}", value(&benchmark.result), cell(why)),
            measured => value(measured),
        };
        page.push_str(&format!("| `{}` | {value} |\n", benchmark.name));
    }
    page
}

/// One pair, where both were measured.
fn row(report: &Report, table: &str, pair: &Beside) -> Option<String> {
    let result = |name: &str| {
        let is_it = |benchmark: &&Benchmark| benchmark.name == format!("{table}/{name}");
        Some(&report.benchmarks.iter().find(is_it)?.result)
    };
    let (this, that) = (result(&pair.bench)?, result(&pair.of)?);
    let (one, other) = (this.each()?, that.each()?);
    let more = one - other;
    let times = if other == 0.0 { "".to_owned() } else { format!("{:.2}", one / other) };
    let is_as_good = more <= MORE || one <= TIMES * other;
    let why = match &pair.why {
        Some(why) if !is_as_good => cell(why),
        None if !is_as_good => "**costs more, and nobody has said why**".to_owned(),
        _ => String::new(),
    };
    let what = cell(&pair.what);
    let (this, that, more) = (value(this), value(that), signed(more));
    Some(format!("| {what} | {this} | {that} | {times} | {more} | {why} |\n"))
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// A result, or from where to where it varies.
fn value(measured: &Measured) -> String {
    match measured {
        Measured::Varied { low, high, .. } => format!("{low:.0} to {high:.0}"),
        measured => number(measured.each().unwrap_or_default()),
    }
}

/// A whole number as one.
pub(super) fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

#[cfg(test)]
mod tests {
    use super::super::{Count, Setting};
    use super::*;

    fn benchmark(name: &str, instructions: i64) -> Benchmark {
        let result = Measured::counted(Count { instructions, turns: 1 });
        Benchmark { name: name.to_owned(), result, change: None }
    }

    #[test]
    fn a_pair_is_a_row_and_what_costs_more_says_why() {
        let dir = tempfile::tempdir().unwrap();
        let text = "kernels = ['k']\nmodule.name = 'm'\n[[bench]]\nname = 'ffi'\nkbenches = '/b'\n\
                    [[bench.beside]]\nwhat = 'empty'\nbench = 'rust'\nof = 'c'\nwhy = 'not shown'\n\
                    [[bench.beside]]\nwhat = 'tree'\nbench = 'tree'\nof = 'c'\nwhy = 'wider nodes'\n\
                    [[bench.beside]]\nwhat = 'sum'\nbench = 'sum'\nof = 'c'\n\
                    [[bench.beside]]\nwhat = 'not measured'\nbench = 'x'\nof = 'c'\n\
                    [[bench.beside]]\nwhat = 'pages'\nbench = 'pages'\nof = 'sum'\nwhy = 'more'\n";
        std::fs::write(dir.path().join("vexlab.toml"), text).unwrap();
        let project = Project::find(dir.path()).unwrap();
        let setting = Setting {
            kernel: "debian-6.1".to_owned(),
            release: "6.1.0-1".to_owned(),
            config: String::new(),
            compilers: vec!["GCC: 12".to_owned(), "rustc version 1.95.0".to_owned()],
            mode: Mode::Counted,
            accelerator: None,
            processor: None,
        };
        let failed = Benchmark {
            name: "ffi/bad".to_owned(),
            result: Measured::Failed { why: "a|b".to_owned() },
            change: None,
        };
        let why = "which pages there are".to_owned();
        let result = Measured::Varied { low: 12.2, high: 15.0, why };
        let varied = Benchmark { name: "ffi/pages".to_owned(), result, change: None };
        let benchmarks = vec![
            benchmark("ffi/c", 8),
            benchmark("ffi/rust", 10),
            benchmark("ffi/tree", 30),
            benchmark("ffi/sum", 11),
            varied,
            failed,
        ];
        let report = Report { module: "m".to_owned(), setting, benchmarks };
        insta::assert_snapshot!(page(&project, &[report]), @r"

        ## What a call costs: m on debian-6.1, instructions

        Made by `vexlab bench --format markdown`; counted, exactly, without the loop around it. 6.1.0-1, GCC: 12, rustc version 1.95.0.

        | what | instructions | beside | times | more | why |
        | --- | ---: | ---: | ---: | ---: | --- |
        | empty | 10 | 8 | 1.25 | +2 |  |
        | tree | 30 | 8 | 3.75 | +22 | wider nodes |
        | sum | 11 | 8 | 1.38 | +3 | **costs more, and nobody has said why** |
        | pages | 12 to 15 | 11 | 1.11 | +1.20 |  |

        | benchmark | instructions |
        | --- | ---: |
        | `ffi/c` | 8 |
        | `ffi/rust` | 10 |
        | `ffi/tree` | 30 |
        | `ffi/sum` | 11 |
        | `ffi/pages` | 12 to 15: which pages there are |
        | `ffi/bad` | not measured: a\|b |
        ");
    }
}
