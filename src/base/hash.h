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

#endif
