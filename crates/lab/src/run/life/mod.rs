// SPDX-License-Identifier: GPL-2.0-only
//! The tests that every module has, without a line of its own: it is loaded and unloaded again and again, held
//! while it is to go, given parameters that it can't have, and has its allocations fail; and what it leaves behind
//! is looked for.
//!
//! What is done in the machine is here; what it means is judged by [`life`](crate::life).

/// Deeds, carried out.
mod exercise;
/// An init function whose allocations fail.
mod failing;
/// The same from outside, by failslab.
mod failslab;
/// Values that parameters can't have.
mod misuse;

use std::time::{Duration, Instant};

use rustix::io::Errno;
use wire::life::{Came, Counts, Deed, Handle, Kind, Listing};

use super::steps::{Run, Step};
use super::trouble::Trouble;
use super::{Module, errno_text};
use crate::life::{self, Grown, Lost, Point, growth};
use crate::project::Life;
use crate::verdict::{Class, Outcome, Phase};
use exercise::out_of_turn;

/// For how many milliseconds unloading is tried again: a module that has just been loaded may be in use by the
/// kernel itself, which looks at a new disk, say.
const PATIENCE: u32 = 2000;

/// From how many cycles on growth can be told from fluctuation.
const ENOUGH_CYCLES: u32 = 8;

/// How often the kernel is made to free what it frees later, before each look at what has grown.
const SETTLING: [usize; 3] = [1, 3, 6];

/// Whether the module is still what the next test needs.
type Fit = Result<bool, Trouble>;

impl Run<'_> {
    /// Looks at what there is before the module is loaded for the first time. Gives the time that it took.
    pub(super) fn look_before(&mut self, module: &Module) -> Result<Duration, Trouble> {
        let started = Instant::now();
        let life = &module.manifest.life;
        if life.left_out("leaks").is_none() {
            let came = self.exercise(module, "life/leaks", &[Deed::Look])?;
            self.before = listings(came).pop();
        }
        Ok(started.elapsed())
    }

    /// Carries out the tests that every module has. It is not loaded before, nor afterwards.
    pub(super) fn life(&mut self, module: &Module) -> Step {
        let started = Instant::now();
        self.counts("life");
        let (unloaded, loaded) = (Listing::default(), Listing::default());
        let mut living = Living { run: self, module, unloaded, loaded, heard: 0, unseen: Vec::new() };
        let lived = living.live();
        self.phase(Phase::Life, started.elapsed());
        lived
    }
}

/// A module on trial.
struct Living<'r, 'a> {
    run: &'r mut Run<'a>,
    module: &'r Module,
    /// What there is without it.
    unloaded: Listing,
    /// What there is with it.
    loaded: Listing,
    /// Where the log begins that belongs to the last deeds.
    heard: usize,
    /// What was not looked at, and why.
    unseen: Vec<&'static str>,
}

impl Living<'_, '_> {
    fn settings(&self) -> &Life {
        &self.module.manifest.life
    }

    /// Loading the module as the project has it loaded, with more parameters.
    fn load(&self, more: &str) -> Deed {
        let parameters = format!("{} {more}", self.module.manifest.module.parameters);
        Deed::Load { parameters: parameters.trim().to_owned() }
    }

    fn live(&mut self) -> Step {
        // What the module has said of itself counts in any case.
        self.said(0)?;
        if !self.settings().enabled {
            let reason = self.settings().left_out("").unwrap_or_default().to_owned();
            self.run.result("life", Outcome::Skipped, None, vec![reason]);
            return Ok(());
        }
        let first = self.first_life()?;
        if !(self.again()? && self.in_use()?) {
            return Ok(());
        }
        // What was asked for by whom is known only of a module that was looked at while it was loaded: if each
        // life leaves some memory, it has been told by now.
        if let Some((before, after)) = first {
            self.compare("it was unloaded", &before, &after)?;
        }
        if !self.cycles()? {
            return Ok(());
        }
        self.parameters()?;
        self.failing_init()?;
        if !self.is_left_out("leaks") {
            let unseen = std::mem::take(&mut self.unseen).into_iter().map(str::to_owned).collect();
            self.run.result("life/leaks", Outcome::Passed, None, unseen);
        }
        Ok(())
    }

    /// Whether a test is left out, which is told.
    fn is_left_out(&mut self, test: &str) -> bool {
        let reason = self.settings().left_out(test).map(str::to_owned);
        if let Some(reason) = &reason {
            self.run.result(&format!("life/{test}"), Outcome::Skipped, None, vec![reason.clone()]);
        }
        reason.is_some()
    }

    fn passed(&mut self, test: &str, time: Option<Duration>) {
        self.run.result(test, Outcome::Passed, time, Vec::new());
    }

    fn failed(&mut self, test: &str, details: Vec<String>) -> bool {
        self.run.result(test, Outcome::Failed, None, details);
        false
    }

    /// What the module left behind when it was loaded, tested and unloaded by the project's own tests. Gives what
    /// there was before that and after it, unless other modules have come meanwhile, with all that they bring.
    fn first_life(&mut self) -> Result<Option<(Listing, Listing)>, Trouble> {
        let came = self.act("life/leaks", &[Deed::Look])?;
        self.unloaded = listings(came).pop().unwrap_or_default();
        let Some(before) = self.run.before.take() else { return Ok(None) };
        if !life::other_modules(&before, &self.unloaded, &self.module.kernel_name()).is_empty() {
            self.unseen
                .push("what its first life left was not looked for: other modules were loaded meanwhile");
            return Ok(None);
        }
        let after = self.unloaded.clone();
        let mut but_memory = after.clone();
        but_memory.entries.retain(|entry| entry.kind != Kind::Vmalloc);
        self.compare("it was unloaded", &before, &but_memory)?;
        Ok(Some((before, after)))
    }

    /// The module is loaded again, and once more while it is loaded.
    fn again(&mut self) -> Fit {
        let test = "life/load-twice";
        let started = Instant::now();
        let leave_out = self.is_left_out("load-twice");
        let twice = if leave_out { Vec::new() } else { vec![self.load("")] };
        let deeds: Vec<Deed> = [self.load("")].into_iter().chain(twice).chain([Deed::Look]).collect();
        let came = self.act(test, &deeds)?;
        if let Some(Came::Failed { errno }) = came.first() {
            let what = format!("loading it a second time failed with {}", errno_text(*errno));
            return Ok(self.failed_with_words(test, what));
        }
        let refused = came.get(1).is_some_and(|came| refused_with(came, &[Errno::EXIST]));
        if !leave_out && !refused {
            let what = format!("loading it while it is loaded {}; expected EEXIST", outcome(&came[1]));
            return Ok(self.failed(test, vec![what]));
        }
        self.loaded = listings(came).pop().unwrap_or_default();
        if !leave_out {
            self.passed(test, Some(started.elapsed()));
        }
        Ok(true)
    }

    /// The module is to go while it is in use, and when it isn't any more. It is loaded before.
    fn in_use(&mut self) -> Fit {
        let test = "life/in-use";
        let started = Instant::now();
        let leave_out = self.is_left_out("in-use");
        let handles = if leave_out { Vec::new() } else { life::handles(&self.unloaded, &self.loaded) };
        let deeds = [
            Deed::Hold { handles: handles.clone() },
            Deed::Unload { patience: if handles.is_empty() { PATIENCE } else { 0 } },
            Deed::Release,
            Deed::Unload { patience: PATIENCE },
        ];
        let came = self.act_and_compare(test, &deeds, "it was loaded and unloaded again")?;
        let Some(Came::Held(held)) = came.first() else { return Err(out_of_turn(test)) };
        let handle = held.and_then(|place| handles.get(place as usize));
        let refused = refused_with(&came[1], &[Errno::AGAIN, Errno::BUSY]);
        let last = if handle.is_some() || refused { &came[3] } else { &came[1] };
        let problem = match handle {
            Some(handle) if !refused => {
                Some(format!("unloading it {} while {} was held", outcome(&came[1]), words(handle)))
            }
            _ if *last != Came::Done => Some(format!("unloading it {}", outcome(last))),
            _ => None,
        };
        if let Some(problem) = problem {
            return Ok(self.failed_with_words(test, problem));
        }
        match handle {
            _ if leave_out => {}
            Some(_) => self.passed(test, Some(started.elapsed())),
            None => {
                let why =
                    "nothing of it can be held: no file that it has, and no file system, counts as a use";
                self.run.result(test, Outcome::Skipped, None, vec![why.to_owned()]);
            }
        }
        Ok(true)
    }

    /// The module is loaded and unloaded again and again.
    fn cycles(&mut self) -> Fit {
        let test = "life/cycles";
        if self.is_left_out("cycles") {
            return Ok(true);
        }
        let started = Instant::now();
        let cycles = self.settings().cycles;
        let points = if self.settings().left_out("leaks").is_some() {
            Vec::new()
        } else if cycles < ENOUGH_CYCLES {
            self.unseen.push("what grows was not looked for: that takes 8 cycles");
            Vec::new()
        } else {
            vec![cycles / 4, cycles * 5 / 8, cycles]
        };
        let mut deeds = Vec::new();
        for cycle in 1..=cycles {
            deeds.extend([self.load(""), Deed::Unload { patience: PATIENCE }]);
            if points.contains(&cycle) {
                deeds.push(Deed::Count);
            }
        }
        let came = self.act_and_compare(test, &deeds, &format!("{cycles} cycles"))?;
        if let Some(problem) = first_failure(&deeds, &came) {
            return Ok(self.failed_with_words(test, problem));
        }
        self.passed(test, Some(started.elapsed()));
        let counts = counts(&came);
        if counts.len() < points.len() {
            self.unseen
                .push("what grows was not looked for: the kernel does not show how much it has in use");
        }
        let counted = points.into_iter().zip(counts);
        let points: Vec<Point> = counted.map(|(lives, counts)| Point { lives, counts }).collect();
        let suspects = growth(&points);
        if !suspects.is_empty() {
            let cycle = [self.load(""), Deed::Unload { patience: PATIENCE }];
            self.confirm_growth(test, &suspects, &cycle, cycles, &format!("{cycles} cycles"))?;
        }
        Ok(true)
    }

    /// Does `deeds` so often again, with all that the kernel frees later freed before and after, and ends in a leak
    /// if a suspect has grown even so.
    fn confirm_growth(
        &mut self,
        test: &str,
        suspects: &[Grown],
        deeds: &[Deed],
        times: u32,
        when: &str,
    ) -> Step {
        let repeated = (0..times).flat_map(|_| deeds.iter().cloned());
        let counted = |patience: usize| std::iter::repeat_n(Deed::Settle, patience).chain([Deed::Count]);
        let all = counted(1).chain(repeated).chain(SETTLING.into_iter().flat_map(counted));
        let came = self.act(test, &all.collect::<Vec<Deed>>())?;
        let mut counts = counts(&came).into_iter();
        let Some(first) = counts.next() else { return Ok(()) };
        let first = Point { lives: 0, counts: first };
        let mut grown = suspects.to_vec();
        // What a busy kernel has not freed yet is gone when it is looked at again; what is lost is not.
        for counts in counts {
            let now = growth(&[first.clone(), Point { lives: times, counts }]);
            grown = now.into_iter().filter(|now| grown.iter().any(|known| known.name == now.name)).collect();
        }
        let left: Vec<String> = grown.iter().map(Grown::words).collect();
        if left.is_empty() { Ok(()) } else { Err(self.leak(when, &left)) }
    }

    fn compare(&mut self, when: &str, before: &Listing, after: &Listing) -> Step {
        let name = self.module.kernel_name();
        // What there is of a module that could not be unloaded is no surprise, and that it couldn't is told.
        let is_loaded = after.entries.iter().any(|entry| entry.kind == Kind::Module && entry.name == name);
        if self.settings().left_out("leaks").is_some() || is_loaded {
            return Ok(());
        }
        if before.cut || after.cut {
            self.unseen.push("what is left was not looked for: the kernel has more than is listed");
            self.unseen.dedup();
            return Ok(());
        }
        let left = life::remains(before, &self.loaded, after);
        if left.is_empty() { Ok(()) } else { Err(self.leak(when, &left)) }
    }

    /// Whether the module has said, since so many records of the log, that it lost something.
    fn said(&mut self, since: usize) -> Step {
        let name = self.module.kernel_name();
        let log = self.run.session().log()[since..].iter().map(|record| record.text.as_str());
        let mut words: Vec<String> = Lost::find(&name, log).iter().map(Lost::words).collect();
        words.sort();
        words.dedup();
        if words.is_empty() { Ok(()) } else { Err(self.leak("it was unloaded, as it says itself", &words)) }
    }

    fn leak(&mut self, when: &str, left: &[String]) -> Trouble {
        // What is left is said once, with the verdict.
        self.failed("life/leaks", Vec::new());
        let reason = format!("{} has left something behind after {when}", self.module.name);
        Trouble::new(Class::Leak, reason).because(left.iter().map(|line| format!("left: {line}")))
    }
}

/// The first load or unload that was not done: the cycle, and what came of it.
fn first_failure(deeds: &[Deed], came: &[Came]) -> Option<String> {
    let mut cycle = 0;
    for (deed, came) in deeds.iter().zip(came) {
        let what = match deed {
            Deed::Load { .. } => {
                cycle += 1;
                "loading"
            }
            Deed::Unload { .. } => "unloading",
            _ => continue,
        };
        if *came != Came::Done {
            return Some(format!("cycle {cycle}: {what} it {}", outcome(came)));
        }
    }
    None
}

fn refused_with(came: &Came, errors: &[Errno]) -> bool {
    matches!(came, Came::Failed { errno } if errors.iter().any(|error| error.raw_os_error() == *errno))
}

/// What came of loading or unloading, after its name.
fn outcome(came: &Came) -> String {
    match came {
        Came::Failed { errno } => format!("failed with {}", errno_text(*errno)),
        _ => "succeeded".to_owned(),
    }
}

fn words(handle: &Handle) -> String {
    match handle {
        Handle::FileSystem(name) => format!("the file system {name}"),
        Handle::File(path) => path.clone(),
    }
}

fn listings(came: Vec<Came>) -> Vec<Listing> {
    let listing = |came| if let Came::Listed(listing) = came { Some(listing) } else { None };
    came.into_iter().filter_map(listing).collect()
}

fn counts(came: &[Came]) -> Vec<Counts> {
    let counts = |came: &Came| if let Came::Counted(counts) = came { Some(counts.clone()) } else { None };
    came.iter().filter_map(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_cycle() {
        let load = Deed::Load { parameters: String::new() };
        let unload = Deed::Unload { patience: 0 };
        let deeds = [load.clone(), unload.clone(), Deed::Count, load, unload];
        let mut came = vec![Came::Done, Came::Done, Came::Counted(Counts::default()), Came::Done, Came::Done];
        assert_eq!(first_failure(&deeds, &came), None);
        came[4] = Came::Failed { errno: 11 };
        let text = "cycle 2: unloading it failed with errno 11 (Resource temporarily unavailable)";
        assert_eq!(first_failure(&deeds, &came).unwrap(), text);
    }
}
