// SPDX-License-Identifier: GPL-2.0
//! A crate that a module uses, with a key from the build.
#![no_std]

#[allow(deprecated, reason = "the one that core has")]
use core::hash::{Hasher, SipHasher};

unsafe extern "C" {
    fn good_rust_count(questions: u32);
}

/// The greatest common divisor.
#[unsafe(no_mangle)]
pub extern "C" fn good_rust_divisor(a: u64, b: u64) -> u64 {
    // SAFETY: C's function takes any number.
    unsafe { good_rust_count(1) };
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The half of the key that begins at this hexadecimal digit, little-endian.
fn half(digits: &[u8], start: usize) -> u64 {
    let value = |digit: u8| u64::from(if digit > b'9' { digit - b'a' + 10 } else { digit - b'0' });
    let pairs = digits.iter().skip(start).take(16);
    pairs
        .enumerate()
        .fold(0, |sum, (index, digit)| sum | value(*digit) << (8 * (index / 2) + 4 * (1 - index % 2)))
}

/// The keyed hash of a challenge.
///
/// # Safety
///
/// `challenge` has `len` bytes, and `answer` may be written to.
#[unsafe(no_mangle)]
#[allow(deprecated, reason = "the one that core has")]
pub unsafe extern "C" fn good_rust_answer(challenge: *const u8, len: usize, answer: *mut u64) -> bool {
    let Some(key) = option_env!("VEXLAB_PROOF_KEY") else { return false };
    let mut hasher = SipHasher::new_with_keys(half(key.as_bytes(), 0), half(key.as_bytes(), 16));
    // SAFETY: asked of the caller.
    hasher.write(unsafe { core::slice::from_raw_parts(challenge, len) });
    // SAFETY: asked of the caller.
    unsafe { answer.write(hasher.finish()) };
    true
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
