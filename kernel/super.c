// SPDX-License-Identifier: GPL-2.0
/* The file-system type, and mounting it. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/module.h>
#include <linux/printk.h>

#include "internal.h"

static int vexfs_get_tree(struct fs_context *fc)
{
	pr_info("not mounted: the on-disk file system is not part of this module yet\n");
	return -EINVAL;
}

static const struct fs_context_operations vexfs_context_ops = {
	.get_tree = vexfs_get_tree,
};

static int vexfs_init_fs_context(struct fs_context *fc)
{
	fc->ops = &vexfs_context_ops;
	return 0;
}

static struct file_system_type vexfs_type = {
	.owner = THIS_MODULE,
	.name = "vexfs",
	.init_fs_context = vexfs_init_fs_context,
};
MODULE_ALIAS_FS("vexfs");

int __init vexfs_super_init(void)
{
	return register_filesystem(&vexfs_type);
}

void vexfs_super_exit(void)
{
	unregister_filesystem(&vexfs_type);
}
