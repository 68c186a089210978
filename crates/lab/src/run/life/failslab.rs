// SPDX-License-Identifier: GPL-2.0-only
//! What becomes of a module whose init is refused memory by the kernel itself.
//!
//! The kernel counts all allocations of whoever loads a module, its own for the loading among them, and where it fails one it
//! says from where it was asked. So the last one is failed first, then the one before it, up to where init has not begun.

use wire::life::{Came, Deed, Injected};

use super::failing::Tried;
use super::{Living, PATIENCE, outcome};
use crate::run::trouble::Trouble;
use crate::splat::{Frame, frame};

/// More allocations than loading a module takes.
const BEYOND: u32 = 1 << 30;

/// How many allocations more or less than the last time loading a module may take.
const MARGIN: u32 = 8;

/// How many have to be of before init, one after the other, to be believed.
const ENOUGH_BEFORE: u32 = 4;

/// The most of init that are failed.
const MOST: usize = 256;

/// The most of before and after init that are.
const MOST_AROUND: u32 = 128;

impl Living<'_, '_> {
    /// Has failslab fail the allocations of the module's init one after the other, from the last on. Nothing where the
    /// kernel has none.
    pub(super) fn by_failslab(&mut self, test: &str) -> Result<Option<Tried>, Trouble> {
        let deeds = [Deed::Failslab, self.load_failing(BEYOND), Deed::Unload { patience: PATIENCE }];
        let came = self.act(test, &deeds)?;
        let [Came::Done, Came::Injected(whole), _] = &came[..] else {
            return Ok(None);
        };
        let mut search = Search::from((BEYOND - whole.left).saturating_add(MARGIN));
        while let Some(number) = search.next() {
            let load = self.load_failing(number);
            let came = self.do_and_listen(test, &[load, Deed::Unload { patience: PATIENCE }, Deed::Look])?;
            let place = search.found(number, &came);
            let whole = self.is_as_before(came.last(), "its init failed for want of memory");
            whole.and_then(|()| self.complaint(test)).map_err(|trouble| trouble.because(place))?;
        }
        if let Some(problem) = search.problem {
            return Ok(Some(Tried::Badly(vec![problem])));
        }
        let Some(words) = search.words() else {
            return Ok(Some(Tried::Not("its init allocates nothing that failslab could fail".to_owned())));
        };
        // With one allocation more or less than the last time it may be loaded after all.
        let failing = search
            .failing
            .iter()
            .flat_map(|number| [self.load_failing(*number), Deed::Unload { patience: PATIENCE }])
            .collect();
        Ok(Some(Tried::Done { failing, words }))
    }

    fn load_failing(&self, allocation: u32) -> Deed {
        let parameters = self.module.manifest.module.parameters.clone();
        Deed::LoadFailing { parameters, allocation }
    }
}

/// When an allocation is made, as its trace shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// While the kernel makes the module ready.
    Before,
    /// By the module's init.
    Init,
    /// When init has been.
    After,
    /// The kernel did not say: one that may be refused in silence.
    Unsaid,
    /// Loading took fewer.
    Beyond,
}

/// From the last allocation to the first of init's.
#[derive(Debug)]
struct Search {
    /// The next number to be failed.
    next: u32,
    /// How many there were before init since there was one of another time.
    before: u32,
    around: u32,
    /// Those with which init, or what it is for, failed.
    failing: Vec<u32>,
    /// How many of init's there were in all.
    of_init: usize,
    /// Of those that the kernel did not say: whether loading failed. They are init's if one of init's is before them.
    unsaid: Vec<(u32, bool)>,
    /// What is wrong.
    problem: Option<String>,
}

impl Search {
    fn from(last: u32) -> Self {
        Self {
            next: last,
            before: 0,
            around: 0,
            failing: Vec::new(),
            of_init: 0,
            unsaid: Vec::new(),
            problem: None,
        }
    }

    /// The number to fail next; nothing when all have been.
    fn next(&mut self) -> Option<u32> {
        let is_over = self.next == 0
            || self.before >= ENOUGH_BEFORE
            || self.around >= MOST_AROUND
            || self.of_init >= MOST
            || self.problem.is_some();
        let number = self.next;
        self.next = number.saturating_sub(1);
        (!is_over).then_some(number)
    }

    /// Takes what came of a load and an unload. Gives which allocation it was that failed, in words.
    fn found(&mut self, number: u32, came: &[Came]) -> Option<String> {
        let [Came::Injected(injected), unloaded, ..] = came else { return None };
        if injected.errno.is_none() && *unloaded != Came::Done {
            self.problem = Some(format!(
                "loaded with allocation {number} of its loading failing, unloading it {}",
                outcome(unloaded)
            ));
        }
        let has_failed = injected.errno.is_some();
        match moment(injected) {
            Moment::Init => {
                // What the kernel did not say between two of init's is init's as well.
                let unsaid = std::mem::take(&mut self.unsaid);
                if self.of_init > 0 {
                    unsaid.into_iter().for_each(|(number, has_failed)| self.count(number, has_failed));
                }
                self.count(number, has_failed);
                self.before = 0;
            }
            Moment::Before => (self.before, self.around) = (self.before + 1, self.around + 1),
            Moment::After => self.around += 1,
            Moment::Unsaid => {
                self.around += 1;
                self.unsaid.push((number, has_failed));
            }
            Moment::Beyond => return None,
        }
        let asked = place(injected).map(|place| format!(", asked for {place}")).unwrap_or_default();
        Some(format!("with allocation {number} of its loading failing{asked}"))
    }

    fn count(&mut self, number: u32, has_failed: bool) {
        self.of_init += 1;
        if has_failed {
            self.failing.push(number);
        }
    }

    /// What it came to; nothing where init allocates nothing.
    fn words(&self) -> Option<String> {
        let cut = match self.of_init >= MOST {
            true => format!(": no more than the last {MOST} are"),
            false => String::new(),
        };
        let borne = self.of_init - self.failing.len();
        (self.of_init > 0).then(|| {
            format!(
                "{} allocations of its init failed in turn by failslab, {borne} of which it did without{cut}",
                self.of_init
            )
        })
    }
}

/// The functions of a trace.
fn frames(injected: &Injected) -> Vec<Frame> {
    injected.trace.iter().filter_map(|line| frame(line)).filter(|frame| frame.reliable).collect()
}

/// When the allocation was made that has failed.
///
/// Source: `do_init_module` in `kernel/module/main.c`, `do_one_initcall` in `init/main.c` of Linux.
fn moment(injected: &Injected) -> Moment {
    if injected.left > 0 {
        return Moment::Beyond;
    }
    let frames = frames(injected);
    let has = |name: &str| frames.iter().any(|frame| frame.symbol == name);
    if frames.is_empty() {
        Moment::Unsaid
    } else if has("do_one_initcall") {
        Moment::Init
    } else if has("do_init_module") && injected.errno.is_none() {
        Moment::After
    } else {
        Moment::Before
    }
}

/// Who asked for it: the module's function, and the kernel's that this called.
fn place(injected: &Injected) -> Option<String> {
    let frames = frames(injected);
    let (at, own) = frames.iter().enumerate().find(|(_, frame)| frame.module.is_some())?;
    let called = at.checked_sub(1).and_then(|at| frames.get(at)).map(|frame| format!("{} ", frame.symbol));
    let module = own.module.as_deref().unwrap_or_default();
    let called = called.map(|called| format!("by {called}")).unwrap_or_default();
    Some(format!("{called}in {}+{:#x}/{:#x} [{module}]", own.symbol, own.offset, own.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A load with this allocation failing, and the unload after it.
    fn came(errno: Option<i32>, trace: &[&str]) -> [Came; 2] {
        let trace = trace.iter().map(|line| format!(" {line}")).collect();
        let unloaded = if errno.is_some() { Came::Failed { errno: 2 } } else { Came::Done };
        [Came::Injected(Injected { errno, left: 0, trace }), unloaded]
    }

    const INIT: &[&str] = &[
        "dump_stack_lvl+0x1/0x2",
        "should_failslab+0x1/0x2",
        "__kmem_cache_alloc_node+0x1/0x2",
        "kmalloc_trace+0x1/0x2",
        "m_init+0x5/0x10 [m]",
        "do_one_initcall+0x1/0x2",
        "do_init_module+0x1/0x2",
        "load_module+0x1/0x2",
    ];
    const EVENT: &[&str] = &["kobject_uevent_env+0x1/0x2", "do_init_module+0x1/0x2", "load_module+0x1/0x2"];
    const LAYOUT: &[&str] = &["vmalloc+0x1/0x2", "load_module+0x1/0x2"];

    #[test]
    fn a_trace_shows_whose_allocation_it_was() {
        let of = |errno, trace: &[&str]| match &came(errno, trace)[0] {
            Came::Injected(injected) => moment(injected),
            _ => unreachable!(),
        };
        assert_eq!(of(Some(12), INIT), Moment::Init);
        assert_eq!(of(None, INIT), Moment::Init);
        assert_eq!(of(None, EVENT), Moment::After);
        assert_eq!(of(Some(12), &["do_init_module+0x1/0x2"]), Moment::Before, "what frees init's code later");
        assert_eq!(of(Some(12), LAYOUT), Moment::Before);
        assert_eq!(of(None, LAYOUT), Moment::Before, "what loading can do without");
        assert_eq!(of(None, &[]), Moment::Unsaid);
        assert_eq!(of(None, &["? do_one_initcall+0x1/0x2"]), Moment::Unsaid, "what is left on the stack");
        assert_eq!(moment(&Injected { left: 7, ..Injected::default() }), Moment::Beyond);
    }

    /// Fails all allocations of a module that makes these, and gives the numbers that were.
    fn search(last: u32, what: impl Fn(u32) -> [Came; 2]) -> (Search, Vec<u32>) {
        let mut search = Search::from(last);
        let mut all = Vec::new();
        while let Some(number) = search.next() {
            search.found(number, &what(number));
            all.push(number);
        }
        (search, all)
    }

    #[test]
    fn what_is_failed_ends_where_init_begins() {
        let (search, tried) = search(120, |number| match number {
            109.. => [Came::Injected(Injected { left: 3, ..Injected::default() }), Came::Done],
            107.. => came(None, EVENT),
            // The kernel's own book-keeping, before init's, in its midst, and behind it.
            106 | 103 | 100 => came(None, &[]),
            105 => came(None, INIT),
            101.. => came(Some(12), INIT),
            _ => came(Some(12), LAYOUT),
        });
        assert_eq!(tried.last(), Some(&96), "and no further: {tried:?}");
        assert_eq!(search.failing, [104, 102, 101]);
        let words = "5 allocations of its init failed in turn by failslab, 2 of which it did without";
        assert_eq!(search.words().unwrap(), words);
    }

    #[test]
    fn an_allocation_is_told_with_who_asked_for_it() {
        let mut search = Search::from(9);
        insta::assert_snapshot!(search.found(9, &came(Some(12), INIT)).unwrap(), @"with allocation 9 of its loading failing, asked for by kmalloc_trace in m_init+0x5/0x10 [m]");
        insta::assert_snapshot!(search.found(8, &came(None, &[])).unwrap(), @"with allocation 8 of its loading failing");
    }

    #[test]
    fn an_init_that_allocates_nothing_has_nothing_to_fail() {
        let (search, tried) = search(40, |_| came(Some(12), LAYOUT));
        assert_eq!((tried.len(), search.words()), (4, None));
    }

    #[test]
    fn no_more_than_a_limit_is_failed_and_that_is_told() {
        let (search, _) = search(1000, |_| came(Some(12), INIT));
        insta::assert_snapshot!(search.words().unwrap(), @"256 allocations of its init failed in turn by failslab, 0 of which it did without: no more than the last 256 are");
        let (search, tried) = self::search(1000, |_| came(None, &[]));
        assert_eq!((tried.len(), search.words()), (128, None), "a kernel that never says where");
    }

    #[test]
    fn a_module_that_was_loaded_all_the_same_is_to_go() {
        let (search, _) = search(20, |_| [came(None, INIT)[0].clone(), Came::Failed { errno: 11 }]);
        insta::assert_snapshot!(search.problem.unwrap(), @"loaded with allocation 20 of its loading failing, unloading it failed with errno 11 (Resource temporarily unavailable)");
    }
}
