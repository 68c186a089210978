// SPDX-License-Identifier: GPL-2.0
/* Is no report at all. */
#include <linux/debugfs.h>
#include <linux/module.h>

static char report[] = "all is well\n";

static struct debugfs_blob_wrapper blob = {
	.data = report,
	.size = sizeof(report) - 1,
};
static struct dentry *folder;

static int __init ktap_empty_init(void)
{
	folder = debugfs_create_dir("ktap_empty", NULL);
	debugfs_create_blob("selftest", 0444, folder, &blob);
	return 0;
}

static void __exit ktap_empty_exit(void)
{
	debugfs_remove(folder);
}

module_init(ktap_empty_init);
module_exit(ktap_empty_exit);
MODULE_DESCRIPTION("its report is none");
MODULE_LICENSE("GPL");
