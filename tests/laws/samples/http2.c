/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in HTTP/2: streams side by side, every frame, header tables that fill up, shrink and are used again, gRPC. An
 * exchange's number is in its path ("/x/NUMBER") or in its authority ("xNUMBER.example"), never in the table; all else
 * of a head may be. What is true of it stands in truth[].
 */
#include "../talk.h"

#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#include "model/span.h"
#include "proto/http2.h"

#define EXCHANGES 40
/* Open at once. */
#define OPEN 12

enum h2_kind {
	H2_PLAIN,
	H2_GRPC,
	H2_GRPC_BARE, /* trailers only */
	H2_GRPC_WEB,  /* trailers in the body */
	H2_PUSHED,    /* the server asked itself */
	H2_CANCELLED, /* by the client, before an answer */
	H2_CROSSED,   /* likewise, but an answer was on its way */
	H2_GIVEN_UP,  /* by the client, in the middle of the answer */
	H2_FAILED,    /* by the server */
	H2_EARLY,     /* answered, and the rest of the request is not wanted */
	H2_REFUSED,   /* by GOAWAY */
	H2_DRAWN = H2_EARLY + 1,
};

struct h2_exchange {
	enum h2_kind kind;
	uint32_t stream;
	int request, response; /* messages; -1: not begun */
	bool in_path;          /* where its number is */
	char path[48], authority[48];
	const char *method;
	int status, grpc_status;
	uint32_t left[2]; /* of the bodies */
	unsigned messages[2];
	bool trailers, interim, open[2];
	uint32_t head_end; /* of the request */
};

static struct h2_exchange truth[EXCHANGES];
static unsigned exchanges;

/* ---- header tables ------------------------------------------------------------------------------------- */

struct h2_entry {
	char name[32], value[80];
};

/* One direction's encoder: libnghttp2's, or one that inserts what it can and forgets soon. */
struct h2_encoder {
	nghttp2_hd_deflater *theirs;
	struct h2_entry entry[160]; /* newest first */
	unsigned count, bytes, size;
	uint8_t out[65536];
	size_t len;
};

static struct h2_encoder encoder[2];

static void enc_byte(struct h2_encoder *e, unsigned b)
{
	e->out[e->len++] = (uint8_t)b;
}

static void enc_int(struct h2_encoder *e, unsigned high, unsigned bits, unsigned v)
{
	unsigned mask = (1u << bits) - 1;

	if (v < mask) {
		enc_byte(e, high | v);
		return;
	}
	enc_byte(e, high | mask);
	for (v -= mask; v >= 128; v >>= 7)
		enc_byte(e, 0x80 | (v & 127));
	enc_byte(e, v);
}

static void enc_string(struct h2_encoder *e, const char *s)
{
	size_t len = strlen(s);

	enc_int(e, 0, 7, (unsigned)len);
	memcpy(e->out + e->len, s, len);
	e->len += len;
}

static unsigned entry_bytes(const struct h2_entry *e)
{
	return (unsigned)(strlen(e->name) + strlen(e->value)) + 32;
}

static void enc_evict(struct h2_encoder *e, unsigned room)
{
	while (e->count && e->bytes + room > e->size)
		e->bytes -= entry_bytes(&e->entry[--e->count]);
}

static void enc_insert(struct h2_encoder *e, const char *name, const char *value)
{
	struct h2_entry fresh;

	snprintf(fresh.name, sizeof(fresh.name), "%s", name);
	snprintf(fresh.value, sizeof(fresh.value), "%s", value);
	unsigned bytes = entry_bytes(&fresh);
	enc_evict(e, bytes);
	if (bytes > e->size)
		return;
	memmove(e->entry + 1, e->entry, e->count * sizeof(fresh));
	e->entry[0] = fresh;
	e->count++;
	e->bytes += bytes;
}

/* Of the static table, what is used here. */
static unsigned static_index(const char *name, const char *value, bool *whole)
{
	static const struct {
		const char *name, *value;
		unsigned index;
	} table[] = {
		{":authority", "", 1},  {":method", "GET", 2},    {":method", "POST", 3}, {":path", "/", 4},
		{":scheme", "http", 6}, {":status", "200", 8},    {":status", "204", 9},  {":status", "404", 13},
		{":status", "500", 14}, {"content-type", "", 31}, {"user-agent", "", 58}, {"server", "", 54},
		{"set-cookie", "", 55},
	};
	unsigned by_name = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(table[i].name, name))
			continue;
		if (!strcmp(table[i].value, value)) {
			*whole = true;
			return table[i].index;
		}
		by_name = by_name ? by_name : table[i].index;
	}
	*whole = false;
	return by_name;
}

static unsigned dynamic_index(const struct h2_encoder *e, const char *name, const char *value, bool *whole)
{
	unsigned by_name = 0;

	for (unsigned i = 0; i < e->count; i++) {
		if (strcmp(e->entry[i].name, name))
			continue;
		if (!strcmp(e->entry[i].value, value)) {
			*whole = true;
			return 62 + i;
		}
		by_name = 62 + i;
	}
	*whole = false;
	return by_name;
}

/* `once`: must not be found in the table later on. */
static void enc_field(struct talk *t, struct h2_encoder *e, const char *name, const char *value, bool once)
{
	bool whole, known;
	unsigned index = static_index(name, value, &whole);

	if (!whole && !once && (!index || talk_chance(&t->rng, 50))) {
		unsigned dynamic = dynamic_index(e, name, value, &known);
		if (dynamic) {
			index = dynamic;
			whole = known;
		}
	}
	if (whole) {
		enc_int(e, 0x80, 7, index);
		return;
	}
	bool insert = !once && talk_chance(&t->rng, 80);
	if (insert)
		enc_int(e, 0x40, 6, index);
	else
		enc_int(e, talk_chance(&t->rng, 50) ? 0x10 : 0, 4, index);
	if (!index)
		enc_string(e, name);
	enc_string(e, value);
	if (insert)
		enc_insert(e, name, value);
}

/* A header block of these fields; those that are `once` do not enter the table. */
static struct clv_slice enc_block(struct talk *t, enum clv_dir dir, struct h2_entry *f, unsigned n, const bool *once)
{
	struct h2_encoder *e = &encoder[dir];

	e->len = 0;
	if (e->theirs) {
		nghttp2_nv nv[40];
		for (unsigned i = 0; i < n; i++)
			nv[i] = (nghttp2_nv){(uint8_t *)f[i].name, (uint8_t *)f[i].value, strlen(f[i].name),
					     strlen(f[i].value),
					     once && once[i] ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
		if (talk_chance(&t->rng, 5))
			nghttp2_hd_deflate_change_table_size(e->theirs, 64 * talk_below(&t->rng, 100));
		ssize_t len = nghttp2_hd_deflate_hd(e->theirs, e->out, sizeof(e->out), nv, n);
		if (len < 0)
			abort();
		return clv_slice(e->out, (size_t)len);
	}
	if (talk_chance(&t->rng, 8)) {
		e->size = talk_below(&t->rng, 900);
		enc_evict(e, 0);
		enc_int(e, 0x20, 5, e->size);
		if (talk_chance(&t->rng, 30))
			enc_int(e, 0x20, 5, e->size = 400 + talk_below(&t->rng, 4000));
	}
	for (unsigned i = 0; i < n; i++)
		enc_field(t, e, f[i].name, f[i].value, once && once[i]);
	return clv_slice(e->out, e->len);
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static void put_header(struct talk *t, enum clv_dir dir, uint32_t len, unsigned type, unsigned flags, uint32_t stream)
{
	uint8_t h[9] = {(uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,
			(uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
			(uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};

	talk_put(t, dir, h, sizeof(h));
}

static void put_u32(struct talk *t, enum clv_dir dir, uint32_t v)
{
	uint8_t b[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};

	talk_put(t, dir, b, sizeof(b));
}

static void put_zeros(struct talk *t, enum clv_dir dir, size_t len)
{
	static const uint8_t zeros[256];

	talk_put(t, dir, zeros, len);
}

/* HEADERS, or PUSH_PROMISE of stream `promised`, in one frame or several. */
static void put_block(struct talk *t, enum clv_dir dir, struct clv_slice block, uint32_t stream, bool end,
		      uint32_t promised)
{
	unsigned padding = talk_chance(&t->rng, 20) ? talk_below(&t->rng, 256) : 0;
	bool padded = padding || talk_chance(&t->rng, 5), priority = !promised && talk_chance(&t->rng, 20);
	bool cut = talk_chance(&t->rng, 20);
	size_t n = cut ? talk_below(&t->rng, (uint32_t)block.len + 1) : block.len;
	unsigned flags = (end ? 1 : 0) | (cut ? 0 : 4) | (padded ? 8 : 0) | (priority ? 0x20 : 0);

	put_header(t, dir, (uint32_t)(n + padding + padded + (priority ? 5 : 0) + (promised ? 4 : 0)), promised ? 5 : 1,
		   flags, stream);
	if (padded)
		talk_put(t, dir, &(uint8_t){(uint8_t)padding}, 1);
	if (promised)
		put_u32(t, dir, promised);
	if (priority) {
		put_u32(t, dir, stream > 2 ? stream - 2 : 0);
		talk_put(t, dir, "\x10", 1);
	}
	talk_put(t, dir, block.data, n);
	put_zeros(t, dir, padding);
	while (cut) {
		block = clv_slice_from(block, n);
		cut = talk_chance(&t->rng, 40);
		n = cut ? talk_below(&t->rng, (uint32_t)block.len + 1) : block.len;
		put_header(t, dir, (uint32_t)n, 9, cut ? 0 : 4, stream);
		talk_put(t, dir, block.data, n);
	}
}

static void put_control(struct talk *t, enum clv_dir dir)
{
	switch (talk_below(&t->rng, 7)) {
	case 0:
		put_header(t, dir, 12, 4, 0, 0);
		talk_put(t, dir, "\0\1\0\0\x10\0\0\5\0\0\x40\0", 12);
		break;
	case 1:
		put_header(t, dir, 0, 4, 1, 0);
		break;
	case 2:
		put_header(t, dir, 8, 6, 0, 0);
		talk_put(t, dir, "pingpong", 8);
		break;
	case 3:
		put_header(t, dir, 4, 8, 0, talk_below(&t->rng, 2) * 3);
		put_u32(t, dir, 1 + talk_below(&t->rng, 70000));
		break;
	case 4:
		put_header(t, dir, 5, 2, 0, 7);
		talk_put(t, dir, "\0\0\0\1\x80", 5);
		break;
	case 5:
		put_header(t, dir, 11, talk_chance(&t->rng, 50) ? 0x10 : 0x2a, 0x55, 0);
		talk_put(t, dir, "\0\0\0\3u=3,iXX", 11);
		break;
	case 6:
		put_header(t, dir, 0, 0xa, 0, 0);
		break;
	}
}

static void put_reset(struct talk *t, enum clv_dir dir, uint32_t stream, uint32_t code)
{
	put_header(t, dir, 4, 3, 0, stream);
	put_u32(t, dir, code);
}

static bool is_grpc(const struct h2_exchange *x)
{
	return x->kind >= H2_GRPC && x->kind <= H2_GRPC_WEB;
}

/* The whole body of a gRPC direction, made in advance: messages cut anywhere need no care then. */
struct h2_body {
	uint8_t bytes[8192];
	uint32_t len, at;
};

static struct h2_body body[EXCHANGES][2];

static void body_put(struct h2_body *b, const void *data, uint32_t len)
{
	memcpy(b->bytes + b->len, data, len);
	b->len += len;
}

static void make_messages(struct talk *t, struct h2_exchange *x, enum clv_dir dir)
{
	struct h2_body *b = &body[x - truth][dir];
	unsigned n = talk_chance(&t->rng, 50) ? 1 : talk_below(&t->rng, 5);

	b->len = b->at = 0;
	if (x->kind == H2_GRPC_BARE && dir == CLV_TO_CLIENT)
		n = 0;
	for (unsigned i = 0; i < n; i++) {
		uint32_t size = talk_chance(&t->rng, 20) ? 0 : talk_below(&t->rng, 1200);
		uint8_t prefix[5] = {(uint8_t)(i & 1), 0, 0, (uint8_t)(size >> 8), (uint8_t)size};
		body_put(b, prefix, 5);
		memset(b->bytes + b->len, 'A' + (int)i, size);
		b->len += size;
	}
	if (x->kind == H2_GRPC_WEB && dir == CLV_TO_CLIENT) {
		char text[64];
		int len = snprintf(text, sizeof(text), "grpc-status: %d\r\ngrpc-message:no\r\n", x->grpc_status);
		uint8_t prefix[5] = {0x80, 0, 0, 0, (uint8_t)len};
		body_put(b, prefix, 5);
		body_put(b, text, (uint32_t)len);
	}
	x->messages[dir] = n;
	x->left[dir] = b->len;
}

/* A DATA frame with the next piece of the body. */
static void put_data(struct talk *t, enum clv_dir dir, struct h2_exchange *x, bool end)
{
	int message = dir == CLV_TO_SERVER ? x->request : x->response;
	uint32_t len = talk_chance(&t->rng, 10) ? 0 : 1 + talk_below(&t->rng, talk_chance(&t->rng, 20) ? 16000 : 900);
	struct h2_body *b = &body[x - truth][dir];

	/* A trailer in the body is read only where it is in one piece. */
	if (x->kind == H2_GRPC_WEB && dir == CLV_TO_CLIENT &&
	    x->left[dir] - (len < x->left[dir] ? len : x->left[dir]) < 64)
		len = x->left[dir];
	if (len >= x->left[dir])
		len = x->left[dir];
	unsigned padding = talk_chance(&t->rng, 15) ? talk_below(&t->rng, 256) : 0;
	bool padded = padding || talk_chance(&t->rng, 5), last = end && len == x->left[dir];
	put_header(t, dir, len + padding + padded, 0, (last ? 1 : 0) | (padded ? 8 : 0), x->stream);
	if (padded)
		talk_put(t, dir, &(uint8_t){(uint8_t)padding}, 1);
	if (is_grpc(x)) {
		talk_put(t, dir, b->bytes + b->at, len);
		b->at += len;
	} else {
		talk_fill(t, dir, len);
	}
	put_zeros(t, dir, padding);
	x->left[dir] -= len;
	t->message[message].body_bytes += len;
	if (last) {
		talk_ends(t, message);
		x->open[dir] = false;
	}
}

/* ---- messages ------------------------------------------------------------------------------------------ */

static void field(struct h2_entry *f, unsigned *n, const char *name, const char *value)
{
	snprintf(f[*n].name, sizeof(f[*n].name), "%s", name);
	snprintf(f[*n].value, sizeof(f[*n].value), "%s", value);
	++*n;
}

/* Fields of no importance. Returns with more of them in f. */
static void put_fields(struct talk *t, struct h2_entry *f, unsigned *n)
{
	static const char *const names[] = {"x-a", "accept-this", "server", "x-long-name-of-a-header", "set-cookie"};

	for (unsigned more = talk_below(&t->rng, 6); more; more--) {
		char value[64];
		snprintf(value, sizeof(value), "v%0*u", (int)(1 + talk_below(&t->rng, 40)), talk_below(&t->rng, 4));
		field(f, n, names[talk_below(&t->rng, 5)], value);
	}
}

static const char *content_type(const struct talk *t, const struct h2_exchange *x)
{
	return x->kind == H2_GRPC_WEB ? "application/grpc-web+proto" : "application/grpc";
}

/* Once whatever names the exchange. */
static struct clv_slice request_block(struct talk *t, enum clv_dir dir, struct h2_exchange *x)
{
	struct h2_entry f[40];
	bool once[40] = {false};
	unsigned n = 0;

	field(f, &n, ":method", x->method);
	field(f, &n, ":scheme", "http");
	once[n] = x->in_path;
	field(f, &n, ":path", x->path);
	once[n] = !x->in_path;
	field(f, &n, ":authority", x->authority);
	if (is_grpc(x))
		field(f, &n, "content-type", content_type(t, x));
	field(f, &n, "user-agent", "sample/2.0");
	put_fields(t, f, &n);
	return enc_block(t, dir, f, n, once);
}

static void put_request(struct talk *t, struct h2_exchange *x)
{
	bool end = !is_grpc(x) && !x->left[CLV_TO_SERVER] && x->kind != H2_EARLY;
	struct clv_slice block = request_block(t, CLV_TO_SERVER, x);

	x->request = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, (int)(x - truth), -1);
	t->message[x->request].decoded = true;
	t->message[x->request].tag = x->stream;
	put_block(t, CLV_TO_SERVER, block, x->stream, end, 0);
	talk_head_ends(t, x->request);
	x->head_end = t->len[CLV_TO_SERVER];
	x->open[CLV_TO_SERVER] = !end;
	if (end)
		talk_ends(t, x->request);
}

static void put_push(struct talk *t, struct h2_exchange *x, uint32_t parent)
{
	struct clv_slice block = request_block(t, CLV_TO_CLIENT, x);

	x->request = talk_begin(t, CLV_TO_CLIENT, CLV_REQUEST, (int)(x - truth), -1);
	t->message[x->request].decoded = true;
	t->message[x->request].tag = x->stream;
	put_block(t, CLV_TO_CLIENT, block, parent, false, x->stream);
	talk_head_ends(t, x->request);
	talk_ends(t, x->request);
}

static void put_response_head(struct talk *t, struct h2_exchange *x, int status, bool end)
{
	enum clv_role role = status < 200 ? CLV_INTERIM : CLV_RESPONSE;
	struct h2_entry f[40];
	unsigned n = 0;
	char text[16];

	snprintf(text, sizeof(text), "%d", status);
	field(f, &n, ":status", text);
	if (is_grpc(x) && role == CLV_RESPONSE)
		field(f, &n, "content-type", content_type(t, x));
	put_fields(t, f, &n);
	if (x->kind == H2_GRPC_BARE) {
		snprintf(text, sizeof(text), "%d", x->grpc_status);
		field(f, &n, "grpc-status", text);
	}
	/* An interim response whose status is not known cannot be told from the response. */
	bool once[40] = {role == CLV_INTERIM};
	struct clv_slice block = enc_block(t, CLV_TO_CLIENT, f, n, once);
	int m = talk_begin(t, CLV_TO_CLIENT, role, (int)(x - truth), x->request);
	t->message[m].decoded = true;
	t->message[m].tag = x->stream;
	put_block(t, CLV_TO_CLIENT, block, x->stream, end, 0);
	talk_head_ends(t, m);
	if (end || role == CLV_INTERIM)
		talk_ends(t, m);
	if (role == CLV_RESPONSE) {
		x->response = m;
		x->open[CLV_TO_CLIENT] = !end;
	}
}

static void put_trailers(struct talk *t, enum clv_dir dir, struct h2_exchange *x)
{
	struct h2_entry f[40];
	unsigned n = 0;
	char text[16];

	if (dir == CLV_TO_CLIENT && x->kind == H2_GRPC) {
		snprintf(text, sizeof(text), "%d", x->grpc_status);
		field(f, &n, "grpc-status", text);
		field(f, &n, "grpc-message", "some text");
	} else {
		field(f, &n, "x-checksum", "1234");
	}
	put_block(t, dir, enc_block(t, dir, f, n, NULL), x->stream, true, 0);
	talk_ends(t, dir == CLV_TO_SERVER ? x->request : x->response);
	x->open[dir] = false;
}

/* ---- exchanges ----------------------------------------------------------------------------------------- */

static void draw(struct talk *t, struct h2_exchange *x, enum h2_kind kind, uint32_t stream)
{
	static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "PROPFIND"};
	static const int statuses[] = {200, 200, 204, 404, 500, 201, 302, 503, 418};
	int number = (int)(x - truth);

	*x = (struct h2_exchange){.kind = kind, .stream = stream, .request = -1, .response = -1};
	x->in_path = talk_chance(&t->rng, 60);
	x->method = is_grpc(x) ? "POST" : methods[talk_below(&t->rng, 5)];
	x->status = is_grpc(x) ? 200 : statuses[talk_below(&t->rng, 9)];
	x->grpc_status = (int)talk_below(&t->rng, 17);
	if (x->in_path) {
		snprintf(x->path, sizeof(x->path), "/x/%d", number);
		snprintf(x->authority, sizeof(x->authority), "common%u.example", talk_below(&t->rng, 3));
	} else {
		snprintf(x->path, sizeof(x->path), "/common/%u", talk_below(&t->rng, 5));
		snprintf(x->authority, sizeof(x->authority), "x%d.example", number);
	}
	for (int d = 0; d < 2; d++) {
		if (is_grpc(x))
			make_messages(t, x, (enum clv_dir)d);
		else if (talk_chance(&t->rng, d ? 80 : 30))
			x->left[d] = 1 + talk_below(&t->rng, talk_chance(&t->rng, 10) ? 40000 : 2000);
	}
	if (kind == H2_GIVEN_UP || kind == H2_FAILED)
		x->left[CLV_TO_CLIENT] = 5000 + talk_below(&t->rng, 1000);
	if (kind == H2_EARLY)
		x->left[CLV_TO_SERVER] = 5000;
	x->trailers = kind == H2_GRPC || (kind == H2_PLAIN && talk_chance(&t->rng, 15));
	x->interim = talk_chance(&t->rng, 10);
}

static bool over(const struct h2_exchange *x)
{
	return x->request >= 0 && x->response >= 0 && !x->open[0] && !x->open[1];
}

/* Whoever gives a stream up: nothing more is said on it, or little. */
static void give_up(struct talk *t, struct h2_exchange *x, enum clv_dir by)
{
	put_reset(t, by, x->stream, by == CLV_TO_SERVER ? 8 : 2 + 5 * talk_below(&t->rng, 2));
	talk_flush(t, by);
	x->open[0] = x->open[1] = false;
}

/* Before the server says something of x, the client must have been heard. */
static void heard(struct talk *t, const struct h2_exchange *x)
{
	if (x->kind != H2_PUSHED && t->flushed[CLV_TO_SERVER] < x->head_end)
		talk_flush(t, CLV_TO_SERVER);
}

/* The rest of an exchange that ends oddly, once its request has begun. Returns true when it is over. */
static bool end_oddly(struct talk *t, struct h2_exchange *x)
{
	switch (x->kind) {
	case H2_CANCELLED:
		give_up(t, x, CLV_TO_SERVER);
		return true;
	case H2_CROSSED:
		give_up(t, x, CLV_TO_SERVER);
		put_response_head(t, x, x->status, true);
		talk_flush(t, CLV_TO_CLIENT);
		return true;
	case H2_GIVEN_UP:
		heard(t, x);
		put_response_head(t, x, x->status, false);
		put_data(t, CLV_TO_CLIENT, x, false);
		talk_flush(t, CLV_TO_CLIENT);
		give_up(t, x, CLV_TO_SERVER);
		if (talk_chance(&t->rng, 50)) {
			uint32_t had = t->message[x->response].body_bytes;
			put_data(t, CLV_TO_CLIENT, x, false);
			t->message[x->response].body_bytes = had;
		}
		return true;
	case H2_FAILED:
		heard(t, x);
		if (talk_chance(&t->rng, 50)) {
			put_response_head(t, x, x->status, false);
			put_data(t, CLV_TO_CLIENT, x, false);
		}
		give_up(t, x, CLV_TO_CLIENT);
		return true;
	case H2_EARLY:
		put_data(t, CLV_TO_SERVER, x, false);
		talk_flush(t, CLV_TO_SERVER);
		put_response_head(t, x, x->status, !x->left[CLV_TO_CLIENT]);
		while (x->open[CLV_TO_CLIENT])
			put_data(t, CLV_TO_CLIENT, x, true);
		put_reset(t, CLV_TO_CLIENT, x->stream, 0);
		talk_flush(t, CLV_TO_CLIENT);
		return true;
	default:
		return false;
	}
}

/* The next frame of an exchange. Returns false when there is none. */
static bool step(struct talk *t, struct h2_exchange *x)
{
	bool ask = x->open[CLV_TO_SERVER] && (talk_chance(&t->rng, 60) || x->kind == H2_GRPC_BARE);

	if (ask) {
		bool trailers = x->trailers && x->kind == H2_PLAIN;
		if (trailers && !x->left[CLV_TO_SERVER])
			put_trailers(t, CLV_TO_SERVER, x);
		else
			put_data(t, CLV_TO_SERVER, x, !trailers);
		return true;
	}
	heard(t, x);
	if (x->response < 0 && x->interim) {
		x->interim = false;
		put_response_head(t, x, talk_chance(&t->rng, 50) ? 103 : 100, false);
		return true;
	}
	if (x->response < 0) {
		put_response_head(t, x, x->status,
				  x->kind == H2_GRPC_BARE || (!x->trailers && !x->left[CLV_TO_CLIENT]));
		return true;
	}
	if (x->open[CLV_TO_CLIENT] && x->trailers && !x->left[CLV_TO_CLIENT])
		put_trailers(t, CLV_TO_CLIENT, x);
	else if (x->open[CLV_TO_CLIENT])
		put_data(t, CLV_TO_CLIENT, x, !x->trailers);
	else
		return x->open[CLV_TO_SERVER];
	return true;
}

/* A response may push before its head and after. */
static void maybe_push(struct talk *t, const struct h2_exchange *parent, uint32_t *even)
{
	if (exchanges == EXCHANGES || parent->kind != H2_PLAIN || !parent->open[CLV_TO_CLIENT] ||
	    !talk_chance(&t->rng, 10))
		return;
	struct h2_exchange *x = &truth[exchanges++];
	draw(t, x, H2_PUSHED, *even += 2);
	put_push(t, x, parent->stream);
}

static void some_flushes(struct talk *t)
{
	for (int d = 0; d < 2; d++) {
		if (talk_chance(&t->rng, 8))
			put_control(t, (enum clv_dir)d);
		if (talk_chance(&t->rng, 50))
			talk_flush(t, (enum clv_dir)d);
	}
}

static void begin(struct talk *t)
{
	for (int d = 0; d < 2; d++) {
		struct h2_encoder *e = &encoder[d];
		if (e->theirs)
			nghttp2_hd_deflate_del(e->theirs);
		*e = (struct h2_encoder){.size = 4096};
		if (talk_chance(&t->rng, 40) && nghttp2_hd_deflate_new(&e->theirs, 4096))
			abort();
	}
	exchanges = 0;
	talk_put(t, CLV_TO_SERVER, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	for (int d = 0; d < 2; d++) {
		put_header(t, (enum clv_dir)d, 6, 4, 0, 0);
		talk_put(t, (enum clv_dir)d, "\0\3\0\0\0\x64", 6);
	}
	if (talk_chance(&t->rng, 50))
		talk_flush(t, CLV_TO_SERVER);
}

/* The server says that it will not look at the last ones. */
static void refuse(struct talk *t, uint32_t odd)
{
	uint32_t last = odd;

	for (unsigned n = talk_below(&t->rng, 3); n && exchanges < EXCHANGES; n--) {
		struct h2_exchange *x = &truth[exchanges++];
		draw(t, x, H2_REFUSED, odd += 2);
		put_request(t, x);
	}
	talk_flush(t, CLV_TO_SERVER);
	put_header(t, CLV_TO_CLIENT, 8 + 4, 7, 0, 0);
	put_u32(t, CLV_TO_CLIENT, last);
	put_u32(t, CLV_TO_CLIENT, 0);
	talk_put(t, CLV_TO_CLIENT, "bye!", 4);
	talk_flush(t, CLV_TO_CLIENT);
}

static void http2_make(struct talk *t)
{
	unsigned wanted = 4 + talk_below(&t->rng, EXCHANGES - 8);
	uint32_t odd = talk_chance(&t->rng, 10) ? 0x7ffffe01 : UINT32_MAX, even = 0;
	struct h2_exchange *open[OPEN];
	unsigned n = 0;

	begin(t);
	while (n || exchanges < wanted) {
		some_flushes(t);
		if (n < OPEN && exchanges < wanted && (!n || talk_chance(&t->rng, 30))) {
			struct h2_exchange *x = &truth[exchanges++];
			enum h2_kind kind = talk_chance(&t->rng, 50) ? H2_PLAIN : talk_below(&t->rng, H2_DRAWN);
			draw(t, x, kind == H2_PUSHED ? H2_PLAIN : kind, odd += 2);
			put_request(t, x);
			if (!end_oddly(t, x))
				open[n++] = x;
			continue;
		}
		if (!n)
			continue;
		unsigned i = talk_below(&t->rng, n), before = exchanges;
		maybe_push(t, open[i], &even);
		if (exchanges != before && n < OPEN)
			open[n++] = &truth[exchanges - 1];
		else if (exchanges != before)
			while (step(t, &truth[exchanges - 1]) && !over(&truth[exchanges - 1]))
				;
		if (!step(t, open[i]) || over(open[i]))
			open[i] = open[--n];
	}
	if (talk_chance(&t->rng, 30))
		refuse(t, odd);
	talk_flush(t, CLV_TO_SERVER);
	talk_flush(t, CLV_TO_CLIENT);
}

static uint64_t http2_tag(const struct clv_msg *msg)
{
	return msg->id;
}

/* ---- spans --------------------------------------------------------------------------------------------- */

static int64_t attr_int(const struct clv_span *s, enum clv_attr_key key, int64_t otherwise)
{
	const struct clv_attr *a = clv_span_get(s, key);

	return a ? a->i : otherwise;
}

static bool attr_is(const struct clv_span *s, enum clv_attr_key key, const char *value)
{
	const struct clv_attr *a = clv_span_get(s, key);

	return !a || clv_slice_eq(a->s, clv_slice_str(value));
}

static const char *grpc_name(int status)
{
	static const char *const names[] = {
		"OK",        "CANCELLED",       "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
		"NOT_FOUND", "ALREADY_EXISTS",  "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
		"ABORTED",   "OUT_OF_RANGE",    "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
		"DATA_LOSS", "UNAUTHENTICATED",
	};

	return names[status];
}

/* Which exchange the span says it is. */
static const struct h2_exchange *named(const struct clv_span *s)
{
	const struct clv_attr *path = clv_span_get(s, CLV_ATTR_URL_PATH),
			      *host = clv_span_get(s, CLV_ATTR_SERVER_ADDRESS);

	for (unsigned i = 0; i < exchanges; i++) {
		const struct h2_exchange *x = &truth[i];
		const struct clv_attr *a = x->in_path ? path : host;
		if (a && clv_slice_eq(a->s, clv_slice_str(x->in_path ? x->path : x->authority)))
			return x;
	}
	return NULL;
}

static bool true_body(const struct talk *t, const struct clv_span *span, enum clv_attr_key key, int message)
{
	return message < 0 || attr_int(span, key, t->message[message].body_bytes) == t->message[message].body_bytes;
}

static int http2_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	const struct h2_exchange *x = named(span);

	*ok = false;
	if (!x)
		return -1;
	const struct clv_attr *host = clv_span_get(span, CLV_ATTR_SERVER_ADDRESS);
	/* Without an authority it is the server's address. */
	*ok = attr_is(span, CLV_ATTR_URL_PATH, x->path) &&
	      (clv_slice_eq(host->s, CLV_LIT("10.0.0.1")) || clv_slice_eq(host->s, clv_slice_str(x->authority)));
	*ok &= !span->method.len || clv_slice_eq(span->method, clv_slice_str(x->method));
	*ok &= true_body(t, span, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, x->request);
	*ok &= attr_is(span, CLV_ATTR_USER_AGENT_ORIGINAL, "sample/2.0");
	int64_t status = attr_int(span, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, 0);
	*ok &= !status || (x->response >= 0 && status == x->status);
	if (status)
		*ok &= true_body(t, span, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, x->response);
	*ok &= attr_int(span, CLV_ATTR_CLOVISOR_MESSAGES_RECEIVED, x->messages[0]) == x->messages[0];
	*ok &= attr_int(span, CLV_ATTR_CLOVISOR_MESSAGES_SENT, x->messages[1]) == x->messages[1] || x->response < 0;
	if (is_grpc(x))
		*ok &= attr_is(span, CLV_ATTR_RPC_RESPONSE_STATUS_CODE, grpc_name(x->grpc_status));
	else
		*ok &= !clv_span_get(span, CLV_ATTR_RPC_SYSTEM_NAME);
	return x->request;
}

const struct talk_sample talk_http2 = {
	.proto = "http2",
	.make = http2_make,
	.tag = http2_tag,
	.check = http2_check,
};
