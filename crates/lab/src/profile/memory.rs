// SPDX-License-Identifier: GPL-2.0-only
//! Where in `/proc/kcore` of a machine its kernel's memory is: an ELF file with a segment for each part of it.

use object::Endianness;
use object::elf::{FileHeader64, PT_LOAD, ProgramHeader64};
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
            Some(loaded.map(|segment| part(segment, endian)).collect())
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

/// Where a segment begins, how long it is, and where it is in the file.
fn part(segment: &ProgramHeader64<Endianness>, endian: Endianness) -> (u64, u64, u64) {
    (segment.p_vaddr(endian), segment.p_memsz(endian), segment.p_offset(endian))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of such a file: these segments, of which only those of kind 1 are loaded.
    fn head(segments: &[(u32, u64, u64, u64)]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
        bytes.resize(32, 0);
        bytes.extend(64_u64.to_le_bytes());
        bytes.resize(54, 0);
        bytes.extend([56, 0]);
        bytes.extend((segments.len() as u16).to_le_bytes());
        bytes.resize(64, 0);
        for (kind, address, size, offset) in segments {
            bytes.extend(kind.to_le_bytes());
            bytes.extend([0; 4]);
            for word in [*offset, *address, 0, *size, *size, 0] {
                bytes.extend(word.to_le_bytes());
            }
        }
        bytes
    }

    #[test]
    fn an_address_is_in_its_segment() {
        let memory = Memory::of(&head(&[(4, 0, 100, 0), (1, 0x1000, 0x100, 0x40), (1, 0x8000, 0x10, 0x900)]));
        assert_eq!(memory.offset(0x1010, 0xf0), Some(0x50));
        assert_eq!(memory.offset(0x8000, 1), Some(0x900));
        assert_eq!(
            [memory.offset(0x1010, 0xf1), memory.offset(0x50, 1), memory.offset(0x9000, 1)],
            [None; 3]
        );
    }

    #[test]
    fn of_what_is_no_such_file_nothing_is_known() {
        for bytes in [&b""[..], b"no memory", &head(&[(1, 0, 9, 9)])[..70]] {
            assert_eq!(Memory::of(bytes).offset(0, 1), None);
        }
    }
}
