// SPDX-License-Identifier: GPL-2.0-only
//! Results that are kept, for later ones to be held against.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::guest::Sample;
use super::{Benchmark, Measured, Order, Report, Setting, VERSION, time};
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Result};
use crate::project::Project;

/// Results of several kernels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    version: u32,
    reports: Vec<Report>,
}

/// How a result compares with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// What is to be said of it.
    pub verdict: Verdict,
    /// Instructions or nanoseconds a turn, before.
    pub before: f64,
    /// By which part of that it has changed; nothing where it was 0.
    pub by: Option<f64>,
}

/// What is to be said of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It costs less.
    Improved,
    /// It costs more.
    Regressed,
    /// It costs the same; of times, as far as can be told.
    NoChange,
}

impl Verdict {
    /// It in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::NoChange => "no change",
        }
    }
}

impl Change {
    /// Whether there is one.
    pub fn is_real(&self) -> bool {
        self.verdict != Verdict::NoChange
    }

    fn between(before: &Measured, now: &Measured) -> Option<Self> {
        let (was, is) = (before.each()?, now.each()?);
        let by = (was != 0.0).then(|| is / was - 1.0);
        let verdict = match (before, now) {
            (Measured::Counted { count: before, .. }, Measured::Counted { count: now, .. })
                if before == now =>
            {
                Verdict::NoChange
            }
            (Measured::Timed { samples: before, .. }, Measured::Timed { samples: now, .. })
                if !time::is_real(time::change(&samples(before), &samples(now))) =>
            {
                Verdict::NoChange
            }
            (
                Measured::Counted { .. } | Measured::Varied { .. },
                Measured::Counted { .. } | Measured::Varied { .. },
            ) if is_within(before, now) => Verdict::NoChange,
            _ if is < was => Verdict::Improved,
            _ => Verdict::Regressed,
        };
        Some(Self { verdict, before: was, by })
    }
}

/// Whether counts of which one at least varies may be the same.
fn is_within(before: &Measured, now: &Measured) -> bool {
    let range = |measured: &Measured| match measured {
        Measured::Varied { low, high, .. } => Some((*low, *high)),
        _ => None,
    };
    let both = |measured: &Measured| range(measured).or(measured.each().map(|each| (each, each)));
    let (Some((low, high)), Some((from, to))) = (both(before), both(now)) else { return false };
    (range(before).is_some() || range(now).is_some()) && low <= to && from <= high
}

fn samples(pairs: &[(u64, u64)]) -> Vec<Sample> {
    pairs.iter().map(|&(turns, ticks)| Sample { turns, ticks }).collect()
}

impl Baseline {
    /// One of these results.
    pub(super) fn of(reports: Vec<Report>) -> Self {
        Self { version: VERSION, reports }
    }

    /// Where a baseline is: a name is one of the project's own, what has a `/` or ends in `.json` is a file.
    pub fn place(project: &Project, name: &str) -> PathBuf {
        if name.contains('/') || Path::new(name).extension().is_some_and(|end| end == "json") {
            return PathBuf::from(name);
        }
        project.output_dir().join("bench").join(format!("{name}.json"))
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// When it is not there, is no baseline, or one of a later vexlab.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).map_err(|cause| {
            Error::usage(format!("there is no baseline {}", path.display()))
                .with_source(cause)
                .with_remedy("`vexlab bench --save-baseline NAME` makes one")
        })?;
        let remedy = "make it anew: vexlab bench --save-baseline NAME";
        let baseline: Self = serde_json::from_slice(&bytes).map_err(|cause| {
            Error::usage(format!("{} is no baseline", path.display())).with_source(cause).with_remedy(remedy)
        })?;
        if baseline.version != VERSION {
            let message =
                format!("the baseline {} is of version {}, not {VERSION}", path.display(), baseline.version);
            return Err(Error::usage(message).with_remedy(remedy));
        }
        Ok(baseline)
    }

    /// The same with these results in it. Of a kernel with the same setting, what was not measured now stays.
    pub fn with(mut self, reports: &[Report]) -> Self {
        for report in reports {
            let mut report = report.clone();
            report.benchmarks.iter_mut().for_each(|benchmark| benchmark.change = None);
            report.benchmarks.retain(|benchmark| benchmark.result.each().is_some());
            let same = |other: &Report| {
                other.setting.kernel == report.setting.kernel && other.setting.mode == report.setting.mode
            };
            if let Some(index) = self.reports.iter().position(same) {
                let old = self.reports.remove(index);
                if old.setting == report.setting {
                    let is_new =
                        |name: &str| report.benchmarks.iter().all(|benchmark| benchmark.name != name);
                    let kept: Vec<Benchmark> =
                        old.benchmarks.into_iter().filter(|benchmark| is_new(&benchmark.name)).collect();
                    report.benchmarks.extend(kept);
                }
            }
            self.reports.push(report);
        }
        self
    }

    /// Writes results to a file, beside those of other kernels that are there.
    ///
    /// # Errors
    ///
    /// When the file can't be written, or is something else.
    pub fn save(path: &Path, reports: &[Report]) -> Result<()> {
        let there = if path.exists() { Self::read(path)? } else { Self::of(Vec::new()) };
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            make_dir(parent)?;
        }
        write_atomically(path, there.with(reports).text()?.as_bytes())
    }

    /// It as JSON.
    pub(super) fn text(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).context(|| "write results as JSON".to_owned())?;
        Ok(text + "\n")
    }

    /// Refuses what can't be compared with what is measured in this setting; to be asked before anything is measured.
    ///
    /// # Errors
    ///
    /// When the baseline has no results of this kernel, or they come from another kernel, configuration or compiler.
    pub fn check(&self, name: &str, setting: &Setting) -> Result<()> {
        self.of_setting(name, setting).map(|_| ())
    }

    fn of_setting(&self, name: &str, setting: &Setting) -> Result<&Report> {
        let remedy = "save a baseline for it: vexlab bench --save-baseline NAME";
        let of_kernel = |report: &&Report| report.setting.kernel == setting.kernel;
        let of_mode = |report: &&Report| report.setting.mode == setting.mode;
        let Some(report) = self.reports.iter().filter(of_kernel).find(of_mode) else {
            let there = self
                .reports
                .iter()
                .map(|report| format!("{} ({})", report.setting.kernel, report.setting.mode.name()));
            let there = there.collect::<Vec<_>>().join(", ");
            let (kernel, mode) = (&setting.kernel, setting.mode.name());
            let message = format!("the baseline {name} has nothing of {kernel} ({mode}); it has {there}");
            return Err(Error::usage(message).with_remedy(remedy));
        };
        let old = &report.setting;
        let compilers = |setting: &Setting| setting.compilers.join(" and ");
        let accelerator = |setting: &Setting| setting.accelerator.clone().unwrap_or_default();
        let processor = |setting: &Setting| setting.processor.clone().unwrap_or("unknown".to_owned());
        let parts = [
            ("kernel", old.release.clone(), setting.release.clone()),
            ("kernel's configuration", old.config.clone(), setting.config.clone()),
            ("compiler", compilers(old), compilers(setting)),
            ("accelerator", accelerator(old), accelerator(setting)),
            ("processor", processor(old), processor(setting)),
        ];
        match parts.into_iter().find(|(_, old, new)| old != new) {
            None => Ok(report),
            Some((what, old, new)) => Err(Error::usage(format!(
                "the baseline {name} is of another {what}, and is not compared: it is of {old}, this is {new}"
            ))
            .with_remedy(remedy)),
        }
    }

    /// Says of each benchmark of a report how it compares. One that is not in the baseline is left as it is; one that is,
    /// and was to be measured, fails where there is no result of it now.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn compare(&self, name: &str, order: &Order, report: &mut Report) -> Result<()> {
        let before = self.of_setting(name, &report.setting)?;
        for old in before.benchmarks.iter().filter(|old| order.wants(&old.name)) {
            let now = report.benchmarks.iter_mut().find(|benchmark| benchmark.name == old.name);
            let Some(now) = now else {
                let why = format!("the baseline {name} has it, and the module has it no more");
                let result = Measured::Failed { why };
                report.benchmarks.push(Benchmark { name: old.name.clone(), result, change: None });
                continue;
            };
            now.change = Change::between(&old.result, &now.result);
            if let Measured::Skipped { why } = &now.result {
                let why = format!("it is skipped, and the baseline {name} has it: {why}");
                now.result = Measured::Failed { why };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Count, Mode};
    use super::*;

    fn report(instructions: i64) -> Report {
        let setting = Setting {
            kernel: "debian-6.1".to_owned(),
            release: "6.1.0-1".to_owned(),
            config: "c0".to_owned(),
            compilers: vec!["GCC: 12".to_owned(), "rustc version 1.95.0".to_owned()],
            mode: Mode::Counted,
            accelerator: None,
            processor: None,
        };
        let result = Measured::counted(Count { instructions, turns: 1 });
        let benchmark = Benchmark { name: "ffi/empty.c".to_owned(), result, change: None };
        Report { module: "m".to_owned(), setting, benchmarks: vec![benchmark] }
    }

    fn compared(before: i64, now: i64) -> (Verdict, bool) {
        let mut now = report(now);
        Baseline::of(vec![report(before)]).compare("main", &Order::default(), &mut now).unwrap();
        let benchmark = &now.benchmarks[0];
        (benchmark.change.unwrap().verdict, benchmark.is_failure())
    }

    #[test]
    fn one_instruction_is_a_change() {
        assert_eq!(compared(8, 8), (Verdict::NoChange, false));
        assert_eq!(compared(8, 9), (Verdict::Regressed, true));
        assert_eq!(compared(8, 7), (Verdict::Improved, true));
    }

    #[test]
    fn what_varies_is_compared_as_a_range_and_fails_nothing() {
        let varied = |low, high| Measured::Varied { low, high, why: "x".to_owned() };
        let verdict = |before, now| Change::between(&before, &now).unwrap().verdict;
        let counted = |instructions| Measured::counted(Count { instructions, turns: 1 });
        assert_eq!(verdict(varied(8.0, 10.0), varied(9.5, 12.0)), Verdict::NoChange);
        assert_eq!(verdict(varied(8.0, 10.0), counted(9)), Verdict::NoChange);
        assert_eq!(verdict(counted(9), varied(10.0, 11.0)), Verdict::Regressed);
        assert_eq!(verdict(varied(8.0, 10.0), varied(5.0, 7.0)), Verdict::Improved);
        let change = Change::between(&counted(9), &varied(10.0, 11.0));
        let benchmark = Benchmark { name: "b".to_owned(), result: varied(10.0, 11.0), change };
        assert!(!benchmark.is_failure());
    }

    #[test]
    fn what_there_was_a_result_of_has_one() {
        let baseline = Baseline::of(vec![report(8)]);
        let compared = |result: Option<Measured>, filter: &str| {
            let mut now = report(8);
            match result {
                Some(result) => now.benchmarks[0].result = result,
                None => now.benchmarks.clear(),
            }
            let order = Order { filters: vec![filter.to_owned()], ..Order::default() };
            baseline.compare("main", &order, &mut now).unwrap();
            now.benchmarks.first().map(|benchmark| (benchmark.is_failure(), benchmark.result.clone()))
        };
        let failed = |why: &str| Some((true, Measured::Failed { why: why.to_owned() }));
        assert_eq!(compared(None, "c"), failed("the baseline main has it, and the module has it no more"));
        assert_eq!(compared(None, "x"), None, "it was not to be measured");
        let skipped = Measured::Skipped { why: "no disk".to_owned() };
        assert_eq!(
            compared(Some(skipped), "c"),
            failed("it is skipped, and the baseline main has it: no disk")
        );
    }

    #[test]
    fn what_is_not_comparable_is_refused_with_both_names() {
        let baseline = Baseline::of(vec![report(8)]);
        let refused = |change: fn(&mut Setting)| {
            let mut setting = report(8).setting;
            change(&mut setting);
            baseline.check("main", &setting).unwrap_err().to_string()
        };
        insta::assert_snapshot!(refused(|s| s.release = "6.1.0-2".to_owned()), @"the baseline main is of another kernel, and is not compared: it is of 6.1.0-1, this is 6.1.0-2");
        insta::assert_snapshot!(refused(|s| s.config = "c1".to_owned()), @"the baseline main is of another kernel's configuration, and is not compared: it is of c0, this is c1");
        insta::assert_snapshot!(refused(|s| s.compilers[0] = "GCC: 14".to_owned()), @"the baseline main is of another compiler, and is not compared: it is of GCC: 12 and rustc version 1.95.0, this is GCC: 14 and rustc version 1.95.0");
        insta::assert_snapshot!(refused(|s| s.processor = Some("EPYC".to_owned())), @"the baseline main is of another processor, and is not compared: it is of unknown, this is EPYC");
        insta::assert_snapshot!(refused(|s| s.kernel = "debian-6.12".to_owned()), @"the baseline main has nothing of debian-6.12 (counted); it has debian-6.1 (counted)");
        insta::assert_snapshot!(refused(|s| s.mode = Mode::Timed), @"the baseline main has nothing of debian-6.1 (timed); it has debian-6.1 (counted)");
    }

    #[test]
    fn a_file_has_results_of_several_kernels() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ci/bench.json");
        Baseline::save(&path, &[report(8)]).unwrap();
        let mut other = report(9);
        other.setting.kernel = "debian-6.12".to_owned();
        Baseline::save(&path, &[other.clone()]).unwrap();
        let mut again = report(10);
        again.benchmarks[0].name = "ffi/other".to_owned();
        Baseline::save(&path, &[again]).unwrap();
        let read = Baseline::read(&path).unwrap();
        assert_eq!(read.reports.len(), 2);
        let names: Vec<_> =
            read.reports[1].benchmarks.iter().map(|benchmark| benchmark.name.as_str()).collect();
        assert_eq!(names, ["ffi/other", "ffi/empty.c"], "what was not measured stays");
        assert_eq!(read.reports[0], other);
    }

    #[test]
    fn what_is_no_baseline_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.json");
        let said =
            || Baseline::read(&path).unwrap_err().to_string().replace(&path.display().to_string(), "B");
        insta::assert_snapshot!(said(), @"there is no baseline B");
        fs::write(&path, "{}").unwrap();
        insta::assert_snapshot!(said(), @"B is no baseline");
        fs::write(&path, "{\"version\": 2, \"reports\": []}").unwrap();
        insta::assert_snapshot!(said(), @"the baseline B is of version 2, not 1");
    }
}
