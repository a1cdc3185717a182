/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was just stored in pieces is best loaded in the same ones: of a load that spans several stores the processor
 * cannot take the bytes from those under way, but waits until all of them are done, as long as some twenty instructions
 * take. Compilers join such loads all the same. Pure.
 */
#ifndef CLV_BASE_APART_H
#define CLV_BASE_APART_H

#include <stdint.h>

#include "base/slice.h"

/* A word that is loaded, and not joined with the one beside it. */
static inline uint64_t clv_apart(uint64_t word)
{
	__asm__("" : "+r"(word));
	return word;
}

static inline struct clv_slice clv_apart_slice(const struct clv_slice *s)
{
	const uint8_t *data = s->data;

	__asm__("" : "+r"(data));
	return clv_slice(data, s->len);
}

#endif
