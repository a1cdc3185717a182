/* SPDX-License-Identifier: Apache-2.0 */
/* Finds line ends. Owns nothing; any thread. */
#include "base/lines.h"

#include <endian.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* `PIECE` bytes at once: a bit for each LF among them. */
#ifdef __SSE2__
#define PIECE 16u

static inline uint64_t piece_ends(const uint8_t *p)
{
	__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);

	return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\n')));
}
#else
#define PIECE 8u

static inline uint64_t piece_ends(const uint8_t *p)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	w = le64toh(w) ^ ones * '\n';
	w = ~(((w & ones * 0x7f) + ones * 0x7f) | w) & ones * 0x80; /* the high bit of bytes that were LF */
	return (w >> 7) * 0x0102040810204080 >> 56;
}
#endif

/* The input's last bytes, fewer than a step. Their last piece begins where it fits. */
static uint64_t last_ends(struct clv_slice in, size_t at)
{
	const uint8_t *p = in.data + at;
	size_t n = 0, len = in.len - at;
	uint64_t ends = 0;

	for (; n + PIECE <= len; n += PIECE)
		ends |= piece_ends(p + n) << n;
	if (n < len && in.len >= PIECE)
		return ends | piece_ends(p + len - PIECE) >> (PIECE - (len - n)) << n;
	for (; n < len; n++)
		ends |= (uint64_t)(p[n] == '\n') << n;
	return ends;
}

uint64_t clv_lines_step(struct clv_slice in, size_t at)
{
	const uint8_t *p = in.data + at;
	uint64_t ends = 0;

	if (in.len - at < CLV_LINES_STEP)
		return last_ends(in, at);
	for (size_t n = 0; n < CLV_LINES_STEP; n += PIECE)
		ends |= piece_ends(p + n) << n;
	return ends;
}
