/* SPDX-License-Identifier: GPL-2.0 */
/* What C and Rust offer to each other. */
#ifndef PROFILED_H
#define PROFILED_H

#include <linux/types.h>

/* Of Rust: mixes numbers, so many times. */
uint64_t profiled_in_rust(uint64_t start, uint64_t rounds);

#endif
