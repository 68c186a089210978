// SPDX-License-Identifier: GPL-2.0-only
//! Where in `/proc/kcore` of a machine its kernel's memory is: an ELF file with a segment for each part of it.

use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD};
use object::read::elf::{FileHeader, ProgramHeader};

/// The parts of a kernel's memory.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Where each begins, how long it is, and where it is in the file.
    parts: Vec<(u64, u64, u64)>,
}

impl Memory {
    /// The file.
    pub(crate) const FILE: &str = "/proc/kcore";

    /// How much of its beginning says where everything is, in bytes.
    pub(crate) const HEAD: u64 = 16 << 10;

    /// Reads the file's beginning. Of what is no such file nothing is known.
    pub(crate) fn of(head: &[u8]) -> Self {
        let parts = FileHeader64::<Endianness>::parse(head).ok().and_then(|file| {
            let endian = file.endian().ok()?;
            let segments = file.program_headers(endian, head).ok()?.iter();
            let loaded = segments.filter(|segment| segment.p_type(endian) == PT_LOAD);
            let part = |segment: &_| place(segment, endian);
            Some(loaded.map(part).collect())
        });
        Self { parts: parts.unwrap_or_default() }
    }

    /// Where in the file so many bytes from an address on are.
    pub(crate) fn offset(&self, address: u64, length: u64) -> Option<u64> {
        let (begin, _, offset) = self.parts.iter().find(|(begin, size, _)| {
            address.checked_sub(*begin).is_some_and(|into| into.saturating_add(length) <= *size)
        })?;
        offset.checked_add(address - begin)
    }
}

fn place(segment: &object::elf::ProgramHeader64<Endianness>, endian: Endianness) -> (u64, u64, u64) {
    (segment.p_vaddr(endian), segment.p_memsz(endian), segment.p_offset(endian))
}
