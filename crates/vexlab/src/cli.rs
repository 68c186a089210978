// SPDX-License-Identifier: GPL-2.0-only
//! The command line. Help, man pages and shell completions are made from these definitions.

mod environment;
mod profile;

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lab::project::Size;
use lab::splat::Kind;

pub(crate) use environment::{CopyArgs, ExecArgs, KeepArgs, LogsArgs, NameArgs, RemoveArgs, SshArgs, UpArgs};
pub(crate) use profile::{ProfileArgs, ProfileFormat};

/// Takes a kernel module from source to a verdict in a real kernel, in a throw-away virtual machine
#[derive(Debug, Parser)]
#[command(name = "vexlab", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Every run ends in one class with its own exit status: docs/exit-codes.md")]
pub(crate) struct Cli {
    /// The project: the folder with vexlab.toml, or one below it
    #[arg(short = 'C', long, global = true, value_name = "DIR", default_value = ".")]
    pub(crate) project: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say what this machine has, what it lacks, and the command that mends it
    Doctor,
    /// Kernels to build for and to boot
    #[command(subcommand)]
    Kernel(Kernel),
    /// Whole distributions for machines
    #[command(subcommand)]
    Image(Image),
    /// Build the module, without starting a machine
    Build(BuildCommand),
    /// Link a Rust static library into one object that a module can have in it
    ///
    /// The object holds the exported functions and what they reach, and nothing that a kernel would refuse.
    Link(LinkArgs),
    /// Build the module, load it in a fresh machine, test it, unload it, and say the verdict
    Test(TestArgs),
    /// Measure the module's benchmarks in the kernel: instructions, exactly, or nanoseconds
    ///
    /// docs/bench.md says how a module has some.
    Bench(BenchArgs),
    /// Test the module, and say which of its lines and branches were run
    ///
    /// C and Rust are counted in the kernel, over all tests, machines and kernels (`-k`, several times). Files of the
    /// project that don't count, its tests, are named in vexlab.toml.
    Coverage(CoverageArgs),
    /// Show past runs: a list of them, or one with its tests, verdict and traces
    Log(LogArgs),
    /// Make a page of runs: which test ended how on which kernel, times, traces with their source, consoles
    Report(ReportArgs),
    /// Say what kernels would refuse in modules, and what is dangerous in them, without starting a machine
    ///
    /// The rules are in docs/rules.md.
    Check(CheckArgs),
    /// Run a command in a fresh machine with the module loaded
    ///
    /// Its output is streamed, its input is ours, and its exit status is returned. In a distribution (--root IMAGE) the
    /// module is built inside, from the project's folder on /src, where the command starts, as root.
    Run(CommandArgs),
    /// Open a shell in a fresh machine with the module loaded, or in one that `up` started
    Shell(ShellArgs),
    /// Load the module under gdb, and stop before anything of it has run
    ///
    /// gdb has the kernel's functions, and the module's own symbols at the addresses that it was loaded to.
    Gdb(GdbArgs),
    /// Say where the time goes: instructions, in the kernel and the module, by function, as stacks, and as a flame graph
    ///
    /// Of tests in the module, what the module does and has done for it; of a command, or of a test that is a program,
    /// all that the machine does. QEMU counts each instruction, so two profiles of the same test are equal; with KVM
    /// (--sampled) the machine's kernel takes samples.
    Profile(ProfileArgs),
    /// Start a machine in the background, to be used until it is stopped
    ///
    /// No module is loaded: build one with `vexlab build` and load it with insmod from /src, where the project's
    /// folder is shown, or have `vexlab test` say a verdict in a machine of its own. Memory, processors and disks are those of
    /// vexlab.toml; the disks are empty each time. A machine with a distribution (--root IMAGE) has at least 1G and 2
    /// processors, and none of those disks. One that was up before is started with what it had then, unless told
    /// otherwise; after `vexlab rm`, vexlab.toml is read again.
    Up(UpArgs),
    /// List the machines that `up` started, and how they fare
    Ps,
    /// Run a command in a machine that `up` started
    ///
    /// Its output is streamed, its input is ours, signals are handed on to it, and its exit status is returned. It
    /// ends with us. It runs as root, in a machine with a distribution by ssh.
    Exec(ExecArgs),
    /// Copy files and folders into or out of a machine that `up` started, with their modes and symbolic links
    Cp(CopyArgs),
    /// Print what a machine that `up` started has said on its console
    Logs(LogsArgs),
    /// Stop a machine; its console and its settings are kept
    Stop(NameArgs),
    /// Start a machine anew from its saved state; nothing of what was done in it is left
    Restart(NameArgs),
    /// Remove a machine with all that is kept of it
    Rm(RemoveArgs),
    /// Log in to a machine that has an ssh server, as the user `vex`, who may use sudo
    Ssh(SshArgs),
    /// Print an ssh client's configuration for a machine that has an ssh server
    SshConfig(NameArgs),
    /// Keep a machine: what `up` starts
    #[command(hide = true)]
    Keep(KeepArgs),
    /// Machines that have booted already, which runs start from
    #[command(subcommand)]
    Cache(Cache),
    /// Write a commented vexlab.toml for the module in this folder
    Init,
    /// Print the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write the man pages
    Man {
        /// The folder to write them to
        dir: PathBuf,
    },
    /// Print a page of the documentation that is made from the program
    #[command(hide = true)]
    Doc {
        /// The page
        page: Page,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Kernel {
    /// List the kernels that can be had, and those that are here
    List,
    /// Fetch a kernel: image, modules, headers, and the tools to build with
    Add {
        /// Its name
        name: String,
    },
    /// Show a kernel: release, packages, files
    Show {
        /// Its name, `host`, or the path of a build tree
        name: String,
    },
    /// Remove a kernel from the cache
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List the images that can be built, and those that are here
    List,
    /// Build an image: systemd, cloud-init, ssh, a kernel with its headers, a compiler
    Build {
        /// Its name
        name: String,
    },
    /// Remove an image from the cache
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// List the saved machines, the most recently used first
    Show,
    /// Remove saved machines, the least recently used first
    Prune {
        /// Keep those that take no more than this together, like 256M or 1G
        #[arg(long, value_name = "SIZE")]
        keep: Option<Size>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// The kernel to build for, instead of the project's: a name, `host`, or the path of a build tree
    #[arg(short, long, value_name = "KERNEL")]
    pub(crate) kernel: Vec<String>,

    #[command(flatten)]
    pub(crate) how: How,
}

#[derive(Debug, Args)]
pub(crate) struct BuildCommand {
    #[command(flatten)]
    pub(crate) build: BuildArgs,

    /// Have the module's own tests in it, as `vexlab test` does
    #[arg(long)]
    pub(crate) test: bool,

    /// Build inside of a machine with a distribution, with its compiler and headers: one that is up, or a
    /// fresh one of an image (a name, or FILE.qcow2)
    #[arg(long = "in", value_name = "NAME", conflicts_with = "kernel")]
    pub(crate) inside: Option<String>,

    #[command(flatten)]
    pub(crate) compiled: Compiled,

    #[command(flatten)]
    pub(crate) whole: WholeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// The static library, libNAME.a
    #[arg(value_name = "ARCHIVE")]
    pub(crate) archive: PathBuf,

    /// A function that C calls; without any, all that the library has for C
    #[arg(short, long, value_name = "SYMBOL", num_args = 1..)]
    pub(crate) export: Vec<String>,

    /// The object to write
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// The kernel whose objtool is to look at the object: a name, `host`, or the path of a build tree
    #[arg(short, long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct How {
    /// Leave the Rust side out
    #[arg(long, conflicts_with = "minimal")]
    pub(crate) c_only: bool,

    /// Build the Rust side with only its feature `kernel-minimal`
    #[arg(long)]
    pub(crate) minimal: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) build: BuildArgs,

    /// What runs the machine; by default KVM is tried, and emulation used where no machine boots under it
    #[arg(long, value_name = "ACCELERATOR")]
    pub(crate) accel: Option<Accelerator>,

    /// Start the machine from power-on, instead of from a saved one that has booted already
    #[arg(long)]
    pub(crate) cold: bool,

    /// What programs in the machine see: `tiny`, a busybox; `host`, this machine's file system without credentials, of
    /// which what is changed stays in memory; or a whole distribution, IMAGE: one that was built, or FILE.qcow2
    #[arg(long, value_name = "ROOT", default_value = "tiny")]
    pub(crate) root: Root,

    /// Load the module all the same if a check would refuse it: the kernel is the judge
    #[arg(long)]
    pub(crate) no_check: bool,

    /// Let the kernel report this kind of trouble without failing the run; docs/splats.md lists them
    #[arg(long, value_name = "KIND", value_parser = lab::splat::kind_named)]
    pub(crate) allow: Vec<Kind>,

    #[command(flatten)]
    pub(crate) compiled: Compiled,

    #[command(flatten)]
    pub(crate) whole: WholeArgs,
}

/// What programs in a machine see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Root {
    /// The machine's own: a busybox.
    Tiny,
    /// This machine's.
    Host,
    /// A distribution's: an image's name, or a file.
    Image(String),
}

impl FromStr for Root {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "tiny" => Self::Tiny,
            "host" => Self::Host,
            image => Self::Image(image.to_owned()),
        })
    }
}

/// Over the arguments that are for one.
const DISTRIBUTION: &str = "For a distribution (--root IMAGE)";

/// How a module is compiled that is built in a machine with a distribution.
#[derive(Debug, Args)]
pub(crate) struct Compiled {
    /// Where the module's Rust side is compiled: here, or by the machine's own compiler
    #[arg(long, value_name = "WHERE", default_value = "host", conflicts_with = "c_only", help_heading = DISTRIBUTION)]
    pub(crate) rust: RustFrom,
}

/// Where a Rust side is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RustFrom {
    /// On this host, by the compiler that the project uses here
    Host,
    /// In the machine, by the rustc and cargo that it has, with its rust-src
    Inside,
}

/// What a machine with a distribution is made with.
#[derive(Debug, Args)]
pub(crate) struct WholeArgs {
    /// The machine's memory, like 2G; by default 1G, or what vexlab.toml asks for where that is more
    #[arg(long, value_name = "SIZE", help_heading = DISTRIBUTION)]
    pub(crate) memory: Option<Size>,

    /// The machine's processors; by default 2, or what vexlab.toml asks for where that is more
    #[arg(long, value_name = "COUNT", help_heading = DISTRIBUTION)]
    pub(crate) processors: Option<u16>,

    /// Install this package when the machine boots for the first time
    #[arg(long, value_name = "PACKAGE", help_heading = DISTRIBUTION)]
    pub(crate) package: Vec<String>,

    /// How many seconds the machine may take to be ready: 300 by default
    #[arg(long, value_name = "SECONDS", help_heading = DISTRIBUTION)]
    pub(crate) limit: Option<u64>,
}

/// Whether and how the source is shown in the machine.
#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// Show the project's folder, or DIR, in the machine at /src, where programs start then; a shell has the
    /// project's in any case
    ///
    /// What is edited here is seen there at once. The machine can't change it.
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true)]
    pub(crate) src: Option<Option<PathBuf>>,

    /// Let the machine change what is at /src, as the user who runs vexlab could
    #[arg(long)]
    pub(crate) rw: bool,
}

/// Which tests, and how.
#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    /// Only the tests with one of these texts in their name; the module is loaded and unloaded in any case
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,

    /// Test in so many machines at once
    #[arg(short, long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) jobs: u16,

    /// Try a test that failed so many times again, each on a fresh machine; one that passes then is flaky, which is
    /// no failure
    ///
    /// Trouble that the kernel reported is not forgiven.
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    pub(crate) retries: u32,

    /// Carry each test out so many times
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) repeat: u32,

    /// Begin no test after one has failed
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Give each test a fresh machine of its own
    #[arg(long)]
    pub(crate) isolated: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// List the tests that would be carried out, without carrying them out
    #[arg(long, conflicts_with_all = ["watch", "inside"])]
    pub(crate) list: bool,

    /// Test again whenever a source changes, until interrupted
    ///
    /// A change during a run stops it, and begins another. A line has a mark for each of the last ten verdicts, the
    /// newest at the right: ✓ passed, ✗ a test failed, b the build failed, r refused, ! the kernel warned, crashed or
    /// hung, ? nothing is known.
    #[arg(short, long)]
    pub(crate) watch: bool,

    /// Leave the project's own tests out: only load the module again and again, use it wrongly, and look for leaks
    #[arg(long, conflicts_with_all = ["watch", "inside", "no_life"])]
    pub(crate) life: bool,

    /// Leave out what every module is tested for: it takes a second or two
    #[arg(long)]
    pub(crate) no_life: bool,

    /// Build and test inside of a machine with a distribution, with its compiler and headers: one that is up; an image
    /// (a name, or FILE.qcow2) is the same as for --root
    #[arg(
        long = "in",
        value_name = "NAME",
        conflicts_with_all = ["kernel", "watch", "root", "filters", "jobs", "retries", "repeat", "fail_fast", "isolated"]
    )]
    pub(crate) inside: Option<String>,

    /// What standard output is for
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with = "watch")]
    pub(crate) format: TestFormat,

    /// Write a JUnit report, whatever comes of the runs
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,

    /// Write a KTAP report, whatever comes of the runs
    #[arg(long, value_name = "FILE")]
    pub(crate) ktap: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Only the benchmarks with one of these texts in their name
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,

    /// List the benchmarks that would be measured, without measuring them
    #[arg(long, conflicts_with_all = ["baseline", "save_baseline", "format"])]
    pub(crate) list: bool,

    /// Measure nanoseconds, where KVM makes that meaningful, instead of counting instructions
    #[arg(long)]
    pub(crate) timed: bool,

    /// Measure nanoseconds under emulation, too: they are those of the emulator
    #[arg(long, requires = "timed")]
    pub(crate) force: bool,

    /// Compare with this baseline: a name, or a file (with a / in it, or .json at its end)
    ///
    /// The exit status is 1 if a count is another one, or a time is longer.
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,

    /// Keep the results as this baseline, in target/vexlab/bench or in a file
    #[arg(long, value_name = "NAME")]
    pub(crate) save_baseline: Option<String>,

    /// How to print the results
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: BenchFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// Lines for people
    Text,
    /// One object: docs/bench.md
    Json,
    /// Tables
    Markdown,
}

#[derive(Debug, Args)]
pub(crate) struct CoverageArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,

    /// Leave out what every module is tested for
    #[arg(long)]
    pub(crate) no_life: bool,

    /// Write a tracefile for lcov and genhtml, with paths relative to the project
    #[arg(long, value_name = "FILE")]
    pub(crate) lcov: Option<PathBuf>,

    /// Write a page with the sources, and how often each line was run
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Write the figures as a page in Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// Lines for people
    Text,
    /// An object a line for each event: docs/report-format.md
    Json,
    /// Lines for people, and annotations for GitHub Actions
    Github,
}

#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// The run, or `last`; without it, all are listed, the newest first
    #[arg(value_name = "RUN")]
    pub(crate) run: Option<String>,

    /// Print the run's console instead
    #[arg(long, requires = "run")]
    pub(crate) console: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The page to write; it needs no other file and no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: PathBuf,

    /// The runs, as `vexlab log` lists them; without any, those of the newest command
    #[arg(value_name = "RUN")]
    pub(crate) runs: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The modules: .ko, or packed .ko.xz, .ko.zst, .ko.gz
    #[arg(value_name = "FILE", required_unless_present_any = ["all_modules", "explain"])]
    pub(crate) files: Vec<PathBuf>,

    /// The kernel that is to judge, instead of the project's: a name, `host`, or the path of a build tree
    #[arg(short, long, value_name = "KERNEL")]
    pub(crate) kernel: Vec<String>,

    /// Every kernel that is in the cache is to judge
    #[arg(long, conflicts_with = "kernel")]
    pub(crate) all_kernels: bool,

    /// Check every module that this kernel ships; the kernel itself is to judge unless others are named
    #[arg(long, value_name = "KERNEL", conflicts_with = "files")]
    pub(crate) all_modules: Option<String>,

    /// Let a hazard that nothing allows decide the exit status too; `strict = true` under [check] in vexlab.toml
    /// does it for the project's module
    #[arg(long)]
    pub(crate) strict: bool,

    /// How to print what was found
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: Format,

    /// Explain a rule instead
    #[arg(long, value_name = "ID")]
    pub(crate) explain: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people
    Text,
    /// A list of objects
    Json,
    /// SARIF 2.1.0, which code hosts show beside the source
    Sarif,
}

#[derive(Debug, Args)]
pub(crate) struct CommandArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Load no module, in a project as well
    #[arg(long, conflicts_with = "rust")]
    pub(crate) no_module: bool,

    #[command(flatten)]
    pub(crate) source: SourceArgs,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ShellArgs {
    /// A machine that `up` started, instead of a fresh one
    #[arg(
        value_name = "NAME",
        conflicts_with_all = ["kernel", "c_only", "minimal", "accel", "cold", "root", "no_check", "allow", "no_module",
            "memory", "processors", "package", "limit", "rust"]
    )]
    pub(crate) name: Option<String>,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Load no module, in a project as well
    #[arg(long, conflicts_with = "rust")]
    pub(crate) no_module: bool,

    #[command(flatten)]
    pub(crate) source: SourceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct GdbArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// More arguments for gdb, like `-ex 'break FUNCTION' -ex continue`
    #[arg(last = true, value_name = "ARGUMENT")]
    pub(crate) gdb: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Accelerator {
    /// The host's processor
    Kvm,
    /// QEMU's translator
    Tcg,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Page {
    /// docs/exit-codes.md
    ExitCodes,
    /// docs/report-format.md
    ReportFormat,
    /// docs/rules.md
    Rules,
    /// docs/splats.md
    Splats,
}
