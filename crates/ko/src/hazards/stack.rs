// SPDX-License-Identifier: GPL-2.0-only

/// The deepest chain of calls, and circles.
mod chain;
/// Ways through code that its instructions don't show.
mod routes;
/// The stack pointer in one function.
mod tracker;

use std::collections::{BTreeSet, HashSet};

use super::rust;
use crate::check::Look;
use crate::code::{Code, Function, Step, Target};
use crate::finding::{Finding, Found, Stack};
use crate::graph::{Graph, Thing};
use crate::names::readable;
use crate::policy::Policy;
use crate::rules::Id;
use chain::{Calls, Edge};
use routes::Routes;
use tracker::{Frame, RETURN_ADDRESS, State, Tracker};

/// The largest frame that a kernel without `CONFIG_FRAME_WARN` isn't warned of, in bytes.
const LARGE_FRAME: u64 = 2048;
/// How many names of what can't be followed a message has.
const NAMED: usize = 8;
/// How many functions of a chain a message has.
const MOST_IN_CHAIN: usize = 64;

/// What functions do with the stack.
pub(super) struct Stacks {
    tracker: Tracker,
    routes: Routes,
    /// By function.
    frames: Vec<Frame>,
    /// Parts of functions, kept elsewhere (`.cold`): they are entered from those, with their frames.
    parts: Vec<usize>,
    is_part: bool,
}

impl Stacks {
    pub(super) fn new(code: &Code<'_>) -> Self {
        Self {
            tracker: Tracker::new(),
            routes: Routes::new(code),
            frames: Vec::with_capacity(code.functions().len()),
            parts: Vec::new(),
            is_part: false,
        }
    }

    /// Begins with the next function.
    pub(super) fn begin(&mut self, code: &Code<'_>, function: &Function) {
        self.is_part = function.symbol != 0 && is_part(&code.name(function));
        if self.is_part {
            self.parts.push(self.frames.len());
        } else {
            self.tracker.begin(&self.routes, function, &[]);
        }
    }

    pub(super) fn step(&mut self, code: &Code<'_>, function: &Function, step: &Step<'_>) {
        if !self.is_part {
            self.tracker.step(code, &self.routes, function, step);
        }
    }

    /// Ends the function.
    pub(super) fn end(&mut self, code: &Code<'_>, function: &Function) {
        self.frames.push(match self.is_part {
            true => Frame::default(),
            false => self.tracker.finish(code, &self.routes, function),
        });
    }

    /// Goes through the parts, now that it is known with which frames they are entered. Gives for each function what
    /// it is a part of, which is itself for most.
    fn parts(&mut self, code: &Code<'_>) -> Vec<usize> {
        let mut whole: Vec<usize> = (0..self.frames.len()).collect();
        if self.parts.is_empty() {
            return whole;
        }
        let mut entries: Vec<(usize, u64, usize, State)> = Vec::new();
        for (from, frame) in self.frames.iter().enumerate() {
            entries.extend(frame.leaves.iter().filter(|leaves| !leaves.is_call).filter_map(|leaves| {
                let Some(Target::Inside { section, offset }) = leaves.to else { return None };
                Some((section, offset, from, leaves.state))
            }));
        }
        entries.sort_by_key(|(section, offset, ..)| (*section, *offset));
        for index in std::mem::take(&mut self.parts) {
            let function = &code.functions()[index];
            let position = |at: u64| entries.partition_point(|(s, o, ..)| (*s, *o) < (function.section, at));
            let of_this = &entries[position(function.start)..position(function.end)];
            whole[index] = of_this.first().map_or(index, |(.., from, _)| *from);
            let states: Vec<(u64, State)> = of_this.iter().map(|(_, at, _, state)| (*at, *state)).collect();
            self.tracker.begin(&self.routes, function, &states);
            code.walk(function, |step| self.tracker.step(code, &self.routes, function, step));
            self.frames[index] = self.tracker.finish(code, &self.routes, function);
        }
        whole
    }

    /// Judges what was seen.
    pub(super) fn check(
        mut self,
        look: &Look<'_>,
        code: &Code<'_>,
        graph: &Graph,
        policy: &Policy,
        found: &mut Found<'_>,
    ) -> Option<Stack> {
        let whole = self.parts(code);
        for (frame, function) in self.frames.iter().zip(code.functions()) {
            if let Some((first, count)) = frame.below {
                let name = code.readable(function);
                let message = format!("`{name}` uses memory below the stack pointer ({})", times(count));
                let finding = Finding::new(Id::RedZone, message).symbol(code.name(function));
                found.push(finding.place(code.image, function.section, first));
            }
        }
        let calls = self.calls(code, graph, whole);
        let view = View { code, calls: &calls, frames: &self.frames };
        view.frames(look, found);
        let paths = chain::Paths::new(&calls);
        view.circles(&paths, found);
        view.deepest(look, &paths, policy, found)
    }

    /// The calls between functions, where parts are one with the function that jumps to them.
    fn calls(&self, code: &Code<'_>, graph: &Graph, whole: Vec<usize>) -> Calls {
        let functions = code.functions();
        let mut calls = Calls::new(functions.len());
        let (panics, called_by_panics) = rust::panics(code, graph);
        for (index, frame) in self.frames.iter().enumerate() {
            calls.frame(whole[index], bytes(frame.depth));
            let mut edges = graph.edges(index).iter().peekable();
            for leaves in &frame.leaves {
                while edges.next_if(|edge| edge.offset < leaves.offset).is_some() {}
                let Some(Target::Inside { offset, .. }) = leaves.to else { continue };
                let Some(edge) = edges.peek().filter(|edge| edge.offset == leaves.offset) else { continue };
                let Thing::Function(to) = graph.thing(edge.to) else { continue };
                if panics.contains(&to) && called_by_panics.contains(&index) {
                    continue;
                }
                // A jump into the middle is back from a part, or to what has the same frame.
                if offset != functions[to].start || whole[to] == whole[index] && !leaves.is_call {
                    continue;
                }
                let own = if leaves.is_call { 0 } else { RETURN_ADDRESS };
                let used = bytes(leaves.state.depth.saturating_sub(own));
                let edge = Edge { to: whole[to], used, is_call: leaves.is_call };
                calls.edge(whole[index], edge);
            }
        }
        calls.parts = whole;
        calls
    }
}

/// What there is to look at when all functions have been followed.
struct View<'v, 'a> {
    code: &'v Code<'a>,
    calls: &'v Calls,
    frames: &'v [Frame],
}

impl View<'_, '_> {
    fn name(&self, node: usize) -> String {
        self.code.readable(&self.code.functions()[node])
    }

    /// `a → b → c`; the middle of a very long way is left out.
    fn names(&self, nodes: &[usize]) -> String {
        let left_out = nodes.len().saturating_sub(MOST_IN_CHAIN);
        let (before, after) = nodes.split_at((nodes.len() - left_out) / 2);
        let mut names: Vec<String> = before.iter().map(|node| self.name(*node)).collect();
        if left_out > 0 {
            names.push(format!("({left_out} more)"));
        }
        names.extend(after[left_out..].iter().map(|node| self.name(*node)));
        names.join(" → ")
    }

    /// A finding about a function, at its beginning.
    fn about(&self, id: Id, node: usize, message: String) -> Finding {
        let function = &self.code.functions()[node];
        let finding = Finding::new(id, message).symbol(self.code.name(function));
        finding.place(self.code.image, function.section, function.start)
    }

    fn frames(&self, look: &Look<'_>, found: &mut Found<'_>) {
        let limit = look.kernel.options.frame_warn.unwrap_or(LARGE_FRAME);
        for (node, frame) in self.calls.frames.iter().enumerate() {
            if *frame > limit {
                let name = self.name(node);
                let message =
                    format!("`{name}` has a frame of {frame} bytes, and the kernel's limit is {limit}");
                found.push(self.about(Id::StackFrame, node, message));
            }
        }
    }

    fn circles(&self, paths: &chain::Paths, found: &mut Found<'_>) {
        for circle in &paths.circles {
            let names = |node: &usize| self.code.name(&self.code.functions()[*node]);
            let entered = circle.iter().filter(|node| paths.is_entered[**node]);
            let Some(first) =
                entered.min_by_key(|node| names(node)).or(circle.iter().min_by_key(|n| names(n)))
            else {
                continue;
            };
            let way = chain::around(self.calls, paths, *first);
            let mut message = format!("functions call each other in a circle: {}", self.names(&way));
            if way.len() == 2 {
                message = format!("`{}` calls itself", self.name(*first));
            }
            let others = circle.len().saturating_sub(way.len() - 1);
            if others > 0 {
                message += &format!("; {others} more functions are part of such circles with it");
            }
            found.push(self.about(Id::Recursion, *first, message));
        }
    }

    fn deepest(
        &self,
        look: &Look<'_>,
        paths: &chain::Paths,
        policy: &Policy,
        found: &mut Found<'_>,
    ) -> Option<Stack> {
        let largest =
            (0..self.calls.frames.len()).max_by_key(|node| (self.calls.frames[*node], usize::MAX - node))?;
        let chain = paths.deepest(self.calls);
        let available = look.kernel.options.stack();
        let stack = Stack {
            available,
            largest: (self.name(largest), self.calls.frames[largest]),
            unknown: self.unknown(&chain),
            deepest: chain.iter().map(|(node, used)| (self.name(*node), *used)).collect(),
        };
        let limit = policy.max_stack.unwrap_or(available / 2);
        let depth = stack.depth();
        if depth > limit
            && let Some((first, _)) = chain.first()
        {
            let nodes: Vec<usize> = chain.iter().map(|(node, _)| *node).collect();
            let names = self.names(&nodes);
            let said = match policy.max_stack {
                Some(_) => format!("`max-stack` allows {limit}"),
                None => format!("half of the kernel's stack is {limit}"),
            };
            let mut message = format!("{names} needs {depth} bytes of the stack, and {said}");
            if !stack.unknown.is_empty() {
                let named: Vec<&str> = stack.unknown.iter().take(NAMED).map(String::as_str).collect();
                message += &format!("; what it calls comes on top: {}", named.join(", "));
                if stack.unknown.len() > NAMED {
                    message += &format!(", and {} more", stack.unknown.len() - NAMED);
                }
            }
            found.push(self.about(Id::StackDepth, *first, message));
        }
        Some(stack)
    }

    /// What the functions of a chain call that can't be followed.
    fn unknown(&self, chain: &[(usize, u64)]) -> Vec<String> {
        let mut unknown = BTreeSet::new();
        let chain: HashSet<usize> = chain.iter().map(|(node, _)| *node).collect();
        let is_in_chain = |index: usize| chain.contains(&self.calls.parts[index]);
        for (index, frame) in self.frames.iter().enumerate().filter(|(index, _)| is_in_chain(*index)) {
            let name = || self.name(self.calls.parts[index]);
            if frame.is_dynamic {
                unknown.insert(format!("an array of variable length in {}", name()));
            }
            for leaves in &frame.leaves {
                match leaves.to {
                    None => unknown.insert(format!("a pointer in {}", name())),
                    Some(Target::Outside(symbol)) => unknown.insert(readable(&self.code.outside(symbol))),
                    Some(Target::Inside { .. }) => false,
                };
            }
        }
        unknown.into_iter().collect()
    }
}

/// Whether a name is that of a function's part, which compilers keep elsewhere because it is rarely run.
fn is_part(name: &str) -> bool {
    name.split('.').skip(1).any(|part| part == "cold")
}

fn bytes(depth: i64) -> u64 {
    u64::try_from(depth).unwrap_or(0)
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests;
