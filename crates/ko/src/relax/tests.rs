// SPDX-License-Identifier: GPL-2.0-only
//! The judge is GNU ld: what it makes of the same object in a final link, and what that computes.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use iced_x86::{Decoder, DecoderOptions, OpKind};
use proptest::prelude::*;

use super::instruction::{Patch, make_direct};
use super::*;

/// A program that prints what functions compute which go through the table.
const FORMS: &str = include_str!("forms.s");

/// Assembles a source. `newer` asks for the relocations that promise what the instruction is.
fn assemble(source: &str, newer: bool) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("in.s"), dir.path().join("out.o"));
    fs::write(&from, format!("{source}\n")).unwrap();
    let relax = if newer { "-mrelax-relocations=yes" } else { "-mrelax-relocations=no" };
    run(Command::new("as").arg(relax).arg("-o").args([&to, &from]));
    fs::read(&to).unwrap()
}

/// Links an object to a program at fixed addresses and gives what it prints.
fn output_of(object: &[u8], relax: &str, dir: &Path) -> Vec<u8> {
    let (from, to) = (dir.join("program.o"), dir.join("program"));
    fs::write(&from, object).unwrap();
    let places = ["-Ttext=0x400000", "-Tdata=0x600000", "-Tbss=0x700000", "--section-start=.rodata=0x500000"];
    run(Command::new("ld").args(["-static", relax]).args(places).arg("-o").args([&to, &from]));
    run(&mut Command::new(&to))
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// How many relocations of an object want a table.
fn got_uses(bytes: &[u8]) -> usize {
    use object::{Object as _, ObjectSection as _};
    let object = object::File::parse(bytes).unwrap();
    let relocations = object.sections().flat_map(|section| section.relocations().collect::<Vec<_>>());
    let is_of_table = |flags| matches!(flags, object::RelocationFlags::Elf { r_type } if is_of_table(r_type));
    relocations.filter(|(_, relocation)| is_of_table(relocation.flags())).count()
}

#[test]
fn every_form_computes_what_it_did_with_a_table_and_what_it_does_relaxed_by_ld() {
    let dir = tempfile::tempdir().unwrap();
    for newer in [true, false] {
        let before = assemble(FORMS, newer);
        let relaxed = relax(&before).unwrap();
        assert_eq!(relaxed.kept, []);
        assert_eq!(relaxed.rewritten, got_uses(&before));
        assert_eq!(relaxed.rewritten, 41, "one for each that the program has");
        assert_eq!(got_uses(&relaxed.bytes), 0);

        let through_table = output_of(&before, "--no-relax", dir.path());
        let by_ld = output_of(&before, "--relax", dir.path());
        let by_us = output_of(&relaxed.bytes, "--no-relax", dir.path());
        assert_eq!(through_table.len(), 41 * 6 * 16, "a result and flags for each function and number");
        assert_eq!(through_table, by_ld);
        assert_eq!(through_table, by_us);

        let again = relax(&relaxed.bytes).unwrap();
        assert_eq!((again.rewritten, again.bytes == relaxed.bytes), (0, true));
    }
}

/// What `code` becomes, and the relocation beside it.
fn direct(code: &[u8], constant: bool) -> Option<(Vec<u8>, Patch)> {
    let mut code = code.to_vec();
    make_direct(&mut code, constant).map(|patch| (code, patch))
}

#[test]
fn the_bytes_of_each_form() {
    let slot = [0x11, 0x22, 0x33, 0x44];
    let with_slot = |start: &[u8]| [start, &slot].concat();
    let near = |start: &[u8]| {
        let patch = Patch { kind: elf::R_X86_64_PC32, earlier: 0, addend: -4 };
        Some(([start, &[0; 4]].concat(), patch))
    };
    let immediate = |start: &[u8]| {
        let patch = Patch { kind: elf::R_X86_64_32S, earlier: 0, addend: 0 };
        Some(([start, &[0; 4]].concat(), patch))
    };
    // mov slot, %rax; %r15; %ecx
    assert_eq!(direct(&with_slot(&[0x48, 0x8b, 0x05]), false), near(&[0x48, 0x8d, 0x05]));
    assert_eq!(direct(&with_slot(&[0x4c, 0x8b, 0x3d]), false), near(&[0x4c, 0x8d, 0x3d]));
    assert_eq!(direct(&with_slot(&[0x8b, 0x0d]), false), near(&[0x8d, 0x0d]));
    // the same of what is a number
    assert_eq!(direct(&with_slot(&[0x48, 0x8b, 0x05]), true), immediate(&[0x48, 0xc7, 0xc0]));
    assert_eq!(direct(&with_slot(&[0x4c, 0x8b, 0x3d]), true), immediate(&[0x49, 0xc7, 0xc7]));
    // test %rdx, slot; test %r9, slot
    assert_eq!(direct(&with_slot(&[0x48, 0x85, 0x15]), false), immediate(&[0x48, 0xf7, 0xc2]));
    assert_eq!(direct(&with_slot(&[0x4c, 0x85, 0x0d]), false), immediate(&[0x49, 0xf7, 0xc1]));
    // add, or, adc, sbb, and, sub, xor, cmp slot, %rcx
    for number in 0..8 {
        let (opcode, modrm) = (number << 3 | 3, 0xc1 | number << 3);
        assert_eq!(direct(&with_slot(&[0x48, opcode, 0x0d]), false), immediate(&[0x48, 0x81, modrm]));
        assert_eq!(direct(&with_slot(&[opcode, 0x0d]), false), immediate(&[0x81, modrm]));
    }
    // call, jmp, push: the operand begins a byte earlier, and a nop fills up
    let branch = Patch { kind: elf::R_X86_64_PLT32, earlier: 1, addend: -4 };
    assert_eq!(direct(&with_slot(&[0xff, 0x15]), false), Some((vec![0xe8, 0, 0, 0, 0, 0x90], branch)));
    assert_eq!(direct(&with_slot(&[0xff, 0x25]), false), Some((vec![0xe9, 0, 0, 0, 0, 0x90], branch)));
    let push = Patch { kind: elf::R_X86_64_32S, earlier: 1, addend: 0 };
    assert_eq!(direct(&with_slot(&[0xff, 0x35]), false), Some((vec![0x68, 0, 0, 0, 0, 0x90], push)));
}

/// The reasons for which the uses of a source are kept.
fn reasons(source: &str) -> Vec<Reason> {
    let before = assemble(source, false);
    let relaxed = relax(&before).unwrap();
    assert_eq!(relaxed.rewritten, 0, "{source}");
    assert_eq!(relaxed.bytes, before, "{source}");
    relaxed.kept.iter().map(|one| one.reason).collect()
}

#[test]
fn what_has_no_direct_form_is_kept_with_the_reason() {
    for source in [
        "cmpq %rax, foo@GOTPCREL(%rip)",
        "cmovneq foo@GOTPCREL(%rip), %rax",
        "movw foo@GOTPCREL(%rip), %ax",
        "movq foo@GOTPCREL(%rip), %xmm0",
        "notrack call *foo@GOTPCREL(%rip)",
        "rex.W jmp *foo@GOTPCREL(%rip)",
        "incq foo@GOTPCREL(%rip)",
    ] {
        assert_eq!(reasons(source), [Reason::Instruction], "{source}");
    }
    assert_eq!(reasons("cmpq $1, foo@GOTPCREL(%rip)"), [Reason::Addend]);
    assert_eq!(reasons("movq foo@GOTPCREL+8(%rip), %rax"), [Reason::Addend]);
    assert_eq!(reasons(".data\n.long foo@GOTPCREL-4"), [Reason::Data]);
    assert_eq!(reasons("movabs $foo@GOT, %rax"), [Reason::Type]);
    assert_eq!(reasons("movabs $foo@GOTOFF, %rax"), [Reason::Type]);
    assert_eq!(reasons("lea _GLOBAL_OFFSET_TABLE_(%rip), %rax"), [Reason::Type]);
    assert_eq!(reasons("movq foo@GOTTPOFF(%rip), %rax"), [Reason::ThreadLocal]);
    assert_eq!(reasons("leaq foo@TLSGD(%rip), %rdi"), [Reason::ThreadLocal]);
    let chosen = ".type foo, @gnu_indirect_function\nfoo: ret\ncall *foo@GOTPCREL(%rip)";
    assert_eq!(reasons(chosen), [Reason::IndirectFunction]);
}

#[test]
fn bytes_that_only_look_like_an_instruction_are_kept() {
    // The middle of a constant, in which there is what a load looks like.
    let inside = "movabs $0x00000000058b4890, %rax\n.reloc .-4, R_X86_64_GOTPCREL, foo-4\nret";
    assert_eq!(reasons(inside), [Reason::NotFound]);
    // After what is no instruction, until the next symbol.
    let lost = "f: .byte 0x06\nmovq foo@GOTPCREL(%rip), %rax\nret";
    assert_eq!(reasons(lost), [Reason::NotFound]);
    let found = "f: .byte 0x06\ng: movq foo@GOTPCREL(%rip), %rax\nret";
    assert_eq!(relax(&assemble(found, false)).unwrap().rewritten, 1);
}

/// A use that is kept, in an object with debug information.
const WITH_LINES: &str = r#"
	.file "a.rs"
	.text
	.file 1 "src/a.rs"
	.loc 1 17
	nop
	cmpq %rax, foo@GOTPCREL(%rip)
"#;

#[test]
fn a_use_that_is_kept_is_named_with_its_place() {
    let source = ".text\nnop\ncmpq %rax, _RNvCs1_4core3foo@GOTPCREL(%rip)";
    let kept = relax(&assemble(source, false)).unwrap().kept;
    assert_eq!(
        kept[0].to_string(),
        ".text+0x4: relocation type 9 (R_X86_64_GOTPCREL) against `core::foo`: the instruction has no form that \
         does without"
    );
    assert!(kept[0].remedy().contains("-Crelro-level=off"));

    let text = relax(&assemble(WITH_LINES, false)).unwrap().kept[0].to_string();
    assert!(text.contains("does without (/") && text.ends_with("/src/a.rs:17)"), "{text}");
}

#[test]
fn what_a_kernel_does_not_load_is_left_alone() {
    let source = ".section .debug_x,\"\",@progbits\n.long foo@GOTPCREL";
    let before = assemble(source, false);
    let relaxed = relax(&before).unwrap();
    assert_eq!((relaxed.bytes == before, relaxed.rewritten, relaxed.kept.len()), (true, 0, 0));
}

#[test]
fn what_is_no_object_is_refused() {
    assert!(matches!(relax(b"nothing"), Err(ReadError::Object { .. })));
    let mut program = assemble("nop", false);
    program[16] = 3;
    assert!(matches!(relax(&program), Err(ReadError::Linked { .. })));
    program[18] = 183;
    assert!(matches!(relax(&program), Err(ReadError::Architecture { .. })));
}

proptest! {
    /// What an instruction becomes is as long, goes nowhere near the table, and leaves none of its bytes over.
    #[test]
    fn an_instruction_becomes_one_of_the_same_length(
        rex in proptest::option::of(0x40u8..0x50), opcode: u8, register in 0u8..8, constant: bool
    ) {
        let mut code: Vec<u8> = rex.into_iter().collect();
        code.extend([opcode, register << 3 | 5, 0, 0, 0, 0]);
        if let Some((code, patch)) = direct(&code, constant) {
            let mut decoder = Decoder::new(64, &code, DecoderOptions::NONE);
            let instruction = decoder.decode();
            prop_assert!(!instruction.is_invalid());
            let is_lea = instruction.mnemonic() == iced_x86::Mnemonic::Lea;
            prop_assert_eq!(instruction.op_kinds().any(|kind| kind == OpKind::Memory), is_lea);
            prop_assert_eq!(instruction.len(), code.len() - patch.earlier as usize);
            prop_assert!(code[instruction.len()..].iter().all(|byte| *byte == 0x90));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let _ = relax(&bytes);
    }

    #[test]
    fn no_damage_to_an_object_makes_it_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        len in any::<prop::sample::Index>(),
        truncated: bool,
        lines: bool,
    ) {
        static OBJECTS: LazyLock<[Vec<u8>; 2]> =
            LazyLock::new(|| [FORMS, WITH_LINES].map(|source| assemble(source, false)));
        let mut bytes = OBJECTS[usize::from(lines)].clone();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if truncated {
            bytes.truncate(len.index(bytes.len()));
        }
        if let Ok(relaxed) = relax(&bytes) {
            prop_assert_eq!(relaxed.bytes.len(), bytes.len());
        }
    }
}
