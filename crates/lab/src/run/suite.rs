// SPDX-License-Identifier: GPL-2.0-only
//! The tests of a project on a kernel, on as many machines as they take: a machine in which the kernel got into
//! trouble is not tested on any further, and the rest goes on in a fresh one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Plan, Selection, Settled, Unit};
use super::steps::{Run, Told};
use super::testing::Done;
use super::trouble::{Trouble, with_tests};
use super::{Kept, Module, Order, Record};
use crate::Lab;
use crate::error::{Error, Kind, Result};
use crate::event::Event;
use crate::kernel::Kernel;
use crate::verdict::{Class, Outcome, Phase, TestResult};

/// A project's tests on a kernel.
pub(super) struct Suite<'a> {
    pub(super) lab: &'a Lab,
    pub(super) kernel: &'a Kernel,
    pub(super) order: &'a Order,
    pub(super) module: &'a Module,
    pub(super) plan: &'a Plan,
    /// The run's folder, in which each further machine has its own.
    pub(super) dir: &'a Path,
    pub(super) told: Told,
    pub(super) machines: AtomicUsize,
}

/// A machine in which the module is loaded.
struct Guest<'a> {
    run: Run<'a>,
    /// Whether a test was carried out in it.
    used: bool,
    /// How long tests have taken.
    testing: Duration,
}

impl<'a> Suite<'a> {
    /// Carries the tests out, beginning in a machine that was started already.
    ///
    /// # Errors
    ///
    /// When it does not come to a machine, or the run is interrupted.
    pub(super) fn carry_out(&self, first: Run<'a>) -> Result<Record> {
        let mut whole = std::thread::scope(|scope| {
            let jobs = self.order.selection.jobs.max(1);
            let others: Vec<_> = (1..jobs).map(|_| scope.spawn(|| self.work(None))).collect();
            let mut whole = self.work(Some(first));
            for other in others {
                let part = other.join().unwrap_or_else(|_| Err(Error::lab("a worker failed")));
                whole = whole.and_then(|mut whole| {
                    if let Some(part) = part? {
                        close(&mut whole, part);
                    }
                    Ok(whole)
                });
            }
            whole
        })?;
        // Each machine may have been ended by what was tested in it.
        let is_left = self.told.was_unloaded().is_none() || self.lives() && !self.told.has("life");
        let is_sound = |whole: &Record| matches!(whole.class, Class::Passed | Class::TestFailed);
        if is_left && whole.as_ref().is_some_and(is_sound) {
            let mut run = self.open(None)?;
            run.looks = self.lives();
            if let Some(guest) = self.set_up(run, &mut whole)? {
                close(&mut whole, guest.live_and_leave(self.module)?);
            }
        }
        let mut whole = whole.ok_or_else(|| Error::lab("no machine was used"))?;
        let unloaded =
            self.told.was_unloaded().filter(|_| self.told.first("unload")).map(|time| TestResult {
                name: "unload".to_owned(),
                outcome: Outcome::Passed,
                time: Some(time),
                attempts: 1,
                details: Vec::new(),
            });
        for result in self.plan.known().into_iter().chain(unloaded) {
            self.lab.reporter.event(&Event::Test(&result));
            whole.tests.push(result);
        }
        let (class, reasons) = (&mut whole.class, &mut whole.reasons);
        with_tests(class, reasons, &whole.tests, self.plan.all_skipped());
        match self.plan.remark().filter(|remark| remark.is_ok() || !self.lives()) {
            Some(Err(why)) if *class == Class::Passed => {
                *class = Class::TestFailed;
                reasons.push(why);
            }
            Some(Err(why) | Ok(why)) => reasons.push(why),
            None => {}
        }
        Ok(whole)
    }

    /// Takes tests from the plan and carries them out, until there are no more. Gives what came of it.
    fn work(&self, first: Option<Run<'a>>) -> Result<Option<Record>> {
        let mut whole = None;
        let result = self.work_through(first, &mut whole);
        match result {
            Ok(()) => Ok(whole),
            Err(error) => {
                self.plan.stop(false);
                // What was seen before stays true.
                match &mut whole {
                    Some(record) if error.kind() != Kind::Interrupted => {
                        (record.class, record.reasons) = (Class::from(&error), of_error(&error));
                        Ok(whole)
                    }
                    _ => Err(error),
                }
            }
        }
    }

    fn work_through(&self, first: Option<Run<'a>>, whole: &mut Option<Record>) -> Result<()> {
        let mut machine = match first {
            Some(run) => self.set_up(run, whole)?,
            None => None,
        };
        while let Some(unit) = self.plan.next() {
            let fits = |guest: &mut Guest<'_>| unit.gets_disks().is_some() || unit.isolated && guest.used;
            if let Some(unfit) = machine.take_if(fits) {
                close(whole, unfit.leave(self.module)?);
            }
            if machine.is_none() {
                let opened = self.open(unit.gets_disks()).and_then(|run| self.set_up(run, whole));
                machine = opened.inspect_err(|_| self.plan.stop(true))?;
            }
            let Some(guest) = machine.take() else {
                self.plan.stop(true);
                break;
            };
            machine = self.carry_out_in(guest, unit, whole)?;
        }
        if let Some(guest) = machine {
            let left =
                if self.lives() { guest.live_and_leave(self.module) } else { guest.leave(self.module) };
            close(whole, left?);
        }
        Ok(())
    }

    /// Starts a machine, with the disks that are known by this name.
    fn open(&self, from: Option<String>) -> Result<Run<'a>> {
        let number = self.machines.fetch_add(1, Ordering::Relaxed) + 1;
        let dir = self.dir.join(number.to_string());
        crate::cache::make_dir(&dir)?;
        let options = &self.order.options;
        let manifest = &self.module.manifest;
        let mut run = Run::prepare_in(dir, self.lab, Some(manifest), self.kernel, options.accelerator)?;
        run.symbols = Some(self.module.symbols.clone());
        run.allowed = options.allowed;
        run.record_if(options.recorded)?;
        if let Some(from) = &from {
            run.take_disks(&self.disks(from))?;
        }
        // A machine that was saved knows its disks as empty.
        run.start(options.cold || from.is_some(), &mut Kept::default())?;
        Ok(run)
    }

    /// Whether the tests that every module has are wanted.
    fn lives(&self) -> bool {
        life_wanted(&self.order.selection) && !self.plan.is_stopped()
    }

    /// Where disks are that a test has left.
    fn disks(&self, name: &str) -> PathBuf {
        self.dir.join("disks").join(name)
    }

    /// Loads the module in a machine. One in which that fails is the run's last.
    fn set_up(&self, mut run: Run<'a>, whole: &mut Option<Record>) -> Result<Option<Guest<'a>>> {
        run.told = self.told.clone();
        run.wait_for_boot()?;
        let options = &self.order.options;
        let loaded = run.show(&self.order.shown)?.and_then(|()| run.load(self.module)).and_then(|()| {
            match options.recorded {
                Some(_) => run.begin_sampling(),
                None if options.life_only => Ok(()),
                None => run.prove(self.module),
            }
        });
        match loaded {
            Ok(()) => Ok(Some(Guest { run, used: false, testing: Duration::ZERO })),
            Err(trouble) => {
                self.plan.stop(false);
                close(whole, run.finish(Err(trouble))?);
                Ok(None)
            }
        }
    }

    /// Carries a unit out. Gives the machine back if it can be tested on further.
    fn carry_out_in(
        &self,
        mut guest: Guest<'a>,
        unit: Unit,
        whole: &mut Option<Record>,
    ) -> Result<Option<Guest<'a>>> {
        let said = guest.run.words();
        guest.used = true;
        guest.run.held = Some(Vec::new());
        let started = Instant::now();
        let done = guest.run.carry_out(&unit, self.module);
        guest.testing += started.elapsed();
        // Of a machine that died as its test expects, nothing more is asked.
        let done = if guest.run.has_ended { Ok(Done::Killed) } else { done };
        let results = guest.run.held.take().unwrap_or_default();
        if unit.leaves_disks {
            guest.run.disks_to = Some(self.disks(&unit.disks()));
        }
        let isolated = unit.isolated;
        let in_trouble = guest.run.was_in_trouble(said);
        // Whoever waits for the disks must find them, so a machine that leaves some ends first.
        let settle = |results| match &done {
            Ok(Done::Listed(parts)) => {
                self.plan.expand(&unit, parts);
                Vec::new()
            }
            _ => match self.plan.settle(unit, results) {
                Settled::Results(results) => results,
                Settled::Again => Vec::new(),
            },
        };
        match &done {
            Ok(Done::Listed(_)) => {
                settle(results);
                guest.used = false;
                Ok(Some(guest))
            }
            Ok(Done::Tested) if !isolated && !in_trouble => {
                settle(results).into_iter().for_each(|result| guest.run.tell(result));
                self.tell_known(&mut guest.run);
                Ok(Some(guest))
            }
            Ok(_) => {
                let killed = matches!(done, Ok(Done::Killed));
                let ended = if killed { guest.end(Ok(())) } else { guest.leave(self.module) };
                self.add(whole, ended?, settle(results));
                Ok(None)
            }
            Err(_) => {
                let results = settle(results);
                let Err(trouble) = done else { return Ok(None) };
                self.add(whole, guest.end(Err(trouble))?, results);
                Ok(None)
            }
        }
    }

    /// Adds what a machine ended in, and the results of its last test.
    fn add(&self, whole: &mut Option<Record>, mut part: Record, results: Vec<TestResult>) {
        for result in results {
            self.lab.reporter.event(&Event::Test(&result));
            part.tests.push(result);
        }
        close(whole, part);
    }

    fn tell_known(&self, run: &mut Run<'_>) {
        self.plan.known().into_iter().for_each(|result| run.tell(result));
    }
}

impl Guest<'_> {
    /// Unloads the module and ends the machine in order.
    fn leave(mut self, module: &Module) -> Result<Record> {
        self.tested();
        if let Err(trouble) = self.run.take_counts() {
            return self.run.finish(Err(trouble));
        }
        let outcome = self.run.unload(module).and_then(|()| self.run.power_off(Some(module)));
        self.run.finish(outcome)
    }

    /// As [`leave`](Self::leave), with the tests that every module has before the end, where the machine was looked at
    /// before the module was loaded.
    fn live_and_leave(mut self, module: &Module) -> Result<Record> {
        if !self.run.looks {
            return self.leave(module);
        }
        self.tested();
        self.run.told.first("life");
        let outcome = self.run.unload(module).and_then(|()| {
            if let Some(time) = self.run.told.was_unloaded() {
                self.run.step_passed("unload", time);
            }
            self.run.life(module).and_then(|()| self.run.power_off(Some(module)))
        });
        self.run.finish(outcome)
    }

    /// Ends the machine as it is.
    fn end(mut self, outcome: std::result::Result<(), Trouble>) -> Result<Record> {
        self.tested();
        self.run.finish(outcome)
    }

    fn tested(&mut self) {
        self.run.phase(Phase::Tests, self.testing);
    }
}

/// The tests that every module has.
pub(super) const LIFE: [&str; 6] =
    ["life/load-twice", "life/in-use", "life/cycles", "life/parameters", "life/failing-init", "life/leaks"];

/// Whether one of them is wanted: they come together.
pub(super) fn life_wanted(selection: &Selection) -> bool {
    !selection.no_life && LIFE.iter().any(|name| selection.wants(name))
}

fn of_error(error: &Error) -> Vec<String> {
    let cause = std::error::Error::source(error).map(|cause| cause.to_string());
    std::iter::once(error.to_string()).chain(cause).collect()
}

fn close(whole: &mut Option<Record>, part: Record) {
    match whole {
        Some(whole) => join(whole, part),
        None => *whole = Some(part),
    }
}

/// Adds what another machine ended in. The run ends in the worst of its machines' classes.
fn join(whole: &mut Record, part: Record) {
    if part.class.exit_status() > whole.class.exit_status() {
        whole.class = part.class;
        whole.console = part.console;
    }
    whole.reasons.extend(part.reasons);
    for (phase, time) in part.phases {
        match whole.phases.iter_mut().find(|(other, _)| *other == phase) {
            Some((_, sum)) => *sum += time,
            None => whole.phases.push((phase, time)),
        }
    }
    whole.tests.extend(part.tests);
    whole.splats.extend(part.splats);
    whole.counted.extend(part.counted);
    whole.started = whole.started.min(part.started);
}
