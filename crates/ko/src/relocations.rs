// SPDX-License-Identifier: GPL-2.0-only
//! A module's relocations: `apply_relocations` in `kernel/module/main.c` and `__write_relocate_add`
//! (6.1: `__apply_relocate_add`) in `arch/x86/kernel/module.c`.

use object::elf;

use crate::check::Look;
use crate::finding::{Errno, Finding, Report};
use crate::image::Section;
use crate::names::readable;
use crate::rules::Id;

/// The size of `Elf64_Rela`.
pub(crate) const RELOCATION: usize = 24;
/// `SHF_RELA_LIVEPATCH`: applied when what is patched is loaded.
const LIVEPATCH: u64 = 0x0010_0000;

/// How many bytes a relocation of a type writes; nothing for a type that the loader doesn't take.
///
/// Source: `__write_relocate_add`; any other type is `Unknown rela relocation`.
fn width(kind: u32) -> Option<u64> {
    Some(match kind {
        k if k == elf::R_X86_64_NONE.0 => 0,
        k if k == elf::R_X86_64_64.0 || k == elf::R_X86_64_PC64.0 => 8,
        k if k == elf::R_X86_64_32.0 || k == elf::R_X86_64_32S.0 => 4,
        k if k == elf::R_X86_64_PC32.0 || k == elf::R_X86_64_PLT32.0 => 4,
        _ => return None,
    })
}

/// A relocation as it is in the file (`Elf64_Rela`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Relocation {
    pub(crate) offset: u64,
    pub(crate) kind: u32,
    pub(crate) symbol: u64,
    pub(crate) addend: i64,
}

impl Relocation {
    pub(crate) fn read(entry: &[u8]) -> Option<Self> {
        let (offset, rest) = entry.split_first_chunk()?;
        let (info, rest) = rest.split_first_chunk()?;
        let info = u64::from_le_bytes(*info);
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            kind: info as u32,
            symbol: info >> 32,
            addend: i64::from_le_bytes(*rest.first_chunk()?),
        })
    }
}

/// `apply_relocations`.
pub(crate) fn check(look: &Look<'_>, report: &mut Report) {
    let image = look.image;
    let mut left = image.bytes.len();
    for (index, section) in image.sections.iter().enumerate().skip(1) {
        let target = section.info as usize;
        if target >= image.sections.len() || !stays_loaded(look, target) || section.flags & LIVEPATCH != 0 {
            continue;
        }
        if section.kind == elf::SHT_REL.0 {
            let message = "the section's relocations have no addends (SHT_REL)";
            let words = format!("module {}: REL relocation unsupported", look.name);
            let finding = Finding::new(Id::RelSection, message).in_section(image.section_name(index));
            report.add(finding.kernel(Errno::Enoexec, words));
        }
        // Sections of a sound file don't overlap.
        if section.kind != elf::SHT_RELA.0 || section.size > left {
            continue;
        }
        left -= section.size;
        let place = Place { look, index: target, section: image.sections[target] };
        for entry in image.data(index).chunks_exact(RELOCATION) {
            if let Some(finding) = Relocation::read(entry).and_then(|relocation| place.judge(&relocation)) {
                report.add(finding);
            }
        }
    }
}

/// Whether a section is still marked as loaded when relocations are applied: `rewrite_section_headers` and
/// `layout_and_allocate` take the mark off three.
fn stays_loaded(look: &Look<'_>, index: usize) -> bool {
    let image = look.image;
    let passed_over = [image.versions, image.percpu, image.find_info()];
    image.sections[index].is_loaded() && (index == 0 || !passed_over.contains(&index))
}

/// A section that relocations are applied to.
struct Place<'a> {
    look: &'a Look<'a>,
    index: usize,
    section: Section,
}

impl Place<'_> {
    /// One turn of the loop in `__write_relocate_add`.
    fn judge(&self, relocation: &Relocation) -> Option<Finding> {
        let Relocation { offset, kind, .. } = *relocation;
        let find = |id, message: String| {
            let finding = Finding::new(id, message).place(self.look.image, self.index, offset);
            match self.target(relocation) {
                Some(name) => finding.symbol(name),
                None => finding,
            }
        };
        let against =
            || format!("`{}`", readable(&self.target(relocation).unwrap_or_else(|| "?".to_owned())));
        let Some(width) = width(kind) else {
            let message = format!("relocation type {kind} ({}) against {}", relocation_name(kind), against());
            let words = format!("{}: Unknown rela relocation: {kind}", self.look.name);
            let finding = find(Id::RelocationType, message).kernel(Errno::Enoexec, words);
            return Some(if is_got(kind) { finding.remedy(DIRECT) } else { finding });
        };
        if relocation.symbol >= self.look.image.symbol_count() {
            let message = format!("relocation against symbol {}, which there isn't", relocation.symbol);
            return Some(find(Id::RelocationOutOfRange, message));
        }
        if width == 0 {
            return None;
        }
        if offset.checked_add(width).is_none_or(|end| end > self.section.size) {
            let message =
                format!("relocation against {} beyond the section's {} bytes", against(), self.section.size);
            return Some(find(Id::RelocationOutOfRange, message));
        }
        let is_empty = self.section.kind == elf::SHT_NOBITS.0 || {
            let at = self.section.offset.saturating_add(offset);
            self.look.image.bytes.part(at, width).iter().all(|byte| *byte == 0)
        };
        if !is_empty {
            let message = format!("what the relocation against {} is to fill in isn't zero", against());
            let words = format!(
                "x86/modules: {} relocation target, existing value is nonzero for type {kind}, loc …",
                match self.look.kernel.loader() {
                    crate::kernel::Loader::Trusting => "Skipping invalid",
                    _ => "Invalid",
                }
            );
            return Some(find(Id::RelocationTarget, message).kernel(Errno::Enoexec, words));
        }
        if !self.overflows(relocation) {
            return None;
        }
        let message = format!("the address of {} doesn't fit into {}", against(), relocation_name(kind));
        let words = format!("overflow in relocation type {kind} val …");
        Some(find(Id::RelocationOverflow, message).kernel(Errno::Enoexec, words))
    }

    /// Whether a value is known not to fit: the kernel and its modules are in the highest 2 GiB, what isn't
    /// loaded is in the loader's copy of the file. (The kernel's per-CPU variables would fit into 32 unsigned
    /// bits, and no compiler refers to them so.)
    fn overflows(&self, relocation: &Relocation) -> bool {
        let unsigned = relocation.kind == elf::R_X86_64_32.0;
        if !unsigned && relocation.kind != elf::R_X86_64_32S.0 {
            return false;
        }
        let image = self.look.image;
        let Some(symbol) = image.symbol(relocation.symbol) else { return false };
        let section = usize::from(symbol.section);
        let exported = section == 0 && self.look.kernel.exports.get(&image.symbol_name(symbol)).is_some();
        if (section == 0 && !exported) || symbol.section == elf::SHN_ABS.0 {
            let value = symbol.value.wrapping_add_signed(relocation.addend);
            let fits = if unsigned {
                u32::try_from(value).is_ok()
            } else {
                i32::try_from(value.cast_signed()).is_ok()
            };
            return !fits;
        }
        if exported {
            return unsigned;
        }
        if section >= image.sections.len() || section == image.percpu {
            return false;
        }
        unsigned || !stays_loaded(self.look, section)
    }

    /// What a relocation refers to: a symbol's name, or that of its section.
    fn target(&self, relocation: &Relocation) -> Option<String> {
        let symbol = self.look.image.symbol(relocation.symbol)?;
        let name = self.look.image.symbol_name(symbol);
        if !name.is_empty() {
            return Some(name.into_owned());
        }
        Some(self.look.image.section_name(usize::from(symbol.section))).filter(|name| !name.is_empty())
    }
}

/// What to do about a reference by way of the global offset table.
const DIRECT: &str = "build it so that symbols are reached directly: C with -fno-pic -mcmodel=kernel, Rust with \
                      -Crelocation-model=static -Zplt=yes -Zdirect-access-external-data=yes, `core` and `alloc` too";

fn is_got(kind: u32) -> bool {
    [elf::R_X86_64_GOTPCREL.0, elf::R_X86_64_GOTPCRELX.0, elf::R_X86_64_REX_GOTPCRELX.0].contains(&kind)
}

/// The psABI's name of a relocation type that is met in objects.
pub(crate) fn relocation_name(kind: u32) -> &'static str {
    match kind {
        3 => "R_X86_64_GOT32",
        9 => "R_X86_64_GOTPCREL",
        10 => "R_X86_64_32",
        11 => "R_X86_64_32S",
        12 => "R_X86_64_16",
        14 => "R_X86_64_8",
        19 => "R_X86_64_TLSGD",
        20 => "R_X86_64_TLSLD",
        22 => "R_X86_64_GOTTPOFF",
        21 => "R_X86_64_DTPOFF32",
        23 => "R_X86_64_TPOFF32",
        25 => "R_X86_64_GOTOFF64",
        26 => "R_X86_64_GOTPC32",
        27 => "R_X86_64_GOT64",
        28 => "R_X86_64_GOTPCREL64",
        29 => "R_X86_64_GOTPC64",
        31 => "R_X86_64_PLTOFF64",
        34 => "R_X86_64_GOTPC32_TLSDESC",
        35 => "R_X86_64_TLSDESC_CALL",
        41 => "R_X86_64_GOTPCRELX",
        42 => "R_X86_64_REX_GOTPCRELX",
        _ => "unknown to the loader",
    }
}
