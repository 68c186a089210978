// SPDX-License-Identifier: GPL-2.0-only
//! A module's symbols: `simplify_symbols`, `resolve_symbol` and `verify_exported_symbols` in
//! `kernel/module/main.c`.

use std::borrow::Cow;
use std::collections::HashSet;

use object::elf;

use crate::check::{Look, Version};
use crate::finding::{Errno, Finding, Report};
use crate::image::Image;
use crate::names::readable;
use crate::rules::Id;

/// `SHN_LIVEPATCH` in `include/uapi/linux/elf.h`.
const LIVEPATCH: u16 = 0xff20;

/// A symbol as it is in the file (`Elf64_Sym`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Symbol {
    pub(crate) name: u32,
    info: u8,
    pub(crate) section: u16,
    pub(crate) value: u64,
    pub(crate) size: u64,
}

/// The size of `Elf64_Sym`.
const SYMBOL: u64 = 24;

impl Symbol {
    /// Its type, `STT_…`.
    pub(crate) fn kind(self) -> u8 {
        self.info & 0xf
    }

    pub(crate) fn is_global(self) -> bool {
        self.info >> 4 != elf::STB_LOCAL.0
    }

    fn is_weak(self) -> bool {
        self.info >> 4 == elf::STB_WEAK.0
    }
}

impl<'a> Image<'a> {
    /// How many symbols there are.
    pub(crate) fn symbol_count(&self) -> u64 {
        self.data(self.symbols).len() as u64 / SYMBOL
    }

    /// A symbol; nothing beyond the last.
    pub(crate) fn symbol(&self, index: u64) -> Option<Symbol> {
        let start = usize::try_from(index.checked_mul(SYMBOL)?).ok()?;
        let bytes: &[u8; 24] = self.data(self.symbols).get(start..)?.first_chunk()?;
        let [n0, n1, n2, n3, info, _, s0, s1, rest @ ..] = bytes;
        let (value, size) = rest.split_first_chunk()?;
        Some(Symbol {
            name: u32::from_le_bytes([*n0, *n1, *n2, *n3]),
            info: *info,
            section: u16::from_le_bytes([*s0, *s1]),
            value: u64::from_le_bytes(*value),
            size: u64::from_le_bytes(*size.first_chunk()?),
        })
    }

    /// A symbol's name. The loader doesn't check that it is in the string table.
    pub(crate) fn symbol_name(&self, symbol: Symbol) -> Cow<'a, str> {
        let strings = self.sections[self.strings].offset;
        String::from_utf8_lossy(self.bytes.text(strings.saturating_add(u64::from(symbol.name))))
    }

    /// Whether a symbol's name is known: it ends within the file, and isn't in the table of sections, which the
    /// loader has written to by then.
    fn is_name_readable(&self, symbol: Symbol) -> bool {
        let start = self.sections[self.strings].offset.saturating_add(u64::from(symbol.name));
        let end = start.saturating_add(self.bytes.text(start).len() as u64);
        let table = self.table();
        self.is_terminated(start) && (end < table.start || start >= table.end)
    }

    /// All symbols but the first, which is none, each with its index.
    pub(crate) fn symbols_with_index(&self) -> impl Iterator<Item = (u64, Symbol)> + '_ {
        (1..self.symbol_count()).filter_map(|index| Some((index, self.symbol(index)?)))
    }

    fn all_symbols(&self) -> impl Iterator<Item = Symbol> + '_ {
        self.symbols_with_index().map(|(_, symbol)| symbol)
    }
}

/// `simplify_symbols`.
pub(crate) fn check(look: &Look<'_>, report: &mut Report) {
    let sections = look.image.sections.len();
    for symbol in look.image.all_symbols() {
        let is_named = symbol.section == 0
            || symbol.section == elf::SHN_COMMON.0
            || (symbol.section != elf::SHN_ABS.0 && symbol.section != LIVEPATCH)
                && usize::from(symbol.section) >= sections;
        if is_named && !look.image.is_name_readable(symbol) {
            let message = format!("the name of a symbol is at {}, outside the string table", symbol.name);
            report.add_symbol(Finding::new(Id::SymbolTable, message));
        }
        match symbol.section {
            0 => {
                if let Some(finding) = undefined(look, symbol) {
                    report.add_symbol(finding);
                }
            }
            section if section == elf::SHN_ABS.0 || section == LIVEPATCH => {}
            section if section == elf::SHN_COMMON.0 => {
                let name = look.image.symbol_name(symbol);
                if !name.starts_with("__gnu_lto") {
                    let message = format!("`{name}` has no section: the compiler left it to the linker");
                    let words = format!("{}: please compile with -fno-common", look.name);
                    let finding = Finding::new(Id::CommonSymbol, message).symbol(name);
                    report.add_symbol(finding.kernel(Errno::Enoexec, words));
                }
            }
            section if usize::from(section) >= sections => {
                let name = look.image.symbol_name(symbol);
                let message =
                    format!("`{}` is in section {section}, and there are {sections}", readable(&name));
                let words = format!(
                    "{}: Symbol {name} has an invalid section index {section} (max {})",
                    look.name,
                    sections - 1
                );
                let finding = Finding::new(Id::SymbolSection, message).symbol(name);
                report.add_symbol(finding.kernel(Errno::Enoexec, words));
            }
            _ => {}
        }
    }
}

/// `elf_type` in `kernel/module/kallsyms.c` looks up the section of every symbol; that of the first, which is none,
/// nobody has looked at before.
pub(crate) fn first(look: &Look<'_>, report: &mut Report) {
    let Some(first) = look.image.symbol(0) else { return };
    let section = usize::from(first.section);
    let is_reserved = first.section >= elf::SHN_LORESERVE;
    if section >= look.image.sections.len() && !is_reserved && !first.is_weak() {
        let message = format!("symbol 0 is in section {section}, which there isn't");
        report.add(Finding::new(Id::SymbolSection, message));
    }
}

/// `resolve_symbol` and what `simplify_symbols` makes of its answer.
fn undefined(look: &Look<'_>, symbol: Symbol) -> Option<Finding> {
    let name = look.image.symbol_name(symbol);
    let unknown = |errno: Errno| format!("{}: Unknown symbol {name} (err -{})", look.name, errno.number());
    // What the kernel's own copy of the module exports isn't there when this one is loaded in its place.
    let is_own = |owner: &str| owner.rsplit('/').next().unwrap_or(owner).replace('-', "_") == look.name;
    let export = look.kernel.exports.get(&name);
    let export = export.filter(|export| export.is_in_image() || !is_own(&export.owner));
    let Some(export) = export.filter(|export| look.gpl || !export.gpl_only) else {
        if symbol.is_weak() || name == "_GLOBAL_OFFSET_TABLE_" {
            return None;
        }
        let finding = match export {
            Some(_) => {
                let message = format!(
                    "`{}` is exported to GPL-compatible modules only, and {}",
                    readable(&name),
                    look.not_gpl()
                );
                Finding::new(Id::GplOnlySymbol, message)
            }
            None => Finding::new(
                Id::UnknownSymbol,
                format!("`{}` is not exported by this kernel", readable(&name)),
            ),
        };
        return Some(finding.symbol(&*name).kernel(Errno::Enoent, unknown(Errno::Enoent)));
    };
    if let Version::Bad(finding) = look.version(&name, export.crc) {
        let words = finding.kernel.clone().unwrap_or_else(|| unknown(Errno::Einval));
        return Some(finding.kernel(Errno::Einval, words));
    }
    let namespace = &*export.namespace;
    // What is exported to named modules (`module:`, since 6.16) isn't imported by them.
    if namespace.is_empty() || namespace.starts_with("module:") || look.kernel.options.missing_imports_allowed
    {
        return None;
    }
    if look.imports.contains(namespace.as_bytes()) {
        return None;
    }
    let message =
        format!("`{}` is in the namespace {namespace}, which the module doesn't import", readable(&name));
    let words = format!(
        "{}: module uses symbol ({name}) from namespace {namespace}, but does not import it.",
        look.name
    );
    let finding = Finding::new(Id::NamespaceNotImported, message).symbol(&*name);
    Some(finding.kernel(Errno::Einval, words).remedy(format!(
        "add `MODULE_IMPORT_NS({namespace});` to a C file (since 6.13 with the name in quotes)"
    )))
}

/// Whether a module that is to hold Rust functions has them.
pub(crate) fn missing_functions(look: &Look<'_>, functions: &[String], report: &mut Report) {
    if functions.is_empty() {
        return;
    }
    let mut missing: HashSet<&str> = functions.iter().map(String::as_str).collect();
    for symbol in look.image.all_symbols().filter(|symbol| symbol.section != 0) {
        missing.remove(&*look.image.symbol_name(symbol));
    }
    for name in functions.iter().filter(|name| missing.contains(name.as_str())) {
        let message = format!("the function `{name}` of the Rust side is not in the module");
        report.add(Finding::new(Id::MissingFunction, message).symbol(name));
    }
}
