// SPDX-License-Identifier: GPL-2.0-only
//! Lines of objects that compilers made, linked together as a module is.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use proptest::prelude::*;

use super::*;

/// Functions in three sections, of which each begins at address 0.
const C: &str = "\
int usual(int x) { return x + 1; }
__attribute__((section(\".init.text\"))) int early(int x)
{
	return x + 2;
}
static inline int twice(int x) {
	extern int outside(int);
	return outside(x) * 2;
}
__attribute__((section(\".exit.text\"))) int late(int x)
{
	return twice(x);
}
";

const RUST: &str = "\
#![no_std]
#[unsafe(no_mangle)]
pub extern \"C\" fn first(bytes: &[u8; 8], index: usize) -> u8 {
    bytes.get(index).copied().unwrap()
}
#[inline(always)]
fn own(value: Option<u32>) -> u32 {
    value.unwrap()
}
#[unsafe(no_mangle)]
pub extern \"C\" fn second(value: u32) -> u32 {
    own(value.checked_sub(3))
}
";

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn c(dir: &Path, options: &[&str]) {
    fs::write(dir.join("c.c"), C).unwrap();
    run(Command::new("gcc").current_dir(dir).args(["-O2", "-c", "c.c", "-o", "c.o"]).args(options));
}

/// An object of C and Rust, with this version of DWARF.
fn both(version: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    c(dir, &["-g", &format!("-gdwarf-{version}")]);
    fs::write(dir.join("r.rs"), RUST).unwrap();
    let options = ["--edition=2024", "--crate-type=lib", "--emit=obj", "-Cpanic=abort", "-O", "-g"];
    let version = format!("-Cdwarf-version={version}");
    run(Command::new("rustc").current_dir(dir).args(options).args([&version, "r.rs", "-o", "r.o"]));
    run(Command::new("ld").current_dir(dir).args(["-r", "c.o", "r.o", "-o", "all.o"]));
    fs::read(dir.join("all.o")).unwrap()
}

static OBJECTS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| ["4", "5"].map(both));

/// The place of a function, or of the first call in it.
fn place(bytes: &[u8], function: &str, call: bool) -> (usize, u64) {
    let object = object::File::parse(bytes).unwrap();
    let symbol = object.symbols().find(|symbol| symbol.name() == Ok(function)).unwrap();
    let section = symbol.section_index().unwrap();
    let range = symbol.address()..symbol.address() + symbol.size();
    if !call {
        return (section.0, range.start);
    }
    let relocations = object.section_by_index(section).unwrap().relocations();
    let is_call = |target| match target {
        RelocationTarget::Symbol(index) => object.symbol_by_index(index).unwrap().is_undefined(),
        _ => false,
    };
    let mut calls = relocations.filter(|(at, call)| range.contains(at) && is_call(call.target()));
    (section.0, calls.next().unwrap().0)
}

/// The line of a function, without the folder.
fn line(bytes: &[u8], function: &str, call: bool) -> String {
    let [line] = source_lines(bytes, &[place(bytes, function, call)]).try_into().unwrap();
    let line = line.expect(function);
    assert!(line.starts_with('/'), "{line}");
    line.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn functions_of_several_sections_have_their_own_lines() {
    for bytes in OBJECTS.iter() {
        assert_eq!(line(bytes, "usual", false), "c.c:1");
        assert_eq!(line(bytes, "early", false), "c.c:4");
        assert_eq!(line(bytes, "late", false), "c.c:11");
        assert_eq!(line(bytes, "late", true), "c.c:8", "in what is inlined there");
        assert_eq!(line(bytes, "first", false), "r.rs:4");
    }
}

#[test]
fn a_section_for_each_function() {
    let dir = tempfile::tempdir().unwrap();
    c(dir.path(), &["-g", "-ffunction-sections"]);
    let bytes = fs::read(dir.path().join("c.o")).unwrap();
    let places = ["usual", "early", "late"].map(|function| place(&bytes, function, false));
    let lines = source_lines(&bytes, &places).into_iter().map(|line| line.unwrap());
    let lines: Vec<_> = lines.map(|line| line.rsplit_once(':').unwrap().1.to_owned()).collect();
    assert_eq!(lines, ["1", "4", "11"]);
}

#[test]
fn a_panic_in_what_is_inlined_of_the_library_is_in_the_line_that_calls_it() {
    for bytes in OBJECTS.iter() {
        assert_eq!(line(bytes, "first", true), "r.rs:4");
        assert_eq!(line(bytes, "second", true), "r.rs:8", "the innermost that is the user's");
    }
}

#[test]
fn files_of_the_library_are_known_by_their_path() {
    for path in [
        "/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/option.rs",
        "/usr/lib/rustlib/src/rust/library/alloc/src/vec/mod.rs",
        "/usr/src/rustc-1.95.0/library/core/src/slice/index.rs",
    ] {
        assert!(is_of_rust(path), "{path}");
    }
    for path in ["/home/me/library/src/core.rs", "/home/me/core/src/lib.rs", "src/library/mine/src/a.rs"] {
        assert!(!is_of_rust(path), "{path}");
    }
}

#[test]
fn without_debug_information_there_are_no_lines() {
    let dir = tempfile::tempdir().unwrap();
    c(dir.path(), &["-g0"]);
    let bytes = fs::read(dir.path().join("c.o")).unwrap();
    assert_eq!(source_lines(&bytes, &[place(&bytes, "usual", false)]), [None]);
    c(dir.path(), &["-g", "-gz"]);
    let bytes = fs::read(dir.path().join("c.o")).unwrap();
    assert_eq!(source_lines(&bytes, &[place(&bytes, "usual", false)]), [None], "compressed");
    let nowhere = [(0, 0), (9999, 0), (1, u64::MAX), (usize::MAX, u64::MAX)];
    assert_eq!(source_lines(&OBJECTS[0], &nowhere), [const { None }; 4]);
    assert_eq!(source_lines(b"nothing", &nowhere), [const { None }; 4]);
}

proptest! {
    #[test]
    fn no_damage_to_debug_information_makes_it_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        len in any::<prop::sample::Index>(),
        truncated: bool,
        newer: bool,
    ) {
        let sound = &OBJECTS[usize::from(newer)];
        let object = object::File::parse(&**sound).unwrap();
        let ranges = object.sections().filter(|one| one.name().is_ok_and(|name| name.contains(".debug_")));
        let places: Vec<u64> = ranges.filter_map(|one| one.file_range()).flat_map(|(at, size)| at..at + size).collect();
        let mut bytes = sound.clone();
        for (place, byte) in damage {
            bytes[*place.get(&places) as usize] = byte;
        }
        if truncated {
            bytes.truncate(len.index(bytes.len()));
        }
        let places = ["usual", "late", "first", "second"].map(|function| place(sound, function, function != "usual"));
        prop_assert_eq!(source_lines(&bytes, &places).len(), 4);
    }
}
