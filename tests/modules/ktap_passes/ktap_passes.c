// SPDX-License-Identifier: GPL-2.0
/* Reports two tests, one in the other. */
#include <linux/debugfs.h>
#include <linux/module.h>

static char report[] = "KTAP version 1\n1..1\n  KTAP version 1\n  1..2\n  ok 1 first\n  ok 2 second\nok 1 outer\n";

static struct debugfs_blob_wrapper blob = {
	.data = report,
	.size = sizeof(report) - 1,
};
static struct dentry *folder;

static int __init ktap_passes_init(void)
{
	folder = debugfs_create_dir("ktap_passes", NULL);
	debugfs_create_blob("selftest", 0444, folder, &blob);
	return 0;
}

static void __exit ktap_passes_exit(void)
{
	debugfs_remove(folder);
}

module_init(ktap_passes_init);
module_exit(ktap_passes_exit);
MODULE_DESCRIPTION("its tests pass");
MODULE_LICENSE("GPL");
