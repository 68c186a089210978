// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::call::Running;
use crate::harness::{Context, KERNEL, USUAL, machine, names_in, processes_with};

/// How soon something must be over that was told to stop.
const SOON: Duration = Duration::from_secs(10);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("interrupts::while_compiling", USUAL, while_compiling),
        machine("interrupts::while_booting", USUAL, while_booting),
        machine("interrupts::while_restoring", USUAL, while_restoring),
        machine("interrupts::while_a_command_runs", USUAL, while_a_command_runs),
        machine("interrupts::while_a_test_runs", USUAL, while_a_test_runs),
        machine("interrupts::killed", USUAL, killed),
        machine("interrupts::killed_while_compiling", USUAL, killed_while_compiling),
    ]
}

/// The emulators that run with a cache of a test's own.
pub(crate) fn machines_of(cache: &Path) -> Vec<(i32, String)> {
    let memory = format!("mem-path={}", cache.display());
    processes_with(&memory)
}

/// Interrupts a program as Ctrl-C does, and looks for what it left behind.
fn interrupt(context: &Context, running: Running, cache: &Path) {
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
    assert!(ended.stderr.contains("interrupted"), "{ended}");
    assert!(!ended.stdout.contains("passed:"), "{ended}");
    let dir = context.dir().display().to_string();
    assert_eq!(processes_with(&dir), [], "processes are left");
    for part in ["runs", "staging"] {
        assert_eq!(names_in(&cache.join("vexlab").join(part)), [""; 0], "leavings in {part}");
    }
}

fn start(context: &Context, arguments: &[&str], dir: &Path) -> (Running, PathBuf) {
    let cache = context.own_cache();
    let running = context.vexlab(arguments).env("XDG_CACHE_HOME", &cache).dir(dir).start();
    (running, cache)
}

/// A build that takes forever, once it has begun.
fn endless_build(context: &Context) -> (Running, PathBuf) {
    let dir = context.case("good_c");
    let begun = dir.join("begun");
    let kbuild = format!("obj-m := good_c.o\n$(shell touch {}; sleep 600)\n", begun.display());
    fs::write(dir.join("Kbuild"), kbuild).expect("the copy can be written");
    let (running, cache) = start(context, &["test"], &dir);
    context.wait_until("the build has begun", USUAL, || begun.exists());
    (running, cache)
}

fn while_compiling(context: &Context) {
    let (running, cache) = endless_build(context);
    interrupt(context, running, &cache);
}

fn while_booting(context: &Context) {
    let (running, cache) =
        start(context, &["run", "--no-module", "--kernel", KERNEL, "--", "true"], &context.dir());
    context.wait_until("a machine is there", USUAL, || !machines_of(&cache).is_empty());
    interrupt(context, running, &cache);
}

fn while_restoring(context: &Context) {
    let cache = context.own_cache();
    let run = |command: &[&str]| {
        let call = context.vexlab(["run", "--no-module", "--kernel", KERNEL, "--"]);
        call.args(command).env("XDG_CACHE_HOME", &cache)
    };
    assert_eq!(run(&["true"]).run().status, 0);
    fs::remove_dir_all(cache.join("vexlab/runs")).expect("the first run has a record");
    let running = run(&["sleep", "600"]).start();
    context.wait_until("a machine is there", USUAL, || !machines_of(&cache).is_empty());
    interrupt(context, running, &cache);
    assert_eq!(names_in(&cache.join("vexlab/states")).len(), 1, "the state is as good as before");
}

fn while_a_command_runs(context: &Context) {
    let command = ["run", "--no-module", "--kernel", KERNEL, "--", "sh", "-c", "echo begun; exec sleep 600"];
    let (running, cache) = start(context, &command, &context.dir());
    context.wait_until("the command runs", USUAL, || running.stdout() == "begun\n");
    assert_eq!(machines_of(&cache).len(), 1, "there is something to be left behind");
    interrupt(context, running, &cache);
}

fn while_a_test_runs(context: &Context) {
    let dir = context.case("test_hangs");
    let manifest = fs::read_to_string(dir.join("vexlab.toml")).expect("the case has one");
    fs::write(dir.join("vexlab.toml"), manifest.replace("timeout = 2", "timeout = 600")).expect("a copy");
    let (running, cache) = start(context, &["test"], &dir);
    context.wait_until("the module is loaded", USUAL, || running.stdout().contains("  ok   load"));
    interrupt(context, running, &cache);
}

/// Even where the program can't clean up, the machine does not outlive it.
fn killed(context: &Context) {
    let command = ["run", "--no-module", "--kernel", KERNEL, "--", "sh", "-c", "echo begun; exec sleep 600"];
    let (running, cache) = start(context, &command, &context.dir());
    context.wait_until("the command runs", USUAL, || running.stdout() == "begun\n");
    assert_eq!(machines_of(&cache).len(), 1, "there is something to be left behind");
    running.signal(Signal::KILL);
    let ended = running.wait();
    assert_eq!(ended.status, 128 + 9, "{ended}");
    context.wait_until("the machine is gone", SOON, || machines_of(&cache).is_empty());
}

/// The same holds for what compiles, and for all that it started.
fn killed_while_compiling(context: &Context) {
    let (running, _) = endless_build(context);
    let dir = context.dir().display().to_string();
    assert!(processes_with(&dir).len() > 1, "there is something to be left behind");
    running.signal(Signal::KILL);
    context.wait_until("what it started is gone", SOON, || {
        processes_with(&dir).iter().all(|(_, line)| line.is_empty())
    });
    assert_eq!(running.wait().status, 128 + 9);
}
