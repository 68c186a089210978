// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeSet;

use rustc_demangle::try_demangle;

use crate::code::{Code, Function};
use crate::finding::{Finding, Found};
use crate::graph::{Edge, Graph, Kind, Node, Thing, follow};
use crate::names::readable;
use crate::rules::Id;

/// Rust's own libraries: what panics in them does so on behalf of who called them.
const LIBRARIES: [&str; 5] = ["core", "alloc", "std", "compiler_builtins", "__rustc"];

/// What `alloc` calls when an allocation fails, or can't be made because it would be too large.
const GIVES_UP: [&str; 5] = [
    "alloc::alloc::handle_alloc_error",
    "alloc::raw_vec::handle_error",
    "alloc::raw_vec::capacity_overflow",
    "__rustc::__rust_alloc_error_handler",
    "__rustc::__rg_oom",
];

/// What a node is in a search for what Rust reaches.
struct Role {
    /// A library's function, a datum, or what the module doesn't define.
    is_passed_through: bool,
    end: Option<End>,
}

/// Where what is looked for ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Panic,
    Abort,
    Float,
}

impl Role {
    fn of(name: Option<&str>) -> Self {
        let Some(name) = name else { return Self { is_passed_through: true, end: None } };
        let end = if is_panic(name) {
            Some(End::Panic)
        } else if GIVES_UP.iter().any(|one| name.starts_with(one)) {
            Some(End::Abort)
        } else {
            is_soft_float(name).then_some(End::Float)
        };
        Self { is_passed_through: is_library(name), end }
    }
}

/// Looks for ways from what C and the kernel can call to panics, aborting allocations and soft floating point.
pub(super) fn check(code: &Code<'_>, graph: &Graph, found: &mut Found<'_>) {
    let roles: Vec<Role> = graph.nodes().map(|node| Role::of(name(code, graph, node).as_deref())).collect();
    if roles.iter().all(|role| role.end.is_none()) {
        return;
    }
    // What a panic does on its way out is no way to a panic.
    let through = |node: Node| !matches!(roles[node].end, Some(End::Panic | End::Abort));
    let mut roots: Vec<Node> = graph.nodes().filter(|node| is_root(code, graph, *node)).collect();
    let called = graph.ways_from(roots.iter().copied(), through);
    // What is only in a table that no code of the module refers to is called by who has the table.
    let is_table = |node: &Node| matches!(graph.thing(*node), Thing::Data(..));
    roots.extend(graph.nodes().filter(|node| is_table(node) && called[*node].is_none()));
    let from_roots = graph.ways_from(roots.into_iter(), through);
    let search = Search { code, graph, roles, from_roots };
    search.ways_to(End::Panic, found);
    search.ways_to(End::Abort, found);
    search.calls_of_floats(found);
}

/// Whether a function panics and does nothing else, by its demangled name.
pub(crate) fn is_panic(name: &str) -> bool {
    name.starts_with("core::panicking::")
        || name.starts_with("core::str::slice_error_fail")
        || name.contains("rust_begin_unwind")
}

/// The functions that panic, by their indices, and those that a panic calls: a panic of theirs is the second one, and
/// ends there.
pub(super) fn panics(code: &Code<'_>, graph: &Graph) -> (BTreeSet<Node>, BTreeSet<Node>) {
    let panics =
        (0..code.functions().len()).filter(|index| is_panic(&code.readable(&code.functions()[*index])));
    let panics: BTreeSet<Node> = panics.collect();
    let called = graph.ways_from(panics.iter().copied(), |_| true);
    let called = graph.nodes().filter(|node| called[*node].is_some()).collect();
    (panics, called)
}

struct Search<'s, 'a> {
    code: &'s Code<'a>,
    graph: &'s Graph,
    roles: Vec<Role>,
    /// To each node the one before it on a way from outside the module.
    from_roots: Vec<Option<Node>>,
}

impl Search<'_, '_> {
    fn functions(&self) -> impl Iterator<Item = (Node, &Function)> {
        self.code.functions().iter().enumerate()
    }

    fn is(&self, node: Node, end: End) -> bool {
        self.roles[node].end == Some(end)
    }

    /// A finding is about the last function that isn't a library's. A panic of what gives up is that of the allocation.
    fn ways_to(&self, end: End, found: &mut Found<'_>) {
        let (id, what) = match end {
            End::Panic => (Id::ReachablePanic, "can panic"),
            _ => (Id::AbortingAllocation, "gives up when memory is short"),
        };
        let is_of_another = |node: Node| end == End::Panic && self.is(node, End::Abort);
        let ends = self.graph.nodes().filter(|node| self.is(*node, end));
        let to_end = self.graph.ways(ends, |node| self.roles[node].is_passed_through && !is_of_another(node));
        for (node, function) in self.functions() {
            let role = &self.roles[node];
            if role.is_passed_through || self.from_roots[node].is_none() || role.end == Some(end) {
                continue;
            }
            let leads = |edge: &&Edge| to_end[edge.to].is_some() && !is_of_another(edge.to);
            let mut places = self.graph.edges(node).iter().filter(leads);
            let Some(first) = places.next() else { continue };
            let name = self.code.name(function);
            found.add(id, Some(&name), || {
                let mut way = follow(&self.from_roots, node);
                way.reverse();
                way.extend(follow(&to_end, first.to));
                let mut message = format!("`{}` {what}: {}", readable(&name), self.chain(&way));
                match places.count() {
                    0 => {}
                    1 => message.push_str("; and in one place more"),
                    more => message.push_str(&format!("; and in {more} places more")),
                }
                let finding = Finding::new(id, message).symbol(&*name);
                finding.place(self.code.image, function.section, first.offset)
            });
        }
    }

    fn calls_of_floats(&self, found: &mut Found<'_>) {
        for (node, function) in self.functions().filter(|(node, _)| !self.is(*node, End::Float)) {
            let mut edges = self.graph.edges(node).iter();
            let Some(edge) = edges.find(|edge| self.is(edge.to, End::Float)) else { continue };
            let symbol = self.code.name(function);
            found.add(Id::SoftFloat, Some(&symbol), || {
                let helper = name(self.code, self.graph, edge.to).unwrap_or_default();
                let message = format!("`{}` calls {helper}", readable(&symbol));
                let finding = Finding::new(Id::SoftFloat, message).symbol(&*symbol);
                finding.place(self.code.image, function.section, edge.offset)
            });
        }
    }

    /// `a → b → c`. What is reached by an address rather than by a call is marked; the middle of a long way is left
    /// out.
    fn chain(&self, way: &[Node]) -> String {
        let mut text = String::new();
        let mut before = None;
        for (index, node) in way.iter().enumerate() {
            if (ENDS_SAID..way.len().saturating_sub(ENDS_SAID)).contains(&index) {
                if index == ENDS_SAID {
                    text.push_str(" → …");
                }
                before = None;
                continue;
            }
            let Some(name) = name(self.code, self.graph, *node) else { continue };
            if let Some(before) = before {
                let is_call = |edge: &Edge| edge.to == *node && edge.kind != Kind::Address;
                let is_called = self.graph.edges(before).iter().any(is_call);
                text.push_str(if is_called { " → " } else { " → (by pointer) " });
            } else if !text.is_empty() {
                text.push_str(" → ");
            }
            text.push_str(&name);
            before = Some(*node);
        }
        text
    }
}

/// How many functions of a chain are said from its beginning, and from its end.
const ENDS_SAID: usize = 12;

/// A node's name for people; nothing for data.
fn name(code: &Code<'_>, graph: &Graph, node: Node) -> Option<String> {
    match graph.thing(node) {
        Thing::Function(index) => Some(code.readable(&code.functions()[index])),
        Thing::Outside(symbol) => Some(readable(&code.outside(symbol))),
        Thing::Data(..) => None,
    }
}

/// Whether C or the kernel can call a function: everything whose name Rust didn't mangle.
fn is_root(code: &Code<'_>, graph: &Graph, node: Node) -> bool {
    let is_unmangled = |function: &Function| try_demangle(&code.name(function)).is_err();
    matches!(graph.thing(node), Thing::Function(index) if is_unmangled(&code.functions()[index]))
}

/// Whether a function is one of Rust's own libraries', by its demangled name: `core::str::from_utf8`,
/// `<alloc::vec::Vec<u8> as core::ops::Drop>::drop`. An implementation of a library's trait for a type of someone else
/// is theirs, as is one of their trait for a library's type.
fn is_library(name: &str) -> bool {
    let begins = |text: &str| {
        let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
        let text = ["mut ", "dyn ", "const "]
            .iter()
            .fold(text, |text, word| text.strip_prefix(word).unwrap_or(text));
        let text = text.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (first, rest) = text.split_at(end);
        // A type of the language itself (`u8`, `str`) is no path.
        !rest.starts_with("::") && !name.starts_with(first) || LIBRARIES.contains(&first)
    };
    match name.strip_prefix('<').and_then(|rest| rest.split_once(" as ")) {
        Some((kind, implemented)) => begins(kind) && begins(implemented),
        None => begins(name),
    }
}

/// The compiler's helpers for floating point, as in LLVM's compiler-rt and GCC's libgcc.
fn is_soft_float(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("__") else { return false };
    let types = ["sf", "df", "tf", "hf", "xf"];
    let arithmetic =
        ["add", "sub", "mul", "div", "neg", "powi"].iter().filter_map(|op| rest.strip_prefix(op));
    let compares =
        ["eq", "ne", "lt", "le", "gt", "ge", "unord", "cmp"].iter().filter_map(|op| rest.strip_prefix(op));
    let is_three =
        |rest: &str| types.iter().any(|t| rest.strip_prefix(t).is_some_and(|n| n == "3" || n == "2"));
    let converts = || {
        let rest = rest.strip_prefix("fix").or_else(|| rest.strip_prefix("float")).unwrap_or_default();
        let rest = rest.strip_prefix("uns").or_else(|| rest.strip_prefix("un")).unwrap_or(rest);
        types.iter().any(|t| rest.contains(t)) && ["si", "di", "ti"].iter().any(|t| rest.contains(t))
    };
    let resizes = || {
        let rest = rest.strip_prefix("extend").or_else(|| rest.strip_prefix("trunc")).unwrap_or_default();
        let is_type = |range| rest.get(range).is_some_and(|part| types.contains(&part));
        rest.len() == 5 && is_type(0..2) && is_type(2..4) && rest.ends_with('2')
    };
    arithmetic.chain(compares).any(is_three) || converts() || resizes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rusts_libraries_are_known_by_name() {
        for name in [
            "core::slice::index::slice_index_fail",
            "<alloc::vec::Vec<vexfs::Tree> as core::ops::drop::Drop>::drop",
            "<[u8] as core::fmt::Debug>::fmt",
            "<&mut dyn core::fmt::Write as core::fmt::Write>::write_str",
            "__rustc::rust_begin_unwind",
        ] {
            assert!(is_library(name), "{name}");
        }
        for name in [
            "vexfs::tree::insert",
            "<vexfs::Tree as core::fmt::Debug>::fmt",
            "<alloc::vec::Vec<u8> as vexfs::Bytes>::read",
            "<u8 as vexfs::Bytes>::read",
            "vexfs_rs_answer",
            "coreutils::run",
        ] {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn helpers_for_floating_point_are_known_by_name() {
        for name in [
            "__adddf3",
            "__mulsf3",
            "__floatsidf",
            "__floatundisf",
            "__fixunsdfsi",
            "__ltdf2",
            "__extendsfdf2",
        ] {
            assert!(is_soft_float(name), "{name}");
        }
        for name in
            ["__udivti3", "__muldi3", "__fix_to_virt", "__floating", "printk", "__negdi2", "__ashlti3"]
        {
            assert!(!is_soft_float(name), "{name}");
        }
    }
}
