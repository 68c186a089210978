// SPDX-License-Identifier: GPL-2.0
//! A report is empty until something differs, and then has a line for each difference.

use crate::text::Text;

/// The report of one test.
pub(super) struct Report<'a> {
    text: Text<'a>,
    failed: bool,
}

impl<'a> Report<'a> {
    pub(super) fn new(text: Text<'a>) -> Self {
        Report { text, failed: false }
    }

    /// Whether anything differed.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Length of the text, in bytes.
    pub(super) fn len(&self) -> usize {
        self.text.bytes().len()
    }

    /// The two must be the same number.
    pub(super) fn number(&mut self, what: &str, expected: u64, got: u64) {
        if expected != got {
            self.differs(what, |text| text.push_number(expected), |text| text.push_number(got));
        }
    }

    /// The two must be the same size or count.
    pub(super) fn size(&mut self, what: &str, expected: usize, got: usize) {
        self.number(what, expected as u64, got as u64);
    }

    /// The two must be the same signed number.
    pub(super) fn signed(&mut self, what: &str, expected: i64, got: i64) {
        if expected != got {
            self.differs(what, |text| text.push_signed(expected), |text| text.push_signed(got));
        }
    }

    /// Both must be the same signed number, or both must be nothing.
    pub(super) fn checked(&mut self, what: &str, expected: Option<i64>, got: Option<i64>) {
        let push = |text: &mut Text<'_>, value: Option<i64>| match value {
            Some(number) => text.push_signed(number),
            None => text.push("nothing"),
        };
        if expected != got {
            self.differs(what, |text| push(text, expected), |text| push(text, got));
        }
    }

    /// It must be so.
    pub(super) fn holds(&mut self, what: &str, got: bool) {
        if !got {
            self.differs(what, |text| text.push("yes"), |text| text.push("no"));
        }
    }

    /// The two must be the same bytes.
    pub(super) fn bytes(&mut self, what: &str, expected: &[u8], got: &[u8]) {
        if expected != got {
            self.differs(what, |text| push_quoted(text, expected), |text| push_quoted(text, got));
        }
    }

    fn differs(&mut self, what: &str, expected: impl FnOnce(&mut Text<'_>), got: impl FnOnce(&mut Text<'_>)) {
        self.failed = true;
        self.text.push(what);
        self.text.push(": expected ");
        expected(&mut self.text);
        self.text.push(", got ");
        got(&mut self.text);
        self.text.push("\n");
    }
}

/// Bytes between quotes, those that are not printable in hexadecimal.
fn push_quoted(text: &mut Text<'_>, bytes: &[u8]) {
    text.push("\"");
    for byte in bytes {
        match core::str::from_utf8(core::slice::from_ref(byte)) {
            Ok(letter) if byte.is_ascii_graphic() || *byte == b' ' => text.push(letter),
            _ => {
                text.push("\\x");
                text.push_hex(*byte);
            }
        }
    }
    text.push("\"");
}
