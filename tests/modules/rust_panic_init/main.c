// SPDX-License-Identifier: GPL-2.0
/* Its Rust panics in init. */
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

static int __init rust_panic_init_init(void)
{
	return panics_at(7);
}

module_init(rust_panic_init_init);
MODULE_DESCRIPTION("Rust panics in init");
MODULE_LICENSE("GPL");
