// SPDX-License-Identifier: GPL-2.0-only
//! Samples, taken under emulation: as with KVM, but for the time, which is the emulator's. Only what takes longest is
//! asked for, of work that is done often enough for it to be seen on the busiest host.

use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::harness::{Context, KERNEL, machine};
use crate::profile::trouble;

const LIMIT: Duration = Duration::from_secs(240);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("sampled::of_c_and_rust", LIMIT, of_c_and_rust),
        machine("sampled::of_a_benchmark", LIMIT, of_a_benchmark),
        machine("sampled::of_a_command_on_two_processors", LIMIT, of_a_command_on_two_processors),
        machine("sampled::of_nothing", LIMIT, of_nothing),
        machine("sampled::not_under_emulation", LIMIT, not_under_emulation),
    ]
}

/// What `vexlab profile --sampled --format json` says.
fn profile(context: &Context, case: &Path, words: &[&str]) -> Value {
    let sampled = ["profile", "--sampled", "--force", "--accel", "tcg", "--format", "json"];
    let ended = context.vexlab(sampled).args(words.iter().copied()).dir(case).run();
    assert_eq!(ended.status, 0, "{ended}");
    let profile: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|why| panic!("{why}: {ended}"));
    let told = ["mode", "unit", "accelerator"].map(|key| profile[key].as_str().unwrap_or_default());
    assert_eq!((told, &profile["sampling"]["clock"]), (["sampled", "samples", "tcg"], &Value::from("timer")));
    profile
}

/// A function of a profile.
fn function<'p>(profile: &'p Value, name: &str) -> &'p Value {
    let functions = profile["functions"].as_array().expect("functions");
    let found = functions.iter().find(|function| function["function"] == name);
    found.unwrap_or_else(|| panic!("{name}: {profile:#}"))
}

fn samples(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn stacks(profile: &Value) -> String {
    fs::read_to_string(profile["stacks"].as_str().expect("a path")).expect("the stacks")
}

fn of_c_and_rust(context: &Context) {
    let case = context.case("profiled");
    for kernel in [KERNEL, "debian-6.12-cloud"] {
        let words = ["--kernel", kernel, "--repeat", "50", "--annotate", "profiled_in_c", "work"];
        let profile = profile(context, &case, &words);
        let top = &profile["functions"][0];
        assert_eq!(
            (&top["function"], &top["language"]),
            (&"profiled_in_c".into(), &"c".into()),
            "{profile:#}"
        );
        let mixed = function(&profile, "mixed");
        assert_eq!((&mixed["language"], &mixed["inlined"]), (&"rust".into(), &true.into()), "{profile:#}");
        assert!(samples(&mixed["total"]) > 0, "{profile:#}");
        let chain = "ktest_run_of_c_and_rust [profiled];profiled_both [profiled];profiled_between [profiled];\
            profiled_in_rust [profiled];mixed [profiled] (inlined)";
        assert!(stacks(&profile).lines().any(|line| line.starts_with(chain)), "{profile:#}");

        // Each sample is of an instruction, beside those of which there is none.
        let lines = profile["annotated"][0]["lines"].as_array().expect("lines");
        let instructions = lines.iter().filter_map(|line| line.get("instruction"));
        let sum: u64 = instructions.clone().map(|instruction| samples(&instruction["executions"])).sum();
        assert_eq!(sum, samples(&top["own"]), "{profile:#}");
        let is_there = |start: &str| {
            let mut texts = instructions.clone().filter_map(|instruction| instruction["text"].as_str());
            texts.any(|text| text.starts_with(start))
        };
        assert!(is_there("imul ") && is_there("jne +0x") && is_there("ret"), "{profile:#}");
    }
}

/// Interrupts are on while a benchmark is sampled, so that it is seen by a timer, too.
fn of_a_benchmark(context: &Context) {
    let case = context.case("benches");
    let profile = profile(context, &case, &["--kernel", KERNEL, "speed/main.call"]);
    assert!(samples(&function(&profile, "callee")["own"]) > 0, "{profile:#}");
    let stacks = stacks(&profile);
    assert!(
        stacks.lines().any(|line| line.starts_with("kbench_run_call [benches];callee [benches]")),
        "{stacks}"
    );
}

/// Of a program all counts that the machine does.
fn of_a_command_on_two_processors(context: &Context) {
    let case = context.case("profiled");
    let file = case.join("vexlab.toml");
    let text = fs::read_to_string(&file).expect("the project's file");
    fs::write(&file, text + "\n[machine]\nprocessors = 2\n").expect("it can be changed");
    let script =
        "dd if=/dev/zero of=/dev/null bs=1M count=100 & dd if=/dev/zero of=/dev/null bs=1M count=100; wait";
    let profile = profile(context, &case, &["--kernel", KERNEL, "--", "sh", "-c", script]);
    let stacks = stacks(&profile);
    let reads = "entry_SYSCALL_64_after_hwframe;do_syscall_64;";
    assert!(stacks.lines().any(|line| line.starts_with(reads) && line.contains("read_zero")), "{stacks}");
}

/// Tests that a file reports all at once are not told from what they say.
fn of_nothing(context: &Context) {
    let case = context.case("profiled");
    let call =
        context.vexlab(["profile", "--sampled", "--force", "--accel", "tcg", "--kernel", KERNEL, "all/"]);
    insta::assert_snapshot!(trouble(&call.dir(&case).run()), @"
    status 2
    error: the profile has no samples
      help: what takes so little time is not seen: --repeat COUNT has tests carried out again and again, --rate HERTZ has it looked more often; of tests, those are sampled that are run one by one, by `ktests`, and programs, by `run`
    ");
}

fn not_under_emulation(context: &Context) {
    let words = ["profile", "--sampled", "--accel", "tcg", "--kernel", KERNEL, "--no-module", "--", "true"];
    insta::assert_snapshot!(trouble(&context.vexlab(words).run()), @"
    status 2
    error: a machine that is emulated is not sampled: its time is that of QEMU's translator, not of a processor
      help: have each instruction counted, without --sampled; or have it done all the same with --force
    ");
}
