// SPDX-License-Identifier: GPL-2.0
/*
 * Says that it was built for another kernel: the loader believes the first
 * entry of that name, and this comes before the one that modpost adds.
 */
#include <linux/module.h>

MODULE_INFO(vermagic, "5.0.0-vexlab SMP mod_unload ");
MODULE_DESCRIPTION("was built for another kernel");
MODULE_LICENSE("GPL");
