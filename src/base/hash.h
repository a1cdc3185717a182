/* SPDX-License-Identifier: Apache-2.0 */
/* Hashing: XXH3 from libxxhash, compiled in. Not for secrets; tables that strangers can fill pass a random seed. */
#ifndef CLV_BASE_HASH_H
#define CLV_BASE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

static inline uint64_t clv_hash(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

/* Two words made one, in which each bit of both has its part: their product, folded. */
static inline uint64_t clv_hash_mix(uint64_t a, uint64_t b)
{
#ifdef __SIZEOF_INT128__
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
#else
	uint64_t both[2] = {a, b};

	return clv_hash(both, sizeof(both), 0);
#endif
}

#endif
