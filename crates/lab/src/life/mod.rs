// SPDX-License-Identifier: GPL-2.0-only
//! How a module lives, judged: what it leaves behind, what grows with each of its lives, what it says that it
//! lost, and which values of its parameters are worth trying.
//!
//! All of it is data in and words out. What is done in a machine to get the data is in [`run`](crate::run).

/// What grows.
mod growth;
/// Parameters and values for them.
mod parameters;
/// What is left behind.
mod remains;
/// What a module says that it lost.
mod said;

pub use growth::{Grown, Point, growth};
pub use parameters::{Parameter, Value, parameters, values};
pub use remains::{handles, other_modules, remains};
pub use said::Lost;
