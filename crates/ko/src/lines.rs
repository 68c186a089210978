// SPDX-License-Identifier: GPL-2.0-only
//! Source lines, from the debug information of an object that is not linked yet.

use addr2line::Context;
use gimli::{DwarfSections, EndianSlice, LittleEndian, Relocate, RelocateReader, SectionId};
use object::read::RelocationMap;
use object::{Object, ObjectSection, SectionKind};

use crate::finding::Finding;
use crate::image::Image;

/// Adds to each finding the line that it comes from, where the object says so.
pub(crate) fn add(_image: &Image<'_>, _findings: &mut [Finding]) {}

/// The line, `file:line`, that each offset in an object's code comes from, where the object says so.
///
/// In an object that is not linked every section begins at address 0. With more than one section of code an
/// address could be in any of them: no line is given then.
pub(crate) fn source_lines(bytes: &[u8], offsets: &[u64]) -> Vec<Option<String>> {
    find(bytes, offsets).unwrap_or_else(|| vec![None; offsets.len()])
}

fn find(bytes: &[u8], offsets: &[u64]) -> Option<Vec<Option<String>>> {
    let object = object::File::parse(bytes).ok()?;
    let mut code =
        object.sections().filter(|section| section.kind() == SectionKind::Text && section.size() > 0);
    let (Some(code), None) = (code.next(), code.next()) else { return None };
    let sections = DwarfSections::load(|id| Ok::<_, gimli::Error>(Section::of(&object, id))).ok()?;
    let dwarf = sections.borrow(|section| {
        RelocateReader::new(EndianSlice::new(section.bytes, LittleEndian), Relocated(&section.relocations))
    });
    let context = Context::from_dwarf(dwarf).ok()?;
    let line = |offset: &u64| {
        // The reader computes with what comes after the place.
        if *offset >= code.size().min(u64::MAX / 2) {
            return None;
        }
        let location = context.find_location(*offset).ok()??;
        Some(format!("{}:{}", location.file?, location.line?))
    };
    Some(offsets.iter().map(line).collect())
}

/// A section of the debug information, and what belongs into it when the object is linked.
struct Section<'a> {
    bytes: &'a [u8],
    relocations: RelocationMap,
}

impl<'a> Section<'a> {
    /// An empty one where the object has none.
    fn of(object: &object::File<'a>, id: SectionId) -> Self {
        let mut relocations = RelocationMap::default();
        let Some(section) = object.section_by_name(id.name()) else {
            return Self { bytes: &[], relocations };
        };
        for (offset, relocation) in section.relocations() {
            // One of a type that debug information doesn't have costs a line, and nothing else.
            let _ = relocations.add(object, offset, relocation);
        }
        Self { bytes: section.data().unwrap_or_default(), relocations }
    }
}

/// Relocations as the reader of debug information asks for them.
#[derive(Debug, Clone, Copy)]
struct Relocated<'a>(&'a RelocationMap);

impl Relocate for Relocated<'_> {
    fn relocate_address(&self, offset: usize, value: u64) -> gimli::Result<u64> {
        Ok(self.0.relocate(offset as u64, value))
    }

    fn relocate_offset(&self, offset: usize, value: usize) -> gimli::Result<usize> {
        gimli::ReaderOffset::from_u64(self.0.relocate(offset as u64, value as u64))
    }
}
