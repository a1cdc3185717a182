/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.0 and HTTP/1.1: where messages begin and end (RFC 9112). What a span says of them: http1_span.c.
 *
 *	message    = start-line CRLF *( field-line CRLF ) CRLF [ body ]
 *	start-line = method SP target SP "HTTP/1." DIGIT  |  "HTTP/1." DIGIT SP 3DIGIT [ SP reason ]
 *	field-line = name ":" value *( CRLF 1*( SP | HTAB ) value )
 *	body       = what Content-Length says | chunks | all until the connection closes (RFC 9112 section 6.3)
 *	chunk      = hex-size [ ";" extensions ] CRLF data CRLF; size 0 is the last: trailer lines, empty line
 *
 * A head is parsed in place, in one pass, when it is complete; bodies are skipped, never read. Owns nothing but
 * the state it is lent (field lines that came before: http1_memo.c), never allocates, reads no clock. Engine thread.
 */
#include "proto/http1.h"

#include "base/lines.h"
#include "base/near.h"
#include "engine/limits.h"
#include "proto/http1_memo.h"
#include "proto/http1_text.h"

/* A line of the chunked coding (size with extensions, a trailer) longer than this is an attack or a mistake. */
#define HTTP1_CHUNK_LINE_BYTES 16384u
/* Start lines that resync() waits for; feed() takes them as long as heads may be. */
#define HTTP1_RESYNC_LINE_BYTES 16384u
/* No method on record is longer than 17; what is longer than this is not one. */
#define HTTP1_METHOD_BYTES 64u
/* So much of a known method and a target without a line end can be nothing else. */
#define HTTP1_SURE_BYTES 512u
/* The stream of HTTP/2 that answers a request which asked for the change to it (RFC 7540 section 3.2). */
#define HTTP1_UPGRADED_ID 1u

_Static_assert(CLV_HEAD_BYTES <= 65536, "struct clv_http1_field holds offsets into a head in 16 bits");
_Static_assert(sizeof(struct clv_http1_facts) <= CLV_FACTS_MAX, "facts outgrew their place");

enum http1_phase {
	HTTP1_START,       /* before or in a start line */
	HTTP1_FIELDS,      /* behind a good start line, before the head's end */
	HTTP1_BODY,        /* fed again when the body is paid for: then it ends */
	HTTP1_UNTIL_CLOSE, /* the body runs until the direction ends */
	HTTP1_CHUNK_SIZE,
	HTTP1_CHUNK_END, /* the line end behind a chunk's data */
	HTTP1_TRAILER,
};

struct http1_side {
	/* Bytes of the unconsumed tail known to hold no end of what is being waited for; in resync: those kept. */
	uint32_t scanned;
	uint8_t phase;
	/* resync: */
	bool candidate;    /* what was kept may begin a message, and began a packet or followed an empty line */
	uint8_t behind[3]; /* the last bytes before the slice, to know a line start; 0: not known */
	uint8_t place;     /* of the memo (http1_memo.h) */
};

struct http1_state {
	struct http1_side side[2];
	bool switching; /* a CONNECT or an Upgrade awaits its answer: what follows may not be HTTP */
	bool fresh;     /* from the connection's start on nothing was seen or missed */
	bool held;      /* requests behind it wait unparsed: responses behind its answer wait for them */
};

_Static_assert(sizeof(struct http1_state) <= 128, "one per connection");

/* ---- bytes ------------------------------------------------------------------------------------------ */

/* RFC 9110 section 5.6.2. */
static const bool http1_tchar[256] = {
	['a' ... 'z'] = true, ['A' ... 'Z'] = true, ['0' ... '9'] = true, ['!'] = true, ['#'] = true, ['$'] = true,
	['%'] = true,         ['&'] = true,         ['\''] = true,        ['*'] = true, ['+'] = true, ['-'] = true,
	['.'] = true,         ['^'] = true,         ['_'] = true,         ['`'] = true, ['|'] = true, ['~'] = true,
};

static inline bool http1_is_ws(uint8_t c)
{
	return c <= ' ' && (c == ' ' || c == '\t');
}

/* Or what folds lines. */
static inline bool http1_is_space(uint8_t c)
{
	return c <= ' ' && (http1_is_ws(c) || c == '\r' || c == '\n');
}

/* Bytes of the line end at `at`: 1 (LF), 2 (CRLF), 0 when there is none; -1 when a lone CR ends the slice. */
static int http1_eol(struct clv_slice in, size_t at)
{
	if (at >= in.len)
		return 0;
	if (in.data[at] == '\n')
		return 1;
	if (in.data[at] != '\r')
		return 0;
	if (at + 1 == in.len)
		return -1;
	return in.data[at + 1] == '\n' ? 2 : 0;
}

/* A line without its end and without white space behind it. `end` is the offset of its LF. */
static struct clv_slice http1_line(struct clv_slice in, size_t at, size_t end)
{
	while (end > at && (in.data[end - 1] == '\r' || http1_is_ws(in.data[end - 1])))
		end--;
	return clv_slice(in.data + at, end - at);
}

/* Empty lines before a start line are no message (RFC 9112 section 2.2). */
static size_t http1_empty_lines(struct clv_slice in)
{
	size_t at = 0;

	for (int n; (n = http1_eol(in, at)) > 0;)
		at += (size_t)n;
	return at;
}

static size_t http1_token(struct clv_slice s, size_t from)
{
	size_t at = from;

	while (at < s.len && http1_tchar[s.data[at]])
		at++;
	return at - from;
}

/* Methods that may be met where nothing but the bytes says that this is HTTP: those known, and WebDAV's and kin. */
static const struct clv_slice http1_methods[] = {
	CLV_LIT("GET"),        CLV_LIT("POST"),      CLV_LIT("PUT"),        CLV_LIT("DELETE"),      CLV_LIT("HEAD"),
	CLV_LIT("OPTIONS"),    CLV_LIT("CONNECT"),   CLV_LIT("PATCH"),      CLV_LIT("TRACE"),       CLV_LIT("QUERY"),
	CLV_LIT("PROPFIND"),   CLV_LIT("PROPPATCH"), CLV_LIT("MKCOL"),      CLV_LIT("COPY"),        CLV_LIT("MOVE"),
	CLV_LIT("LOCK"),       CLV_LIT("UNLOCK"),    CLV_LIT("SEARCH"),     CLV_LIT("REPORT"),      CLV_LIT("MERGE"),
	CLV_LIT("MKACTIVITY"), CLV_LIT("CHECKOUT"),  CLV_LIT("MKCALENDAR"), CLV_LIT("ACL"),         CLV_LIT("BIND"),
	CLV_LIT("PURGE"),      CLV_LIT("NOTIFY"),    CLV_LIT("SUBSCRIBE"),  CLV_LIT("UNSUBSCRIBE"), CLV_LIT("LINK"),
};

/* Is `word` one of them (whole), or could it still become one? */
static enum clv_match http1_method_match(struct clv_slice word, bool whole)
{
	enum clv_match match = CLV_MATCH_NO;

	for (size_t i = 0; i < sizeof(http1_methods) / sizeof(http1_methods[0]); i++) {
		if (clv_slice_eq(word, http1_methods[i]))
			return whole ? CLV_MATCH_YES : CLV_MATCH_MAYBE;
		if (!whole && clv_slice_starts(http1_methods[i], word))
			match = CLV_MATCH_MAYBE;
	}
	return match;
}

/*
 * Is `word` a known method that lost its first bytes ("ST"), or one behind the last word of something else
 * ("scriptGET")? Both happen where a connection is joined in its middle.
 */
static bool http1_method_mangled(struct clv_slice word)
{
	for (size_t i = 0; i < sizeof(http1_methods) / sizeof(http1_methods[0]); i++) {
		struct clv_slice a = word, b = http1_methods[i];
		if (a.len > b.len)
			a = clv_slice_from(a, a.len - b.len);
		else
			b = clv_slice_from(b, b.len - a.len);
		if (clv_slice_eq(a, b))
			return true;
	}
	return false;
}

/* "HTTP/1." and a digit, in any case: clients take what servers write. */
static bool http1_version(const uint8_t *p)
{
	return (memcmp(p, "HTTP/1.", 7) == 0 || clv_slice_eq_nocase(clv_slice(p, 7), CLV_LIT("HTTP/1."))) &&
	       http1_is_digit(p[7]);
}

/* ---- heads ------------------------------------------------------------------------------------------ */

enum http1_head_result {
	HTTP1_HEAD_PARTIAL, /* the end is not there yet */
	HTTP1_HEAD_DONE,
	HTTP1_HEAD_BAD, /* the first line is there, and is no start line; len: its bytes without the LF */
};

static struct clv_http1_field http1_field_at(size_t at, size_t len)
{
	return (struct clv_http1_field){.at = (uint16_t)at, .len = (uint16_t)len};
}

/* By enum clv_http1_method. */
const struct clv_slice clv_http1_known[] = {CLV_LIT("_OTHER"),
#define X(name) CLV_LIT(#name),
					    CLV_HTTP1_METHODS(X)
#undef X
};

/* Whether the method's responses have no body, or another meaning. */
static inline void http1_method_is(struct clv_http1_facts *f, enum clv_http1_method method)
{
	f->method = (uint8_t)method;
	if (method == CLV_HTTP1_METHOD_HEAD)
		f->flags |= CLV_HTTP1_HEAD;
	else if (method == CLV_HTTP1_METHOD_CONNECT)
		f->flags |= CLV_HTTP1_CONNECT;
}

static void http1_method(struct clv_http1_facts *f, struct clv_slice method)
{
	const size_t count = sizeof(clv_http1_known) / sizeof(clv_http1_known[0]);
	size_t i = CLV_HTTP1_METHOD_GET;

	while (i < count && !clv_slice_eq(method, clv_http1_known[i]))
		i++;
	http1_method_is(f, i < count ? (enum clv_http1_method)i : CLV_HTTP1_OTHER);
}

void clv_http1_set_method(struct clv_http1_facts *f, struct clv_slice method)
{
	http1_method(f, method);
}

static bool http1_request_line(struct clv_slice line, struct clv_http1_facts *f)
{
	size_t method = http1_token(line, 0), end = line.len - 8;

	/* At least "M T HTTP/1.1". */
	if (!method || line.len < method + 11 || !http1_is_ws(line.data[method]) || !http1_version(line.data + end) ||
	    !http1_is_ws(line.data[end - 1]))
		return false;
	struct clv_slice target = clv_slice_trim(clv_slice(line.data + method, end - method));
	if (!target.len)
		return false;
	/* A blank in it was not encoded: the target is the first word (RFC 9112 section 3). */
	target = clv_slice_head(target, clv_slice_find(target, 0, ' '));
	f->method_len = (uint16_t)method;
	f->target = http1_field_at((size_t)(target.data - line.data), target.len);
	f->minor = (uint8_t)(line.data[line.len - 1] - '0');
	http1_method(f, clv_slice(line.data, method));
	return true;
}

/* Is the line at `at` a field line, or empty? */
static enum clv_match http1_probe_field(struct clv_slice in, size_t at)
{
	int eol = http1_eol(in, at);
	size_t name = http1_token(clv_slice_head(in, at + 256), at);

	if (eol > 0)
		return CLV_MATCH_YES;
	if (eol < 0 || at + name >= in.len)
		return CLV_MATCH_MAYBE;
	return name && in.data[at + name] == ':' ? CLV_MATCH_YES : CLV_MATCH_NO;
}

/* The name of a protocol other than this one at the end of a start line: RTSP/1.0, SIP/2.0, ICAP/1.0. */
static bool http1_other_protocol(struct clv_slice word)
{
	size_t slash = clv_slice_find(word, 0, '/');

	return slash && slash + 1 < word.len && http1_token(word, 0) == slash && http1_is_digit(word.data[slash + 1]) &&
	       !clv_slice_eq(clv_slice_head(word, slash), CLV_LIT("HTTP"));
}

/*
 * A request line as careless clients write it, with a version that is cut short or glued to the target. Servers
 * answer such lines, so an observer reports them; but only as the first of a connection, where nothing else can
 * look like it, and when a field line follows. `lf` ends the line.
 */
static enum clv_match http1_careless_line(struct clv_slice in, size_t lf, struct clv_http1_facts *f)
{
	struct clv_slice line = http1_line(in, 0, lf);
	size_t method = http1_token(clv_slice_head(line, HTTP1_METHOD_BYTES + 1), 0);
	struct clv_slice target = clv_slice_trim(clv_slice_from(line, method));
	size_t last = target.len;

	while (last && !http1_is_ws(target.data[last - 1]))
		last--;
	struct clv_slice word = clv_slice_from(target, last);
	if (!method || method > HTTP1_METHOD_BYTES || !target.len || !http1_is_ws(line.data[method]) ||
	    http1_other_protocol(word) || !memmem(line.data, line.len, "HTTP/1.", 7))
		return CLV_MATCH_NO;
	if (last && clv_slice_starts(word, CLV_LIT("HTTP/")))
		target = clv_slice_trim(clv_slice_head(target, last));
	f->method_len = (uint16_t)method;
	f->target = http1_field_at((size_t)(target.data - in.data), target.len);
	f->flags |= CLV_HTTP1_NO_VERSION;
	http1_method(f, clv_slice_head(line, method));
	return http1_probe_field(in, lf + 1);
}

static bool http1_status_line(struct clv_slice line, struct clv_http1_facts *f)
{
	if (line.len < 12 || !http1_version(line.data) || line.data[8] != ' ')
		return false;
	struct clv_slice rest = clv_slice_trim(clv_slice_from(line, 8));
	const uint8_t *d = rest.data;
	if (rest.len < 3 || d[0] < '1' || d[0] > '9' || !http1_is_digit(d[1]) || !http1_is_digit(d[2]) ||
	    (rest.len > 3 && !http1_is_ws(d[3])))
		return false;
	f->minor = (uint8_t)(line.data[7] - '0');
	f->status = (uint16_t)((d[0] - '0') * 100 + (d[1] - '0') * 10 + (d[2] - '0'));
	return true;
}

static bool http1_start_line(enum clv_dir dir, struct clv_slice line, struct clv_http1_facts *f)
{
	return dir == CLV_TO_SERVER ? http1_request_line(line, f) : http1_status_line(line, f);
}

/* No plain start line is shorter: "GET / HTTP/1.1" or "HTTP/1.1 200 ", and its CRLF. */
#define HTTP1_PLAIN_BYTES 15u

/* A method that is known and the blank behind it, at p, of which HTTP1_PLAIN_BYTES are there. Its length, or 0. */
static inline size_t http1_plain_method(const uint8_t *p, struct clv_http1_facts *f)
{
#define X(name)                                              \
	if (memcmp(p, #name " ", sizeof(#name)) == 0) {      \
		http1_method_is(f, CLV_HTTP1_METHOD_##name); \
		return sizeof(#name) - 1;                    \
	}
	CLV_HTTP1_METHODS(X)
#undef X
	return 0;
}

/*
 * A request line as nearly all are: a known method, a target without anything that is or is below a blank, and the
 * version, with one blank between and CRLF behind. The offset of its LF; 0: it is another, or none.
 */
static inline size_t http1_plain_request_line(struct clv_slice in, struct clv_http1_facts *f)
{
	size_t method = http1_plain_method(in.data, f), target = method + 1;

	if (!method)
		return 0;
	size_t blank = clv_near_blank(in, target);
	if (blank == target || in.len - blank < sizeof(" HTTP/1.1\r\n") - 1)
		return 0;
	const uint8_t *version = in.data + blank + 1;
	if (version[-1] != ' ' || memcmp(version, "HTTP/1.", 7) != 0 || !http1_is_digit(version[7]) ||
	    memcmp(version + 8, "\r\n", 2) != 0)
		return 0;
	f->method_len = (uint16_t)method;
	f->target = http1_field_at(target, blank - target);
	f->minor = (uint8_t)(version[7] - '0');
	return blank + 10;
}

/* The three digits of a status, the first of them not 0, and the blanks around it, at p; 0: it is something else. */
static inline unsigned http1_plain_status(const uint8_t *p)
{
	unsigned hundreds = p[1] - '1', tens = p[2] - '0', ones = p[3] - '0';

	if (p[0] != ' ' || hundreds > 8 || tens > 9 || ones > 9 || p[4] != ' ')
		return 0;
	return (hundreds + 1) * 100 + tens * 10 + ones;
}

/* The same of a status line. */
static inline size_t http1_plain_status_line(struct clv_slice in, struct clv_http1_facts *f)
{
	const uint8_t *p = in.data;

	if (memcmp(p, "HTTP/1.", 7) != 0 || !http1_is_digit(p[7]))
		return 0;
	unsigned status = http1_plain_status(p + 8);
	if (!status)
		return 0;
	f->minor = (uint8_t)(p[7] - '0');
	f->status = (uint16_t)status;
	size_t lf = clv_near(in, 13, '\n');
	return lf < in.len ? lf : 0;
}

/* Either, by whom it is for. */
static inline size_t http1_plain_line(enum clv_dir dir, struct clv_slice in, struct clv_http1_facts *f)
{
	if (in.len < HTTP1_PLAIN_BYTES)
		return 0;
	return dir == CLV_TO_SERVER ? http1_plain_request_line(in, f) : http1_plain_status_line(in, f);
}

/* Equal repetitions count once, different ones are an error (RFC 9112 section 6.3, point 5). */
static __attribute__((noinline)) void http1_content_lengths(struct http1_head *h, struct clv_slice value)
{
	do {
		uint64_t length;
		if (!http1_decimal(http1_element(&value), &length) || (h->has_length && length != h->length))
			h->bad_length = true;
		else
			h->length = length;
		if (h->has_length || h->bad_length)
			h->facts.flags |= CLV_HTTP1_CONFLICT;
		h->has_length = true;
	} while (value.len);
}

static void http1_content_length(struct http1_head *h, struct clv_slice value)
{
	if (!h->has_length && http1_decimal(value, &h->length)) /* once, as nearly always */
		h->has_length = true;
	else
		http1_content_lengths(h, value);
}

/* "identity" was dropped from HTTP long ago, but it is still sent and says nothing. */
static __attribute__((noinline)) void http1_transfer_encoding(struct http1_head *h, struct clv_slice value)
{
	do {
		struct clv_slice coding = http1_element(&value);
		if (clv_slice_eq_nocase(coding, CLV_LIT("identity")))
			continue;
		if (h->chunked)
			h->facts.flags |= CLV_HTTP1_CONFLICT;
		h->coded = true;
		h->chunked = clv_slice_eq_nocase(coding, CLV_LIT("chunked"));
	} while (value.len);
}

/* A list of protocols, each maybe with a version (RFC 9110 section 7.8). */
static __attribute__((noinline)) void http1_upgrade(struct clv_http1_facts *f, struct clv_slice value)
{
	if (value.len)
		f->flags |= CLV_HTTP1_UPGRADE;
	while (value.len) {
		struct clv_slice name = http1_element(&value);

		if (clv_slice_eq_nocase(name, CLV_LIT("websocket")))
			f->flags |= CLV_HTTP1_WEBSOCKET;
		else if (clv_slice_eq_nocase(name, CLV_LIT("h2c")))
			f->flags |= CLV_HTTP1_H2C;
	}
}

/* A name of ours and its colon, white space before it included, are no longer. */
#define HTTP1_NAME_BYTES 32u

/*
 * The colon behind `name`, if that is what the line p[0..len) begins with; else NULL. What stands where the name must
 * end tells nearly always.
 */
static inline __attribute__((always_inline)) const uint8_t *http1_colon(const uint8_t *p, size_t len,
									struct clv_slice name)
{
	const uint8_t *c = p + name.len;

	if (name.len >= len || (*c != ':' && !http1_is_ws(*c)) || !clv_slice_eq_nocase(clv_slice(p, name.len), name))
		return NULL;
	if (*c == ':') /* as nearly always */
		return c;
	const uint8_t *end = p + (len < HTTP1_NAME_BYTES ? len : HTTP1_NAME_BYTES);
	while (c < end && http1_is_ws(*c))
		c++;
	return c < end && *c == ':' ? c : NULL;
}

/*
 * May the line in[at..end), whose first byte is `first`, be a field of ours? By that letter's five lowest bits; and of
 * those that begin with a C, as many do, by the L of content-length.
 */
static inline bool http1_may_be_ours(uint8_t first, const uint8_t *in, size_t at, size_t end)
{
	const uint32_t letters = 1u << ('b' & 31) | 1u << ('c' & 31) | 1u << ('f' & 31) | 1u << ('h' & 31) |
				 1u << ('t' & 31) | 1u << ('u' & 31) | 1u << ('x' & 31);
	const size_t l = sizeof("content-") - 1;

	if (!(letters >> (first & 31) & 1))
		return false;
	return (first | 0x20) != 'c' || (at + l < end && (in[at + l] | 0x20) == 'l');
}

/* Without white space and line folds at both ends. */
static struct clv_slice http1_trim(struct clv_slice s)
{
	while (s.len && http1_is_space(s.data[0]))
		s = clv_slice(s.data + 1, s.len - 1);
	while (s.len && http1_is_space(s.data[s.len - 1]))
		s.len--;
	return s;
}

/* The value of the field whose colon is before `from` and whose line ends at `end`. */
static inline struct clv_slice http1_value(const uint8_t *from, const uint8_t *end)
{
	if (end - from > 2 && from[0] == ' ' && from[1] > ' ' && end[-1] == '\r' && end[-2] > ' ')
		return clv_slice(from + 1, (size_t)(end - from) - 2); /* as nearly always */
	return http1_trim(clv_slice(from, (size_t)(end - from)));
}

static inline void http1_first(struct clv_http1_field *f, const uint8_t *p, struct clv_slice value)
{
	if (!f->len && value.len)
		*f = http1_field_at((size_t)(value.data - p), value.len);
}

/* What says where the body ends: no white space may stand before its colon (RFC 9112 section 5.1). */
static void http1_frames(struct http1_head *h, bool coding, const uint8_t *colon, const uint8_t *end)
{
	struct clv_slice value = http1_value(colon + 1, end);

	if (coding)
		http1_transfer_encoding(h, value);
	else
		http1_content_length(h, value);
	if (http1_is_ws(colon[-1]))
		h->facts.flags |= CLV_HTTP1_CONFLICT;
}

/*
 * A field line that may be one of ours, folds included: p[at..end), without its line end. Trace context is only
 * noticed here (trace/context.c knows what it means); a tracestate alone means nothing.
 */
static __attribute__((noinline)) void http1_field(struct http1_head *h, const uint8_t *p, size_t at, size_t end)
{
	struct clv_http1_facts *f = &h->facts;
	const uint8_t *line = p + at, *colon;
	struct clv_http1_field *field = NULL;
	bool context = false;

#define IS(text) (colon = http1_colon(line, end - at, CLV_LIT(text)))
	switch (*line | 0x20) {
	case 'b':
		context = IS("b3");
		break;
	case 'c':
		if (IS("content-length"))
			http1_frames(h, false, colon, p + end);
		return;
	case 'f':
		field = IS("forwarded") ? &f->forwarded : NULL;
		break;
	case 'h':
		field = IS("host") ? &f->host : NULL;
		break;
	case 't':
		if (IS("transfer-encoding"))
			http1_frames(h, true, colon, p + end);
		else
			context = IS("traceparent");
		break;
	case 'u':
		if (IS("user-agent"))
			field = &f->user_agent;
		else if (IS("upgrade"))
			http1_upgrade(f, http1_value(colon + 1, p + end));
		else
			context = IS("uber-trace-id");
		break;
	case 'x':
		if (IS("x-forwarded-for"))
			field = &f->forwarded_for;
		else if (IS("x-forwarded-host"))
			field = &f->forwarded_host;
		else
			context = IS("x-request-id") || IS("x-b3-traceid") || IS("x-b3-spanid") || IS("x-b3-sampled") ||
				  IS("x-b3-flags") || IS("x-amzn-trace-id");
		break;
	default:
		break;
	}
#undef IS
	if (field)
		http1_first(field, p, http1_value(colon + 1, p + end));
	else if (context)
		f->flags |= CLV_HTTP1_CONTEXT;
}

void clv_http1_note_field(struct clv_http1_facts *f, const uint8_t *head, size_t at, size_t end)
{
	struct http1_head h = {.facts = *f};

	if (http1_may_be_ours(head[at], head, at, end))
		http1_field(&h, head, at, end);
	*f = h.facts;
}

/*
 * The LF that ends the next field line, folds included; in.len when it is not there, or not certain yet. *unfolded
 * becomes 0 when there is a fold.
 */
static inline size_t http1_field_end(struct clv_slice in, struct clv_lines *lines, uint8_t *unfolded)
{
	for (;;) {
		size_t lf = clv_lines_next(lines);

		if (lf + 1 >= in.len)
			return in.len;
		if (!http1_is_ws(in.data[lf + 1]))
			return lf;
		*unfolded = 0;
	}
}

/* The start line is whatever else servers take. `lf` ends it. */
static __attribute__((noinline)) enum clv_match http1_other_start_line(enum clv_dir dir, struct clv_slice in, size_t lf,
								       bool first, struct clv_http1_facts *f)
{
	*f = (struct clv_http1_facts){0};
	if (http1_start_line(dir, http1_line(in, 0, lf), f))
		return CLV_MATCH_YES;
	return first ? http1_careless_line(in, lf, f) : CLV_MATCH_NO;
}

/* Field lines from `at` on, and the empty line behind them. */
static __attribute__((noinline)) enum http1_head_result http1_field_lines(struct clv_slice in, size_t at,
									  struct http1_head *h)
{
	struct clv_lines lines = clv_lines(in, at);
	uint8_t first = at < in.len ? in.data[at] : 0; /* of the line that begins at `at` */

	for (;;) {
		int eol = first <= '\r' ? http1_eol(in, at) : 0;
		if (eol) {
			h->len = (uint32_t)(at + (size_t)eol);
			return eol > 0 ? HTTP1_HEAD_DONE : HTTP1_HEAD_PARTIAL;
		}
		size_t lf = clv_lines_next(&lines);
		if (lf + 1 >= in.len)
			return HTTP1_HEAD_PARTIAL;
		uint8_t next = in.data[lf + 1];
		while (http1_is_ws(next)) { /* the line goes on */
			h->facts.unfolded = 0;
			lf = clv_lines_next(&lines);
			if (lf + 1 >= in.len)
				return HTTP1_HEAD_PARTIAL;
			next = in.data[lf + 1];
		}
		if (http1_may_be_ours(first, in.data, at, lf)) /* most are not */
			http1_field(h, in.data, at, lf);
		at = lf + 1;
		first = next;
	}
}

/*
 * Parses what is there of the head that begins at in.data[0]. Facts are those of the complete lines. `first`: the
 * connection's first request, whose line may be a careless one. `place`: of the memo.
 */
static inline __attribute__((always_inline)) enum http1_head_result
http1_head(enum clv_dir dir, struct clv_slice in, bool first, uint8_t *place, struct http1_head *h)
{
	*h = (struct http1_head){0};
	size_t lf = http1_plain_line(dir, in, &h->facts);
	if (!lf) {
		lf = clv_slice_find(in, 0, '\n');
		if (lf == in.len)
			return HTTP1_HEAD_PARTIAL;
		enum clv_match m = http1_other_start_line(dir, in, lf, first, &h->facts);
		h->len = (uint32_t)lf;
		if (m != CLV_MATCH_YES)
			return m == CLV_MATCH_NO ? HTTP1_HEAD_BAD : HTTP1_HEAD_PARTIAL;
	}
	h->started = true;
	if (clv_http1_memo_find(place, in, lf + 1, h))
		return HTTP1_HEAD_DONE;
	h->facts.unfolded = 1;
	enum http1_head_result result = http1_field_lines(in, lf + 1, h);
	if (result == HTTP1_HEAD_DONE)
		clv_http1_memo_learn(place, in, lf + 1, h);
	return result;
}

/* clv_proto.fields: the lines as http1_head() goes through them, names of any length. */
void clv_http1_fields(struct clv_slice head, clv_field_fn fn, void *ctx)
{
	struct clv_lines lines = clv_lines(head, 0);
	size_t lf = clv_lines_next(&lines);
	uint8_t unfolded;

	for (size_t at = lf + 1; at < head.len; at = lf + 1) {
		const uint8_t *line = head.data + at;

		if (*line <= '\r' && http1_eol(head, at))
			return;
		lf = http1_field_end(head, &lines, &unfolded);
		if (lf == head.len)
			return;
		size_t colon = clv_near(clv_slice_head(head, lf + 16), at, ':'); /* so that it may look at sixteen */
		if (colon >= lf)
			continue;
		struct clv_slice name = clv_slice(line, colon - at);
		if (*line <= ' ' || head.data[colon - 1] <= ' ') /* seldom; also where there is no name */
			name = clv_slice_trim(name);
		if (name.len)
			fn(ctx, name, http1_value(head.data + colon + 1, head.data + lf));
	}
}

/*
 * Is the empty line that ends a head there? Looks at each byte once, however small the segments: *scanned is
 * where to go on.
 */
static bool http1_head_ends(struct clv_slice in, uint32_t *scanned)
{
	for (size_t lf = clv_slice_find(in, *scanned, '\n'); lf < in.len; lf = clv_slice_find(in, lf + 1, '\n')) {
		int eol = http1_eol(in, lf + 1);
		if (eol > 0)
			return true;
		*scanned = (uint32_t)lf;
		if (eol < 0 || lf + 1 == in.len)
			return false;
	}
	*scanned = (uint32_t)in.len;
	return false;
}

/* Could a head begin like this? Looks at a bounded prefix only: feed() asks whenever it has to wait. */
static bool http1_plausible(enum clv_dir dir, struct clv_slice in)
{
	if (dir == CLV_TO_CLIENT) {
		struct clv_slice seen = clv_slice_head(in, 7);
		return clv_slice_eq_nocase(seen, clv_slice_head(CLV_LIT("HTTP/1."), seen.len));
	}
	size_t method = http1_token(clv_slice_head(in, HTTP1_METHOD_BYTES + 1), 0);
	return method == in.len ? method <= HTTP1_METHOD_BYTES : method > 0 && http1_is_ws(in.data[method]);
}

/* What a 101 switches to; NULL: nothing that is known here. */
static const struct clv_proto *http1_switches_to(const struct clv_http1_facts *f)
{
	if (f->flags & CLV_HTTP1_WEBSOCKET)
		return clv_proto_find("websocket");
	return f->flags & CLV_HTTP1_H2C ? clv_proto_find("http2") : NULL;
}

/* A 101 is the answer to its request; but one that switches to HTTP/2 is followed by the answer, in there. */
static bool http1_is_answer(const struct clv_http1_facts *f)
{
	return f->status >= 200 || (f->status == 101 && !(f->flags & CLV_HTTP1_H2C && http1_switches_to(f)));
}

/* Tells the sink. Returns the facts of the request that a response answers, or NULL. */
static inline const struct clv_http1_facts *http1_report(struct clv_sink *sink, enum clv_dir dir, struct clv_slice in,
							 size_t at, size_t len, const struct clv_http1_facts *f,
							 uint32_t flags)
{
	bool request = dir == CLV_TO_SERVER;
	/* Every field, or the whole of it is zeroed first, by an instruction that takes long to begin. */
	struct clv_msg msg = {
		.role = request                                  ? CLV_REQUEST
			: f->status < 200 && !http1_is_answer(f) ? CLV_INTERIM
								 : CLV_RESPONSE,
		.flags = flags | (request && f->flags & CLV_HTTP1_CONTEXT ? CLV_MSG_CONTEXT : 0),
		.id = HTTP1_UPGRADED_ID,
		.at = (uint32_t)at,
		.head = clv_slice(in.data + at, len),
		.method = request ? clv_http1_known[f->method] : clv_slice(NULL, 0),
		.facts = f,
		.facts_size = sizeof(*f),
		.raw = clv_slice(NULL, 0),
		.keep = clv_slice(NULL, 0),
	};

	return sink->head(sink, dir, &msg);
}

/* ---- framing ---------------------------------------------------------------------------------------- */

static void http1_reset(struct http1_side *s)
{
	*s = (struct http1_side){.place = s->place};
}

static struct clv_fed http1_fed(enum clv_fed_verdict v, size_t used, uint64_t skip)
{
	return (struct clv_fed){.v = v, .used = (uint32_t)used, .skip = skip};
}

static struct clv_fed http1_bad(struct http1_side *s, size_t used)
{
	http1_reset(s);
	return http1_fed(CLV_FED_BAD, used, 0);
}

/* The message's last byte is the one before `at`, and its side is as it was reset. */
static inline struct clv_fed http1_ended(enum clv_dir dir, size_t at, struct clv_sink *sink)
{
	sink->end(sink, dir, &(struct clv_end){.at = (uint32_t)at});
	return http1_fed(CLV_FED_OK, at, 0);
}

/* The same of one whose side is not. */
static inline struct clv_fed http1_done(struct http1_side *s, enum clv_dir dir, size_t at, struct clv_sink *sink)
{
	http1_reset(s);
	return http1_ended(dir, at, sink);
}

/* The next line's LF, at or after `at`; in.len when it is not there. Looks at each byte once. */
static size_t http1_chunk_line(struct http1_side *s, struct clv_slice in, size_t at)
{
	size_t lf = clv_slice_find(in, at + s->scanned, '\n');

	s->scanned = lf < in.len ? 0 : (uint32_t)(in.len - at);
	return lf;
}

/* 1*HEXDIG, below 2^60, then nothing or extensions, which nobody reads. */
static bool http1_chunk_size(struct clv_slice line, uint64_t *size)
{
	uint64_t v = 0;
	size_t i = 0;

	for (; i < line.len; i++) {
		uint8_t c = clv_ascii_lower(line.data[i]);
		if (!http1_is_digit(c) && (uint8_t)(c - 'a') >= 6)
			break;
		if (v >> 56)
			return false;
		v = v << 4 | (uint64_t)(http1_is_digit(c) ? c - '0' : c - 'a' + 10);
	}
	*size = v;
	struct clv_slice rest = clv_slice_trim(clv_slice_from(line, i));
	return i && (!rest.len || rest.data[0] == ';');
}

static __attribute__((noinline)) struct clv_fed http1_chunks(struct http1_side *s, enum clv_dir dir,
							     struct clv_slice in, size_t at, struct clv_sink *sink)
{
	for (;;) {
		if (s->phase == HTTP1_CHUNK_END && at < in.len && in.data[at] != '\r' && in.data[at] != '\n')
			return http1_bad(s, at);
		size_t lf = http1_chunk_line(s, in, at);
		if ((lf < in.len ? lf : in.len) - at >= HTTP1_CHUNK_LINE_BYTES)
			return http1_bad(s, at + HTTP1_CHUNK_LINE_BYTES);
		if (lf == in.len)
			return http1_fed(CLV_FED_MORE, at, 0);
		struct clv_slice line = http1_line(in, at, lf);
		uint64_t size;
		at = lf + 1;
		switch (s->phase) {
		case HTTP1_CHUNK_SIZE:
			if (!http1_chunk_size(line, &size))
				return http1_bad(s, lf);
			s->phase = size ? HTTP1_CHUNK_END : HTTP1_TRAILER;
			if (size)
				return http1_fed(CLV_FED_OK, at, size);
			break;
		case HTTP1_CHUNK_END:
			if (line.len)
				return http1_bad(s, lf);
			s->phase = HTTP1_CHUNK_SIZE;
			break;
		default:
			if (!line.len)
				return http1_done(s, dir, at, sink);
		}
	}
}

/* The body that the head announces begins at `at`; its side was reset. `no_body`: the exchange allows none, whatever
 * the head says. */
static inline struct clv_fed http1_body(struct http1_side *s, enum clv_dir dir, const struct http1_head *h,
					bool no_body, size_t at, struct clv_sink *sink)
{
	if (no_body || (!h->coded && h->has_length && !h->bad_length && !h->length))
		return http1_ended(dir, at, sink);
	if (h->chunked) {
		s->phase = HTTP1_CHUNK_SIZE;
		return http1_fed(CLV_FED_OK, at, 0);
	}
	if (!h->coded && h->has_length && !h->bad_length) {
		s->phase = HTTP1_BODY;
		return http1_fed(CLV_FED_OK, at, h->length);
	}
	if (dir == CLV_TO_CLIENT) {
		s->phase = HTTP1_UNTIL_CLOSE;
		return http1_fed(CLV_FED_OK, at, CLV_SKIP_TO_FIN);
	}
	/* A request whose length contradicts itself has no end that anyone knows; one that says nothing has no body. */
	if (h->coded || h->has_length) {
		struct clv_fed fed = http1_bad(s, at);
		memcpy(s->behind, "\n\r\n", sizeof(s->behind)); /* resync() may find the next one at once */
		return fed;
	}
	return http1_ended(dir, at, sink);
}

/* RFC 9112 section 6.1 and 6.3: what must not stand beside Transfer-Encoding, and where it must not stand. */
static void http1_flag_conflicts(struct http1_head *h)
{
	if (h->coded && (h->has_length || h->facts.minor == 0 || !h->chunked))
		h->facts.flags |= CLV_HTTP1_CONFLICT;
}

static struct clv_fed http1_request(struct http1_state *st, struct http1_head *h, struct clv_slice in, size_t at,
				    struct clv_sink *sink)
{
	const struct clv_http1_facts *f = &h->facts;

	http1_report(sink, CLV_TO_SERVER, in, at, h->len, f, 0);
	st->fresh = false;
	if (f->flags & (CLV_HTTP1_CONNECT | CLV_HTTP1_UPGRADE))
		st->switching = true;
	return http1_body(&st->side[CLV_TO_SERVER], CLV_TO_SERVER, h, f->flags & CLV_HTTP1_CONNECT, at + h->len, sink);
}

static struct clv_fed http1_response(struct http1_state *st, struct http1_head *h, struct clv_slice in, size_t at,
				     struct clv_sink *sink)
{
	struct http1_side *s = &st->side[CLV_TO_CLIENT];
	uint16_t status = h->facts.status;
	const struct clv_http1_facts *request = http1_report(sink, CLV_TO_CLIENT, in, at, h->len, &h->facts, 0);
	uint8_t asked = request ? request->flags : 0;

	const struct clv_proto *next = status == 101 ? http1_switches_to(&h->facts) : NULL;

	if (next) {
		http1_reset(s);
		return (struct clv_fed){.v = CLV_FED_SWITCH, .used = (uint32_t)(at + h->len), .next = next};
	}
	if (status == 101 || (status / 100 == 2 && asked & CLV_HTTP1_CONNECT)) {
		struct clv_fed fed = http1_done(s, CLV_TO_CLIENT, at + h->len, sink);
		fed.v = CLV_FED_OPAQUE;
		return fed;
	}
	/* A final answer that does not switch: the connection stays HTTP. */
	if (status >= 200 && (!request || asked & (CLV_HTTP1_CONNECT | CLV_HTTP1_UPGRADE)))
		st->switching = false;
	bool no_body = status < 200 || status == 204 || status == 304 || asked & CLV_HTTP1_HEAD;
	return http1_body(s, CLV_TO_CLIENT, h, no_body, at + h->len, sink);
}

/* Is it worth parsing? Looks at each byte once, however small the segments. */
static bool http1_head_ready(struct http1_side *s, struct clv_slice in)
{
	if (s->phase == HTTP1_FIELDS)
		return http1_head_ends(in, &s->scanned);
	if (s->scanned && clv_slice_find(in, s->scanned, '\n') == in.len) {
		s->scanned = (uint32_t)in.len;
		return false;
	}
	return true;
}

/* The head is not complete in in.data[0..], and there is room for more of it. */
static void http1_head_wait(struct http1_side *s, struct clv_slice in, bool started)
{
	s->scanned = started ? 0 : (uint32_t)in.len;
	s->phase = started ? HTTP1_FIELDS : HTTP1_START;
	if (started)
		http1_head_ends(in, &s->scanned);
}

/*
 * What is not the usual case: part of the head has come before, or empty lines precede it. *at: where the head begins.
 * False: it is not to be parsed yet, or never, as *fed says.
 */
static __attribute__((noinline)) bool http1_start_late(struct http1_side *s, enum clv_dir dir, struct clv_slice in,
						       size_t *at, struct clv_fed *fed)
{
	*at = http1_empty_lines(in);
	struct clv_slice rest = clv_slice_head(clv_slice_from(in, *at), CLV_HEAD_BYTES);

	*fed = http1_fed(CLV_FED_MORE, *at, 0);
	if (!rest.len || (rest.len == 1 && rest.data[0] == '\r'))
		return false;
	if (http1_head_ready(s, rest) || rest.len == CLV_HEAD_BYTES)
		return true;
	if (!http1_plausible(dir, rest))
		*fed = http1_bad(s, *at);
	return false;
}

/* The head at `at` could not be parsed, or only its first lines. */
static __attribute__((noinline)) struct clv_fed http1_start_failed(struct http1_side *s, enum clv_dir dir,
								   struct clv_slice in, size_t at,
								   enum http1_head_result result,
								   const struct http1_head *h, struct clv_sink *sink)
{
	struct clv_slice rest = clv_slice_head(clv_slice_from(in, at), CLV_HEAD_BYTES);

	if (result == HTTP1_HEAD_BAD) /* its LF stays, so that resync() sees a line begin */
		return http1_bad(s, at + h->len);
	if (rest.len == CLV_HEAD_BYTES) {
		if (h->started)
			http1_report(sink, dir, in, at, rest.len, &h->facts, CLV_MSG_TRUNCATED);
		return http1_bad(s, at + rest.len);
	}
	if (!http1_plausible(dir, rest))
		return http1_bad(s, at);
	http1_head_wait(s, rest, h->started);
	return http1_fed(CLV_FED_MORE, at, 0);
}

/* Empty lines, then a head. Mostly it is there as a whole, and one pass does. */
static __attribute__((noinline)) struct clv_fed http1_start(struct http1_state *st, enum clv_dir dir,
							    struct clv_slice in, struct clv_sink *sink)
{
	struct http1_side *s = &st->side[dir];
	bool usual = s->phase == HTTP1_START && !s->scanned && in.len && in.data[0] > '\r';
	size_t at = 0;
	struct clv_fed fed;
	struct http1_head h;

	if (!usual && !http1_start_late(s, dir, in, &at, &fed))
		return fed;
	struct clv_slice rest = clv_slice_head(clv_slice(in.data + at, in.len - at), CLV_HEAD_BYTES);
	enum http1_head_result result = http1_head(dir, rest, st->fresh && dir == CLV_TO_SERVER, &s->place, &h);
	if (result != HTTP1_HEAD_DONE)
		return http1_start_failed(s, dir, in, at, result, &h, sink);
	http1_reset(s);
	http1_flag_conflicts(&h);
	return dir == CLV_TO_SERVER ? http1_request(st, &h, in, at, sink) : http1_response(st, &h, in, at, sink);
}

/*
 * Between messages: may the next head be read? Behind an offer to switch only when the answer has refused it; and
 * then requests first, so that the responses to them find them.
 */
static inline bool http1_may_start(struct http1_state *st, enum clv_dir dir, size_t waiting)
{
	if (dir == CLV_TO_CLIENT)
		return st->switching || !st->held;
	st->held = st->switching && waiting;
	return !st->switching;
}

/* A body is over, of which nothing was read, and nothing follows yet. */
static inline struct clv_fed http1_skipped_all(struct http1_state *st, enum clv_dir dir, struct clv_sink *sink)
{
	http1_done(&st->side[dir], dir, 0, sink);
	http1_may_start(st, dir, 0);
	return http1_fed(CLV_FED_MORE, 0, 0);
}

/* The same where more may follow. */
static __attribute__((noinline)) struct clv_fed http1_skipped(struct http1_state *st, enum clv_dir dir,
							      struct clv_slice in, struct clv_sink *sink)
{
	http1_done(&st->side[dir], dir, 0, sink);
	if (!http1_may_start(st, dir, in.len))
		return http1_fed(CLV_FED_MORE, 0, 0);
	return http1_start(st, dir, in, sink);
}

static struct clv_fed http1_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct http1_state *st = state;

	switch (st->side[dir].phase) {
	case HTTP1_START:
		if (!http1_may_start(st, dir, in.len))
			return http1_fed(CLV_FED_MORE, 0, 0);
		return http1_start(st, dir, in, sink);
	case HTTP1_FIELDS:
		return http1_start(st, dir, in, sink);
	case HTTP1_BODY:
		return in.len ? http1_skipped(st, dir, in, sink) : http1_skipped_all(st, dir, sink);
	case HTTP1_UNTIL_CLOSE:
		return http1_fed(CLV_FED_OK, 0, CLV_SKIP_TO_FIN);
	default:
		return http1_chunks(&st->side[dir], dir, in, 0, sink);
	}
}

static void http1_open(void *state, const struct clv_conn_info *conn)
{
	((struct http1_state *)state)->fresh = !conn->midstream;
}

/* A head that was cut, but not before its start line ended, still says what was asked or answered. */
static void http1_report_cut(struct http1_side *s, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	size_t at = http1_empty_lines(rest);
	struct clv_slice in = clv_slice_head(clv_slice_from(rest, at), CLV_HEAD_BYTES);
	struct http1_head h;

	if (in.len && http1_head(dir, in, false, &s->place, &h) == HTTP1_HEAD_PARTIAL && h.started)
		http1_report(sink, dir, rest, at, in.len, &h.facts, CLV_MSG_TRUNCATED);
}

/* The direction's unconsumed bytes are of no use any more. */
static void http1_abandon(struct http1_state *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	if (st->side[dir].phase <= HTTP1_FIELDS && !(dir == CLV_TO_SERVER && st->switching))
		http1_report_cut(&st->side[dir], dir, rest, sink);
	http1_reset(&st->side[dir]);
	if (dir == CLV_TO_SERVER)
		st->held = false;
}

static void http1_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct http1_state *st = state;

	if (lost || rest.len) /* otherwise feed() said BAD, and knows what it left behind */
		http1_abandon(st, dir, rest, sink);
	/* The answer to an upgrade may have been in there: HTTP unless the bytes say otherwise. */
	st->switching = false;
	st->fresh = false;
}

static void http1_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	struct http1_state *st = state;
	struct http1_side *s = &st->side[dir];

	/* Behind the last chunk some leave out the empty line, and browsers do not mind. */
	if (s->phase == HTTP1_UNTIL_CLOSE || (s->phase == HTTP1_TRAILER && !rest.len))
		http1_done(s, dir, 0, sink);
	http1_abandon(st, dir, rest, sink);
}

/* ---- finding messages -------------------------------------------------------------------------------- */

/* Could a status line begin like this? */
static enum clv_match http1_probe_status(struct clv_slice in)
{
	static const char shape[] = "HTTP/1.# ###";
	size_t n = in.len < 12 ? in.len : 12;

	for (size_t i = 0; i < n; i++)
		if (shape[i] == '#' ? !http1_is_digit(in.data[i]) : in.data[i] != (uint8_t)shape[i])
			return CLV_MATCH_NO;
	if (in.len <= 12)
		return CLV_MATCH_MAYBE;
	uint8_t c = in.data[12];
	return http1_is_ws(c) || c == '\r' || c == '\n' ? CLV_MATCH_YES : CLV_MATCH_NO;
}

static bool http1_has_control(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < 0x20 || s.data[i] == 0x7f)
			return true;
	return false;
}

/* Does nothing but a version follow the first blank behind the target? */
static bool http1_target_is_one(struct clv_slice target)
{
	struct clv_slice version = clv_slice_head(clv_slice_from(target, clv_slice_find(target, 0, ' ') + 1), 7);

	return clv_slice_starts(CLV_LIT("HTTP/1."), version);
}

/* How much a request line may look like, by where it stands. */
enum http1_trust {
	HTTP1_KNOWN, /* anywhere: known methods only */
	HTTP1_ANY,   /* where a message may well begin: any method; blanks in the target of known ones */
	HTTP1_FIRST, /* a connection's first bytes: careless lines, too */
};

/* Is it a plain request line, which is good anywhere? */
static bool http1_probe_plain(struct clv_slice in)
{
	struct clv_http1_facts f = {0};
	size_t lf = http1_plain_line(CLV_TO_SERVER, in, &f);

	return lf && !memchr(in.data, 0x7f, lf);
}

/* Could a request line begin like this? */
static enum clv_match http1_probe_request(struct clv_slice in, enum http1_trust trust)
{
	bool any = trust != HTTP1_KNOWN;

	if (http1_probe_plain(in))
		return CLV_MATCH_YES;
	size_t method = http1_token(clv_slice_head(in, HTTP1_METHOD_BYTES + 1), 0);
	bool whole = method < in.len;
	enum clv_match known = http1_method_match(clv_slice(in.data, method), whole);

	if (method > HTTP1_METHOD_BYTES || (known == CLV_MATCH_NO && !any))
		return CLV_MATCH_NO;
	if (!whole)
		return CLV_MATCH_MAYBE;
	if (!method || in.data[method] != ' ')
		return CLV_MATCH_NO;
	if (known == CLV_MATCH_NO && trust != HTTP1_FIRST && http1_method_mangled(clv_slice_head(in, method)))
		return CLV_MATCH_NO;

	size_t lf = clv_slice_find(in, method, '\n');
	struct clv_slice line = lf < in.len ? http1_line(in, 0, lf) : in;
	struct clv_slice target = clv_slice_from(line, method + 1);
	/* A CR at the end of the slice may be half of a line end. */
	if (lf == in.len && target.len && target.data[target.len - 1] == '\r')
		target.len--;
	if (http1_has_control(clv_slice_head(target, CLV_DETECT_BYTES)))
		return CLV_MATCH_NO;
	if (!(known == CLV_MATCH_YES && any) && !http1_target_is_one(target))
		return CLV_MATCH_NO;
	if (lf < in.len) {
		struct clv_http1_facts f = {0};
		if (http1_request_line(line, &f))
			return CLV_MATCH_YES;
		return trust == HTTP1_FIRST ? http1_careless_line(in, lf, &f) : CLV_MATCH_NO;
	}
	if (known == CLV_MATCH_YES && target.len >= HTTP1_SURE_BYTES && target.data[0] == '/')
		return CLV_MATCH_YES;
	return in.len < CLV_DETECT_BYTES ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
}

static enum clv_match http1_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	if (where == CLV_WHERE_DATAGRAM)
		return CLV_MATCH_NO;
	in = clv_slice_from(in, http1_empty_lines(in));
	if (!in.len || (in.len == 1 && in.data[0] == '\r'))
		return CLV_MATCH_MAYBE;
	if (dir == CLV_TO_CLIENT)
		return http1_probe_status(in);
	return http1_probe_request(in, where == CLV_WHERE_START ? HTTP1_FIRST : HTTP1_ANY);
}

/*
 * Does a message begin at `at`, for one who does not know what was before? There a method must be one of
 * http1_methods[]: a word at the end of a body would otherwise grow into the next request's method.
 * `sure`: a packet begins here; a status line elsewhere may be quoted, unless a field line follows.
 */
static enum clv_match http1_begins(enum clv_dir dir, struct clv_slice in, size_t at, bool sure)
{
	struct clv_slice s = clv_slice_from(in, at);
	struct clv_http1_facts f = {0};

	if (!s.len)
		return CLV_MATCH_NO;
	if ((dir == CLV_TO_SERVER ? http1_probe_request(s, HTTP1_KNOWN) : http1_probe_status(s)) == CLV_MATCH_NO)
		return CLV_MATCH_NO;
	size_t lf = clv_slice_find(clv_slice_head(s, HTTP1_RESYNC_LINE_BYTES), 0, '\n');
	if (lf == HTTP1_RESYNC_LINE_BYTES)
		return CLV_MATCH_NO;
	if (lf == s.len)
		return CLV_MATCH_MAYBE;
	if (!http1_start_line(dir, http1_line(s, 0, lf), &f))
		return CLV_MATCH_NO;
	return sure || dir == CLV_TO_SERVER ? CLV_MATCH_YES : http1_probe_field(s, lf + 1);
}

/* The byte `back` (1..3) before offset `at`, which may lie before the slice; 0: not known. */
static uint8_t http1_before(const struct http1_side *s, struct clv_slice in, size_t at, size_t back)
{
	return at >= back ? in.data[at - back] : s->behind[3 - (back - at)];
}

/* Does a line begin at `at`; behind an empty line, if `blank`? */
static bool http1_line_begins(const struct http1_side *s, struct clv_slice in, size_t at, bool blank)
{
	if (http1_before(s, in, at, 1) != '\n')
		return false;
	if (!blank)
		return true;
	uint8_t c = http1_before(s, in, at, 2);
	return c == '\n' || (c == '\r' && http1_before(s, in, at, 3) == '\n');
}

static ptrdiff_t http1_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct http1_side *s = &((struct http1_state *)state)->side[dir];
	bool sure = at_packet || s->candidate;
	size_t seam = s->scanned; /* behind what was kept: mostly a packet's first byte, too */
	size_t first = sure ? http1_empty_lines(in) : 0, kept = 0;

	s->candidate = false;
	for (size_t at = first, next; at < in.len; at = next) {
		bool here = sure && at == first;
		if (here || (seam && at == seam) || http1_line_begins(s, in, at, dir == CLV_TO_SERVER)) {
			enum clv_match match = http1_begins(dir, in, at, here);
			if (match == CLV_MATCH_YES) {
				http1_reset(s);
				return (ptrdiff_t)at;
			}
			if (match == CLV_MATCH_MAYBE) {
				s->candidate = here;
				kept = in.len - at;
				break;
			}
		}
		next = clv_slice_find(in, at, '\n') + 1;
		if (at < seam && seam < next)
			next = seam;
	}
	size_t gone = in.len - kept;
	uint8_t behind[3] = {http1_before(s, in, gone, 3), http1_before(s, in, gone, 2), http1_before(s, in, gone, 1)};
	memcpy(s->behind, behind, sizeof(behind));
	s->scanned = (uint32_t)kept;
	return -1 - (ptrdiff_t)kept;
}

const struct clv_proto clv_http1 = {
	.name = "http",
	.ports = {80, 8080, 8000, 8081, 8888, 3000, 5000},
	.state_size = sizeof(struct http1_state),
	.probe = http1_probe,
	.open = http1_open,
	.feed = http1_feed,
	.gap = http1_gap,
	.resync = http1_resync,
	.fin = http1_fin,
	.fields = clv_http1_fields,
	.describe = clv_http1_describe,
};
