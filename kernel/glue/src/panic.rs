// SPDX-License-Identifier: GPL-2.0
//! A panic logs one line, `vexfs: Rust panic at FILE:LINE:COLUMN: MESSAGE`, and ends in `BUG()`: the
//! kernel prints registers and a trace, and kills the task. Nothing is unwound and no destructor runs.
//!
//! A failed allocation that nobody handles panics too, with `memory allocation of N bytes failed`.

use core::panic::PanicInfo;

use crate::{
    c,
    log::{self, Level},
    text::Text,
};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let mut buffer = [0; log::LINE_SIZE];
    let mut line = Text::new(&mut buffer);
    line.push("Rust panic at ");
    match info.location() {
        Some(location) => {
            line.push(location.file());
            line.push(":");
            line.push_number(location.line().into());
            line.push(":");
            line.push_number(location.column().into());
        }
        None => line.push("an unknown place"),
    }
    line.push(": ");
    push_message(&mut line, info);
    log::bytes(Level::Emergency, line.bytes());
    c::bug()
}

#[cfg(not(feature = "kernel-minimal"))]
fn push_message(line: &mut Text<'_>, info: &PanicInfo<'_>) {
    use core::fmt::Write;
    if write!(line, "{}", info.message()).is_err() {
        line.push(" (the message could not be formatted)");
    }
}

/// Without `core::fmt`: a message that has values in it stays unsaid, its place is known all the same.
#[cfg(feature = "kernel-minimal")]
fn push_message(line: &mut Text<'_>, info: &PanicInfo<'_>) {
    line.push(info.message().as_str().unwrap_or("(built with kernel-minimal, which formats no message)"));
}
