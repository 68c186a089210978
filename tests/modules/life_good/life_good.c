// SPDX-License-Identifier: GPL-2.0
/* Takes all kinds of things, gives all back, and undoes all of it where an allocation fails. */
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static unsigned long fail_alloc;
static int size = 100;
static char *text = "";
static bool flag;
static void *first;
static void *second;
static struct dentry *folder;
static struct kmem_cache *cache;
static struct kthread_worker *worker;

module_param(fail_alloc, ulong, 0400);
module_param(size, int, 0444);
module_param(text, charp, 0444);
module_param(flag, bool, 0444);

static bool fails(void)
{
	return fail_alloc && !--fail_alloc;
}

static const struct file_operations fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "life_good",
	.fops = &fops,
};

static int __init life_good_init(void)
{
	int err = -ENOMEM;

	if (size < 0 || size > 1000)
		return -ERANGE;
	first = fails() ? NULL : kmalloc(100, GFP_KERNEL);
	if (!first)
		return -ENOMEM;
	second = fails() ? NULL : vmalloc(10000);
	if (!second)
		goto out_first;
	cache = fails() ? NULL : kmem_cache_create("life_good", 300, 0, SLAB_ACCOUNT, NULL);
	if (!cache)
		goto out_second;
	worker = fails() ? ERR_PTR(-ENOMEM) : kthread_create_worker(0, "life_good");
	if (IS_ERR(worker))
		goto out_cache;
	err = fails() ? -ENOMEM : misc_register(&device);
	if (err)
		goto out_worker;
	err = -ENOMEM;
	if (!proc_mkdir("life_good", NULL))
		goto out_device;
	folder = debugfs_create_dir("life_good", NULL);
	return 0;

out_device:
	misc_deregister(&device);
out_worker:
	kthread_destroy_worker(worker);
out_cache:
	kmem_cache_destroy(cache);
out_second:
	vfree(second);
out_first:
	kfree(first);
	return err;
}

static void __exit life_good_exit(void)
{
	debugfs_remove(folder);
	remove_proc_entry("life_good", NULL);
	misc_deregister(&device);
	kthread_destroy_worker(worker);
	kmem_cache_destroy(cache);
	vfree(second);
	kfree(first);
}

module_init(life_good_init);
module_exit(life_good_exit);
MODULE_DESCRIPTION("gives everything back");
MODULE_LICENSE("GPL");
