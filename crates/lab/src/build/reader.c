// SPDX-License-Identifier: GPL-2.0
/*
 * Keeps what is counted in a module that was built for coverage: the counters
 * of the module as it is loaded, and the sum of those of its lives before. It
 * is loaded before that module, and told its name and how many bytes of
 * counters it has. /proc/vexlab_coverage has the sums, 64 bits each.
 *
 * The kernel tells of a module that comes before its init function runs, and of
 * one that goes after its exit function has run, or its init function failed.
 */
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/kallsyms.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/preempt.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

static char *of;
module_param(of, charp, 0400);
MODULE_PARM_DESC(of, "the module's name");

static unsigned long size;
module_param(size, ulong, 0400);
MODULE_PARM_DESC(size, "how many bytes of counters it has");

/* The ends of the counters, from coverage.lds. */
#define FIRST "vexlab_counters_first"
#define END "vexlab_counters_end"

static DEFINE_MUTEX(reader_lock);	/* guards the next three */
static u64 *reader_sums;
static const u64 *reader_live;
static int reader_error = -ENODATA;	/* until its counters were found */

/* The address of a symbol of the module, or 0. */
static unsigned long reader_find(struct module *module, const char *name)
{
	const struct mod_kallsyms *symbols;
	unsigned long address = 0;
	unsigned int i;

	preempt_disable();
	symbols = rcu_dereference_raw(module->kallsyms);
	for (i = 1; i < symbols->num_symtab; i++) {
		if (!strcmp(symbols->strtab + symbols->symtab[i].st_name, name)) {
			address = symbols->symtab[i].st_value;
			break;
		}
	}
	preempt_enable();
	return address;
}

static void reader_add(u64 *sums, const u64 *counters)
{
	unsigned long i;

	for (i = 0; counters && i < size / sizeof(u64); i++)
		sums[i] += READ_ONCE(counters[i]);
}

static int reader_notice(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *module = data;
	unsigned long first, end;

	if (strcmp(module->name, of))
		return NOTIFY_DONE;
	mutex_lock(&reader_lock);
	if (state == MODULE_STATE_COMING) {
		first = reader_find(module, FIRST);
		end = reader_find(module, END);
		if (first && end - first == size) {
			reader_live = (const u64 *)first;
			reader_error = 0;
		} else {
			pr_err("%s has %lu bytes of counters, not %lu\n", of, end - first, size);
			reader_error = -ENXIO;
		}
	} else if (state == MODULE_STATE_GOING) {
		reader_add(reader_sums, reader_live);
		reader_live = NULL;
	}
	mutex_unlock(&reader_lock);
	return NOTIFY_DONE;
}

static struct notifier_block reader_block = {
	.notifier_call = reader_notice,
};

static int reader_open(struct inode *inode, struct file *file)
{
	u64 *sums = kvmalloc(size, GFP_KERNEL);
	int err;

	if (!sums)
		return -ENOMEM;
	mutex_lock(&reader_lock);
	memcpy(sums, reader_sums, size);
	reader_add(sums, reader_live);
	err = reader_error;
	mutex_unlock(&reader_lock);
	if (err) {
		kvfree(sums);
		return err;
	}
	file->private_data = sums;
	return 0;
}

static ssize_t reader_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	return simple_read_from_buffer(to, count, pos, file->private_data, size);
}

static int reader_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

static const struct proc_ops reader_ops = {
	.proc_open = reader_open,
	.proc_read = reader_read,
	.proc_release = reader_release,
	.proc_lseek = default_llseek,
};

static int __init reader_init(void)
{
	int err;

	if (!of || !size || size % sizeof(u64))
		return -EINVAL;
	reader_sums = vzalloc(size);
	if (!reader_sums)
		return -ENOMEM;
	err = register_module_notifier(&reader_block);
	if (err)
		goto free;
	if (!proc_create("vexlab_coverage", 0400, NULL, &reader_ops)) {
		err = -ENOMEM;
		goto unregister;
	}
	return 0;

unregister:
	unregister_module_notifier(&reader_block);
free:
	vfree(reader_sums);
	return err;
}

static void __exit reader_exit(void)
{
	remove_proc_entry("vexlab_coverage", NULL);
	unregister_module_notifier(&reader_block);
	vfree(reader_sums);
}

module_init(reader_init);
module_exit(reader_exit);
MODULE_DESCRIPTION("Reads the counters of a module that was built for coverage");
MODULE_LICENSE("GPL");
