// SPDX-License-Identifier: GPL-2.0-only
//! Profiles as text.

use std::fmt::Write as _;

use lab::profile::{Annotated, Clock, Line, Part, Profile, Sampling};
use lab::splat::Language;
use report::text::plain;

use super::trace::name;

/// A count is not wider.
const COUNT: usize = 14;

/// The functions with the most, in lines, each with its end.
pub(crate) fn render(title: &str, profile: &Profile, top: usize) -> String {
    let all = profile.total;
    let mut text = format!("{title}: {} {}\n", grouped(all), profile.unit());
    if profile.outside > 0 {
        let _ = writeln!(text, "and {} outside of the module, which are left out", grouped(profile.outside));
    }
    if let Some(sampling) = profile.sampling {
        text.push_str(&sampled(sampling));
    }
    let _ = writeln!(text, "\n{:>COUNT$} {:>6}  {:>COUNT$} {:>6}         function", "own", "%", "total", "%");
    let parts = profile.parts();
    for part in parts.iter().take(top) {
        row(&mut text, part, all);
    }
    if let Some(left) = parts.len().checked_sub(top).filter(|left| *left > 0) {
        let functions = if left == 1 { "function" } else { "functions" };
        let _ = writeln!(text, "{left:>COUNT$} more {functions}, which --top shows");
    }
    text
}

/// How samples were taken, and what is missing.
fn sampled(Sampling { clock, rate, lost, paused }: Sampling) -> String {
    let by = match clock {
        Clock::Cycles => "by the processors' cycles".to_owned(),
        Clock::Timer => "by a timer, as this machine counts no cycles: what runs with interrupts off counts for where they are \
                         on again"
            .to_owned(),
    };
    let mut text = format!("taken {} times a second, {by}\n", grouped(rate.into()));
    if lost > 0 {
        let _ = writeln!(text, "{} more were lost; a lower --rate loses fewer", grouped(lost));
    }
    if paused > 0 {
        let times = if paused == 1 { "once".to_owned() } else { format!("{} times", grouped(paused)) };
        let _ =
            writeln!(text, "the kernel has paused it {times}, as it took too long; a lower --rate is kept");
    }
    text
}

fn row(text: &mut String, Part { frame, own, total }: &Part, all: u64) {
    let language = match frame.language {
        Language::C => "C",
        Language::Rust => "Rust",
        Language::Other => "",
    };
    let module = frame.module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
    let file = frame.file.as_ref().map(|file| format!("  {file}")).unwrap_or_default();
    let inlined = if frame.is_inlined { " (inlined)" } else { "" };
    let function = format!("{}{}", name(&frame.function), plain(&format!("{module}{inlined}{file}")));
    let percent = |part: &u64| *part as f64 * 100.0 / all as f64;
    let _ = writeln!(
        text,
        "{:>COUNT$} {:>6.2}  {:>COUNT$} {:>6.2}  {language:<5}  {function}",
        grouped(*own),
        percent(own),
        grouped(*total),
        percent(total)
    );
}

/// A function's instructions, in lines, each with its end.
pub(crate) fn annotated(function: &Annotated) -> String {
    let mut text = format!("\n{}:\n", plain(&function.symbol));
    for line in &function.lines {
        // Writing to a text doesn't fail.
        let _ = match line {
            Line::Source { file, line, text: source } => {
                let source = source.as_ref().map(|source| format!("  {}", plain(source))).unwrap_or_default();
                writeln!(text, "{:COUNT$}  {}:{line}{source}", "", plain(file))
            }
            Line::Instruction { executions, offset, text: instruction } => {
                writeln!(text, "{:>COUNT$}    +{offset:#06x}  {instruction}", grouped(*executions))
            }
            Line::Gap(bytes) => {
                writeln!(text, "{:COUNT$}    ... {bytes} bytes not counted, or of other functions", "")
            }
        };
    }
    text
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use lab::profile::{Counted, Scope, Told};

    use super::*;

    #[test]
    fn numbers_are_read_in_groups() {
        let all = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_functions_with_the_most_instructions_come_first() {
        let counted = Counted {
            told: Told::Counted("vexlab-profile 1\nblock 0 0 250 -\nblock 1 ffffffff81000104 2 9090\ncall 1 0 ffffffff81000010\n\
                count 0 0 1\ncount 1 1 500\nend\n"
                .to_owned()),
            kallsyms: "ffffffff81000000 T outer\nffffffff81000100 t inner\nffffffff81000200 t end\n".to_owned(),
            module: None,
        };
        let profile = Profile::of(&[counted], Scope::Machine, SystemTime::UNIX_EPOCH).unwrap();
        insta::assert_snapshot!(render("m on k", &profile, 2), @"
        m on k: 1,250 instructions

                   own      %           total      %         function
                 1,000  80.00           1,000  80.00  C      inner
                   250  20.00             250  20.00         [program]
                     1 more function, which --top shows
        ");
    }

    #[test]
    fn how_samples_were_taken_is_said() {
        let sampling = Sampling { clock: Clock::Cycles, rate: 3999, lost: 0, paused: 0 };
        insta::assert_snapshot!(sampled(sampling), @"taken 3,999 times a second, by the processors' cycles");
        let sampling = Sampling { clock: Clock::Timer, rate: 3999, lost: 1200, paused: 1 };
        insta::assert_snapshot!(sampled(sampling), @"
        taken 3,999 times a second, by a timer, as this machine counts no cycles: what runs with interrupts off counts for where they are on again
        1,200 more were lost; a lower --rate loses fewer
        the kernel has paused it once, as it took too long; a lower --rate is kept
        ");
    }

    #[test]
    fn an_annotated_function_has_counts_beside_its_source() {
        let source = Line::Source { file: "a.c".into(), line: 7, text: Some("x += 1;".into()) };
        let instruction =
            |executions, offset, text: &str| Line::Instruction { executions, offset, text: text.into() };
        let lines =
            vec![source, instruction(10_000, 0, "add $1,%eax"), Line::Gap(3), instruction(1, 6, "ret")];
        let text = annotated(&Annotated { symbol: "count".into(), lines });
        insta::assert_snapshot!(text, @"
        count:
                        a.c:7  x += 1;
                10,000    +0x0000  add $1,%eax
                          ... 3 bytes not counted, or of other functions
                     1    +0x0006  ret
        ");
    }
}
