// SPDX-License-Identifier: GPL-2.0-only
//! Our side of a program in the machine: its keys, its window size, its signals.

use std::io::{IsTerminal, Read, stdin, stdout};

use lab::error::{Context, Result};
use lab::link::Outgoing;
use rustix::termios::{self, OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGWINCH};
use signal_hook::iterator::Signals;
use wire::{Request, WindowSize};

/// The terminal with every key handed through as it is, until this value is gone.
pub(crate) struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches our terminal. Nothing where standard input or output is none.
    pub(crate) fn enter() -> Result<Option<Self>> {
        if !is_ours() {
            return Ok(None);
        }
        let before = termios::tcgetattr(stdin()).context(|| "read the terminal's settings".to_owned())?;
        let mut raw = before.clone();
        raw.make_raw();
        termios::tcsetattr(stdin(), OptionalActions::Now, &raw)
            .context(|| "switch the terminal to raw".to_owned())?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs no settings.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// The terminal's size; the usual one where it has none.
pub(crate) fn size() -> WindowSize {
    let usual = WindowSize { rows: 24, columns: 80 };
    termios::tcgetwinsize(stdout())
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)
        .map_or(usual, |size| WindowSize { rows: size.ws_row, columns: size.ws_col })
}

/// Whether we are on a terminal, with which a program in the machine can be given one.
pub(crate) fn is_ours() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// The signal that tells a program that its terminal is gone.
const HANGUP: Request = Request::Signal { number: SIGHUP };

/// Hands our standard input to the program, from a thread that ends with the process. `at_end` is sent when
/// there is no more of it.
fn send_input_until(to: Outgoing, at_end: Request) {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        loop {
            match stdin().lock().read(&mut buffer) {
                Ok(length @ 1..) => {
                    if !to.input(&Request::Stdin { data: buffer[..length].to_vec() }) {
                        return;
                    }
                }
                Ok(0) | Err(_) => {
                    to.input(&at_end);
                    return;
                }
            }
        }
    });
}

/// Hands our standard input to the program, and its end.
pub(crate) fn send_input(to: Outgoing) {
    send_input_until(to, Request::StdinEnd);
}

/// Hands our terminal's keys to the program. They end only when the terminal is gone: then the program's is,
/// too.
pub(crate) fn send_keys(to: Outgoing) {
    send_input_until(to, HANGUP);
}

/// Hands changes of our window's size to the program.
pub(crate) fn send_sizes(to: Outgoing) -> Result<()> {
    let mut signals = Signals::new([SIGWINCH]).context(|| "watch the window's size".to_owned())?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if !to.input(&Request::Resize(size())) {
                return;
            }
        }
    });
    Ok(())
}
