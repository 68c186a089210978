/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>

/* Of Rust: calls C. */
uint32_t drift_rust(void);

/* Of C: takes a pointer and a length, which Rust has the other way round. */
uint32_t drift_c(const uint8_t *bytes, size_t len);
