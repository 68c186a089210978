// SPDX-License-Identifier: GPL-2.0
/* Reports a test that fails. */
#include <linux/debugfs.h>
#include <linux/module.h>

static char report[] = "KTAP version 1\n1..2\nok 1 first\n# 4 expected, 5 found\nnot ok 2 second\n";

static struct debugfs_blob_wrapper blob = {
	.data = report,
	.size = sizeof(report) - 1,
};
static struct dentry *folder;

static int __init ktap_fails_init(void)
{
	folder = debugfs_create_dir("ktap_fails", NULL);
	debugfs_create_blob("selftest", 0444, folder, &blob);
	return 0;
}

static void __exit ktap_fails_exit(void)
{
	debugfs_remove(folder);
}

module_init(ktap_fails_init);
module_exit(ktap_fails_exit);
MODULE_DESCRIPTION("a test fails");
MODULE_LICENSE("GPL");
