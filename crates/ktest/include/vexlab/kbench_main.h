/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Measures a module's benchmarks: the file "benches" beside the file "tests".
 * It is a part of vexlab/ktest_main.h, for which docs/bench.md says what is
 * written to the file and what is read then.
 *
 * Interrupts are off while a benchmark is measured, so nothing preempts it.
 * Preemption is not forbidden on top of that: a benchmark that sleeps would end
 * in a report of the scheduler's, while here it is found by the task's own
 * counters, and told in a line.
 */
#ifndef VEXLAB_KBENCH_MAIN_H
#define VEXLAB_KBENCH_MAIN_H

#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/sched.h>
#include <linux/timex.h>

/* What is measured. */
#define KBENCH_BODY 0	/* the benchmark's own loop */
#define KBENCH_EMPTY 1	/* a loop that does nothing, in its place */
#define KBENCH_KNOWN 2	/* a loop of two instructions a turn, in its place */

/* With which clock. */
#define KBENCH_COUNTER 0	/* the processor's own counter */
#define KBENCH_NANOSECONDS 1
#define KBENCH_OFF 2		/* none, and interrupts stay on: whoever samples is to see it */

/* How far a benchmark is. */
#define KBENCH_READY 0
#define KBENCH_WARMING 1	/* a turn that is not measured */
#define KBENCH_MEASURING 2
#define KBENCH_MEASURED 3
#define KBENCH_AGAIN 4		/* it has begun a second loop */

/* The longest order, and the most samples that it may ask for. */
#define KBENCH_ORDER_MAX 4096
#define KBENCH_SAMPLES_MAX 512

static u64 kbench_now(const struct kbench *bench)
{
	if (bench->clock == KBENCH_OFF)
		return 0;
	return bench->clock == KBENCH_COUNTER ? get_cycles() : ktime_get_ns();
}

static u64 kbench_switches(void)
{
	return current->nvcsw + current->nivcsw;
}

/* Interrupts are as they were, and who wants the processor is heard again. */
static void kbench_let_go(struct kbench *bench)
{
	if (bench->wanted) {
		set_tsk_need_resched(current);
		set_preempt_need_resched();
	}
	local_irq_restore((unsigned long)bench->flags);
}

static noinline u64 kbench_end(struct kbench *bench)
{
	u64 now = kbench_now(bench);
	bool enabled = !irqs_disabled();

	if (bench->state == KBENCH_WARMING) {
		bench->state = KBENCH_MEASURING;
		bench->started = kbench_now(bench);
		return bench->turns;
	}
	if (bench->state != KBENCH_MEASURING)
		return 0;
	bench->state = KBENCH_MEASURED;
	bench->ticks = now - bench->started;
	if (bench->clock == KBENCH_OFF)
		return 0;
	bench->switches = kbench_switches() - bench->switches;
	bench->interrupts = enabled;
	kbench_let_go(bench);
	return 0;
}

static noinline u64 kbench_begin(struct kbench *bench)
{
	u64 turns = bench->turns;
	unsigned long flags;

	if (bench->state != KBENCH_READY) {
		bench->state = KBENCH_AGAIN;
		return 0;
	}
	if (bench->clock != KBENCH_OFF) {
		bench->switches = kbench_switches();
		local_irq_save(flags);
		bench->flags = flags;
		/*
		 * Where another task wants the processor, whoever might sleep
		 * looks at more each time. It gets it after the loop.
		 */
		bench->wanted = need_resched();
		if (bench->wanted) {
			clear_tsk_need_resched(current);
			clear_preempt_need_resched();
		}
	}
	/*
	 * What the kernel keeps for this processor may have been used up since
	 * the last loop. The first turn has it filled, before the clock runs.
	 */
	if (bench->what == KBENCH_BODY) {
		bench->state = KBENCH_WARMING;
		return 1;
	}

	bench->state = KBENCH_MEASURING;
	bench->started = kbench_now(bench);
	if (bench->what == KBENCH_EMPTY) {
		for (; turns; turns--)
			asm volatile("");
	} else {
#ifdef CONFIG_X86_64
		asm volatile("1: dec %0\n\tjnz 1b" : "+r" (turns) : : "cc");
#endif
	}
	kbench_end(bench);
	return 0;
}

/* What is to be measured: as it was written to the file. */
struct kbench_order {
	const struct ktest_case *entry;
	u32 what;
	u32 clock;
	u64 turns[KBENCH_SAMPLES_MAX];
	size_t count;
};

static int kbench_choose(const char *word, const char *first, const char *second,
			 const char *third, u32 *choice)
{
	if (!word)
		return -EINVAL;
	if (!strcmp(word, first))
		*choice = 0;
	else if (!strcmp(word, second))
		*choice = 1;
	else if (third && !strcmp(word, third))
		*choice = 2;
	else
		return -EINVAL;
	return 0;
}

/* NAME body|empty|known counter|nanoseconds|off TURNS... */
static int kbench_parse(char *text, struct kbench_order *order)
{
	const struct ktest_case *const *entry;
	const char *name = strsep(&text, " ");
	char *word;
	int err;

	err = kbench_choose(strsep(&text, " "), "body", "empty", "known", &order->what);
	if (!err)
		err = kbench_choose(strsep(&text, " "), "counter", "nanoseconds", "off",
				    &order->clock);
	if (err)
		return err;
	while ((word = strsep(&text, " "))) {
		if (order->count == KBENCH_SAMPLES_MAX)
			return -E2BIG;
		err = kstrtou64(word, 10, &order->turns[order->count]);
		if (err)
			return err;
		if (!order->turns[order->count++])
			return -EINVAL;
	}
	if (!order->count)
		return -EINVAL;
	ktest_for_each(entry) {
		if ((*entry)->kind == KTEST_KIND_BENCH && !strcmp((*entry)->name, name)) {
			order->entry = *entry;
			return 0;
		}
	}
	return -ENOENT;
}

/* Whether it has left its loop early. */
static bool kbench_has_left(const struct kbench *bench)
{
	return bench->state == KBENCH_WARMING || bench->state == KBENCH_MEASURING;
}

/* What kept a benchmark from being measured: a line for each reason. */
static bool kbench_trouble(struct ktest_file *file, struct kbench *bench)
{
	size_t before = file->used;
	const char *line;
	char *rest;

	if (bench->test.outcome != KTEST_PASSED) {
		bench->test.text[min(bench->test.used, bench->test.size - 1)] = '\0';
		rest = bench->test.text;
		while ((line = strsep(&rest, "\n"))) {
			if (!*line)
				continue;
			ktest_print(file, bench->test.outcome == KTEST_SKIPPED ? "skipped " : "failed ");
			ktest_print_line(file, line, strlen(line));
			ktest_print(file, "\n");
		}
		if (file->used == before)
			ktest_print(file, "failed it does not say why\n");
		return true;
	}
	if (bench->state == KBENCH_READY)
		ktest_print(file, "unmeasured\n");
	if (bench->state == KBENCH_AGAIN)
		ktest_print(file, "again\n");
	if (kbench_has_left(bench))
		ktest_print(file, "left\n");
	if (bench->state == KBENCH_MEASURED && bench->switches)
		ktest_print(file, "slept %llu\n", bench->switches);
	else if (bench->state == KBENCH_MEASURED && bench->interrupts)
		ktest_print(file, "interrupts\n");
	return file->used != before;
}

static bool kbench_measure_one(struct ktest_file *file, const struct kbench_order *order, u64 turns)
{
	struct kbench bench = {
		.test = { .text = ktest_text, .size = sizeof(ktest_text) },
		.turns = turns,
		.begin = kbench_begin,
		.end = kbench_end,
		.what = order->what,
		.clock = order->clock,
	};

	KTEST_BEFORE(&bench.test);
	order->entry->bench(&bench);
	if (kbench_has_left(&bench) && bench.clock != KBENCH_OFF)
		kbench_let_go(&bench);
	KTEST_AFTER(&bench.test);
	if (kbench_trouble(file, &bench))
		return false;
	ktest_print(file, "sample %llu %llu\n", turns, bench.ticks);
	return true;
}

/* Measures, and has the samples in the file: all, or those up to the first trouble. */
static int kbench_measure(struct ktest_file *file, const struct kbench_order *order)
{
	int err = ktest_renew(file, 64 + order->count * 64 + KTEST_RESULT_MAX);
	size_t i;

	if (err)
		return err;
	if (test_and_set_bit(0, &ktest_busy))
		return -EBUSY;
	/* The last such line is the benchmark during which the kernel died. */
	printk(KERN_INFO KBUILD_MODNAME ": ktest: %s\n", order->entry->name);
	ktest_print(file, "kbench version 1\n");
	for (i = 0; i < order->count; i++) {
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		if (!kbench_measure_one(file, order, order->turns[i]))
			break;
		cond_resched();
	}
	ktest_print(file, "end\n");
	clear_bit(0, &ktest_busy);
	return err;
}

static int kbench_list(struct ktest_file *file)
{
	return ktest_list_kind(file, KTEST_KIND_BENCH);
}

static int kbench_open(struct inode *inode, struct file *file)
{
	return ktest_open(file, kbench_list);
}

/* One write is one whole order. The samples are what is read next. */
static ssize_t kbench_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
	struct ktest_file *open = file->private_data;
	struct kbench_order *order;
	char *text;
	int err;

	if (!count || count > KBENCH_ORDER_MAX)
		return -EINVAL;
	text = memdup_user_nul(from, count);
	if (IS_ERR(text))
		return PTR_ERR(text);
	if (text[count - 1] == '\n')
		text[count - 1] = '\0';
	order = kvzalloc(sizeof(*order), GFP_KERNEL);
	err = order ? kbench_parse(text, order) : -ENOMEM;
	if (!err) {
		mutex_lock(&open->lock);
		err = kbench_measure(open, order);
		mutex_unlock(&open->lock);
	}
	kvfree(order);
	kfree(text);
	if (err)
		return err;
	*pos = 0;
	return count;
}

static const struct file_operations kbench_fops = {
	.owner = THIS_MODULE,
	.open = kbench_open,
	.release = ktest_release,
	.read = ktest_read,
	.write = kbench_write,
};

#endif /* VEXLAB_KBENCH_MAIN_H */
