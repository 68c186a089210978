/* SPDX-License-Identifier: GPL-2.0 */
/* What C and Rust offer to each other. */
#ifndef KTESTS_RUST_H
#define KTESTS_RUST_H

#include <linux/types.h>

/* Of Rust: the greatest common divisor. */
uint64_t ktests_rust_divisor(uint64_t a, uint64_t b);

/* Of Rust: leaves something behind, and how often that was done. */
void ktests_rust_leave(void);
uint32_t ktests_rust_left(void);

#endif
