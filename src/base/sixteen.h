/* SPDX-License-Identifier: Apache-2.0 */
/* Sixteen bytes at once, by the compiler's own vectors: SSE2, NEON, or whatever there is. Pure; any thread. */
#ifndef CLV_BASE_SIXTEEN_H
#define CLV_BASE_SIXTEEN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

typedef uint8_t clv_sixteen __attribute__((vector_size(16)));
/* The same; comparisons are of signed bytes, so what is not ASCII is less than anything that is. */
typedef int8_t clv_sixteen_signed __attribute__((vector_size(16)));

static inline clv_sixteen clv_sixteen_load(const void *p)
{
	clv_sixteen v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void clv_sixteen_store(void *p, clv_sixteen v)
{
	memcpy(p, &v, sizeof(v));
}

static inline clv_sixteen clv_sixteen_of(uint64_t first, uint64_t last)
{
	typedef uint64_t two __attribute__((vector_size(16)));

	return (clv_sixteen)(two){first, last};
}

/* Has any of them its highest bit set? */
static inline bool clv_sixteen_any_high(clv_sixteen v)
{
#ifdef __SSE2__
	return _mm_movemask_epi8((__m128i)v);
#else
	uint64_t half[2];

	memcpy(half, &v, sizeof(half));
	return (half[0] | half[1]) & 0x8080808080808080;
#endif
}

#endif
