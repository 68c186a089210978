// SPDX-License-Identifier: GPL-2.0-only
//! What an emulator that counts takes notice of. Elsewhere it does nothing.

use std::arch::asm;

/// What is executed from here on is to be counted.
///
/// A `nop` of eight bytes with a number that no compiler pads with; `instruction` in `crates/profiler` has the same.
pub(crate) fn mark_begin() {
    // SAFETY: needed because a compiler makes no such instruction; it changes neither memory nor registers nor flags.
    unsafe { asm!(r#".ascii "\x0f\x1f\x84\x00vexl""#, options(nomem, nostack, preserves_flags)) };
}

/// What was to be counted is over.
pub(crate) fn mark_end() {
    // SAFETY: as in `mark_begin`.
    unsafe { asm!(r#".ascii "\x0f\x1f\x84\x00lxev""#, options(nomem, nostack, preserves_flags)) };
}
