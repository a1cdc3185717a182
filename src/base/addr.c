/* SPDX-License-Identifier: Apache-2.0 */
/* Text forms of addresses. Pure functions, any thread. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>

/* Each number that a byte may be, as text with a dot behind it. */
struct octet {
	char text[4];
};

#define DIGITS(n) ((n) < 10 ? 1 : (n) < 100 ? 2 : 3)
#define DIGIT(n, i) \
	((i) < DIGITS(n) ? '0' + ((i) + 1 == DIGITS(n) ? (n) : (i) + 2 == DIGITS(n) ? (n) / 10 : (n) / 100) % 10 : '.')
#define OCTET(n)                                                   \
	{                                                          \
		{                                                  \
			DIGIT(n, 0), DIGIT(n, 1), DIGIT(n, 2), '.' \
		}                                                  \
	}
#define FOUR(n)       OCTET(n), OCTET((n) + 1), OCTET((n) + 2), OCTET((n) + 3)
#define SIXTEEN(n)    FOUR(n), FOUR((n) + 4), FOUR((n) + 8), FOUR((n) + 12)
#define SIXTY_FOUR(n) SIXTEEN(n), SIXTEEN((n) + 16), SIXTEEN((n) + 32), SIXTEEN((n) + 48)
static const struct octet octets[256] = {SIXTY_FOUR(0), SIXTY_FOUR(64), SIXTY_FOUR(128), SIXTY_FOUR(192)};

size_t clv_addr_format(const struct clv_addr *a, char out[CLV_ADDR_TEXT])
{
	if (!clv_addr_is_v4(a)) {
		inet_ntop(AF_INET6, a->b, out, CLV_ADDR_TEXT);
		return strlen(out);
	}
	size_t n = 0;
	for (int i = 12; i < 16; i++) {
		uint8_t v = a->b[i];

		memcpy(out + n, octets[v].text, sizeof(octets[v].text));
		n += 2u + (v >= 10) + (v >= 100);
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
