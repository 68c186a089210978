// SPDX-License-Identifier: GPL-2.0
//! Calls that are decided at run time go through pointers, which is what the kernel's mitigations
//! (indirect branch tracking, retpolines) are about.

use alloc::boxed::Box;
use core::hint::black_box;

use ktest::{Test, ktest};

use super::report::Expect;
use crate::c;

trait Shape {
    fn area(&self) -> u64;
    fn double(&self) -> u64 {
        2 * self.area()
    }
}

struct Square(u64);
struct Oblong(u64, u64);
struct Point;

impl Shape for Square {
    fn area(&self) -> u64 {
        self.0 * self.0
    }
}

impl Shape for Oblong {
    fn area(&self) -> u64 {
        self.0 * self.1
    }
    fn double(&self) -> u64 {
        self.area() + self.area()
    }
}

impl Shape for Point {
    fn area(&self) -> u64 {
        0
    }
}

#[ktest(name = "rust.objects.dispatch")]
fn dispatch(report: &mut Test) {
    let count = c::alloc_count();
    let shapes: [Box<dyn Shape>; 3] =
        black_box([Box::new(Square(3)), Box::new(Oblong(4, 5)), Box::new(Point)]);
    // A point has no size, so it takes no memory.
    report.number("allocations", count + 2, c::alloc_count());
    let areas = shapes.iter().map(|shape| shape.area()).sum();
    report.number("sum of areas", 9 + 20, areas);
    let doubles = shapes.iter().map(|shape| shape.double()).sum();
    report.number("sum of doubles", 18 + 40, doubles);
    report.size("size of the second", size_of::<Oblong>(), size_of_val(&*shapes[1]));
    drop(shapes);
    report.number("allocations afterwards", count, c::alloc_count());
}

#[ktest(name = "rust.objects.closures")]
fn closures(report: &mut Test) {
    let mut log = [0; 3];
    let mut next = 0;
    let mut note = |value: u64| {
        if let Some(slot) = log.get_mut(next) {
            *slot = value;
        }
        next += 1;
    };
    let call: &mut dyn FnMut(u64) = black_box(&mut note);
    call(5);
    call(6);
    let offset = black_box(100);
    let add: Box<dyn Fn(u64) -> u64> = black_box(Box::new(move |value| value + offset));
    call(add(7));
    report.size("calls", 3, next);
    report.bytes("what they were given", &[5, 6, 107], &log.map(|value| value as u8));
}

/// Enough cases, far enough apart, that a compiler likes to make a table of them.
fn spell(number: u32) -> &'static str {
    match number {
        0 => "zero",
        1 => "one",
        2 => "two",
        3 => "three",
        4 => "four",
        5 => "five",
        6 => "six",
        7 => "seven",
        64 => "many",
        _ => "unknown",
    }
}

#[ktest(name = "rust.objects.match")]
fn matching(report: &mut Test) {
    for (number, word) in [
        (0, "zero"),
        (3, "three"),
        (6, "six"),
        (7, "seven"),
        (8, "unknown"),
        (64, "many"),
        (u32::MAX, "unknown"),
    ] {
        report.bytes("number in words", word.as_bytes(), spell(black_box(number)).as_bytes());
    }
}
