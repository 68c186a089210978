// SPDX-License-Identifier: GPL-2.0-only
//! Ways through code that its instructions don't show: what the kernel patches, what it jumps to after an exception,
//! and symbols that are special.

use object::elf;

use crate::code::{Code, Function, Step, Target};

/// A symbol outside that isn't called as others are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A return.
    Return,
    /// A call or a jump to what a register says.
    Pointer,
    /// What the kernel patches, or what never comes back and has nothing to do with the function.
    Nothing,
}

/// What is known of a module's ways.
pub(super) struct Routes {
    /// By symbol index, sorted.
    known: Vec<(u64, Known)>,
    /// The symbol of what the kernel patches to be a direct call or no call at all.
    patched: Option<u64>,
    /// Section, place, and where flow can go to from there; sorted.
    ways: Vec<(usize, u64, Target)>,
    /// The section of code that parts of functions are kept in until the kernel has patched jumps.
    aside: Option<usize>,
}

/// Tables of places and where flow may go from them: the section, the size of an entry in bytes, and where in it the
/// other place is. The first field is the place.
///
/// Sources: `struct jump_entry` in `include/linux/jump_label.h`, `struct exception_table_entry` in
/// `arch/x86/include/asm/extable.h`.
const TABLES: [(&str, u64, u64); 2] = [("__jump_table", 16, 4), ("__ex_table", 12, 4)];
/// The most bytes of one piece in `.altinstr_aux`: `testb`, `jnz`, `jmp` (`_static_cpu_has`).
const ASIDE: u64 = 20;
/// The most relocations in it.
const MOST_ASIDE: usize = 3;

impl Routes {
    pub(super) fn new(code: &Code<'_>) -> Self {
        let image = code.image;
        let mut new = Self { known: Vec::new(), patched: None, ways: Vec::new(), aside: None };
        for (index, symbol) in image.symbols_with_index().filter(|(_, symbol)| symbol.section == 0) {
            let name = image.symbol_name(symbol);
            if name == "pv_ops" {
                new.patched = Some(index);
            }
            new.known.extend(known(&name).map(|known| (index, known)));
        }
        for index in 0..image.sections.len() {
            if !image.sections[index].is_loaded() {
                continue;
            }
            let name = image.section_name(index);
            if name == ".altinstr_aux" && image.sections[index].flags & elf::SHF_EXECINSTR.0 != 0 {
                new.aside = Some(index);
            }
            if let Some((_, size, other)) = TABLES.iter().find(|(table, ..)| *table == name) {
                new.table(code, index, *size, *other);
            }
        }
        new.ways.sort_by_key(|(section, from, _)| (*section, *from));
        new
    }

    fn table(&mut self, code: &Code<'_>, index: usize, size: u64, other: u64) {
        let mut from = None;
        for relocation in code.relocations(index) {
            let target = || code.target_in_data(relocation);
            match relocation.offset % size {
                0 => from = target().map(|target| (relocation.offset, target)),
                field if field == other => {
                    let Some((at, Target::Inside { section, offset })) = from.take() else { continue };
                    if let Some(to @ Target::Inside { .. }) = target()
                        && at + other == relocation.offset
                    {
                        self.ways.push((section, offset, to));
                    }
                }
                _ => {}
            }
        }
    }

    /// The first way that begins in a function or after it.
    pub(super) fn first_in(&self, function: &Function) -> usize {
        self.ways.partition_point(|(section, from, _)| (*section, *from) < (function.section, function.start))
    }

    /// The way with this index, if it begins in the section: from where to where.
    pub(super) fn way(&self, index: usize, section: usize) -> Option<(u64, Target)> {
        self.ways.get(index).filter(|way| way.0 == section).map(|(_, from, to)| (*from, *to))
    }

    /// What a symbol outside is, if it is special.
    pub(super) fn known(&self, target: Option<Target>) -> Option<Known> {
        let Some(Target::Outside(symbol)) = target else { return None };
        let index = self.known.binary_search_by_key(&symbol, |(index, _)| *index).ok()?;
        Some(self.known[index].1)
    }

    /// Whether the kernel makes an indirect call a direct one, or none, before it is made.
    pub(super) fn is_patched(&self, step: &Step<'_>) -> bool {
        let symbol = step.relocations.last().map(|relocation| relocation.symbol);
        self.patched.is_some() && symbol == self.patched
    }

    /// Whether parts of functions are kept in a section until the kernel has patched jumps.
    pub(super) fn is_aside(&self, section: usize) -> bool {
        self.aside == Some(section)
    }

    /// Where in a function a piece goes on that is kept aside.
    pub(super) fn back_from<'c>(
        &self,
        code: &'c Code<'_>,
        section: usize,
        offset: u64,
        function: &'c Function,
    ) -> impl Iterator<Item = u64> + 'c {
        let all = code.relocations(section);
        let first = all.partition_point(|relocation| relocation.offset < offset);
        let near = all[first..]
            .iter()
            .take(MOST_ASIDE)
            .take_while(move |relocation| relocation.offset - offset < ASIDE);
        near.filter_map(move |relocation| match code.target_in_data(relocation)? {
            // The field counts from its end.
            Target::Inside { section, offset } if section == function.section => {
                let to = offset.wrapping_add(4);
                (function.start..function.end).contains(&to).then_some(to)
            }
            _ => None,
        })
    }
}

fn known(name: &str) -> Option<Known> {
    match name {
        "__x86_return_thunk" => Some(Known::Return),
        "__fentry__" | "__stack_chk_fail" => Some(Known::Nothing),
        _ if name.starts_with("__x86_indirect_") => Some(Known::Pointer),
        _ if name.starts_with("__ubsan") => Some(Known::Nothing),
        _ => None,
    }
}
