// SPDX-License-Identifier: GPL-2.0-only
//! Relocatable objects: what an archive exports, what in an object can be made fit for a kernel, and what a
//! kernel would refuse in a module or suffer from.
//!
//! Bytes in, findings (or better bytes) out: nothing here opens a file, starts a program, or knows of machines.
#![forbid(unsafe_code)]

mod archive;
/// What of a module's tests the build verifies.
mod boundary;
/// What a kernel's loader says to a module.
mod check;
mod code;
mod dwarf;
mod finding;
mod graph;
/// What a kernel loads and ought not to have to.
mod hazards;
/// A module's file as the loader sees it.
mod image;
mod kernel;
/// Where the loader puts a module's sections.
mod layout;
mod lines;
mod names;
mod policy;
mod relax;
mod relocations;
mod rules;
mod symbolise;
mod symbols;
/// The tables in a module that the loader follows.
mod tables;

pub use archive::{exports, undefined};
pub use boundary::{Boundary, Claim, Way, with_boundary};
pub use check::check;
pub use finding::{Allowed, Errno, Finding, Measures, Report, Stack};
pub use kernel::{Export, Exports, Kernel, Options, OwnModule, SymversError, builtin_in_sysfs};
pub use names::readable;
pub use policy::{Allowance, Policy};
pub use relax::{GotUse, Reason, Relaxed, relax};
pub use rules::{Class, Id, Rule, explain, rule_named, rules, rules_page};
pub use symbolise::{Answer, Index, SourceLanguage, SourcePlace, Symbolised, TracePlace};

use object::read::elf::{ElfFile64, SectionHeader};
use object::{LittleEndian, Object};
use thiserror::Error;

/// Why bytes can't be read as what they are said to be.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The bytes are no archive.
    #[error("this is no static library")]
    Archive(#[source] object::Error),
    /// A member of an archive, or an object itself, is malformed.
    #[error("{name} is no readable ELF object")]
    Object {
        /// The member's name, or `the object`.
        name: String,
        /// What is wrong.
        #[source]
        source: object::Error,
    },
    /// The object is for another machine than x86-64.
    #[error("{name} is for {architecture}, not for x86-64")]
    Architecture {
        /// The member's name, or `the object`.
        name: String,
        /// What it is for.
        architecture: String,
    },
    /// The object has a name that is longer than any compiler makes one.
    #[error("{name} is malformed: a symbol's name has more than {most} bytes", most = LONGEST_NAME)]
    Name {
        /// What was to be read.
        name: String,
    },
    /// The file is no longer an object: a program, or a shared library.
    #[error("{name} is linked already: a program or a shared library, not an object")]
    Linked {
        /// What was to be read.
        name: String,
    },
}

/// More than a symbol's name has, in bytes: so many are looked through for its end.
const LONGEST_NAME: usize = 1 << 16;

/// An object of the only form that is read here.
type X86Object<'a> = ElfFile64<'a, LittleEndian>;

/// Reads an object, which has to be for x86-64.
fn x86_64<'a>(bytes: &'a [u8], name: &str) -> Result<X86Object<'a>, ReadError> {
    let malformed = |source| ReadError::Object { name: name.to_owned(), source };
    let object = object::File::parse(bytes).map_err(malformed)?;
    let (format, architecture) = (object.format(), object.architecture());
    let object::File::Elf64(_) = object else {
        return Err(ReadError::Architecture {
            name: name.to_owned(),
            architecture: format!("{architecture:?} ({format:?})"),
        });
    };
    if architecture != object::Architecture::X86_64 {
        let architecture = format!("{architecture:?}");
        return Err(ReadError::Architecture { name: name.to_owned(), architecture });
    }
    let object = X86Object::parse(bytes).map_err(malformed)?;
    let names = object.elf_symbol_table().string_section();
    let names = object.elf_section_table().section(names).and_then(|names| names.data(LittleEndian, bytes));
    if names.unwrap_or_default().split(|byte| *byte == 0).any(|name| name.len() > LONGEST_NAME) {
        return Err(ReadError::Name { name: name.to_owned() });
    }
    Ok(object)
}
