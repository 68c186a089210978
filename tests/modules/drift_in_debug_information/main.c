// SPDX-License-Identifier: GPL-2.0
/* It passes 32 bits where its Rust takes 64, and no header says what either means. */
#include <linux/module.h>
#include <linux/types.h>

u32 drift_rs_half(u32 number);

static int __init drift_in_debug_information_init(void)
{
	return drift_rs_half(2) == 1 ? 0 : -EINVAL;
}

module_init(drift_in_debug_information_init);
MODULE_DESCRIPTION("C and Rust disagree, and only debug information says so");
MODULE_LICENSE("GPL");
