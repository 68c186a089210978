// SPDX-License-Identifier: GPL-2.0
/* What does not come to an end, or waits where it may not. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include "misbehave.h"

static noinline void spin_for(unsigned int seconds)
{
	unsigned long end = jiffies + seconds * HZ;

	while (time_before(jiffies, end))
		cpu_relax();
}

/* The machine has the watchdog bark after two seconds. */
static noinline void soft_lockup(void)
{
	preempt_disable();
	spin_for(4);
	preempt_enable();
}

/* The machine has RCU complain after three seconds. */
static noinline void rcu_stall(void)
{
	rcu_read_lock();
	preempt_disable();
	spin_for(10);
	preempt_enable();
	rcu_read_unlock();
}

static noinline void rcu_stall_of_reader(void)
{
	rcu_read_lock();
	spin_for(10);
	rcu_read_unlock();
}

static DECLARE_COMPLETION(never);
static DEFINE_MUTEX(mutex);

static int waits(void *unused)
{
	wait_for_completion(&never);
	return 0;
}

static int locks(void *unused)
{
	mutex_lock(&mutex);
	return 0;
}

/* The machine has tasks that are blocked for longer than a second reported. */
static void hung_task(void)
{
	kthread_run(waits, NULL, "misbehaving");
	msleep_interruptible(3500);
}

static void hung_mutex(void)
{
	mutex_lock(&mutex);
	kthread_run(locks, NULL, "misbehaving");
	msleep_interruptible(3500);
}

static noinline void schedule_in_atomic(void)
{
	preempt_disable();
	schedule();
	preempt_enable();
}

static DEFINE_SPINLOCK(lock);

static noinline void sleep_in_atomic(void)
{
	spin_lock(&lock);
	msleep(10);
	spin_unlock(&lock);
}

const struct behaviour stuck[] = {
	{ "soft-lockup", soft_lockup },
	{ "rcu-stall", rcu_stall },
	{ "rcu-stall-of-reader", rcu_stall_of_reader },
	{ "hung-task", hung_task },
	{ "hung-mutex", hung_mutex },
	{ "schedule-in-atomic", schedule_in_atomic },
	{ "sleep-in-atomic", sleep_in_atomic },
	{ }
};
