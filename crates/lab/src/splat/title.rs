// SPDX-License-Identifier: GPL-2.0-only
//! One line for a report that is the same each time.

use super::start::{Naming, Start};
use super::{Frame, RustPanic};

/// Functions that are in a trace because a report is made there, or because a task waits: they say nothing of where
/// it came to that.
const BYSTANDERS: &[&str] = &[
    "dump_stack",
    "show_stack",
    "panic",
    "__schedule",
    "schedule",
    "preempt_schedule",
    "__cond_resched",
    "wait_for_completion",
    "__wait_for_common",
    "__mutex_lock",
    "mutex_lock",
    "__might_",
    "rwsem_",
    "down_",
    "io_schedule",
    "print_",
    "check_noncircular",
    "__lock_acquire",
    "lock_acquire",
    "kasan_",
    "spin_",
    "_raw_spin",
    "do_raw_spin",
    "check_preemption_disabled",
    "debug_smp_processor_id",
    "process_one_work",
];

/// The title of a report.
pub(super) fn title(start: &Start, trace: &[Frame], panic: Option<&RustPanic>) -> String {
    if let Some(panic) = panic {
        let message = panic.message.lines().next().unwrap_or_default();
        return format!("Rust panic at {}: {message}", panic.place);
    }
    let place = match start.naming {
        Naming::Exact => exact(trace),
        Naming::Caller => caller(trace).map(|frame| format!(" in {}", function(frame, true))),
        Naming::Function => caller(trace).map(|frame| format!(" in {}", function(frame, false))),
        Naming::None => None,
    };
    format!("{}{}", start.what, place.unwrap_or_default())
}

/// ` in` the function with the instruction, and ` from` the module's function that called it.
fn exact(trace: &[Frame]) -> Option<String> {
    let first = trace.first().filter(|frame| frame.exact);
    let from = match first {
        Some(first) if first.module.is_some() => None,
        Some(_) => modules_own(trace),
        None => caller(trace),
    };
    let from = from.map(|frame| format!(" from {}", function(frame, true))).unwrap_or_default();
    match first {
        Some(first) => Some(format!(" in {}{from}", function(first, true))),
        None => Some(from),
    }
}

/// The innermost function of a module that the unwinder vouches for.
fn modules_own(trace: &[Frame]) -> Option<&Frame> {
    trace.iter().find(|frame| frame.reliable && frame.module.is_some())
}

/// The function to name where the innermost is only the one that noticed.
fn caller(trace: &[Frame]) -> Option<&Frame> {
    let tells =
        |frame: &&Frame| frame.reliable && !BYSTANDERS.iter().any(|name| frame.symbol.starts_with(name));
    modules_own(trace)
        .or_else(|| trace.iter().find(tells))
        .or_else(|| trace.iter().find(|frame| frame.reliable))
}

/// A function as a title names it.
pub(super) fn function(frame: &Frame, with_offset: bool) -> String {
    let offset = if with_offset { format!("+{:#x}", frame.offset) } else { String::new() };
    let module = frame.module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
    format!("{}{offset}{module}", frame.symbol)
}
