// SPDX-License-Identifier: GPL-2.0-only
//! Whole distributions as machines: cloud images, built here from packages or brought by the user, booted with
//! cloud-init, saved once they have booted, and reached by ssh.
//!
//! A machine's disk is an overlay; the image under it is never written to. What cloud-init reads is on a volume
//! made for the machine: a user, keys, packages, and the *keeper*, a small program that says through a port of its
//! own that the machine is ready, and does what has to be done in it that ssh is too slow for: set the clock, seed
//! the random pool, mount. A machine that is ready is saved as others are (see [`saved`](crate::saved)), with its
//! disk and its keys.

/// What a machine starts from: an image of ours, or a file.
mod base;
/// Machines that are started, restored, and saved.
mod boot;
/// Images from packages.
mod build;
/// An ssh connection to a program in a machine.
mod connection;
/// The conversation with the keeper in the machine.
mod keeper;
/// QEMU's command line.
mod machine;
/// What images are made of.
mod recipe;
/// What cloud-init reads.
mod seed;
/// Keys, and how ssh is called.
mod ssh;

pub use base::Base;
pub use boot::{Options, READY, Running, clean, up};
pub use build::{Image, Listed, build, list, remove};
pub(crate) use connection::{Connection, RUNNER};
pub use machine::{Loader, Machine, Share};
pub use recipe::{RECIPES, Recipe};
pub use seed::Seed;
pub use ssh::{Keys, Ssh};

/// What a machine calls itself.
const HOST_NAME: &str = "vexlab";

/// The user beside root.
const USER: &str = "vex";
