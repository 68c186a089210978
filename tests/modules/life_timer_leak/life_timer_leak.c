// SPDX-License-Identifier: GPL-2.0
/* Never cancels its timer, which is not in the module's own memory and does not expire before long. */
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/slab.h>

static enum hrtimer_restart life_timer_expired(struct hrtimer *timer)
{
	return HRTIMER_NORESTART;
}

static int __init life_timer_leak_init(void)
{
	struct hrtimer *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return -ENOMEM;
	hrtimer_init(timer, CLOCK_MONOTONIC, HRTIMER_MODE_REL);
	timer->function = life_timer_expired;
	hrtimer_start(timer, ktime_set(24 * 3600, 0), HRTIMER_MODE_REL);
	return 0;
}

static void __exit life_timer_leak_exit(void)
{
}

module_init(life_timer_leak_init);
module_exit(life_timer_leak_exit);
MODULE_DESCRIPTION("does not cancel its timer");
MODULE_LICENSE("GPL");
