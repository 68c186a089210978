// SPDX-License-Identifier: GPL-2.0-only
//! The module's file, and what its counters had come to.

use std::collections::BTreeMap;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex};

use crate::{Error, damaged};

/// The section that the link puts all counters into: 64 bits each, little-endian.
pub const SECTION: &str = ".vexlab_counters";

/// A module that was built for coverage.
pub struct Counted<'a> {
    file: object::File<'a>,
    counters: SectionIndex,
    size: u64,
}

/// Where the pointers of a section lead: by their offset in it, the section and the offset in that.
pub(crate) type Pointers = BTreeMap<u64, (SectionIndex, i64)>;

impl<'a> Counted<'a> {
    /// Reads a module's file.
    ///
    /// # Errors
    ///
    /// When it is none, or nothing is counted in it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let file = object::File::parse(bytes)?;
        let section = file.section_by_name(SECTION).ok_or(Error::NoCounters)?;
        let (counters, size) = (section.index(), section.size());
        if size == 0 {
            return Err(Error::NoCounters);
        }
        if !size.is_multiple_of(8) {
            return Err(damaged(SECTION, "its length is no multiple of 8"));
        }
        Ok(Self { file, counters, size })
    }

    /// The number of bytes that its counters take.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The number of bytes that it takes in a kernel's memory, its counters among them.
    pub fn loaded_size(&self) -> u64 {
        let is_loaded = |section: &object::Section<'_, '_>| match section.flags() {
            object::SectionFlags::Elf { sh_flags, .. } => sh_flags.contains(object::elf::SHF_ALLOC),
            _ => false,
        };
        let sizes = self.file.sections().filter(is_loaded).map(|section| section.size());
        sizes.fold(0, u64::saturating_add)
    }

    /// The counters that were read from it.
    ///
    /// # Errors
    ///
    /// When they are not as many as it has.
    pub(crate) fn values(&self, read: &[u8]) -> Result<Vec<u64>, Error> {
        if read.len() as u64 != self.size {
            return Err(Error::Length { read: read.len(), wanted: self.size as usize });
        }
        let (numbers, _) = read.as_chunks();
        Ok(numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect())
    }

    /// The places of so many counters that begin where a pointer leads.
    pub(crate) fn range(
        &self,
        part: &'static str,
        (section, offset): (SectionIndex, i64),
        count: u32,
    ) -> Result<std::ops::Range<usize>, Error> {
        let wrong = || damaged(part, "its counters are not where the module has its counters");
        let first = usize::try_from(offset).ok().filter(|offset| offset % 8 == 0).ok_or_else(wrong)? / 8;
        let end = first + count as usize;
        if section != self.counters || end as u64 > self.size / 8 {
            return Err(wrong());
        }
        Ok(first..end)
    }

    /// A section's content; nothing where there is none.
    pub(crate) fn section(&self, name: &str) -> Result<Option<(SectionIndex, &'a [u8])>, Error> {
        let Some(section) = self.file.section_by_name(name) else { return Ok(None) };
        Ok(Some((section.index(), section.data()?)))
    }

    /// The content of a section that a pointer leads to.
    pub(crate) fn content(&self, section: SectionIndex) -> Result<&'a [u8], Error> {
        Ok(self.file.section_by_index(section)?.data()?)
    }

    /// Where the pointers of a section lead.
    pub(crate) fn pointers(&self, section: SectionIndex) -> Result<Pointers, Error> {
        let mut pointers = Pointers::new();
        for (offset, relocation) in self.file.section_by_index(section)?.relocations() {
            let (section, value) = match relocation.target() {
                RelocationTarget::Section(section) => (section, 0),
                RelocationTarget::Symbol(index) => {
                    let symbol = self.file.symbol_by_index(index)?;
                    let Some(section) = symbol.section_index() else { continue };
                    (section, symbol.address() as i64)
                }
                _ => continue,
            };
            pointers.insert(offset, (section, value.wrapping_add(relocation.addend())));
        }
        Ok(pointers)
    }
}

/// A number of four bytes, if they are there.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// A number of eight bytes, if they are there.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
