// SPDX-License-Identifier: GPL-2.0
/* Its Rust panics when its self-test is read. */
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

static int selftest_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "KTAP version 1\n1..1\nok 1 panics_at_%u\n", panics_at(7));
}

static const struct kernel_param_ops selftest_ops = { .get = selftest_get };

module_param_cb(selftest, &selftest_ops, NULL, 0444);
MODULE_DESCRIPTION("Rust panics in a self-test");
MODULE_LICENSE("GPL");
