/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads trace context out of header values. Owns nothing, believes nothing: what is not exactly as its format says is
 * not there. Pure; any thread.
 */
#include "trace/context.h"

#include <endian.h>
#include <errno.h>

#include "base/buf.h"
#include "base/sixteen.h"

#define TRACEPARENT_LEN 55

/* ---- hex ------------------------------------------------------------------------------------------------------- */

static inline int hex_digit(uint8_t c, bool upper)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (upper && c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Eight digits, big-endian, into four bytes; false, with out untouched, when they are none. */
static bool hex_eight(const uint8_t *text, bool upper, uint8_t out[4])
{
	const uint64_t ones = 0x0101010101010101, high = ones * 0x80;
	uint64_t w;

	memcpy(&w, text, sizeof(w));
	w = le64toh(w);
	if (w & high)
		return false;
	if (upper)
		w |= (w & ones * 0x40) >> 1;
	uint64_t digits = (w + ones * (0x80 - '0')) & ~(w + ones * (0x7f - '9')) & high;
	uint64_t letters = (w + ones * (0x80 - 'a')) & ~(w + ones * (0x7f - 'f')) & high;
	if ((digits | letters) != high)
		return false;
	w = (w & ones * 0x0f) + (letters >> 7) * 9;
	w = (w << 4 | w >> 8) & 0x00ff00ff00ff00ff;
	w = (w | w >> 8) & 0x0000ffff0000ffff;
	uint32_t four = htole32((uint32_t)(w | w >> 16));
	memcpy(out, &four, sizeof(four));
	return true;
}

#ifdef __SSE2__
/* Sixteen lower-case digits. As hex_eight(). */
static inline bool hex_sixteen(const uint8_t *text, uint8_t *out)
{
	const __m128i v = (__m128i)clv_sixteen_load(text);
	__m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0')), letter = _mm_sub_epi8(v, _mm_set1_epi8('a'));
	__m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
	__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);

	if (_mm_movemask_epi8(_mm_or_si128(is_digit, is_letter)) != 0xffff)
		return false;
	/* What is no digit has its letter's value, ten more than its place. */
	__m128i nibble = _mm_add_epi8(digit, _mm_and_si128(is_letter, _mm_set1_epi8('0' + 10 - 'a')));
	__m128i pair = _mm_or_si128(_mm_slli_epi16(nibble, 4), _mm_srli_epi16(nibble, 8));
	__m128i bytes = _mm_and_si128(pair, _mm_set1_epi16(0xff));

	_mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(bytes, bytes));
	return true;
}
#endif

/* The same of `len` digits, in eights. */
static inline bool hex_eights(const uint8_t *text, size_t len, bool upper, uint8_t *out)
{
	size_t i = 0;

#ifdef __SSE2__
	for (; !upper && len - i >= 16; i += 16)
		if (!hex_sixteen(text + i, out + i / 2))
			return false;
#endif
	for (; i < len; i += 8)
		if (!hex_eight(text + i, upper, out + i / 2))
			return false;
	return true;
}

static inline bool any_set(const uint8_t *bytes, size_t size)
{
	uint64_t any = 0, eight;
	size_t i = 0;

	for (; size - i >= sizeof(eight); i += sizeof(eight)) {
		memcpy(&eight, bytes + i, sizeof(eight));
		any |= eight;
	}
	for (; i < size; i++)
		any |= bytes[i];
	return any;
}

/*
 * A number of at most `size` bytes, padded with zeros on the left. False, with out in pieces, when it is no hex, has
 * no digits or too many, or is zero, which no id may be.
 */
static bool hex_id(struct clv_slice text, bool upper, uint8_t *out, size_t size)
{
	if (!text.len || text.len > 2 * size)
		return false;
	memset(out, 0, size);
	if (text.len % 8 == 0)
		return hex_eights(text.data, text.len, upper, out + size - text.len / 2) && any_set(out, size);
	for (size_t i = 0; i < text.len; i++) {
		int digit = hex_digit(text.data[i], upper);
		size_t place = text.len - 1 - i; /* of digits, from the right */

		if (digit < 0)
			return false;
		out[size - 1 - place / 2] |= (uint8_t)(place & 1 ? digit << 4 : digit);
	}
	return any_set(out, size);
}

/* Exactly `size` bytes, eights of them, lower case. As hex_id(). */
static inline bool hex_exact(struct clv_slice text, uint8_t *out, size_t size)
{
	return text.len == 2 * size && hex_eights(text.data, text.len, false, out) && any_set(out, size);
}

static inline bool hex_byte(const uint8_t *text, uint8_t *out)
{
	int hi = hex_digit(text[0], false), lo = hex_digit(text[1], false);

	if (hi < 0 || lo < 0)
		return false;
	*out = (uint8_t)(hi << 4 | lo);
	return true;
}

static void decide(struct clv_context *c, enum clv_decision decision)
{
	c->decision = decision;
	if (decision == CLV_SAMPLED)
		c->flags |= CLV_CONTEXT_SAMPLED;
}

/* Cuts what comes before the next `by` off the front; all of it, when there is none. */
static struct clv_slice cut(struct clv_slice *rest, uint8_t by)
{
	size_t end = clv_slice_find(*rest, 0, by);
	struct clv_slice piece = clv_slice_head(*rest, end);

	*rest = clv_slice_from(*rest, end + 1);
	return piece;
}

/* ---- W3C ------------------------------------------------------------------------------------------------------- */

/* "vv-tttttttttttttttttttttttttttttttt-pppppppppppppppp-ff", lower-case hex. */
bool clv_context_parse(struct clv_slice value, struct clv_context *out)
{
	struct clv_context c = {.has_trace = true, .has_parent = true, .w3c = true};
	uint8_t version, flags;
	const uint8_t *t = value.data;

	if (value.len < TRACEPARENT_LEN || t[2] != '-' || t[35] != '-' || t[52] != '-')
		return false;
	if (!hex_byte(t, &version) || !hex_exact(clv_slice(t + 3, 32), c.trace_id, 16) ||
	    !hex_exact(clv_slice(t + 36, 16), c.parent_id, 8) || !hex_byte(t + 53, &flags))
		return false;
	if (version == 0xff)
		return false;
	if (value.len > TRACEPARENT_LEN && (version == 0 || t[TRACEPARENT_LEN] != '-'))
		return false;
	c.flags = flags & (CLV_CONTEXT_SAMPLED | CLV_CONTEXT_RANDOM);
	c.decision = flags & CLV_CONTEXT_SAMPLED ? CLV_SAMPLED : CLV_NOT_SAMPLED;
	*out = c;
	return true;
}

static bool read_w3c(const struct clv_context_fields *f, struct clv_context *c)
{
	return f->traceparents == 1 && clv_context_parse(f->traceparent, c);
}

/* Section 3.3.1.3.1, as of level 2, which allows what level 1 does and more. */
static bool tracestate_key(struct clv_slice key)
{
	if (!key.len || key.len > 256)
		return false;
	for (size_t i = 0; i < key.len; i++) {
		uint8_t c = key.data[i];
		bool first = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!first && (i == 0 || !(c == '_' || c == '-' || c == '*' || c == '/' || c == '@')))
			return false;
	}
	return true;
}

/* Section 3.3.1.3.2. Blanks at its end are gone already. */
static bool tracestate_value(struct clv_slice value)
{
	if (!value.len || value.len > 256)
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] < 0x20 || value.data[i] > 0x7e || value.data[i] == '=')
			return false;
	return true;
}

static bool tracestate_member(struct clv_slice member)
{
	size_t equals = clv_slice_find(member, 0, '=');

	return equals < member.len && tracestate_key(clv_slice_head(member, equals)) &&
	       tracestate_value(clv_slice_from(member, equals + 1));
}

struct members {
	struct clv_slice m[CLV_TRACESTATE_MEMBERS];
	size_t count;
	size_t bytes; /* with the commas between them */
};

static void members_remove(struct members *ms, size_t at)
{
	ms->bytes -= ms->m[at].len + (ms->count > 1);
	ms->count--;
	memmove(&ms->m[at], &ms->m[at + 1], (ms->count - at) * sizeof(ms->m[0]));
}

/* Section 3.3.1.5: those longer than 128 characters go first, then the last ones. */
static void members_shorten(struct members *ms)
{
	for (size_t i = ms->count; i-- && ms->bytes > CLV_TRACESTATE_BYTES;)
		if (ms->m[i].len > 128)
			members_remove(ms, i);
	while (ms->bytes > CLV_TRACESTATE_BYTES)
		members_remove(ms, ms->count - 1);
}

/* Adds those of one header. Returns false when something in it is not valid. */
static bool members_add(struct members *ms, struct clv_slice list)
{
	while (list.len) {
		struct clv_slice member = clv_slice_trim(cut(&list, ','));

		if (!member.len)
			continue;
		if (ms->count == CLV_TRACESTATE_MEMBERS || !tracestate_member(member))
			return false;
		ms->bytes += member.len + (ms->count > 0);
		ms->m[ms->count++] = member;
	}
	return true;
}

struct clv_slice clv_context_tracestate(const struct clv_context_fields *f, char *room)
{
	struct clv_buf b = clv_buf(room, CLV_TRACESTATE_BYTES);
	struct members ms;

	ms.count = ms.bytes = 0;
	if (f->tracestates > CLV_TRACESTATE_FIELDS)
		return clv_slice(NULL, 0);
	for (unsigned i = 0; i < f->tracestates; i++)
		if (!members_add(&ms, f->tracestate[i]))
			return clv_slice(NULL, 0);
	members_shorten(&ms);
	for (size_t i = 0; i < ms.count; i++) {
		clv_buf_put(&b, ",", i > 0);
		clv_buf_slice(&b, ms.m[i]);
	}
	return clv_slice(b.data, b.len);
}

/* ---- B3 -------------------------------------------------------------------------------------------------------- */

/* 16 or 32 digits: short ids are the right half of long ones. */
static bool b3_trace_id(struct clv_slice text, uint8_t out[16])
{
	return (text.len == 16 || text.len == 32) && hex_id(text, false, out, 16);
}

/* One character: 0, 1, or d for debug, which asks for more than sampling. */
static bool b3_state(struct clv_slice text, enum clv_decision *out)
{
	if (text.len != 1 || !memchr("01d", text.data[0], 3))
		return false;
	*out = text.data[0] == '0' ? CLV_NOT_SAMPLED : CLV_SAMPLED;
	return true;
}

/* {trace}-{span}[-{state}[-{parent}]], or the state alone. */
static bool read_b3_single(struct clv_slice value, struct clv_context *out)
{
	struct clv_context c = {.has_trace = true, .has_parent = true};
	enum clv_decision decision = CLV_UNDECIDED;
	struct clv_slice rest = value;

	if (b3_state(value, &decision)) {
		c = (struct clv_context){0};
		decide(&c, decision);
		*out = c;
		return true;
	}
	if (!b3_trace_id(cut(&rest, '-'), c.trace_id) || !hex_exact(cut(&rest, '-'), c.parent_id, 8))
		return false;
	if (rest.len) {
		uint8_t parent[8];
		bool more = clv_slice_find(rest, 0, '-') < rest.len;

		if (!b3_state(cut(&rest, '-'), &decision) || (more && !hex_exact(rest, parent, sizeof(parent))))
			return false;
	} else if (value.data[value.len - 1] == '-') {
		return false;
	}
	decide(&c, decision);
	*out = c;
	return true;
}

/* X-B3-Flags: 1 is debug, and implies sampling. Old tracers wrote true and false. */
static bool b3_multi_decision(const struct clv_context_fields *f, enum clv_decision *out)
{
	struct clv_slice s = f->b3_sampled;

	*out = CLV_UNDECIDED;
	if (clv_slice_eq(s, CLV_LIT("1")) || clv_slice_eq_nocase(s, CLV_LIT("true")))
		*out = CLV_SAMPLED;
	else if (clv_slice_eq(s, CLV_LIT("0")) || clv_slice_eq_nocase(s, CLV_LIT("false")))
		*out = CLV_NOT_SAMPLED;
	else if (s.len)
		return false;
	if (clv_slice_eq(f->b3_flags, CLV_LIT("1")))
		*out = CLV_SAMPLED;
	return true;
}

static bool read_b3_multi(const struct clv_context_fields *f, struct clv_context *out)
{
	struct clv_context c = {0};
	enum clv_decision decision;

	if (!b3_multi_decision(f, &decision))
		return false;
	if (f->b3_trace_id.len || f->b3_span_id.len) {
		if (!b3_trace_id(f->b3_trace_id, c.trace_id) || !hex_exact(f->b3_span_id, c.parent_id, 8))
			return false;
		c.has_trace = c.has_parent = true;
	} else if (decision == CLV_UNDECIDED) {
		return false;
	}
	decide(&c, decision);
	*out = c;
	return true;
}

static bool read_b3(const struct clv_context_fields *f, struct clv_context *c)
{
	return read_b3_single(f->b3, c) || read_b3_multi(f, c);
}

/* ---- Jaeger ---------------------------------------------------------------------------------------------------- */

/* Cuts at a colon, which may be percent-encoded. *found: there was one. */
static struct clv_slice jaeger_cut(struct clv_slice *rest, bool *found)
{
	for (size_t i = 0; i < rest->len; i++) {
		size_t len = rest->data[i] == ':' ? 1 : 0;

		if (clv_slice_eq_nocase(clv_slice_sub(*rest, i, 3), CLV_LIT("%3A")))
			len = 3;
		if (!len)
			continue;
		struct clv_slice piece = clv_slice_head(*rest, i);
		*rest = clv_slice_from(*rest, i + len);
		*found = true;
		return piece;
	}
	*found = false;
	return *rest;
}

/* {trace}:{span}:{parent}:{flags}; zeros on the left may be missing, the parent is not used any more. */
static bool read_jaeger(const struct clv_context_fields *f, struct clv_context *out)
{
	enum { SAMPLED = 1, DEBUG = 2 };
	struct clv_context c = {.has_trace = true, .has_parent = true};
	struct clv_slice rest = clv_slice_head(f->jaeger, 128), piece[3];
	uint8_t parent[8], flags = 0;
	bool found;

	if (f->jaeger.len > rest.len)
		return false;
	for (int i = 0; i < 3; i++) {
		piece[i] = jaeger_cut(&rest, &found);
		if (!found)
			return false;
	}
	/* A root has parent 0, and flags may well be 0. */
	if (!hex_id(piece[0], true, c.trace_id, 16) || !hex_id(piece[1], true, c.parent_id, 8) ||
	    (!hex_id(piece[2], true, parent, 8) && !clv_slice_eq(piece[2], CLV_LIT("0")) &&
	     !clv_slice_eq(piece[2], CLV_LIT("0000000000000000"))))
		return false;
	if (!hex_id(rest, true, &flags, 1) && !clv_slice_eq(rest, CLV_LIT("0")) && !clv_slice_eq(rest, CLV_LIT("00")))
		return false;
	decide(&c, flags & (SAMPLED | DEBUG) ? CLV_SAMPLED : CLV_NOT_SAMPLED);
	*out = c;
	return true;
}

/* ---- X-Ray ----------------------------------------------------------------------------------------------------- */

/* 1-{8 hex: seconds}-{24 hex} */
static bool xray_root(struct clv_slice text, uint8_t out[16])
{
	const uint8_t *t = text.data;
	char digits[32];

	if (text.len != 35 || t[0] != '1' || t[1] != '-' || t[10] != '-')
		return false;
	memcpy(digits, t + 2, 8);
	memcpy(digits + 8, t + 11, 24);
	return hex_id(clv_slice(digits, sizeof(digits)), true, out, 16);
}

/* One Key=Value. Returns false when it contradicts the format; unknown keys are nobody's business. */
static bool xray_part(struct clv_slice part, struct clv_context *c)
{
	size_t equals = clv_slice_find(part, 0, '=');
	struct clv_slice key = clv_slice_trim(clv_slice_head(part, equals));
	struct clv_slice value = clv_slice_trim(clv_slice_from(part, equals + 1));

	if (clv_slice_eq_nocase(key, CLV_LIT("Root"))) {
		c->has_trace = true;
		return xray_root(value, c->trace_id);
	}
	if (clv_slice_eq_nocase(key, CLV_LIT("Parent"))) {
		c->has_parent = true;
		return value.len == 16 && hex_id(value, true, c->parent_id, 8);
	}
	if (clv_slice_eq_nocase(key, CLV_LIT("Sampled"))) {
		if (clv_slice_eq(value, CLV_LIT("1")))
			decide(c, CLV_SAMPLED);
		else if (clv_slice_eq(value, CLV_LIT("0")))
			decide(c, CLV_NOT_SAMPLED);
		else /* "?": the caller asks */
			return clv_slice_eq(value, CLV_LIT("?"));
	}
	return true;
}

/* Root=...;Parent=...;Sampled=0|1|?, in any order. A load balancer names the trace only. */
static bool read_xray(const struct clv_context_fields *f, struct clv_context *out)
{
	struct clv_context c = {0};
	struct clv_slice rest = f->xray;

	while (rest.len)
		if (!xray_part(cut(&rest, ';'), &c))
			return false;
	if (!c.has_trace && (c.has_parent || c.decision == CLV_UNDECIDED))
		return false;
	*out = c;
	return true;
}

/* ---- Envoy ----------------------------------------------------------------------------------------------------- */

struct clv_slice clv_context_request_id(const struct clv_context_fields *f)
{
	struct clv_slice id = f->request_id;

	if (id.len != 36)
		return clv_slice(NULL, 0);
	for (size_t i = 0; i < id.len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;

		if (dash ? id.data[i] != '-' : hex_digit(id.data[i], true) < 0)
			return clv_slice(NULL, 0);
	}
	return id;
}

/*
 * Envoy keeps its reason to trace where the version of the UUID stands: 9 sampled, a forced, b asked for by the client.
 * 4 is what any random UUID has there, so it says nothing.
 */
enum clv_decision clv_context_request_decision(struct clv_slice id)
{
	return id.len == 36 && memchr("9abAB", id.data[14], 5) ? CLV_SAMPLED : CLV_UNDECIDED;
}

/* ---- all of them ----------------------------------------------------------------------------------------------- */

static void take_first(struct clv_slice *at, struct clv_slice value)
{
	if (!at->data)
		*at = value;
}

static void take_tracestate(struct clv_context_fields *f, struct clv_slice value)
{
	if (f->tracestates < CLV_TRACESTATE_FIELDS)
		f->tracestate[f->tracestates] = value;
	f->tracestates++;
}

void clv_context_take(struct clv_context_fields *f, struct clv_slice name, struct clv_slice value)
{
#define IS(text) clv_slice_eq_nocase(name, CLV_LIT(text))
	switch (name.len) {
	case 2:
		if (IS("b3"))
			take_first(&f->b3, value);
		break;
	case 10:
		if (IS("tracestate"))
			take_tracestate(f, value);
		else if (IS("x-b3-flags"))
			take_first(&f->b3_flags, value);
		break;
	case 11:
		if (IS("traceparent")) {
			take_first(&f->traceparent, value);
			f->traceparents++;
		} else if (IS("x-b3-spanid")) {
			take_first(&f->b3_span_id, value);
		}
		break;
	case 12:
		if (IS("x-b3-traceid"))
			take_first(&f->b3_trace_id, value);
		else if (IS("x-b3-sampled"))
			take_first(&f->b3_sampled, value);
		else if (IS("x-request-id"))
			take_first(&f->request_id, value);
		break;
	case 13:
		if (IS("uber-trace-id"))
			take_first(&f->jaeger, value);
		break;
	case 15:
		if (IS("x-amzn-trace-id"))
			take_first(&f->xray, value);
		break;
	default:
		break;
	}
#undef IS
}

typedef bool (*context_reader)(const struct clv_context_fields *f, struct clv_context *c);

static const context_reader readers[CLV_PROPAGATOR_COUNT] = {
	[CLV_PROPAGATOR_W3C] = read_w3c,
	[CLV_PROPAGATOR_B3] = read_b3,
	[CLV_PROPAGATOR_JAEGER] = read_jaeger,
	[CLV_PROPAGATOR_XRAY] = read_xray,
};

bool clv_context_read(const struct clv_context_fields *f, const struct clv_propagators *p, struct clv_context *out)
{
	unsigned count = p->chosen ? p->count : CLV_PROPAGATOR_COUNT;
	struct clv_context first = {0};
	bool any = false;

	for (unsigned i = 0; i < count; i++) {
		struct clv_context c;

		if (!readers[p->chosen ? p->order[i] : i](f, &c))
			continue;
		if (c.has_trace) {
			*out = c;
			return true;
		}
		if (!any)
			first = c;
		any = true;
	}
	if (any)
		*out = first;
	return any;
}

bool clv_propagators_want(const struct clv_propagators *p, enum clv_propagator which)
{
	for (unsigned i = 0; p->chosen && i < p->count; i++)
		if (p->order[i] == which)
			return true;
	return !p->chosen;
}

static void propagators_add(struct clv_propagators *p, enum clv_propagator which)
{
	if (!clv_propagators_want(p, which))
		p->order[p->count++] = (uint8_t)which;
}

int clv_propagators_parse(const char *list, struct clv_propagators *out, struct clv_slice *unknown)
{
	static const struct {
		struct clv_slice name;
		int which; /* -1: nothing */
	} names[] = {
		{CLV_LIT("tracecontext"), CLV_PROPAGATOR_W3C},
		{CLV_LIT("b3"), CLV_PROPAGATOR_B3},
		{CLV_LIT("b3multi"), CLV_PROPAGATOR_B3},
		{CLV_LIT("jaeger"), CLV_PROPAGATOR_JAEGER},
		{CLV_LIT("xray"), CLV_PROPAGATOR_XRAY},
		{CLV_LIT("baggage"), -1},
		{CLV_LIT("none"), -1},
	};
	const size_t count = sizeof(names) / sizeof(names[0]);
	struct clv_propagators p = {.chosen = true};
	struct clv_slice rest = clv_slice_str(list);

	do {
		struct clv_slice name = clv_slice_trim(cut(&rest, ','));
		size_t i = 0;

		while (i < count && !clv_slice_eq(name, names[i].name))
			i++;
		if (i == count) {
			if (unknown)
				*unknown = name;
			return -EINVAL;
		}
		if (names[i].which >= 0)
			propagators_add(&p, (enum clv_propagator)names[i].which);
	} while (rest.len);
	*out = p;
	return 0;
}
