// SPDX-License-Identifier: GPL-2.0-only
//! Where the time goes in a machine: instructions, counted by the calls that led to them, or samples.
//!
//! QEMU counts, by a plugin of ours (`crates/profiler`), while the agent says that it should. Nothing is sampled then, so
//! there is nothing that a profile could miss, and a test that does the same has the same profile. With KVM there is nobody to
//! count: the machine's own kernel looks, again and again, where its processors are. Both are told by address; [`Profile`]
//! has them by function, inlined ones as well, as traces are told.

/// Counts beside instructions and sources.
mod annotate;
/// Stacks for other programs, and as a picture.
mod graph;
/// Profiles for other programs.
mod json;
/// A running kernel's memory.
mod memory;
/// Frames for addresses.
mod places;
/// The plugin as a file.
mod plugin;
/// What the plugin writes.
mod raw;
/// What the machine's own kernel has seen.
mod samples;
/// The functions of a running kernel.
mod symbols;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ko::Symbolised;

pub(crate) use annotate::nearest;
pub use annotate::{Annotated, Line};
pub use json::Document;
pub(crate) use memory::Memory;
pub(crate) use plugin::refusal;
pub use samples::{Clock, Samples, Sampling};

use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::splat::{Language, ModuleFile, Place};
use places::{Places, Spot};
use raw::Raw;
use symbols::Symbols;

/// A plugin in a machine's QEMU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its file.
    pub file: PathBuf,
    /// Where it writes what it has counted.
    pub out: PathBuf,
}

impl Plugin {
    /// The plugin, which is to write to a file in `dir`.
    ///
    /// # Errors
    ///
    /// When it can't be provided.
    pub(crate) fn provide(lab: &Lab, dir: &Path) -> Result<Self> {
        Ok(Self { file: plugin::provide(lab)?, out: dir.join("profile") })
    }
}

/// How it is found out what a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Each instruction is counted, by the emulator.
    Counted,
    /// The machine's kernel looks where its processors are.
    Sampled {
        /// How often in a second, on each of them.
        rate: u32,
        /// Also in a machine that is emulated, whose time is the emulator's.
        force: bool,
    },
}

/// What was found out in a machine.
#[derive(Debug, Clone)]
pub enum Told {
    /// What the plugin has written.
    Counted(String),
    /// What the kernel has seen.
    Sampled(Samples),
}

/// What was counted, or sampled, in one machine, as it was told there.
#[derive(Debug, Clone)]
pub struct Counted {
    /// What it was.
    pub told: Told,
    /// The machine's `/proc/kallsyms`.
    pub kallsyms: String,
    /// The module that was loaded.
    pub module: Option<ModuleFile>,
}

/// What of a machine is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All that was executed.
    Machine,
    /// What the module did, and what was done for it: each stack begins with its first frame that is the module's; of
    /// a test, with the test's own, since what the runner says and counts is not the test's work.
    Module,
}

/// A function on a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// Its name, demangled.
    pub function: String,
    /// The module that it is in; nothing for the kernel itself.
    pub module: Option<String>,
    /// What it is written in.
    pub language: Language,
    /// The file with its source, from the project's folder, where that is known.
    pub file: Option<String>,
    /// Whether it is in the code of the function before it.
    pub is_inlined: bool,
}

/// The frame that stands for all programs.
pub(crate) const PROGRAM: &str = "[program]";

/// The frame that interrupts begin with: what they interrupted has not called them.
pub(crate) const INTERRUPT: &str = "[interrupt]";

/// The headers that have what runs tests in a module, and what runs benchmarks.
const RUNNERS: [&str; 2] = ["vexlab/ktest_main.h", "vexlab/kbench_main.h"];

impl Frame {
    /// One that is no function.
    fn named(name: &str) -> Self {
        let function = name.to_owned();
        Self { function, module: None, language: Language::Other, file: None, is_inlined: false }
    }

    /// Whether the processor comes here by an interrupt, not by a call; or goes back from one.
    ///
    /// Source: `arch/x86/entry/entry_64.S` of Linux.
    fn is_interrupt(&self) -> bool {
        const NAMES: [&str; 11] = [
            "asm_common_interrupt",
            "asm_exc_nmi",
            "common_interrupt",
            "common_interrupt_return",
            "asm_spurious_interrupt",
            "irq_entries_start",
            "error_return",
            "restore_regs_and_return_to_kernel",
            "native_irq_return_iret",
            "native_iret",
            "early_xen_iret_patch",
        ];
        let name = self.function.as_str();
        self.module.is_none()
            && (name.starts_with("asm_sysvec_") || name.starts_with("sysvec_") || NAMES.contains(&name))
    }
}

impl Frame {
    /// Whether it is of what runs tests or benchmarks in a module.
    fn is_runner(&self) -> bool {
        self.file.as_ref().is_some_and(|file| RUNNERS.iter().any(|runner| file.ends_with(runner)))
    }
}

/// A frame by its number.
type FrameId = u32;

/// Where the instructions were executed, or the samples taken, by function.
#[derive(Debug, Default)]
pub struct Profile {
    /// The instructions that were counted, or the samples.
    pub total: u64,
    /// Those that [`Scope`] left out.
    pub outside: u64,
    /// How samples were taken; nothing where instructions were counted.
    pub sampling: Option<Sampling>,
    frames: Vec<Frame>,
    numbers: HashMap<Frame, FrameId>,
    /// Outermost first.
    stacks: BTreeMap<Vec<FrameId>, u64>,
    /// By machine and address.
    places: BTreeMap<(usize, u64), Instruction>,
}

/// An instruction, and how often it was executed, or was about to be when a sample was taken.
#[derive(Debug)]
struct Instruction {
    executions: u64,
    /// None where it isn't known what was there.
    bytes: Vec<u8>,
    /// The function with a symbol, and how far behind its beginning.
    symbol: String,
    offset: u64,
    /// The functions that it is in, innermost last.
    frames: Vec<FrameId>,
    /// Its line.
    place: Option<Place>,
    /// Where it leads, if it says so: function, and bytes behind its beginning.
    target: Option<(String, u64)>,
}

/// A function's part of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The function.
    pub frame: Frame,
    /// Instructions of its own, or samples.
    pub own: u64,
    /// The same with what it has called.
    pub total: u64,
}

impl Profile {
    /// Finds the functions of what was counted. Lines of sources that were changed after `built` are not shown.
    ///
    /// # Errors
    ///
    /// When there is nothing, or it can't be read.
    pub fn of(counted: &[Counted], scope: Scope, built: SystemTime) -> Result<Self> {
        let mut profile = Self::default();
        for (machine, counted) in counted.iter().enumerate() {
            profile.add(machine, counted, scope, built)?;
        }
        if profile.total == 0 {
            return Err(profile.is_empty(scope));
        }
        Ok(profile)
    }

    /// What is counted in it, in words.
    pub fn unit(&self) -> &'static str {
        if self.sampling.is_some() { "samples" } else { "instructions" }
    }

    /// Why there is nothing in it.
    fn is_empty(&self, scope: Scope) -> Error {
        let longer = "what takes so little time is not seen: --repeat COUNT has tests carried out again and again, --rate \
            HERTZ has it looked more often";
        match (scope, self.sampling) {
            (Scope::Module, None) if self.outside > 0 => {
                let what =
                    format!("none of the {} instructions that were counted is the module's", self.outside);
                Error::usage(what)
                    .with_remedy("`vexlab profile -- COMMAND` looks at all that the machine does")
            }
            (Scope::Module, Some(_)) if self.outside > 0 => {
                Error::usage(format!("none of the {} samples is in the module", self.outside))
                    .with_remedy(longer)
            }
            (_, Some(_)) => Error::usage("the profile has no samples").with_remedy(format!(
                "{longer}; of tests, those are sampled that are run one by one, by `ktests`, and programs, by `run`"
            )),
            _ => Error::usage("the profile is empty: nothing was executed between its beginning and its end")
                .with_remedy("name a test of the module's, or a command that does something in the kernel"),
        }
    }

    fn add(&mut self, machine: usize, counted: &Counted, scope: Scope, built: SystemTime) -> Result<()> {
        let symbols = Symbols::parse(&counted.kallsyms).ok_or_else(|| {
            Error::lab("the kernel doesn't say in /proc/kallsyms where its functions are")
                .with_remedy("a profile needs a kernel that was configured with CONFIG_KALLSYMS")
        })?;
        let bytes = match &counted.module {
            Some(module) => fs::read(&module.file).context(|| format!("read {}", module.file.display()))?,
            None => Vec::new(),
        };
        let file = match &counted.module {
            Some(module) => Some(Symbolised::read(&bytes).map_err(|error| {
                Error::lab(format!("read the symbols of {}", module.file.display())).with_source(error)
            })?),
            None => None,
        };
        let index = file.as_ref().map(Symbolised::index);
        let module = counted.module.as_ref().zip(index.as_ref());
        let mut places = Places::new(symbols, module, built);
        match &counted.told {
            Told::Counted(text) => {
                let raw = Raw::parse(text).map_err(|why| {
                    Error::lab("what was counted in QEMU is damaged").with_source(why).with_remedy(
                        "run it again; where the disk was full, `vexlab cache prune` makes space",
                    )
                })?;
                self.count(machine, &raw, &mut places, scope);
            }
            Told::Sampled(samples) => self.sample(machine, samples, &mut places, scope),
        }
        Ok(())
    }

    fn count(&mut self, machine: usize, raw: &Raw, places: &mut Places<'_>, scope: Scope) {
        let paths = self.paths(raw, places);
        let leaves: HashMap<u32, Vec<Leaf>> =
            raw.blocks.iter().map(|(number, block)| (*number, self.leaves(block, places))).collect();
        let ours = places.module().map(str::to_owned);
        for (call, block, executions) in &raw.counts {
            for leaf in &leaves[block] {
                let mut stack = paths[*call].clone();
                stack.extend(&leaf.frames);
                let length = leaf.instructions.len().max(leaf.length) as u64;
                let instructions = executions.saturating_mul(length);
                let Some(stack) = self.in_scope(stack, scope, ours.as_deref()) else {
                    self.outside += instructions;
                    continue;
                };
                self.total += instructions;
                *self.stacks.entry(stack).or_default() += instructions;
                for (address, bytes) in &leaf.instructions {
                    self.instruction(machine, *address, bytes, places).executions += executions;
                }
            }
        }
    }

    /// The instruction at an address, which these bytes are where it is new.
    fn instruction(
        &mut self,
        machine: usize,
        address: u64,
        bytes: &[u8],
        places: &mut Places<'_>,
    ) -> &mut Instruction {
        let key = (machine, address);
        let spot = places.spot(address, true);
        let frames = if self.places.contains_key(&key) { Vec::new() } else { self.frames_of(&spot) };
        self.places.entry(key).or_insert_with(|| Instruction {
            executions: 0,
            bytes: bytes.to_owned(),
            symbol: spot.symbol.clone(),
            offset: spot.offset,
            frames,
            place: spot.place.clone(),
            target: annotate::target(address, bytes).map(|target| {
                let spot = places.spot(target, true);
                (spot.symbol.clone(), spot.offset)
            }),
        })
    }

    /// The frames of each call, outermost first.
    fn paths(&mut self, raw: &Raw, places: &mut Places<'_>) -> Vec<Vec<FrameId>> {
        let mut paths: Vec<Vec<FrameId>> = vec![Vec::new()];
        for (from, returns_to) in &raw.calls[1..] {
            let mut path = paths[*from].clone();
            path.extend(self.frames_of(&places.spot(*returns_to, false)));
            paths.push(path);
        }
        paths
    }

    fn frames_of(&mut self, spot: &Spot) -> Vec<FrameId> {
        spot.frames.iter().map(|frame| self.number(frame)).collect()
    }

    fn number(&mut self, frame: &Frame) -> FrameId {
        if let Some(number) = self.numbers.get(frame) {
            return *number;
        }
        let number = self.frames.len() as FrameId;
        self.frames.push(frame.clone());
        self.numbers.insert(frame.clone(), number);
        number
    }

    /// The instructions of a block, by what they are in.
    fn leaves(&mut self, block: &raw::Block, places: &mut Places<'_>) -> Vec<Leaf> {
        if block.code.is_empty() {
            let frames = vec![self.number(&Frame::named(PROGRAM))];
            return vec![Leaf { frames, instructions: Vec::new(), length: block.instructions as usize }];
        }
        let mut leaves: Vec<Leaf> = Vec::new();
        for (address, bytes) in annotate::instructions(block.address, &block.code) {
            let frames = self.frames_of(&places.spot(address, true));
            match leaves.iter_mut().find(|leaf| leaf.frames == frames) {
                Some(leaf) => leaf.instructions.push((address, bytes)),
                None => leaves.push(Leaf { frames, instructions: vec![(address, bytes)], length: 0 }),
            }
        }
        leaves
    }

    /// What of a stack is looked at, if it is.
    fn in_scope(&mut self, stack: Vec<FrameId>, scope: Scope, ours: Option<&str>) -> Option<Vec<FrameId>> {
        let frame = |number: &FrameId| &self.frames[*number as usize];
        let interrupt = stack.iter().rposition(|number| frame(number).is_interrupt());
        match (scope, interrupt) {
            (Scope::Machine, None) => Some(stack),
            (Scope::Machine, Some(at)) => {
                let mut interrupted = vec![self.number(&Frame::named(INTERRUPT))];
                interrupted.extend(&stack[at..]);
                Some(interrupted)
            }
            (Scope::Module, at) => {
                let stack = &stack[at.unwrap_or(0)..];
                let is_ours = |number: &FrameId| ours.is_some() && frame(number).module.as_deref() == ours;
                let runner = stack.iter().rposition(|number| is_ours(number) && frame(number).is_runner());
                // A test is called by its address, so it is inlined nowhere; what the runner uses itself may be.
                let is_test = |number: &&FrameId| is_ours(number) && !frame(number).is_inlined;
                match runner {
                    Some(at) => stack.get(at + 1).filter(is_test).map(|_| stack[at + 1..].to_owned()),
                    None => stack.iter().position(is_ours).map(|first| stack[first..].to_owned()),
                }
            }
        }
    }

    /// The functions, those with the most of their own first.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: BTreeMap<(&str, Option<&str>), Part> = BTreeMap::new();
        for (stack, instructions) in &self.stacks {
            let mut seen = Vec::new();
            for (depth, number) in stack.iter().enumerate() {
                let frame = &self.frames[*number as usize];
                let key = (frame.function.as_str(), frame.module.as_deref());
                let part =
                    parts.entry(key).or_insert_with(|| Part { frame: frame.clone(), own: 0, total: 0 });
                if !seen.contains(&key) {
                    part.total += instructions;
                    seen.push(key);
                }
                if depth + 1 == stack.len() {
                    part.own += instructions;
                }
                // One that has a place of its own somewhere is told as such.
                part.frame.is_inlined &= frame.is_inlined;
            }
        }
        let mut parts: Vec<Part> = parts.into_values().collect();
        parts.sort_by(|a, b| (b.own, b.total, &a.frame.function).cmp(&(a.own, a.total, &b.frame.function)));
        parts
    }
}

/// What of a block is in the same functions.
struct Leaf {
    /// Outermost first.
    frames: Vec<FrameId>,
    instructions: Vec<(u64, Vec<u8>)>,
    /// How many there are, where they aren't known one by one.
    length: usize,
}

#[cfg(test)]
mod tests;
