/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of addresses. Pure functions, any thread. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>

static size_t put_u8(char *out, uint8_t v)
{
	size_t n = 0;

	if (v >= 100)
		out[n++] = (char)('0' + v / 100);
	if (v >= 10)
		out[n++] = (char)('0' + v / 10 % 10);
	out[n++] = (char)('0' + v % 10);
	return n;
}

size_t clv_addr_format(const struct clv_addr *a, char out[CLV_ADDR_TEXT])
{
	if (!clv_addr_is_v4(a)) {
		inet_ntop(AF_INET6, a->b, out, CLV_ADDR_TEXT);
		return strlen(out);
	}
	size_t n = 0;
	for (int i = 12; i < 16; i++) {
		n += put_u8(out + n, a->b[i]);
		out[n++] = '.';
	}
	out[--n] = '\0';
	return n;
}

int clv_addr_parse(const char *text, struct clv_addr *out)
{
	uint8_t b[16];

	if (inet_pton(AF_INET, text, b) == 1)
		*out = clv_addr_v4(b);
	else if (inet_pton(AF_INET6, text, b) == 1)
		*out = clv_addr_v6(b);
	else
		return -EINVAL;
	return 0;
}

bool clv_addr_prefix_eq(const struct clv_addr *a, const struct clv_addr *b, unsigned bits)
{
	unsigned bytes = bits / 8, rest = bits % 8;

	if (bits > 128)
		return false;
	if (memcmp(a->b, b->b, bytes) != 0)
		return false;
	return rest == 0 || ((a->b[bytes] ^ b->b[bytes]) >> (8 - rest)) == 0;
}
