// SPDX-License-Identifier: GPL-2.0-only
//! Makes the corpus of `tests/splats`: has a module misbehave in each of its ways, each in a machine of its own, and
//! keeps what the kernel says from the module's loading on.
//!
//! `splats FOLDER KERNEL… [-- BEHAVIOUR…]` writes `FOLDER/KERNEL/BEHAVIOUR.log`, for all behaviours unless some are
//! named. `NAME=PATH` is the kernel of a build tree; of one whose name begins with `debug-` only those are kept of which
//! it says something else.
#![expect(clippy::print_stdout, reason = "this is a program")]

mod behaviours;

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lab::Lab;
use lab::build;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::kernel::{self, Kernel};
use lab::machine::Accelerator;
use lab::project::{self, Project};
use lab::run::Wanted;
use lab::session::{Collect, LogRecord, Lost, Session};
use lab::splat::merge;
use wire::{Process, Request};

use behaviours::{BEHAVIOURS, Behaviour};

type Anything<T> = Result<T, Box<dyn Error>>;

/// For each conversation with a machine.
const LIMIT: Duration = Duration::from_secs(40);

/// What the module is called in the machine.
const PATH: &str = "/vexlab/payload/misbehave.ko";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!(
                "splats: {error}{}",
                error.source().map(|cause| format!(": {cause}")).unwrap_or_default()
            );
            ExitCode::FAILURE
        }
    }
}

fn run() -> Anything<()> {
    lab::host::forbid_module_loading()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut parts = arguments.split(|word| word == "--");
    let (Some([folder, kernels @ ..]), named) = (parts.next(), parts.next().unwrap_or_default()) else {
        return Err("FOLDER KERNEL… [-- BEHAVIOUR…]".into());
    };
    let folder = Path::new(folder);
    let lab = Lab { cache: Cache::of_user()?, reporter: Arc::new(Silent), cancel: Cancel::default() };
    let project = Project::find(&folder.join("module"))?;
    for kernel in kernels {
        let (name, kernel) = kernel.split_once('=').unwrap_or((kernel, kernel));
        let kernel = kernel::resolve(&lab, kernel)?;
        let built = build::build(&lab, &project, &kernel, build::Options::default())?;
        let module = fs::read(&built.stripped)?;
        fs::create_dir_all(folder.join(name))?;
        let wanted = |behaviour: &&Behaviour| match named {
            [] => behaviour.is_for_debug || !name.starts_with("debug-"),
            _ => named.iter().any(|n| n == behaviour.name),
        };
        for behaviour in BEHAVIOURS.iter().filter(wanted) {
            let log = log_of(&lab, &kernel, &module, behaviour)?;
            // Where the module was built is a matter of the machine that builds it.
            let log = log.replace(&project.root().display().to_string(), "/src");
            println!("{name}/{}: {} lines", behaviour.name, log.lines().count());
            if log.contains("misbehave: not possible") || log.lines().count() < 2 {
                continue;
            }
            fs::write(folder.join(name).join(format!("{}.log", behaviour.name)), log)?;
        }
    }
    Ok(())
}

/// What the kernel says when the module behaves in this way.
fn log_of(lab: &Lab, kernel: &Kernel, module: &[u8], behaviour: &Behaviour) -> Anything<String> {
    let dir = tempfile::tempdir()?;
    let machine = project::Machine { processors: behaviour.processors, ..project::Machine::default() };
    let wanted = Wanted { machine, accelerator: Some(Accelerator::Tcg), ..Wanted::default() };
    let (mut session, _) = lab::run::machine(lab, kernel, &wanted, dir.path())?;
    session.put(PATH, 0o644, module, LIMIT).map_err(|lost| lost.to_string())?;
    let begin = session.log().len();
    // That the machine is lost is in what it said.
    match misbehave(&mut session, behaviour) {
        Ok(()) => session.end(),
        Err(_) => session.let_die(Duration::from_secs(3)),
    }
    let console = fs::read(dir.path().join("console.log"))?;
    Ok(text_of(&session.log()[begin..], &String::from_utf8_lossy(&console)))
}

fn misbehave(session: &mut Session, behaviour: &Behaviour) -> Result<(), Lost> {
    shell(session, behaviour.before)?;
    session.request(&Request::Load { path: PATH.to_owned(), parameters: String::new() }, LIMIT)?;
    shell(session, &format!("echo {} > /sys/module/misbehave/parameters/do", behaviour.name))?;
    shell(session, behaviour.after)
}

/// Runs a script in the machine.
fn shell(session: &mut Session, script: &str) -> Result<(), Lost> {
    if script.is_empty() {
        return Ok(());
    }
    let arguments = ["/bin/sh", "-c", script].map(str::to_owned).to_vec();
    session.send(&Request::Run(Process::new(arguments)))?;
    session.send(&Request::StdinEnd)?;
    session.wait(Some(LIMIT), &mut Collect::default())?;
    Ok(())
}

/// The lines as a console has them.
fn text_of(log: &[LogRecord], console: &str) -> String {
    let mut text = String::new();
    for line in merge(log, console) {
        // Writing to a text can't fail.
        let _ = match line.at {
            Some(at) => {
                writeln!(text, "[{:5}.{:06}] {}", at.as_secs(), at.subsec_micros(), line.text.trim_end())
            }
            None => writeln!(text, "{}", line.text.trim_end()),
        };
    }
    text
}
