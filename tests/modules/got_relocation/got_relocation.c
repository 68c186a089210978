// SPDX-License-Identifier: GPL-2.0
/* Reaches kfree() through a global offset table, which a kernel does not have. */
#include <linux/module.h>
#include <linux/slab.h>

static void *address_of_kfree(void)
{
	void *address;

	asm("movq kfree@GOTPCREL(%%rip), %0" : "=r" (address));
	return address;
}

static int __init got_relocation_init(void)
{
	kfree(NULL);
	return address_of_kfree() ? 0 : -EINVAL;
}

static void __exit got_relocation_exit(void)
{
}

module_init(got_relocation_init);
module_exit(got_relocation_exit);
MODULE_DESCRIPTION("has a GOT relocation");
MODULE_LICENSE("GPL");
