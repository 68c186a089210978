// SPDX-License-Identifier: GPL-2.0-only
//! Safe functions over the system calls that `std` doesn't have. Each does one call, or the few that only
//! make sense together, and returns the kernel's error as it is. No decision is made here.
//!
//! Unsafe code is needed because the calls are foreign functions that take pointers, and because `fork`
//! and its like are only sound in a process with one thread. **The agent never starts a thread.**
#![allow(unsafe_code, reason = "system calls are foreign functions; everything else in the agent is safe")]

mod descriptor;
mod machine;
mod mark;
mod process;
mod terminal;

pub(crate) use descriptor::{make_nonblocking, wait_until_ready};
pub(crate) use machine::{
    bring_interface_up, file_system_type, load_module, mount, open_file_system, power_off,
    seed_random_numbers, set_clock, show_all_on_console, unload_module, uptime_micros,
};
pub(crate) use mark::{mark_begin, mark_end};
pub(crate) use process::{
    Call, Ending, change_root, child_events, enter_folder, fork, reap, redirect, reset_signals, send_signal,
    spawn, start_session,
};
pub(crate) use terminal::{Terminal, open_terminal, resize_terminal, take_terminal};

use std::io;

/// The result of a call that returns -1 and sets `errno` when it fails.
fn check<T: PartialEq + From<i8>>(result: T) -> io::Result<T> {
    if result == T::from(-1) { Err(io::Error::last_os_error()) } else { Ok(result) }
}
