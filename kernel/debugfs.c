// SPDX-License-Identifier: GPL-2.0
/* The folder vexfs in debugfs. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/printk.h>

#include "internal.h"

static struct dentry *folder;

void __init vexfs_debugfs_init(void)
{
	folder = vexfs_memory_fails() ? ERR_PTR(-ENOMEM) : debugfs_create_dir("vexfs", NULL);
	if (IS_ERR(folder)) {
		pr_warn("no self-tests: debugfs gives error %ld\n", PTR_ERR(folder));
		return;
	}
	debugfs_create_file("selftest", 0400, folder, NULL, &vexfs_selftest_fops);
	debugfs_create_file("proof", 0600, folder, NULL, &vexfs_proof_fops);
}

/* Waits for calls into the files that are under way. */
void vexfs_debugfs_exit(void)
{
	debugfs_remove(folder);
}
