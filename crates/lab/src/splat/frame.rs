// SPDX-License-Identifier: GPL-2.0-only
//! What stands in the lines of a trace: functions, registers, processes.

use super::{Frame, Process};

/// A place in code, `function+0x12/0x80 [module]`, at the start of `text`, and what follows it.
///
/// Source: `sprint_symbol` in `kernel/kallsyms.c`.
pub(super) fn symbol(text: &str) -> Option<(Frame, &str)> {
    let end = text.find([' ', ',', ':']).unwrap_or(text.len());
    let (name, numbers) = text[..end].rsplit_once("+0x")?;
    let (offset, size) = numbers.split_once("/0x")?;
    let hex = |digits: &str| u64::from_str_radix(digits, 16).ok();
    let is_name =
        |name: &str| !name.is_empty() && !name.starts_with("0x") && name.chars().all(|c| !c.is_whitespace());
    if !is_name(name) {
        return None;
    }
    let (offset, size) = (hex(offset)?, hex(size)?);
    let rest = &text[end..];
    let (module, rest) = match module(rest) {
        Some((module, rest)) => (Some(module.to_owned()), rest),
        None => (None, rest),
    };
    let (symbol, places) = (name.to_owned(), Vec::new());
    Some((
        Frame { symbol, offset, size, module, reliable: true, exact: false, ambiguous: false, places },
        rest,
    ))
}

/// The module in ` [module]`; where a kernel prints build identifiers, in ` [module 0123…]`.
fn module(text: &str) -> Option<(&str, &str)> {
    let (inside, rest) = text.strip_prefix(" [")?.split_once(']')?;
    let name = inside.split(' ').next()?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then_some((name, rest))
}

/// A line of a trace: ` function+0x12/0x80 [module]`, with a `? ` in front where the unwinder does not vouch for it.
pub(crate) fn frame(text: &str) -> Option<Frame> {
    let text = text.strip_prefix(' ')?.trim_start();
    let (text, reliable) = match text.strip_prefix("? ") {
        Some(text) => (text, false),
        None => (text, true),
    };
    // Old kernels show the address, too.
    let text = text.strip_prefix("[<").and_then(|text| text.split_once(">] ")).map_or(text, |(_, text)| text);
    let (frame, rest) = symbol(text)?;
    rest.trim().is_empty().then_some(Frame { reliable, ..frame })
}

/// Whether a line stands for an address in a trace for which there is no symbol, as of a module that is gone.
pub(super) fn is_bare_address(text: &str) -> bool {
    let text = text.trim_start();
    let digits = text.strip_prefix("? ").unwrap_or(text).strip_prefix("0x");
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Where the instruction pointer was in the kernel: `RIP: 0010:function+0x12/0x80 [module]`. Nothing for one in a
/// program.
pub(super) fn instruction_pointer(text: &str) -> Option<Frame> {
    let place = text.trim_start().strip_prefix("RIP: 0010:")?;
    symbol(place).map(|(frame, _)| Frame { exact: true, ..frame })
}

/// The registers whose values a line shows.
///
/// Source: `__show_regs` in `arch/x86/kernel/process_64.c`.
pub(super) fn registers(text: &str) -> Vec<(String, u64)> {
    let is_name = |name: &str| {
        let number = name.strip_prefix('R').filter(|n| n.len() == 2);
        number.is_some() || name.starts_with("CR") && name.len() == 3 || name == "EFLAGS"
    };
    let mut words = text.split_whitespace().peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_suffix(':').filter(|name| is_name(name) && *name != "RIP") else {
            continue;
        };
        let Some(value) = words.peek() else { break };
        // The stack pointer has its segment in front.
        let digits = value.rsplit_once(':').map_or(*value, |(_, digits)| digits);
        if let Ok(value) = u64::from_str_radix(digits, 16) {
            found.push((name.to_owned(), value));
            words.next();
        }
    }
    found
}

/// The processor and the process of a line `CPU: 0 PID: 31 Comm: insmod Tainted: …`.
///
/// Source: `dump_stack_print_info` in `lib/dump_stack.c`.
pub(super) fn processor(text: &str) -> Option<(u32, Option<Process>)> {
    let rest = text.strip_prefix("CPU: ")?;
    let (cpu, rest) = rest.split_once(' ')?;
    let cpu = cpu.parse().ok()?;
    let process = rest.split_once("PID: ").and_then(|(_, rest)| {
        let (pid, rest) = rest.split_once(" Comm: ")?;
        let end = [" Tainted: ", " Not tainted"].iter().filter_map(|mark| rest.find(mark)).min();
        let name = &rest[..end.unwrap_or(rest.len())];
        Some(Process { name: name.trim_end().to_owned(), pid: pid.trim().parse().ok()? })
    });
    Some((cpu, process))
}

/// A process that is written `name` and then a number behind `mark`, as in `insmod/31` and `insmod:31`.
pub(super) fn process(text: &str, mark: char) -> Option<Process> {
    let (name, pid) = text.rsplit_once(mark)?;
    Some(Process { name: name.to_owned(), pid: pid.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(frame: Option<Frame>) -> String {
        let Some(frame) = frame else { return "none".into() };
        let mark = if frame.reliable { "" } else { "? " };
        let module = frame.module.map(|module| format!(" in {module}")).unwrap_or_default();
        format!("{mark}{} {:#x} {:#x}{module}", frame.symbol, frame.offset, frame.size)
    }

    #[test]
    fn a_line_of_a_trace_is_a_function_with_its_offset() {
        let of = |text| shown(frame(text));
        assert_eq!(of(" do_one_initcall+0x44/0x200"), "do_one_initcall 0x44 0x200");
        assert_eq!(of(" ? init+0x5/0x10 [m]"), "? init 0x5 0x10 in m");
        assert_eq!(of("  f.constprop.0+0x5/0x10 [m 0123456789abcdef]"), "f.constprop.0 0x5 0x10 in m");
        assert_eq!(of(" [<ffffffff81000000>] ? f+0x5/0x10"), "none");
        assert_eq!(of(" [<ffffffff81000000>] f+0x5/0x10"), "f 0x5 0x10");
        for text in [
            "f+0x5/0x10",
            " f+0x5",
            " f+0x5/0x10 and more",
            " 0xffffffffc0000000",
            " <TASK>",
            " +0x1/0x2",
            "",
        ] {
            assert_eq!(of(text), "none", "{text}");
        }
        assert!(
            is_bare_address(" ? 0xffffffffc0000000") && !is_bare_address(" 0x") && !is_bare_address(" fox")
        );
    }

    #[test]
    fn only_the_kernels_instruction_pointer_is_a_frame() {
        assert!(instruction_pointer("RIP: 0010:f+0x5/0x10 [m]").is_some_and(|frame| frame.exact));
        assert!(instruction_pointer("RIP: 0033:0x7f0000000000").is_none());
        assert!(instruction_pointer("RIP: 0010:0x0").is_none());
    }

    #[test]
    fn registers_are_read_with_and_without_a_segment() {
        let named =
            |text| registers(text).iter().map(|(n, v)| format!("{n}={v:x}")).collect::<Vec<_>>().join(" ");
        assert_eq!(named("RSP: 0018:ffffc900005efa88 EFLAGS: 00010202"), "RSP=ffffc900005efa88 EFLAGS=10202");
        assert_eq!(named("RBP: 00000000000000ff R08: 1 R09: zz"), "RBP=ff R08=1");
        assert_eq!(named("CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033"), "CR0=80050033");
        assert_eq!(named("RIP: 0010:f+0x5/0x10"), "");
    }

    #[test]
    fn a_process_may_have_a_space_in_its_name() {
        let line = "CPU: 1 UID: 0 PID: 31 Comm: a b Not tainted 6.12.9 #1";
        let (cpu, process) = processor(line).unwrap();
        assert_eq!((cpu, process), (1, Some(Process { name: "a b".into(), pid: 31 })));
        assert_eq!(processor("CPU: many").map(|(cpu, _)| cpu), None);
    }
}
