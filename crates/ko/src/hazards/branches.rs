// SPDX-License-Identifier: GPL-2.0-only
//! What objtool demands of code in a kernel with mitigations: `validate_retpoline`, `validate_sls` and `validate_ibt`
//! in `tools/objtool/check.c`.

use std::collections::HashMap;

use iced_x86::{FlowControl, Mnemonic, Register};
use object::elf;

use crate::check::Look;
use crate::code::{Code, Function, Step, Target};
use crate::finding::{Finding, Found};
use crate::graph::is_about_code;
use crate::kernel::Options;
use crate::rules::Id;

const ENDBR64: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const INT3: u8 = 0xcc;

/// Sections beside those about code whose references to functions aren't for calling them by pointer.
///
/// Source: `validate_ibt`. What is exported is there to be called by name.
const NOT_FOR_CALLS: [&str; 5] = [
    "_error_injection_whitelist",
    "_kprobe_blacklist",
    "__ksymtab",
    "__ksymtab_gpl",
    ".static_call_tramp_key",
];
/// The section of jumps that the kernel patches: they have an address that is no function's.
const TRAMPOLINES: &str = ".static_call.text";

/// Branches, returns and the beginnings of functions, against the kernel's mitigations.
pub(super) struct Branches {
    options: Options,
    /// What the kernel patches before it is run: section, start and end in bytes; sorted.
    patched: Vec<(usize, u64, u64)>,
    /// By section, whether it has code that can be called by pointer.
    is_code: Vec<bool>,
    /// What the function breaks.
    indirect: Places,
    naked: Places,
    straight: Places,
    notrack: Places,
    /// Functions without `endbr64` whose address is taken: by place, where it is first and how often.
    taken: HashMap<(usize, u64), Taken>,
}

/// Where a function does something.
#[derive(Debug, Clone, Copy, Default)]
struct Places {
    first: u64,
    count: usize,
}

impl Places {
    fn add(&mut self, offset: u64) {
        if self.count == 0 {
            self.first = offset;
        }
        self.count += 1;
    }
}

/// Where a function's address is taken.
#[derive(Debug, Clone, Copy)]
struct Taken {
    section: usize,
    first: u64,
    count: usize,
}

impl Branches {
    pub(super) fn new(look: &Look<'_>, code: &Code<'_>) -> Self {
        let image = code.image;
        let sections = image.sections.iter().enumerate();
        let is_code = sections.map(|(index, section)| {
            section.is_loaded()
                && section.flags & elf::SHF_EXECINSTR.0 != 0
                && image.section_name(index) != TRAMPOLINES
        });
        Self {
            options: look.kernel.options,
            patched: patched(code),
            is_code: is_code.collect(),
            indirect: Places::default(),
            naked: Places::default(),
            straight: Places::default(),
            notrack: Places::default(),
            taken: HashMap::new(),
        }
    }

    /// Looks at the next instruction of a function.
    pub(super) fn step(&mut self, code: &Code<'_>, function: &Function, step: &Step<'_>) {
        let options = self.options;
        match step.instruction.flow_control() {
            FlowControl::IndirectCall | FlowControl::IndirectBranch => {
                let is_jump = step.instruction.flow_control() == FlowControl::IndirectBranch;
                if options.ibt && step.instruction.segment_prefix() == Register::DS {
                    self.notrack.add(step.offset);
                }
                if !(options.retpoline || options.sls && is_jump)
                    || self.is_patched(function.section, step.offset)
                {
                    return;
                }
                if options.retpoline {
                    self.indirect.add(step.offset);
                }
                if options.sls && is_jump && !is_followed_by_int3(code, function, step) {
                    self.straight.add(step.offset);
                }
            }
            FlowControl::Return if step.instruction.mnemonic() == Mnemonic::Ret => {
                if !(options.rethunk || options.sls) || self.is_patched(function.section, step.offset) {
                    return;
                }
                if options.rethunk {
                    self.naked.add(step.offset);
                }
                if options.sls && !is_followed_by_int3(code, function, step) {
                    self.straight.add(step.offset);
                }
            }
            FlowControl::Next if options.ibt => {
                for relocation in step.relocations {
                    let target = code.target_in(step, relocation);
                    self.take(code, target, (function.section, step.offset));
                }
            }
            _ => {}
        }
    }

    /// Ends a function.
    pub(super) fn end(&mut self, code: &Code<'_>, function: &Function, found: &mut Found<'_>) {
        let [indirect, naked, straight, notrack] =
            [&mut self.indirect, &mut self.naked, &mut self.straight, &mut self.notrack].map(std::mem::take);
        if indirect.count + naked.count + straight.count + notrack.count == 0 {
            return;
        }
        let name = code.readable(function);
        let mut find = |id, places: Places, message: String| {
            if places.count > 0 {
                let finding = Finding::new(id, message).symbol(code.name(function));
                found.push(finding.place(code.image, function.section, places.first));
            }
        };
        let message = format!(
            "`{name}` branches to what a register or memory says, without a retpoline ({})",
            times(indirect.count)
        );
        find(Id::IndirectBranch, indirect, message);
        // One finding, of what comes first.
        let (count, after) = (naked.count, straight.count);
        let message = match (count, after) {
            (0, _) => format!("`{name}` has no `int3` after a return or an indirect jump ({})", times(after)),
            (_, 0) => {
                format!("`{name}` returns with `ret`, not through the kernel's thunk ({})", times(count))
            }
            _ => format!(
                "`{name}` returns with `ret`, not through the kernel's thunk ({}), and has no `int3` after a return \
                 or an indirect jump ({})",
                times(count),
                times(after)
            ),
        };
        find(Id::NakedReturn, if count > 0 { naked } else { straight }, message);
        let message =
            format!("`{name}` has an indirect branch with the prefix `notrack` ({})", times(notrack.count));
        find(Id::MissingEndbr, notrack, message);
    }

    /// Looks at the data, and says which functions are called by pointer and don't begin with `endbr64`.
    pub(super) fn finish(mut self, code: &Code<'_>, found: &mut Found<'_>) {
        if !self.options.ibt {
            return;
        }
        let image = code.image;
        for (index, section) in image.sections.iter().enumerate() {
            let name = image.section_name(index);
            if !section.is_loaded()
                || section.flags & elf::SHF_EXECINSTR.0 != 0
                || is_about_code(&name)
                || NOT_FOR_CALLS.contains(&&*name)
                || name.contains("__patchable_function_entries")
            {
                continue;
            }
            for relocation in code.relocations(index) {
                self.take(code, code.target_in_data(relocation), (index, relocation.offset));
            }
        }
        let mut taken: Vec<_> = self.taken.into_iter().collect();
        taken.sort_by_key(|(place, _)| *place);
        for ((section, offset), taken) in taken {
            let Some(function) = code.function_at(section, offset).map(|index| code.functions()[index])
            else {
                continue;
            };
            let user = code.function_at(taken.section, taken.first).map(|index| code.functions()[index]);
            let user = match user {
                Some(user) => format!("`{}`", code.readable(&user)),
                None => format!("{}+{:#x}", image.section_name(taken.section), taken.first),
            };
            let more = match taken.count {
                1 => String::new(),
                count => format!(" and {} more", count - 1),
            };
            let name = code.readable(&function);
            let message =
                format!("`{name}` doesn't begin with `endbr64`, and its address is taken by {user}{more}");
            let finding = Finding::new(Id::MissingEndbr, message).symbol(code.name(&function));
            found.push(finding.place(image, section, offset));
        }
    }

    /// Notes a function whose address is taken at a place (a section's index and bytes from its start).
    fn take(&mut self, code: &Code<'_>, target: Option<Target>, (user, at): (usize, u64)) {
        let Some(Target::Inside { section, offset }) = target else { return };
        if self.is_code.get(section) != Some(&true) || begins_with_endbr(code, section, offset) {
            return;
        }
        if let Some(taken) = self.taken.get_mut(&(section, offset)) {
            taken.count += 1;
            return;
        }
        let Some(function) = code.function_at(section, offset).map(|index| code.functions()[index]) else {
            return;
        };
        // A label is for jumps and for messages; a function of its own address knows itself.
        let is_own = user == section && (function.start..function.end).contains(&at);
        if function.start == offset && function.symbol != 0 && !is_own {
            self.taken.insert((section, offset), Taken { section: user, first: at, count: 1 });
        }
    }

    fn is_patched(&self, section: usize, offset: u64) -> bool {
        let after = self.patched.partition_point(|(s, start, _)| (*s, *start) <= (section, offset));
        let before = after.checked_sub(1).map(|index| self.patched[index]);
        before.is_some_and(|(s, _, end)| s == section && offset < end)
    }
}

fn begins_with_endbr(code: &Code<'_>, section: usize, offset: u64) -> bool {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    code.image.data(section).get(start..).is_some_and(|rest| rest.starts_with(&ENDBR64))
}

fn is_followed_by_int3(code: &Code<'_>, function: &Function, step: &Step<'_>) -> bool {
    let next = usize::try_from(step.instruction.next_ip()).unwrap_or(usize::MAX);
    code.image.data(function.section).get(next) == Some(&INT3)
}

/// Instructions that the kernel replaces when it loads the module.
///
/// Sources: `struct paravirt_patch_site` in `arch/x86/include/asm/paravirt_types.h` (address, type, length), `struct
/// alt_instr` in `arch/x86/include/asm/alternative.h` (place, replacement, feature, length, its length).
fn patched(code: &Code<'_>) -> Vec<(usize, u64, u64)> {
    const LENGTH_IN_PARAVIRT: u64 = 9;
    let image = code.image;
    let mut patched = Vec::new();
    let byte = |section: usize, at: u64| {
        usize::try_from(at).ok().and_then(|at| image.data(section).get(at).copied()).unwrap_or(0)
    };
    let mut add = |target: Option<Target>, length: u8| {
        if let Some(Target::Inside { section, offset }) = target {
            patched.push((section, offset, offset.saturating_add(length.into())));
        }
    };
    for (index, section) in image.sections.iter().enumerate().filter(|(_, section)| section.is_loaded()) {
        let relocations = code.relocations(index);
        match &*image.section_name(index) {
            ".parainstructions" => {
                for one in relocations {
                    let length = byte(index, one.offset.saturating_add(LENGTH_IN_PARAVIRT));
                    add(code.target_in_data(one), length);
                }
            }
            // An entry has two relocations; its size isn't the same in all kernels, and the lengths are its end.
            ".altinstructions" => {
                let mut pairs = relocations.chunks(2).peekable();
                while let Some(pair) = pairs.next() {
                    let end = pairs.peek().map_or(section.size, |next| next[0].offset);
                    add(code.target_in_data(&pair[0]), byte(index, end.saturating_sub(2)));
                }
            }
            _ => {}
        }
    }
    patched.sort_unstable();
    patched
}

fn times(count: usize) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

#[cfg(test)]
mod tests;
