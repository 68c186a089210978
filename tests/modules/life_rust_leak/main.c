// SPDX-License-Identifier: GPL-2.0
/* The memory of the Rust side, and an account of it: one allocation, and who called for it. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/stacktrace.h>

static unsigned long callers[6];
static unsigned int count;
static size_t bytes;

void life_rust_leak_begin(void);
void *life_rust_leak_alloc(size_t size);
void life_rust_leak_free(void *memory);

void *life_rust_leak_alloc(size_t size)
{
	bytes = size;
	count = stack_trace_save(callers, ARRAY_SIZE(callers), 1);
	return kmalloc(size, GFP_KERNEL);
}

void life_rust_leak_free(void *memory)
{
	bytes = 0;
	kfree(memory);
}

static int __init life_rust_leak_init(void)
{
	life_rust_leak_begin();
	return 0;
}

static void __exit life_rust_leak_exit(void)
{
	unsigned int i;

	if (!bytes)
		return;
	pr_warn("life_rust_leak: leak: %zu bytes at %pS\n", bytes, (void *)callers[0]);
	for (i = 1; i < count; i++)
		pr_warn("life_rust_leak: leak: from %pS\n", (void *)callers[i]);
}

module_init(life_rust_leak_init);
module_exit(life_rust_leak_exit);
MODULE_DESCRIPTION("its Rust side leaks");
MODULE_LICENSE("GPL");
