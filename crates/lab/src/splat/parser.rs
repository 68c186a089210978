// SPDX-License-Identifier: GPL-2.0-only
//! From lines to reports. Each line is looked at once, and what is kept is bounded.
//!
//! What several processors or tasks say at once is told apart by the caller that the kernel names; where it names none,
//! by which report a line can be the next of.

use std::mem;
use std::time::Duration;

use super::report::{Report, Shape, shape};
use super::start::{Announcement, Form, Naming, Start, announcement, follows_oops, is_of_allocator, start};
use super::{Kind, Line, RustPanic, Severity, Splat};

/// How many reports may be said at once.
const OPEN: usize = 8;
/// How many lines there may be between a report's announcement and its first line: a message may be long.
const BEFORE: usize = 20;
/// How many lockups are remembered: what goes on is reported again and again.
const LASTING: usize = 64;

const CUT_HERE: &str = "------------[ cut here ]------------";

/// Reads a kernel's log line by line, and gives each report when it is whole.
#[derive(Debug, Default)]
pub struct Parser {
    /// The one that took a line last is the last.
    open: Vec<Report>,
    /// What has been said of reports that have not begun.
    ahead: Vec<Ahead>,
    severity: Option<Severity>,
    /// The last whole report that a later one may only repeat: a cache that was destroyed with objects in it.
    last_cache: Option<String>,
    lasting: Vec<(Kind, String)>,
}

/// What has come before a report's first line.
#[derive(Debug)]
struct Ahead {
    caller: Option<String>,
    at: Option<Duration>,
    lines: Vec<String>,
    said: Option<Announcement>,
}

impl Parser {
    /// Takes a line. Gives the reports that are whole now; often none.
    pub fn line(&mut self, line: Line<'_>) -> Vec<Splat> {
        let mut done = Vec::new();
        let text = line.text;
        if text.starts_with(CUT_HERE) {
            self.expect(&line, None);
        } else if let Some(start) = start(text) {
            self.begin(start, &line, &mut done);
        } else if let Some(said) = announcement(text) {
            self.expect(&line, Some(said));
        } else if !self.open.is_empty() || !self.ahead.is_empty() {
            self.go_on(&line, &mut done);
        }
        self.emit(|report| report.is_over, &mut done);
        while self.open.len() > OPEN {
            let report = self.open.remove(0);
            self.close(report, &mut done);
        }
        done
    }

    /// No more lines will come. Gives what has not come to its end.
    pub fn finish(&mut self) -> Vec<Splat> {
        let mut done = Vec::new();
        for ahead in mem::take(&mut self.ahead) {
            // The log may have lost what followed; the panic is known all the same.
            if let Some(Announcement::Panic { .. }) = ahead.said {
                let line = Line { at: ahead.at, caller: None, text: "" };
                let start = rust_panic_start();
                let report = self.report(start, Some(ahead), &line);
                self.open.push(report);
            }
        }
        self.emit(|_| true, &mut done);
        done
    }

    /// How bad the worst is that has begun.
    pub fn severity(&self) -> Option<Severity> {
        self.severity
    }

    /// Something has been said of a report that has not begun.
    fn expect(&mut self, line: &Line<'_>, said: Option<Announcement>) {
        let position = self.ahead.iter().position(|ahead| ahead.caller.as_deref() == line.caller);
        let mut ahead = match position {
            // Nothing became of an earlier one that was announced already.
            Some(position) if said.is_none() || self.ahead[position].said.is_none() => {
                self.ahead.remove(position)
            }
            Some(position) => {
                self.ahead.remove(position);
                Ahead::new(line)
            }
            None => Ahead::new(line),
        };
        if line.text != CUT_HERE {
            ahead.lines.push(line.text.to_owned());
        }
        ahead.said = said.or(ahead.said);
        self.ahead.push(ahead);
        if self.ahead.len() > OPEN {
            self.ahead.remove(0);
        }
    }

    /// A line that a report begins with, or says in its midst.
    fn begin(&mut self, start: Start, line: &Line<'_>, done: &mut Vec<Splat>) {
        if shape(line.text) == Shape::Die
            && let Some(report) =
                self.open.iter_mut().rev().find(|r| r.may_die() && is_one(&r.caller, line.caller))
        {
            report.take(Shape::Die, line.text);
            self.severity = Some(Severity::Oops);
            return;
        }
        // Any text may stand between fences, and the last line of a killing looks like a start.
        let whole = |r: &&mut Report| {
            matches!(r.start.form, Form::Fence | Form::Killing) && is_one(&r.caller, line.caller)
        };
        if start.form == Form::Line
            && let Some(report) = self.open.iter_mut().rev().find(whole)
        {
            report.take(Shape::Other, line.text);
            return;
        }
        let slub = |r: &&mut Report| {
            r.start.form == Form::Sections && r.start.kind != Kind::RcuStall && is_one(&r.caller, line.caller)
        };
        if is_of_allocator(line.text)
            && let Some(report) = self.open.iter_mut().rev().find(slub)
        {
            report.go_on_with_warning(line.text);
            self.ahead.retain(|ahead| !is_one(&ahead.caller, line.caller));
            return;
        }
        // The same caller can't have said more of an earlier report.
        if line.caller.is_some() {
            self.emit(|report| report.caller.as_deref() == line.caller, done);
        } else {
            self.emit(|report| matches!(report.start.form, Form::Sections), done);
        }
        let position = self.ahead.iter().position(|ahead| is_one(&ahead.caller, line.caller));
        let ahead =
            position.filter(|_| start.form != Form::Panic).map(|position| self.ahead.remove(position));
        let is_consequence = follows_oops(line.text) && self.severity == Some(Severity::Oops);
        let mut report = self.report(start, ahead, line);
        report.is_echo =
            is_consequence || self.last_cache.is_some() && self.last_cache == name_of_cache(&report.start);
        if !report.is_echo {
            let severity =
                if shape(line.text) == Shape::Die { Severity::Oops } else { severity_of(&report.start) };
            self.severity = self.severity.max(Some(severity));
        }
        self.open.push(report);
    }

    /// A report that begins with this line, with what has been said ahead of it.
    fn report(&mut self, mut start: Start, ahead: Option<Ahead>, line: &Line<'_>) -> Report {
        let Some(ahead) = ahead else { return Report::new(start, line) };
        let mut panic = None;
        match ahead.said {
            Some(Announcement::Panic { place, message }) => {
                let more = ahead.lines.iter().skip(1).map(String::as_str);
                let message = std::iter::once(message.as_str()).chain(more).filter(|line| !line.is_empty());
                let message = message.collect::<Vec<_>>().join("\n");
                start = Start { form: start.form, ..rust_panic_start() };
                panic = Some(RustPanic { message, place });
            }
            // What is wrong was said before whose object it is.
            Some(Announcement::Kind(said)) if start.form == Form::Sections => {
                let cache = start.what.split(": ").next().unwrap_or_default();
                start.what = format!("{cache}: {}", said.what);
            }
            Some(Announcement::Kind(said)) => {
                start = Start { form: start.form, process: start.process, ..said }
            }
            // What a sanitizer says between cuts ends like a warning.
            None if start.form == Form::Fence => start.form = Form::Trap,
            None => {}
        }
        let mut report = Report::new(start, line);
        report.follow(ahead.at, ahead.lines);
        report.panic = panic;
        report
    }

    /// A line that is none of the first ones.
    fn go_on(&mut self, line: &Line<'_>, done: &mut Vec<Splat>) {
        let shape = shape(line.text);
        let fits = self.open.iter().enumerate().filter(|(_, report)| is_one(&report.caller, line.caller));
        let fits = fits.filter_map(|(index, report)| Some((report.fit(shape, line.text)?, index)));
        // Of those that it fits equally well, the one that took a line last.
        if let Some((_, index)) = fits.min_by_key(|(fit, index)| (*fit, usize::MAX - index)) {
            let mut report = self.open.remove(index);
            report.take(shape, line.text);
            self.open.push(report);
            return;
        }
        if shape == Shape::Other {
            self.say_ahead(line);
        }
        let mut index = 0;
        while index < self.open.len() {
            let is_own = line.caller.is_some() && self.open[index].caller.as_deref() == line.caller;
            let is_concerned = is_own || line.caller.is_none() || self.open[index].caller.is_none();
            if is_concerned && self.open[index].miss(is_own) {
                let report = self.open.remove(index);
                self.close(report, done);
            } else {
                index += 1;
            }
        }
    }

    /// A line that may be a part of what is said ahead of a report.
    fn say_ahead(&mut self, line: &Line<'_>) {
        let position = self.ahead.iter().rposition(|ahead| is_one(&ahead.caller, line.caller));
        if let Some(position) = position {
            self.ahead[position].lines.push(line.text.to_owned());
            if self.ahead[position].lines.len() > BEFORE {
                self.ahead.remove(position);
            }
        }
    }

    fn emit(&mut self, is_done: impl Fn(&Report) -> bool, done: &mut Vec<Splat>) {
        if !self.open.iter().any(&is_done) {
            return;
        }
        let (over, open) = mem::take(&mut self.open).into_iter().partition(is_done);
        self.open = open;
        for report in over {
            self.close(report, done);
        }
    }

    fn close(&mut self, report: Report, done: &mut Vec<Splat>) {
        if report.is_echo {
            return;
        }
        self.last_cache = name_of_cache(&report.start);
        let splat = report.finish();
        if splat.kind.severity() == Severity::Lockup {
            let what = (splat.kind, splat.title.clone());
            if self.lasting.contains(&what) {
                return;
            }
            if self.lasting.len() < LASTING {
                self.lasting.push(what);
            }
        }
        done.push(splat);
    }
}

impl Ahead {
    fn new(line: &Line<'_>) -> Self {
        Self { caller: line.caller.map(str::to_owned), at: line.at, lines: Vec::new(), said: None }
    }
}

/// Whether what one caller says may be a part of what the other has begun. Without a name it may.
fn is_one(one: &Option<String>, other: Option<&str>) -> bool {
    match (one.as_deref(), other) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    }
}

fn severity_of(start: &Start) -> Severity {
    if start.form == Form::Panic { Severity::Oops } else { start.kind.severity() }
}

fn name_of_cache(start: &Start) -> Option<String> {
    (start.kind == Kind::ObjectsRemaining).then(|| start.what.clone())
}

fn rust_panic_start() -> Start {
    Start {
        kind: Kind::RustPanic,
        what: String::new(),
        naming: Naming::None,
        form: Form::Trap,
        process: None,
    }
}

/// All reports in a text, as a console has it.
pub fn parse(text: &str) -> Vec<Splat> {
    parse_lines(text.split('\n').map(Line::of_console))
}

/// All reports in lines.
pub fn parse_lines<'a>(lines: impl IntoIterator<Item = Line<'a>>) -> Vec<Splat> {
    let mut parser = Parser::default();
    let mut splats: Vec<Splat> = lines.into_iter().flat_map(|line| parser.line(line)).collect();
    splats.extend(parser.finish());
    // Which of two was whole first says nothing.
    splats.sort_by_key(|splat| splat.at);
    splats
}
