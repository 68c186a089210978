// SPDX-License-Identifier: GPL-2.0
/* Gets a reference on itself when its file is opened, and never gives it back. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static int open(struct inode *inode, struct file *file)
{
	__module_get(THIS_MODULE);
	return 0;
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
	.open = open,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "life_held",
	.fops = &fops,
};

static int __init life_held_for_ever_init(void)
{
	return misc_register(&device);
}

static void __exit life_held_for_ever_exit(void)
{
	misc_deregister(&device);
}

module_init(life_held_for_ever_init);
module_exit(life_held_for_ever_exit);
MODULE_DESCRIPTION("can't be unloaded once its file was opened");
MODULE_LICENSE("GPL");
