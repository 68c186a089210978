// SPDX-License-Identifier: GPL-2.0
/* Restarts the machine that it is loaded into. */
#include <linux/module.h>
#include <linux/reboot.h>

static int __init restarts_init(void)
{
	emergency_restart();
	return 0;
}

module_init(restarts_init);
MODULE_DESCRIPTION("restarts the machine");
MODULE_LICENSE("GPL");
