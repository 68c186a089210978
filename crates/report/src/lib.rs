// SPDX-License-Identifier: GPL-2.0-only
//! What runs came to, for those who were not there: as JSON, JUnit, KTAP, annotations, and a page.
//!
//! The lab's [events](lab::event::Event) are turned into those of a documented [format], of which everything else is
//! made. Nothing here prints: texts are given, or written to what the caller hands in.
#![forbid(unsafe_code)]

/// The format: events and records as JSON, versioned and documented.
pub mod format;
/// Annotations of a code host.
pub mod github;
/// One page with everything.
pub mod html;
/// JUnit's XML.
pub mod junit;
/// The Kernel Test Anything Protocol.
pub mod ktap;
/// The documentation of the format.
mod page;
/// The lab's events, collected.
mod recorder;
#[cfg(test)]
mod specimen;
/// The records of past runs.
pub mod store;
/// Texts for people, without what a terminal or a reader of XML would take for more.
pub mod text;

pub use page::page;
pub use recorder::{Recorder, Told};
