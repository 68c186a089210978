// SPDX-License-Identifier: GPL-2.0-only
//! What the lab tells whoever watches. The lab prints nothing: everything a user sees on the way to a
//! result goes through one stream of these.

use std::time::Duration;

use crate::error::Error;
use crate::run::{Failure, Record};
use crate::splat::Splat;
use crate::verdict::{Class, Phase, TestResult};

/// Something that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Work that may take longer than a second begins, or goes on.
    Progress {
        /// What is being done, with the object's name: `fetching linux-image-…`.
        what: &'a str,
        /// How much is done, in the unit of `total`.
        done: u64,
        /// How much there is, in bytes or items; 0 when that isn't known.
        total: u64,
    },
    /// The work of the last `Progress` is over.
    ProgressEnd,
    /// One line the user should know once: a fall-back and its reason, say.
    Note(&'a str),
    /// A phase of a run is over.
    Phase(Phase, Duration),
    /// A run of a module begins.
    Begin {
        /// The module as the verdict names it.
        module: &'a str,
        /// The kernel's name.
        kernel: &'a str,
    },
    /// A test begins.
    TestBegin {
        /// Its name.
        name: &'a str,
    },
    /// A test ended.
    Test(&'a TestResult),
    /// The kernel reported trouble.
    Splat(&'a Splat),
    /// A run is over.
    End(&'a Record),
    /// A run is over, and there is nothing to judge.
    Failed(&'a Failure<'a>),
    /// All runs that were asked for are over: the kernel and the class of each.
    Summary(&'a [(String, Class)]),
    /// What was asked for did not come to its end. Where that was in a run, `Failed` was told before.
    Error(&'a Error),
    /// Output of the command in the machine, as it comes.
    Output(wire::Stream, &'a [u8]),
}

/// Receives events. Called from any thread.
pub trait Reporter: Sync + Send {
    /// Takes one event. Must not block for long.
    fn event(&self, event: &Event<'_>);
}

/// A reporter that drops everything, for callers who only want the result.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _: &Event<'_>) {}
}
