// SPDX-License-Identifier: GPL-2.0
/* Its Rust could panic, and never does. */
#include <linux/bug.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/types.h>

u32 panics_at(size_t index);
void panicked(const u8 *file, size_t len, u32 line);

void panicked(const u8 *file, size_t len, u32 line)
{
	pr_emerg(KBUILD_MODNAME ": Rust panic at %.*s:%u: index out of bounds\n", (int)len, file, line);
	BUG();
}

static int __init rust_panic_reachable_init(void)
{
	return panics_at(2) ? 0 : -EINVAL;
}

module_init(rust_panic_reachable_init);
MODULE_DESCRIPTION("Rust could panic");
MODULE_LICENSE("GPL");
