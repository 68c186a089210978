// SPDX-License-Identifier: GPL-2.0-only
use std::path::PathBuf;

use clap::Args;

use super::RunArgs;

#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    /// Only the tests with one of these texts in their name; or benchmarks: `ffi` has those of the table [[bench]] of this
    /// name carried out, and `ffi/call` those of them that begin so
    #[arg(value_name = "TEST|BENCH")]
    pub(crate) tests: Vec<String>,

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
