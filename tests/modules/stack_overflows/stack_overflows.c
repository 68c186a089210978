// SPDX-License-Identifier: GPL-2.0
/* Calls itself until the stack is full. */
#include <linux/module.h>
#include <linux/moduleparam.h>

static volatile int result;

static noinline int recurse(int depth)
{
	volatile char room[256];

	room[depth & 255] = depth;
	if (depth == INT_MAX)
		return 0;
	return recurse(depth + 1) + room[depth & 255];
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	result = recurse(0);
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init stack_overflows_init(void)
{
	return 0;
}

static void __exit stack_overflows_exit(void)
{
}

module_init(stack_overflows_init);
module_exit(stack_overflows_exit);
MODULE_DESCRIPTION("Calls itself until the stack is full");
MODULE_LICENSE("GPL");
