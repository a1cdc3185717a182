/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of this host: what there is depends on it, but never the loopback's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/local.h"

static void test_no_loopback(void **state)
{
	static struct clv_addr local[CLV_LOCAL_MAX];
	size_t n = clv_local_addresses(local);

	assert_in_range(n, 0, CLV_LOCAL_MAX);
	for (size_t i = 0; i < n; i++) {
		char text[CLV_ADDR_TEXT];

		assert_true(clv_addr_format(&local[i], text) > 0);
		assert_string_not_equal(text, "127.0.0.1");
		assert_string_not_equal(text, "::1");
		assert_string_not_equal(text, "0.0.0.0");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_loopback)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
