// SPDX-License-Identifier: GPL-2.0-only
use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use wire::{Channel, Exit, FrameError, Reply, Stream, WINDOW, WindowSize};

use crate::port::Port;
use crate::sys::{self, Ending};

/// How much is read from an output at once, in bytes: what a pipe holds.
const READ_AT_ONCE: usize = 64 << 10;

/// How much of an output is still read after its process has ended. What the process wrote is in a buffer
/// of at most this size; what comes after it is a background process's, which may never stop.
const READ_AFTER_END: usize = 1 << 20;

/// How many bytes of input have to be taken until the host is told: not each time, and long before it waits.
const TOLD_AT_ONCE: usize = WINDOW / 4;

/// `VEOF` of a terminal's default settings, Ctrl-D.
const END_OF_INPUT: u8 = 4;

/// What a process was doing when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Step {
    MakeFolder,
    Open,
    SetMode,
    Read,
    Write,
    Load,
    Unload,
    Run,
    Mount,
    Overlay,
    Link,
    ChangeRoot,
    EnterFolder,
    Sample,
}

impl Step {
    const ALL: [(Self, &str); 14] = [
        (Self::MakeFolder, "make the folder of"),
        (Self::Open, "open"),
        (Self::SetMode, "set the mode of"),
        (Self::Read, "read"),
        (Self::Write, "write"),
        (Self::Load, "load"),
        (Self::Unload, "unload"),
        (Self::Run, "run"),
        (Self::Mount, "mount"),
        (Self::Overlay, "overlay"),
        (Self::Link, "link to"),
        (Self::ChangeRoot, "enter the root of"),
        (Self::EnterFolder, "enter the folder of"),
        (Self::Sample, "sample"),
    ];

    fn words(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The failure of this step, for `map_err`.
    pub(crate) fn failed(self) -> impl Fn(io::Error) -> Failure {
        move |error| Failure { step: self, errno: errno(&error) }
    }
}

/// The kernel's number for an error; those that `std` made up have none, and are invalid arguments.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}

/// What a process tells before it ends in failure: one byte for the step, four for the error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) errno: i32,
}

impl Failure {
    /// What is said of it to the host. `object` is what it was done to.
    pub(crate) fn reply(self, object: &str) -> Reply {
        Reply::Failed { action: format!("{} {object}", self.step.words()), errno: self.errno }
    }

    fn to_bytes(self) -> [u8; 5] {
        let [a, b, c, d] = self.errno.to_le_bytes();
        [self.step as u8, a, b, c, d]
    }

    /// `None` is [`ANSWERED`], or nothing that a failure says.
    fn from_bytes([step, errno @ ..]: [u8; 5]) -> Option<Self> {
        let (step, _) = Step::ALL.into_iter().find(|(known, _)| *known as u8 == step)?;
        Some(Self { step, errno: i32::from_le_bytes(errno) })
    }
}

/// What a helper tells that has answered a question, and waits for the next one: no [`Failure`].
const ANSWERED: [u8; 5] = [u8::MAX; 5];

/// How the end of a process is told to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A copy of the agent that makes system calls.
    Helper,
    /// The same; what is sent after this request is meant to come after it.
    OrderedHelper,
    /// A program.
    Program,
}

/// Where a job's failure is told.
enum Report {
    /// In this pipe, by a copy of the agent.
    Awaited(PipeReader),
    /// Here: whether a process became a program is known once it is started.
    Known(Option<Failure>),
}

impl Report {
    fn failure(&mut self) -> Option<Failure> {
        match self {
            Self::Awaited(pipe) => {
                let mut told = [0; 5];
                pipe.read_exact(&mut told).ok().and_then(|()| Failure::from_bytes(told))
            }
            Self::Known(failure) => *failure,
        }
    }
}

/// Where what the host sends for standard input goes.
struct Input {
    file: File,
    waiting: VecDeque<u8>,
    ended: bool,
}

/// What the host sees of a process.
#[derive(Default)]
pub(crate) struct Streams {
    /// Written to by us.
    pub(crate) input: Option<File>,
    /// Read by us.
    pub(crate) outputs: [Option<(File, Stream)>; 2],
    /// Our end of the terminal, if there is one.
    pub(crate) terminal: Option<File>,
}

impl Streams {
    fn make_nonblocking(&self) -> io::Result<()> {
        let outputs = self.outputs.iter().flatten().map(|(file, _)| file);
        self.input.iter().chain(outputs).try_for_each(sys::make_nonblocking)
    }
}

/// A process that carries out a request.
pub(crate) struct Job {
    channel: Channel,
    process: libc::pid_t,
    kind: Kind,
    object: String,
    report: Report,
    /// Where a helper that answers several questions reads them.
    questions: Option<PipeWriter>,
    input: Option<Input>,
    outputs: [Option<(File, Stream)>; 2],
    terminal: Option<File>,
    buffer: Box<[u8]>,
    /// How many bytes of output the host will take now.
    output_left: usize,
    /// How many bytes of input have been taken, or dropped, that the host has not been told of.
    input_taken: usize,
}

impl Job {
    /// Starts a copy of the agent that does `work`. `object` is what it is done to, for messages.
    pub(crate) fn start(
        kind: Kind,
        object: String,
        streams: Streams,
        work: impl FnOnce() -> Result<(), Failure>,
    ) -> io::Result<Self> {
        let (report, told) = io::pipe()?;
        sys::make_nonblocking(&report)?;
        streams.make_nonblocking()?;
        let process = sys::fork(move || tell(told, work()))?;
        Ok(Self::new(process, kind, object, streams, Report::Awaited(report)))
    }

    /// Whether it is a program that the host asked for.
    pub(crate) fn is_program(&self) -> bool {
        self.kind == Kind::Program
    }

    /// Starts a copy of the agent that does `work` for each question that it is then [asked](Job::ask).
    pub(crate) fn start_asker(
        streams: Streams,
        mut work: impl FnMut(&str, &[u8]) -> Result<(), Failure>,
    ) -> io::Result<Self> {
        let (report, mut told) = io::pipe()?;
        sys::make_nonblocking(&report)?;
        streams.make_nonblocking()?;
        let (mut asked, questions) = io::pipe()?;
        let process = sys::fork(move || {
            while let Ok((path, input)) = read_question(&mut asked) {
                let answer = work(&path, &input).map_or_else(Failure::to_bytes, |()| ANSWERED);
                if told.write_all(&answer).is_err() {
                    break;
                }
            }
            1
        })?;
        let mut job = Self::new(process, Kind::Helper, String::new(), streams, Report::Awaited(report));
        job.questions = Some(questions);
        Ok(job)
    }

    /// Has a helper that answers questions answer this one, about a file.
    pub(crate) fn ask(mut self, path: String, input: &[u8]) -> io::Result<Self> {
        let questions = self.questions.as_mut().ok_or(io::ErrorKind::InvalidInput)?;
        questions.write_all(&question(&path, input))?;
        Ok(Self { object: path, output_left: WINDOW, ..self })
    }

    /// Starts a process that becomes a program by `exec`, which runs in this process's memory and returns only
    /// if it fails. `object` is what that is, for messages.
    pub(crate) fn spawn(object: String, streams: Streams, exec: &dyn Fn() -> Failure) -> io::Result<Self> {
        streams.make_nonblocking()?;
        let failure = Cell::new(None);
        let process = sys::spawn(&|| {
            failure.set(Some(exec()));
            1
        })?;
        Ok(Self::new(process, Kind::Program, object, streams, Report::Known(failure.get())))
    }

    fn new(process: libc::pid_t, kind: Kind, object: String, streams: Streams, report: Report) -> Self {
        let Streams { input, outputs, terminal } = streams;
        let input = input.map(|file| Input { file, waiting: VecDeque::new(), ended: false });
        let buffer = vec![0; READ_AT_ONCE].into();
        Self {
            channel: wire::MAIN,
            process,
            kind,
            object,
            report,
            questions: None,
            input,
            outputs,
            terminal,
            buffer,
            output_left: WINDOW,
            input_taken: 0,
        }
    }

    /// The same job as one of this channel.
    pub(crate) fn on(self, channel: Channel) -> Self {
        Self { channel, ..self }
    }

    /// The channel of the request.
    pub(crate) fn channel(&self) -> Channel {
        self.channel
    }

    /// The process's number.
    pub(crate) fn process(&self) -> libc::pid_t {
        self.process
    }

    /// Whether the next request may be looked at before this job has ended.
    pub(crate) fn lets_requests_through(&self) -> bool {
        self.kind != Kind::OrderedHelper
    }

    /// The descriptor to wait for until more input can be written, or -1.
    pub(crate) fn wanted_input(&self) -> RawFd {
        self.input.as_ref().filter(|input| !input.waiting.is_empty()).map_or(-1, |i| i.file.as_raw_fd())
    }

    /// The descriptor to wait for until there is output, or -1.
    pub(crate) fn wanted_output(&self, index: usize) -> RawFd {
        let output = self.outputs[index].as_ref().filter(|_| self.output_left > 0);
        output.map_or(-1, |(file, _)| file.as_raw_fd())
    }

    /// The descriptor to wait for until a helper has answered, or -1.
    pub(crate) fn wanted_answer(&self) -> RawFd {
        match &self.report {
            Report::Awaited(pipe) if self.questions.is_some() => pipe.as_raw_fd(),
            _ => -1,
        }
    }

    /// Lets so much more output be sent.
    pub(crate) fn allow_output(&mut self, bytes: u32) {
        self.output_left = self.output_left.saturating_add(bytes as usize).min(WINDOW);
    }

    /// How much input the host is to be told of as taken, when it is worth a message.
    pub(crate) fn tell_input(&mut self) -> Option<u32> {
        if self.input_taken < TOLD_AT_ONCE {
            return None;
        }
        u32::try_from(mem::take(&mut self.input_taken)).ok()
    }

    /// Adds to the input. It is dropped when the process takes no more.
    pub(crate) fn feed(&mut self, data: &[u8]) {
        match &mut self.input {
            Some(input) => input.waiting.extend(data),
            None => self.input_taken += data.len(),
        }
        self.write_input();
    }

    /// Lets the input end when all before has been read. A terminal is told so, and stays open.
    pub(crate) fn end_input(&mut self) {
        if self.terminal.is_some() {
            return self.feed(&[END_OF_INPUT]);
        }
        if let Some(input) = &mut self.input {
            input.ended = true;
        }
        self.write_input();
    }

    /// Writes as much input as the process takes.
    pub(crate) fn write_input(&mut self) {
        let Some(input) = &mut self.input else { return };
        while !input.waiting.is_empty() {
            match input.file.write(input.waiting.as_slices().0) {
                Ok(length) => {
                    input.waiting.drain(..length);
                    self.input_taken += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody reads it any more.
                Err(_) => {
                    self.input_taken += input.waiting.len();
                    return self.input = None;
                }
            }
        }
        if input.ended {
            self.input = None;
        }
    }

    /// Gives the terminal a size. A job without a terminal has none.
    pub(crate) fn resize(&self, size: WindowSize) -> io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), |it| sys::resize_terminal(it, size.rows, size.columns))
    }

    /// Sends a signal to the process and what it started.
    pub(crate) fn signal(&self, number: i32) -> io::Result<()> {
        sys::send_signal(self.process, number)
    }

    /// Reads an output once, and sends on what it held. Returns how much that was; 0 when there is nothing
    /// now or for ever.
    pub(crate) fn read_output(&mut self, index: usize, port: &mut Port) -> Result<usize, FrameError> {
        let Some((file, stream)) = &mut self.outputs[index] else { return Ok(0) };
        let most = self.output_left.min(self.buffer.len());
        match file.read(&mut self.buffer[..most]) {
            Ok(length @ 1..) => {
                let data = self.buffer[..length].to_vec();
                port.queue(self.channel, Reply::Output { stream: *stream, data })?;
                self.output_left -= length;
                return Ok(length);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The end; for a terminal, which no process has open any more, an error (EIO).
            Ok(0) | Err(_) => self.outputs[index] = None,
        }
        Ok(0)
    }

    /// Sends what is left of the output of a job that has ended, or has answered, and returns the reply which ends the
    /// request.
    pub(crate) fn conclude(&mut self, ending: Ending, port: &mut Port) -> Result<Reply, FrameError> {
        for index in 0..self.outputs.len() {
            self.output_left = READ_AFTER_END;
            while self.output_left > 0 && self.read_output(index, port)? > 0 {}
        }
        Ok(reply(self.kind, &self.object, self.report.failure(), ending))
    }
}

/// The reply for a process that told of this failure, if any, and then ended like this.
fn reply(kind: Kind, object: &str, failure: Option<Failure>, ending: Ending) -> Reply {
    match (failure, kind, ending) {
        (Some(failure), _, _) => failure.reply(object),
        (None, Kind::Program, Ending::Status(status)) => Reply::Exited(Exit::Status(status)),
        (None, Kind::Program, Ending::Signal(signal)) => Reply::Exited(Exit::Signal(signal)),
        (None, _, Ending::Status(0)) => Reply::Done,
        (None, _, Ending::Status(_)) => {
            Reply::Failed { action: format!("work on {object}"), errno: libc::EIO }
        }
        (None, _, Ending::Signal(signal)) => Reply::Killed { signal },
    }
}

/// In the process itself: leaves its failure where the agent finds it. Returns the exit status.
fn tell(mut told: PipeWriter, result: Result<(), Failure>) -> i32 {
    let Err(failure) = result else { return 0 };
    let _ = told.write_all(&failure.to_bytes());
    1
}

/// A question as it is written to a helper: two lengths of four bytes, the path, the input.
fn question(path: &str, input: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + path.len() + input.len());
    // Both came in one message, whose length four bytes can hold.
    bytes.extend((path.len() as u32).to_le_bytes());
    bytes.extend((input.len() as u32).to_le_bytes());
    bytes.extend(path.as_bytes());
    bytes.extend(input);
    bytes
}

/// In the helper: the next question, as a path and the input.
fn read_question(from: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let mut lengths = [[0; 4]; 2];
    from.read_exact(lengths.as_flattened_mut())?;
    let [mut path, mut input] = lengths.map(|length| vec![0; u32::from_le_bytes(length) as usize]);
    from.read_exact(&mut path)?;
    from.read_exact(&mut input)?;
    Ok((String::from_utf8(path).map_err(|_| io::ErrorKind::InvalidData)?, input))
}

/// A pipe end, as a file.
pub(crate) fn file(end: impl Into<OwnedFd>) -> File {
    File::from(end.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_survives_the_pipe() {
        for (step, words) in Step::ALL {
            let failure = Failure { step, errno: libc::ENOEXEC };
            assert_eq!(Failure::from_bytes(failure.to_bytes()), Some(failure));
            assert_eq!(step.words(), words);
        }
        assert_eq!(Failure::from_bytes([Step::ALL.len() as u8, 0, 0, 0, 0]), None);
        assert_eq!(Failure::from_bytes(ANSWERED), None);
    }

    #[test]
    fn questions_come_apart_as_they_were_put() {
        let bytes = [question("/a", b"one"), question("/b/c", b"")].concat();
        let mut pipe = &bytes[..];
        assert_eq!(read_question(&mut pipe).unwrap(), ("/a".to_owned(), b"one".to_vec()));
        assert_eq!(read_question(&mut pipe).unwrap(), ("/b/c".to_owned(), Vec::new()));
        assert_eq!(read_question(&mut pipe).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_failure_outweighs_the_status_it_ends_with() {
        let failed_at = |step| Some(Failure { step, errno: 2 });
        let failed = Reply::Failed { action: "open /x".into(), errno: 2 };
        assert_eq!(reply(Kind::Helper, "/x", failed_at(Step::Open), Ending::Status(1)), failed);
        let not_run = Reply::Failed { action: "run x".into(), errno: 2 };
        assert_eq!(reply(Kind::Program, "x", failed_at(Step::Run), Ending::Status(1)), not_run);
    }

    #[test]
    fn a_helper_that_ends_without_a_word_is_never_done() {
        assert_eq!(reply(Kind::Helper, "/x", None, Ending::Status(0)), Reply::Done);
        assert_eq!(reply(Kind::Helper, "/x", None, Ending::Signal(9)), Reply::Killed { signal: 9 });
        let lost = Reply::Failed { action: "work on /x".into(), errno: libc::EIO };
        assert_eq!(reply(Kind::Helper, "/x", None, Ending::Status(1)), lost);
    }

    #[test]
    fn a_programs_end_is_told_as_it_is() {
        let end = |ending| reply(Kind::Program, "x", None, ending);
        assert_eq!(end(Ending::Status(3)), Reply::Exited(Exit::Status(3)));
        assert_eq!(end(Ending::Signal(2)), Reply::Exited(Exit::Signal(2)));
    }
}
