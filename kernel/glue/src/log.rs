// SPDX-License-Identifier: GPL-2.0
//! A line is put together on the stack, in [`LINE_SIZE`] bytes at most, and printed by C: nothing
//! here allocates, so that it works where memory is what is missing.

use crate::c;

/// The longest line. The kernel itself cuts lines off at about 1,000 bytes.
pub(crate) const LINE_SIZE: usize = 512;

/// Severity, as `printk` counts it (`linux/kern_levels.h`).
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Level {
    /// The system is unusable.
    Emergency = 0,
    /// Worth knowing.
    Info = 6,
}

/// Writes one line.
pub(crate) fn line(level: Level, text: &str) {
    bytes(level, text.as_bytes());
}

/// Writes one line, whatever bytes it is made of.
pub(crate) fn bytes(level: Level, text: &[u8]) {
    // SAFETY: needed to call C. The pointer and the length are those of a slice, which C only reads,
    // and not after it returns.
    unsafe { c::vexfs_c_log(level as u32, text.as_ptr(), text.len()) }
}
