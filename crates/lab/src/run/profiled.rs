// SPDX-License-Identifier: GPL-2.0-only
//! Runs in which it is found out what is executed.

use std::fs;

use wire::samples::Piece;
use wire::{Decoder, Process, Reply, Request};

use super::boot::Terminal;
use super::steps::{Run, Step, lab_trouble, unexpected};
use super::trouble::Trouble;
use super::{Kept, Options, Order, Record, Selection, command, errno_text, list, test};
use crate::Lab;
use crate::bench::{self, Mode, is_of};
use crate::error::{Context, Error, Result};
use crate::kernel::Kernel;
use crate::machine::Accelerator;
use crate::profile::{Counted, Memory, Plugin, Profile, Samples, Scope, Told, Way, nearest};
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

/// Carries the project's tests out that are selected, one after another, and finds out what each has the kernel and the
/// module execute.
///
/// # Errors
///
/// As [`test`]; when no test is selected, or nothing was counted; and when a machine that is emulated is to be sampled.
pub fn profile_tests(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
    way: Way,
) -> Result<Profiled> {
    let options = recording(order.options, way);
    let filters = &order.selection.filters;
    let tables = &project.manifest().benches;
    let names_benches = |word: &String| tables.iter().any(|table| is_of(word, &table.name));
    if filters.iter().any(names_benches) {
        if let Some(test) = filters.iter().find(|word| !names_benches(word)) {
            let message = format!("`{test}` names no benchmark, and the other words do");
            return Err(Error::usage(message).with_remedy("profile tests and benchmarks one after the other"));
        }
        return profile_benches(lab, project, kernel, options, &order.selection);
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

/// Carries benchmarks out, and finds out what each has the kernel and the module execute.
fn profile_benches(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    options: Options,
    selection: &Selection,
) -> Result<Profiled> {
    let mode = match options.recorded {
        Some(Way::Sampled { .. }) => Mode::Timed,
        _ => Mode::Counted,
    };
    let filters = selection.filters.clone();
    let order = bench::Order { options, mode, filters, force: true };
    let record = super::bench::counted(lab, project, kernel, &order, selection.repeat)?;
    let passed = record.class == Class::Passed;
    let profile = passed.then(|| profile_of(&record, Scope::Module)).transpose()?;
    Ok(Profiled { record, profile })
}

/// Runs a program as [`command`] does, and finds out what the machine executes from its beginning to its end.
///
/// # Errors
///
/// As [`command`]; when nothing was counted; and when a machine that is emulated is to be sampled.
#[expect(clippy::too_many_arguments, reason = "those of `command`, and one of its own")]
pub fn profile_command(
    lab: &Lab,
    project: Option<&Project>,
    kernel: &Kernel,
    options: Options,
    shown: &Shown,
    process: Process,
    terminal: &mut Terminal<'_>,
    way: Way,
) -> Result<Profiled> {
    let record = command(lab, project, kernel, recording(options, way), shown, process, terminal)?;
    if record.class != Class::Passed {
        return Ok(Profiled { record, profile: None });
    }
    let profile = profile_of(&record, Scope::Machine)?;
    Ok(Profiled { record, profile: Some(profile) })
}

impl Way {
    /// The one that is asked for, or that goes with the accelerator: with KVM there is nobody to count.
    pub fn choose(sampled: bool, accelerator: Option<Accelerator>, rate: u32, force: bool) -> Self {
        match sampled || accelerator == Some(Accelerator::Kvm) {
            true => Self::Sampled { rate, force },
            false => Self::Counted,
        }
    }
}

/// The options of a run in which it is found out what is executed.
fn recording(options: Options, way: Way) -> Options {
    let accelerator = match way {
        Way::Counted => Some(Accelerator::Tcg),
        Way::Sampled { .. } => options.accelerator,
    };
    Options { accelerator, recorded: Some(way), ..options }
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
    /// Has the machine's emulator count, or prepares to have its kernel sample, if that is wanted.
    ///
    /// # Errors
    ///
    /// When it can't be done here.
    pub(super) fn record_if(&mut self, way: Option<Way>) -> Result<()> {
        match way {
            None => {}
            Some(Way::Counted) => {
                // Several processors would each count for themselves. With a clock that counts instructions, what the
                // kernel does with time is the same each time.
                self.machine.processors = 1;
                self.machine.counted = true;
                self.machine.plugin = Some(Plugin::provide(self.lab, self.dir())?);
                self.machine.marker = crate::saved::Key::of(&self.machine)?.marker();
            }
            Some(Way::Sampled { rate, force }) => {
                if self.machine.accelerator == Accelerator::Tcg && !force {
                    return Err(Error::usage(
                        "a machine that is emulated is not sampled: its time is that of QEMU's translator, not of a processor",
                    )
                    .with_remedy(
                        "have each instruction counted, without --sampled; or have it done all the same with --force",
                    ));
                }
                self.sampling = Some(rate);
                self.machine.fine_timers = true;
                self.machine.marker = crate::saved::Key::of(&self.machine)?.marker();
            }
        }
        Ok(())
    }

    /// Has the machine's kernel sample what is carried out from now on, if that is wanted.
    pub(super) fn begin_sampling(&mut self) -> Step {
        let Some(rate) = self.sampling else { return Ok(()) };
        let request = Request::Sample { rate };
        match self.ask(&request, self.timeouts.boot, "sampling", &mut Collect::default())? {
            Reply::Done => Ok(()),
            Reply::Failed { action, errno } => Err(not_sampled(&action, errno)),
            other => Err(unexpected("sampling", &other)),
        }
    }

    /// Takes what was counted or sampled so far, and what the addresses in it mean.
    pub(super) fn take_counts(&mut self) -> Step {
        let (told, kallsyms) = match (self.sampling, self.machine.plugin.clone()) {
            (Some(rate), _) => {
                let mut bytes = Collect::default();
                self.ask(&Request::Samples, self.timeouts.boot, "the samples", &mut bytes)?;
                let samples = Samples::read(&bytes.0, rate).map_err(|why| {
                    Trouble::new(Class::LabFailed, "what was sampled in the machine is damaged")
                        .because([why])
                })?;
                let kallsyms = self.kallsyms()?;
                let code = self.code(samples.functions(&kallsyms))?;
                (Told::Sampled(samples.with_code(code)), kallsyms)
            }
            (None, Some(plugin)) if plugin.out.exists() => {
                let raw = fs::read_to_string(&plugin.out);
                let raw = raw.context(|| format!("read {}", plugin.out.display()));
                (Told::Counted(raw.map_err(|error| lab_trouble(&error))?), self.kallsyms()?)
            }
            _ => return Ok(()),
        };
        self.counted = Some(Counted { told, kallsyms, module: self.symbols.clone() });
        Ok(())
    }

    fn kallsyms(&mut self) -> std::result::Result<String, Trouble> {
        let mut kallsyms = Collect::default();
        let request = Request::Read { path: "/proc/kallsyms".to_owned() };
        self.ask(&request, self.timeouts.boot, "the kernel's symbols", &mut kallsyms)?;
        Ok(String::from_utf8_lossy(&kallsyms.0).into_owned())
    }

    /// What the kernel's memory holds from each address on; less where it can't be read, which a kernel may forbid.
    fn code(&mut self, functions: Vec<(u64, u64)>) -> std::result::Result<Vec<(u64, Vec<u8>)>, Trouble> {
        let head = self.pieces(vec![(0, Memory::HEAD)])?;
        let memory = Memory::of(head.first().map_or(&[], Vec::as_slice));
        let place = |&(begin, length): &(u64, u64)| Some((begin, (memory.offset(begin, length)?, length)));
        let (begins, places): (Vec<u64>, Vec<_>) = functions.iter().filter_map(place).unzip();
        let pieces = self.pieces(places)?;
        Ok(begins.into_iter().zip(pieces).filter(|(_, bytes)| !bytes.is_empty()).collect())
    }

    /// Pieces of the machine's file with the kernel's memory.
    fn pieces(&mut self, pieces: Vec<(u64, u64)>) -> std::result::Result<Vec<Vec<u8>>, Trouble> {
        let mut bytes = Collect::default();
        let request = Request::ReadAt { path: Memory::FILE.to_owned(), pieces };
        self.ask(&request, self.timeouts.boot, "the kernel's memory", &mut bytes)?;
        let mut decoder = Decoder::<Piece>::default();
        decoder.push(&bytes.0);
        Ok(std::iter::from_fn(|| decoder.next().ok().flatten()).map(|piece| piece.bytes).collect())
    }
}

/// That the machine's kernel does not sample, and why.
fn not_sampled(action: &str, errno: i32) -> Trouble {
    let why = format!("{action}: {}", errno_text(errno));
    let remedy = "samples need a kernel that was configured with CONFIG_PERF_EVENTS; to count instructions, without --sampled, needs nothing of it";
    Trouble::new(Class::LabFailed, "the machine's kernel takes no samples").because([why, remedy.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_kvm_there_is_nobody_to_count() {
        let choose = |sampled, accelerator| Way::choose(sampled, accelerator, 99, false);
        let sampled = Way::Sampled { rate: 99, force: false };
        assert_eq!(choose(false, None), Way::Counted);
        assert_eq!(choose(false, Some(Accelerator::Tcg)), Way::Counted);
        assert_eq!(choose(false, Some(Accelerator::Kvm)), sampled);
        assert_eq!([choose(true, None), choose(true, Some(Accelerator::Tcg))], [sampled; 2]);
    }

    #[test]
    fn a_kernel_that_takes_no_samples_is_told() {
        let trouble = not_sampled("open perf events", 38);
        insta::assert_snapshot!(trouble.reasons.join("\n"), @"
        the machine's kernel takes no samples
        open perf events: errno 38 (Function not implemented)
        samples need a kernel that was configured with CONFIG_PERF_EVENTS; to count instructions, without --sampled, needs nothing of it
        ");
    }
}
