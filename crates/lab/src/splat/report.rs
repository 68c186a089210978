// SPDX-License-Identifier: GPL-2.0-only
//! A report on its way: the lines that have come, and which may come next.

use std::time::Duration;

use super::frame::{frame, instruction_pointer, is_bare_address, processor, registers};
use super::start::{Form, Naming, Start, killed_process};
use super::title::title;
use super::{Frame, Kind, Line, Process, RustPanic, Splat};

/// The most lines of a report that are kept.
const LINES: usize = 400;
/// The most bytes of a line that are kept.
const WIDTH: usize = 1000;
/// The most functions of a trace that are kept.
const FRAMES: usize = 200;
/// How many lines that belong to nothing a report may wait for its next one.
const PATIENCE: u32 = 60;

/// What kind of line a report may have, as its text shows. The order is that in which they come.
///
/// Source: `show_regs` and `show_trace_log_lvl` in `arch/x86/kernel/dumpstack.c`, `__warn` in `kernel/panic.c`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// What is said of the fault before the processor is named.
    About,
    Die,
    Modules,
    Processor,
    Taint,
    Hardware,
    Work,
    Pointer,
    Code,
    StackPointer,
    Rax,
    Rdx,
    Rbp,
    R10,
    R13,
    Segments,
    MoreSegments,
    Control,
    CallTrace,
    /// A function, or a mark like `<TASK>`.
    Frame,
    /// `</TASK>`.
    TraceEnd,
    End,
    Other,
}

/// The shape of a line.
pub(super) fn shape(text: &str) -> Shape {
    let text = if text.starts_with("  ") { text.trim_start() } else { text };
    let has = |prefix: &str| text.starts_with(prefix);
    match text.as_bytes().first() {
        Some(b' ') => match text.trim() {
            "</TASK>" => Shape::TraceEnd,
            mark if mark.starts_with('<') && mark.ends_with('>') => Shape::Frame,
            _ if frame(text).is_some() || is_bare_address(text) => Shape::Frame,
            _ => Shape::Other,
        },
        Some(b'<') if has("</TASK>") => Shape::TraceEnd,
        Some(b'<') if text.ends_with('>') => Shape::Frame,
        Some(b'R') => {
            let rows = [
                ("RIP: ", Shape::Pointer),
                ("RSP: ", Shape::StackPointer),
                ("RAX: ", Shape::Rax),
                ("RDX: ", Shape::Rdx),
                ("RBP: ", Shape::Rbp),
                ("R10: ", Shape::R10),
                ("R13: ", Shape::R13),
            ];
            rows.iter().find(|(prefix, _)| has(prefix)).map_or(Shape::Other, |(_, shape)| *shape)
        }
        Some(b'C') if has("CPU: ") && processor(text).is_some() => Shape::Processor,
        Some(b'C') if has("Code: ") => Shape::Code,
        Some(b'C') if has("CS:  ") => Shape::MoreSegments,
        Some(b'C') if has("CR2: ") => Shape::Control,
        Some(b'C') if has("Call Trace:") => Shape::CallTrace,
        Some(b'F') if has("FS:  ") => Shape::Segments,
        Some(b'M') if has("Modules linked in:") => Shape::Modules,
        Some(b'T') if has("Tainted: [") => Shape::Taint,
        Some(b'H') if has("Hardware name: ") => Shape::Hardware,
        Some(b'W') if has("Workqueue: ") => Shape::Work,
        Some(b'#' | b'P') if has("#PF: ") || has("PGD ") => Shape::About,
        Some(b'-') if has("---[ end trace ") => Shape::End,
        _ if super::start::die_name(text).is_some() => Shape::Die,
        _ => Shape::Other,
    }
}

/// A report that is being said.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) start: Start,
    pub(super) caller: Option<String>,
    /// Whether it only repeats what another report has said: nothing comes of it.
    pub(super) is_echo: bool,
    at: Option<Duration>,
    lines: Vec<String>,
    trace: Vec<Frame>,
    registers: Vec<(String, u64)>,
    process: Option<Process>,
    cpu: Option<u32>,
    pub(super) panic: Option<RustPanic>,
    /// The last shape, and that of the registers of an interrupted function within the trace.
    stage: Shape,
    nested: Option<Shape>,
    has_died: bool,
    /// Whether its trace is whole: what else looks like one is of something else.
    has_trace: bool,
    pub(super) is_over: bool,
    missed: u32,
}

impl Report {
    pub(super) fn new(start: Start, line: &Line<'_>) -> Self {
        let process = start.process.clone();
        let mut report = Self {
            start,
            caller: line.caller.map(str::to_owned),
            is_echo: false,
            at: line.at,
            lines: Vec::new(),
            trace: Vec::new(),
            registers: Vec::new(),
            process,
            cpu: None,
            panic: None,
            stage: Shape::About,
            nested: None,
            has_died: false,
            has_trace: false,
            is_over: false,
            missed: 0,
        };
        report.begin(line.text);
        report
    }

    /// The first line.
    fn begin(&mut self, text: &str) {
        self.keep(text);
        if shape(text) == Shape::Die {
            (self.stage, self.has_died) = (Shape::Die, true);
        }
        // A warning names the function itself, and so does what has no registers.
        let place = text.rsplit_once(" at ").filter(|_| text.starts_with("WARNING: "));
        if let Some((_, place)) = place {
            let place = place.split_once(' ').map_or(place, |(_, function)| function);
            self.trace.extend(super::frame::symbol(place).map(|(frame, _)| Frame { exact: true, ..frame }));
        }
        if let Some(number) =
            text.split_once("CPU#").or_else(|| text.split_once("WARNING: CPU: ")).map(|(_, rest)| rest)
        {
            let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
            self.cpu = number[..end].parse().ok();
        }
        self.is_over = self.start.form == Form::Line;
    }

    /// Puts what came before the first line in front of it.
    pub(super) fn follow(&mut self, at: Option<Duration>, mut before: Vec<String>) {
        before.append(&mut self.lines);
        self.lines = before;
        self.at = at.or(self.at);
    }

    /// Whether the kernel has not died in this report yet and may say so: `BUG: …`, then `Oops: 0000 [#1]`.
    pub(super) fn may_die(&self) -> bool {
        self.start.form == Form::Trap
            && !self.has_died
            && self.stage < Shape::Processor
            && !matches!(self.start.kind, Kind::Warning | Kind::Refcount)
    }

    /// How well a line of this shape goes on from the last: 0 is best, nothing for not at all.
    pub(super) fn fit(&self, shape: Shape, text: &str) -> Option<u8> {
        if self.is_over {
            return None;
        }
        match self.start.form {
            Form::Line => None,
            Form::Fence | Form::Killing => Some(30),
            Form::Sections => (shape < Shape::Other || is_section(self.start.kind, text)).then_some(10),
            Form::Trap | Form::Trace | Form::Panic => self.fit_trace(shape, text),
        }
    }

    fn fit_trace(&self, shape: Shape, text: &str) -> Option<u8> {
        let is_in_trace = self.stage >= Shape::CallTrace && self.stage <= Shape::TraceEnd;
        match shape {
            Shape::Other => is_about(self.start.kind, self.stage, text).then_some(5),
            Shape::Frame if !is_in_trace || self.stage == Shape::TraceEnd => None,
            Shape::Frame => Some(0),
            // The registers of a function that was interrupted, and those of the program.
            Shape::Pointer if self.stage == Shape::Frame => Some(8),
            _ if is_in_trace && shape > Shape::Pointer && shape < Shape::CallTrace => {
                self.nested.filter(|nested| *nested < shape).map(|nested| shape as u8 - nested as u8)
            }
            // An oops lists the modules behind its trace, and says its address again.
            Shape::Modules if self.stage == Shape::TraceEnd => Some(0),
            Shape::Control if self.stage == Shape::TraceEnd => Some(1),
            Shape::End => Some(if self.stage >= Shape::Frame { 0 } else { 20 }),
            Shape::About if self.stage == Shape::About => Some(0),
            _ => (shape > self.stage).then(|| shape as u8 - self.stage as u8),
        }
    }

    /// Takes a line that fits.
    pub(super) fn take(&mut self, shape: Shape, text: &str) {
        self.missed = 0;
        let is_end = is_fence(text) && self.start.form == Form::Fence;
        if !is_end && shape != Shape::End {
            self.keep(text);
        }
        self.understand(shape, text);
        self.note_stage(shape);
        self.is_over = match self.start.form {
            Form::Line => true,
            Form::Trap | Form::Panic => shape == Shape::End || text.starts_with("---[ end Kernel panic"),
            Form::Trace => shape == Shape::TraceEnd || shape == Shape::End,
            Form::Fence => is_end || shape == Shape::End,
            Form::Killing => killed_process(text).is_some(),
            Form::Sections => shape == Shape::End,
        };
    }

    fn note_stage(&mut self, shape: Shape) {
        let is_in_trace = self.stage >= Shape::CallTrace && self.stage < Shape::TraceEnd;
        match shape {
            // What an allocator says of an object before it comes to the trace.
            Shape::Frame if self.stage < Shape::CallTrace => {}
            Shape::Processor if self.start.form == Form::Sections => {
                (self.stage, self.nested) = (shape, None)
            }
            _ if is_in_trace && shape < Shape::CallTrace => self.nested = Some(shape),
            Shape::Frame => (self.stage, self.nested) = (Shape::Frame, None),
            Shape::Modules if self.stage == Shape::TraceEnd => {}
            Shape::Control if self.stage == Shape::TraceEnd => {}
            Shape::Other => {}
            _ => self.stage = shape,
        }
        self.has_died |= shape == Shape::Die;
    }

    fn understand(&mut self, shape: Shape, text: &str) {
        let is_first = self.trace.is_empty() && !self.has_trace;
        match shape {
            Shape::Processor => {
                if let Some((cpu, process)) = processor(text) {
                    // A stall shows first the thread that is late, and then the one that is in its way.
                    if self.start.kind == Kind::RcuStall && self.registers.is_empty() {
                        (self.has_trace, self.process) = (false, None);
                        self.trace.clear();
                    }
                    self.cpu.get_or_insert(cpu);
                    self.process = self.process.take().or(process);
                }
            }
            Shape::Pointer => {
                let pointer = instruction_pointer(text).filter(|_| !self.has_trace);
                if self.stage < Shape::CallTrace && pointer.is_some() {
                    // A warning has named it already.
                    self.trace.clear();
                }
                self.trace.extend(pointer);
            }
            Shape::StackPointer
            | Shape::Rax
            | Shape::Rdx
            | Shape::Rbp
            | Shape::R10
            | Shape::R13
            | Shape::MoreSegments
            | Shape::Control => self.take_registers(text),
            Shape::Frame if !self.has_trace && self.trace.len() < FRAMES && self.wants_frames() => {
                self.trace.extend(frame(if text.starts_with(' ') { text } else { "" }));
            }
            Shape::TraceEnd => self.has_trace = true,
            Shape::Other if self.start.kind == Kind::Kfence && text.is_empty() && !is_first => {
                self.has_trace = true
            }
            Shape::Other => self.understand_text(text),
            _ => {}
        }
    }

    /// Whether a function belongs to the trace of what happened: a report of an allocator has others beside it.
    fn wants_frames(&self) -> bool {
        self.stage >= Shape::CallTrace || self.start.kind == Kind::Kfence
    }

    fn take_registers(&mut self, text: &str) {
        if self.stage >= Shape::CallTrace || self.has_trace {
            return;
        }
        for (name, value) in registers(text) {
            if self.registers.iter().all(|(known, _)| *known != name) {
                self.registers.push((name, value));
            }
        }
    }

    fn understand_text(&mut self, text: &str) {
        match self.start.kind {
            Kind::MemoryCorruption if self.start.naming == Naming::None => {
                if let Some(place) = text.strip_prefix("Allocated in ")
                    && let Some((function, _)) = super::frame::symbol(place)
                    && !self.start.what.contains(", allocated in ")
                {
                    self.start
                        .what
                        .push_str(&format!(", allocated in {}", super::title::function(&function, true)));
                }
            }
            Kind::SchedulingWhileAtomic => {
                let work = text.split_once("last function: ").or_else(|| text.split_once("workfn="));
                if let Some((_, work)) = work {
                    self.start.what = format!("{} by {work}", self.start.what);
                    self.start.naming = Naming::None;
                }
            }
            Kind::BadPage => {
                if let Some(why) = text.strip_prefix("page dumped because: ") {
                    self.start.what = format!("{}: {why}", self.start.what);
                }
            }
            Kind::OutOfMemory => {
                if let Some(process) = killed_process(text) {
                    self.start.what = format!("out of memory: {} was killed", process.name);
                }
            }
            Kind::Kasan => {
                let task = text.split_once(" by task ").map(|(_, task)| task);
                self.process = self.process.take().or_else(|| super::frame::process(task?, '/'));
            }
            _ => {}
        }
    }

    /// The allocator's report goes on with a warning, which has its trace.
    pub(super) fn go_on_with_warning(&mut self, text: &str) {
        self.keep(text);
        (self.stage, self.nested, self.has_trace) = (Shape::About, None, false);
    }

    /// A line has come that belongs to nothing. Gives whether the report is to be waited for no longer.
    pub(super) fn miss(&mut self, is_own_callers: bool) -> bool {
        self.missed += 1;
        let may_end = match self.start.form {
            Form::Sections => self.has_trace || is_own_callers,
            Form::Trace => self.stage >= Shape::Frame,
            _ => false,
        };
        may_end || self.missed > PATIENCE
    }

    fn keep(&mut self, text: &str) {
        if self.lines.len() < LINES {
            let end = (0..=WIDTH.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            self.lines.push(text[..end].trim_end().to_owned());
        } else if self.start.form == Form::Fence || self.start.form == Form::Killing {
            self.is_over = true;
        }
    }

    /// What has come of it.
    pub(super) fn finish(self) -> Splat {
        Splat {
            kind: self.start.kind,
            title: title(&self.start, &self.trace, self.panic.as_ref()),
            lines: self.lines,
            trace: self.trace,
            registers: self.registers,
            process: self.process,
            cpu: self.cpu,
            at: self.at,
            during: None,
            panic: self.panic,
        }
    }
}

/// Whether a line stands between two reports of `=`.
fn is_fence(text: &str) -> bool {
    text.len() > 20 && text.bytes().all(|byte| byte == b'=')
}

/// Lines without a shape of their own that a report may have before its trace.
fn is_about(kind: Kind, stage: Shape, text: &str) -> bool {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    if starts(&[
        "irq event stamp: ",
        "hardirqs last ",
        "softirqs last ",
        "Preemption disabled at:",
        "Kernel Offset: ",
    ]) {
        return true;
    }
    if stage >= Shape::CallTrace {
        return false;
    }
    match kind {
        Kind::HungTask => {
            starts(&["      ", "\"echo 0 > /proc/sys/kernel/hung_task_timeout_secs\"", "task:"])
        }
        Kind::AtomicSleep => starts(&["in_atomic(): ", "preempt_count: ", "RCU nest depth: "]),
        Kind::SchedulingWhileAtomic => starts(&["     "]),
        Kind::BadPage => starts(&[
            "page:",
            "page: ",
            "flags: ",
            "raw: ",
            "page dumped because: ",
            "addr:",
            "file:",
            "aops:",
            "head:",
            "page_type: ",
        ]),
        // Lockdep says much between its first line and the trace.
        Kind::Lockdep => true,
        Kind::SoftLockup | Kind::HardLockup => starts(&["Sending NMI", "NMI backtrace"]),
        _ => starts(&["BUG: unable to handle ", "Oops: ", "Unable to access opcode bytes"]),
    }
}

/// Lines without a shape of their own that reports of several sections may have.
fn is_section(kind: Kind, text: &str) -> bool {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    if text.is_empty() || starts(&["Disabling lock debugging due to kernel taint", "-----"]) {
        return true;
    }
    match kind {
        Kind::RcuStall => {
            starts(&["rcu: ", "\t", "Sending NMI", "NMI backtrace", "task:", "Task dump for CPU"])
                && !text.contains("INFO: ")
        }
        _ => starts(&[
            "0x",
            "Slab 0x",
            "Object ",
            "Object 0x",
            "Redzone ",
            "Padding ",
            "Bytes b4 ",
            "Allocated in ",
            "Freed in ",
            "FIX ",
            "object allocation/free stack trace missing",
            "Invalid pointer ",
            "INFO: ",
            "Disabling ",
        ]),
    }
}
