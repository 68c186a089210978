// SPDX-License-Identifier: GPL-2.0
/*
 * The file proof: a challenge is written to it as hexadecimal text, and the
 * answer of the Rust part is read from it. Each open file has its own.
 */

#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#if __has_include(<linux/hex.h>)
#include <linux/hex.h>	/* older kernels have it all in linux/kernel.h */
#endif

#include "internal.h"
#include "vexfs.h"

struct proof {
	struct mutex lock;	/* guards the rest */
	size_t len;		/* 0 as long as no challenge was written */
	u8 challenge[VEXFS_PROOF_MAX];
};

static int proof_open(struct inode *inode, struct file *file)
{
	struct proof *proof = kzalloc(sizeof(*proof), GFP_KERNEL);

	if (!proof)
		return -ENOMEM;
	mutex_init(&proof->lock);
	file->private_data = proof;
	return nonseekable_open(inode, file);
}

static int proof_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

/* One write is one whole challenge; a refused one leaves the last as it was. */
static ssize_t proof_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct proof *proof = file->private_data;
	char text[2 * VEXFS_PROOF_MAX + 1];	/* with the newline of echo */
	u8 challenge[VEXFS_PROOF_MAX];
	size_t len = count;

	if (!count || count > sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;

	if (text[len - 1] == '\n')
		len--;
	if (!len || len % 2)
		return -EINVAL;
	if (hex2bin(challenge, text, len / 2))
		return -EINVAL;

	mutex_lock(&proof->lock);
	memcpy(proof->challenge, challenge, len / 2);
	proof->len = len / 2;
	mutex_unlock(&proof->lock);

	/* The next read of this open file begins at the answer's beginning. */
	*pos = 0;
	return count;
}

static ssize_t proof_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	struct proof *proof = file->private_data;
	char text[2 * sizeof(u64) + sizeof("\n")];
	uint64_t answer = 0;
	int err = -ENODATA;
	int len;

	mutex_lock(&proof->lock);
	if (proof->len)
		err = vexfs_rs_proof(proof->challenge, proof->len, &answer);
	mutex_unlock(&proof->lock);
	if (err)
		return err;

	len = scnprintf(text, sizeof(text), "%016llx\n", answer);
	return simple_read_from_buffer(to, count, pos, text, len);
}

const struct file_operations vexfs_proof_fops = {
	.owner = THIS_MODULE,
	.open = proof_open,
	.release = proof_release,
	.read = proof_read,
	.write = proof_write,
};
