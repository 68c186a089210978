// SPDX-License-Identifier: GPL-2.0-only
use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use perf_event::events::{Event, Hardware, Software};
use perf_event::{Builder, ReadFormat, SampleFlag};
use wire::samples::{Clock, MOST_ADDRESSES, Sampled, Stack, Summary};

/// Where the kernel says which processors there are, as in `0-3,5`.
const PROCESSORS: &str = "/sys/devices/system/cpu/online";

/// What a kernel's ring holds, in bytes.
const RING: usize = 1 << 20;

/// After which time rings are looked at that nobody has said anything of: at the highest rate they are not full then.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// The frequency of a processor that doesn't say it.
const MEGAHERTZ: f64 = 2000.0;

/// From here on an entry of a call chain says whose addresses follow (`PERF_CONTEXT_MAX` in `linux/perf_event.h`).
const CONTEXT: u64 = 4095_u64.wrapping_neg();

/// Looks where the processors are, while it is [on](Sampler::begin).
pub(crate) struct Sampler {
    rings: Vec<perf_event::Sampler>,
    clock: Clock,
    seen: Seen,
}

impl Sampler {
    /// Prepares to look so often in a second: by the processors' cycles where this machine counts them, else by a timer.
    pub(crate) fn open(rate: u32) -> io::Result<Self> {
        let processors = fs::read_to_string(PROCESSORS)?;
        let processors = listed(&processors).ok_or(io::ErrorKind::InvalidData)?;
        let rate = f64::from(rate.max(1));
        let cycles = (megahertz() * 1e6 / rate) as u64;
        let (clock, rings) = match rings(&processors, Hardware::CPU_CYCLES, cycles) {
            Ok(rings) => (Clock::Cycles, rings),
            Err(_) => (Clock::Timer, rings(&processors, Software::CPU_CLOCK, (1e9 / rate) as u64)?),
        };
        Ok(Self { rings, clock, seen: Seen::default() })
    }

    /// Looks from here on. A copy of the agent's may say so, too.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.rings.iter_mut().try_for_each(|ring| ring.enable())
    }

    /// Looks no longer.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        self.rings.iter_mut().try_for_each(|ring| ring.disable())
    }

    /// Takes what the kernel has written, so that there is space for more. Only for who has opened it.
    pub(crate) fn take(&mut self) {
        for ring in &mut self.rings {
            while let Some(record) = ring.next_record() {
                self.seen.take(record.ty(), &record.to_contiguous());
            }
        }
    }

    /// All that was seen.
    pub(crate) fn close(mut self) -> impl Iterator<Item = Sampled> {
        let _ = self.end();
        self.take();
        // A ring says that something was lost when there is space again, which may be never.
        let lost = self.rings.iter_mut().filter_map(|ring| ring.read_full().ok()?.lost()).sum();
        let Seen { stacks, left_out, paused, .. } = self.seen;
        let lost = self.seen.lost.max(lost) + left_out;
        let end = Sampled::End(Summary { clock: self.clock, lost, paused });
        let stacks = stacks.into_iter();
        stacks.map(|(addresses, samples)| Sampled::Stack(Stack { samples, addresses })).chain([end])
    }
}

/// A ring for each processor, which nothing is written to yet.
fn rings<E: Event + Clone>(
    processors: &[usize],
    event: E,
    period: u64,
) -> io::Result<Vec<perf_event::Sampler>> {
    let ring = |processor: &usize| {
        let mut builder = Builder::new(event.clone());
        builder.any_pid().one_cpu(*processor).include_kernel().exclude_idle(true).sample_period(period);
        builder.sample(SampleFlag::CALLCHAIN).exclude_callchain_user(true);
        let counter = match builder.read_format(ReadFormat::LOST).build() {
            // Linux 6.0 was the first that said it.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                builder.read_format(ReadFormat::empty()).build()
            }
            counter => counter,
        };
        counter?.sampled(RING)
    };
    processors.iter().map(ring).collect()
}

/// The types of records that say something of samples (`linux/perf_event.h`).
const LOST: u32 = 2;
const THROTTLE: u32 = 5;
const SAMPLE: u32 = 9;

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    stacks: HashMap<Vec<u64>, u64>,
    /// How many addresses there are in them.
    addresses: usize,
    /// What the kernel has not kept.
    lost: u64,
    /// What was not kept here.
    left_out: u64,
    paused: u64,
}

impl Seen {
    /// Takes a record of this type. Of a sample it is a number, and so many addresses and marks.
    fn take(&mut self, kind: u32, record: &[u8]) {
        let words = record.as_chunks().0;
        let mut words = words.iter().map(|word| u64::from_ne_bytes(*word));
        match kind {
            SAMPLE => {
                let count = words.next().unwrap_or_default() as usize;
                self.add(words.take(count).filter(|address| *address < CONTEXT).collect());
            }
            // Of which event, and how many.
            LOST => self.lost += words.nth(1).unwrap_or_default(),
            THROTTLE => self.paused += 1,
            _ => {}
        }
    }

    fn add(&mut self, addresses: Vec<u64>) {
        if let Some(samples) = self.stacks.get_mut(&addresses) {
            *samples += 1;
        } else if self.addresses + addresses.len() <= MOST_ADDRESSES {
            self.addresses += addresses.len();
            self.stacks.insert(addresses, 1);
        } else {
            self.left_out += 1;
        }
    }
}

/// The numbers in a list of the kernel's.
fn listed(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<usize>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

/// How many million cycles a second has, roughly.
fn megahertz() -> f64 {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("cpu MHz"));
    let said = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    said.filter(|megahertz| *megahertz >= 1.0).unwrap_or(MEGAHERTZ)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_listed_in_ranges() {
        assert_eq!(listed("0\n"), Some(vec![0]));
        assert_eq!(listed("0-2,5,7-8\n"), Some(vec![0, 1, 2, 5, 7, 8]));
        assert_eq!(listed(""), None);
    }

    fn record(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn equal_stacks_are_one_and_marks_are_no_addresses() {
        let mut seen = Seen::default();
        let kernel = 128_u64.wrapping_neg();
        let stack = vec![0xffff_ffff_8100_0000, 0xffff_ffff_8200_0000];
        seen.take(SAMPLE, &record(&[3, kernel, stack[0], stack[1]]));
        seen.take(SAMPLE, &record(&[3, kernel, stack[0], stack[1], 77]));
        // A program's.
        seen.take(SAMPLE, &record(&[0]));
        assert_eq!((seen.stacks[&stack], seen.stacks[&vec![]], seen.addresses), (2, 1, 2));
        assert_eq!((seen.lost, seen.paused), (0, 0));
    }

    #[test]
    fn what_the_kernel_says_was_not_taken_is_counted() {
        let mut seen = Seen::default();
        seen.take(LOST, &record(&[1, 70]));
        seen.take(THROTTLE, &record(&[0, 1, 1]));
        seen.take(THROTTLE + 1, &record(&[0, 1, 1]));
        assert_eq!((seen.stacks.len(), seen.lost, seen.paused), (0, 70, 1));
    }

    #[test]
    fn what_there_is_no_space_for_is_counted_as_lost() {
        let mut seen = Seen { addresses: MOST_ADDRESSES, ..Seen::default() };
        seen.add(vec![1]);
        assert_eq!((seen.stacks.len(), seen.left_out), (0, 1));
    }
}
