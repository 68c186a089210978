// SPDX-License-Identifier: GPL-2.0-only
//! How long it takes to check modules, beside the tools that look at each module when it is built. Prints a part of
//! `docs/performance.md`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is the result")]

mod timing;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use ko::{Answer, Index, Symbolised, TracePlace};
use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::kernel::{self, Kernel};
use lab::splat::{Frame, Kind, ModuleFile, Splat, symbolise};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use timing::{Times, run, seconds, timed};

/// The kernel that judges, and whose modules are checked.
const KERNEL: &str = "debian-6.1";

/// How many C files the large module has, each with the debug information of what it includes.
const FILES: usize = 12;

/// How many frames the trace has whose places are looked for.
const FRAMES: usize = 20;

/// How often each is measured, in turn with the others.
const ROUNDS: usize = 9;

fn main() {
    let bench = Bench::prepare();
    println!();
    bench.large();
    bench.own();
    bench.all();
}

struct Bench {
    vexlab: PathBuf,
    project: PathBuf,
    kernel: Kernel,
    judge: ko::Kernel,
    modpost: PathBuf,
    objtool: PathBuf,
    objtool_arguments: Vec<String>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn prepare() -> Self {
        let cache = Cache::of_user().expect("the cache");
        let lab = Lab { cache, reporter: std::sync::Arc::new(Silent), cancel: Cancel::default() };
        let kernel = kernel::resolve(&lab, KERNEL).expect("the kernel");
        let judge = kernel.judge().expect("what is known of the kernel");
        let arguments = lab::build::objtool_arguments(kernel.config()).expect("a kernel without IBT");
        // Nothing is written, and what is in a finished module is not made again.
        let made_before = ["--orc", "--static-call"];
        let objtool_arguments = arguments.into_iter().filter(|one| !made_before.contains(&one.as_str()));
        Self {
            vexlab: env!("CARGO_BIN_EXE_vexlab").into(),
            project: Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .canonicalize()
                .expect("the workspace"),
            modpost: kernel.build_dir().join("scripts/mod/modpost").canonicalize().expect("modpost"),
            objtool: kernel.build_dir().join("tools/objtool/objtool").canonicalize().expect("objtool"),
            objtool_arguments: objtool_arguments.chain(["--dry-run".to_owned()]).collect(),
            dir: tempfile::tempdir().expect("a folder"),

            kernel,
            judge,
        }
    }

    /// A module of about 10 MB, with debug information.
    fn large(&self) {
        let dir = self.dir.path().join("large");
        write_large_module(&dir);
        run(Command::new(&self.vexlab).args(["build", "-k", KERNEL]).current_dir(&dir));
        let file = dir.join(format!("target/vexlab/{KERNEL}/large.ko"));
        let bytes = fs::read(&file).expect("the module");
        self.modpost_folder("one", std::slice::from_ref(&file));
        let mut rows = ["`ko::check`", "`vexlab check`, start to exit", "modpost", "objtool"]
            .map(|n| (n, Times::default()));
        for round in 0..=ROUNDS {
            let times = [
                seconds(|| assert!(!ko::check(&self.judge, &bytes, &ko::Policy::default()).is_refused())),
                timed(Command::new(&self.vexlab).args(["check", "-k", KERNEL]).arg(&file)),
                self.modpost("one"),
                seconds(|| self.objtool(&file)),
            ];
            eprintln!("check, one: round {round} of {ROUNDS}");
            if round > 0 {
                rows.iter_mut().zip(times).for_each(|(row, time)| row.1.0.push(time));
            }
        }
        let megabytes = bytes.len() as f64 / 1e6;
        println!("## Checking one module of {megabytes:.1} MB, with debug information, for {KERNEL}\n");
        table(&rows);
    }

    /// VexFS's own, beside what booting costs.
    fn own(&self) {
        let dir = self.dir.path().join("own");
        run(Command::new("git").args(["clone", "--quiet"]).args([&self.project, &dir]));
        run(Command::new(&self.vexlab).args(["build", "--test", "-k", KERNEL]).current_dir(&dir));
        let module = format!("target/vexlab/{KERNEL}-test/vexfs.ko");
        let bytes = fs::read(dir.join(&module)).expect("vexfs.ko");
        let boot = ["run", "--accel", "tcg", "--cold", "-k", KERNEL, "--no-module", "--", "true"];
        let mut rows = [
            "booting: `vexlab run --cold --no-module -- true`",
            "`ko::check` of vexfs.ko",
            "what is to be known of the kernel for it",
        ]
        .map(|n| (n, Times::default()));
        for round in 0..=ROUNDS {
            let times = [
                timed(Command::new(&self.vexlab).args(boot)),
                seconds(|| assert!(!ko::check(&self.judge, &bytes, &ko::Policy::default()).is_refused())),
                seconds(|| drop(self.kernel.judge().expect("what is known of the kernel"))),
            ];
            eprintln!("check, vexfs: round {round} of {ROUNDS}");
            if round > 0 {
                rows.iter_mut().zip(times).for_each(|(row, time)| row.1.0.push(time));
            }
        }
        println!("## Checking vexfs.ko ({:.1} MB) before a run\n", bytes.len() as f64 / 1e6);
        table(&rows);
        let file = dir.join(&module);
        trace(&ModuleFile { name: "vexfs".to_owned(), file, root: dir }, &bytes);
    }

    /// All modules that the kernel ships.
    fn all(&self) {
        let files: Vec<PathBuf> = self.kernel.modules().expect("the kernel's modules").files().collect();
        self.modpost_folder("all", &files);
        let mut rows = [
            "`vexlab check --all-modules`",
            "modpost, all in one call, on one processor",
            "objtool, once for each, on all processors",
        ]
        .map(|n| (n, Times::default()));
        let rounds = 3;
        for round in 0..=rounds {
            let times = [
                timed(Command::new(&self.vexlab).args(["check", "--all-modules", KERNEL])),
                self.modpost("all"),
                seconds(|| files.par_iter().for_each(|file| self.objtool(file))),
            ];
            eprintln!("check, all: round {round} of {rounds}");
            if round > 0 {
                rows.iter_mut().zip(times).for_each(|(row, time)| row.1.0.push(time));
            }
        }
        println!("## Checking all {} modules of {KERNEL} (median of {rounds})\n", files.len());
        table(&rows);
    }

    /// A folder in which modpost finds modules as it finds objects in a build: with the name of an object, and with the
    /// lists that Kbuild keeps of what they were made of.
    fn modpost_folder(&self, name: &str, modules: &[PathBuf]) {
        let dir = self.dir.path().join(name);
        fs::create_dir(&dir).expect("a folder");
        fs::write(dir.join("source.c"), "").expect("write a source");
        let mut list = String::new();
        for module in modules {
            let stem = module.file_stem().expect("a name").to_string_lossy().into_owned();
            let object = format!("{stem}.o");
            std::os::unix::fs::symlink(module, dir.join(&object)).expect("link a module");
            fs::write(dir.join(format!("{stem}.mod")), format!("{object}\n")).expect("write a list");
            let command = "cmd_x.o := cc\nsource_x.o := source.c\ndeps_x.o := \\\n\n";
            fs::write(dir.join(format!(".{object}.cmd")), command).expect("write a list");
            let _ = writeln!(list, "{object}");
        }
        fs::write(dir.join("list"), list).expect("write a list");
    }

    fn modpost(&self, name: &str) -> f64 {
        let dir = self.dir.path().join(name);
        let mut command = Command::new(&self.modpost);
        command.args(["-m", "-e", "-o", "out.symvers", "-T", "list", "-i"]).arg(self.kernel.symvers());
        let mut status = None;
        let time = seconds(|| status = Some(quiet(command.current_dir(&dir))));
        // It warns of much in finished modules; what it writes shows that it went through.
        let made = fs::read_dir(&dir).into_iter().flatten().flatten();
        assert!(
            made.into_iter().any(|file| file.file_name().to_string_lossy().ends_with(".mod.c")),
            "{status:?}"
        );
        time
    }

    fn objtool(&self, file: &Path) {
        // Its status tells of warnings, too.
        quiet(Command::new(&self.objtool).args(&self.objtool_arguments).arg(file));
    }
}

/// The places of a trace of 20 frames, spread over the module's functions.
fn trace(module: &ModuleFile, bytes: &[u8]) {
    let file = Symbolised::read(bytes).expect("a module");
    let index = file.index();
    let mut symbols: Vec<(&str, u64)> = file.symbols().collect();
    symbols.sort_unstable();
    let middle = |(symbol, size): &(&'_ str, u64)| (symbol.to_string(), size / 2, *size);
    let places: Vec<(String, u64, u64)> = symbols.iter().map(middle).collect();
    let known = |(symbol, offset, size): &&(String, u64, u64)| {
        let place = TracePlace { symbol, offset: *offset, size: *size, exact: true };
        matches!(index.find(&place), Answer::Found(_))
    };
    let known: Vec<_> = places.iter().filter(known).collect();
    let chosen: Vec<_> = known.iter().step_by(known.len() / FRAMES).take(FRAMES).collect();
    assert_eq!(chosen.len(), FRAMES, "vexfs.ko has so many functions");
    let ask = |index: &Index<'_>| {
        for (symbol, offset, size) in &chosen {
            let place = TracePlace { symbol, offset: *offset, size: *size, exact: true };
            assert!(matches!(index.find(&place), Answer::Found(_)));
        }
    };
    let frame = |(symbol, offset, size): &&&(String, u64, u64)| Frame {
        symbol: symbol.clone(),
        offset: *offset,
        size: *size,
        module: Some(module.name.clone()),
        reliable: true,
        exact: true,
        ambiguous: false,
        places: Vec::new(),
    };
    let splat = splat(chosen.iter().map(frame).collect());
    let mut rows = [
        "all: the file read, its index, and the lines around each place",
        "`ko` alone, cold: the index, and 20 places",
        "`ko` alone, warm: 20 places",
    ]
    .map(|name| (name, Times::default()));
    for round in 0..=ROUNDS {
        let mut splats = [splat.clone()];
        let times = [
            seconds(|| symbolise(&mut splats, module, SystemTime::now()).expect("the module can be read")),
            seconds(|| ask(&Symbolised::read(bytes).expect("a module").index())),
            seconds(|| ask(&index)),
        ];
        assert!(splats[0].trace.iter().all(|frame| !frame.places.is_empty()));
        if round > 0 {
            rows.iter_mut().zip(times).for_each(|(row, time)| row.1.0.push(time));
        }
    }
    println!("## Finding a trace of {FRAMES} frames in vexfs.ko's sources\n");
    table(&rows);
}

fn splat(trace: Vec<Frame>) -> Splat {
    Splat { trace, ..Splat::new(Kind::Bug, String::new(), Vec::new()) }
}

fn quiet(command: &mut Command) -> std::process::ExitStatus {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The times, and how many times the first row's each is.
fn table(rows: &[(&str, Times)]) {
    println!("| what | seconds | times the first |\n| --- | ---: | ---: |");
    let first = rows[0].1.median();
    for (what, times) in rows {
        println!("| {what} | {} | {:.3} |", times.text(), times.median() / first);
    }
    println!();
}

/// Writes a project of a module that is as large as a large driver.
fn write_large_module(dir: &Path) {
    fs::create_dir(dir).expect("a folder");
    let includes =
        ["fs", "net", "pci", "skbuff", "blkdev", "netdevice", "module", "xattr", "security", "usb", "tty"];
    let includes: String = includes
        .iter()
        .map(|one| {
            if *one == "net" {
                "#include <net/sock.h>\n".into()
            } else {
                format!("#include <linux/{one}.h>\n")
            }
        })
        .collect();
    let mut objects = String::new();
    for file in 0..FILES {
        let mut text = format!("// SPDX-License-Identifier: GPL-2.0\n{includes}\n");
        for function in 0..400 {
            let _ = write!(
                text,
                "int large_{file}_{function}(struct inode *inode, struct sk_buff *skb, int n);\n\
                 int large_{file}_{function}(struct inode *inode, struct sk_buff *skb, int n)\n{{\n\
                 \tif (n > {function} && inode->i_size > skb->len)\n\
                 \t\treturn snprintf(skb->head, n, \"%d %llu\", {function}, inode->i_blocks);\n\
                 \treturn n * {function} + skb->len;\n}}\n"
            );
        }
        if file == 0 {
            text.push_str("MODULE_LICENSE(\"GPL\");\n");
        }
        fs::write(dir.join(format!("part{file}.c")), text).expect("write a source");
        let _ = write!(objects, " part{file}.o");
    }
    fs::write(dir.join("Kbuild"), format!("obj-m := large.o\nlarge-y :={objects}\n")).expect("write Kbuild");
    let manifest = format!("kernels = [\"{KERNEL}\"]\n[module]\nname = \"large\"\n");
    fs::write(dir.join("vexlab.toml"), manifest).expect("write vexlab.toml");
}
