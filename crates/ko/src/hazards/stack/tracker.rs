// SPDX-License-Identifier: GPL-2.0-only
//! The stack pointer, followed through one function from its first instruction to its last.
//!
//! The depth is what lies between the caller's stack pointer before the call and the stack pointer: 8 bytes, the
//! return address, where a function begins. This is the `sp_offset` of objtool's ORC tables.

use std::collections::HashMap;

use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};

use super::routes::{Known, Routes};
use crate::code::{Code, Function, Step, Target};

/// What a call leaves on the stack.
pub(super) const RETURN_ADDRESS: i64 = 8;
/// How often a function is looked at, at most, until no jump back says otherwise than was assumed.
const ROUNDS: usize = 4;

/// The stack at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct State {
    /// In bytes.
    pub(super) depth: i64,
    /// The depth that the frame pointer points to, where it points to the frame.
    frame: Option<i64>,
    /// Nothing was assumed on the way here.
    is_sure: bool,
}

impl State {
    const ENTRY: Self = Self { depth: RETURN_ADDRESS, frame: None, is_sure: true };

    fn assumed(self) -> Self {
        Self { is_sure: false, ..self }
    }
}

/// What is known of a register's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Unknown,
    /// An address in the frame, as a depth.
    Frame(i64),
    Number(i64),
}

/// What the instruction before means for the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It goes on.
    Flow,
    /// A call, which may not come back.
    Call,
    /// A `ud2`, which the kernel steps over if it is a warning.
    Trap,
    /// It doesn't go on.
    Cut,
}

/// A call, or a jump out of the function.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaves {
    /// Where, in bytes from the section's start.
    pub(super) offset: u64,
    /// Where to; nothing for what a register or memory says.
    pub(super) to: Option<Target>,
    pub(super) is_call: bool,
    pub(super) state: State,
}

/// What a function does with the stack.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    /// The greatest depth, in bytes.
    pub(super) depth: i64,
    /// The depth depends on data, and is more than that.
    pub(super) is_dynamic: bool,
    /// Calls, and jumps out of it, in the order of places.
    pub(super) leaves: Vec<Leaves>,
    /// The first access below the stack pointer, and how many there are.
    pub(super) below: Option<(u64, usize)>,
    /// The depth at each instruction.
    #[cfg(test)]
    pub(super) depths: Vec<(u64, i64)>,
}

/// Follows the stack pointer.
pub(super) struct Tracker {
    state: State,
    before: Before,
    registers: [Value; 16],
    /// The last depth that each register pointed to: it may come back from memory.
    kept: [Option<i64>; 16],
    /// States at places that jumps lead to.
    targets: HashMap<u64, State>,
    /// The state at the last indirect jump: its targets are somewhere in the function.
    table: Option<State>,
    /// The last state at a call or a jump: that of the function's body.
    body: State,
    /// The depth that a loop ends at that goes down the stack page by page.
    probe: Option<i64>,
    /// The depth at which the caller's frame pointer was pushed last.
    pushed: Option<i64>,
    /// A jump back came with another state than was assumed where it leads to.
    is_contradicted: bool,
    next_route: usize,
    /// For a part of another function: a state with which it is entered.
    entry: Option<State>,
    frame: Frame,
}

impl Tracker {
    pub(super) fn new() -> Self {
        Self {
            state: State::ENTRY,
            before: Before::Flow,
            registers: [Value::Unknown; 16],
            kept: [None; 16],
            targets: HashMap::new(),
            table: None,
            body: State::ENTRY,
            probe: None,
            pushed: None,
            is_contradicted: false,
            next_route: 0,
            entry: None,
            frame: Frame::default(),
        }
    }

    /// Begins with a function. `entries` are states at places in it that other functions jump to; with them it is a
    /// part of those.
    pub(super) fn begin(&mut self, routes: &Routes, function: &Function, entries: &[(u64, State)]) {
        self.targets.clear();
        self.targets.extend(entries.iter().copied());
        self.entry = entries.first().map(|(_, state)| *state);
        self.restart(routes, function);
    }

    fn restart(&mut self, routes: &Routes, function: &Function) {
        self.state = State::ENTRY;
        self.before = if self.entry.is_some() { Before::Cut } else { Before::Flow };
        self.registers = [Value::Unknown; 16];
        self.kept = [None; 16];
        self.table = None;
        self.body = self.entry.unwrap_or(State::ENTRY);
        self.probe = None;
        self.pushed = None;
        self.is_contradicted = false;
        self.next_route = routes.first_in(function);
        self.frame = Frame::default();
    }

    /// Ends a function: goes through it again where that is needed.
    pub(super) fn finish(&mut self, code: &Code<'_>, routes: &Routes, function: &Function) -> Frame {
        for _ in 1..ROUNDS {
            if !self.is_contradicted {
                break;
            }
            self.restart(routes, function);
            code.walk(function, |step| self.step(code, routes, function, step));
        }
        std::mem::take(&mut self.frame)
    }

    /// The depth where the next instruction begins.
    pub(super) fn step(&mut self, code: &Code<'_>, routes: &Routes, function: &Function, step: &Step<'_>) {
        let instruction = step.instruction;
        self.arrive(step.offset);
        #[cfg(test)]
        self.frame.depths.push((step.offset, self.state.depth));
        while let Some((from, to)) = routes.way(self.next_route, function.section)
            && from <= step.offset
        {
            self.next_route += 1;
            match to {
                Target::Inside { section, offset }
                    if section == function.section && (function.start..function.end).contains(&offset) =>
                {
                    self.jump_to(step.offset, offset);
                }
                _ => self.leave(step.offset, Some(to), false),
            }
        }
        self.access(instruction, step.offset);
        let probe = self.probe.take();
        match instruction.flow_control() {
            FlowControl::Next => self.compute(instruction),
            FlowControl::Call | FlowControl::IndirectCall => self.call(code, routes, function, step),
            FlowControl::ConditionalBranch => {
                self.jump(code, routes, function, step);
                // The loop is left where the stack pointer has arrived.
                if let Some(depth) = probe.filter(|_| instruction.near_branch_target() <= step.offset) {
                    self.set_depth(depth);
                }
            }
            FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => {
                self.jump(code, routes, function, step);
                self.before = Before::Cut;
            }
            FlowControl::Return => self.before = Before::Cut,
            FlowControl::Exception => self.before = Before::Trap,
            FlowControl::Interrupt | FlowControl::XbeginXabortXend => {}
        }
        self.frame.depth = self.frame.depth.max(self.state.depth);
    }

    /// Comes to an instruction.
    fn arrive(&mut self, offset: u64) {
        let before = std::mem::replace(&mut self.before, Before::Flow);
        if before == Before::Cut {
            let assumed = self.table.unwrap_or(self.body).assumed();
            self.state = *self.targets.entry(offset).or_insert(assumed);
        } else if (before != Before::Flow || !self.state.is_sure)
            && let Some(state) = self.targets.get(&offset)
            && (state.is_sure || before == Before::Trap)
        {
            self.state = *state;
        }
    }

    /// Notes that flow goes from here to another place in the function.
    fn jump_to(&mut self, from: u64, to: u64) {
        let known = self.targets.entry(to).or_insert(self.state);
        if self.state.is_sure && !known.is_sure {
            self.is_contradicted |=
                to <= from && (known.depth, known.frame) != (self.state.depth, self.state.frame);
            *known = self.state;
        }
    }

    fn set_depth(&mut self, depth: i64) {
        self.state.depth = depth;
    }

    fn grow(&mut self, bytes: i64) {
        self.state.depth = self.state.depth.saturating_add(bytes);
    }

    fn call(&mut self, code: &Code<'_>, routes: &Routes, function: &Function, step: &Step<'_>) {
        self.before = Before::Call;
        let to = code.branch(function, step);
        if let Some(Target::Inside { section, offset }) = to
            && section == function.section
            && function.start < offset
            && offset < function.end
        {
            // No call: an address is pushed for what follows.
            self.grow(RETURN_ADDRESS);
            self.jump_to(step.offset, offset);
            self.grow(-RETURN_ADDRESS);
            return;
        }
        self.body = self.state;
        match routes.known(to) {
            Some(Known::Nothing | Known::Return) => {}
            Some(Known::Pointer) => self.leave(step.offset, None, true),
            None if to.is_none() && routes.is_patched(step) => {}
            None => self.leave(step.offset, to, true),
        }
    }

    fn jump(&mut self, code: &Code<'_>, routes: &Routes, function: &Function, step: &Step<'_>) {
        let to = code.branch(function, step);
        match (to, routes.known(to)) {
            (_, Some(Known::Return)) => {}
            (None, _) | (_, Some(Known::Pointer)) => {
                // A jump with an empty frame is a call at the end, and another goes through a table.
                if self.state.depth <= RETURN_ADDRESS {
                    self.leave(step.offset, None, false);
                } else {
                    self.table = Some(self.state);
                }
            }
            (Some(Target::Inside { section, offset }), _)
                if section == function.section && (function.start..function.end).contains(&offset) =>
            {
                self.body = self.state;
                self.jump_to(step.offset, offset);
            }
            (Some(Target::Inside { section, offset }), _) if routes.is_aside(section) => {
                self.body = self.state;
                for to in routes.back_from(code, section, offset, function) {
                    self.jump_to(step.offset, to);
                }
            }
            (Some(_), _) => self.leave(step.offset, to, false),
        }
    }

    fn leave(&mut self, offset: u64, to: Option<Target>, is_call: bool) {
        self.frame.leaves.push(Leaves { offset, to, is_call, state: self.state });
    }

    /// What an instruction does to registers and the stack pointer.
    fn compute(&mut self, instruction: &Instruction) {
        let first = match instruction.op_count() {
            0 => Register::None,
            _ if instruction.op0_kind() == OpKind::Register => instruction.op0_register(),
            _ => Register::None,
        };
        let mnemonic = instruction.mnemonic();
        if mnemonic == Mnemonic::Cmp {
            self.compare(instruction);
        } else if mnemonic == Mnemonic::Leave {
            let frame = self.state.frame.or_else(|| self.in_frame(Register::RBP));
            self.set_depth(frame.unwrap_or(self.state.depth).saturating_sub(8));
            self.state.frame = None;
        } else if first == Register::RSP && !instruction.is_stack_instruction() {
            self.move_stack(instruction, mnemonic);
        } else {
            if instruction.is_stack_instruction() {
                self.grow(-i64::from(instruction.stack_pointer_increment()));
            }
            if first == Register::RBP && mnemonic == Mnemonic::Push {
                self.pushed = Some(self.state.depth);
            }
            if first != Register::None && mnemonic != Mnemonic::Test && mnemonic != Mnemonic::Push {
                self.set_register(first, instruction, mnemonic);
            }
        }
    }

    /// `cmp` with the stack pointer: the end of a loop that touches page after page.
    fn compare(&mut self, instruction: &Instruction) {
        let registers = [0, 1].map(|index| match instruction.op_kind(index) {
            OpKind::Register => instruction.op_register(index),
            _ => Register::None,
        });
        self.probe = match registers {
            [Register::RSP, other] | [other, Register::RSP] => self.in_frame(other),
            _ => None,
        };
    }

    /// Anything but pushing and popping that sets the stack pointer.
    fn move_stack(&mut self, instruction: &Instruction, mnemonic: Mnemonic) {
        let amount = match instruction.op1_kind() {
            OpKind::Register => match self.value(instruction.op1_register()) {
                Value::Number(amount) => Some(amount),
                _ => None,
            },
            OpKind::Memory => None,
            _ => Some(instruction.immediate(1).cast_signed()),
        };
        match (mnemonic, amount) {
            (Mnemonic::Add, Some(amount)) => self.grow(amount.saturating_neg()),
            (Mnemonic::Sub, Some(amount)) => self.grow(amount),
            // The stack is aligned to 8 bytes, so an alignment takes up to that many fewer.
            (Mnemonic::And, Some(mask)) if mask < -8 => self.grow(mask.saturating_neg() - 8),
            (Mnemonic::And, Some(-8..=-1)) => {}
            (Mnemonic::Mov, _) if instruction.op1_kind() == OpKind::Register => {
                match self.in_frame(instruction.op1_register()) {
                    Some(depth) => self.set_depth(depth),
                    None => self.frame.is_dynamic = true,
                }
            }
            // GCC's way back from a frame that was aligned: what it had put there was the caller's stack pointer.
            (Mnemonic::Lea, _)
                if [-8, -16].contains(&displacement(instruction))
                    && ![Register::RSP, Register::RBP].contains(&instruction.memory_base()) =>
            {
                self.set_depth(-displacement(instruction));
            }
            (Mnemonic::Lea, _) if instruction.memory_index() == Register::None => {
                if let Some(depth) = self.in_frame(instruction.memory_base()) {
                    self.set_depth(depth.saturating_sub(displacement(instruction)));
                } else {
                    self.frame.is_dynamic = true;
                }
            }
            // Another stack.
            (Mnemonic::Mov | Mnemonic::Xchg, _) => {}
            _ => self.frame.is_dynamic = true,
        }
    }

    fn set_register(&mut self, register: Register, instruction: &Instruction, mnemonic: Mnemonic) {
        let Some(index) = index(register) else { return };
        let value = match mnemonic {
            Mnemonic::Mov => match instruction.op1_kind() {
                OpKind::Register => self.value(instruction.op1_register()),
                OpKind::Memory => self.kept[index].map_or(Value::Unknown, Value::Frame),
                _ => Value::Number(instruction.immediate(1).cast_signed()),
            },
            Mnemonic::Lea if instruction.memory_index() == Register::None => {
                match self.in_frame(instruction.memory_base()) {
                    Some(depth) => Value::Frame(depth.saturating_sub(displacement(instruction))),
                    None => Value::Unknown,
                }
            }
            Mnemonic::Pop => self.kept[index].map_or(Value::Unknown, Value::Frame),
            _ => Value::Unknown,
        };
        self.registers[index] = value;
        if let Value::Frame(depth) = value {
            self.kept[index] = Some(depth);
        }
        if index == 5 {
            // A frame pointer points to where the caller's is kept. Others may be of anything on the stack.
            let is_move = mnemonic == Mnemonic::Mov && instruction.op1_kind() == OpKind::Register;
            let is_computed = is_move || mnemonic == Mnemonic::Lea;
            self.state.frame = match value {
                Value::Frame(depth) if is_computed && self.pushed == Some(depth) => Some(depth),
                _ => None,
            };
        }
    }

    fn value(&self, register: Register) -> Value {
        match index(register) {
            Some(4) => Value::Frame(self.state.depth),
            Some(5) if self.state.frame.is_some() => self.state.frame.map_or(Value::Unknown, Value::Frame),
            Some(index) => self.registers[index],
            None => Value::Unknown,
        }
    }

    /// The depth that a register points to.
    fn in_frame(&self, register: Register) -> Option<i64> {
        match self.value(register) {
            Value::Frame(depth) => Some(depth),
            _ => None,
        }
    }

    /// Looks whether an instruction uses memory below the stack pointer.
    fn access(&mut self, instruction: &Instruction, offset: u64) {
        let base = instruction.memory_base();
        if base != Register::RSP && base != Register::RBP
            || instruction.memory_index() != Register::None
            || instruction.segment_prefix() != Register::None
        {
            return;
        }
        let from = match base {
            Register::RSP => Some(self.state.depth),
            _ => self.state.frame.filter(|_| self.state.is_sure),
        };
        let is_below =
            from.is_some_and(|from| from.saturating_sub(displacement(instruction)) > self.state.depth);
        if is_below && !is_no_access(instruction) {
            let (_, count) = self.frame.below.get_or_insert((offset, 0));
            *count += 1;
        }
    }
}

/// Whether nothing is kept in the memory that an instruction names: it only computes the address, or writes there what
/// is there, which is a barrier (`smp_mb`: `lock addl $0, -4(%rsp)`) or touches a page of the stack.
fn is_no_access(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Lea | Mnemonic::Nop | Mnemonic::Pop => true,
        Mnemonic::Or | Mnemonic::Add => instruction.try_immediate(1).is_ok_and(|number| number == 0),
        _ => false,
    }
}

fn displacement(instruction: &Instruction) -> i64 {
    instruction.memory_displacement64().cast_signed()
}

/// The number of a general-purpose register, whichever part of it is meant.
fn index(register: Register) -> Option<usize> {
    let full = register.full_register();
    full.is_gpr64().then(|| full.number())
}
