// SPDX-License-Identifier: GPL-2.0
/* Has the kernel remember that something was wrong, and says nothing. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/panic.h>

static int __init taints_init(void)
{
	add_taint(TAINT_WARN, LOCKDEP_STILL_OK);
	return 0;
}

static void __exit taints_exit(void)
{
}

module_init(taints_init);
module_exit(taints_exit);
MODULE_DESCRIPTION("taints the kernel without a word");
MODULE_LICENSE("GPL");
