/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Named tests in a kernel module. What this file and vexlab/ktest_main.h are
 * for is in docs/ktest.md of vexlab.
 *
 *	#include <vexlab/ktest.h>
 *
 *	KTEST(adds, test)
 *	{
 *		KTEST_EXPECT_EQ(test, add(2, 2), 4);
 *	}
 *
 * A test passes unless it fails or skips. It runs in process context, may
 * sleep, and is the only one that runs. Without VEXLAB_TEST nothing of it is in
 * the module.
 */
#ifndef VEXLAB_KTEST_H
#define VEXLAB_KTEST_H

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/stdarg.h>
#include <linux/string.h>
#include <linux/types.h>

/* What comes before the names of a file's tests: define it before including this. */
#ifndef KTEST_GROUP
#define KTEST_GROUP KBUILD_BASENAME
#endif

/* Which layout the structures below have; they are the same in crates/ktest/src/lib.rs. */
#define KTEST_LAYOUT 3

/* What a test has come to. */
#define KTEST_PASSED 0
#define KTEST_FAILED 1
#define KTEST_SKIPPED 2

/* A test that runs. */
struct ktest {
	char *text;	/* lines that say why it failed or skips */
	size_t size;	/* room at text; what exceeds it is left out */
	size_t used;	/* length of the text */
	u32 outcome;	/* KTEST_PASSED, ... */
	u32 cut_off;	/* not 0 where there was too much to say */
};

/* What a case is. */
#define KTEST_KIND_TEST 0
#define KTEST_KIND_BENCH 1	/* vexlab/kbench.h */

struct kbench;

/* A test or a benchmark as it is found in the section .ktests, by pointer. */
struct ktest_case {
	u32 layout;	/* KTEST_LAYOUT */
	u32 kind;	/* KTEST_KIND_TEST, ... */
	const char *name;
	union {
		void (*run)(struct ktest *test);
		void (*bench)(struct kbench *bench);
	};
};

/*
 * What a test says of itself: which function of the interface between C and
 * Rust it calls, and with what. It is found in the section .ktest_claims, and
 * the build looks whether it is so.
 */
struct ktest_claim {
	const struct ktest_case *test;
	const char *of;	/* "FUNCTION: good edge bad", of which one will do */
};

#ifdef VEXLAB_TEST

/* Tests come in the order of the source where the compiler can be told. */
#if __has_attribute(__no_reorder__)
#define __ktest_in_order __attribute__((__no_reorder__))
#else
#define __ktest_in_order
#endif

#define KTEST(_name, _test)						\
	static void ktest_run_##_name(struct ktest *_test);		\
	static const struct ktest_case ktest_case_##_name = {		\
		.layout = KTEST_LAYOUT,					\
		.name = KTEST_GROUP "." #_name,				\
		.run = ktest_run_##_name,				\
	};								\
	static const struct ktest_case *const ktest_entry_##_name	\
		__used __section(".ktests") __ktest_in_order = &ktest_case_##_name;	\
	static void ktest_run_##_name(struct ktest *_test)

/* KTEST_OF() - say that the test above calls a function with arguments of these kinds: good, edge, bad */
#define KTEST_OF(_name, _function, _kinds)				\
	static const struct ktest_claim ktest_claim_##_name##_##_function	\
		__used __section(".ktest_claims") = {			\
		.test = &ktest_case_##_name,				\
		.of = #_function ": " #_kinds,				\
	}

#else

#define KTEST(_name, _test)						\
	static void __maybe_unused ktest_run_##_name(struct ktest *_test)
#define KTEST_OF(_name, _function, _kinds) struct ktest_claim

#endif

/* Adds to what a test has to say. */
static __maybe_unused __printf(2, 0)
void ktest_vsay(struct ktest *test, const char *format, va_list args)
{
	size_t room = test->size - test->used;
	size_t length = vsnprintf(test->text + test->used, room, format, args);

	if (length >= room) {
		test->cut_off = 1;
		length = room ? room - 1 : 0;
	}
	test->used += length;
}

static __maybe_unused __printf(2, 3)
void ktest_say(struct ktest *test, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	ktest_vsay(test, format, args);
	va_end(args);
}

/* What is said next is a reason to fail. The reasons to skip don't matter any more. */
static __maybe_unused void ktest_failed(struct ktest *test)
{
	if (test->outcome == KTEST_SKIPPED)
		test->used = 0;
	test->outcome = KTEST_FAILED;
}

/* What a comparison says: the place, what was expected, and what was found. */
static __maybe_unused
void ktest_differs(struct ktest *test, const char *file, int line, const char *what,
		   long long got, long long expected)
{
	ktest_failed(test);
	ktest_say(test, "%s:%d: expected %s; got %lld (%#llx), expected %lld (%#llx)\n",
		  kbasename(file), line, what, got, got, expected, expected);
}

/* Bytes between quotes, those that are not printable in hexadecimal. */
static __maybe_unused
void ktest_say_quoted(struct ktest *test, const u8 *bytes, size_t length)
{
	size_t i;

	ktest_say(test, "\"");
	for (i = 0; i < length; i++)
		ktest_say(test, isascii(bytes[i]) && isprint(bytes[i]) ? "%c" : "\\x%02x", bytes[i]);
	ktest_say(test, "\"");
}

static __maybe_unused
void ktest_bytes_differ(struct ktest *test, const char *file, int line, const char *what,
			const void *got, size_t got_length,
			const void *expected, size_t expected_length)
{
	ktest_failed(test);
	ktest_say(test, "%s:%d: expected %s; got ", kbasename(file), line, what);
	ktest_say_quoted(test, got, got_length);
	ktest_say(test, ", expected ");
	ktest_say_quoted(test, expected, expected_length);
	ktest_say(test, "\n");
}

/* KTEST_FAIL() - say why the test fails; it goes on */
#define KTEST_FAIL(test, format, ...)					\
	do {								\
		struct ktest *__test = (test);				\
									\
		ktest_failed(__test);					\
		ktest_say(__test, "%s:%d: " format "\n",		\
			  kbasename(__FILE__), __LINE__, ##__VA_ARGS__);	\
	} while (0)

/* KTEST_SKIP() - say why the test can't be done here, and return */
#define KTEST_SKIP(test, format, ...)					\
	do {								\
		struct ktest *__test = (test);				\
									\
		if (__test->outcome != KTEST_FAILED) {			\
			__test->outcome = KTEST_SKIPPED;		\
			ktest_say(__test, format "\n", ##__VA_ARGS__);	\
		}							\
		return;							\
	} while (0)

/* Comparisons: each is true where it found what was expected, and lets the test fail where not. */

#define KTEST_EXPECT(test, condition) ({				\
	bool __holds = !!(condition);					\
									\
	if (!__holds)							\
		KTEST_FAIL(test, "expected %s", #condition);		\
	__holds;							\
})

/* Numbers, or pointers, as C compares them. */
#define __KTEST_COMPARE(test, got, operator, expected) ({		\
	typeof((got) + 0) __got = (got);				\
	typeof((expected) + 0) __expected = (expected);			\
	bool __holds = __got operator __expected;			\
									\
	if (!__holds)							\
		ktest_differs(test, __FILE__, __LINE__,			\
			      #got " " #operator " " #expected,		\
			      (long long)__got, (long long)__expected);	\
	__holds;							\
})

#define KTEST_EXPECT_EQ(test, got, expected) __KTEST_COMPARE(test, got, ==, expected)
#define KTEST_EXPECT_NE(test, got, expected) __KTEST_COMPARE(test, got, !=, expected)
#define KTEST_EXPECT_LT(test, got, expected) __KTEST_COMPARE(test, got, <, expected)
#define KTEST_EXPECT_LE(test, got, expected) __KTEST_COMPARE(test, got, <=, expected)
#define KTEST_EXPECT_GT(test, got, expected) __KTEST_COMPARE(test, got, >, expected)
#define KTEST_EXPECT_GE(test, got, expected) __KTEST_COMPARE(test, got, >=, expected)

/* Bytes, which come with their lengths. */
#define KTEST_EXPECT_BYTES(test, got, got_length, expected, expected_length) ({	\
	const void *__got = (got);					\
	const void *__expected = (expected);				\
	size_t __got_length = (got_length);				\
	size_t __expected_length = (expected_length);			\
	bool __holds = __got_length == __expected_length &&		\
		       !memcmp(__got, __expected, __got_length);	\
									\
	if (!__holds)							\
		ktest_bytes_differ(test, __FILE__, __LINE__, #got " == " #expected,	\
				   __got, __got_length, __expected, __expected_length);	\
	__holds;							\
})

/* Strings that end in a NUL. */
#define KTEST_EXPECT_STREQ(test, got, expected) ({			\
	const char *__got = (got);					\
	const char *__expected = (expected);				\
	bool __holds = !strcmp(__got, __expected);			\
									\
	if (!__holds)							\
		ktest_bytes_differ(test, __FILE__, __LINE__, #got " == " #expected,	\
				   __got, strlen(__got), __expected, strlen(__expected));	\
	__holds;							\
})

/* The same, and a return where they do not hold. */
#define __KTEST_OR_RETURN(comparison)					\
	do {								\
		if (!(comparison))					\
			return;						\
	} while (0)

#define KTEST_ASSERT(test, condition)					\
	__KTEST_OR_RETURN(KTEST_EXPECT(test, condition))
#define KTEST_ASSERT_EQ(test, got, expected)				\
	__KTEST_OR_RETURN(KTEST_EXPECT_EQ(test, got, expected))
#define KTEST_ASSERT_NE(test, got, expected)				\
	__KTEST_OR_RETURN(KTEST_EXPECT_NE(test, got, expected))
#define KTEST_ASSERT_STREQ(test, got, expected)				\
	__KTEST_OR_RETURN(KTEST_EXPECT_STREQ(test, got, expected))

#endif /* VEXLAB_KTEST_H */
