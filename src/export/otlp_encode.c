/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP's protobuf messages, written front to back. Owns nothing, never allocates, never checks for room: the caller
 * gives the bound's bytes. Engine thread for spans and resources, exporter's for groups.
 *
 * An attribute is KeyValue { key = 1, value = 2 AnyValue { string_value = 1 | bool_value = 2 | int_value = 3 |
 * array_value = 5 ArrayValue { values = 1 } } }. Keys are encoded at compile time, and lengths of what is plain text
 * are known before it is written; only what must be escaped has its lengths filled in afterwards.
 */
#include "export/otlp_encode.h"

#include "export/protobuf.h"
#include "export/utf8.h"

const struct clv_slice clv_otlp_schema_url = CLV_LIT("https://opentelemetry.io/schemas/1.44.0");

/* Field numbers (opentelemetry-proto 1.11). */
enum { RESOURCE_SPANS = 1 };                                          /* ExportTraceServiceRequest */
enum { GROUP_RESOURCE = 1, GROUP_SCOPE_SPANS = 2, GROUP_SCHEMA = 3 }; /* ResourceSpans */
enum { SCOPE_SCOPE = 1, SCOPE_SPANS = 2, SCOPE_SCHEMA = 3 };          /* ScopeSpans */
enum { SCOPE_NAME = 1, SCOPE_VERSION = 2 };                           /* InstrumentationScope */
enum { RESOURCE_ATTRIBUTES = 1 };                                     /* Resource */
enum { KEY = 1, VALUE = 2 };                                          /* KeyValue */
enum { ANY_STRING = 1, ANY_BOOL = 2, ANY_INT = 3, ANY_ARRAY = 5 };    /* AnyValue */
enum { ARRAY_VALUES = 1 };                                            /* ArrayValue */
enum { STATUS_CODE = 3 };                                             /* Status */
enum {
	SPAN_TRACE_ID = 1,
	SPAN_SPAN_ID = 2,
	SPAN_TRACE_STATE = 3,
	SPAN_PARENT_ID = 4,
	SPAN_NAME = 5,
	SPAN_KIND = 6,
	SPAN_START = 7,
	SPAN_END = 8,
	SPAN_ATTRIBUTES = 9,
	SPAN_STATUS = 15,
	SPAN_FLAGS = 16,
};

enum { KIND_SERVER = 2, KIND_CLIENT = 3, CODE_ERROR = 2 };
enum { FLAG_HAS_IS_REMOTE = 0x100, FLAG_IS_REMOTE = 0x200 };

/* Copies of keys move this much at once. */
#define KEY_ROOM 48

struct key {
	char text[KEY_ROOM];
	uint8_t len;
};

static const struct key keys[CLV_ATTR_COUNT] = {
#define X(id, name) [CLV_ATTR_##id] = {.text = name, .len = sizeof(name) - 1},
	CLV_ATTRS(X)
#undef X
};
#define X(id, name) _Static_assert(sizeof(name) <= KEY_ROOM, "key too long: " name);
CLV_ATTRS(X)
#undef X

/* What goes around a string: its tag and length, as they stand for the longest. */
#define STRING_BYTES (PROTOBUF_TAG_MAX + PROTOBUF_LENGTH + 1)
/* What goes around an attribute's value: KeyValue, key, AnyValue, and a number. */
#define ATTR_BYTES (3 * STRING_BYTES + KEY_ROOM + PROTOBUF_VARINT_MAX)
/* All of a span that is not attributes, name or trace state. */
#define SPAN_BYTES 128
/* Escaped, a byte may become four. */
#define ESCAPED(len) (4 * (len))

static const char request_prefix[] = "http.request.header.", response_prefix[] = "http.response.header.";

/* ---- strings ------------------------------------------------------------------------------------------------- */

/* Valid UTF-8 without a backslash is copied as it is; ASCII is told eight bytes at a time. */
static bool text_is_plain(struct clv_slice s)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	size_t i = 0;

	for (; i + 8 <= s.len; i += 8) {
		uint64_t w;

		memcpy(&w, s.data + i, sizeof(w));
		uint64_t slash = w ^ ones * '\\';
		if ((w | ((slash - ones) & ~slash)) & high)
			return false;
	}
	for (; i < s.len; i++)
		if (s.data[i] >= 0x80 || s.data[i] == '\\')
			return false;
	return true;
}

/* The bytes as docs/output.md writes them, at most 4 for each. */
static char *text_escape(char *out, struct clv_slice s)
{
	for (size_t i = 0; i < s.len;) {
		uint32_t point;
		size_t n = utf8_decode(s.data + i, s.len - i, &point);
		bool slash = n && point == '\\' && i + 1 < s.len && s.data[i + 1] == 'x';

		if (n == 0 || slash) {
			*out++ = '\\';
			*out++ = 'x';
			out = utf8_hex(out, s.data[i]);
			i++;
			continue;
		}
		memcpy(out, s.data + i, n);
		out += n;
		i += n;
	}
	return out;
}

static char *put_text(char *out, uint32_t field, struct clv_slice s)
{
	char *begin;

	if (text_is_plain(s))
		return protobuf_bytes(out, field, s);
	out = text_escape(protobuf_open(out, field, &begin), s);
	protobuf_close(begin, out);
	return out;
}

/* AnyValue with a string, as field `field`. */
static char *put_any_text(char *out, uint32_t field, struct clv_slice s)
{
	char *begin;

	if (!text_is_plain(s)) {
		out = put_text(protobuf_open(out, field, &begin), ANY_STRING, s);
		protobuf_close(begin, out);
		return out;
	}
	out = protobuf_tag(out, field, PROTOBUF_BYTES);
	out = protobuf_varint(out, 1 + protobuf_varint_size(s.len) + s.len);
	return protobuf_bytes(out, ANY_STRING, s);
}

/* ---- attributes ---------------------------------------------------------------------------------------------- */

static size_t any_size(const struct clv_attr *a)
{
	return 1 + (a->type == CLV_TYPE_INT ? protobuf_varint_size((uint64_t)a->i) : 1);
}

/* KeyValue's tag and length, then the key; a value of `value` bytes follows with its own tag and length. */
static char *put_key(char *out, const struct key *key, size_t value)
{
	out = protobuf_tag(out, SPAN_ATTRIBUTES, PROTOBUF_BYTES);
	out = protobuf_varint(out, 2 + key->len + 1 + protobuf_varint_size(value) + value);
	*out++ = KEY << 3 | PROTOBUF_BYTES;
	*out++ = (char)key->len;
	memcpy(out, key->text, KEY_ROOM);
	return out + key->len;
}

static char *put_attr_text(char *out, const struct key *key, struct clv_slice s)
{
	char *begin;

	if (text_is_plain(s)) {
		out = put_key(out, key, 1 + protobuf_varint_size(s.len) + s.len);
		return put_any_text(out, VALUE, s);
	}
	out = protobuf_open(out, SPAN_ATTRIBUTES, &begin);
	out = protobuf_bytes(out, KEY, clv_slice(key->text, key->len));
	out = put_any_text(out, VALUE, s);
	protobuf_close(begin, out);
	return out;
}

static char *put_attr(char *out, const struct clv_attr *a)
{
	const struct key *key = &keys[a->key];

	if (a->type == CLV_TYPE_STRING)
		return put_attr_text(out, key, a->s);
	size_t size = any_size(a);
	out = put_key(out, key, size);
	out = protobuf_varint(protobuf_tag(out, VALUE, PROTOBUF_BYTES), size);
	if (a->type == CLV_TYPE_INT)
		return protobuf_uint(out, ANY_INT, (uint64_t)a->i);
	return protobuf_uint(out, ANY_BOOL, a->b);
}

static bool same_header(const struct clv_span_header *a, const struct clv_span_header *b)
{
	return a->response == b->response && clv_slice_eq(a->name, b->name);
}

/* One attribute of all fields of one name; *i moves behind them. */
static char *put_header(char *out, const struct clv_span *span, size_t *i)
{
	const struct clv_span_header *first = &span->header[*i];
	const char *prefix = first->response ? response_prefix : request_prefix;
	char *attribute, *key, *value, *array;

	out = protobuf_open(out, SPAN_ATTRIBUTES, &attribute);
	out = protobuf_open(out, KEY, &key);
	out = (char *)memcpy(out, prefix, strlen(prefix)) + strlen(prefix);
	out = text_escape(out, first->name);
	protobuf_close(key, out);
	out = protobuf_open(out, VALUE, &value);
	out = protobuf_open(out, ANY_ARRAY, &array);
	for (; *i < span->header_count && same_header(first, &span->header[*i]); (*i)++)
		out = put_any_text(out, ARRAY_VALUES, span->header[*i].value);
	protobuf_close(array, out);
	protobuf_close(value, out);
	protobuf_close(attribute, out);
	return out;
}

/* ---- spans --------------------------------------------------------------------------------------------------- */

size_t clv_otlp_span_bound(const struct clv_span *span)
{
	size_t bytes = SPAN_BYTES + 2 * STRING_BYTES + ESCAPED(span->name.len + span->tracestate.len) +
		       span->attr_count * ATTR_BYTES;

	for (size_t i = 0; i < span->attr_count; i++)
		if (span->attr[i].type == CLV_TYPE_STRING)
			bytes += ESCAPED(span->attr[i].s.len);
	for (size_t i = 0; i < span->header_count; i++)
		bytes += 6 * STRING_BYTES + sizeof(response_prefix) +
			 ESCAPED(span->header[i].name.len + span->header[i].value.len);
	return bytes;
}

static char *put_fixed32(char *out, uint32_t field, uint32_t v)
{
	out = protobuf_tag(out, field, PROTOBUF_FIXED32);
	memcpy(out, &v, sizeof(v));
	return out + sizeof(v);
}

static uint32_t span_flags(const struct clv_span *span)
{
	uint32_t flags = span->trace_flags;

	if (span->has_parent)
		flags |= FLAG_HAS_IS_REMOTE;
	/* A parent of which the request itself tells is in another process; so is one that follows from the ids. */
	if (span->has_parent && (span->remote || span->kind == CLV_KIND_SERVER))
		flags |= FLAG_IS_REMOTE;
	return flags;
}

size_t clv_otlp_span_write(const struct clv_span *span, char *start)
{
	char *out = protobuf_bytes(start, SPAN_TRACE_ID, clv_slice(span->trace_id, sizeof(span->trace_id)));

	out = protobuf_bytes(out, SPAN_SPAN_ID, clv_slice(span->span_id, sizeof(span->span_id)));
	if (span->tracestate.len)
		out = put_text(out, SPAN_TRACE_STATE, span->tracestate);
	if (span->has_parent)
		out = protobuf_bytes(out, SPAN_PARENT_ID, clv_slice(span->parent_id, sizeof(span->parent_id)));
	out = put_text(out, SPAN_NAME, span->name);
	out = protobuf_uint(out, SPAN_KIND, span->kind == CLV_KIND_CLIENT ? KIND_CLIENT : KIND_SERVER);
	out = protobuf_fixed64(out, SPAN_START, span->start_ns);
	out = protobuf_fixed64(out, SPAN_END, span->end_ns);
	for (size_t i = 0; i < span->attr_count; i++)
		out = put_attr(out, &span->attr[i]);
	for (size_t i = 0; i < span->header_count;)
		out = put_header(out, span, &i);
	if (span->status == CLV_STATUS_ERROR) {
		*out++ = SPAN_STATUS << 3 | PROTOBUF_BYTES;
		*out++ = 2;
		out = protobuf_uint(out, STATUS_CODE, CODE_ERROR);
	}
	out = put_fixed32(out, SPAN_FLAGS, span_flags(span));
	return (size_t)(out - start);
}

/* ---- resources and groups ------------------------------------------------------------------------------------ */

size_t clv_otlp_resource_bound(const struct clv_resource *r)
{
	size_t bytes = 0;

	for (uint32_t i = 0; i < r->count; i++)
		bytes += 4 * STRING_BYTES + ESCAPED(r->attr[i].key.len + r->attr[i].value.len);
	return bytes;
}

size_t clv_otlp_resource_write(const struct clv_resource *r, char *start)
{
	char *out = start, *begin;

	for (uint32_t i = 0; i < r->count; i++) {
		out = protobuf_open(out, RESOURCE_ATTRIBUTES, &begin);
		out = put_text(out, KEY, r->attr[i].key);
		out = put_any_text(out, VALUE, r->attr[i].value);
		protobuf_close(begin, out);
	}
	return (size_t)(out - start);
}

char *clv_otlp_group_begin(struct clv_otlp_group *g, char *out, struct clv_slice resource)
{
	char *scope;

	out = protobuf_open(out, RESOURCE_SPANS, &g->resource_spans);
	out = protobuf_bytes(out, GROUP_RESOURCE, resource);
	out = protobuf_open(out, GROUP_SCOPE_SPANS, &g->scope_spans);
	out = protobuf_open(out, SCOPE_SCOPE, &scope);
	out = protobuf_bytes(out, SCOPE_NAME, CLV_LIT("clovisor"));
	out = protobuf_bytes(out, SCOPE_VERSION, CLV_LIT(CLV_VERSION));
	protobuf_close(scope, out);
	return out;
}

char *clv_otlp_group_span(char *out, struct clv_slice span)
{
	return protobuf_bytes(out, SCOPE_SPANS, span);
}

char *clv_otlp_group_end(struct clv_otlp_group *g, char *out)
{
	out = protobuf_bytes(out, SCOPE_SCHEMA, clv_otlp_schema_url);
	protobuf_close(g->scope_spans, out);
	out = protobuf_bytes(out, GROUP_SCHEMA, clv_otlp_schema_url);
	protobuf_close(g->resource_spans, out);
	return out;
}
