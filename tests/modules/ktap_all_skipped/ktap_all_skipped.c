// SPDX-License-Identifier: GPL-2.0
/* Reports tests of which none was run. */
#include <linux/debugfs.h>
#include <linux/module.h>

static char report[] = "KTAP version 1\n1..2\nok 1 first # SKIP no device\nok 2 second # SKIP no device\n";

static struct debugfs_blob_wrapper blob = {
	.data = report,
	.size = sizeof(report) - 1,
};
static struct dentry *folder;

static int __init ktap_all_skipped_init(void)
{
	folder = debugfs_create_dir("ktap_all_skipped", NULL);
	debugfs_create_blob("selftest", 0444, folder, &blob);
	return 0;
}

static void __exit ktap_all_skipped_exit(void)
{
	debugfs_remove(folder);
}

module_init(ktap_all_skipped_init);
module_exit(ktap_all_skipped_exit);
MODULE_DESCRIPTION("its tests are skipped");
MODULE_LICENSE("GPL");
