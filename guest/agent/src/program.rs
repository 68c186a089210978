// SPDX-License-Identifier: GPL-2.0-only
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use wire::{Process, Stream, WindowSize};

use crate::job::{Failure, Job, Step, Streams, errno, file};
use crate::sys;

/// Every program's environment, unless the request says otherwise.
const ENVIRONMENT: [(&str, &str); 2] = [("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"), ("HOME", "/root")];

/// All that `execve(2)` needs, made before the process is.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Where the program may be, in the order in which to try.
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// Its `/`, where that is not the agent's.
    root: Option<CString>,
    directory: CString,
}

impl Plan {
    fn new(process: Process) -> io::Result<Self> {
        let mut environment: Vec<(String, String)> =
            ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (name, value) in process.environment {
            environment.retain(|(known, _)| *known != name);
            environment.push((name, value));
        }
        let program = process.arguments.first().ok_or(io::ErrorKind::InvalidInput)?;
        let search = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
        let candidates = if program.contains('/') {
            vec![CString::new(program.as_str())?]
        } else {
            let paths = search.split(':').map(|folder| CString::new(format!("{folder}/{program}")));
            paths.collect::<Result<_, _>>()?
        };
        let environment =
            environment.into_iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        let arguments = process.arguments.into_iter().map(CString::new);
        Ok(Self {
            candidates,
            arguments: arguments.collect::<Result<_, _>>()?,
            environment: environment.collect::<Result<_, _>>()?,
            root: process.root.map(CString::new).transpose()?,
            directory: CString::new(process.directory)?,
        })
    }

    /// Goes where the program is to start.
    fn enter(&self) -> Result<(), Failure> {
        if let Some(root) = &self.root {
            sys::change_root(root).map_err(Step::ChangeRoot.failed())?;
        }
        sys::enter_folder(&self.directory).map_err(Step::EnterFolder.failed())
    }

    /// Becomes the program by `call`. Returns why it could not: the first reason that isn't "not here".
    fn exec(&self, call: &sys::Call<'_>) -> Failure {
        let mut reason = libc::ENOENT;
        for candidate in &self.candidates {
            let error = errno(&call.exec(candidate));
            if error != libc::ENOENT && reason == libc::ENOENT {
                reason = error;
            }
        }
        Failure { step: Step::Run, errno: reason }
    }

    /// Starts a process that becomes the program.
    fn start(&self, name: String, streams: Streams, ends: [BorrowedFd<'_>; 3]) -> io::Result<Job> {
        let call = sys::Call::new(&self.arguments, &self.environment);
        let on_terminal = streams.terminal.is_some();
        Job::spawn(name, streams, &|| {
            let prepared = prepare(ends, on_terminal).map_err(Step::Run.failed());
            match prepared.and_then(|()| self.enter()) {
                Ok(()) => self.exec(&call),
                Err(failure) => failure,
            }
        })
    }
}

/// Runs a program in a session of its own.
pub(crate) fn run(process: Process) -> io::Result<Job> {
    let name = process.arguments.first().cloned().unwrap_or_default();
    let terminal = process.terminal;
    let plan = Plan::new(process)?;
    match terminal {
        Some(size) => run_on_terminal(name, &plan, size),
        None => run_on_pipes(name, &plan),
    }
}

fn run_on_pipes(name: String, plan: &Plan) -> io::Result<Job> {
    let (stdin, input) = io::pipe()?;
    let (output, stdout) = io::pipe()?;
    let (error, stderr) = io::pipe()?;
    let streams = Streams {
        input: Some(file(input)),
        outputs: [Some((file(output), Stream::Stdout)), Some((file(error), Stream::Stderr))],
        terminal: None,
    };
    plan.start(name, streams, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])
}

fn run_on_terminal(name: String, plan: &Plan, size: WindowSize) -> io::Result<Job> {
    let sys::Terminal { master, slave } = sys::open_terminal()?;
    sys::resize_terminal(&master, size.rows, size.columns)?;
    let streams = Streams {
        input: Some(master.try_clone()?),
        outputs: [Some((master.try_clone()?, Stream::Stdout)), None],
        terminal: Some(master),
    };
    plan.start(name, streams, [slave.as_fd(); 3])
}

/// In the new process: gives it its session, its terminal and its standard streams.
fn prepare(streams: [BorrowedFd<'_>; 3], on_terminal: bool) -> io::Result<()> {
    sys::reset_signals();
    sys::start_session()?;
    if on_terminal {
        sys::take_terminal(&streams[0])?;
    }
    streams.iter().zip(0..).try_for_each(|(stream, target)| sys::redirect(stream, target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(arguments: &[&str], environment: &[(&str, &str)]) -> Process {
        Process {
            environment: environment.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect(),
            ..Process::new(arguments.iter().map(|&text| text.to_owned()).collect())
        }
    }

    #[test]
    fn a_plain_name_is_looked_up_and_a_path_is_not() {
        let plan = Plan::new(process(&["ls", "-l"], &[])).unwrap();
        assert_eq!(
            plan.candidates,
            [c"/bin/ls", c"/sbin/ls", c"/usr/bin/ls", c"/usr/sbin/ls"].map(CString::from)
        );
        assert_eq!(plan.arguments, [c"ls", c"-l"].map(CString::from));
        assert_eq!(Plan::new(process(&["./ls"], &[])).unwrap().candidates, [CString::from(c"./ls")]);
    }

    #[test]
    fn a_name_given_replaces_the_machines() {
        let plan = Plan::new(process(&["ls"], &[("PATH", "/x"), ("TERM", "vt100")])).unwrap();
        assert_eq!(plan.candidates, [CString::from(c"/x/ls")]);
        assert_eq!(plan.environment, [c"HOME=/root", c"PATH=/x", c"TERM=vt100"].map(CString::from));
    }

    #[test]
    fn what_the_kernel_can_not_take_is_an_error() {
        assert!(Plan::new(process(&[], &[])).is_err());
        assert!(Plan::new(process(&["a\0b"], &[])).is_err());
        assert!(Plan::new(process(&["ls"], &[("A", "\0")])).is_err());
    }
}
