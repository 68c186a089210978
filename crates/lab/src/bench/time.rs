// SPDX-License-Identifier: GPL-2.0-only
//! Nanoseconds a turn: an estimate and its interval, as Criterion makes them. Pure, and the same each time for the same
//! samples.
//!
//! Source: Criterion's analysis (linear sampling, slope through the origin, percentile bootstrap).

use serde::{Deserialize, Serialize};

use super::guest::Sample;

/// How many loops are measured, at the most and at the least: one, two, three ... times as many turns.
const LOOPS: u64 = 100;
const FEWEST: u64 = 10;

/// How many nanoseconds all loops of a benchmark should take.
const NANOSECONDS: u64 = 200_000_000;

/// How often samples are drawn again.
const RESAMPLES: usize = 4000;

/// An interval wider than this part of its estimate is none.
const WIDEST: f64 = 0.2;

/// A change of less than this part is noise.
const NOISE: f64 = 0.01;

/// Nanoseconds a turn, the loop included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Time {
    /// The estimate.
    pub estimate: f64,
    /// The ends of its interval, which has the true value in 95 of 100 cases.
    pub low: f64,
    /// As `low`.
    pub high: f64,
}

/// The turns of each loop, where a turn takes about this many nanoseconds. Interrupts are off in a loop, so of what takes
/// long there are fewer and shorter ones.
pub(crate) fn loops(each: u64) -> Vec<u64> {
    let time = |loops: u64| each.max(1).saturating_mul(loops * (loops + 1) / 2);
    let loops = (FEWEST..=LOOPS).rev().find(|loops| time(*loops) <= NANOSECONDS).unwrap_or(FEWEST);
    let turns = (NANOSECONDS / time(loops)).clamp(1, 1_000_000);
    (1..=loops).map(|times| times * turns).collect()
}

/// The estimate of these samples; or that they vary too much for one.
pub(crate) fn estimate(samples: &[Sample]) -> Result<Time, String> {
    let mut random = Random::new();
    let slopes = sorted((0..RESAMPLES).map(|_| resampled(samples, &mut random)));
    let time = Time {
        estimate: slope(samples.iter()),
        low: percentile(&slopes, 2.5),
        high: percentile(&slopes, 97.5),
    };
    if time.high - time.low > WIDEST * time.estimate {
        return Err(format!(
            "its time varies: {:.2} to {:.2} ns a turn in 95 of 100 samples of its {} loops",
            time.low,
            time.high,
            samples.len()
        ));
    }
    Ok(time)
}

/// By which part the time has changed, with the ends of the interval.
pub(crate) fn change(before: &[Sample], now: &[Sample]) -> Time {
    let mut random = Random::new();
    let ratios =
        sorted((0..RESAMPLES).map(|_| resampled(now, &mut random) / resampled(before, &mut random) - 1.0));
    let estimate = slope(now.iter()) / slope(before.iter()) - 1.0;
    Time { estimate, low: percentile(&ratios, 2.5), high: percentile(&ratios, 97.5) }
}

/// Whether a change is more than noise.
pub(crate) fn is_real(change: Time) -> bool {
    change.low > NOISE || change.high < -NOISE
}

#[expect(clippy::cast_precision_loss, reason = "turns and times are far below 2^52")]
fn slope<'a>(samples: impl Iterator<Item = &'a Sample>) -> f64 {
    let (products, squares) = samples.fold((0.0, 0.0), |(products, squares), sample| {
        let (turns, ticks) = (sample.turns as f64, sample.ticks as f64);
        (products + turns * ticks, squares + turns * turns)
    });
    products / squares
}

fn resampled(samples: &[Sample], random: &mut Random) -> f64 {
    slope((0..samples.len()).map(|_| &samples[random.below(samples.len())]))
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index of a few thousand"
)]
fn percentile(sorted: &[f64], percent: f64) -> f64 {
    let index = (percent / 100.0 * (sorted.len() - 1) as f64).round() as usize;
    sorted[index]
}

/// A sequence that looks random and is the same each time: Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loops of which a turn takes `each` nanoseconds, and every third one a part more.
    fn samples(each: f64, more: f64) -> Vec<Sample> {
        let sample = |turns: u64| {
            let each = if turns.is_multiple_of(30) { each * (1.0 + more) } else { each };
            Sample { turns, ticks: (turns as f64 * each).round() as u64 }
        };
        (1..=100).map(|times| sample(times * 10)).collect()
    }

    #[test]
    fn an_estimate_has_an_interval_around_it() {
        let time = estimate(&samples(7.0, 0.05)).unwrap();
        assert!(time.low < time.estimate && time.estimate < time.high, "{time:?}");
        assert!((7.0..7.3).contains(&time.low) && (7.0..7.3).contains(&time.high), "{time:?}");
        assert_eq!(estimate(&samples(7.0, 0.05)).unwrap(), time);
    }

    #[test]
    fn what_varies_has_no_estimate() {
        insta::assert_snapshot!(estimate(&samples(7.0, 3.0)).unwrap_err(), @"its time varies: 11.52 to 16.67 ns a turn in 95 of 100 samples of its 100 loops");
    }

    #[test]
    fn a_change_is_told_from_noise() {
        let before = samples(100.0, 0.01);
        assert!(!is_real(change(&before, &samples(100.5, 0.01))));
        let slower = change(&before, &samples(110.0, 0.01));
        assert!(is_real(slower) && (0.09..0.11).contains(&slower.estimate), "{slower:?}");
        assert!(is_real(change(&before, &samples(90.0, 0.01))));
    }

    #[test]
    fn what_takes_long_is_done_less_often() {
        assert_eq!((&loops(40)[..2], loops(40).len()), (&[990, 1980][..], 100));
        assert_eq!((loops(1_000_000), loops(u64::MAX)), ((1..=19).collect(), (1..=10).collect()));
    }
}
