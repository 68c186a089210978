// SPDX-License-Identifier: GPL-2.0-only
//! The arguments of the commands for machines that run in the background.

use std::path::PathBuf;

use clap::Args;

use super::{Accelerator, Root, WholeArgs};

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// What to call the machine: letters, digits, `.`, `_`, `-`; by default the project's name, without a project `default`
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Its kernel, instead of the project's first: a name, `host`, or the path of a build tree
    #[arg(short, long, value_name = "KERNEL")]
    pub(crate) kernel: Option<String>,

    /// What runs the machine; by default KVM is tried, and emulation used where no machine boots under it
    #[arg(long, value_name = "ACCELERATOR")]
    pub(crate) accel: Option<Accelerator>,

    /// Start it from power-on, instead of from a saved one that has booted already; `restart` does the same then
    #[arg(long)]
    pub(crate) cold: bool,

    /// What programs in the machine see: `tiny`, a busybox; `host`, this machine's file system without credentials, of
    /// which what is changed stays in memory; or a whole distribution, IMAGE: one that was built, or FILE.qcow2
    ///
    /// It is `tiny` unless told otherwise.
    #[arg(long, visible_alias = "image", value_name = "ROOT")]
    pub(crate) root: Option<Root>,

    /// Show this folder in the machine at /src, where programs start then, instead of the project's
    #[arg(long, value_name = "DIR")]
    pub(crate) src: Option<PathBuf>,

    /// Let the machine change what is at /src, as the user who runs vexlab could
    #[arg(long)]
    pub(crate) rw: bool,

    #[command(flatten)]
    pub(crate) whole: WholeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// The machine's name: `vexlab ps` lists them
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    #[command(flatten)]
    pub(crate) machine: NameArgs,

    /// Stop it first if it runs
    #[arg(short, long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    #[command(flatten)]
    pub(crate) machine: NameArgs,

    /// Give the command a terminal: ours
    #[arg(short, long)]
    pub(crate) terminal: bool,

    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// What to copy: a path here, or NAME:PATH in a machine
    #[arg(value_name = "SRC")]
    pub(crate) from: String,

    /// Where to: a path here, or NAME:PATH in a machine; into a folder if there is one
    #[arg(value_name = "DST")]
    pub(crate) to: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) machine: NameArgs,

    /// Show also what it says from now on, until it ends
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    #[command(flatten)]
    pub(crate) machine: NameArgs,

    /// A command instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    /// The machine's folder
    pub(crate) folder: PathBuf,
}
