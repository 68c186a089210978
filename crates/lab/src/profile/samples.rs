// SPDX-License-Identifier: GPL-2.0-only
//! What the agent has sampled: `Sampler` in `guest/agent` says how.

use std::collections::BTreeSet;

use wire::Decoder;
pub use wire::samples::Clock;
use wire::samples::{Sampled, Stack};

use super::places::Places;
use super::symbols::Symbols;
use super::{Frame, PROGRAM, Profile, Scope, annotate};

/// How samples were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// What had one taken.
    pub clock: Clock,
    /// How many were asked for in a second, on each processor.
    pub rate: u32,
    /// How many were taken and not kept.
    pub lost: u64,
    /// How often the kernel has paused, since sampling took it too long.
    pub paused: u64,
}

/// All that was sampled in a machine.
#[derive(Debug, Clone)]
pub struct Samples {
    /// How.
    pub sampling: Sampling,
    stacks: Vec<Stack>,
    /// The kernel's memory where the sampled functions are: by address.
    code: Vec<(u64, Vec<u8>)>,
}

/// The longest function whose instructions are read.
const LONGEST: u64 = 64 << 10;

/// `int3`.
const TRAP: u8 = 0xcc;

impl Samples {
    /// Reads what the agent has sent, who was asked to sample at this rate. Gives what is wrong with it.
    pub(crate) fn read(bytes: &[u8], rate: u32) -> Result<Self, String> {
        let mut decoder = Decoder::<Sampled>::default();
        decoder.push(bytes);
        let mut stacks = Vec::new();
        loop {
            match decoder.next().map_err(|error| error.to_string())? {
                Some(Sampled::Stack(stack)) => stacks.push(stack),
                Some(Sampled::End(summary)) => {
                    // What is equal is told in an equal order.
                    stacks.sort_by(|a: &Stack, b| a.addresses.cmp(&b.addresses));
                    let (clock, lost, paused) = (summary.clock, summary.lost, summary.paused);
                    let sampling = Sampling { clock, rate, lost, paused };
                    return Ok(Self { sampling, stacks, code: Vec::new() });
                }
                None => return Err("it has no end".to_owned()),
            }
        }
    }

    /// Where the functions are in which processors were: beginnings and lengths in bytes, by the kernel's symbols.
    pub(crate) fn functions(&self, kallsyms: &str) -> Vec<(u64, u64)> {
        let Some(symbols) = Symbols::parse(kallsyms) else { return Vec::new() };
        let innermost = self.stacks.iter().filter_map(|stack| stack.addresses.first());
        let functions: BTreeSet<(u64, u64)> = innermost
            .filter_map(|address| {
                let found = symbols.find(*address)?;
                Some((address - found.offset, found.size))
            })
            .filter(|(_, size)| *size <= LONGEST)
            .collect();
        functions.into_iter().collect()
    }

    /// Adds what the kernel's memory holds from these addresses on.
    pub(crate) fn with_code(self, code: Vec<(u64, Vec<u8>)>) -> Self {
        Self { code, ..self }
    }
}

impl Sampling {
    /// This one with what was lost in another machine's.
    fn with(self, other: Self) -> Self {
        Self { lost: self.lost + other.lost, paused: self.paused + other.paused, ..self }
    }
}

impl Profile {
    /// Adds what was sampled in a machine.
    pub(super) fn sample(
        &mut self,
        machine: usize,
        samples: &Samples,
        places: &mut Places<'_>,
        scope: Scope,
    ) {
        let sampling = self.sampling.map_or(samples.sampling, |other| other.with(samples.sampling));
        self.sampling = Some(sampling);
        for (begin, bytes) in &samples.code {
            // What is between functions traps.
            let length = bytes.iter().rposition(|byte| *byte != TRAP).map_or(0, |last| last + 1);
            for (address, bytes) in annotate::instructions(*begin, &bytes[..length]) {
                self.instruction(machine, address, &bytes, places);
            }
        }
        let ours = places.module().map(str::to_owned);
        for Stack { samples: count, addresses } in &samples.stacks {
            let mut stack = Vec::new();
            for (depth, address) in addresses.iter().enumerate().rev() {
                stack.extend(self.frames_of(&places.spot(*address, depth == 0)));
            }
            if stack.is_empty() {
                stack.push(self.number(&Frame::named(PROGRAM)));
            }
            let Some(stack) = self.in_scope(stack, scope, ours.as_deref()) else {
                self.outside += count;
                continue;
            };
            self.total += count;
            *self.stacks.entry(stack).or_default() += count;
            if let Some(address) = addresses.first() {
                self.instruction(machine, *address, &[], places).executions += count;
            }
        }
    }
}
