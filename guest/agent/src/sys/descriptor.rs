// SPDX-License-Identifier: GPL-2.0-only
//! Waiting for descriptors.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::check;

/// Makes reads and writes return `WouldBlock` instead of waiting. Holds for every copy of the descriptor.
pub(crate) fn make_nonblocking(descriptor: &impl AsRawFd) -> io::Result<()> {
    let descriptor = descriptor.as_raw_fd();
    // SAFETY: needed to set a flag that `std` only sets on sockets; `fcntl` takes no pointer here.
    let flags = check(unsafe { libc::fcntl(descriptor, libc::F_GETFL) })?;
    // SAFETY: as above.
    check(unsafe { libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    Ok(())
}

/// `poll(2)`: waits until one of `watched` is ready or the time is over, for ever without one. Entries
/// with a negative descriptor are passed over.
pub(crate) fn wait_until_ready(watched: &mut [libc::pollfd], longest: Option<Duration>) -> io::Result<()> {
    let milliseconds = longest.map_or(-1, |time| time.as_millis().try_into().unwrap_or(i32::MAX));
    loop {
        // SAFETY: needed to wait for several descriptors; pointer and length are those of one exclusively
        // borrowed slice, and the kernel only writes to its entries' `revents`.
        let ready = unsafe { libc::poll(watched.as_mut_ptr(), watched.len() as libc::nfds_t, milliseconds) };
        match check(ready) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            ready => return ready.map(drop),
        }
    }
}
