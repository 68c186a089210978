// SPDX-License-Identifier: GPL-2.0-only
//! Places of objects that compilers made, linked together as a module is, and of damaged ones.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget};
use proptest::prelude::*;

use super::*;

const C: &str = "\
extern int outside(int);
extern int rust_middle(int);
static inline __attribute__((always_inline)) int twice(int x)
{
	return outside(x) * 2;
}
static inline __attribute__((always_inline)) int fourfold(int x)
{
	return twice(x) + twice(x + 1);
}
int calls_inline(int x)
{
	return fourfold(x) + 1;
}
__attribute__((section(\".init.text\"))) int early(int x)
{
	return outside(x) + 2;
}
__attribute__((section(\".exit.text\"))) int late(int x)
{
	return rust_middle(x) + 3;
}
extern __attribute__((noreturn, cold)) void no_return(int);
int has_cold(int x)
{
	if (x == 7)
		no_return(x);
	return x;
}
__attribute__((noreturn)) void at_the_end(void)
{
	no_return(1);
}
";

const RUST: &str = "\
#![no_std]
unsafe extern \"C\" {
    safe fn outside(x: i32) -> i32;
}
mod deep {
    #[inline(always)]
    pub fn generic<T: Into<i32>>(value: T) -> i32 {
        crate::outside(value.into())
    }
    #[inline(always)]
    pub fn middle<T: Into<i32>>(value: T) -> i32 {
        generic(value) + 1
    }
}
#[unsafe(no_mangle)]
pub extern \"C\" fn rust_middle(x: i32) -> i32 {
    deep::middle(x as i16)
}
#[inline(never)]
fn apply(f: &dyn Fn(i32) -> i32) -> i32 {
    f(3) + 1
}
#[unsafe(no_mangle)]
pub extern \"C\" fn with_closure(x: i32) -> i32 {
    apply(core::hint::black_box(&|y| outside(x + y) + 1))
}
#[unsafe(no_mangle)]
pub extern \"C\" fn table(index: usize) -> u32 {
    [2, 3, 5, 7][index]
}
";

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An object of C and Rust, with this version of DWARF, and this much of Rust's.
fn both(version: &str, rust: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("c.c"), C).unwrap();
    let options = ["-O2", "-fno-optimize-sibling-calls", "-g", &format!("-gdwarf-{version}")];
    run(Command::new("gcc").current_dir(dir).args(options).args(["-c", "c.c", "-o", "c.o"]));
    fs::write(dir.join("r.rs"), RUST).unwrap();
    let options = ["--edition=2024", "--crate-type=lib", "--emit=obj", "-Cpanic=abort", "-O"];
    let version = format!("-Cdwarf-version={version}");
    let debug = format!("-Cdebuginfo={rust}");
    run(Command::new("rustc")
        .current_dir(dir)
        .args(options)
        .arg("-Csymbol-mangling-version=v0")
        .args([&version, &debug, "r.rs", "-o", "r.o"]));
    run(Command::new("ld").current_dir(dir).args(["-r", "c.o", "r.o", "-o", "all.o"]));
    fs::read(dir.join("all.o")).unwrap()
}

static OBJECTS: LazyLock<[Vec<u8>; 3]> =
    LazyLock::new(|| [both("4", "full"), both("5", "full"), both("5", "line-tables-only")]);

/// The name of a function's symbol that has this in it, its size as a kernel counts it, and where its calls return to.
fn symbol(bytes: &[u8], part: &str) -> (String, u64, Vec<u64>) {
    let object = object::File::parse(bytes).unwrap();
    let named = |symbol: &object::Symbol<'_, '_>| symbol.name().is_ok_and(|name| name.contains(part));
    let defined = || object.symbols().filter(ObjectSymbol::is_definition);
    let found =
        defined().find(|symbol| symbol.name() == Ok(part)).or_else(|| defined().find(named)).expect(part);
    let (section, begin) = (found.section_index().unwrap(), found.address());
    let after = object.symbols().filter(|one| one.section_index() == Some(section) && one.address() > begin);
    let after = after.filter(|one| !one.name().unwrap_or_default().is_empty());
    let end = after.map(|one| one.address()).min();
    let section = object.section_by_index(section).unwrap();
    // The last one of a section is counted up to something else that begins after it.
    let end = end.unwrap_or(section.size() + 0x1000);
    let is_call = |target| match target {
        RelocationTarget::Symbol(index) => {
            let symbol = object.symbol_by_index(index).unwrap();
            symbol.is_undefined() || symbol.kind() == object::SymbolKind::Text
        }
        _ => false,
    };
    let calls =
        section.relocations().filter(|(at, call)| (begin..end).contains(at) && is_call(call.target()));
    let returns = calls.map(|(at, _)| at + 4 - begin).collect();
    (found.name().unwrap().to_owned(), end - begin, returns)
}

/// Each place in one line, without folders.
fn told(bytes: &[u8], place: &TracePlace<'_>) -> Vec<String> {
    let file = Symbolised::read(bytes).unwrap();
    let Answer::Found(places) = file.index().find(place) else { return Vec::new() };
    let line = |place: SourcePlace| {
        let file = place.file.rsplit('/').next().unwrap().to_owned();
        format!("{} {:?} {file}:{}", place.function, place.language, place.line)
    };
    places.into_iter().map(line).collect()
}

/// What is said of where a function's n-th call returns to.
fn called(bytes: &[u8], function: &str, call: usize) -> Vec<String> {
    let (symbol, size, returns) = symbol(bytes, function);
    told(bytes, &TracePlace { symbol: &symbol, offset: returns[call], size, exact: false })
}

#[test]
fn inlined_functions_of_c_are_told_innermost_first() {
    for bytes in OBJECTS.iter() {
        assert_eq!(
            called(bytes, "calls_inline", 1),
            ["twice C c.c:5", "fourfold C c.c:9", "calls_inline C c.c:13"]
        );
    }
}

#[test]
fn functions_of_several_sections_are_told_apart() {
    for bytes in OBJECTS.iter() {
        assert_eq!(called(bytes, "early", 0), ["early C c.c:17"]);
        assert_eq!(called(bytes, "late", 0), ["late C c.c:21"]);
    }
}

#[test]
fn the_cold_part_of_a_function_is_that_function() {
    for bytes in OBJECTS.iter() {
        assert_eq!(called(bytes, "has_cold.cold", 0), ["has_cold C c.c:27"]);
    }
}

/// A call that does not come back is the last instruction: the address after it is no longer in the function.
#[test]
fn a_return_address_is_that_of_the_call() {
    for bytes in OBJECTS.iter() {
        let (symbol, size, returns) = symbol(bytes, "at_the_end");
        assert_eq!(called(bytes, "at_the_end", 0), ["at_the_end C c.c:32"]);
        let exact = TracePlace { symbol: &symbol, offset: returns[0], size, exact: true };
        assert_ne!(told(bytes, &exact), ["at_the_end C c.c:32"]);
        let exact = TracePlace { offset: returns[0] - 5, ..exact };
        assert_eq!(told(bytes, &exact), ["at_the_end C c.c:32"]);
    }
}

#[test]
fn generic_functions_of_rust_are_told_with_what_they_are_inlined_in() {
    let full = [
        "r::deep::generic::<i16> Rust r.rs:8",
        "r::deep::middle::<i16> Rust r.rs:12",
        "rust_middle Rust r.rs:17",
    ];
    assert_eq!(called(&OBJECTS[0], "rust_middle", 0), full);
    assert_eq!(called(&OBJECTS[1], "rust_middle", 0), full);
    let lines = ["generic<i16> Rust r.rs:8", "middle<i16> Rust r.rs:12", "rust_middle Rust r.rs:17"];
    assert_eq!(called(&OBJECTS[2], "rust_middle", 0), lines);
}

#[test]
fn a_closure_is_told_by_the_function_that_it_is_in() {
    for bytes in OBJECTS.iter() {
        assert_eq!(called(bytes, "RNCNv", 0), ["r::with_closure::{closure#0} Rust r.rs:25"]);
        let (symbol, size, _) = symbol(bytes, "5apply");
        let begin = TracePlace { symbol: &symbol, offset: 0, size, exact: true };
        assert_eq!(told(bytes, &begin), ["r::apply Rust r.rs:20"]);
    }
}

#[test]
fn the_line_of_a_panic_is_the_users() {
    for bytes in OBJECTS.iter() {
        assert_eq!(called(bytes, "table", 0), ["table Rust r.rs:29"]);
    }
}

/// Another size is another function, or another build of the module.
#[test]
fn a_symbol_of_another_size_is_not_it() {
    let bytes = &OBJECTS[0];
    let (symbol, size, returns) = symbol(bytes, "calls_inline");
    let place = TracePlace { symbol: &symbol, offset: returns[0], size, exact: false };
    let file = Symbolised::read(bytes).unwrap();
    let index = file.index();
    let Answer::Found(places) = index.find(&place) else { panic!("{place:?}") };
    let columns: Vec<_> = places.iter().map(|place| place.column).collect();
    assert_eq!(columns, [Some(9), Some(9), Some(9)], "{places:?}");
    assert_eq!(index.find(&TracePlace { size: size + 16, ..place }), Answer::Unknown);
    assert_eq!(index.find(&TracePlace { offset: size + 1, ..place }), Answer::Unknown);
    assert_eq!(index.find(&TracePlace { symbol: "calls_inlin", ..place }), Answer::Unknown);
}

/// Two files of a module may each have a function of the same name; a third has it with another size.
#[test]
fn of_equal_names_the_size_decides_or_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let objects = [("a", "outside(1)"), ("b", "outside(2)"), ("c", "outside(3) + outside(4)")];
    for (name, body) in objects {
        let source = format!(
            "extern int outside(int);\n__attribute__((noinline)) static int same(int x)\n{{\n\treturn {body} + x;\n}}\n\
             int {name}(int x)\n{{\n\treturn same(x) + 1;\n}}\n"
        );
        fs::write(dir.join(format!("{name}.c")), source).unwrap();
        run(Command::new("gcc").current_dir(dir).args(["-O2", "-g", "-c", &format!("{name}.c")]));
    }
    run(Command::new("ld").current_dir(dir).args(["-r", "a.o", "b.o", "c.o", "-o", "all.o"]));
    let bytes = fs::read(dir.join("all.o")).unwrap();
    let file = Symbolised::read(&bytes).unwrap();
    let index = file.index();
    let sizes: Vec<u64> = file.symbols().filter(|(name, _)| *name == "same").map(|(_, size)| size).collect();
    assert_eq!(sizes.len(), 3);
    let answers: Vec<_> = sizes
        .iter()
        .map(|size| index.find(&TracePlace { symbol: "same", offset: 12, size: *size, exact: true }))
        .collect();
    let ambiguous = answers.iter().filter(|answer| **answer == Answer::Ambiguous).count();
    let found: Vec<_> = answers
        .iter()
        .filter_map(|answer| match answer {
            Answer::Found(places) => Some(places[0].file.rsplit('/').next().unwrap()),
            _ => None,
        })
        .collect();
    assert_eq!((ambiguous, found), (2, vec!["c.c"]));
}

#[test]
fn a_name_that_the_kernel_has_cut_is_still_known() {
    let dir = tempfile::tempdir().unwrap();
    let dir: &Path = dir.path();
    let name = "long".repeat(40);
    fs::write(
        dir.join("l.c"),
        format!("extern int o(int);\nint {name}(int x)\n{{\n\treturn o(x) + 1;\n}}\n"),
    )
    .unwrap();
    run(Command::new("gcc").current_dir(dir).args(["-O2", "-g", "-c", "l.c"]));
    let bytes = fs::read(dir.join("l.o")).unwrap();
    let whole = called(&bytes, &name, 0);
    assert_eq!(whole, [format!("{name} C l.c:4")]);
    let (_, size, returns) = symbol(&bytes, &name);
    let cut = TracePlace { symbol: &name[..127], offset: returns[0], size, exact: false };
    assert_eq!(told(&bytes, &cut), whole);
    assert!(told(&bytes, &TracePlace { symbol: &name[..126], ..cut }).is_empty());
}

#[test]
fn without_debug_information_nothing_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    fs::write(dir.join("all.o"), &OBJECTS[0]).unwrap();
    run(Command::new("strip").current_dir(dir).args(["--strip-debug", "all.o"]));
    let bytes = fs::read(dir.join("all.o")).unwrap();
    assert!(called(&bytes, "calls_inline", 0).is_empty());
    assert!(Symbolised::read(b"no object").is_err());
}

/// Asks for the first bytes of every symbol.
fn ask_everything(bytes: &[u8]) {
    let Ok(file) = Symbolised::read(bytes) else { return };
    let index = file.index();
    for (symbol, size) in file.symbols() {
        for offset in 0..size.min(64) {
            let _ = index.find(&TracePlace { symbol, offset, size, exact: offset % 2 == 0 });
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// Bytes of the debug information, or of anything, are damaged.
    #[test]
    fn damage_is_survived(version in 0..3_usize, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24)) {
        let mut bytes = OBJECTS[version].clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        ask_everything(&bytes);
    }

    #[test]
    fn what_is_cut_off_is_survived(version in 0..3_usize, length in any::<prop::sample::Index>()) {
        let bytes = &OBJECTS[version];
        ask_everything(&bytes[..length.index(bytes.len())]);
    }
}
