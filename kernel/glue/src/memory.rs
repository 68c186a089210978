// SPDX-License-Identifier: GPL-2.0
//! Memory comes from `kvmalloc()` through C, which keeps account of it. The allocator returns null
//! where there is none: `try_reserve` and its like hand that on as an error, and a caller that has no
//! way to handle it (`Vec::push`) ends in `handle_alloc_error`, which panics.

use alloc::boxed::Box;
use core::alloc::{GlobalAlloc, Layout};

use crate::{c, errno::Error};

struct Kernel;

// SAFETY: needed to be the global allocator. `vexfs_c_alloc` returns null or memory of at least this
// size and alignment, which nobody else has until it is given to `vexfs_c_free`; neither unwinds.
// Growing and zeroing are the trait's own, made of these two.
unsafe impl GlobalAlloc for Kernel {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: needed to call C. The size is not 0, as the trait asks of its callers, and a
        // layout's alignment is a power of two.
        unsafe { c::vexfs_c_alloc(layout.size(), layout.align()) }.cast()
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: needed to call C. The trait asks of its callers that `memory` came from `alloc`
        // with this layout.
        unsafe { c::vexfs_c_free(memory.cast(), layout.size(), layout.align()) }
    }
}

#[global_allocator]
static KERNEL: Kernel = Kernel;

/// Puts a value on the heap, and says so where there is no room for it.
pub(crate) fn try_box<T>(value: T) -> Result<Box<T>, Error> {
    let layout = Layout::new::<T>();
    if layout.size() == 0 {
        return Ok(Box::new(value));
    }
    // SAFETY: needed because `Box::try_new` is not stable. The size is not 0.
    let memory = unsafe { alloc::alloc::alloc(layout) }.cast::<T>();
    if memory.is_null() {
        return Err(Error::NoMemory);
    }
    // SAFETY: needed to give the memory its value and its owner. It is not null, has the size and
    // alignment of a `T`, comes from the global allocator with the layout that `Box` frees it with,
    // and nobody else has it.
    unsafe {
        memory.write(value);
        Ok(Box::from_raw(memory))
    }
}
