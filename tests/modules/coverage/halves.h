/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>

uint64_t halves_of(uint64_t number);
uint64_t halves_on_old(void);
uint64_t halves_on_new(void);
