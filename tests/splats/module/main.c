// SPDX-License-Identifier: GPL-2.0
/* Misbehaves in one way at a time: the one whose name is written to its parameter `do`. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>

#include "misbehave.h"

static const struct behaviour *const lists[] = { faults, memory, stuck, debug };

static int do_set(const char *name, const struct kernel_param *kp)
{
	const struct behaviour *b;
	int i;

	for (i = 0; i < ARRAY_SIZE(lists); i++) {
		for (b = lists[i]; b->name; b++) {
			if (sysfs_streq(name, b->name)) {
				b->run();
				return 0;
			}
		}
	}
	return -EINVAL;
}

static const struct kernel_param_ops do_ops = { .set = do_set };

module_param_cb(do, &do_ops, NULL, 0200);
MODULE_PARM_DESC(do, "the name of a way to misbehave");

static int __init misbehave_init(void)
{
	return 0;
}

static void __exit misbehave_exit(void)
{
}

module_init(misbehave_init);
module_exit(misbehave_exit);
MODULE_DESCRIPTION("misbehaves on demand");
MODULE_LICENSE("GPL");
