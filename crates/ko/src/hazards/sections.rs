// SPDX-License-Identifier: GPL-2.0-only

use object::elf;

use crate::check::Look;
use crate::code::{Code, Target};
use crate::finding::{Finding, Found};
use crate::image::Section;
use crate::names::readable;
use crate::policy::Policy;
use crate::rules::Id;

/// What C++ and Rust call to unwind, and what they put into tables for it.
const UNWINDING: [&str; 4] =
    ["_Unwind_Resume", "rust_eh_personality", "__gxx_personality_v0", "__gcc_personality_v0"];

/// What the functions are called that gcc and clang add for KASAN, to be run at the end.
const KASAN_DESTRUCTORS: [&str; 2] = ["_sub_D_", "asan.module_dtor"];

/// Looks at the module's sections and symbols. Gives what the module takes up in memory, in bytes.
pub(super) fn check(look: &Look<'_>, code: &Code<'_>, policy: &Policy, found: &mut Found<'_>) -> u64 {
    let image = look.image;
    let options = look.kernel.options;
    let mut size = 0_u64;
    for (index, section) in image.sections.iter().enumerate().filter(|(_, section)| section.is_loaded()) {
        let name = image.section_name(index);
        let mut find = |id, message: String| found.push(Finding::new(id, message).in_section(&*name));
        size = size.saturating_add(section.size);
        if section.size == 0 {
            continue;
        }
        if name.starts_with(".eh_frame") || name.starts_with(".gcc_except_table") {
            find(Id::UnwindTables, format!("{} bytes for unwinding exceptions are loaded", section.size));
        }
        let is = |names: [&str; 2]| names.iter().any(|n| name == *n || name.starts_with(&format!("{n}.")));
        if is([".dtors", ".fini_array"]) {
            if is_of_kasan(code, index) {
                continue;
            }
            find(Id::Constructors, "destructors are never run".to_owned());
        } else if is([".ctors", ".init_array"]) && !options.constructors {
            find(
                Id::Constructors,
                "constructors are not run: the kernel has no CONFIG_CONSTRUCTORS".to_owned(),
            );
        }
        let both = elf::SHF_WRITE.0 | elf::SHF_EXECINSTR.0;
        if section.flags & both == both && !options.strict_rwx {
            find(Id::WritableExecutable, "the section is writable and executable".to_owned());
        }
    }
    symbols(look, found);
    mismatches(code, found);
    if let Some(most) = policy.max_size.filter(|most| size > *most) {
        let message = format!("the module takes up {size} bytes, and `max-size` allows {most}");
        found.push(Finding::new(Id::SizeBudget, message));
    }
    size
}

/// Whether a section has nothing but what compilers add for KASAN: it takes back what the kernel forgets with the module.
fn is_of_kasan(code: &Code<'_>, index: usize) -> bool {
    let relocations = code.relocations(index);
    let is_its = |name: &str| KASAN_DESTRUCTORS.iter().any(|prefix| name.starts_with(prefix));
    !relocations.is_empty()
        && relocations.iter().all(|relocation| match code.target_in_data(relocation) {
            Some(Target::Inside { section, offset }) => {
                code.function_at(section, offset).is_some_and(|at| is_its(&code.name(&code.functions()[at])))
            }
            _ => false,
        })
}

fn symbols(look: &Look<'_>, found: &mut Found<'_>) {
    let is_own = |owner: &str| owner.rsplit('/').next().unwrap_or(owner).replace('-', "_") == look.name;
    for (_, symbol) in look.image.symbols_with_index() {
        if !symbol.is_global() {
            continue;
        }
        let name = look.image.symbol_name(symbol);
        if UNWINDING.contains(&&*name) {
            let message = format!("`{name}` is there, or is asked for: an object was compiled for unwinding");
            found.push(Finding::new(Id::UnwindTables, message).symbol(&*name));
        }
        let is_code_or_data =
            [elf::STT_FUNC.0, elf::STT_OBJECT.0, elf::STT_NOTYPE.0].contains(&symbol.kind());
        let section = usize::from(symbol.section);
        if section == 0 || section >= look.image.sections.len() || !is_code_or_data {
            continue;
        }
        let Some(export) = look.kernel.exports.get(&name).filter(|export| !is_own(&export.owner)) else {
            continue;
        };
        found.add(Id::ShadowedSymbol, Some(&name), || {
            let whose = if export.is_in_image() {
                "the kernel".to_owned()
            } else {
                format!("the module {}", export.owner)
            };
            let message =
                format!("the module has a `{}` of its own, and {whose} exports one", readable(&name));
            let finding = Finding::new(Id::ShadowedSymbol, message).symbol(&*name);
            finding.place(look.image, section, symbol.value)
        });
    }
}

/// Whether a section is freed when init has returned: `module_init_section`.
fn is_freed(name: &str) -> bool {
    name.starts_with(".init")
}

/// Whether a section stays, and what it refers to is used then: code, and data that can be changed. Constant tables are
/// passed over, as modpost does (`sectioncheck` in `scripts/mod/modpost.c`): init reads some of them.
fn stays(name: &str, section: Section) -> bool {
    let is_code = section.flags & elf::SHF_EXECINSTR.0 != 0 && !name.starts_with(".altinstr");
    let is_data = (name == ".data" || name.starts_with(".data.")) && name != ".data..ro_after_init";
    section.is_loaded() && !is_freed(name) && !name.starts_with(".ref") && (is_code || is_data)
}

fn mismatches(code: &Code<'_>, found: &mut Found<'_>) {
    let image = code.image;
    let in_freed = |index: usize| image.sections[index].is_loaded() && is_freed(&image.section_name(index));
    let freed: Vec<bool> = (0..image.sections.len()).map(in_freed).collect();
    if !freed.contains(&true) {
        return;
    }
    for index in 0..image.sections.len() {
        let name = image.section_name(index);
        if !stays(&name, image.sections[index]) {
            continue;
        }
        let is_code = image.sections[index].flags & elf::SHF_EXECINSTR.0 != 0;
        for relocation in code.relocations(index) {
            let target =
                if is_code { code.target_in_code(relocation) } else { code.target_in_data(relocation) };
            let Some(Target::Inside { section, offset }) = target else { continue };
            if !freed[section] {
                continue;
            }
            let from = code.function_at(index, relocation.offset).map(|from| code.functions()[from]);
            let symbol = from.map(|from| code.name(&from));
            found.add(Id::SectionMismatch, symbol.as_deref(), || {
                let of = from
                    .map_or_else(|| format!("{name}+{:#x}", relocation.offset), |from| code.readable(&from));
                let to_name = image.section_name(section);
                let to = code.function_at(section, offset).map(|to| code.readable(&code.functions()[to]));
                let to = to.unwrap_or_else(|| to_name.clone());
                let message = format!("`{of}` stays, and refers to `{to}` in {to_name}, which is freed");
                let finding = Finding::new(Id::SectionMismatch, message);
                let finding = match &symbol {
                    Some(symbol) => finding.symbol(&**symbol),
                    None => finding,
                };
                finding.place(image, index, relocation.offset)
            });
        }
    }
}
