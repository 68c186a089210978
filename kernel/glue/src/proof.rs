// SPDX-License-Identifier: GPL-2.0
//! Whoever builds the module picks a key, whoever tests it picks a challenge, and only code with the
//! key, which is this, can give the answer: SipHash-2-4 (Aumasson and Bernstein, 2012).

use core::hash::Hasher;
#[allow(
    deprecated,
    reason = "the successor, DefaultHasher, is in std and does not say which algorithm it is"
)]
use core::hash::SipHasher;

use crate::{
    errno::{Error, status},
    incoming,
};

/// The longest challenge, in bytes: `VEXFS_PROOF_MAX`.
const CHALLENGE_MAX: usize = 64;

/// The 128 bits of `VEXLAB_PROOF_KEY`, 32 hexadecimal digits, as SipHash reads a key: two numbers of
/// eight bytes, little-endian.
const KEY: Option<[u64; 2]> = match option_env!("VEXLAB_PROOF_KEY") {
    Some(digits) => Some(parse_key(digits.as_bytes())),
    None => None,
};

const fn parse_key(digits: &[u8]) -> [u64; 2] {
    assert!(digits.len() == 32, "VEXLAB_PROOF_KEY must have 32 hexadecimal digits");
    let mut key = [0; 2];
    let mut index = 0;
    while index < 16 {
        let byte = (parse_digit(digits[2 * index]) << 4) | parse_digit(digits[2 * index + 1]);
        key[index / 8] |= (byte as u64) << (8 * (index % 8));
        index += 1;
    }
    key
}

const fn parse_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => panic!("VEXLAB_PROOF_KEY must be hexadecimal"),
    }
}

fn prove(challenge: &[u8]) -> Result<u64, Error> {
    if challenge.len() > CHALLENGE_MAX {
        return Err(Error::Invalid);
    }
    let [k0, k1] = KEY.ok_or(Error::NoData)?;
    #[allow(
        deprecated,
        reason = "the successor, DefaultHasher, is in std and does not say which algorithm it is"
    )]
    let mut hasher = SipHasher::new_with_keys(k0, k1);
    hasher.write(challenge);
    Ok(hasher.finish())
}

/// See `vexfs.h`.
///
/// # Safety
///
/// `challenge` and `len` are as [`incoming::bytes`] wants them, `answer` as [`incoming::place`] does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn vexfs_rs_proof(challenge: *const u8, len: usize, answer: *mut u64) -> i32 {
    // SAFETY: needed to use C's memory. `vexfs.h` asks this of the caller.
    let (challenge, answer) = unsafe { (incoming::bytes(challenge, len), incoming::place(answer)) };
    status(answer.and_then(|answer| {
        answer.put(prove(challenge?)?);
        Ok(())
    }))
}
