/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans as JSON lines. Owns nothing but the text of the resource; never allocates, never checks for room: the
 * caller gives clv_json_bound() bytes. Engine thread.
 *
 * The bound makes speed simple: every piece is stored without a test, fixed-size copies may run over the end of
 * what they mean to write, and the next piece covers the rest.
 */
#include "export/json.h"

#include "export/utf8.h"

/* Copies of keys move this much at once; a key with its quotes and colon must fit. */
#define KEY_ROOM 48

struct key {
	char text[KEY_ROOM]; /* "name": */
	uint8_t len;
};

static const struct key keys[CLV_ATTR_COUNT] = {
#define X(id, name) [CLV_ATTR_##id] = {.text = "\"" name "\":", .len = sizeof(name) + 2},
	CLV_ATTRS(X)
#undef X
};
#define X(id, name) _Static_assert(sizeof(name) + 2 <= KEY_ROOM, "key too long: " name);
CLV_ATTRS(X)
#undef X

/* Everything that is not attributes or resource: fixed text, ids, times, with room for a key copy's overrun. */
#define FRAME_BYTES 384
/* The largest 64-bit number has so many; likewise. */
#define DIGITS 20
/* Per attribute: key, quotes, comma, a 64-bit number. */
#define ATTR_BYTES (KEY_ROOM + 24)

/* Per value of a captured field, likewise: "http.response.header.": [""], */
#define HEADER_BYTES 40

#define PUT_LIT(out, s) (memcpy((out), (s), sizeof(s) - 1), (out) + (sizeof(s) - 1))

static char *json_hex(char *out, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out = utf8_hex(out, data[i]);
	return out;
}

/* The digits are made from the right, and copied with whatever follows them. */
static char *json_u64(char *out, uint64_t v)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324252627282930313233343536373839"
				    "40414243444546474849505152535455565758596061626364656667686970717273747576777879"
				    "8081828384858687888990919293949596979899";
	char digits[2 * DIGITS] = {0}, *end = digits + DIGITS, *p = end;

	while (v >= 100) {
		p -= 2;
		memcpy(p, pairs + v % 100 * 2, 2);
		v /= 100;
	}
	if (v >= 10) {
		p -= 2;
		memcpy(p, pairs + v * 2, 2);
	} else {
		*--p = (char)('0' + v);
	}
	memcpy(out, p, DIGITS);
	return out + (end - p);
}

static char *json_i64(char *out, int64_t v)
{
	if (v >= 0)
		return json_u64(out, (uint64_t)v);
	*out++ = '-';
	return json_u64(out, 0 - (uint64_t)v);
}

/* Does any of the eight bytes need more than copying? Controls, quote, backslash, DEL, and all beyond ASCII. */
static bool json_is_special(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\', del = w ^ ones * 0x7f;

	return ((w - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones) | w) & high;
}

static bool json_is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* A valid character, of `n` bytes at `s`. */
static char *json_character(char *out, const uint8_t *s, size_t n, uint32_t point)
{
	if (utf8_is_control(point)) {
		out = PUT_LIT(out, "\\u00");
		return utf8_hex(out, (uint8_t)point);
	}
	if (point == '\\' || point == '"')
		*out++ = '\\';
	memcpy(out, s, n);
	return out + n;
}

/* The character at `s`, which is not plain; *used is its length. At most 6 bytes of output for each of it. */
static char *json_escape_one(char *out, const uint8_t *s, size_t len, size_t *used)
{
	uint32_t point;
	size_t n = utf8_plain(s, len, &point);

	*used = n ? n : 1;
	if (n)
		return json_character(out, s, n, point);
	out = PUT_LIT(out, "\\\\x");
	return utf8_hex(out, s[0]);
}

char *clv_json_escape(char *out, struct clv_slice in)
{
	const uint8_t *s = in.data;
	size_t len = in.len;

	while (len) {
		uint64_t w;

		if (len >= sizeof(w)) {
			memcpy(&w, s, sizeof(w));
			if (!json_is_special(w)) {
				memcpy(out, &w, sizeof(w));
				out += sizeof(w), s += sizeof(w), len -= sizeof(w);
				continue;
			}
		}
		/* To the end of these eight, or of the string. */
		size_t stop = len >= sizeof(w) ? len - sizeof(w) : 0;
		while (len > stop) {
			size_t used = 1;

			if (json_is_plain(*s))
				*out++ = (char)*s;
			else
				out = json_escape_one(out, s, len, &used);
			s += used, len -= used;
		}
	}
	return out;
}

char *clv_json_quote(char *out, struct clv_slice in)
{
	const uint8_t *s = in.data;
	size_t len = in.len;

	while (len) {
		size_t plain = 0;

		while (plain < len && json_is_plain(s[plain]))
			plain++;
		memcpy(out, s, plain);
		out += plain, s += plain, len -= plain;
		if (len) {
			uint32_t point;
			size_t n = utf8_decode(s, len, &point);

			if (n == 0)
				return NULL;
			out = json_character(out, s, n, point);
			s += n, len -= n;
		}
	}
	return out;
}

/* Captured fields: one array for all values of a name, which stand side by side. */
static char *json_headers(char *out, const struct clv_span *span)
{
	const struct clv_span_header *before = NULL;

	for (size_t i = 0; i < span->header_count; i++) {
		const struct clv_span_header *h = &span->header[i];

		if (before && before->response == h->response && clv_slice_eq(before->name, h->name)) {
			out -= 2; /* "]," */
			*out++ = ',';
		} else {
			out = h->response ? PUT_LIT(out, "\"http.response.header.")
					  : PUT_LIT(out, "\"http.request.header.");
			out = clv_json_escape(out, h->name);
			out = PUT_LIT(out, "\":[");
		}
		*out++ = '"';
		out = clv_json_escape(out, h->value);
		out = PUT_LIT(out, "\"],");
		before = h;
	}
	return out;
}

/* Every attribute ends in a comma; the last one becomes the closing brace. */
static char *json_attributes(char *out, const struct clv_span *span)
{
	out = PUT_LIT(out, ",\"attributes\":{");
	if (span->attr_count + span->header_count == 0)
		out++;
	for (size_t i = 0; i < span->attr_count; i++) {
		const struct clv_attr *a = &span->attr[i];
		const struct key *key = &keys[a->key];

		memcpy(out, key->text, KEY_ROOM);
		out += key->len;
		if (a->type == CLV_TYPE_STRING) {
			*out++ = '"';
			out = clv_json_escape(out, a->s);
			*out++ = '"';
		} else if (a->type == CLV_TYPE_INT) {
			out = json_i64(out, a->i);
		} else {
			out = a->b ? PUT_LIT(out, "true") : PUT_LIT(out, "false");
		}
		*out++ = ',';
	}
	out = json_headers(out, span);
	out[-1] = '}';
	return out;
}

static void json_resource(struct clv_json *j, const struct clv_resource *r)
{
	char *out = PUT_LIT(j->resource, ",\"resource\":{");

	for (uint32_t i = 0; i < r->count; i++) {
		out = i ? PUT_LIT(out, ",\"") : PUT_LIT(out, "\"");
		out = clv_json_escape(out, r->attr[i].key);
		out = PUT_LIT(out, "\":\"");
		out = clv_json_escape(out, r->attr[i].value);
		*out++ = '"';
	}
	out = PUT_LIT(out, "}}\n");
	j->resource_len = (size_t)(out - j->resource);
	j->resource_id = r->id;
}

size_t clv_json_bound(struct clv_json *j, const struct clv_span *span)
{
	if (j->resource_id != span->resource->id)
		json_resource(j, span->resource);
	size_t bytes = FRAME_BYTES + 6 * span->name.len + span->attr_count * ATTR_BYTES + j->resource_len;

	for (size_t i = 0; i < span->attr_count; i++)
		if (span->attr[i].type == CLV_TYPE_STRING)
			bytes += 6 * span->attr[i].s.len;
	for (size_t i = 0; i < span->header_count; i++)
		bytes += HEADER_BYTES + 6 * (span->header[i].name.len + span->header[i].value.len);
	return bytes;
}

size_t clv_json_write(const struct clv_json *j, const struct clv_span *span, char *line)
{
	char *out = PUT_LIT(line, "{\"trace_id\":\"");

	out = json_hex(out, span->trace_id, sizeof(span->trace_id));
	out = PUT_LIT(out, "\",\"span_id\":\"");
	out = json_hex(out, span->span_id, sizeof(span->span_id));
	if (span->has_parent) {
		out = PUT_LIT(out, "\",\"parent_span_id\":\"");
		out = json_hex(out, span->parent_id, sizeof(span->parent_id));
	}
	out = PUT_LIT(out, "\",\"name\":\"");
	out = clv_json_escape(out, span->name);
	out = PUT_LIT(out, "\",\"kind\":\"");
	out = span->kind == CLV_KIND_CLIENT ? PUT_LIT(out, "CLIENT") : PUT_LIT(out, "SERVER");
	out = PUT_LIT(out, "\",\"start_time_unix_nano\":\"");
	out = json_u64(out, span->start_ns);
	out = PUT_LIT(out, "\",\"end_time_unix_nano\":\"");
	out = json_u64(out, span->end_ns);
	out = PUT_LIT(out, "\",\"status\":{\"code\":\"");
	out = span->status == CLV_STATUS_ERROR ? PUT_LIT(out, "ERROR\"}") : PUT_LIT(out, "UNSET\"}");
	out = json_attributes(out, span);
	memcpy(out, j->resource, j->resource_len);
	return (size_t)(out - line) + j->resource_len;
}
