// SPDX-License-Identifier: GPL-2.0
/* Is compiled against a header that its Rust does not keep to. */
#include <linux/module.h>

#include "drift.h"

static int __init drift_init(void)
{
	return drift_rust(1);
}

module_init(drift_init);
MODULE_DESCRIPTION("its header is wrong about Rust");
MODULE_LICENSE("GPL");
