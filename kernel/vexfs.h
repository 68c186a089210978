/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface between the C and the Rust part of vexfs.ko: every function
 * that one calls in the other, and nothing else. vexfs_rs_* is defined in Rust
 * (glue/) and called from C, vexfs_c_* is defined in C and called from Rust.
 *
 * Only integers, pointers and lengths cross. The build compiles this file
 * together with the prototypes that cbindgen makes of the Rust side: two that
 * differ do not compile.
 *
 * Each function is called from the other side by a test, with good arguments,
 * with those at the edges, and with bad ones where it can fail. A build with
 * tests fails where one is missing (docs/boundary.md of vexlab).
 *
 * Unless a function says otherwise:
 *
 * - Context: process context, may sleep. "Context: any" is also under a
 *   spinlock, in a soft or a hard interrupt, and on several processors at once;
 *   not in an NMI. The build fails where such a function reaches one that may
 *   sleep: there is no memory to be had in it, and none is given back.
 * - Lengths and sizes are in bytes. Text is UTF-8, is not terminated by a NUL
 *   and comes with its length.
 * - What a pointer points to belongs to the caller, before the call and after
 *   it, and is used until the function returns and no longer. Nobody frees what
 *   belongs to the other side, but by the function that is named for it.
 * - A pointer with a length may be NULL where the length is 0, and needs no
 *   alignment. No more does one to a number that is written.
 * - Functions that return int32_t return 0 or a negative errno, and write
 *   nothing through their pointers when they fail. To be called with NULL where
 *   there is something to read or write, or with a length above SSIZE_MAX, is
 *   -EINVAL; where no error can be returned such memory counts as empty.
 * - Not checked, because nothing tells it from the pointer: that memory is there
 *   at its whole length, that what is read and what is written do not overlap,
 *   that a callback is one, and that a handle is one that was not freed.
 */
#ifndef VEXFS_H
#define VEXFS_H

#include <linux/types.h>

/* Memory: memory.c for glue/src/memory.rs */

/**
 * vexfs_c_alloc() - allocate kernel memory (kvmalloc(), GFP_KERNEL)
 * @size: bytes
 * @align: alignment in bytes
 *
 * Return: memory that the caller owns and gives back with vexfs_c_free(), its
 * content undefined; NULL where there is none, @size is 0 or @align is no power
 * of two. Failure is not logged.
 */
void *vexfs_c_alloc(size_t size, size_t align);

/**
 * vexfs_c_free() - give back what vexfs_c_alloc() returned
 * @memory: what it returned, which is nobody's from now on; NULL is ignored
 * @size: the size it was called with
 * @align: the alignment it was called with
 *
 * Another size or alignment is not noticed here: the account that each test is
 * held to does not come out then.
 */
void vexfs_c_free(void *memory, size_t size, size_t align);

/**
 * vexfs_c_alloc_count() - allocations made and not yet given back
 *
 * Context: any.
 */
uint64_t vexfs_c_alloc_count(void);

/**
 * vexfs_c_alloc_bytes() - bytes asked for and not yet given back
 *
 * Context: any.
 */
uint64_t vexfs_c_alloc_bytes(void);

/* The log, and the end: log.c for glue/src/log.rs and glue/src/panic.rs */

/**
 * vexfs_c_log() - write one line to the kernel's log
 * @level: severity as printk() counts it, 0 (emergency) to 7 (debug); what is
 *         greater counts as 7
 * @text: the line, without "vexfs: " before and a newline behind it
 * @len: length of @text
 *
 * A NUL in @text ends the line. Context: any.
 */
void vexfs_c_log(uint32_t level, const uint8_t *text, size_t len);

/**
 * vexfs_c_bug() - end in BUG(): Rust has panicked, and has logged why
 *
 * Context: any. Does not return.
 */
void __noreturn vexfs_c_bug(void);

/* The life of the module: main.c calls glue/src/lib.rs */

/**
 * vexfs_rs_init() - prepare the Rust part; called before all else in it
 *
 * Writes one line to the log. It leaves nothing that would have to be undone,
 * and does the same when it is called again.
 *
 * Return: 0; an error ends loading.
 */
int32_t vexfs_rs_init(void);

/* Proof that Rust is in the module: proof.c calls glue/src/proof.rs */

/* The longest challenge, in bytes. */
#define VEXFS_PROOF_MAX 64

/**
 * vexfs_rs_proof() - keyed hash of a challenge
 * @challenge: bytes that whoever wants the proof has chosen
 * @len: length of @challenge, at most VEXFS_PROOF_MAX
 * @answer: SipHash-2-4 of the challenge under the key that was given when the
 *          Rust part was built, and that only the Rust part has
 *
 * Context: any.
 * Return: 0; -EINVAL: too long; -ENODATA: built without a key.
 */
int32_t vexfs_rs_proof(const uint8_t *challenge, size_t len, uint64_t *answer);

/*
 * What the tests use to cross the boundary, C to Rust: selftest.c calls
 * glue/src/selftest/offered.rs, and judges. All of this is in builds with
 * tests only (VEXLAB_TEST).
 */

/**
 * vexfs_rs_test_sum() - sum of bytes
 * @data: the bytes
 * @len: how many
 *
 * Context: any.
 */
uint64_t vexfs_rs_test_sum(const uint8_t *data, size_t len);

/**
 * vexfs_rs_test_upper() - text with its ASCII letters in upper case
 * @text: the text
 * @len: length of @text
 * @out: where the result is put
 * @size: room at @out
 * @used: length of the result
 *
 * Context: any.
 * Return: 0; -EILSEQ: @text is not UTF-8; -ENOSPC: @size is too small.
 */
int32_t vexfs_rs_test_upper(const uint8_t *text, size_t len,
			    uint8_t *out, size_t size, size_t *used);

/**
 * vexfs_rs_test_text_length() - length of a text that ends in a NUL
 * @buffer: holds the text, the NUL and anything behind it
 * @size: size of @buffer
 * @length: length up to the NUL
 *
 * Context: any.
 * Return: 0; -EINVAL: no NUL in @buffer; -EILSEQ: the text is not UTF-8.
 */
int32_t vexfs_rs_test_text_length(const uint8_t *buffer, size_t size, size_t *length);

/**
 * vexfs_rs_test_string_sum() - sum of the bytes of a C string
 * @string: ends in a NUL; NULL counts as empty
 *
 * Context: any.
 */
uint64_t vexfs_rs_test_string_sum(const char *string);

/**
 * vexfs_rs_test_error() - what an error of the Rust part becomes
 * @index: which error, in the order of glue/src/errno.rs
 *
 * Context: any.
 * Return: the negative errno; 0 behind the last.
 */
int32_t vexfs_rs_test_error(uint32_t index);

/**
 * vexfs_rs_test_calculate() - checked arithmetic on signed numbers
 * @operator: '+', '-', '*' or '/'
 * @left: left operand
 * @right: right operand
 * @result: the result
 *
 * Context: any.
 * Return: 0; -EOVERFLOW: no int64_t can hold the result; -EDOM: division by 0;
 * -EINVAL: another operator.
 */
int32_t vexfs_rs_test_calculate(uint8_t operator, int64_t left, int64_t right, int64_t *result);

/**
 * vexfs_rs_test_visit() - call back for each byte, in order
 * @data: the bytes
 * @len: how many
 * @visit: called with @context and a byte; ends the visit where it returns
 *         something other than 0
 * @context: passed on as it is, whatever it is
 *
 * @visit may call any function of this file.
 *
 * Context: any that @visit can be called in.
 * Return: the last that @visit returned, 0 without any byte; -EINVAL: @visit
 * is NULL.
 */
int32_t vexfs_rs_test_visit(const uint8_t *data, size_t len,
			    int32_t (*visit)(void *context, uint8_t byte), void *context);

/**
 * vexfs_rs_test_descend() - Rust and C call each other by turns
 * @depth: how often to cross; at most 16, so that the stack suffices
 *
 * Context: any.
 * Return: the sum of all depths from @depth down to 0.
 */
uint64_t vexfs_rs_test_descend(uint32_t depth);

/**
 * vexfs_rs_test_counter_new() - make an object that lives in Rust
 * @start: what it counts from
 *
 * Return: a handle that the caller owns and ends with
 * vexfs_rs_test_counter_free(); NULL where there is no memory.
 */
void *vexfs_rs_test_counter_new(uint64_t start);

/**
 * vexfs_rs_test_counter_add() - count
 * @counter: a handle; no other call uses it at the same time
 * @amount: added to the count
 * @total: the count after that
 *
 * Context: any.
 * Return: 0; -EINVAL: @counter or @total is NULL; -EOVERFLOW: no uint64_t can hold the count, which stays as it was.
 */
int32_t vexfs_rs_test_counter_add(void *counter, uint64_t amount, uint64_t *total);

/**
 * vexfs_rs_test_counter_free() - end an object that lives in Rust
 * @counter: a handle, not usable any more afterwards; NULL is ignored
 */
void vexfs_rs_test_counter_free(void *counter);

/**
 * vexfs_rs_test_collect() - make a list of bytes, each in memory of its own
 * @data: the bytes
 * @len: how many; with any, it allocates @len + 1 times
 * @sum: their sum
 *
 * Nothing is left of the list when it returns.
 *
 * Return: 0; -ENOMEM: one of the allocations failed; -EINVAL: as above.
 */
int32_t vexfs_rs_test_collect(const uint8_t *data, size_t len, uint64_t *sum);

/*
 * What the tests use to cross the boundary, Rust to C:
 * glue/src/selftest/boundary.rs calls selftest.c, and judges.
 */

/**
 * vexfs_c_test_sum() - sum of bytes
 * @data: the bytes
 * @len: how many
 *
 * Context: any.
 */
uint64_t vexfs_c_test_sum(const uint8_t *data, size_t len);

/**
 * vexfs_c_test_reverse() - bytes in reverse order
 * @data: the bytes
 * @len: how many
 * @out: where the result is put
 * @size: room at @out
 *
 * Context: any.
 * Return: 0; -ENOSPC: @size is less than @len.
 */
int32_t vexfs_c_test_reverse(const uint8_t *data, size_t len, uint8_t *out, size_t size);

/**
 * vexfs_c_test_string() - a constant C string
 * @index: 0: empty; 1: "vexfs"; 2: not UTF-8, the bytes 76 ff 78
 *
 * Context: any.
 * Return: the string, which ends in a NUL, belongs to C and lives as long as the
 * module; NULL for any other @index.
 */
const char *vexfs_c_test_string(uint32_t index);

/**
 * vexfs_c_test_error() - what an error of the Rust part must become
 * @index: which error, in the order of glue/src/errno.rs
 *
 * Context: any.
 * Return: the negative errno, from the kernel's headers; 0 behind the last.
 */
int32_t vexfs_c_test_error(uint32_t index);

/**
 * vexfs_c_test_count_down() - call back with count - 1, count - 2, ... 0
 * @count: how often
 * @visit: called with @context and a number; ends the count where it returns
 *         something other than 0
 * @context: passed on as it is, whatever it is
 *
 * Context: any that @visit can be called in.
 * Return: the last that @visit returned, 0 where @count is 0; -EINVAL: @visit
 * is NULL.
 */
int32_t vexfs_c_test_count_down(uint64_t count,
				int32_t (*visit)(void *context, uint64_t number), void *context);

/**
 * vexfs_c_test_descend() - the C half of vexfs_rs_test_descend()
 * @depth: as there
 *
 * Context: any.
 * Return: as there.
 */
uint64_t vexfs_c_test_descend(uint32_t depth);

/**
 * vexfs_c_test_fail_alloc() - have an allocation fail
 * @nth: which one from now on, counted from 1; 0: none
 *
 * Context: any.
 * Return: how many were left to the one that was to fail; 0 where it has failed,
 * or none was to.
 */
uint64_t vexfs_c_test_fail_alloc(uint64_t nth);

/*
 * What the benchmarks call: bench.c and glue/src/bench. All of this is in
 * builds with tests only (VEXLAB_TEST).
 */

/**
 * vexfs_rs_bench_empty() - nothing
 * @number: any
 *
 * Context: any.
 * Return: @number.
 */
uint64_t vexfs_rs_bench_empty(uint64_t number);

/**
 * vexfs_rs_bench_first() - the first of some bytes
 * @data: the bytes
 * @len: how many
 *
 * Context: any.
 * Return: the byte; 0 where there is none.
 */
uint64_t vexfs_rs_bench_first(const uint8_t *data, size_t len);

/**
 * vexfs_rs_bench_length() - length of a C string
 * @string: ends in a NUL, not NULL
 *
 * Context: any.
 */
uint64_t vexfs_rs_bench_length(const char *string);

/**
 * vexfs_c_bench_empty() - nothing
 * @number: any
 *
 * Context: any.
 * Return: @number.
 */
uint64_t vexfs_c_bench_empty(uint64_t number);

/**
 * vexfs_c_bench_through() - call vexfs_rs_bench_empty()
 * @number: as there
 *
 * Context: any.
 * Return: as there.
 */
uint64_t vexfs_c_bench_through(uint64_t number);

/**
 * vexfs_c_bench_crc32c() - the kernel's own CRC-32C, without the last inversion
 * @data: the bytes
 * @len: how many
 *
 * Context: any.
 */
uint32_t vexfs_c_bench_crc32c(const uint8_t *data, size_t len);

#endif /* VEXFS_H */
