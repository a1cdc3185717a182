/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the words: messages as servers and clients in wide use write them, in the sizes that they have. */
#include "talkers.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AGENT "Go-http-client/1.1"
#define DATE  "Mon, 02 Nov 2026 08:15:00 GMT"

/* A piece of the exchange's random number, below `n`. */
static unsigned pick(const struct talk *t, unsigned shift, unsigned n)
{
	return (unsigned)(t->random >> shift) % n;
}

static size_t put(uint8_t *out, size_t at, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Appends text at `at`; returns the end. */
static size_t put(uint8_t *out, size_t at, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	int n = vsnprintf((char *)out + at, TALK_BYTES - at, format, args);
	va_end(args);
	if (n < 0 || at + (size_t)n >= TALK_BYTES)
		abort();
	return at + (size_t)n;
}

static size_t fill(uint8_t *out, size_t at, size_t len)
{
	memset(out + at, 'x', len);
	return at + len;
}

static size_t put_path(const struct talk *t, uint8_t *out, size_t at)
{
	static const char *const things[] = {"items", "orders", "users", "carts"};

	at = put(out, at, "/api/v1/%s/%u", things[pick(t, 8, 4)], pick(t, 16, 100000));
	return pick(t, 40, 4) ? at : put(out, at, "?page=%u&limit=50", pick(t, 44, 20));
}

/* ---- HTTP/1.1 ---------------------------------------------------------------------------------------------------- */

static const char *connection_field(const struct talk *t)
{
	return t->last ? "Connection: close\r\n" : "";
}

/* One of ten brings a body, one of four a trace's context. */
static size_t http1_request(const struct talk *t, uint8_t *out)
{
	unsigned body = pick(t, 0, 10) ? 0 : 20 + pick(t, 4, 40);
	size_t n = put(out, 0, body ? "POST " : "GET ");

	n = put_path(t, out, n);
	n = put(out, n, " HTTP/1.1\r\nHost: shop.default.svc\r\nUser-Agent: " AGENT "\r\nAccept: */*\r\n");
	if (!pick(t, 20, 4))
		n = put(out, n, "traceparent: 00-%016llx%016llx-%016llx-01\r\n", (unsigned long long)t->random | 1,
			(unsigned long long)t->random * 7, (unsigned long long)t->random | 2);
	n = put(out, n, "%s", connection_field(t));
	if (body)
		n = put(out, n, "Content-Type: application/json\r\nContent-Length: %u\r\n", body);
	n = put(out, n, "\r\n");
	return fill(out, n, body);
}

static size_t http1_response(const struct talk *t, uint8_t *out)
{
	static const char *const status[] = {"404 Not Found", "500 Internal Server Error", "304 Not Modified"};
	unsigned which = pick(t, 32, 100);
	bool empty = which == 2; /* 304 */
	size_t n = put(out, 0, "HTTP/1.1 %s\r\nServer: nginx/1.22.1\r\nDate: " DATE "\r\n",
		       which < 3 ? status[which] : "200 OK");

	if (!empty)
		n = put(out, n, "Content-Type: application/octet-stream\r\nContent-Length: 200\r\n");
	n = put(out, n, "Last-Modified: Sun, 01 Nov 2026 10:00:00 GMT\r\nConnection: %s\r\n",
		t->last ? "close" : "keep-alive");
	n = put(out, n, "ETag: \"6905e0a0-c8\"\r\nAccept-Ranges: bytes\r\n\r\n");
	return fill(out, n, empty ? 0 : 200);
}

/* ---- HTTP/2 ------------------------------------------------------------------------------------------------------ */

enum {
	FRAME_HEAD = 9,
	H2_DATA = 0,
	H2_HEADERS = 1,
	H2_SETTINGS = 4,
	H2_END_STREAM = 1,
	H2_ACK = 1,
	H2_END_HEADERS = 4
};

static size_t h2_frame(uint8_t *out, size_t at, size_t len, uint8_t type, uint8_t flags, uint32_t stream)
{
	const uint8_t head[FRAME_HEAD] = {
		0,
		(uint8_t)(len >> 8),
		(uint8_t)len,
		type,
		flags,
		(uint8_t)(stream >> 24),
		(uint8_t)(stream >> 16),
		(uint8_t)(stream >> 8),
		(uint8_t)stream,
	};

	memcpy(out + at, head, FRAME_HEAD);
	return at + FRAME_HEAD;
}

/* A field whose name stands in the static table: `first` is HPACK's first byte, or the two of a longer index. */
static size_t h2_field(uint8_t *out, size_t at, const char *first, const char *value)
{
	return put(out, at, "%s%c%s", first, (char)strlen(value), value);
}

static uint32_t h2_stream(const struct talk *t)
{
	return 2 * t->exchange + 1;
}

/* The first request of a connection puts :authority and user-agent into the dynamic table, the others point there. */
static size_t h2_request(const struct talk *t, uint8_t *out)
{
	size_t n = 0, head;
	char path[64];

	if (!t->exchange) {
		n = put(out, 0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
		n = h2_frame(out, n, 0, H2_SETTINGS, 0, 0);
	}
	if (t->exchange == 1)
		n = h2_frame(out, n, 0, H2_SETTINGS, H2_ACK, 0);
	path[put_path(t, (uint8_t *)path, 0)] = '\0';
	head = n;
	n = put(out, n + FRAME_HEAD, "\x82\x86"); /* :method GET, :scheme http */
	n = h2_field(out, n, "\x04", path);
	if (t->exchange)
		n = put(out, n, "\xbf\xbe");
	else
		n = h2_field(out, h2_field(out, n, "\x41", "shop.default.svc"), "\x7a", AGENT);
	h2_frame(out, head, n - head - FRAME_HEAD, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, h2_stream(t));
	return n;
}

static size_t h2_response(const struct talk *t, uint8_t *out)
{
	size_t n = 0, head;

	if (!t->exchange) {
		n = h2_frame(out, n, 0, H2_SETTINGS, 0, 0);
		n = h2_frame(out, n, 0, H2_SETTINGS, H2_ACK, 0);
	}
	head = n;
	n = put(out, n + FRAME_HEAD, pick(t, 32, 50) ? "\x88" : "\x8e"); /* :status 200, or 500 */
	if (t->exchange)
		n = put(out, n, "\xbf\xbe");
	else
		n = h2_field(out, h2_field(out, n, "\x5f", "application/json"), "\x76", "nginx/1.22.1");
	n = h2_field(out, n, "\x0f\x0d", "200");
	h2_frame(out, head, n - head - FRAME_HEAD, H2_HEADERS, H2_END_HEADERS, h2_stream(t));
	n = h2_frame(out, n, 200, H2_DATA, H2_END_STREAM, h2_stream(t));
	return fill(out, n, 200);
}

/* ---- Redis ------------------------------------------------------------------------------------------------------- */

static size_t redis_request(const struct talk *t, uint8_t *out)
{
	if (pick(t, 0, 5))
		return put(out, 0, "*2\r\n$3\r\nGET\r\n$13\r\nsession:%05u\r\n", pick(t, 16, 100000));
	return put(out, 0, "*5\r\n$3\r\nSET\r\n$13\r\nsession:%05u\r\n$40\r\n%040u\r\n$2\r\nEX\r\n$4\r\n3600\r\n",
		   pick(t, 16, 100000), pick(t, 32, 1000));
}

static size_t redis_response(const struct talk *t, uint8_t *out)
{
	if (!pick(t, 0, 5))
		return put(out, 0, "+OK\r\n");
	if (!pick(t, 40, 10))
		return put(out, 0, "$-1\r\n");
	size_t n = put(out, 0, "$100\r\n");
	return put(out, fill(out, n, 100), "\r\n");
}

/* ---- DNS --------------------------------------------------------------------------------------------------------- */

static size_t dns_head(const struct talk *t, uint8_t *out, uint8_t high, uint8_t low, uint8_t answers)
{
	static const char question[] = "\4shop\7default\3svc\7cluster\5local\0\0\1\0\1";
	const uint8_t head[12] = {(uint8_t)(t->random >> 8), (uint8_t)t->random, high, low, 0, 1, 0, answers};

	memcpy(out, head, sizeof(head));
	memcpy(out + sizeof(head), question, sizeof(question) - 1);
	return sizeof(head) + sizeof(question) - 1;
}

static size_t dns_request(const struct talk *t, uint8_t *out)
{
	return dns_head(t, out, 1, 0, 0);
}

/* One of ten names does not exist. */
static size_t dns_response(const struct talk *t, uint8_t *out)
{
	static const uint8_t answer[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 30, 0, 4, 10, 96, 0, 10};

	if (!pick(t, 32, 10))
		return dns_head(t, out, 0x81, 0x83, 0);
	size_t n = dns_head(t, out, 0x81, 0x80, 1);
	memcpy(out + n, answer, sizeof(answer));
	return n + sizeof(answer);
}

static const struct talker talkers[] = {
	{.kind = "small", .port = 80, .request = http1_request, .response = http1_response},
	{.kind = "short", .port = 80, .per_connection = 1, .request = http1_request, .response = http1_response},
	{.kind = "http2", .port = 80, .request = h2_request, .response = h2_response},
	{.kind = "redis", .port = 6379, .request = redis_request, .response = redis_response},
	{.kind = "dns",
	 .port = 53,
	 .datagrams = true,
	 .per_connection = 1,
	 .request = dns_request,
	 .response = dns_response},
};

const struct talker *talker_find(const char *kind)
{
	for (size_t i = 0; i < sizeof(talkers) / sizeof(*talkers); i++)
		if (strcmp(kind, talkers[i].kind) == 0)
			return &talkers[i];
	return NULL;
}

const char *talker_kinds(void)
{
	return "small, short, http2, redis, dns";
}
