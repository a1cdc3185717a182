/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans as OTLP protobuf. Owns nothing; never allocates, never checks for room: the caller gives the bound's bytes.
 * Any thread; spans are written on the engine's.
 *
 * As in json.c every piece is stored without a test, and copies of keys may run over the end of what they mean to
 * write. Strings are copied and looked at in one go: the few that need escaping are then written once more.
 */
#include "export/otlp_encode.h"

#include "base/sixteen.h"
#include "export/utf8.h"
#include "model/common.h"

const struct clv_slice clv_otlp_schema_url = CLV_LIT("https://opentelemetry.io/schemas/1.44.0");

/* Field numbers of opentelemetry-proto 1.11, as far as clovisor writes them. */
enum {
	REQUEST_RESOURCE_SPANS = 1, /* ExportTraceServiceRequest */

	RESOURCE_SPANS_RESOURCE = 1,
	RESOURCE_SPANS_SCOPE_SPANS = 2,
	RESOURCE_SPANS_SCHEMA_URL = 3,

	SCOPE_SPANS_SCOPE = 1,
	SCOPE_SPANS_SPANS = 2,
	SCOPE_SPANS_SCHEMA_URL = 3,

	SCOPE_NAME = 1, /* InstrumentationScope */
	SCOPE_VERSION = 2,

	RESOURCE_ATTRIBUTES = 1,

	SPAN_TRACE_ID = 1,
	SPAN_SPAN_ID = 2,
	SPAN_TRACE_STATE = 3,
	SPAN_PARENT_SPAN_ID = 4,
	SPAN_NAME = 5,
	SPAN_KIND = 6,
	SPAN_START = 7,
	SPAN_END = 8,
	SPAN_ATTRIBUTES = 9,
	SPAN_DROPPED_ATTRIBUTES = 10,
	SPAN_STATUS = 15,
	SPAN_FLAGS = 16,

	STATUS_CODE = 3,

	KEY_VALUE_KEY = 1,
	KEY_VALUE_VALUE = 2,

	ANY_STRING = 1, /* AnyValue */
	ANY_BOOL = 2,
	ANY_INT = 3,
	ANY_ARRAY = 5,

	ARRAY_VALUES = 1,
};

enum { KIND_SERVER = 2, KIND_CLIENT = 3, STATUS_ERROR = 2 };

/* Span.flags: the low 8 bits are W3C's trace-flags. */
#define FLAGS_HAS_IS_REMOTE 0x100u
#define FLAGS_IS_REMOTE     0x200u

/* A field's tag as one byte: fields below 16. */
#define TAG(field, wire) ((char)((field) << 3 | (wire)))

/* What stands before an attribute's AnyValue: the key with tag and length, and the value's tag. */
#define KEY_ROOM 48

struct key {
	_Alignas(16) char tag;
	char key_len;
	char text[KEY_ROOM - 2]; /* copied with the two before it */
	uint8_t len;             /* of all that */
};

#define VALUE_TAG "\x12"
_Static_assert((KEY_VALUE_VALUE << 3 | PROTOBUF_BYTES) == 0x12, "VALUE_TAG is the tag of KeyValue.value");

static const struct key keys[CLV_ATTR_COUNT] = {
#define X(id, name)                                                                                      \
	[CLV_ATTR_##id] = {TAG(KEY_VALUE_KEY, PROTOBUF_BYTES), (char)(sizeof(name) - 1), name VALUE_TAG, \
			   (uint8_t)(sizeof(name) + 2)},
	CLV_ATTRS(X)
#undef X
};
#define X(id, name) _Static_assert(sizeof(name) + 2 <= KEY_ROOM, "key too long: " name);
CLV_ATTRS(X)
#undef X
_Static_assert(CLV_ATTR_NAME_MAX + 3 <= KEY_ROOM, "a plugin's names are no longer than ours");

/* A length in 32 bits. */
#define LENGTH_MAX 5
/* Ids, times and what else has a fixed size, tags and lengths of name and trace state. */
#define FRAME_BYTES 160
/* Per attribute: tag and length, key, the length of the value, its tag, and a number or length. */
#define ATTR_BYTES (1 + LENGTH_MAX + KEY_ROOM + LENGTH_MAX + 1 + PROTOBUF_VARINT_MAX)
/* Per captured header: all but name and value. */
#define HEADER_BYTES 96
/* Per attribute of a resource. */
#define RESOURCE_BYTES (2 * (1 + PROTOBUF_LENGTH) + 2 * CLV_OTLP_STRING_BYTES(0))
/* A byte becomes \xNN at worst. */
#define ESCAPED_MAX 4

/* Does any of the eight bytes need a closer look: not ASCII, or a backslash? */
static uint64_t otlp_special(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;

	return (w | ((w ^ ones * '\\') - ones)) & high;
}

/* Up to seven bytes; no more are read or written. */
static uint64_t otlp_copy_short(char *out, const uint8_t *s, size_t len)
{
	if (len >= sizeof(uint32_t)) {
		uint32_t first, last; /* they may overlap */

		memcpy(&first, s, sizeof(first));
		memcpy(&last, s + len - sizeof(last), sizeof(last));
		memcpy(out, &first, sizeof(first));
		memcpy(out + len - sizeof(last), &last, sizeof(last));
		return otlp_special(first | (uint64_t)last << 32);
	}
	if (len == 0)
		return 0;
	uint8_t a = s[0], b = s[len / 2], c = s[len - 1];

	out[0] = (char)a;
	out[len / 2] = (char)b;
	out[len - 1] = (char)c;
	return otlp_special(a | (uint64_t)b << 8 | (uint64_t)c << 16);
}

/* The same of sixteen bytes: their highest bits. */
static inline clv_sixteen otlp_special_of(clv_sixteen v)
{
	return v | (clv_sixteen)(v == '\\');
}

/* Copies; false when the string has to be written by otlp_escape() instead, or has not been looked at closely. */
static inline bool otlp_copy(char *out, struct clv_slice s)
{
	clv_sixteen v, special = {0};
	uint64_t first, last;

	if (s.len < sizeof(first))
		return !otlp_copy_short(out, s.data, s.len);
	if (s.len < sizeof(v)) {
		memcpy(&first, s.data, sizeof(first));
		memcpy(&last, s.data + s.len - sizeof(last), sizeof(last));
		memcpy(out, &first, sizeof(first));
		memcpy(out + s.len - sizeof(last), &last, sizeof(last));
		return !clv_sixteen_any_high(otlp_special_of(clv_sixteen_of(first, last)));
	}
	for (size_t i = 0; i + sizeof(v) <= s.len; i += sizeof(v)) {
		v = clv_sixteen_load(s.data + i);
		clv_sixteen_store(out + i, v);
		special |= otlp_special_of(v);
	}
	v = clv_sixteen_load(s.data + s.len - sizeof(v));
	clv_sixteen_store(out + s.len - sizeof(v), v);
	return !clv_sixteen_any_high(special | otlp_special_of(v));
}

static size_t otlp_escaped_size(struct clv_slice s)
{
	size_t size = 0;

	for (size_t i = 0; i < s.len;) {
		uint32_t point;
		size_t n = utf8_plain(s.data + i, s.len - i, &point);

		size += n ? n : ESCAPED_MAX;
		i += n ? n : 1;
	}
	return size;
}

static char *otlp_escape(char *out, struct clv_slice s)
{
	for (size_t i = 0; i < s.len;) {
		uint32_t point;
		size_t n = utf8_plain(s.data + i, s.len - i, &point);

		if (n) {
			memcpy(out, s.data + i, n);
			out += n;
		} else {
			*out++ = '\\';
			*out++ = 'x';
			out = utf8_hex(out, s.data[i]);
		}
		i += n ? n : 1;
	}
	return out;
}

char *clv_otlp_string(char *out, uint32_t field, struct clv_slice s)
{
	char *len_at = protobuf_tag(out, field, PROTOBUF_BYTES), *text = protobuf_varint(len_at, s.len);

	if (otlp_copy(text, s))
		return text + s.len;
	return otlp_escape(protobuf_varint(len_at, otlp_escaped_size(s)), s);
}

/* A length below this is one byte. */
#define SHORT 0x80

/* All of an attribute that goes before its AnyValue, which will have `value_len` bytes. */
static char *otlp_key(char *out, const struct key *key, size_t value_len)
{
	*out++ = TAG(SPAN_ATTRIBUTES, PROTOBUF_BYTES);
	out = protobuf_varint(out, key->len + protobuf_varint_size(value_len) + value_len);
	memcpy(out, key, KEY_ROOM);
	return protobuf_varint(out + key->len, value_len);
}

/* The same where all of that is short. */
static inline char *otlp_short_key(char *out, const struct key *key, size_t value_len)
{
	*out++ = TAG(SPAN_ATTRIBUTES, PROTOBUF_BYTES);
	*out++ = (char)(key->len + 1 + value_len);
	memcpy(out, key, KEY_ROOM);
	out += key->len;
	*out++ = (char)value_len;
	return out;
}

/* The same for a string of `len` bytes, up to where they begin. */
static inline char *otlp_string_key(char *out, const struct key *key, size_t len)
{
	if (KEY_ROOM + 1 + 2 + len < SHORT) {
		out = otlp_short_key(out, key, 2 + len);
		*out++ = TAG(ANY_STRING, PROTOBUF_BYTES);
		*out++ = (char)len;
		return out;
	}
	out = otlp_key(out, key, 1 + protobuf_varint_size(len) + len);
	*out++ = TAG(ANY_STRING, PROTOBUF_BYTES);
	return protobuf_varint(out, len);
}

static inline char *otlp_string_attribute(char *out, const struct key *key, struct clv_slice s)
{
	char *text = otlp_string_key(out, key, s.len);

	if (otlp_copy(text, s))
		return text + s.len;
	return otlp_escape(otlp_string_key(out, key, otlp_escaped_size(s)), s);
}

/* A number is short: its length, and the attribute's, are known when it is written. */
static inline char *otlp_int_attribute(char *out, const struct key *key, int64_t i)
{
	char *value = out + 2 + key->len, *end;

	out[0] = TAG(SPAN_ATTRIBUTES, PROTOBUF_BYTES);
	memcpy(out + 2, key, KEY_ROOM);
	value[1] = TAG(ANY_INT, PROTOBUF_VARINT);
	end = protobuf_varint(value + 2, (uint64_t)i);
	value[0] = (char)(end - value - 1);
	out[1] = (char)(end - out - 2);
	return end;
}

static inline char *otlp_bool_attribute(char *out, const struct key *key, bool b)
{
	out = otlp_short_key(out, key, 2);
	*out++ = TAG(ANY_BOOL, PROTOBUF_VARINT);
	*out++ = (char)b;
	return out;
}

/* Strings, each ended by NUL, as one array. */
static char *otlp_strings_attribute(char *out, const struct key *key, struct clv_slice s)
{
	char *attribute, *value, *array, *element;

	out = protobuf_open(out, SPAN_ATTRIBUTES, &attribute);
	memcpy(out, key, KEY_ROOM);
	out = protobuf_open(out + key->len - 1, KEY_VALUE_VALUE, &value);
	out = protobuf_open(out, ANY_ARRAY, &array);
	for (size_t end; s.len; s = clv_slice_from(s, end + 1)) {
		end = clv_slice_find(s, 0, '\0');
		out = protobuf_open(out, ARRAY_VALUES, &element);
		out = clv_otlp_string(out, ANY_STRING, clv_slice_head(s, end));
		protobuf_close(element, out);
	}
	protobuf_close(array, out);
	protobuf_close(value, out);
	protobuf_close(attribute, out);
	return out;
}

/* The key of a name that only plugins know. */
static const struct key *otlp_own_key(unsigned attr, struct key *room)
{
	const char *name = clv_attr_name((enum clv_attr_key)attr);
	size_t len = strlen(name);

	room->tag = TAG(KEY_VALUE_KEY, PROTOBUF_BYTES);
	room->key_len = (char)len;
	memcpy(room->text, name, len);
	room->text[len] = VALUE_TAG[0];
	room->len = (uint8_t)(len + 3);
	return room;
}

static inline char *otlp_attribute(char *out, const struct clv_attr *a)
{
	struct key own;
	const struct key *key = a->key < CLV_ATTR_COUNT ? &keys[a->key] : otlp_own_key(a->key, &own);

	if (a->type == CLV_TYPE_STRING)
		return otlp_string_attribute(out, key, a->s);
	if (a->type == CLV_TYPE_INT)
		return otlp_int_attribute(out, key, a->i);
	if (a->type == CLV_TYPE_BOOL)
		return otlp_bool_attribute(out, key, a->b);
	return otlp_strings_attribute(out, key, a->s);
}

/* What a kept text and the ports in it may take, with what is stored behind it. */
#define COMMON_BYTES (CLV_COMMON_TEXT + CLV_COMMON_SLACK)

/* Writes once what otlp_common() copies; its parts end before the ports' attributes, whose lengths depend on them. */
static void otlp_make(struct clv_common *c)
{
	char all[ESCAPED_MAX * CLV_COMMON_BYTES + CLV_COMMON_ATTRS * ATTR_BYTES], *out = all, *begin = all;
	unsigned part = 0;

	for (unsigned i = 0; i < c->count; i++) {
		if (part == c->ports || i != c->port[part]) {
			out = otlp_attribute(out, &c->attr[i]);
			continue;
		}
		c->otlp.len[part++] = (uint16_t)(out - begin);
		begin = out;
	}
	c->otlp.len[part] = (uint16_t)(out - begin);
	clv_common_write(&c->otlp, all, (size_t)(out - all));
}

/* What is known of the span's attributes, or NULL. */
static const struct clv_common *otlp_common_of(const struct clv_span *span)
{
	return span->common && span->common->otlp.state == CLV_COMMON_MADE ? span->common : NULL;
}

static char *otlp_common(char *out, const struct clv_common *c, const struct clv_attr *a)
{
	const char *text = c->otlp.text;
	unsigned i = 0;

	do {
		out = clv_common_copy(out, text, c->otlp.len[i]);
		text += c->otlp.len[i];
		out = otlp_int_attribute(out, &keys[a[c->port[i]].key], a[c->port[i]].i);
	} while (++i < c->ports);
	return clv_common_copy(out, text, c->otlp.len[i]);
}

static inline char *otlp_attributes(char *out, const struct clv_span *span)
{
	const struct clv_common *common = otlp_common_of(span);
	const struct clv_attr *a = span->attr, *end = a + span->attr_count, *stop = common ? span->common_at : end;

	for (;;) {
		while (a < stop)
			out = otlp_attribute(out, a++);
		if (a == end)
			return out;
		out = otlp_common(out, common, a);
		a += common->count;
		stop = end;
	}
}

static char *otlp_header_key(char *out, const struct clv_span_header *h)
{
	struct clv_slice prefix = h->response ? CLV_LIT("http.response.header.") : CLV_LIT("http.request.header.");

	out = protobuf_tag(out, KEY_VALUE_KEY, PROTOBUF_BYTES);
	out = protobuf_varint(out, prefix.len + otlp_escaped_size(h->name));
	memcpy(out, prefix.data, prefix.len);
	return otlp_escape(out + prefix.len, h->name);
}

/* The fields of one name, beginning with header[*i], as one attribute: an array of strings. */
static char *otlp_header(char *out, const struct clv_span *span, size_t *i)
{
	const struct clv_span_header *first = &span->header[*i], *h = first, *end = span->header + span->header_count;
	char *attribute, *value, *array, *element;

	out = protobuf_open(out, SPAN_ATTRIBUTES, &attribute);
	out = otlp_header_key(out, first);
	out = protobuf_open(out, KEY_VALUE_VALUE, &value);
	out = protobuf_open(out, ANY_ARRAY, &array);
	for (; h < end && h->response == first->response && clv_slice_eq(h->name, first->name); h++) {
		out = protobuf_open(out, ARRAY_VALUES, &element);
		out = clv_otlp_string(out, ANY_STRING, h->value);
		protobuf_close(element, out);
	}
	protobuf_close(array, out);
	protobuf_close(value, out);
	protobuf_close(attribute, out);
	*i = (size_t)(h - span->header);
	return out;
}

/* What the elements of an array take beyond its strings. */
static __attribute__((noinline)) size_t otlp_elements_bound(struct clv_slice s)
{
	size_t bytes = HEADER_BYTES;

	for (size_t at = 0; at < s.len; at++)
		bytes += s.data[at] ? 0 : HEADER_BYTES;
	return bytes;
}

/* What attributes may take beyond ATTR_BYTES each. */
static inline size_t otlp_text_bound(const struct clv_attr *a, const struct clv_attr *end)
{
	size_t text = 0, bytes = 0;

	for (; a < end; a++) {
		text += a->s.len; /* numbers have none */
		if (a->type == CLV_TYPE_STRINGS)
			bytes += otlp_elements_bound(a->s);
	}
	return bytes + ESCAPED_MAX * text;
}

/* The same when what is known of the span was not written yet: now it is. */
static __attribute__((noinline)) size_t otlp_bound_anew(const struct clv_span *span)
{
	otlp_make(span->common);
	return clv_otlp_span_bound(span);
}

size_t clv_otlp_span_bound(const struct clv_span *span)
{
	const struct clv_attr *a = span->attr, *end = a + span->attr_count;
	size_t text = span->name.len + span->tracestate.len;
	size_t bytes = FRAME_BYTES + span->attr_count * ATTR_BYTES + span->header_count * HEADER_BYTES;

	if (span->common && span->common->otlp.state == CLV_COMMON_NEW)
		return otlp_bound_anew(span);
	if (otlp_common_of(span)) {
		bytes += COMMON_BYTES + otlp_text_bound(a, span->common_at);
		a = span->common_at + span->common->count;
	}
	bytes += otlp_text_bound(a, end);
	for (size_t i = 0; i < span->header_count; i++)
		text += span->header[i].name.len + span->header[i].value.len;
	return bytes + ESCAPED_MAX * text;
}

/* A field of `len` raw bytes, fewer than 128. */
static char *otlp_id(char *out, int field, const uint8_t *id, size_t len)
{
	*out++ = TAG(field, PROTOBUF_BYTES);
	*out++ = (char)len;
	memcpy(out, id, len);
	return out + len;
}

/* A server's parent is its caller, in another process, whether the request names it or clovisor derived its id. */
static uint32_t otlp_flags(const struct clv_span *span)
{
	bool remote = span->remote || span->kind == CLV_KIND_SERVER;
	uint32_t flags = span->trace_flags;

	if (span->has_parent)
		flags |= FLAGS_HAS_IS_REMOTE | (remote ? FLAGS_IS_REMOTE : 0);
	return flags;
}

/* What comes behind the attributes. */
static char *otlp_tail(char *out, const struct clv_span *span)
{
	uint32_t flags = otlp_flags(span);

	if (span->attrs_dropped)
		out = protobuf_uint(out, SPAN_DROPPED_ATTRIBUTES, span->attrs_dropped);
	if (span->status == CLV_STATUS_ERROR) {
		*out++ = TAG(SPAN_STATUS, PROTOBUF_BYTES);
		*out++ = 2;
		out = protobuf_uint(out, STATUS_CODE, STATUS_ERROR);
	}
	return flags ? protobuf_fixed32(out, SPAN_FLAGS, flags) : out;
}

static inline char *otlp_name(char *out, struct clv_slice name)
{
	if (name.len < SHORT && otlp_copy(out + 2, name)) {
		out[0] = TAG(SPAN_NAME, PROTOBUF_BYTES);
		out[1] = (char)name.len;
		return out + 2 + name.len;
	}
	return clv_otlp_string(out, SPAN_NAME, name);
}

size_t clv_otlp_span_write(const struct clv_span *span, char *begin)
{
	char *out = otlp_id(begin, SPAN_TRACE_ID, span->trace_id, sizeof(span->trace_id));

	out = otlp_id(out, SPAN_SPAN_ID, span->span_id, sizeof(span->span_id));
	if (span->tracestate.len)
		out = clv_otlp_string(out, SPAN_TRACE_STATE, span->tracestate);
	if (span->has_parent)
		out = otlp_id(out, SPAN_PARENT_SPAN_ID, span->parent_id, sizeof(span->parent_id));
	out = otlp_name(out, span->name);
	out = protobuf_uint(out, SPAN_KIND, span->kind == CLV_KIND_CLIENT ? KIND_CLIENT : KIND_SERVER);
	out = protobuf_fixed64(out, SPAN_START, span->start_ns);
	out = protobuf_fixed64(out, SPAN_END, span->end_ns);
	out = otlp_attributes(out, span);
	for (size_t i = 0; i < span->header_count;)
		out = otlp_header(out, span, &i);
	out = otlp_tail(out, span);
	return (size_t)(out - begin);
}

size_t clv_otlp_resource_bound(const struct clv_resource *r)
{
	size_t bytes = r->count * RESOURCE_BYTES;

	for (uint32_t i = 0; i < r->count; i++)
		bytes += ESCAPED_MAX * (r->attr[i].key.len + r->attr[i].value.len);
	return bytes;
}

size_t clv_otlp_resource_write(const struct clv_resource *r, char *begin)
{
	char *out = begin, *attribute, *value;

	for (uint32_t i = 0; i < r->count; i++) {
		out = protobuf_open(out, RESOURCE_ATTRIBUTES, &attribute);
		out = clv_otlp_string(out, KEY_VALUE_KEY, r->attr[i].key);
		out = protobuf_open(out, KEY_VALUE_VALUE, &value);
		out = clv_otlp_string(out, ANY_STRING, r->attr[i].value);
		protobuf_close(value, out);
		protobuf_close(attribute, out);
	}
	return (size_t)(out - begin);
}

#define SCOPE CLV_LIT("clovisor")
/* Six tags with lengths, two schema URLs (40 bytes each) and the scope's name. */
_Static_assert(6 * (1 + LENGTH_MAX) + 2 * 64 + 16 + sizeof(CLV_VERSION) <= CLV_OTLP_GROUP_BYTES, "a group's frame");

char *clv_otlp_group_begin(struct clv_otlp_group *g, char *out, struct clv_slice resource)
{
	char *scope;

	out = protobuf_open(out, REQUEST_RESOURCE_SPANS, &g->resource_spans);
	out = protobuf_bytes(out, RESOURCE_SPANS_RESOURCE, resource);
	out = protobuf_open(out, RESOURCE_SPANS_SCOPE_SPANS, &g->scope_spans);
	out = protobuf_open(out, SCOPE_SPANS_SCOPE, &scope);
	out = protobuf_bytes(out, SCOPE_NAME, SCOPE);
	out = protobuf_bytes(out, SCOPE_VERSION, CLV_LIT(CLV_VERSION));
	protobuf_close(scope, out);
	return out;
}

char *clv_otlp_group_span(char *out, struct clv_slice span)
{
	return protobuf_bytes(out, SCOPE_SPANS_SPANS, span);
}

char *clv_otlp_group_end(struct clv_otlp_group *g, char *out)
{
	out = protobuf_bytes(out, SCOPE_SPANS_SCHEMA_URL, clv_otlp_schema_url);
	protobuf_close(g->scope_spans, out);
	out = protobuf_bytes(out, RESOURCE_SPANS_SCHEMA_URL, clv_otlp_schema_url);
	protobuf_close(g->resource_spans, out);
	return out;
}
