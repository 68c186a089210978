// SPDX-License-Identifier: GPL-2.0-only
//! Benchmarks of a module, in the kernel: what is measured, what it is held against, and how that is written down.
//!
//! There are two ways. *Counted*: in a machine whose clock counts instructions, with interrupts off, so that the result
//! is exact and the same each time. *Timed*: nanoseconds, with an interval. `run::bench` has machines measure.

mod baseline;
mod compiler;
/// Instructions.
pub(crate) mod count;
/// The module's file.
pub(crate) mod guest;
mod page;
/// Nanoseconds.
pub(crate) mod time;

use serde::{Deserialize, Serialize};

pub use baseline::{Baseline, Change, Verdict};
pub use count::Count;
pub use page::page;
pub use time::Time;

use crate::Lab;
use crate::build::Built;
use crate::error::Result;
use crate::host::processor_name;
use crate::kernel::Kernel;
use crate::project::Project;
use crate::run;
use guest::Sample;

/// The version of the JSON. What is added to it leaves the number as it is.
pub const VERSION: u32 = 1;

/// What is measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Instructions.
    #[default]
    Counted,
    /// Nanoseconds.
    Timed,
}

impl Mode {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Timed => "timed",
        }
    }
}

/// What is to be measured, and how.
#[derive(Debug, Clone, Default)]
pub struct Order {
    /// How to build, and what runs the machines.
    pub options: run::Options,
    /// Which of the two ways.
    pub mode: Mode,
    /// Measure times although the processor is emulated.
    pub force: bool,
    /// Only benchmarks whose name has one of these texts in it; all where there is none.
    pub filters: Vec<String>,
}

impl Order {
    /// Whether a benchmark of this name is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|text| name.contains(text.as_str()))
    }

    /// Whether a benchmark of this table may be wanted.
    pub(crate) fn may_want(&self, table: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|text| is_of(text, table))
    }
}

/// Whether a word names the benchmarks of a table, or one of them: `ffi`, `ffi/call.c_rust`.
pub(crate) fn is_of(word: &str, table: &str) -> bool {
    word.strip_prefix(table).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What shapes a result beside the module's source: results that differ in it are not compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// The kernel's name.
    pub kernel: String,
    /// Its release.
    pub release: String,
    /// A digest of its configuration.
    pub config: String,
    /// The compilers, as the module's objects name them.
    pub compilers: Vec<String>,
    /// Instructions or nanoseconds.
    pub mode: Mode,
    /// What ran the machine's instructions, where times were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// The host's processor, where times were taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
}

impl Setting {
    /// That of a module that was built for a kernel.
    ///
    /// # Errors
    ///
    /// When the module can't be read, or its Rust compiler can't be asked.
    pub(crate) fn of(
        lab: &Lab,
        project: &Project,
        kernel: &Kernel,
        built: &Built,
        (mode, accelerator): (Mode, &str),
    ) -> Result<Self> {
        Ok(Self {
            kernel: kernel.name().to_owned(),
            release: kernel.release().to_owned(),
            config: kernel.config().digest(),
            compilers: compiler::of(lab, project, built)?,
            mode,
            accelerator: (mode == Mode::Timed).then(|| accelerator.to_owned()),
            processor: (mode == Mode::Timed).then(processor_name),
        })
    }
}

/// What was measured of a module on a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The module, as verdicts name it.
    pub module: String,
    /// What shapes the results.
    pub setting: Setting,
    /// Each benchmark, in order.
    pub benchmarks: Vec<Benchmark>,
}

/// A benchmark, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    /// Its name: that of its table, a slash, and its own.
    pub name: String,
    /// What came of it.
    #[serde(flatten)]
    pub result: Measured,
    /// How it compares with a baseline, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// What came of a benchmark.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Measured {
    /// Instructions a turn, without the loop.
    Counted {
        /// The number, for readers; `count` has it exactly.
        each: f64,
        /// It as a fraction.
        count: Count,
    },
    /// Instructions a turn of what may vary, as `vexlab.toml` says, and did.
    Varied {
        /// At least.
        low: f64,
        /// At most.
        high: f64,
        /// Why it may.
        why: String,
    },
    /// Nanoseconds a turn.
    Timed {
        /// The estimate.
        time: Time,
        /// Turns and nanoseconds of each loop.
        samples: Vec<(u64, u64)>,
    },
    /// It can't be measured, or says that it has failed.
    Failed {
        /// Why.
        why: String,
    },
    /// It says that it can't be measured here.
    Skipped {
        /// Why.
        why: String,
    },
}

impl Measured {
    pub(crate) fn counted(count: Count) -> Self {
        Self::Counted { each: count.each(), count }
    }

    pub(crate) fn timed(time: Time, samples: &[Sample]) -> Self {
        Self::Timed { time, samples: samples.iter().map(|sample| (sample.turns, sample.ticks)).collect() }
    }

    /// Instructions or nanoseconds a turn; of what varies, the least.
    pub fn each(&self) -> Option<f64> {
        match self {
            Self::Counted { each, .. } => Some(*each),
            Self::Varied { low, .. } => Some(*low),
            Self::Timed { time, .. } => Some(time.estimate),
            Self::Failed { .. } | Self::Skipped { .. } => None,
        }
    }
}

impl Benchmark {
    /// Whether it fails the command: it could not be measured, or is not as the baseline has it.
    pub fn is_failure(&self) -> bool {
        match &self.result {
            Measured::Failed { .. } => true,
            // Whoever names a baseline of counts wants to hear of any change; times only have to be no worse.
            Measured::Counted { .. } => self.change.as_ref().is_some_and(Change::is_real),
            Measured::Timed { .. } => {
                self.change.as_ref().is_some_and(|change| change.verdict == Verdict::Regressed)
            }
            Measured::Skipped { .. } | Measured::Varied { .. } => false,
        }
    }
}

/// Reports as JSON.
///
/// # Errors
///
/// None in practice: what they are made of can be written.
pub fn json(reports: &[Report]) -> Result<String> {
    Baseline::of(reports.to_vec()).text()
}
