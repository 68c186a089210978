// SPDX-License-Identifier: GPL-2.0-only
//! A module's code: its functions, their instructions, and what each refers to.

use std::borrow::Cow;

use iced_x86::{Decoder, DecoderOptions, Instruction};
use object::elf;

use crate::image::Image;
use crate::names::readable;
use crate::relocations::{RELOCATION, Relocation};
use crate::symbols::Symbol;

/// A piece of code that is called as one, or that no symbol claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    /// The section's index.
    pub(crate) section: usize,
    /// Where it begins, in bytes from the section's start.
    pub(crate) start: u64,
    /// Where it ends.
    pub(crate) end: u64,
    /// The index of its symbol; 0 for none.
    pub(crate) symbol: u64,
}

/// What an instruction or a datum refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A place in the module: a section's index, and bytes from its start.
    Inside { section: usize, offset: u64 },
    /// A symbol that the module doesn't define, by its index.
    Outside(u64),
}

/// One instruction.
pub(crate) struct Step<'s> {
    /// Where it begins, in bytes from the section's start.
    pub(crate) offset: u64,
    /// The instruction, decoded as if the section were at address 0.
    pub(crate) instruction: &'s Instruction,
    /// Its bytes.
    pub(crate) bytes: &'s [u8],
    /// The relocations in it.
    pub(crate) relocations: &'s [Relocation],
}

/// A module's code. Functions don't overlap, and all of them together are no longer than the file.
pub(crate) struct Code<'a> {
    pub(crate) image: &'a Image<'a>,
    functions: Vec<Function>,
    /// By section; those of loaded sections only, sorted by offset.
    relocations: Vec<Vec<Relocation>>,
}

/// Sections of instructions that replace others: they are looked at where they are put.
const REPLACEMENTS: &str = ".altinstr_replacement";

impl<'a> Code<'a> {
    pub(crate) fn new(image: &'a Image<'a>) -> Self {
        let relocations = relocations(image);
        Self { image, functions: functions(image), relocations }
    }

    /// All code, sorted by section and start.
    pub(crate) fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The function that a place is in: its index.
    pub(crate) fn function_at(&self, section: usize, offset: u64) -> Option<usize> {
        let after = self.functions.partition_point(|f| (f.section, f.start) <= (section, offset));
        let index = after.checked_sub(1)?;
        let function = self.functions.get(index)?;
        (function.section == section && offset < function.end).then_some(index)
    }

    /// A function's name, as the object has it: that of its symbol, or of its section and where it is there.
    pub(crate) fn name(&self, function: &Function) -> Cow<'a, str> {
        match self.image.symbol(function.symbol) {
            Some(symbol) if function.symbol != 0 => self.image.symbol_name(symbol),
            _ => format!("{}+{:#x}", self.image.section_name(function.section), function.start).into(),
        }
    }

    /// A function's name for people.
    pub(crate) fn readable(&self, function: &Function) -> String {
        readable(&self.name(function))
    }

    /// The relocations of a loaded section, sorted by offset.
    pub(crate) fn relocations(&self, section: usize) -> &[Relocation] {
        self.relocations.get(section).map(Vec::as_slice).unwrap_or_default()
    }

    /// Goes through a function's instructions in the order of their places. Bytes that are no instruction are passed over.
    pub(crate) fn walk(&self, function: &Function, mut visit: impl FnMut(&Step<'_>)) {
        let code = self.image.data(function.section);
        let range = |from: u64, to: u64| code.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?);
        let Some(code) = range(function.start, function.end) else { return };
        let mut decoder = Decoder::with_ip(64, code, function.start, DecoderOptions::NONE);
        let mut rest = self.relocations(function.section);
        rest = &rest[rest.partition_point(|relocation| relocation.offset < function.start)..];
        let mut instruction = Instruction::default();
        while decoder.can_decode() {
            let at = decoder.position();
            decoder.decode_out(&mut instruction);
            if instruction.is_invalid() {
                // The next one may begin at any of its bytes.
                decoder.set_ip(instruction.ip() + 1);
                if decoder.set_position(at + 1).is_err() {
                    return;
                }
                continue;
            }
            let count = rest.partition_point(|relocation| relocation.offset < instruction.next_ip());
            let (relocations, after) = rest.split_at(count);
            rest = after;
            let bytes = &code[at..at + instruction.len()];
            visit(&Step { offset: instruction.ip(), instruction: &instruction, bytes, relocations });
        }
    }

    /// What a relocation in an instruction refers to.
    pub(crate) fn target_in(&self, step: &Step<'_>, relocation: &Relocation) -> Option<Target> {
        let relative = is_relative(relocation.kind);
        // What is relative counts from the next instruction, and the relocation from the field.
        let rest = step.instruction.next_ip().wrapping_sub(relocation.offset);
        self.target(relocation, if relative { rest } else { 0 })
    }

    /// What a relocation in data refers to.
    pub(crate) fn target_in_data(&self, relocation: &Relocation) -> Option<Target> {
        self.target(relocation, 0)
    }

    /// What a relocation in code refers to, where the instruction isn't known. With bytes between the field and the
    /// instruction's end, it is a place somewhat before.
    pub(crate) fn target_in_code(&self, relocation: &Relocation) -> Option<Target> {
        self.target(relocation, if is_relative(relocation.kind) { 4 } else { 0 })
    }

    fn target(&self, relocation: &Relocation, more: u64) -> Option<Target> {
        if relocation.kind == elf::R_X86_64_NONE.0 {
            return None;
        }
        let symbol = self.image.symbol(relocation.symbol)?;
        let section = usize::from(symbol.section);
        if section == 0 {
            return (relocation.symbol != 0).then_some(Target::Outside(relocation.symbol));
        }
        let offset = symbol.value.wrapping_add_signed(relocation.addend).wrapping_add(more);
        (section < self.image.sections.len()).then_some(Target::Inside { section, offset })
    }

    /// Where a call or a jump goes, if that is written in it.
    pub(crate) fn branch(&self, function: &Function, step: &Step<'_>) -> Option<Target> {
        let instruction = step.instruction;
        if !(instruction.is_call_near()
            || instruction.is_jmp_short_or_near()
            || instruction.is_jcc_short_or_near())
        {
            return None;
        }
        match step.relocations.last() {
            Some(relocation) => self.target_in(step, relocation),
            None => {
                Some(Target::Inside { section: function.section, offset: instruction.near_branch_target() })
            }
        }
    }

    /// The name of a symbol that the module doesn't define.
    pub(crate) fn outside(&self, symbol: u64) -> Cow<'a, str> {
        self.image.symbol(symbol).map(|symbol| self.image.symbol_name(symbol)).unwrap_or_default()
    }
}

/// Whether a relocation's value is counted from its place.
fn is_relative(kind: u32) -> bool {
    [elf::R_X86_64_PC32.0, elf::R_X86_64_PLT32.0, elf::R_X86_64_PC64.0].contains(&kind)
}

/// The relocations of each loaded section. One table's worth of them is kept for a section, as in every module.
fn relocations(image: &Image<'_>) -> Vec<Vec<Relocation>> {
    let mut all = vec![Vec::new(); image.sections.len()];
    let mut left = image.bytes.len();
    for (index, table) in image.sections.iter().enumerate() {
        let target = table.info as usize;
        let is_wanted = table.kind == elf::SHT_RELA.0
            && image.sections.get(target).is_some_and(|section| section.is_loaded())
            && all[target].is_empty();
        if is_wanted && table.size <= left {
            left -= table.size;
            let entries = image.data(index).chunks_exact(RELOCATION);
            all[target] = entries.filter_map(Relocation::read).collect();
            all[target].sort_by_key(|relocation| relocation.offset);
        }
    }
    all
}

fn functions(image: &Image<'_>) -> Vec<Function> {
    let mut left = image.bytes.len();
    let mut is_code = vec![false; image.sections.len()];
    for (index, section) in image.sections.iter().enumerate().skip(1) {
        let has_code = section.is_loaded()
            && section.flags & elf::SHF_EXECINSTR.0 != 0
            && section.kind == elf::SHT_PROGBITS.0
            && image.section_name(index) != REPLACEMENTS;
        // Sections of a sound file don't overlap.
        if has_code && section.size <= left {
            left -= section.size;
            is_code[index] = true;
        }
    }
    let mut claimed = Vec::new();
    for (index, symbol) in image.symbols_with_index() {
        let section = usize::from(symbol.section);
        if is_code.get(section) == Some(&true)
            && symbol.value < image.sections[section].size
            && claims(image, symbol)
        {
            let size = image.sections[section].size;
            let end = match symbol.size {
                0 => size,
                length => symbol.value.saturating_add(length).min(size),
            };
            claimed.push(Function { section, start: symbol.value, end, symbol: index });
        }
    }
    // Of several at one place, one with a size, and then the first, gives the name. A label inside a function is none.
    let symbol = |f: &Function| image.symbol(f.symbol);
    claimed.sort_by_key(|f| (f.section, f.start, symbol(f).is_some_and(|s| s.size == 0), f.symbol));
    claimed.dedup_by_key(|f| (f.section, f.start));
    let mut around = (0, 0);
    claimed.retain(|f| {
        let is_function = symbol(f).is_some_and(|s| s.kind() == elf::STT_FUNC.0);
        if is_function && symbol(f).is_some_and(|s| s.size > 0) {
            around = (f.section, f.end);
        }
        is_function || f.section != around.0 || f.start >= around.1
    });

    let mut functions = Vec::with_capacity(claimed.len());
    let mut claimed = claimed.into_iter().peekable();
    for section in (0..is_code.len()).filter(|section| is_code[*section]) {
        let mut at = 0;
        let unclaimed = |start, end| Function { section, start, end, symbol: 0 };
        while let Some(mut function) = claimed.next_if(|function| function.section == section) {
            if at < function.start {
                functions.push(unclaimed(at, function.start));
            }
            if let Some(next) = claimed.peek().filter(|next| next.section == section) {
                function.end = function.end.min(next.start);
            }
            at = function.end;
            functions.push(function);
        }
        if at < image.sections[section].size {
            functions.push(unclaimed(at, image.sections[section].size));
        }
    }
    functions
}

/// Whether a symbol is that of a function: by its type, or, in assembler, because it has none. The room before a
/// function, where the kernel may put a call, has a symbol of its own and is none.
fn claims(image: &Image<'_>, symbol: Symbol) -> bool {
    let kind = symbol.kind();
    if kind != elf::STT_FUNC.0 && (kind != elf::STT_NOTYPE.0 || symbol.name == 0) {
        return false;
    }
    !image.symbol_name(symbol).starts_with("__pfx_")
}
