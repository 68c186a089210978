// SPDX-License-Identifier: GPL-2.0
/* Works without the Rust that it is said to have. */
#include <linux/module.h>

static int __init rust_left_out_init(void)
{
	pr_info("rust_left_out: FFI integration is functional!\n");
	return 0;
}

static void __exit rust_left_out_exit(void)
{
}

module_init(rust_left_out_init);
module_exit(rust_left_out_exit);
MODULE_DESCRIPTION("has no Rust in it");
MODULE_LICENSE("GPL");
