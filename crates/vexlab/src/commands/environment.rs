// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab up` and what is done with the machines that it starts.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::Lab;
use lab::environment::{self, Choice, Conversation, Ends, MadeWith, Name, Record, State};
use lab::error::{Context, Error, Kind, Result};
use lab::link::Outgoing;
use lab::project::Project;
use lab::share;
use signal_hook::consts::SIGINT;
use wire::{Process, Request};

use super::machine::{a_shell, environment_of_ours, status_of};
use super::refuse_for_ours;
use super::whole::its_own_kernel;
use crate::cli::{ExecArgs, LogsArgs, NameArgs, RemoveArgs, Root, SshArgs, UpArgs};
use crate::output::{self, print};
use crate::terminal::{self, Keys};

/// Starts a machine in the background.
pub(crate) fn up(lab: &Lab, dir: &Path, arguments: &UpArgs) -> Result<()> {
    let project = Project::find_any(dir)?;
    let name = match (&arguments.name, &project) {
        (Some(name), _) => Name::parse(name)?,
        (None, Some(project)) => Name::parse(project.name())?,
        (None, None) => Name::default(),
    };
    if arguments.rw && arguments.src.is_none() && project.is_none() {
        return Err(Error::usage("there is no folder to show, which --rw would let the machine change")
            .with_remedy("name one with --src=DIR, or go to a project's folder"));
    }
    let (root, image) = match &arguments.root {
        None => (None, None),
        Some(Root::Tiny) => (Some(share::Root::Tiny), None),
        Some(Root::Host) => (Some(share::Root::Host), None),
        Some(Root::Image(image)) => (None, Some(image.as_str())),
    };
    if image.is_some() && arguments.kernel.is_some() {
        return Err(its_own_kernel());
    }
    let made_with = MadeWith::from(&arguments.whole);
    if !made_with.is_empty() && image.is_none() && !environment::is_whole(lab, &name) {
        refuse_for_ours(&arguments.whole)?;
    }
    let choice = Choice {
        kernel: arguments.kernel.as_deref(),
        image,
        accelerator: arguments.accel.map(Into::into),
        cold: arguments.cold,
        root,
        source: arguments.src.clone(),
        writable: arguments.rw,
        made_with,
    };
    let since = Instant::now();
    let record = environment::up(lab, &name, project.as_ref(), &choice, keeper()?)?;
    say_that_it_is_up(&record, since);
    print(format!("  vexlab shell {name}"));
    print(format!("  vexlab exec {name} -- COMMAND"));
    if environment::is_whole(lab, &name) {
        print(format!("  vexlab test --in {name}"));
    }
    print(format!("  vexlab stop {name}"));
    Ok(())
}

/// Starts a machine anew.
pub(crate) fn restart(lab: &Lab, arguments: &NameArgs) -> Result<()> {
    let since = Instant::now();
    let record = environment::restart(lab, &name(arguments)?, keeper()?)?;
    say_that_it_is_up(&record, since);
    Ok(())
}

fn say_that_it_is_up(record: &Record, since: Instant) {
    let time = since.elapsed().as_secs_f64();
    print(format!(
        "{} is up: {} ({}), {time:.2} s",
        record.name,
        record.settings.kind.what(),
        accelerator(record)
    ));
}

/// The command that keeps a machine: ourselves.
fn keeper() -> Result<Command> {
    let program = std::env::current_exe().context(|| "find this program's own file".to_owned())?;
    let mut command = Command::new(program);
    command.arg("keep");
    Ok(command)
}

fn name(arguments: &NameArgs) -> Result<Name> {
    Name::parse(&arguments.name)
}

fn accelerator(record: &Record) -> &'static str {
    record.accelerator.map_or("-", lab::machine::Accelerator::name)
}

/// Lists the machines.
pub(crate) fn ps(lab: &Lab) {
    let machines = environment::list(lab);
    if machines.is_empty() {
        return print("there is no machine; `vexlab up` starts one");
    }
    let width = machines.iter().map(|(name, _)| name.as_str().len()).max().unwrap_or_default().max(4);
    print(format!(
        "{:width$}  {:18}  {:5}  {:8}  {:14}  PROJECT",
        "NAME", "KERNEL", "ACCEL", "STATE", "SINCE"
    ));
    for (name, record) in machines {
        match record {
            Ok(record) => show(&record, width),
            Err(error) => print(format!("{name:width$}  {error}", name = name.as_str())),
        }
    }
}

fn show(record: &Record, width: usize) {
    print(format!(
        "{:width$}  {:18}  {:5}  {:8}  {:14}  {}",
        record.name.as_str(),
        record.settings.kind.what(),
        accelerator(record),
        record.state.word(),
        ago(record.age()),
        record.settings.project.as_deref().unwrap_or("-"),
    ));
    if let State::Dead { reason, last_line } = &record.state {
        print(format!("{:width$}  {reason}", ""));
        if let Some(line) = last_line {
            print(format!("{:width$}  last line: {line}", ""));
        }
    }
}

/// How long ago something was, in its largest unit.
fn ago(age: Duration) -> String {
    const UNITS: [(&str, u64); 3] = [("days", 24 * 60 * 60), ("hours", 60 * 60), ("minutes", 60)];
    let seconds = age.as_secs();
    if seconds < 2 {
        return "just now".to_owned();
    }
    let (unit, length) =
        UNITS.into_iter().find(|(_, length)| seconds >= 2 * length).unwrap_or(("seconds", 1));
    format!("{} {unit} ago", seconds / length)
}

/// Runs a command in a machine and gives its exit status.
pub(crate) fn exec(lab: &Lab, arguments: &ExecArgs) -> Result<u8> {
    let name = name(&arguments.machine)?;
    let process = |terminal| Process {
        environment: environment_of_ours(),
        terminal,
        ..Process::new(arguments.command.clone())
    };
    if arguments.terminal {
        if !terminal::is_ours() {
            return Err(Error::usage("there is no terminal to give to the command")
                .with_remedy("leave --terminal away where standard input or output is none"));
        }
        return on_terminal(lab, &name, process);
    }
    let mut failed = None;
    let mut input = |outgoing: Outgoing| {
        failed = terminal::send_signals(outgoing.clone()).err();
        if lab.cancel.is_cancelled() {
            // One that came before.
            outgoing.input(&Request::Signal { number: SIGINT });
        }
        terminal::send_input(outgoing);
    };
    let status = run(lab, &name, process(None), &mut input);
    failed.map_or(status, Err)
}

/// Opens a shell in a machine.
pub(crate) fn shell(lab: &Lab, name: &str) -> Result<u8> {
    let name = Name::parse(name)?;
    let root = match environment::kind(lab, &name)? {
        environment::Kind::Tiny(tiny) => Some(tiny.root),
        environment::Kind::Whole(_) => None,
    };
    on_terminal(lab, &name, |terminal| a_shell(root, terminal))
}

/// Runs a program on our terminal, if there is one.
fn on_terminal(
    lab: &Lab,
    name: &Name,
    process: impl FnOnce(Option<wire::WindowSize>) -> Process,
) -> Result<u8> {
    let mut keys = Keys::ours();
    let process = process(keys.terminal());
    let status = run(lab, name, process, &mut |outgoing| keys.send(outgoing));
    keys.end()?;
    status
}

fn run(lab: &Lab, name: &Name, process: Process, input: &mut dyn FnMut(Outgoing)) -> Result<u8> {
    let mut conversation = Conversation::open(lab, name)?;
    conversation.run(process, &mut Ends { output: &mut output::stream, input }, None).map(status_of)
}

/// Prints a machine's console.
pub(crate) fn logs(lab: &Lab, arguments: &LogsArgs) -> Result<u8> {
    let name = name(&arguments.machine)?;
    let mut take = |bytes: &[u8]| output::stream(wire::Stream::Stdout, bytes);
    match environment::logs(lab, &name, arguments.follow, &mut take) {
        // It is how one stops to follow.
        Err(error) if error.kind() == Kind::Interrupted => Ok(lab::verdict::Class::Interrupted.exit_status()),
        done => done.map(|()| 0),
    }
}

/// Stops a machine.
pub(crate) fn stop(lab: &Lab, arguments: &NameArgs) -> Result<()> {
    let name = name(arguments)?;
    environment::stop(lab, &name)?;
    print(format!("{name} is stopped; `vexlab up {name}` starts it anew, `vexlab rm {name}` removes it"));
    Ok(())
}

/// Removes a machine.
pub(crate) fn rm(lab: &Lab, arguments: &RemoveArgs) -> Result<()> {
    let name = name(&arguments.machine)?;
    environment::remove(lab, &name, arguments.force)?;
    print(format!("{name} is removed"));
    Ok(())
}

/// Says how an ssh client reaches a machine.
pub(crate) fn ssh_config(lab: &Lab, arguments: &NameArgs) -> Result<()> {
    let name = name(arguments)?;
    output::print_raw(environment::ssh(lab, &name)?.config(name.as_str()).as_bytes());
    Ok(())
}

/// Becomes ssh: a shell in a machine, or a command.
pub(crate) fn ssh(lab: &Lab, arguments: &SshArgs) -> Result<u8> {
    let line = environment::ssh(lab, &name(&arguments.machine)?)?.command(&arguments.command);
    let error = Command::new(&line[0]).args(&line[1..]).exec();
    Err(Error::lab("ssh can't be started").with_source(error).with_remedy("apt-get install openssh-client"))
}
