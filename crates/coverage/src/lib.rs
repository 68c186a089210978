// SPDX-License-Identifier: GPL-2.0-only
//! What was run of a module's sources: a module that was built for coverage and the counters that were read from it in
//! a kernel, made into the counts of lines and branches. Bytes in, figures out; it opens no file and starts nothing.
//!
//! rustc's counters are told by LLVM's coverage mapping, which is in the module ([`rust`]). gcc's are told by its notes,
//! which only the `gcov` of the same compiler reads: [`c`] has what that is given, and what is made of its answer.
//! Nothing that is read here is trusted: neither the module nor the counters, nor what gcov says.
#![forbid(unsafe_code)]

mod counters;
mod figures;
mod gcc;
mod html;
mod lcov;
mod llvm;
mod regions;
mod table;

pub use counters::{Counted, SECTION};
pub use figures::{Branch, Count, Coverage, File};
pub use gcc::{Unit, c, units};
pub use html::page;
pub use lcov::lcov;
pub use llvm::rust;
pub use table::markdown;

/// The most lines that a file may have, and the most that all of a module's files may have together.
const MOST_LINES: u32 = 1 << 20;
const MOST_LINES_OF_ALL: usize = 4 << 20;

/// Why something is not what a compiler would have made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no object, or a damaged one.
    #[error("it can't be read as an object")]
    Object(#[from] object::Error),
    /// It was not built for coverage, or all that is counted was left out of it.
    #[error("there is nothing in its section {SECTION}")]
    NoCounters,
    /// Something in it contradicts itself.
    #[error("its {part} is damaged: {problem}")]
    Damaged {
        /// Which part.
        part: &'static str,
        /// What is wrong.
        problem: &'static str,
    },
    /// A newer or older compiler has made it.
    #[error("its {part} is of version {version}, which is not known here")]
    Version {
        /// Which part.
        part: &'static str,
        /// Its version as the compiler writes it.
        version: String,
    },
    /// There are more or fewer counters than in the module.
    #[error("{read} bytes of counters were read, and it has {wanted}")]
    Length {
        /// How many were read.
        read: usize,
        /// How many it has.
        wanted: usize,
    },
    /// What gcov printed is not what it should be.
    #[error("gcov's answer can't be read")]
    Gcov(#[from] serde_json::Error),
}

fn damaged(part: &'static str, problem: &'static str) -> Error {
    Error::Damaged { part, problem }
}
