// SPDX-License-Identifier: GPL-2.0
//! What C refuses, and what it takes at the edges: the arguments that safe code can't come upon.

use core::{ffi::c_void, hint::black_box, ptr};

use ktest::{Test, ktest};

use super::report::Expect;
use crate::{c, errno::Error, log, memory::try_box};

/// What `vexfs_c_alloc` returns, given back at its end.
struct Memory {
    start: *mut c_void,
    size: usize,
    align: usize,
}

impl Memory {
    fn new(size: usize, align: usize) -> Self {
        // SAFETY: needed to call C. It takes any numbers.
        let start = unsafe { c::vexfs_c_alloc(black_box(size), black_box(align)) };
        Memory { start, size, align }
    }

    fn is_there(&self) -> bool {
        !self.start.is_null()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: needed to call C. It came from there with these arguments, or is null, which C ignores.
        unsafe { c::vexfs_c_free(self.start, self.size, self.align) }
    }
}

#[ktest(
    name = "rust.refusals.allocation",
    of = "vexfs_c_alloc: good edge bad",
    of = "vexfs_c_free: good edge",
    of = "vexfs_c_alloc_count: good",
    of = "vexfs_c_alloc_bytes: good"
)]
fn allocation(report: &mut Test) {
    let (count, bytes) = (c::alloc_count(), c::alloc_bytes());
    let good = Memory::new(100, 8);
    report.holds("100 bytes", good.is_there());
    let least = Memory::new(1, 1);
    report.holds("the least that there is", least.is_there());
    let aligned = Memory::new(1, 1 << 16);
    report.size("distance from an alignment of 64 KiB", 0, aligned.start.addr() % (1 << 16));
    report.number("allocations of these", count + 3, c::alloc_count());
    report.number("bytes of these", bytes + 102, c::alloc_bytes());
    for (size, align) in [
        (0, 1),
        (0, 8),
        (1, 0),
        (1, 3),
        (1, usize::MAX),
        (1, 1 << 63),
        (usize::MAX, 1),
        (usize::MAX, 1 << 63),
        (usize::MAX - 7, 16),
        (1 << 31, 1),
    ] {
        let refused = Memory::new(size, align);
        report.holds("nothing for what can't be", !refused.is_there());
        report.number("allocations with that", count + 3, c::alloc_count());
    }
    drop((good, least, aligned));
    report.number("allocations afterwards", count, c::alloc_count());
    report.number("bytes afterwards", bytes, c::alloc_bytes());
}

#[ktest(
    name = "rust.refusals.no_memory_there",
    of = "vexfs_c_test_sum: edge",
    of = "vexfs_c_test_reverse: edge bad"
)]
fn no_memory_there(report: &mut Test) {
    let bytes = *b"abc";
    let mut out = *b"...";
    for len in [1, 3, usize::MAX] {
        // SAFETY: needed to call C. `vexfs.h` says that it reads nothing where nothing is.
        let sum = unsafe { c::vexfs_c_test_sum(ptr::null(), black_box(len)) };
        report.number("sum of nothing", 0, sum);
    }
    // SAFETY: needed to call C. `vexfs.h` says that it reads nothing where the length is more than memory can have.
    let sum = unsafe { c::vexfs_c_test_sum(bytes.as_ptr(), black_box(usize::MAX)) };
    report.number("sum of too much", 0, sum);
    let invalid = Error::Invalid.errno().into();
    for (data, len, room, size) in [
        (ptr::null(), 3, out.as_mut_ptr(), 3),
        (bytes.as_ptr(), 3, ptr::null_mut(), 3),
        (bytes.as_ptr(), usize::MAX, out.as_mut_ptr(), usize::MAX),
    ] {
        // SAFETY: needed to call C. `vexfs.h` says that it refuses each of these, and uses no memory then.
        let refused = unsafe { c::vexfs_c_test_reverse(data, len, black_box(room), size) };
        report.signed("reversing what isn't there", invalid, refused.into());
    }
    // SAFETY: needed to call C. No byte is read and none is written, which is allowed.
    let empty = unsafe { c::vexfs_c_test_reverse(ptr::null(), 0, ptr::null_mut(), 0) };
    report.signed("reversing nothing to nowhere", 0, empty.into());
    report.bytes("the room, left alone", b"...", &out);
}

/// The log can't be read here: that it takes all of this is what is tested.
#[ktest(name = "rust.refusals.log", of = "vexfs_c_log: good edge")]
fn log_takes_anything(report: &mut Test) {
    let count = c::alloc_count();
    log::line(log::Level::Info, "a test's line");
    log::bytes(log::Level::Info, b"a line\0with a NUL, and \xff");
    log::bytes(log::Level::Info, &[b'x'; 2000]);
    // SAFETY: needed to call C. `vexfs.h` takes any level, no text of no length, and counts what isn't there as empty.
    unsafe {
        c::vexfs_c_log(black_box(u32::MAX), b"a line of a level that there isn't".as_ptr(), 34);
        c::vexfs_c_log(7, ptr::null(), 0);
        c::vexfs_c_log(7, ptr::null(), black_box(10));
        c::vexfs_c_log(7, b"too long".as_ptr(), black_box(usize::MAX));
    }
    report.number("allocations afterwards", count, c::alloc_count());
}

#[ktest(name = "rust.refusals.failing", of = "vexfs_c_test_fail_alloc: good edge", of = "vexfs_c_alloc: bad")]
fn failing(report: &mut Test) {
    report.number("left of none", 0, c::test_fail_alloc(0));
    c::test_fail_alloc(black_box(2));
    report.holds("the first succeeds", try_box(black_box(1_u64)).is_ok());
    report.number("left to the second", 1, c::test_fail_alloc(1));
    report.holds("the next fails", try_box(black_box(2_u64)).is_err());
    report.number("left after it", 0, c::test_fail_alloc(u64::MAX));
    report.holds("one that is far from it", try_box(black_box(3_u64)).is_ok());
    report.number("left of the most", u64::MAX - 1, c::test_fail_alloc(0));
}
