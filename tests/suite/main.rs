// SPDX-License-Identifier: GPL-2.0-only
//! Drives the built program against real virtual machines: what a user types, and what a user then sees.
//!
//! Every test has a name, a time-out and a folder of its own. Plain `cargo test` runs them as threads of one
//! process, cargo-nextest as a process each; either way at most two machines run at a time.
//!
//! The cache is that of `VEXLAB_TEST_CACHE` (a folder, as `XDG_CACHE_HOME` is), else the user's own:
//! kernels are fetched once. Tests that need an empty cache make one.
#![forbid(unsafe_code)]

/// KVM, tried and remembered.
mod accelerator;
/// Benchmarks, and what they are held against.
mod bench;
/// What a header asks of a module's tests, and of what may be called in any context.
mod boundary;
/// A call of the program: started, fed, signalled, waited for, and never left behind.
mod call;
/// The folders of `tests/modules`: a module and the verdict expected of it.
mod cases;
/// What `vexlab check` makes of files that are no modules.
mod check;
/// What is wrong with what the user wrote, and what the program says then.
mod command_line;
/// Files into and out of machines in the background.
mod copies;
/// Which lines and branches were run.
mod coverage;
/// Machines in the background, from `up` to `rm`.
mod environment;
/// Commands in machines in the background.
mod exec;
/// A test's surroundings: its folder, its time, its turn.
mod gdb;
mod harness;
/// Whole distributions. What needs a real image runs by `make image-test` only.
mod image;
/// What Ctrl-C leaves behind, and what a kill does.
mod interrupts;
/// Kernels that are not from packages.
mod kernels;
/// Static libraries as objects for a module.
mod link;
/// Machines that are killed, and programs that are stopped, in each phase of a run.
mod lost;
/// A mirror of the archive that can be made to lie.
mod mirror;
/// Kernels from packages: fetched once, whole or not at all.
mod packages;
/// Where the time goes, as `vexlab profile` says it.
mod profile;
/// What is made again when a source has changed, and what is not.
mod rebuild;
/// Reports of runs, and the records of past ones.
mod reports;
/// Commands in a machine.
mod run;
/// The kernel of the machine below is out of reach.
mod safety;
/// The same from samples.
mod sampled;
/// Runs that start from a machine that has booted already.
mod saved;
/// Which tests are carried out, and how.
mod selection;
/// What a machine is shown of its host.
mod share;
/// A shell in a machine, on a real terminal.
mod shell;
/// The same verdict a hundred times; by `make steady` only.
mod steady;
/// Places in the sources for what kernels print of crashes.
mod traces;
/// This repository's own module: the real thing.
mod vexfs;
/// Testing again with each change.
mod watch;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = cases::trials();
    for tests in [
        accelerator::tests(),
        bench::tests(),
        boundary::tests(),
        check::tests(),
        command_line::tests(),
        image::tests(),
        copies::tests(),
        coverage::tests(),
        environment::tests(),
        exec::tests(),
        interrupts::tests(),
        kernels::tests(),
        link::tests(),
        lost::tests(),
        packages::tests(),
        profile::tests(),
        sampled::tests(),
        rebuild::tests(),
        reports::tests(),
        run::tests(),
        safety::tests(),
        saved::tests(),
        selection::tests(),
        gdb::tests(),
        share::tests(),
        shell::tests(),
        steady::tests(),
        traces::tests(),
        vexfs::tests(),
        watch::tests(),
    ] {
        trials.extend(tests);
    }
    libtest_mimic::run(&arguments, trials).exit();
}
