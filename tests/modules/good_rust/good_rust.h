/* SPDX-License-Identifier: GPL-2.0 */
/* What C and Rust offer to each other. */
#ifndef GOOD_RUST_H
#define GOOD_RUST_H

#include <linux/types.h>

/* Of Rust: the greatest common divisor. */
uint64_t good_rust_divisor(uint64_t a, uint64_t b);

/* Of Rust: the answer to a challenge, and false where the build gave it no key. */
bool good_rust_answer(const uint8_t *challenge, size_t len, uint64_t *answer);

/* Of C: counts what Rust was asked. */
void good_rust_count(uint32_t questions);

#endif
