// SPDX-License-Identifier: GPL-2.0
/* Takes a number and a text. */
#include <linux/module.h>
#include <linux/moduleparam.h>

static int number;
static char *text = "unset";

module_param(number, int, 0444);
module_param(text, charp, 0444);
MODULE_DESCRIPTION("has parameters");
MODULE_LICENSE("GPL");
