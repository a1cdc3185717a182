/* SPDX-License-Identifier: Apache-2.0 */
/* Span attributes and scratch. Owns no memory. */
#include "model/span.h"

const struct clv_attr *clv_span_get(const struct clv_span *s, enum clv_attr_key key)
{
	for (unsigned i = 0; i < s->attr_count; i++)
		if (s->attr[i].key == key)
			return &s->attr[i];
	return NULL;
}

char *clv_span_overflow(struct clv_span *s, size_t len)
{
	if (!s->overflow || len > CLV_SPAN_OVERFLOW - s->overflow_used)
		return NULL;
	char *p = s->overflow + s->overflow_used;
	s->overflow_used += (uint32_t)len;
	return p;
}
