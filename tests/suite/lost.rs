// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Ended, Running};
use crate::harness::{Context, USUAL, machine, names_in, processes_with};
use crate::interrupts::machines_of;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("lost::machine_killed_while_loading", USUAL, machine_killed_while_loading),
        machine("lost::machine_killed_while_testing", USUAL, machine_killed_while_testing),
        machine("lost::machine_killed_while_unloading", USUAL, machine_killed_while_unloading),
        machine("lost::terminal_closed_while_testing", USUAL, terminal_closed_while_testing),
        machine("lost::interrupted_while_loading", USUAL, interrupted_while_loading),
        machine("lost::interrupted_while_unloading", USUAL, interrupted_while_unloading),
    ]
}

/// How long a phase that is to be disturbed could last.
const LONG: &str = "600";

/// A project whose phase lasts, in a cache of its own.
fn project(context: &Context, case: &str, from: &str, to: &str) -> (PathBuf, PathBuf) {
    let dir = context.case(case);
    let path = dir.join("vexlab.toml");
    let manifest = fs::read_to_string(&path).expect("the case has one");
    fs::write(path, manifest.replace(from, to)).expect("a copy can be written");
    (dir, context.own_machines())
}

fn start(context: &Context, (dir, cache): &(PathBuf, PathBuf)) -> Running {
    context.vexlab(["test"]).env("XDG_CACHE_HOME", cache).dir(dir).start()
}

fn kill(number: i32) {
    let process = Pid::from_raw(number).expect("a process has a number");
    kill_process(process, Signal::KILL).expect("it is ours");
}

/// Waits until a line is on the console of the one run.
fn wait_for_console(context: &Context, cache: &Path, text: &str) {
    let runs = cache.join("vexlab/runs");
    context.wait_until(&format!("the console has {text}"), USUAL, || {
        names_in(&runs).iter().any(|run| {
            fs::read(runs.join(run).join("console.log"))
                .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        })
    });
}

fn ends_in(context: &Context, ended: &Ended, class: &str, status: i32) {
    assert_eq!(ended.status, status, "{ended}");
    assert!(ended.stdout.lines().any(|line| line.starts_with(&format!("{class}: "))), "{ended}");
    let dir = context.dir().display().to_string();
    assert_eq!(processes_with(&dir), [], "processes are left");
}

/// Kills the one machine that runs, when the console has a text.
fn kill_machine_at(context: &Context, cache: &Path, text: &str) {
    wait_for_console(context, cache, text);
    let machines = machines_of(cache);
    assert_eq!(machines.len(), 1, "{machines:?}");
    kill(machines[0].0);
}

fn machine_killed_while_loading(context: &Context) {
    let place = project(context, "init_loops", "load = 3", &format!("load = {LONG}"));
    let running = start(context, &place);
    kill_machine_at(context, &place.1, "init begins");
    let ended = running.wait();
    ends_in(context, &ended, "machine-lost", 17);
    assert!(
        ended.stdout.contains("loading init_loops.ko: the machine ended without its end message"),
        "{ended}"
    );
}

fn machine_killed_while_testing(context: &Context) {
    let place = project(context, "test_hangs", "timeout = 2", &format!("timeout = {LONG}"));
    let running = start(context, &place);
    context.wait_until("the module is loaded", USUAL, || running.stdout().contains("  ok   load"));
    let machines = machines_of(&place.1);
    assert_eq!(machines.len(), 1, "{machines:?}");
    kill(machines[0].0);
    let ended = running.wait();
    ends_in(context, &ended, "machine-lost", 17);
    for line in [" FAIL  sleeps", "the test sleeps: the machine ended without its end message"] {
        assert!(ended.stdout.contains(line), "`{line}`: {ended}");
    }
}

fn machine_killed_while_unloading(context: &Context) {
    let place = project(context, "exit_loops", "unload = 3", &format!("unload = {LONG}"));
    let running = start(context, &place);
    kill_machine_at(context, &place.1, "exit begins");
    let ended = running.wait();
    ends_in(context, &ended, "machine-lost", 17);
    assert!(ended.stdout.contains("unloading: the machine ended without its end message"), "{ended}");
    assert!(!ended.stdout.contains("  ok   unload"), "{ended}");
}

/// Ends a run by a signal, after which nothing is left.
fn signalled(context: &Context, running: Running, cache: &Path, signal: Signal) {
    running.signal(signal);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
    assert!(!ended.stdout.contains("passed:"), "{ended}");
    assert_eq!(processes_with(&context.dir().display().to_string()), [], "processes are left");
    // What is being made in `staging` may be another test's: that is shared.
    assert_eq!(names_in(&cache.join("vexlab/runs")), [""; 0], "leavings in runs");
}

fn terminal_closed_while_testing(context: &Context) {
    let place = project(context, "test_hangs", "timeout = 2", &format!("timeout = {LONG}"));
    let running = start(context, &place);
    context.wait_until("the module is loaded", USUAL, || running.stdout().contains("  ok   load"));
    signalled(context, running, &place.1, Signal::HUP);
}

fn interrupted_while_loading(context: &Context) {
    let place = project(context, "init_loops", "load = 3", &format!("load = {LONG}"));
    let running = start(context, &place);
    wait_for_console(context, &place.1, "init begins");
    signalled(context, running, &place.1, Signal::INT);
}

fn interrupted_while_unloading(context: &Context) {
    let place = project(context, "exit_loops", "unload = 3", &format!("unload = {LONG}"));
    let running = start(context, &place);
    wait_for_console(context, &place.1, "exit begins");
    signalled(context, running, &place.1, Signal::INT);
}
