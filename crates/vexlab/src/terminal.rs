// SPDX-License-Identifier: GPL-2.0-only
//! Our side of a program in the machine: its keys, its window size, its signals.

use std::io::{IsTerminal, Read, stdin, stdout};

use lab::error::{Context, Error, Result};
use lab::link::Outgoing;
use rustix::termios::{self, OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;
use wire::{Request, WindowSize};

/// The terminal with every key handed through as it is, until this value is gone.
struct Raw {
    before: Termios,
}

impl Raw {
    /// Switches our terminal. Nothing where standard input or output is none.
    fn enter() -> Result<Option<Self>> {
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
fn size() -> WindowSize {
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
fn send_keys(to: Outgoing) {
    send_input_until(to, HANGUP);
}

/// Where a program's keys come from: our terminal, which is raw as long as this value is there, or else our standard
/// input, whatever that is.
pub(crate) struct Keys {
    on_terminal: bool,
    raw: Option<Raw>,
    failed: Option<Error>,
}

impl Keys {
    /// Of our terminal where there is one.
    pub(crate) fn ours() -> Self {
        Self { on_terminal: is_ours(), raw: None, failed: None }
    }

    /// The terminal that the program is to get.
    pub(crate) fn terminal(&self) -> Option<WindowSize> {
        self.on_terminal.then(size)
    }

    /// Hands them to the program from now on.
    pub(crate) fn send(&mut self, to: Outgoing) {
        let entered = Raw::enter().and_then(|entered| {
            self.raw = entered;
            send_sizes(to.clone())
        });
        self.failed = entered.err();
        match self.on_terminal {
            true => send_keys(to),
            false => send_input(to),
        }
    }

    /// The program has ended: what is printed from here on is for a terminal in its ordinary state.
    pub(crate) fn end(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}

/// Hands the signals that would stop us to the program. What it makes of the first is up to it; a second stops us.
pub(crate) fn send_signals(to: Outgoing) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "watch for signals".to_owned())?;
    std::thread::spawn(move || {
        for number in signals.forever() {
            if !to.input(&Request::Signal { number }) {
                return;
            }
        }
    });
    Ok(())
}

/// Hands changes of our window's size to the program.
fn send_sizes(to: Outgoing) -> Result<()> {
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
