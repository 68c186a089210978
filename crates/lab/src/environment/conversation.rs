// SPDX-License-Identifier: GPL-2.0-only
//! A client's conversation with a machine's agent, or with what takes its place in one that has a distribution.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use wire::{Exit, MAIN, Process, Reply, Request, Stream};

use crate::Lab;
use crate::cancel::{Cancel, POLL};
use crate::error::{Context, Error, Kind, Result};
use crate::image::{Connection, RUNNER, Ssh};
use crate::link::{Incoming, Link, Outgoing, Taken};
use crate::run;
use crate::share::{Place as Programs, SOURCE};

use super::control::{running, talk};
use super::kind::Kind as MachineKind;
use super::name::Name;
use super::record::{Place, Record, State};

/// How long a keeper may take to write down how its machine has ended.
const OBITUARY: Duration = Duration::from_secs(5);

/// The signal that a program gets whose output nobody reads.
const BROKEN_PIPE: i32 = 13;

/// The two ends of a program in the machine.
pub struct Ends<'a> {
    /// Takes its output. An error means that nobody reads it any more; then it is ended.
    pub output: &'a mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    /// Gets the means to send keys, sizes and signals to the program once it was started.
    pub input: &'a mut dyn FnMut(Outgoing),
}

/// Whose the machine is.
enum Peer {
    /// A keeper's.
    Kept(Box<(Place, Record)>),
    /// The caller's, who calls it so.
    Own(String),
}

impl Peer {
    fn name(&self) -> &str {
        match self {
            Self::Kept(kept) => kept.0.name.as_str(),
            Self::Own(name) => name,
        }
    }
}

/// A conversation with what runs programs in a machine. What it has left running ends with it.
pub struct Conversation<'a> {
    lab: &'a Lab,
    peer: Peer,
    stream: UnixStream,
    /// To a machine with a distribution.
    connection: Option<Connection>,
    /// Where programs run, where no keeper says so.
    programs: Option<Programs>,
    link: Link,
    outgoing: Outgoing,
    incoming: Receiver<Incoming>,
    taken: Taken,
}

impl<'a> Conversation<'a> {
    /// Opens one with the machine of this name that is kept: with its agent through its keeper, or by ssh, as root,
    /// where it has a distribution.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or none that runs.
    pub fn open(lab: &'a Lab, name: &Name) -> Result<Self> {
        let (place, record) = running(lab, name)?;
        let MachineKind::Whole(whole) = &record.settings.kind else {
            let stream = talk(lab, &place)?;
            return Self::over(lab, Peer::Kept(Box::new((place, record))), stream);
        };
        let (ssh, programs) = (Ssh::of_machine(place.dir())?, programs(whole.source.is_some()));
        Self::by_ssh(lab, Peer::Kept(Box::new((place, record))), &ssh, programs)
    }

    /// Opens one with a machine of the caller's that has a distribution, by ssh, as root. `name` is what the user
    /// calls it. Programs start in `/src` where something is shown there.
    ///
    /// # Errors
    ///
    /// When ssh can't be started.
    pub fn with(lab: &'a Lab, name: &str, ssh: &Ssh, shows: bool) -> Result<Self> {
        Self::by_ssh(lab, Peer::Own(name.to_owned()), ssh, programs(shows))
    }

    fn by_ssh(lab: &'a Lab, peer: Peer, ssh: &Ssh, programs: Programs) -> Result<Self> {
        let (stream, connection) = Connection::open(&ssh.with_user("root"), RUNNER)?;
        let mut conversation = Self::over(lab, peer, stream)?;
        conversation.connection = Some(connection);
        conversation.programs = Some(programs);
        Ok(conversation)
    }

    fn over(lab: &'a Lab, peer: Peer, stream: UnixStream) -> Result<Self> {
        let what = || format!("talk to the machine {}", peer.name());
        let link = Link::new(stream.try_clone().context(what)?).context(what)?;
        let (sender, incoming) = mpsc::channel();
        let outgoing = link.open(MAIN, Box::new(move |incoming| sender.send(incoming).is_ok()));
        let taken = Taken::default();
        Ok(Self { lab, peer, stream, connection: None, programs: None, link, outgoing, incoming, taken })
    }

    /// Runs a program in the machine until it ends by itself, or nobody reads its output. With a `cancel` it is not
    /// waited for longer than that.
    ///
    /// # Errors
    ///
    /// When the machine ends first, or the user does not want to wait.
    pub fn run(
        &mut self,
        mut process: Process,
        ends: &mut Ends<'_>,
        cancel: Option<&Cancel>,
    ) -> Result<Exit> {
        let name = process.arguments.first().cloned().unwrap_or_default();
        if let Some(programs) = &self.programs {
            programs.hold(&mut process);
        }
        self.send(&Request::Run(process))?;
        (ends.input)(self.outgoing.clone());
        loop {
            match self.next(cancel)? {
                Reply::Output { stream, data } => {
                    if (ends.output)(stream, &data).is_err() {
                        return Ok(Exit::Signal(BROKEN_PIPE));
                    }
                }
                Reply::Exited(exit) => return Ok(exit),
                Reply::Failed { action, errno } => {
                    let (exit, why) = run::not_run(&action, errno);
                    self.lab.note(&why);
                    return Ok(exit);
                }
                other => return Err(unexpected(&name, &other)),
            }
        }
    }

    pub(super) fn send(&self, request: &Request) -> Result<()> {
        self.outgoing.send(request).map_err(|lost| Error::lab(lost.to_string()))
    }

    /// The request to stop that whoever has opened it keeps an eye on.
    pub(super) fn cancel(&self) -> Cancel {
        self.lab.cancel.clone()
    }

    pub(super) fn outgoing(&self) -> Outgoing {
        self.outgoing.clone()
    }

    /// Lets whoever waits to send input wait no longer: the program has ended.
    pub(super) fn stop_input(&self) {
        self.link.close(MAIN);
    }

    /// The next reply of interest; output counts as taken. Where there is a `cancel`, it is not waited for longer.
    pub(super) fn next(&mut self, cancel: Option<&Cancel>) -> Result<Reply> {
        loop {
            match self.incoming.recv_timeout(POLL) {
                Ok(Incoming::Reply(Reply::InputTaken { .. } | Reply::Log { .. }, _)) => {}
                Ok(Incoming::Reply(reply, _)) => {
                    if let Reply::Output { data, .. } = &reply {
                        // One that has ended takes no notice.
                        let _ = self.taken.count(data.len(), &self.outgoing);
                    }
                    return Ok(reply);
                }
                Ok(Incoming::Nonsense(what)) => {
                    let who = match self.peer {
                        Peer::Kept(..) if self.connection.is_none() => "keeper of the machine",
                        _ => "machine",
                    };
                    return Err(Error::lab(format!("the {who} {} sent {what}", self.peer.name())));
                }
                Ok(Incoming::Closed) | Err(RecvTimeoutError::Disconnected) => return Err(self.lost()),
                Err(RecvTimeoutError::Timeout) => cancel.map_or(Ok(()), Cancel::check)?,
            }
        }
    }

    /// Why there is no more of the conversation.
    fn lost(&self) -> Error {
        let error =
            |why: &str| Error::new(Kind::MachineLost, format!("the machine {} {why}", self.peer.name()));
        let closed = || {
            let complaint = self.connection.as_ref().and_then(Connection::complaint);
            let closed = error("has closed the connection");
            match complaint {
                Some(complaint) => closed.with_source(complaint),
                None => closed,
            }
        };
        let Peer::Kept(kept) = &self.peer else { return closed() };
        let (place, before) = &**kept;
        let name = &place.name;
        let deadline = std::time::Instant::now() + OBITUARY;
        loop {
            match place.look(self.lab) {
                Ok(Some(record)) if record.is_still(before) => {}
                Ok(Some(Record { state: State::Dead { reason, .. }, .. })) => {
                    return error(&format!("has died meanwhile: {reason}")).with_remedy(format!(
                        "`vexlab logs {name}` shows its console, `vexlab up {name}` starts it anew"
                    ));
                }
                Ok(Some(Record { state: State::Stopped, .. })) => return error("was stopped meanwhile"),
                Ok(Some(_)) => return error("was started anew meanwhile"),
                Ok(None) => return error("was removed meanwhile"),
                Err(error) => return error,
            }
            if std::time::Instant::now() > deadline {
                return closed();
            }
            std::thread::sleep(POLL);
        }
    }
}

/// Where programs run in a machine with a distribution: where the source is, where one is shown.
fn programs(shows: bool) -> Programs {
    let directory = if shows { SOURCE } else { "/" };
    Programs { directory: directory.to_owned(), ..Programs::default() }
}

impl Drop for Conversation<'_> {
    fn drop(&mut self) {
        // The keeper notices; it may have done so first.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

pub(super) fn unexpected(what: &str, reply: &Reply) -> Error {
    Error::lab(format!("{what}: the agent answered {reply:?}"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command};
    use std::sync::Arc;

    use wire::{WINDOW, WindowSize};

    use super::*;
    use crate::image::Keys;
    use crate::{cache::Cache, event::Silent};

    /// A lab, and what runs programs in machines with a distribution, here.
    fn scene() -> (tempfile::TempDir, Lab, UnixStream, Child) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
        let (ours, theirs) = UnixStream::pair().unwrap();
        let input = OwnedFd::from(theirs.try_clone().unwrap());
        let mut command = Command::new("python3");
        command.args(["-c", RUNNER]).stdin(input).stdout(OwnedFd::from(theirs));
        let runner = command.spawn().unwrap();
        (dir, lab, ours, runner)
    }

    fn program(words: &[&str]) -> Process {
        Process::new(words.iter().map(|&word| word.to_owned()).collect())
    }

    /// Runs programs one after the other, each with its input, and gives how they ended and what they wrote.
    fn run(programs: Vec<(Process, &[u8])>) -> Vec<(Exit, String, String)> {
        let (_dir, lab, stream, mut runner) = scene();
        let mut conversation = Conversation::over(&lab, Peer::Own("x".into()), stream).unwrap();
        let mut run = |(process, input): (Process, &[u8])| {
            let (mut out, mut errors) = (Vec::new(), Vec::new());
            let mut output = |stream: Stream, bytes: &[u8]| {
                match stream {
                    Stream::Stdout => out.extend_from_slice(bytes),
                    Stream::Stderr => errors.extend_from_slice(bytes),
                }
                Ok(())
            };
            let mut send = |outgoing: Outgoing| {
                let (input, has_to_wait) = (input.to_vec(), input.len() > WINDOW);
                let feed = move || {
                    for data in input.chunks(wire::frame::CHUNK) {
                        outgoing.input(&Request::Stdin { data: data.to_vec() });
                    }
                    outgoing.input(&Request::StdinEnd);
                };
                // What need not wait for the program must not come so late that the next one gets it.
                if has_to_wait {
                    std::thread::spawn(feed);
                } else {
                    feed();
                }
            };
            let exit =
                conversation.run(process, &mut Ends { output: &mut output, input: &mut send }, None).unwrap();
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            (exit, text(out), text(errors))
        };
        let ended = programs.into_iter().map(&mut run).collect();
        drop(conversation);
        assert!(runner.wait().unwrap().success(), "it ends when its client has gone");
        ended
    }

    #[test]
    fn programs_are_run_one_after_the_other_as_by_an_agent() {
        let large = vec![b'x'; 3 * WINDOW];
        let mut with_surroundings = program(&["sh", "-c", "echo $PLACE; pwd"]);
        with_surroundings.environment.push(("PLACE".into(), "here and there".into()));
        with_surroundings.directory = "/usr".into();
        let mut lost = program(&["true"]);
        lost.directory = "/no/such/folder".into();
        let ended = run(vec![
            (program(&["sh", "-c", "cat; echo bad >&2; exit 7"]), b"good"),
            (program(&["sh", "-c", "kill -TERM $$"]), b""),
            (program(&["cat"]), &large),
            (program(&["true"]), &large),
            (with_surroundings, b""),
            (program(&["no-such-program"]), b""),
            (program(&["/etc/passwd"]), b""),
            (lost, b""),
            (program(&["sh", "-c", "echo last"]), b""),
        ]);
        let short: Vec<_> =
            ended.iter().map(|(exit, out, errors)| (*exit, out.len(), errors.as_str())).collect();
        assert_eq!(&ended[0], &(Exit::Status(7), "good".into(), "bad\n".into()));
        assert_eq!(short[1], (Exit::Signal(15), 0, ""));
        assert_eq!(short[2], (Exit::Status(0), 3 * WINDOW, ""));
        assert_eq!(short[3], (Exit::Status(0), 0, ""));
        assert_eq!(ended[4].1, "here and there\n/usr\n");
        assert_eq!(short[5..8].iter().map(|it| it.0).collect::<Vec<_>>(), [127, 126, 127].map(Exit::Status));
        assert_eq!(ended[8].1, "last\n");
    }

    #[test]
    fn a_program_on_a_terminal_has_one_of_its_own() {
        let mut process = program(&["sh", "-c", "tty >/dev/null && stty size && echo $(ps -o tty= $$); cat"]);
        process.terminal = Some(WindowSize { rows: 12, columns: 34 });
        let ended = run(vec![(process, b"")]);
        let (exit, out, _) = &ended[0];
        assert_eq!(*exit, Exit::Status(0), "the end of input is a key: {out}");
        assert!(out.starts_with("12 34\r\npts/"), "{out}");
    }

    #[test]
    fn signals_arrive() {
        let (_dir, lab, stream, mut runner) = scene();
        let mut conversation = Conversation::over(&lab, Peer::Own("x".into()), stream).unwrap();
        let mut interrupt = |outgoing: Outgoing| {
            outgoing.input(&Request::Signal { number: 2 });
        };
        let mut ends = Ends { output: &mut |_, _| Ok(()), input: &mut interrupt };
        assert_eq!(conversation.run(program(&["sleep", "600"]), &mut ends, None).unwrap(), Exit::Signal(2));
        drop(conversation);
        assert!(runner.wait().unwrap().success());
    }

    #[test]
    fn whoever_has_gone_leaves_nothing_running() {
        let (_dir, lab, stream, mut runner) = scene();
        let mut conversation = Conversation::over(&lab, Peer::Own("x".into()), stream).unwrap();
        let mut number = String::new();
        let mut output = |_: Stream, bytes: &[u8]| {
            number.push_str(&String::from_utf8_lossy(bytes));
            if number.ends_with('\n') { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
        };
        let mut ends = Ends { output: &mut output, input: &mut drop };
        // To be asked to go is not enough.
        let process = program(&["sh", "-c", "trap '' HUP; echo $$; exec sleep 600"]);
        assert_eq!(conversation.run(process, &mut ends, None).unwrap(), Exit::Signal(BROKEN_PIPE));
        let place = std::path::PathBuf::from(format!("/proc/{}", number.trim()));
        assert!(place.exists(), "{number}");
        drop(conversation);
        assert!(runner.wait().unwrap().success());
        assert!(!place.exists(), "{number}");
    }

    #[test]
    fn a_machine_that_is_gone_and_bytes_that_are_no_message_are_told() {
        let (_dir, lab, _, mut runner) = scene();
        let said = |sent: &[u8]| {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            let mut conversation = Conversation::over(&lab, Peer::Own("x".into()), ours).unwrap();
            io::Write::write_all(&mut theirs, sent).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let mut ends = Ends { output: &mut |_, _| Ok(()), input: &mut drop };
            conversation.run(program(&["true"]), &mut ends, None).unwrap_err().to_string()
        };
        insta::assert_snapshot!(said(b""), @"the machine x has closed the connection");
        insta::assert_snapshot!(said(&[0xff; 16]), @"the machine x sent bytes that are no message: a message of 4294967295 bytes is announced, more than the 1048576 allowed");
        runner.kill().unwrap();
        runner.wait().unwrap();
    }

    #[test]
    fn ssh_that_gets_nowhere_says_why() {
        let (dir, lab, stream, mut runner) = scene();
        drop(stream);
        runner.wait().unwrap();
        // Nobody listens at the port that only root could have.
        let ssh = Ssh::new(dir.path(), &Keys::none(), 1, "vex").unwrap();
        let mut conversation = Conversation::with(&lab, "x", &ssh, false).unwrap();
        let mut ends = Ends { output: &mut |_, _| Ok(()), input: &mut drop };
        let error = conversation.run(program(&["true"]), &mut ends, None).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(error.to_string(), "the machine x has closed the connection");
        assert!(cause.ends_with("port 1: Connection refused"), "{cause}");
    }
}
