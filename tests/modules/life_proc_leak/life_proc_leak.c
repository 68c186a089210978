// SPDX-License-Identifier: GPL-2.0
/* Never removes its folder in /proc. */
#include <linux/module.h>
#include <linux/proc_fs.h>

static int __init life_proc_leak_init(void)
{
	return proc_mkdir("life_proc_leak", NULL) ? 0 : -ENOMEM;
}

static void __exit life_proc_leak_exit(void)
{
}

module_init(life_proc_leak_init);
module_exit(life_proc_leak_exit);
MODULE_DESCRIPTION("does not remove its folder in /proc");
MODULE_LICENSE("GPL");
