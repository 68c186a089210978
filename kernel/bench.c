// SPDX-License-Identifier: GPL-2.0
/*
 * What crossing the boundary costs, measured from its C side, and what the
 * kernel's own memory, trees and checksum cost. What is held against what, and
 * why something costs more, is in vexlab.toml; the Rust side is glue/src/bench.
 */

#include <linux/compiler.h>
#include <linux/crc32.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/rbtree.h>
#include <linux/slab.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/version.h>
#include <linux/xarray.h>

#include <vexlab/kbench.h>

#include "vexfs.h"

/* A function that is called as one of another file is: nothing is known of it. */
#if __has_attribute(__noipa__)
#define opaque noinline __attribute__((__noipa__))
#else
#define opaque noinline
#endif

/* Calls */

#undef KTEST_GROUP
#define KTEST_GROUP "call"

uint64_t vexfs_c_bench_empty(uint64_t number)
{
	return number;
}

static opaque u64 c_empty(u64 number)
{
	return number;
}

/* Not the last thing that it does: that would be a jump. */
uint64_t vexfs_c_bench_through(uint64_t number)
{
	number = vexfs_rs_bench_empty(number);
	OPTIMIZER_HIDE_VAR(number);
	return number;
}

static opaque u64 c_through(u64 number)
{
	number = c_empty(number);
	OPTIMIZER_HIDE_VAR(number);
	return number;
}

KTEST(empty, test)
{
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_empty(7), 7);
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_empty(0), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_empty(U64_MAX), U64_MAX);
}

KTEST_OF(empty, vexfs_rs_bench_empty, good edge);

KTEST(first, test)
{
	static const u8 data[] = { 7, 8 };

	KTEST_EXPECT_EQ(test, vexfs_rs_bench_first(data, sizeof(data)), 7);
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_first(data + 1, 1), 8);
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_first(data, 0), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_first(NULL, 0), 0);
}

KTEST_OF(first, vexfs_rs_bench_first, good edge);

KTEST(length, test)
{
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_length("vexfs"), 5);
	KTEST_EXPECT_EQ(test, vexfs_rs_bench_length(""), 0);
}

KTEST_OF(length, vexfs_rs_bench_length, good edge);

KBENCH(c_c, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(c_empty(7));
}

KBENCH(c_rust, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(vexfs_rs_bench_empty(7));
}

KBENCH(c_c_c, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(c_through(7));
}

/* It keeps to what vexfs.h asks of all functions that get a slice. */
static opaque u64 c_first(const u8 *data, size_t len)
{
	return len && data && len <= SSIZE_MAX ? data[0] : 0;
}

KBENCH(slice_c_c, bench)
{
	u8 data[16] = { 7 };

	KBENCH_LOOP(bench)
		KBENCH_KEEP(c_first(data, sizeof(data)));
}

KBENCH(slice_c_rust, bench)
{
	u8 data[16] = { 7 };

	KBENCH_LOOP(bench)
		KBENCH_KEEP(vexfs_rs_bench_first(data, sizeof(data)));
}

static opaque u64 c_length(const char *string)
{
	u64 length = strlen(string);

	OPTIMIZER_HIDE_VAR(length);
	return length;
}

KBENCH(string_c_c, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(c_length("a name of a file"));
}

KBENCH(string_c_rust, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(vexfs_rs_bench_length("a name of a file"));
}

KBENCH(error_c_c, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(vexfs_c_test_error(2));
}

KBENCH(error_c_rust, bench)
{
	KBENCH_LOOP(bench)
		KBENCH_KEEP(vexfs_rs_test_error(2));
}

static opaque u64 c_at(const u8 *data, size_t len, size_t index)
{
	return index < len ? data[index] : 0;
}

KBENCH(bounds_c, bench)
{
	u8 data[16] = { 7 };

	KBENCH_LOOP(bench)
		KBENCH_KEEP(c_at(data, sizeof(data), 3));
}

/* Their addresses are taken: with IBT they begin as functions of other files do. */
static void *const opaque_functions[] __used = { c_empty, c_through, c_first, c_length, c_at };

/* Memory: to have some, and to give it back */

#undef KTEST_GROUP
#define KTEST_GROUP "memory"

static __always_inline void measure_kmalloc(struct kbench *bench, size_t size)
{
	KBENCH_LOOP(bench) {
		void *memory = kmalloc(size, GFP_KERNEL | __GFP_NOWARN);

		KBENCH_KEEP(memory);
		kfree(memory);
	}
}

static __always_inline void measure_kvmalloc(struct kbench *bench, size_t size)
{
	KBENCH_LOOP(bench) {
		void *memory = kvmalloc(size, GFP_KERNEL | __GFP_NOWARN);

		KBENCH_KEEP(memory);
		kvfree(memory);
	}
}

KBENCH(kmalloc_64, bench)
{
	measure_kmalloc(bench, 64);
}

KBENCH(kmalloc_4k, bench)
{
	measure_kmalloc(bench, SZ_4K);
}

KBENCH(kmalloc_1m, bench)
{
	measure_kmalloc(bench, SZ_1M);
}

KBENCH(kvmalloc_64, bench)
{
	measure_kvmalloc(bench, 64);
}

KBENCH(kvmalloc_4k, bench)
{
	measure_kvmalloc(bench, SZ_4K);
}

KBENCH(kvmalloc_1m, bench)
{
	measure_kvmalloc(bench, SZ_1M);
}

/* Trees: 1,000 lookups in one of 1,000, in no order */

#undef KTEST_GROUP
#define KTEST_GROUP "tree"

#define KEYS 1000

/* Each key once. */
static u64 key_of(u64 turn)
{
	return turn * 389 % KEYS;
}

struct number {
	struct rb_node node;
	u64 key;
	u64 value;
};

static bool is_less(struct rb_node *one, const struct rb_node *other)
{
	return rb_entry(one, struct number, node)->key < rb_entry(other, struct number, node)->key;
}

static u64 rb_value(const struct rb_root *root, u64 key)
{
	const struct rb_node *node = root->rb_node;

	while (node) {
		const struct number *number = rb_entry(node, struct number, node);

		if (key == number->key)
			return number->value;
		node = key < number->key ? node->rb_left : node->rb_right;
	}
	return 0;
}

KBENCH(rbtree, bench)
{
	struct number *numbers = kvcalloc(KEYS, sizeof(*numbers), GFP_KERNEL);
	struct rb_root root = RB_ROOT;
	u64 i;

	KTEST_ASSERT(&bench->test, numbers);
	for (i = 0; i < KEYS; i++) {
		numbers[i].key = key_of(i);
		numbers[i].value = i;
		rb_add(&numbers[i].node, &root, is_less);
	}
	KBENCH_LOOP(bench) {
		u64 sum = 0;

		for (i = 0; i < KEYS; i++)
			sum += rb_value(&root, key_of(i));
		KBENCH_KEEP(sum);
	}
	kvfree(numbers);
}

KBENCH(xarray, bench)
{
	DEFINE_XARRAY(array);
	u64 i;

	for (i = 0; i < KEYS; i++)
		xa_store(&array, key_of(i), xa_mk_value(i), GFP_KERNEL);
	KBENCH_LOOP(bench) {
		u64 sum = 0;

		for (i = 0; i < KEYS; i++)
			sum += xa_to_value(xa_load(&array, key_of(i)));
		KBENCH_KEEP(sum);
	}
	xa_destroy(&array);
}

/* A checksum of 4 KiB */

#undef KTEST_GROUP
#define KTEST_GROUP "crc32c"

static u32 kernels_crc32c(const u8 *data, size_t len)
{
	u32 crc = ~0;

	/* A pure function: the compiler would call it once. */
	OPTIMIZER_HIDE_VAR(crc);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 14, 0)
	return crc32c(crc, data, len);
#else
	return __crc32c_le(crc, data, len);
#endif
}

KBENCH(kernel, bench)
{
	u8 *data = kzalloc(SZ_4K, GFP_KERNEL);

	KTEST_ASSERT(&bench->test, data);
	KBENCH_LOOP(bench)
		KBENCH_KEEP(kernels_crc32c(data, SZ_4K));
	kfree(data);
}

/* The Rust side has to come to the same. */
uint32_t vexfs_c_bench_crc32c(const uint8_t *data, size_t len)
{
	return kernels_crc32c(data, len);
}
