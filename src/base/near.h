/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that are near: found sixteen at once and in place, where to call memchr() would take longer than to look. Reads
 * nothing outside the slice. Pure; any thread.
 */
#ifndef CLV_BASE_NEAR_H
#define CLV_BASE_NEAR_H

#include "base/sixteen.h"
#include "base/slice.h"

/* The offset of the first byte `c` at or after `at` <= in.len; in.len when there is none. */
static inline size_t clv_near(struct clv_slice in, size_t at, uint8_t c)
{
#ifdef __SSE2__
	for (; in.len - at >= 16; at += 16) {
		__m128i bytes = (__m128i)clv_sixteen_load(in.data + at);
		unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8((char)c)));

		if (found)
			return at + (unsigned)__builtin_ctz(found);
	}
#endif
	while (at < in.len && in.data[at] != c)
		at++;
	return at;
}

/* The same of the first byte that is a blank or below it. */
static inline size_t clv_near_blank(struct clv_slice in, size_t at)
{
#ifdef __SSE2__
	const __m128i blanks = _mm_set1_epi8(' ');

	for (; in.len - at >= 16; at += 16) {
		__m128i bytes = (__m128i)clv_sixteen_load(in.data + at);
		unsigned found = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(_mm_max_epu8(bytes, blanks), blanks));

		if (found)
			return at + (unsigned)__builtin_ctz(found);
	}
#endif
	while (at < in.len && in.data[at] > ' ')
		at++;
	return at;
}

#endif
