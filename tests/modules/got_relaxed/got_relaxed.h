/* SPDX-License-Identifier: GPL-2.0 */
/* What C and Rust offer to each other. */
#ifndef GOT_RELAXED_H
#define GOT_RELAXED_H

#include <linux/types.h>

/* Of Rust: the datum that the others take the address of. */
const uint64_t *got_relaxed_datum(void);

/* Of Rust: its address, loaded (64 and 32 bits, a high register) and pushed. */
uint64_t got_relaxed_load(void);
uint64_t got_relaxed_load_low(void);
uint64_t got_relaxed_load_high_register(void);
uint64_t got_relaxed_push(void);

/* Of Rust: what C's function gives for the number, called and jumped to. */
uint64_t got_relaxed_call(uint64_t number);
uint64_t got_relaxed_tail_call(uint64_t number);

/* Of Rust: the number and the address of the datum, together. */
uint64_t got_relaxed_add(uint64_t number);
uint64_t got_relaxed_sub(uint64_t number);
uint64_t got_relaxed_and(uint64_t number);
uint64_t got_relaxed_or(uint64_t number);
uint64_t got_relaxed_xor(uint64_t number);
uint64_t got_relaxed_adc(uint64_t number);
uint64_t got_relaxed_sbb(uint64_t number);

/* Of Rust: whether the number is the address; whether they have no bit in common. */
bool got_relaxed_is_address(uint64_t number);
bool got_relaxed_is_disjoint(uint64_t number);

/* Of Rust: the address of a weak function that nobody has. */
uint64_t got_relaxed_missing(void);

/* Of Rust: the address of the kernel's kfree(). */
uint64_t got_relaxed_kfree(void);

/* Of Rust: the answer to a challenge, and false where the build gave it no key. */
bool got_relaxed_answer(const uint8_t *challenge, size_t len, uint64_t *answer);

/* Of C: three times the number, and one. */
uint64_t got_relaxed_thrice(uint64_t number);

/* Of nobody: Rust refers to it weakly. */
uint64_t got_relaxed_nobody_has_this(void);

#endif
