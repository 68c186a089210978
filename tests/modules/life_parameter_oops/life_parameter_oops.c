// SPDX-License-Identifier: GPL-2.0
/* Believes a parameter. */
#include <linux/compiler.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static int index;
static int table[16];

module_param(index, int, 0444);

static int __init life_parameter_oops_init(void)
{
	WRITE_ONCE(table[index], 1);
	return 0;
}

static void __exit life_parameter_oops_exit(void)
{
}

module_init(life_parameter_oops_init);
module_exit(life_parameter_oops_exit);
MODULE_DESCRIPTION("does not check its parameter");
MODULE_LICENSE("GPL");
