// SPDX-License-Identifier: GPL-2.0
/* Benchmarks of which each can't be measured, for a reason of its own. */
#include <linux/delay.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>

#include <vexlab/kbench.h>

KBENCH(sleeps, bench)
{
	KBENCH_LOOP(bench)
		msleep(1);
}

KBENCH(enables_interrupts, bench)
{
	KBENCH_LOOP(bench)
		local_irq_enable();
}

/* A turn takes longer each time, as what fills up does. */
KBENCH(varies, bench)
{
	static u64 calls;
	u64 i;

	KBENCH_LOOP(bench) {
		for (i = 0; i < calls; i++)
			asm volatile("");
		calls++;
	}
}

/* Twice as many turns take more than twice as long. */
KBENCH(grows, bench)
{
	u64 turn = 0;
	u64 i;

	KBENCH_LOOP(bench) {
		for (i = 0; i < turn; i++)
			asm volatile("");
		turn++;
	}
}

KBENCH(leaves_its_loop, bench)
{
	KBENCH_LOOP(bench)
		break;
}

KBENCH(has_two_loops, bench)
{
	KBENCH_LOOP(bench)
		asm volatile("");
	KBENCH_LOOP(bench)
		asm volatile("");
}

KBENCH(has_no_loop, bench)
{
}

KBENCH(fails, bench)
{
	KTEST_ASSERT_EQ(&bench->test, bench->turns, 0);
	KBENCH_LOOP(bench)
		asm volatile("");
}

KBENCH(skips, bench)
{
	KTEST_SKIP(&bench->test, "no paper in printer %d", 7);
}
