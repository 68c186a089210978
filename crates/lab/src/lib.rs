// SPDX-License-Identifier: GPL-2.0-only
//! The laboratory as a library: kernels, builds, machines, sessions and verdicts.
//!
//! Nothing here prints, knows a terminal, or exits: a caller hands in a [`Reporter`](event::Reporter) and
//! gets [events](event::Event) on the way and a [record](verdict) or an [error](error::Error) at the end.
#![forbid(unsafe_code)]

/// Which accelerator machines can use.
pub mod accel;
/// Debian's archive.
pub mod apt;
/// Benchmarks.
pub mod bench;
/// From source to a module.
pub mod build;
/// A shell and its tools, for machines.
pub mod busybox;
/// What is kept between runs.
pub mod cache;
/// Stopping early.
pub mod cancel;
/// Modules' files, judged before any kernel sees them.
pub mod check;
/// The serial console.
pub mod console;
/// A conversation with QEMU.
mod control;
/// Lines and branches that were run.
pub mod covered;
/// What this machine has and lacks.
pub mod doctor;
mod emulator;
/// Machines to live in.
pub mod environment;
/// Errors in the user's terms.
pub mod error;
/// What is told on the way.
pub mod event;
/// The machine that the lab runs on.
pub mod host;
/// Whole distributions: cloud images, built, booted, saved and reached by ssh.
pub mod image;
/// The machine's first file system.
pub mod initramfs;
/// Kernels to build for and to boot.
pub mod kernel;
/// The Kernel Test Anything Protocol.
pub mod ktap;
/// How a module lives, and what it leaves behind.
pub mod life;
/// A stream to an agent, and the conversations on it.
pub mod link;
/// The virtual machine and its command line.
pub mod machine;
/// Archives for the kernel to unpack.
pub mod newc;
/// Programs of the host.
pub mod process;
/// Where the time goes in a machine.
pub mod profile;
/// A module's project.
pub mod project;
/// QEMU's own protocol.
pub mod qmp;
/// A run, from start to end.
pub mod run;
/// Machines that have booted, kept to start from.
pub mod saved;
/// A running machine, and the agent in it.
pub mod session;
/// What a machine is shown of this host.
pub mod share;
/// Trouble that the kernel reports.
pub mod splat;
/// The Rust compiler and its library's source.
pub mod toolchain;
/// What a run ends in.
pub mod verdict;
/// Waiting for a project's sources to change.
pub mod watch;

use std::sync::Arc;

/// What everything in the lab works with: where to keep things, whom to tell, when to stop.
#[derive(Clone)]
pub struct Lab {
    /// What is kept between runs.
    pub cache: cache::Cache,
    /// Who is told.
    pub reporter: Arc<dyn event::Reporter>,
    /// When to stop.
    pub cancel: cancel::Cancel,
}

impl Lab {
    /// Tells one line that the user should know.
    pub fn note(&self, line: &str) {
        self.reporter.event(&event::Event::Note(line));
    }

    /// Tells how far a piece of work is; `total` is 0 when that isn't known.
    pub fn progress(&self, what: &str, done: u64, total: u64) {
        self.reporter.event(&event::Event::Progress { what, done, total });
    }

    /// Tells that the work last told of is over.
    pub fn progress_end(&self) {
        self.reporter.event(&event::Event::ProgressEnd);
    }
}

/// A word that nobody else knows: 32 hexadecimal digits.
///
/// # Errors
///
/// When the kernel gives no random bytes.
pub fn random_word() -> error::Result<String> {
    let bytes = error::Context::context(random_bytes::<16>(), || "read random bytes".to_owned())?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Random bytes from the kernel.
fn random_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    std::io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes)
}
