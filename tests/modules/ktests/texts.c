// SPDX-License-Identifier: GPL-2.0
/* Texts, under a name that is not the file's. */
#define KTEST_GROUP "text.c"
#include <vexlab/ktest.h>

KTEST(needs_paper, test)
{
	KTEST_SKIP(test, "no paper in printer %d", 7);
	KTEST_FAIL(test, "not reached");
}

KTEST(says_too_much, test)
{
	static const char got[] = "v\n\xffx";
	int i;

	KTEST_EXPECT_STREQ(test, got, "vex\t");
	KTEST_EXPECT_BYTES(test, got, sizeof(got), "vex", 3);
	for (i = 0; i < 100; i++)
		KTEST_FAIL(test, "%0200d", i);
}
