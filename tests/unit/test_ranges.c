/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges that are learned from addresses: the smallest that holds what is near each other, and no more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "agent/ranges.h"
#include "kube_text.h"

static void learn(struct clv_ranges *r, const char *text, unsigned bits)
{
	struct clv_addr a = ip(text);

	clv_ranges_learn(r, &a, (uint8_t)bits);
}

static bool has(const struct clv_ranges *r, const char *text)
{
	struct clv_addr a = ip(text);

	return clv_ranges_has(r, &a);
}

static void test_what_is_near_is_one_range(void **state)
{
	struct clv_ranges r = {0};

	assert_false(has(&r, "10.96.0.1"));
	learn(&r, "10.96.0.1", 128);
	assert_true(has(&r, "10.96.0.1"));
	assert_false(has(&r, "10.96.0.2"));
	learn(&r, "10.96.200.7", 128);
	assert_int_equal(r.count, 1);
	assert_true(has(&r, "10.96.77.3"));
	assert_false(has(&r, "10.97.0.1"));
	learn(&r, "10.244.1.0", 96 + 24); /* too far away for one range */
	learn(&r, "10.244.2.0", 96 + 24);
	assert_int_equal(r.count, 2);
	assert_true(has(&r, "10.244.2.200"));
	assert_true(has(&r, "10.244.0.1"));
	assert_false(has(&r, "10.244.4.1"));
	assert_false(has(&r, "10.200.0.1"));
	learn(&r, "10.244.2.9", 128); /* nothing new */
	assert_false(has(&r, "10.244.4.1"));
	learn(&r, "10.0.0.0", 96 + 8); /* said so: then it is so */
	assert_true(has(&r, "10.200.0.1"));
	assert_false(has(&r, "11.0.0.1"));
}

static void test_families_stay_apart(void **state)
{
	struct clv_ranges r = {0};

	learn(&r, "10.96.0.1", 128);
	learn(&r, "fd00:10:96::1", 128);
	learn(&r, "fd00:10:96::a00", 128);
	learn(&r, "fd00:10:244::1", 128);
	learn(&r, "::1:2", 128);
	assert_int_equal(r.count, 4);
	assert_true(has(&r, "fd00:10:96::7"));
	assert_false(has(&r, "fd00:10:97::7"));
	assert_false(has(&r, "10.96.0.2"));
}

static void test_bounded(void **state)
{
	struct clv_ranges r = {0};
	char text[16];

	for (int i = 1; i < 200; i++) {
		snprintf(text, sizeof(text), "%d.0.0.1", i);
		learn(&r, text, 128);
	}
	assert_int_equal(r.count, CLV_RANGES);
	assert_true(has(&r, "1.0.0.1"));
	assert_false(has(&r, "100.0.0.1"));
}

static void test_private(void **state)
{
	static const char *const yes[] = {"10.0.0.1",   "10.255.0.1",  "172.16.0.1",  "172.31.9.9", "192.168.3.4",
					  "100.64.0.1", "100.127.0.1", "169.254.1.1", "127.0.0.6",  "fd00::1",
					  "fc12::1",    "fe80::1",     "::1"};
	static const char *const no[] = {"9.255.255.255", "11.0.0.1",    "172.15.0.1", "172.32.0.1",  "192.169.0.1",
					 "100.63.0.1",    "100.128.0.1", "8.8.8.8",    "2001:db8::1", "::2"};
	struct clv_addr a;

	for (size_t i = 0; i < sizeof(yes) / sizeof(*yes); i++) {
		a = ip(yes[i]);
		assert_true(clv_addr_is_private(&a));
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(*no); i++) {
		a = ip(no[i]);
		assert_false(clv_addr_is_private(&a));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_near_is_one_range),
		cmocka_unit_test(test_families_stay_apart),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_private),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
