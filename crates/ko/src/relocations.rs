// SPDX-License-Identifier: GPL-2.0-only
//! A module's relocations: `apply_relocations` in `kernel/module/main.c` and `__write_relocate_add`
//! (6.1: `__apply_relocate_add`) in `arch/x86/kernel/module.c`.

use std::collections::HashMap;

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
    let mut written = Written::default();
    for (index, section) in image.sections.iter().enumerate().skip(1) {
        let target = section.info as usize;
        if target >= image.sections.len() || !look.is_laid_out(target) {
            continue;
        }
        if section.flags & LIVEPATCH != 0 {
            if look.kernel.options.livepatch
                && let Some(finding) = live_patch(look, index)
            {
                report.add(finding);
            }
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
            let relocation = Relocation::read(entry);
            if let Some(finding) = relocation.and_then(|relocation| place.judge(&relocation, &mut written)) {
                report.add(finding);
            }
        }
    }
}

/// `klp_apply_section_relocs`: what a live patch's relocations are for is in the section's name. Those for a
/// module are applied when that is loaded.
fn live_patch(look: &Look<'_>, index: usize) -> Option<Finding> {
    let name = look.image.section_name(index);
    let object = name.strip_prefix(".klp.rela.").map(|rest| rest.split('.').next().unwrap_or_default());
    let finding = |message| Finding::new(Id::Livepatch, message).in_section(&*name);
    match object {
        None | Some("") => {
            let words = format!("section {name} has an incorrectly formatted name");
            let message = "the section's name doesn't say what its relocations patch";
            Some(finding(message).kernel(Errno::Einval, words))
        }
        Some("vmlinux") => Some(finding("relocations that patch the kernel's image are not looked at")),
        Some(_) => None,
    }
}

/// Which bytes relocations have filled in: a bit for each, by section and piece.
#[derive(Default)]
struct Written(HashMap<(usize, u64), u64>);

/// How many bytes have their bits together.
const PIECE: u64 = 64;

/// What a relocation finds at its place of those before it.
enum Before {
    Nothing,
    /// All of what one wrote, and perhaps more.
    Whole,
    Part,
}

impl Written {
    /// Notes that bytes are filled in.
    fn add(&mut self, section: usize, offset: u64, width: u64) -> Before {
        // A relocation fills in 8 bytes at most: those of one piece, or the end of one and the beginning of the next.
        let (piece, at) = (offset / PIECE, offset % PIECE);
        let wanted = ((1_u128 << width) - 1) << at;
        let mut taken = 0;
        for (piece, wanted) in [(piece, wanted as u64), (piece + 1, (wanted >> PIECE) as u64)] {
            if wanted != 0 {
                let bits = self.0.entry((section, piece)).or_default();
                taken += u64::from((*bits & wanted).count_ones());
                *bits |= wanted;
            }
        }
        match taken {
            0 => Before::Nothing,
            // An address or a distance is hardly ever 0 in as many bytes.
            taken if taken == width || taken >= 4 => Before::Whole,
            _ => Before::Part,
        }
    }
}

/// What is known of a relocation's value.
enum Fits {
    Yes,
    No,
    Unknown,
}

/// Where in the address space, as a signed number: the kernel's image, its modules, and memory of `vmalloc`, such
/// as the loader's copy of the file.
const IMAGE: [i128; 2] = [-0x8000_0000, -0x4000_0001];
const MODULES: [i128; 2] = [-0x4000_0000, -0x0100_0001];
const COPY: [i128; 2] = [-0x8000_0000_0000, -0x80_0000_0000];
/// Per-CPU variables, before a processor's own distance is added.
const PERCPU: [i128; 2] = [0, 0x4_0000];

/// A section that relocations are applied to.
struct Place<'a> {
    look: &'a Look<'a>,
    index: usize,
    section: Section,
}

impl Place<'_> {
    /// One turn of the loop in `__write_relocate_add`.
    fn judge(&self, relocation: &Relocation, written: &mut Written) -> Option<Finding> {
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
        let out_of_range = |message| Some(find(Id::RelocationOutOfRange, message));
        if relocation.symbol >= self.look.image.symbol_count() {
            return out_of_range(format!(
                "relocation against symbol {}, which there isn't",
                relocation.symbol
            ));
        }
        let Some(width) = width(kind) else {
            let message = format!("relocation type {kind} ({}) against {}", relocation_name(kind), against());
            let words = format!("{}: Unknown rela relocation: {kind}", self.look.name);
            let finding = find(Id::RelocationType, message).kernel(Errno::Enoexec, words);
            return Some(if is_got(kind) { finding.remedy(DIRECT) } else { finding });
        };
        if width == 0 {
            return None;
        }
        if [self.look.image.symbols, self.look.image.strings].contains(&self.index) {
            return out_of_range(format!("relocation against {} of the symbol table", against()));
        }
        if offset.checked_add(width).is_none_or(|end| end > self.section.size) {
            let size = self.section.size;
            return out_of_range(format!(
                "relocation against {} beyond the section's {size} bytes",
                against()
            ));
        }
        let before = written.add(self.index, offset, width);
        let is_empty = self.section.kind == elf::SHT_NOBITS.0 || {
            let at = self.section.offset.saturating_add(offset);
            self.look.image.bytes.part(at, width).iter().all(|byte| *byte == 0)
        };
        if !is_empty || matches!(before, Before::Whole) {
            let message = match before {
                Before::Nothing => {
                    format!("what the relocation against {} is to fill in isn't zero", against())
                }
                _ => format!("what the relocation against {} is to fill in was filled in before", against()),
            };
            let words = format!(
                "x86/modules: {} relocation target, existing value is nonzero for type {kind}, loc …",
                match self.look.kernel.loader() {
                    crate::kernel::Loader::Trusting => "Skipping invalid",
                    _ => "Invalid",
                }
            );
            return Some(find(Id::RelocationTarget, message).kernel(Errno::Enoexec, words));
        }
        if matches!(before, Before::Part) {
            let message = format!("the relocation against {} overlaps one before it", against());
            return Some(find(Id::RelocationTarget, message));
        }
        match self.fits(relocation) {
            Fits::Yes => {}
            Fits::No => {
                let message =
                    format!("the address of {} doesn't fit into {}", against(), relocation_name(kind));
                let words = format!("overflow in relocation type {kind} val …");
                return Some(find(Id::RelocationOverflow, message).kernel(Errno::Enoexec, words));
            }
            Fits::Unknown => {
                let name = relocation_name(kind);
                let message = format!("the address of {} fits into {name} by chance at most", against());
                return Some(find(Id::RelocationOverflow, message));
            }
        }
        if self.is_dangling(relocation) {
            return out_of_range(format!("relocation against {}, which has no place in memory", against()));
        }
        None
    }

    /// Whether a value is known to fit. (The kernel's own per-CPU variables are taken to be where its image is: no
    /// compiler refers to them with 32 unsigned bits.)
    fn fits(&self, relocation: &Relocation) -> Fits {
        let range = match relocation.kind {
            k if k == elf::R_X86_64_32.0 => 0..=i128::from(u32::MAX),
            k if k == elf::R_X86_64_32S.0 => i128::from(i32::MIN)..=i128::from(i32::MAX),
            _ => return Fits::Yes,
        };
        let Some((symbol, base)) = self.base(relocation) else { return Fits::Unknown };
        let [low, high] = base.map(|base| {
            // Sums are of 64 bits.
            let sum = (base as u64).wrapping_add(symbol).wrapping_add_signed(relocation.addend);
            i128::from(sum.cast_signed())
        });
        match (range.contains(&low), range.contains(&high)) {
            (true, true) => Fits::Yes,
            (false, false) if (low < *range.start()) == (high < *range.start()) => Fits::No,
            _ => Fits::Unknown,
        }
    }

    /// A symbol's value, and between which addresses that is counted from.
    fn base(&self, relocation: &Relocation) -> Option<(u64, [i128; 2])> {
        let image = self.look.image;
        let symbol = image.symbol(relocation.symbol)?;
        let section = usize::from(symbol.section);
        // `simplify_symbols` leaves the first symbol as it is, and those without a section.
        let is_plain = relocation.symbol == 0
            || symbol.section == elf::SHN_ABS.0
            || (section != 0 && section >= image.sections.len());
        if is_plain {
            return Some((symbol.value, [0, 0]));
        }
        if section == 0 {
            let exported = self.look.kernel.exports.get(&image.symbol_name(symbol));
            return Some(match exported {
                Some(export) if export.is_in_image() => (0, IMAGE),
                Some(_) => (0, MODULES),
                None => (symbol.value, [0, 0]),
            });
        }
        let base = match section {
            section if section == image.percpu => PERCPU,
            section if self.look.is_laid_out(section) => MODULES,
            _ => COPY,
        };
        Some((symbol.value, base))
    }

    /// Whether what is referred to is gone once the module is loaded, or was never a part of it.
    fn is_dangling(&self, relocation: &Relocation) -> bool {
        let image = self.look.image;
        let Some(symbol) = image.symbol(relocation.symbol).filter(|_| relocation.symbol != 0) else {
            return false;
        };
        let section = usize::from(symbol.section);
        match image.sections.get(section) {
            Some(_) if section == 0 || section == image.percpu => false,
            Some(found) => !self.look.is_laid_out(section) || symbol.value > found.size,
            None => false,
        }
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
