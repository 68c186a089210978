// SPDX-License-Identifier: GPL-2.0
/* A module that spends most of its time in one function of C and one of Rust. */
#include <linux/module.h>

#define KTEST_GROUP "c"
#include <vexlab/ktest.h>

#include "profiled.h"

#include <vexlab/ktest_main.h>

static noinline u64 profiled_in_c(u64 start, u64 rounds)
{
	u64 value = start;

	while (rounds--)
		value = value * 6364136223846793005ull + 1442695040888963407ull;
	return value;
}

/* Calls Rust, so that there is a C function between it and the test. */
static noinline u64 profiled_between(u64 start, u64 rounds)
{
	return profiled_in_rust(start, rounds) + 1;
}

static noinline u64 profiled_both(u64 rounds)
{
	return profiled_in_c(1, 3 * rounds) + profiled_between(2, rounds);
}

KTEST(of_c_and_rust, test)
{
	KTEST_EXPECT(test, profiled_both(1000000) != 0);
}

static int __init profiled_init(void)
{
	return ktest_init(NULL);
}

static void __exit profiled_exit(void)
{
	ktest_exit();
}

module_init(profiled_init);
module_exit(profiled_exit);
MODULE_DESCRIPTION("spends its time");
MODULE_LICENSE("GPL");
