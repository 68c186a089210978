// SPDX-License-Identifier: GPL-2.0
/* Numbers. */
#include <vexlab/ktest.h>

KTEST(adds, test)
{
	int two = 2;

	KTEST_EXPECT(test, two == 2);
	KTEST_EXPECT_EQ(test, two + two, 4);
	KTEST_EXPECT_NE(test, two, 4);
	KTEST_EXPECT_LT(test, two, 4);
	KTEST_EXPECT_LE(test, two, 2);
	KTEST_EXPECT_GT(test, two, 1ULL);
	KTEST_EXPECT_GE(test, two, 2);
	KTEST_ASSERT(test, two);
	KTEST_ASSERT_EQ(test, two, 2);
	KTEST_ASSERT_NE(test, &two, NULL);
}

KTEST(subtracts, test)
{
	int two = 2;

	KTEST_EXPECT_EQ(test, two - 3, 1);
	KTEST_ASSERT_EQ(test, two, 3);
	KTEST_FAIL(test, "not reached");
}
