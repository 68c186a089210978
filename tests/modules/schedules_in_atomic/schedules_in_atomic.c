// SPDX-License-Identifier: GPL-2.0
/* Sleeps with a lock in hand. */
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/spinlock.h>

static DEFINE_SPINLOCK(lock);

static noinline void sleep_in_atomic(void)
{
	spin_lock(&lock);
	msleep(10);
	spin_unlock(&lock);
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	sleep_in_atomic();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init schedules_in_atomic_init(void)
{
	return 0;
}

static void __exit schedules_in_atomic_exit(void)
{
}

module_init(schedules_in_atomic_init);
module_exit(schedules_in_atomic_exit);
MODULE_DESCRIPTION("Sleeps with a lock in hand");
MODULE_LICENSE("GPL");
