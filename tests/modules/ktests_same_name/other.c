// SPDX-License-Identifier: GPL-2.0
#define KTEST_GROUP "same"
#include <vexlab/ktest.h>

KTEST(adds, test)
{
}
