// SPDX-License-Identifier: GPL-2.0-only
//! How fast a console is read. Prints a part of `docs/performance.md`.
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod timing;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::console::Watch;
use timing::{Times, run, seconds, timed};

/// How long the console is, in bytes.
const LENGTH: usize = 100_000_000;

/// The kernel of the run that is watched.
const KERNEL: &str = "debian-6.1";

/// How often each is measured.
const ROUNDS: usize = 5;

fn main() {
    println!("\n## A console of 100 MB (median of {ROUNDS})\n");
    println!("| what is in it | reports | seconds | MB/s |\n| --- | ---: | ---: | ---: |");
    row("a module's own lines", &quiet());
    row("a report of `tests/splats` after each thousand lines", &now_and_then());
    row("nothing but such reports", &reports().concat());
    watching();
}

/// How much of a run is spent on its console.
fn watching() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let test = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vexlab"));
        command.current_dir(&root).args(["test", "--no-life", "-k", KERNEL, "--format", "json"]);
        command
    };
    // Builds, and saves the machine.
    run(&mut test());
    let console = console(&test().output().expect("vexlab starts").stdout);
    let (mut runs, mut watched) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        runs.0.push(timed(&mut test()));
        watched.0.push(seconds(|| watch(&console)));
    }
    println!("\n## What watching a run takes: `vexlab test --no-life`, {KERNEL} (median of {ROUNDS})\n");
    println!("| what | seconds | of the run |\n| --- | ---: | ---: |");
    println!("| the run, with a console of {} bytes | {} | 100 % |", console.len(), runs.text());
    let part = 100.0 * watched.median() / runs.median();
    println!(
        "| its console, watched as it comes and read once more in the end | {} | {part:.2} % |",
        watched.text()
    );
}

/// Watches a console that comes as QEMU's serial port sends it, a byte or two at a time, and reads it again in the end.
fn watch(console: &str) {
    let watch = Watch::default();
    console.as_bytes().chunks(2).for_each(|piece| watch.push(piece));
    watch.end();
    assert!(
        watch.worst().is_none() && black_box(lab::splat::parse(console)).is_empty(),
        "it is a run that passes"
    );
}

/// The console of a run, by what it says of itself.
fn console(events: &[u8]) -> String {
    let events = String::from_utf8_lossy(events);
    let path = events.lines().find_map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| event[key].as_str();
        (event["event"] == "end").then(|| Some(Path::new(text("dir")?).join(text("console")?)))?
    });
    fs::read_to_string(path.expect("a run says where its console is")).expect("its console")
}

fn row(what: &str, piece: &str) {
    let console = piece.repeat(LENGTH / piece.len() + 1);
    let mut times = Times::default();
    let mut count = 0;
    for _ in 0..ROUNDS {
        times.0.push(seconds(|| count = black_box(lab::splat::parse(black_box(&console))).len()));
    }
    let speed = console.len() as f64 / 1e6 / times.median();
    println!("| {what} | {count} | {} | {speed:.0} |", times.text());
}

fn quiet() -> String {
    let line = |n: usize| {
        format!(
            "[{:5}.{:06}] vexfs: block {n} of the tree was written at {:#x}\n",
            n / 1000,
            n % 1000,
            n * 4096
        )
    };
    (0..1000).map(line).collect()
}

fn now_and_then() -> String {
    reports().iter().flat_map(|report| [quiet(), report.clone()]).collect()
}

/// What the kernels said.
fn reports() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/splats/debian-6.1");
    let files = fs::read_dir(dir).expect("the corpus").flatten().map(|entry| entry.path());
    let mut logs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs.iter().map(|log| fs::read_to_string(log).expect("a log")).collect()
}
