/* SPDX-License-Identifier: GPL-2.0 */
/* What the C files of the module offer to each other. */
#ifndef VEXFS_INTERNAL_H
#define VEXFS_INTERNAL_H

#include <linux/fs.h>
#include <linux/init.h>
#include <linux/types.h>

/* super.c */
int __init vexfs_super_init(void);
void vexfs_super_exit(void);

/* debugfs.c */
void __init vexfs_debugfs_init(void);
void vexfs_debugfs_exit(void);

/* memory.c */
bool vexfs_memory_fails(void);
void vexfs_memory_report(void);

/* proof.c */
extern const struct file_operations vexfs_proof_fops;

/* selftest.c */
extern const struct file_operations vexfs_selftest_fops;

/* Room for the reasons of a failed self-test. What exceeds it is cut off. */
#define VEXFS_REPORT_SIZE 1024

/* What a self-test has to say: nothing where it passes, lines where it fails. */
struct vexfs_report {
	char text[VEXFS_REPORT_SIZE];
	size_t used;
	bool failed;
};

/* Each compares what a self-test got with what it expects, and reports a difference. */
void vexfs_expect_unsigned(struct vexfs_report *report, const char *what, u64 expected, u64 got);
void vexfs_expect_signed(struct vexfs_report *report, const char *what, s64 expected, s64 got);
void vexfs_expect_bytes(struct vexfs_report *report, const char *what,
			const void *expected, size_t expected_len,
			const void *got, size_t got_len);

/* A self-test that C judges. */
struct vexfs_selftest {
	const char *name;
	void (*run)(struct vexfs_report *report);
};

/* selftest_boundary.c; the last entry has no name */
extern const struct vexfs_selftest vexfs_boundary_tests[];

#endif /* VEXFS_INTERNAL_H */
