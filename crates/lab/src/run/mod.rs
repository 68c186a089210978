// SPDX-License-Identifier: GPL-2.0-only
//! A run: one machine from start to end, and the record of it.
//!
//! [`test`] takes a project from source to a verdict; [`command`] runs one program beside the loaded
//! module. The machine is restored, or boots, while the module is built. Both go through the same phases, in [`boot`] and [`steps`], and end in [`Record::class`].

mod boot;
mod debug;
/// In a machine with a distribution.
pub mod inside;
mod kept;
mod life;
mod steps;
mod symbols;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use wire::{Exit, Process};

use boot::Booting;
pub use boot::{Terminal, find_qemu};
pub use debug::Debugged;
use debug::Layout;
pub use kept::Kept;

use crate::Lab;
use crate::build::{self, Built};
use crate::error::Result;
use crate::event::Event;
use crate::kernel::Kernel;
use crate::machine::{Accelerator, Machine};
use crate::project::{self, Manifest, Project};
use crate::session::Session;
use crate::share::{self, Shown};
use crate::splat::Splat;
use crate::verdict::{Class, Phase, TestResult};
use steps::Run;

/// A machine on which the accelerator can be tried.
///
/// # Errors
///
/// When what it is made of can't be provided.
pub fn describe_for_trial(lab: &Lab, kernel: &Kernel) -> Result<Machine> {
    let wanted = project::Machine::default();
    boot::describe(lab, kernel, &wanted, Some(Accelerator::Kvm), Path::new("."))
}

/// A machine that is wanted for itself, not for a run.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Its memory, processors and disks.
    pub machine: project::Machine,
    /// The accelerator; nothing means that KVM is tried.
    pub accelerator: Option<Accelerator>,
    /// Start it from power-on, and save nothing of it.
    pub cold: bool,
    /// How long it may take to boot.
    pub limit: Duration,
}

impl Default for Wanted {
    fn default() -> Self {
        let limit = project::Timeouts::default().boot;
        Self { machine: project::Machine::default(), accelerator: None, cold: false, limit }
    }
}

/// A machine of this kernel without a module, whose agent waits: restored where one was saved, else booted, saved
/// and restored. Its console, QEMU's words and its disks go to `dir`. Gives also what runs its instructions.
///
/// # Errors
///
/// When what it is made of can't be provided, or it does not boot.
pub fn machine(lab: &Lab, kernel: &Kernel, wanted: &Wanted, dir: &Path) -> Result<(Session, Accelerator)> {
    let machine = boot::describe(lab, kernel, &wanted.machine, wanted.accelerator, dir)?;
    let accelerator = machine.accelerator;
    let (session, _) = Booting::start(lab, kernel, machine, dir, wanted.cold)?.wait(wanted.limit)?;
    Ok((session, accelerator))
}

/// What the user chose for a run, beside what `vexlab.toml` says.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// How to build.
    pub build: build::Options,
    /// The accelerator; nothing means that KVM is tried.
    pub accelerator: Option<Accelerator>,
    /// Load the module even if a check would refuse it: the kernel is the judge.
    pub kernel_decides: bool,
    /// Start the machine from power-on, and save nothing of it.
    pub cold: bool,
    /// Leave the project's own tests out.
    pub life_only: bool,
}

/// What is known after a run.
#[derive(Debug)]
pub struct Record {
    /// The module as the verdict names it.
    pub module: String,
    /// The kernel's name.
    pub kernel: String,
    /// When it began.
    pub started: SystemTime,
    /// What the run ended in.
    pub class: Class,
    /// What led to a class other than passed: the finding, the kernel's words.
    pub reasons: Vec<String>,
    /// How the command ended, when it was one that was run.
    pub exit: Option<Exit>,
    /// What ran the guest's instructions.
    pub accelerator: Accelerator,
    /// The time of each phase, in order.
    pub phases: Vec<(Phase, Duration)>,
    /// The time of the whole run. The machine boots while the module is built, so it is less than the
    /// phases' sum.
    pub time: Duration,
    /// Each test's result, in order.
    pub tests: Vec<TestResult>,
    /// What the kernel reported, in order.
    pub splats: Vec<Splat>,
    /// The folder with `console.log` and what QEMU said.
    pub dir: PathBuf,
}

impl Record {
    /// The whole console.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }
}

/// Builds the project's module, loads it in a fresh machine, tests it, and unloads it. Where a machine like it is
/// `kept`, the run takes that one.
///
/// # Errors
///
/// When it does not come to a machine: the source does not build, a check refuses the module, or the lab
/// can't do its work. Whatever a machine shows is in the [`Record`].
pub fn test(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    options: Options,
    shown: &Shown,
    kept: &mut Kept,
) -> Result<Record> {
    share::check(kernel, shown)?;
    let mut run = Run::prepare(lab, Some(project.manifest()), kernel, options.accelerator)?;
    run.what = project.called(options.build);
    lab.reporter.event(&Event::Begin { module: &run.what, kernel: kernel.name() });
    run.start(options.cold, kept)?;
    let module = Module::build(lab, &mut run, project, kernel, options)?;
    run.wait_for_boot()?;
    let outcome = run
        .show(shown)?
        .and_then(|()| run.load(&module))
        .and_then(|()| if options.life_only { Ok(()) } else { run.prove(&module) })
        .and_then(|()| if options.life_only { Ok(()) } else { run.tests(&module) })
        .and_then(|()| run.unload(&module))
        .and_then(|()| run.life(&module))
        .and_then(|()| run.power_off(Some(&module)));
    run.finish(outcome)
}

/// Runs a program in a fresh machine, beside the project's module if there is one.
///
/// # Errors
///
/// As [`test`].
pub fn command(
    lab: &Lab,
    project: Option<&Project>,
    kernel: &Kernel,
    options: Options,
    shown: &Shown,
    process: Process,
    terminal: &mut Terminal<'_>,
) -> Result<Record> {
    share::check(kernel, shown)?;
    let mut run = Run::prepare(lab, project.map(Project::manifest), kernel, options.accelerator)?;
    run.tell_results = false;
    run.looks = false;
    run.what = project.map_or_else(|| "no module".to_owned(), |project| project.called(options.build));
    run.start(options.cold, &mut Kept::default())?;
    let module = match project {
        Some(project) => Some(Module::build(lab, &mut run, project, kernel, options)?),
        None => None,
    };
    run.wait_for_boot()?;
    let outcome = run.show(shown)?;
    let outcome = match &module {
        Some(module) => outcome.and_then(|()| run.load(module)),
        None => outcome,
    };
    let outcome = outcome.and_then(|()| run.program(process, terminal)).and_then(|()| run.power_off(None));
    run.finish(outcome)
}

/// Loads the project's module in a fresh machine under gdb, which `start` is to start with the script that it is
/// given, and to wait for.
///
/// # Errors
///
/// As [`test`], and those of `start`.
pub fn debug(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    options: Options,
    start: &mut dyn FnMut(&Path) -> Result<ExitStatus>,
) -> Result<Debugged> {
    debug::find_gdb()?;
    let mut run = Run::prepare(lab, Some(project.manifest()), kernel, options.accelerator)?;
    run.tell_results = false;
    run.what = project.called(options.build);
    let _socket = run.expect_debugger()?;
    run.start(options.cold, &mut Kept::default())?;
    let module = Module::build(lab, &mut run, project, kernel, options)?;
    let layout = Layout::of(lab, &module.built)?;
    run.wait_for_boot()?;
    match run.set_debugger_up(&module, &layout) {
        Ok(script) => {
            let status = start(&script)?;
            run.leave();
            Ok(Debugged::Ended(status))
        }
        Err(trouble) => run.finish(Err(trouble)).map(|record| Debugged::Failed(Box::new(record))),
    }
}

/// A module that is built and passed the checks.
struct Module {
    name: String,
    built: Built,
    manifest: Manifest,
}

impl Module {
    fn build(
        lab: &Lab,
        run: &mut Run<'_>,
        project: &Project,
        kernel: &Kernel,
        options: Options,
    ) -> Result<Self> {
        let built = build::build(lab, project, kernel, options.build)?;
        run.phase(Phase::Build, built.build_time);
        if built.rust.is_some() {
            run.phase(Phase::Link, built.link_time);
        }
        build::check(lab, kernel, &built, &project.manifest().check, options.kernel_decides)?;
        Ok(Self { name: project.name().to_owned(), built, manifest: project.manifest().clone() })
    }

    /// Its file's name.
    fn file(&self) -> PathBuf {
        PathBuf::from(format!("{}.ko", self.name))
    }

    /// The name that the kernel knows it by.
    fn kernel_name(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// How many runs' folders are kept.
const KEPT: usize = 30;

/// A new folder for a run's files. Older ones beyond [`KEPT`] are removed.
fn new_dir(lab: &Lab) -> Result<PathBuf> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let name = format!("{}-{:06}-{}", now.as_secs(), now.subsec_micros(), std::process::id());
    let parent = lab.cache.path("runs");
    crate::cache::make_dir(&parent.join(&name))?;
    let mut runs: Vec<PathBuf> =
        std::fs::read_dir(&parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    runs.sort();
    for old in runs.iter().rev().skip(KEPT) {
        // Another vexlab may be removing the same one.
        let _ = std::fs::remove_dir_all(old);
    }
    Ok(parent.join(name))
}

/// Tells and keeps a phase's time.
fn report_phase(lab: &Lab, phases: &mut Vec<(Phase, Duration)>, phase: Phase, time: Duration) {
    phases.push((phase, time));
    lab.reporter.event(&Event::Phase(phase, time));
}

/// How a program that could not be run counts, as a shell has it: 127 is one that isn't there, 126 one that can't
/// be run; and why in words.
pub(crate) fn not_run(action: &str, errno: i32) -> (Exit, String) {
    let status = if errno == rustix::io::Errno::NOENT.raw_os_error() { 127 } else { 126 };
    (Exit::Status(status), format!("{action}: {}", errno_text(errno)))
}

/// An error number as the manual pages name it.
pub(crate) fn errno_text(errno: i32) -> String {
    let error = std::io::Error::from_raw_os_error(errno);
    let text = error.to_string();
    let text = text.rsplit_once(" (os error").map_or(text.as_str(), |(text, _)| text);
    format!("errno {errno} ({text})")
}

/// The path in the machine of a file that was sent to it.
fn guest_path(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    // A compressed module is unpacked before it is sent.
    let name =
        [".xz", ".zst", ".gz"].iter().fold(&*name, |name, suffix| name.strip_suffix(suffix).unwrap_or(name));
    format!("/vexlab/payload/{name}")
}
