// SPDX-License-Identifier: GPL-2.0-only
use std::collections::BTreeMap;

use libtest_mimic::Failed;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{LittleEndian, SymbolIndex};
use serde::Deserialize;

/// The fields of the ELF header, of a section's header and of a symbol that are changed, each with where it is there
/// and how many bytes it has (`Elf64_Ehdr`, `Elf64_Shdr`, `Elf64_Sym`).
const HEADER: [(&str, usize, usize); 9] = [
    ("e_type", 0x10, 2),
    ("e_machine", 0x12, 2),
    ("e_version", 0x14, 4),
    ("e_entry", 0x18, 8),
    ("e_shoff", 0x28, 8),
    ("e_flags", 0x30, 4),
    ("e_shentsize", 0x3a, 2),
    ("e_shnum", 0x3c, 2),
    ("e_shstrndx", 0x3e, 2),
];
const SECTION: [(&str, usize, usize); 8] = [
    ("sh_name", 0, 4),
    ("sh_type", 4, 4),
    ("sh_flags", 8, 8),
    ("sh_offset", 24, 8),
    ("sh_size", 32, 8),
    ("sh_link", 40, 4),
    ("sh_info", 44, 4),
    ("sh_addralign", 48, 8),
];
const SYMBOL: [(&str, usize, usize); 5] =
    [("st_name", 0, 4), ("st_info", 4, 1), ("st_shndx", 6, 2), ("st_value", 8, 8), ("st_size", 16, 8)];

/// A change of a finished module.
#[derive(Debug, Deserialize)]
#[serde(untagged, rename_all_fields = "kebab-case")]
pub(crate) enum Change {
    /// The file ends so many bytes after the beginning of the table of sections, or before it.
    Truncate { section_headers: i64 },
    /// The file is this text.
    Contents { contents: String },
    /// The text is put at the file's end.
    Append { append: String },
    /// Bytes of a section.
    Bytes { section: String, at: usize, bytes: Vec<u8> },
    /// A section gets the name of another.
    Name { section: String, name_of: String },
    /// Fields of a section's header.
    Section { section: String, set: BTreeMap<String, u64> },
    /// Fields of a symbol.
    Symbol { symbol: String, set: BTreeMap<String, u64> },
    /// Fields of the ELF header.
    Header { set: BTreeMap<String, u64> },
}

impl Change {
    pub(crate) fn apply(&self, module: &mut Vec<u8>) -> Result<(), Failed> {
        match self {
            Self::Truncate { section_headers } => {
                let length = Places::of(module)?.headers.checked_add_signed(*section_headers as isize);
                module.truncate(length.ok_or("the file isn't that long")?);
            }
            Self::Contents { contents } => *module = contents.clone().into_bytes(),
            Self::Append { append } => module.extend(append.bytes()),
            Self::Bytes { section, at, bytes } => {
                let at = Places::of(module)?.section(section)?.1 + at;
                let place = module.get_mut(at..at + bytes.len()).ok_or("the section isn't that long")?;
                place.copy_from_slice(bytes);
            }
            Self::Name { section, name_of } => {
                let places = Places::of(module)?;
                let (at, from) = (places.section(section)?.0, places.section(name_of)?.0);
                module.copy_within(from..from + 4, at);
            }
            Self::Section { section, set } => {
                let at = Places::of(module)?.section(section)?.0;
                set_fields(module, at, &SECTION, set)?;
            }
            Self::Symbol { symbol, set } => {
                let at = Places::of(module)?.symbol(symbol)?;
                set_fields(module, at, &SYMBOL, set)?;
            }
            Self::Header { set } => set_fields(module, 0, &HEADER, set)?,
        }
        Ok(())
    }
}

fn set_fields(
    module: &mut [u8],
    at: usize,
    fields: &[(&str, usize, usize)],
    set: &BTreeMap<String, u64>,
) -> Result<(), Failed> {
    for (name, value) in set {
        let field = fields.iter().find(|(field, ..)| field == name);
        let (_, offset, width) = field.ok_or_else(|| format!("there is no field {name}"))?;
        module[at + offset..][..*width].copy_from_slice(&value.to_le_bytes()[..*width]);
    }
    Ok(())
}

type Header = elf::FileHeader64<LittleEndian>;

/// Where things are in a module's file.
struct Places<'m> {
    module: &'m [u8],
    header: &'m Header,
    headers: usize,
}

impl<'m> Places<'m> {
    fn of(module: &'m [u8]) -> Result<Self, Failed> {
        let header = Header::parse(module)?;
        Ok(Self { module, header, headers: header.e_shoff(LittleEndian) as usize })
    }

    /// Where a section's header is, and where the section is. The empty name is that of section 0.
    fn section(&self, name: &str) -> Result<(usize, usize), Failed> {
        let table = self.header.sections(LittleEndian, self.module)?;
        let named = |section| table.section_name(LittleEndian, section).ok() == Some(name.as_bytes());
        let index = table.iter().position(named).ok_or_else(|| format!("there is no section {name}"))?;
        let offset = table.iter().nth(index).map_or(0, |section| section.sh_offset(LittleEndian));
        Ok((self.headers + 64 * index, offset as usize))
    }

    /// Where a symbol is. The empty name is that of symbol 0.
    fn symbol(&self, name: &str) -> Result<usize, Failed> {
        let table = self.header.sections(LittleEndian, self.module)?;
        let symbols = table.symbols(LittleEndian, self.module, elf::SHT_SYMTAB)?;
        let named = |index: &usize| {
            let symbol = symbols.symbol(SymbolIndex(*index));
            symbol.is_ok_and(|one| one.name(LittleEndian, symbols.strings()) == Ok(name.as_bytes()))
        };
        let index = if name.is_empty() { Some(0) } else { (1..symbols.len()).find(named) };
        let index = index.ok_or_else(|| format!("there is no symbol {name}"))?;
        Ok(self.section(".symtab")?.1 + 24 * index)
    }
}
