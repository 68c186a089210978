// SPDX-License-Identifier: GPL-2.0
//! C is called, and judged.

use ktest::{Test, expect, ktest};

use crate::{boundary_c_alloc, boundary_c_free};

#[ktest(
    name = "rust.memory",
    of = "boundary_c_alloc: good edge bad",
    of = "boundary_c_free: good edge"
)]
fn memory(test: &mut Test) {
    for (size, is_there) in [(100, true), (1, true), (1 << 62, false)] {
        // SAFETY: needed to call C. It takes any size, and gets back what it gave, or null.
        unsafe {
            let memory = boundary_c_alloc(core::hint::black_box(size));
            expect!(test, memory.is_null() != is_there);
            boundary_c_free(memory);
        }
    }
}

#[ktest(name = "rust.nothing")]
fn nothing(_: &mut Test) {}
