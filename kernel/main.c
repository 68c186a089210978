// SPDX-License-Identifier: GPL-2.0
/* Loading and unloading. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/module.h>
#include <linux/printk.h>

#include "internal.h"
#include "vexfs.h"

#ifdef VEXFS_C_ONLY

static int __init parts_init(void)
{
	pr_info("loaded: C only, without Rust\n");
	return 0;
}

static void parts_exit(void)
{
}

#else

static int __init parts_init(void)
{
	int err = vexfs_rs_init();

	if (err)
		return err;
	err = vexfs_debugfs_init();
	if (err)
		return err;
	pr_info("loaded: C and Rust\n");
	return 0;
}

static void parts_exit(void)
{
	vexfs_debugfs_exit();
	vexfs_memory_report();
}

#endif

static int __init vexfs_init(void)
{
	int err;

	err = parts_init();
	if (err)
		goto out;

	err = vexfs_super_init();
	if (err)
		goto out_parts;

	return 0;

out_parts:
	parts_exit();
out:
	pr_err("not loaded: error %d\n", err);
	return err;
}

static void __exit vexfs_exit(void)
{
	vexfs_super_exit();
	parts_exit();
	pr_info("unloaded\n");
}

module_init(vexfs_init);
module_exit(vexfs_exit);

MODULE_AUTHOR("The VexFS authors");
MODULE_DESCRIPTION("VexFS, a vector file system");
MODULE_VERSION("0.1.0");
MODULE_LICENSE("GPL");
