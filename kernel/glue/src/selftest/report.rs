// SPDX-License-Identifier: GPL-2.0
//! What the tests compare with. Nothing here needs `core::fmt`, which the smallest build does without.

use ktest::Test;

use crate::text::Text;

/// The longest reason. What exceeds it is cut off.
const REASON_SIZE: usize = 256;

/// Comparisons that say what they are about: where one finds a difference the test fails, and goes on. None is inlined:
/// there are hundreds of calls, and copies of what is done where one fails took a quarter of this crate's time to build.
pub(super) trait Expect {
    /// The test fails: it is about `what`.
    fn differs(&mut self, what: &str, expected: impl FnOnce(&mut Text<'_>), got: impl FnOnce(&mut Text<'_>));

    /// The two must be the same number.
    #[inline(never)]
    fn number(&mut self, what: &str, expected: u64, got: u64) {
        if expected != got {
            self.differs(what, |text| text.push_number(expected), |text| text.push_number(got));
        }
    }

    /// The two must be the same size or count.
    #[inline(never)]
    fn size(&mut self, what: &str, expected: usize, got: usize) {
        self.number(what, expected as u64, got as u64);
    }

    /// The two must be the same signed number.
    #[inline(never)]
    fn signed(&mut self, what: &str, expected: i64, got: i64) {
        if expected != got {
            self.differs(what, |text| text.push_signed(expected), |text| text.push_signed(got));
        }
    }

    /// Both must be the same signed number, or both must be nothing.
    #[inline(never)]
    fn checked(&mut self, what: &str, expected: Option<i64>, got: Option<i64>) {
        let push = |text: &mut Text<'_>, value: Option<i64>| match value {
            Some(number) => text.push_signed(number),
            None => text.push("nothing"),
        };
        if expected != got {
            self.differs(what, |text| push(text, expected), |text| push(text, got));
        }
    }

    /// It must be so.
    #[inline(never)]
    fn holds(&mut self, what: &str, got: bool) {
        if !got {
            self.differs(what, |text| text.push("yes"), |text| text.push("no"));
        }
    }

    /// The two must be the same bytes.
    #[inline(never)]
    fn bytes(&mut self, what: &str, expected: &[u8], got: &[u8]) {
        if expected != got {
            self.differs(what, |text| push_quoted(text, expected), |text| push_quoted(text, got));
        }
    }
}

impl Expect for Test {
    fn differs(&mut self, what: &str, expected: impl FnOnce(&mut Text<'_>), got: impl FnOnce(&mut Text<'_>)) {
        let mut buffer = [0; REASON_SIZE];
        let mut reason = Text::new(&mut buffer);
        reason.push(what);
        reason.push(": expected ");
        expected(&mut reason);
        reason.push(", got ");
        got(&mut reason);
        self.fail_bytes(reason.bytes());
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
