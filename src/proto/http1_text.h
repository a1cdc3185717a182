/* SPDX-License-Identifier: Apache-2.0 */
/* Small grammar that the parser (http1.c) and the span (http1_span.c) of HTTP/1 share. Private to these two. */
#ifndef CLV_PROTO_HTTP1_TEXT_H
#define CLV_PROTO_HTTP1_TEXT_H

#include "base/slice.h"

static inline bool http1_is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

static inline bool http1_is_one_of(struct clv_slice word, const struct clv_slice *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (clv_slice_eq(word, list[i]))
			return true;
	return false;
}

/* Cuts the next element off a comma-separated list. */
static inline struct clv_slice http1_element(struct clv_slice *list)
{
	size_t comma = clv_slice_find(*list, 0, ',');
	struct clv_slice element = clv_slice_trim(clv_slice_head(*list, comma));

	*list = clv_slice_from(*list, comma + 1);
	return element;
}

/* Digits only, below 2^63. */
static inline bool http1_decimal(struct clv_slice s, uint64_t *out)
{
	uint64_t v = 0;

	if (!s.len)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (!http1_is_digit(s.data[i]) || v > (INT64_MAX - 9) / 10)
			return false;
		v = v * 10 + (uint64_t)(s.data[i] - '0');
	}
	*out = v;
	return true;
}

#endif
