// SPDX-License-Identifier: GPL-2.0-only
//! A run: one machine from start to end, and the record of it.
//!
//! [`test`] takes a project from source to a verdict; [`command`] runs one program beside the loaded
//! module. The machine is restored, or boots, while the module is built. Both go through the same phases, in [`boot`] and [`steps`], and end in [`Record::class`].

mod bench;
mod boot;
mod counting;
mod debug;
/// In a machine with a distribution.
pub mod inside;
mod kept;
mod life;
mod plan;
mod profiled;
mod splats;
mod steps;
mod suite;
mod symbols;
mod testing;
mod trouble;

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::{Duration, Instant, SystemTime};

use wire::{Exit, Process};

pub use bench::{Benched, Watcher, bench, list_benches};
use boot::Booting;
pub use boot::{Terminal, find_qemu};
pub use counting::Measured;
use counting::Tally;
pub use debug::Debugged;
use debug::Layout;
pub use kept::Kept;

use crate::Lab;
use crate::build::{self, Built};
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::kernel::Kernel;
use crate::machine::{Accelerator, Machine};
use crate::profile::{Counted, Way};
use crate::project::{self, Check, Manifest, Project};
use crate::session::Session;
use crate::share::{self, Shown};
use crate::splat::{Kinds, ModuleFile, Splat};
use crate::verdict::{Class, Phase, TestResult};
use plan::Plan;
pub use plan::Selection;
pub use profiled::{Profiled, profile_command, profile_tests};
use steps::{Run, Told};
use suite::Suite;

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
    /// What the kernel may report without failing the run.
    pub allowed: Kinds,
    /// Leave the project's own tests out.
    pub life_only: bool,
    /// Find out what is executed for tests and commands, in this way.
    pub recorded: Option<Way>,
    /// Where the Rust side is compiled of a module that is built in a machine.
    pub rust: inside::RustFrom,
}

impl Options {
    /// A project's module as verdicts name it.
    pub fn called(&self, project: &Project) -> String {
        let name = project.called(self.build);
        match self.rust {
            inside::RustFrom::Host => name,
            inside::RustFrom::Inside => format!("{name}, its Rust compiled inside,"),
        }
    }
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
    /// What was counted or sampled, where that was asked for: for each machine.
    pub counted: Vec<Counted>,
    /// The console of the machine in which the worst was seen.
    pub console: PathBuf,
    /// The folder with what is kept of it. Further machines have folders of their own in it.
    pub dir: PathBuf,
}

/// A run in which nothing could be judged: it did not come to a machine, or its machine was not the module's.
#[derive(Debug)]
pub struct Failure<'a> {
    /// The module as a verdict would name it.
    pub module: &'a str,
    /// The kernel's name.
    pub kernel: &'a str,
    /// When it began.
    pub started: SystemTime,
    /// The time until it failed.
    pub time: Duration,
    /// Why.
    pub error: &'a Error,
    /// A folder for what is to be kept of it; nothing where nobody wants to know.
    pub dir: Option<&'a Path>,
}

impl<'a> Failure<'a> {
    /// One before anything was done.
    pub fn at_once(module: &'a str, kernel: &'a str, error: &'a Error) -> Self {
        Self { module, kernel, started: SystemTime::now(), time: Duration::ZERO, error, dir: None }
    }
}

/// Carries a run out, and tells that it begins, and how it ended.
fn told(lab: &Lab, module: &str, kernel: &str, run: impl FnOnce() -> Result<Record>) -> Result<Record> {
    lab.reporter.event(&Event::Begin { module, kernel });
    let (started, clock) = (SystemTime::now(), Instant::now());
    let ended = run();
    match &ended {
        Ok(record) => lab.reporter.event(&Event::End(record)),
        Err(error) => {
            let nothing_was_done = matches!(error.kind(), Kind::Usage | Kind::Interrupted);
            // Where it can't be made, the run can't be kept, and is told all the same.
            let dir = if nothing_was_done { None } else { new_dir(lab).ok() };
            let (time, dir) = (clock.elapsed(), dir.as_deref());
            lab.reporter.event(&Event::Failed(&Failure { module, kernel, started, time, error, dir }));
        }
    }
    ended
}

/// What is to be done in a run of tests.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// How to build, and what runs the machines.
    pub options: Options,
    /// What programs in them see.
    pub shown: Shown,
    /// Which tests, and how.
    pub selection: Selection,
}

/// Builds the project's module, loads it in a fresh machine, tests it, and unloads it; in further machines where the
/// tests take them. Where a machine like it is `kept`, the run takes that one.
///
/// # Errors
///
/// When it does not come to a machine: the source does not build, a check refuses the module, or the lab
/// can't do its work. Whatever a machine shows is in the [`Record`].
pub fn test(lab: &Lab, project: &Project, kernel: &Kernel, order: &Order, kept: &mut Kept) -> Result<Record> {
    let what = project.called(order.options.build);
    told(lab, &what, kernel.name(), || Ok(tested(lab, project, kernel, order, kept)?.0))
}

/// As [`test`], with a module that was built for coverage. Gives also what was counted.
///
/// # Errors
///
/// As [`test`].
pub fn measure(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
) -> Result<(Record, Option<Measured>)> {
    let mut order = order.clone();
    order.options.build.coverage = true;
    let mut measured = None;
    let record = told(lab, &project.called(order.options.build), kernel.name(), || {
        let (record, counted) = tested(lab, project, kernel, &order, &mut Kept::default())?;
        measured = counted;
        Ok(record)
    })?;
    Ok((record, measured))
}

fn tested(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    order: &Order,
    kept: &mut Kept,
) -> Result<(Record, Option<Measured>)> {
    let options = order.options;
    let mut order = order.clone();
    let mut manifest = bring_programs(lab, project, &mut order)?;
    let order = &order;
    share::check(kernel, &order.shown)?;
    let started = Instant::now();
    let mut run = Run::prepare(lab, Some(&manifest), kernel, options.accelerator)?;
    run.what = project.called(options.build);
    run.allowed = options.allowed;
    run.looks = suite::life_wanted(&order.selection);
    run.record_if(options.recorded)?;
    run.start(options.cold, kept)?;
    let module = Module::build(lab, &mut run, project, kernel, options)?;
    let dir = run.dir().to_owned();
    if options.life_only {
        manifest.tests.clear();
    }
    let plan = Plan::new(&manifest, &order.selection);
    let suite = Suite {
        lab,
        kernel,
        order,
        module: &module,
        plan: &plan,
        dir: &dir,
        told: Told::default(),
        machines: AtomicUsize::new(1),
    };
    let mut record = suite.carry_out(run)?;
    record.time = started.elapsed();
    // Nobody gets them any more.
    let _ = std::fs::remove_dir_all(dir.join("disks"));
    record.dir = dir;
    let measured = module.tally.as_ref().map(|tally| tally.measured(&module.built.module));
    Ok((record, measured))
}

/// Adds the programs of the project that its tests run to what machines are shown: those that a path names which
/// begins with `./` or `../`, from the project's folder. Gives what `vexlab.toml` says with their paths in a machine.
fn bring_programs(lab: &Lab, project: &Project, order: &mut Order) -> Result<Manifest> {
    let mut manifest = project.manifest().clone();
    for test in &mut manifest.tests {
        let Check::Run(words) = &mut test.check else { continue };
        let word = &mut words[0];
        let is_ours = word.starts_with("./") || word.starts_with("../");
        if !is_ours || !order.selection.wants(&test.name) {
            continue;
        }
        let path = project.root().join(&*word);
        let found = share::program::find(lab, &path.to_string_lossy())?.ok_or_else(|| {
            Error::usage(format!("the test `{}` runs {word}, and {} is not there", test.name, path.display()))
                .with_remedy("a path that begins with ./ is one of the project's; build it first")
        })?;
        found.path.clone_into(word);
        order.shown.programs.push(found);
    }
    Ok(manifest)
}

/// The tests that a project has, by name. Those of a file that lists them are asked for in a machine.
///
/// # Errors
///
/// As [`test`]; and when a file has no list.
pub fn list(lab: &Lab, project: &Project, kernel: &Kernel, order: &Order) -> Result<Vec<String>> {
    let selection = &order.selection;
    let mut names = Vec::new();
    let mut machine = None;
    for test in &project.manifest().tests {
        let Check::Ktests(path) = &test.check else {
            names.push(test.name.clone());
            continue;
        };
        if machine.is_none() {
            machine = Some(listing_machine(lab, project, kernel, order)?);
        }
        let Some(run) = &mut machine else { continue };
        let parts = run.listed(path, test.timeout)?;
        names.extend(parts.into_iter().map(|part| format!("{}/{part}", test.name)));
    }
    if project.manifest().life.enabled && !selection.no_life {
        names.extend(suite::LIFE.map(str::to_owned));
    }
    names.retain(|name| selection.wants(name));
    Ok(names)
}

/// A machine in which the module is loaded.
fn listing_machine<'a>(
    lab: &'a Lab,
    project: &Project,
    kernel: &'a Kernel,
    order: &Order,
) -> Result<Run<'a>> {
    let options = order.options;
    let mut run = Run::prepare(lab, Some(project.manifest()), kernel, options.accelerator)?;
    run.tell_results = false;
    run.start(options.cold, &mut Kept::default())?;
    let module = Module::build(lab, &mut run, project, kernel, options)?;
    run.wait_for_boot()?;
    run.load(&module).map_err(|trouble| trouble.into_error("the module can't be loaded"))?;
    Ok(run)
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
    let what = project.map_or_else(|| "no module".to_owned(), |project| project.called(options.build));
    told(lab, &what, kernel.name(), || {
        share::check(kernel, shown)?;
        let mut run = Run::prepare(lab, project.map(Project::manifest), kernel, options.accelerator)?;
        run.what.clone_from(&what);
        command_in(run, project, options, shown, process, terminal)
    })
}

fn command_in(
    mut run: Run<'_>,
    project: Option<&Project>,
    options: Options,
    shown: &Shown,
    process: Process,
    terminal: &mut Terminal<'_>,
) -> Result<Record> {
    let (lab, kernel) = (run.lab, run.kernel);
    run.tell_results = false;
    run.allowed = options.allowed;
    run.record_if(options.recorded)?;
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
    let outcome = outcome
        .and_then(|()| run.begin_sampling())
        .and_then(|()| run.program(process, terminal))
        .and_then(|()| run.take_counts())
        .and_then(|()| run.power_off(None));
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
        Err(trouble) => {
            let record = run.finish(Err(trouble))?;
            lab.reporter.event(&Event::End(&record));
            Ok(Debugged::Failed(Box::new(record)))
        }
    }
}

/// A module that is built and passed the checks.
struct Module {
    name: String,
    built: Built,
    manifest: Manifest,
    /// Where traces through it lead.
    symbols: ModuleFile,
    /// What is counted in it, where it was built for coverage.
    tally: Option<Arc<Tally>>,
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
        let name = project.name().to_owned();
        let symbols = ModuleFile {
            name: name.replace('-', "_"),
            file: built.module.clone(),
            root: project.root().to_owned(),
        };
        run.symbols = Some(symbols.clone());
        let tally = built.counting.is_some().then(Arc::default);
        Ok(Self { name, built, manifest: project.manifest().clone(), symbols, tally })
    }

    /// Its file's name.
    fn file(&self) -> PathBuf {
        PathBuf::from(format!("{}.ko", self.name))
    }

    /// The name that the kernel knows it by.
    fn kernel_name(&self) -> String {
        self.symbols.name.clone()
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
    format!("{}/{name}", wire::PAYLOAD)
}
