// SPDX-License-Identifier: GPL-2.0-only
//! The lines that reports begin with. A word inside a line means nothing; what a line begins with does.

use super::frame::process;
use super::{Kind, Process};

/// How a report goes on, and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Registers and a trace, up to `---[ end trace`.
    Trap,
    /// A trace; its last line is the end.
    Trace,
    /// As `Trace`, with more behind it: what `slub` says of an object, or RCU of its threads.
    Sections,
    /// Any text, up to a line of `=`.
    Fence,
    /// Any text, up to the line that names who was killed.
    Killing,
    /// The line alone.
    Line,
    /// To the end of all.
    Panic,
}

/// Which function a title names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// The one with the instruction, and the module's that called it.
    Exact,
    /// The module's that called the one that noticed.
    Caller,
    /// As `Caller`, without the offset: where in it the processor was caught is chance.
    Function,
    /// None: the text says it already.
    None,
}

/// A line that begins a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) kind: Kind,
    /// What it says, without what differs from run to run.
    pub(super) what: String,
    pub(super) naming: Naming,
    pub(super) form: Form,
    pub(super) process: Option<Process>,
}

impl Start {
    fn new(kind: Kind, what: impl Into<String>, naming: Naming, form: Form) -> Self {
        Self { kind, what: what.into(), naming, form, process: None }
    }

    fn of(self, process: Option<Process>) -> Self {
        Self { process, ..self }
    }
}

/// The start that a line is.
pub(super) fn start(text: &str) -> Option<Start> {
    // Most lines are none, and are told so by their first letter.
    let found = match text.as_bytes().first()? {
        b'B' => bug(text),
        b'W' => warning(text),
        b'K' => panic(text),
        b'I' | b'r' => stuck(text),
        b'k' => of_kernel(text),
        b'w' | b'N' => watchdog(text),
        b'O' | b'M' => killed(text),
        b'U' => text.strip_prefix("UBSAN: ").map(|what| {
            Start::new(Kind::Ubsan, format!("UBSAN: {}", scrubbed(what)), Naming::None, Form::Fence)
        }),
        b'[' => text
            .strip_prefix("[ BUG: ")
            .and_then(|text| text.strip_suffix(" ]"))
            .map(|what| Start::new(Kind::Lockdep, what.trim_end_matches('!'), Naming::Caller, Form::Trace)),
        _ => None,
    };
    found.or_else(|| die(text)).or_else(|| out_of_memory(text))
}

/// `BUG: …`, and the reports of `slub`, which begin with `BUG CACHE (`.
fn bug(text: &str) -> Option<Start> {
    if let Some(rest) = text.strip_prefix("BUG ") {
        return slub(rest);
    }
    let text = text.strip_prefix("BUG: ")?;
    let has = |prefix: &str| text.starts_with(prefix);
    let trace = |kind, what: &str| Some(Start::new(kind, what, Naming::Caller, Form::Trace));
    if has("kernel NULL pointer dereference") {
        return Some(Start::new(Kind::PageFault, "NULL pointer dereference", Naming::Exact, Form::Trap));
    }
    if has("unable to handle ") {
        return Some(Start::new(Kind::PageFault, "page fault", Naming::Exact, Form::Trap));
    }
    if text.contains("stack guard page was hit") {
        return Some(Start::new(Kind::StackOverflow, "stack overflow", Naming::Function, Form::Trap));
    }
    if let Some(rest) = text.strip_prefix("scheduling while atomic: ") {
        let of = rest.rsplit_once('/').and_then(|(task, _)| process(task, '/'));
        return trace(Kind::SchedulingWhileAtomic, "scheduling while atomic").map(|start| start.of(of));
    }
    if has("workqueue leaked ") {
        return trace(Kind::SchedulingWhileAtomic, text.split(':').next().unwrap_or(text));
    }
    if has("sleeping function called from invalid context") || has("scheduling in a non-blocking section") {
        return trace(Kind::AtomicSleep, text.split(": ").next().unwrap_or(text));
    }
    if has("assuming ") {
        return trace(Kind::Warning, text);
    }
    if let Some(rest) = text.strip_prefix("using ") {
        let name = rest.split(" in preemptible").next().unwrap_or(rest);
        return trace(Kind::Warning, &format!("using {name} in preemptible code"));
    }
    if has("spinlock ") || has("rwlock ") {
        return trace(Kind::Lockdep, text.split(" on CPU#").next().unwrap_or(text));
    }
    if has("MAX_") || has("looking up invalid subclass") || text.ends_with("has not been registered!") {
        return trace(Kind::Lockdep, &scrubbed(text));
    }
    if has("Bad page state") || has("Bad page map") || has("Bad page cache") {
        let what = text.split(" in process").next().unwrap_or(text);
        return Some(Start::new(Kind::BadPage, what, Naming::None, Form::Trace));
    }
    if has("Bad rss-counter") || has("non-zero pgtables_bytes") {
        let what = if has("Bad") { "Bad rss-counter state" } else { "non-zero pgtables_bytes" };
        return Some(Start::new(Kind::BadPage, what, Naming::None, Form::Line));
    }
    if has("soft lockup") {
        return Some(soft_lockup(text));
    }
    if has("workqueue lockup") {
        return Some(Start::new(Kind::SoftLockup, "workqueue lockup", Naming::None, Form::Line));
    }
    let sanitizers = [
        ("KASAN: ", Kind::Kasan),
        ("KFENCE: ", Kind::Kfence),
        ("KMSAN: ", Kind::MemoryCorruption),
        ("KCSAN: ", Kind::Warning),
    ];
    if let Some((_, kind)) = sanitizers.iter().find(|(prefix, _)| has(prefix)) {
        let what = without_sizes(text);
        let naming = if what.contains("+0x") { Naming::None } else { Naming::Caller };
        return Some(Start::new(*kind, what, naming, Form::Fence));
    }
    Some(Start::new(Kind::Bug, scrubbed(text), Naming::Caller, Form::Trace))
}

/// Source: `slab_bug` in `mm/slub.c`.
fn slub(text: &str) -> Option<Start> {
    let (cache, rest) = text.split_once(" (").filter(|(cache, _)| !cache.contains(' '))?;
    let (taint, what) = rest.split_once("): ")?;
    if !taint.starts_with("Tainted: ") && taint != "Not tainted" {
        return None;
    }
    if what.starts_with("Objects remaining") {
        return Some(remaining(cache));
    }
    let what = format!("{cache}: {}", scrubbed(what));
    Some(Start::new(Kind::MemoryCorruption, what, Naming::None, Form::Sections))
}

fn remaining(cache: &str) -> Start {
    let what = format!("objects remaining in {cache}");
    Start::new(Kind::ObjectsRemaining, what, Naming::None, Form::Sections)
}

/// Source: `__warn` in `kernel/panic.c`, `kernel/locking/lockdep.c`.
fn warning(text: &str) -> Option<Start> {
    let text = text.strip_prefix("WARNING: ")?;
    let lockdep = [
        "possible ",
        "inconsistent lock state",
        "bad unlock balance detected!",
        "held lock freed!",
        "suspicious RCU usage",
        "lock held when returning to user space!",
        "Nested lock was not taken",
        "bad contention detected!",
        "chain_key collision",
    ];
    let is_order = text.contains("-safe -> ") && text.ends_with(" lock order detected");
    if is_order
        || text.ends_with(" still has locks held!")
        || lockdep.iter().any(|prefix| text.starts_with(prefix))
    {
        let what = match text.strip_suffix(" still has locks held!") {
            Some(_) => "locks still held",
            None => text.trim_end_matches('!'),
        };
        return Some(Start::new(Kind::Lockdep, what, Naming::Caller, Form::Trace));
    }
    // The processor's number stands at the front, or, since 6.18 or so, behind the function.
    let is_trap = text.starts_with("CPU: ") && text.contains(" PID: ")
        || text.contains("+0x") && text.contains(", CPU#");
    (is_trap && text.contains(" at "))
        .then(|| Start::new(Kind::Warning, "WARNING", Naming::Exact, Form::Trap))
}

/// Source: `panic` in `kernel/panic.c`.
fn panic(text: &str) -> Option<Start> {
    let what = text.strip_prefix("Kernel panic - not syncing: ")?;
    if let Some(place) = what.strip_prefix("stack-protector: Kernel stack is corrupted in: ") {
        let what = format!("stack corruption in {}", without_sizes(place));
        return Some(Start::new(Kind::StackCorruption, what, Naming::None, Form::Panic));
    }
    if what.starts_with("corrupted stack end") {
        let what = "stack overflow: its end is corrupted";
        return Some(Start::new(Kind::StackOverflow, what, Naming::Caller, Form::Panic));
    }
    let what = format!("Kernel panic - not syncing: {}", scrubbed(what));
    Some(Start::new(Kind::Panic, what, Naming::None, Form::Panic))
}

/// Whether a line is a warning with which the allocator's report goes on, as it does since 6.14 or so.
pub(super) fn is_of_allocator(text: &str) -> bool {
    text.starts_with("WARNING: ") && text.contains(" at mm/slub.c:")
}

/// Whether a panic is what becomes of an oops.
pub(super) fn follows_oops(text: &str) -> bool {
    text.strip_prefix("Kernel panic - not syncing: ").is_some_and(|what| {
        what.starts_with("Fatal exception")
            || what.ends_with("stack guard hit")
            || what.starts_with("Attempted to kill init!")
            || what.starts_with("Attempted to kill the idle task!")
            || what.starts_with("Aiee, killing interrupt handler!")
    })
}

/// Hung tasks, stalls, and locks that nobody has set up.
///
/// Source: `check_hung_task` in `kernel/hung_task.c`, `kernel/rcu/tree_stall.h`, `assign_lock_key` in
/// `kernel/locking/lockdep.c`.
fn stuck(text: &str) -> Option<Start> {
    let text = text.strip_prefix("rcu: ").unwrap_or(text).strip_prefix("INFO: ")?;
    if let Some(task) = text.strip_prefix("task ") {
        let (task, rest) = task.split_once(" blocked ")?;
        if !rest.contains("for more than ") {
            return None;
        }
        return Some(
            Start::new(Kind::HungTask, "task blocked", Naming::Caller, Form::Trace).of(process(task, ':')),
        );
    }
    if text.starts_with("trying to register non-static key") {
        return Some(Start::new(Kind::Lockdep, "lock that was not set up", Naming::Caller, Form::Trace));
    }
    let flavour = text.split(' ').next().filter(|word| word.starts_with("rcu"))?;
    let what = format!("{flavour} stall");
    text.contains(" stall").then(|| Start::new(Kind::RcuStall, what, Naming::Function, Form::Sections))
}

fn of_kernel(text: &str) -> Option<Start> {
    if let Some(place) = text.strip_prefix("kernel BUG at ") {
        // `slub` finds a pointer that leads to itself where an object is freed twice.
        let (kind, what) = match place.strip_prefix("mm/slub.c:") {
            Some(_) => (Kind::MemoryCorruption, "BUG of the allocator"),
            None => (Kind::Bug, "BUG"),
        };
        return place.ends_with('!').then(|| Start::new(kind, what, Naming::Exact, Form::Trap));
    }
    let leaks = text.strip_prefix("kmemleak: ")?;
    leaks
        .contains(" new suspected memory leaks")
        .then(|| Start::new(Kind::Kmemleak, "kmemleak: new suspected memory leaks", Naming::None, Form::Line))
}

/// Source: `kernel/watchdog.c`, `kernel/watchdog_perf.c`.
fn watchdog(text: &str) -> Option<Start> {
    let text = text.strip_prefix("NMI ").unwrap_or(text).strip_prefix("watchdog: ")?;
    if text.starts_with("BUG: soft lockup") {
        return Some(soft_lockup(text));
    }
    let is_hard = text.contains("Watchdog detected hard LOCKUP on cpu");
    is_hard.then(|| Start::new(Kind::HardLockup, "hard lockup", Naming::Function, Form::Trace))
}

fn soft_lockup(text: &str) -> Start {
    let task = text.rsplit_once('[').and_then(|(_, task)| process(task.strip_suffix(']')?, ':'));
    Start::new(Kind::SoftLockup, "soft lockup", Naming::Function, Form::Trace).of(task)
}

/// Source: `dump_header` in `mm/oom_kill.c`.
fn out_of_memory(text: &str) -> Option<Start> {
    let (name, rest) = text.split_once(" invoked oom-killer: ")?;
    let is_header = rest.starts_with("gfp_mask=") && !name.contains(':');
    is_header.then(|| Start::new(Kind::OutOfMemory, "out of memory", Naming::None, Form::Killing))
}

/// The line that names who was killed, where the report before it was left out or has ended.
fn killed(text: &str) -> Option<Start> {
    let process = killed_process(text)?;
    let what = format!("out of memory: {} was killed", process.name);
    Some(Start::new(Kind::OutOfMemory, what, Naming::None, Form::Line).of(Some(process)))
}

/// Who was killed, in the last line of an out-of-memory report.
pub(super) fn killed_process(text: &str) -> Option<Process> {
    let rest = text
        .strip_prefix("Out of memory: ")
        .or_else(|| text.strip_prefix("Memory cgroup out of memory: "))?;
    let (pid, rest) = rest.strip_prefix("Killed process ")?.split_once(" (")?;
    let (name, _) = rest.split_once(')')?;
    Some(Process { name: name.to_owned(), pid: pid.parse().ok()? })
}

/// The line with which the kernel counts its deaths: `NAME: 0000 [#1] …`, since 6.8 or so with `Oops: ` in front.
///
/// Source: `__die_header` in `arch/x86/kernel/dumpstack.c`.
pub(super) fn die_name(text: &str) -> Option<&str> {
    let (before, count) = text.split_once(" [#")?;
    if !count.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (name, code) = before.rsplit_once(": ")?;
    let is_code = code.len() >= 4 && code.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = name.strip_prefix("Oops: ").unwrap_or(name);
    (is_code && !name.is_empty() && name.len() < 200).then_some(name)
}

fn die(text: &str) -> Option<Start> {
    let name = die_name(text)?;
    let has = |prefix: &str| name.starts_with(prefix);
    let (kind, what, naming) = if name == "Oops" {
        (Kind::PageFault, "page fault", Naming::Exact)
    } else if has("general protection") {
        (Kind::GeneralProtection, "general protection fault", Naming::Exact)
    } else if has("invalid opcode") {
        (Kind::InvalidOpcode, "invalid opcode", Naming::Exact)
    } else if has("divide error") {
        (Kind::DivideError, "divide error", Naming::Exact)
    } else if has("stack guard page") || has("kernel stack overflow") {
        (Kind::StackOverflow, "stack overflow", Naming::Function)
    } else {
        (Kind::Exception, name, Naming::Exact)
    };
    Some(Start::new(kind, scrubbed(what), naming, Form::Trap))
}

/// What a line says that comes before the one that begins the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Announcement {
    /// What kind it will be, and its words.
    Kind(Start),
    /// A Rust panic: its place, and its message, which may go on in the following lines.
    Panic { place: String, message: String },
}

/// The announcement that a line is.
pub(super) fn announcement(text: &str) -> Option<Announcement> {
    if let Some(panic) = rust_panic(text) {
        return Some(panic);
    }
    let kind = |kind, what: &str, naming| {
        Some(Announcement::Kind(Start::new(kind, scrubbed(what), naming, Form::Trap)))
    };
    if text.starts_with("list_add ") || text.starts_with("list_del ") {
        let end = text.find([',', '.', ':']).unwrap_or(text.len());
        return kind(Kind::ListCorruption, &text[..end], Naming::Caller);
    }
    if text.starts_with("refcount_t: ") {
        return kind(Kind::Refcount, text.trim_end_matches('.'), Naming::Caller);
    }
    if text.starts_with("usercopy: ") {
        let end = text.find(" (offset").unwrap_or(text.len());
        return kind(Kind::MemoryCorruption, text[..end].trim_end_matches('!'), Naming::Caller);
    }
    if let Some(what) = text.strip_prefix("cache_from_obj: Wrong slab cache. ") {
        return kind(Kind::MemoryCorruption, &format!("wrong slab cache: {what}"), Naming::Caller);
    }
    if text.starts_with("Trying to vfree() ") {
        let end = text.find(" (").unwrap_or(text.len());
        return kind(Kind::MemoryCorruption, &text[..end], Naming::Caller);
    }
    if let Some((cache, _)) = text
        .strip_prefix("kmem_cache_destroy ")
        .and_then(|rest| rest.split_once(": Slab cache still has objects"))
    {
        return Some(Announcement::Kind(Start { form: Form::Trap, ..remaining(cache) }));
    }
    if let Some((what, _)) = text.strip_prefix('[').and_then(|rest| rest.split_once(" overwritten] 0x")) {
        return kind(Kind::MemoryCorruption, &format!("{what} overwritten"), Naming::None);
    }
    let words = text.strip_prefix("traps: ").unwrap_or(text);
    let named = [
        ("Missing ENDBR: ", Kind::Exception, "missing ENDBR", Naming::Exact),
        ("CFI failure at ", Kind::Exception, "CFI failure", Naming::Exact),
        ("kernel tried to execute NX-protected page", Kind::PageFault, "execution of data", Naming::Exact),
        ("unable to execute userspace code", Kind::PageFault, "execution of a program's code", Naming::Exact),
        ("detected buffer overflow in ", Kind::Bug, words, Naming::Caller),
    ];
    let (_, of, what, naming) = named.iter().find(|(prefix, ..)| words.starts_with(prefix))?;
    kind(*of, what, *naming)
}

/// `NAME: Rust panic at FILE:LINE:COLUMN: MESSAGE`, as VexFS has it, and `NAME: panicked at FILE:LINE:COLUMN:` with
/// the message in the next lines, as the kernel's own Rust has it.
fn rust_panic(text: &str) -> Option<Announcement> {
    let (name, rest) = text.split_once(": ").filter(|(name, _)| !name.contains(' '))?;
    let of = |place: &str, message: &str| {
        { !name.is_empty() && !place.is_empty() }
            .then(|| Announcement::Panic { place: place.to_owned(), message: message.to_owned() })
    };
    if let Some(rest) = rest.strip_prefix("Rust panic at ") {
        let (place, message) = rest.split_once(": ")?;
        return of(place, message);
    }
    let place = rest.strip_prefix("panicked at ")?.strip_suffix(':')?;
    of(place, "")
}

/// `function+0x12/0x80` without the function's size, which says nothing about a place.
fn without_sizes(text: &str) -> String {
    let words = text.split(' ').map(|word| match super::frame::symbol(word) {
        Some((frame, "")) => format!("{}+{:#x}", frame.symbol, frame.offset),
        _ => word.to_owned(),
    });
    scrubbed(&words.collect::<Vec<_>>().join(" "))
}

/// A text without addresses, which differ from run to run.
pub(super) fn scrubbed(text: &str) -> String {
    let is_address = |word: &str| {
        let digits = word.strip_prefix("0x").unwrap_or(word);
        digits.len() >= 8
            && digits.bytes().all(|b| b.is_ascii_hexdigit())
            && digits.bytes().any(|b| b.is_ascii_digit())
    };
    let mut out = String::with_capacity(text.len());
    let mut rest = text.trim_end();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        out.push_str(if is_address(word) { "…" } else { word });
        let next = after.chars().next().map_or(0, char::len_utf8);
        out.push_str(&after[..next]);
        rest = &after[next..];
    }
    out
}
