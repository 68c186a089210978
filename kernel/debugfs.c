// SPDX-License-Identifier: GPL-2.0
/* The folder vexfs in debugfs: the proof, and the tests of a build that has them. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/printk.h>

#include "internal.h"
#include "vexfs.h"

#include <vexlab/ktest.h>

/* Each test frees what it allocates. */
static u64 count_before;
static u64 bytes_before;

static __maybe_unused void begin_account(void)
{
	count_before = vexfs_c_alloc_count();
	bytes_before = vexfs_c_alloc_bytes();
}

static __maybe_unused void check_account(struct ktest *test)
{
	KTEST_EXPECT_EQ(test, vexfs_c_alloc_count(), count_before);
	KTEST_EXPECT_EQ(test, vexfs_c_alloc_bytes(), bytes_before);
}

#define KTEST_BEFORE(test) begin_account()
#define KTEST_AFTER(test) check_account(test)
#include <vexlab/ktest_main.h>

static struct dentry *folder;

int __init vexfs_debugfs_init(void)
{
	int err;

	folder = debugfs_create_dir("vexfs", NULL);
	if (IS_ERR(folder)) {
		pr_warn("no proof: debugfs gives error %ld\n", PTR_ERR(folder));
		return 0;
	}
	debugfs_create_file("proof", 0600, folder, NULL, &vexfs_proof_fops);
	err = ktest_init(folder);
	if (err)
		debugfs_remove(folder);
	return err;
}

/* Waits for calls into the files that are under way. */
void vexfs_debugfs_exit(void)
{
	debugfs_remove(folder);
}
