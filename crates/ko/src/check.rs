// SPDX-License-Identifier: GPL-2.0-only
//! What a kernel would refuse in a module, found before a machine is started.

use std::collections::BTreeSet;
use std::fmt;

use object::elf;
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionFlags};
use rustc_demangle::demangle;

use crate::ReadError;

/// Something that is wrong with a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A relocation of a type that the kernel's loader does not take.
    RelocationType {
        /// The section that it applies to.
        section: String,
        /// Where in the section, in bytes.
        offset: u64,
        /// The type, `r_type` of the psABI.
        kind: u32,
        /// What it refers to.
        symbol: String,
    },
    /// A function that the module was to contain isn't there.
    MissingFunction {
        /// Its name.
        name: String,
    },
}

/// The relocation types that the loader applies.
///
/// Source: `__write_relocate_add` in `arch/x86/kernel/module.c`; any other type is `Unknown rela
/// relocation` and `-ENOEXEC`. `R_X86_64_PC64` is taken as well.
const TAKEN: [u32; 7] = [
    elf::R_X86_64_NONE.0,
    elf::R_X86_64_64.0,
    elf::R_X86_64_32.0,
    elf::R_X86_64_32S.0,
    elf::R_X86_64_PC32.0,
    elf::R_X86_64_PLT32.0,
    elf::R_X86_64_PC64.0,
];

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RelocationType { section, offset, kind, symbol } => write!(
                f,
                "{section}+{offset:#x}: relocation type {kind} ({}) against `{:#}`: the kernel would say `Unknown \
                 rela relocation: {kind}`",
                relocation_name(*kind),
                demangle(symbol),
            ),
            Self::MissingFunction { name } => {
                write!(f, "the function `{name}` of the Rust side is not in the module")
            }
        }
    }
}

impl Finding {
    /// How to mend it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::RelocationType { kind, .. } if is_got(*kind) => {
                "build it so that symbols are reached directly: C with -fno-pic -mcmodel=kernel, Rust with \
                 -Crelocation-model=static -Zplt=yes -Zdirect-access-external-data=yes, `core` and `alloc` too"
            }
            Self::RelocationType { .. } => "build it with the kernel's own flags: -mcmodel=kernel -fno-pic",
            Self::MissingFunction { .. } => {
                "list the Rust object in the Kbuild file: NAME-y += rust.o; to build without Rust, say --c-only"
            }
        }
    }
}

/// Looks a finished module over. `functions` are those that must be in it.
///
/// # Errors
///
/// When the bytes are no x86-64 ELF object.
pub fn check(bytes: &[u8], functions: &[String]) -> Result<Vec<Finding>, ReadError> {
    let object = crate::x86_64(bytes, "the module")?;
    let mut findings = Vec::new();
    for section in object.sections() {
        let SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        // The loader passes over what it does not load.
        if (sh_flags & elf::SHF_ALLOC).0 == 0 {
            continue;
        }
        for (offset, relocation) in section.relocations() {
            let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
            if !TAKEN.contains(&r_type.0) {
                findings.push(Finding::RelocationType {
                    section: section.name().unwrap_or("?").to_owned(),
                    offset,
                    kind: r_type.0,
                    symbol: target_name(&object, relocation.target()),
                });
            }
        }
    }
    let defined: BTreeSet<&str> =
        object.symbols().filter(|s| s.is_definition()).filter_map(|s| s.name().ok()).collect();
    let missing = functions.iter().filter(|name| !defined.contains(name.as_str()));
    findings.extend(missing.map(|name| Finding::MissingFunction { name: name.clone() }));
    Ok(findings)
}

fn target_name(object: &object::File<'_>, target: RelocationTarget) -> String {
    let name = match target {
        RelocationTarget::Symbol(index) => {
            object.symbol_by_index(index).and_then(|s| s.name().map(str::to_owned)).ok()
        }
        _ => None,
    };
    name.unwrap_or_else(|| "?".to_owned())
}

fn is_got(kind: u32) -> bool {
    [elf::R_X86_64_GOTPCREL.0, elf::R_X86_64_GOTPCRELX.0, elf::R_X86_64_REX_GOTPCRELX.0].contains(&kind)
}

/// The psABI's name of a relocation type that objects for user space have.
pub(crate) fn relocation_name(kind: u32) -> &'static str {
    match kind {
        3 => "R_X86_64_GOT32",
        9 => "R_X86_64_GOTPCREL",
        19 => "R_X86_64_TLSGD",
        20 => "R_X86_64_TLSLD",
        21 => "R_X86_64_DTPOFF32",
        22 => "R_X86_64_GOTTPOFF",
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

#[cfg(test)]
mod tests {
    use object::write::{Object as Writer, Relocation, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};
    use proptest::prelude::*;

    use super::*;

    fn object_with(r_type: object::elf::RelocationType) -> Vec<u8> {
        let mut writer = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = writer.section_id(object::write::StandardSection::Text);
        writer.append_section_data(text, &[0; 16], 16);
        let mut symbol = |name: &str, section| {
            writer.add_symbol(Symbol {
                name: name.into(),
                value: 0,
                size: 8,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section,
                flags: SymbolFlags::None,
            })
        };
        symbol("vexfs_rs_here", SymbolSection::Section(text));
        let kfree = symbol("kfree", SymbolSection::Undefined);
        let flags = RelocationFlags::Elf { r_type };
        writer.add_relocation(text, Relocation { offset: 4, symbol: kfree, addend: -4, flags }).unwrap();
        writer.write().unwrap()
    }

    #[test]
    fn a_got_relocation_is_found_with_its_place_and_symbol() {
        let findings = check(&object_with(elf::R_X86_64_GOTPCREL), &[]).unwrap();
        assert_eq!(
            findings[0].to_string(),
            ".text+0x4: relocation type 9 (R_X86_64_GOTPCREL) against `kfree`: the kernel would say `Unknown rela \
             relocation: 9`"
        );
        assert!(findings[0].remedy().contains("-Zplt=yes"));
    }

    #[test]
    fn what_the_loader_takes_is_no_finding() {
        for r_type in [elf::R_X86_64_PLT32, elf::R_X86_64_PC32, elf::R_X86_64_64] {
            assert_eq!(check(&object_with(r_type), &["vexfs_rs_here".into()]).unwrap(), []);
        }
    }

    #[test]
    fn a_missing_function_is_found() {
        let wanted = ["vexfs_rs_here".to_owned(), "vexfs_rs_gone".to_owned(), "kfree".to_owned()];
        let findings = check(&object_with(elf::R_X86_64_PLT32), &wanted).unwrap();
        let missing = |name: &str| Finding::MissingFunction { name: name.into() };
        assert_eq!(findings, [missing("vexfs_rs_gone"), missing("kfree")], "undefined is not there");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(at in 0usize..700, value: u8) {
            let mut bytes = object_with(elf::R_X86_64_PC32);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = check(&bytes, &[]);
            let _ = check(&bytes[..at], &[]);
        }
    }
}
