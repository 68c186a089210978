// SPDX-License-Identifier: GPL-2.0
/* Wants a Rust object that nobody makes. */
#include <linux/module.h>

static int __init rust_object_missing_init(void)
{
	return 0;
}

static void __exit rust_object_missing_exit(void)
{
}

module_init(rust_object_missing_init);
module_exit(rust_object_missing_exit);
MODULE_DESCRIPTION("wants a Rust object");
MODULE_LICENSE("GPL");
