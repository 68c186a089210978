// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[inline(never)]
fn each(count: usize, mut visit: impl FnMut(usize)) {
    for index in 0..count {
        visit(index);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_sum(bytes: &[u8; 8], count: usize, sum: &mut u64) {
    each(count, |index| *sum += u64::from(bytes[index]));
}
