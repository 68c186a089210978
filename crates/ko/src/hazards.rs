// SPDX-License-Identifier: GPL-2.0-only
//! What a kernel loads, and ought not to have to: the hazards of a module that can be read.

/// Branches that go past the kernel's mitigations.
mod branches;
/// What C and Rust say of the same function.
mod drift;
/// Vector and floating-point registers.
mod registers;
/// Panics, aborts and soft floating point of Rust code.
mod rust;
/// Sections and symbols that shouldn't be there, or shouldn't refer to each other.
mod sections;
#[cfg(test)]
mod specimen;
/// Frames, chains of calls, and the red zone.
mod stack;

pub(crate) use rust::is_panic;

use crate::check::Look;
use crate::code::Code;
use crate::finding::{Found, Measures};
use crate::graph::{self, Graph, Reference};
use crate::policy::Policy;

/// All hazards of a module, and what was measured on the way.
pub(crate) fn find<'p>(look: &Look<'_>, policy: &'p Policy) -> (Found<'p>, Measures) {
    let code = Code::new(look.image);
    let mut found = Found::new(policy);
    let mut references: Vec<Vec<Reference>> = Vec::with_capacity(code.functions().len());
    let mut stacks = stack::Stacks::new(&code);
    let mut registers = registers::Uses::default();
    let mut branches = branches::Branches::new(look, &code);
    for (index, function) in code.functions().iter().enumerate() {
        let mut of_this = Vec::new();
        stacks.begin(&code, function);
        code.walk(function, |step| {
            graph::references(&code, function, step, &mut of_this);
            registers.step(index, step);
            stacks.step(&code, function, step);
            branches.step(&code, function, step);
        });
        references.push(of_this);
        stacks.end(&code, function);
        branches.end(&code, function, &mut found);
    }
    let graph = Graph::new(&code, &references);
    branches.finish(&code, &mut found);
    registers.finish(&code, &graph, &mut found);
    rust::check(&code, &graph, &mut found);
    let stack = stacks.check(look, &code, &graph, policy, &mut found);
    let size = sections::check(look, &code, policy, &mut found);
    drift::check(look.image, &mut found);
    found.finish();
    (found, Measures { size, stack })
}
