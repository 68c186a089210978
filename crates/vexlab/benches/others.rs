// SPDX-License-Identifier: GPL-2.0-only
//! How long it takes to run `true` on a distribution's kernel, beside virtme-ng and vmtest. Prints a part of
//! `docs/performance.md`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

mod timing;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::{busybox, kernel};
use timing::{Times, run, seconds, timed};

/// The kernel: the others want one with 9p.
const KERNEL: &str = "debian-6.1";

/// How often each is measured, in turn with the others: a round takes more than a minute. Each is called several times in
/// a row then, and the last call is measured: a host may take from memory what has not been used for a while. After a
/// pause of a minute the first of three calls read 160 MiB from a disk, and took twice as long as the next, which read
/// nothing.
const ROUNDS: usize = 5;
const CALLS: usize = 3;

/// When a program that asks for KVM is ended, in seconds.
const PATIENCE: &str = "60";

fn main() {
    let others = Others::prepare();
    let vng = "vng --run boot/vmlinuz-RELEASE --busybox BUSYBOX";
    let rows = [
        ("`vexlab run --no-module --accel tcg -- true`".to_owned(), Way::Vexlab(&["--accel", "tcg"])),
        ("the same without `--accel tcg`".to_owned(), Way::Vexlab(&[])),
        ("the first with `--cold`".to_owned(), Way::Vexlab(&["--accel", "tcg", "--cold"])),
        (
            format!("`{vng} --disable-kvm --cpus 1 --memory 512M --exec true`"),
            Way::Vng(&["--disable-kvm", "--cpus", "1", "--memory", "512M"]),
        ),
        (format!("`{vng} --disable-kvm --exec true`"), Way::Vng(&["--disable-kvm"])),
        ("`vmtest -c vmtest.toml`: 1 processor, 512 MiB, `command = \"true\"`".to_owned(), Way::Vmtest),
    ];
    others.check_vng();
    let mut times: Vec<Times> = rows.iter().map(|_| Times::default()).collect();
    for round in 0..=ROUNDS {
        for ((_, way), times) in rows.iter().zip(&mut times) {
            let call = || match way {
                Way::Vng(_) => seconds(|| drop(others.command(way).output().expect("vng"))),
                Way::Vexlab(_) | Way::Vmtest => timed(&mut others.command(way)),
            };
            let all: Vec<f64> = (0..CALLS).map(|_| call()).collect();
            // The first round saves the machine.
            if round > 0 {
                times.0.extend(all.last());
            }
        }
        eprintln!("others: round {round} of {ROUNDS}");
    }
    println!(
        "\n## Beside virtme-ng and vmtest: from the program's start to the end of `true`, {KERNEL} (median of {ROUNDS})\n"
    );
    println!(
        "By a call of its own, `cargo bench -p vexlab --bench others`, which `make bench` makes last but one."
    );
    println!(
        "virtme-ng 1.42 and vmtest 0.18.0, emulated, as `tools/other-labs` sets them up. In turn, each {CALLS}"
    );
    println!("times in a row, of which the last call is measured. {}. Where the host has", kvm());
    println!("no udev, vng hands on neither output nor status; with `--verbose` it said that `true` ran.\n");
    println!("| how it is called | seconds | times the first |\n| --- | ---: | ---: |");
    let first = times[0].median();
    for ((what, _), times) in rows.iter().zip(&times) {
        println!("| {what} | {} | {:.1} |", times.text(), times.median() / first);
    }
    others.with_kvm(vng);
}

/// How a program is called.
enum Way {
    Vexlab(&'static [&'static str]),
    Vng(&'static [&'static str]),
    Vmtest,
}

struct Others {
    dir: PathBuf,
    busybox: PathBuf,
}

impl Others {
    fn prepare() -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let cache = Cache::of_user().expect("the cache");
        let lab = Lab { cache, reporter: std::sync::Arc::new(Silent), cancel: Cancel::default() };
        kernel::resolve(&lab, KERNEL).expect("the kernel");
        let root = lab.cache.path("kernels").join(KERNEL).join("root");
        let busybox = busybox::get(&lab).expect("busybox").path().to_owned();
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("others");
        run(Command::new(project.join("tools/other-labs")).args([&root, &busybox, &dir]));
        Self { dir, busybox }
    }

    fn command(&self, way: &Way) -> Command {
        let mut command = match way {
            Way::Vexlab(options) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_vexlab"));
                command.args(["run", "--no-module", "-k", KERNEL]).args(*options).args(["--", "true"]);
                command
            }
            Way::Vng(options) => {
                let mut command = Command::new(self.dir.join("venv/bin/vng"));
                let kernel = self.dir.join("kernel/vmlinuz").canonicalize().expect("the kernel");
                command.arg("--run").arg(kernel).arg("--busybox").arg(&self.busybox).args(*options);
                command.args(["--exec", "true"]);
                command
            }
            Way::Vmtest => {
                let mut command = Command::new(self.dir.join("bin/vmtest"));
                command.arg("-c").arg(self.dir.join("vmtest.toml"));
                command
            }
        };
        let path = [
            self.dir.join("venv/bin"),
            self.dir.join("qemu-guest-agent/usr/sbin"),
            self.dir.join("kmod/sbin"),
        ];
        let before = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(path.into_iter().chain(env::split_paths(&before))).expect("a path");
        command.env("PATH", path);
        command
    }

    /// Has vng say that it does what is measured.
    fn check_vng(&self) {
        let mut command = self.command(&Way::Vng(&["--disable-kvm", "--verbose"]));
        assert!(has_run(&mut command), "{command:?} did not say that `true` ran");
    }

    /// What becomes of a call that leaves the choice of KVM to the program.
    fn with_kvm(&self, vng: &str) {
        println!("\nWith nothing said of KVM, once each:\n");
        println!("| how it is called | how it ended | seconds |\n| --- | --- | ---: |");
        let ways = [
            ("`vexlab run --no-module -- true`".to_owned(), self.command(&Way::Vexlab(&[]))),
            (format!("`{vng} --exec true`"), self.command(&Way::Vng(&[]))),
        ];
        for (what, command) in ways {
            let mut limited = Command::new("timeout");
            limited.arg("--kill-after=5").arg(PATIENCE).arg(command.get_program()).args(command.get_args());
            for (name, value) in command.get_envs() {
                limited.env(name, value.unwrap_or_default());
            }
            let started = Instant::now();
            let status = limited.stdin(Stdio::null()).output().expect("timeout").status;
            // Its status alone says nothing where the host has no udev.
            let is_vng = what.contains("vng");
            let end = match status.code() {
                Some(0) => "passed".to_owned(),
                Some(255) if is_vng && has_run(&mut self.command(&Way::Vng(&["--verbose"]))) => {
                    "passed".to_owned()
                }
                Some(124 | 137) => format!("ended by us after {PATIENCE} s"),
                _ => format!("failed, {status}"),
            };
            println!("| {what} | {end} | {:.2} |", started.elapsed().as_secs_f64());
        }
    }
}

/// What this host has.
fn kvm() -> &'static str {
    match Path::new("/dev/kvm").exists() {
        true => "`/dev/kvm` is there (`vexlab doctor` says whether it is usable)",
        false => "There is no `/dev/kvm`",
    }
}

/// Whether vng, told to be verbose, says that the command has run and succeeded.
fn has_run(vng: &mut Command) -> bool {
    let output = vng.stdin(Stdio::null()).output().expect("vng");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("script exited with code 0")
}
