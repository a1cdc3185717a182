/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a decoded header block (RFC 9113 section 8.3) down as http2.h describes it. Owns the scratch of each thread,
 * in which the head lives until the next one. What cannot stand in a line (CR, LF, NUL) becomes a space there, so that
 * no value can look like another field. Maps the scratch when a thread first needs it, else never allocates. Engine
 * thread.
 */
#include "proto/http2_head.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/buf.h"
#include "engine/limits.h"
#include "proto/http1_text.h"
#include "proto/http2_memo.h"

/* Methods and schemes are words. */
#define HTTP2_WORD_BYTES 64u
/* A status is three digits, a timeout nine characters. */
#define HTTP2_TIMEOUT_DIGITS 8u

enum http2_pseudo { HTTP2_METHOD, HTTP2_TARGET, HTTP2_AUTHORITY, HTTP2_PSEUDOS };

/* One head being written. */
struct http2_writer {
	struct http2_head *h;
	struct clv_buf text;
	bool request;
	bool begun; /* the first line is written: pseudo-headers come before all others */
	struct clv_slice pseudo[HTTP2_PSEUDOS];
	struct clv_buf kept; /* what these point to */
	uint16_t status;
	struct http2_holes holes;
};

/* Its destructor gives the scratch of a thread back when that ends. */
static pthread_key_t http2_scratch_key;
static bool http2_scratch_keyed;

static void http2_scratch_unmap(void *p)
{
	munmap(p, sizeof(struct http2_scratch));
}

static void http2_scratch_begin(void)
{
	http2_scratch_keyed = pthread_key_create(&http2_scratch_key, http2_scratch_unmap) == 0;
}

static __attribute__((noinline)) struct http2_scratch *http2_scratch_map(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	void *p;

	pthread_once(&once, http2_scratch_begin);
	p = mmap(NULL, sizeof(struct http2_scratch), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	if (!http2_scratch_keyed || pthread_setspecific(http2_scratch_key, p)) {
		http2_scratch_unmap(p);
		return NULL;
	}
	return p;
}

/* Only a pointer is the thread's own: all of what is gets written to when a thread begins, in those that parse nothing
 * as well. */
struct http2_scratch *clv_http2_scratch(void)
{
	static _Thread_local struct http2_scratch *mine;

	if (!mine)
		mine = http2_scratch_map();
	return mine;
}

static bool http2_bad_in_line(uint8_t c)
{
	return c == '\r' || c == '\n' || c == 0;
}

/* Eight bytes at a time: almost no value has a byte that is bad. */
#define HTTP2_EACH(byte) (UINT64_MAX / 255 * (byte))

static uint64_t http2_word(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* Less than eight bytes, and in place of those that are not there a byte that is known to be good. */
static uint64_t http2_few(const uint8_t *p, size_t len, uint8_t good)
{
	uint32_t first, last;

	if (!len)
		return HTTP2_EACH(good);
	if (len < 4)
		return HTTP2_EACH(good) << 24 | (uint64_t)p[len - 1] << 16 | (uint64_t)p[len / 2] << 8 | p[0];
	memcpy(&first, p, sizeof(first));
	memcpy(&last, p + len - sizeof(last), sizeof(last));
	return (uint64_t)last << 32 | first;
}

/* Is one of the bytes below `n`, which is at most 128? */
static bool http2_has_less(uint64_t word, uint8_t n)
{
	return (word - HTTP2_EACH(n)) & ~word & HTTP2_EACH(0x80);
}

static bool http2_has(uint64_t word, uint8_t byte)
{
	return http2_has_less(word ^ HTTP2_EACH(byte), 1);
}

/* May a byte of it be bad in a line? All that are stand below the space. */
static bool http2_suspect(const uint8_t *p, size_t len)
{
	if (len < 8)
		return http2_has_less(http2_few(p, len, ' '), ' ');
	for (size_t i = 0; i + 8 < len; i += 8)
		if (http2_has_less(http2_word(p + i), ' '))
			return true;
	return http2_has_less(http2_word(p + len - 8), ' ');
}

static void http2_mend(uint8_t *p, size_t len)
{
	if (!http2_suspect(p, len))
		return;
	for (size_t i = 0; i < len; i++)
		if (http2_bad_in_line(p[i]))
			p[i] = ' ';
}

static uint8_t *http2_put(uint8_t *p, struct clv_slice s)
{
	if (s.len) /* an empty one may have no pointer */
		memcpy(p, s.data, s.len);
	return p + s.len;
}

uint8_t *clv_http2_put_value(uint8_t *p, struct clv_slice value)
{
	uint8_t *end = http2_put(p, value);

	http2_mend(p, value.len);
	return end;
}

/* Room for so many bytes more, which are there from now on. NULL: there is none, and the head is cut. */
static uint8_t *http2_room(struct http2_writer *w, size_t bytes)
{
	struct clv_buf *b = &w->text;
	uint8_t *p = (uint8_t *)b->data + b->len;

	if (bytes > b->cap - b->len) {
		w->h->cut = true;
		return NULL;
	}
	b->len += bytes;
	return p;
}

/* A line of its own, whole or not at all. Returns whether it is there. */
static bool http2_put_line(struct http2_writer *w, struct clv_slice name, struct clv_slice value)
{
	uint8_t *p = http2_room(w, name.len + value.len + 4);

	if (!p)
		return false;
	p = http2_put(p, name);
	*p++ = ':';
	*p++ = ' ';
	p = clv_http2_put_value(p, value);
	*p++ = '\r';
	*p = '\n';
	return true;
}

static void http2_begin_request(struct http2_writer *w)
{
	const struct clv_slice version = CLV_LIT(" HTTP/2.0\r\n"), host = CLV_LIT("host");
	struct clv_http1_facts *f = &w->h->facts.http;
	struct clv_slice method = clv_slice_head(w->pseudo[HTTP2_METHOD], HTTP2_WORD_BYTES);
	struct clv_slice target = w->pseudo[HTTP2_TARGET], authority = w->pseudo[HTTP2_AUTHORITY];

	clv_http1_set_method(f, method);
	/* CONNECT has no path (section 8.5), unless it asks for a protocol (RFC 8441). */
	if (f->flags & CLV_HTTP1_CONNECT && !target.len)
		target = authority;
	uint8_t *p = http2_room(w, method.len + 1 + target.len + version.len);
	if (!p) {
		f->method = CLV_HTTP1_OTHER;
		w->holes.count = 0;
		return;
	}
	if (f->flags & CLV_HTTP1_CONNECT)
		w->holes.count = 0;
	if (w->holes.count)
		w->holes.hole[0].text_at = (uint16_t)(method.len + 1);
	f->method_len = (uint16_t)method.len;
	f->target = (struct clv_http1_field){.at = (uint16_t)(method.len + 1), .len = (uint16_t)target.len};
	p = clv_http2_put_value(p, method);
	*p++ = ' ';
	http2_put(clv_http2_put_value(p, target), version);
	size_t at = w->text.len + host.len + 2;
	if (authority.len && http2_put_line(w, host, authority))
		f->host = (struct clv_http1_field){.at = (uint16_t)at, .len = (uint16_t)authority.len};
}

static void http2_begin_response(struct http2_writer *w)
{
	clv_buf_lit(&w->text, "HTTP/2.0 ");
	if (w->status)
		clv_buf_u64(&w->text, w->status);
	clv_buf_lit(&w->text, "\r\n");
	w->h->facts.http.status = w->status;
}

static void http2_begin(struct http2_writer *w)
{
	if (w->begun)
		return;
	w->begun = true;
	if (w->request)
		http2_begin_request(w);
	else
		http2_begin_response(w);
}

/* The value at `block_at` may be another one in the next head. */
static void http2_add_hole(struct http2_writer *w, size_t block_at, size_t text_at, size_t text_len)
{
	if (!block_at || w->holes.count == HTTP2_HOLES)
		return;
	w->holes.hole[w->holes.count++] = (struct http2_hole){
		.block_at = (uint32_t)block_at, .text_at = (uint16_t)text_at, .text_len = (uint16_t)text_len};
}

static void http2_keep_pseudo(struct http2_writer *w, enum http2_pseudo which, struct clv_slice value,
			      size_t literal_at)
{
	struct clv_buf *kept = &w->kept;
	uint8_t *p = (uint8_t *)kept->data + kept->len;

	if (w->pseudo[which].len)
		return;
	if (value.len > kept->cap - kept->len) {
		w->h->cut = true;
		return;
	}
	http2_put(p, value);
	kept->len += value.len;
	w->pseudo[which] = clv_slice(p, value.len);
	if (which == HTTP2_TARGET && value.len)
		http2_add_hole(w, literal_at, 0, value.len);
}

static void http2_pseudo_of_response(struct http2_writer *w, struct clv_slice name, struct clv_slice value)
{
	uint64_t n;

	if (clv_slice_eq(name, CLV_LIT(":status")) && value.len == 3 && http1_decimal(value, &n) && n >= 100)
		w->status = (uint16_t)n;
}

static void http2_pseudo(struct http2_writer *w, struct clv_slice name, struct clv_slice value, size_t literal_at)
{
	if (w->begun)
		return;
	if (!w->request) {
		http2_pseudo_of_response(w, name, value);
		return;
	}
	w->h->request = true;
	switch (name.len) {
	case 5:
		if (clv_slice_eq(name, CLV_LIT(":path")))
			http2_keep_pseudo(w, HTTP2_TARGET, value, literal_at);
		return;
	case 7:
		if (clv_slice_eq(name, CLV_LIT(":method"))) {
			http2_keep_pseudo(w, HTTP2_METHOD, value, literal_at);
		} else if (clv_slice_eq(name, CLV_LIT(":scheme"))) {
			w->h->facts.flags |= CLV_HTTP2_SCHEME;
			if (clv_slice_eq_nocase(value, CLV_LIT("https")))
				w->h->facts.flags |= CLV_HTTP2_HTTPS;
		}
		return;
	case 10:
		if (clv_slice_eq(name, CLV_LIT(":authority")))
			http2_keep_pseudo(w, HTTP2_AUTHORITY, value, literal_at);
		return;
	default:
		return;
	}
}

/* "application/grpc", and what may stand behind it. */
static uint8_t http2_kind(struct clv_slice type)
{
	static const struct {
		struct clv_slice name;
		uint8_t kind;
	} kinds[] = {
		{CLV_LIT("application/grpc-web-text"), CLV_HTTP2_GRPC_WEB_TEXT},
		{CLV_LIT("application/grpc-web"), CLV_HTTP2_GRPC_WEB},
		{CLV_LIT("application/grpc"), CLV_HTTP2_GRPC},
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct clv_slice rest = clv_slice_from(type, kinds[i].name.len);

		if (clv_slice_eq_nocase(clv_slice_head(type, kinds[i].name.len), kinds[i].name) &&
		    (!rest.len || memchr("+; ", rest.data[0], 3)))
			return kinds[i].kind;
	}
	return CLV_HTTP2_PLAIN;
}

void clv_http2_grpc_status(struct clv_http2_facts *f, struct clv_slice value)
{
	uint64_t n;

	if (!http1_decimal(value, &n))
		return;
	f->flags |= CLV_HTTP2_STATUS;
	f->grpc_status = n <= 16 ? (uint8_t)n : UINT8_MAX;
}

/* At most 8 digits and a unit. */
static uint64_t http2_timeout_ns(struct clv_slice value)
{
	static const char units[] = "numSMH";
	static const uint64_t ns[] = {
		1, 1000, 1000000, 1000000000, 60 * 1000000000ull, 3600 * 1000000000ull,
	};
	struct clv_slice digits = clv_slice_head(value, value.len ? value.len - 1 : 0);
	const char *unit = value.len ? memchr(units, value.data[value.len - 1], sizeof(units) - 1) : NULL;
	uint64_t n;

	if (!unit || digits.len > HTTP2_TIMEOUT_DIGITS || !http1_decimal(digits, &n))
		return 0;
	return n * ns[unit - units];
}

/* user-agent, which nearly all have, when it is as usual. */
static bool http2_note_agent(struct clv_http1_facts *f, struct clv_slice name, struct clv_slice value, size_t at)
{
	if (!clv_slice_eq(name, CLV_LIT("user-agent")) || f->user_agent.len || !value.len || value.data[0] <= ' ' ||
	    value.data[value.len - 1] <= ' ')
		return false;
	f->user_agent = (struct clv_http1_field){.at = (uint16_t)(at + name.len + 2), .len = (uint16_t)value.len};
	return true;
}

/* What is read of the other fields; `at` is where the line begins. */
static void http2_facts_of(struct http2_writer *w, struct clv_slice name, struct clv_slice value, size_t at)
{
	struct clv_http2_facts *f = &w->h->facts;

	switch (name.data[0]) {
	case 'c':
		if (clv_slice_eq(name, CLV_LIT("content-type")))
			f->kind = http2_kind(value);
		return;
	case 'g':
		if (w->request && clv_slice_eq(name, CLV_LIT("grpc-timeout")))
			f->timeout_ns = http2_timeout_ns(value);
		else if (!w->request && clv_slice_eq(name, CLV_LIT("grpc-status")))
			clv_http2_grpc_status(f, value);
		return;
	case 'u':
		if (w->request && http2_note_agent(&f->http, name, value, at))
			return;
		/* fallthrough */
	case 'b':
	case 'f':
	case 'h':
	case 't':
	case 'x':
		if (w->request)
			clv_http1_note_field(&f->http, (const uint8_t *)w->text.data, at, w->text.len - 2);
		return;
	default:
		return;
	}
}

static bool http2_none_bad_in_name(uint64_t word)
{
	return !(word & HTTP2_EACH(0x80) || http2_has_less(word, ' ' + 1) || http2_has(word, ':') ||
		 http2_has(word, 0x7f));
}

/* Could the name be a field's? Upper case is malformed, too, but tells what was meant. */
static bool http2_is_name(struct clv_slice name)
{
	if (name.len < 8)
		return name.len && http2_none_bad_in_name(http2_few(name.data, name.len, 'a'));
	for (size_t i = 0; i + 8 < name.len; i += 8)
		if (!http2_none_bad_in_name(http2_word(name.data + i)))
			return false;
	return http2_none_bad_in_name(http2_word(name.data + name.len - 8));
}

/* Does http2_facts_of() look at no more than the name? */
static bool http2_may_vary(bool request, struct clv_slice name)
{
	switch (name.data[0]) {
	case 'c':
		return !clv_slice_eq(name, CLV_LIT("content-type"));
	case 'g':
		return false;
	case 'b':
	case 'f':
	case 'h':
	case 't':
	case 'u':
	case 'x':
		return !request || clv_slice_eq(name, CLV_LIT("traceparent")) ||
		       clv_slice_eq(name, CLV_LIT("tracestate")) || clv_slice_eq(name, CLV_LIT("x-request-id"));
	default:
		return true;
	}
}

static void http2_field(void *ctx, struct clv_slice name, struct clv_slice value, size_t literal_at)
{
	struct http2_writer *w = ctx;

	if (name.len && name.data[0] == ':') {
		http2_pseudo(w, name, value, literal_at);
		return;
	}
	if (!http2_is_name(name))
		return;
	/* It says again what :authority said. */
	if (w->request && clv_slice_eq(name, CLV_LIT("host")) && value.len &&
	    clv_slice_eq(value, w->pseudo[HTTP2_AUTHORITY]))
		return;
	http2_begin(w);
	size_t at = w->text.len;
	if (!http2_put_line(w, name, value))
		return;
	http2_facts_of(w, name, value, at);
	if (literal_at && http2_may_vary(w->request, name))
		http2_add_hole(w, literal_at, at + name.len + 2, value.len);
}

static __attribute__((noinline)) void http2_decode(struct clv_hpack *hpack, struct http2_writer *w,
						   struct clv_slice block)
{
	struct http2_scratch *s = clv_http2_scratch();
	struct http2_head *h = w->h;

	*h = (struct http2_head){
		.missing = true, .cut = true, .bad = true, .flags = CLV_MSG_MIDSTREAM | CLV_MSG_TRUNCATED};
	if (!s)
		return;
	h->cut = false;
	w->text = clv_buf(s->text, sizeof(s->text) - 2);
	w->kept = clv_buf(s->kept, sizeof(s->kept));
	enum clv_hpack_result result = clv_hpack_block(hpack, block, http2_field, w);
	http2_begin(w);
	w->text.cap += 2;
	clv_buf_lit(&w->text, "\r\n");
	h->text = clv_slice(w->text.data, w->text.len);
	h->missing = result != CLV_HPACK_WHOLE;
	h->bad = result == CLV_HPACK_BAD;
	h->cut |= h->bad;
	h->flags = (uint8_t)((h->missing ? CLV_MSG_MIDSTREAM : 0) | (h->cut ? CLV_MSG_TRUNCATED : 0));
	if (!w->request)
		return;
	h->method = clv_http1_method_name((enum clv_http1_method)h->facts.http.method);
	if (h->facts.http.flags & CLV_HTTP1_CONTEXT)
		h->flags |= CLV_MSG_CONTEXT;
}

const struct http2_head *clv_http2_head_read(struct clv_hpack *hpack, struct http2_memo *memo, bool request,
					     struct clv_slice block, struct http2_head *room)
{
	const struct http2_head *h = clv_http2_memo_find(memo, hpack, request, block, room);

	if (h)
		return h;
	struct http2_writer w = {.h = room, .request = request};
	uint64_t table = hpack->changes;
	http2_decode(hpack, &w, block);
	for (uint32_t i = 0; i < w.holes.count; i++) {
		struct http2_hole *hole = &w.holes.hole[i];

		hole->block_len = (uint32_t)clv_hpack_string_bytes(clv_slice_from(block, hole->block_at));
	}
	/* A cut one would be cut elsewhere with other values. */
	if (!room->cut && hpack->changes == table)
		clv_http2_memo_keep(memo, hpack, request, block, room, &w.holes);
	return room;
}
