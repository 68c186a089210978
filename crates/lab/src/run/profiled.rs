// SPDX-License-Identifier: GPL-2.0-only
//! Runs in which what is executed is counted.

use std::fs;

use wire::{Process, Request};

use super::boot::Terminal;
use super::steps::{Run, Step, lab_trouble};
use super::{Kept, Options, Order, Record, Selection, command, list, test};
use crate::Lab;
use crate::bench::{self, is_of};
use crate::error::{Context, Error, Result};
use crate::kernel::Kernel;
use crate::machine::Accelerator;
use crate::profile::{Counted, Plugin, Profile, Scope, nearest};
use crate::project::{Check, Project};
use crate::session::Collect;
use crate::share::Shown;
use crate::verdict::Class;

/// A run, and what was executed in it.
pub struct Profiled {
    /// The run.
    pub record: Record,
    /// What was executed; nothing where the run did not pass, so that it is not known what it would have been.
    pub profile: Option<Profile>,
}

/// Carries the project's tests out that are selected, one after another on one processor, and counts what each has
/// the kernel and the module execute.
///
/// # Errors
///
/// As [`test`]; with KVM; when no test is selected, or nothing was counted.
pub fn profile_tests(lab: &Lab, project: &Project, kernel: &Kernel, order: &Order) -> Result<Profiled> {
    let options = counting(order.options)?;
    let filters = &order.selection.filters;
    let tables = &project.manifest().benches;
    let names_benches = |word: &String| tables.iter().any(|table| is_of(word, &table.name));
    if filters.iter().any(names_benches) {
        if let Some(test) = filters.iter().find(|word| !names_benches(word)) {
            let message = format!("`{test}` names no benchmark, and the other words do");
            return Err(Error::usage(message).with_remedy("profile tests and benchmarks one after the other"));
        }
        return profile_benches(lab, project, kernel, options, filters);
    }
    let selection = Selection { no_life: true, jobs: 1, ..order.selection.clone() };
    let order = Order { options, shown: order.shown.clone(), selection };
    let record = test(lab, project, kernel, &order, &mut Kept::default())?;
    let was_tested =
        record.tests.iter().any(|test| order.selection.wants(&test.name) && !is_step(&test.name));
    if !was_tested && record.splats.is_empty() && matches!(record.class, Class::Passed | Class::TestFailed) {
        return Err(unknown_test(lab, project, kernel, &order));
    }
    if record.class != Class::Passed {
        return Ok(Profiled { record, profile: None });
    }
    let profile = profile_of(&record, scope(project, &order.selection))?;
    Ok(Profiled { record, profile: Some(profile) })
}

/// Carries benchmarks out, and counts what each has the kernel and the module execute.
fn profile_benches(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    options: Options,
    filters: &[String],
) -> Result<Profiled> {
    let order = bench::Order { options, filters: filters.to_vec(), ..bench::Order::default() };
    let record = super::bench::counted(lab, project, kernel, &order)?;
    let passed = record.class == Class::Passed;
    let profile = passed.then(|| profile_of(&record, Scope::Module)).transpose()?;
    Ok(Profiled { record, profile })
}

/// Runs a program as [`command`] does, and counts what the machine executes from its beginning to its end.
///
/// # Errors
///
/// As [`command`]; with KVM; when nothing was counted.
pub fn profile_command(
    lab: &Lab,
    project: Option<&Project>,
    kernel: &Kernel,
    options: Options,
    shown: &Shown,
    process: Process,
    terminal: &mut Terminal<'_>,
) -> Result<Profiled> {
    let record = command(lab, project, kernel, counting(options)?, shown, process, terminal)?;
    if record.class != Class::Passed {
        return Ok(Profiled { record, profile: None });
    }
    let profile = profile_of(&record, Scope::Machine)?;
    Ok(Profiled { record, profile: Some(profile) })
}

/// The options of a run in which is counted.
fn counting(options: Options) -> Result<Options> {
    if options.accelerator == Some(Accelerator::Kvm) {
        return Err(Error::usage("a profile is counted by QEMU, which runs no instructions with KVM")
            .with_remedy("leave `--accel kvm` away, or give `--accel tcg`: what is counted is the same"));
    }
    Ok(Options { accelerator: Some(Accelerator::Tcg), counts: true, ..options })
}

/// Tests in the module are looked at from its first frame on; a program's are all that the machine does.
fn scope(project: &Project, selection: &Selection) -> Scope {
    let is_program =
        |test: &crate::project::Test| matches!(test.check, Check::Run(_)) && selection.wants(&test.name);
    if project.manifest().tests.iter().any(is_program) { Scope::Machine } else { Scope::Module }
}

fn profile_of(record: &Record, scope: Scope) -> Result<Profile> {
    if record.counted.is_empty() {
        return Err(Error::usage("the profile is empty: no test was carried out by its name")
            .with_remedy("tests are counted that are run one by one, by `ktests`, and programs, by `run`"));
    }
    Profile::of(&record.counted, scope, record.started)
}

/// Whether a result is that of a step that every run has.
fn is_step(name: &str) -> bool {
    matches!(name, "load" | "unload" | "proof")
}

fn unknown_test(lab: &Lab, project: &Project, kernel: &Kernel, order: &Order) -> Error {
    let filters = order.selection.filters.join("` or `");
    let error = Error::usage(format!("no test has `{filters}` in its name"));
    let all = Order { selection: Selection { no_life: true, ..Selection::default() }, ..order.clone() };
    let names = list(lab, project, kernel, &all).unwrap_or_default();
    let near: Vec<&str> = order
        .selection
        .filters
        .iter()
        .flat_map(|filter| nearest(filter, names.iter().map(String::as_str)))
        .collect();
    error.with_remedy(match near.as_slice() {
        [] => "`vexlab test --list` lists them all".to_owned(),
        near => format!("there are: {}", near.join(", ")),
    })
}

impl Run<'_> {
    /// Has the machine's emulator count, if it is to.
    pub(super) fn count_if(&mut self, counts: bool) -> Result<()> {
        if counts {
            // Several processors would each count for themselves. With a clock that counts instructions, what the
            // kernel does with time is the same each time.
            self.machine.processors = 1;
            self.machine.counted = true;
            self.machine.plugin = Some(Plugin::provide(self.lab, self.dir())?);
            self.machine.marker = crate::saved::Key::of(&self.machine)?.marker();
        }
        Ok(())
    }

    /// Takes what was counted so far, and what the addresses in it mean.
    pub(super) fn take_counts(&mut self) -> Step {
        let Some(plugin) = self.machine.plugin.clone() else { return Ok(()) };
        if !plugin.out.exists() {
            return Ok(());
        }
        let raw = fs::read_to_string(&plugin.out).context(|| format!("read {}", plugin.out.display()));
        let raw = raw.map_err(|error| lab_trouble(&error))?;
        let mut kallsyms = Collect::default();
        let request = Request::Read { path: "/proc/kallsyms".to_owned() };
        self.ask(&request, self.timeouts.boot, "the kernel's symbols", &mut kallsyms)?;
        let kallsyms = String::from_utf8_lossy(&kallsyms.0).into_owned();
        self.counted = Some(Counted { raw, kallsyms, module: self.symbols.clone() });
        Ok(())
    }
}
