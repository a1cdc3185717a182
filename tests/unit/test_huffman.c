/* SPDX-License-Identifier: Apache-2.0 */
/* Huffman's code of HPACK: the standard's examples, and libnghttp2's word for it for each byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <nghttp2/nghttp2.h>

#include "proto/huffman.h"

static char room[256];

static void expect(struct clv_slice code, struct clv_slice text)
{
	ssize_t len = clv_huffman_decode(code, room, sizeof(room));

	assert_int_equal(len, text.len);
	assert_memory_equal(room, text.data, text.len);
}

/* RFC 7541 appendix C.4 and C.6. */
static void test_the_standards_examples(void **state)
{
	expect(CLV_LIT("\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), CLV_LIT("www.example.com"));
	expect(CLV_LIT("\xa8\xeb\x10\x64\x9c\xbf"), CLV_LIT("no-cache"));
	expect(CLV_LIT("\x64\x02"), CLV_LIT("302"));
	expect(CLV_LIT("\xae\xc3\x77\x1a\x4b"), CLV_LIT("private"));
	expect(CLV_LIT("\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff"),
	       CLV_LIT("Mon, 21 Oct 2013 20:13:21 GMT"));
	expect(CLV_LIT("\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72"
		       "\xc1\xab\x27\x0f\xb5\x29\x1f\x95\x87\x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07"),
	       CLV_LIT("foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"));
	expect(CLV_LIT(""), CLV_LIT(""));
}

/* What libnghttp2 makes of a value. */
static struct clv_slice encoded(const uint8_t *value, size_t len)
{
	static uint8_t block[256];
	nghttp2_nv nv = {.name = (uint8_t *)"age", .value = (uint8_t *)value, .namelen = 3, .valuelen = len};
	nghttp2_hd_deflater *d;

	assert_int_equal(nghttp2_hd_deflate_new(&d, 4096), 0);
	ssize_t used = nghttp2_hd_deflate_hd(d, block, sizeof(block), &nv, 1);
	nghttp2_hd_deflate_del(d);
	/* 0000 1111, 21 - 15: age; then the string */
	assert_true(used > 3 && block[0] == 0x0f && block[1] == 0x06);
	assert_int_equal(block[2], 0x80 | (used - 3));
	return clv_slice(block + 3, (size_t)used - 3);
}

/* Each byte among others, at each place of a byte's bits. */
static void test_each_byte(void **state)
{
	unsigned common = 0;

	for (unsigned c = 0; c < 256; c++) {
		for (size_t at = 0; at < 9; at++) {
			uint8_t value[] = "000000000000000000000000";

			value[at] = (uint8_t)c;
			struct clv_slice code = encoded(value, sizeof(value) - 1);
			if (clv_huffman_decode(code, room, sizeof(room)) < 0) {
				assert_true(c == '\\' || c < ' ' || c >= 0x7f);
				continue;
			}
			expect(code, clv_slice(value, sizeof(value) - 1));
			common += at == 0;
		}
	}
	assert_int_equal(common, 95);
}

static void test_no_code(void **state)
{
	static const struct clv_slice bad[] = {
		CLV_LIT("\x64\x02\xff"),         /* a whole byte of padding */
		CLV_LIT("\x64\x00\x1e"),         /* padding that has a 0 */
		CLV_LIT("\xff"),                 /* nothing else */
		CLV_LIT("\xff\xff\xff\xff"),     /* the end of the string */
		CLV_LIT("\xff\xff\xff\xff\xff"), /* and more */
		CLV_LIT("\xff\xfe"),             /* a long word, cut */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(clv_huffman_decode(bad[i], room, sizeof(room)), -1);
}

static void test_no_room(void **state)
{
	const struct clv_slice code = CLV_LIT("\xa8\xeb\x10\x64\x9c\xbf");

	for (size_t cap = 0; cap < 8; cap++) {
		memset(room, '?', sizeof(room));
		assert_int_equal(clv_huffman_decode(code, room, cap), -1);
		assert_int_equal(room[cap], '?');
	}
	assert_int_equal(clv_huffman_decode(code, room, 8), 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_standards_examples),
		cmocka_unit_test(test_each_byte),
		cmocka_unit_test(test_no_code),
		cmocka_unit_test(test_no_room),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
