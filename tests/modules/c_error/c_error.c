// SPDX-License-Identifier: GPL-2.0
/* Is no C. */
#include <linux/module.h>

static int __init c_error_init(void)
{
	return undeclared_name;
}

module_init(c_error_init);
MODULE_LICENSE("GPL");
