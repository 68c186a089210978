// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab bench`.

use std::path::Path;

use lab::Lab;
use lab::bench::{self, Baseline, Benchmark, Change, Measured, Mode, Order, Report};
use lab::error::Result;
use lab::kernel::Kernel;
use lab::project::Project;
use lab::run::{self, Benched, Watcher};
use lab::verdict::Class;
use report::text::plain_line;

use super::{kernels, our_root};
use crate::cli::{BenchArgs, BenchFormat};
use crate::output;

/// Measures the project's benchmarks on each kernel. The exit status is that of the worst verdict.
pub(crate) fn bench(lab: &Lab, dir: &Path, arguments: &BenchArgs) -> Result<u8> {
    let project = Project::find(dir)?;
    our_root(&arguments.run, "bench")?;
    let kernels = kernels(lab, &arguments.run.build.kernel, Some(&project))?;
    let order = Order {
        options: (&arguments.run).into(),
        mode: if arguments.timed { Mode::Timed } else { Mode::Counted },
        force: arguments.force,
        filters: arguments.filters.clone(),
    };
    if arguments.list {
        run::list_benches(lab, &project, &kernels[0], &order)?.iter().for_each(output::print);
        return Ok(0);
    }
    let baseline = match &arguments.baseline {
        Some(name) => Some((name.as_str(), Baseline::read(&Baseline::place(&project, name))?)),
        None => None,
    };
    let mut reports = Vec::new();
    for kernel in &kernels {
        match measure(lab, &project, kernel, &order, baseline.as_ref())? {
            Ok(report) => {
                if arguments.format == BenchFormat::Text {
                    show(&report);
                }
                reports.push(report);
            }
            Err(class) => return Ok(class.exit_status()),
        }
    }
    match arguments.format {
        BenchFormat::Text => {}
        BenchFormat::Json => output::print_raw(bench::json(&reports)?.as_bytes()),
        BenchFormat::Markdown => output::print_raw(bench::page(&project, &reports).as_bytes()),
    }
    if let Some(name) = &arguments.save_baseline {
        let place = Baseline::place(&project, name);
        Baseline::save(&place, &reports)?;
        lab.note(&format!("the baseline {name} is in {}", place.display()));
    }
    let has_failed = reports.iter().flat_map(|report| &report.benchmarks).any(Benchmark::is_failure);
    Ok(if has_failed { Class::TestFailed } else { Class::Passed }.exit_status())
}

/// Measures on one kernel; or gives what it ended in before it came to its end.
fn measure(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
    baseline: Option<&(&str, Baseline)>,
) -> Result<std::result::Result<Report, Class>> {
    let mut begin = |setting: &bench::Setting| match baseline {
        Some((name, baseline)) => baseline.check(name, setting),
        None => Ok(()),
    };
    let mut next = |name: &str| lab.progress(&format!("measuring {name}"), 0, 0);
    let mut watcher = Watcher { begin: &mut begin, next: &mut next };
    let benched = run::bench(lab, project, kernel, order, &mut watcher);
    lab.progress_end();
    match benched? {
        Benched::Finished(mut report) => {
            if let Some((name, baseline)) = baseline {
                baseline.compare(name, order, &mut report)?;
            }
            Ok(Ok(report))
        }
        Benched::Failed(record) => Ok(Err(record.class)),
    }
}

/// Prints results in the manner of Criterion.
fn show(report: &Report) {
    let setting = &report.setting;
    output::print(format!("{} on {}, {}", plain_line(&report.module), setting.kernel, setting.mode.name()));
    let width = report.benchmarks.iter().map(|benchmark| benchmark.name.len()).max().unwrap_or_default();
    for benchmark in &report.benchmarks {
        output::print(line(benchmark, width));
    }
    let failed = report.benchmarks.iter().filter(|benchmark| benchmark.is_failure()).count();
    if failed > 0 {
        let all = report.benchmarks.len();
        output::print(format!(
            "{failed} of {all} benchmarks could not be measured, or are not as the baseline has them"
        ));
    }
}

/// One result in one line.
fn line(benchmark: &Benchmark, width: usize) -> String {
    let name = format!("{:width$}", plain_line(&benchmark.name));
    let value = match &benchmark.result {
        Measured::Counted { each, .. } => format!("{:>12} instructions", number(*each)),
        Measured::Varied { low, high, why } => {
            format!("{low:.0} to {high:.0} instructions, which vary: {}", plain_line(why))
        }
        Measured::Timed { time, .. } => {
            format!("time: [{:.2} ns {:.2} ns {:.2} ns]", time.low, time.estimate, time.high)
        }
        Measured::Failed { why } => return format!("{name}  FAIL: {}", plain_line(why)),
        Measured::Skipped { why } => return format!("{name}  skip: {}", plain_line(why)),
    };
    let change = benchmark.change.as_ref().map(change).unwrap_or_default();
    format!("{name}  {value}{change}")
}

fn change(change: &Change) -> String {
    if !change.is_real() {
        return "  no change".to_owned();
    }
    let by = change.by.map(|by| format!(", {:+.2} %", by * 100.0)).unwrap_or_default();
    format!("  {}: it was {}{by}", change.verdict.name(), number(change.before))
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use lab::bench::{Count, Time, Verdict};

    use super::*;

    fn shown(result: Measured, change: Option<Change>) -> String {
        line(&Benchmark { name: "ffi/empty".to_owned(), result, change }, 12)
    }

    #[test]
    fn a_result_is_a_line() {
        let counted = |instructions, turns| {
            let count = Count { instructions, turns };
            Measured::Counted { each: count.each(), count }
        };
        insta::assert_snapshot!(shown(counted(8, 1), None), @"ffi/empty                8 instructions");
        insta::assert_snapshot!(shown(counted(17, 2), None), @"ffi/empty             8.50 instructions");
        let was = |verdict, before, by| Some(Change { verdict, before, by });
        insta::assert_snapshot!(shown(counted(9, 1), was(Verdict::Regressed, 8.0, Some(0.125))), @"ffi/empty                9 instructions  regressed: it was 8, +12.50 %");
        insta::assert_snapshot!(shown(counted(9, 1), was(Verdict::Regressed, 0.0, None)), @"ffi/empty                9 instructions  regressed: it was 0");
        insta::assert_snapshot!(shown(counted(9, 1), was(Verdict::NoChange, 9.0, Some(0.0))), @"ffi/empty                9 instructions  no change");
        let varied = Measured::Varied { low: 10.0, high: 12.5, why: "pages".to_owned() };
        insta::assert_snapshot!(shown(varied, None), @"ffi/empty     10 to 12 instructions, which vary: pages");
        let time = Time { estimate: 7.25, low: 7.0, high: 7.5 };
        insta::assert_snapshot!(shown(Measured::Timed { time, samples: Vec::new() }, None), @"ffi/empty     time: [7.00 ns 7.25 ns 7.50 ns]");
        insta::assert_snapshot!(shown(Measured::Failed { why: "it\nsleeps".to_owned() }, None), @"ffi/empty     FAIL: it sleeps");
        insta::assert_snapshot!(shown(Measured::Skipped { why: "no disk".to_owned() }, None), @"ffi/empty     skip: no disk");
    }
}
