/* SPDX-License-Identifier: Apache-2.0 */
/* base/digits.h against printf. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>

#include "base/digits.h"

static void assert_digits(uint64_t v)
{
	char got[32], want[32];

	memset(got, '#', sizeof(got));
	char *end = clv_digits(got, v);
	snprintf(want, sizeof(want), "%" PRIu64, v);
	assert_int_equal(end - got, strlen(want));
	assert_memory_equal(got, want, strlen(want));
	assert_int_equal(end[3], '#'); /* three bytes too many, not four */
}

static void test_any_number(void **state)
{
	for (uint64_t v = 0; v < 1100000; v++)
		assert_digits(v);
	for (uint64_t power = 1; power; power = power > UINT64_MAX / 10 ? 0 : power * 10)
		for (uint64_t v = power > 3 ? power - 3 : 0; v < power + 3; v++)
			assert_digits(v);
	for (unsigned bit = 0; bit < 64; bit++) {
		assert_digits(1ull << bit);
		assert_digits((1ull << bit) - 1);
		assert_digits(0x123456789abcdef0u >> bit);
	}
	assert_digits(UINT64_MAX);
}

static void test_all_of_them(void **state)
{
	char got[16], want[16];

	for (uint32_t v = 0; v < 1000000000; v += 9973) {
		snprintf(want, sizeof(want), "%09" PRIu32, v);
		assert_ptr_equal(clv_digits_nine(got, v), got + 9);
		assert_memory_equal(got, want, 9);
	}
	for (uint32_t v = 0; v < 1000; v++) {
		snprintf(want, sizeof(want), "%03" PRIu32, v);
		assert_ptr_equal(clv_digits_three(got, v), got + 3);
		assert_memory_equal(got, want, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_number), cmocka_unit_test(test_all_of_them)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
