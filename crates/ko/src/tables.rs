// SPDX-License-Identifier: GPL-2.0-only
//! The tables in a module that the loader follows: what they point to. It takes every entry to be filled in by
//! relocations, and doesn't look whether they are.

use std::borrow::Cow;
use std::collections::HashMap;

use object::elf;

use crate::check::Look;
use crate::finding::{Errno, Finding, Report};
use crate::image::{NAME_IN_MODULE, NAME_LENGTH, THIS_MODULE};
use crate::relocations::{RELOCATION, Relocation};
use crate::rules::Id;

/// What a field of an entry points to.
#[derive(Clone, Copy)]
enum Points {
    /// Instructions of the module.
    Code,
    /// Something in the module or in the kernel.
    Anything,
}

/// How a field points there.
#[derive(Clone, Copy)]
enum Field {
    /// A distance of 32 bits.
    Near,
    /// A distance of 64 bits.
    Far,
    /// An address.
    Address,
}

impl Field {
    fn width(self) -> u64 {
        match self {
            Self::Near => 4,
            Self::Far | Self::Address => 8,
        }
    }

    fn is_filled_by(self, kind: u32) -> bool {
        match self {
            Self::Near => [elf::R_X86_64_PC32.0, elf::R_X86_64_PLT32.0].contains(&kind),
            Self::Far => kind == elf::R_X86_64_PC64.0,
            Self::Address => kind == elf::R_X86_64_64.0,
        }
    }
}

/// A table: its section, the size of its entries, and their fields that are followed, each with its place.
struct Table {
    name: &'static str,
    entry: u64,
    fields: &'static [(u64, Field, Points)],
}

const SITES: &[(u64, Field, Points)] = &[(0, Field::Near, Points::Code)];

/// The tables, with the functions that follow them.
const TABLES: [Table; 8] = [
    // `module_param_sysfs_setup`: the name, what reads and writes it.
    Table {
        name: "__param",
        entry: 40,
        fields: &[(0, Field::Address, Points::Anything), (16, Field::Address, Points::Anything)],
    },
    // `apply_retpolines`, `apply_returns`, `callthunks_patch_module_calls`, `apply_seal_endbr` and
    // `alternatives_smp_module_add`, from `module_finalize` in `arch/x86/kernel/module.c`.
    Table { name: ".retpoline_sites", entry: 4, fields: SITES },
    Table { name: ".return_sites", entry: 4, fields: SITES },
    Table { name: ".call_sites", entry: 4, fields: SITES },
    Table { name: ".ibt_endbr_seal", entry: 4, fields: SITES },
    Table { name: ".smp_locks", entry: 4, fields: SITES },
    // `jump_label_add_module`.
    Table {
        name: "__jump_table",
        entry: 16,
        fields: &[
            (0, Field::Near, Points::Code),
            (4, Field::Near, Points::Code),
            (8, Field::Far, Points::Anything),
        ],
    },
    // `static_call_add_module`.
    Table {
        name: ".static_call_sites",
        entry: 8,
        fields: &[(0, Field::Near, Points::Code), (4, Field::Near, Points::Anything)],
    },
];

/// The tables of exports, which `verify_exported_symbols` goes through: `struct kernel_symbol`.
const EXPORTS: [&str; 2] = ["__ksymtab", "__ksymtab_gpl"];
const EXPORT: u64 = 12;
const NAME_IN_EXPORT: u64 = 4;

/// A section's relocations, by the place that they fill in.
type Filled = HashMap<u64, Relocation>;

impl Look<'_> {
    fn filled(&self, target: usize) -> Filled {
        let image = self.image;
        let sections = image.sections.iter().enumerate().skip(1);
        let tables = sections.filter(|(_, s)| s.kind == elf::SHT_RELA.0 && s.info as usize == target);
        let entries = tables.flat_map(|(index, _)| image.data(index).chunks_exact(RELOCATION));
        entries.filter_map(Relocation::read).map(|relocation| (relocation.offset, relocation)).collect()
    }

    /// Whether a relocation fills in such a field, and points to what it should.
    fn points(&self, relocation: Option<&Relocation>, field: Field, to: Points) -> bool {
        let Some(relocation) = relocation.filter(|r| field.is_filled_by(r.kind) && r.symbol != 0) else {
            return false;
        };
        let Some(symbol) = self.image.symbol(relocation.symbol) else { return false };
        let at = symbol.value.wrapping_add_signed(relocation.addend);
        let section = usize::from(symbol.section);
        match self.image.sections.get(section) {
            Some(_) if section == 0 => matches!(to, Points::Anything),
            Some(found) => {
                let is_code = found.flags & elf::SHF_EXECINSTR.0 != 0;
                self.is_laid_out(section) && at < found.size && (is_code || matches!(to, Points::Anything))
            }
            None => false,
        }
    }
}

/// The tables that are followed once relocations were applied.
pub(crate) fn check(look: &Look<'_>, report: &mut Report) {
    let image = look.image;
    for table in &TABLES {
        let index = image.find_loaded(table.name);
        if index == 0 {
            continue;
        }
        let size = image.sections[index].size;
        let filled = look.filled(index);
        let entries = if table.entry == 4 { size.div_ceil(4) } else { size / table.entry };
        let bad = (0..entries).map(|number| number * table.entry).find_map(|at| {
            let mut fields = table.fields.iter().map(|(place, field, to)| (at + place, *field, *to));
            fields.find(|(at, field, to)| {
                at + field.width() > size || !look.points(filled.get(at), *field, *to)
            })
        });
        if let Some((at, _, to)) = bad {
            let what = match to {
                Points::Code => "code of the module",
                Points::Anything => "anything",
            };
            let message = format!("an entry of the table doesn't point to {what}");
            report.add(Finding::new(Id::LoaderTable, message).at(table.name, at));
        }
    }
    let functions = look.filled(image.this_module);
    let mut fields: Vec<u64> = functions.keys().copied().collect();
    fields.sort_unstable();
    for at in fields {
        // The loader has used the fields up to the name by then.
        let is_used = at < NAME_IN_MODULE + NAME_LENGTH;
        if is_used || !look.points(functions.get(&at), Field::Address, Points::Code) {
            let message =
                "`struct module` refers to something that isn't code of the module, or where it can't";
            report.add(Finding::new(Id::ThisModuleContent, message).at(THIS_MODULE, at));
        }
    }
}

/// `verify_exported_symbols`: what the image exports can't be exported again.
pub(crate) fn duplicate_exports(look: &Look<'_>, report: &mut Report) {
    for table in EXPORTS {
        let index = look.image.find_loaded(table);
        if index == 0 {
            continue;
        }
        let filled = look.filled(index);
        for at in (0..look.image.sections[index].size / EXPORT).map(|number| number * EXPORT) {
            let Some(name) = export_name(look, &filled, at) else {
                let message = "the name of an export isn't in the module";
                report.add(Finding::new(Id::LoaderTable, message).at(table, at));
                break;
            };
            if look.kernel.exports.get(&name).is_some_and(|export| export.is_in_image()) {
                let message = format!("`{name}` is exported by the kernel itself");
                let words = format!("{}: exports duplicate symbol {name} (owned by kernel)", look.name);
                let finding = Finding::new(Id::DuplicateExport, message).symbol(name);
                report.add(finding.kernel(Errno::Enoexec, words));
            }
        }
    }
}

fn export_name<'a>(look: &Look<'a>, filled: &Filled, at: u64) -> Option<Cow<'a, str>> {
    let relocation = filled.get(&(at + NAME_IN_EXPORT));
    if !look.points(relocation, Field::Near, Points::Anything) {
        return None;
    }
    let relocation = relocation?;
    let symbol = look.image.symbol(relocation.symbol)?;
    let section = look.image.sections.get(usize::from(symbol.section)).filter(|_| symbol.section != 0)?;
    let place = section.offset.checked_add(symbol.value.wrapping_add_signed(relocation.addend))?;
    Some(String::from_utf8_lossy(look.image.bytes.text(place)))
}
