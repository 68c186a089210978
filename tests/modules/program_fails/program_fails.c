// SPDX-License-Identifier: GPL-2.0
/* Its tests are programs, and some of them fail. */
#include <linux/module.h>

static int __init program_fails_init(void)
{
	return 0;
}

static void __exit program_fails_exit(void)
{
}

module_init(program_fails_init);
module_exit(program_fails_exit);
MODULE_DESCRIPTION("a test's program fails");
MODULE_LICENSE("GPL");
