// SPDX-License-Identifier: GPL-2.0
//! The allocator itself, and the account that C keeps.

use alloc::{
    alloc::{alloc, alloc_zeroed, dealloc, realloc},
    boxed::Box,
    vec::Vec,
};
use core::{alloc::Layout, hint::black_box};

use ktest::{Test, ktest};

use super::report::Expect;
use crate::{c, errno::Error, memory::try_box};

/// Memory of one layout, freed at its end.
struct Block {
    start: *mut u8,
    layout: Layout,
}

impl Block {
    /// Nothing where there is no memory. The size must not be 0.
    fn new(size: usize, align: usize, zero: bool) -> Option<Self> {
        let layout = Layout::from_size_align(size, align).ok()?;
        if layout.size() == 0 {
            return None;
        }
        let make = if zero { alloc_zeroed } else { alloc };
        // SAFETY: needed to call the allocator itself. The size is not 0.
        let start = unsafe { black_box(make(layout)) };
        (!start.is_null()).then(|| Block { start, layout })
    }

    /// Another size, with the content that fits both.
    fn resize(&mut self, size: usize) -> Option<()> {
        let layout = Layout::from_size_align(size, self.layout.align()).ok()?;
        if size == 0 {
            return None;
        }
        // SAFETY: needed to call the allocator itself. The memory came from it with this layout, and
        // the new size is not 0 and was just found fit for a layout.
        let start = unsafe { black_box(realloc(self.start, self.layout, size)) };
        if start.is_null() {
            return None;
        }
        self.start = start;
        self.layout = layout;
        Some(())
    }

    /// Where bytes are written and looked at: everywhere, and in what is large several times in each page.
    fn places(&self) -> impl Iterator<Item = usize> {
        let size = self.layout.size();
        (0..size).step_by(if size > 1 << 20 { 251 } else { 1 }).chain(size.checked_sub(1))
    }

    /// Fills it with bytes that depend on their place.
    fn fill(&mut self) {
        for index in self.places() {
            // SAFETY: needed to write to memory that no value owns. The index is inside of it.
            unsafe { self.start.add(index).write_volatile(pattern(index)) }
        }
    }

    /// How many bytes at its beginning are as wanted. Only for memory that was filled before, or zeroed.
    fn count(&self, wanted: fn(usize) -> u8) -> usize {
        let is_wrong = |index: &usize| {
            // SAFETY: needed to read memory that no value owns. The index is inside of it, and the
            // byte was written, or zeroed, before.
            let byte = unsafe { self.start.add(*index).read_volatile() };
            byte != wanted(*index)
        };
        self.places().find(is_wrong).unwrap_or(self.layout.size())
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: needed to call the allocator itself. The memory came from it with this layout.
        unsafe { dealloc(self.start, self.layout) }
    }
}

fn pattern(index: usize) -> u8 {
    (index % 253) as u8
}

/// From a few bytes to what only `vmalloc()` has.
const SIZES: [usize; 6] = [1, 8, 100, 4096, 70_000, 5 << 20];

#[ktest(name = "rust.memory.account")]
fn account(report: &mut Test) {
    for size in SIZES {
        let (count, bytes) = (c::alloc_count(), c::alloc_bytes());
        let Some(mut block) = Block::new(size, 8, false) else {
            report.size("bytes allocated", size, 0);
            continue;
        };
        report.number("allocations with this one", count + 1, c::alloc_count());
        report.number("bytes with this one", bytes + size as u64, c::alloc_bytes());
        block.fill();
        report.size("bytes that hold what was written", size, block.count(pattern));
        drop(block);
        report.number("allocations without it", count, c::alloc_count());
        report.number("bytes without it", bytes, c::alloc_bytes());
    }
}

#[ktest(name = "rust.memory.zeroed")]
fn zeroed(report: &mut Test) {
    for size in SIZES {
        // So that the memory found next is not zero by chance.
        if let Some(mut block) = Block::new(size, 8, false) {
            block.fill();
        }
        let zeros = Block::new(size, 8, true).map_or(0, |block| block.count(|_| 0));
        report.size("bytes that are zero", size, zeros);
    }
}

#[ktest(name = "rust.memory.alignment")]
fn alignment(report: &mut Test) {
    for align in [1, 2, 8, 16, 64, 256, 4096, 65_536] {
        for size in [1, 24, 4096, 40_000] {
            let Some(mut block) = Block::new(size, align, false) else {
                report.size("bytes allocated", size, 0);
                continue;
            };
            report.size("distance from alignment", 0, block.start.addr() % align);
            block.fill();
            report.size("bytes that hold what was written", size, block.count(pattern));
        }
    }
}

#[ktest(name = "rust.memory.reallocation")]
fn reallocation(report: &mut Test) {
    for align in [8, 128] {
        let count = c::alloc_count();
        let Some(mut block) = Block::new(100, align, false) else {
            report.size("bytes allocated", 100, 0);
            continue;
        };
        block.fill();
        // Larger within the slabs, beyond them, and back.
        for size in [1000, 300_000, 50] {
            let kept = size.min(block.layout.size());
            if block.resize(size).is_none() {
                report.size("bytes after reallocation", size, 0);
                continue;
            }
            report.size("distance from alignment", 0, block.start.addr() % align);
            let whole = block.layout;
            block.layout = Layout::from_size_align(kept, align).unwrap_or(whole);
            report.size("bytes that were kept", kept, block.count(pattern));
            block.layout = whole;
            block.fill();
        }
        report.number("allocations", count + 1, c::alloc_count());
    }
}

#[ktest(name = "rust.memory.zero_size")]
fn zero_size(report: &mut Test) {
    let count = c::alloc_count();
    let unit = black_box(Box::new(()));
    let none = black_box(Box::new([0_u64; 0]));
    let mut units = black_box(Vec::new());
    for _ in 0..black_box(1000) {
        units.push(());
    }
    let empty = black_box(Vec::<u64>::with_capacity(0));
    report.number("allocations for what has no size", count, c::alloc_count());
    report.size("values without size", 1000, units.len());
    report.size("distance from alignment", 0, none.as_ptr().addr() % 8);
    drop((unit, none, units, empty));
    report.number("allocations afterwards", count, c::alloc_count());
}

/// The request itself must fail, and leave what was there before untouched.
#[ktest(name = "rust.memory.too_large")]
fn too_large(report: &mut Test) {
    let count = c::alloc_count();
    let greatest = isize::MAX as usize;
    for (size, align) in [(greatest, 1), (greatest - 15, 16), (greatest - 4095, 4096), (1 << 40, 8)] {
        let got = Block::new(size, align, false).is_some();
        report.holds("null for more than a kernel has", !got);
    }
    report.number("allocations that failed", count, c::alloc_count());

    let mut bytes = Vec::new();
    let mut reserve = |size| match bytes.try_reserve_exact(black_box(size)) {
        Ok(()) => 0,
        Err(error) => Error::from(error).errno(),
    };
    report.signed("reserving 10 bytes", 0, reserve(10).into());
    report.signed("reserving isize::MAX", -12, reserve(greatest).into());
    report.signed("reserving usize::MAX", -12, reserve(usize::MAX).into());
    bytes.extend_from_slice(b"unharmed");
    report.bytes("content after failures", b"unharmed", &bytes);

    if let Some(mut block) = Block::new(64, 8, false) {
        block.fill();
        report.holds("null for growing too large", block.resize(1 << 40).is_none());
        report.size("bytes kept after that", 64, block.count(pattern));
    }
}

/// Counts its own ends.
struct Ends<'a>(&'a core::cell::Cell<u64>, u64);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() + self.1);
    }
}

#[ktest(name = "rust.memory.box")]
fn boxed(report: &mut Test) {
    let ends = core::cell::Cell::new(0);
    let count = c::alloc_count();
    let first = black_box(Box::new(Ends(&ends, 1)));
    let second = black_box(try_box(Ends(&ends, 20)));
    report.holds("a box where failure is handled", second.is_ok());
    report.number("allocations", count + 2, c::alloc_count());
    report.number("ends before the boxes'", 0, ends.get());
    drop(first);
    report.number("ends after the first's", 1, ends.get());
    drop(second);
    report.number("ends after both", 21, ends.get());
    report.number("allocations afterwards", count, c::alloc_count());
}
