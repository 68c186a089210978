// SPDX-License-Identifier: GPL-2.0
/* Reads through a null pointer in init. */
#include <linux/module.h>

static int *volatile nowhere;

static int __init init_oops_init(void)
{
	return *nowhere;
}

module_init(init_oops_init);
MODULE_DESCRIPTION("init oopses");
MODULE_LICENSE("GPL");
