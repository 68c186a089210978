/* SPDX-License-Identifier: GPL-2.0 */
/* What C and Rust offer to each other. */
#ifndef BOUNDARY_H
#define BOUNDARY_H

#include <linux/types.h>

/**
 * boundary_rs_double() - twice a number
 * @number: the number
 * @twice: where it is put
 *
 * Context: any.
 * Return: 0; -ERANGE: it is too large.
 */
int32_t boundary_rs_double(int32_t number, int32_t *twice);

/**
 * boundary_rs_store() - have a number in memory of its own for a moment
 * @number: the number
 *
 * Return: the number; 0 where there is no memory.
 */
uint32_t boundary_rs_store(uint32_t number);

/**
 * boundary_c_alloc() - memory
 * @size: how much
 *
 * Return: memory for boundary_c_free(); NULL where there is none.
 */
void *boundary_c_alloc(size_t size);

/**
 * boundary_c_free() - give memory back
 * @memory: what boundary_c_alloc() returned
 */
void boundary_c_free(void *memory);

/* Ends in BUG(). Context: any. */
void boundary_c_bug(void);

#endif
