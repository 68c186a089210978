// SPDX-License-Identifier: GPL-2.0
/*
 * The boundary between C and Rust, tested from its C side: C calls Rust and
 * judges the answers. Below that, what C offers to the tests on the Rust side.
 */

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/vmalloc.h>
#if __has_include(<linux/unaligned.h>)
#include <linux/unaligned.h>
#else
#include <asm/unaligned.h>	/* where older kernels have it */
#endif

#define KTEST_GROUP "c"
#include <vexlab/ktest.h>

#include "vexfs.h"

/* Fills with bytes that differ from their neighbours, and returns their sum. */
static u64 fill(uint8_t *bytes, size_t len)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		bytes[i] = 7 + 31 * i;
		sum += bytes[i];
	}
	return sum;
}

KTEST(slices, test)
{
	uint8_t bytes[300];
	u64 sum = fill(bytes, sizeof(bytes));

	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes, sizeof(bytes)), sum);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes, sizeof(bytes) - 1), sum - bytes[299]);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes, 0), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(NULL, 0), 0);
	/* what isn't there counts as empty */
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(NULL, 1), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(NULL, SIZE_MAX), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes, SIZE_MAX), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes, (size_t)SSIZE_MAX + 1), 0);
}
KTEST_OF(slices, vexfs_rs_test_sum, good edge);

/* Nothing is read before or behind what is passed: the page behind it is not there. */
KTEST(slices_before_a_gap, test)
{
	size_t size = 64 * PAGE_SIZE;
	uint8_t *bytes = vmalloc(size);
	size_t len;
	u64 sum;

	KTEST_ASSERT(test, bytes);
	sum = fill(bytes, size);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes, size), sum);
	for (len = 0; len < 40; len++) {
		sum = fill(bytes + size - len, len);
		KTEST_EXPECT_EQ(test, vexfs_rs_test_sum(bytes + size - len, len), sum);
	}
	vfree(bytes);
}
KTEST_OF(slices_before_a_gap, vexfs_rs_test_sum, good edge);

/* Expects that Rust answers @text with @expected, or with the error @err. */
static void expect_upper(struct ktest *test, const char *text, size_t len, size_t size,
			 int err, const char *expected)
{
	uint8_t out[16] = {};
	size_t used = 0;

	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper((const uint8_t *)text, len, out, size, &used),
			err);
	KTEST_EXPECT_BYTES(test, out, used, expected, strlen(expected));
	KTEST_EXPECT_EQ(test, out[strlen(expected)], 0);
}

KTEST(text, test)
{
	expect_upper(test, "vexfs 6.1", 9, 15, 0, "VEXFS 6.1");
	expect_upper(test, "vexfs", 5, 5, 0, "VEXFS");
	expect_upper(test, "vexfs", 5, 4, -ENOSPC, "");
	expect_upper(test, "", 0, 0, 0, "");
	expect_upper(test, NULL, 0, 15, 0, "");
	/* a letter that is not ASCII stays as it is */
	expect_upper(test, "v\xc3\xa9x", 4, 15, 0, "V\xc3\xa9X");
}
KTEST_OF(text, vexfs_rs_test_upper, good edge bad);

KTEST(text_not_there, test)
{
	const uint8_t *text = (const uint8_t *)"vexfs";
	uint8_t out[9] = {};
	uint8_t place[1 + sizeof(size_t)] = {};
	size_t used = 77;

	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper(NULL, 5, out, 8, &used), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper(text, 5, NULL, 8, &used), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper(text, 5, out, 8, NULL), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper(text, SIZE_MAX, out, 8, &used), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper(text, 5, out, SIZE_MAX, &used), -EINVAL);
	KTEST_EXPECT_EQ(test, used, 77);
	KTEST_EXPECT_BYTES(test, out, 9, "\0\0\0\0\0\0\0\0\0", 9);

	/* at odd addresses */
	KTEST_EXPECT_EQ(test, vexfs_rs_test_upper(text + 1, 4, out + 1, 8, (size_t *)(place + 1)),
			0);
	KTEST_EXPECT_EQ(test, get_unaligned((size_t *)(place + 1)), 4);
	KTEST_EXPECT_BYTES(test, out, 6, "\0EXFS\0", 6);
}
KTEST_OF(text_not_there, vexfs_rs_test_upper, edge bad);

KTEST(text_bad_utf8, test)
{
	expect_upper(test, "v\xffx", 3, 15, -EILSEQ, "");		/* never valid */
	expect_upper(test, "v\xc3", 2, 15, -EILSEQ, "");		/* cut off */
	expect_upper(test, "\xc0\xaf", 2, 15, -EILSEQ, "");		/* overlong */
	expect_upper(test, "\xed\xa0\x80", 3, 15, -EILSEQ, "");	/* a surrogate */
}
KTEST_OF(text_bad_utf8, vexfs_rs_test_upper, bad);

/* Expects that Rust finds a text of @length in the buffer, or the error @err. */
static void expect_length(struct ktest *test, const char *buffer, size_t size,
			  int err, size_t length)
{
	size_t got = 0;

	KTEST_EXPECT_EQ(test, vexfs_rs_test_text_length((const uint8_t *)buffer, size, &got), err);
	KTEST_EXPECT_EQ(test, got, length);
}

KTEST(strings, test)
{
	uint8_t place[1 + sizeof(size_t)] = {};

	expect_length(test, "vexfs", 6, 0, 5);
	expect_length(test, "vex\0fs", 7, 0, 3);
	expect_length(test, "", 1, 0, 0);
	expect_length(test, "vexfs", 5, -EINVAL, 0);
	expect_length(test, NULL, 0, -EINVAL, 0);
	expect_length(test, "v\xff", 3, -EILSEQ, 0);

	expect_length(test, NULL, 1, -EINVAL, 0);
	expect_length(test, "vexfs", SIZE_MAX, -EINVAL, 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_text_length((const uint8_t *)"a", 2, NULL), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_text_length((const uint8_t *)"abc" + 1, 3,
							(size_t *)(place + 1)), 0);
	KTEST_EXPECT_EQ(test, get_unaligned((size_t *)(place + 1)), 2);

	KTEST_EXPECT_EQ(test, vexfs_rs_test_string_sum("ab\xff"), 'a' + 'b' + 0xff);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_string_sum(""), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_string_sum(NULL), 0);
}
KTEST_OF(strings, vexfs_rs_test_text_length, good edge bad);
KTEST_OF(strings, vexfs_rs_test_string_sum, good edge);

KTEST(errors, test)
{
	uint32_t index;
	int err;

	for (index = 0; ; index++) {
		err = vexfs_c_test_error(index);
		KTEST_EXPECT_EQ(test, vexfs_rs_test_error(index), err);
		if (!err)
			break;
	}
	KTEST_EXPECT_EQ(test, vexfs_rs_test_error(U32_MAX), 0);
}
KTEST_OF(errors, vexfs_rs_test_error, good edge);

/* Expects that Rust calculates @result, or gives the error @err and nothing else. */
static void expect_result(struct ktest *test, char operator, int64_t left, int64_t right,
			  int err, int64_t result)
{
	int64_t got = 0;

	KTEST_EXPECT_EQ(test, vexfs_rs_test_calculate(operator, left, right, &got), err);
	KTEST_EXPECT_EQ(test, got, result);
}

KTEST(arithmetic, test)
{
	uint8_t place[1 + sizeof(int64_t)] = {};

	expect_result(test, '+', S64_MAX - 1, 1, 0, S64_MAX);
	expect_result(test, '+', S64_MAX, 1, -EOVERFLOW, 0);
	expect_result(test, '+', S64_MIN, -1, -EOVERFLOW, 0);
	expect_result(test, '-', S64_MIN + 1, 1, 0, S64_MIN);
	expect_result(test, '-', S64_MIN, 1, -EOVERFLOW, 0);
	expect_result(test, '*', 1LL << 31, -(1LL << 32), 0, S64_MIN);
	expect_result(test, '*', 1LL << 31, 1LL << 32, -EOVERFLOW, 0);
	expect_result(test, '/', -7, 2, 0, -3);
	expect_result(test, '/', 7, 0, -EDOM, 0);
	expect_result(test, '/', S64_MIN, -1, -EOVERFLOW, 0);
	expect_result(test, '%', 7, 2, -EINVAL, 0);

	KTEST_EXPECT_EQ(test, vexfs_rs_test_calculate('+', 1, 1, NULL), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_calculate('+', 1, 1, (int64_t *)(place + 1)), 0);
	KTEST_EXPECT_EQ(test, get_unaligned((int64_t *)(place + 1)), 2);
}
KTEST_OF(arithmetic, vexfs_rs_test_calculate, good edge bad);

struct visited {
	uint8_t bytes[8];
	size_t count;
	size_t stop_after;	/* refuse the byte after so many */
};

static int32_t remember(void *context, uint8_t byte)
{
	struct visited *visited = context;

	if (visited->count == visited->stop_after)
		return -ECANCELED;
	visited->bytes[visited->count++] = byte;
	return 0;
}

KTEST(callback, test)
{
	static const uint8_t data[] = { 9, 0, 255, 4 };
	struct visited visited = { .stop_after = sizeof(visited.bytes) };

	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(data, sizeof(data), remember, &visited), 0);
	KTEST_EXPECT_BYTES(test, visited.bytes, visited.count, data, sizeof(data));

	visited = (struct visited){ .stop_after = 2 };
	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(data, sizeof(data), remember, &visited),
			-ECANCELED);
	KTEST_EXPECT_BYTES(test, visited.bytes, visited.count, data, 2);

	visited = (struct visited){ .stop_after = 0 };
	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(NULL, 0, remember, &visited), 0);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(data, sizeof(data), NULL, &visited), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(NULL, 1, remember, &visited), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(data, SIZE_MAX, remember, &visited), -EINVAL);
	KTEST_EXPECT_EQ(test, visited.count, 0);
}
KTEST_OF(callback, vexfs_rs_test_visit, good edge bad);

/* Called by Rust, calls Rust. */
static int32_t sum_again(void *context, uint8_t byte)
{
	u64 *total = context;
	uint8_t twice[2] = { byte, byte };

	*total += vexfs_rs_test_sum(twice, sizeof(twice));
	return 0;
}

KTEST(reentry, test)
{
	static const uint8_t data[] = { 1, 20, 200 };
	u64 total = 0;

	KTEST_EXPECT_EQ(test, vexfs_rs_test_visit(data, sizeof(data), sum_again, &total), 0);
	KTEST_EXPECT_EQ(test, total, 2 * (1 + 20 + 200));

	KTEST_EXPECT_EQ(test, vexfs_rs_test_descend(16), 16 * 17 / 2);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_descend(0), 0);
}
KTEST_OF(reentry, vexfs_rs_test_visit, good);
KTEST_OF(reentry, vexfs_rs_test_sum, good);
KTEST_OF(reentry, vexfs_rs_test_descend, good edge);

KTEST(ownership, test)
{
	u64 count = vexfs_c_alloc_count();
	uint8_t place[1 + sizeof(uint64_t)] = {};
	uint64_t total = 0;
	void *counter;
	void *other;

	counter = vexfs_rs_test_counter_new(40);
	other = vexfs_rs_test_counter_new(U64_MAX);
	KTEST_EXPECT_EQ(test, !!counter + !!other, 2);
	if (!counter || !other)
		goto out;
	KTEST_EXPECT_EQ(test, vexfs_c_alloc_count(), count + 2);

	KTEST_EXPECT_EQ(test, vexfs_rs_test_counter_add(counter, 2, &total), 0);
	KTEST_EXPECT_EQ(test, total, 42);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_counter_add(other, 1, &total), -EOVERFLOW);
	KTEST_EXPECT_EQ(test, total, 42);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_counter_add(other, 0, &total), 0);
	KTEST_EXPECT_EQ(test, total, U64_MAX);

	KTEST_EXPECT_EQ(test, vexfs_rs_test_counter_add(NULL, 1, &total), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_test_counter_add(counter, 1, NULL), -EINVAL);
	KTEST_EXPECT_EQ(test, total, U64_MAX);
	/* what was refused has not been counted */
	KTEST_EXPECT_EQ(test, vexfs_rs_test_counter_add(counter, 1, (uint64_t *)(place + 1)), 0);
	KTEST_EXPECT_EQ(test, get_unaligned((uint64_t *)(place + 1)), 43);
out:
	vexfs_rs_test_counter_free(other);
	vexfs_rs_test_counter_free(counter);
	vexfs_rs_test_counter_free(NULL);
	KTEST_EXPECT_EQ(test, vexfs_c_alloc_count(), count);
}
KTEST_OF(ownership, vexfs_rs_test_counter_new, good edge);
KTEST_OF(ownership, vexfs_rs_test_counter_add, good edge bad);
KTEST_OF(ownership, vexfs_rs_test_counter_free, good edge);

KTEST(proof, test)
{
	uint8_t challenge[VEXFS_PROOF_MAX + 1] = {};
	uint8_t place[1 + sizeof(uint64_t)] = {};
	uint64_t answer = 0;
	uint64_t other = 0;
	int err;

	/* without a key it has no answer to anything */
	err = vexfs_rs_proof(challenge, VEXFS_PROOF_MAX, &answer);
	KTEST_EXPECT(test, !err || err == -ENODATA);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(challenge + 1, VEXFS_PROOF_MAX, &other), err);
	KTEST_EXPECT_EQ(test, other, answer);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(challenge, VEXFS_PROOF_MAX - 1, &other), err);
	KTEST_EXPECT_EQ(test, other == answer, !!err);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(NULL, 0, &answer), err);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(challenge, 0, (uint64_t *)(place + 1)), err);
	KTEST_EXPECT_EQ(test, get_unaligned((uint64_t *)(place + 1)), answer);

	answer = 77;
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(challenge, sizeof(challenge), &answer), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(challenge, SIZE_MAX, &answer), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(NULL, 1, &answer), -EINVAL);
	KTEST_EXPECT_EQ(test, vexfs_rs_proof(challenge, 1, NULL), -EINVAL);
	KTEST_EXPECT_EQ(test, answer, 77);
}
KTEST_OF(proof, vexfs_rs_proof, good edge bad);

/* It has been called when the module was loaded, and can be called again. */
KTEST(init_again, test)
{
	KTEST_EXPECT_EQ(test, vexfs_rs_init(), 0);
}
KTEST_OF(init_again, vexfs_rs_init, good);

/* Offered to Rust */

uint64_t vexfs_c_test_sum(const uint8_t *data, size_t len)
{
	u64 sum = 0;
	size_t i;

	if (!data || len > SSIZE_MAX)
		return 0;
	for (i = 0; i < len; i++)
		sum += data[i];
	return sum;
}

int32_t vexfs_c_test_reverse(const uint8_t *data, size_t len, uint8_t *out, size_t size)
{
	size_t i;

	if ((len && !data) || (size && !out) || len > SSIZE_MAX || size > SSIZE_MAX)
		return -EINVAL;
	if (size < len)
		return -ENOSPC;
	for (i = 0; i < len; i++)
		out[i] = data[len - 1 - i];
	return 0;
}

const char *vexfs_c_test_string(uint32_t index)
{
	static const char *const strings[] = { "", "vexfs", "v\xffx" };

	return index < ARRAY_SIZE(strings) ? strings[index] : NULL;
}

int32_t vexfs_c_test_error(uint32_t index)
{
	static const int32_t errors[] = {
		-ENOMEM, -EINVAL, -ENODATA, -ENOSPC, -EILSEQ, -EOVERFLOW, -EDOM,
	};

	return index < ARRAY_SIZE(errors) ? errors[index] : 0;
}

int32_t vexfs_c_test_count_down(uint64_t count,
				int32_t (*visit)(void *context, uint64_t number), void *context)
{
	int32_t result = 0;

	if (!visit)
		return -EINVAL;
	while (count && !result)
		result = visit(context, --count);
	return result;
}

uint64_t vexfs_c_test_descend(uint32_t depth)
{
	return depth ? depth + vexfs_rs_test_descend(depth - 1) : 0;
}
