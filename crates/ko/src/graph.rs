// SPDX-License-Identifier: GPL-2.0-only
//! What refers to what in a module: functions, data, and the kernel's symbols.

use std::collections::{HashMap, VecDeque};

use object::elf;

use crate::code::{Code, Function, Step, Target};

/// A thing that refers, or is referred to: an index into the graph's nodes. The first are the functions, with the
/// indices that they have in [`Code`].
pub(crate) type Node = usize;

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Thing {
    /// A function, by its index.
    Function(usize),
    /// A datum: a section's index, and where in it it begins.
    Data(usize, u64),
    /// A symbol that the module doesn't define, by its index.
    Outside(u64),
}

/// How one thing refers to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It calls it.
    Call,
    /// It jumps to it.
    Jump,
    /// It holds or takes its address.
    Address,
}

/// A reference from one thing to another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Edge {
    pub(crate) to: Node,
    pub(crate) kind: Kind,
    /// Where in the section of what refers, in bytes.
    pub(crate) offset: u64,
}

/// A reference as it is found in code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference {
    pub(crate) to: Target,
    pub(crate) kind: Kind,
    /// Where in the section, in bytes.
    pub(crate) offset: u64,
}

/// The references of one instruction.
pub(crate) fn references(code: &Code<'_>, function: &Function, step: &Step<'_>, found: &mut Vec<Reference>) {
    let offset = step.offset;
    if let Some(to) = code.branch(function, step) {
        let kind = if step.instruction.is_call_near() { Kind::Call } else { Kind::Jump };
        let is_inside = matches!(to, Target::Inside { section, offset }
            if section == function.section && (function.start..function.end).contains(&offset));
        if kind == Kind::Call || !is_inside {
            found.push(Reference { to, kind, offset });
        }
        return;
    }
    for relocation in step.relocations {
        if let Some(to) = code.target_in(step, relocation) {
            found.push(Reference { to, kind: Kind::Address, offset });
        }
    }
}

/// The references between a module's functions, its data, and what is outside.
pub(crate) struct Graph {
    things: Vec<Thing>,
    edges: Vec<Vec<Edge>>,
}

/// Loaded sections that say something about code and don't refer to it: what they list isn't reached by way of them.
const ABOUT_CODE: [&str; 20] = [
    "__bug_table",
    "__ex_table",
    "__jump_table",
    "__mcount_loc",
    "__patchable_function_entries",
    "__tracepoints_ptrs",
    ".altinstructions",
    ".altinstr_aux",
    ".call_sites",
    ".cfi_sites",
    ".eh_frame",
    ".ibt_endbr_seal",
    ".kcfi_traps",
    ".orc_unwind",
    ".orc_unwind_ip",
    ".parainstructions",
    ".retpoline_sites",
    ".return_sites",
    ".smp_locks",
    ".static_call_sites",
];

/// Whether a section is about code, as [`ABOUT_CODE`].
pub(crate) fn is_about_code(name: &str) -> bool {
    ABOUT_CODE.contains(&name) || name.starts_with(".discard.")
}

impl Graph {
    /// `references` are those of each function.
    pub(crate) fn new(code: &Code<'_>, references: &[Vec<Reference>]) -> Self {
        let things = (0..code.functions().len()).map(Thing::Function).collect();
        let graph = Self { things, edges: Vec::new() };
        let mut new = Builder { code, data: data(code, references), known: HashMap::new(), graph };
        for references in references {
            new.function(references);
        }
        // What nothing in the code refers to has references too: exports, `struct module`.
        for section in 0..code.image.sections.len() {
            for relocation in code.relocations(section) {
                if code.function_at(section, relocation.offset).is_none() {
                    new.node(Target::Inside { section, offset: relocation.offset });
                }
            }
        }
        // Data are added as they are come upon.
        let mut next = code.functions().len();
        while let Some(thing) = new.graph.things.get(next).copied() {
            if let Thing::Data(section, start) = thing {
                new.datum(next, section, start);
            }
            next += 1;
        }
        new.graph.edges.resize(new.graph.things.len(), Vec::new());
        new.graph
    }

    pub(crate) fn thing(&self, node: Node) -> Thing {
        self.things[node]
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> std::ops::Range<Node> {
        0..self.things.len()
    }

    /// What a node refers to, in the order of places.
    pub(crate) fn edges(&self, node: Node) -> &[Edge] {
        &self.edges[node]
    }

    /// From each node the next one on a shortest way to one of `ends`, where there is a way: over nodes that `through`
    /// lets pass. An end has itself.
    pub(crate) fn ways(
        &self,
        ends: impl Iterator<Item = Node>,
        through: impl Fn(Node) -> bool,
    ) -> Vec<Option<Node>> {
        let mut before = vec![Vec::new(); self.things.len()];
        for from in self.nodes() {
            for edge in self.edges(from) {
                before[edge.to].push(from);
            }
        }
        let mut next = vec![None; self.things.len()];
        let mut queue = VecDeque::new();
        for end in ends {
            next[end] = Some(end);
            queue.push_back(end);
        }
        while let Some(node) = queue.pop_front() {
            for from in &before[node] {
                if next[*from].is_none() && through(*from) {
                    next[*from] = Some(node);
                    queue.push_back(*from);
                }
            }
        }
        next
    }

    /// To each node the one before it on a shortest way from one of `starts`, where there is a way: over nodes that
    /// `through` lets pass. A start has itself.
    pub(crate) fn ways_from(
        &self,
        starts: impl Iterator<Item = Node>,
        through: impl Fn(Node) -> bool,
    ) -> Vec<Option<Node>> {
        let mut before = vec![None; self.things.len()];
        let mut queue = VecDeque::new();
        for start in starts {
            before[start] = Some(start);
            queue.push_back(start);
        }
        while let Some(node) = queue.pop_front() {
            let edges = if through(node) { self.edges(node) } else { &[] };
            for edge in edges {
                if before[edge.to].is_none() {
                    before[edge.to] = Some(node);
                    queue.push_back(edge.to);
                }
            }
        }
        before
    }
}

/// Follows a table of [`Graph::ways`] or [`Graph::ways_from`] to where it ends; both ends are in it.
pub(crate) fn follow(ways: &[Option<Node>], from: Node) -> Vec<Node> {
    let mut way = vec![from];
    let mut at = from;
    while let Some(next) = ways[at].filter(|next| *next != at) {
        way.push(next);
        at = next;
    }
    way
}

struct Builder<'c, 'a> {
    code: &'c Code<'a>,
    /// By section, where data begin; sorted.
    data: Vec<Vec<u64>>,
    known: HashMap<Thing, Node>,
    graph: Graph,
}

impl Builder<'_, '_> {
    fn node(&mut self, target: Target) -> Option<Node> {
        let thing = match target {
            Target::Outside(symbol) => Thing::Outside(symbol),
            Target::Inside { section, offset } => match self.code.function_at(section, offset) {
                Some(index) => return Some(index),
                None => {
                    let starts = self.data.get(section)?;
                    let index = starts.partition_point(|start| *start <= offset).checked_sub(1)?;
                    Thing::Data(section, starts[index])
                }
            },
        };
        let things = &mut self.graph.things;
        Some(*self.known.entry(thing).or_insert_with(|| {
            things.push(thing);
            things.len() - 1
        }))
    }

    fn function(&mut self, references: &[Reference]) {
        let edge =
            |one: &Reference| Some(Edge { to: self.node(one.to)?, kind: one.kind, offset: one.offset });
        let edges = references.iter().filter_map(edge).collect();
        self.graph.edges.push(edges);
    }

    fn datum(&mut self, node: Node, section: usize, start: u64) {
        let code = self.code;
        let starts = &self.data[section];
        let after = starts.partition_point(|other| *other <= start);
        let end = starts.get(after).copied().unwrap_or(u64::MAX);
        let all = code.relocations(section);
        let first = all.partition_point(|relocation| relocation.offset < start);
        let last = all.partition_point(|relocation| relocation.offset < end);
        let mut edges = Vec::new();
        for relocation in &all[first..last.max(first)] {
            if let Some(to) = code.target_in_data(relocation).and_then(|target| self.node(target)) {
                edges.push(Edge { to, kind: Kind::Address, offset: relocation.offset });
            }
        }
        self.graph.edges.resize(self.graph.things.len(), Vec::new());
        self.graph.edges[node] = edges;
    }
}

/// Where data begin, by section: at the section's start, at symbols, and at what code and other data refer to. Nothing
/// for sections of code and for those that are about code.
fn data(code: &Code<'_>, references: &[Vec<Reference>]) -> Vec<Vec<u64>> {
    let image = code.image;
    let is_data = |index: usize| {
        let section = image.sections[index];
        section.is_loaded()
            && section.flags & elf::SHF_EXECINSTR.0 == 0
            && !is_about_code(&image.section_name(index))
    };
    let mut starts: Vec<Vec<u64>> =
        (0..image.sections.len()).map(|index| if is_data(index) { vec![0] } else { Vec::new() }).collect();
    let mut add = |target: Target| {
        if let Target::Inside { section, offset } = target
            && let Some(starts) = starts.get_mut(section).filter(|starts| !starts.is_empty())
        {
            starts.push(offset);
        }
    };
    for (_, symbol) in image.symbols_with_index() {
        add(Target::Inside { section: usize::from(symbol.section), offset: symbol.value });
    }
    references.iter().flatten().for_each(|one| add(one.to));
    for index in (0..image.sections.len()).filter(|index| is_data(*index)) {
        code.relocations(index).iter().filter_map(|one| code.target_in_data(one)).for_each(&mut add);
    }
    for starts in &mut starts {
        starts.sort_unstable();
        starts.dedup();
    }
    starts
}
