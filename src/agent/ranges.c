/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of addresses that are the cluster's. Owns nothing. One thread. */
#include "agent/ranges.h"

/* So many leading bits are equal, at most `most`. */
static uint8_t shared_bits(const struct clv_addr *a, const struct clv_addr *b, uint8_t most)
{
	uint8_t bits = 0;

	while (bits < most && clv_addr_prefix_eq(a, b, bits + 1u))
		bits++;
	return bits;
}

bool clv_ranges_has(const struct clv_ranges *r, const struct clv_addr *addr)
{
	for (size_t i = 0; i < r->count; i++)
		if (clv_addr_prefix_eq(&r->range[i].addr, addr, r->range[i].bits))
			return true;
	return false;
}

void clv_ranges_learn(struct clv_ranges *r, const struct clv_addr *addr, uint8_t bits)
{
	uint8_t least = clv_addr_is_v4(addr) ? CLV_RANGES_V4_BITS : CLV_RANGES_V6_BITS;

	for (size_t i = 0; i < r->count; i++) {
		uint8_t most = bits < r->range[i].bits ? bits : r->range[i].bits;
		uint8_t shared = shared_bits(&r->range[i].addr, addr, most);

		if (shared < most && (shared < least || clv_addr_is_v4(addr) != clv_addr_is_v4(&r->range[i].addr)))
			continue;
		r->range[i].bits = shared;
		return;
	}
	if (r->count == CLV_RANGES)
		return;
	r->range[r->count].addr = *addr;
	r->range[r->count++].bits = bits;
}

bool clv_addr_is_private(const struct clv_addr *a)
{
	static const struct {
		struct clv_addr addr;
		uint8_t bits;
	} private[] = {
		{{.b = {[10] = 0xff, 0xff, 10}}, 96 + 8},
		{{.b = {[10] = 0xff, 0xff, 172, 16}}, 96 + 12},
		{{.b = {[10] = 0xff, 0xff, 192, 168}}, 96 + 16},
		{{.b = {[10] = 0xff, 0xff, 100, 64}}, 96 + 10},
		{{.b = {[10] = 0xff, 0xff, 169, 254}}, 96 + 16},
		{{.b = {[10] = 0xff, 0xff, 127}}, 96 + 8},
		{{.b = {0xfc}}, 7},
		{{.b = {0xfe, 0x80}}, 10},
		{{.b = {[15] = 1}}, 128},
	};

	for (size_t i = 0; i < sizeof(private) / sizeof(*private); i++)
		if (clv_addr_prefix_eq(&private[i].addr, a, private[i].bits))
			return true;
	return false;
}
