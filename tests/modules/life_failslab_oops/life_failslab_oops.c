// SPDX-License-Identifier: GPL-2.0
/* Writes to what it did not get. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>

static char *name;
static char *room;
static struct proc_dir_entry *folder;

static int __init life_failslab_oops_init(void)
{
	name = kasprintf(GFP_KERNEL, "%s", KBUILD_MODNAME);
	if (!name)
		return -ENOMEM;
	folder = proc_mkdir(name, NULL);
	if (!folder)
		goto out_name;
	room = kmalloc(1000, GFP_KERNEL);
	room[0] = 1;
	/* One that it can do without. */
	kfree(kmalloc(100, GFP_KERNEL));
	return 0;

out_name:
	kfree(name);
	return -ENOMEM;
}

static void __exit life_failslab_oops_exit(void)
{
	kfree(room);
	proc_remove(folder);
	kfree(name);
}

module_init(life_failslab_oops_init);
module_exit(life_failslab_oops_exit);
MODULE_DESCRIPTION("writes to what it did not get");
MODULE_LICENSE("GPL");
