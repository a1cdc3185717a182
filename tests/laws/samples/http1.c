/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in HTTP/1: every framing of RFC 9112 section 6, in any order on one connection. The exchange's number
 * is in the target ("/x/NUMBER"), and the status and body sizes follow from it, so that a request paired with
 * another's response is seen at once.
 */
#include "../talk.h"

#include "model/span.h"
#include "proto/http1.h"

enum http1_kind {
	KIND_PLAIN,     /* Content-Length, maybe 0 */
	KIND_CHUNKED,   /* extensions, trailers */
	KIND_HEAD,      /* a length that does not count */
	KIND_EMPTY,     /* 204, 304 */
	KIND_CONTINUE,  /* 100, then the final one */
	KIND_EARLY,     /* answered before its body is sent */
	KIND_CONFLICT,  /* Content-Length beside Transfer-Encoding; repeated lengths */
	KIND_BIG_HEAD,  /* tens of KiB */
	KIND_OFFER,     /* Upgrade, ignored */
	KIND_REFUSED,   /* CONNECT, refused */
	KIND_BARE,      /* LF alone, folds, odd spacing, lower case */
	KIND_CLOSE,     /* last: body until the connection closes */
	KIND_TUNNEL,    /* last: CONNECT, 200, then anything */
	KIND_WEBSOCKET, /* last: Upgrade, 101, then anything */
	KIND_LASTS = KIND_CLOSE,
	KIND_COUNT = KIND_WEBSOCKET + 1,
};

struct http1_exchange {
	enum http1_kind kind;
	int id, request;
	int status;
	uint32_t request_body, response_body; /* as framed */
	const char *method;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
	uint64_t x = a * 1000003u + b;

	return talk_random(&x);
}

static uint64_t hash(const void *data, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
	return h;
}

static uint64_t request_tag(struct clv_slice method, struct clv_slice target)
{
	return mix(hash(method.data, method.len), hash(target.data, target.len));
}

static uint64_t http1_tag(const struct clv_msg *msg)
{
	const struct clv_http1_facts *f = msg->facts;

	if (msg->role == CLV_REQUEST)
		return request_tag(clv_slice_head(msg->head, f->method_len),
				   clv_slice_sub(msg->head, f->target.at, f->target.len));
	return f->status;
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void put_header_lines(struct talk *t, enum clv_dir dir, const char *eol)
{
	unsigned n = talk_below(&t->rng, 5);

	for (unsigned i = 0; i < n; i++)
		talk_printf(t, dir, "X-Header-%u: some value, %u%s", i, talk_below(&t->rng, 1000), eol);
}

static void put_chunks(struct talk *t, enum clv_dir dir, uint32_t len)
{
	while (len) {
		uint32_t n = 1 + talk_below(&t->rng, len < 3000 ? len : 3000);
		talk_printf(t, dir, talk_chance(&t->rng, 50) ? "%x" : "00%X", n);
		talk_printf(t, dir, "%s\r\n", talk_chance(&t->rng, 30) ? " ;name=\"a value\";b" : "");
		talk_fill(t, dir, n);
		talk_printf(t, dir, "%s", talk_chance(&t->rng, 90) ? "\r\n" : "\n");
		len -= n;
	}
	talk_printf(t, dir, "0%s\r\n", talk_chance(&t->rng, 20) ? ";last" : "");
	if (talk_chance(&t->rng, 40))
		talk_printf(t, dir, "X-Trailer: 1\r\nETag: \"x\"\r\n");
	talk_printf(t, dir, "\r\n");
}

static bool chunked_request(const struct http1_exchange *x)
{
	return x->kind == KIND_CHUNKED && x->request_body;
}

static void put_request_head(struct talk *t, struct http1_exchange *x)
{
	const char *eol = x->kind == KIND_BARE ? "\n" : "\r\n";
	char target[96];

	if (talk_chance(&t->rng, 10))
		talk_printf(t, CLV_TO_SERVER, "\r\n");
	x->request = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, x->id, -1);
	if (x->kind == KIND_TUNNEL || x->kind == KIND_REFUSED)
		snprintf(target, sizeof(target), "x%d.example:443", x->id);
	else if (talk_chance(&t->rng, 20))
		snprintf(target, sizeof(target), "http://example.com/x/%d", x->id);
	else
		snprintf(target, sizeof(target), "/x/%d%s", x->id, talk_chance(&t->rng, 30) ? "?q=1&sig=s%20" : "");
	t->message[x->request].tag = request_tag(clv_slice_str(x->method), clv_slice_str(target));
	talk_printf(t, CLV_TO_SERVER, "%s %s HTTP/1.1%s", x->method, target, eol);
	talk_printf(t, CLV_TO_SERVER, "Host: example.com%sUser-Agent: sample/1.0%s", eol, eol);
	if (x->kind == KIND_BARE)
		talk_printf(t, CLV_TO_SERVER, "X-Folded: one\n two\n\tthree\nx-odd:value  \n");
	put_header_lines(t, CLV_TO_SERVER, eol);
	if (x->kind == KIND_BIG_HEAD)
		for (int i = 0; i < 600; i++)
			talk_printf(t, CLV_TO_SERVER, "Cookie: a=%060d\r\n", i);
	if (x->kind == KIND_OFFER || x->kind == KIND_WEBSOCKET)
		talk_printf(t, CLV_TO_SERVER, "Connection: Upgrade\r\nUpgrade: websocket\r\n");
	if (x->kind == KIND_CONTINUE)
		talk_printf(t, CLV_TO_SERVER, "Expect: 100-continue\r\n");
	if (chunked_request(x))
		talk_printf(t, CLV_TO_SERVER, "Transfer-Encoding: chunked\r\n");
	else if (x->request_body)
		talk_printf(t, CLV_TO_SERVER, "Content-Length: %u%s", x->request_body, eol);
	talk_printf(t, CLV_TO_SERVER, "%s", eol);
	talk_head_ends(t, x->request);
}

static void put_request_body(struct talk *t, const struct http1_exchange *x)
{
	if (chunked_request(x))
		put_chunks(t, CLV_TO_SERVER, x->request_body);
	else
		talk_fill(t, CLV_TO_SERVER, x->request_body);
	t->message[x->request].body_bytes = x->request_body;
	talk_ends(t, x->request);
}

/* ---- responses ----------------------------------------------------------------------------------------- */

static void put_interim(struct talk *t, const struct http1_exchange *x)
{
	int m = talk_begin(t, CLV_TO_CLIENT, CLV_INTERIM, x->id, x->request);

	t->message[m].tag = 100;
	talk_printf(t, CLV_TO_CLIENT, "HTTP/1.1 100 Continue\r\n\r\n");
	talk_head_ends(t, m);
	talk_ends(t, m);
}

static void put_length(struct talk *t, const struct http1_exchange *x)
{
	switch (x->kind) {
	case KIND_CHUNKED:
		talk_printf(t, CLV_TO_CLIENT, "Transfer-Encoding: %s\r\n",
			    talk_chance(&t->rng, 50) ? "chunked" : "gzip, Chunked");
		break;
	case KIND_CONFLICT:
		if (x->id % 2)
			talk_printf(t, CLV_TO_CLIENT, "Content-Length: 7\r\nTransfer-Encoding: chunked\r\n");
		else
			talk_printf(t, CLV_TO_CLIENT, "Content-Length: %u\r\nContent-Length: %u, %u\r\n",
				    x->response_body, x->response_body, x->response_body);
		break;
	case KIND_HEAD:
		talk_printf(t, CLV_TO_CLIENT, "Content-Length: %u\r\n", 100 + x->id);
		break;
	case KIND_EMPTY:
		if (x->id % 2)
			talk_printf(t, CLV_TO_CLIENT, "Content-Length: 44\r\n");
		break;
	case KIND_CLOSE:
	case KIND_TUNNEL:
	case KIND_WEBSOCKET:
		break;
	case KIND_BARE:
		talk_printf(t, CLV_TO_CLIENT, "content-length:%u\n", x->response_body);
		break;
	default:
		talk_printf(t, CLV_TO_CLIENT, "Content-Length: %u\r\n", x->response_body);
	}
}

static void put_response(struct talk *t, const struct http1_exchange *x)
{
	const char *eol = x->kind == KIND_BARE ? "\n" : "\r\n";
	int m = talk_begin(t, CLV_TO_CLIENT, CLV_RESPONSE, x->id, x->request);
	uint32_t body = x->response_body;

	t->message[m].tag = (uint64_t)x->status;
	talk_printf(t, CLV_TO_CLIENT, "HTTP/1.1 %d%s%sX-Id: %d%s", x->status,
		    talk_chance(&t->rng, 80) ? " Some Reason" : "", eol, x->id, eol);
	put_header_lines(t, CLV_TO_CLIENT, eol);
	if (x->kind == KIND_BIG_HEAD)
		for (int i = 0; i < 500; i++)
			talk_printf(t, CLV_TO_CLIENT, "Set-Cookie: a=%060d\r\n", i);
	put_length(t, x);
	talk_printf(t, CLV_TO_CLIENT, "%s", eol);
	talk_head_ends(t, m);
	if (x->kind == KIND_CHUNKED || (x->kind == KIND_CONFLICT && x->id % 2))
		put_chunks(t, CLV_TO_CLIENT, body);
	else
		talk_fill(t, CLV_TO_CLIENT, body);
	t->message[m].body_bytes = body;
	talk_ends(t, m);
}

/* ---- a whole talk -------------------------------------------------------------------------------------- */

static struct http1_exchange draw(struct talk *t, int id, enum http1_kind kind)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"};
	static const int classes[] = {210, 310, 410, 510};
	struct http1_exchange x = {.kind = kind, .id = id};

	x.method = methods[talk_below(&t->rng, 7)];
	x.status = classes[talk_below(&t->rng, 4)] + id % 80;
	if (talk_chance(&t->rng, 40))
		x.request_body = 1 + talk_below(&t->rng, talk_chance(&t->rng, 5) ? 60000 : 2000);
	/* A size of its own for each exchange: a wrong pair shows. */
	x.response_body = talk_chance(&t->rng, 15) ? 0 : 1000u * talk_below(&t->rng, 6) + (uint32_t)id + 1;
	switch (kind) {
	case KIND_HEAD:
		x.method = "HEAD";
		x.request_body = x.response_body = 0;
		break;
	case KIND_EMPTY:
		x.status = id % 2 ? 304 : 204;
		x.response_body = 0;
		break;
	case KIND_CONTINUE:
	case KIND_EARLY:
		x.method = "POST";
		x.request_body = 500 + talk_below(&t->rng, 3000);
		break;
	case KIND_REFUSED:
		x.method = "CONNECT";
		x.status = 410 + id % 80;
		x.request_body = 0;
		break;
	case KIND_TUNNEL:
		x.method = "CONNECT";
		x.status = 200;
		x.request_body = x.response_body = 0;
		break;
	case KIND_WEBSOCKET:
		x.method = "GET";
		x.status = 101;
		x.request_body = x.response_body = 0;
		break;
	default:
		break;
	}
	return x;
}

/* One exchange by itself, in as many turns as its kind takes. */
static void exchange(struct talk *t, struct http1_exchange *x)
{
	put_request_head(t, x);
	if (x->kind == KIND_CONTINUE || x->kind == KIND_EARLY || talk_chance(&t->rng, 30))
		talk_flush(t, CLV_TO_SERVER);
	if (x->kind == KIND_CONTINUE) {
		put_interim(t, x);
		talk_flush(t, CLV_TO_CLIENT);
	}
	if (x->kind == KIND_EARLY) {
		put_response(t, x);
		talk_flush(t, CLV_TO_CLIENT);
		put_request_body(t, x);
		talk_flush(t, CLV_TO_SERVER);
		return;
	}
	put_request_body(t, x);
	talk_flush(t, CLV_TO_SERVER);
	put_response(t, x);
	talk_flush(t, CLV_TO_CLIENT);
}

/* Several requests in one write, several responses in one or more. */
static void pipeline(struct talk *t, int first, int count)
{
	struct http1_exchange x[8];

	for (int i = 0; i < count; i++) {
		x[i] = draw(t, first + i, (enum http1_kind)talk_below(&t->rng, KIND_EMPTY + 1));
		if (i == 0 && talk_chance(&t->rng, 20))
			x[i] = draw(t, first, KIND_OFFER);
		put_request_head(t, &x[i]);
		put_request_body(t, &x[i]);
	}
	talk_flush(t, CLV_TO_SERVER);
	for (int i = 0; i < count; i++) {
		put_response(t, &x[i]);
		if (talk_chance(&t->rng, 40))
			talk_flush(t, CLV_TO_CLIENT);
	}
	talk_flush(t, CLV_TO_CLIENT);
}

static void last(struct talk *t, int id)
{
	struct http1_exchange x =
		draw(t, id, KIND_LASTS + (enum http1_kind)talk_below(&t->rng, KIND_COUNT - KIND_LASTS));

	exchange(t, &x);
	if (x.kind == KIND_CLOSE) {
		t->fin[CLV_TO_CLIENT] = true;
		return;
	}
	for (int d = 0; d < 2; d++) {
		t->opaque_at[d] = t->len[d];
		talk_fill(t, (enum clv_dir)d, 200 + talk_below(&t->rng, 3000));
		talk_flush(t, (enum clv_dir)d);
	}
}

static void http1_make(struct talk *t)
{
	int id = (int)talk_below(&t->rng, 100), end = id + 3 + (int)talk_below(&t->rng, 30);

	while (id < end) {
		if (talk_chance(&t->rng, 25)) {
			int count = 2 + (int)talk_below(&t->rng, 7);
			pipeline(t, id, count);
			id += count;
			continue;
		}
		enum http1_kind kind = (enum http1_kind)talk_below(&t->rng, KIND_LASTS);
		if (kind == KIND_BIG_HEAD && !talk_chance(&t->rng, 20))
			kind = KIND_PLAIN;
		struct http1_exchange x = draw(t, id++, kind);
		exchange(t, &x);
	}
	if (talk_chance(&t->rng, 50))
		last(t, id);
}

/* ---- spans --------------------------------------------------------------------------------------------- */

static int64_t attr_int(const struct clv_span *s, enum clv_attr_key key, int64_t otherwise)
{
	const struct clv_attr *a = clv_span_get(s, key);

	return a ? a->i : otherwise;
}

/* The number in "/x/NUMBER" or "xNUMBER.example:443". */
static int span_id(const struct clv_span *s)
{
	const uint8_t *p = memmem(s->target.data, s->target.len, "/x/", 3);
	int id = 0;

	if (p)
		p += 3;
	else if (s->target.len && s->target.data[0] == 'x')
		p = s->target.data + 1;
	else
		return -1;
	for (; p < s->target.data + s->target.len && *p >= '0' && *p <= '9'; p++)
		id = id * 10 + *p - '0';
	return id;
}

/* A size is told, unless the span says that something is missing. */
static bool size_is_true(const struct clv_span *s, enum clv_attr_key key, uint32_t bytes)
{
	bool lacks = s->flags & (CLV_SPAN_GAP | CLV_SPAN_UNPAIRED | CLV_SPAN_TRUNCATED | CLV_SPAN_MIDSTREAM) ||
		     clv_span_get(s, CLV_ATTR_ERROR_TYPE);

	return attr_int(s, key, lacks ? (int64_t)bytes : -1) == bytes;
}

static int http1_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	int id = span_id(span), index = -1;

	*ok = false;
	for (unsigned i = 0; i < t->messages && index < 0; i++)
		if (t->message[i].role == CLV_REQUEST && t->message[i].id == id)
			index = (int)i;
	if (index < 0)
		return -1;
	const struct talk_message *request = &t->message[index];
	struct clv_slice head = clv_slice(t->bytes[CLV_TO_SERVER] + request->start, request->head_len);
	*ok = clv_slice_eq(span->method, clv_slice_head(head, clv_slice_find(head, 0, ' ')));
	*ok &= size_is_true(span, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, request->body_bytes);
	int64_t status = attr_int(span, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, 0);
	if (!status)
		return index;
	if (request->answer < 0) {
		*ok = false;
		return index;
	}
	const struct talk_message *response = &t->message[request->answer];
	*ok &= status == (int64_t)response->tag;
	*ok &= size_is_true(span, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, response->body_bytes);
	return index;
}

const struct talk_sample talk_http1 = {
	.proto = "http",
	.make = http1_make,
	.tag = http1_tag,
	.check = http1_check,
};
