// SPDX-License-Identifier: GPL-2.0-only
//! Instructions a turn, from counts of whole loops. Pure.
//!
//! What surrounds a loop costs the same whatever its number of turns, so it drops out of the difference of two loops;
//! what the loop itself costs is that of one that does nothing.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::guest::Sample;

/// How many turns at most are in a loop, and how many instructions it should not exceed by much: they are emulated.
const MOST_TURNS: u64 = 1000;
const INSTRUCTIONS: u64 = 400_000;

/// How often the loops are measured.
const ROUNDS: usize = 5;

/// The loops of one round: once, twice and three times as many turns.
pub(crate) const LOOPS: usize = 3;

/// A cost a turn, exactly: a fraction in lowest terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Instructions
    pub instructions: i64,
    /// in so many turns.
    pub turns: u64,
}

impl Count {
    fn new(instructions: i64, turns: u64) -> Self {
        let divisor = gcd(instructions.unsigned_abs(), turns).max(1);
        Self { instructions: instructions / divisor.cast_signed(), turns: turns / divisor }
    }

    /// Instructions a turn.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    pub fn each(self) -> f64 {
        self.instructions as f64 / self.turns as f64
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The turns of each loop of a round, where a turn costs about this many instructions.
pub(crate) fn round(each: u64) -> [u64; LOOPS] {
    let turns = (INSTRUCTIONS / each.max(1)).clamp(2, MOST_TURNS);
    [turns, 2 * turns, 3 * turns]
}

/// The same for all rounds.
pub(crate) fn rounds(each: u64) -> Vec<u64> {
    round(each).repeat(ROUNDS)
}

/// Why loops have no one cost.
#[derive(Debug, PartialEq)]
pub(crate) enum Unsettled {
    /// There are none.
    NotMeasured,
    /// They differ.
    Varies {
        /// Instructions a turn, at least
        least: f64,
        /// and at most.
        most: f64,
        /// How many were compared.
        measurements: usize,
        /// Whether they differ in the same way each time.
        repeats: bool,
    },
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Varies { least, most, measurements, repeats } = self else {
            return f.write_str("it was not measured");
        };
        let how = match repeats {
            true => "with the number of turns, the same each time",
            false => "from one measurement to the next",
        };
        write!(
            f,
            "its cost varies {how}: {least:.2} to {most:.2} instructions a turn in {measurements} measurements"
        )
    }
}

/// What a turn of these loops costs, the loop included; or in which way that varies.
pub(crate) fn slope(samples: &[Sample]) -> Result<Count, Unsettled> {
    let rounds: Vec<&[Sample]> = samples.chunks_exact(LOOPS).collect();
    let steps = |round: &[Sample]| -> Vec<Count> {
        let step = |pair: &[Sample]| {
            let ticks = i128::from(pair[1].ticks) - i128::from(pair[0].ticks);
            Count::new(i64::try_from(ticks).unwrap_or(i64::MAX), pair[1].turns.saturating_sub(pair[0].turns))
        };
        round.windows(2).map(step).collect()
    };
    let all: Vec<Count> = rounds.iter().flat_map(|round| steps(round)).collect();
    let Some(first) = all.first() else { return Err(Unsettled::NotMeasured) };
    if all.iter().all(|count| count == first) {
        return Ok(*first);
    }
    let least = all.iter().map(|count| count.each()).fold(f64::INFINITY, f64::min);
    let most = all.iter().map(|count| count.each()).fold(f64::NEG_INFINITY, f64::max);
    let repeats = rounds.iter().all(|round| *round == rounds[0]);
    Err(Unsettled::Varies { least, most, measurements: all.len(), repeats })
}

/// What a turn costs without the loop.
pub(crate) fn without_loop(body: Count, empty: Count) -> Result<Count, String> {
    let turns = body.turns * empty.turns;
    let instructions =
        body.instructions * empty.turns.cast_signed() - empty.instructions * body.turns.cast_signed();
    let count = Count::new(instructions, turns);
    if count.instructions < 0 {
        return Err(format!(
            "its loop takes {:.2} instructions a turn and an empty one {:.2}: the compiler has done its work before the \
             loop, or none of it; have it use what is computed, by KBENCH_KEEP() in C and keep() in Rust",
            body.each(),
            empty.each()
        ));
    }
    Ok(count)
}

/// Whether the machine's counter counts instructions: what a turn of a loop of two took.
pub(crate) fn counts_instructions(known: Count) -> bool {
    known == Count::new(2, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds of loops of 10, 20 and 30 turns.
    fn samples(ticks: &[u64]) -> Vec<Sample> {
        let turns = [10, 20, 30].into_iter().cycle();
        turns.zip(ticks).map(|(turns, &ticks)| Sample { turns, ticks }).collect()
    }

    #[test]
    fn what_surrounds_a_loop_drops_out() {
        let count = slope(&samples(&[107, 207, 307, 107, 207, 307])).unwrap();
        assert_eq!(count, Count { instructions: 10, turns: 1 });
        // Another constant in the second round.
        assert_eq!(slope(&samples(&[107, 207, 307, 109, 209, 309])).unwrap(), count);
        assert_eq!(slope(&samples(&[7, 12, 17])).unwrap(), Count { instructions: 1, turns: 2 });
        let empty = Count { instructions: 2, turns: 1 };
        assert_eq!(without_loop(count, empty).unwrap(), Count { instructions: 8, turns: 1 });
        assert_eq!(without_loop(empty, empty).unwrap().each(), 0.0);
    }

    #[test]
    fn what_varies_is_said_and_not_averaged() {
        let said = |ticks: &[u64]| slope(&samples(ticks)).unwrap_err().to_string();
        insta::assert_snapshot!(said(&[107, 207, 307, 107, 208, 308]), @"its cost varies from one measurement to the next: 10.00 to 10.10 instructions a turn in 4 measurements");
        insta::assert_snapshot!(said(&[107, 207, 407, 107, 207, 407]), @"its cost varies with the number of turns, the same each time: 10.00 to 20.00 instructions a turn in 4 measurements");
        assert!(slope(&[]).is_err());
    }

    #[test]
    fn a_loop_that_is_not_there_is_told_of() {
        let (none, empty) = (Count { instructions: 0, turns: 1 }, Count { instructions: 2, turns: 1 });
        insta::assert_snapshot!(without_loop(none, empty).unwrap_err(), @"its loop takes 0.00 instructions a turn and an empty one 2.00: the compiler has done its work before the loop, or none of it; have it use what is computed, by KBENCH_KEEP() in C and keep() in Rust");
    }

    #[test]
    fn what_takes_long_is_done_less_often() {
        assert_eq!((round(0), round(1000)), ([1000, 2000, 3000], [400, 800, 1200]));
        assert_eq!(round(10_000_000), [2, 4, 6]);
        assert_eq!(rounds(1).len(), LOOPS * ROUNDS);
    }

    #[test]
    fn a_counter_of_something_else_is_noticed() {
        assert!(counts_instructions(Count::new(4000, 2000)));
        assert!(!counts_instructions(Count::new(5200, 2000)));
    }
}
