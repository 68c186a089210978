// SPDX-License-Identifier: GPL-2.0-only
//! Objects that are made to cost more than their size: looking through them takes no longer for that.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

/// What the fuzzer does with bytes.
#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own to the fuzzer")]
mod targets;

const EXECUTABLE: u64 = 0x6;
const LOADED: u64 = 0x2;
const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const RELA: u32 = 4;

/// A section of an object that is written by hand.
#[derive(Clone)]
struct Section {
    name: &'static str,
    kind: u32,
    flags: u64,
    link: u32,
    info: u32,
    bytes: Vec<u8>,
    /// The section whose bytes are this one's as well.
    shares: Option<usize>,
}

fn section(name: &'static str, kind: u32, flags: u64, bytes: Vec<u8>) -> Section {
    Section { name, kind, flags, link: 0, info: 0, bytes, shares: None }
}

/// What every module has: sections 1 to 3.
fn module() -> Vec<Section> {
    let info = b"license=GPL\0name=x\0vermagic=6.12.1 SMP mod_unload modversions \0".to_vec();
    let mut this = vec![0; 1280];
    this[24] = b'x';
    vec![
        section(".modinfo", PROGBITS, LOADED, info),
        section(".gnu.linkonce.this_module", PROGBITS, LOADED | 1, this),
        section(".text", PROGBITS, EXECUTABLE, vec![0x90; 1 << 16]),
    ]
}

/// The object's bytes. The table of names comes last.
fn object(mut sections: Vec<Section>) -> Vec<u8> {
    let mut names = vec![0];
    let mut offsets = Vec::new();
    for one in &sections {
        offsets.push(names.len() as u32);
        names.extend(one.name.bytes().chain([0]));
    }
    offsets.push(0);
    sections.push(section("", STRTAB, 0, names));
    let mut file = vec![0; 64];
    let mut places = Vec::new();
    for one in &sections {
        let place = one.shares.map_or((file.len(), one.bytes.len()), |index| places[index - 1]);
        file.extend(&one.bytes);
        places.push(place);
    }
    let table = file.len() as u64;
    file.extend([0; 64]);
    for ((one, name), (offset, size)) in sections.iter().zip(offsets).zip(places) {
        file.extend([name, one.kind].iter().flat_map(|field| field.to_le_bytes()));
        file.extend([one.flags, 0, offset as u64, size as u64].iter().flat_map(|field| field.to_le_bytes()));
        file.extend([one.link, one.info].iter().flat_map(|field| field.to_le_bytes()));
        file.extend([1_u64, 24].iter().flat_map(|field| field.to_le_bytes()));
    }
    let count = sections.len() as u16 + 1;
    file[..0x14].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\x3e\0");
    file[0x14] = 1;
    file[0x28..0x30].copy_from_slice(&table.to_le_bytes());
    file[0x34] = 64;
    file[0x3a] = 64;
    file[0x3c..0x3e].copy_from_slice(&count.to_le_bytes());
    file[0x3e..0x40].copy_from_slice(&(count - 1).to_le_bytes());
    file
}

fn symbol(name: u32, info: u8, section: u16, value: u64) -> Vec<u8> {
    let (name, section, value) = (name.to_le_bytes(), section.to_le_bytes(), value.to_le_bytes());
    [&name[..], &[info, 0], &section, &value, &[0; 8]].concat()
}

fn relocation(offset: u64, kind: u32, symbol: u32) -> Vec<u8> {
    [offset.to_le_bytes(), (u64::from(symbol) << 32 | u64::from(kind)).to_le_bytes(), [0; 8]].concat()
}

/// A table of symbols with these names, as sections that follow `before` others.
fn symbols(before: usize, symbols: Vec<u8>, names: Vec<u8>) -> [Section; 2] {
    let link = before as u32 + 2;
    [Section { link, ..section(".symtab", SYMTAB, 0, symbols) }, section(".strtab", STRTAB, 0, names)]
}

/// Has every reader look at the object. In a release build it takes less than a second each; what was quadratic took
/// minutes.
fn look(object: &[u8]) {
    for name in targets::TARGETS {
        let started = Instant::now();
        targets::target(name).expect("it is one")(object);
        assert!(started.elapsed() < Duration::from_secs(60), "{name} took {:?}", started.elapsed());
    }
}

#[test]
fn relocations_that_all_sections_share() {
    let mut sections = module();
    sections.extend(symbols(3, symbol(0, 0, 0, 0), vec![0]));
    let table: Vec<u8> = (0..10_000).flat_map(|number| relocation(number, 9, 0)).collect();
    sections.push(Section { info: 3, link: 4, ..section(".rela.text", RELA, 0, table) });
    let shared = Section { bytes: Vec::new(), shares: Some(6), ..sections[5].clone() };
    let data = section(".data", PROGBITS, LOADED, vec![0]);
    for _ in 0..20_000 {
        let info = sections.len() as u32 + 1;
        sections.push(data.clone());
        sections.push(Section { info, ..shared.clone() });
    }
    look(&object(sections));
}

#[test]
fn symbols_with_names_as_long_as_the_file() {
    let mut sections = module();
    let table = (0..10_000_u32).flat_map(|number| symbol(number, 0x12, number as u16 % 2 * 3, number.into()));
    sections.extend(symbols(3, table.collect(), vec![b'a'; 4 << 20]));
    look(&object(sections));
}

/// A name of two hundred bytes that stands for one of a megabyte, in every relocation.
#[test]
fn names_that_stand_for_long_ones() {
    let mut sections = module();
    // Each of its types is a pair of the one before.
    let name = "\0_RINvC1a1fThhETB7_B7_ETBb_Bb_ETBj_Bj_ETBr_Br_ETBz_Bz_ETBH_BH_ETBP_BP_ETBX_BX_ETB15_B15_ETB1d_B1d_ETB1n_B1n_ETB1x_B1x_ETB1H_B1H_ETB1R_B1R_ETB21_B21_ETB2b_B2b_ETB2l_B2l_ETB2v_B2v_ETB2F_B2F_EE\0";
    let table = (0..2_000).flat_map(|number| symbol(1, 0x12, number as u16 % 2 * 3, number));
    sections.extend(symbols(3, table.collect(), name.into()));
    let table = (0..2_000).flat_map(|number| relocation(number, 9, number as u32)).collect();
    sections.push(Section { info: 3, link: 4, ..section(".rela.text", RELA, 0, table) });
    look(&object(sections));
}

/// Each function calls the next, and the last can panic.
#[test]
fn a_chain_of_ten_thousand_calls() {
    let mut sections = module();
    let count = 13_000_u32;
    let code: Vec<u8> = (0..count).flat_map(|_| [0xe8, 0, 0, 0, 0]).collect();
    sections[2].bytes = code;
    let names = b"\0_ZN4core9panicking5panic17h0123456789abcdefE\0_ZN4case3fun17h0123456789abcdefE\0call\0";
    let mut table = [symbol(0, 0, 0, 0), symbol(1, 0x12, 0, 0)].concat();
    for number in 0..count {
        let name = if number % 2 == 0 { 46 } else { 83 };
        table.extend(symbol(name, 0x12, 3, u64::from(number) * 5));
    }
    sections.extend(symbols(3, table, names.to_vec()));
    let calls = (0..count).flat_map(|number| {
        relocation(u64::from(number) * 5 + 1, 4, if number % 3 == 0 { 1 } else { (number + 3) % count })
    });
    sections.push(Section { info: 3, link: 4, ..section(".rela.text", RELA, 0, calls.collect()) });
    look(&object(sections));
}
