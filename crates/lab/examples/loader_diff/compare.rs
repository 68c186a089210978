// SPDX-License-Identifier: GPL-2.0-only
//! `ko`'s judgement beside the kernel's answer.

use ko::{Finding, Id, Report};
use lab::splat::{Line, Severity, parse_lines};

use crate::machine::{Answer, End};

/// What comes of comparing the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both take it.
    Accepted,
    /// Both refuse it, with the same number and the same words.
    Refused,
    /// `ko` refuses it for a harm that the loader doesn't look for.
    Spared,
    /// The loader took it, as `ko` said, and the code or data that the change damaged broke the kernel.
    BrokenLater(String),
    /// They disagree.
    Different(String),
}

/// Compares them.
pub(crate) fn compare(report: &Report, answer: &Answer) -> Verdict {
    let expected = report.errno().map(ko::Errno::number);
    if is_harm_first(report) {
        return Verdict::Spared;
    }
    match (&answer.end, expected) {
        (End::Loaded, None) => Verdict::Accepted,
        (End::Refused(errno), Some(expected)) if *errno == expected => {
            let line = report.first().and_then(|first| first.kernel.as_deref());
            match line {
                Some(line) if !answer.words.iter().any(|words| is_said(line, words)) => Verdict::Different(
                    format!("the same errno, and not the words `{line}`: the kernel said {:?}", answer.words),
                ),
                _ => Verdict::Refused,
            }
        }
        (End::Broken(title), None) if !in_loader(answer) => Verdict::BrokenLater(title.clone()),
        (end, expected) => Verdict::Different(format!(
            "ko expects {}, the kernel: {end:?}, and said {:?}",
            expected.map_or("that it is loaded".to_owned(), |errno| format!("errno {errno}")),
            &answer.words[..answer.words.len().min(8)]
        )),
    }
}

/// Whether `ko` found a harm that the loader doesn't look for before anything that the loader refuses.
fn is_harm_first(report: &Report) -> bool {
    let harm = |finding: &Finding| finding.errno.is_none() && !is_of_modprobe(finding);
    report.refusals.iter().find(|finding| finding.errno.is_some() || harm(finding)).is_some_and(harm)
}

/// Whether it is for modprobe to miss.
fn is_of_modprobe(finding: &Finding) -> bool {
    [Id::MissingDependency, Id::MissingFunction].contains(&finding.rule.id)
}

/// Whether the kernel's line is the one that was expected, in which `…` stands for what can't be known.
fn is_said(expected: &str, line: &str) -> bool {
    let line = line.replace('\u{7f}', "\\x7f");
    let expected = expected.replace('\u{7f}', "\\x7f");
    let mut rest = &line[..];
    expected.split('…').all(|part| match rest.find(part.trim()) {
        Some(at) => {
            rest = &rest[at + part.trim().len()..];
            true
        }
        None => false,
    })
}

/// Whether it is the loader that oopsed: the innermost function of the oops's trace that is known to load or to
/// run a module isn't the one that runs its `init`.
fn in_loader(answer: &Answer) -> bool {
    let outer = ["do_one_initcall", "do_init_module", "load_module"];
    let lines = answer.words.iter().map(|text| Line { at: None, caller: None, text });
    let oops = parse_lines(lines).into_iter().find(|splat| splat.severity() == Severity::Oops);
    let frames = oops.iter().flat_map(|splat| &splat.trace).filter(|frame| frame.reliable);
    let mut known = frames.filter_map(|frame| outer.iter().find(|name| frame.symbol.starts_with(*name)));
    known.next() == Some(&"load_module")
}
