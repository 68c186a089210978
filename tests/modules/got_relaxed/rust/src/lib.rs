// SPDX-License-Identifier: GPL-2.0
//! A crate with instructions that go through a global offset table, whatever flags it is compiled with.
//!
//! The compiler's assembler writes the older relocation, `R_X86_64_GOTPCREL`, for `@GOTPCREL`; the newer two
//! are asked for with `.reloc`.
#![no_std]

use core::arch::{asm, naked_asm};
#[allow(deprecated, reason = "the one that core has")]
use core::hash::{Hasher, SipHasher};

unsafe extern "C" {
    fn got_relaxed_thrice(number: u64) -> u64;
    fn got_relaxed_nobody_has_this() -> u64;
}

/// What the functions take the address of.
static DATUM: u64 = 0x6b6f;

/// The datum.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_datum() -> *const u64 {
    &raw const DATUM
}

/// Its address, loaded.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_load() -> u64 {
    let address;
    // SAFETY: reads a slot that holds an address.
    unsafe { asm!("movq {}@GOTPCREL(%rip), {}", sym DATUM, out(reg) address, options(att_syntax)) };
    address
}

/// The lower half of its address; `R_X86_64_GOTPCRELX`.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_load_low() -> u64 {
    let address;
    // SAFETY: reads a slot that holds an address.
    unsafe {
        asm!(
            "movl 0(%rip), %eax",
            ".reloc .-4, R_X86_64_GOTPCRELX, {}-4",
            sym DATUM,
            out("rax") address,
            options(att_syntax)
        );
    };
    address
}

/// Its address, in a register of those that need a prefix; `R_X86_64_REX_GOTPCRELX`.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_load_high_register() -> u64 {
    let address;
    // SAFETY: reads a slot that holds an address.
    unsafe {
        asm!(
            "movq 0(%rip), %r11",
            ".reloc .-4, R_X86_64_REX_GOTPCRELX, {}-4",
            sym DATUM,
            out("r11") address,
            options(att_syntax)
        );
    };
    address
}

/// Its address, pushed.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_push() -> u64 {
    let address;
    // SAFETY: what is pushed is popped, and there is no red zone.
    unsafe { asm!("pushq {}@GOTPCREL(%rip)", "popq {}", sym DATUM, out(reg) address, options(att_syntax)) };
    address
}

/// What C's function gives, called.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_call(number: u64) -> u64 {
    let result;
    // SAFETY: C's function takes any number; what a call may change is said. The stack is aligned for it:
    // the kernel's functions ask for 8 bytes.
    unsafe {
        asm!(
            "callq *{}@GOTPCREL(%rip)",
            sym got_relaxed_thrice,
            in("rdi") number,
            lateout("rax") result,
            clobber_abi("C"),
            options(att_syntax)
        );
    };
    result
}

/// What C's function gives, jumped to.
#[unsafe(no_mangle)]
#[unsafe(naked)]
pub extern "C" fn got_relaxed_tail_call(number: u64) -> u64 {
    naked_asm!("jmpq *{}@GOTPCREL(%rip)", sym got_relaxed_thrice, options(att_syntax))
}

/// The number and the address, in one instruction.
macro_rules! with_the_address {
    ($operation:literal, $number:expr) => {{
        let mut number: u64 = $number;
        // SAFETY: reads a slot that holds an address.
        unsafe {
            asm!(
                concat!($operation, " {}@GOTPCREL(%rip), {}"),
                sym DATUM,
                inout(reg) number,
                options(att_syntax)
            );
        };
        number
    }};
}

/// The number plus the address.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_add(number: u64) -> u64 {
    with_the_address!("addq", number)
}

/// The number minus the address.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_sub(number: u64) -> u64 {
    with_the_address!("subq", number)
}

/// What both have.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_and(number: u64) -> u64 {
    with_the_address!("andq", number)
}

/// What either has.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_or(number: u64) -> u64 {
    with_the_address!("orq", number)
}

/// What one of them has.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_xor(number: u64) -> u64 {
    with_the_address!("xorq", number)
}

/// The number plus the address plus one.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_adc(number: u64) -> u64 {
    with_the_address!("stc\nadcq", number)
}

/// The number minus the address minus one.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_sbb(number: u64) -> u64 {
    with_the_address!("stc\nsbbq", number)
}

/// Whether the number is the address.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_is_address(number: u64) -> bool {
    let result: u8;
    // SAFETY: reads a slot that holds an address.
    unsafe {
        asm!(
            "cmpq {}@GOTPCREL(%rip), {}",
            "sete {}",
            sym DATUM,
            in(reg) number,
            out(reg_byte) result,
            options(att_syntax)
        );
    };
    result != 0
}

/// Whether the number and the address have no bit in common; `R_X86_64_REX_GOTPCRELX`.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_is_disjoint(number: u64) -> bool {
    let result: u8;
    // SAFETY: reads a slot that holds an address.
    unsafe {
        asm!(
            "testq %r9, 0(%rip)",
            ".reloc .-4, R_X86_64_REX_GOTPCRELX, {}-4",
            "sete {}",
            sym DATUM,
            out(reg_byte) result,
            in("r9") number,
            options(att_syntax)
        );
    };
    result != 0
}

/// The address of a weak function that nobody has.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_missing() -> u64 {
    let address;
    // SAFETY: reads a slot that holds an address, or nothing.
    unsafe {
        asm!(
            ".weak {nobody}",
            "movq {nobody}@GOTPCREL(%rip), {}",
            out(reg) address,
            nobody = sym got_relaxed_nobody_has_this,
            options(att_syntax)
        );
    };
    address
}

/// The address of the kernel's `kfree`.
#[unsafe(no_mangle)]
pub extern "C" fn got_relaxed_kfree() -> u64 {
    let address;
    // SAFETY: reads a slot that holds an address.
    unsafe { asm!("movq kfree@GOTPCREL(%rip), {}", out(reg) address, options(att_syntax)) };
    address
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
pub unsafe extern "C" fn got_relaxed_answer(challenge: *const u8, len: usize, answer: *mut u64) -> bool {
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
