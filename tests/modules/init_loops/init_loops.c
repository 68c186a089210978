// SPDX-License-Identifier: GPL-2.0
/* Never comes back from init. */
#include <linux/module.h>

static int __init init_loops_init(void)
{
	for (;;)
		cpu_relax();
	return 0;
}

module_init(init_loops_init);
MODULE_DESCRIPTION("init never returns");
MODULE_LICENSE("GPL");
