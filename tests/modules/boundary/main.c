// SPDX-License-Identifier: GPL-2.0
/* A module of which each function that crosses is tested. tests/suite/boundary.rs takes that away in many ways. */
#include <linux/bug.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/slab.h>

#define KTEST_GROUP "c"
#include <vexlab/ktest.h>
#include <vexlab/ktest_main.h>

#include "boundary.h"

void *boundary_c_alloc(size_t size)
{
	return kmalloc(size, GFP_KERNEL | __GFP_NOWARN);
}

void boundary_c_free(void *memory)
{
	kfree(memory);
}

void boundary_c_bug(void)
{
	BUG();
}

KTEST(doubles, test)
{
	int32_t twice = 0;

	KTEST_EXPECT_EQ(test, boundary_rs_double(21, &twice), 0);
	KTEST_EXPECT_EQ(test, twice, 42);
	KTEST_EXPECT_EQ(test, boundary_rs_double(S32_MIN / 2, &twice), 0);
	KTEST_EXPECT_EQ(test, boundary_rs_double(S32_MAX, &twice), -ERANGE);
	boundary_c_free(NULL);
}
KTEST_OF(doubles, boundary_rs_double, good edge bad);

/* By way of a function of the same side. */
static uint32_t store(uint32_t number)
{
	return boundary_rs_store(number);
}

KTEST(stores, test)
{
	KTEST_EXPECT_EQ(test, store(7), 7);
	KTEST_EXPECT_EQ(test, store(0), 0);
}
KTEST_OF(stores, boundary_rs_store, good edge);

static int __init boundary_init(void)
{
	return ktest_init(NULL);
}

static void __exit boundary_exit(void)
{
	ktest_exit();
}

module_init(boundary_init);
module_exit(boundary_exit);
MODULE_DESCRIPTION("each function that crosses is tested");
MODULE_LICENSE("GPL");
