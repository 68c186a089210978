// SPDX-License-Identifier: GPL-2.0-only
//! Tests, carried out in a machine in which the module is loaded.

use std::time::{Duration, Instant};

use wire::{Exit, Process, Reply, Request, Stream};

use super::Module;
use super::errno_text;
use super::plan::Unit;
use super::steps::{Run, SHOWN_LINES, WITHOUT_RUST, unexpected};
use super::trouble::Trouble;
use crate::error::{Error, Result, nearest};
use crate::event::Event;
use crate::ktap;
use crate::project::Check;
use crate::session::{Collect, Listener};
use crate::verdict::Outcome;

/// What came of a unit that came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Its results are held.
    Tested,
    /// It is a file with these tests, of which none was run.
    Listed(Vec<String>),
    /// Its results are held, and the machine was killed.
    Killed,
}

/// A step's result: on, or to the end.
type Step<T> = std::result::Result<T, Trouble>;

/// The longest list of tests that a file may have.
const MOST_TESTS: usize = 10_000;

impl Run<'_> {
    /// Carries a unit out. Of a module that was built for coverage, the counters are read afterwards.
    pub(super) fn carry_out(&mut self, unit: &Unit, module: &Module) -> Step<Done> {
        let name = unit.name();
        self.counts(&name);
        let done = self.carry_out_called(&name, unit, module)?;
        if done != Done::Killed && !self.has_ended {
            self.read_counters()?;
        }
        Ok(done)
    }

    fn carry_out_called(&mut self, name: &str, unit: &Unit, module: &Module) -> Step<Done> {
        let test = &unit.test;
        self.lab.reporter.event(&Event::TestBegin { name });
        if test.needs_rust && module.built.rust.is_none() {
            self.result(name, Outcome::Skipped, None, vec![WITHOUT_RUST.to_owned()]);
            return Ok(Done::Tested);
        }
        let limit = test.timeout.unwrap_or(self.timeouts.test);
        match (&test.check, &unit.part) {
            (Check::Ktap(path), _) => self.ktap(name, path, limit),
            (Check::Ktests(path), None) => self.list_ktests(name, path, limit),
            (Check::Ktests(path), Some(part)) => self.ktest(&test.name, part, path, limit),
            (Check::Run(words), _) => self.program_test(name, words, test.kill_at.as_deref(), limit),
        }
    }

    /// Reads a report that the module makes of all of its tests.
    fn ktap(&mut self, name: &str, path: &str, limit: Duration) -> Step<Done> {
        let started = Instant::now();
        let text = match self.text(name, &Request::Read { path: path.to_owned() }, limit)? {
            Ok(text) => text,
            Err(failure) => return Ok(self.failed(name, started, vec![failure])),
        };
        let (lines, problem) = ktap::parse(&text);
        for line in lines {
            self.result(&format!("{name}/{}", line.name), line.outcome, None, line.details);
        }
        match problem {
            Some(problem) => {
                let why = format!("{path} is no complete KTAP report: {problem}");
                Ok(self.failed(name, started, vec![why]))
            }
            None => {
                if self.expected.by(name) {
                    self.result(name, Outcome::Passed, Some(started.elapsed()), Vec::new());
                }
                Ok(Done::Tested)
            }
        }
    }

    /// Which tests a file of the loaded module has.
    pub(super) fn listed(&mut self, path: &str, limit: Option<Duration>) -> Result<Vec<String>> {
        let limit = limit.unwrap_or(self.timeouts.test);
        let text = self.text("list", &Request::Read { path: path.to_owned() }, limit);
        let text = text.map_err(|trouble| trouble.into_error(&format!("{path} can't be read")))?;
        text.and_then(|text| listed(path, &text, "test")).map_err(Error::lab)
    }

    /// Reads which tests a file has.
    fn list_ktests(&mut self, name: &str, path: &str, limit: Duration) -> Step<Done> {
        let started = Instant::now();
        let text = self.text(name, &Request::Read { path: path.to_owned() }, limit)?;
        let tests = text.and_then(|text| listed(path, &text, "test")).and_then(|tests| {
            let named = self.expected.tests().filter_map(|test| test.strip_prefix(name)?.strip_prefix('/'));
            are_all_listed(path, &tests, named).map(|()| tests)
        });
        match tests {
            Ok(tests) => Ok(Done::Listed(tests)),
            Err(why) => Ok(self.failed(name, started, vec![why])),
        }
    }

    /// Runs one of the tests of a file.
    fn ktest(&mut self, test: &str, part: &str, path: &str, limit: Duration) -> Step<Done> {
        let name = format!("{test}/{part}");
        let started = Instant::now();
        let request = Request::Ask { path: path.to_owned(), input: part.as_bytes().to_vec() };
        let text = match self.text(&name, &request, limit)? {
            Ok(text) => text,
            Err(failure) => return Ok(self.failed(&name, started, vec![failure])),
        };
        let (outcome, details) = ktap::of_one(part, &text);
        self.result(&name, outcome, Some(started.elapsed()), details);
        Ok(Done::Tested)
    }

    /// Runs a program. Where it is to end by the machine being killed, that has to happen.
    fn program_test(
        &mut self,
        name: &str,
        words: &[String],
        kill_at: Option<&str>,
        limit: Duration,
    ) -> Step<Done> {
        let started = Instant::now();
        let mut process = Process::new(words.to_vec());
        self.place.hold(&mut process);
        let mut output = Until::new(kill_at);
        let what = format!("the test {name}");
        let reply = self.ask_as(name, &what, &Request::Run(process), limit, &mut output);
        if output.seen {
            self.session().end();
            // The failure that says that no answer came is what was wanted.
            self.held.iter_mut().for_each(Vec::clear);
            self.result(name, Outcome::Passed, Some(started.elapsed()), Vec::new());
            return Ok(Done::Killed);
        }
        let mut details = match reply? {
            Reply::Exited(Exit::Status(0)) => Vec::new(),
            Reply::Exited(Exit::Status(status)) => vec![format!("exit status {status}")],
            Reply::Exited(Exit::Signal(signal)) => vec![format!("ended by signal {signal}")],
            Reply::Failed { action, errno } => vec![format!("{action} failed with {}", errno_text(errno))],
            other => return Err(unexpected(name, &other)),
        };
        if let Some(text) = kill_at {
            details.push(format!(
                "it ended before it had printed `{text}`, at which the machine was to be killed"
            ));
        }
        if details.is_empty() {
            self.result(name, Outcome::Passed, Some(started.elapsed()), details);
            return Ok(Done::Tested);
        }
        let text = String::from_utf8_lossy(&output.all.0);
        let lines: Vec<&str> = text.lines().collect();
        let shown = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
        details.extend(shown.iter().map(|line| (*line).to_owned()));
        Ok(self.failed(name, started, details))
    }

    /// The text that answers a request, or why there is none.
    pub(super) fn text(
        &mut self,
        name: &str,
        request: &Request,
        limit: Duration,
    ) -> Step<std::result::Result<String, String>> {
        let mut text = Collect::default();
        match self.ask_as(name, &format!("the test {name}"), request, limit, &mut text)? {
            Reply::Done => Ok(Ok(String::from_utf8_lossy(&text.0).into_owned())),
            Reply::Failed { action, errno } => Ok(Err(format!("{action} failed with {}", errno_text(errno)))),
            other => Err(unexpected(name, &other)),
        }
    }

    fn failed(&mut self, name: &str, started: Instant, details: Vec<String>) -> Done {
        self.result(name, Outcome::Failed, Some(started.elapsed()), details);
        Done::Tested
    }
}

/// The tests, or what it has instead of such, that a file says it has.
pub(super) fn listed(path: &str, text: &str, what: &str) -> std::result::Result<Vec<String>, String> {
    let names: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_name = |name: &String| {
        let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        !name.is_empty() && name.len() <= 200 && name.bytes().all(is_in)
    };
    if names.is_empty() {
        return Err(format!("{path} has no {what}"));
    }
    if names.len() > MOST_TESTS {
        return Err(format!("{path} lists {} {what}s, and {MOST_TESTS} is the most", names.len()));
    }
    if let Some(name) = names.iter().find(|name| !is_name(name)) {
        return Err(format!("{path} is no list of {what}s: `{}` is no name of one", name.escape_debug()));
    }
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("{path} has two {what}s called `{}`", pair[0])),
        None => Ok(names),
    }
}

/// Whether a file has the tests of which something is expected. Why not, where it doesn't.
pub(super) fn are_all_listed<'a>(
    path: &str,
    tests: &[String],
    mut named: impl Iterator<Item = &'a str>,
) -> std::result::Result<(), String> {
    let Some(unknown) = named.find(|name| !tests.iter().any(|test| test == name)) else { return Ok(()) };
    let meant = nearest(unknown, tests.iter().map(String::as_str));
    let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Err(format!("something is expected of `{unknown}`, which is no test of {path}{meant}"))
}

/// Keeps a program's output, and looks for a text in it.
struct Until<'a> {
    all: Collect,
    text: Option<&'a [u8]>,
    /// The end of what was printed, in which the text may begin.
    end: Vec<u8>,
    seen: bool,
}

impl<'a> Until<'a> {
    fn new(text: Option<&'a str>) -> Self {
        Self { all: Collect::default(), text: text.map(str::as_bytes), end: Vec::new(), seen: false }
    }
}

impl Listener for Until<'_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        self.all.output(stream, bytes);
        let Some(text) = self.text else { return };
        self.end.extend_from_slice(bytes);
        self.seen |= self.end.windows(text.len()).any(|part| part == text);
        self.end.drain(..self.end.len().saturating_sub(text.len() - 1));
    }

    fn has_enough(&self) -> bool {
        self.seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tests_has_a_name_on_each_line() {
        assert_eq!(listed("/t", "c.a\nrust::b-c\n", "test").unwrap(), ["c.a", "rust::b-c"]);
        let problem = |text: &str| listed("/t", text, "test").unwrap_err();
        insta::assert_snapshot!(problem(""), @"/t has no test");
        insta::assert_snapshot!(problem("KTAP version 1\n"), @"/t is no list of tests: `KTAP version 1` is no name of one");
        insta::assert_snapshot!(problem("a\n\nb\n"), @"/t is no list of tests: `` is no name of one");
        insta::assert_snapshot!(problem("a\nb\na\n"), @"/t has two tests called `a`");
        insta::assert_snapshot!(problem(&"a\n".repeat(10_001)), @"/t lists 10001 tests, and 10000 is the most");
    }

    #[test]
    fn what_is_expected_is_expected_of_a_test_that_there_is() {
        let tests = ["c.before".to_owned(), "c.oopses".to_owned()];
        assert_eq!(are_all_listed("/t", &tests, ["c.oopses"].into_iter()), Ok(()));
        let problem = are_all_listed("/t", &tests, ["c.oops"].into_iter()).unwrap_err();
        insta::assert_snapshot!(problem, @"something is expected of `c.oops`, which is no test of /t; did you mean `c.oopses`?");
    }

    #[test]
    fn a_text_is_found_across_pieces_of_output() {
        let mut until = Until::new(Some("now"));
        for piece in ["no", "n", "o", "wn"] {
            assert!(!until.has_enough());
            until.output(Stream::Stdout, piece.as_bytes());
        }
        assert!(until.has_enough());
        let mut never = Until::new(None);
        never.output(Stream::Stdout, b"now");
        assert!(!never.has_enough());
    }
}
