// SPDX-License-Identifier: GPL-2.0-only
//! Benchmarks, measured in machines: one for each table of `vexlab.toml`.

use std::time::Duration;

use wire::Request;

use super::steps::Run;
use super::testing::listed;
use super::trouble::Trouble;
use super::{Kept, Module, Record};
use crate::Lab;
use crate::bench::count::{self, Count, Unsettled};
use crate::bench::guest::{self, Clock, Sample, What};
use crate::bench::{Benchmark, Measured, Mode, Order, Report, Setting, time};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::kernel::Kernel;
use crate::machine::Accelerator;
use crate::project::{self, MayVary, Project};
use crate::verdict::{Class, Outcome};

/// What came of measuring.
#[derive(Debug)]
pub enum Benched {
    /// It came to its end. Benchmarks that could not be measured say why.
    Finished(Report),
    /// Something else went wrong: the kernel was in trouble, or the module is not what it should be.
    Failed(Box<Record>),
}

/// Who is asked and told on the way.
pub struct Watcher<'a> {
    /// Asked before anything is measured: an error ends it.
    pub begin: &'a mut dyn FnMut(&Setting) -> Result<()>,
    /// Told of each benchmark that is about to be measured.
    pub next: &'a mut dyn FnMut(&str),
}

/// Measures the project's benchmarks on a kernel.
///
/// # Errors
///
/// When there is none, when times are asked for under emulation, and as [`test`](super::test).
pub fn bench(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
    watcher: &mut Watcher<'_>,
) -> Result<Benched> {
    let mut report: Option<Report> = None;
    for table in tables(project)? {
        let mut run = start(lab, project, kernel, order)?;
        let module = build(lab, &mut run, project, kernel, order, table)?;
        let accelerator = run.machine.accelerator.name();
        let report = match &mut report {
            Some(report) => report,
            None => {
                let setting = Setting::of(lab, project, kernel, &module.built, (order.mode, accelerator))?;
                (watcher.begin)(&setting)?;
                let module = project.called(order.options.build);
                report.insert(Report { module, setting, benchmarks: Vec::new() })
            }
        };
        run.wait_for_boot()?;
        let outcome = run
            .load(&module)
            .and_then(|()| run.prove(&module))
            .and_then(|()| run.measure(table, order, watcher, &mut report.benchmarks))
            .and_then(|()| run.unload(&module))
            .and_then(|()| run.power_off(Some(&module)));
        let record = judged(run.finish(outcome)?);
        if record.class != Class::Passed {
            lab.reporter.event(&Event::End(&record));
            return Ok(Benched::Failed(Box::new(record)));
        }
    }
    match report {
        Some(report) if !report.benchmarks.is_empty() => Ok(Benched::Finished(report)),
        _ => Err(none_wanted(order)),
    }
}

/// The names of the benchmarks that would be measured.
///
/// # Errors
///
/// As [`bench`].
pub fn list_benches(lab: &Lab, project: &Project, kernel: &Kernel, order: &Order) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for table in tables(project)? {
        let mut run = start(lab, project, kernel, &Order { force: true, ..order.clone() })?;
        let module = build(lab, &mut run, project, kernel, order, table)?;
        run.wait_for_boot()?;
        run.load(&module).map_err(|trouble| trouble.into_error("the module can't be loaded"))?;
        let here = run.benches(table, order).map_err(|trouble| trouble.into_error("there is no list"))?;
        names.extend(here.iter().map(|name| format!("{}/{name}", table.name)));
    }
    if names.is_empty() { Err(none_wanted(order)) } else { Ok(names) }
}

/// Carries benchmarks out, so many times, in a machine in which it is found out what is executed, one machine for each table
/// that has wanted ones. Gives the first run that did not pass, or the last one, with all that was found out.
///
/// # Errors
///
/// As [`bench`].
pub(super) fn counted(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
    repeat: u32,
) -> Result<Record> {
    let mut counted = Vec::new();
    let mut last = None;
    for table in tables(project)?.iter().filter(|table| order.may_want(&table.name)) {
        let mut run = start(lab, project, kernel, order)?;
        let module = build(lab, &mut run, project, kernel, order, table)?;
        run.wait_for_boot()?;
        let outcome = run
            .load(&module)
            .and_then(|()| run.begin_sampling())
            .and_then(|()| (0..repeat).try_for_each(|_| run.carry_out_all(table, order)))
            .and_then(|()| run.take_counts())
            .and_then(|()| run.unload(&module))
            .and_then(|()| run.power_off(Some(&module)));
        let mut record = judged(run.finish(outcome)?);
        lab.reporter.event(&Event::End(&record));
        counted.append(&mut record.counted);
        if record.class != Class::Passed {
            return Ok(record);
        }
        last = Some(record);
    }
    let record = last.ok_or_else(|| none_wanted(order))?;
    Ok(Record { counted, ..record })
}

fn tables(project: &Project) -> Result<&[project::Bench]> {
    match project.manifest().benches.as_slice() {
        [] => Err(Error::usage(format!("{} has no benchmarks", project.name()))
            .with_remedy("say where they are with [[bench]] in vexlab.toml: docs/bench.md")),
        tables => Ok(tables),
    }
}

fn none_wanted(order: &Order) -> Error {
    let filters: Vec<_> = order.filters.iter().map(|text| format!("`{text}`")).collect();
    Error::usage(format!("no benchmark has {} in its name", filters.join(" or ")))
        .with_remedy("`vexlab bench --list` lists them all")
}

/// Starts a machine to measure in.
fn start<'a>(lab: &'a Lab, project: &Project, kernel: &'a Kernel, order: &Order) -> Result<Run<'a>> {
    let options = order.options;
    if (order.mode, options.accelerator) == (Mode::Counted, Some(Accelerator::Kvm)) {
        return Err(Error::usage("instructions are counted by emulation, not under KVM")
            .with_remedy("leave --accel away, or measure times: --timed"));
    }
    let mut manifest = project.manifest().clone();
    manifest.machine.counted = order.mode == Mode::Counted;
    let mut run = Run::prepare(lab, Some(&manifest), kernel, options.accelerator)?;
    if order.mode == Mode::Timed && run.machine.accelerator == Accelerator::Tcg && !order.force {
        return Err(Error::usage(
            "times are not measured under emulation: they would be those of QEMU's translator, not of a processor",
        )
        .with_remedy("count instructions instead, without --timed; or have it done all the same with --force"));
    }
    run.tell_results = false;
    run.what = project.called(options.build);
    run.allowed = options.allowed;
    run.record_if(options.recorded)?;
    run.start(options.cold, &mut Kept::default())?;
    Ok(run)
}

fn build(
    lab: &Lab,
    run: &mut Run<'_>,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
    table: &project::Bench,
) -> Result<Module> {
    let mut module = Module::build(lab, run, project, kernel, order.options)?;
    if let Some(parameters) = &table.parameters {
        module.manifest.module.parameters.clone_from(parameters);
    }
    Ok(module)
}

/// A step that failed without ending the run ends it in a failed test.
fn judged(mut record: Record) -> Record {
    let failed = record.tests.iter().filter(|test| test.outcome == Outcome::Failed);
    let failed: Vec<String> =
        failed.map(|test| format!("{} failed: {}", test.name, test.details.join("; "))).collect();
    if record.class == Class::Passed && !failed.is_empty() {
        record.class = Class::TestFailed;
        record.reasons.extend(failed);
    }
    record
}

/// A step's result: on, or to the end.
type Step<T> = std::result::Result<T, Trouble>;

/// What came of a benchmark: a result, or why there is none.
type Measuring<T> = std::result::Result<T, guest::Trouble>;

impl Run<'_> {
    /// The benchmarks of a table that are wanted.
    fn benches(&mut self, table: &project::Bench, order: &Order) -> Step<Vec<String>> {
        let path = &table.kbenches;
        let limit = table.timeout.unwrap_or(self.timeouts.test);
        let text = self.text(&table.name, &Request::Read { path: path.clone() }, limit)?;
        let names = text.and_then(|text| listed(path, &text, "benchmark"));
        let mut names = names.map_err(|why| Trouble::new(Class::TestFailed, why))?;
        if let Some(unknown) = table.may_vary.iter().find(|one| !names.contains(&one.bench)) {
            let why = format!("`{}` under [[bench.may-vary]] is no benchmark of {path}", unknown.bench);
            return Err(Trouble::new(Class::TestFailed, why));
        }
        // The link has them in an order of its own.
        names.sort();
        names.retain(|name| order.wants(&format!("{}/{name}", table.name)));
        Ok(names)
    }

    /// Measures those of a table that are wanted.
    fn measure(
        &mut self,
        table: &project::Bench,
        order: &Order,
        watcher: &mut Watcher<'_>,
        benchmarks: &mut Vec<Benchmark>,
    ) -> Step<()> {
        let names = self.benches(table, order)?;
        let limit = table.timeout.unwrap_or(self.timeouts.test);
        if let (Some(first), Mode::Counted) = (names.first(), order.mode) {
            let mut file =
                File { run: self, path: &table.kbenches, name: first, limit, clock: Clock::Counter };
            file.check_counter()?;
        }
        for own in &names {
            let name = format!("{}/{own}", table.name);
            (watcher.next)(&name);
            let clock = match order.mode {
                Mode::Counted => Clock::Counter,
                Mode::Timed => Clock::Nanoseconds,
            };
            let mut file = File { run: self, path: &table.kbenches, name: own, limit, clock };
            let result = match order.mode {
                Mode::Counted => file.count(table.may_vary.iter().find(|one| one.bench == *own))?,
                Mode::Timed => file.time()?,
            };
            benchmarks.push(Benchmark { name, result, change: None });
        }
        Ok(())
    }

    /// Carries the benchmarks of a table out that are wanted: for some instructions each; or, to be sampled, for some time.
    fn carry_out_all(&mut self, table: &project::Bench, order: &Order) -> Step<()> {
        let limit = table.timeout.unwrap_or(self.timeouts.test);
        let names = self.benches(table, order)?;
        if names.is_empty() {
            return Err(Trouble::new(Class::TestFailed, none_wanted(order).to_string()));
        }
        for name in names {
            let file = File { run: self, path: &table.kbenches, name: &name, limit, clock: Clock::Counter };
            let carried_out = match order.mode {
                Mode::Counted => file.execute()?,
                Mode::Timed => file.spend_time()?,
            };
            if let Err(trouble) = carried_out {
                let why = format!("{}/{name} can't be carried out: {trouble}", table.name);
                return Err(Trouble::new(Class::TestFailed, why));
            }
        }
        Ok(())
    }
}

/// About how many instructions of a benchmark are in a profile.
const EXECUTED: u64 = 3_000_000;

/// How long a benchmark is looked at, about, in nanoseconds: a piece is not so long that others would wait for it.
const PIECE: u64 = 50_000_000;
const PIECES: usize = 20;

/// A benchmark in a file of the module's.
struct File<'a, 'b> {
    run: &'a mut Run<'b>,
    path: &'a str,
    name: &'a str,
    limit: Duration,
    clock: Clock,
}

impl File<'_, '_> {
    /// Has loops of so many turns measured.
    fn samples(&mut self, what: What, turns: &[u64]) -> Step<Measuring<Vec<Sample>>> {
        let input = guest::order(self.name, what, self.clock, turns).into_bytes();
        let request = Request::Ask { path: self.path.to_owned(), input };
        let text = self.run.text(self.name, &request, self.limit)?;
        Ok(match text {
            Ok(text) => guest::samples(&text, turns.len()),
            Err(why) => Err(guest::Trouble::Failed(vec![why])),
        })
    }

    /// Carries it out for about [`EXECUTED`] instructions.
    fn execute(mut self) -> Step<Measuring<()>> {
        let samples = match self.samples(What::Body, &[1, 1, 2])? {
            Ok(samples) => samples,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let each = samples[2].ticks.saturating_sub(samples[1].ticks).max(1);
        Ok(self.samples(What::Body, &[EXECUTED.div_ceil(each)])?.map(drop))
    }

    /// Carries it out for [`PIECES`] of about [`PIECE`] nanoseconds, with interrupts on.
    fn spend_time(mut self) -> Step<Measuring<()>> {
        self.clock = Clock::Nanoseconds;
        let each = match self.samples(What::Body, &[1, 10, 100])? {
            Ok(samples) => (samples[2].ticks / 100).max(1),
            Err(trouble) => return Ok(Err(trouble)),
        };
        self.clock = Clock::Off;
        Ok(self.samples(What::Body, &[PIECE.div_ceil(each); PIECES])?.map(drop))
    }

    /// What a turn of a loop costs that is there instead of the benchmark.
    fn loop_alone(&mut self, what: What, turns: &[u64]) -> Step<std::result::Result<Count, String>> {
        let samples = self.samples(what, turns)?;
        let slope = |samples: Vec<Sample>| count::slope(&samples).map_err(|why| why.to_string());
        Ok(samples.map_err(|trouble| trouble.to_string()).and_then(slope))
    }

    /// Nothing is counted with a counter of something else.
    fn check_counter(&mut self) -> Step<()> {
        let why = match self.loop_alone(What::Known, &count::round(1))? {
            Ok(known) if count::counts_instructions(known) => return Ok(()),
            Ok(known) => format!("a loop of 2 instructions a turn took {:.2} of its ticks", known.each()),
            Err(why) => why,
        };
        Err(Trouble::new(Class::LabFailed, "the machine's counter does not count instructions")
            .because([why]))
    }

    /// Counts instructions, of what may vary in a range.
    fn count(&mut self, may_vary: Option<&MayVary>) -> Step<Measured> {
        // What is done for the first time may cost more, and is not what is asked for.
        let each = match self.samples(What::Body, &[1, 1, 2])? {
            Ok(samples) => samples[2].ticks.saturating_sub(samples[1].ticks),
            Err(trouble) => return Ok(of_trouble(&trouble)),
        };
        let rounds = count::rounds(each);
        let body = match self.samples(What::Body, &rounds)? {
            Ok(samples) => count::slope(&samples),
            Err(trouble) => return Ok(of_trouble(&trouble)),
        };
        let empty = self.loop_alone(What::Empty, &rounds)?;
        let result = match (body, may_vary) {
            (Err(Unsettled::Varies { least, most, .. }), Some(may_vary)) => empty.map(|empty| {
                let (low, high) = (least - empty.each(), most - empty.each());
                Measured::Varied { low, high, why: may_vary.why.clone() }
            }),
            (Err(why), _) => Err(why.to_string()),
            (Ok(body), _) => empty.and_then(|empty| count::without_loop(body, empty)).map(Measured::counted),
        };
        Ok(result.unwrap_or_else(|why| Measured::Failed { why }))
    }

    /// Takes times.
    fn time(&mut self) -> Step<Measured> {
        let each = match self.samples(What::Body, &[1, 10, 100])? {
            Ok(samples) => samples[2].ticks / 100,
            Err(trouble) => return Ok(of_trouble(&trouble)),
        };
        Ok(match self.samples(What::Body, &time::loops(each))? {
            Ok(samples) => match time::estimate(&samples) {
                Ok(time) => Measured::timed(time, &samples),
                Err(why) => Measured::Failed { why },
            },
            Err(trouble) => of_trouble(&trouble),
        })
    }
}

fn of_trouble(trouble: &guest::Trouble) -> Measured {
    let why = trouble.to_string();
    match trouble {
        guest::Trouble::Skipped(_) => Measured::Skipped { why },
        _ => Measured::Failed { why },
    }
}
