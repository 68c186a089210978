// SPDX-License-Identifier: GPL-2.0
/*
 * The boundary between C and Rust, tested from its C side: C calls Rust and
 * judges the answers. Below that, what C offers to the tests on the Rust side.
 */

#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/limits.h>
#include <linux/string.h>

#include "internal.h"
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

static void slices(struct vexfs_report *report)
{
	uint8_t bytes[300];
	u64 sum = fill(bytes, sizeof(bytes));

	vexfs_expect_unsigned(report, "sum of 300 bytes", sum,
			      vexfs_rs_test_sum(bytes, sizeof(bytes)));
	vexfs_expect_unsigned(report, "sum of all but the last", sum - bytes[299],
			      vexfs_rs_test_sum(bytes, sizeof(bytes) - 1));
	vexfs_expect_unsigned(report, "sum of no bytes", 0, vexfs_rs_test_sum(bytes, 0));
	vexfs_expect_unsigned(report, "sum of no bytes at NULL", 0, vexfs_rs_test_sum(NULL, 0));
}

/* Expects that Rust answers @text with @expected, or with the error @err. */
static void expect_upper(struct vexfs_report *report, const char *text, size_t len, size_t size,
			 int err, const char *expected)
{
	uint8_t out[16] = {};
	size_t used = 0;

	vexfs_expect_signed(report, "result for a text", err,
			    vexfs_rs_test_upper((const uint8_t *)text, len, out, size, &used));
	vexfs_expect_bytes(report, "text in upper case", expected, strlen(expected), out, used);
	vexfs_expect_unsigned(report, "byte behind the text", 0, out[strlen(expected)]);
}

static void text(struct vexfs_report *report)
{
	expect_upper(report, "vexfs 6.1", 9, 15, 0, "VEXFS 6.1");
	expect_upper(report, "vexfs", 5, 5, 0, "VEXFS");
	expect_upper(report, "vexfs", 5, 4, -ENOSPC, "");
	expect_upper(report, "", 0, 0, 0, "");
	expect_upper(report, NULL, 0, 15, 0, "");
	/* a letter that is not ASCII stays as it is */
	expect_upper(report, "v\xc3\xa9x", 4, 15, 0, "V\xc3\xa9X");
}

static void bad_text(struct vexfs_report *report)
{
	expect_upper(report, "v\xffx", 3, 15, -EILSEQ, "");		/* never valid */
	expect_upper(report, "v\xc3", 2, 15, -EILSEQ, "");		/* cut off */
	expect_upper(report, "\xc0\xaf", 2, 15, -EILSEQ, "");		/* overlong */
	expect_upper(report, "\xed\xa0\x80", 3, 15, -EILSEQ, "");	/* a surrogate */
}

/* Expects that Rust finds a text of @length in the buffer, or the error @err. */
static void expect_length(struct vexfs_report *report, const char *buffer, size_t size,
			  int err, size_t length)
{
	size_t got = 0;

	vexfs_expect_signed(report, "result for a buffer", err,
			    vexfs_rs_test_text_length((const uint8_t *)buffer, size, &got));
	vexfs_expect_unsigned(report, "length of the text in it", length, got);
}

static void strings(struct vexfs_report *report)
{
	expect_length(report, "vexfs", 6, 0, 5);
	expect_length(report, "vex\0fs", 7, 0, 3);
	expect_length(report, "", 1, 0, 0);
	expect_length(report, "vexfs", 5, -EINVAL, 0);
	expect_length(report, NULL, 0, -EINVAL, 0);
	expect_length(report, "v\xff", 3, -EILSEQ, 0);

	vexfs_expect_unsigned(report, "sum of a C string", 'a' + 'b' + 0xff,
			      vexfs_rs_test_string_sum("ab\xff"));
	vexfs_expect_unsigned(report, "sum of an empty C string", 0,
			      vexfs_rs_test_string_sum(""));
}

static void errors(struct vexfs_report *report)
{
	uint32_t index;
	int err;

	for (index = 0; ; index++) {
		err = vexfs_c_test_error(index);
		vexfs_expect_signed(report, "errno of an error", err,
				    vexfs_rs_test_error(index));
		if (!err)
			break;
	}
	vexfs_expect_signed(report, "errno behind the last error", 0,
			    vexfs_rs_test_error(U32_MAX));
}

/* Expects that Rust calculates @result, or gives the error @err and nothing else. */
static void expect_result(struct vexfs_report *report, char operator, int64_t left, int64_t right,
			  int err, int64_t result)
{
	int64_t got = 0;

	vexfs_expect_signed(report, "errno of a calculation", err,
			    vexfs_rs_test_calculate(operator, left, right, &got));
	vexfs_expect_signed(report, "its result", result, got);
}

static void arithmetic(struct vexfs_report *report)
{
	expect_result(report, '+', S64_MAX - 1, 1, 0, S64_MAX);
	expect_result(report, '+', S64_MAX, 1, -EOVERFLOW, 0);
	expect_result(report, '+', S64_MIN, -1, -EOVERFLOW, 0);
	expect_result(report, '-', S64_MIN + 1, 1, 0, S64_MIN);
	expect_result(report, '-', S64_MIN, 1, -EOVERFLOW, 0);
	expect_result(report, '*', 1LL << 31, -(1LL << 32), 0, S64_MIN);
	expect_result(report, '*', 1LL << 31, 1LL << 32, -EOVERFLOW, 0);
	expect_result(report, '/', -7, 2, 0, -3);
	expect_result(report, '/', 7, 0, -EDOM, 0);
	expect_result(report, '/', S64_MIN, -1, -EOVERFLOW, 0);
	expect_result(report, '%', 7, 2, -EINVAL, 0);
}

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

static void callbacks(struct vexfs_report *report)
{
	static const uint8_t data[] = { 9, 0, 255, 4 };
	struct visited visited = { .stop_after = sizeof(visited.bytes) };

	vexfs_expect_signed(report, "visit of four bytes", 0,
			    vexfs_rs_test_visit(data, sizeof(data), remember, &visited));
	vexfs_expect_bytes(report, "bytes visited", data, sizeof(data),
			   visited.bytes, visited.count);

	visited = (struct visited){ .stop_after = 2 };
	vexfs_expect_signed(report, "visit that is ended", -ECANCELED,
			    vexfs_rs_test_visit(data, sizeof(data), remember, &visited));
	vexfs_expect_bytes(report, "bytes visited until then", data, 2,
			   visited.bytes, visited.count);

	visited = (struct visited){ .stop_after = 0 };
	vexfs_expect_signed(report, "visit of no bytes", 0,
			    vexfs_rs_test_visit(NULL, 0, remember, &visited));
	vexfs_expect_signed(report, "visit without a callback", -EINVAL,
			    vexfs_rs_test_visit(data, sizeof(data), NULL, &visited));
}

/* Called by Rust, calls Rust. */
static int32_t sum_again(void *context, uint8_t byte)
{
	u64 *total = context;
	uint8_t twice[2] = { byte, byte };

	*total += vexfs_rs_test_sum(twice, sizeof(twice));
	return 0;
}

static void reentry(struct vexfs_report *report)
{
	static const uint8_t data[] = { 1, 20, 200 };
	u64 total = 0;

	vexfs_expect_signed(report, "visit by a callback that calls Rust", 0,
			    vexfs_rs_test_visit(data, sizeof(data), sum_again, &total));
	vexfs_expect_unsigned(report, "what the callback summed", 2 * (1 + 20 + 200), total);

	vexfs_expect_unsigned(report, "descent from 16", 16 * 17 / 2, vexfs_rs_test_descend(16));
	vexfs_expect_unsigned(report, "descent from 0", 0, vexfs_rs_test_descend(0));
}

static void ownership(struct vexfs_report *report)
{
	u64 count = vexfs_c_alloc_count();
	uint64_t total = 0;
	void *counter;
	void *other;

	counter = vexfs_rs_test_counter_new(40);
	other = vexfs_rs_test_counter_new(U64_MAX);
	vexfs_expect_unsigned(report, "counters made", 2, !!counter + !!other);
	if (!counter || !other)
		goto out;
	vexfs_expect_unsigned(report, "allocations of two counters", count + 2,
			      vexfs_c_alloc_count());

	vexfs_expect_signed(report, "adding 2", 0, vexfs_rs_test_counter_add(counter, 2, &total));
	vexfs_expect_unsigned(report, "40 + 2", 42, total);
	vexfs_expect_signed(report, "adding to the greatest number", -EOVERFLOW,
			    vexfs_rs_test_counter_add(other, 1, &total));
	vexfs_expect_unsigned(report, "total, left alone", 42, total);
	vexfs_expect_signed(report, "adding nothing to it", 0,
			    vexfs_rs_test_counter_add(other, 0, &total));
	vexfs_expect_unsigned(report, "the greatest number", U64_MAX, total);
out:
	vexfs_rs_test_counter_free(other);
	vexfs_rs_test_counter_free(counter);
	vexfs_rs_test_counter_free(NULL);
	vexfs_expect_unsigned(report, "allocations after the counters' end", count,
			      vexfs_c_alloc_count());
}

static void refusals(struct vexfs_report *report)
{
	size_t count = vexfs_rs_selftest_count();
	uint8_t challenge[VEXFS_PROOF_MAX + 1] = {};
	uint8_t name[1];
	uint64_t answer = 0;
	size_t used = 0;

	vexfs_expect_signed(report, "name of a test that is not there", -EINVAL,
			    vexfs_rs_selftest_name(count, name, sizeof(name), &used));
	vexfs_expect_signed(report, "run of a test that is not there", -EINVAL,
			    vexfs_rs_selftest_run(count, name, sizeof(name), &used));
	vexfs_expect_signed(report, "name without room for it", -ENOSPC,
			    vexfs_rs_selftest_name(0, name, sizeof(name), &used));
	vexfs_expect_signed(report, "challenge of 65 bytes", -EINVAL,
			    vexfs_rs_proof(challenge, sizeof(challenge), &answer));
	vexfs_expect_unsigned(report, "length, left alone", 0, used);
	vexfs_expect_unsigned(report, "answer, left alone", 0, answer);
}

const struct vexfs_selftest vexfs_boundary_tests[] = {
	{ "c.slices", slices },
	{ "c.text", text },
	{ "c.text.bad_utf8", bad_text },
	{ "c.strings", strings },
	{ "c.errors", errors },
	{ "c.arithmetic", arithmetic },
	{ "c.callback", callbacks },
	{ "c.reentry", reentry },
	{ "c.ownership", ownership },
	{ "c.refusals", refusals },
	{}
};

/* Offered to Rust */

uint64_t vexfs_c_test_sum(const uint8_t *data, size_t len)
{
	u64 sum = 0;
	size_t i;

	for (i = 0; i < len; i++)
		sum += data[i];
	return sum;
}

int32_t vexfs_c_test_reverse(const uint8_t *data, size_t len, uint8_t *out, size_t size)
{
	size_t i;

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
