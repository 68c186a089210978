// SPDX-License-Identifier: GPL-2.0
/* Turns the machine off that it is loaded into. */
#include <linux/module.h>
#include <linux/reboot.h>

static int __init powers_off_init(void)
{
	kernel_power_off();
	return 0;
}

module_init(powers_off_init);
MODULE_DESCRIPTION("powers the machine off");
MODULE_LICENSE("GPL");
