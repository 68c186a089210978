// SPDX-License-Identifier: GPL-2.0-only
//! For each rule a module that breaks it, made from one that breaks none.

use object::elf;
use object::write::{Object as Writer, Relocation, SectionId, Symbol, SymbolId, SymbolSection};
use object::{
    Architecture, BinaryFormat, Endianness, RelocationFlags, SectionFlags, SectionKind, SymbolFlags,
    SymbolKind, SymbolScope,
};
use proptest::prelude::*;

use crate::finding::{Errno, Report};
use crate::image::{Bytes, Image, THIS_MODULE};
use crate::kernel::{Exports, Kernel, Loader, Options};
use crate::policy::Policy;
use crate::rules::rule_named;

const VERMAGIC: &str = "6.12.1 SMP mod_unload modversions ";
const SIZE: u64 = 1280;

fn check(kernel: &Kernel, bytes: &[u8], functions: &[String]) -> Report {
    super::check(kernel, bytes, &Policy { functions: functions.to_vec(), ..Policy::default() })
}

fn kernel() -> Kernel {
    let symvers = "0x00000001\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
                   0x00000002\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n\
                   0x00000003\tgpl_thing\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
                   0x00000004\tns_thing\tvmlinux\tEXPORT_SYMBOL\tNS\n\
                   0x00000005\tfuse_thing\tfs/fuse/fuse\tEXPORT_SYMBOL\t\n";
    Kernel {
        name: "k".into(),
        release: "6.12.1".into(),
        vermagic: Some(VERMAGIC.into()),
        this_module_size: Some(SIZE),
        exports: Exports::parse(symvers).unwrap(),
        options: Options {
            modversions: true,
            force_load: true,
            signatures_forced: false,
            missing_imports_allowed: false,
            strict_rwx: true,
            livepatch: true,
            ..Options::default()
        },
        builtin: ["virtio".to_owned()].into(),
        in_sysfs: ["printk".to_owned()].into(),
        modules: ["fuse".to_owned()].into(),
        loaded: ["virtio_mmio".to_owned()].into(),
    }
}

/// The same kernel with the loader of 6.1.
fn older() -> Kernel {
    Kernel { release: "6.1.0".into(), ..kernel() }
}

/// The same kernel with the loader of 6.13.
fn newer() -> Kernel {
    Kernel { release: "6.13.0".into(), ..kernel() }
}

/// A module that is being made.
struct Specimen {
    writer: Writer<'static>,
    text: SectionId,
    info: Vec<String>,
    versions: Vec<(u64, String)>,
    name: String,
    size: u64,
}

impl Specimen {
    fn new() -> Self {
        let mut writer = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = writer.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
        writer.append_section_data(text, &[0; 64], 16);
        let info = [
            "license=GPL",
            "name=x",
            "intree=Y",
            "vermagic=6.12.1 SMP mod_unload modversions ",
            "depends=fuse,virtio",
        ];
        let mut new = Self {
            writer,
            text,
            info: info.map(str::to_owned).into(),
            versions: vec![(1, "module_layout".into())],
            name: "x".into(),
            size: SIZE,
        };
        let section = SymbolSection::Section(text);
        new.symbol("init_module", section, false);
        new.call("kfree", 2);
        new
    }

    fn symbol(&mut self, name: &str, section: SymbolSection, weak: bool) -> SymbolId {
        self.writer.add_symbol(Symbol {
            name: name.into(),
            value: 0,
            size: 8,
            kind: SymbolKind::Text,
            scope: SymbolScope::Linkage,
            weak,
            section,
            flags: SymbolFlags::None,
        })
    }

    /// Uses a symbol of the kernel, in the version.
    fn call(&mut self, name: &str, version: u64) -> &mut Self {
        // Each at a place of its own: 4, 16, 28, …
        let offset = 4 + 12 * (self.versions.len() as u64 - 1);
        self.versions.push((version, name.to_owned()));
        let symbol = self.symbol(name, SymbolSection::Undefined, false);
        self.relocate(elf::R_X86_64_PLT32, offset, symbol)
    }

    fn relocate(&mut self, r_type: elf::RelocationType, offset: u64, symbol: SymbolId) -> &mut Self {
        let flags = RelocationFlags::Elf { r_type };
        self.writer.add_relocation(self.text, Relocation { offset, symbol, addend: -4, flags }).unwrap();
        self
    }

    /// Changes an entry of `.modinfo`, or takes it away.
    fn info(&mut self, tag: &str, value: Option<&str>) -> &mut Self {
        self.info.retain(|entry| !entry.starts_with(&format!("{tag}=")));
        self.info.extend(value.map(|value| format!("{tag}={value}")));
        self
    }

    fn section(&mut self, name: &str, data: &[u8], flags: u64) -> SectionId {
        let section = self.writer.add_section(Vec::new(), name.into(), SectionKind::Data);
        self.writer.append_section_data(section, data, 8);
        let (sh_type, sh_flags) = (elf::SHT_PROGBITS, elf::SectionFlags(flags));
        self.writer.section_mut(section).flags = SectionFlags::Elf { sh_type, sh_flags };
        section
    }

    fn bytes(&mut self) -> Vec<u8> {
        let info: String = self.info.iter().map(|entry| format!("{entry}\0")).collect();
        self.section(".modinfo", info.as_bytes(), 2);
        let mut module = vec![0; self.size as usize];
        module[24..24 + self.name.len()].copy_from_slice(self.name.as_bytes());
        self.section(THIS_MODULE, &module, 3);
        let mut versions = Vec::new();
        for (crc, name) in &self.versions {
            versions.extend(crc.to_le_bytes());
            versions.extend(name.bytes().chain(std::iter::repeat(0)).take(56));
        }
        if !versions.is_empty() {
            self.section("__versions", &versions, 2);
        }
        self.writer.write().unwrap()
    }
}

/// A module that breaks no rule, changed.
fn module(change: impl FnOnce(&mut Specimen)) -> Vec<u8> {
    let mut specimen = Specimen::new();
    change(&mut specimen);
    specimen.bytes()
}

fn rules(report: &Report) -> Vec<&'static str> {
    report.refusals.iter().map(|finding| finding.rule.name).collect()
}

/// What is found first, and what loading would return.
fn verdict(kernel: &Kernel, bytes: &[u8]) -> (&'static str, Option<Errno>, String) {
    let report = check(kernel, bytes, &[]);
    let first = report.first().unwrap_or_else(|| panic!("nothing is found"));
    (first.rule.name, report.errno(), first.kernel.clone().unwrap_or_default())
}

fn refused(kernel: &Kernel, bytes: &[u8], rule: &str, errno: Errno, words: &str) {
    assert_eq!(verdict(kernel, bytes), (rule_named(rule).unwrap().name, Some(errno), words.into()));
}

/// Where the header of a section is in the file.
fn header_of(bytes: &[u8], name: &str) -> usize {
    let image = Image::parse(Bytes(bytes), Loader::Strict).unwrap();
    let index = (1..image.sections.len()).find(|index| image.section_name(*index) == name).unwrap();
    u64::from_le_bytes(*bytes[0x28..].first_chunk().unwrap()) as usize + 64 * index
}

/// A module with bytes of a section's header overwritten.
fn with_header(name: &str, field: usize, value: &[u8]) -> Vec<u8> {
    let mut bytes = module(|_| {});
    let at = header_of(&bytes, name) + field;
    bytes[at..at + value.len()].copy_from_slice(value);
    bytes
}

#[test]
fn a_good_module_breaks_no_rule() {
    for kernel in [kernel(), newer(), older()] {
        assert_eq!(rules(&check(&kernel, &module(|_| {}), &["init_module".into()])), [""; 0]);
    }
}

#[test]
fn what_is_no_module() {
    let refuse = |bytes: &[u8], words| refused(&kernel(), bytes, "elf-header", Errno::Enoexec, words);
    refuse(b"\x7f", "Invalid ELF header len 1");
    assert_eq!(verdict(&kernel(), b""), ("elf-header", Some(Errno::Einval), String::new()));
    refuse(&[b'!'; 64], "Invalid ELF header magic: != \\x7fELF");
    let mut bytes = module(|_| {});
    bytes[0x10] = 3;
    refuse(&bytes, "Invalid ELF header type: 3 != 1");
    bytes[0x10] = 1;
    bytes[0x12] = 183;
    refuse(&bytes, "Invalid architecture in ELF header: 183");
    assert!(check(&kernel(), &bytes, &[]).refusals[0].message.contains("AArch64"));
    let archive = [&b"!<arch>\n"[..], &[0; 64]].concat();
    assert!(check(&kernel(), &archive, &[]).refusals[0].message.contains("static library"));
}

#[test]
fn section_tables() {
    let good = module(|_| {});
    for kernel in [kernel(), newer(), older()] {
        let refuse = |at: usize, value: u8, words: &str| {
            let mut bytes = good.clone();
            bytes[at] = value;
            refused(&kernel, &bytes, "section-headers", Errno::Enoexec, words);
        };
        refuse(0x3a, 40, "Invalid ELF section header size");
        refuse(0x2f, 1, "Invalid ELF section header overflow");
        refuse(
            0x3e,
            0,
            &format!("Invalid ELF section name index: 0 || e_shstrndx (0) >= e_shnum ({})", good[0x3c]),
        );
        let table = u64::from_le_bytes(*good[0x28..].first_chunk().unwrap()) as usize;
        refuse(table + 16, 1, "ELF Spec violation: section 0 type(0)!=SH_NULL or non-zero len or addr");
        let mut bytes = good.clone();
        bytes[table + 4..table + 8].fill(0xff);
        let words = "ELF Spec violation: section 0 type(-1)!=SH_NULL or non-zero len or addr";
        refused(&kernel, &bytes, "section-headers", Errno::Enoexec, words);
        refused(
            &kernel,
            &good[..good.len() - 1],
            "section-headers",
            Errno::Enoexec,
            "Invalid ELF section header overflow",
        );
        let outside = with_header(".text", 24, &[0xff; 8]);
        assert_eq!(verdict(&kernel, &outside).0, "section-bounds");
        let outside = with_header(".text", 32, &[0, 0, 0, 1]);
        assert!(verdict(&kernel, &outside).2.starts_with("Invalid ELF section in module (section 1 type 1)"));
        assert_eq!(verdict(&kernel, &with_header(".text", 0, &[0xff; 3])).0, "section-names");
        assert_eq!(verdict(&kernel, &with_header(".symtab", 40, &[0xff; 2])).0, "symbol-table");
        let stripped = with_header(".symtab", 4, &[1]);
        refused(&kernel, &stripped, "symbol-table", Errno::Enoexec, "x: module has no symbols (stripped?)");
    }
    let empty = with_header(".shstrtab", 32, &[0; 8]);
    refused(&kernel(), &empty, "section-names", Errno::Enoexec, "empty section name table");
    let odd = with_header(".shstrtab", 4, &[7]);
    refused(&newer(), &odd, "section-names", Errno::Enoexec, "Invalid ELF section name table type: 7");
    assert!(!check(&kernel(), &odd, &[]).is_refused(), "6.12.95 doesn't look");
}

#[test]
fn symbol_versions() {
    let words = "x: disagrees about version of symbol module_layout";
    refused(&kernel(), &module(|m| m.versions[0].0 = 9), "symbol-version", Errno::Enoexec, words);
    refused(
        &kernel(),
        &module(|m| m.versions[1].0 = 9),
        "symbol-version",
        Errno::Einval,
        "x: disagrees about version of symbol kfree",
    );
    let lacking = module(|m| m.versions.truncate(1));
    refused(&kernel(), &lacking, "symbol-version-missing", Errno::Einval, "x: no symbol version for kfree");
    let none = module(|m| m.versions.clear());
    assert!(!check(&kernel(), &none, &[]).is_refused(), "such a module taints");
    let strict = Kernel { options: Options { force_load: false, ..kernel().options }, ..kernel() };
    assert_eq!(verdict(&strict, &none), ("symbol-version-missing", Some(Errno::Enoexec), String::new()));
    let without = Kernel { options: Options { modversions: false, ..kernel().options }, ..kernel() };
    assert!(!check(&without, &lacking, &[]).is_refused());
}

#[test]
fn version_magic() {
    let magic = |value: Option<&str>| module(|m| _ = m.info("vermagic", value));
    let released = magic(Some("5.0.0 SMP mod_unload modversions "));
    assert!(!check(&kernel(), &released, &[]).is_refused(), "versions of symbols stand for the release");
    let options = magic(Some("6.12.1 SMP preempt mod_unload "));
    let words = format!("x: version magic '6.12.1 SMP preempt mod_unload ' should be '{VERMAGIC}'");
    refused(&kernel(), &options, "vermagic", Errno::Enoexec, &words);
    let message = check(&kernel(), &options, &[]).refusals[0].message.clone();
    assert_eq!(
        message,
        "the version magic differs: the module has `preempt` and the kernel doesn't; the kernel has `modversions` and the \
         module doesn't"
    );
    let unversioned = module(|m| {
        m.versions.clear();
        m.info("vermagic", Some("5.0.0 SMP mod_unload modversions "));
    });
    assert!(check(&kernel(), &unversioned, &[]).refusals[0].message.contains("`5.0.0` is not `6.12.1`"));
    assert!(!check(&kernel(), &magic(None), &[]).is_refused());
    let strict = Kernel { options: Options { force_load: false, ..kernel().options }, ..kernel() };
    assert_eq!(verdict(&strict, &magic(None)), ("vermagic", Some(Errno::Enoexec), String::new()));
}

#[test]
fn live_patches_and_writable_code() {
    let patch = module(|m| _ = m.info("livepatch", Some("Y")));
    assert!(!check(&kernel(), &patch, &[]).is_refused());
    let without =
        Kernel { options: Options { livepatch: false, strict_rwx: false, ..kernel().options }, ..kernel() };
    assert_eq!(verdict(&without, &patch).0, "livepatch");
    let writable = with_header(".text", 8, &[7]);
    let words = "x: section .text (index 1) has invalid WRITE|EXEC flags";
    refused(&kernel(), &writable, "writable-code", Errno::Enoexec, words);
    assert!(!check(&without, &writable, &[]).is_refused());
}

#[test]
fn symbols_of_the_kernel() {
    let words = "x: Unknown symbol nowhere (err -2)";
    refused(&kernel(), &module(|m| _ = m.call("nowhere", 7)), "unknown-symbol", Errno::Enoent, words);
    let weak = module(|m| _ = m.symbol("nowhere", SymbolSection::Undefined, true));
    assert!(!check(&kernel(), &weak, &[]).is_refused());
    let got = module(|m| _ = m.symbol("_GLOBAL_OFFSET_TABLE_", SymbolSection::Undefined, false));
    assert!(!check(&kernel(), &got, &[]).is_refused());
    assert!(!check(&kernel(), &module(|m| _ = m.call("fuse_thing", 5)), &[]).is_refused());
    let own = module(|m| {
        m.name = "fuse".into();
        m.call("fuse_thing", 5);
    });
    assert_eq!(verdict(&kernel(), &own).0, "unknown-symbol", "the other of its name isn't loaded");

    let gpl = |license: &str| module(|m| _ = m.call("gpl_thing", 3).info("license", Some(license)));
    for license in ["GPL", "GPL v2", "Dual MIT/GPL"] {
        assert!(!check(&kernel(), &gpl(license), &[]).is_refused(), "{license}");
    }
    let words = "x: Unknown symbol gpl_thing (err -2)";
    for license in ["Proprietary", "GPLv2", ""] {
        refused(&kernel(), &gpl(license), "gpl-only-symbol", Errno::Enoent, words);
    }

    let space = |imported| module(|m| _ = m.call("ns_thing", 4).info("import_ns", imported));
    assert!(!check(&kernel(), &space(Some("NS")), &[]).is_refused());
    let words = "x: module uses symbol (ns_thing) from namespace NS, but does not import it.";
    refused(&kernel(), &space(None), "namespace-not-imported", Errno::Einval, words);
    let lax = Kernel { options: Options { missing_imports_allowed: true, ..kernel().options }, ..kernel() };
    assert!(!check(&lax, &space(Some("OTHER")), &[]).is_refused());
}

#[test]
fn the_last_symbol_decides_and_the_first_is_named() {
    let both = module(|m| _ = m.call("nowhere", 7).call("ns_thing", 4));
    let report = check(&kernel(), &both, &[]);
    assert_eq!(rules(&report), ["unknown-symbol", "namespace-not-imported"]);
    assert_eq!((report.errno(), report.first().unwrap().rule.name), (Some(Errno::Einval), "unknown-symbol"));
}

#[test]
fn symbols_of_the_module() {
    let common = module(|m| _ = m.symbol("left", SymbolSection::Common, false));
    refused(&kernel(), &common, "common-symbol", Errno::Enoexec, "x: please compile with -fno-common");
    let mut bytes = module(|_| {});
    let image = Image::parse(Bytes(&bytes), Loader::Strict).unwrap();
    let (table, count) = (image.sections[image.symbols].offset as usize, image.sections.len());
    bytes[table + 24 + 6] = 200;
    let (rule, errno, words) = verdict(&kernel(), &bytes);
    assert_eq!((rule, errno), ("symbol-section", Some(Errno::Enoexec)));
    assert!(words.ends_with(&format!("has an invalid section index 200 (max {})", count - 1)), "{words}");
}

#[test]
fn relocations() {
    let with = |kind, offset| {
        module(|m| {
            let symbol = m.symbol("here", SymbolSection::Section(m.text), false);
            m.relocate(kind, offset, symbol);
        })
    };
    let got = with(elf::R_X86_64_GOTPCREL, 8);
    refused(&kernel(), &got, "relocation-type", Errno::Enoexec, "x: Unknown rela relocation: 9");
    let finding = &check(&kernel(), &got, &[]).refusals[0];
    assert_eq!(
        finding.to_string(),
        ".text+0x8: relocation type 9 (R_X86_64_GOTPCREL) against `here`: the kernel would say `x: Unknown rela \
         relocation: 9` (ENOEXEC)"
    );
    assert!(finding.remedy.contains("-Zplt=yes"));
    for kind in
        [elf::R_X86_64_64, elf::R_X86_64_32S, elf::R_X86_64_PC32, elf::R_X86_64_PC64, elf::R_X86_64_NONE]
    {
        assert!(!check(&kernel(), &with(kind, 8), &[]).is_refused(), "{kind:?}");
    }
    assert_eq!(verdict(&kernel(), &with(elf::R_X86_64_32, 8)).0, "relocation-overflow");
    let outside = check(&kernel(), &with(elf::R_X86_64_64, 60), &[]);
    assert_eq!((rules(&outside), outside.errno()), (vec!["relocation-out-of-range"], None));

    let mut filled = with(elf::R_X86_64_PC32, 8);
    let text = Image::parse(Bytes(&filled), Loader::Strict).unwrap().sections[1].offset as usize;
    filled[text + 9] = 1;
    assert_eq!(verdict(&kernel(), &filled).0, "relocation-target");
    let rel = with_header(".rela.text", 4, &[9]);
    refused(&kernel(), &rel, "rel-section", Errno::Enoexec, "module x: REL relocation unsupported");
}

#[test]
fn what_is_around_the_module() {
    let builtin = module(|m| m.name = "printk".into());
    refused(&kernel(), &builtin, "already-built-in", Errno::Einval, "printk: module is already loaded");
    assert!(!check(&kernel(), &module(|m| m.name = "virtio".into()), &[]).is_refused(), "it has no folder");
    let needs = module(|m| _ = m.info("depends", Some("none-such")));
    let report = check(&kernel(), &needs, &[]);
    assert_eq!((rules(&report), report.errno()), (vec!["missing-dependency"], None));
    let report =
        check(&kernel(), &module(|_| {}), &["init_module".into(), "vexfs_rs_gone".into(), "kfree".into()]);
    assert_eq!(rules(&report), ["missing-function"; 2], "what is undefined is not there");
}

#[test]
fn a_rule_broken_a_thousand_times_is_told_of_a_hundred_times() {
    let bytes = module(|m| {
        for number in 0..1000 {
            m.symbol(&format!("nowhere{number}"), SymbolSection::Undefined, false);
        }
    });
    let report = check(&kernel(), &bytes, &[]);
    assert_eq!((report.refusals.len(), report.more()), (100, 900));
}

proptest! {
    #[test]
    fn no_bytes_make_the_check_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = module(|_| {});
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        for kernel in [kernel(), newer(), older()] {
            let _ = check(&kernel, &bytes, &[]);
            let _ = check(&kernel, &bytes[..cut.index(bytes.len())], &[]);
        }
    }

    #[test]
    fn no_header_makes_the_check_panic(
        index in 0_usize..12, field in 0_usize..64, value in any::<[u8; 8]>(), width in 1_usize..9,
    ) {
        let mut bytes = module(|_| {});
        let table = u64::from_le_bytes(*bytes[0x28..].first_chunk().unwrap()) as usize;
        let at = (table + 64 * index + field).min(bytes.len() - width);
        bytes[at..at + width].copy_from_slice(&value[..width]);
        for kernel in [kernel(), newer(), older()] {
            let _ = check(&kernel, &bytes, &[]);
        }
    }
}
