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
