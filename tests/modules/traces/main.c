// SPDX-License-Identifier: GPL-2.0
/* Makes the kernel print traces of inlined functions, of closures, and across the edge between C and Rust. */
#include <linux/bug.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/types.h>

u32 traces_generic(u32 x);
u32 traces_closure(u32 x);
u32 traces_table(size_t index);
u32 traces_warn(u32 x);
void traces_panicked(const u8 *file, size_t len, u32 line);

/* Of C, for Rust to call. */
u32 traces_warn(u32 x)
{
	WARN_ON(x > 2);
	return x + 1;
}

void traces_panicked(const u8 *file, size_t len, u32 line)
{
	pr_emerg("traces: Rust panic at %.*s:%u\n", (int)len, file, line);
	BUG();
}

static __always_inline u32 inner(u32 x)
{
	WARN_ON(x > 1);
	return x * 2;
}

static __always_inline u32 outer(u32 x)
{
	return inner(x) + 1;
}

static noinline u32 traces_inline(u32 x)
{
	return outer(x) + 2;
}

static u32 sum;

static int trigger_set(const char *value, const struct kernel_param *kp)
{
	if (sysfs_streq(value, "inline"))
		sum += traces_inline(7);
	else if (sysfs_streq(value, "generic"))
		sum += traces_generic(7);
	else if (sysfs_streq(value, "closure"))
		sum += traces_closure(7);
	else if (sysfs_streq(value, "panic"))
		sum += traces_table(7);
	else
		return -EINVAL;
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);
module_param(sum, uint, 0444);
MODULE_DESCRIPTION("traces with places worth telling");
MODULE_LICENSE("GPL");
