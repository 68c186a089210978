// SPDX-License-Identifier: GPL-2.0
/* Gives up in init, as a driver does that finds no device. */
#include <linux/module.h>

static int __init init_error_init(void)
{
	pr_err("init_error: there is no such device\n");
	return -ENODEV;
}

module_init(init_error_init);
MODULE_DESCRIPTION("init returns an error");
MODULE_LICENSE("GPL");
