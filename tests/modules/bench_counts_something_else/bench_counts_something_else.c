// SPDX-License-Identifier: GPL-2.0
/* A file of benchmarks, made by hand, that measures with a clock of its own. */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/string.h>

static const char list[] = "any\n";
static const char samples[] =
	"kbench version 1\nsample 1000 5300\nsample 2000 10500\nsample 3000 15700\nend\n";

static ssize_t benches_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	const char *text = file->private_data ? samples : list;

	return simple_read_from_buffer(to, count, pos, text, strlen(text));
}

static ssize_t benches_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	file->private_data = file;
	*pos = 0;
	return count;
}

static int benches_open(struct inode *inode, struct file *file)
{
	file->private_data = NULL;
	return 0;
}

static const struct file_operations benches_fops = {
	.owner = THIS_MODULE,
	.open = benches_open,
	.read = benches_read,
	.write = benches_write,
};

static struct dentry *file;

static int __init benches_init(void)
{
	file = debugfs_create_file(KBUILD_MODNAME, 0600, NULL, NULL, &benches_fops);
	return 0;
}

static void __exit benches_exit(void)
{
	debugfs_remove(file);
}

module_init(benches_init);
module_exit(benches_exit);
MODULE_DESCRIPTION("a clock of its own");
MODULE_LICENSE("GPL");
