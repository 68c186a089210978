// SPDX-License-Identifier: GPL-2.0
/* A module of C and Rust that has nothing to do with any other. */
#include <linux/debugfs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/uaccess.h>

#include "good_rust.h"

static unsigned long divisor;
static unsigned int questions;
static struct dentry *folder;
static char answer_text[20];

module_param(divisor, ulong, 0444);
module_param(questions, uint, 0444);

void good_rust_count(uint32_t more)
{
	questions += more;
}

static ssize_t proof_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	char text[64];
	u8 challenge[32];
	u64 answer;

	if (count != sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, count))
		return -EFAULT;
	if (hex2bin(challenge, text, sizeof(challenge)))
		return -EINVAL;
	if (!good_rust_answer(challenge, sizeof(challenge), &answer))
		return -ENODATA;
	scnprintf(answer_text, sizeof(answer_text), "%016llx\n", answer);
	return count;
}

static ssize_t proof_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(to, count, pos, answer_text, strlen(answer_text));
}

static const struct file_operations proof_fops = {
	.owner = THIS_MODULE,
	.read = proof_read,
	.write = proof_write,
};

static int __init good_rust_init(void)
{
	divisor = good_rust_divisor(48, 36);
	folder = debugfs_create_dir("good_rust", NULL);
	debugfs_create_file("proof", 0600, folder, NULL, &proof_fops);
	return 0;
}

static void __exit good_rust_exit(void)
{
	debugfs_remove(folder);
}

module_init(good_rust_init);
module_exit(good_rust_exit);
MODULE_DESCRIPTION("a good module in C and Rust");
MODULE_LICENSE("GPL");
