/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans as JSON lines. Owns nothing but the text of the resource; never allocates, never checks for room: the
 * caller gives clv_json_bound() bytes. Engine thread.
 *
 * The bound makes speed simple: every piece is stored without a test, fixed-size copies may run over the end of
 * what they mean to write, and the next piece covers the rest.
 */
#include "export/json.h"

#include <endian.h>

#include "base/digits.h"
#include "base/sixteen.h"
#include "export/utf8.h"
#include "model/common.h"
#include "model/packet.h"

/* Copies of keys move this much at once; a key with its quotes and colon must fit. */
#define KEY_ROOM 48

struct key {
	_Alignas(16) char text[KEY_ROOM]; /* "name": */
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
_Static_assert(CLV_ATTR_NAME_MAX + 3 <= KEY_ROOM, "a plugin's names are no longer than ours");

#define SECOND_NS 1000000000u

/* Everything that is not attributes or resource: fixed text, ids, times, with room for a key copy's overrun. */
#define FRAME_BYTES 448
/* Per attribute: key, quotes, comma, a 64-bit number. */
#define ATTR_BYTES (KEY_ROOM + 24)

/* Per value of a captured field, likewise: "http.response.header.": [""], */
#define HEADER_BYTES 40

#define PUT_LIT(out, s) (memcpy((out), (s), sizeof(s) - 1), (out) + (sizeof(s) - 1))

#ifdef __SSE2__
/* A nibble in each byte becomes its digit. */
static inline __m128i json_digits(__m128i v)
{
	__m128i letters = _mm_and_si128(_mm_cmpgt_epi8(v, _mm_set1_epi8(9)), _mm_set1_epi8('a' - '9' - 1));

	return _mm_add_epi8(_mm_add_epi8(v, _mm_set1_epi8('0')), letters);
}

static inline char *json_hex8(char *out, const uint8_t *data)
{
	__m128i v = _mm_loadl_epi64((const __m128i *)(const void *)data);

	v = _mm_unpacklo_epi8(_mm_srli_epi16(v, 4), v); /* each byte's high nibble, with others' bits, before it */
	v = json_digits(_mm_and_si128(v, _mm_set1_epi8(15)));
	_mm_storeu_si128((__m128i *)(void *)out, v);
	return out + 16;
}
#else
/* Eight hex digits of four bytes, all at once: a nibble in each byte of a word. */
static char *json_hex4(char *out, const uint8_t *data)
{
	const uint64_t ones = 0x0101010101010101;
	uint32_t four;
	uint64_t x;

	memcpy(&four, data, sizeof(four));
	x = be32toh(four);
	x = (x << 16 | x) & 0x0000ffff0000ffff;
	x = (x << 8 | x) & 0x00ff00ff00ff00ff;
	x = (x << 4 | x) & 0x0f0f0f0f0f0f0f0f;
	uint64_t letters = (x + ones * 6) >> 4 & ones;
	x = htobe64(x + ones * '0' + letters * ('a' - '9' - 1));
	memcpy(out, &x, sizeof(x));
	return out + sizeof(x);
}

static char *json_hex8(char *out, const uint8_t *data)
{
	return json_hex4(json_hex4(out, data), data + 4);
}
#endif

/* A point in time, most of which have the second of the one before. */
static inline char *json_time(const struct clv_json *j, char *out, uint64_t ns)
{
	uint64_t rest = ns - j->second * SECOND_NS;

	if (rest >= SECOND_NS || !j->second_len)
		return clv_digits(out, ns);
	memcpy(out, j->second_text, sizeof(j->second_text));
	out += j->second_len;
	return clv_digits_nine(out, (uint32_t)rest);
}

static inline char *json_i64(char *out, int64_t v)
{
	if (v >= 0)
		return clv_digits(out, (uint64_t)v);
	*out++ = '-';
	return clv_digits(out, 0 - (uint64_t)v);
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

/* The same of sixteen. */
static inline bool json_are_special(clv_sixteen v)
{
	clv_sixteen_signed c = (clv_sixteen_signed)v;

	/* One more makes the least of DEL, and as little of what is beyond ASCII. */
	return clv_sixteen_any_high((clv_sixteen)(((clv_sixteen_signed)(v + 1) < 0x21) | (c == '"') | (c == '\\')));
}

/* Fewer than sixteen: first and last ones, which may overlap. Those that are looked at may be there several times. */
static inline bool json_copy_few(char *out, const uint8_t *s, size_t len)
{
	uint64_t first, last;
	uint16_t a, b;

	if (len >= sizeof(first)) {
		memcpy(&first, s, sizeof(first));
		memcpy(&last, s + len - sizeof(last), sizeof(last));
		memcpy(out, &first, sizeof(first));
		memcpy(out + len - sizeof(last), &last, sizeof(last));
	} else if (len >= sizeof(uint32_t)) {
		first = last = clv_eight(s, len);
		memcpy(out, s, sizeof(uint32_t));
		memcpy(out + len - sizeof(uint32_t), s + len - sizeof(uint32_t), sizeof(uint32_t));
	} else if (len >= sizeof(a)) {
		memcpy(&a, s, sizeof(a));
		memcpy(&b, s + len - sizeof(b), sizeof(b));
		memcpy(out, &a, sizeof(a));
		memcpy(out + len - sizeof(b), &b, sizeof(b));
		first = last = ((uint32_t)a | (uint32_t)b << 16) * 0x100000001u;
	} else if (len) {
		*out = (char)*s;
		first = last = *s * 0x0101010101010101u;
	} else {
		return true;
	}
	return !json_are_special(clv_sixteen_of(first, last));
}

/*
 * Copies a string in which nothing needs more than that; false: something does, and out holds rubbish. The last sixteen
 * bytes begin where they fit, in what is there already.
 */
static inline bool json_copy(char *out, const uint8_t *s, size_t len)
{
	if (len < sizeof(clv_sixteen))
		return json_copy_few(out, s, len);
	for (size_t i = 0; i < len; i += sizeof(clv_sixteen)) {
		size_t at = i + sizeof(clv_sixteen) <= len ? i : len - sizeof(clv_sixteen);
		clv_sixteen v = clv_sixteen_load(s + at);

		if (json_are_special(v))
			return false;
		clv_sixteen_store(out + at, v);
	}
	return true;
}

/* As clv_json_escape(), of what json_copy() cannot do. */
static __attribute__((noinline)) char *json_escape_all(char *out, const uint8_t *s, size_t len)
{
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

static inline char *json_string(char *out, struct clv_slice in)
{
	if (json_copy(out, in.data, in.len)) /* nearly always */
		return out + in.len;
	return json_escape_all(out, in.data, in.len);
}

char *clv_json_escape(char *out, struct clv_slice in)
{
	return json_string(out, in);
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

/* Strings, each ended by NUL. An element's quotes and comma have room where its NUL was reckoned with. */
static char *json_strings(char *out, struct clv_slice s)
{
	*out++ = '[';
	for (size_t end; s.len; s = clv_slice_from(s, end + 1)) {
		end = clv_slice_find(s, 0, '\0');
		*out++ = '"';
		out = clv_json_escape(out, clv_slice_head(s, end));
		out = PUT_LIT(out, "\",");
	}
	out -= out[-1] == ',';
	*out++ = ']';
	return out;
}

/* The key of a name that only plugins know. */
static const struct key *json_own_key(unsigned attr, struct key *room)
{
	const char *name = clv_attr_name((enum clv_attr_key)attr);
	size_t len = strlen(name);

	room->text[0] = '"';
	memcpy(room->text + 1, name, len);
	memcpy(room->text + 1 + len, "\":", 2);
	room->len = (uint8_t)(len + 3);
	return room;
}

static inline char *json_attr_key(char *out, unsigned attr)
{
	struct key own;
	const struct key *key = attr < CLV_ATTR_COUNT ? &keys[attr] : json_own_key(attr, &own);

	memcpy(out, key->text, KEY_ROOM);
	return out + key->len;
}

/* With a comma behind it. */
static inline char *json_attr(char *out, const struct clv_attr *a)
{
	out = json_attr_key(out, a->key);
	if (a->type == CLV_TYPE_STRING) { /* most are */
		*out = '"';
		out = json_string(out + 1, a->s);
		return PUT_LIT(out, "\",");
	}
	if (a->type == CLV_TYPE_INT)
		out = json_i64(out, a->i);
	else if (a->type == CLV_TYPE_BOOL)
		out = a->b ? PUT_LIT(out, "true") : PUT_LIT(out, "false");
	else
		out = json_strings(out, a->s);
	*out = ',';
	return out + 1;
}

/* ---- attributes that mostly stand together ------------------------------------------------------------------------
 */

/* Is it that attribute? Both are looked at as one word. */
static inline bool json_is(const struct clv_attr *a, enum clv_attr_key key, enum clv_attr_type type)
{
	return ((uint32_t)a->key | (uint32_t)a->type << 16) == ((uint32_t)key | (uint32_t)type << 16);
}

/* The same of one that the compiler knows: it moves no more than that takes. */
static inline __attribute__((always_inline)) char *json_known_key(char *out, enum clv_attr_key key)
{
	memcpy(out, keys[key].text, (keys[key].len + 15u) & ~15u);
	return out + keys[key].len;
}

/* As json_attr(), likewise. */
static inline __attribute__((always_inline)) char *json_string_of(char *out, enum clv_attr_key key, struct clv_slice s)
{
	out = json_known_key(out, key);
	*out = '"';
	out = json_string(out + 1, s);
	return PUT_LIT(out, "\",");
}

static inline __attribute__((always_inline)) char *json_int_of(char *out, enum clv_attr_key key, int64_t v)
{
	out = json_i64(json_known_key(out, key), v);
	*out = ',';
	return out + 1;
}

static inline __attribute__((always_inline)) char *json_bool_of(char *out, enum clv_attr_key key, bool v)
{
	out = json_known_key(out, key);
	return v ? PUT_LIT(out, "true,") : PUT_LIT(out, "false,");
}

/* What HTTP begins with, if it does. `name`: what was written of the span's name, which mostly is the method. */
static inline char *json_asked(char *out, const struct clv_attr **at, const struct clv_attr *end,
			       const struct clv_span *span, struct clv_slice name)
{
	const struct clv_attr *a = *at;

	if (end - a < 2 || !json_is(a, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_TYPE_STRING) ||
	    !json_is(a + 1, CLV_ATTR_URL_PATH, CLV_TYPE_STRING))
		return out;
	*at = a + 2;
	if (a[0].s.data != span->name.data || a[0].s.len != span->name.len || name.len > sizeof(clv_sixteen)) {
		out = json_string_of(out, CLV_ATTR_HTTP_REQUEST_METHOD, a[0].s);
	} else {
		out = json_known_key(out, CLV_ATTR_HTTP_REQUEST_METHOD);
		*out = '"';
		clv_sixteen_store(out + 1, clv_sixteen_load(name.data));
		out += 1 + name.len;
		out = PUT_LIT(out, "\",");
	}
	return json_string_of(out, CLV_ATTR_URL_PATH, a[1].s);
}

/* What it says of an answer, if that is next. */
static inline char *json_answered(char *out, const struct clv_attr **at, const struct clv_attr *end)
{
	const struct clv_attr *a = *at;

	if (end - a < 3 || !json_is(a, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, CLV_TYPE_INT) ||
	    !json_is(a + 1, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, CLV_TYPE_INT) ||
	    !json_is(a + 2, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, CLV_TYPE_INT))
		return out;
	*at = a + 3;
	out = json_int_of(out, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, a[0].i);
	out = json_int_of(out, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, a[1].i);
	return json_int_of(out, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, a[2].i);
}

/* Do these two, which are the last ones of most spans, begin here? */
static inline bool json_is_observed(const struct clv_attr *a)
{
	return json_is(a, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE, CLV_TYPE_INT) &&
	       json_is(a + 1, CLV_ATTR_CLOVISOR_CONNECTION_REUSED, CLV_TYPE_BOOL);
}

static inline char *json_observed(char *out, const struct clv_attr *a)
{
	out = json_int_of(out, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE, a[0].i);
	return json_bool_of(out, CLV_ATTR_CLOVISOR_CONNECTION_REUSED, a[1].b);
}

/* ---- what spans have in common ----------------------------------------------------------------------------------- */

/* What a piece and a number may take beyond the text's length. */
#define COMMON_BYTES (CLV_COMMON_TEXT + CLV_COMMON_PORTS * 24 + CLV_COMMON_SLACK)

static inline char *json_common(char *out, const struct clv_common *c, const struct clv_attr *a)
{
	const uint16_t *len = c->json.len;
	const char *text = c->json.text;
	uint64_t port = (uint64_t)a[c->port[0]].i;

	out = clv_digits(clv_common_copy(out, text, len[0]), port);
	text += len[0];
	if (c->ports ==
	    CLV_COMMON_PORTS) { /* written anew: who copies it waits for what was just stored (base/apart.h) */
		out = clv_digits(clv_common_copy(out, text, len[1]), port);
		text += len[1];
		len++;
	}
	return clv_common_copy(out, text, len[1]);
}

/* Writes once what json_common() copies, `all` of it with room enough for anything; its parts end at the ports. */
static void json_make(struct clv_common *c)
{
	char all[6 * CLV_COMMON_BYTES + CLV_COMMON_ATTRS * ATTR_BYTES], *out = all, *begin = all;
	unsigned part = 0;

	for (unsigned i = 0; i < c->count; i++) {
		if (part == c->ports || i != c->port[part]) {
			out = json_attr(out, &c->attr[i]);
			continue;
		}
		out = json_attr_key(out, c->attr[i].key);
		c->json.len[part++] = (uint16_t)(out - begin);
		begin = out;
		*out++ = ',';
	}
	c->json.len[part] = (uint16_t)(out - begin);
	clv_common_write(&c->json, all, (size_t)(out - all));
}

/* What is known of the span's attributes, or NULL. */
static const struct clv_common *json_common_of(const struct clv_span *span)
{
	return span->common && span->common->json.state == CLV_COMMON_MADE ? span->common : NULL;
}

/* ---- spans ------------------------------------------------------------------------------------------------------- */

/* Every attribute ends in a comma; the last one becomes the closing brace. */
static inline char *json_attributes(char *out, const struct clv_span *span, struct clv_slice name)
{
	const struct clv_common *common = json_common_of(span);
	const struct clv_attr *a = span->attr, *end = a + span->attr_count;

	if (span->attr_count + span->header_count == 0)
		out++;
	if (common) {
		out = json_asked(out, &a, span->common_at, span, name);
		while (a < span->common_at)
			out = json_attr(out, a++);
		out = json_common(out, common, a);
		a += common->count;
		out = json_answered(out, &a, end);
	}
	bool observed = end - a >= 2 && json_is_observed(end - 2);
	for (const struct clv_attr *stop = observed ? end - 2 : end; a < stop; a++)
		out = json_attr(out, a);
	if (observed)
		out = json_observed(out, a);
	out = json_headers(out, span);
	out[-1] = '}';
	if (span->attrs_dropped) {
		out = PUT_LIT(out, ",\"dropped_attributes_count\":");
		out = clv_digits(out, span->attrs_dropped);
	}
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

static void json_second(struct clv_json *j, uint64_t second)
{
	j->second = second;
	j->second_len = second ? (uint32_t)(clv_digits(j->second_text, second) - j->second_text) : 0;
}

static inline bool json_is_kept(const struct clv_json *j, const struct clv_resource *r, uint64_t start_ns)
{
	return j->resource_id == r->id && start_ns - j->second * SECOND_NS < SECOND_NS;
}

static void json_keep(struct clv_json *j, const struct clv_resource *r, uint64_t start_ns)
{
	if (j->resource_id != r->id)
		json_resource(j, r);
	if (start_ns - j->second * SECOND_NS >= SECOND_NS)
		json_second(j, start_ns / SECOND_NS);
}

/* The same when something of the span is not kept yet: now it is. */
static __attribute__((noinline)) size_t json_bound_anew(struct clv_json *j, const struct clv_span *span)
{
	json_keep(j, span->resource, span->start_ns);
	if (span->common && span->common->json.state == CLV_COMMON_NEW)
		json_make(span->common);
	return clv_json_bound(j, span);
}

/* The length of strings. */
static inline size_t json_text_of(const struct clv_attr *a, const struct clv_attr *end)
{
	size_t text = 0;

	for (; a < end; a++)
		text += a->s.len;
	return text;
}

size_t clv_json_bound(struct clv_json *j, const struct clv_span *span)
{
	size_t text = span->name.len, headers = span->header_count, common_bytes = 0;
	const struct clv_attr *a = span->attr, *end = a + span->attr_count;

	if (!json_is_kept(j, span->resource, span->start_ns) ||
	    (span->common && span->common->json.state == CLV_COMMON_NEW))
		return json_bound_anew(j, span);
	if (json_common_of(span)) {
		text += json_text_of(a, span->common_at);
		a = span->common_at + span->common->count;
		common_bytes = COMMON_BYTES;
	}
	text += json_text_of(a, end);
	for (size_t i = 0; i < headers; i++)
		text += span->header[i].name.len + span->header[i].value.len;
	return FRAME_BYTES + 6 * text + span->attr_count * ATTR_BYTES + headers * HEADER_BYTES + common_bytes +
	       j->resource_len;
}

#define KIND(word)   "\",\"kind\":\"" word "\",\"start_time_unix_nano\":\""
#define STATUS(word) "\",\"status\":{\"code\":\"" word "\"},\"attributes\":{"

size_t clv_json_write(const struct clv_json *j, const struct clv_span *span, char *line)
{
	char *out = PUT_LIT(line, "{\"trace_id\":\"");

	out = json_hex8(json_hex8(out, span->trace_id), span->trace_id + 8);
	out = PUT_LIT(out, "\",\"span_id\":\"");
	out = json_hex8(out, span->span_id);
	if (span->has_parent) {
		out = PUT_LIT(out, "\",\"parent_span_id\":\"");
		out = json_hex8(out, span->parent_id);
	}
	out = PUT_LIT(out, "\",\"name\":\"");
	const char *name = out;
	out = json_string(out, span->name);
	const size_t name_len = (size_t)(out - name);
	out = span->kind == CLV_KIND_CLIENT ? PUT_LIT(out, KIND("CLIENT")) : PUT_LIT(out, KIND("SERVER"));
	out = json_time(j, out, span->start_ns);
	out = PUT_LIT(out, "\",\"end_time_unix_nano\":\"");
	out = json_time(j, out, span->end_ns);
	out = span->status == CLV_STATUS_ERROR ? PUT_LIT(out, STATUS("ERROR")) : PUT_LIT(out, STATUS("UNSET"));
	out = json_attributes(out, span, clv_slice(name, name_len));
	memcpy(out, j->resource, j->resource_len);
	return (size_t)(out - line) + j->resource_len;
}

/* ---- connection records ------------------------------------------------------------------------------------------ */

/* All of a record's line but its notes and the resource: some 30 attributes. */
#define FLOW_BYTES 3072

static char *json_key(char *out, const char *key)
{
	size_t len = strlen(key);

	*out++ = '"';
	memcpy(out, key, len);
	return PUT_LIT(out + len, "\":");
}

static char *json_int(char *out, const char *key, uint64_t value)
{
	out = clv_digits(json_key(out, key), value);
	*out++ = ',';
	return out;
}

static char *json_true(char *out, const char *key, bool value)
{
	return value ? PUT_LIT(json_key(out, key), "true,") : out;
}

/* Empty: left out. */
static char *json_text(char *out, const char *key, struct clv_slice value)
{
	if (!value.len)
		return out;
	out = json_key(out, key);
	*out++ = '"';
	out = clv_json_escape(out, value);
	return PUT_LIT(out, "\",");
}

static char *json_address(char *out, const char *key, const struct clv_addr *addr)
{
	char text[CLV_ADDR_TEXT];

	return json_text(out, key, clv_slice(text, clv_addr_format(addr, text)));
}

/* As OpenTelemetry has it: the server by its name where that is known, and both ends as on the wire. */
static char *json_flow_ends(char *out, const struct clv_flow_record *r)
{
	bool serving = r->role == CLV_KIND_SERVER;
	const struct clv_endpoint *local = serving ? &r->server : &r->client, *peer = serving ? &r->client : &r->server;

	out = json_address(out, "client.address", &r->client.addr);
	out = json_int(out, "client.port", r->client.port);
	out = r->server_name.len ? json_text(out, "server.address", r->server_name)
				 : json_address(out, "server.address", &r->server.addr);
	out = json_int(out, "server.port", r->server.port);
	out = json_address(out, "network.local.address", &local->addr);
	out = json_int(out, "network.local.port", local->port);
	out = json_address(out, "network.peer.address", &peer->addr);
	out = json_int(out, "network.peer.port", peer->port);
	out = json_text(out, "network.transport", r->transport == CLV_TRANSPORT_UDP ? CLV_LIT("udp") : CLV_LIT("tcp"));
	return json_text(out, "network.type", clv_addr_is_v4(&r->server.addr) ? CLV_LIT("ipv4") : CLV_LIT("ipv6"));
}

static char *json_flow_protocol(char *out, const struct clv_flow_record *r)
{
	bool tls = r->protocol && strcmp(r->protocol, "tls") == 0;

	if (r->protocol)
		out = json_text(out, "network.protocol.name", clv_slice_str(r->protocol));
	out = json_true(out, "clovisor.connection.protocol_guessed", r->guessed);
	if (!tls)
		out = json_text(out, "network.protocol.version", r->version);
	else if (r->version.len)
		out = json_text(out, "tls.protocol.name",
				clv_slice_eq(r->version, CLV_LIT("3")) ? CLV_LIT("ssl") : CLV_LIT("tls"));
	if (tls)
		out = json_text(out, "tls.protocol.version", r->version);
	out = json_text(out, "tls.next_protocol", r->alpn);
	out = json_text(out, "clovisor.tls.version_offered", r->version_offered);
	out = json_text(out, "clovisor.tls.alpn_offered", r->alpn_offered);
	return json_text(out, "clovisor.connection.user", r->user);
}

static char *json_flow_figures(char *out, const struct clv_flow_record *r)
{
	out = json_int(out, "clovisor.connection.requests", r->requests);
	out = json_int(out, "clovisor.connection.bytes.to_server", r->bytes[CLV_TO_SERVER]);
	out = json_int(out, "clovisor.connection.bytes.to_client", r->bytes[CLV_TO_CLIENT]);
	out = json_int(out, "clovisor.connection.packets.to_server", r->packets[CLV_TO_SERVER]);
	out = json_int(out, "clovisor.connection.packets.to_client", r->packets[CLV_TO_CLIENT]);
	if (r->transport == CLV_TRANSPORT_TCP) {
		out = json_int(out, "clovisor.connection.retransmits.to_server", r->retransmits[CLV_TO_SERVER]);
		out = json_int(out, "clovisor.connection.retransmits.to_client", r->retransmits[CLV_TO_CLIENT]);
	}
	if (r->handshake_ns)
		out = json_int(out, "clovisor.connection.handshake_ns", r->handshake_ns);
	out = json_true(out, "clovisor.connection.roles_guessed", !r->roles_known);
	return json_true(out, "clovisor.midstream", r->midstream);
}

size_t clv_json_flow_bound(struct clv_json *j, const struct clv_flow_record *r)
{
	size_t notes = r->server_name.len + r->version.len + r->alpn.len + r->user.len + r->version_offered.len +
		       r->alpn_offered.len;

	json_keep(j, r->resource, r->start_ns);
	return FLOW_BYTES + 6 * notes + j->resource_len;
}

size_t clv_json_flow(const struct clv_json *j, const struct clv_flow_record *r, char *line)
{
	char *out = PUT_LIT(line, "{\"connection\":{");

	out = json_text(out, "end", clv_slice_str(clv_flow_end_word(r->end)));
	out = json_text(out, "kind", r->role == CLV_KIND_CLIENT ? CLV_LIT("CLIENT") : CLV_LIT("SERVER"));
	out = PUT_LIT(out, "\"start_time_unix_nano\":\"");
	out = json_time(j, out, r->start_ns);
	out = PUT_LIT(out, "\",\"end_time_unix_nano\":\"");
	out = json_time(j, out, r->end_ns);
	out = PUT_LIT(out, "\",\"attributes\":{");
	out = json_flow_ends(out, r);
	out = json_flow_protocol(out, r);
	out = json_flow_figures(out, r);
	out[-1] = '}';
	*out++ = '}';
	memcpy(out, j->resource, j->resource_len);
	return (size_t)(out - line) + j->resource_len;
}
