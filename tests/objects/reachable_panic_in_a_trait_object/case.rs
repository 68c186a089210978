// SPDX-License-Identifier: GPL-2.0-only
#![no_std]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

pub trait Shape {
    fn area(&self, of: usize) -> u32;
}

struct Square(u32);
struct Shapes([u32; 4]);

impl Shape for Square {
    fn area(&self, _: usize) -> u32 {
        self.0.wrapping_mul(self.0)
    }
}

impl Shape for Shapes {
    fn area(&self, of: usize) -> u32 {
        self.0[of]
    }
}

#[inline(never)]
fn area(shape: &dyn Shape, of: usize) -> u32 {
    shape.area(of)
}

#[unsafe(no_mangle)]
pub extern "C" fn case_rs_area(one: u32, of: usize) -> u32 {
    if of == 0 { area(&Square(one), of) } else { area(&Shapes([one; 4]), of) }
}
