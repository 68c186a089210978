/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Benchmarks in a kernel module. What this file is for is in docs/bench.md of
 * vexlab.
 *
 *	#include <vexlab/kbench.h>
 *
 *	KBENCH(sums, bench)
 *	{
 *		struct table *table = make_table();
 *
 *		KTEST_ASSERT(&bench->test, table);
 *		KBENCH_LOOP(bench)
 *			KBENCH_KEEP(sum(table));
 *		free_table(table);
 *	}
 *
 * What is in the loop is measured, with interrupts off: it must not sleep. It
 * is there once, and is left at its end only. Without VEXLAB_TEST nothing of it
 * is in the module.
 */
#ifndef VEXLAB_KBENCH_H
#define VEXLAB_KBENCH_H

#include <vexlab/ktest.h>

/* A benchmark that runs; the same is in crates/ktest/src/bench.rs. */
struct kbench {
	struct ktest test;	/* what it has to say; one that fails is not measured */
	u64 turns;		/* how often the loop is to be gone through */
	u64 (*begin)(struct kbench *bench);	/* how often it is gone through first */
	u64 (*end)(struct kbench *bench);	/* how often after that; 0: no more */
	u64 started;		/* the rest is the runner's */
	u64 ticks;
	u64 switches;
	u64 flags;
	u32 what;
	u32 clock;
	u32 state;
	u32 interrupts;
	u32 wanted;
};

#ifdef VEXLAB_TEST

#define KBENCH(_name, _bench)						\
	static void kbench_run_##_name(struct kbench *_bench);		\
	static const struct ktest_case kbench_case_##_name = {		\
		.layout = KTEST_LAYOUT,					\
		.kind = KTEST_KIND_BENCH,				\
		.name = KTEST_GROUP "." #_name,				\
		.bench = kbench_run_##_name,				\
	};								\
	static const struct ktest_case *const kbench_entry_##_name	\
		__used __section(".ktests") __ktest_in_order = &kbench_case_##_name;	\
	static void kbench_run_##_name(struct kbench *_bench)

#else

#define KBENCH(_name, _bench)						\
	static void __maybe_unused kbench_run_##_name(struct kbench *_bench)

#endif

/*
 * The measured region: a loop that takes two instructions a turn by itself. It
 * is gone through once before that is measured. Who leaves it early has turns
 * left over.
 */
#define KBENCH_LOOP(_bench)						\
	for (u64 __turns = (_bench)->begin(_bench); __turns;		\
	     __turns = __turns ? 0 : (_bench)->end(_bench))		\
		for (; __turns; __turns--)

/* The compiler must work the value out; to have it takes no instruction. */
#define KBENCH_KEEP(_value)						\
	do {								\
		typeof(_value) __value = (_value);			\
									\
		asm volatile("" : : "rm" (__value));			\
	} while (0)

#endif /* VEXLAB_KBENCH_H */
