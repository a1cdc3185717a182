/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 case by case: heads, framing, detection, spans. What holds for every input is in tests/laws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "engine/limits.h"
#include "model/span.h"
#include "proto/http1.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a sink that remembers the last message ---------------------------------------------------------------- */

struct ear {
	struct clv_sink sink;
	unsigned heads, ends;
	enum clv_role role;
	uint32_t flags, at, end_at;
	struct clv_http1_facts facts;
	char head[CLV_HEAD_BYTES];
	size_t head_len;
	struct clv_slice method;
	const struct clv_http1_facts *asked; /* what responses are told that they answer */
};

static struct ear ear;
static _Alignas(16) uint8_t state[128];

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	ear.heads++;
	ear.role = msg->role;
	ear.flags = msg->flags;
	ear.at = msg->at;
	assert_int_equal(msg->facts_size, sizeof(ear.facts));
	memcpy(&ear.facts, msg->facts, sizeof(ear.facts));
	assert_in_range(msg->head.len, 1, sizeof(ear.head));
	memcpy(ear.head, msg->head.data, msg->head.len);
	ear.head_len = msg->head.len;
	ear.method = msg->method;
	return dir == CLV_TO_CLIENT ? ear.asked : NULL;
}

static void on_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
	ear.ends++;
	ear.end_at = end->at;
}

static void fresh(void)
{
	memset(&ear, 0, sizeof(ear));
	memset(state, 0, sizeof(state));
	assert_true(clv_http1.state_size <= sizeof(state));
	ear.sink = (struct clv_sink){.head = on_head, .end = on_end};
	clv_http1.open(state, &(struct clv_conn_info){.server_port = 80});
}

static struct clv_fed feed(enum clv_dir dir, const char *text)
{
	return clv_http1.feed(state, dir, clv_slice_str(text), &ear.sink);
}

static void expect_field(struct clv_http1_field f, const char *want)
{
	struct clv_slice got = clv_slice_sub(clv_slice(ear.head, ear.head_len), f.at, f.len);

	if (!want)
		want = "";
	if (!clv_slice_eq(got, clv_slice_str(want)))
		print_message("got \"%.*s\", want \"%s\"\n", (int)got.len, (const char *)got.data, want);
	assert_true(clv_slice_eq(got, clv_slice_str(want)));
}

/* ---- request heads -------------------------------------------------------------------------------------------- */

static void test_requests(void **unused)
{
	static const struct {
		const char *text, *method, *target, *host, *agent;
		enum clv_fed_verdict v;
		uint64_t skip;
		int ended, minor;
		uint8_t flags;
	} table[] = {
		{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET", "/", "a", NULL, CLV_FED_OK, 0, 1, 1, 0},
		{"GET / HTTP/1.0\r\n\r\n", "GET", "/", NULL, NULL, CLV_FED_OK, 0, 1, 0, 0},
		{"GET / HTTP/1.1\nHost:a\n\n", "GET", "/", "a", NULL, CLV_FED_OK, 0, 1, 1, 0},
		{"get / http/1.1\r\n\r\n", "get", "/", NULL, NULL, CLV_FED_OK, 0, 1, 1, 0},
		{"M-SEARCH * HTTP/1.1\r\nHOST: b\r\n\r\n", "M-SEARCH", "*", "b", NULL, CLV_FED_OK, 0, 1, 1, 0},
		{"OPTIONS http://u:p@h:1/x?y HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS", "http://u:p@h:1/x?y", "h", NULL,
		 CLV_FED_OK, 0, 1, 1, 0},
		{"GET  /a b  HTTP/1.1 \r\n\r\n", "GET", "/a", NULL, NULL, CLV_FED_OK, 0, 1, 1, 0},
		{"HEAD / HTTP/1.1\r\nUser-Agent:\tx/1 \t\r\n\r\n", "HEAD", "/", NULL, "x/1", CLV_FED_OK, 0, 1, 1,
		 CLV_HTTP1_HEAD},
		{"CONNECT h:443 HTTP/1.1\r\nContent-Length: 9\r\n\r\n", "CONNECT", "h:443", NULL, NULL, CLV_FED_OK, 0,
		 1, 1, CLV_HTTP1_CONNECT},
		{"GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n", "GET", "/", NULL, NULL, CLV_FED_OK, 0, 1, 1,
		 CLV_HTTP1_UPGRADE | CLV_HTTP1_H2C},
		{"POST / HTTP/1.1\r\nContent-Length: 12\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_OK, 12, 0, 1, 0},
		{"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_OK, 0, 1, 1, 0},
		{"POST / HTTP/1.1\r\ncontent-length: 3, 3\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_OK, 3, 0, 1,
		 CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", "POST", "/", NULL, NULL,
		 CLV_FED_OK, 3, 0, 1, CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nContent-Length : 3\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_OK, 3, 0, 1,
		 CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "POST", "/", NULL, NULL,
		 CLV_FED_BAD, 0, 0, 1, CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_BAD, 0, 0, 1,
		 CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "POST", "/", NULL, NULL,
		 CLV_FED_BAD, 0, 0, 1, CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_OK, 0, 0, 1,
		 0},
		{"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "POST", "/", NULL, NULL,
		 CLV_FED_OK, 0, 0, 1, CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_BAD, 0,
		 0, 1, CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", "POST", "/", NULL, NULL, CLV_FED_BAD, 0, 0,
		 1, CLV_HTTP1_CONFLICT},
		{"POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n", "POST", "/", NULL, NULL,
		 CLV_FED_OK, 2, 0, 1, 0},
		{"GET / HTTP/1.1\r\n folded onto nothing\r\nHost: a\r\n b\r\n\r\n", "GET", "/", "a\r\n b", NULL,
		 CLV_FED_OK, 0, 1, 1, 0},
		{"GET / HTTP/1.1\r\nno colon here\r\n: empty\r\nHost: first\r\nHost: second\r\n\r\n", "GET", "/",
		 "first", NULL, CLV_FED_OK, 0, 1, 1, 0},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		fresh();
		struct clv_fed fed = feed(CLV_TO_SERVER, table[i].text);
		if (fed.v != table[i].v || ear.facts.flags != table[i].flags || fed.skip != table[i].skip)
			print_message("case %zu: %s\n", i, table[i].text);
		assert_int_equal(fed.v, table[i].v);
		assert_int_equal(fed.used, strlen(table[i].text));
		assert_int_equal(fed.skip, table[i].skip);
		assert_int_equal(ear.heads, 1);
		assert_int_equal(ear.role, CLV_REQUEST);
		assert_int_equal(ear.ends, table[i].ended);
		assert_int_equal(ear.facts.flags, table[i].flags);
		assert_int_equal(ear.facts.minor, table[i].minor);
		expect_field((struct clv_http1_field){.len = ear.facts.method_len}, table[i].method);
		expect_field(ear.facts.target, table[i].target);
		expect_field(ear.facts.host, table[i].host);
		expect_field(ear.facts.user_agent, table[i].agent);
	}
}

static void test_not_requests(void **unused)
{
	static const char *const table[] = {
		"GET /\r\n",
		"GET / HTTP/2.0\r\n",
		"GET / HTTP/1.\r\nno field line\r\n",
		"GET HTTP/1.1\r\nno field line\r\n",
		"GET  HTTP/1.1\r\nno field line\r\n",
		"G(T / HTTP/1.1\r\n",
		"PRI * HTTP/2.0\r\n",
		"HTTP/1.1 200 OK\r\n",
		"OPTIONS * RTSP/1.0\r\n",
		"INVITE sip:a SIP/2.0\r\n",
		" GET / HTTP/1.1\r\n",
		"\x16\x03\x01\x02\x01\n",
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		fresh();
		struct clv_fed fed = feed(CLV_TO_SERVER, table[i]);
		assert_int_equal(fed.v, CLV_FED_BAD);
		assert_in_range(fed.used, 0, strlen(table[i]) - 1);
		assert_int_equal(ear.heads, 0);
	}
}

static void test_empty_lines_first(void **unused)
{
	fresh();
	struct clv_fed fed = feed(CLV_TO_SERVER, "\r\n\n\r");
	assert_int_equal(fed.v, CLV_FED_MORE);
	assert_int_equal(fed.used, 3);
	fed = feed(CLV_TO_SERVER, "\r\nGET / HTTP/1.1\r\n\r\nGET");
	assert_int_equal(fed.v, CLV_FED_OK);
	assert_int_equal(fed.used, 20);
	assert_int_equal(ear.at, 2);
	assert_int_equal(ear.head_len, 18);
	assert_int_equal(ear.end_at, 20);
}

/* Whatever may carry trace context is noticed, and nothing else is. */
static void test_context(void **unused)
{
	static const char *const names[] = {"traceparent",  "TraceParent",     "b3",           "X-B3-TraceId",
					    "x-b3-spanid",  "X-B3-Sampled",    "x-b3-flags",   "uber-trace-id",
					    "X-Request-Id", "X-Amzn-Trace-Id", "Traceparent ", "B3"};
	static const char *const others[] = {"tracestate", "b4", "x-b3-traceix", "x-b3-parentspanid", "baggage"};
	char text[256];

	fresh();
	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s: x\r\nAccept: y\r\n\r\n", names[i]);
		feed(CLV_TO_SERVER, text);
		if (!(ear.flags & CLV_MSG_CONTEXT))
			fail_msg("not noticed: %s", names[i]);
	}
	for (size_t i = 0; i < COUNT(others); i++) {
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s: x\r\nAccept: y\r\n\r\n", others[i]);
		feed(CLV_TO_SERVER, text);
		assert_int_equal(ear.flags, 0);
	}
	feed(CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\ntraceparent: x\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(ear.flags, 0);
}

static void test_method_name(void **unused)
{
	fresh();
	feed(CLV_TO_SERVER, "PATCH / HTTP/1.1\r\n\r\n");
	assert_true(clv_slice_eq(ear.method, CLV_LIT("PATCH")));
	feed(CLV_TO_SERVER, "Patch / HTTP/1.1\r\n\r\n");
	assert_true(clv_slice_eq(ear.method, CLV_LIT("_OTHER")));
	feed(CLV_TO_CLIENT, "HTTP/1.1 204 No Content\r\n\r\n");
	assert_int_equal(ear.method.len, 0);
}

static void note_field(void *ctx, struct clv_slice name, struct clv_slice value)
{
	struct clv_buf *b = ctx;

	clv_buf_slice(b, name);
	clv_buf_char(b, '=');
	clv_buf_slice(b, value);
	clv_buf_char(b, '|');
}

static void expect_fields(const char *head, const char *want)
{
	char text[256];
	struct clv_buf b = clv_buf(text, sizeof(text) - 1);

	clv_http1.fields(clv_slice_str(head), note_field, &b);
	text[b.len] = '\0';
	assert_string_equal(text, want);
}

/* Every field line of a head, as far as it is complete. */
static void test_fields(void **unused)
{
	expect_fields("GET / HTTP/1.1\r\nA: 1\r\nB:2 \nC :\t3\r\nno colon\r\n: x\r\nD:\r\n\r\n", "A=1|B=2|C=3|D=|");
	expect_fields("GET / HTTP/1.1\r\nA: 1\r\n  2\r\nB: \r\n\t3\r\n\r\n", "A=1\r\n  2|B=3|");
	expect_fields("GET / HTTP/1.1\r\nA: 1\r\nB: cu", "A=1|");
	expect_fields("GET / HTTP/1.1\r\nA: 1\r\n", "");
	expect_fields("GET / HTTP/1.1\r\n\r\nA: 1\r\n\r\n", "");
	expect_fields("GET / HTTP/1.1", "");
	expect_fields("", "");
}

static void test_head_limit(void **unused)
{
	static char big[CLV_HEAD_BYTES + 4096];
	int n = snprintf(big, sizeof(big), "GET /big HTTP/1.1\r\nHost: h\r\nX: ");

	memset(big + n, 'x', sizeof(big) - (size_t)n);
	fresh();
	struct clv_fed fed = clv_http1.feed(state, CLV_TO_SERVER, clv_slice(big, CLV_HEAD_BYTES - 1), &ear.sink);
	assert_int_equal(fed.v, CLV_FED_MORE);
	assert_int_equal(fed.used, 0);
	fed = clv_http1.feed(state, CLV_TO_SERVER, clv_slice(big, sizeof(big)), &ear.sink);
	assert_int_equal(fed.v, CLV_FED_BAD);
	assert_int_equal(fed.used, CLV_HEAD_BYTES);
	assert_int_equal(ear.flags, CLV_MSG_TRUNCATED);
	assert_int_equal(ear.head_len, CLV_HEAD_BYTES);
	expect_field(ear.facts.target, "/big");
	expect_field(ear.facts.host, "h");

	/* The largest there is. */
	memcpy(big + CLV_HEAD_BYTES - 4, "\r\n\r\n", 4);
	fresh();
	fed = clv_http1.feed(state, CLV_TO_SERVER, clv_slice(big, CLV_HEAD_BYTES), &ear.sink);
	assert_int_equal(fed.v, CLV_FED_OK);
	assert_int_equal(ear.flags, 0);
}

/* ---- responses --------------------------------------------------------------------------------------------------- */

static void test_responses(void **unused)
{
	static const struct {
		const char *text;
		uint8_t asked; /* 0: a plain request; 0xff: not known */
		int status;
		enum clv_fed_verdict v;
		uint64_t skip;
		int ended;
		enum clv_role role;
	} table[] = {
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 0, 200, CLV_FED_OK, 5, 0, CLV_RESPONSE},
		{"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", 0xff, 200, CLV_FED_OK, 5, 0, CLV_RESPONSE},
		{"http/1.1  404  Not\r\nContent-Length: 0\r\n\r\n", 0, 404, CLV_FED_OK, 0, 1, CLV_RESPONSE},
		{"HTTP/1.0 999 \r\n\r\n", 0, 999, CLV_FED_OK, CLV_SKIP_TO_FIN, 0, CLV_RESPONSE},
		{"HTTP/1.1 200 OK\r\n\r\n", CLV_HTTP1_HEAD, 200, CLV_FED_OK, 0, 1, CLV_RESPONSE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", CLV_HTTP1_HEAD, 200, CLV_FED_OK, 0, 1, CLV_RESPONSE},
		{"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", 0, 204, CLV_FED_OK, 0, 1, CLV_RESPONSE},
		{"HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 304, CLV_FED_OK, 0, 1, CLV_RESPONSE},
		{"HTTP/1.1 100 Continue\r\n\r\n", 0, 100, CLV_FED_OK, 0, 1, CLV_INTERIM},
		{"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 0xff, 103, CLV_FED_OK, 0, 1, CLV_INTERIM},
		{"HTTP/1.1 101 Switching\r\n\r\n", CLV_HTTP1_UPGRADE, 101, CLV_FED_OPAQUE, 0, 1, CLV_RESPONSE},
		{"HTTP/1.1 101 Switching\r\n\r\n", 0xff, 101, CLV_FED_OPAQUE, 0, 1, CLV_RESPONSE},
		{"HTTP/1.1 101 Switching\r\nUpgrade: irc/6.9\r\n\r\n", 0xff, 101, CLV_FED_OPAQUE, 0, 1, CLV_RESPONSE},
		/* Its end is told by the engine, which opens the next parser first. */
		{"HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\n\r\n", 0xff, 101, CLV_FED_SWITCH, 0, 0, CLV_RESPONSE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", CLV_HTTP1_CONNECT, 200, CLV_FED_OPAQUE, 0, 1,
		 CLV_RESPONSE},
		{"HTTP/1.1 407 No\r\nContent-Length: 5\r\n\r\n", CLV_HTTP1_CONNECT, 407, CLV_FED_OK, 5, 0,
		 CLV_RESPONSE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 0, 200, CLV_FED_OK,
		 CLV_SKIP_TO_FIN, 0, CLV_RESPONSE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip\r\n\r\n", 0, 200, CLV_FED_OK,
		 CLV_SKIP_TO_FIN, 0, CLV_RESPONSE},
		{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 0, 200, CLV_FED_OK,
		 0, 0, CLV_RESPONSE},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		struct clv_http1_facts asked = {.flags = table[i].asked};
		fresh();
		ear.asked = table[i].asked == 0xff ? NULL : &asked;
		struct clv_fed fed = feed(CLV_TO_CLIENT, table[i].text);
		if (fed.v != table[i].v || fed.skip != table[i].skip || (int)ear.ends != table[i].ended)
			print_message("case %zu: %s\n", i, table[i].text);
		assert_int_equal(fed.v, table[i].v);
		assert_int_equal(fed.skip, table[i].skip);
		assert_int_equal(fed.used, strlen(table[i].text));
		assert_int_equal(ear.facts.status, table[i].status);
		assert_int_equal(ear.ends, table[i].ended);
		assert_int_equal(ear.role, table[i].role);
	}
}

static void test_not_responses(void **unused)
{
	static const char *const table[] = {"ICY 200 OK\r\n",     "RTSP/1.0 200 OK\r\n",  "HTTP/2 200\r\n",
					    "HTTP/1.1 20 OK\r\n", "HTTP/1.1 2000 OK\r\n", "HTTP/1.1 099 OK\r\n",
					    "SSH-2.0-x\r\n",      "HTTP/1.1\r\n"};

	for (size_t i = 0; i < COUNT(table); i++) {
		fresh();
		assert_int_equal(feed(CLV_TO_CLIENT, table[i]).v, CLV_FED_BAD);
		assert_int_equal(ear.heads, 0);
	}
}

/* ---- bodies -------------------------------------------------------------------------------------------------------
 */

static void test_length_body(void **unused)
{
	fresh();
	struct clv_fed fed = feed(CLV_TO_SERVER, "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody");
	assert_int_equal(fed.skip, 4);
	assert_int_equal(ear.ends, 0);
	/* Paid: the message ends before anything else happens. */
	fed = feed(CLV_TO_SERVER, "");
	assert_int_equal(ear.ends, 1);
	assert_int_equal(ear.end_at, 0);
	assert_int_equal(fed.v, CLV_FED_MORE);
}

static void test_chunks(void **unused)
{
	fresh();
	feed(CLV_TO_SERVER, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
	struct clv_fed fed = feed(CLV_TO_SERVER, "00a ;x=\"y\"\r\n");
	assert_int_equal(fed.skip, 10);
	fed = feed(CLV_TO_SERVER, "\r\nB");
	assert_int_equal(fed.v, CLV_FED_MORE);
	assert_int_equal(fed.used, 2);
	fed = feed(CLV_TO_SERVER, "B\n");
	assert_int_equal(fed.skip, 11);
	fed = feed(CLV_TO_SERVER, "\n0\r\nTrailer: x\r\n\r\nGET");
	assert_int_equal(fed.v, CLV_FED_OK);
	assert_int_equal(ear.ends, 1);
	assert_int_equal(ear.end_at, 18);
	assert_int_equal(fed.used, 18);
}

static void test_bad_chunks(void **unused)
{
	static const char *const table[] = {"x\r\n",  "\r\n", "-1\r\n", "0x5\r\n", "1g\r\n", "fffffffffffffffff\r\n",
					    "5 5\r\n"};

	for (size_t i = 0; i < COUNT(table); i++) {
		fresh();
		feed(CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
		assert_int_equal(feed(CLV_TO_CLIENT, table[i]).v, CLV_FED_BAD);
		assert_int_equal(ear.ends, 0);
	}
	fresh();
	feed(CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	feed(CLV_TO_CLIENT, "3\r\n");
	assert_int_equal(feed(CLV_TO_CLIENT, "HTTP").v, CLV_FED_BAD);
}

static void test_until_close(void **unused)
{
	fresh();
	assert_true(feed(CLV_TO_CLIENT, "HTTP/1.0 200 OK\r\n\r\n").skip == CLV_SKIP_TO_FIN);
	clv_http1.fin(state, CLV_TO_CLIENT, clv_slice(NULL, 0), &ear.sink);
	assert_int_equal(ear.ends, 1);
	/* A body of known length does not end because the connection does. */
	fresh();
	feed(CLV_TO_CLIENT, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n");
	clv_http1.fin(state, CLV_TO_CLIENT, clv_slice(NULL, 0), &ear.sink);
	assert_int_equal(ear.ends, 0);
}

/* ---- switching ------------------------------------------------------------------------------------------------------
 */

static void test_tunnel_waits(void **unused)
{
	struct clv_http1_facts asked;

	fresh();
	feed(CLV_TO_SERVER, "CONNECT h:443 HTTP/1.1\r\n\r\n");
	asked = ear.facts;
	ear.asked = &asked;
	struct clv_fed fed = feed(CLV_TO_SERVER, "GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(fed.v, CLV_FED_MORE);
	assert_int_equal(fed.used, 0);
	assert_int_equal(ear.heads, 1);
	/* Refused: then it was a request, and it comes before further responses. */
	feed(CLV_TO_CLIENT, "HTTP/1.1 100 Continue\r\n\r\n");
	feed(CLV_TO_CLIENT, "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(ear.heads, 3);
	fed = feed(CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(fed.v, CLV_FED_MORE);
	assert_int_equal(fed.used, 0);
	feed(CLV_TO_SERVER, "GET / HTTP/1.1\r\n\r\n");
	assert_int_equal(ear.heads, 4);
	ear.asked = NULL;
	fed = feed(CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(fed.v, CLV_FED_OK);
	assert_int_equal(ear.heads, 5);
}

static void test_upgrade_behind_others(void **unused)
{
	struct clv_http1_facts plain, offer;

	fresh();
	feed(CLV_TO_SERVER, "GET /1 HTTP/1.1\r\n\r\n");
	plain = ear.facts;
	feed(CLV_TO_SERVER, "GET /2 HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	offer = ear.facts;
	ear.asked = &plain;
	feed(CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	/* That answered the first: the offer still stands. */
	assert_int_equal(feed(CLV_TO_SERVER, "GET /3 HTTP/1.1\r\n\r\n").v, CLV_FED_MORE);
	ear.asked = &offer;
	assert_int_equal(feed(CLV_TO_CLIENT, "HTTP/1.1 101 Switching\r\n\r\n").v, CLV_FED_OPAQUE);
}

/* ---- gaps ----------------------------------------------------------------------------------------------------------
 */

static void test_cut_heads(void **unused)
{
	static const struct {
		enum clv_dir dir;
		const char *rest;
		unsigned heads;
	} table[] = {
		{CLV_TO_SERVER, "GET /cut HTTP/1.1\r\nHost: h\r\nUser-Ag", 1},
		{CLV_TO_SERVER, "GET /cut HTTP/1.1\r\n", 1},
		{CLV_TO_SERVER, "GET /cut HTTP/1.1", 0},
		{CLV_TO_SERVER, "", 0},
		{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nServer: x", 1},
		{CLV_TO_CLIENT, "HTTP/1.1 20", 0},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		fresh();
		clv_http1.gap(state, table[i].dir, clv_slice_str(table[i].rest), 100, &ear.sink);
		assert_int_equal(ear.heads, table[i].heads);
		if (ear.heads)
			assert_int_equal(ear.flags, CLV_MSG_TRUNCATED);
	}
	fresh();
	clv_http1.gap(state, CLV_TO_SERVER, clv_slice_str(table[0].rest), 100, &ear.sink);
	expect_field(ear.facts.target, "/cut");
	expect_field(ear.facts.host, "h");
}

static void test_resync(void **unused)
{
	static const struct {
		enum clv_dir dir;
		bool at_packet;
		const char *text;
		ptrdiff_t found;
	} table[] = {
		{CLV_TO_SERVER, true, "GET / HTTP/1.1\r\n", 0},
		{CLV_TO_SERVER, true, "\r\nGET / HTTP/1.1\r\n", 2},
		{CLV_TO_SERVER, false, "GET / HTTP/1.1\r\n", -1},
		{CLV_TO_SERVER, true, "GET / HTT", -1 - 9},
		{CLV_TO_SERVER, true, "FOO / HTTP/1.1\r\n", -1},
		{CLV_TO_SERVER, true, "x\r\nGET / HTTP/1.1\r\n", -1},
		{CLV_TO_SERVER, true, "x\r\n\r\nGET / HTTP/1.1\r\n", 5},
		{CLV_TO_SERVER, true, "x\n\nGET / HTTP/1.1\r\n", 3},
		{CLV_TO_SERVER, true, "x\r\n\r\nGE", -1 - 2},
		{CLV_TO_SERVER, true, "word", -1},
		{CLV_TO_CLIENT, true, "HTTP/1.1 200 OK\r\n", 0},
		{CLV_TO_CLIENT, false, "HTTP/1.1 200 OK\r\nA: b\r\n", -1},
		{CLV_TO_CLIENT, true, "x\nHTTP/1.1 200 OK\r\nServer: x\r\n", 2},
		{CLV_TO_CLIENT, true, "x\nHTTP/1.1 200 OK\r\nServer", -1 - 23},
		{CLV_TO_CLIENT, true, "x\nHTTP/1.1 200 OK\r\n< Server: x\r\n", -1},
		{CLV_TO_CLIENT, true, "xHTTP/1.1 200 OK\r\nServer: x\r\n", -1},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		fresh();
		ptrdiff_t found =
			clv_http1.resync(state, table[i].dir, clv_slice_str(table[i].text), table[i].at_packet);
		if (found != table[i].found)
			print_message("case %zu: got %td\n", i, found);
		assert_int_equal(found, table[i].found);
	}
}

/* The empty line may come one byte at a time. */
static void test_resync_slowly(void **unused)
{
	static const char text[] = "x\r\n\r\nGET / HTTP/1.1\r\n";
	size_t from = 0, to = 0;
	ptrdiff_t found = -1;

	fresh();
	while (found < 0 && to < sizeof(text) - 1) {
		to++;
		found = clv_http1.resync(state, CLV_TO_SERVER, clv_slice(text + from, to - from), false);
		if (found < 0)
			from = to - (size_t)(-1 - found);
	}
	assert_int_equal(found, 0);
	assert_int_equal(from, 5);
}

static void test_probe(void **unused)
{
	static const struct {
		enum clv_dir dir;
		const char *text;
		enum clv_match want;
	} table[] = {
		{CLV_TO_SERVER, "GET / HTTP/1.1\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, "\r\nGET / HTTP/1.1\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, "FOO /bar HTTP/1.0\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, "", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, "G", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, "GET /index", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, "GET /index HTTP/1.1\r", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, "GET /index\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "INVITE sip:a@b SIP/2.0\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "OPTIONS rtsp://a RTSP/1.0\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "EHLO example.com\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "NICK somebody\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "GET key\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "GET /HTTP/1.1\r\n", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, "GET /HTTP/1.1\r\nHost: a\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, "CCM_POST / HTTP/1.\r\nHost: a\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, "GET /HTTP/1.1\r\nno field line\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "GET/HTTP/1.1\r\nHost: a\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "SET key some value", CLV_MATCH_NO},
		{CLV_TO_SERVER, "*1\r\n$4\r\nPING\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, "\x16\x03\x01", CLV_MATCH_NO},
		{CLV_TO_SERVER, "HTTP/1.1 200 OK\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\n", CLV_MATCH_YES},
		{CLV_TO_CLIENT, "HTTP/1.0 404\r\n", CLV_MATCH_YES},
		{CLV_TO_CLIENT, "HTTP/1.1 2", CLV_MATCH_MAYBE},
		{CLV_TO_CLIENT, "HTTP/1.1 2000", CLV_MATCH_NO},
		{CLV_TO_CLIENT, "ICY 200 OK\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, "RTSP/1.0 200 OK\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, "220 mail ESMTP\r\n", CLV_MATCH_NO},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		enum clv_match got = clv_http1.probe(table[i].dir, clv_slice_str(table[i].text), CLV_WHERE_START);
		if (got != table[i].want)
			print_message("case %zu: %s\n", i, table[i].text);
		assert_int_equal(got, table[i].want);
	}
	/* In the middle of a connection these are what is left of a method, and one behind a body's last word. */
	assert_int_equal(clv_http1.probe(CLV_TO_SERVER, CLV_LIT("ST /x HTTP/1.1\r\n"), CLV_WHERE_PACKET), CLV_MATCH_NO);
	assert_int_equal(clv_http1.probe(CLV_TO_SERVER, CLV_LIT("scriptGET /x HTTP/1.1\r\n"), CLV_WHERE_PACKET),
			 CLV_MATCH_NO);
	assert_int_equal(clv_http1.probe(CLV_TO_SERVER, CLV_LIT("GET /HTTP/1.1\r\nHost: a\r\n"), CLV_WHERE_PACKET),
			 CLV_MATCH_NO);
	/* A long first line of a known method is enough by itself; it has a bound for others. */
	char text[CLV_DETECT_BYTES + 1];
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	assert_int_equal(clv_http1.probe(CLV_TO_SERVER, clv_slice(text, 1000), CLV_WHERE_START), CLV_MATCH_YES);
	memcpy(text, "FOO /", 5);
	assert_int_equal(clv_http1.probe(CLV_TO_SERVER, clv_slice(text, 1000), CLV_WHERE_START), CLV_MATCH_MAYBE);
	assert_int_equal(clv_http1.probe(CLV_TO_SERVER, clv_slice(text, CLV_DETECT_BYTES), CLV_WHERE_START),
			 CLV_MATCH_NO);
}

/* ---- spans
 * ------------------------------------------------------------------------------------------------------------ */

static struct clv_span span;

static void describe(const char *request, const char *response, enum clv_span_kind kind)
{
	static char head[4096];
	static struct clv_http1_facts asked, answered;

	fresh();
	feed(CLV_TO_SERVER, request);
	assert_int_equal(ear.heads, 1);
	memcpy(head, ear.head, ear.head_len);
	asked = ear.facts;
	struct clv_pair pair = {.request_head = clv_slice(head, ear.head_len),
				.request = &asked,
				.request_ended = true,
				.response_ended = true};
	if (response) {
		ear.asked = &asked;
		feed(CLV_TO_CLIENT, response);
		answered = ear.facts;
		pair.response = &answered;
		pair.response_body_bytes = 7;
	}
	memset(&span, 0, sizeof(span));
	span.kind = kind;
	span.client = (struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), .port = 4000};
	span.server = (struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), .port = 8080};
	clv_http1.describe(&pair, &span);
}

/* `want` NULL: absent. */
static void expect(enum clv_attr_key key, const char *want)
{
	const struct clv_attr *a = clv_span_get(&span, key);
	char got[512];

	if (!a || !want) {
		if (a || want)
			print_message("%s: %s\n", clv_attr_name(key), a ? "there" : "absent");
		assert_true(!a && !want);
		return;
	}
	if (a->type == CLV_TYPE_STRING)
		snprintf(got, sizeof(got), "%.*s", (int)a->s.len, (const char *)a->s.data);
	else
		snprintf(got, sizeof(got), "%ld", a->type == CLV_TYPE_INT ? (long)a->i : (long)a->b);
	assert_string_equal(got, want);
}

static void expect_slice(struct clv_slice got, const char *want)
{
	assert_int_equal(got.len, strlen(want));
	assert_memory_equal(got.data, want, got.len);
}

static void test_server_span(void **unused)
{
	describe("GET /a/b?c=d&sig=secret&Signature=s HTTP/1.1\r\nHost: shop.example:81\r\nUser-Agent: x\r\n y\r\n\r\n",
		 "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n", CLV_KIND_SERVER);
	expect_slice(span.name, "GET");
	expect_slice(span.target, "/a/b?c=d&sig=REDACTED&Signature=REDACTED");
	expect_slice(span.result, "404");
	assert_int_equal(span.status, CLV_STATUS_UNSET);
	expect(CLV_ATTR_HTTP_REQUEST_METHOD, "GET");
	expect(CLV_ATTR_HTTP_REQUEST_METHOD_ORIGINAL, NULL);
	expect(CLV_ATTR_URL_PATH, "/a/b");
	expect(CLV_ATTR_URL_QUERY, "c=d&sig=REDACTED&Signature=REDACTED");
	expect(CLV_ATTR_URL_SCHEME, "http");
	expect(CLV_ATTR_URL_FULL, NULL);
	expect(CLV_ATTR_USER_AGENT_ORIGINAL, "x   y");
	expect(CLV_ATTR_SERVER_ADDRESS, "shop.example");
	expect(CLV_ATTR_SERVER_PORT, "81");
	expect(CLV_ATTR_CLIENT_ADDRESS, "10.0.0.2");
	expect(CLV_ATTR_CLIENT_PORT, "4000");
	expect(CLV_ATTR_NETWORK_PEER_ADDRESS, "10.0.0.2");
	expect(CLV_ATTR_NETWORK_PEER_PORT, "4000");
	expect(CLV_ATTR_NETWORK_PROTOCOL_VERSION, "1.1");
	expect(CLV_ATTR_NETWORK_TRANSPORT, "tcp");
	expect(CLV_ATTR_NETWORK_TYPE, "ipv4");
	expect(CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, "404");
	expect(CLV_ATTR_ERROR_TYPE, NULL);
	expect(CLV_ATTR_HTTP_REQUEST_BODY_SIZE, "0");
	expect(CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, "7");
	expect(CLV_ATTR_CLOVISOR_FRAMING_CONFLICT, NULL);
}

static void test_client_span(void **unused)
{
	describe("BREW /pot HTTP/1.0\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: p\r\n\r\n",
		 "HTTP/1.1 418 Teapot\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n", CLV_KIND_CLIENT);
	expect_slice(span.name, "HTTP");
	expect_slice(span.method, "BREW");
	assert_int_equal(span.status, CLV_STATUS_ERROR);
	expect(CLV_ATTR_HTTP_REQUEST_METHOD, "_OTHER");
	expect(CLV_ATTR_HTTP_REQUEST_METHOD_ORIGINAL, "BREW");
	expect(CLV_ATTR_URL_FULL, "http://10.0.0.1:8080/pot");
	expect(CLV_ATTR_SERVER_ADDRESS, "10.0.0.1");
	expect(CLV_ATTR_SERVER_PORT, "8080");
	expect(CLV_ATTR_CLIENT_ADDRESS, "10.0.0.2");
	expect(CLV_ATTR_NETWORK_PEER_ADDRESS, "10.0.0.1");
	expect(CLV_ATTR_NETWORK_PROTOCOL_VERSION, "1.0");
	expect(CLV_ATTR_ERROR_TYPE, "418");
	expect(CLV_ATTR_CLOVISOR_FRAMING_CONFLICT, "1");
}

static void test_targets(void **unused)
{
	static const struct {
		const char *line, *host, *path, *query, *full, *server, *port, *scheme;
	} table[] = {
		{"GET /", "h", "/", NULL, "http://h/", "h", "8080", "http"},
		{"GET /?", "h", "/", NULL, "http://h/?", "h", "8080", "http"},
		{"GET /p?q=/?x", "[::1]:99", "/p", "q=/?x", "http://[::1]:99/p?q=/?x", "::1", "99", "http"},
		{"GET http://o:82/p?q", "h", "/p", "q", "http://o:82/p?q", "o", "82", "http"},
		{"GET https://o", "h", "/", NULL, "https://o/", "o", "8080", "https"},
		{"GET http://u:p@o/p", "h", "/p", NULL, "http://REDACTED:REDACTED@o/p", "o", "8080", "http"},
		{"OPTIONS *", "h:80", "*", NULL, "http://h:80", "h", "80", "http"},
		{"CONNECT o:443", "h", NULL, NULL, "http://o:443", "o", "443", "http"},
		{"GET odd", "h:x", "odd", NULL, "http://h:xodd", "h", "8080", "http"},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		char text[256];
		snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: %s\r\n\r\n", table[i].line, table[i].host);
		describe(text, NULL, CLV_KIND_CLIENT);
		expect(CLV_ATTR_URL_PATH, table[i].path);
		expect(CLV_ATTR_URL_QUERY, table[i].query);
		expect(CLV_ATTR_URL_FULL, table[i].full);
		expect(CLV_ATTR_SERVER_ADDRESS, table[i].server);
		expect(CLV_ATTR_SERVER_PORT, table[i].port);
		expect(CLV_ATTR_URL_SCHEME, table[i].scheme);
		expect(CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, NULL);
		expect(CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, NULL);
	}
}

static void test_proxies(void **unused)
{
	static const struct {
		const char *headers, *client, *port, *server, *server_port;
	} table[] = {
		{"X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\n", "1.2.3.4", NULL, "h", "8080"},
		{"X-Forwarded-For: 1.2.3.4:55\r\nX-Forwarded-Host: a:1, b\r\n", "1.2.3.4", NULL, "a", "1"},
		{"X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1", NULL, "h", "8080"},
		{"Forwarded: for=\"[2001:db8::2]:9\";proto=http;Host=\"c:2\", for=x\r\nX-Forwarded-For: 9.9.9.9\r\n",
		 "2001:db8::2", NULL, "c", "2"},
		{"Forwarded: proto=http;for=unknown, for=1.1.1.1\r\nX-Forwarded-For: 9.9.9.9\r\n", "9.9.9.9", NULL, "h",
		 "8080"},
		{"Forwarded: for=_hidden\r\n", "10.0.0.2", "4000", "h", "8080"},
		{"Forwarded: \"\r\n", "10.0.0.2", "4000", "h", "8080"},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		char text[256];
		snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", table[i].headers);
		describe(text, NULL, CLV_KIND_SERVER);
		expect(CLV_ATTR_CLIENT_ADDRESS, table[i].client);
		expect(CLV_ATTR_CLIENT_PORT, table[i].port);
		expect(CLV_ATTR_SERVER_ADDRESS, table[i].server);
		expect(CLV_ATTR_SERVER_PORT, table[i].server_port);
		expect(CLV_ATTR_NETWORK_PEER_ADDRESS, "10.0.0.2");
	}
}

static void test_registry(void **unused)
{
	assert_ptr_equal(clv_proto_find("http"), &clv_http1);
	assert_null(clv_proto_find("gopher"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_not_requests),
		cmocka_unit_test(test_empty_lines_first),
		cmocka_unit_test(test_context),
		cmocka_unit_test(test_method_name),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_head_limit),
		cmocka_unit_test(test_responses),
		cmocka_unit_test(test_not_responses),
		cmocka_unit_test(test_length_body),
		cmocka_unit_test(test_chunks),
		cmocka_unit_test(test_bad_chunks),
		cmocka_unit_test(test_until_close),
		cmocka_unit_test(test_tunnel_waits),
		cmocka_unit_test(test_upgrade_behind_others),
		cmocka_unit_test(test_cut_heads),
		cmocka_unit_test(test_resync),
		cmocka_unit_test(test_resync_slowly),
		cmocka_unit_test(test_probe),
		cmocka_unit_test(test_server_span),
		cmocka_unit_test(test_client_span),
		cmocka_unit_test(test_targets),
		cmocka_unit_test(test_proxies),
		cmocka_unit_test(test_registry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
