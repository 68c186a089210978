// SPDX-License-Identifier: GPL-2.0-only
//! Symbols as a kernel's trace names them: by name, and by the distance to the next (`find_kallsyms_symbol`).

use std::collections::HashMap;

use object::LittleEndian;
use object::elf;
use object::read::elf::{SectionHeader, Sym};

use super::{Answer, TracePlace};
use crate::dwarf::address;
use crate::names::LONGEST;
use crate::{ReadError, x86_64};

const ENDIAN: LittleEndian = LittleEndian;

/// Lengths at which kernels cut a symbol's name: `KSYM_NAME_LEN` without the zero, until 6.0 and since.
const CUT: [usize; 2] = [127, 511];

/// Symbols of the sections that are loaded.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    named: HashMap<&'a [u8], Vec<Symbol>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Symbol {
    section: usize,
    value: u64,
    /// How far it is to the next symbol in the section.
    size: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    /// So far.
    Exactly(u64),
    /// It is the last: the kernel counts on to the next section that it has placed there, or to the end of all code.
    AtLeast(u64),
}

impl<'a> Symbols<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let object = x86_64(bytes, "the object")?;
        let (sections, table) = (object.elf_section_table(), object.elf_symbol_table());
        let mut found: Vec<(&[u8], usize, u64)> = Vec::new();
        for symbol in table.iter() {
            let section = symbol.st_shndx(ENDIAN);
            let is_loaded = sections
                .section(object::SectionIndex(section.0.into()))
                .is_ok_and(|section| section.sh_flags(ENDIAN).contains(elf::SHF_ALLOC));
            let name = symbol.name(ENDIAN, table.strings()).unwrap_or_default();
            if is_loaded && section != elf::SHN_UNDEF && !is_skipped(name) {
                found.push((name, section.0.into(), symbol.st_value(ENDIAN)));
            }
        }
        found.sort_by_key(|(_, section, value)| (*section, *value));
        let mut named: HashMap<&[u8], Vec<Symbol>> = HashMap::new();
        let mut next: Option<(usize, u64)> = None;
        let mut size = Size::AtLeast(0);
        // From the end: of those at one place each has the same distance.
        for (name, section, value) in found.into_iter().rev() {
            size = match next {
                Some((same, after)) if same == section && after == value => size,
                Some((same, after)) if same == section => Size::Exactly(after - value),
                _ => {
                    let section = sections.section(object::SectionIndex(section));
                    let end = section.map(|section| section.sh_size(ENDIAN)).unwrap_or_default();
                    Size::AtLeast(end.saturating_sub(value))
                }
            };
            next = Some((section, value));
            let symbol = Symbol { section, value, size };
            let same = named.entry(name).or_default();
            // One that is there twice is still one place.
            if same.last() != Some(&symbol) {
                same.push(symbol);
            }
        }
        Ok(Self { named })
    }

    /// Names that are texts, with the size that a trace has at least.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, u64)> {
        let named = self.named.iter().filter_map(|(name, same)| Some((str::from_utf8(name).ok()?, same)));
        named.flat_map(|(name, same)| {
            same.iter().map(move |symbol| match symbol.size {
                Size::Exactly(size) | Size::AtLeast(size) => (name, size),
            })
        })
    }

    /// The address of the instruction that a trace means.
    pub(super) fn address(&self, place: &TracePlace<'_>) -> Result<u64, Answer> {
        let name = place.symbol.as_bytes();
        let mut fitting: Vec<Symbol> = Vec::new();
        if CUT.contains(&name.len()) {
            let cut = self.named.iter().filter(|(whole, _)| whole.starts_with(name));
            fitting.extend(cut.flat_map(|(_, symbols)| symbols));
        } else {
            fitting.extend(self.named.get(name).into_iter().flatten());
        }
        fitting.retain(|symbol| symbol.size.fits(place));
        match fitting.as_slice() {
            [] => Err(Answer::Unknown),
            [one] => {
                // A call may be the last instruction: it returns to what is another function's.
                let back = u64::from(!place.exact && place.offset > 0);
                Ok(address(one.section, one.value.wrapping_add(place.offset) - back))
            }
            _ => Err(Answer::Ambiguous),
        }
    }
}

impl Size {
    /// Whether a trace's place can be in a symbol of this size.
    fn fits(self, place: &TracePlace<'_>) -> bool {
        match self {
            Self::Exactly(exactly) => exactly == place.size && place.offset <= exactly,
            Self::AtLeast(least) => least <= place.size && place.offset <= least,
        }
    }
}

/// Symbols that the kernel passes over: those without a name, and those that mark what follows. And those that no
/// compiler has made.
fn is_skipped(name: &[u8]) -> bool {
    name.is_empty()
        || name.len() > LONGEST
        || name.starts_with(b".L")
        || name.starts_with(b"L0")
        || matches!(name, [b'$', b'a' | b'd' | b't' | b'x', rest @ ..] if matches!(rest, [] | [b'.', ..]))
}
