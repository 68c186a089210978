// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::harness::{Context, copy, copy_ktest, machine, provision, root};

const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("vexfs::whole", LIMIT, whole),
        machine("vexfs::on_the_generic_kernel", LIMIT, on_the_generic_kernel),
        machine("vexfs::minimal", LIMIT, minimal),
        machine("vexfs::without_rust", LIMIT, without_rust),
        machine("vexfs::without_tests", LIMIT, without_tests),
        machine("vexfs::a_leak_is_named", LIMIT, a_leak_is_named),
        machine("vexfs::a_call_costs_no_more_than_in_c", LIMIT, a_call_costs_no_more_than_in_c),
        machine("vexfs::on_two_processors", LIMIT, on_two_processors),
        machine("vexfs::a_test_that_leaks_fails", LIMIT, a_test_that_leaks_fails),
        machine("vexfs::no_memory_in_any_context", LIMIT, no_memory_in_any_context),
    ]
}

/// A copy of this repository's module, without what was built of it.
fn project(context: &Context) -> PathBuf {
    let dir = context.dir().join("project");
    fs::create_dir(&dir).expect("a folder for the copy");
    fs::copy(root().join("vexlab.toml"), dir.join("vexlab.toml")).expect("the project has one");
    copy(&root().join("kernel"), &dir.join("kernel"));
    copy_ktest(&dir);
    drop(fs::remove_dir_all(dir.join("kernel/glue/target")));
    dir
}

/// `what` is how the verdict calls the module.
fn passes(context: &Context, what: &str, arguments: &[&str], kernel: &str) -> String {
    let ended = context.vexlab(["test", "--kernel", kernel]).args(arguments).dir(&project(context)).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains(&format!("passed: {what} on {kernel}")), "{ended}");
    for line in ["  ok   load", "  ok   proof", "  ok   filesystem-is-registered", "  ok   unload"] {
        assert!(ended.stdout.contains(line), "{line}; {ended}");
    }
    ended.stdout
}

fn whole(context: &Context) {
    let output = passes(context, "vexfs", &[], "debian-6.1-cloud");
    assert!(output.matches("  ok   selftest/").count() > 10, "{output}");
    for test in ["load-twice", "in-use", "cycles", "parameters", "failing-init", "leaks"] {
        assert!(output.contains(&format!("  ok   life/{test}")), "{test}; {output}");
    }
    assert!(output.contains("2 of its allocations failed in turn, 1 of which it did without"), "{output}");
}

/// What Rust does not give back is found when the module goes, with who wanted it.
fn a_leak_is_named(context: &Context) {
    let dir = project(context);
    let source = dir.join("kernel/glue/src/lib.rs");
    let text = fs::read_to_string(&source).expect("the crate has a source");
    let (head, tail) = text.rsplit_once("    0\n").expect("init ends in 0");
    let leak = "core::mem::forget(memory::try_box([1_u8; 40]));";
    fs::write(&source, format!("{head}    {leak}\n    0\n{tail}")).expect("the copy can be changed");
    let ended = context.vexlab(["test", "--life", "--kernel", "debian-6.1-cloud"]).dir(&dir).run();
    assert_eq!(ended.status, 18, "{ended}");
    assert!(ended.stdout.contains("left: 40 bytes allocated at vexfs_rs_init+0x"), "{ended}");
}

/// What needs two processors is skipped on one, and done on two.
fn on_two_processors(context: &Context) {
    let dir = project(context);
    let manifest = dir.join("vexlab.toml");
    let text = fs::read_to_string(&manifest).expect("the project has one");
    fs::write(&manifest, text + "\n[machine]\nprocessors = 2\n").expect("the copy can be changed");
    let test = ["test", "--no-life", "--kernel", "debian-6.1-cloud", "selftest/c."];
    let ended = context.vexlab(test).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains("  ok   selftest/c.on_two_processors"), "{ended}");
    assert!(!ended.stdout.contains("skip"), "{ended}");
}

/// Each test is charged for what it does not give back, whoever allocated it.
fn a_test_that_leaks_fails(context: &Context) {
    let dir = project(context);
    let source = dir.join("kernel/selftest.c");
    let text = fs::read_to_string(&source).expect("the module has the file");
    let freed = "\tvexfs_rs_test_counter_free(other);\n";
    assert_eq!(text.matches(freed).count(), 1);
    fs::write(&source, text.replace(freed, "")).expect("the copy can be changed");
    let test = ["test", "--no-life", "--kernel", "debian-6.1-cloud", "selftest/c."];
    let ended = context.vexlab(test).dir(&dir).run();
    assert!(ended.stdout.contains(" FAIL  selftest/c.ownership"), "{ended}");
    assert!(ended.stdout.contains("expected vexfs_c_alloc_bytes() == bytes_before"), "{ended}");
    assert!(ended.stdout.contains("  ok   selftest/c.proof"), "the next one is not charged for it: {ended}");
}

/// A function that may be called under a spinlock can't get at the allocator, however far away that is.
fn no_memory_in_any_context(context: &Context) {
    let dir = project(context);
    let header = dir.join("kernel/vexfs.h");
    let text = fs::read_to_string(&header).expect("the module has a header");
    let comment = " * Nothing is left of the list when it returns.\n";
    assert_eq!(text.matches(comment).count(), 1);
    fs::write(&header, text.replace(comment, " * Context: any.\n")).expect("the copy can be changed");
    let ended = context.vexlab(["build", "--test", "--kernel", "debian-6.1-cloud"]).dir(&dir).run();
    assert_eq!(ended.status, 10, "{ended}");
    let said = "vexfs_rs_test_collect may be called in any context, and reaches vexfs_c_alloc, which may not";
    assert!(ended.stderr.contains(said), "{ended}");
}

fn on_the_generic_kernel(context: &Context) {
    provision("debian-6.1");
    passes(context, "vexfs", &[], "debian-6.1");
}

/// The smallest object still proves that it is there.
fn minimal(context: &Context) {
    let output = passes(context, "vexfs with its minimal Rust side", &["--minimal"], "debian-6.1-cloud");
    assert!(output.contains("  ok   selftest/"), "{output}");
}

/// Nothing is said of what isn't in the module: neither the proof nor a self-test passes.
fn without_rust(context: &Context) {
    let dir = project(context);
    let ended = context.vexlab(["test", "--c-only", "--kernel", "debian-6.1-cloud"]).dir(&dir).run();
    assert!(ended.stdout.contains("  ok   load"), "{ended}");
    assert!(ended.stdout.contains("  ok   filesystem-is-registered"), "{ended}");
    assert!(ended.stdout.contains("passed: vexfs without its Rust side on debian-6.1-cloud"), "{ended}");
    assert!(!ended.stdout.contains("  ok   proof"), "{ended}");
    assert!(!ended.stdout.contains("  ok   selftest"), "{ended}");
}

/// What is built for use has no test in it, and nothing that can panic; its project's allowances are for its tests.
fn without_tests(context: &Context) {
    let dir = project(context);
    let kernel = ["--kernel", "debian-6.1-cloud"];
    let ended = context.vexlab(["build"]).args(kernel).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert_eq!(ended.stderr.matches("warning").count(), 0, "{ended}");
    let output = dir.join("target/vexlab");
    let module = fs::read(output.join("debian-6.1-cloud/stripped.ko")).expect("the module is built");
    for word in ["ktest", "selftest", "vexfs_rs_test"] {
        assert!(!module.windows(word.len()).any(|part| part == word.as_bytes()), "{word} is in the module");
    }
    let check = |file: &str| context.vexlab(["check", file]).args(kernel).dir(&dir).run();
    let checked = check("target/vexlab/debian-6.1-cloud/vexfs.ko");
    assert!(checked.status == 0 && !checked.stdout.contains("allowed:"), "{checked}");

    let ended = context.vexlab(["build", "--test"]).args(kernel).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let checked = check("target/vexlab/debian-6.1-cloud-test/vexfs.ko");
    assert!(checked.status == 0 && checked.stdout.contains("allowed: self-tests"), "{checked}");
}

/// Benchmarks can be measured, and what crosses the boundary costs at most two instructions more than in C, or a tenth.
fn a_call_costs_no_more_than_in_c(context: &Context) {
    let dir = project(context);
    let bench = ["bench", "--kernel", "debian-6.1-cloud", "--format", "markdown"];
    // Not those of 1 MiB: what the kernel's pages are like then is not the benchmark's to say, and they may vary.
    let filters = ["call", "_64", "_4k", "tree", "crc32c"];
    let ended = context.vexlab(bench).args(filters).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let rows = ended.stdout.lines().filter(|line| line.starts_with("| ") && line.matches('|').count() == 7);
    let rows: Vec<Vec<&str>> = rows.map(|line| line.split('|').map(str::trim).collect()).skip(2).collect();
    assert!(rows.len() > 10, "{ended}");
    for row in rows {
        let (what, more, why) = (row[1], row[5].parse::<f64>().expect("a number"), row[6]);
        assert!(!why.contains("nobody has said why"), "{what}; {ended}");
        let crosses = ["empty", "there and back", "slice", "string", "error", "index"];
        let is_call = crosses.iter().any(|word| what.contains(word));
        assert!(!is_call || why.is_empty(), "{what}: {more}; {ended}");
    }
}
