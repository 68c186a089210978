// SPDX-License-Identifier: GPL-2.0
/* Keeps its processor for seconds. */
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/preempt.h>
#include <linux/processor.h>

static noinline void spin(void)
{
	unsigned long end = jiffies + 8 * HZ;

	preempt_disable();
	while (time_before(jiffies, end))
		cpu_relax();
	preempt_enable();
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	spin();
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init locks_up_init(void)
{
	return 0;
}

static void __exit locks_up_exit(void)
{
}

module_init(locks_up_init);
module_exit(locks_up_exit);
MODULE_DESCRIPTION("Keeps its processor for seconds");
MODULE_LICENSE("GPL");
