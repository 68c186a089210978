// SPDX-License-Identifier: GPL-2.0-only
//! The numbers under which a guest's kernel knows files, each as long as it says it does.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use rustix::fs::Statx;
use rustix::io::Errno;

/// The number of the shared folder itself.
pub(crate) const ROOT: u64 = 1;

/// The most nodes that are known at once. A kernel forgets those that it has no use for; one that never does gets
/// no more.
const MOST: usize = 4 << 20;

/// More folders in each other than a path has room for.
const DEEPEST: usize = 4096;

/// What tells a file from every other: its device, its number there, and when it was made, since numbers are given
/// again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    device: (u32, u32),
    number: u64,
    made: (i64, u32),
}

impl Identity {
    pub(crate) fn of(found: &Statx) -> Self {
        Self {
            device: (found.stx_dev_major, found.stx_dev_minor),
            number: found.stx_ino,
            made: (found.stx_btime.tv_sec, found.stx_btime.tv_nsec),
        }
    }
}

#[derive(Debug)]
struct Node {
    identity: Identity,
    parent: u64,
    name: OsString,
    lookups: u64,
}

/// The known nodes. Where one is on the host is known by the name under which it was looked up last.
#[derive(Debug)]
pub(crate) struct Nodes {
    known: HashMap<u64, Node>,
    numbers: HashMap<Identity, u64>,
    next: u64,
}

impl Nodes {
    /// Only the shared folder itself.
    pub(crate) fn new(root: Identity) -> Self {
        Self { known: HashMap::new(), numbers: HashMap::from([(root, ROOT)]), next: ROOT + 1 }
    }

    /// The number of a file that was looked up under this name, counted as one more look-up.
    pub(crate) fn look_up(&mut self, identity: Identity, parent: u64, name: &OsStr) -> Result<u64, Errno> {
        if let Some(number) = self.numbers.get(&identity) {
            if let Some(node) = self.known.get_mut(number) {
                node.lookups = node.lookups.saturating_add(1);
                node.parent = parent;
                name.clone_into(&mut node.name);
            }
            return Ok(*number);
        }
        if self.known.len() >= MOST {
            return Err(Errno::NFILE);
        }
        let number = self.next;
        self.next += 1;
        self.known.insert(number, Node { identity, parent, name: name.to_owned(), lookups: 1 });
        self.numbers.insert(identity, number);
        Ok(number)
    }

    /// Notes that a file has another name now.
    pub(crate) fn rename(&mut self, identity: Identity, parent: u64, name: &OsStr) {
        let number = self.numbers.get(&identity);
        if let Some(node) = number.and_then(|number| self.known.get_mut(number)) {
            node.parent = parent;
            name.clone_into(&mut node.name);
        }
    }

    /// Takes look-ups back. A node that none is left of is forgotten.
    pub(crate) fn forget(&mut self, number: u64, lookups: u64) {
        let Some(node) = self.known.get_mut(&number) else { return };
        node.lookups = node.lookups.saturating_sub(lookups);
        if node.lookups == 0 {
            self.numbers.remove(&node.identity);
            self.known.remove(&number);
        }
    }

    /// The path below the shared folder: empty for that itself.
    ///
    /// # Errors
    ///
    /// `ESTALE`, when the node or a folder on the way is not known.
    pub(crate) fn path(&self, number: u64) -> Result<PathBuf, Errno> {
        let mut names = Vec::new();
        let mut number = number;
        while number != ROOT {
            let node = self.known.get(&number).filter(|_| names.len() < DEEPEST).ok_or(Errno::STALE)?;
            names.push(&node.name);
            number = node.parent;
        }
        Ok(names.into_iter().rev().collect())
    }

    /// Whether what was found at the node's path is what was looked up there.
    pub(crate) fn is(&self, number: u64, found: Identity) -> bool {
        number == ROOT || self.known.get(&number).is_some_and(|node| node.identity == found)
    }
}
