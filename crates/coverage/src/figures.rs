// SPDX-License-Identifier: GPL-2.0-only
//! How often lines and branches were run.

use std::collections::BTreeMap;

/// A branch: the line, where in it, and which of its ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Branch {
    /// The line, from 1.
    pub line: u32,
    /// What tells it from others in the line: the column where its condition begins, and where that ends. C's have
    /// none.
    pub place: (u32, u32, u32),
    /// Its way, from 0. In Rust 0 is taken when the condition holds.
    pub way: u32,
}

/// A file's lines and branches, with how often each was run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct File {
    /// By the line, from 1. Lines without code are not there.
    pub lines: BTreeMap<u32, u64>,
    /// All ways of all branches.
    pub branches: BTreeMap<Branch, u64>,
}

/// How many there are, and how many of them were run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Those that were run.
    pub hit: usize,
    /// All.
    pub all: usize,
}

/// What was run of each file, by its path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The files in the order of their paths.
    pub files: BTreeMap<String, File>,
}

impl Count {
    fn of(counts: impl Iterator<Item = u64>) -> Self {
        counts.fold(Self::default(), |sum, count| Self {
            hit: sum.hit + usize::from(count > 0),
            all: sum.all + 1,
        })
    }

    /// The share in tenths of a per cent, never rounded up to all; nothing of nothing.
    pub fn permille(self) -> Option<usize> {
        (self.hit * 1000).checked_div(self.all)
    }
}

impl std::ops::Add for Count {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { hit: self.hit + other.hit, all: self.all + other.all }
    }
}

impl File {
    /// Its lines.
    pub fn line_count(&self) -> Count {
        Count::of(self.lines.values().copied())
    }

    /// The ways of its branches.
    pub fn branch_count(&self) -> Count {
        Count::of(self.branches.values().copied())
    }

    pub(crate) fn add_line(&mut self, line: u32, count: u64) {
        let sum = self.lines.entry(line).or_default();
        *sum = sum.saturating_add(count);
    }

    pub(crate) fn add_branch(&mut self, branch: Branch, count: u64) {
        let sum = self.branches.entry(branch).or_default();
        *sum = sum.saturating_add(count);
    }
}

impl Coverage {
    /// Adds what was run another time, or of another build: what is there in either is there in both together.
    pub fn join(&mut self, other: Self) {
        for (path, file) in other.files {
            let mine = self.files.entry(path).or_default();
            file.lines.into_iter().for_each(|(line, count)| mine.add_line(line, count));
            file.branches.into_iter().for_each(|(branch, count)| mine.add_branch(branch, count));
        }
    }

    /// The same with other paths; files that get none are left out.
    #[must_use]
    pub fn renamed(self, name: impl Fn(&str) -> Option<String>) -> Self {
        let mut renamed = Self::default();
        for (path, file) in self.files {
            if let Some(path) = name(&path) {
                renamed.join(Self { files: BTreeMap::from([(path, file)]) });
            }
        }
        renamed
    }

    /// The lines of all files.
    pub fn line_count(&self) -> Count {
        self.files.values().map(File::line_count).fold(Count::default(), |sum, count| sum + count)
    }

    /// The branches of all files.
    pub fn branch_count(&self) -> Count {
        self.files.values().map(File::branch_count).fold(Count::default(), |sum, count| sum + count)
    }
}
