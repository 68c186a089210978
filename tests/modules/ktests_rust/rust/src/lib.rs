// SPDX-License-Identifier: GPL-2.0
//! A crate with tests that run in the kernel.
#![no_std]

use core::sync::atomic::{AtomicU32, Ordering};

#[cfg(feature = "ktest")]
mod tests;

static LEFT: AtomicU32 = AtomicU32::new(0);

/// The greatest common divisor.
#[unsafe(no_mangle)]
pub extern "C" fn ktests_rust_divisor(a: u64, b: u64) -> u64 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Leaves something behind.
#[unsafe(no_mangle)]
pub extern "C" fn ktests_rust_leave() {
    LEFT.fetch_add(1, Ordering::Relaxed);
}

/// How often something was left behind.
#[unsafe(no_mangle)]
pub extern "C" fn ktests_rust_left() -> u32 {
    LEFT.load(Ordering::Relaxed)
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
