// SPDX-License-Identifier: GPL-2.0-only
//! Modules for tests, from assembler text.

use std::fs;
use std::process::Command;

use object::write::{Object as Writer, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

use crate::finding::Report;
use crate::image::THIS_MODULE;
use crate::kernel::Kernel;
use crate::policy::Policy;

/// How a function begins in assembler text; the next such text ends it.
pub(super) fn specimen(name: &str) -> String {
    format!("\n.globl {name}\n.type {name}, @function\n{name}:\n")
}

/// Assembles a source to an object that a loader reads as a module.
pub(super) fn module(source: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in.s"), dir.path().join("out.o"));
    let rest =
        format!(".section .modinfo, \"a\"\n.asciz \"name=x\"\n.section {THIS_MODULE}, \"aw\"\n.fill 1280\n");
    fs::write(&from, format!(".text\n{source}\n{rest}")).unwrap();
    let output = Command::new("as").arg("-o").args([&to, &from]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(&to).unwrap()
}

/// What there is to say of a source on a kernel.
pub(super) fn report(kernel: &Kernel, source: &str, policy: &Policy) -> Report {
    crate::check(kernel, &module(source), policy)
}

/// A module whose code is these bytes.
pub(super) fn with_text(text: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let code = writer.add_section(Vec::new(), b".text".to_vec(), SectionKind::Text);
    writer.append_section_data(code, text, 16);
    let this = writer.add_section(Vec::new(), THIS_MODULE.into(), SectionKind::Data);
    writer.append_section_data(this, &[0; 1280], 16);
    writer.add_symbol(Symbol {
        name: b"f".to_vec(),
        value: 0,
        size: text.len() as u64 / 2,
        kind: SymbolKind::Text,
        scope: SymbolScope::Linkage,
        weak: false,
        section: SymbolSection::Section(code),
        flags: SymbolFlags::None,
    });
    writer.write().unwrap()
}
