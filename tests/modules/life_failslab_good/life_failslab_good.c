// SPDX-License-Identifier: GPL-2.0
/* Takes back what it did, whichever of its allocations fails. */
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>

static char *name;
static char *room;
static struct proc_dir_entry *folder;

static int __init life_failslab_good_init(void)
{
	name = kasprintf(GFP_KERNEL, "%s", KBUILD_MODNAME);
	if (!name)
		return -ENOMEM;
	folder = proc_mkdir(name, NULL);
	if (!folder)
		goto out_name;
	room = kmalloc(1000, GFP_KERNEL);
	if (!room)
		goto out_folder;
	/* One that it can do without. */
	kfree(kmalloc(100, GFP_KERNEL));
	return 0;

out_folder:
	proc_remove(folder);
out_name:
	kfree(name);
	return -ENOMEM;
}

static void __exit life_failslab_good_exit(void)
{
	kfree(room);
	proc_remove(folder);
	kfree(name);
}

module_init(life_failslab_good_init);
module_exit(life_failslab_good_exit);
MODULE_DESCRIPTION("bears that any of its allocations fails");
MODULE_LICENSE("GPL");
