// SPDX-License-Identifier: GPL-2.0
/* Is compiled against a header that its Rust does not keep to. */
#include <linux/module.h>

#include "drift.h"

uint32_t drift_c(const uint8_t *bytes, size_t len)
{
	return len ? bytes[0] : 0;
}

static int __init drift_init(void)
{
	return drift_rust();
}

module_init(drift_init);
MODULE_DESCRIPTION("its Rust is wrong about C");
MODULE_LICENSE("GPL");
