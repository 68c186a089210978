// SPDX-License-Identifier: GPL-2.0
/* Is never compiled: its Rust is wrong. */
#include <linux/module.h>

static int __init rust_error_init(void)
{
	return 0;
}

static void __exit rust_error_exit(void)
{
}

module_init(rust_error_init);
module_exit(rust_error_exit);
MODULE_DESCRIPTION("has no Rust in it");
MODULE_LICENSE("GPL");
