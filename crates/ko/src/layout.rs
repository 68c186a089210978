// SPDX-License-Identifier: GPL-2.0-only
//! Where the loader puts a module's sections: `layout_and_allocate`, `percpu_modalloc` and what they call in
//! `kernel/module/main.c`, `layout_symtab` in `kernel/module/kallsyms.c`.

use std::collections::BTreeSet;

use object::elf;

use crate::check::Look;
use crate::finding::{Errno, Finding, Report};
use crate::image::{NAME_IN_MODULE, NAME_LENGTH, Section, THIS_MODULE};
use crate::kernel::Loader;
use crate::rules::Id;

/// `SHF_RO_AFTER_INIT`.
const READ_ONLY_AFTER_INIT: u64 = 0x0020_0000;
/// `MODULES_LEN`: all that there is for modules, where the kernel's own address is random.
const MODULES: u64 = 0x3f00_0000;
/// What a machine for tests can't be expected to have to spare; ten times what the largest of modules take.
const MUCH: u64 = 128 << 20;
/// `PERCPU_MODULE_RESERVE`: what all modules' per-CPU variables share.
const PERCPU: u64 = 8 << 10;
/// `PAGE_SIZE`.
const PAGE: u64 = 4096;

/// `layout_sections`, `layout_symtab` and `move_module`.
pub(crate) fn check(look: &Look<'_>, report: &mut Report) {
    let image = look.image;
    names(look, report);
    let mut regions = [0_u32; 8];
    for (index, section) in image.sections.iter().enumerate() {
        if !look.is_laid_out(index) {
            continue;
        }
        // `SHT_NULL` is copied as any other, and its place isn't looked at before.
        if section.kind == elf::SHT_NULL.0 && section.size > 0 && !image.is_within(section) {
            report.add(outside(look, index));
        }
        let region = &mut regions[region(look, index)];
        let before = *region;
        // Sizes are 32 bits wide, and the alignment is cut to that.
        let mask = (section.alignment.max(1) as u32).wrapping_sub(1);
        let offset = before.wrapping_add(mask) & !mask;
        *region = offset.wrapping_add(section.size as u32);
        let is_cut = section.alignment > u64::from(u32::MAX);
        if is_cut || offset < before || u64::from(*region) != u64::from(offset) + section.size {
            let message = format!(
                "{} bytes with an alignment of {:#x} don't go behind the {before} before them",
                section.size, section.alignment
            );
            report.add(Finding::new(Id::ModuleMemory, message).in_section(image.section_name(index)));
        }
    }
    let size = regions.iter().map(|size| u64::from(*size)).max().unwrap_or_default();
    if size > MUCH {
        let message = format!("the module takes {size} bytes of memory");
        let finding = Finding::new(Id::ModuleMemory, message);
        report.add(if size > MODULES { finding.kernel(Errno::Enomem, "") } else { finding });
    }
}

/// Which memory a section is put into: 6.1 has two pieces, 6.12 has one for each kind.
fn region(look: &Look<'_>, index: usize) -> usize {
    let image = look.image;
    let section = &image.sections[index];
    let is_table = index == image.symbols || index == image.strings;
    let is_init = is_table || image.section_name(index).starts_with(".init");
    let kind = match section.flags {
        _ if look.kernel.loader() == Loader::Trusting => 0,
        flags if flags & elf::SHF_EXECINSTR.0 != 0 => 0,
        flags if flags & elf::SHF_WRITE.0 == 0 => 1,
        _ if look.is_read_only_after_init(index) => 2,
        _ => 3,
    };
    if is_init { 4 + kind } else { kind }
}

/// The names of the symbols that `layout_symtab` and `add_kallsyms` keep: the first is always one.
fn names(look: &Look<'_>, report: &mut Report) {
    let image = look.image;
    let size = image.sections[image.strings].size;
    for (index, symbol) in
        image.symbol(0).map(|first| (0, first)).into_iter().chain(image.symbols_with_index())
    {
        let section = usize::from(symbol.section);
        let is_kept =
            section != 0 && symbol.name != 0 && image.sections.get(section).is_some_and(Section::is_loaded);
        if (index == 0 || is_kept) && u64::from(symbol.name) >= size.max(1) {
            let message =
                format!("the name of symbol {index} is at {}, outside the string table", symbol.name);
            report.add(Finding::new(Id::SymbolTable, message).in_section(image.section_name(image.symbols)));
        }
    }
}

/// The module's own structure, of which modpost fills in the name, and relocations two functions.
pub(crate) fn this_module(look: &Look<'_>, report: &mut Report) {
    let section = &look.image.sections[look.image.this_module];
    let mut refuse = |message: &str| {
        report.add(Finding::new(Id::ThisModuleContent, message).in_section(THIS_MODULE));
    };
    if section.kind == elf::SHT_NOBITS.0 {
        refuse("`struct module` has no bytes in the file, and the loader reads it there");
    }
    let fixed = elf::SHF_EXECINSTR.0 | READ_ONLY_AFTER_INIT;
    if section.flags & (elf::SHF_WRITE.0 | fixed) != elf::SHF_WRITE.0 {
        refuse("`struct module` is not in writable memory, and the loader writes to it");
    }
    let name = NAME_IN_MODULE..NAME_IN_MODULE + NAME_LENGTH;
    let data = look.image.raw(look.image.this_module);
    if let Some((at, _)) = (0_u64..).zip(data).find(|(at, byte)| **byte != 0 && !name.contains(at)) {
        refuse(&format!("`struct module` isn't empty at {at:#x}, and the loader takes it to be"));
    }
    if look.name.is_empty() {
        refuse("`struct module` has no name");
    } else if look.name.len() as u64 >= NAME_LENGTH {
        refuse("the name in `struct module` has no end");
    }
}

/// `percpu_modalloc`, and what `percpu_modcopy` copies.
pub(crate) fn percpu(look: &Look<'_>, report: &mut Report) {
    let image = look.image;
    let section = &image.sections[image.percpu];
    if image.percpu == 0 || section.size == 0 {
        return;
    }
    let alignment = section.alignment.min(PAGE);
    if section.size > PERCPU || (alignment > 4 && !alignment.is_power_of_two()) {
        let size = section.size;
        let message =
            format!("{size} bytes of per-CPU variables with an alignment of {:#x}", section.alignment);
        let words = format!("{}: Could not allocate {size} bytes percpu data", look.name);
        let finding = Finding::new(Id::ModuleMemory, message).in_section(image.section_name(image.percpu));
        report.add(finding.kernel(Errno::Enomem, words));
    } else if !image.is_within(section) {
        report.add(outside(look, image.percpu));
    }
}

/// Tables that the loader reads by itself, of types whose place it doesn't check.
pub(crate) fn unchecked_tables(look: &Look<'_>, report: &mut Report) {
    let image = look.image;
    for index in [image.find_info(), image.versions] {
        if index != 0 && !image.is_within(&image.sections[index]) {
            report.add(outside(look, index));
        }
    }
}

/// `find_any_sec` and `module_finalize` compare the names of all sections.
pub(crate) fn section_names(look: &Look<'_>, report: &mut Report) {
    for index in 0..look.image.sections.len() {
        if let Some(finding) = look.image.unreadable_name(index) {
            report.add(finding);
        }
    }
}

/// `add_sect_attrs` makes a file of each section. 6.1 has the duplicate printed, and goes on.
pub(crate) fn section_files(look: &Look<'_>, report: &mut Report) {
    if look.kernel.loader() == Loader::Trusting {
        return;
    }
    let image = look.image;
    let mut names = BTreeSet::new();
    let shown = (0..image.sections.len()).filter(|i| look.is_laid_out(*i) && image.sections[*i].size > 0);
    if let Some(name) = shown.map(|index| image.section_name(index)).find(|name| !names.insert(name.clone()))
    {
        let message = format!("two sections are called `{name}`");
        let words =
            format!("sysfs: cannot create duplicate filename '/module/{}/sections/{name}'", look.name);
        report.add(Finding::new(Id::SectionNames, message).in_section(name).kernel(Errno::Eexist, words));
    }
}

fn outside(look: &Look<'_>, index: usize) -> Finding {
    let section = &look.image.sections[index];
    let message = format!(
        "the section is read, and its {} bytes at {:#x} are not all in the file",
        section.size, section.offset
    );
    Finding::new(Id::SectionBounds, message).in_section(look.image.section_name(index))
}

impl Look<'_> {
    /// Whether the loader gives a section memory: `rewrite_section_headers` and `layout_and_allocate` take the
    /// mark off three, of which each may be section 0, and `layout_symtab` gives it to two.
    pub(crate) fn is_laid_out(&self, index: usize) -> bool {
        let image = self.image;
        let passed_over = [image.versions, image.percpu, image.find_info()];
        index == image.symbols
            || index == image.strings
            || (image.sections[index].is_loaded() && !passed_over.contains(&index))
    }

    /// Whether it can't be written to once the module is initialised: its flag, and two names.
    fn is_read_only_after_init(&self, index: usize) -> bool {
        let image = self.image;
        image.sections[index].flags & READ_ONLY_AFTER_INIT != 0
            || [".data..ro_after_init", "__jump_table"].iter().any(|name| image.find_loaded(name) == index)
    }
}
