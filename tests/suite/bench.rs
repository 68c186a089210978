// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::call::Ended;
use crate::harness::{Context, machine, provision};

const USUAL: Duration = Duration::from_secs(180);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("bench::one_instruction_more_is_noticed", USUAL, one_instruction_more_is_noticed),
        machine("bench::what_is_not_comparable_is_refused", USUAL, what_is_not_comparable_is_refused),
        machine("bench::times_are_not_taken_under_emulation", USUAL, times_are_not_taken_under_emulation),
        machine("bench::what_is_not_there_is_told_of", USUAL, what_is_not_there_is_told_of),
        machine("bench::results_are_for_programs_too", USUAL, results_are_for_programs_too),
    ]
}

fn bench(context: &Context, dir: &Path, arguments: &[&str]) -> Ended {
    context.vexlab(["bench"]).args(arguments).dir(dir).run()
}

/// Has what is called take a `nop` more.
fn add_an_instruction(dir: &Path) {
    let kbuild = dir.join("Kbuild");
    let text = fs::read_to_string(&kbuild).expect("the case has a Kbuild file");
    fs::write(kbuild, text + "ccflags-y += -DBENCHES_MORE\n").expect("the copy can be written");
}

fn one_instruction_more_is_noticed(context: &Context) {
    let dir = context.case("benches");
    let first = bench(context, &dir, &["main.call", "--save-baseline", "before"]);
    assert_eq!(first.status, 0, "{first}");
    let same = bench(context, &dir, &["main", "--baseline", "before"]);
    insta::assert_snapshot!(same.told(), @r"
    status 0
    benches on debian-6.1-cloud, counted
    speed/main.call                            4 instructions  no change
    speed/main.call_and_more                   5 instructions  no change
    speed/main.first_turn_is_slow              1 instructions
    speed/main.half                         3.50 instructions
    speed/main.nothing                         0 instructions
    speed/main.processor_is_wanted             7 instructions
    ");
    add_an_instruction(&dir);
    let more = bench(context, &dir, &["main", "--baseline", "before"]);
    insta::assert_snapshot!(more.told(), @r"
    status 1
    benches on debian-6.1-cloud, counted
    speed/main.call                            5 instructions  regressed: it was 4, +25.00 %
    speed/main.call_and_more                   6 instructions  regressed: it was 5, +20.00 %
    speed/main.first_turn_is_slow              1 instructions
    speed/main.half                         3.50 instructions
    speed/main.nothing                         0 instructions
    speed/main.processor_is_wanted             7 instructions
    2 of 6 benchmarks could not be measured, or are not as the baseline has them
    ");
}

/// A baseline in a file, and the file.
fn baseline(context: &Context, dir: &Path) -> (PathBuf, String) {
    let file = context.dir().join("ci/bench.json");
    let place = file.display().to_string();
    let saved = bench(context, dir, &["main.nothing", "--save-baseline", &place]);
    assert_eq!(saved.status, 0, "{saved}");
    let text = fs::read_to_string(&file).expect("the baseline was written");
    (file, text)
}

fn what_is_not_comparable_is_refused(context: &Context) {
    let dir = context.case("benches");
    let (file, text) = baseline(context, &dir);
    let place = file.display().to_string();
    let told = |change: &dyn Fn(&mut Value)| {
        let mut json: Value = serde_json::from_str(&text).expect("a baseline is JSON");
        change(&mut json["reports"][0]["setting"]);
        fs::write(&file, json.to_string()).expect("the baseline can be changed");
        bench(context, &dir, &["main.nothing", "--baseline", &place]).told()
    };
    insta::assert_snapshot!(told(&|setting| setting["release"] = "6.1.0-1-parisc".into()), @r"
    status 2
    error: the baseline [DIR]/ci/bench.json is of another kernel, and is not compared: it is of 6.1.0-1-parisc, this is [RELEASE]
      help: save a baseline for it: vexlab bench --save-baseline NAME
    ");
    let another = told(&|setting| setting["compilers"] = vec!["GCC: (Debian) 4.9"].into());
    let what = "is of another compiler, and is not compared: it is of GCC: (Debian) 4.9, this is GCC: ";
    assert!(another.starts_with("status 2") && another.contains(what), "{another}");
    insta::assert_snapshot!(told(&|setting| setting["kernel"] = "debian-5.10".into()), @r"
    status 2
    error: the baseline [DIR]/ci/bench.json has nothing of debian-6.1-cloud (counted); it has debian-5.10 (counted)
      help: save a baseline for it: vexlab bench --save-baseline NAME
    ");
    fs::write(&file, "[]").expect("the baseline can be changed");
    insta::assert_snapshot!(bench(context, &dir, &["--baseline", &place]).told(), @r"
    status 2
    error: [DIR]/ci/bench.json is no baseline
      cause: invalid length 0, expected struct Baseline with 2 elements at line 1 column 2
      help: make it anew: vexlab bench --save-baseline NAME
    ");
    insta::assert_snapshot!(bench(context, &dir, &["--baseline", "none"]).told(), @r"
    status 2
    error: there is no baseline [DIR]/benches/target/vexlab/bench/none.json
      cause: No such file or directory (os error 2)
      help: `vexlab bench --save-baseline NAME` makes one
    ");
}

fn times_are_not_taken_under_emulation(context: &Context) {
    let dir = context.case("benches");
    insta::assert_snapshot!(bench(context, &dir, &["--timed", "--accel", "tcg"]).told(), @r"
    status 2
    error: times are not measured under emulation: they would be those of QEMU's translator, not of a processor
      help: count instructions instead, without --timed; or have it done all the same with --force
    ");
    insta::assert_snapshot!(bench(context, &dir, &["--accel", "kvm"]).told(), @r"
    status 2
    error: instructions are counted by emulation, not under KVM
      help: leave --accel away, or measure times: --timed
    ");
    let forced = bench(context, &dir, &["main.call", "--timed", "--force", "--accel", "tcg"]);
    // On a busy host they vary, which is told then.
    let lines =
        forced.stdout.lines().filter(|line| line.contains("time: [") || line.contains("its time varies"));
    assert_eq!(lines.count(), 2, "{forced}");
}

fn what_is_not_there_is_told_of(context: &Context) {
    let dir = context.case("good_c");
    insta::assert_snapshot!(bench(context, &dir, &[]).told(), @r"
    status 2
    error: good_c has no benchmarks
      help: say where they are with [[bench]] in vexlab.toml: docs/bench.md
    ");
    let dir = context.case("benches");
    insta::assert_snapshot!(bench(context, &dir, &["frobnicate"]).told(), @r"
    status 2
    error: no benchmark has `frobnicate` in its name
      help: `vexlab bench --list` lists them all
    ");
    let listed = bench(context, &dir, &["--list", "main.c", "skips"]);
    insta::assert_snapshot!(listed.told(), @r"
    status 0
    speed/main.call
    speed/main.call_and_more
    speed/trouble.skips
    ");
    let manifest = dir.join("vexlab.toml");
    let text = fs::read_to_string(&manifest).expect("the case has a vexlab.toml");
    fs::write(&manifest, text.replace("benches/benches", "benches/speed")).expect("the copy can be written");
    let missing = bench(context, &dir, &[]);
    assert_eq!(missing.status, 1, "{missing}");
    let why = "open /sys/kernel/debug/benches/speed failed with errno 2 (No such file or directory)";
    assert!(missing.stdout.contains(why), "{missing}");
}

fn results_are_for_programs_too(context: &Context) {
    provision("debian-6.12-cloud");
    let dir = context.case("benches");
    let kernels = ["-k", "debian-6.1-cloud", "-k", "debian-6.12-cloud"];
    let json = bench(context, &dir, &[&["main.", "--format", "json"], &kernels[..]].concat());
    assert_eq!(json.status, 0, "{json}");
    let value: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    assert_eq!(value["version"], 1, "{json}");
    for report in value["reports"].as_array().expect("there are reports") {
        let each = |name: &str| {
            let benchmarks = report["benchmarks"].as_array().expect("a report has benchmarks");
            let benchmark = benchmarks.iter().find(|benchmark| benchmark["name"] == name);
            benchmark.unwrap_or_else(|| panic!("{name}; {json}"))["each"].as_f64().expect("a number")
        };
        assert_eq!(each("speed/main.call_and_more") - each("speed/main.call"), 1.0, "{json}");
        assert_eq!((each("speed/main.nothing"), each("speed/main.half")), (0.0, 3.5), "{json}");
    }
    let page = bench(context, &dir, &["main.call", "--format", "markdown"]);
    assert!(page.stdout.contains("| a call | 5 | 4 | 1.25 | +1 |  |\n"), "{page}");
}
