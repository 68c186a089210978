// SPDX-License-Identifier: GPL-2.0-only
//! How fast a console is read. Prints a part of `docs/performance.md`.
#![expect(clippy::print_stdout, reason = "the table is the result")]

#[expect(dead_code, reason = "no program is started here")]
mod timing;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};

use timing::{Times, seconds};

/// How long the console is, in bytes.
const LENGTH: usize = 100_000_000;

/// How often each is measured.
const ROUNDS: usize = 5;

fn main() {
    println!("\n## A console of 100 MB (median of {ROUNDS})\n");
    println!("| what is in it | reports | seconds | MB/s |\n| --- | ---: | ---: | ---: |");
    row("a module's own lines", &quiet());
    row("a report of `tests/splats` after each thousand lines", &now_and_then());
    row("nothing but such reports", &reports().concat());
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
