// SPDX-License-Identifier: GPL-2.0
/* Never removes its folder in /proc. */
#include <linux/module.h>
#include <linux/proc_fs.h>

static int __init life_left_out_init(void)
{
	return proc_mkdir("life_left_out", NULL) ? 0 : -ENOMEM;
}

static void __exit life_left_out_exit(void)
{
}

module_init(life_left_out_init);
module_exit(life_left_out_exit);
MODULE_DESCRIPTION("is not to be loaded twice");
MODULE_LICENSE("GPL");
