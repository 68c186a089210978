// SPDX-License-Identifier: GPL-2.0-only
//! The boundary between C and Rust in a finished module: which functions its tests say that they call, whether they do,
//! and what is reached from a function that crosses.

use std::collections::BTreeSet;
use std::iter::once;

use rustc_demangle::try_demangle;

use crate::code::{Code, Target};
use crate::finding::Finding;
use crate::graph::{self, Graph, Node, Thing, follow};
use crate::hazards::is_panic;
use crate::image::{Bytes, Image};
use crate::kernel::Loader;
use crate::names::readable;

/// Where tests say what they are of, in pairs of pointers: `struct ktest_claim` in `vexlab/ktest.h`.
const CLAIMS: &str = ".ktest_claims";

/// The size of such a pair in bytes, and where its second pointer is.
const CLAIM: u64 = 16;
const OF: u64 = 8;

/// More than a module's tests say; what comes after them isn't looked at.
const MOST_CLAIMS: u64 = 1 << 12;

/// Where a test has its name and its function: `struct ktest_case` in `vexlab/ktest.h`.
const NAME: u64 = 8;
const RUN: u64 = 16;

/// What a test says of itself, beside what its code does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The test's name.
    pub test: String,
    /// What it says, as it says it: `FUNCTION: KINDS`.
    pub says: String,
    /// Whether the test is in Rust.
    pub in_rust: bool,
    /// The functions of the interface that it refers to, without going through the other side's code.
    pub calls: BTreeSet<String>,
}

/// A way from one function of the interface to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Where it begins.
    pub from: String,
    /// Where it ends.
    pub to: String,
    /// The names of all functions on it, both ends included, for people.
    pub functions: Vec<String>,
}

/// A module's functions and what refers to what.
pub struct Boundary<'b, 'a> {
    code: &'b Code<'a>,
    graph: Graph,
}

/// Reads a module, and has it asked.
///
/// # Errors
///
/// What the kernel would say to a file that is no module.
pub fn with_boundary<T>(bytes: &[u8], ask: impl FnOnce(&Boundary<'_, '_>) -> T) -> Result<T, Box<Finding>> {
    let image = Image::parse(Bytes(bytes), Loader::Trusting)?;
    let code = Code::new(&image);
    let mut references = Vec::with_capacity(code.functions().len());
    for function in code.functions() {
        let mut of_this = Vec::new();
        code.walk(function, |step| graph::references(&code, function, step, &mut of_this));
        references.push(of_this);
    }
    let graph = Graph::new(&code, &references);
    Ok(ask(&Boundary { code: &code, graph }))
}

impl Boundary<'_, '_> {
    /// What the module's tests say of themselves. `interface` are the functions that cross, `exports` those that Rust
    /// offers.
    pub fn claims(&self, interface: &BTreeSet<&str>, exports: &BTreeSet<&str>) -> Vec<Claim> {
        let section = self.code.image.find_loaded(CLAIMS);
        let count = self.code.image.data(section).len() as u64 / CLAIM;
        let count = count.min(MOST_CLAIMS);
        let claim = |number| self.claim(section, number * CLAIM, interface, exports);
        (0..if section == 0 { 0 } else { count }).filter_map(claim).collect()
    }

    fn claim(
        &self,
        section: usize,
        at: u64,
        interface: &BTreeSet<&str>,
        exports: &BTreeSet<&str>,
    ) -> Option<Claim> {
        let says = self.text(self.pointer(section, at + OF)?)?;
        let Target::Inside { section, offset } = self.pointer(section, at)? else { return None };
        let test = self.text(self.pointer(section, offset.checked_add(NAME)?)?)?;
        let run = self.function(self.pointer(section, offset.checked_add(RUN)?)?)?;
        let in_rust = self.is_rust(run, exports);
        let is_data = |node| matches!(self.graph.thing(node), Thing::Data(..));
        let is_own = |node| node == run || is_data(node) || self.is_rust(node, exports) == in_rust;
        let before = self.graph.ways_from(once(run), is_own);
        let reached = self.graph.nodes().filter(|node| before[*node].is_some());
        let names = reached.filter_map(|node| self.name(node));
        let calls = names.filter(|name| interface.contains(name.as_str())).collect();
        Some(Claim { test, says, in_rust, calls })
    }

    /// From each of `from` the shortest ways to those of `to` that it reaches without passing another of them. What a
    /// panic does is left out: it does not come back.
    pub fn ways(&self, from: &BTreeSet<&str>, to: &BTreeSet<&str>) -> Vec<Way> {
        let names: Vec<Option<String>> = self.graph.nodes().map(|node| self.name(node)).collect();
        let is_in =
            |node: Node, set: &BTreeSet<&str>| names[node].as_deref().is_some_and(|name| set.contains(name));
        let goes_on = |node: Node| {
            !is_in(node, to) && !names[node].as_deref().is_some_and(|name| is_panic(&readable(name)))
        };
        let mut ways = Vec::new();
        for start in self.graph.nodes().filter(|node| is_in(*node, from)) {
            let before = self.graph.ways_from(once(start), |node| node == start || goes_on(node));
            let ends = self.graph.nodes().filter(|node| *node != start && is_in(*node, to));
            for end in ends.filter(|node| before[*node].is_some()) {
                let mut way = follow(&before, end);
                way.reverse();
                let functions = way.iter().filter_map(|node| names[*node].as_deref()).map(readable);
                let name = |node: Node| names[node].clone().unwrap_or_default();
                ways.push(Way { from: name(start), to: name(end), functions: functions.collect() });
            }
        }
        ways
    }

    /// Whether a function is Rust's: rustc has made its name, or it is one that Rust offers.
    fn is_rust(&self, node: Node, exports: &BTreeSet<&str>) -> bool {
        self.name(node).is_some_and(|name| exports.contains(name.as_str()) || try_demangle(&name).is_ok())
    }

    /// A function's name as the object has it; nothing for data.
    fn name(&self, node: Node) -> Option<String> {
        match self.graph.thing(node) {
            Thing::Function(index) => Some(self.code.name(&self.code.functions()[index]).into_owned()),
            Thing::Outside(symbol) => Some(self.code.outside(symbol).into_owned()),
            Thing::Data(..) => None,
        }
    }

    /// What the pointer at this place of a section points to.
    fn pointer(&self, section: usize, offset: u64) -> Option<Target> {
        let all = self.code.relocations(section);
        let at = all.binary_search_by_key(&offset, |relocation| relocation.offset).ok()?;
        self.code.target_in_data(&all[at])
    }

    fn function(&self, target: Target) -> Option<Node> {
        let Target::Inside { section, offset } = target else { return None };
        self.code.function_at(section, offset)
    }

    /// The text at a place, up to its NUL.
    fn text(&self, target: Target) -> Option<String> {
        let Target::Inside { section, offset } = target else { return None };
        let rest = self.code.image.data(section).get(usize::try_from(offset).ok()?..)?;
        let text = rest.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}
