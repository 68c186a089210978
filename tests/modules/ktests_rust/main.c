// SPDX-License-Identifier: GPL-2.0
/* A module with tests in C and in Rust, which are told apart by nothing but their names. */
#include <linux/module.h>

#define KTEST_GROUP "c"
#include <vexlab/ktest.h>

#include "ktests_rust.h"

/* Each test is charged for what it leaves behind. */
static unsigned int left_before;

static __maybe_unused void before(void)
{
	left_before = ktests_rust_left();
}

static __maybe_unused void after(struct ktest *test)
{
	KTEST_EXPECT_EQ(test, ktests_rust_left(), left_before);
}

#define KTEST_BEFORE(test) before()
#define KTEST_AFTER(test) after(test)
#include <vexlab/ktest_main.h>

KTEST(divisor, test)
{
	KTEST_EXPECT_EQ(test, ktests_rust_divisor(48, 36), 12);
}

KTEST(leaves_something, test)
{
	ktests_rust_leave();
}

static int __init ktests_rust_init(void)
{
	return ktest_init(NULL);
}

static void __exit ktests_rust_exit(void)
{
	ktest_exit();
}

module_init(ktests_rust_init);
module_exit(ktests_rust_exit);
MODULE_DESCRIPTION("tests in C and Rust");
MODULE_LICENSE("GPL");
