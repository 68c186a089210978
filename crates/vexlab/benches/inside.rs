// SPDX-License-Identifier: GPL-2.0-only
//! How long machines with a whole distribution take to be ready, and VexFS to be built and tested inside of one.
//! Prints a part of `docs/performance.md`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

mod timing;

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use timing::{Times, run, timed};

const IMAGE: &str = "debian-12";

/// The machine that is kept for the builds.
const NAME: &str = "vexlab-bench";

/// How often each is measured: all of it takes minutes.
const ROUNDS: usize = 3;

fn main() {
    let dir = tempfile::tempdir().expect("a folder");
    let project = dir.path().join("project");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    run(Command::new("git").args(["clone", "--quiet"]).arg(source).arg(&project));
    let vexlab = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vexlab"));
        command.args(arguments).current_dir(&project);
        command
    };
    let listed = vexlab(&["image", "list"]).output().expect("vexlab").stdout;
    let is_there = |line: &str| line.starts_with(IMAGE) && line.contains(" MB ");
    if !String::from_utf8_lossy(&listed).lines().any(is_there) {
        run(&mut vexlab(&["image", "build", IMAGE]));
    }

    let mut cold = Times::default();
    let mut restored = Times::default();
    let nothing = ["run", "--no-module", "--root", IMAGE, "--", "true"];
    run(&mut vexlab(&nothing));
    for round in 1..=ROUNDS {
        cold.0.push(timed(&mut vexlab(&[&["run", "--cold"], &nothing[1..]].concat())));
        restored.0.push(timed(&mut vexlab(&nothing)));
        eprintln!("image: round {round} of {ROUNDS}");
    }

    run(&mut vexlab(&["up", NAME, "--root", IMAGE]));
    let test = ["test", "--in", NAME];
    let first = timed(&mut vexlab(&test));
    let mut rows = [
        ("one Rust file touched", "kernel/glue/src/errno.rs", Times::default()),
        ("one C file touched", "kernel/super.c", Times::default()),
    ];
    for round in 1..=ROUNDS {
        for (_, file, times) in &mut rows {
            let file = File::options().append(true).open(project.join(*file)).expect("a source");
            file.set_modified(SystemTime::now()).expect("touch a source");
            times.0.push(timed(&mut vexlab(&test)));
        }
        eprintln!("inside: round {round} of {ROUNDS}");
    }
    run(&mut vexlab(&["rm", "--force", NAME]));

    println!("\n## A whole distribution, {IMAGE} (median of {ROUNDS})\n");
    println!("The image is made by `vexlab image build {IMAGE}`; emulated, as the rest.\n");
    println!("| what | seconds |\n| --- | ---: |");
    println!(
        "| first boot to an ssh command done: `vexlab run --cold --no-module --root {IMAGE} -- true` | {} |",
        cold.text()
    );
    println!("| the same from a saved machine, without `--cold` | {} |", restored.text());
    println!(
        "| VexFS built inside, C and Rust, loaded and tested: `vexlab test --in NAME`, once | {first:.2} |"
    );
    for (what, _, times) in &rows {
        println!("| the same again, {what} | {} |", times.text());
    }
}
