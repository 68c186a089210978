// SPDX-License-Identifier: GPL-2.0-only
//! A module's file as the loader sees it: which of its fields are looked at, in which order, and what is said
//! of each.
//!
//! The `object` crate isn't used here: it refuses other things, in another order, than the kernel does.

use std::ops::Range;

use object::elf;

use crate::finding::{Errno, Finding};
use crate::kernel::Loader;
use crate::names::{LONGEST, lossy};
use crate::rules::Id;

/// The size of `Elf64_Ehdr`.
const HEADER: u64 = 64;
/// The size of `Elf64_Shdr`.
const SECTION_HEADER: u64 = 64;
/// Where the name is in `struct module`: after the state and the list.
pub(crate) const NAME_IN_MODULE: u64 = 24;
/// `MODULE_NAME_LEN`.
pub(crate) const NAME_LENGTH: u64 = 56;

/// The name of the section with `struct module`.
pub(crate) const THIS_MODULE: &str = ".gnu.linkonce.this_module";

/// A section's header, as it is in the file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Section {
    pub(crate) name: u32,
    pub(crate) kind: u32,
    pub(crate) flags: u64,
    pub(crate) address: u64,
    pub(crate) offset: u64,
    pub(crate) size: u64,
    pub(crate) link: u32,
    pub(crate) info: u32,
    pub(crate) alignment: u64,
}

impl Section {
    pub(crate) fn is_loaded(&self) -> bool {
        self.flags & elf::SHF_ALLOC.0 != 0
    }
}

/// A module's file that the loader's checks of the ELF format let pass. Offsets of sections that hold bytes
/// are within the file; nothing else in it has been checked.
#[derive(Debug)]
pub(crate) struct Image<'a> {
    pub(crate) bytes: Bytes<'a>,
    /// Where the file's last zero is.
    last_zero: Option<u64>,
    pub(crate) sections: Vec<Section>,
    /// The section with the sections' names.
    names: Section,
    /// The index of `.modinfo`; 0 for none, as everywhere in the loader.
    info: usize,
    pub(crate) this_module: usize,
    pub(crate) symbols: usize,
    pub(crate) strings: usize,
    pub(crate) versions: usize,
    pub(crate) percpu: usize,
}

/// Bytes that are read as the loader reads them: what lies beyond the end is zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(crate) fn len(self) -> u64 {
        self.0.len() as u64
    }

    /// The part from `offset`, of at most `size` bytes; shorter where the file ends.
    pub(crate) fn part(self, offset: u64, size: u64) -> &'a [u8] {
        let length = self.0.len();
        let clamp = |at: u64| usize::try_from(at).unwrap_or(length).min(length);
        self.0.get(clamp(offset)..clamp(offset.saturating_add(size))).unwrap_or_default()
    }

    pub(crate) fn array<const N: usize>(self, offset: u64) -> [u8; N] {
        let mut array = [0; N];
        let part = self.part(offset, N as u64);
        array[..part.len()].copy_from_slice(part);
        array
    }

    fn u16(self, offset: u64) -> u16 {
        u16::from_le_bytes(self.array(offset))
    }

    fn u32(self, offset: u64) -> u32 {
        u32::from_le_bytes(self.array(offset))
    }

    fn u64(self, offset: u64) -> u64 {
        u64::from_le_bytes(self.array(offset))
    }

    /// The text at `offset`, up to the next zero: a name.
    pub(crate) fn text(self, offset: u64) -> &'a [u8] {
        let rest = self.part(offset, LONGEST as u64);
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// Whether the text at `offset` is this one.
    fn has_text(self, offset: u64, text: &str) -> bool {
        let part = self.part(offset, text.len() as u64 + 1);
        part.strip_prefix(text.as_bytes()).is_some_and(|rest| matches!(rest, [] | [0]))
    }

    fn section(self, offset: u64) -> Section {
        Section {
            name: self.u32(offset),
            kind: self.u32(offset.saturating_add(4)),
            flags: self.u64(offset.saturating_add(8)),
            address: self.u64(offset.saturating_add(16)),
            offset: self.u64(offset.saturating_add(24)),
            size: self.u64(offset.saturating_add(32)),
            link: self.u32(offset.saturating_add(40)),
            info: self.u32(offset.saturating_add(44)),
            alignment: self.u64(offset.saturating_add(48)),
        }
    }
}

/// A refusal of the ELF format: always `ENOEXEC`.
fn refusal(id: Id, offset: u64, message: impl Into<String>, words: impl Into<String>) -> Box<Finding> {
    Box::new(Finding::new(id, message).offset(offset).kernel(Errno::Enoexec, words))
}

impl<'a> Image<'a> {
    /// Reads a file as this form of the loader does: `elf_validity_check` and `setup_load_info` of 6.1 and of
    /// 6.12.95, or `elf_validity_cache_copy` of 6.12.117.
    pub(crate) fn parse(bytes: Bytes<'a>, loader: Loader) -> Result<Self, Box<Finding>> {
        header(bytes)?;
        let table = bytes.u64(0x28);
        let count = bytes.u16(0x3c);
        let sections =
            (0..u64::from(count)).map(|index| bytes.section(table + index * SECTION_HEADER)).collect();
        let names = Section::default();
        let last_zero = bytes.0.iter().rposition(|byte| *byte == 0).map(|at| at as u64);
        let mut image = Self {
            bytes,
            last_zero,
            sections,
            names,
            info: 0,
            this_module: 0,
            symbols: 0,
            strings: 0,
            versions: 0,
            percpu: 0,
        };
        match loader {
            Loader::Trusting => image.check_trusting(table)?,
            Loader::Counting => image.check_counting(table)?,
            Loader::Strict => image.check_strict(table)?,
        }
        image.check_compared(Section::is_loaded)?;
        image.versions = image.find_loaded("__versions");
        image.percpu = image.find_loaded(".data..percpu");
        Ok(image)
    }

    /// What both forms of `elf_validity_check` begin with. The later one compares each section's name before
    /// it looks where that is.
    fn check_sections(&mut self, table: u64, compares: bool) -> Result<(), Box<Finding>> {
        self.check_names_index()?;
        if !self.is_within(&self.names) {
            let kind = self.names.kind;
            return Err(refusal(
                Id::SectionBounds,
                self.names.offset,
                "the section name table lies outside the file",
                format!("Invalid ELF section hdr(type {kind})"),
            ));
        }
        self.check_names_end()?;
        self.check_first(table)?;
        for index in 1..self.sections.len() {
            let section = self.sections[index];
            if [elf::SHT_NULL.0, elf::SHT_NOBITS.0].contains(&section.kind) {
                continue;
            }
            if section.kind == elf::SHT_SYMTAB.0 {
                self.check_link(index)?;
            }
            self.check_bounds(index)?;
            if compares {
                self.check_readable(index)?;
            }
            if section.is_loaded() {
                self.check_name(index)?;
            }
        }
        Ok(())
    }

    /// `find_sec` and its like compare names without looking whether these are in the file.
    fn check_compared(&self, is_compared: impl Fn(&Section) -> bool) -> Result<(), Box<Finding>> {
        let mut compared = (1..self.sections.len()).filter(|index| is_compared(&self.sections[*index]));
        compared.try_for_each(|index| self.check_readable(index))
    }

    /// What the loader reads in any case, and what it doesn't look for.
    fn check_readable(&self, index: usize) -> Result<(), Box<Finding>> {
        self.unreadable_name(index).map_or(Ok(()), |finding| Err(Box::new(finding)))
    }

    /// Whether the text at `offset` ends within the file. Of one that doesn't, the loader reads what lies behind
    /// its copy of the file.
    pub(crate) fn is_terminated(&self, offset: u64) -> bool {
        self.last_zero.is_some_and(|last| offset <= last)
    }

    /// A section's name that the loader would read from beyond the file.
    pub(crate) fn unreadable_name(&self, index: usize) -> Option<Finding> {
        let name = self.sections[index].name;
        let message = format!("the name of section {index} is at {name}, outside the file");
        let is_there = self.is_terminated(self.names.offset.saturating_add(u64::from(name)));
        (!is_there).then(|| Finding::new(Id::SectionNames, message).offset(self.names.offset))
    }

    fn check_trusting(&mut self, table: u64) -> Result<(), Box<Finding>> {
        self.check_sections(table, false)?;
        self.check_compared(Section::is_loaded)?;
        self.info = self.find_loaded(".modinfo");
        self.symbols =
            self.sections.iter().skip(1).position(|s| s.kind == elf::SHT_SYMTAB.0).map_or(0, |at| at + 1);
        if self.symbols == 0 {
            return Err(self.no_symbols("the module has no symbol table"));
        }
        self.strings = self.sections[self.symbols].link as usize;
        self.this_module = self.find_loaded(THIS_MODULE);
        if self.this_module == 0 {
            let words = format!("{}: No module found in object", self.said_name());
            let message = format!("there is no section {THIS_MODULE} that is loaded");
            return Err(refusal(Id::ThisModuleMissing, table, message, words));
        }
        Ok(())
    }

    fn check_counting(&mut self, table: u64) -> Result<(), Box<Finding>> {
        self.check_sections(table, true)?;
        let holds = |section: &Section| ![elf::SHT_NULL.0, elf::SHT_NOBITS.0].contains(&section.kind);
        self.info = self.only_info(table, holds)?;
        self.only_symbols()?;
        self.strings = self.sections[self.symbols].link as usize;
        let found = self.find_any(THIS_MODULE, holds);
        self.check_this_module(table, found, "Only one .gnu.linkonce.this_module section must exist.")
    }

    fn check_strict(&mut self, table: u64) -> Result<(), Box<Finding>> {
        self.check_first(table)?;
        for index in 1..self.sections.len() {
            if ![elf::SHT_NULL.0, elf::SHT_NOBITS.0].contains(&self.sections[index].kind) {
                self.check_bounds(index)?;
            }
        }
        self.check_names_index()?;
        let kind = self.names.kind;
        if kind != elf::SHT_STRTAB.0 {
            return Err(refusal(
                Id::SectionNames,
                0x3e,
                format!("the section name table is of type {kind}, not a string table"),
                format!("Invalid ELF section name table type: {kind}"),
            ));
        }
        self.check_names_end()?;
        for index in 0..self.sections.len() {
            if self.sections[index].kind != elf::SHT_NULL.0 {
                self.check_name(index)?;
            }
        }
        self.check_compared(|_| true)?;
        self.info = self.only_info(table, |_| true)?;
        let found = self.find_any(THIS_MODULE, |_| true);
        let words = "Exactly one .gnu.linkonce.this_module section must exist.";
        self.check_this_module(table, found, words)?;
        self.only_symbols()?;
        let symbols = self.symbols;
        self.check_link(symbols)?;
        self.strings = self.sections[symbols].link as usize;
        let kind = self.sections[self.strings].kind;
        if kind != elf::SHT_STRTAB.0 {
            return Err(refusal(
                Id::SymbolTable,
                self.sections[self.strings].offset,
                format!("the symbols' string table is of type {kind}"),
                format!("Invalid ELF symbol string table type: {kind}"),
            ));
        }
        Ok(())
    }

    fn only_info(&self, table: u64, counts: impl Fn(&Section) -> bool) -> Result<usize, Box<Finding>> {
        match self.find_any(".modinfo", counts) {
            (_, 2..) => {
                let words = "Only one .modinfo section must exist.";
                Err(refusal(Id::ThisModuleMissing, table, "there are several .modinfo sections", words))
            }
            (index, _) => Ok(index),
        }
    }

    fn only_symbols(&mut self) -> Result<(), Box<Finding>> {
        let tables = self.sections.iter().enumerate().skip(1).filter(|(_, s)| s.kind == elf::SHT_SYMTAB.0);
        let tables: Vec<usize> = tables.map(|(index, _)| index).collect();
        let [index] = tables[..] else {
            return Err(self.no_symbols(&format!("the module has {} symbol tables, not one", tables.len())));
        };
        self.symbols = index;
        Ok(())
    }

    /// `elf_validity_cache_index_mod`, but for the size, which is for [`crate::check`] to compare. `found` is one
    /// such section and how many there are.
    fn check_this_module(
        &mut self,
        table: u64,
        (index, count): (usize, usize),
        only: &str,
    ) -> Result<(), Box<Finding>> {
        let name = self.said_name();
        let refuse = |message: &str, words: &str| {
            let words = format!("module {name}: {words}");
            Err(refusal(Id::ThisModuleMissing, table, format!("{THIS_MODULE} {message}"), words))
        };
        if count != 1 {
            return refuse(&format!("is there {count} times, not once"), only);
        }
        let section = self.sections[index];
        if section.kind == elf::SHT_NOBITS.0 {
            return refuse("holds no bytes", ".gnu.linkonce.this_module section must have a size set");
        }
        if !section.is_loaded() {
            let words = ".gnu.linkonce.this_module must occupy memory during process execution";
            return refuse("is not loaded", words);
        }
        self.this_module = index;
        Ok(())
    }

    fn check_names_index(&mut self) -> Result<(), Box<Finding>> {
        let (index, count) = (self.bytes.u16(0x3e), self.sections.len());
        if index == 0 || usize::from(index) >= count {
            return Err(refusal(
                Id::SectionHeaders,
                0x3e,
                format!("e_shstrndx is {index}, which is none of the {count} sections"),
                format!(
                    "Invalid ELF section name index: {index} || e_shstrndx ({index}) >= e_shnum ({count})"
                ),
            ));
        }
        self.names = self.sections[usize::from(index)];
        Ok(())
    }

    fn check_names_end(&self) -> Result<(), Box<Finding>> {
        let at = self.names.offset;
        if self.names.size == 0 {
            return Err(refusal(
                Id::SectionNames,
                at,
                "the section name table is empty",
                "empty section name table",
            ));
        }
        if self.bytes.array::<1>(at.saturating_add(self.names.size - 1)) != [0] {
            let words = "ELF Spec violation: section name table isn't null terminated";
            return Err(refusal(
                Id::SectionNames,
                at,
                "the section name table doesn't end with a zero",
                words,
            ));
        }
        Ok(())
    }

    fn check_first(&self, table: u64) -> Result<(), Box<Finding>> {
        let first = self.bytes.section(table);
        if first.kind != elf::SHT_NULL.0 || first.size != 0 || first.address != 0 {
            let kind = first.kind.cast_signed();
            return Err(refusal(
                Id::SectionHeaders,
                table,
                "section 0 is not empty",
                format!("ELF Spec violation: section 0 type({kind})!=SH_NULL or non-zero len or addr"),
            ));
        }
        Ok(())
    }

    fn check_link(&self, index: usize) -> Result<(), Box<Finding>> {
        let (link, count) = (self.sections[index].link, self.sections.len());
        if link == 0 || link as usize >= count {
            return Err(refusal(
                Id::SymbolTable,
                self.sections[index].offset,
                format!(
                    "sh_link of the symbol table (section {index}) is {link}, which is none of the {count} sections"
                ),
                // The kernel prints them with %d.
                format!(
                    "Invalid ELF sh_link!=SHN_UNDEF({signed}) or (sh_link({signed}) >= hdr->e_shnum({count})",
                    signed = link.cast_signed()
                ),
            ));
        }
        Ok(())
    }

    fn check_bounds(&self, index: usize) -> Result<(), Box<Finding>> {
        let section = &self.sections[index];
        if self.is_within(section) {
            return Ok(());
        }
        let Section { offset, size, kind, .. } = section;
        Err(refusal(
            Id::SectionBounds,
            *offset,
            format!(
                "section {index} is said to be {size} bytes at {offset:#x}, and the file has {}",
                self.bytes.len()
            ),
            format!("Invalid ELF section in module (section {index} type {kind})"),
        ))
    }

    fn check_name(&self, index: usize) -> Result<(), Box<Finding>> {
        let section = &self.sections[index];
        if u64::from(section.name) < self.names.size {
            return Ok(());
        }
        let (name, kind) = (section.name, section.kind);
        Err(refusal(
            Id::SectionNames,
            section.offset,
            format!("the name of section {index} is at {name}, outside the section name table"),
            format!("Invalid ELF section name in module (section {index} type {kind})"),
        ))
    }

    /// `validate_section_offset`.
    pub(crate) fn is_within(&self, section: &Section) -> bool {
        section.offset.checked_add(section.size).is_some_and(|end| end <= self.bytes.len())
    }

    /// Where the table of sections is in the file.
    pub(crate) fn table(&self) -> Range<u64> {
        let start = self.bytes.u64(0x28);
        start..start.saturating_add(SECTION_HEADER * self.sections.len() as u64)
    }

    fn no_symbols(&self, message: &str) -> Box<Finding> {
        let words = format!("{}: module has no symbols (stripped?)", self.said_name());
        refusal(Id::SymbolTable, 0x28, message, words)
    }

    /// `find_sec`: the first section of a name that is loaded; 0 for none.
    pub(crate) fn find_loaded(&self, name: &str) -> usize {
        let mut sections = self.sections.iter().skip(1);
        let at = sections.position(|s| s.is_loaded() && self.is_named(s, name));
        at.map_or(0, |at| at + 1)
    }

    /// `find_any_unique_sec`: a section of a name, and how many there are of those that count.
    fn find_any(&self, name: &str, counts: impl Fn(&Section) -> bool) -> (usize, usize) {
        let sections = self.sections.iter().enumerate().skip(1).filter(|(_, section)| counts(section));
        let found = sections.filter(|(_, section)| self.is_named(section, name));
        found.fold((0, 0), |(_, count), (index, _)| (index, count + 1))
    }

    fn is_named(&self, section: &Section, name: &str) -> bool {
        self.bytes.has_text(self.names.offset.saturating_add(u64::from(section.name)), name)
    }

    fn section_name_bytes(&self, section: &Section) -> &'a [u8] {
        self.bytes.text(self.names.offset.saturating_add(u64::from(section.name)))
    }

    /// A section's name.
    pub(crate) fn section_name(&self, index: usize) -> String {
        let section = self.sections.get(index);
        let name = section.map(|section| self.section_name_bytes(section)).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    }

    /// What a section holds; nothing for one without bytes in the file.
    pub(crate) fn data(&self, index: usize) -> &'a [u8] {
        match self.sections.get(index) {
            Some(section) if section.kind != elf::SHT_NOBITS.0 => self.raw(index),
            _ => &[],
        }
    }

    /// The file's bytes where a section's header says they are. For tables that it reads by itself, the loader
    /// takes them to be there whatever the section's type is.
    pub(crate) fn raw(&self, index: usize) -> &'a [u8] {
        self.sections.get(index).map_or(&[], |section| self.bytes.part(section.offset, section.size))
    }

    /// The index of `.modinfo`; 0 for none.
    pub(crate) fn find_info(&self) -> usize {
        self.info
    }

    /// The values of a tag of `.modinfo` (`get_modinfo` and `get_next_modinfo`): without that section, of what
    /// section 0 would hold.
    pub(crate) fn modinfo<'i>(&'i self, tag: &'i str) -> impl Iterator<Item = &'a [u8]> + 'i {
        let section = self.sections.get(self.info).copied().unwrap_or_default();
        let mut next = Some((section.offset, section.size));
        let entries = std::iter::from_fn(move || {
            let (at, left) = next?;
            next = self.next_string(at, left);
            Some(self.bytes.text(at))
        });
        entries.filter_map(move |entry| entry.strip_prefix(tag.as_bytes())?.strip_prefix(b"="))
    }

    /// `next_string`: where the text after the one at `at` begins, and how many bytes are left then. A text at the
    /// section's very end is passed over.
    fn next_string(&self, mut at: u64, mut left: u64) -> Option<(u64, u64)> {
        for is_skipped in [|byte| byte != 0, |byte| byte == 0] {
            while is_skipped(self.bytes.array::<1>(at)[0]) {
                if left <= 1 || at >= self.bytes.len() {
                    return None;
                }
                at += 1;
                left -= 1;
            }
        }
        Some((at, left))
    }

    /// The name that the loader's messages begin with before the module is laid out: `info->name`.
    pub(crate) fn info_name(&self) -> String {
        self.early_name().unwrap_or_else(|| self.name())
    }

    /// The name that `.modinfo` says.
    fn early_name(&self) -> Option<String> {
        let name = (self.info != 0).then(|| self.modinfo("name").next())??;
        Some(lossy(name).into_owned())
    }

    /// The name in `struct module`, by which the kernel knows it.
    pub(crate) fn name(&self) -> String {
        let module = self.sections.get(self.this_module).map_or(0, |section| section.offset);
        let name = self.bytes.text(module.saturating_add(NAME_IN_MODULE));
        String::from_utf8_lossy(name).into_owned()
    }

    /// The name in messages that come before `struct module` is found.
    fn said_name(&self) -> String {
        self.early_name().unwrap_or_else(|| "(missing .modinfo section or name field)".into())
    }
}

/// The ELF header, up to the table of sections: the same in both forms of the loader.
fn header(bytes: Bytes<'_>) -> Result<(), Box<Finding>> {
    let length = bytes.len();
    if length < HEADER {
        let message = format!("the file has {length} bytes, fewer than an ELF header's {HEADER}");
        return Err(refusal(Id::ElfHeader, 0, message, format!("Invalid ELF header len {length}")));
    }
    if !bytes.0.starts_with(&elf::ELFMAG) {
        let message = match bytes.0 {
            [b'!', b'<', b'a', b'r', b'c', b'h', b'>', b'\n', ..] => "this is a static library, not a module",
            [0xfd, b'7', b'z', b'X', b'Z', ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x1f, 0x8b, ..] => {
                "this is packed (its name doesn't say so)"
            }
            _ => "this is no ELF file",
        };
        return Err(refusal(Id::ElfHeader, 0, message, "Invalid ELF header magic: != \\x7fELF"));
    }
    let kind = bytes.u16(0x10);
    if kind != elf::ET_REL.0 {
        let what = match kind {
            2 => "a program",
            3 => "a shared object or a position-independent program",
            4 => "a core dump",
            _ => "of an unknown type",
        };
        let message = format!("this is {what} (e_type {kind}), not a relocatable object");
        return Err(refusal(Id::ElfHeader, 0x10, message, format!("Invalid ELF header type: {kind} != 1")));
    }
    let machine = bytes.u16(0x12);
    if machine != elf::EM_X86_64.0 {
        let message = format!("this is for {}, not for x86-64", machine_name(machine));
        let words = format!("Invalid architecture in ELF header: {machine}");
        return Err(refusal(Id::ElfHeader, 0x12, message, words));
    }
    let entry = u64::from(bytes.u16(0x3a));
    if entry != SECTION_HEADER {
        let message = format!("e_shentsize is {entry}, not {SECTION_HEADER}");
        return Err(refusal(Id::SectionHeaders, 0x3a, message, "Invalid ELF section header size"));
    }
    let (table, count) = (bytes.u64(0x28), u64::from(bytes.u16(0x3c)));
    if table >= length || count * SECTION_HEADER > length - table {
        let message =
            format!("the table of {count} sections at {table:#x} lies outside the file's {length} bytes");
        return Err(refusal(Id::SectionHeaders, 0x28, message, "Invalid ELF section header overflow"));
    }
    Ok(())
}

fn machine_name(machine: u16) -> String {
    let name = match machine {
        3 => "32-bit x86",
        8 => "MIPS",
        21 => "64-bit PowerPC",
        22 => "S/390",
        40 => "32-bit ARM",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => return format!("machine {machine}"),
    };
    name.to_owned()
}
