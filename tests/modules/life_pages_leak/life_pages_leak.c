// SPDX-License-Identifier: GPL-2.0
/* Never frees the page that it takes. */
#include <linux/gfp.h>
#include <linux/module.h>

static int __init life_pages_leak_init(void)
{
	return __get_free_page(GFP_KERNEL) ? 0 : -ENOMEM;
}

static void __exit life_pages_leak_exit(void)
{
}

module_init(life_pages_leak_init);
module_exit(life_pages_leak_exit);
MODULE_DESCRIPTION("does not free its page");
MODULE_LICENSE("GPL");
