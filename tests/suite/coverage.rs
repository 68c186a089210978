// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::call::Ended;
use crate::harness::{Context, KERNEL, machine, provision};

/// For a build of a Rust side, or two.
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("coverage::of_a_test", LIMIT, of_a_test),
        machine("coverage::of_tests_and_kernels_together", LIMIT, of_tests_and_kernels_together),
        machine("coverage::of_each_life", LIMIT, of_each_life),
        machine("coverage::what_is_left_out", LIMIT, what_is_left_out),
        machine(
            "coverage::a_machine_takes_its_own_counts_with_it",
            LIMIT,
            a_machine_takes_its_own_counts_with_it,
        ),
        machine("coverage::an_oops_takes_nothing_with_it", LIMIT, an_oops_takes_nothing_with_it),
        machine("coverage::no_counter_was_read", LIMIT, no_counter_was_read),
        machine("coverage::a_module_too_large_for_the_machine", LIMIT, a_module_too_large_for_the_machine),
        machine("coverage::a_compiler_that_can_not_count", LIMIT, a_compiler_that_can_not_count),
        machine("coverage::a_gcov_that_fails", LIMIT, a_gcov_that_fails),
        machine("coverage::a_build_that_does_not_count", LIMIT, a_build_that_does_not_count),
    ]
}

/// Measures with these arguments, and gives what was printed and the tracefile.
fn measure(context: &Context, dir: &Path, arguments: &[&str]) -> (Ended, String) {
    let file = context.dir().join("trace.info");
    let command = context.vexlab(["coverage", "--lcov"]).arg(&file).args(arguments).dir(dir);
    (command.run(), fs::read_to_string(&file).unwrap_or_default())
}

/// The lines of a file in a tracefile, as `line:count`.
fn lines(trace: &str, file: &str) -> String {
    let of_file = trace.split("end_of_record").find(|record| record.contains(&format!("SF:{file}\n")));
    let of_file = of_file.unwrap_or_else(|| panic!("{file} is in {trace}"));
    let lines = of_file.lines().filter_map(|line| line.strip_prefix("DA:"));
    lines.map(|line| line.replace(',', ":")).collect::<Vec<_>>().join(" ")
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a source can be read");
    assert!(text.contains(from), "{} has {from:?}", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("a source can be written");
}

fn of_a_test(context: &Context) {
    let dir = context.case("coverage");
    let (page, table) = (context.dir().join("page.html"), context.dir().join("table.md"));
    let reports = ["--html", page.to_str().unwrap(), "--markdown", table.to_str().unwrap()];
    let arguments = [&["even", "--no-life", "-k", KERNEL], &reports[..]].concat();
    let (ended, trace) = measure(context, &dir, &arguments);
    assert_eq!(ended.status, 0, "{ended}");
    insta::assert_snapshot!(trace, @"
    TN:
    SF:main.c
    BRDA:11,0,0,1
    BRDA:11,0,1,0
    BRDA:13,0,0,1
    BRDA:13,0,1,0
    BRF:4
    BRH:2
    DA:7,1
    DA:9,1
    DA:11,1
    DA:13,1
    DA:15,1
    DA:16,1
    DA:27,1
    DA:29,1
    DA:30,1
    DA:33,1
    DA:36,1
    DA:38,1
    DA:39,1
    LF:13
    LH:13
    end_of_record
    TN:
    SF:rust/src/lib.rs
    BRDA:6,0,0,1
    BRDA:6,0,1,0
    BRF:2
    BRH:1
    DA:5,1
    DA:6,1
    DA:7,1
    DA:9,0
    DA:11,1
    DA:13,1
    DA:14,1
    DA:15,1
    DA:17,0
    DA:18,0
    DA:19,0
    DA:22,1
    DA:23,1
    DA:24,1
    DA:27,0
    DA:28,0
    DA:29,0
    DA:32,0
    DA:33,0
    LF:19
    LH:10
    end_of_record
    ");
    let figures: Vec<&str> = ended.stdout.lines().skip_while(|line| !line.contains(" lines ")).collect();
    insta::assert_snapshot!(figures.join("\n"), @"
                         lines            branches
    main.c               13/13  100.0 %        2/4   50.0 %
    rust/src/lib.rs      10/19   52.6 %        1/2   50.0 %
    together             23/32   71.8 %        3/6   50.0 %
    ");
    let page = fs::read_to_string(page).expect("the page is written");
    assert!(page.contains("<tr class=\"missed\"><td>9</td><td>0</td>"), "{page}");
    insta::assert_snapshot!(fs::read_to_string(table).expect("the table is written"), @"
    # Coverage of halves

    What the tests with even in their names run of its C and Rust in the kernel, on debian-6.1-cloud. A branch is each way that a
    condition can go. Made by `vexlab coverage --markdown`.

    | file | lines | | branches | |
    | --- | --: | --: | --: | --: |
    | `main.c` | 13/13 | 100.0 % | 2/4 | 50.0 % |
    | `rust/src/lib.rs` | 10/19 | 52.6 % | 1/2 | 50.0 % |
    | **together** | 23/32 | 71.8 % | 3/6 | 50.0 % |
    ");
}

/// What one test or one kernel runs, and another does not.
fn of_tests_and_kernels_together(context: &Context) {
    provision("debian-6.12-cloud");
    let dir = context.case("coverage");
    let (ended, trace) = measure(context, &dir, &["--no-life"]);
    assert_eq!(ended.status, 0, "{ended}");
    let c = "7:4 9:4 11:4 13:4 15:4 16:4 27:2 29:2 30:1 32:1 33:2 36:2 38:2 39:2";
    assert_eq!(lines(&trace, "main.c"), c);
    let rust = "5:4 6:4 7:2 9:2 11:4 13:2 14:2 15:2 17:2 18:2 19:2 22:1 23:1 24:1 27:1 28:1 29:1 32:0 33:0";
    assert_eq!(lines(&trace, "rust/src/lib.rs"), rust);
}

/// The exit function of each time that the module was loaded, a build for use beside it, and two machines at once.
fn of_each_life(context: &Context) {
    let dir = context.case("coverage");
    edit(&dir.join("vexlab.toml"), "[rust]", "[life]\ncycles = 10\n\n[rust]");
    let (ended, trace) = measure(context, &dir, &["-k", KERNEL]);
    assert_eq!(ended.status, 0, "{ended}");
    let count = |line: &str| {
        let lines = lines(&trace, "main.c");
        let found =
            lines.split(' ').find_map(|entry| entry.strip_prefix(&format!("{line}:")).map(str::to_owned));
        found.and_then(|count| count.parse::<u32>().ok()).unwrap_or_else(|| panic!("{line} is in {lines}"))
    };
    assert_eq!(count("27"), count("36"), "it was loaded as often as it was unloaded");
    assert!(count("36") > 10, "{trace}");

    let ended = context.vexlab(["build", "-k", KERNEL]).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let module = fs::read(dir.join(format!("target/vexlab/{KERNEL}/halves.ko"))).expect("it is built");
    let has = |text: &str| module.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(!has("vexlab_counters") && !has("__llvm_prf"), "a build for use counts nothing");

    let (ended, trace) = measure(context, &dir, &["-k", KERNEL, "--no-life", "--jobs", "2"]);
    assert_eq!(ended.status, 0, "{ended}");
    assert!(lines(&trace, "rust/src/lib.rs").contains("13:1 14:1 15:1 17:1 18:1 19:1"), "{trace}");
}

/// Files that don't count, and what a module that counts is not held to.
fn what_is_left_out(context: &Context) {
    let dir = context.case("coverage");
    edit(&dir.join("vexlab.toml"), "[rust]", "[check]\nstrict = true\nmax-size = \"1K\"\n\n[rust]");
    let refused = context.vexlab(["build", "-k", KERNEL]).dir(&dir).run();
    assert_eq!(refused.status, 11, "{refused}");
    edit(&dir.join("vexlab.toml"), "[rust]", "[coverage]\nleave-out = [\"rust/*\"]\n\n[rust]");
    let (ended, trace) = measure(context, &dir, &["even", "--no-life", "-k", KERNEL]);
    assert_eq!(ended.status, 0, "{ended}");
    assert!(trace.contains("SF:main.c") && !trace.contains("lib.rs"), "{trace}");
    let ended = context.vexlab(["coverage", "--root", "debian-12"]).dir(&dir).run();
    assert_eq!(ended.status, 2, "{ended}");
    assert!(ended.stderr.contains("coverage does not go with the image debian-12"), "{ended}");
}

fn a_machine_takes_its_own_counts_with_it(context: &Context) {
    let dir = context.case("test_bugs");
    let (ended, trace) = measure(context, &dir, &["--no-life", "-k", KERNEL]);
    assert_eq!(ended.status, 14, "{ended}");
    let lost = "the counts of read-the-parameter are lost: the machine ended before they could be read";
    assert!(ended.stderr.contains(lost), "{ended}");
    assert!(trace.contains("SF:test_bugs.c"), "the rest counts: {trace}");
}

/// Of what the kernel has killed, what was run until then is known.
fn an_oops_takes_nothing_with_it(context: &Context) {
    let dir = context.case("ktests_oops");
    let (ended, trace) = measure(context, &dir, &["--no-life", "-k", KERNEL]);
    assert_eq!(ended.status, 14, "{ended}");
    assert!(!ended.stderr.contains("lost"), "{ended}");
    assert!(lines(&trace, "ktests_oops.c").contains("13:1 15:1"), "{trace}");
}

fn no_counter_was_read(context: &Context) {
    let dir = context.case("init_loops");
    let (ended, trace) = measure(context, &dir, &["--no-life", "-k", KERNEL]);
    assert_eq!((ended.status, trace.as_str()), (15, ""), "{ended}");
    let told = "error: no counter of init_loops.ko was read\n  help: each machine ended before a test had; \
                what the run says of it is why";
    assert!(ended.stderr.contains(told), "{ended}");
}

fn a_module_too_large_for_the_machine(context: &Context) {
    let dir = context.case("good_c");
    let source = dir.join("good_c.c");
    edit(&source, "#include <linux/module.h>", "#include <linux/module.h>\nchar good_c_room[140 << 20];");
    let (ended, _) = measure(context, &dir, &["--no-life", "-k", KERNEL]);
    assert_eq!(ended.status, 2, "{ended}");
    assert!(
        ended.stderr.contains("good_c.ko takes 141 MiB to be loaded for coverage, more than half of"),
        "{ended}"
    );
    assert!(ended.stderr.contains("help: set `memory = \"281M\"` under [machine] in vexlab.toml"), "{ended}");
}

/// A compiler of before the flag, as far as that can be told from here.
fn a_compiler_that_can_not_count(context: &Context) {
    let dir = context.case("good_c");
    let compiler = context.dir().join("old-gcc");
    let script = "#!/bin/sh\ncase \" $* \" in\n*' -fprofile-info-section '*)\n\techo \"gcc: error: unrecognized \
                  command-line option '-fprofile-info-section'\" >&2\n\texit 1 ;;\nesac\nexec gcc \"$@\"\n";
    fs::write(&compiler, script).expect("a compiler can be written");
    fs::set_permissions(&compiler, fs::Permissions::from_mode(0o755)).expect("and made executable");
    let make = format!("[module]\nmake = [\"CC={}\"]", compiler.display());
    edit(&dir.join("vexlab.toml"), "[module]", &make);
    let (ended, _) = measure(context, &dir, &["--no-life", "-k", KERNEL]);
    assert_eq!(ended.status, 10, "{ended}");
    insta::assert_snapshot!(errors(&ended), @"
    error: the C compiler for debian-6.1-cloud can't count for coverage
      cause: gcc: error: unrecognized command-line option '-fprofile-info-section'
      help: gcc has -fprofile-info-section since version 11: apt-get install gcc-12
    ");
}

fn a_build_that_does_not_count(context: &Context) {
    let dir = context.case("good_c");
    let remove = "ccflags-remove-y += -fprofile-arcs -ftest-coverage\n";
    let kbuild = fs::read_to_string(dir.join("Kbuild")).expect("a Kbuild file");
    fs::write(dir.join("Kbuild"), kbuild + remove).expect("it can be written");
    let (ended, _) = measure(context, &dir, &["--no-life", "-k", KERNEL]);
    assert_eq!(ended.status, 10, "{ended}");
    insta::assert_snapshot!(errors(&ended), @"
    error: nothing is counted in good_c.ko for debian-6.1-cloud
      cause: there is nothing in its section .vexlab_counters
      help: its Kbuild file has to keep KCFLAGS and LDFLAGS_MODULE as they are given to it
    ");
}

/// One of another version than the compiler, say.
fn a_gcov_that_fails(context: &Context) {
    let dir = context.case("good_c");
    let tools = context.dir().join("tools");
    fs::create_dir(&tools).expect("a folder for a tool");
    for name in ["gcov", "gcov-11", "gcov-12", "gcov-13", "gcov-14", "gcov-15"] {
        let script = "#!/bin/sh\necho '0.gcno:version mismatch' >&2\n";
        fs::write(tools.join(name), script).expect("a tool can be written");
        fs::set_permissions(tools.join(name), fs::Permissions::from_mode(0o755))
            .expect("and made executable");
    }
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default());
    let command = context.vexlab(["coverage", "--no-life", "-k", KERNEL]).env("PATH", path).dir(&dir);
    let ended = command.run();
    assert_eq!(ended.status, 20, "{ended}");
    let told = "\n  cause: 0.gcno:version mismatch\n  help: apt-get install gcc-";
    assert!(ended.stderr.contains(told), "{ended}");
}

/// What is told of the error.
fn errors(ended: &Ended) -> String {
    let lines = ended.stderr.lines().skip_while(|line| !line.starts_with("error: "));
    lines.collect::<Vec<_>>().join("\n")
}
