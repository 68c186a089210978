// SPDX-License-Identifier: GPL-2.0-only
//! Debug information (DWARF 4 and 5) of an object that is not linked yet.
//!
//! In such an object every section begins at address 0. Relocations are applied as they are read, and give each
//! section that is loaded a range of addresses of its own ([`address`]). What is read is hostile: each walk is paid
//! from a budget that grows with the file, and nothing follows the nesting of the data by recursion.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use gimli::{
    Abbreviations, Attribute, AttributeValue, DebugAbbrev, DebugAbbrevOffset, DebuggingInformationEntry,
    DwTag, Dwarf, DwarfSections, EndianSlice, RangeIter, Relocate, RelocateReader, Section, SectionId,
    UnitHeader, UnitOffset,
};
use object::LittleEndian;
use object::elf::{self, FileHeader64, Rela64, Sym64};
use object::read::elf::{FileHeader, Rela, SectionHeader, Sym};

type Header = FileHeader64<LittleEndian>;
const ENDIAN: LittleEndian = LittleEndian;

/// Reads a section, with its relocations applied.
pub(crate) type Reader<'d> = RelocateReader<EndianSlice<'d, gimli::LittleEndian>, Applied<'d>>;
/// A compilation unit.
pub(crate) type Unit<'d> = gimli::Unit<Reader<'d>>;
/// An entry of a unit's tree.
pub(crate) type Entry<'d> = DebuggingInformationEntry<Reader<'d>>;

/// Where a section's addresses begin, as a power of two: a file's sections are counted in 16 bits.
const SECTION_SHIFT: u32 = 40;

/// The address of a place in a section that is loaded. No section has index 0, and so nothing is at low addresses,
/// where relocations leave what they can't place.
pub(crate) fn address(section: usize, offset: u64) -> u64 {
    ((section as u64) << SECTION_SHIFT).wrapping_add(offset)
}

/// The sections of debug information of an object.
pub(crate) struct Sections<'a> {
    parts: DwarfSections<Part<'a>>,
    abbreviations: &'a [u8],
    strings: &'a [u8],
    symbols: Symbols<'a>,
    /// The size of all of them, in bytes.
    size: usize,
}

/// A section of debug information.
#[derive(Default)]
struct Part<'a> {
    bytes: &'a [u8],
    /// Sorted by offset.
    relocations: Cow<'a, [Rela64<LittleEndian>]>,
}

/// The symbols, and which sections are loaded.
#[derive(Debug, Clone)]
struct Symbols<'a> {
    table: &'a [Sym64<LittleEndian>],
    loaded: Vec<bool>,
}

impl<'a> Sections<'a> {
    /// Finds them. Nothing where there are none, or where they are compressed.
    pub(crate) fn of(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::parse(bytes).ok()?;
        let sections = header.sections(ENDIAN, bytes).ok()?;
        let table = sections.symbols(ENDIAN, bytes, elf::SHT_SYMTAB).ok()?.symbols();
        let mut parts: HashMap<usize, Part<'a>> = HashMap::new();
        let mut names: HashMap<&[u8], usize> = HashMap::new();
        for (index, section) in sections.enumerate() {
            let flags = section.sh_flags(ENDIAN);
            let Ok(name) = sections.section_name(ENDIAN, section) else { continue };
            let is_ours = name.starts_with(b".debug_")
                && !flags.contains(elf::SHF_ALLOC)
                && !flags.contains(elf::SHF_COMPRESSED);
            if is_ours && !names.contains_key(name) {
                let part = Part { bytes: section.data(ENDIAN, bytes).ok()?, relocations: Cow::Borrowed(&[]) };
                names.insert(name, index.0);
                parts.insert(index.0, part);
            }
        }
        for section in sections.iter() {
            let Some(part) = parts.get_mut(&section.info_link(ENDIAN).0) else { continue };
            if let Ok(Some((relocations, _))) = section.rela(ENDIAN, bytes) {
                part.relocations = Cow::Borrowed(relocations);
            }
        }
        let (mut size, mut abbreviations, mut strings) = (0, &[][..], &[][..]);
        let mut load = |id: SectionId| {
            let part = names.get(id.name().as_bytes()).and_then(|index| parts.remove(index));
            let mut part = part.filter(|_| is_read(id)).unwrap_or_default();
            let offset = |relocation: &Rela64<LittleEndian>| relocation.r_offset(ENDIAN);
            if !part.relocations.is_sorted_by_key(offset) {
                part.relocations.to_mut().sort_by_key(offset);
            }
            size += part.bytes.len();
            match id {
                SectionId::DebugAbbrev => abbreviations = part.bytes,
                SectionId::DebugStr => strings = part.bytes,
                _ => {}
            }
            Ok::<_, gimli::Error>(part)
        };
        let parts = DwarfSections::load(&mut load).ok()?;
        let loaded =
            sections.iter().map(|section| section.sh_flags(ENDIAN).contains(elf::SHF_ALLOC)).collect();
        (size > 0).then_some(Self { parts, abbreviations, strings, symbols: Symbols { table, loaded }, size })
    }

    /// The strings that the units share.
    pub(crate) fn strings(&self) -> &'a [u8] {
        self.strings
    }

    /// Reads the units' headers.
    pub(crate) fn debug(&self) -> Debug<'_> {
        let dwarf = self.parts.borrow(|part| {
            let applied = Applied { relocations: &part.relocations, symbols: &self.symbols };
            RelocateReader::new(EndianSlice::new(part.bytes, gimli::LittleEndian), applied)
        });
        let mut headers = Vec::new();
        let mut units = dwarf.units();
        while let Ok(Some(header)) = units.next() {
            headers.push(header);
        }
        let mut tables: Vec<usize> = headers.iter().map(|header| header.debug_abbrev_offset().0).collect();
        tables.sort_unstable();
        tables.dedup();
        // A sound file's entries and lines are gone through twice at most.
        let full = 8 * self.size + (1 << 16);
        Debug {
            dwarf,
            headers,
            abbreviations: self.abbreviations,
            tables,
            parsed: RefCell::default(),
            full,
            budget: Cell::new(full),
        }
    }
}

/// Whether a section is needed: those about variables' places can be the largest, and aren't.
fn is_read(id: SectionId) -> bool {
    use SectionId::{
        DebugAbbrev, DebugAddr, DebugInfo, DebugLine, DebugLineStr, DebugRanges, DebugRngLists, DebugStr,
        DebugStrOffsets,
    };
    let read = [
        DebugAbbrev,
        DebugAddr,
        DebugInfo,
        DebugLine,
        DebugLineStr,
        DebugRanges,
        DebugRngLists,
        DebugStr,
        DebugStrOffsets,
    ];
    read.contains(&id)
}

/// Relocations as the reader of debug information asks for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Applied<'d> {
    relocations: &'d [Rela64<LittleEndian>],
    symbols: &'d Symbols<'d>,
}

impl Applied<'_> {
    /// What the linker would put at an offset; nothing where it would leave what is there.
    fn value(&self, offset: usize) -> Option<u64> {
        let at = self.relocations.partition_point(|one| one.r_offset(ENDIAN) < offset as u64);
        let one = self.relocations.get(at).filter(|one| one.r_offset(ENDIAN) == offset as u64)?;
        if ![elf::R_X86_64_64, elf::R_X86_64_32, elf::R_X86_64_32S].contains(&one.r_type(ENDIAN, false)) {
            return None;
        }
        let symbol = self.symbols.table.get(one.r_sym(ENDIAN, false) as usize)?;
        let section = usize::from(symbol.st_shndx(ENDIAN).0);
        let is_loaded = self.symbols.loaded.get(section) == Some(&true);
        let base = if is_loaded { address(section, 0) } else { 0 };
        Some(base.wrapping_add(symbol.st_value(ENDIAN)).wrapping_add_signed(one.r_addend(ENDIAN)))
    }
}

impl Relocate for Applied<'_> {
    fn relocate_address(&self, offset: usize, value: u64) -> gimli::Result<u64> {
        Ok(self.value(offset).unwrap_or(value))
    }

    fn relocate_offset(&self, offset: usize, value: usize) -> gimli::Result<usize> {
        self.value(offset).map_or(Ok(value), gimli::ReaderOffset::from_u64)
    }
}

/// The debug information of an object, and what may still be spent on reading it.
pub(crate) struct Debug<'d> {
    pub(crate) dwarf: Dwarf<Reader<'d>>,
    headers: Vec<UnitHeader<Reader<'d>>>,
    abbreviations: &'d [u8],
    /// Where tables of abbreviations begin, sorted.
    tables: Vec<usize>,
    /// Tables that were read.
    parsed: RefCell<HashMap<usize, Arc<Abbreviations>>>,
    /// The steps that a sound file needs at most.
    full: usize,
    /// Those that are left: entries' attributes, rows of lines, ranges, bytes of names.
    budget: Cell<usize>,
}

/// The longest path, `PATH_MAX`.
const LONGEST_PATH: usize = 4096;

impl<'d> Debug<'d> {
    /// Takes steps from the budget; nothing when it doesn't have them.
    pub(crate) fn spend(&self, steps: usize) -> Option<()> {
        self.budget.set(self.budget.get().checked_sub(steps)?);
        Some(())
    }

    /// What may be spent in all on what is gone through once.
    pub(crate) fn full(&self) -> usize {
        self.full
    }

    /// Goes on with another budget. Gives what was left of the one before.
    pub(crate) fn exchange(&self, budget: usize) -> usize {
        self.budget.replace(budget)
    }

    /// The units that can be read.
    pub(crate) fn units(&self) -> impl Iterator<Item = Unit<'d>> + '_ {
        self.headers.iter().filter_map(|header| self.unit(header.clone()))
    }

    fn unit(&self, header: UnitHeader<Reader<'d>>) -> Option<Unit<'d>> {
        let abbreviations = self.abbreviations(header.debug_abbrev_offset().0)?;
        let mut entries = header.entries_raw(&abbreviations, None).ok()?;
        let root = entries.read_abbreviation().ok()??.attributes();
        self.spend(root.len() + 1)?;
        for specification in root {
            let attribute = entries.read_attribute(*specification).ok()?;
            // The table of files is read with the unit.
            if let (gimli::DW_AT_stmt_list, AttributeValue::DebugLineRef(offset)) =
                (attribute.name(), attribute.value())
            {
                let mut lines = self.dwarf.debug_line.reader().clone();
                gimli::Reader::skip(&mut lines, offset.0).ok()?;
                self.spend(gimli::Reader::read_initial_length(&mut lines).ok()?.0)?;
            }
        }
        Unit::new_with_abbreviations(&self.dwarf, header, abbreviations).ok()
    }

    /// A table of abbreviations. None reaches into the next: reading all of them takes no longer than the section.
    fn abbreviations(&self, offset: usize) -> Option<Arc<Abbreviations>> {
        if let Some(parsed) = self.parsed.borrow().get(&offset) {
            return Some(Arc::clone(parsed));
        }
        let next = self.tables.partition_point(|table| *table <= offset);
        let end = self.tables.get(next).copied().unwrap_or(self.abbreviations.len());
        let table = self.abbreviations.get(offset..end.min(self.abbreviations.len()))?;
        let table = DebugAbbrev::new(table, gimli::LittleEndian);
        let parsed = Arc::new(table.abbreviations(DebugAbbrevOffset(0)).ok()?);
        self.parsed.borrow_mut().insert(offset, Arc::clone(&parsed));
        Some(parsed)
    }

    /// Goes through a unit's entries, from one or from the first, until `visit` gives nothing. It is told how deep
    /// each is, and sees those for whose tag `wants` says yes.
    pub(crate) fn walk(
        &self,
        unit: &Unit<'d>,
        from: Option<UnitOffset>,
        wants: impl Fn(DwTag) -> bool,
        mut visit: impl FnMut(isize, Entry<'d>) -> Option<()>,
    ) -> Option<()> {
        let mut entries = unit.entries_raw(from).ok()?;
        while !entries.is_empty() {
            let (depth, offset) = (entries.next_depth(), entries.next_offset());
            let abbreviation = entries.read_abbreviation().ok()?;
            if depth < 0 || (depth == 0 && from.is_some_and(|from| from != offset)) {
                return Some(());
            }
            let Some(abbreviation) = abbreviation else {
                self.spend(1)?;
                continue;
            };
            let specifications = abbreviation.attributes();
            self.spend(specifications.len() + 1)?;
            if !wants(abbreviation.tag()) {
                entries.skip_attributes(specifications).ok()?;
                continue;
            }
            let mut attributes: Vec<Attribute<Reader<'d>>> = Vec::new();
            entries.read_attributes(specifications, &mut attributes).ok()?;
            visit(depth, Entry::new(abbreviation.tag(), abbreviation.has_children(), attributes, offset))?;
        }
        Some(())
    }

    /// The addresses of a unit's code.
    pub(crate) fn unit_ranges(&self, unit: &Unit<'d>) -> Option<RangeIter<Reader<'d>>> {
        let mut entries = unit.header.entries(&unit.abbreviations);
        entries.next_dfs().ok()?;
        self.ranges(unit, entries.current()?)
    }

    /// The addresses of an entry's code.
    pub(crate) fn ranges(&self, unit: &Unit<'d>, entry: &Entry<'d>) -> Option<RangeIter<Reader<'d>>> {
        let values = |name| {
            entry.attrs().iter().filter(move |one| one.name() == name).map(|attribute| attribute.value())
        };
        let begin = values(gimli::DW_AT_low_pc)
            .filter_map(|value| self.dwarf.attr_address(unit, value).ok().flatten())
            .max();
        let size = values(gimli::DW_AT_high_pc).filter_map(|value| value.udata_value()).max();
        // The library adds them up without looking.
        begin.unwrap_or_default().checked_add(size.unwrap_or_default())?;
        self.dwarf.die_ranges(unit, entry).ok()
    }

    /// A text that a unit refers to.
    pub(crate) fn text(&self, unit: &Unit<'d>, value: AttributeValue<Reader<'d>>) -> Option<Cow<'d, str>> {
        let text = self.dwarf.attr_string(unit, value).ok()?;
        let bytes = text.inner().slice();
        self.spend(bytes.len())?;
        (bytes.len() <= LONGEST_PATH).then(|| String::from_utf8_lossy(bytes))
    }

    /// The path of a file of a unit, with the folder that it was compiled in.
    pub(crate) fn path(&self, unit: &Unit<'d>, file: u64) -> Option<String> {
        let header = unit.line_program.as_ref()?.header();
        let file = header.file(file)?;
        let mut path = String::new();
        if let Some(folder) = &unit.comp_dir {
            path.push_str(&self.text(unit, AttributeValue::String(folder.clone()))?);
        }
        // Directory 0 is the folder that the unit was compiled in.
        if file.directory_index() != 0
            && let Some(directory) = file.directory(header)
        {
            join(&mut path, &self.text(unit, directory)?);
        }
        join(&mut path, &self.text(unit, file.path_name())?);
        (path.len() <= LONGEST_PATH).then_some(path)
    }
}

fn join(path: &mut String, part: &str) {
    if part.starts_with('/') {
        path.clear();
    } else if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}
