// SPDX-License-Identifier: GPL-2.0
/* Never comes back from init. */
#include <linux/delay.h>
#include <linux/module.h>

static int __init init_loops_init(void)
{
	pr_info("init begins\n");
	/* Time for the console to say so. */
	msleep(50);
	for (;;)
		cpu_relax();
	return 0;
}

module_init(init_loops_init);
MODULE_DESCRIPTION("init never returns");
MODULE_LICENSE("GPL");
