// SPDX-License-Identifier: GPL-2.0-only

use iced_x86::{CpuidFeature, OpKind};

use crate::code::{Code, Step};
use crate::finding::{Finding, Found};
use crate::graph::{Edge, Graph, Kind, Node, Thing};
use crate::rules::Id;

/// Functions that use registers that the kernel doesn't save.
#[derive(Default)]
pub(super) struct Uses(Vec<Use>);

struct Use {
    function: Node,
    /// The first place, in bytes from the section's start.
    first: u64,
    /// What is used there.
    what: String,
    count: usize,
}

impl Uses {
    /// Looks at an instruction of the function with this index.
    pub(super) fn step(&mut self, function: Node, step: &Step<'_>) {
        let Some(what) = unsaved(step) else { return };
        match self.0.last_mut().filter(|last| last.function == function) {
            Some(last) => last.count += 1,
            None => self.0.push(Use { function, first: step.offset, what, count: 1 }),
        }
    }

    /// A function may use them when the registers are saved around it: it does that itself, or everything that leads
    /// to it does.
    pub(super) fn finish(self, code: &Code<'_>, graph: &Graph, found: &mut Found<'_>) {
        if self.0.is_empty() {
            return;
        }
        let exposed = exposed(code, graph);
        for one in self.0.iter().filter(|one| exposed[one.function]) {
            let function = &code.functions()[one.function];
            let name = code.name(function);
            found.add(Id::VectorRegisters, Some(&name), || {
                let message = format!(
                    "`{}` uses {} outside kernel_fpu_begin() ({} such instructions in it)",
                    code.readable(function),
                    one.what,
                    one.count
                );
                let finding = Finding::new(Id::VectorRegisters, message).symbol(&*name);
                finding.place(code.image, function.section, one.first)
            });
        }
    }
}

/// The register, or kind of registers, that an instruction computes with. Those that save and restore all of them
/// (`fxsave`, `xsave`, …) name none.
fn unsaved(step: &Step<'_>) -> Option<String> {
    let instruction = step.instruction;
    let registers =
        (0..instruction.op_count()).filter(|index| instruction.op_kind(*index) == OpKind::Register);
    for register in registers.map(|index| instruction.op_register(index)) {
        if register.is_vector_register() || register.is_mm() || register.is_st() || register.is_k() {
            return Some(format!("the register {}", format!("{register:?}").to_lowercase()));
        }
    }
    // x87 instructions mostly name no register. Their opcodes are d8 to df; others begin with another byte.
    let prefixes = [0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65];
    let is_prefix = |byte: &&u8| prefixes.contains(*byte) || **byte & 0xf0 == 0x40;
    let opcode = step.bytes.iter().find(|byte| !is_prefix(byte))?;
    let computes = (0xd8..=0xdf).contains(opcode)
        && instruction.cpuid_features().iter().any(|feature| {
            [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387, CpuidFeature::CMOV]
                .contains(feature)
        })
        && !is_control(instruction.mnemonic());
    computes.then(|| "the x87 registers".to_owned())
}

/// x87 instructions that control the unit and don't compute.
fn is_control(mnemonic: iced_x86::Mnemonic) -> bool {
    use iced_x86::Mnemonic as M;
    [
        M::Fninit,
        M::Finit,
        M::Fnclex,
        M::Fclex,
        M::Fnstcw,
        M::Fstcw,
        M::Fnstsw,
        M::Fstsw,
        M::Fldcw,
        M::Fnsave,
        M::Frstor,
        M::Fnstenv,
        M::Fldenv,
        M::Wait,
    ]
    .contains(&mnemonic)
}

/// For each function whether something outside the module can lead to it with the registers not saved.
///
/// Going forward from what nothing in the module refers to, calls are followed up to a function that saves them, and
/// addresses up to one that saves them itself or by way of what it calls: it hands the address on to code that saves
/// them first. Of functions that only refer to each other, the first counts as one that nothing refers to.
fn exposed(code: &Code<'_>, graph: &Graph) -> Vec<bool> {
    let is_saving = |node: Node| match graph.thing(node) {
        Thing::Outside(symbol) => code.outside(symbol).starts_with("kernel_fpu_begin"),
        _ => false,
    };
    let mut is_referred_to = vec![false; graph.nodes().len()];
    let mut saves = vec![false; graph.nodes().len()];
    for node in graph.nodes() {
        for edge in graph.edges(node).iter().filter(|edge| edge.to != node) {
            is_referred_to[edge.to] = true;
            saves[node] |= edge.kind != Kind::Address && is_saving(edge.to);
        }
    }
    let leads_to_saving = graph.ways(graph.nodes().filter(|node| saves[*node]), |_| true);
    let hands_on =
        |node: Node| matches!(graph.thing(node), Thing::Function(_)) && leads_to_saving[node].is_some();
    let mut exposed = vec![false; graph.nodes().len()];
    let mut reached = vec![false; graph.nodes().len()];
    let outer = graph.nodes().filter(|node| !is_referred_to[*node]);
    for start in outer.chain(graph.nodes()) {
        if reached[start] {
            continue;
        }
        spread(graph, start, &mut reached, |_, _| true);
        if !saves[start] {
            spread(graph, start, &mut exposed, |node, edge| {
                !saves[edge.to] && (edge.kind != Kind::Address || !hands_on(node))
            });
        }
    }
    exposed
}

/// Marks a node and all that can be reached from it, over edges that may be taken.
fn spread(graph: &Graph, start: Node, marked: &mut [bool], takes: impl Fn(Node, &Edge) -> bool) {
    let mut next = vec![start];
    marked[start] = true;
    while let Some(node) = next.pop() {
        for edge in graph.edges(node) {
            if !marked[edge.to] && takes(node, edge) {
                marked[edge.to] = true;
                next.push(edge.to);
            }
        }
    }
}
