// SPDX-License-Identifier: GPL-2.0-only
//! C and Rust that were compiled apart and linked together, as in a module.

use std::fs;
use std::process::Command;
use std::sync::LazyLock;

use object::{Object, ObjectSection};
use proptest::prelude::*;

use super::*;
use crate::image::{Bytes, THIS_MODULE};
use crate::kernel::Loader;
use crate::policy::Policy;

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A module of both, in which C calls `f`.
fn module(declaration: &str, call: &str, definition: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let c = format!(
        "typedef unsigned char u8; typedef unsigned int u32; typedef struct {{ long a; }} wrapped;\n\
         enum way {{ UP, DOWN }};\n\
         int this_module __attribute__((section(\"{THIS_MODULE}\")));\n\
         {declaration}\n\
         long caller(long x, const u8 *p) {{ {call} }}\n"
    );
    fs::write(dir.join("c.c"), c).unwrap();
    let rust = format!(
        "#![no_std]\n#[repr(transparent)] pub struct Wrapped(u64);\n#[repr(u32)] pub enum Way {{ Up, Down }}\n\
         #[unsafe(no_mangle)] {definition}\n"
    );
    fs::write(dir.join("r.rs"), rust).unwrap();
    let maps = format!("-ffile-prefix-map={}=/src", dir.display());
    run(Command::new("gcc").current_dir(dir).args(["-O2", "-g", "-c", "c.c", "-o", "c.o", &maps]));
    let maps = format!("--remap-path-prefix={}=/src", dir.display());
    let options = ["--edition=2024", "--crate-type=lib", "--emit=obj", "-Cpanic=abort", "-O", "-g"];
    run(Command::new("rustc").current_dir(dir).args(options).args(["r.rs", "-o", "r.o", &maps]));
    run(Command::new("ld").current_dir(dir).args(["-r", "c.o", "r.o", "-o", "all.o"]));
    fs::read(dir.join("all.o")).unwrap()
}

fn findings(bytes: &[u8]) -> Vec<Finding> {
    let policy = Policy::default();
    let mut found = Found::new(&policy);
    if let Ok(image) = Image::parse(Bytes(bytes), Loader::Trusting) {
        check(&image, &mut found);
    }
    found.hazards
}

/// What is said, one line for each finding.
fn said(declaration: &str, call: &str, definition: &str) -> String {
    let found = findings(&module(declaration, call, definition));
    found.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_agrees_is_passed_over() {
    for (declaration, call, definition) in [
        (
            "int f(u32 a, const u8 *p);",
            "return f(x, p);",
            "pub extern \"C\" fn f(a: u32, p: *const u8) -> i32 { a as i32 + p as i32 }",
        ),
        ("_Bool f(_Bool a);", "return f(x);", "pub extern \"C\" fn f(a: u8) -> bool { a == 3 }"),
        ("void f(void);", "f(); return 0;", "pub extern \"C\" fn f() {}"),
        ("void f(void);", "f(); return 0;", "pub extern \"C\" fn f() -> ! { loop {} }"),
        (
            "wrapped f(enum way a);",
            "return f(x).a;",
            "pub extern \"C\" fn f(a: Way) -> Wrapped { Wrapped(a as u64) }",
        ),
        (
            "void *f(void (*a)(int));",
            "return (long)f(0);",
            "pub extern \"C\" fn f(a: Option<extern \"C\" fn(i32)>) -> usize { a.is_some() as usize }",
        ),
        (
            "static long f(int a) { return a; }",
            "return f(x);",
            "pub extern \"C\" fn f(a: u64) -> u8 { a as u8 }",
        ),
    ] {
        assert_eq!(said(declaration, call, definition), "", "{declaration} {definition}");
    }
}

#[test]
fn what_differs_is_said() {
    let size = said(
        "int f(u32 a, const u8 *p);",
        "return f(x, p);",
        "pub extern \"C\" fn f(a: u64, p: *const u8) -> i32 { a as i32 + p as i32 }",
    );
    insta::assert_snapshot!(size, @"`f`: C declares `int (u32, const u8 *)` in /src/c.c:4 and Rust defines `(u64, *const u8) -> i32` in /src/r.rs:4: parameter 1 has 4 bytes in C and 8 in Rust");
    let count = said(
        "int f(u32 a);",
        "return f(x);",
        "pub extern \"C\" fn f(a: u32, b: u32) -> i32 { (a + b) as i32 }",
    );
    insta::assert_snapshot!(count, @"`f`: C declares `int (u32)` in /src/c.c:4 and Rust defines `(u32, u32) -> i32` in /src/r.rs:4: C passes 1 parameters and Rust takes 2");
    let sign = said("int f(int a);", "return f(x);", "pub extern \"C\" fn f(a: u32) -> i32 { a as i32 }");
    insta::assert_snapshot!(sign, @"`f`: C declares `int (int)` in /src/c.c:4 and Rust defines `(u32) -> i32` in /src/r.rs:4: parameter 1 is signed in C and unsigned in Rust");
    let result = said("int f(void);", "return f();", "pub extern \"C\" fn f() {}");
    insta::assert_snapshot!(result, @"`f`: C declares `int (void)` in /src/c.c:4 and Rust defines `()` in /src/r.rs:4: C takes a value that Rust doesn't return");
    let result = said("u32 f(void);", "return f();", "pub extern \"C\" fn f() -> u64 { 1 }");
    insta::assert_snapshot!(result, @"`f`: C declares `u32 (void)` in /src/c.c:4 and Rust defines `() -> u64` in /src/r.rs:4: what is returned has 4 bytes in C and 8 in Rust");
    let more = said("int f(int a, ...);", "return f(x);", "pub extern \"C\" fn f(a: i32) -> i32 { a }");
    insta::assert_snapshot!(more, @"`f`: C declares `int (int, ...)` in /src/c.c:4 and Rust defines `(i32) -> i32` in /src/r.rs:4: only C takes further parameters (`...`)");
}

static DIFFERING: LazyLock<Vec<u8>> = LazyLock::new(|| {
    module("int f(u32 a);", "return f(x);", "pub extern \"C\" fn f(a: u64) -> i32 { a as i32 }")
});

#[test]
fn a_finding_is_about_the_function_and_has_its_place() {
    let [finding] = findings(&DIFFERING).try_into().unwrap();
    assert_eq!(finding.symbol.as_deref(), Some("f"));
    assert_eq!(finding.section.as_deref(), Some(".text.f"));
}

proptest! {
    #[test]
    fn no_damage_to_debug_information_makes_it_panic(
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let object = object::File::parse(&**DIFFERING).unwrap();
        let ranges = object.sections().filter(|one| one.name().is_ok_and(|name| name.contains(".debug_")));
        let places: Vec<u64> =
            ranges.filter_map(|one| one.file_range()).flat_map(|(at, size)| at..at + size).collect();
        let mut bytes = DIFFERING.clone();
        for (place, byte) in damage {
            bytes[*place.get(&places) as usize] = byte;
        }
        prop_assert!(findings(&bytes).len() <= 1);
    }
}
