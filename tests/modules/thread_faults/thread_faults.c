// SPDX-License-Identifier: GPL-2.0
/* A thread of its own writes through a null pointer. */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static int *volatile nowhere;

static noinline void write_nowhere(void)
{
	nowhere[4] = 1;
}

static int thread(void *unused)
{
	write_nowhere();
	return 0;
}

static int trigger_set(const char *text, const struct kernel_param *kp)
{
	kthread_run(thread, NULL, "writes");
	msleep(300);
	return 0;
}

static const struct kernel_param_ops trigger_ops = { .set = trigger_set };

module_param_cb(trigger, &trigger_ops, NULL, 0200);

static int __init thread_faults_init(void)
{
	return 0;
}

static void __exit thread_faults_exit(void)
{
}

module_init(thread_faults_init);
module_exit(thread_faults_exit);
MODULE_DESCRIPTION("A thread of its own writes through a null pointer");
MODULE_LICENSE("GPL");
