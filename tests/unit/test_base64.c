/* SPDX-License-Identifier: Apache-2.0 */
/* Base64, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

static void test_there_and_back(void **state)
{
	static const char *const pairs[][2] = {{"", ""},        {"a", "YQ=="},          {"ab", "YWI="},
					       {"abc", "YWJj"}, {"?>>>>?", "Pz4+Pj4/"}, {"\xff\xfe", "//4="}};
	char text[16];
	uint8_t bytes[16];
	size_t len;

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		struct clv_slice plain = clv_slice_str(pairs[i][0]);

		*clv_base64_encode(text, plain) = '\0';
		assert_string_equal(text, pairs[i][1]);
		assert_int_equal(strlen(text), CLV_BASE64_ENCODED(plain.len));
		assert_true(clv_base64_decode(clv_slice_str(text), bytes, sizeof(bytes), &len));
		assert_true(clv_slice_eq(clv_slice(bytes, len), plain));
		assert_true(len <= CLV_BASE64_DECODED(strlen(text)));
	}
}

static void test_what_others_write(void **state)
{
	static const char *const good[][2] = {
		{"YWJjZA", "abcd"}, {"YW\nJj\r\n ZA==", "abcd"}, {"Pz8_Pg", "?\?\?>"}, {"=x", ""}};
	static const char *const bad[] = {"Y", "YWJjZ", "Y!==", "\xff", "YWJj\x01"};
	uint8_t bytes[16];
	size_t len;

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_true(clv_base64_decode(clv_slice_str(good[i][0]), bytes, sizeof(bytes), &len));
		assert_true(clv_slice_eq(clv_slice(bytes, len), clv_slice_str(good[i][1])));
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(clv_base64_decode(clv_slice_str(bad[i]), bytes, sizeof(bytes), &len));
}

static void test_no_room(void **state)
{
	uint8_t bytes[3];
	size_t len;

	assert_true(clv_base64_decode(CLV_LIT("YWJj"), bytes, 3, &len));
	assert_false(clv_base64_decode(CLV_LIT("YWJjZA"), bytes, 3, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_what_others_write),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
