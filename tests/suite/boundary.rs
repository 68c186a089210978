// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::call::Ended;
use crate::harness::{Context, machine};

const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("boundary::without_a_test", LIMIT, without_a_test),
        machine("boundary::tests_that_say_what_is_not_so", LIMIT, tests_that_say_what_is_not_so),
        machine("boundary::not_in_the_header", LIMIT, not_in_the_header),
        machine("boundary::sleeps_in_any_context", LIMIT, sleeps_in_any_context),
    ]
}

/// The case whose functions are all tested; built, so that only what a test changes is built again.
fn case(context: &Context) -> PathBuf {
    let dir = context.case("boundary");
    let ended = build(context, &dir, &["--test"]);
    assert_eq!(ended.status, 0, "{ended}");
    dir
}

fn build(context: &Context, dir: &Path, arguments: &[&str]) -> Ended {
    context.vexlab(["build"]).args(arguments).dir(dir).run()
}

/// Puts one text in the place of another one in a file of the case.
fn change(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("the case has the file");
    assert_eq!(text.matches(from).count(), 1, "{from}");
    fs::write(file, text.replace(from, to)).expect("the copy can be written");
}

/// What a build with tests says after one change, which is undone.
fn told(context: &Context, file: &Path, from: &str, to: &str) -> String {
    let before = fs::read(file).expect("the case has the file");
    change(file, from, to);
    let dir = context.dir().join("boundary");
    let told = build(context, &dir, &["--test"]).told();
    fs::write(file, before).expect("the copy can be written");
    told
}

/// A function without a test, or with none of a kind that it can be called with, fails a build with tests; not one
/// without, nor one that nobody has asked it of.
fn without_a_test(context: &Context) {
    let dir = case(context);
    let main = dir.join("main.c");
    insta::assert_snapshot!(
        told(context, &main, "KTEST_OF(doubles, boundary_rs_double, good edge bad);", ""),
        @r"
        status 10
        error: boundary does not keep to its interface boundary.h
          cause: boundary.h:16: boundary_rs_double: no test in C is of it
          help: call it in a test in C that says so: KTEST_OF(TEST, boundary_rs_double, good edge bad); what can't be tested is excused by [[rust.untested]] in vexlab.toml
        "
    );
    insta::assert_snapshot!(told(context, &main, "good edge bad", "good bad"), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: boundary.h:16: boundary_rs_double: no test in C calls it with edge arguments
      help: call it in a test in C that says so: KTEST_OF(TEST, boundary_rs_double, edge); what can't be tested is excused by [[rust.untested]] in vexlab.toml
    ");
    let tests = dir.join("rust/src/tests.rs");
    insta::assert_snapshot!(told(context, &tests, "    of = \"boundary_c_free: good edge\"\n", ""), @r#"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: boundary.h:38: boundary_c_free: no test in Rust is of it
      help: call it in a test in Rust that says so: #[ktest(of = "boundary_c_free: good edge")]; what can't be tested is excused by [[rust.untested]] in vexlab.toml
    "#);

    change(&main, "KTEST_OF(doubles, boundary_rs_double, good edge bad);", "");
    let ended = build(context, &dir, &[]);
    assert_eq!(ended.status, 0, "{ended}");
    change(&dir.join("vexlab.toml"), "every-function-tested = true", "");
    change(
        &dir.join("vexlab.toml"),
        "[[rust.untested]]\nfunction = \"boundary_c_bug\"\nreason = \"it ends in BUG()\"",
        "",
    );
    let ended = build(context, &dir, &["--test"]);
    assert_eq!(ended.status, 0, "{ended}");
}

fn tests_that_say_what_is_not_so(context: &Context) {
    let dir = case(context);
    let main = dir.join("main.c");
    let claim = "KTEST_OF(stores, boundary_rs_store, good edge);";
    let with = |other: &str| told(context, &main, claim, &format!("{claim}\nKTEST_OF({other});"));
    insta::assert_snapshot!(with("stores, boundary_rs_double, good"), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: boundary.h:16: boundary_rs_double: the test c.stores says that it is of it, and does not call it
      help: call it in c.stores, or take the statement away
    ");
    insta::assert_snapshot!(with("doubles, boundary_c_free, good"), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: boundary.h:38: boundary_c_free: the test c.doubles says that it is of it, and both are in C
      help: call it in a test in Rust: nothing crosses here
    ");
    insta::assert_snapshot!(with("doubles, boundary_rs_duble, good"), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: the test c.doubles says that it is of boundary_rs_duble, which boundary.h does not declare
      help: did you mean boundary_rs_double?
    ");
    insta::assert_snapshot!(with("doubles, boundary_rs_store, nice"), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: the test c.doubles says that it is of `boundary_rs_store: nice`, which is not understood
      help: say `FUNCTION: KINDS`, each kind one of good, edge and bad
    ");
    let tests = dir.join("rust/src/tests.rs");
    insta::assert_snapshot!(
        told(context, &tests, "#[ktest(name = \"rust.nothing\")]",
            "#[ktest(name = \"rust.nothing\", of = \"boundary_c_free: good\")]"),
        @r"
        status 10
        error: boundary does not keep to its interface boundary.h
          cause: boundary.h:38: boundary_c_free: the test rust.nothing says that it is of it, and does not call it
          help: call it in rust.nothing, or take the statement away
        "
    );
}

/// A function that Rust offers without the header's knowledge has nobody who asks for its tests; and an excuse for what
/// is not there excuses nothing.
fn not_in_the_header(context: &Context) {
    let dir = case(context);
    let library = dir.join("rust/src/lib.rs");
    let hidden = "\n#[unsafe(no_mangle)]\npub extern \"C\" fn boundary_rs_hidden() {}\n\n#[panic_handler]";
    insta::assert_snapshot!(told(context, &library, "\n#[panic_handler]", hidden), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: Rust offers boundary_rs_hidden to C, and boundary.h does not declare it
      help: declare it there, or have it not exported
    ");
    let manifest = dir.join("vexlab.toml");
    insta::assert_snapshot!(told(context, &manifest, "boundary_c_bug", "boundary_c_bag"), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: boundary_c_bag is excused from being tested, and boundary.h does not declare it
        boundary.h:41: boundary_c_bug: no test in Rust is of it
      help: take its [[rust.untested]] out of vexlab.toml
    ");
}

/// What may be called in any context reaches nothing that allocates, with tests in the module or without.
fn sleeps_in_any_context(context: &Context) {
    let dir = case(context);
    let header = dir.join("boundary.h");
    change(&header, "Return: the number; 0 where", "Context: any.\n * Return: the number; 0 where");
    insta::assert_snapshot!(build(context, &dir, &[]).told(), @r"
    status 10
    error: boundary does not keep to its interface boundary.h
      cause: boundary.h:25: boundary_rs_store may be called in any context, and reaches boundary_c_alloc, which may not: boundary_rs_store → boundary_c_alloc
        boundary.h:25: boundary_rs_store may be called in any context, and reaches boundary_c_free, which may not: boundary_rs_store → boundary_c_free
      help: have it do without boundary_c_alloc, or take `Context: any` out of its comment; if boundary_c_alloc never sleeps, say so in its own
    ");
    let ended = build(context, &dir, &["--test"]);
    assert_eq!(ended.status, 10, "{ended}");
    // What C does by itself is seen where it is one of the kernel's functions that always may sleep.
    let main = dir.join("main.c");
    let sleeps = told(context, &main, "\tBUG();", "\tstatic DEFINE_MUTEX(lock);\n\n\tmutex_lock(&lock);");
    assert!(
        sleeps.contains("boundary_c_bug may be called in any context, and reaches mutex_lock, which may not"),
        "{sleeps}"
    );
    // If C's functions never sleep, which is C's to know, all is well.
    change(&header, "Return: memory for", "Context: any.\n * Return: memory for");
    change(
        &header,
        "@memory: what boundary_c_alloc() returned",
        "@memory: what is given back\n *\n * Context: any.",
    );
    let ended = build(context, &dir, &[]);
    assert_eq!(ended.status, 0, "{ended}");
}
