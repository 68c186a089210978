// SPDX-License-Identifier: GPL-2.0-only
//! The counters of a module that was built for coverage, read from the machines of a run.
//!
//! A module in the machine keeps them, and adds up those of each time that ours was loaded. They are read after each
//! test, so that what ends a machine takes only its own counts with it, and after the last unloading, when the exit
//! function has run.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use wire::{Reply, Request};

use super::steps::{Run, Step, read, unexpected};
use super::trouble::Trouble;
use super::{Module, errno_text};
use crate::build::Counting;
use crate::build::coverage::{COUNTERS, READER};
use crate::session::Collect;
use crate::verdict::Class;

/// What the machines of a run have counted together.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    counters: Option<Vec<u64>>,
    lost: Vec<String>,
}

/// What a run has counted.
#[derive(Debug)]
pub struct Measured {
    /// The module with its debug information.
    pub module: PathBuf,
    /// The folder of its build.
    pub dir: PathBuf,
    /// Its counters, 64 bits each, little-endian; nothing where none was read.
    pub counters: Option<Vec<u8>>,
    /// The tests whose counts were lost with their machine.
    pub lost: Vec<String>,
}

/// The counters of one machine.
#[derive(Debug)]
pub(super) struct Reading {
    size: u64,
    tally: Arc<Tally>,
    /// As they were read last.
    last: Option<Vec<u64>>,
    /// What has been done since then.
    unread: Option<String>,
}

impl Tally {
    fn add(&self, counters: Option<Vec<u64>>, lost: Option<String>) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sums.lost.extend(lost);
        let Some(counters) = counters else { return };
        match &mut sums.counters {
            Some(all) => {
                all.iter_mut().zip(counters).for_each(|(sum, count)| *sum = sum.saturating_add(count))
            }
            none => *none = Some(counters),
        }
    }

    /// What came together.
    pub(super) fn measured(&self, module: &Path) -> Measured {
        let sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = |all: &Vec<u64>| all.iter().flat_map(|count| count.to_le_bytes()).collect();
        Measured {
            module: module.to_owned(),
            dir: module.parent().unwrap_or(Path::new("/")).to_owned(),
            counters: sums.counters.as_ref().map(bytes),
            lost: sums.lost.clone(),
        }
    }
}

impl Run<'_> {
    /// Has the machine keep the module's counters from now on, if it was built for coverage.
    pub(super) fn load_reader(&mut self, module: &Module) -> Step {
        let Some((Counting { reader, size }, tally)) =
            module.built.counting.as_ref().zip(module.tally.as_ref())
        else {
            return Ok(());
        };
        let parameters = format!("of={} size={size}", module.kernel_name());
        let file = PathBuf::from(format!("{READER}.ko"));
        self.load_one(&file, &read(reader)?, Some(&parameters))?;
        self.reading = Some(Reading { size: *size, tally: tally.clone(), last: None, unread: None });
        Ok(())
    }

    /// Remembers what is done until the counters are read again.
    pub(super) fn counts(&mut self, what: &str) {
        if let Some(reading) = &mut self.reading {
            reading.unread = Some(what.to_owned());
        }
    }

    /// Reads the counters.
    pub(super) fn read_counters(&mut self) -> Step {
        let Some(size) = self.reading.as_ref().map(|reading| reading.size) else { return Ok(()) };
        let mut bytes = Collect::default();
        let (what, limit) = ("reading the counters", self.timeouts.load);
        let request = Request::Read { path: COUNTERS.to_owned() };
        match self.ask(&request, limit, what, &mut bytes)? {
            Reply::Done => {}
            Reply::Failed { action, errno } => {
                let why = format!("{what}: {action} failed with {}", errno_text(errno));
                return Err(Trouble::new(Class::LabFailed, why));
            }
            other => return Err(unexpected(what, &other)),
        }
        let (numbers, rest) = bytes.0.as_chunks();
        if bytes.0.len() as u64 != size || !rest.is_empty() {
            let why = format!("{what}: {} bytes came, and the module has {size}", bytes.0.len());
            return Err(Trouble::new(Class::LabFailed, why));
        }
        let counters = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        if let Some(reading) = &mut self.reading {
            (reading.last, reading.unread) = (Some(counters), None);
        }
        Ok(())
    }

    /// Reads the counters of a machine that goes no further, where it may still answer, and adds up what was read.
    pub(super) fn close_counters(&mut self, outcome: &Step) {
        let answers = |trouble: &Trouble| {
            matches!(
                trouble.class,
                Class::TestFailed
                    | Class::RefusedByKernel
                    | Class::KernelWarning
                    | Class::Oops
                    | Class::UnloadFailed
                    | Class::Leak
            )
        };
        if outcome.as_ref().is_err_and(answers) {
            // What can't be read is lost, and told with the rest.
            let _ = self.read_counters();
        }
        if let Some(Reading { tally, last, unread, .. }) = self.reading.take() {
            tally.add(last, unread);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_add_up_and_what_was_lost_is_named() {
        let tally = Tally::default();
        let module = Path::new("/p/target/vexlab/k/m.ko");
        assert!(tally.measured(module).counters.is_none(), "nothing was read");
        tally.add(Some(vec![1, 2]), None);
        tally.add(None, Some("crash".to_owned()));
        tally.add(Some(vec![3, u64::MAX]), None);
        let measured = tally.measured(module);
        let expected: Vec<u8> = [4u64, u64::MAX].iter().flat_map(|count| count.to_le_bytes()).collect();
        assert_eq!((measured.counters, measured.lost), (Some(expected), vec!["crash".to_owned()]));
        assert_eq!(measured.dir, Path::new("/p/target/vexlab/k"));
    }
}
