// SPDX-License-Identifier: GPL-2.0-only
//! Which tests are carried out, in which order, how often, and after which others. Pure but for a lock: several
//! machines take their tests from one plan.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::project::{Check, Manifest, Test};
use crate::verdict::{Outcome, TestResult};

/// What the user wants of the tests.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Only tests whose name has one of these texts in it; all where there is none.
    pub filters: Vec<String>,
    /// How often each is carried out.
    pub repeat: u32,
    /// How often one that failed is tried again, on a fresh machine.
    pub retries: u32,
    /// How many machines there are at once.
    pub jobs: usize,
    /// Whether the first failure is the end.
    pub fail_fast: bool,
    /// Whether each test gets a machine of its own.
    pub isolated: bool,
    /// Whether the tests are left out that every module has.
    pub no_life: bool,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            filters: Vec::new(),
            repeat: 1,
            retries: 0,
            jobs: 1,
            fail_fast: false,
            isolated: false,
            no_life: false,
        }
    }
}

impl Selection {
    /// Whether a test of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|text| name.contains(text.as_str()))
    }

    /// Whether a test is wanted, or may have parts that are.
    fn may_want(&self, test: &Test) -> bool {
        let has_part =
            |text: &String| text.strip_prefix(&test.name).is_some_and(|part| part.starts_with('/'));
        match test.check {
            // What they are is known only to the machine.
            Check::Ktests(_) => true,
            Check::Ktap(_) => self.wants(&test.name) || self.filters.iter().any(has_part),
            Check::Run(_) => self.wants(&test.name),
        }
    }
}

/// Something to be carried out in one go.
#[derive(Debug, Clone)]
pub(super) struct Unit {
    pub(super) test: Arc<Test>,
    /// Which of the tests of its file, where they are run one by one.
    pub(super) part: Option<String>,
    /// Whether it has to have a machine of its own.
    pub(super) isolated: bool,
    /// Which of the repetitions, from 1.
    round: u32,
    /// Which try, from 1.
    attempt: u32,
    /// What failed when it was tried before.
    failed: Vec<TestResult>,
    /// Whether somebody wants the disks that it leaves.
    pub(super) leaves_disks: bool,
}

impl Unit {
    /// Its name, or what those of its parts begin with.
    pub(super) fn name(&self) -> String {
        match &self.part {
            Some(part) => format!("{}/{part}", self.test.name),
            None => self.test.name.clone(),
        }
    }

    /// What results are called that have this name: repetitions are numbered.
    fn called(&self, name: String) -> String {
        if self.round > 1 { format!("{name} #{}", self.round) } else { name }
    }

    /// What the disks are known by that it leaves.
    pub(super) fn disks(&self) -> String {
        format!("{}-{}", self.test.name, self.round)
    }

    /// What the disks are known by that it gets.
    pub(super) fn gets_disks(&self) -> Option<String> {
        self.test.disks_from.as_ref().map(|from| format!("{from}-{}", self.round))
    }
}

/// The tests that are still to be carried out. Shared by all who do.
#[derive(Debug)]
pub(super) struct Plan {
    selection: Selection,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<Unit>,
    /// How many were taken and not settled.
    under_way: usize,
    /// Whether each of those whose disks are wanted has passed, by the disks' name.
    ended: BTreeMap<String, bool>,
    /// Those whose results are known without a machine.
    known: Vec<TestResult>,
    /// How many of the tests that were wanted got a result.
    results: usize,
    skipped: usize,
    /// How many were not begun when the end came.
    dropped: usize,
    stopped: bool,
}

/// What becomes of a unit that was carried out.
#[derive(Debug)]
pub(super) enum Settled {
    /// These are its results.
    Results(Vec<TestResult>),
    /// It is tried again.
    Again,
}

impl Plan {
    pub(super) fn new(manifest: &Manifest, selection: &Selection) -> Self {
        let tests: Vec<Arc<Test>> = manifest.tests.iter().cloned().map(Arc::new).collect();
        let mut wanted: Vec<bool> = tests.iter().map(|test| selection.may_want(test)).collect();
        let mut leaves = vec![false; tests.len()];
        // What is wanted of disks is further up.
        for index in (0..tests.len()).rev().filter(|&index| wanted[index]).collect::<Vec<_>>() {
            let mut from = tests[index].disks_from.as_ref();
            while let Some(source) = from.and_then(|name| tests.iter().position(|test| test.name == *name)) {
                (wanted[source], leaves[source]) = (true, true);
                from = tests[source].disks_from.as_ref();
            }
        }
        let has_disks = !manifest.machine.disks.is_empty();
        let mut pending = VecDeque::new();
        for round in 1..=selection.repeat {
            for index in (0..tests.len()).filter(|&index| wanted[index]) {
                let test = Arc::clone(&tests[index]);
                let alone = test.isolated.unwrap_or(has_disks && matches!(test.check, Check::Run(_)));
                let isolated = selection.isolated
                    || alone
                    || leaves[index]
                    || test.disks_from.is_some()
                    || test.kill_at.is_some();
                let leaves_disks = leaves[index];
                pending.push_back(Unit {
                    test,
                    part: None,
                    isolated,
                    round,
                    attempt: 1,
                    failed: Vec::new(),
                    leaves_disks,
                });
            }
        }
        let state = State { pending, ..State::default() };
        Self { selection: selection.clone(), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// What is next; waits for what something else has to be known for. Nothing means that there is no more.
    pub(super) fn next(&self) -> Option<Unit> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            state.skip_what_lacks_disks();
            let ready = state.pending.iter().position(|unit| {
                unit.gets_disks().is_none_or(|disks| state.ended.get(&disks).copied().unwrap_or(false))
            });
            if let Some(unit) = ready.and_then(|index| state.pending.remove(index)) {
                state.under_way += 1;
                return Some(unit);
            }
            // What is under way may have more to do in its wake.
            if state.under_way == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The tests of a unit's file, which are now known: those that are wanted take the unit's place.
    pub(super) fn expand(&self, unit: &Unit, parts: &[String]) {
        let mut state = self.lock();
        let parts = parts.iter().map(|part| Unit { part: Some(part.clone()), ..unit.clone() });
        let wanted: Vec<Unit> = parts.filter(|unit| self.selection.wants(&unit.name())).collect();
        for unit in wanted.into_iter().rev() {
            state.pending.push_front(unit);
        }
        state.under_way -= 1;
        self.changed.notify_all();
    }

    /// Decides what becomes of a unit with these results, which are those of one try. Those that nobody asked for
    /// are left out.
    pub(super) fn settle(&self, mut unit: Unit, mut results: Vec<TestResult>) -> Settled {
        let mut state = self.lock();
        state.under_way -= 1;
        self.changed.notify_all();
        let prefix = format!("{}/", unit.test.name);
        results.retain(|result| {
            // A report that is not complete is told under the name of the whole.
            !result.name.starts_with(&prefix) || self.selection.wants(&result.name)
        });
        let is_failure = |result: &&TestResult| result.outcome == Outcome::Failed;
        let failed: Vec<TestResult> = results.iter().filter(is_failure).cloned().collect();
        let retries = unit.test.retries.unwrap_or(self.selection.retries);
        if !failed.is_empty() && unit.attempt <= retries && !state.stopped {
            unit.failed = failed;
            unit.attempt += 1;
            unit.isolated = true;
            state.pending.push_front(unit);
            return Settled::Again;
        }
        if unit.leaves_disks {
            state.ended.insert(unit.disks(), failed.is_empty());
        }
        for result in &mut results {
            result.attempts = unit.attempt;
            if let Some(before) = unit.failed.iter_mut().find(|before| before.name == result.name)
                && result.outcome == Outcome::Passed
            {
                result.outcome = Outcome::Flaky;
                result.details = std::mem::take(&mut before.details);
            }
            result.name = unit.called(std::mem::take(&mut result.name));
        }
        state.count(&results);
        if self.selection.fail_fast && !failed.is_empty() {
            state.stop();
        }
        Settled::Results(results)
    }

    /// Nothing more is begun. A unit that was `taken` and not carried out counts as not begun.
    pub(super) fn stop(&self, taken: bool) {
        let mut state = self.lock();
        if taken {
            state.under_way -= 1;
            state.dropped += 1;
        }
        state.stop();
        self.changed.notify_all();
    }

    /// Whether nothing more is begun.
    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Results that were known without a machine, since this was asked last.
    pub(super) fn known(&self) -> Vec<TestResult> {
        std::mem::take(&mut self.lock().known)
    }

    /// Whether tests were wanted that are there, and all were skipped.
    pub(super) fn all_skipped(&self) -> bool {
        let state = self.lock();
        state.results > 0 && state.skipped == state.results
    }

    /// What is to be said of the tests as a whole, if something is: `Err` where that is a failure.
    pub(super) fn remark(&self) -> Option<Result<String, String>> {
        let state = self.lock();
        if state.dropped > 0 {
            let tests =
                if state.dropped == 1 { "1 test was" } else { &format!("{} tests were", state.dropped) };
            return Some(Ok(format!("{tests} not run")));
        }
        let filters: Vec<String> = self.selection.filters.iter().map(|text| format!("`{text}`")).collect();
        (state.results == 0 && !filters.is_empty()).then(|| {
            Err(format!("no test has {} in its name; `vexlab test --list` lists them", filters.join(" or ")))
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stop(&mut self) {
        self.stopped = true;
        self.dropped += self.pending.len();
        self.pending.clear();
    }

    fn count(&mut self, results: &[TestResult]) {
        self.results += results.len();
        self.skipped += results.iter().filter(|result| result.outcome == Outcome::Skipped).count();
    }

    /// Tests that get the disks of one that failed have nothing to look at.
    fn skip_what_lacks_disks(&mut self) {
        let lacks = |state: &Self| {
            let failed =
                |unit: &Unit| unit.gets_disks().is_some_and(|disks| state.ended.get(&disks) == Some(&false));
            state.pending.iter().position(failed)
        };
        while let Some(unit) = lacks(self).and_then(|index| self.pending.remove(index)) {
            let from = unit.test.disks_from.as_deref().unwrap_or_default();
            let result = TestResult {
                name: unit.called(unit.name()),
                outcome: Outcome::Skipped,
                time: None,
                attempts: 0,
                details: vec![format!("its disks are those of `{from}`, which failed")],
            };
            self.count(std::slice::from_ref(&result));
            self.known.push(result);
            if unit.leaves_disks {
                self.ended.insert(unit.disks(), false);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        kernels = ["x"]
        module.name = "m"
        machine.disks = ["1M"]
        [[test]]
        name = "kernel"
        ktests = "/t"
        [[test]]
        name = "whole"
        ktap = "/k"
        [[test]]
        name = "writes"
        run = ["w"]
        [[test]]
        name = "reads"
        run = ["r"]
        disks-from = "writes"
    "#;

    fn plan(selection: &Selection) -> Plan {
        Plan::new(&Manifest::parse(MANIFEST).unwrap(), selection)
    }

    fn of(filters: &[&str]) -> Selection {
        let filters = filters.iter().map(|&text| text.to_owned()).collect();
        Selection { filters, ..Selection::default() }
    }

    fn result(name: &str, outcome: Outcome) -> TestResult {
        TestResult { name: name.into(), outcome, time: None, attempts: 1, details: vec!["why".into()] }
    }

    /// Carries a plan out in which each test ends as `outcome` says of its name and try. Gives the results.
    fn carried_out(plan: &Plan, outcome: impl Fn(&str, u32) -> Outcome) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(unit) = plan.next() {
            let name = unit.name();
            match (&unit.test.check, &unit.part) {
                (Check::Ktests(_), None) => plan.expand(&unit, &["a".into(), "b".into()]),
                _ => {
                    let results = vec![result(&name, outcome(&name, unit.attempt))];
                    if let Settled::Results(results) = plan.settle(unit, results) {
                        told.extend(results);
                    }
                }
            }
        }
        told.extend(plan.known());
        let told = told.iter().map(|r| format!("{} {:?} {}", r.name, r.outcome, r.attempts).to_lowercase());
        told.collect()
    }

    #[test]
    fn everything_in_the_files_order() {
        let all = carried_out(&plan(&of(&[])), |_, _| Outcome::Passed);
        assert_eq!(
            all,
            ["kernel/a passed 1", "kernel/b passed 1", "whole passed 1", "writes passed 1", "reads passed 1"]
        );
    }

    #[test]
    fn a_filter_is_a_text_in_a_name_and_brings_what_a_test_needs() {
        let passed = |filters: &[&str]| carried_out(&plan(&of(filters)), |_, _| Outcome::Passed);
        assert_eq!(passed(&["kernel/b"]), ["kernel/b passed 1"]);
        assert_eq!(passed(&["reads"]), ["writes passed 1", "reads passed 1"]);
        assert_eq!(passed(&["whole/x", "writes"]), ["whole passed 1", "writes passed 1"]);
    }

    #[test]
    fn a_filter_that_matches_nothing_is_a_failure() {
        let plan = plan(&of(&["frob", "x"]));
        assert!(carried_out(&plan, |_, _| Outcome::Passed).is_empty());
        let remark = plan.remark().unwrap().unwrap_err();
        insta::assert_snapshot!(remark, @"no test has `frob` or `x` in its name; `vexlab test --list` lists them");
    }

    #[test]
    fn disks_of_a_test_that_failed_are_of_no_use() {
        let told = carried_out(&plan(&of(&["writes", "reads"])), |name, _| match name {
            "writes" => Outcome::Failed,
            _ => Outcome::Passed,
        });
        assert_eq!(told, ["writes failed 1", "reads skipped 0"]);
    }

    #[test]
    fn what_failed_and_passes_then_is_flaky_and_what_always_fails_has_failed() {
        let selection = Selection { retries: 2, ..of(&["kernel"]) };
        let told = carried_out(&plan(&selection), |name, attempt| match name {
            "kernel/a" if attempt == 2 => Outcome::Passed,
            _ => Outcome::Failed,
        });
        assert_eq!(told, ["kernel/a flaky 2", "kernel/b failed 3"]);
    }

    #[test]
    fn the_first_failure_can_be_the_end() {
        let selection = Selection { fail_fast: true, ..of(&[]) };
        let plan = plan(&selection);
        let told = carried_out(&plan, |name, _| match name {
            "kernel/b" => Outcome::Failed,
            _ => Outcome::Passed,
        });
        assert_eq!(told, ["kernel/a passed 1", "kernel/b failed 1"]);
        assert_eq!(plan.remark(), Some(Ok("3 tests were not run".into())));
    }

    #[test]
    fn repetitions_have_numbers() {
        let selection = Selection { repeat: 2, ..of(&["kernel/a"]) };
        let told = carried_out(&plan(&selection), |_, _| Outcome::Passed);
        assert_eq!(told, ["kernel/a passed 1", "kernel/a #2 passed 1"]);
    }

    #[test]
    fn all_skipped_is_known() {
        let plan = plan(&of(&["kernel"]));
        carried_out(&plan, |_, _| Outcome::Skipped);
        assert!(plan.all_skipped());
    }
}
