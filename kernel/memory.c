// SPDX-License-Identifier: GPL-2.0
/* The kernel's memory for the Rust part, and an account of it. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/limits.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/slab.h>

#include "internal.h"
#include "vexfs.h"

static atomic64_t outstanding_count = ATOMIC64_INIT(0);
static atomic64_t outstanding_bytes = ATOMIC64_INIT(0);

/*
 * All that kvmalloc() promises for every size. Beyond that, the memory lies
 * inside a larger block, and the word in front of it is the block's address.
 */
static bool is_overaligned(size_t align)
{
	return align > ARCH_KMALLOC_MINALIGN;
}

void *vexfs_c_alloc(size_t size, size_t align)
{
	size_t room = size;
	void *block;
	void *memory;

	if (is_overaligned(align) && check_add_overflow(size, align, &room))
		return NULL;
	/* kvmalloc() takes more for a caller's mistake. */
	if (room > INT_MAX)
		return NULL;

	/* Callers handle failure, so it is not worth a warning in the log. */
	block = kvmalloc(room, GFP_KERNEL | __GFP_NOWARN);
	if (!block)
		return NULL;

	memory = block;
	if (is_overaligned(align)) {
		/* At most align bytes on, as the block is aligned to a word. */
		memory = PTR_ALIGN(block + sizeof(block), align);
		((void **)memory)[-1] = block;
	}

	atomic64_inc(&outstanding_count);
	atomic64_add(size, &outstanding_bytes);
	return memory;
}

void vexfs_c_free(void *memory, size_t size, size_t align)
{
	atomic64_sub(size, &outstanding_bytes);
	atomic64_dec(&outstanding_count);
	kvfree(is_overaligned(align) ? ((void **)memory)[-1] : memory);
}

uint64_t vexfs_c_alloc_count(void)
{
	return atomic64_read(&outstanding_count);
}

uint64_t vexfs_c_alloc_bytes(void)
{
	return atomic64_read(&outstanding_bytes);
}

/* The last word at unloading: whatever Rust holds now is lost. */
void vexfs_memory_report(void)
{
	u64 count = vexfs_c_alloc_count();

	if (count)
		pr_warn("leak: Rust did not free %llu allocations, %llu bytes\n",
			count, vexfs_c_alloc_bytes());
}
