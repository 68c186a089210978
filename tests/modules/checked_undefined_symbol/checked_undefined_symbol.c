// SPDX-License-Identifier: GPL-2.0
/* Calls a function that no kernel has. */
#include <linux/module.h>

int vexlab_none_such(void);

static int __init checked_undefined_symbol_init(void)
{
	return vexlab_none_such();
}

module_init(checked_undefined_symbol_init);
MODULE_DESCRIPTION("needs a symbol that isn't there");
MODULE_LICENSE("GPL");
