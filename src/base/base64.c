/* SPDX-License-Identifier: Apache-2.0 */
/* Base64. Owns nothing. Any thread. */
#include "base/base64.h"

char *clv_base64_encode(char *out, struct clv_slice s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < s.len; i += 3) {
		size_t n = s.len - i;
		uint32_t w = (uint32_t)s.data[i] << 16;

		w |= n > 1 ? (uint32_t)s.data[i + 1] << 8 : 0;
		w |= n > 2 ? s.data[i + 2] : 0;
		*out++ = digits[w >> 18];
		*out++ = digits[w >> 12 & 63];
		*out++ = n > 1 ? digits[w >> 6 & 63] : '=';
		*out++ = n > 2 ? digits[w & 63] : '=';
	}
	return out;
}

static int digit_of(uint8_t c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : c >= '0' && c <= '9' ? c - '0' + 52
	       : c == '+' || c == '-' ? 62
	       : c == '/' || c == '_' ? 63
				      : -1;
}

bool clv_base64_decode(struct clv_slice s, uint8_t *out, size_t size, size_t *len)
{
	uint32_t bits = 0, n = 0; /* those that are in no byte yet */

	*len = 0;
	for (size_t i = 0; i < s.len && s.data[i] != '='; i++) {
		uint8_t c = s.data[i];
		int digit = digit_of(c);

		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			continue;
		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		n += 6;
		if (n < 8)
			continue;
		n -= 8;
		if (*len == size)
			return false;
		out[(*len)++] = (uint8_t)(bits >> n);
	}
	return n < 6; /* one character alone is no byte */
}
