// SPDX-License-Identifier: GPL-2.0
/* Rust is in it and asked nothing: C makes the answer up. */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>

u32 proof_pretended_unused(void);

static ssize_t proof_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	return count;
}

static ssize_t proof_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	static const char answer[] = "0123456789abcdef\n";

	return simple_read_from_buffer(to, count, pos, answer, sizeof(answer) - 1);
}

static const struct file_operations proof_fops = {
	.owner = THIS_MODULE,
	.read = proof_read,
	.write = proof_write,
};
static struct dentry *folder;

static int __init proof_pretended_init(void)
{
	if (!proof_pretended_unused())
		return -EINVAL;
	folder = debugfs_create_dir("proof_pretended", NULL);
	debugfs_create_file("proof", 0600, folder, NULL, &proof_fops);
	return 0;
}

static void __exit proof_pretended_exit(void)
{
	debugfs_remove(folder);
}

module_init(proof_pretended_init);
module_exit(proof_pretended_exit);
MODULE_DESCRIPTION("pretends to answer with Rust");
MODULE_LICENSE("GPL");
