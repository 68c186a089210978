// SPDX-License-Identifier: GPL-2.0-only
//! How long the loop takes, from source to verdict, beside the least that QEMU needs to boot the same
//! kernel. Prints `docs/performance.md`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

mod timing;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Instant, SystemTime};

use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::kernel::{self, Kernel};
use lab::machine::tsc_khz;
use lab::newc::Archive;
use timing::{Times, run, timed};

/// The kernels that are measured.
const KERNELS: [&str; 2] = ["debian-6.1-cloud", "debian-6.1"];

/// The program of a machine that does nothing: it restarts at once, which `-no-reboot` makes an end.
const INIT: &str = r#"
void _start(void)
{
	long ret;

	asm volatile("syscall" : "=a"(ret)
		     : "a"(169L), "D"(0xfee1deadL), "S"(672274793L), "d"(0x1234567L)
		     : "rcx", "r11", "memory");
	for (;;)
		;
}
"#;

/// How often each is measured, in turn with the others.
const ROUNDS: usize = 9;

fn main() {
    let bench = Bench::prepare();
    println!("# How long things take\n");
    println!(
        "Made by `make bench`. Wall-clock seconds: median (least to most) of {ROUNDS}, measured in turn."
    );
    println!("Under emulation only the ratios of one run mean anything.\n");
    println!("{}\n", bench.host());
    for name in KERNELS {
        bench.boot_table(name);
    }
    bench.loop_table();
    bench.first_verdict();
}

struct Bench {
    lab: Lab,
    vexlab: PathBuf,
    project: PathBuf,
    dir: tempfile::TempDir,
    initramfs: PathBuf,
}

impl Bench {
    fn prepare() -> Self {
        let project =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace");
        let cache = Cache::of_user().expect("the cache");
        let lab = Lab { cache, reporter: std::sync::Arc::new(Silent), cancel: Cancel::default() };
        let dir = tempfile::tempdir().expect("a folder");
        let (source, program) = (dir.path().join("init.c"), dir.path().join("init"));
        fs::write(&source, INIT).expect("write init.c");
        let mut gcc = Command::new("gcc");
        run(gcc.args(["-static", "-nostdlib", "-O2", "-o"]).args([&program, &source]));
        let mut archive = Archive::default();
        archive.file("init", 0o755, &fs::read(&program).expect("read init"));
        let initramfs = dir.path().join("least.cpio");
        fs::write(&initramfs, archive.finish()).expect("write the initramfs");
        Self { lab, vexlab: env!("CARGO_BIN_EXE_vexlab").into(), project, dir, initramfs }
    }

    /// What the figures depend on.
    fn host(&self) -> String {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpuinfo.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("?", |m| m.1);
        let processors = std::thread::available_parallelism().map_or(0, |n| n.get());
        let qemu = Command::new("qemu-system-x86_64").arg("--version").output().expect("QEMU");
        let qemu = String::from_utf8_lossy(&qemu.stdout).lines().next().unwrap_or_default().to_owned();
        format!("Host: {model}, {processors} processors; {qemu}; emulated (`--accel tcg`).")
    }

    /// Bare QEMU, called in the fastest ways there are, beside `vexlab run`.
    fn boot_table(&self, name: &str) {
        let kernel = kernel::resolve(&self.lab, name).expect("the kernel");
        let parameters = self.parameters();
        let floor = format!("{parameters} reboot=t");
        let mut rows = [
            ("QEMU, microvm without ACPI: finds no virtio device, the floor", Times::default()),
            ("QEMU, microvm with ACPI: the least machine to talk to", Times::default()),
            ("QEMU, q35", Times::default()),
            ("`vexlab run --cold --no-module -- true`", Times::default()),
            ("`vexlab run --cold -- true`, with vexfs.ko", Times::default()),
            ("`vexlab run --no-module -- true`, from a saved machine", Times::default()),
            ("`vexlab run -- true`, with vexfs.ko, from a saved machine", Times::default()),
            ("`vexlab run --no-module --root host -- /bin/true`, from a saved machine", Times::default()),
        ];
        let run = ["run", "--accel", "tcg", "-k", name];
        for round in 0..=ROUNDS {
            let times = [
                self.bare(&kernel, "microvm,acpi=off", &floor),
                self.bare(&kernel, "microvm", &floor),
                self.bare(&kernel, "q35", &floor),
                self.vexlab(&[&run[..], &["--cold", "--no-module", "--", "true"]].concat()),
                self.vexlab(&[&run[..], &["--cold", "--", "true"]].concat()),
                self.vexlab(&[&run[..], &["--no-module", "--", "true"]].concat()),
                self.vexlab(&[&run[..], &["--", "true"]].concat()),
                self.vexlab(&[&run[..], &["--no-module", "--root", "host", "--", "/bin/true"]].concat()),
            ];
            eprintln!("{name}: round {round} of {ROUNDS}");
            // The first round fills the caches, and saves the machines.
            if round > 0 {
                rows.iter_mut().zip(times).for_each(|(row, time)| row.1.0.push(time));
            }
        }
        let floor = rows[0].1.median();
        println!("## From the program's start to the end of `true`, {name}\n");
        println!(
            "| what | seconds | times the floor | times the least machine to talk to |\n| --- | ---: | ---: | ---: |"
        );
        let talk = rows[1].1.median();
        for (what, times) in &rows {
            let median = times.median();
            println!("| {what} | {} | {:.2} | {:.2} |", times.text(), median / floor, median / talk);
        }
        println!();
    }

    /// An edit, or none, to the verdict.
    fn loop_table(&self) {
        let copy = self.dir.path().join("project");
        run(Command::new("git").args(["clone", "--quiet"]).args([&self.project, &copy]));
        let name = KERNELS[0];
        let test = ["test", "--accel", "tcg", "--no-life", "-k", name];
        self.vexlab_in(&copy, &test);
        let mut rows = [
            ("one Rust file touched", "kernel/glue/src/errno.rs", Times::default()),
            ("one C file touched", "kernel/super.c", Times::default()),
            ("nothing touched", "", Times::default()),
            ("nothing touched, `--cold`", "", Times::default()),
        ];
        for round in 1..=ROUNDS {
            for (what, file, times) in &mut rows {
                if !file.is_empty() {
                    let file = File::options().append(true).open(copy.join(*file)).expect("a source");
                    file.set_modified(SystemTime::now()).expect("touch a source");
                }
                let cold: &[&str] = if what.ends_with("`--cold`") { &["--cold"] } else { &[] };
                times.0.push(self.vexlab_in(&copy, &[&test, cold].concat()));
            }
            eprintln!("loop: round {round} of {ROUNDS}");
        }
        println!("## From an edit of VexFS to the verdict: `vexlab test --no-life -k {name}`\n");
        println!("| what | seconds |\n| --- | ---: |");
        for (what, _, times) in &rows {
            println!("| {what} | {} |", times.text());
        }
        println!();
    }

    /// A clean clone with empty caches, downloads included, to the first verdict. Measured once.
    fn first_verdict(&self) {
        let home = self.dir.path().join("fresh");
        let clone = home.join("clone");
        fs::create_dir(&home).expect("a folder");
        let started = Instant::now();
        run(Command::new("git").args(["clone", "--quiet"]).args([&self.project, &clone]));
        let mut demo = Command::new("make");
        demo.args(["-C"]).arg(&clone).arg("demo").env("XDG_CACHE_HOME", home.join("cache"));
        demo.env("CARGO_HOME", home.join("cargo")).env_remove("CARGO_TARGET_DIR").env_remove("MAKEFLAGS");
        run(&mut demo);
        println!("## From a clean clone to the first verdict\n");
        println!(
            "`git clone`, then `make demo`, with every cache empty and all downloads (crates, kernel, rust-src)\n\
             included, once: {:.0} s.",
            started.elapsed().as_secs_f64()
        );
    }

    fn parameters(&self) -> String {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let khz = tsc_khz(&cpuinfo).map(|khz| format!(" tsc_early_khz={khz}")).unwrap_or_default();
        format!("quiet panic=-1 cryptomgr.notests noreplace-smp{khz}")
    }

    fn bare(&self, kernel: &Kernel, machine: &str, parameters: &str) -> f64 {
        let mut command = Command::new("timeout");
        command.args(["60", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"]);
        command.args(["-display", "none", "-nic", "none", "-cpu", "qemu64", "-smp", "1", "-m", "256"]);
        command.args(["-bios", "qboot.rom", "-M", &format!("{machine},accel=tcg"), "-append", parameters]);
        command.arg("-kernel").arg(kernel.image()).arg("-initrd").arg(&self.initramfs);
        timed(&mut command)
    }

    fn vexlab(&self, arguments: &[&str]) -> f64 {
        self.vexlab_in(&self.project, arguments)
    }

    fn vexlab_in(&self, dir: &Path, arguments: &[&str]) -> f64 {
        timed(Command::new(&self.vexlab).args(arguments).current_dir(dir))
    }
}
