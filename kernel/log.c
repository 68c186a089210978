// SPDX-License-Identifier: GPL-2.0
/* The kernel's log for the Rust part, and where its panics end. */

#include <linux/bug.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/printk.h>

#include "vexfs.h"

void vexfs_c_log(uint32_t level, const uint8_t *text, size_t len)
{
	static const char *const levels[] = {
		KERN_EMERG, KERN_ALERT, KERN_CRIT, KERN_ERR,
		KERN_WARNING, KERN_NOTICE, KERN_INFO, KERN_DEBUG,
	};

	/* Of what is too long, or not there, nothing is printed. */
	if (!text || len > SSIZE_MAX)
		len = 0;
	level = min_t(uint32_t, level, ARRAY_SIZE(levels) - 1);
	printk("%s" KBUILD_MODNAME ": %.*s\n", levels[level],
	       (int)min_t(size_t, len, INT_MAX), text ? (const char *)text : "");
}

void __noreturn vexfs_c_bug(void)
{
	BUG();
}
