// SPDX-License-Identifier: GPL-2.0-only
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use libtest_mimic::Trial;

use crate::harness::{Context, KERNEL, machine};

const LIMIT: Duration = Duration::from_secs(240);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("rebuild::nothing_changed", LIMIT, nothing_changed),
        machine("rebuild::rust_changed", LIMIT, rust_changed),
        machine("rebuild::c_changed", LIMIT, c_changed),
        machine("rebuild::header_changed", LIMIT, header_changed),
        machine("rebuild::included_header_changed", LIMIT, included_header_changed),
        machine("rebuild::prototype_changed", LIMIT, prototype_changed),
        machine("rebuild::parts_make_what_the_whole_makes", LIMIT, parts_make_what_the_whole_makes),
        machine("rebuild::a_changed_kbuild_file_is_followed", LIMIT, a_changed_kbuild_file_is_followed),
        machine("rebuild::a_change_takes_effect", LIMIT, a_change_takes_effect),
    ]
}

/// When each file of the build was changed last.
type Times = BTreeMap<String, SystemTime>;

/// Builds the project and answers with the times of its objects, archives and modules.
fn build(context: &Context, dir: &Path) -> Times {
    let ended = context.vexlab(["build"]).dir(dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let mut times = Times::new();
    collect(&dir.join("target/vexlab").join(KERNEL), "", &mut times);
    for file in
        ["c/main.o", "c/rust.o", "rust/linked.o", "rust/libgood_rust.a", "good_rust.ko", "stripped.ko"]
    {
        assert!(times.contains_key(file), "{file} is among {times:?}");
    }
    times
}

fn collect(dir: &Path, prefix: &str, times: &mut Times) {
    for entry in fs::read_dir(dir).expect("the build's folder is there").flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let data = entry.metadata().expect("a file of the build has data");
        if data.is_dir() {
            collect(&entry.path(), &format!("{name}/"), times);
        } else if [".o", ".a", ".ko"].iter().any(|end| name.ends_with(end)) {
            times.insert(name, data.modified().expect("and a time"));
        }
    }
}

/// The files that were made again.
fn changed<'a>(before: &Times, after: &'a Times) -> Vec<&'a str> {
    let names = after.iter().filter(|(name, time)| before.get(*name) != Some(time));
    names.map(|(name, _)| name.as_str()).collect()
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a source can be read");
    assert!(text.contains(from), "{} has {from:?}", file.display());
    fs::write(file, text.replace(from, to)).expect("a source can be written");
}

fn nothing_changed(context: &Context) {
    let dir = context.case("good_rust");
    let before = build(context, &dir);
    let after = build(context, &dir);
    assert_eq!(changed(&before, &after), [""; 0]);
}

fn rust_changed(context: &Context) {
    let dir = context.case("good_rust");
    let before = build(context, &dir);
    edit(&dir.join("rust/src/lib.rs"), "good_rust_count(1)", "good_rust_count(2)");
    let after = build(context, &dir);
    let changed = changed(&before, &after);
    for file in ["rust/libgood_rust.a", "rust/linked.o", "c/rust.o", "good_rust.ko"] {
        assert!(changed.contains(&file), "{file} is made again: {changed:?}");
    }
    assert!(!changed.contains(&"c/main.o"), "C is compiled again: {changed:?}");
}

fn c_changed(context: &Context) {
    let dir = context.case("good_rust");
    let before = build(context, &dir);
    edit(&dir.join("main.c"), "divisor = good_rust_divisor(48, 36);", "divisor = good_rust_divisor(48, 35);");
    let after = build(context, &dir);
    let changed = changed(&before, &after);
    for file in ["c/main.o", "good_rust.ko"] {
        assert!(changed.contains(&file), "{file} is made again: {changed:?}");
    }
    for file in ["rust/libgood_rust.a", "rust/linked.o", "c/rust.o"] {
        assert!(!changed.contains(&file), "Rust is made again: {changed:?}");
    }
}

/// The interface is compared again, although neither side of it has changed.
fn header_changed(context: &Context) {
    let dir = context.case("good_rust");
    build(context, &dir);
    edit(&dir.join("good_rust.h"), "uint64_t good_rust_divisor", "uint32_t good_rust_divisor");
    let ended = context.vexlab(["build"]).dir(&dir).run();
    assert_eq!(ended.status, 10, "{ended}");
    assert!(ended.stderr.contains("good_rust.h"), "{ended}");
    edit(&dir.join("good_rust.h"), "uint32_t good_rust_divisor", "uint64_t good_rust_divisor");
    build(context, &dir);
}

/// So it is when the change is in a header that the interface's includes.
fn included_header_changed(context: &Context) {
    let dir = context.case("good_rust");
    fs::write(dir.join("types.h"), "typedef uint32_t number;\n").expect("a header can be written");
    edit(
        &dir.join("good_rust.h"),
        "#include <linux/types.h>",
        "#include <linux/types.h>\n#include \"types.h\"",
    );
    edit(&dir.join("good_rust.h"), "good_rust_count(uint32_t", "good_rust_count(number");
    build(context, &dir);
    edit(&dir.join("types.h"), "uint32_t", "uint64_t");
    let ended = context.vexlab(["build"]).dir(&dir).run();
    assert_eq!(ended.status, 10, "{ended}");
    assert!(ended.stderr.contains("good_rust.h"), "{ended}");
}

/// What is remembered of a comparison is the types that were compared: changed code needs no other, changed
/// types do.
fn prototype_changed(context: &Context) {
    let dir = context.case("good_rust");
    let compared = |times: &Times| times.get("interface/interface.ko").copied();
    let before = build(context, &dir);
    edit(&dir.join("rust/src/lib.rs"), "good_rust_count(1)", "good_rust_count(2)");
    let after = build(context, &dir);
    assert!(compared(&before).is_some_and(|time| compared(&after) == Some(time)), "{after:?}");
    edit(&dir.join("rust/src/lib.rs"), "questions: u32", "questions: u64");
    let ended = context.vexlab(["build"]).dir(&dir).run();
    assert_eq!(ended.status, 10, "{ended}");
    assert!(ended.stderr.contains("good_rust_count"), "{ended}");
}

/// When the kernel's top Makefile was called last, which then keeps what it has called.
fn top_makefile_called(dir: &Path) -> SystemTime {
    let kept = dir.join("target/vexlab").join(KERNEL).join("kbuild-calls.json");
    kept.metadata().and_then(|data| data.modified()).expect("the calls of Kbuild's parts are kept")
}

/// Without the kernel's top Makefile comes the module that comes with it, to the byte.
fn parts_make_what_the_whole_makes(context: &Context) {
    let dir = context.case("good_rust");
    let made = dir.join("target/vexlab").join(KERNEL);
    let modules = || ["good_rust.ko", "stripped.ko"].map(|file| fs::read(made.join(file)).expect("a module"));
    build(context, &dir);
    let (before, called) = (modules(), top_makefile_called(&dir));
    edit(&dir.join("main.c"), "divisor = good_rust_divisor(48, 36);", "divisor = good_rust_divisor(48, 35);");
    edit(&dir.join("rust/src/lib.rs"), "good_rust_count(1)", "good_rust_count(2)");
    build(context, &dir);
    let by_parts = modules();
    assert!(by_parts != before, "nothing has changed");
    assert_eq!(top_makefile_called(&dir), called, "the parts were called directly");

    for kept in ["c-stamp", "kbuild-calls.json"] {
        fs::remove_file(made.join(kept)).expect("it was kept");
    }
    fs::remove_dir_all(made.join("c")).expect("all that Kbuild has made");
    build(context, &dir);
    assert_ne!(top_makefile_called(&dir), called);
    assert!(modules() == by_parts, "it is not the same module");
}

/// What the top Makefile may have read is never left to its parts; nor is a build that fails.
fn a_changed_kbuild_file_is_followed(context: &Context) {
    let dir = context.case("good_rust");
    build(context, &dir);
    let called = top_makefile_called(&dir);
    edit(&dir.join("Kbuild"), "obj-m", "ccflags-y += -DNOTHING\nobj-m");
    build(context, &dir);
    assert_ne!(top_makefile_called(&dir), called);

    edit(&dir.join("main.c"), "divisor = good_rust_divisor(48, 36);", "divisor = no_such_function();");
    let ended = context.vexlab(["build"]).dir(&dir).run();
    assert_eq!(ended.status, 10, "{ended}");
    let said = ended.stderr.matches("error: implicit declaration of function").count();
    assert_eq!(said, 1, "{ended}");
}

/// What is tested is the source as it is now.
fn a_change_takes_effect(context: &Context) {
    let dir = context.case("good_rust");
    let test = || context.vexlab(["test"]).dir(&dir).run();
    let ended = test();
    assert_eq!(ended.status, 0, "{ended}");
    edit(&dir.join("rust/src/lib.rs"), "    a\n}\n", "    a + 1\n}\n");
    let ended = test();
    assert_eq!(ended.status, 1, "{ended}");
    assert!(ended.stdout.contains(" FAIL  rust-computes"), "{ended}");
    edit(&dir.join("vexlab.toml"), "\"12\"", "\"13\"");
    let ended = test();
    assert_eq!(ended.status, 0, "{ended}");
}
