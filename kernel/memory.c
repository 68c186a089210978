// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's memory for the Rust part, and an account of it: how much is not
 * given back yet and, where the module is loaded with ledger=1, who asked for
 * it. What is left when the module goes is told in lines that vexlab knows.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/align.h>
#include <linux/atomic.h>
#include <linux/limits.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/overflow.h>
#include <linux/printk.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/stacktrace.h>

#include "internal.h"
#include "vexfs.h"

/* Callers that are remembered of an allocation. The first are Rust's library. */
#define CALLERS 6

/* The most allocations that are named when the module goes. */
#define MOST_NAMED 16

static bool ledger;
module_param(ledger, bool, 0400);
MODULE_PARM_DESC(ledger, "remember who asks for memory, to name it where it is not given back");

static unsigned long fail_alloc;
module_param(fail_alloc, ulong, 0400);
MODULE_PARM_DESC(fail_alloc, "counts down with each allocation; the one that it gets to 0 with fails");

static atomic64_t outstanding_count = ATOMIC64_INIT(0);
static atomic64_t outstanding_bytes = ATOMIC64_INIT(0);

/* What is remembered of an allocation, in front of it. */
struct entry {
	struct list_head list;
	size_t size;
	unsigned int callers;
	unsigned long caller[CALLERS];
};

static LIST_HEAD(entries);
static DEFINE_SPINLOCK(entries_lock);	/* guards the list */

/* Not inlined, so that the first three callers are known: this, alloc_block() and vexfs_c_alloc(). */
static noinline void enter(struct entry *entry, size_t size)
{
	unsigned long flags;

	entry->size = size;
	entry->callers = stack_trace_save(entry->caller, CALLERS, 3);

	spin_lock_irqsave(&entries_lock, flags);
	list_add_tail(&entry->list, &entries);
	spin_unlock_irqrestore(&entries_lock, flags);
}

static void strike_out(struct entry *entry)
{
	unsigned long flags;

	spin_lock_irqsave(&entries_lock, flags);
	list_del(&entry->list);
	spin_unlock_irqrestore(&entries_lock, flags);
}

/*
 * The bytes in front of the memory: an entry of the ledger, and the address of
 * the block that the memory lies in. Neither is needed for what kvmalloc()
 * aligns well enough at every size.
 */
static size_t header_size(size_t align)
{
	if (ledger)
		return sizeof(struct entry) + sizeof(void *);
	return align > ARCH_KMALLOC_MINALIGN ? sizeof(void *) : 0;
}

static void *block_of(void *memory)
{
	return ((void **)memory)[-1];
}

static struct entry *entry_of(void *memory)
{
	return memory - sizeof(void *) - sizeof(struct entry);
}

/*
 * Whether this is the allocation that is to fail. Also asked before what
 * allocates in the kernel for the module's init.
 */
bool vexfs_memory_fails(void)
{
	unsigned long left = READ_ONCE(fail_alloc);

	while (left) {
		unsigned long seen = cmpxchg(&fail_alloc, left, left - 1);

		if (seen == left)
			return left == 1;
		left = seen;
	}
	return false;
}

/* Callers handle failure, so it is not worth a warning in the log. */
#define GFP_VEXFS (GFP_KERNEL | __GFP_NOWARN)

/* Whether kmalloc()'s memory will do as it is: nearly always, so the rest is kept out of the way. */
static bool is_plain(size_t size, size_t align)
{
	return !ledger && align <= ARCH_KMALLOC_MINALIGN && size <= PAGE_SIZE;
}

static noinline void *alloc_block(size_t size, size_t align)
{
	size_t header = header_size(align);
	size_t room = size;
	void *block;
	void *memory;

	align = max(align, sizeof(void *));
	if (header && (check_add_overflow(room, header, &room) ||
		       check_add_overflow(room, align, &room)))
		return NULL;
	/* kvmalloc() takes more for a caller's mistake. */
	if (room > INT_MAX)
		return NULL;

	block = kvmalloc(room, GFP_VEXFS);
	if (!block)
		return NULL;

	memory = block;
	if (header) {
		memory = PTR_ALIGN(block + header, align);
		((void **)memory)[-1] = block;
	}
	if (ledger)
		enter(entry_of(memory), size);
	return memory;
}

static noinline void free_block(void *memory, size_t align)
{
	if (ledger)
		strike_out(entry_of(memory));
	kvfree(header_size(align) ? block_of(memory) : memory);
}

void *vexfs_c_alloc(size_t size, size_t align)
{
	void *memory;

	if (vexfs_memory_fails() || !size || !is_power_of_2(align))
		return NULL;
	memory = likely(is_plain(size, align)) ? kmalloc(size, GFP_VEXFS) : alloc_block(size, align);
	if (!memory)
		return NULL;

	atomic64_inc(&outstanding_count);
	atomic64_add(size, &outstanding_bytes);
	return memory;
}

void vexfs_c_free(void *memory, size_t size, size_t align)
{
	if (!memory)
		return;
	atomic64_sub(size, &outstanding_bytes);
	atomic64_dec(&outstanding_count);
	if (likely(is_plain(size, align)))
		kfree(memory);
	else
		free_block(memory, align);
}

uint64_t vexfs_c_alloc_count(void)
{
	return atomic64_read(&outstanding_count);
}

uint64_t vexfs_c_alloc_bytes(void)
{
	return atomic64_read(&outstanding_bytes);
}

#ifdef VEXLAB_TEST
uint64_t vexfs_c_test_fail_alloc(uint64_t nth)
{
	return xchg(&fail_alloc, nth);
}
#endif

static void name(const struct entry *entry)
{
	unsigned int i;

	if (!entry->callers)
		return;
	pr_warn("leak: %zu bytes at %pS\n", entry->size, (void *)entry->caller[0]);
	for (i = 1; i < entry->callers; i++)
		pr_warn("leak: from %pS\n", (void *)entry->caller[i]);
}

/* The last word at unloading: whatever Rust holds now is lost. */
void vexfs_memory_report(void)
{
	u64 count = vexfs_c_alloc_count();
	struct entry *entry;
	unsigned int named = 0;

	list_for_each_entry(entry, &entries, list) {
		if (named == MOST_NAMED)
			break;
		name(entry);
		named++;
	}
	if (count > named)
		pr_warn("leak: %llu bytes at any place, in %llu allocations; ledger=1 names %d of them\n",
			vexfs_c_alloc_bytes(), count, MOST_NAMED);
}
