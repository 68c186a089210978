// SPDX-License-Identifier: GPL-2.0
/* Compares what the Rust side computes with what is known of the same addresses here. */
#include <linux/debugfs.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "got_relaxed.h"

static struct dentry *folder;
static char answer_text[20];
static char report[1024];
static int reported;
static int number;

static struct debugfs_blob_wrapper blob = {
	.data = report,
};

uint64_t got_relaxed_thrice(uint64_t number)
{
	return 3 * number + 1;
}

static void say(const char *name, bool good)
{
	number++;
	reported += scnprintf(report + reported, sizeof(report) - reported, "%sok %d %s\n", good ? "" : "not ",
			      number, name);
}

static bool arithmetic_is_right(uint64_t a, uint64_t n)
{
	return got_relaxed_add(n) == n + a && got_relaxed_sub(n) == n - a && got_relaxed_and(n) == (n & a) &&
	       got_relaxed_or(n) == (n | a) && got_relaxed_xor(n) == (n ^ a) && got_relaxed_adc(n) == n + a + 1 &&
	       got_relaxed_sbb(n) == n - a - 1;
}

static void run_tests(void)
{
	uint64_t a = (uintptr_t)got_relaxed_datum();

	reported = scnprintf(report, sizeof(report), "KTAP version 1\n1..8\n");
	say("load", *got_relaxed_datum() == 0x6b6f && got_relaxed_load() == a && got_relaxed_load_low() == (u32)a &&
		    got_relaxed_load_high_register() == a);
	say("call", got_relaxed_call(5) == 16 && got_relaxed_call(0) == 1);
	say("tail-call", got_relaxed_tail_call(7) == 22);
	say("push", got_relaxed_push() == a);
	say("arithmetic", arithmetic_is_right(a, 0) && arithmetic_is_right(a, 0x123456789abcdef0) &&
			  arithmetic_is_right(a, ~0ULL));
	say("compare", got_relaxed_is_address(a) && !got_relaxed_is_address(a + 8) && !got_relaxed_is_address((u32)a) &&
		       got_relaxed_is_disjoint(~a) && !got_relaxed_is_disjoint(~a | BIT_ULL(63)));
	say("missing-weak", got_relaxed_missing() == 0);
	say("of-kernel", got_relaxed_kfree() == (uintptr_t)kfree);
	blob.size = reported;
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
	if (!got_relaxed_answer(challenge, sizeof(challenge), &answer))
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

static int __init got_relaxed_init(void)
{
	run_tests();
	folder = debugfs_create_dir("got_relaxed", NULL);
	debugfs_create_file("proof", 0600, folder, NULL, &proof_fops);
	debugfs_create_blob("selftest", 0444, folder, &blob);
	return 0;
}

static void __exit got_relaxed_exit(void)
{
	debugfs_remove(folder);
}

module_init(got_relaxed_init);
module_exit(got_relaxed_exit);
MODULE_DESCRIPTION("its Rust side was relaxed");
MODULE_LICENSE("GPL");
