// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeSet;

use rustc_demangle::{demangle, try_demangle};

use crate::code::{Code, Function};
use crate::finding::Finding;
use crate::graph::{Graph, Kind, Node, Thing, follow, in_data};
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

/// Looks for ways from what C and the kernel can call to panics, aborting allocations and soft floating point.
pub(super) fn check(code: &Code<'_>, graph: &Graph, found: &mut Vec<Finding>) {
    let names: Vec<Option<String>> = graph.nodes().map(|node| name(code, graph, node)).collect();
    let is = |node: Node, wanted: &dyn Fn(&str) -> bool| names[node].as_deref().is_some_and(wanted);
    let nodes = |wanted: &'static dyn Fn(&str) -> bool| {
        graph.nodes().filter(|node| is(*node, wanted)).collect::<BTreeSet<_>>()
    };
    let panics = nodes(&|name| name.starts_with("core::panicking::") || name.contains("rust_begin_unwind"));
    let aborts = nodes(&|name| GIVES_UP.iter().any(|one| name.starts_with(one)));
    let floats = nodes(&is_soft_float);
    if panics.is_empty() && aborts.is_empty() && floats.is_empty() {
        return;
    }

    // A finding is about the last function that isn't a library's. A panic of what gives up is that of the allocation.
    let library: Vec<bool> = names.iter().map(|name| name.as_deref().is_none_or(is_library)).collect();
    let mut roots: Vec<Node> = graph.nodes().filter(|node| is_root(code, graph, *node)).collect();
    let called = graph.ways_from(roots.iter().copied());
    // What is only in a table that no code of the module refers to is called by who has the table.
    roots.extend(in_data(code).filter(|function| called[*function].is_none()));
    let from_roots = graph.ways_from(roots.into_iter());
    let mut search = |id, ends: &BTreeSet<Node>, without: &BTreeSet<Node>, what: &str| {
        let to_end = graph.ways(ends.iter().copied(), |node| library[node] && !without.contains(&node));
        for node in graph.nodes() {
            let Thing::Function(index) = graph.thing(node) else { continue };
            if library[node] || from_roots[node].is_none() || ends.contains(&node) {
                continue;
            }
            let mut said = BTreeSet::new();
            for edge in graph
                .edges(node)
                .iter()
                .filter(|edge| to_end[edge.to].is_some() && !without.contains(&edge.to))
            {
                if !said.insert(edge.to) {
                    continue;
                }
                let mut way = follow(&from_roots, node);
                way.reverse();
                way.extend(follow(&to_end, edge.to));
                let function = &code.functions()[index];
                let message = format!("`{}` {what}: {}", readable(&names, node), chain(graph, &names, &way));
                let finding = Finding::new(id, message).symbol(code.name(function));
                found.push(finding.place(code.image, function.section, edge.offset));
            }
        }
    };
    search(Id::ReachablePanic, &panics, &aborts, "can panic");
    search(Id::AbortingAllocation, &aborts, &BTreeSet::new(), "gives up when memory is short");

    for node in graph.nodes() {
        let Thing::Function(index) = graph.thing(node) else { continue };
        if let Some(edge) =
            graph.edges(node).iter().find(|edge| floats.contains(&edge.to) && !floats.contains(&node))
        {
            let function = &code.functions()[index];
            let message = format!("`{}` calls {}", readable(&names, node), readable(&names, edge.to));
            let finding = Finding::new(Id::SoftFloat, message).symbol(code.name(function));
            found.push(finding.place(code.image, function.section, edge.offset));
        }
    }
}

/// A node's name for people; nothing for data.
fn name(code: &Code<'_>, graph: &Graph, node: Node) -> Option<String> {
    match graph.thing(node) {
        Thing::Function(index) => Some(code.readable(&code.functions()[index])),
        Thing::Outside(symbol) => Some(format!("{:#}", demangle(&code.outside(symbol)))),
        Thing::Data(..) => None,
    }
}

fn readable(names: &[Option<String>], node: Node) -> &str {
    names[node].as_deref().unwrap_or("data")
}

/// Whether C or the kernel can call a function: everything whose name Rust didn't mangle.
fn is_root(code: &Code<'_>, graph: &Graph, node: Node) -> bool {
    let is_unmangled = |function: &Function| try_demangle(&code.name(function)).is_err();
    matches!(graph.thing(node), Thing::Function(index) if is_unmangled(&code.functions()[index]))
}

/// `a → b → c`. What is reached by an address rather than by a call is marked.
fn chain(graph: &Graph, names: &[Option<String>], way: &[Node]) -> String {
    let mut text = String::new();
    let mut before = None;
    for node in way {
        let Some(name) = &names[*node] else {
            continue;
        };
        if let Some(before) = before {
            let calls = |edge: &&crate::graph::Edge| edge.to == *node && edge.kind != Kind::Address;
            let is_called = graph.edges(before).iter().any(|edge| calls(&edge));
            text.push_str(if is_called { " → " } else { " → (by pointer) " });
        }
        text.push_str(name);
        before = Some(*node);
    }
    text
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
