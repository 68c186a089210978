// SPDX-License-Identifier: GPL-2.0
/*
 * The same calls of Rust from where C may be: under a spinlock, in interrupts,
 * on two processors at once, where the stack is nearly used up, and with each
 * allocation failing in turn. Nothing here is to make a kernel complain, one that
 * looks for sleeping in atomic context, lock orders or bad accesses included.
 */

#include <linux/bottom_half.h>
#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/errno.h>
#include <linux/interrupt.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#define KTEST_GROUP "c"
#include <vexlab/ktest.h>

#include "vexfs.h"

static int32_t add(void *context, uint8_t byte)
{
	u64 *sum = context;

	*sum += byte;
	return 0;
}

/*
 * Calls each function that may be called in any context and lives in memory of
 * its caller's, and counts the answers that are wrong. A test's own macros would
 * be too much for an interrupt, and for a stack that is nearly used up.
 */
static noinline unsigned int call_all(void)
{
	static const uint8_t data[] = { 'v', 'e', 'x', 0 };
	const u64 sum = 'v' + 'e' + 'x';
	unsigned int wrong = 0;
	uint8_t out[4];
	u64 visited = 0;
	uint64_t first = 0;
	uint64_t second = 0;
	int64_t result = 0;
	size_t length = 0;
	int err;

	wrong += vexfs_rs_test_sum(data, sizeof(data)) != sum;
	wrong += vexfs_rs_test_string_sum((const char *)data) != sum;
	wrong += vexfs_rs_test_text_length(data, sizeof(data), &length) || length != 3;
	wrong += vexfs_rs_test_upper(data, 3, out, sizeof(out), &length) || memcmp(out, "VEX", 3);
	wrong += vexfs_rs_test_upper(data, 3, out, 2, &length) != -ENOSPC;
	wrong += vexfs_rs_test_error(1) != -EINVAL;
	wrong += vexfs_rs_test_calculate('*', 6, 7, &result) || result != 42;
	wrong += vexfs_rs_test_calculate('/', 6, 0, &result) != -EDOM;
	wrong += vexfs_rs_test_visit(data, sizeof(data), add, &visited) || visited != sum;
	wrong += vexfs_rs_test_descend(2) != 3;
	err = vexfs_rs_proof(data, sizeof(data), &first);
	wrong += err && err != -ENODATA;
	wrong += vexfs_rs_proof(data, sizeof(data), &second) != err || first != second;
	return wrong;
}

/* The same with an object that was made where that was possible. */
static unsigned int count_on(void *counter, uint64_t expected)
{
	uint64_t total = 0;

	return vexfs_rs_test_counter_add(counter, 1, &total) || total != expected;
}

static DEFINE_SPINLOCK(lock);

KTEST(under_a_spinlock, test)
{
	void *counter = vexfs_rs_test_counter_new(0);
	unsigned int wrong;
	unsigned long flags;

	KTEST_ASSERT(test, counter);
	spin_lock_irqsave(&lock, flags);
	wrong = call_all() + count_on(counter, 1);
	spin_unlock_irqrestore(&lock, flags);
	KTEST_EXPECT_EQ(test, wrong, 0);

	local_bh_disable();
	wrong = call_all() + count_on(counter, 2);
	local_bh_enable();
	KTEST_EXPECT_EQ(test, wrong, 0);

	preempt_disable();
	wrong = call_all() + count_on(counter, 3);
	preempt_enable();
	KTEST_EXPECT_EQ(test, wrong, 0);
	vexfs_rs_test_counter_free(counter);
}
KTEST_OF(under_a_spinlock, vexfs_rs_proof, good);
KTEST_OF(under_a_spinlock, vexfs_rs_test_counter_add, good);

/* What an interrupt has to do, and what came of it. */
static struct {
	void *counter;
	unsigned int wrong;
	unsigned int calls;
	bool in_hard;
	bool in_soft;
} interrupted;

static void call_in_interrupt(void)
{
	interrupted.in_hard = in_hardirq();
	interrupted.in_soft = in_serving_softirq();
	interrupted.wrong = call_all() + count_on(interrupted.counter, ++interrupted.calls);
}

static void in_irq_work(struct irq_work *work)
{
	call_in_interrupt();
}

static struct irq_work irq_work = IRQ_WORK_INIT_HARD(in_irq_work);

static void in_tasklet(struct tasklet_struct *tasklet)
{
	call_in_interrupt();
}

static DECLARE_TASKLET(tasklet, in_tasklet);

KTEST(in_interrupts, test)
{
	memset(&interrupted, 0, sizeof(interrupted));
	interrupted.counter = vexfs_rs_test_counter_new(0);
	KTEST_ASSERT(test, interrupted.counter);

	KTEST_EXPECT(test, irq_work_queue(&irq_work));
	irq_work_sync(&irq_work);
	KTEST_EXPECT_EQ(test, interrupted.calls, 1);
	KTEST_EXPECT(test, interrupted.in_hard);
	KTEST_EXPECT_EQ(test, interrupted.wrong, 0);

	tasklet_schedule(&tasklet);
	tasklet_kill(&tasklet);
	KTEST_EXPECT_EQ(test, interrupted.calls, 2);
	KTEST_EXPECT(test, interrupted.in_soft);
	KTEST_EXPECT_EQ(test, interrupted.wrong, 0);

	vexfs_rs_test_counter_free(interrupted.counter);
}
KTEST_OF(in_interrupts, vexfs_rs_proof, good);
KTEST_OF(in_interrupts, vexfs_rs_test_counter_add, good);

/* How often two processors do the same at the same time. */
#define ROUNDS 200

static atomic_t arrived;

struct worker {
	struct task_struct *task;
	struct completion done;
	unsigned int number;	/* 0, 1 */
	unsigned int wrong;
	unsigned int seen_on;	/* the processor */
};

/* Neither begins a round before the other one does. */
static void meet(int round)
{
	atomic_inc(&arrived);
	while (atomic_read(&arrived) < 2 * round)
		cond_resched();
}

static unsigned int work_once(uint64_t start)
{
	static const uint8_t data[] = { 1, 2, 3 };
	void *counter = vexfs_rs_test_counter_new(start);
	unsigned int wrong = call_all();
	uint64_t sum = 0;

	wrong += vexfs_rs_test_collect(data, sizeof(data), &sum) || sum != 6;
	wrong += !counter || count_on(counter, start + 1);
	vexfs_rs_test_counter_free(counter);
	return wrong;
}

static int work(void *data)
{
	struct worker *worker = data;
	int round;

	worker->seen_on = raw_smp_processor_id();
	for (round = 1; round <= ROUNDS; round++) {
		meet(round);
		worker->wrong += work_once(1000 * worker->number + round);
	}
	complete(&worker->done);
	return 0;
}

static void in_call(void *processor)
{
	*(unsigned int *)processor = raw_smp_processor_id();
	call_in_interrupt();
}

/* A call on another processor, which that one is interrupted for. */
static void interrupt_other(struct ktest *test, unsigned int other)
{
	unsigned int processor = other + 1;

	memset(&interrupted, 0, sizeof(interrupted));
	interrupted.counter = vexfs_rs_test_counter_new(0);
	KTEST_ASSERT(test, interrupted.counter);
	KTEST_EXPECT_EQ(test, smp_call_function_single(other, in_call, &processor, 1), 0);
	KTEST_EXPECT_EQ(test, processor, other);
	KTEST_EXPECT_EQ(test, interrupted.calls, 1);
	KTEST_EXPECT_EQ(test, interrupted.wrong, 0);
	vexfs_rs_test_counter_free(interrupted.counter);
}

KTEST(on_two_processors, test)
{
	static struct worker workers[2];
	unsigned int first = cpumask_first(cpu_online_mask);
	unsigned int second = cpumask_next(first, cpu_online_mask);
	unsigned int i;

	if (num_online_cpus() < 2)
		KTEST_SKIP(test, "this machine has one processor: processors = 2 under [machine]");

	atomic_set(&arrived, 0);
	for (i = 0; i < 2; i++) {
		workers[i] = (struct worker){ .number = i };
		init_completion(&workers[i].done);
		workers[i].task = kthread_create(work, &workers[i], "vexfs-test/%u", i);
		if (IS_ERR(workers[i].task))
			break;
		kthread_bind(workers[i].task, i ? second : first);
	}
	if (i < 2) {
		KTEST_FAIL(test, "no thread: error %ld", PTR_ERR(workers[i].task));
		/* one that was never woken ends here, without having begun */
		if (i)
			kthread_stop(workers[0].task);
		return;
	}
	for (i = 0; i < 2; i++)
		wake_up_process(workers[i].task);
	for (i = 0; i < 2; i++) {
		wait_for_completion(&workers[i].done);
		KTEST_EXPECT_EQ(test, workers[i].wrong, 0);
		KTEST_EXPECT_EQ(test, workers[i].seen_on, i ? second : first);
	}
	interrupt_other(test, second);
	interrupt_other(test, first);
}
KTEST_OF(on_two_processors, vexfs_rs_test_counter_new, good);
KTEST_OF(on_two_processors, vexfs_rs_test_counter_free, good);
KTEST_OF(on_two_processors, vexfs_rs_test_collect, good);

/* What is left of the stack when Rust is called: 3.2 of 16 KiB. An interrupt may come there, too. */
#define LEFT (THREAD_SIZE / 5)

/* Bytes of the stack that are free, above the mark at its end. */
static __always_inline unsigned long stack_left(void)
{
	return (unsigned long)__builtin_frame_address(0) - (unsigned long)end_of_stack(current);
}

/* Goes down until no more than that is left, and says how much it is. */
static noinline unsigned int go_down(unsigned long *left)
{
	volatile uint8_t room[128];
	unsigned int wrong;

	room[0] = 0;
	*left = stack_left();
	if (*left < LEFT)
		return call_all();
	wrong = go_down(left);
	/* used after the call, so that it is no jump */
	return wrong + room[0];
}

KTEST(deep_in_the_stack, test)
{
	unsigned long left = 0;

	KTEST_EXPECT_EQ(test, go_down(&left), 0);
	KTEST_EXPECT_LT(test, left, LEFT);
	KTEST_EXPECT_GT(test, left, LEFT / 2);
	KTEST_EXPECT(test, !task_stack_end_corrupted(current));
}
KTEST_OF(deep_in_the_stack, vexfs_rs_proof, good);
KTEST_OF(deep_in_the_stack, vexfs_rs_test_upper, good);

/* More than any operation here allocates. */
#define MOST 20

KTEST(each_allocation_fails, test)
{
	static const uint8_t data[] = { 1, 20, 200, 3 };
	u64 count = vexfs_c_alloc_count();
	u64 bytes = vexfs_c_alloc_bytes();
	uint64_t sum = 77;
	uint64_t nth;
	uint64_t left;
	int err = -ENOMEM;

	for (nth = 1; err && nth < MOST; nth++) {
		vexfs_c_test_fail_alloc(nth);
		err = vexfs_rs_test_collect(data, sizeof(data), &sum);
		left = vexfs_c_test_fail_alloc(0);
		KTEST_EXPECT_EQ(test, left, err ? 0 : 1);
		KTEST_EXPECT_EQ(test, err, nth <= sizeof(data) + 1 ? -ENOMEM : 0);
		KTEST_EXPECT_EQ(test, sum, err ? 77 : 224);
		KTEST_EXPECT_EQ(test, vexfs_c_alloc_count(), count);
		KTEST_EXPECT_EQ(test, vexfs_c_alloc_bytes(), bytes);
	}
	KTEST_EXPECT_EQ(test, nth, sizeof(data) + 3);

	vexfs_c_test_fail_alloc(1);
	KTEST_EXPECT(test, !vexfs_rs_test_counter_new(1));
	KTEST_EXPECT_EQ(test, vexfs_c_test_fail_alloc(0), 0);
}
KTEST_OF(each_allocation_fails, vexfs_rs_test_collect, good bad);
KTEST_OF(each_allocation_fails, vexfs_rs_test_counter_new, bad);

KTEST(collecting, test)
{
	uint8_t place[1 + sizeof(uint64_t)] = {};
	uint64_t sum = 77;

	KTEST_EXPECT_EQ(test, vexfs_rs_test_collect(NULL, 1, &sum), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_collect(place, SIZE_MAX, &sum), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_collect(place, 1, NULL), -EINVAL);
	KTEST_EXPECT_EQ(test, sum, 77);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_collect(NULL, 0, &sum), 0);
	KTEST_EXPECT_EQ(test, sum, 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_collect((const uint8_t *)"abc" + 1, 2,
						    (uint64_t *)(place + 1)), 0);
	KTEST_EXPECT_EQ(test, place[1], (uint8_t)('b' + 'c'));
}
KTEST_OF(collecting, vexfs_rs_test_collect, edge bad);
