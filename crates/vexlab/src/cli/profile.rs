// SPDX-License-Identifier: GPL-2.0-only
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::RunArgs;

/// Not in step with what a kernel does so many times in a second.
const RATE: u32 = 3999;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileFormat {
    /// Lines for people
    Text,
    /// One object: docs/profile.md
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Only the tests with one of these texts in their name; or benchmarks: `ffi` has those of the table [[bench]] of this
    /// name carried out, and `ffi/call` those of them that begin so
    #[arg(value_name = "TEST|BENCH")]
    pub(crate) tests: Vec<String>,

    /// Take samples instead of counting instructions: the machine's kernel looks, again and again, where its processors are
    ///
    /// It goes with KVM, where nobody counts, and is what `--accel kvm` has done. Under emulation it is refused.
    #[arg(long)]
    pub(crate) sampled: bool,

    /// How many samples are taken in a second, on each processor
    #[arg(long, value_name = "HERTZ", default_value_t = RATE, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,

    /// Take samples under emulation, too: the time is that of the emulator
    #[arg(long, requires = "sampled")]
    pub(crate) force: bool,

    /// Carry each test or benchmark out so many times
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000), conflicts_with = "command")]
    pub(crate) repeat: u32,

    /// How to print the profile; `json` has nothing else on standard output, which a command has none of then
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) format: ProfileFormat,

    /// Show how often each instruction of this function was executed, beside its source
    ///
    /// Of a Rust function the last parts of its path will do.
    #[arg(long, value_name = "FUNCTION")]
    pub(crate) annotate: Vec<String>,

    /// How many functions are listed
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub(crate) top: usize,

    /// The folder for stacks.folded and flame.svg; by default target/vexlab/KERNEL/profile of the project, or that of
    /// the run
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,

    /// Load no module; no project is needed then
    #[arg(long, requires = "command")]
    pub(crate) no_module: bool,

    /// A command and its arguments, instead of tests: what the machine executes while it runs
    #[arg(last = true, value_name = "COMMAND", conflicts_with = "tests")]
    pub(crate) command: Vec<String>,
}
