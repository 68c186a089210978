// SPDX-License-Identifier: GPL-2.0-only
//! Trouble that a kernel reports of itself, as data.

mod frame;
mod line;
mod page;
mod parser;
mod policy;
mod report;
mod start;
mod symbolise;
mod taint;
#[cfg(test)]
mod tests;
mod title;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
pub(crate) use symbolise::Sources;
pub use symbolise::{ModuleFile, symbolise};

pub use line::{Line, merge};
pub use page::kinds_page;
pub use parser::{Parser, parse, parse_lines};
pub use policy::{Expectation, Judged, Kinds, judge, kind_named};
pub use taint::unexplained_taint;

/// What the kernel complains of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// `BUG()`, or `BUG_ON()` of what holds.
    Bug,
    /// A Rust panic.
    RustPanic,
    /// An access to an address that nothing is at, or that may not be used in this way.
    PageFault,
    /// An access that the processor forbids, as to an address that can't exist.
    GeneralProtection,
    /// An instruction that does not exist, and is not `BUG()`'s.
    InvalidOpcode,
    /// A division by zero, or one whose result is too large.
    DivideError,
    /// A stack that ran over: into its guard page, or over the end that the kernel watches.
    StackOverflow,
    /// A function's stack canary that was written over.
    StackCorruption,
    /// Any other processor exception.
    Exception,
    /// `WARN()`, or `WARN_ON()` of what holds.
    Warning,
    /// A processor that stayed in the kernel for too long.
    SoftLockup,
    /// A processor that did not even take interrupts.
    HardLockup,
    /// A task that did not get on.
    HungTask,
    /// A grace period that did not end.
    RcuStall,
    /// A lock taken in a wrong order, a wrong context, or not released.
    Lockdep,
    /// What may sleep was called where nothing may.
    AtomicSleep,
    /// A task that gave the processor away where it may not.
    SchedulingWhileAtomic,
    /// A list whose links do not agree.
    ListCorruption,
    /// A reference count that ran over, or that went on after its end.
    Refcount,
    /// A use after free or out of bounds that an allocator noticed.
    MemoryCorruption,
    /// A report of KASAN.
    Kasan,
    /// A report of UBSAN.
    Ubsan,
    /// A report of KFENCE.
    Kfence,
    /// A report of kmemleak.
    Kmemleak,
    /// Memory ran out, and the kernel ended a process for it.
    OutOfMemory,
    /// A page in a state that it can't be in.
    BadPage,
    /// A cache that was destroyed with objects in it.
    ObjectsRemaining,
    /// A taint of which no report tells.
    Taint,
    /// The end of the kernel, for a reason that has no kind of its own.
    Panic,
}

/// How bad trouble is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A report with a trace; the kernel goes on.
    Warning,
    /// Something did not come to an end: a lockup, a hung task, a stall.
    Lockup,
    /// What the kernel can't be trusted after: an oops, a panic.
    Oops,
}

/// A report of the kernel's: what it says from its first line to the last of its trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splat {
    /// What it complains of.
    pub kind: Kind,
    /// One line that is the same each time: what, and in which function, without an address or a number that
    /// differs from run to run.
    pub title: String,
    /// The report as it was printed, line by line, without time stamps.
    pub lines: Vec<String>,
    /// Where it happened, innermost first.
    pub trace: Vec<Frame>,
    /// The registers that it shows.
    pub registers: Vec<(String, u64)>,
    /// Which process was running, where that is said.
    pub process: Option<Process>,
    /// On which processor.
    pub cpu: Option<u32>,
    /// When it began: the time since the kernel started.
    pub at: Option<Duration>,
    /// The test in which it happened.
    pub during: Option<String>,
    /// What Rust said of it, where it was a panic.
    pub panic: Option<RustPanic>,
}

impl Splat {
    /// A report of which no more is known than this.
    pub fn new(kind: Kind, title: String, lines: Vec<String>) -> Self {
        Self {
            kind,
            title,
            lines,
            trace: Vec::new(),
            registers: Vec::new(),
            process: None,
            cpu: None,
            at: None,
            during: None,
            panic: None,
        }
    }
}

/// A process, as a report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Its number.
    pub pid: u32,
}

/// What a Rust panic says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RustPanic {
    /// Its message.
    pub message: String,
    /// `file:line:column`.
    pub place: String,
}

/// One line of a trace: `function+0x12/0x80 [module]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The symbol as the kernel names it.
    pub symbol: String,
    /// How far behind the symbol, in bytes. In a trace that is where the call returns to.
    pub offset: u64,
    /// How long the function is, in bytes.
    pub size: u64,
    /// The module that it is in; nothing for the kernel.
    pub module: Option<String>,
    /// Whether the unwinder vouches for it: it does not for those marked `?`.
    pub reliable: bool,
    /// Whether the address is that of the instruction itself (`RIP`), not one that a call returns to.
    pub exact: bool,
    /// Whether it may be in either of several functions of the same name and size; then no place is known.
    #[serde(default)]
    pub ambiguous: bool,
    /// Where that is in the source, innermost inlined function first; empty where it isn't known.
    pub places: Vec<Place>,
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The function, demangled.
    pub function: String,
    /// Its language.
    pub language: Language,
    /// The file, as the debug information has it or, where it is found, relative to the project.
    pub file: String,
    /// Counted from 1; 0 where the compiler says that the code comes from no one line.
    pub line: u32,
    /// Counted from 1; nothing where it isn't known.
    pub column: Option<u32>,
    /// The source around the line, where the file could be read.
    pub excerpt: Vec<SourceLine>,
}

/// A line of source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLine {
    /// Counted from 1.
    pub number: u32,
    /// Without its end.
    pub text: String,
}

/// What a function is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Language {
    /// C.
    C,
    /// Rust.
    Rust,
    /// Assembly, or what isn't known.
    Other,
}

impl Frame {
    /// The symbol's name, demangled.
    pub fn function(&self) -> String {
        ko::readable(&self.symbol)
    }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 29] = [
        Self::Bug,
        Self::RustPanic,
        Self::PageFault,
        Self::GeneralProtection,
        Self::InvalidOpcode,
        Self::DivideError,
        Self::StackOverflow,
        Self::StackCorruption,
        Self::Exception,
        Self::Warning,
        Self::SoftLockup,
        Self::HardLockup,
        Self::HungTask,
        Self::RcuStall,
        Self::Lockdep,
        Self::AtomicSleep,
        Self::SchedulingWhileAtomic,
        Self::ListCorruption,
        Self::Refcount,
        Self::MemoryCorruption,
        Self::Kasan,
        Self::Ubsan,
        Self::Kfence,
        Self::Kmemleak,
        Self::OutOfMemory,
        Self::BadPage,
        Self::ObjectsRemaining,
        Self::Taint,
        Self::Panic,
    ];

    /// The name, as `vexlab.toml`, `--allow` and reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bug => "bug",
            Self::RustPanic => "rust-panic",
            Self::PageFault => "page-fault",
            Self::GeneralProtection => "general-protection",
            Self::InvalidOpcode => "invalid-opcode",
            Self::DivideError => "divide-error",
            Self::StackOverflow => "stack-overflow",
            Self::StackCorruption => "stack-corruption",
            Self::Exception => "exception",
            Self::Warning => "warning",
            Self::SoftLockup => "soft-lockup",
            Self::HardLockup => "hard-lockup",
            Self::HungTask => "hung-task",
            Self::RcuStall => "rcu-stall",
            Self::Lockdep => "lockdep",
            Self::AtomicSleep => "atomic-sleep",
            Self::SchedulingWhileAtomic => "scheduling-while-atomic",
            Self::ListCorruption => "list-corruption",
            Self::Refcount => "refcount",
            Self::MemoryCorruption => "memory-corruption",
            Self::Kasan => "kasan",
            Self::Ubsan => "ubsan",
            Self::Kfence => "kfence",
            Self::Kmemleak => "kmemleak",
            Self::OutOfMemory => "out-of-memory",
            Self::BadPage => "bad-page",
            Self::ObjectsRemaining => "objects-remaining",
            Self::Taint => "taint",
            Self::Panic => "panic",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Self::Bug
            | Self::RustPanic
            | Self::PageFault
            | Self::GeneralProtection
            | Self::InvalidOpcode
            | Self::DivideError
            | Self::StackOverflow
            | Self::StackCorruption
            | Self::Exception
            | Self::Panic => Severity::Oops,
            Self::SoftLockup | Self::HardLockup | Self::HungTask | Self::RcuStall => Severity::Lockup,
            Self::Warning
            | Self::Lockdep
            | Self::AtomicSleep
            | Self::SchedulingWhileAtomic
            | Self::ListCorruption
            | Self::Refcount
            | Self::MemoryCorruption
            | Self::Kasan
            | Self::Ubsan
            | Self::Kfence
            | Self::Kmemleak
            | Self::OutOfMemory
            | Self::BadPage
            | Self::ObjectsRemaining
            | Self::Taint => Severity::Warning,
        }
    }
}

impl Splat {
    /// How bad it is: as bad as its kind, or worse, where the kernel oopsed or panicked over it.
    pub fn severity(&self) -> Severity {
        let is_death = |line: &String| {
            start::die_name(line).is_some() || line.starts_with("Kernel panic - not syncing: ")
        };
        if self.lines.iter().any(is_death) { Severity::Oops } else { self.kind.severity() }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
