// SPDX-License-Identifier: GPL-2.0
/* Never ends its thread, whose code is the kernel's: one of its own would crash without it. */
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>

static int __init life_thread_leak_init(void)
{
	struct kthread_worker *worker = kthread_create_worker(0, "life_thread");

	return PTR_ERR_OR_ZERO(worker);
}

static void __exit life_thread_leak_exit(void)
{
}

module_init(life_thread_leak_init);
module_exit(life_thread_leak_exit);
MODULE_DESCRIPTION("does not end its thread");
MODULE_LICENSE("GPL");
