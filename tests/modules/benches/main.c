// SPDX-License-Identifier: GPL-2.0
/* A module with benchmarks: two that differ by one instruction in what they call. */
#include <linux/module.h>
#include <linux/sched.h>

#include <vexlab/kbench.h>
#include <vexlab/ktest_main.h>

/* -DBENCHES_MORE puts one instruction more into what is called. */
#ifdef BENCHES_MORE
#define MORE() asm volatile("nop")
#else
#define MORE()
#endif

static noinline u64 callee(u64 number)
{
	MORE();
	/* so that the compiler leaves it alone */
	asm volatile("" : "+r" (number));
	return number;
}

KBENCH(call, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(callee(7));
}

KBENCH(call_and_more, bench)
{
	KBENCH_LOOP(bench) {
		asm volatile("nop");
		KBENCH_KEEP(callee(7));
	}
}

KBENCH(nothing, bench)
{
	KBENCH_LOOP(bench)
		asm volatile("");
}

/* One nop more each second turn. */
KBENCH(half, bench)
{
	u64 turn = 0;

	KBENCH_LOOP(bench) {
		asm volatile("test $1, %0\n\t"
			     "jz 1f\n\t"
			     "nop\n\t"
			     "1: inc %0" : "+r" (turn) : : "cc");
	}
}

/* One loop among several finds that what its first turn needs has been used up. */
KBENCH(first_turn_is_slow, bench)
{
	static unsigned int loops;
	u64 needed = ++loops % 7 == 0 ? 1000 : 0;

	KBENCH_LOOP(bench) {
		for (; needed; needed--)
			asm volatile("");
		asm volatile("nop");
	}
}

/* Before one loop among several another task wants the processor. */
KBENCH(processor_is_wanted, bench)
{
	static unsigned int loops;

	if (++loops % 7 == 0) {
		set_tsk_need_resched(current);
		set_preempt_need_resched();
	}
	KBENCH_LOOP(bench)
		cond_resched();
}

KTEST(is_there, test)
{
	KTEST_EXPECT_EQ(test, callee(7), 7);
}

static int __init benches_init(void)
{
	return ktest_init(NULL);
}

static void __exit benches_exit(void)
{
	ktest_exit();
}

module_init(benches_init);
module_exit(benches_exit);
MODULE_DESCRIPTION("benchmarks");
MODULE_LICENSE("GPL");
