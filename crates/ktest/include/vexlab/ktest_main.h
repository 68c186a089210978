/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lists and runs a module's tests, and measures its benchmarks. It is included
 * by one file of the module, which calls ktest_init() when it is loaded and
 * ktest_exit() when it is unloaded. Without VEXLAB_TEST both do nothing.
 *
 * Before the include, KTEST_BEFORE(test) and KTEST_AFTER(test) may be defined:
 * they are done before and after each test, and may let it fail.
 */
#ifndef VEXLAB_KTEST_MAIN_H
#define VEXLAB_KTEST_MAIN_H

#include <vexlab/kbench.h>
#include <vexlab/ktest.h>

struct dentry;

#ifndef VEXLAB_TEST

static inline int ktest_init(struct dentry *folder)
{
	return 0;
}

static inline void ktest_exit(void)
{
}

#else

#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/ctype.h>
#include <linux/debugfs.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#ifndef KTEST_BEFORE
#define KTEST_BEFORE(test)
#endif
#ifndef KTEST_AFTER
#define KTEST_AFTER(test)
#endif

/* The longest name or pattern, and the most that a test can say. */
#define KTEST_NAME_MAX 255
#define KTEST_TEXT_MAX 2048

/* Room for a test's result: each character of its text could be a line of its own. */
#define KTEST_RESULT_MAX (2 * KTEST_NAME_MAX + 4 * KTEST_TEXT_MAX)

/* The bounds of the section, from ktest.lds. */
extern const struct ktest_case *const ktest_first[] __weak;
extern const struct ktest_case *const ktest_end[] __weak;

/* The section is never missing. */
static const struct ktest_case *const ktest_none __used __section(".ktests");

/* One test at a time. After one that did not come back, none. */
static unsigned long ktest_busy;
static char ktest_text[KTEST_TEXT_MAX];
static struct dentry *ktest_folder;

#define ktest_for_each(_entry)						\
	for (_entry = ktest_first; _entry < ktest_end; _entry++)	\
		if (*_entry)

/* An open file: what is read from it. */
struct ktest_file {
	struct mutex lock;	/* guards the rest */
	char *text;
	size_t size;
	size_t used;
};

static __printf(2, 3) void ktest_print(struct ktest_file *file, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	file->used += vscnprintf(file->text + file->used, file->size - file->used, format, args);
	va_end(args);
}

/* Makes room for a new text. */
static int ktest_renew(struct ktest_file *file, size_t size)
{
	char *text = kvzalloc(size, GFP_KERNEL);

	if (!text)
		return -ENOMEM;
	kvfree(file->text);
	file->text = text;
	file->size = size;
	file->used = 0;
	return 0;
}

/* Whether a name is as the pattern wants it, in which * stands for whatever is there. */
static bool ktest_matches(const char *pattern, const char *name)
{
	const char *star = NULL;
	const char *from = NULL;

	while (*name) {
		if (*pattern == '*') {
			star = pattern++;
			from = name;
		} else if (*pattern == *name) {
			pattern++;
			name++;
		} else if (star) {
			pattern = star + 1;
			name = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

static bool ktest_is_test(const struct ktest_case *entry)
{
	return entry->kind == KTEST_KIND_TEST;
}

static size_t ktest_count(const char *pattern)
{
	const struct ktest_case *const *entry;
	size_t count = 0;

	ktest_for_each(entry)
		count += ktest_is_test(*entry) && ktest_matches(pattern, (*entry)->name);
	return count;
}

/* One line of what a test has said, without what could be taken for the end of a line. */
static void ktest_print_line(struct ktest_file *file, const char *line, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++)
		ktest_print(file, "%c", iscntrl(line[i]) && line[i] != '\t' ? '?' : line[i]);
}

static void ktest_print_result(struct ktest_file *file, const struct ktest *test,
			       const char *name, size_t number)
{
	const char *line = test->text;
	size_t rest = test->used;
	size_t length;

	if (test->outcome == KTEST_SKIPPED) {
		length = strnchr(line, rest, '\n') ? strnchr(line, rest, '\n') - line : rest;
		ktest_print(file, "ok %zu %s # SKIP ", number, name);
		ktest_print_line(file, line, length);
		ktest_print(file, "\n");
		return;
	}
	while (rest) {
		length = strnchr(line, rest, '\n') ? strnchr(line, rest, '\n') - line : rest;
		ktest_print(file, "# ");
		ktest_print_line(file, line, length);
		ktest_print(file, "\n");
		length = min(length + 1, rest);
		line += length;
		rest -= length;
	}
	if (test->cut_off)
		ktest_print(file, "# (there was more)\n");
	ktest_print(file, "%s %zu %s\n", test->outcome == KTEST_PASSED ? "ok" : "not ok",
		    number, name);
}

static void ktest_run_one(struct ktest_file *file, const struct ktest_case *entry, size_t number)
{
	struct ktest test = { .text = ktest_text, .size = sizeof(ktest_text) };

	/* The last such line is the test during which the kernel died. */
	printk(KERN_INFO KBUILD_MODNAME ": ktest: %s\n", entry->name);
	KTEST_BEFORE(&test);
	entry->run(&test);
	KTEST_AFTER(&test);
	ktest_print_result(file, &test, entry->name, number);
}

/* Runs what matches, and has the report in the file. */
static int ktest_run(struct ktest_file *file, const char *pattern, size_t count)
{
	const struct ktest_case *const *entry;
	size_t number = 0;
	int err;

	err = ktest_renew(file, 64 + count * KTEST_RESULT_MAX);
	if (err)
		return err;
	if (test_and_set_bit(0, &ktest_busy))
		return -EBUSY;

	ktest_print(file, "KTAP version 1\n1..%zu\n", count);
	ktest_for_each(entry) {
		if (!ktest_is_test(*entry) || !ktest_matches(pattern, (*entry)->name))
			continue;
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		ktest_run_one(file, *entry, ++number);
		cond_resched();
	}
	clear_bit(0, &ktest_busy);
	return err;
}

static int ktest_list_kind(struct ktest_file *file, u32 kind)
{
	const struct ktest_case *const *entry;
	size_t size = 1;
	int err;

	ktest_for_each(entry)
		size += KTEST_NAME_MAX + 1;
	err = ktest_renew(file, size);
	if (err)
		return err;
	ktest_for_each(entry)
		if ((*entry)->kind == kind)
			ktest_print(file, "%s\n", (*entry)->name);
	return 0;
}

static int ktest_list(struct ktest_file *file)
{
	return ktest_list_kind(file, KTEST_KIND_TEST);
}

static int ktest_open(struct file *file, int (*fill)(struct ktest_file *))
{
	struct ktest_file *open = kzalloc(sizeof(*open), GFP_KERNEL);
	int err;

	if (!open)
		return -ENOMEM;
	mutex_init(&open->lock);
	err = fill(open);
	if (err) {
		kvfree(open->text);
		kfree(open);
		return err;
	}
	file->private_data = open;
	return 0;
}

static int ktest_run_all(struct ktest_file *file)
{
	return ktest_run(file, "*", ktest_count("*"));
}

static int ktest_tests_open(struct inode *inode, struct file *file)
{
	return ktest_open(file, ktest_list);
}

static int ktest_ktap_open(struct inode *inode, struct file *file)
{
	return ktest_open(file, ktest_run_all);
}

static int ktest_release(struct inode *inode, struct file *file)
{
	struct ktest_file *open = file->private_data;

	kvfree(open->text);
	kfree(open);
	return 0;
}

static ssize_t ktest_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	struct ktest_file *open = file->private_data;
	ssize_t read;

	mutex_lock(&open->lock);
	read = simple_read_from_buffer(to, count, pos, open->text, open->used);
	mutex_unlock(&open->lock);
	return read;
}

/* One write is one whole pattern. The report is what is read next. */
static ssize_t ktest_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct ktest_file *open = file->private_data;
	char pattern[KTEST_NAME_MAX + 1];
	size_t matching;
	int err;

	if (!count || count >= sizeof(pattern))
		return -EINVAL;
	if (copy_from_user(pattern, from, count))
		return -EFAULT;
	pattern[count] = '\0';
	if (pattern[count - 1] == '\n')
		pattern[count - 1] = '\0';

	matching = ktest_count(pattern);
	if (!matching)
		return -ENOENT;
	mutex_lock(&open->lock);
	err = ktest_run(open, pattern, matching);
	mutex_unlock(&open->lock);
	if (err)
		return err;
	*pos = 0;
	return count;
}

static const struct file_operations ktest_tests_fops = {
	.owner = THIS_MODULE,
	.open = ktest_tests_open,
	.release = ktest_release,
	.read = ktest_read,
	.write = ktest_write,
};

static const struct file_operations ktest_ktap_fops = {
	.owner = THIS_MODULE,
	.open = ktest_ktap_open,
	.release = ktest_release,
	.read = ktest_read,
};

#include <vexlab/kbench_main.h>

static size_t __init ktest_count_called(const char *name)
{
	const struct ktest_case *const *entry;
	size_t count = 0;

	ktest_for_each(entry)
		count += !strcmp((*entry)->name, name);
	return count;
}

static bool __init ktest_is_name(const char *name)
{
	size_t length = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-");

	return length && length <= KTEST_NAME_MAX && !name[length];
}

/* Refuses what could not be told apart, or not be run. */
static int __init ktest_check(void)
{
	const struct ktest_case *const *entry;

	if (!ktest_first || !ktest_end) {
		pr_err("ktest: the module was linked without ktest.lds\n");
		return -ENOEXEC;
	}
	ktest_for_each(entry) {
		if ((*entry)->layout != KTEST_LAYOUT) {
			pr_err("ktest: a test is of layout %u, not %u\n", (*entry)->layout,
			       KTEST_LAYOUT);
			return -ENOEXEC;
		}
		if (!ktest_is_name((*entry)->name)) {
			pr_err("ktest: \"%s\" can't be the name of a test\n", (*entry)->name);
			return -EINVAL;
		}
		if (ktest_count_called((*entry)->name) != 1) {
			pr_err("ktest: there are several tests called %s\n", (*entry)->name);
			return -EINVAL;
		}
	}
	return 0;
}

/*
 * ktest_init() - offer the tests as files of debugfs
 * @folder: where; NULL for a folder with the module's name
 *
 * The files are "tests", which lists the tests and runs those whose name is
 * written to it, "ktap", which runs all of them when it is opened, and
 * "benches", which lists the benchmarks and measures them. They are removed
 * with @folder by whoever made it, or else by ktest_exit().
 *
 * Return: 0; -ENOEXEC: linked without ktest.lds, or compiled against another
 * version; -EINVAL: a name that is none, or is there twice; what debugfs says.
 */
static int __init ktest_init(struct dentry *folder)
{
	int err = ktest_check();

	if (err)
		return err;
	if (!folder) {
		folder = debugfs_create_dir(KBUILD_MODNAME, NULL);
		if (IS_ERR(folder))
			return PTR_ERR(folder);
		ktest_folder = folder;
	}
	debugfs_create_file("tests", 0600, folder, NULL, &ktest_tests_fops);
	debugfs_create_file("ktap", 0400, folder, NULL, &ktest_ktap_fops);
	debugfs_create_file("benches", 0600, folder, NULL, &kbench_fops);
	return 0;
}

/* ktest_exit() - take the files away, once nobody uses them */
static __maybe_unused void ktest_exit(void)
{
	debugfs_remove(ktest_folder);
	ktest_folder = NULL;
}

#endif /* VEXLAB_TEST */

#endif /* VEXLAB_KTEST_MAIN_H */
