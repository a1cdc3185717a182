/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as the engine knows them: 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2); ports in
 * host byte order.
 */
#ifndef CLV_BASE_ADDR_H
#define CLV_BASE_ADDR_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct clv_addr {
	uint8_t b[16];
};

struct clv_endpoint {
	struct clv_addr addr;
	uint16_t port;
};

/* Room for any address as text, with its NUL. */
#define CLV_ADDR_TEXT 46

static inline bool clv_addr_is_v4(const struct clv_addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(a->b, mapped, sizeof(mapped)) == 0;
}

/* A group's address (RFC 5771, RFC 4291 section 2.7). */
static inline bool clv_addr_is_multicast(const struct clv_addr *a)
{
	return clv_addr_is_v4(a) ? a->b[12] >> 4 == 14 : a->b[0] == 0xff;
}

/* From 4 bytes in network order. */
static inline struct clv_addr clv_addr_v4(const uint8_t *b)
{
	struct clv_addr a = {.b = {[10] = 0xff, [11] = 0xff}};

	memcpy(a.b + 12, b, 4);
	return a;
}

/* From 16 bytes in network order. */
static inline struct clv_addr clv_addr_v6(const uint8_t *b)
{
	struct clv_addr a;

	memcpy(a.b, b, 16);
	return a;
}

/* Half an address as a number. */
static inline uint64_t clv_addr_half(const struct clv_addr *a, int half)
{
	uint64_t v;

	memcpy(&v, a->b + 8 * half, sizeof(v));
	return be64toh(v);
}

/* Orders endpoints: address first, then port. Any total order serves; it only makes keys canonical. */
static inline int clv_endpoint_cmp(const struct clv_endpoint *x, const struct clv_endpoint *y)
{
	for (int half = 0; half < 2; half++) {
		uint64_t a = clv_addr_half(&x->addr, half), b = clv_addr_half(&y->addr, half);

		if (a != b)
			return a < b ? -1 : 1;
	}
	return (int)x->port - (int)y->port;
}

/* Writes the textual form (RFC 5952; IPv4 dotted) into `out`. Returns its length without the NUL. */
size_t clv_addr_format(const struct clv_addr *a, char out[CLV_ADDR_TEXT]);

/* Parses an IPv4 or IPv6 address. Returns 0, or -EINVAL with *out untouched. */
int clv_addr_parse(const char *text, struct clv_addr *out);

/* True when the first `bits` of the 128 (IPv4: 96 + prefix length) are equal. */
bool clv_addr_prefix_eq(const struct clv_addr *a, const struct clv_addr *b, unsigned bits);

#endif
