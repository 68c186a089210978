// SPDX-License-Identifier: GPL-2.0-only
use std::time::Instant;

use wire::life::{Came, Deed};

use super::super::steps::Step;
use super::super::trouble::Trouble;
use super::{ENOUGH_CYCLES, Living, PATIENCE, counts, outcome};
use crate::life::{Point, growth};
use crate::verdict::Outcome;

/// How many allocations are failed with the first request. Each that follows fails twice as many: most modules have
/// few, and what is tried beyond the last costs a load each.
const AT_FIRST: u64 = 2;

/// The most allocations that are failed.
const MOST: u64 = 256;

/// The most failing inits that are repeated in search of growth.
const MOST_REPEATED: usize = 24;

/// What became of having init's allocations fail in one way.
pub(super) enum Tried {
    /// They could not be, and why.
    Not(String),
    /// What is wrong.
    Badly(Vec<String>),
    /// All is well.
    Done {
        /// Loads that fail.
        failing: Vec<Deed>,
        /// What was failed.
        words: String,
    },
}

impl Living<'_, '_> {
    /// The module's init has its allocations fail, one after the other: by the module's own parameter, and by the
    /// kernel where that can.
    pub(super) fn failing_init(&mut self) -> Step {
        let test = "life/failing-init";
        if self.is_left_out("failing-init") {
            return Ok(());
        }
        let started = Instant::now();
        let from_inside = self.by_parameter(test)?;
        let from_outside = self.by_failslab(test)?;
        let has_failslab = from_outside.is_some();
        let (mut told, mut reasons, mut problems) = (Vec::new(), Vec::new(), Vec::new());
        for tried in [Some(from_inside), from_outside].into_iter().flatten() {
            match tried {
                Tried::Not(reason) => reasons.push(reason),
                Tried::Badly(found) => problems.extend(found),
                Tried::Done { failing, words } => {
                    self.repeat(test, &failing)?;
                    told.push(words);
                }
            }
        }
        if !problems.is_empty() {
            self.failed(test, problems);
        } else if told.is_empty() {
            if !has_failslab {
                reasons.push("the kernel has no failslab to do it from outside".to_owned());
            }
            self.run.result(test, Outcome::Skipped, None, vec![reasons.join(", and ")]);
        } else {
            if !has_failslab {
                told = vec![format!("{}; the kernel has no failslab to fail others", told.join("; "))];
            }
            self.run.result(test, Outcome::Passed, Some(started.elapsed()), told);
        }
        Ok(())
    }

    /// The module has a parameter that counts down with each allocation, and makes the one fail that it gets to 0
    /// with. So a load that succeeds while the parameter is more than 0 had no such allocation.
    fn by_parameter(&mut self, test: &str) -> Result<Tried, Trouble> {
        let Some(parameter) = self.settings().fail_allocation.clone() else {
            let why = "no parameter that has an allocation fail is named (`fail-allocation` under [life])";
            return Ok(Tried::Not(why.to_owned()));
        };
        if self.its_parameters()?.iter().all(|known| known.name != parameter) {
            return Ok(Tried::Not(format!("it was built without its parameter {parameter}")));
        }
        let mut failing = Vec::new();
        let mut borne = 0;
        let mut problems = Vec::new();
        let mut numbers = 1..1 + AT_FIRST;
        'all: while numbers.start < MOST {
            let deeds: Vec<Deed> =
                numbers.clone().flat_map(|number| self.failing(&parameter, number)).collect();
            let came = self.act_and_compare(test, &deeds, "its init failed for want of memory")?;
            for (number, came) in numbers.clone().zip(came.chunks(3)) {
                match judge(number, came) {
                    Failed::NotReached => break 'all,
                    Failed::Init => failing.push(number),
                    Failed::Borne => borne += 1,
                    Failed::Badly(problem) => problems.push(problem),
                }
            }
            numbers = numbers.end..numbers.end + 2 * (numbers.end - numbers.start);
        }
        if !problems.is_empty() {
            return Ok(Tried::Badly(problems));
        }
        let all = failing.len() + borne;
        let words = format!("{all} of its allocations failed in turn, {borne} of which it did without");
        let failing = failing.iter().map(|number| self.failing(&parameter, *number)[0].clone()).collect();
        Ok(Tried::Done { failing, words })
    }

    fn failing(&self, parameter: &str, number: u64) -> [Deed; 3] {
        let name = parameter.to_owned();
        let load = self.load(&format!("{parameter}={number}"));
        [load, Deed::Parameter { name }, Deed::Unload { patience: PATIENCE }]
    }

    /// Has init fail again and again, and looks whether something grows.
    fn repeat(&mut self, test: &str, failing: &[Deed]) -> Step {
        if failing.is_empty() || self.settings().left_out("leaks").is_some() {
            return Ok(());
        }
        let round = &failing[..failing.len().min(MOST_REPEATED)];
        let rounds = |times: u32| (0..times).flat_map(|_| round.iter().cloned());
        let deeds: Vec<Deed> =
            rounds(1).chain([Deed::Count]).chain(rounds(ENOUGH_CYCLES)).chain([Deed::Count]).collect();
        let came = self.act(test, &deeds)?;
        let points = [0, ENOUGH_CYCLES].into_iter().zip(counts(&came));
        let points: Vec<Point> = points.map(|(lives, counts)| Point { lives, counts }).collect();
        let suspects = growth(&points);
        if suspects.is_empty() {
            return Ok(());
        }
        let when = "its init failed again and again for want of memory";
        self.confirm_growth(test, &suspects, round, ENOUGH_CYCLES, when)
    }
}

/// What an allocation that was to fail has led to.
#[derive(Debug, PartialEq, Eq)]
enum Failed {
    /// Nothing: there is no such allocation.
    NotReached,
    /// Init failed, as it should.
    Init,
    /// Init did without it.
    Borne,
    /// Something that is wrong.
    Badly(String),
}

/// Judges a load, the parameter after it, and an unload.
fn judge(number: u64, came: &[Came]) -> Failed {
    let [loaded, left, unloaded] = came else { return Failed::NotReached };
    match (loaded, left, unloaded) {
        (Came::Failed { .. }, _, _) => Failed::Init,
        (_, Came::Text(left), Came::Done) if left.trim() == "0" => Failed::Borne,
        (_, _, Came::Done) => Failed::NotReached,
        _ => Failed::Badly(format!(
            "loaded with allocation {number} failing, unloading it {}",
            outcome(unloaded)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_tells_whether_the_allocation_was_reached() {
        let text = |left: &str| Came::Text(left.to_owned());
        let no_memory = Came::Failed { errno: 12 };
        let not_there = Came::Failed { errno: 2 };
        assert_eq!(judge(1, &[no_memory, not_there.clone(), not_there.clone()]), Failed::Init);
        assert_eq!(judge(1, &[Came::Done, text("0"), Came::Done]), Failed::Borne);
        assert_eq!(judge(1, &[Came::Done, text("3"), Came::Done]), Failed::NotReached);
        assert_eq!(judge(1, &[Came::Done, not_there, Came::Done]), Failed::NotReached);
        let badly = judge(4, &[Came::Done, text("0"), Came::Failed { errno: 11 }]);
        let text = "loaded with allocation 4 failing, unloading it failed with errno 11 (Resource temporarily unavailable)";
        assert_eq!(badly, Failed::Badly(text.into()));
    }
}
