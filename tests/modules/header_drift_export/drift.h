/* SPDX-License-Identifier: GPL-2.0 */
#include <linux/types.h>

/* Of Rust: a number, which Rust takes for a wider one. */
uint32_t drift_rust(uint32_t number);
