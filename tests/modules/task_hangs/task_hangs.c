// SPDX-License-Identifier: GPL-2.0
/* Has a thread wait for what never comes. */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static DECLARE_COMPLETION(never);

static noinline int wait_for_ever(void *unused)
{
	wait_for_completion(&never);
	return 0;
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	kthread_run(wait_for_ever, NULL, "waits");
	msleep_interruptible(5000);
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init task_hangs_init(void)
{
	return 0;
}

static void __exit task_hangs_exit(void)
{
}

module_init(task_hangs_init);
module_exit(task_hangs_exit);
MODULE_DESCRIPTION("Has a thread wait for what never comes");
MODULE_LICENSE("GPL");
