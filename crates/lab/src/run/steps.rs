// SPDX-License-Identifier: GPL-2.0-only
//! The phases of a run in the machine.

use std::collections::BTreeSet;
use std::fs;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use siphasher::sip::SipHasher24;
use wire::life::Listing;
use wire::{Exit, Process, Reply, Request};

use super::boot::{self, Booting, Terminal};
use super::counting::Reading;
use super::kept::Kept;
use super::splats::{Asked, Expected};
use super::trouble::{Trouble, incomplete, of_taint, verdict};
use super::{Module, Record, errno_text, guest_path, new_dir, not_run, report_phase};
use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::event::Event;
use crate::kernel::{Kernel, depends_of_file, read_module};
use crate::machine::{Accelerator, Machine};
use crate::profile::Counted;
use crate::project::{self, Manifest, Timeouts};
use crate::session::{Collect, Listener, Lost, Session};
use crate::share::{self, Place, Shown, Unshared};
use crate::splat::{Kinds, ModuleFile, Splat, merge, parse_lines, symbolise, unexplained_taint};
use crate::verdict::{Class, Outcome, Phase, TestResult};

/// A run on its way. Its folder is removed with it unless it comes to its end.
pub(super) struct Run<'a> {
    pub(super) lab: &'a Lab,
    pub(super) kernel: &'a Kernel,
    pub(super) machine: Machine,
    pub(super) timeouts: Timeouts,
    booting: Option<Booting<'a>>,
    session: Option<Session>,
    dir: Option<PathBuf>,
    /// The module as the verdict names it.
    pub(super) what: String,
    began: SystemTime,
    started: Instant,
    phases: Vec<(Phase, Duration)>,
    results: Vec<TestResult>,
    /// The module that is loaded, for the places of traces.
    pub(super) symbols: Option<ModuleFile>,
    asked: Asked,
    /// Which reports are expected, by the test that expects them.
    pub(super) expected: Expected,
    /// Which reports fail nothing.
    pub(super) allowed: Kinds,
    /// Whether a test has ended the machine, as it expects.
    pub(super) has_ended: bool,
    /// The kernel's taint when it had booted, and in the end.
    taint: Option<(u64, u64)>,
    exit: Option<Exit>,
    /// Where programs are started.
    pub(super) place: Place,
    /// The steps that have been told, by this machine or another one of the same run.
    pub(super) told: Told,
    /// Results that are not to be told yet.
    pub(super) held: Option<Vec<TestResult>>,
    /// Where its disks go when it ends.
    pub(super) disks_to: Option<PathBuf>,
    /// Whether each result is told as it comes: standard output is a command's own when one is run.
    pub(super) tell_results: bool,
    /// Whether it is looked at what there is before the module is loaded, and what there was.
    pub(super) looks: bool,
    pub(super) before: Option<Listing>,
    /// The counters of the module, where it was built for coverage.
    pub(super) reading: Option<Reading>,
    /// How often in a second its kernel is to sample, if it is.
    pub(super) sampling: Option<u32>,
    /// What was counted or sampled in the machine.
    pub(super) counted: Option<Counted>,
}

/// A step's result: on, or to the end.
pub(super) type Step = Result<(), Trouble>;

/// Why what needs the Rust side is skipped.
pub(super) const WITHOUT_RUST: &str = "the module was built without its Rust side";

/// How many lines of a failed program's output are shown.
pub(super) const SHOWN_LINES: usize = 20;

impl<'a> Run<'a> {
    /// Provides what the machine needs and describes it.
    pub(super) fn prepare(
        lab: &'a Lab,
        manifest: Option<&Manifest>,
        kernel: &'a Kernel,
        accelerator: Option<Accelerator>,
    ) -> Result<Self> {
        Self::prepare_in(new_dir(lab)?, lab, manifest, kernel, accelerator)
    }

    /// As [`prepare`](Self::prepare), with its files in this folder.
    pub(super) fn prepare_in(
        dir: PathBuf,
        lab: &'a Lab,
        manifest: Option<&Manifest>,
        kernel: &'a Kernel,
        accelerator: Option<Accelerator>,
    ) -> Result<Self> {
        let started = Instant::now();
        let default = project::Machine::default();
        let wanted = manifest.map_or(&default, |manifest| &manifest.machine);
        let machine = boot::describe(lab, kernel, wanted, accelerator, &dir)
            .inspect_err(|_| drop(fs::remove_dir_all(&dir)))?;
        let mut run = Self {
            lab,
            kernel,
            machine,
            timeouts: manifest.map(|manifest| manifest.timeouts.clone()).unwrap_or_default(),
            booting: None,
            session: None,
            dir: Some(dir),
            what: String::new(),
            began: SystemTime::now(),
            started,
            phases: Vec::new(),
            results: Vec::new(),
            symbols: None,
            asked: Asked::default(),
            expected: manifest.map(Expected::of).unwrap_or_default(),
            allowed: Kinds::default(),
            has_ended: false,
            taint: None,
            exit: None,
            place: Place::default(),
            told: Told::default(),
            held: None,
            disks_to: None,
            tell_results: true,
            looks: false,
            before: None,
            reading: None,
            sampling: None,
            counted: None,
        };
        run.phase(Phase::Provision, started.elapsed());
        Ok(run)
    }

    /// Keeps a phase's time.
    pub(super) fn phase(&mut self, phase: Phase, time: Duration) {
        report_phase(self.lab, &mut self.phases, phase, time);
    }

    /// Starts the machine, which boots, or is restored, while other work is done; or takes the one that is kept.
    pub(super) fn start(&mut self, cold: bool, kept: &mut Kept) -> Result<()> {
        if let Some(ready) = kept.take(self.lab, self.kernel, &self.machine) {
            // The folder, with its disks, was for the machine that is not started now.
            let _ = fs::remove_dir_all(self.dir());
            self.dir = Some(ready.dir.keep());
            (self.machine, self.session) = (ready.machine, Some(ready.session));
            return Ok(());
        }
        let booting = Booting::start(self.lab, self.kernel, self.machine.clone(), self.dir(), cold)?;
        self.booting = Some(booting);
        Ok(())
    }

    /// Waits until the machine's agent answers, which that of one that was kept has done.
    pub(super) fn wait_for_boot(&mut self) -> Result<()> {
        let Some(booting) = self.booting.take() else { return Ok(()) };
        let what = format!("booting {}", self.kernel.name());
        self.lab.progress(&what, 0, 0);
        let booted = booting.wait(self.timeouts.boot);
        self.lab.progress_end();
        match booted {
            Ok((session, phases)) => {
                self.session = Some(session);
                phases.into_iter().for_each(|(phase, time)| self.phase(phase, time));
                Ok(())
            }
            Err(error) => {
                // The console of a machine that did not boot is what the message points to.
                if error.kind() == crate::error::Kind::Lab {
                    self.dir = None;
                }
                Err(error)
            }
        }
    }

    /// Shows the machine what it is to be shown of this host.
    ///
    /// # Errors
    ///
    /// When it can't be shown to a machine that is none the worse.
    pub(super) fn show(&mut self, wanted: &Shown) -> Result<Step> {
        let limit = self.timeouts.load;
        let link = self.session().link().clone();
        match share::show(self.lab, self.kernel, &link, wanted, limit) {
            Ok(place) => self.place = place,
            Err(Unshared::Refused(error)) => return Err(error),
            Err(Unshared::Lost(lost)) => return Ok(Err(self.lost(lost, "mounting"))),
        }
        Ok(Ok(()))
    }

    /// Loads the module, after those that it needs.
    pub(super) fn load(&mut self, module: &Module) -> Step {
        let started = Instant::now();
        let stripped = self.load_needs(module)?;
        self.load_reader(module)?;
        let looked = if self.looks { self.look_before(module)? } else { Duration::ZERO };
        self.load_one(&module.file(), &stripped, Some(&module.manifest.module.parameters))?;
        let time = started.elapsed().saturating_sub(looked);
        self.step_passed("load", time);
        self.phase(Phase::Load, time);
        Ok(())
    }

    /// Loads what the module needs, and gives the module itself.
    pub(super) fn load_needs(&mut self, module: &Module) -> Result<Vec<u8>, Trouble> {
        let stripped = read(&module.built.stripped)?;
        let needs = depends_of_file(&stripped).map_err(|error| lab_trouble(&error))?;
        let needs = needs.iter().chain(&module.manifest.module.needs).map(String::as_str);
        let files = self.kernel.modules().and_then(|modules| modules.closure(needs));
        for file in files.map_err(|error| lab_trouble(&error))? {
            let bytes = read_module(&file).map_err(|error| lab_trouble(&error))?;
            self.load_one(&file, &bytes, None)?;
        }
        Ok(stripped)
    }

    /// Loads a module with these parameters; without any, one that the module needs, which may be there already.
    pub(super) fn load_one(&mut self, file: &Path, bytes: &[u8], parameters: Option<&str>) -> Step {
        let limit = self.timeouts.load;
        let path = self.send_module(file, bytes)?;
        let log_start = self.session().log().len();
        let request = Request::Load { path, parameters: parameters.unwrap_or_default().to_owned() };
        let what = format!("loading {}", file.file_name().unwrap_or_default().display());
        match self.ask_as("load", &what, &request, limit, &mut Collect::default())? {
            Reply::Done => Ok(()),
            // It is there already: one of those that the machine booted with.
            Reply::Failed { errno, .. } if parameters.is_none() && errno == Errno::EXIST.raw_os_error() => {
                Ok(())
            }
            Reply::Failed { errno, .. } => {
                let words = self.session().log()[log_start..]
                    .iter()
                    .map(|record| record.text.clone())
                    .collect::<Vec<_>>();
                self.result("load", Outcome::Failed, None, Vec::new());
                let reason = format!("{what} failed with {}", errno_text(errno));
                Err(Trouble::new(Class::RefusedByKernel, reason).because(prefixed("kernel: ", words)))
            }
            other => Err(unexpected(&what, &other)),
        }
    }

    /// Copies a module into the machine, and gives its path there.
    pub(super) fn send_module(&mut self, file: &Path, bytes: &[u8]) -> Result<String, Trouble> {
        let path = guest_path(file);
        let limit = self.timeouts.load;
        let put = self.session().put(&path, 0o644, bytes, limit);
        put.map_err(|lost| self.lost(lost, "sending the module"))?;
        Ok(path)
    }

    /// Has the module answer a challenge that only this build's Rust can answer.
    pub(super) fn prove(&mut self, module: &Module) -> Step {
        let Some(path) = module.manifest.rust.as_ref().and_then(|rust| rust.proof.as_ref()) else {
            return Ok(());
        };
        let Some(rust) = &module.built.rust else {
            if self.told.first("proof") {
                self.result("proof", Outcome::Skipped, None, vec![WITHOUT_RUST.to_owned()]);
            }
            return Ok(());
        };
        let started = Instant::now();
        let challenge: [u8; 32] =
            crate::random_bytes().context(|| "read random bytes".to_owned()).map_err(|e| lab_trouble(&e))?;
        let (low, high) =
            (u128::from_le_bytes(rust.key) as u64, (u128::from_le_bytes(rust.key) >> 64) as u64);
        let mut hasher = SipHasher24::new_with_keys(low, high);
        hasher.write(&challenge);
        let expected = format!("{:016x}", hasher.finish());
        let input = challenge.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
        let mut answer = Collect::default();
        let request = Request::Ask { path: path.clone(), input };
        let reply = self.ask_as("proof", "the proof", &request, self.timeouts.test, &mut answer)?;
        let answer = String::from_utf8_lossy(&answer.0).trim().to_owned();
        let details = match reply {
            Reply::Done if answer == expected => Vec::new(),
            Reply::Done => {
                vec![format!("expected {expected}, which only this build's Rust can know; got `{answer}`")]
            }
            Reply::Failed { action, errno } => vec![format!("{action} failed with {}", errno_text(errno))],
            other => return Err(unexpected("the proof", &other)),
        };
        match details.is_empty() {
            true => self.step_passed("proof", started.elapsed()),
            false => self.result("proof", Outcome::Failed, Some(started.elapsed()), details),
        }
        Ok(())
    }

    /// Runs the user's program until it ends by itself.
    pub(super) fn program(&mut self, mut process: Process, terminal: &mut Terminal<'_>) -> Step {
        self.place.hold(&mut process);
        let started = Instant::now();
        let name = process.arguments.first().cloned().unwrap_or_default();
        let sent = self.session().send(&Request::Run(process));
        (terminal.input)(self.session().outgoing());
        let reply = sent.and_then(|()| self.session().wait(None, terminal));
        match reply.map_err(|lost| self.lost(lost, &name))? {
            Reply::Exited(exit) => self.exit = Some(exit),
            Reply::Failed { action, errno } => {
                let (exit, why) = not_run(&action, errno);
                self.exit = Some(exit);
                self.lab.note(&why);
            }
            other => return Err(unexpected(&name, &other)),
        }
        self.phase(Phase::Tests, started.elapsed());
        Ok(())
    }

    /// Unloads the module.
    pub(super) fn unload(&mut self, module: &Module) -> Step {
        let started = Instant::now();
        let request = Request::Unload { name: module.kernel_name() };
        let limit = self.timeouts.unload;
        match self.ask_as("unload", "unloading", &request, limit, &mut Collect::default())? {
            Reply::Done => {}
            Reply::Failed { errno, .. } => {
                let reason = format!("unloading {} failed with {}", module.name, errno_text(errno));
                self.result("unload", Outcome::Failed, Some(started.elapsed()), Vec::new());
                return Err(Trouble::new(Class::UnloadFailed, reason));
            }
            other => return Err(unexpected("unloading", &other)),
        }
        let time = started.elapsed();
        self.told.unloaded(time);
        self.phase(Phase::Unload, time);
        Ok(())
    }

    /// Ends the session in order, and hears what the kernel says of itself.
    pub(super) fn power_off(&mut self, unloaded: Option<&Module>) -> Step {
        self.read_counters()?;
        match self.ask(
            &Request::PowerOff,
            Duration::from_secs(20),
            "powering off",
            &mut Collect::default(),
        )? {
            Reply::Bye { taint, taint_before, modules } => {
                self.taint = Some((taint_before, taint));
                if let Some(module) = unloaded.filter(|module| modules.contains(&module.kernel_name())) {
                    let reason = format!("{} is still loaded after it was unloaded", module.name);
                    return Err(Trouble::new(Class::UnloadFailed, reason));
                }
                of_taint(taint).map_or(Ok(()), Err)
            }
            other => Err(unexpected("powering off", &other)),
        }
    }

    /// Ends the machine and keeps its folder; nobody asks for a judgement.
    pub(super) fn leave(mut self) {
        self.session().end();
        self.remove_disks();
        self.dir = None;
    }

    /// What a run wrote to its disks ends with it; the folder's other files are kept.
    fn remove_disks(&self) {
        for disk in &self.machine.disks {
            let _ = fs::remove_file(disk);
        }
    }

    /// Keeps the disks where they are wanted, and removes them where they aren't.
    fn put_disks_away(&self) -> Result<()> {
        if let Some(to) = &self.disks_to {
            crate::cache::make_dir(to)?;
            for disk in &self.machine.disks {
                let kept = to.join(disk.file_name().unwrap_or_default());
                fs::rename(disk, &kept).context(|| format!("keep the disk {}", kept.display()))?;
            }
        }
        self.remove_disks();
        Ok(())
    }

    /// Has the machine start with the disks of this folder, from power-on.
    pub(super) fn take_disks(&self, from: &Path) -> Result<()> {
        for disk in &self.machine.disks {
            let kept = from.join(disk.file_name().unwrap_or_default());
            fs::copy(&kept, disk).context(|| format!("copy the disk {}", kept.display()))?;
        }
        Ok(())
    }

    /// Ends the machine and judges the run.
    pub(super) fn finish(mut self, outcome: Step) -> Result<Record> {
        self.close_counters(&outcome);
        self.session().end();
        self.put_disks_away()?;
        let mut splats = self.session().splats();
        let session = self.session.as_ref().expect("as above");
        self.asked.attribute(&mut splats, session.log());
        self.symbolise(&mut splats);
        if let Some((before, after)) = self.taint {
            splats.extend(unexplained_taint(before, after, &splats));
        }
        splats.iter().for_each(|splat| self.lab.reporter.event(&Event::Splat(splat)));
        let judged = self.expected.judge(&splats, self.allowed);
        let log_lost = session.log().iter().any(|record| record.text == wire::LOST_RECORDS);
        let incomplete = incomplete(session.console().lost(), log_lost);
        let (class, reasons) = verdict(outcome, &judged, incomplete);
        if class == Class::Interrupted {
            return Err(Error::new(crate::error::Kind::Interrupted, "interrupted"));
        }
        if class == Class::Passed && !self.tell_results {
            // Nobody prints the verdict of a command that went well, and what was allowed is to be told.
            reasons.iter().for_each(|reason| self.lab.note(reason));
        }
        let dir = self.dir.take().expect("a run that booted has its folder until it ends");
        Ok(Record {
            module: self.what.clone(),
            kernel: self.kernel.name().to_owned(),
            started: self.began,
            class,
            reasons,
            exit: self.exit,
            accelerator: self.machine.accelerator,
            time: self.started.elapsed(),
            phases: std::mem::take(&mut self.phases),
            tests: std::mem::take(&mut self.results),
            splats,
            counted: self.counted.take().into_iter().collect(),
            console: dir.join("console.log"),
            dir,
        })
    }

    /// Finds the places of traces in the module's sources. A run has its verdict without them, too.
    fn symbolise(&self, splats: &mut [Splat]) {
        let Some(module) = &self.symbols else { return };
        if let Err(error) = symbolise(splats, module, self.began) {
            self.lab.note(&format!("traces have no source lines: {error}"));
        }
    }

    /// How much the kernel has said.
    pub(super) fn words(&mut self) -> usize {
        self.session().log().len()
    }

    /// Whether the kernel has reported trouble since it had said so much.
    pub(super) fn was_in_trouble(&mut self, since: usize) -> bool {
        !parse_lines(merge(&self.session().log()[since..], "")).is_empty()
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.as_deref().unwrap_or(Path::new("."))
    }

    pub(super) fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("the steps that need a machine come after boot")
    }

    /// A step of the machine's that went well: told once, however many machines there are.
    pub(super) fn step_passed(&mut self, name: &'static str, time: Duration) {
        if self.told.first(name) {
            self.result(name, Outcome::Passed, Some(time), Vec::new());
        }
    }

    pub(super) fn result(
        &mut self,
        name: &str,
        outcome: Outcome,
        time: Option<Duration>,
        details: Vec<String>,
    ) {
        let (outcome, details) = self.as_expected(name, outcome, details);
        let result = TestResult { name: name.to_owned(), outcome, time, attempts: 1, details };
        match &mut self.held {
            Some(held) => held.push(result),
            None => self.tell(result),
        }
    }

    /// Tells a result, and keeps it.
    pub(super) fn tell(&mut self, result: TestResult) {
        if self.tell_results {
            self.lab.reporter.event(&Event::Test(&result));
        }
        self.results.push(result);
    }

    /// A test's result, with what it expects of the kernel.
    fn as_expected(&mut self, name: &str, outcome: Outcome, details: Vec<String>) -> (Outcome, Vec<String>) {
        let Some(session) = &self.session else { return (outcome, details) };
        let came = || self.asked.splats_of(name, session.splats(), session.log());
        let (outcome, details, has_ended) = self.expected.result(name, outcome, details, came);
        self.has_ended |= has_ended;
        (outcome, details)
    }

    /// Sends a request in which the module's code may run, and judges when no answer comes.
    pub(super) fn ask(
        &mut self,
        request: &Request,
        limit: Duration,
        what: &str,
        listener: &mut dyn Listener,
    ) -> Result<Reply, Trouble> {
        let session = self.session();
        let sent = session.send(request).and_then(|()| match request {
            // A test's program has no input.
            Request::Run(_) => session.send(&Request::StdinEnd),
            _ => Ok(()),
        });
        match sent.and_then(|()| session.wait(Some(limit), listener)) {
            Ok(Reply::Killed { signal }) => {
                let reason = format!("{what}: the kernel killed the caller with signal {signal}");
                Err(Trouble::new(Class::Oops, reason))
            }
            Ok(reply) => Ok(reply),
            Err(lost) => Err(self.lost(lost, what)),
        }
    }

    /// As [`ask`](Self::ask), on behalf of the result called `name`, which is a failure when no answer comes.
    pub(super) fn ask_as(
        &mut self,
        name: &str,
        what: &str,
        request: &Request,
        limit: Duration,
        listener: &mut dyn Listener,
    ) -> Result<Reply, Trouble> {
        let records = self.session().log().len();
        self.asked.begin(name, records);
        let answer = self.ask(request, limit, what, listener);
        let lost = matches!(&answer, Err(trouble) if trouble.class != Class::Oops);
        if !lost {
            let records = self.session().log().len();
            self.asked.end(records);
        }
        if answer.is_err() {
            // Why is said once, with the verdict.
            self.result(name, Outcome::Failed, None, Vec::new());
        }
        answer
    }

    /// What it means that the conversation ended early.
    pub(super) fn lost(&mut self, lost: Lost, what: &str) -> Trouble {
        let class = match &lost {
            Lost::TimedOut { .. } => Class::Hang,
            Lost::Ended { .. } | Lost::Nonsense(_) | Lost::Control(_) | Lost::Enough => Class::MachineLost,
            Lost::Interrupted(_) => Class::Interrupted,
        };
        if matches!(lost, Lost::Ended { .. }) {
            self.session().let_die(Duration::from_secs(2));
        }
        Trouble::new(class, format!("{what}: {lost}"))
    }
}

/// The steps whose success has been told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<Mutex<Steps>>);

#[derive(Debug, Default)]
struct Steps {
    told: BTreeSet<&'static str>,
    unloaded: Option<Duration>,
}

impl Told {
    /// Whether this is the first time that this step is asked about.
    pub(super) fn first(&self, step: &'static str) -> bool {
        self.lock().told.insert(step)
    }

    /// Whether it was asked about.
    pub(super) fn has(&self, step: &str) -> bool {
        self.lock().told.contains(step)
    }

    /// The module was unloaded, which is told when all is over.
    fn unloaded(&self, time: Duration) {
        self.lock().unloaded.get_or_insert(time);
    }

    /// How long unloading took, where a machine has done it.
    pub(super) fn was_unloaded(&self) -> Option<Duration> {
        self.lock().unloaded
    }

    fn lock(&self) -> MutexGuard<'_, Steps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.booting = None;
        self.session = None;
        if let Some(dir) = &self.dir {
            // Nothing is left of a run that did not come to its end.
            let _ = fs::remove_dir_all(dir);
        }
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(path).context(|| format!("read {}", path.display())).map_err(|error| lab_trouble(&error))
}

pub(super) fn lab_trouble(error: &Error) -> Trouble {
    let cause = std::error::Error::source(error).map(|cause| cause.to_string());
    Trouble::new(Class::LabFailed, error.to_string()).because(cause)
}

pub(super) fn unexpected(what: &str, reply: &Reply) -> Trouble {
    Trouble::new(Class::LabFailed, format!("{what}: the agent answered {reply:?}"))
}

fn prefixed(prefix: &str, lines: Vec<String>) -> Vec<String> {
    lines.into_iter().map(|line| format!("{prefix}{line}")).collect()
}
