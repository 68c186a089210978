// SPDX-License-Identifier: GPL-2.0-only
//! Pseudo-terminals.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use super::check;

/// The two ends of a new pseudo-terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Our end.
    pub(crate) master: File,
    /// The program's end.
    pub(crate) slave: OwnedFd,
}

/// Opens a pseudo-terminal.
pub(crate) fn open_terminal() -> io::Result<Terminal> {
    let flags = libc::O_NOCTTY | libc::O_CLOEXEC;
    let master = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/ptmx")?;
    let unlocked: libc::c_int = 0;
    // SAFETY: needed because a terminal is only reached through ioctls; TIOCSPTLCK reads one int.
    check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) })?;
    // SAFETY: as above; TIOCGPTPEER takes the flags by value and returns a new descriptor.
    let slave = check(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | flags) })?;
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    Ok(Terminal { master, slave: unsafe { OwnedFd::from_raw_fd(slave) } })
}

/// Gives the terminal a size in characters. The kernel tells the programs on it.
pub(crate) fn resize_terminal(terminal: &impl AsRawFd, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: needed because a terminal is only reached through ioctls; TIOCSWINSZ reads `size`.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &size) })?;
    Ok(())
}

/// Makes the terminal the controlling one of this process, which leads a session without one.
pub(crate) fn take_terminal(terminal: &impl AsRawFd) -> io::Result<()> {
    // SAFETY: needed because a terminal is only reached through ioctls; no pointer is passed.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })?;
    Ok(())
}
