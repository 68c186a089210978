// SPDX-License-Identifier: GPL-2.0
/* What the processor, or a check of the kernel's, stops at once. */
#include <linux/bug.h>
#include <linux/delay.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "misbehave.h"

static int *volatile nowhere;
static volatile unsigned long number;
static const int constant = 1;
static unsigned char data[16] __aligned(16) = { 0x90, 0xc3 };

static noinline void null_read(void)
{
	number = *nowhere;
}

static noinline void null_write(void)
{
	nowhere[4] = 1;
}

static noinline void wild_read(void)
{
	number = *(volatile int *)0xffffeb0000001000UL;
}

static noinline void low_read(void)
{
	number = *(volatile int *)0x123000UL;
}

static noinline void constant_write(void)
{
	int *volatile place = (int *)&constant;

	*place = 2;
}

static noinline void jump_to_data(void)
{
	void (*volatile code)(void) = (void (*)(void))(void *)data;

	code();
	number++;
}

static noinline void jump_to_null(void)
{
	void (*volatile code)(void) = NULL;

	code();
	number++;
}

static noinline void non_canonical(void)
{
	number = *(volatile int *)0x1122334455667788UL;
}

static noinline void strlen_of_null(void)
{
	const char *volatile text = NULL;

	number = strlen(text);
}

static noinline void bug(void)
{
	BUG();
}

static noinline void bug_on(void)
{
	BUG_ON(number == 0);
}

static noinline void warn_on(void)
{
	WARN_ON(number == 0);
}

static noinline void warn_with_words(void)
{
	WARN(1, "misbehave: the pointer %px is of no use\n", data);
}

static noinline void warn_twice(void)
{
	int i;

	for (i = 0; i < 2; i++)
		WARN(1, "misbehave: round %d\n", i);
}

static noinline void invalid_opcode(void)
{
	asm volatile("ud2");
}

static noinline void divide(void)
{
	number = 1000 / number;
}

static noinline void breakpoint(void)
{
	asm volatile("int3");
}

static noinline int recurse(int depth)
{
	volatile char room[256];

	room[depth & 255] = depth;
	if (depth == INT_MAX)
		return 0;
	return recurse(depth + 1) + room[depth & 255];
}

static void stack_overflow(void)
{
	number = recurse(0);
}

static noinline void stack_corruption(void)
{
	char room[16];
	volatile char *volatile place = room;
	int i;

	for (i = 0; i < 64; i++)
		place[i] = 0x5a;
}

static noinline void stack_end(void)
{
	*end_of_stack(current) = 0;
	schedule();
}

static void do_panic(void)
{
	panic("misbehave: at %px\n", data);
}

/* In a thread of the kernel's. */

static int thread_reads(void *unused)
{
	null_read();
	return 0;
}

static int thread_warns(void *unused)
{
	warn_on();
	return 0;
}

static void in_thread(int (*what)(void *))
{
	kthread_run(what, NULL, "misbehaving");
	msleep(300);
}

static void read_in_thread(void)
{
	in_thread(thread_reads);
}

static void warn_in_thread(void)
{
	in_thread(thread_warns);
}

/* In a work queue. */

static void work_warns(struct work_struct *work)
{
	warn_on();
}

static DECLARE_WORK(warning, work_warns);

static void warn_in_work(void)
{
	schedule_work(&warning);
	flush_work(&warning);
}

static void work_keeps_count(struct work_struct *work)
{
	preempt_disable();
}

static DECLARE_WORK(leaking, work_keeps_count);

static void work_leaks(void)
{
	schedule_work(&leaking);
	msleep(300);
}

/* In an interrupt. */

static void timer_warns(struct timer_list *unused)
{
	warn_on();
}

static void timer_reads(struct timer_list *unused)
{
	null_read();
}

static void timer_bugs(struct timer_list *unused)
{
	bug();
}

static struct timer_list timer;

static void in_timer(void (*what)(struct timer_list *))
{
	timer_setup(&timer, what, 0);
	mod_timer(&timer, jiffies + HZ / 10);
	mdelay(300);
}

static void warn_in_timer(void)
{
	in_timer(timer_warns);
}

static void read_in_timer(void)
{
	in_timer(timer_reads);
}

static void bug_in_timer(void)
{
	in_timer(timer_bugs);
}

/* The machine unloads the module before this timer is due. */
static void timer_stays(void)
{
	timer_setup(&timer, timer_warns, 0);
	mod_timer(&timer, jiffies + 2 * HZ);
}

/* On all processors at once. */

static void cpu_warns(void *unused)
{
	warn_on();
}

static void warn_everywhere(void)
{
	on_each_cpu(cpu_warns, NULL, 1);
}

/* Text that looks like trouble and is none. */
static void innocent(void)
{
	pr_info("misbehave: DEBUG: all is well\n");
	pr_info("misbehave: no BUG: here\n");
	pr_info("WARNING: this module is experimental\n");
	pr_info("DEBUG: kernel NULL pointer dereference is what this is not\n");
	pr_info("INFO: task manager started\n");
	pr_info("Oops, said the module\n");
	pr_info("misbehave: general protection fault is a word\n");
}

const struct behaviour faults[] = {
	{ "null-read", null_read },
	{ "null-write", null_write },
	{ "wild-read", wild_read },
	{ "low-read", low_read },
	{ "constant-write", constant_write },
	{ "jump-to-data", jump_to_data },
	{ "jump-to-null", jump_to_null },
	{ "non-canonical", non_canonical },
	{ "strlen-of-null", strlen_of_null },
	{ "bug", bug },
	{ "bug-on", bug_on },
	{ "warn-on", warn_on },
	{ "warn-with-words", warn_with_words },
	{ "warn-twice", warn_twice },
	{ "invalid-opcode", invalid_opcode },
	{ "divide", divide },
	{ "breakpoint", breakpoint },
	{ "stack-overflow", stack_overflow },
	{ "stack-corruption", stack_corruption },
	{ "stack-end", stack_end },
	{ "panic", do_panic },
	{ "read-in-thread", read_in_thread },
	{ "warn-in-thread", warn_in_thread },
	{ "warn-in-work", warn_in_work },
	{ "work-leaks", work_leaks },
	{ "warn-in-timer", warn_in_timer },
	{ "read-in-timer", read_in_timer },
	{ "bug-in-timer", bug_in_timer },
	{ "timer-stays", timer_stays },
	{ "warn-everywhere", warn_everywhere },
	{ "innocent", innocent },
#ifdef CONFIG_FAILSLAB
	{ "innocent-of-failslab", innocent },
#endif
	{ }
};
