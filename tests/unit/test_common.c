/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model/common.c, and who uses it: what spans have in common is kept when it comes again, is taken for nothing else,
 * and a span says and is written the same with it as without.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "export/json.h"
#include "export/otlp_encode.h"
#include "model/packet.h"
#include "proto/describe.h"
#include "trace/redact.h"

static struct clv_commons commons;

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* A server's span at these ends; the last bytes of its addresses. */
static struct clv_span span_of(uint32_t client, uint8_t server, uint16_t port)
{
	struct clv_span s = {.commons = &commons, .kind = CLV_KIND_SERVER, .transport = CLV_TRANSPORT_TCP};

	s.client.addr =
		clv_addr_v4((const uint8_t[]){10, (uint8_t)(client >> 16), (uint8_t)(client >> 8), (uint8_t)client});
	s.client.port = (uint16_t)(client + 1024);
	s.server.addr = clv_addr_v4((const uint8_t[]){10, 96, 0, server});
	s.server.port = port;
	return s;
}

/* Describes its ends; was that kept? */
static bool described(struct clv_span s, const char *host)
{
	clv_describe_ends(&s, clv_slice_str(host));
	assert_int_equal(s.attr_count, 8);
	assert_true(clv_slice_eq(s.attr[0].s, clv_slice_str(host)));
	assert_int_equal(s.attr[1].i, s.server.port);
	assert_int_equal(s.attr[3].i, s.client.port);
	assert_int_equal(s.attr[5].i, s.kind == CLV_KIND_SERVER ? s.client.port : s.server.port);
	return s.common;
}

static void forget(void)
{
	memset(&commons, 0, sizeof(commons));
}

static void test_kept_when_it_comes_again(void **state)
{
	forget();
	assert_false(described(span_of(1, 1, 80), "shop"));
	assert_false(described(span_of(1, 1, 80), "shop"));
	assert_true(described(span_of(1, 1, 80), "shop"));
	struct clv_span other_port = span_of(1, 1, 80); /* each span has its own */
	other_port.client.port = 65535;
	assert_true(described(other_port, "shop"));
}

static void keep(struct clv_span s, const char *host)
{
	for (int i = 0; i < 4 && !described(s, host); i++)
		;
	assert_true(described(s, host));
}

static bool still(struct clv_span s, const char *host, struct clv_span other, const char *other_host)
{
	return !described(other, other_host) && described(s, host);
}

/* Whatever decides: one byte of it makes another one. And what comes in turn with others stays. */
static void test_nothing_else_is_taken_for_it(void **state)
{
	static const char host[] = "a-host-of-more-than-sixteen-bytes.example", *short_host = "shop";
	struct clv_span s = span_of(1, 1, 80);

	forget();
	keep(s, host);
	for (size_t i = 0; i < sizeof(host) - 1; i++) {
		char other[sizeof(host)];

		memcpy(other, host, sizeof(host));
		other[i] ^= 1;
		assert_true(still(s, host, s, other));
	}
	assert_true(still(s, host, s, "a-host-of-more-than-sixteen-bytes.exampl"));
	for (size_t i = 0; i < sizeof(s.client.addr.b); i++) {
		struct clv_span client = s, server = s;

		client.client.addr.b[i] ^= 1;
		server.server.addr.b[i] ^= 1;
		assert_true(still(s, host, client, host));
		assert_true(still(s, host, server, host));
	}
	struct clv_span other = s;
	other.server.port = 81;
	assert_true(still(s, host, other, host));
	other = s;
	other.kind = CLV_KIND_CLIENT;
	assert_true(still(s, host, other, host));
	other = s;
	other.transport = CLV_TRANSPORT_UDP;
	assert_true(still(s, host, other, host));
	keep(s, short_host);
	assert_true(still(s, short_host, s, "shoq"));
}

/* Two of one hash: names that begin alike, and are as long. */
static void test_two_of_one_hash(void **state)
{
	struct clv_span s = span_of(1, 1, 80);

	forget();
	keep(s, "same-beginning-a");
	keep(s, "same-beginning-b");
	for (int i = 0; i < 4; i++) {
		assert_true(described(s, "same-beginning-a"));
		assert_true(described(s, "same-beginning-b"));
	}
}

/* A thousand that come once each leave what is kept where it is. */
static void test_once_is_not_enough(void **state)
{
	forget();
	keep(span_of(1, 1, 80), "shop");
	for (uint32_t i = 2; i < 1000; i++)
		assert_false(described(span_of(i, 1, 80), "shop"));
	assert_true(described(span_of(1, 1, 80), "shop"));
}

/* And what does not come any more makes room. */
static void test_places_are_given_on(void **state)
{
	forget();
	for (uint32_t i = 0; i < 1000; i++)
		keep(span_of(i, 1, 80), "shop");
}

/* A span that describes its ends several times keeps what it said first. */
static void test_ends_told_again(void **state)
{
	static const char *const hosts[] = {"one-host-a", "one-host-b", "one-host-c", "one-host-d", "one-host-e"};

	forget();
	for (int i = 0; i < 20; i++) {
		struct clv_span s = span_of(1, 1, 80);

		for (int j = 0; j < 5; j++)
			clv_describe_ends(&s, clv_slice_str(hosts[(i * 3 + j) % 5]));
		for (int j = 0; j < 5; j++)
			assert_true(clv_slice_eq(s.attr[8 * j].s, clv_slice_str(hosts[(i * 3 + j) % 5])));
	}
}

/* Strings past CLV_COMMON_BYTES, attributes of other types, too many of them, and none with the client's port. */
static void test_what_cannot_be_kept(void **state)
{
	static char host[CLV_COMMON_BYTES + 1];
	struct clv_span s = span_of(1, 1, 80);
	struct clv_common_key key;
	struct clv_attr attr[CLV_COMMON_ATTRS + 1];

	forget();
	clv_describe_key(&key, &s, 9);
	memset(host, 'h', CLV_COMMON_BYTES);
	for (int i = 0; i < 4; i++)
		assert_false(described(s, host));
	for (int i = 0; i < CLV_COMMON_ATTRS + 1; i++)
		clv_attrs_str(&attr[i], CLV_ATTR_URL_SCHEME, CLV_LIT("http"));
	assert_null(clv_commons_find(&commons, &key));
	clv_commons_keep(&commons, &commons.place[0], &key, attr, 2, true);
	assert_int_equal(commons.hash[0], 0);
	clv_attrs_int(&attr[0], CLV_ATTR_CLIENT_PORT, 1);
	clv_commons_keep(&commons, &commons.place[0], &key, attr, CLV_COMMON_ATTRS + 1, true);
	assert_int_equal(commons.hash[0], 0);
	clv_commons_keep(&commons, &commons.place[0], &key, attr, 2, true);
	assert_int_equal(commons.hash[0], key.hash);
	clv_attrs_bool(&attr[1], CLV_ATTR_CLOVISOR_GAP, true);
	clv_commons_keep(&commons, &commons.place[0], &key, attr, 2, true);
	assert_int_equal(commons.hash[0], 0);
}

/* ---- through the engine, and out --------------------------------------------------------------------------------- */

static struct clv_engine *engine;
static struct clv_resources *resources;
static struct clv_json json;
static uint64_t now_ns;
static bool client_side;
static json_t *seen; /* attributes of the last span */
static unsigned spans, kept;

/* One and the same, with what is kept and without. */
static void assert_written_alike(struct clv_span *s, json_t **attributes)
{
	struct clv_common *common = s->common;
	char *line[2], *bytes[2];
	size_t len[2], size[2];

	for (int without = 0; without < 2; without++) {
		s->common = without ? NULL : common;
		size_t bound = clv_json_bound(&json, s);
		line[without] = malloc(bound);
		len[without] = clv_json_write(&json, s, line[without]);
		assert_in_range(len[without], 1, bound);
		bound = clv_otlp_span_bound(s);
		bytes[without] = malloc(bound);
		size[without] = clv_otlp_span_write(s, bytes[without]);
		assert_in_range(size[without], 1, bound);
	}
	assert_int_equal(len[0], len[1]);
	assert_memory_equal(line[0], line[1], len[0]);
	assert_int_equal(size[0], size[1]);
	assert_memory_equal(bytes[0], bytes[1], size[0]);
	json_t *whole = json_loadb(line[0], len[0], 0, NULL);
	assert_non_null(whole);
	*attributes = json_incref(json_object_get(whole, "attributes"));
	json_decref(whole);
	for (int i = 0; i < 2; i++) {
		free(line[i]);
		free(bytes[i]);
	}
	s->common = common;
}

static void on_span(void *ctx, struct clv_span *s)
{
	s->resource = clv_resources_get(resources, s->net);
	kept += s->common != NULL;
	json_decref(seen);
	assert_written_alike(s, &seen);
	json_object_del(seen, "clovisor.connection.reused");
	spans++;
}

/* Two connections; a request comes by either. */
static uint32_t seq[2][2];
static const uint16_t client_port[2] = {4, 51234};

static void send(int conn, int from_server, uint8_t flags, const char *text)
{
	struct clv_endpoint end[2] = {{clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), client_port[conn]},
				      {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), 80}};
	struct clv_packet p = {
		.ts_ns = now_ns += 1000,
		.src = end[from_server],
		.dst = end[!from_server],
		.seq = seq[conn][from_server],
		.ack = seq[conn][!from_server],
		.len = (uint32_t)strlen(text),
		.payload = clv_slice_str(text),
		.tcp_flags = flags,
		.side = from_server == client_side ? CLV_SIDE_IN : CLV_SIDE_OUT,
	};

	clv_engine_packet(engine, &p);
	seq[conn][from_server] += p.len + !!(flags & CLV_TCP_SYN);
}

static void begin(bool client, struct clv_redact *redact)
{
	struct clv_engine_config config = {.on_span = on_span, .rules = {.redact = redact}};

	client_side = client;
	now_ns = 1700000000000000000;
	spans = kept = 0;
	assert_int_equal(clv_engine_new(&config, &engine), 0);
	for (int conn = 0; conn < 2; conn++) {
		seq[conn][0] = 1000, seq[conn][1] = 2000;
		send(conn, 0, CLV_TCP_SYN, "");
		send(conn, 1, CLV_TCP_SYN | CLV_TCP_ACK, "");
		send(conn, 0, CLV_TCP_ACK, "");
	}
}

static void end(void)
{
	clv_engine_free(engine);
	json_decref(seen);
	seen = NULL;
}

static void exchange(int conn, const char *request)
{
	unsigned before = spans;

	send(conn, 0, CLV_TCP_ACK, request);
	send(conn, 1, CLV_TCP_ACK, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	assert_int_equal(spans, before + 1);
}

#define REQUEST(target, fields) "GET " target " HTTP/1.1\r\n" fields "\r\n"

static const char *const requests[] = {
	REQUEST("/", "Host: shop\r\nUser-Agent: curl/8\r\n"),
	REQUEST("/a?b=c", "Host: shop\r\nUser-Agent: curl/8\r\n"),
	REQUEST("/a?sig=c", "Host: shop\r\nUser-Agent: curl/8\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: curl/9\r\n"),
	REQUEST("/", "Host: shop:8080\r\nUser-Agent: curl/8\r\n"),
	REQUEST("/", "Host: [2001:db8::1]:8080\r\nUser-Agent: curl/8\r\n"),
	REQUEST("/", "Host: user:password@shop\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: \"\\x41\\\" \xff\xfe \xc3\xa9 \x01 ]}\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: curl/8\r\n folded\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: curl/8\r\nX-Forwarded-For: 192.0.2.1\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: curl/8\r\nX-Forwarded-Host: other\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: curl/8\r\nForwarded: for=192.0.2.2;host=third\r\n"),
	REQUEST("http://proxied:81/", "Host: shop\r\nUser-Agent: curl/8\r\n"),
	REQUEST("/", "Host:\r\n"),
	REQUEST("/", "Host: shop\r\nUser-Agent: 0123456789abcdef0123456789abcdef0123456789abcdef\r\n"),
	"BREW / HTTP/1.1\r\nHost: shop\r\nUser-Agent: curl/8\r\n\r\n",
	"GET / HTTP/1.0\r\nConnection: keep-alive\r\nHost: shop\r\nUser-Agent: curl/8\r\n\r\n",
};
#define REQUESTS (sizeof(requests) / sizeof(requests[0]))

/* What a span says of a request when nothing was kept yet, at either port of the client. */
static json_t *told[REQUESTS][2];

static void tell(bool client)
{
	for (size_t i = 0; i < REQUESTS; i++)
		for (int conn = 0; conn < 2; conn++) {
			begin(client, NULL);
			exchange(conn, requests[i]);
			assert_int_equal(kept, 0);
			told[i][conn] = json_incref(seen);
			end();
		}
}

static void untell(void)
{
	for (size_t i = 0; i < REQUESTS; i++)
		for (int conn = 0; conn < 2; conn++)
			json_decref(told[i][conn]);
}

static void test_spans_say_the_same(void **state)
{
	for (int client = 0; client < 2; client++) {
		tell(client);
		begin(client, NULL);
		for (unsigned round = 0; round < 8; round++)
			for (size_t i = 0; i < REQUESTS; i++) {
				int conn = (round + i) % 2;

				/* The same several times running, or in turn with others. */
				for (unsigned n = 0; n < 1 + round % 3; n++) {
					exchange(conn, requests[i]);
					assert_true(json_equal(seen, told[i][conn]));
				}
			}
		assert_true(kept > spans / 3);
		end();
		untell();
	}
}

/* A text that is too long to be kept is written as ever. */
static void test_long_texts(void **state)
{
	static char request[1024];

	for (int len = 1; len < 500; len += 7) {
		begin(false, NULL);
		snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: shop\r\nUser-Agent: %.*s%s\r\n\r\n", len,
			 "", "\"");
		memset(request + strlen(request) - 4, '"', (size_t)len);
		strcpy(request + strlen("GET / HTTP/1.1\r\nHost: shop\r\nUser-Agent: ") + len, "\r\n\r\n");
		for (int i = 0; i < 5; i++)
			exchange(i % 2, request);
		end();
	}
}

static void test_redaction_is_for_every_span(void **state)
{
	const char *patterns[] = {"secret[0-9]*"};
	struct clv_redact *redact;
	char why[128];

	assert_int_equal(clv_redact_new(patterns, 1, &redact, why, sizeof(why)), 0);
	begin(false, redact);
	for (int i = 0; i < 6; i++) {
		exchange(i % 2, REQUEST("/", "Host: shop\r\nUser-Agent: secret42\r\n"));
		assert_string_equal(json_string_value(json_object_get(seen, "user_agent.original")), "REDACTED");
	}
	end();
	clv_redact_free(redact);
}

static int set_up(void **state)
{
	return clv_resources_new(CLV_LIT("shop"), NULL, 0, &resources);
}

static int tear_down(void **state)
{
	clv_resources_free(resources);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_when_it_comes_again),
		cmocka_unit_test(test_nothing_else_is_taken_for_it),
		cmocka_unit_test(test_two_of_one_hash),
		cmocka_unit_test(test_once_is_not_enough),
		cmocka_unit_test(test_places_are_given_on),
		cmocka_unit_test(test_ends_told_again),
		cmocka_unit_test(test_what_cannot_be_kept),
		cmocka_unit_test(test_spans_say_the_same),
		cmocka_unit_test(test_long_texts),
		cmocka_unit_test(test_redaction_is_for_every_span),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
