// SPDX-License-Identifier: GPL-2.0
/* Announces three tests and reports one. */
#include <linux/debugfs.h>
#include <linux/module.h>

static char report[] = "KTAP version 1\n1..3\nok 1 first\n";

static struct debugfs_blob_wrapper blob = {
	.data = report,
	.size = sizeof(report) - 1,
};
static struct dentry *folder;

static int __init ktap_incomplete_init(void)
{
	folder = debugfs_create_dir("ktap_incomplete", NULL);
	debugfs_create_blob("selftest", 0444, folder, &blob);
	return 0;
}

static void __exit ktap_incomplete_exit(void)
{
	debugfs_remove(folder);
}

module_init(ktap_incomplete_init);
module_exit(ktap_incomplete_exit);
MODULE_DESCRIPTION("its report is cut off");
MODULE_LICENSE("GPL");
