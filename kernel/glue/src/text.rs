// SPDX-License-Identifier: GPL-2.0
//! Text without allocation, and numbers in it without `core::fmt`, which is larger than all else
//! that the smallest build holds.

use core::fmt;

/// Text that is put together in a buffer. What the buffer has no room for is cut off.
pub(crate) struct Text<'a> {
    buffer: &'a mut [u8],
    used: usize,
}

impl<'a> Text<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Text { buffer, used: 0 }
    }

    /// What was put together so far. Where it was cut off, a character may be incomplete.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.used).unwrap_or_default()
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.push_bytes(text.as_bytes());
    }

    fn push_bytes(&mut self, bytes: &[u8]) {
        let room = self.buffer.get_mut(self.used..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        if let (Some(room), Some(bytes)) = (room.get_mut(..count), bytes.get(..count)) {
            room.copy_from_slice(bytes);
            // Never more than the buffer's length, which the compiler doesn't see.
            self.used = self.used.saturating_add(count);
        }
    }

    /// A number in decimal.
    pub(crate) fn push_number(&mut self, number: u64) {
        // 20 digits hold the greatest u64.
        let mut digits = [b'0'; 20];
        let mut rest = number;
        let mut first = digits.len();
        for (position, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b"0123456789".get((rest % 10) as usize).copied().unwrap_or_default();
            rest /= 10;
            first = position;
            if rest == 0 {
                break;
            }
        }
        self.push_bytes(digits.get(first..).unwrap_or_default());
    }

    /// A number in decimal, with its sign if it is negative.
    pub(crate) fn push_signed(&mut self, number: i64) {
        if number < 0 {
            self.push("-");
        }
        self.push_number(number.unsigned_abs());
    }

    /// A byte as two hexadecimal digits.
    pub(crate) fn push_hex(&mut self, byte: u8) {
        for digit in [byte >> 4, byte & 15] {
            let letter = b"0123456789abcdef".get(usize::from(digit)).copied();
            self.push_bytes(&[letter.unwrap_or_default()]);
        }
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}
