// SPDX-License-Identifier: GPL-2.0-only

use std::io::Read;

use object::elf::{FileHeader64, PT_NOTE};
use object::endian::Endianness;
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::error::{Context, Error, Result};

/// More than any kernel is unpacked, in bytes.
const LIMIT: u64 = 512 << 20;

/// `zstd --ultra -22` makes the kernel's payload: its window is 128 MiB.
const ZSTD_WINDOW: u64 = 128 << 20;

// The setup header, from Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header").
const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const HEADER: usize = 0x202;
const VERSION: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// The first version of the protocol that has a payload's offset and length.
const VERSION_WITH_PAYLOAD: u16 = 0x0208;
/// `setup_sects` of 0 means this, for the sake of old boot loaders.
const DEFAULT_SETUP_SECTS: usize = 4;
const SECTOR: usize = 512;

/// The note that marks an entry point for PVH (xen/include/public/elfnote.h).
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// The kernel itself, an ELF file, out of a bzImage.
///
/// # Errors
///
/// When the bytes are no bzImage, are cut short or damaged, or are packed in a way that isn't known.
pub fn unpack_image(bytes: &[u8]) -> Result<Vec<u8>> {
    let payload = payload(bytes)?;
    // All but gzip, whose trailer has it, are followed by the size of what they hold
    // (scripts/Makefile.lib: size_append).
    let (packed, size) = payload.split_last_chunk::<4>().ok_or_else(|| malformed("its payload is empty"))?;
    let size = u64::from(u32::from_le_bytes(*size));
    if size > LIMIT {
        return Err(malformed(format!("it claims to unpack to {size} bytes")));
    }
    let elf = match payload {
        [0x1f, 0x8b, ..] => read_all(flate2::read::GzDecoder::new(payload), size),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => read_all(liblzma::read::XzDecoder::new(packed), size),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = ruzstd::decoding::StreamingDecoder::new_with_max_window_size(packed, ZSTD_WINDOW);
            read_all(decoder.map_err(|error| malformed(error.to_string()))?, size)
        }
        [0x02, 0x21, 0x4c, 0x18, ..] => read_all(lz4_flex::frame::FrameDecoder::new(packed), size),
        _ => return Err(unknown_format(payload)),
    }?;
    if elf.len() as u64 != size {
        return Err(malformed(format!("it unpacks to {} bytes instead of {size}", elf.len())));
    }
    if !elf.starts_with(&object::elf::ELFMAG) {
        return Err(malformed("what it unpacks to is no ELF file"));
    }
    Ok(elf)
}

/// Whether an ELF kernel can be started by QEMU without a boot loader: has it the note that says where? Of a
/// file behind a `ReadCache` only the headers and the notes are read.
pub fn elf_has_pvh_entry<'data>(elf: impl ReadRef<'data>) -> bool {
    pvh_entry(elf).is_some()
}

fn pvh_entry<'data>(elf: impl ReadRef<'data>) -> Option<()> {
    let header = FileHeader64::<Endianness>::parse(elf).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, elf).ok()?;
    for segment in segments.iter().filter(|segment| segment.p_type(endian) == PT_NOTE) {
        let Ok(Some(mut notes)) = segment.notes(endian, elf) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == b"Xen" && note.n_type(endian).0 == XEN_ELFNOTE_PHYS32_ENTRY {
                return Some(());
            }
        }
    }
    None
}

/// The compressed part of a bzImage, with the size that follows it.
fn payload(bytes: &[u8]) -> Result<&[u8]> {
    let cut = || malformed("it is cut short");
    let field = |at: usize, length: usize| bytes.get(at..at + length).ok_or_else(cut);
    let word = |at: usize| Ok::<_, Error>(u32::from_le_bytes(field(at, 4)?.try_into().unwrap_or_default()));
    if field(BOOT_FLAG, 2)? != [0x55, 0xaa] || field(HEADER, 4)? != b"HdrS" {
        return Err(malformed("it has no setup header"));
    }
    let version = u16::from_le_bytes(field(VERSION, 2)?.try_into().unwrap_or_default());
    if version < VERSION_WITH_PAYLOAD {
        return Err(malformed(format!("its boot protocol {version:#06x} is older than 0x0208")));
    }
    let sectors = match field(SETUP_SECTS, 1)? {
        [0] => DEFAULT_SETUP_SECTS,
        sectors => usize::from(sectors[0]),
    };
    let offset = word(PAYLOAD_OFFSET)? as usize;
    let length = word(PAYLOAD_LENGTH)? as usize;
    let start = ((sectors + 1) * SECTOR).checked_add(offset).ok_or_else(cut)?;
    let end = start.checked_add(length).ok_or_else(cut)?;
    bytes.get(start..end).ok_or_else(cut)
}

/// Reads what a decoder gives, but not more than one byte over `size`.
fn read_all(decoder: impl Read, size: u64) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    decoder.take(size + 1).read_to_end(&mut content).context(|| "unpack the kernel's image".to_owned())?;
    Ok(content)
}

fn malformed(why: impl Into<String>) -> Error {
    Error::lab("the kernel's image is not a whole bzImage").with_source(why.into())
}

fn unknown_format(payload: &[u8]) -> Error {
    let name = match payload {
        [b'B', b'Z', b'h', ..] => "bzip2",
        [0x5d, 0, 0, ..] => "LZMA",
        [0x89, b'L', b'Z', b'O', ..] => "LZO",
        _ => "a way that isn't known",
    };
    Error::lab(format!("the kernel's image is packed with {name}"))
        .with_remedy("use a kernel whose image is packed with xz, zstd, gzip or lz4, or not at all")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    /// A bzImage around a payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 2 * SECTOR];
        bytes[SETUP_SECTS] = 1;
        bytes[BOOT_FLAG..][..2].copy_from_slice(&[0x55, 0xaa]);
        bytes[HEADER..][..4].copy_from_slice(b"HdrS");
        bytes[VERSION..][..2].copy_from_slice(&0x20fu16.to_le_bytes());
        bytes[PAYLOAD_OFFSET..][..4].copy_from_slice(&16u32.to_le_bytes());
        bytes[PAYLOAD_LENGTH..][..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend([0; 16]);
        bytes.extend(payload);
        bytes.extend([0; 64]);
        bytes
    }

    fn kernel() -> Vec<u8> {
        let mut elf = object::elf::ELFMAG.to_vec();
        elf.extend((0..20_000u32).flat_map(|n| (n / 7).to_le_bytes()));
        elf
    }

    fn with_size(mut packed: Vec<u8>, size: usize) -> Vec<u8> {
        packed.extend((size as u32).to_le_bytes());
        packed
    }

    fn packed() -> Vec<(&'static str, Vec<u8>)> {
        let elf = kernel();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&elf).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&elf).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(&elf[..], ruzstd::encoding::CompressionLevel::Fastest);
        // The legacy frame: magic, then blocks of at most 8 MiB, each after its packed size.
        let mut lz4 = vec![0x02, 0x21, 0x4c, 0x18];
        let block = lz4_flex::block::compress(&elf);
        lz4.extend((block.len() as u32).to_le_bytes());
        lz4.extend(block);
        vec![
            ("gzip", gzip.finish().unwrap()),
            ("xz", with_size(xz.finish().unwrap(), elf.len())),
            ("zstd", with_size(zstd, elf.len())),
            ("lz4", with_size(lz4, elf.len())),
        ]
    }

    #[test]
    fn each_way_of_packing_gives_the_kernel_back() {
        for (name, packed) in packed() {
            assert!(unpack_image(&image(&packed)).unwrap() == kernel(), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_unpacked_is_named() {
        let cause = |bytes: &[u8]| unpack_image(bytes).unwrap_err().source().unwrap().to_string();
        insta::assert_snapshot!(cause(b"MZ"), @"it is cut short");
        insta::assert_snapshot!(cause(&[0; 4096]), @"it has no setup header");
        insta::assert_snapshot!(cause(&image(b"")), @"its payload is empty");
        let whole = image(&packed()[1].1);
        insta::assert_snapshot!(cause(&whole[..whole.len() - 65]), @"it is cut short");
        let lies = with_size(packed()[1].1.clone(), 100);
        insta::assert_snapshot!(cause(&image(&lies)), @"it unpacks to 101 bytes instead of 100");
        let bomb = with_size(packed()[1].1.clone(), usize::MAX);
        insta::assert_snapshot!(cause(&image(&bomb)), @"it claims to unpack to 4294967295 bytes");
        let bzip = unpack_image(&image(b"BZh9\0\0\0\0")).unwrap_err();
        insta::assert_snapshot!(bzip, @"the kernel's image is packed with bzip2");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let _ = unpack_image(&bytes);
            let _ = elf_has_pvh_entry(&bytes[..]);
        }

        #[test]
        fn no_damage_makes_it_panic(which in 0usize..4, at in any::<prop::sample::Index>(), value: u8) {
            let mut bytes = image(&packed()[which].1);
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = unpack_image(&bytes);
        }
    }
}
