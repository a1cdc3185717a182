/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of spans. Owns nothing but the copies' memory: the fields before the arrays, the entries in use, then the
 * bytes of all strings. Any thread.
 */
#include "model/span_copy.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>

/* Everything that counts bound stands before the first array; what comes after the last one is for building. */
#define FIELDS_BYTES offsetof(struct clv_span, attr)
_Static_assert(offsetof(struct clv_span, header) > FIELDS_BYTES, "the arrays are at the end");
_Static_assert(offsetof(struct clv_span, scratch_used) > offsetof(struct clv_span, header), "and then the scratch");

struct clv_span_copy {
	size_t bytes;
	uint16_t attr_count, header_count;
	const struct clv_resource *resource;
	alignas(max_align_t) char fields[FIELDS_BYTES]; /* then attr, header, strings */
};

/* Calls fn() with every string of the span. */
static void each_string(struct clv_span *s, void (*fn)(void *ctx, struct clv_slice *string), void *ctx)
{
	fn(ctx, &s->tracestate);
	fn(ctx, &s->name);
	fn(ctx, &s->method);
	fn(ctx, &s->target);
	fn(ctx, &s->result);
	for (unsigned i = 0; i < s->attr_count; i++)
		if (s->attr[i].type == CLV_TYPE_STRING || s->attr[i].type == CLV_TYPE_STRINGS)
			fn(ctx, &s->attr[i].s);
	for (unsigned i = 0; i < s->header_count; i++) {
		fn(ctx, &s->header[i].name);
		fn(ctx, &s->header[i].value);
	}
}

static void string_measure(void *ctx, struct clv_slice *string)
{
	*(size_t *)ctx += string->len;
}

static void string_move(void *ctx, struct clv_slice *string)
{
	char **to = ctx;

	if (string->len)
		memcpy(*to, string->data, string->len);
	string->data = (const uint8_t *)*to;
	*to += string->len;
}

/* All of the span but its scratch. */
static void fields_copy(struct clv_span *to, const struct clv_span *from)
{
	memcpy(to, from, FIELDS_BYTES);
	to->commons = NULL; /* a copy may outlive what is kept there */
	to->common = NULL;
	to->common_at = NULL;
	to->traceparent = clv_slice(NULL, 0); /* what it says has been taken */
	memcpy(to->attr, from->attr, from->attr_count * sizeof(*from->attr));
	memcpy(to->header, from->header, from->header_count * sizeof(*from->header));
}

struct clv_span_copy *clv_span_copy_new(const struct clv_span *span)
{
	size_t attrs = span->attr_count * sizeof(*span->attr), headers = span->header_count * sizeof(*span->header);
	size_t bytes = sizeof(struct clv_span_copy) + attrs + headers;
	struct clv_span moved; /* whose strings are the copy's */

	fields_copy(&moved, span);
	each_string(&moved, string_measure, &bytes);
	struct clv_span_copy *c = malloc(bytes);
	if (!c)
		return NULL;
	c->bytes = bytes;
	c->attr_count = span->attr_count;
	c->header_count = span->header_count;
	c->resource = span->resource;
	char *at = (char *)(c + 1), *strings = at + attrs + headers;
	each_string(&moved, string_move, &strings);
	memcpy(c->fields, &moved, FIELDS_BYTES);
	memcpy(at, moved.attr, attrs);
	memcpy(at + attrs, moved.header, headers);
	return c;
}

void clv_span_copy_free(struct clv_span_copy *c)
{
	free(c);
}

void clv_span_copy_get(const struct clv_span_copy *c, struct clv_span *out)
{
	size_t attrs = c->attr_count * sizeof(*out->attr), headers = c->header_count * sizeof(*out->header);
	const char *at = (const char *)(c + 1);

	memcpy(out, c->fields, FIELDS_BYTES);
	memcpy(out->attr, at, attrs);
	memcpy(out->header, at + attrs, headers);
	out->scratch_used = 0;
	out->overflow = NULL;
	out->overflow_used = 0;
}

const struct clv_resource *clv_span_copy_resource(const struct clv_span_copy *c)
{
	return c->resource;
}

size_t clv_span_copy_bytes(const struct clv_span_copy *c)
{
	return c->bytes;
}
