// SPDX-License-Identifier: GPL-2.0-only
//! Lines of the kernel's log, as a console and as the agent have them.

use std::time::Duration;

use crate::session::LogRecord;

/// One line, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was said: the time since the kernel started.
    pub at: Option<Duration>,
    /// Who said it, where the kernel tells (`CONFIG_PRINTK_CALLER`): `T31`, a task, or `C1`, a processor.
    pub caller: Option<&'a str>,
    /// What was said.
    pub text: &'a str,
}

impl<'a> Line<'a> {
    /// A console's line: `[    1.234567] text`, `[    1.234567][   T12] text`, or a text alone.
    pub fn of_console(line: &'a str) -> Self {
        let line = line.trim_end_matches(['\r', '\n']);
        let alone = Self { at: None, caller: None, text: line };
        // A carriage return before a line is what a program may have left on a serial port.
        let Some((stamp, rest)) =
            line.trim_start_matches('\r').strip_prefix('[').and_then(|r| r.split_once(']'))
        else {
            return alone;
        };
        let Some(at) = time(stamp) else { return alone };
        let (caller, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((id, after)) if is_caller(id.trim_start()) => (Some(id.trim_start()), after),
            _ => (None, rest),
        };
        Self { at: Some(at), caller, text: rest.strip_prefix(' ').unwrap_or(rest) }
    }
}

/// The time in a stamp: seconds and microseconds.
fn time(stamp: &str) -> Option<Duration> {
    let (seconds, micros) = stamp.trim_start().split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(micros) || micros.len() != 6 {
        return None;
    }
    Some(Duration::from_secs(seconds.parse().ok()?) + Duration::from_micros(micros.parse().ok()?))
}

fn is_caller(id: &str) -> bool {
    id.strip_prefix(['T', 'C']).is_some_and(|n| !n.is_empty() && n.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What a kernel said, in order, of which the agent sent the records in `log`, and `console` has the rest: a console
/// leaves out what is not urgent, and an agent that dies with its kernel sends no more.
///
/// A console's line that has no time is taken for a program's, and only taken when it follows the last record.
pub fn merge<'a>(log: &'a [LogRecord], console: &'a str) -> Vec<Line<'a>> {
    let records = log.iter().flat_map(|record| {
        record.text.split('\n').map(|text| Line { at: Some(record.at), caller: None, text })
    });
    let mut lines: Vec<Line<'a>> = records.collect();
    let known = lines.len();
    let last = log.iter().map(|record| record.at).max();
    // Whether the last record has been seen on the console.
    let mut is_past = last.is_none();
    for line in console.split('\n').map(Line::of_console) {
        let is_new = match (line.at, last) {
            (Some(at), Some(last)) => {
                is_past = at >= last;
                let is_known = || lines[..known].iter().rev().take(100).any(|l| l.text == line.text);
                at > last || at == last && !is_known()
            }
            _ => is_past && !line.text.is_empty(),
        };
        if is_new {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_and_a_caller_are_told_from_text() {
        let line = |text| Line::of_console(text);
        let at = Some(Duration::from_micros(1_234_567));
        assert_eq!(line("[    1.234567] text"), Line { at, caller: None, text: "text" });
        assert_eq!(line("[    1.234567][   T12] text\r\n"), Line { at, caller: Some("T12"), text: "text" });
        assert_eq!(
            line("[    1.234567][    C1]  f+0x1/0x2"),
            Line { at, caller: Some("C1"), text: " f+0x1/0x2" }
        );
        assert_eq!(line("[    1.234567] [T12] text"), Line { at, caller: None, text: "[T12] text" });
        for text in
            ["text", "", "[  pid  ] text", "[1.2] text", "[ 1.2345678] text", "[", "[]", "[  .000000] x"]
        {
            assert_eq!(line(text), Line { at: None, caller: None, text }, "{text}");
        }
    }

    #[test]
    fn of_two_sources_each_line_is_taken_once() {
        let record =
            |micros, text: &str| LogRecord { level: 4, at: Duration::from_micros(micros), text: text.into() };
        let log = [record(1, "a"), record(2, "b\nc"), record(3, "d")];
        let console =
            "noise\n[    0.000001] a\n[    0.000003] d\n[    0.000003] e\n[    0.000004] f\nsh: gone\n";
        let texts = |log: &[LogRecord], console: &str| {
            merge(log, console).iter().map(|line| line.text.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(texts(&log, console), ["a", "b", "c", "d", "e", "f", "sh: gone"]);
        assert_eq!(texts(&log, "[    0.000003] d\nBUG: unstamped\n")[4..], ["BUG: unstamped"]);
        assert_eq!(texts(&[], console), ["noise", "a", "d", "e", "f", "sh: gone"]);
    }
}
