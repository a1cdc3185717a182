/* SPDX-License-Identifier: Apache-2.0 */
/* traceparent: vectors made from the rules of W3C Trace Context section 3.2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "trace/context.h"

#define TRACE  "0af7651916cd43dd8448eb211c80319c"
#define PARENT "b7ad6b7169203331"

static bool valid(const char *text)
{
	struct clv_context c;

	return clv_context_parse(clv_slice_str(text), &c);
}

static void accepts(void **state)
{
	struct clv_context c;
	static const uint8_t parent[8] = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};

	assert_true(clv_context_parse(CLV_LIT("00-" TRACE "-" PARENT "-01"), &c));
	assert_int_equal(c.trace_id[0], 0x0a);
	assert_int_equal(c.trace_id[15], 0x9c);
	assert_memory_equal(c.parent_id, parent, sizeof(parent));
	assert_int_equal(c.flags, 1);
	assert_true(valid("00-" TRACE "-" PARENT "-00"));
	assert_true(valid("00-" TRACE "-" PARENT "-ff"));
	assert_true(valid("cc-" TRACE "-" PARENT "-01"));
	assert_true(valid("cc-" TRACE "-" PARENT "-01-what-the-future-brings"));
}

static void refuses(void **state)
{
	static const char *const bad[] = {
		"",
		"00",
		"00-" TRACE "-" PARENT,
		"00-" TRACE "-" PARENT "-1",
		"00-" TRACE "-" PARENT "-01-",     /* version 00 ends there */
		"00-" TRACE "-" PARENT "-01-more", /* likewise */
		"cc-" TRACE "-" PARENT "-01.more", /* what follows must begin with '-' */
		"ff-" TRACE "-" PARENT "-01",      /* a version that never will be */
		"0x-" TRACE "-" PARENT "-01",      /* no hex */
		"00-00000000000000000000000000000000-" PARENT "-01",
		"00-" TRACE "-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-" PARENT "-01", /* upper case */
		"00-" TRACE "-B7AD6B7169203331-01",
		"00_" TRACE "-" PARENT "-01",
		"00-" TRACE "_" PARENT "-01",
		"00-" TRACE "-" PARENT "_01",
		"00-0af7651916cd43dd8448eb211c80319-" PARENT "-001",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (valid(bad[i]))
			fail_msg("accepted: %s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(accepts), cmocka_unit_test(refuses)};

	return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}
