/* SPDX-License-Identifier: Apache-2.0 */
/* What looks at many bytes at once finds what looking at each of them finds: line ends, addresses, hex digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"
#include "base/lines.h"
#include "base/near.h"
#include "base/sixteen.h"
#include "trace/context.h"

/* A block of its own, so that tools see what is read beside it. */
static uint8_t *block(size_t len)
{
	uint8_t *p = malloc(len ? len : 1);

	assert_non_null(p);
	return p;
}

static void expect_lines(struct clv_slice in)
{
	struct clv_lines lines = clv_lines(in, 0);

	for (size_t i = 0; i < in.len; i++)
		if (in.data[i] == '\n')
			assert_int_equal(clv_lines_next(&lines), i);
	for (int i = 0; i < 3; i++) /* and that was all */
		assert_int_equal(clv_lines_next(&lines), in.len);
}

static void expect_near(struct clv_slice in, size_t at)
{
	size_t lf = at, blank = at;

	while (lf < in.len && in.data[lf] != '\n')
		lf++;
	while (blank < in.len && in.data[blank] > ' ')
		blank++;
	assert_int_equal(clv_near(in, at, '\n'), lf);
	assert_int_equal(clv_near_blank(in, at), blank);
}

/* Behind each byte of it. */
static void expect_from_anywhere(struct clv_slice in)
{
	for (size_t at = 0; at <= in.len; at++) {
		struct clv_lines lines = clv_lines(in, at);

		expect_near(in, at);
		assert_int_equal(clv_lines_next(&lines), clv_near(in, at, '\n'));
	}
}

static void test_lines_of_every_length(void **state)
{
	for (size_t len = 0; len < 3 * CLV_LINES_STEP; len++) {
		uint8_t *p = block(len);

		memset(p, 0x8a, len); /* LF, but for one bit */
		expect_lines(clv_slice(p, len));
		for (size_t i = 0; i < len; i++) {
			p[i] = '\n';
			expect_lines(clv_slice(p, len));
			p[i] = '\v';
		}
		memset(p, '\n', len);
		expect_lines(clv_slice(p, len));
		free(p);
	}
}

static void test_lines_at_random(void **state)
{
	uint64_t random = 1;

	for (int n = 0; n < 2000; n++) {
		size_t len = (random >> 33) % 400;
		uint8_t *p = block(len), sparse = (uint8_t)(1 + n % 40);

		for (size_t i = 0; i < len; i++) {
			random = random * 6364136223846793005 + 1442695040888963407;
			p[i] = (random >> 40) % sparse ? (uint8_t)(random >> 56) : '\n';
		}
		expect_lines(clv_slice(p, len));
		expect_from_anywhere(clv_slice(p, len));
		free(p);
	}
}

static void test_highest_bits(void **state)
{
	uint8_t bytes[16];

	for (size_t i = 0; i < sizeof(bytes); i++)
		for (unsigned v = 0; v < 256; v++) {
			memset(bytes, 0x7f, sizeof(bytes));
			bytes[i] = (uint8_t)v;
			assert_int_equal(clv_sixteen_any_high(clv_sixteen_load(bytes)), v >= 0x80);
		}
}

static void test_every_octet(void **state)
{
	for (unsigned v = 0; v < 256; v++) {
		const uint8_t b[4] = {(uint8_t)v, (uint8_t)(v + 1), (uint8_t)(255 - v), (uint8_t)v};
		struct clv_addr a = clv_addr_v4(b);
		char want[CLV_ADDR_TEXT], text[CLV_ADDR_TEXT];
		int len = snprintf(want, sizeof(want), "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);

		assert_int_equal(clv_addr_format(&a, text), len);
		assert_string_equal(text, want);
	}
}

/* Any byte at any place of a traceparent: what sscanf() would say of the digits. */
static void test_every_byte_of_hex(void **state)
{
	static const char good[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
	struct clv_context c;

	for (size_t at = 3; at < 52; at++)
		for (unsigned v = 0; v < 256 && at != 35; v++) {
			char text[sizeof(good)], digits[3];
			size_t place = at < 35 ? at - 3 : at - 36;
			uint8_t *ids = at < 35 ? c.trace_id : c.parent_id;
			bool hex = v && strchr("0123456789abcdef", (int)v);

			memcpy(text, good, sizeof(text));
			text[at] = (char)v;
			assert_int_equal(clv_context_parse(clv_slice(text, sizeof(text) - 1), &c), hex);
			if (!hex)
				continue;
			snprintf(digits, sizeof(digits), "%02x", ids[place / 2]);
			assert_int_equal(digits[place % 2], v);
		}
}

/* Upper case is for formats that allow it. */
static void test_hex_of_either_case(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} table[] = {
		{"0AF7651916CD43DD8448eb211c80319c:B7AD6b7169203331:0:1", true},
		{"0AF7651916CD43DD8448eb211c80319@:B7AD6b7169203331:0:1", false},
		{"0AF7651916CD43DD8448eb211c80319G:B7AD6b7169203331:0:1", false},
		{"0AF7651916CD43DD8448eb211c80319\x11:B7AD6b7169203331:0:1", false},
		{"0AF7651916CD43DD:B7AD6b71:0:1", true},
		{"AF7651916CD43DD:7AD6b71:0:1", true},
		{"00000000:B7AD6b71:0:1", false},
	};
	const struct clv_propagators all = {0};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct clv_context_fields f = {.jaeger = clv_slice_str(table[i].text)};
		struct clv_context c;

		assert_int_equal(clv_context_read(&f, &all, &c), table[i].good);
		if (table[i].good)
			assert_int_equal(c.parent_id[7] & 0x0f, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_of_every_length), cmocka_unit_test(test_lines_at_random),
		cmocka_unit_test(test_highest_bits),          cmocka_unit_test(test_every_octet),
		cmocka_unit_test(test_every_byte_of_hex),     cmocka_unit_test(test_hex_of_either_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
