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
int __init vexfs_debugfs_init(void);
void vexfs_debugfs_exit(void);

/* memory.c */
void vexfs_memory_report(void);

/* proof.c */
extern const struct file_operations vexfs_proof_fops;

#endif /* VEXFS_INTERNAL_H */
