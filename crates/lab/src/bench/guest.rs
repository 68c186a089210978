// SPDX-License-Identifier: GPL-2.0-only
//! The file of a module's benchmarks: what is written to it, and what is read then. docs/bench.md documents both.

use std::fmt;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The benchmark.
    Body,
    /// A loop that does nothing, in its place.
    Empty,
    /// A loop of two instructions a turn, in its place.
    Known,
}

/// With which clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The processor's counter.
    Counter,
    /// The kernel's clock.
    Nanoseconds,
    /// None: what is done is not measured, and interrupts stay on.
    Off,
}

/// The order to measure a benchmark with each of these numbers of turns.
pub(crate) fn order(name: &str, what: What, clock: Clock, turns: &[u64]) -> String {
    let what = match what {
        What::Body => "body",
        What::Empty => "empty",
        What::Known => "known",
    };
    let clock = match clock {
        Clock::Counter => "counter",
        Clock::Nanoseconds => "nanoseconds",
        Clock::Off => "off",
    };
    turns.iter().fold(format!("{name} {what} {clock}"), |order, turns| format!("{order} {turns}"))
}

/// So many turns took so many ticks of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) turns: u64,
    pub(crate) ticks: u64,
}

/// Why a benchmark was not measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It says so itself.
    Failed(Vec<String>),
    /// It says that it can't be measured here.
    Skipped(String),
    /// The processor did something else meanwhile, so often.
    Slept(u64),
    /// It has enabled interrupts.
    Interrupts,
    /// It has left its loop before the end.
    Left,
    /// It has a second loop.
    Again,
    /// It has none.
    Unmeasured,
    /// What came of it can't be understood.
    Nonsense(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Failed(lines) => return f.write_str(&lines.join("; ")),
            Self::Skipped(why) => why,
            Self::Slept(times) => {
                let times = if *times == 1 { "once".to_owned() } else { format!("{times} times") };
                return write!(
                    f,
                    "it sleeps: the processor was given to another task {times} while it was measured; what waits, \
                     allocates with reclaim or takes a mutex that is held can't be counted"
                );
            }
            Self::Interrupts => {
                "it enables interrupts, and what they do would be measured with it; a spin_lock_irq() whose \
                 unlock enables them is spin_lock_irqsave() here"
            }
            Self::Left => "it leaves its loop before the end, by break, return or goto",
            Self::Again => "it has a second loop; a benchmark has one",
            Self::Unmeasured => "it has no loop to be measured: KBENCH_LOOP in C, iter() in Rust",
            Self::Nonsense(line) => return write!(f, "what came of it is no list of samples: `{line}`"),
        };
        f.write_str(text)
    }
}

/// The samples that are read after an order for so many.
pub(crate) fn samples(text: &str, count: usize) -> Result<Vec<Sample>, Trouble> {
    let nonsense = |line: &str| Trouble::Nonsense(line.escape_debug().to_string());
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if first != "kbench version 1" {
        return Err(nonsense(first));
    }
    let (mut samples, mut failed, mut has_ended) = (Vec::new(), Vec::new(), false);
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = || rest.parse().map_err(|_| nonsense(line));
        match word {
            "sample" => samples.push(sample(rest).ok_or_else(|| nonsense(line))?),
            "failed" => failed.push(rest.to_owned()),
            "skipped" => return Err(Trouble::Skipped(rest.to_owned())),
            "slept" => return Err(Trouble::Slept(number()?)),
            "interrupts" => return Err(Trouble::Interrupts),
            "left" => return Err(Trouble::Left),
            "again" => return Err(Trouble::Again),
            "unmeasured" => return Err(Trouble::Unmeasured),
            "end" => has_ended = true,
            _ => return Err(nonsense(line)),
        }
    }
    match (failed.is_empty(), has_ended && samples.len() == count) {
        (false, _) => Err(Trouble::Failed(failed)),
        (true, true) => Ok(samples),
        (true, false) => Err(Trouble::Nonsense(format!("{} samples of {count}", samples.len()))),
    }
}

fn sample(text: &str) -> Option<Sample> {
    let (turns, ticks) = text.split_once(' ')?;
    Some(Sample { turns: turns.parse().ok()?, ticks: ticks.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_line() {
        let line = order("c.sums", What::Body, Clock::Counter, &[10, 20]);
        assert_eq!(line, "c.sums body counter 10 20");
        assert_eq!(order("c", What::Body, Clock::Off, &[9]), "c body off 9");
        assert_eq!(order("c", What::Known, Clock::Nanoseconds, &[1]), "c known nanoseconds 1");
    }

    #[test]
    fn samples_are_believed_when_they_are_whole() {
        let text = "kbench version 1\nsample 10 40\nsample 20 60\nend\n";
        let expected = [Sample { turns: 10, ticks: 40 }, Sample { turns: 20, ticks: 60 }];
        assert_eq!(samples(text, 2).unwrap(), expected);
        let said = |text: &str| samples(text, 1).unwrap_err().to_string();
        insta::assert_snapshot!(said(text), @"what came of it is no list of samples: `2 samples of 1`");
        insta::assert_snapshot!(said("KTAP version 1\n"), @"what came of it is no list of samples: `KTAP version 1`");
        insta::assert_snapshot!(said("kbench version 1\nsample 1 -1\nend\n"), @"what came of it is no list of samples: `sample 1 -1`");
        insta::assert_snapshot!(said("kbench version 1\nsample 1 1\n"), @"what came of it is no list of samples: `1 samples of 1`");
    }

    #[test]
    fn what_kept_it_from_being_measured_is_said_in_words() {
        let said =
            |line: &str| samples(&format!("kbench version 1\n{line}\nend\n"), 1).unwrap_err().to_string();
        insta::assert_snapshot!(said("slept 1"), @"it sleeps: the processor was given to another task once while it was measured; what waits, allocates with reclaim or takes a mutex that is held can't be counted");
        insta::assert_snapshot!(said("interrupts"), @"it enables interrupts, and what they do would be measured with it; a spin_lock_irq() whose unlock enables them is spin_lock_irqsave() here");
        insta::assert_snapshot!(said("left"), @"it leaves its loop before the end, by break, return or goto");
        insta::assert_snapshot!(said("again"), @"it has a second loop; a benchmark has one");
        insta::assert_snapshot!(said("unmeasured"), @"it has no loop to be measured: KBENCH_LOOP in C, iter() in Rust");
        insta::assert_snapshot!(said("failed a.c:7: no memory\nfailed b"), @"a.c:7: no memory; b");
        assert_eq!(
            samples("kbench version 1\nskipped no disk\nend\n", 1),
            Err(Trouble::Skipped("no disk".into()))
        );
    }
}
