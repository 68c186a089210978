// SPDX-License-Identifier: GPL-2.0
/*
 * The file selftest: opening it for reading runs the self-tests, and reading
 * it gives what came out, in KTAP (Documentation/dev-tools/ktap.rst).
 */

#include <linux/ctype.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/stdarg.h>
#include <linux/string.h>

#include "internal.h"
#include "vexfs.h"

/* The longest name of a self-test. */
#define NAME_SIZE 64

/*
 * Room for one self-test: its result, and its report, of which each character
 * could be a newline that gets "# " in front.
 */
#define RESULT_SIZE (NAME_SIZE + 32 + 3 * VEXFS_REPORT_SIZE)

/* Two runs at once would see each other's allocations. */
static DEFINE_MUTEX(one_run);

struct ktap {
	size_t tests;		/* how many have a result */
	struct vexfs_report report;
	size_t used;
	size_t size;
	char text[];
};

static __printf(2, 3) void print(struct ktap *ktap, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	ktap->used += vscnprintf(ktap->text + ktap->used, ktap->size - ktap->used, format, args);
	va_end(args);
}

static __printf(2, 3) void complain(struct vexfs_report *report, const char *format, ...)
{
	va_list args;

	report->failed = true;
	va_start(args, format);
	report->used += vscnprintf(report->text + report->used,
				   sizeof(report->text) - report->used, format, args);
	va_end(args);
}

void vexfs_expect_unsigned(struct vexfs_report *report, const char *what, u64 expected, u64 got)
{
	if (expected != got)
		complain(report, "%s: expected %llu, got %llu\n", what, expected, got);
}

void vexfs_expect_signed(struct vexfs_report *report, const char *what, s64 expected, s64 got)
{
	if (expected != got)
		complain(report, "%s: expected %lld, got %lld\n", what, expected, got);
}

/* Bytes between quotes, those that are not printable in hexadecimal. */
static void complain_quoted(struct vexfs_report *report, const u8 *bytes, size_t len)
{
	size_t i;

	complain(report, "\"");
	for (i = 0; i < len; i++) {
		if (isascii(bytes[i]) && isprint(bytes[i]))
			complain(report, "%c", bytes[i]);
		else
			complain(report, "\\x%02x", bytes[i]);
	}
	complain(report, "\"");
}

void vexfs_expect_bytes(struct vexfs_report *report, const char *what,
			const void *expected, size_t expected_len,
			const void *got, size_t got_len)
{
	if (expected_len == got_len && !memcmp(expected, got, got_len))
		return;
	complain(report, "%s: expected ", what);
	complain_quoted(report, expected, expected_len);
	complain(report, ", got ");
	complain_quoted(report, got, got_len);
	complain(report, "\n");
}

/* The result of the test that was run last, and its report line by line. */
static void print_result(struct ktap *ktap, const char *name)
{
	struct vexfs_report *report = &ktap->report;
	size_t begin = 0;

	while (report->failed && begin < report->used) {
		const char *line = report->text + begin;
		size_t rest = report->used - begin;
		const char *end = memchr(line, '\n', rest);
		size_t len = end ? end - line : rest;

		print(ktap, "# %.*s\n", (int)len, line);
		begin += len + 1;
	}
	ktap->tests++;
	print(ktap, "%s %zu %s\n", report->failed ? "not ok" : "ok", ktap->tests, name);
}

static void begin_test(struct ktap *ktap)
{
	ktap->report.used = 0;
	ktap->report.failed = false;
}

/* A self-test that Rust judges. */
static void run_rust_test(struct ktap *ktap, size_t index)
{
	struct vexfs_report *report = &ktap->report;
	char name[NAME_SIZE] = "";
	size_t name_len = 0;
	int err;

	begin_test(ktap);
	err = vexfs_rs_selftest_name(index, (uint8_t *)name, sizeof(name) - 1, &name_len);
	if (err) {
		complain(report, "the name of Rust's test %zu gives error %d\n", index, err);
		print_result(ktap, "rust.unnamed");
		return;
	}
	name[name_len] = '\0';

	err = vexfs_rs_selftest_run(index, (uint8_t *)report->text, sizeof(report->text),
				    &report->used);
	report->failed = err != 0;
	if (err < 0)
		complain(report, "expected 0 or 1, got error %d\n", err);
	print_result(ktap, name);
}

/* Every test before this one has freed what it allocated. */
static void check_balance(struct ktap *ktap, u64 count, u64 bytes)
{
	begin_test(ktap);
	vexfs_expect_unsigned(&ktap->report, "allocations after all tests", count,
			      vexfs_c_alloc_count());
	vexfs_expect_unsigned(&ktap->report, "bytes allocated after all tests", bytes,
			      vexfs_c_alloc_bytes());
	print_result(ktap, "c.memory.all_freed");
}

static void run_all(struct ktap *ktap, size_t plan)
{
	const struct vexfs_selftest *test;
	u64 count = vexfs_c_alloc_count();
	u64 bytes = vexfs_c_alloc_bytes();
	size_t index;

	print(ktap, "KTAP version 1\n1..%zu\n", plan);
	for (index = 0; index < vexfs_rs_selftest_count(); index++)
		run_rust_test(ktap, index);
	for (test = vexfs_boundary_tests; test->name; test++) {
		begin_test(ktap);
		test->run(&ktap->report);
		print_result(ktap, test->name);
	}
	check_balance(ktap, count, bytes);
}

static size_t count_all(void)
{
	const struct vexfs_selftest *test = vexfs_boundary_tests;

	while (test->name)
		test++;
	return vexfs_rs_selftest_count() + (test - vexfs_boundary_tests) + 1;
}

static int selftest_open(struct inode *inode, struct file *file)
{
	size_t plan = count_all();
	size_t size = (plan + 1) * RESULT_SIZE;
	struct ktap *ktap;
	int err;

	ktap = kvzalloc(struct_size(ktap, text, size), GFP_KERNEL);
	if (!ktap)
		return -ENOMEM;
	ktap->size = size;

	err = mutex_lock_interruptible(&one_run);
	if (err) {
		kvfree(ktap);
		return err;
	}
	run_all(ktap, plan);
	mutex_unlock(&one_run);

	file->private_data = ktap;
	return 0;
}

static int selftest_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

static ssize_t selftest_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
	struct ktap *ktap = file->private_data;

	return simple_read_from_buffer(to, count, pos, ktap->text, ktap->used);
}

const struct file_operations vexfs_selftest_fops = {
	.owner = THIS_MODULE,
	.open = selftest_open,
	.release = selftest_release,
	.read = selftest_read,
	.llseek = default_llseek,
};
