// SPDX-License-Identifier: GPL-2.0-only
//! Names from an object, for people. Whoever made the object chose them: they may be as long as the file, and a mangled
//! one of a hundred bytes may stand for a megabyte.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use rustc_demangle::demangle;

/// More than a symbol or a section has in its name, in bytes: what comes after them isn't looked at. The kernel's own
/// names have fewer than 512 (`KSYM_NAME_LEN`).
pub(crate) const LONGEST: usize = 4096;

/// More than is said of a name, in bytes.
const LONGEST_SAID: usize = 1024;

/// A symbol's name, demangled, and cut where it is longer than anyone reads.
pub fn readable(name: &str) -> String {
    let mut text = Limited(String::new());
    if write!(text, "{:#}", demangle(name)).is_err() {
        text.0.push('…');
    }
    text.0
}

/// A text from an object, not longer than is said of one.
pub(crate) fn lossy(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(&text[..text.len().min(LONGEST_SAID)])
}

/// A text that takes no more than is said of a name.
struct Limited(String);

impl fmt::Write for Limited {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = LONGEST_SAID.saturating_sub(self.0.len());
        let end = more.floor_char_boundary(room);
        self.0.push_str(&more[..end]);
        if end < more.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_demangled_and_not_longer_than_anyone_reads() {
        assert_eq!(readable("_ZN4case3nth17h0123456789abcdefE"), "case::nth");
        assert_eq!(readable("kfree"), "kfree");
        let long = readable(&"ä".repeat(5000));
        assert!(long.len() < 1030 && long.ends_with("ä…"));
    }

    /// Each of its types is a pair of the one before.
    #[test]
    fn a_short_name_that_stands_for_a_long_one_is_cut() {
        let mut mangled = String::from("_RINvC1a1f");
        let mut before = String::from("h");
        for _ in 0..14 {
            let at = mangled.len() - 2;
            mangled.push_str(&format!("T{before}{before}E"));
            before = format!("B{}_", base_62(at));
        }
        mangled.push('E');
        assert!(mangled.len() < 200 && readable(&mangled).len() < 1030, "{mangled}");
        assert!(
            readable(&mangled).starts_with("a::f::<(u8, u8), ((u8, u8), (u8, u8))"),
            "{}",
            readable(&mangled)
        );
    }

    fn base_62(number: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let Some(mut rest) = number.checked_sub(1) else { return String::new() };
        let mut digits = Vec::new();
        loop {
            digits.insert(0, char::from(DIGITS[rest % 62]));
            rest /= 62;
            if rest == 0 {
                return digits.into_iter().collect();
            }
        }
    }
}
