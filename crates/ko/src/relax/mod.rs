// SPDX-License-Identifier: GPL-2.0-only
//! Relaxing: what goes through a global offset table is made to go directly.
//!
//! A kernel module has no such table; the loader refuses the relocations that ask for one. But whoever reads
//! a slot wants the address in it, and in the kernel's code model, where all code and data is within 2 GiB,
//! an instruction can hold that itself. A linker does the same in its final link (x86-64 psABI, B.2); there
//! is none for a module, so it is done here, in place: no byte moves but the instruction's own.

mod instruction;
#[cfg(test)]
mod tests;

use std::fmt;

use object::elf::{self, FileHeader64, SectionFlags};
use object::read::elf::{FileHeader, Rela, SectionHeader, SectionTable, Sym, SymbolTable};
use object::{LittleEndian, SymbolIndex};

use crate::ReadError;
use crate::check::relocation_name;
use crate::lines::source_lines;
use crate::names::{LONGEST, readable};
use instruction::{AT_END, Walk, make_direct};

type Header = FileHeader64<LittleEndian>;
const ENDIAN: LittleEndian = LittleEndian;

/// The size of a relocation, and where in it the type and the addend are (`Elf64_Rela`).
const RELA_SIZE: usize = 24;
const RELA_INFO: usize = 8;
const RELA_ADDEND: usize = 16;

/// An object after relaxing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relaxed {
    /// The object: as long as before, and with the same layout.
    pub bytes: Vec<u8>,
    /// How many uses of the table were made direct.
    pub rewritten: usize,
    /// The uses that are left, the first of them. With any of them a kernel refuses the module.
    pub kept: Vec<GotUse>,
    /// How many are left beside those.
    pub more: usize,
}

/// A use of the global offset table, or of thread-local storage, that can't be made direct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GotUse {
    /// The symbol, as the object has it.
    pub symbol: String,
    /// The section that uses it.
    pub section: String,
    /// The section's index, for finding the line.
    section_index: usize,
    /// Where in the section, in bytes.
    pub offset: u64,
    /// The relocation's type, `r_type` of the psABI.
    pub kind: u32,
    /// Why it can't be.
    pub reason: Reason,
    /// The source line, `file:line`, where the object's debug information has it.
    pub line: Option<String>,
}

/// Why a use of the table can't be made direct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The instruction has no form with the address in itself.
    Instruction,
    /// Decoding from the nearest symbol does not lead to an instruction with the field at its end.
    NotFound,
    /// It is in data, which wants the slot and not the address.
    Data,
    /// It reads beside the slot.
    Addend,
    /// The address is found out when the program starts (`STT_GNU_IFUNC`).
    IndirectFunction,
    /// It is about thread-local storage.
    ThreadLocal,
    /// The relocation's type is about the table itself.
    Type,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Instruction => "the instruction has no form that does without",
            Self::NotFound => "it is not certain which instruction this is",
            Self::Data => "data refers to the table",
            Self::Addend => "it reads beside the symbol's slot",
            Self::IndirectFunction => "the function is chosen at run time, which the kernel does not do",
            Self::ThreadLocal => "the kernel has no thread-local storage of this kind",
            Self::Type => "it is about the table itself",
        })
    }
}

impl fmt::Display for GotUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { symbol, section, offset, kind, reason, line, .. } = self;
        let (name, symbol) = (relocation_name(*kind), readable(symbol));
        write!(f, "{section}+{offset:#x}: relocation type {kind} ({name}) against `{symbol}`: {reason}")?;
        line.as_ref().map_or(Ok(()), |line| write!(f, " ({line})"))
    }
}

impl GotUse {
    /// How to mend it.
    pub fn remedy(&self) -> &'static str {
        match self.reason {
            Reason::ThreadLocal => "keep the datum in a static, or in the kernel's per-CPU data through C",
            Reason::IndirectFunction => "choose the function in code, through a function pointer",
            _ => {
                "build it so that symbols are reached directly: Rust with -Zplt=yes -Zdirect-access-external-data=yes, \
                 or on a stable compiler -Crelocation-model=static -Crelro-level=off; C with -fno-pic -mcmodel=kernel"
            }
        }
    }
}

/// Makes direct what reads a global offset table in sections that a kernel loads.
///
/// * Against an undefined weak symbol, and against an absolute one, a load becomes `mov $address`, as GNU ld
///   does it. The loader resolves a weak symbol that is missing to 0 (`simplify_symbols` in
///   `kernel/module/main.c`), so that its address compares equal to null, before and after.
/// * `R_X86_64_GOTPCREL` promises nothing of the instruction, unlike the two newer types. All three are only
///   rewritten where decoding from the nearest symbol arrives at an instruction that ends with the field.
///
/// # Errors
///
/// When the bytes are no relocatable x86-64 ELF object, or are malformed.
pub fn relax(bytes: &[u8]) -> Result<Relaxed, ReadError> {
    let name = || "the object".to_owned();
    let malformed = |source| ReadError::Object { name: name(), source };
    crate::x86_64(bytes, "the object")?;
    let header = Header::parse(bytes).map_err(malformed)?;
    if header.e_type(ENDIAN) != elf::ET_REL {
        return Err(ReadError::Linked { name: name() });
    }
    let sections = header.sections(ENDIAN, bytes).map_err(malformed)?;
    let symbols = sections.symbols(ENDIAN, bytes, elf::SHT_SYMTAB).map_err(malformed)?;
    let starts = starts(&sections, &symbols).map_err(malformed)?;
    let object = Object { bytes, sections, symbols, starts };
    let mut relaxed = Relaxed { bytes: bytes.to_vec(), rewritten: 0, kept: Vec::new(), more: 0 };
    let mut left = bytes.len() as u64;
    for section in object.sections.iter().filter(|section| section.sh_type(ENDIAN) == elf::SHT_RELA) {
        // Sections of a sound object don't overlap.
        let size = section.sh_size(ENDIAN);
        if size <= left {
            left -= size;
            object.relax_section(section, &mut relaxed).map_err(malformed)?;
        }
    }
    add_lines(bytes, &mut relaxed.kept);
    Ok(relaxed)
}

/// Says of what is kept where it comes from. In data there are no lines.
fn add_lines(bytes: &[u8], kept: &mut [GotUse]) {
    let mut in_code: Vec<&mut GotUse> = kept.iter_mut().filter(|one| one.reason != Reason::Data).collect();
    if in_code.is_empty() {
        return;
    }
    let places: Vec<_> = in_code.iter().map(|one| (one.section_index, one.offset)).collect();
    for (one, line) in in_code.iter_mut().zip(source_lines(bytes, &places)) {
        one.line = line;
    }
}

/// An object that is read.
struct Object<'a> {
    bytes: &'a [u8],
    sections: SectionTable<'a, Header>,
    symbols: SymbolTable<'a, Header>,
    /// By section, where in it an instruction is known to begin: at its start, and at the symbols in it. Sorted.
    starts: Vec<Vec<u64>>,
}

fn starts(
    sections: &SectionTable<'_, Header>,
    symbols: &SymbolTable<'_, Header>,
) -> object::read::Result<Vec<Vec<u64>>> {
    let mut starts = vec![vec![0]; sections.len()];
    for (number, symbol) in symbols.enumerate() {
        let is_code = [elf::STT_FUNC, elf::STT_NOTYPE, elf::STT_GNU_IFUNC].contains(&symbol.st_type());
        if let Some(index) = symbols.symbol_section(ENDIAN, symbol, number)?.filter(|_| is_code)
            && let Some(starts) = starts.get_mut(index.0)
        {
            starts.push(symbol.st_value(ENDIAN));
        }
    }
    for starts in &mut starts {
        starts.sort_unstable();
        starts.dedup();
    }
    Ok(starts)
}

/// Uses that are kept beyond these are only counted.
const MOST_KEPT: usize = 100;

/// A relocation that a kernel does not take.
struct Use {
    /// Where it is in the file.
    position: usize,
    /// Where it applies in its section.
    offset: u64,
    kind: elf::RelocationType,
    addend: i64,
    symbol: SymbolIndex,
}

impl<'a> Object<'a> {
    /// Relaxes the section that `table` has relocations for.
    fn relax_section(
        &self,
        table: &'a elf::SectionHeader64<LittleEndian>,
        relaxed: &mut Relaxed,
    ) -> object::read::Result<()> {
        let Some((relocations, _)) = table.rela(ENDIAN, self.bytes)? else { return Ok(()) };
        let index = table.info_link(ENDIAN);
        let section = self.sections.section(index)?;
        // The loader passes over what it does not load.
        if !section.sh_flags(ENDIAN).contains(elf::SHF_ALLOC) {
            return Ok(());
        }
        let first = table.sh_offset(ENDIAN) as usize;
        let mut uses = Vec::new();
        for (number, relocation) in relocations.iter().enumerate() {
            let kind = relocation.r_type(ENDIAN, false);
            if is_of_table(kind) || is_thread_local(kind) {
                let symbol = SymbolIndex(relocation.r_sym(ENDIAN, false) as usize);
                let (offset, addend) = (relocation.r_offset(ENDIAN), relocation.r_addend(ENDIAN));
                uses.push(Use { position: first + number * RELA_SIZE, offset, kind, addend, symbol });
            }
        }
        if uses.is_empty() {
            return Ok(());
        }
        uses.sort_by_key(|one| one.offset);

        let code = section.data(ENDIAN, self.bytes)?;
        let place = section.sh_offset(ENDIAN) as usize;
        let starts = &self.starts[index.0];
        let within = starts.partition_point(|start| *start < code.len() as u64);
        let mut walk = Walk::new(code, &starts[..within]);
        for one in uses {
            match self.relax_use(section.sh_flags(ENDIAN), &one, &mut walk, &mut relaxed.bytes, place) {
                Ok(()) => relaxed.rewritten += 1,
                Err(_) if relaxed.kept.len() == MOST_KEPT => relaxed.more += 1,
                Err(reason) => relaxed.kept.push(GotUse {
                    symbol: self.symbol_name(one.symbol),
                    section: self.section_name(section),
                    section_index: index.0,
                    offset: one.offset,
                    kind: one.kind.0,
                    reason,
                    line: None,
                }),
            }
        }
        Ok(())
    }

    /// Rewrites one use in `bytes`, in which the section begins at `place`.
    fn relax_use(
        &self,
        flags: SectionFlags,
        one: &Use,
        walk: &mut Walk<'_>,
        bytes: &mut [u8],
        place: usize,
    ) -> Result<(), Reason> {
        let symbol = self.symbols.symbol(one.symbol).map_err(|_| Reason::NotFound)?;
        let is_slot_read = [elf::R_X86_64_GOTPCREL, elf::R_X86_64_GOTPCRELX, elf::R_X86_64_REX_GOTPCRELX]
            .contains(&one.kind);
        let reason = if is_thread_local(one.kind) || symbol.st_type() == elf::STT_TLS {
            Some(Reason::ThreadLocal)
        } else if !is_slot_read {
            Some(Reason::Type)
        } else if !flags.contains(elf::SHF_EXECINSTR) {
            Some(Reason::Data)
        } else if one.addend != AT_END {
            Some(Reason::Addend)
        } else if symbol.st_type() == elf::STT_GNU_IFUNC {
            Some(Reason::IndirectFunction)
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(reason);
        }
        let found = walk.ending_with(one.offset).ok_or(Reason::NotFound)?;
        let constant =
            symbol.is_absolute(ENDIAN) || symbol.is_undefined(ENDIAN) && symbol.st_bind() == elf::STB_WEAK;
        let code = place + found.start as usize..place + found.end as usize;
        let patch = make_direct(bytes.get_mut(code).ok_or(Reason::NotFound)?, constant);
        let patch = patch.ok_or(Reason::Instruction)?;

        let Some(relocation) = bytes.get_mut(one.position..one.position + RELA_SIZE) else {
            return Err(Reason::NotFound);
        };
        relocation[..RELA_INFO].copy_from_slice(&(one.offset - patch.earlier).to_le_bytes());
        // `r_info` is the symbol in the upper half and the type in the lower.
        relocation[RELA_INFO..RELA_INFO + 4].copy_from_slice(&patch.kind.0.to_le_bytes());
        relocation[RELA_ADDEND..].copy_from_slice(&patch.addend.to_le_bytes());
        Ok(())
    }

    fn symbol_name(&self, index: SymbolIndex) -> String {
        let name = self.symbols.symbol(index).and_then(|symbol| self.symbols.symbol_name(ENDIAN, symbol));
        name_of(name.unwrap_or(b"?"))
    }

    fn section_name(&self, section: &elf::SectionHeader64<LittleEndian>) -> String {
        name_of(self.sections.section_name(ENDIAN, section).unwrap_or(b"?"))
    }
}

fn name_of(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into_owned()
}

/// Whether a relocation of this type wants a global offset table.
fn is_of_table(kind: elf::RelocationType) -> bool {
    [
        elf::R_X86_64_GOT32,
        elf::R_X86_64_GOTPCREL,
        elf::R_X86_64_GOTOFF64,
        elf::R_X86_64_GOTPC32,
        elf::R_X86_64_GOT64,
        elf::R_X86_64_GOTPCREL64,
        elf::R_X86_64_GOTPC64,
        elf::R_X86_64_GOTPLT64,
        elf::R_X86_64_PLTOFF64,
        elf::R_X86_64_GOTPCRELX,
        elf::R_X86_64_REX_GOTPCRELX,
        elf::R_X86_64_CODE_4_GOTPCRELX,
    ]
    .contains(&kind)
}

/// Whether a relocation of this type is about thread-local storage.
fn is_thread_local(kind: elf::RelocationType) -> bool {
    let of_offsets = elf::R_X86_64_DTPMOD64.0..=elf::R_X86_64_TPOFF32.0;
    let of_descriptors = elf::R_X86_64_GOTPC32_TLSDESC.0..=elf::R_X86_64_TLSDESC.0;
    let of_long_instructions = elf::R_X86_64_CODE_4_GOTTPOFF.0..=elf::R_X86_64_CODE_4_GOTPC32_TLSDESC.0;
    [of_offsets, of_descriptors, of_long_instructions].iter().any(|range| range.contains(&kind.0))
}
