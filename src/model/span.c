/* SPDX-License-Identifier: Apache-2.0 */
/* Span attributes and their names. Owns no memory. */
#include "model/span.h"

#include <assert.h>

const char *clv_attr_name(enum clv_attr_key key)
{
	static const char *const names[CLV_ATTR_COUNT] = {
#define X(id, name) name,
		CLV_ATTRS(X)
#undef X
	};
	return names[key];
}

static struct clv_attr *add(struct clv_span *s, enum clv_attr_key key, enum clv_attr_type type)
{
	assert(s->attr_count < CLV_SPAN_ATTRS);
	struct clv_attr *a = &s->attr[s->attr_count++];

	a->key = (uint16_t)key;
	a->type = (uint16_t)type;
	return a;
}

void clv_span_str(struct clv_span *s, enum clv_attr_key key, struct clv_slice value)
{
	add(s, key, CLV_TYPE_STRING)->s = value;
}

void clv_span_int(struct clv_span *s, enum clv_attr_key key, int64_t value)
{
	add(s, key, CLV_TYPE_INT)->i = value;
}

void clv_span_bool(struct clv_span *s, enum clv_attr_key key, bool value)
{
	add(s, key, CLV_TYPE_BOOL)->b = value;
}

const struct clv_attr *clv_span_get(const struct clv_span *s, enum clv_attr_key key)
{
	for (unsigned i = 0; i < s->attr_count; i++)
		if (s->attr[i].key == key)
			return &s->attr[i];
	return NULL;
}

char *clv_span_scratch(struct clv_span *s, size_t len)
{
	if (len <= sizeof(s->scratch) - s->scratch_used) {
		char *p = s->scratch + s->scratch_used;

		s->scratch_used = (uint16_t)(s->scratch_used + len);
		return p;
	}
	if (s->overflow && len <= CLV_SPAN_OVERFLOW - s->overflow_used) {
		char *p = s->overflow + s->overflow_used;

		s->overflow_used += (uint32_t)len;
		return p;
	}
	return NULL;
}
