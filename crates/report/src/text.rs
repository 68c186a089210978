// SPDX-License-Identifier: GPL-2.0-only
//! Texts that come out of machines are anybody's: a test's name, a console. Here they lose the power to be anything
//! else than text.

use std::borrow::Cow;

use lab::splat::Place;

use crate::format::Splat;

/// A text in which control characters other than tabs and line ends, and what is no character in XML, are shown
/// instead of being there: `\u{1b}`.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            // The console's line ends.
            '\r' => {}
            character if is_control(character) => plain.extend(character.escape_unicode()),
            character => plain.push(character),
        }
    }
    Cow::Owned(plain)
}

/// The same on one line.
pub fn plain_line(text: &str) -> String {
    plain(text).replace(['\n', '\t'], " ")
}

fn is_control(character: char) -> bool {
    // What turns the direction of a text makes a reader see another text.
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() && !matches!(character, '\n' | '\t')
        || turns
        || matches!(character, '\u{fffe}' | '\u{ffff}')
}

/// What is said of a frame whose place is not known because there are several.
pub const AMBIGUOUS: &str = "(one of several of this name)";

/// A report of the kernel's, line by line: its title, and each frame with its places.
pub fn splat(splat: &Splat) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", splat.kind, splat.title)];
    if let Some(panic) = &splat.panic {
        lines.push(format!("  panicked at {}: {}", panic.place, panic.message));
    }
    for frame in &splat.trace {
        let doubt = if frame.reliable { "" } else { "? " };
        let module = frame.module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
        let which = if frame.ambiguous { format!(" {AMBIGUOUS}") } else { String::new() };
        lines.push(format!("  {doubt}{}+{:#x}/{:#x}{module}{which}", frame.symbol, frame.offset, frame.size));
        lines.extend(frame.places.iter().map(|at| format!("    {} at {}", at.function, place(at))));
    }
    lines
}

/// `file:line`, and the column where it is known.
pub fn place(place: &Place) -> String {
    match place.column {
        Some(column) => format!("{}:{}:{column}", place.file, place.line),
        None => format!("{}:{}", place.file, place.line),
    }
}

/// Where in the module's source a report points to: the innermost place of the innermost frame in a module that has
/// one.
pub fn culprit(splat: &Splat) -> Option<&Place> {
    let vouched = splat.trace.iter().filter(|frame| frame.reliable && frame.module.is_some());
    vouched.flat_map(|frame| &frame.places).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_text_is_shown_and_not_obeyed() {
        assert_eq!(plain("ok\tä\r\nb"), "ok\tä\nb");
        assert_eq!(
            plain("\u{1b}[31mred\u{7}\0\u{9b}\u{202e}\u{ffff}"),
            r"\u{1b}[31mred\u{7}\u{0}\u{9b}\u{202e}\u{ffff}"
        );
        assert!(matches!(plain("plain"), Cow::Borrowed("plain")));
        assert_eq!(plain_line("a\nb"), "a b");
    }
}
