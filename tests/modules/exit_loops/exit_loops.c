// SPDX-License-Identifier: GPL-2.0
/* Never comes back from exit. */
#include <linux/delay.h>
#include <linux/module.h>

static int __init exit_loops_init(void)
{
	return 0;
}

static void __exit exit_loops_exit(void)
{
	pr_info("exit begins\n");
	/* Time for the console to say so. */
	msleep(50);
	for (;;)
		cpu_relax();
}

module_init(exit_loops_init);
module_exit(exit_loops_exit);
MODULE_DESCRIPTION("exit never returns");
MODULE_LICENSE("GPL");
