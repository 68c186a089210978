// SPDX-License-Identifier: GPL-2.0
/* Has no file with a report. */
#include <linux/module.h>

static int __init ktap_missing_init(void)
{
	return 0;
}

static void __exit ktap_missing_exit(void)
{
}

module_init(ktap_missing_init);
module_exit(ktap_missing_exit);
MODULE_DESCRIPTION("its report isn't there");
MODULE_LICENSE("GPL");
