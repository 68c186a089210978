// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::call::Ended;
use crate::harness::{Context, KERNEL, machine};

const LIMIT: Duration = Duration::from_secs(240);

/// The first QEMU that tells a plugin all that a profile is made of. Debian 12's own is older.
const ENOUGH: (u32, u32) = (9, 1);

pub(crate) fn tests() -> Vec<Trial> {
    if qemu_version().is_some_and(|version| version < ENOUGH) {
        return vec![machine("profile::an_old_qemu", LIMIT, an_old_qemu)];
    }
    vec![
        machine("profile::of_c_and_rust", LIMIT, of_c_and_rust),
        machine("profile::two_of_the_same_are_equal", LIMIT, two_of_the_same_are_equal),
        machine("profile::of_a_command", LIMIT, of_a_command),
        machine("profile::as_json", LIMIT, as_json),
        machine("profile::of_a_test_that_is_a_program", LIMIT, of_a_test_that_is_a_program),
        machine("profile::annotates_a_function", LIMIT, annotates_a_function),
        machine("profile::of_a_benchmark", LIMIT, of_a_benchmark),
        machine("profile::of_nothing", LIMIT, of_nothing),
        machine("profile::of_an_unknown_test", LIMIT, of_an_unknown_test),
        machine("profile::without_plugins", LIMIT, without_plugins),
    ]
}

/// The stacks that a profile of the module's test has.
fn stacks(context: &Context, case: &Path, kernel: &str, folder: &str) -> String {
    let call = context.vexlab(["profile", "--kernel", kernel, "work", "--output", folder]).dir(case);
    let ended = call.run();
    assert_eq!(ended.status, 0, "{ended}");
    fs::read_to_string(case.join(folder).join("stacks.folded")).expect("the stacks")
}

fn of_c_and_rust(context: &Context) {
    let case = context.case("profiled");
    for kernel in [KERNEL, "debian-6.12-cloud"] {
        let ended = context.vexlab(["profile", "--kernel", kernel, "work"]).dir(&case).run();
        assert_eq!(ended.status, 0, "{ended}");
        let top: Vec<&str> =
            ended.stdout.lines().skip_while(|line| !line.ends_with("function")).skip(1).collect();
        let names = |line: &str, words: [&str; 2]| words.iter().all(|word| line.contains(word));
        assert!(names(top[0], [" C ", "profiled_in_c [profiled]  main.c"]), "{ended}");
        assert!(names(top[1], [" Rust ", "mixed [profiled] (inlined)  rust/src/lib.rs"]), "{ended}");
        let folder = case.join("target/vexlab").join(kernel).join("profile");
        let stacks = fs::read_to_string(folder.join("stacks.folded")).expect("the stacks");
        let chain = "ktest_run_of_c_and_rust [profiled];profiled_both [profiled];profiled_between [profiled];\
            profiled_in_rust [profiled];mixed [profiled] (inlined)";
        let inlined =
            stacks.lines().find(|line| line.starts_with(chain)).unwrap_or_else(|| panic!("{stacks}"));
        let count: u64 = inlined.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
        // Three instructions a round: a shift, an exclusive or, and a copy.
        assert!(count >= 2_000_000, "{inlined}");
        let picture = fs::read_to_string(folder.join("flame.svg")).expect("the picture");
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let picture = roxmltree::Document::parse_with_options(&picture, options).expect("it is XML");
        let titles: Vec<&str> = picture
            .descendants()
            .filter(|node| node.has_tag_name("title"))
            .filter_map(|node| node.text())
            .collect();
        for function in ["profiled_in_c [profiled]", "profiled_in_rust [profiled]"] {
            assert!(titles.iter().any(|title| title.starts_with(function)), "{function}: {titles:?}");
        }
    }
}

/// By its name; what it calls is called so often as its loop turns.
fn of_a_benchmark(context: &Context) {
    let case = context.case("benches");
    let profile = |words: &[&str]| {
        context.vexlab(["profile", "--kernel", KERNEL]).args(words.iter().copied()).dir(&case).run()
    };
    let ended = profile(&["speed/main.call", "--output", "profile"]);
    assert_eq!(ended.status, 0, "{ended}");
    let stacks = fs::read_to_string(case.join("profile/stacks.folded")).expect("the stacks");
    let chain = "call [benches];callee [benches] ";
    let line = stacks.lines().find(|line| line.contains(chain)).unwrap_or_else(|| panic!("{stacks}"));
    let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
    assert!(count > 500_000, "{stacks}");
    let ended = profile(&["speed/main.cal1"]);
    assert!(
        ended.status != 0 && ended.told().contains("no benchmark has `speed/main.cal1` in its name"),
        "{ended}"
    );
    let ended = profile(&["speed/main.call", "selftest"]);
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: `selftest` names no benchmark, and the other words do
      help: profile tests and benchmarks one after the other
    ");
}

fn two_of_the_same_are_equal(context: &Context) {
    let case = context.case("profiled");
    let (first, second) = (stacks(context, &case, KERNEL, "first"), stacks(context, &case, KERNEL, "second"));
    assert_eq!(first, second);
    // So many instructions were interrupted, which nothing tells.
    assert!(!first.contains("interrupt") && !first.contains("return"), "{first}");
    // Four instructions a round, each of them counted.
    let line = first.lines().find(|line| line.contains("profiled_in_c")).expect("the function");
    let count: u64 = line.rsplit(' ').next().and_then(|count| count.parse().ok()).expect("a count");
    assert!((12_000_000..12_000_020).contains(&count), "{line}");
}

fn of_a_command(context: &Context) {
    let call = context.vexlab(["profile", "--kernel", KERNEL, "--no-module", "--output", "out", "--"]);
    let ended = call.args(["sh", "-c", "cat /proc/version; exit 7"]).run();
    assert_eq!(ended.status, 7, "{ended}");
    assert!(ended.stdout.starts_with("Linux version"), "{ended}");
    let stacks = fs::read_to_string(context.dir().join("out/stacks.folded")).expect("the stacks");
    let reads = "entry_SYSCALL_64_after_hwframe;do_syscall_64;";
    assert!(
        stacks.lines().any(|line| line.starts_with(reads) && line.contains("version_proc_show")),
        "{stacks}"
    );
    assert!(stacks.lines().any(|line| line.starts_with("[program] ")), "{stacks}");
}

/// Standard output is the object's alone.
fn as_json(context: &Context) {
    let json = ["profile", "--kernel", KERNEL, "--format", "json"];
    let command = ["--no-module", "--output", "out", "--", "sh", "-c", "cat /proc/version; exit 7"];
    let ended = context.vexlab(json).args(command).run();
    assert!(ended.status == 7 && ended.stderr.contains("Linux version"), "{ended}");
    let profile: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {ended}"));
    let told = ["mode", "unit", "accelerator", "kernel"].map(|key| profile[key].as_str().unwrap_or_default());
    assert_eq!(told, ["counted", "instructions", "tcg", KERNEL], "{ended}");
    let functions = profile["functions"].as_array().expect("functions");
    let own: u64 = functions.iter().filter_map(|function| function["own"].as_u64()).sum();
    assert_eq!(Some(own), profile["total"].as_u64(), "{ended}");

    let ended = context.vexlab(json).arg("selftest").dir(&context.case("ktests")).run();
    assert!(ended.status == 1 && ended.stdout.is_empty(), "{ended}");
    assert!(ended.stderr.contains("test-failed: there is no profile"), "{ended}");
}

/// Of a program all counts that the machine does.
fn of_a_test_that_is_a_program(context: &Context) {
    let case = context.case("profiled");
    let ended = context.vexlab(["profile", "--kernel", KERNEL, "program"]).dir(&case).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains("[program]"), "{ended}");
}

fn annotates_a_function(context: &Context) {
    let case = context.case("profiled");
    let annotate = ["work", "--annotate", "profiled_in_c", "--annotate", "mixed"];
    let call = context.vexlab(["profile", "--kernel", KERNEL]).args(annotate).dir(&case);
    let ended = call.run();
    assert_eq!(ended.status, 0, "{ended}");
    let has = |words: &[&str]| ended.stdout.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(&["main.c:", "value = value * 6364136223846793005ull + 1442695040888963407ull;"]), "{ended}");
    assert!(has(&[" 3,000,000 ", "imul"]), "{ended}");
    assert!(has(&[" 3,000,000 ", "jne +0x"]), "{ended}");
    assert!(has(&["rust/src/lib.rs:", "(value ^ (value >> 13))"]), "{ended}");

    let unknown = context.vexlab(["profile", "--kernel", KERNEL, "work", "--annotate", "profiled_in_rast"]);
    let ended = unknown.dir(&case).run();
    assert_eq!(ended.status, 2, "{ended}");
    assert!(ended.stderr.contains("nothing of a function `profiled_in_rast` was executed"), "{ended}");
    assert!(ended.stderr.contains("there are: profiled_in_rust"), "{ended}");
}

/// What is told of trouble, without what was going on.
pub(crate) fn trouble(ended: &Ended) -> String {
    let is_trouble = |line: &&str| line.starts_with("error: ") || line.starts_with("  ");
    let lines: Vec<&str> = ended.stderr.lines().filter(is_trouble).collect();
    format!("status {}\n{}", ended.status, lines.join("\n"))
}

/// Tests that a file reports all at once are not told from what they say.
fn of_nothing(context: &Context) {
    let case = context.case("profiled");
    let ended = context.vexlab(["profile", "--kernel", KERNEL, "all/"]).dir(&case).run();
    insta::assert_snapshot!(trouble(&ended), @"
    status 2
    error: the profile is empty: no test was carried out by its name
      help: tests are counted that are run one by one, by `ktests`, and programs, by `run`
    ");
}

fn of_an_unknown_test(context: &Context) {
    let case = context.case("profiled");
    let ended = context.vexlab(["profile", "--kernel", KERNEL, "of_c_and_rast"]).dir(&case).run();
    insta::assert_snapshot!(trouble(&ended), @"
    status 2
    error: no test has `of_c_and_rast` in its name
      help: there are: work/c.of_c_and_rust
    ");
}

/// The QEMU that is installed: nothing where there is none, of which the tests themselves will tell.
fn qemu_version() -> Option<(u32, u32)> {
    let output = Command::new("qemu-system-x86_64").arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut parts = text.split("version ").nth(1)?.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

/// One that is installed and too old is refused.
fn an_old_qemu(context: &Context) {
    let ended = context.vexlab(["profile", "--kernel", KERNEL, "--no-module", "--", "true"]).run();
    assert_eq!(ended.status, 20, "{ended}");
    for part in ["is too old for a profile", "plugin requires API version", "use QEMU 9.1 or later"] {
        assert!(ended.stderr.contains(part), "{part}: {ended}");
    }
}

/// A QEMU that was built without them.
fn without_plugins(context: &Context) {
    let dir = context.dir().join("bin");
    fs::create_dir(&dir).expect("a folder for programs");
    let qemu = dir.join("qemu-system-x86_64");
    let script = "#!/bin/sh\nreal=$(PATH=${PATH#*:} command -v qemu-system-x86_64)\n\
        for word; do\n\tif [ \"$word\" = -plugin ]; then\n\
        \t\techo 'qemu-system-x86_64: plugin interface not enabled in this build' >&2\n\t\texit 1\n\tfi\ndone\n\
        exec \"$real\" \"$@\"\n";
    fs::write(&qemu, script).expect("a program");
    fs::set_permissions(&qemu, fs::Permissions::from_mode(0o755)).expect("it can be started");
    let path = format!("{}:{}", dir.display(), std::env::var("PATH").unwrap_or_default());
    let call = context.vexlab(["profile", "--kernel", KERNEL, "--no-module", "--", "true"]).env("PATH", path);
    insta::assert_snapshot!(call.run().told(), @"
    status 20
    error: [DIR]/bin/qemu-system-x86_64 runs no plugins, and a profile is counted by one
      cause: qemu-system-x86_64: plugin interface not enabled in this build
      help: use a QEMU that was built with plugins, as Debian's is: apt-get install --no-install-recommends qemu-system-x86; where KVM works, --sampled needs none
    ");
}
