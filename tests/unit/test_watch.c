/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's events: how connections begin and end, what passes on them, requests that are under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/limits.h"

#define MS    1000000ull
#define GET_A "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK_5  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

enum { F = CLV_TCP_FIN, S = CLV_TCP_SYN, R = CLV_TCP_RST, A = CLV_TCP_ACK };

struct bed {
	struct clv_engine *engine;
	unsigned count[CLV_EVENT_KINDS];
	uint64_t sum[CLV_EVENT_KINDS][2]; /* by transmit */
	uint64_t last[CLV_EVENT_KINDS];
	enum clv_span_kind role;
	char method[16];
	int under_way;
	uint32_t seq[2]; /* next of client, of server */
	enum clv_side client_side;
	uint64_t now_ns;
	uint16_t gen;
};

static void on_span(void *ctx, struct clv_span *span)
{
}

static void on_event(void *ctx, const struct clv_event *e)
{
	struct bed *b = ctx;

	assert_int_equal(e->net, 7);
	b->count[e->kind]++;
	b->sum[e->kind][e->transmit] += e->value;
	b->last[e->kind] = e->value;
	b->role = e->role;
	if (e->kind == CLV_EVENT_REQUEST || e->kind == CLV_EVENT_REQUEST_END) {
		assert_true(e->method.len < sizeof(b->method));
		memcpy(b->method, e->method.data, e->method.len);
		b->method[e->method.len] = '\0';
		b->under_way += e->kind == CLV_EVENT_REQUEST ? 1 : -1;
	}
}

static void open_bed(struct bed *b, enum clv_side client_side)
{
	memset(b, 0, sizeof(*b));
	struct clv_engine_config config = {.on_span = on_span, .span_ctx = b, .on_event = on_event, .event_ctx = b};

	assert_int_equal(clv_engine_new(&config, &b->engine), 0);
	b->client_side = client_side;
	b->seq[0] = 1000;
	b->seq[1] = 5000;
	b->now_ns = 1700000000ull * 1000 * MS;
}

static void close_bed(struct bed *b)
{
	clv_engine_flush(b->engine);
	assert_int_equal(b->under_way, 0);
	clv_engine_free(b->engine);
}

static struct clv_packet packet(struct bed *b, int from_server, const char *text, uint8_t flags)
{
	static const uint8_t client[4] = {10, 0, 0, 1}, server[4] = {10, 0, 0, 2};
	struct clv_endpoint end[2] = {{clv_addr_v4(client), 40000}, {clv_addr_v4(server), 80}};
	enum clv_side other = b->client_side == CLV_SIDE_OUT  ? CLV_SIDE_IN
			      : b->client_side == CLV_SIDE_IN ? CLV_SIDE_OUT
							      : CLV_SIDE_UNKNOWN;

	b->now_ns += MS;
	return (struct clv_packet){
		.ts_ns = b->now_ns,
		.src = end[from_server],
		.dst = end[!from_server],
		.net = 7,
		.seq = b->seq[from_server],
		.ack = b->seq[!from_server],
		.len = (uint32_t)strlen(text),
		.payload = clv_slice_str(text),
		.tcp_flags = flags,
		.side = (uint8_t)(from_server ? other : b->client_side),
		.kernel = {.gen = b->gen},
	};
}

static void say(struct bed *b, int from_server, const char *text, uint8_t flags)
{
	struct clv_packet p = packet(b, from_server, text, flags);

	b->seq[from_server] += (uint32_t)strlen(text) + !!(flags & (S | F));
	clv_engine_packet(b->engine, &p);
}

static void handshake(struct bed *b)
{
	say(b, 0, "", S);
	say(b, 1, "", S | A);
}

static void test_a_whole_connection(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	handshake(&b);
	assert_int_equal(b.count[CLV_EVENT_OPENED], 1);
	assert_int_equal(b.count[CLV_EVENT_CONNECTED], 1);
	assert_int_equal(b.last[CLV_EVENT_CONNECTED], MS);
	assert_int_equal(b.last[CLV_EVENT_RTT], MS); /* no kernel that measures it */
	assert_int_equal(b.role, CLV_KIND_CLIENT);
	say(&b, 0, GET_A, A);
	assert_int_equal(b.under_way, 1);
	assert_string_equal(b.method, "GET");
	say(&b, 1, OK_5, A);
	assert_int_equal(b.under_way, 0);
	assert_string_equal(b.method, "GET");
	assert_int_equal(b.sum[CLV_EVENT_BYTES][true], sizeof(GET_A) - 1);
	assert_int_equal(b.sum[CLV_EVENT_BYTES][false], sizeof(OK_5) - 1);
	say(&b, 0, "", F | A);
	assert_int_equal(b.count[CLV_EVENT_CLOSED], 0);
	say(&b, 1, "", F | A);
	assert_int_equal(b.count[CLV_EVENT_CLOSED], 1);
	say(&b, 0, "", R); /* too late to matter */
	close_bed(&b);
	assert_int_equal(b.count[CLV_EVENT_OPENED], 1);
	assert_int_equal(b.count[CLV_EVENT_CLOSED], 1);
	assert_int_equal(b.count[CLV_EVENT_RESET] + b.count[CLV_EVENT_FAILED] + b.count[CLV_EVENT_RETRANSMITS], 0);
}

/* The same seen by the server: another role, and what it receives is what the client sends. */
static void test_from_the_servers_side(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_IN);
	handshake(&b);
	say(&b, 0, GET_A, A);
	assert_int_equal(b.role, CLV_KIND_SERVER);
	assert_int_equal(b.sum[CLV_EVENT_BYTES][false], sizeof(GET_A) - 1);
	assert_int_equal(b.count[CLV_EVENT_RTT], 0); /* its own answer tells nothing of the way to the client */
	close_bed(&b);
}

static void test_refused(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	say(&b, 0, "", S);
	b.seq[1] = 0;
	say(&b, 1, "", R | A);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 1);
	say(&b, 1, "", R | A);
	close_bed(&b);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 1);
	assert_int_equal(b.count[CLV_EVENT_RESET] + b.count[CLV_EVENT_CONNECTED], 0);
}

static void test_never_answered(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	say(&b, 0, "", S);
	b.seq[0]--;
	say(&b, 0, "", S);
	assert_int_equal(b.count[CLV_EVENT_OPENED], 1);
	clv_engine_tick(b.engine, b.now_ns + CLV_SYN_NS - 1);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 0);
	clv_engine_tick(b.engine, b.now_ns + CLV_SYN_NS);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 1);
	clv_engine_tick(b.engine, b.now_ns + CLV_IDLE_NS);
	close_bed(&b);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 1);
}

/* An open connection that falls silent has not failed. */
static void test_idle_is_no_failure(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	handshake(&b);
	clv_engine_tick(b.engine, b.now_ns + CLV_IDLE_NS);
	close_bed(&b);
	assert_int_equal(b.count[CLV_EVENT_FAILED] + b.count[CLV_EVENT_RESET] + b.count[CLV_EVENT_CLOSED], 0);
}

/* Another SYN from the same port: the first was never answered. */
static void test_port_taken_again(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	say(&b, 0, "", S);
	b.seq[0] += 100000;
	handshake(&b);
	close_bed(&b);
	assert_int_equal(b.count[CLV_EVENT_OPENED], 2);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 1);
	assert_int_equal(b.count[CLV_EVENT_CONNECTED], 1);
}

static void test_reset(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	handshake(&b);
	say(&b, 0, GET_A, A);
	assert_int_equal(b.under_way, 1);
	say(&b, 1, "", R | A);
	assert_int_equal(b.count[CLV_EVENT_RESET], 1);
	assert_int_equal(b.under_way, 0);
	close_bed(&b);
	assert_int_equal(b.count[CLV_EVENT_RESET], 1);
	assert_int_equal(b.count[CLV_EVENT_FAILED], 0);
}

/* Two CPUs: the SYN-ACK is captured before the SYN that it answers. */
static void test_syn_ack_first(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	struct clv_packet syn = packet(&b, 0, "", S);
	b.seq[0]++;
	say(&b, 1, "", S | A);
	assert_int_equal(b.count[CLV_EVENT_CONNECTED], 0);
	clv_engine_packet(b.engine, &syn);
	assert_int_equal(b.count[CLV_EVENT_OPENED], 1);
	assert_int_equal(b.last[CLV_EVENT_CONNECTED], MS);
	close_bed(&b);
}

/* From the first SYN on, as whoever connects feels it; but no round trip is told by that. */
static void test_syn_sent_twice(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	say(&b, 0, "", S);
	b.seq[0]--;
	say(&b, 0, "", S);
	say(&b, 1, "", S | A);
	say(&b, 0, GET_A, A);
	assert_int_equal(b.last[CLV_EVENT_CONNECTED], 2 * MS);
	assert_int_equal(b.count[CLV_EVENT_RTT], 0);
	assert_int_equal(b.sum[CLV_EVENT_RETRANSMITS][true], 1);
	close_bed(&b);
}

static void test_bytes_count_once(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	handshake(&b);
	say(&b, 0, GET_A, A);
	b.seq[0] -= sizeof(GET_A) - 1;
	say(&b, 0, GET_A, A);
	assert_int_equal(b.sum[CLV_EVENT_BYTES][true], sizeof(GET_A) - 1);
	assert_int_equal(b.sum[CLV_EVENT_RETRANSMITS][true], 1);
	/* What the kernel left out, and what it saw again. */
	struct clv_packet p = packet(&b, 1, "", A);
	p.hole_seq = p.seq;
	p.hole_len = 1000;
	p.seq += 1000;
	p.retransmits = 3;
	clv_engine_packet(b.engine, &p);
	assert_int_equal(b.sum[CLV_EVENT_BYTES][false], 1000);
	assert_int_equal(b.sum[CLV_EVENT_RETRANSMITS][false], 3);
	close_bed(&b);
}

/* The kernel's samples: of what the observed endpoint sends only, and not the handshake's a second time. */
static void test_kernels_round_trips(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_OUT);
	b.gen = 1;
	handshake(&b);
	assert_int_equal(b.count[CLV_EVENT_RTT], 0);
	struct clv_packet p = packet(&b, 0, "GET", A), q;
	p.rtt_ns = 300;
	clv_engine_packet(b.engine, &p);
	assert_int_equal(b.last[CLV_EVENT_RTT], 300);
	q = packet(&b, 1, "", A | F);
	q.rtt_ns = 400;
	clv_engine_packet(b.engine, &q);
	assert_int_equal(b.count[CLV_EVENT_RTT], 1);
	close_bed(&b);
}

/* Joined in its middle: who is the client shows with the first request, and what came before is not lost. */
static void test_midstream(void **state)
{
	struct bed b;

	open_bed(&b, CLV_SIDE_IN);
	say(&b, 1, "the end of an answer", A);
	assert_int_equal(b.count[CLV_EVENT_BYTES], 0);
	say(&b, 0, GET_A, A);
	assert_int_equal(b.sum[CLV_EVENT_BYTES][true], 20);
	assert_int_equal(b.sum[CLV_EVENT_BYTES][false], sizeof(GET_A) - 1);
	say(&b, 1, OK_5, A);
	assert_int_equal(b.count[CLV_EVENT_OPENED], 0);
	close_bed(&b);
}

/* What never tells who is the client is not counted; and nobody is asked who is not there. */
static void test_unknown_role_and_nobody(void **state)
{
	struct clv_engine_config config = {.on_span = on_span};
	struct bed b;

	open_bed(&b, CLV_SIDE_IN);
	say(&b, 1, "\x01\x02\x03", A);
	say(&b, 0, "\x01\x02\x03", A | F);
	say(&b, 1, "", A | F);
	close_bed(&b);
	for (int i = 0; i < CLV_EVENT_KINDS; i++)
		assert_int_equal(b.count[i], 0);

	open_bed(&b, CLV_SIDE_IN);
	clv_engine_free(b.engine);
	assert_int_equal(clv_engine_new(&config, &b.engine), 0);
	handshake(&b);
	say(&b, 0, GET_A, A);
	say(&b, 1, OK_5, A | F);
	close_bed(&b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_whole_connection),
		cmocka_unit_test(test_from_the_servers_side),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_never_answered),
		cmocka_unit_test(test_idle_is_no_failure),
		cmocka_unit_test(test_port_taken_again),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_syn_ack_first),
		cmocka_unit_test(test_syn_sent_twice),
		cmocka_unit_test(test_bytes_count_once),
		cmocka_unit_test(test_kernels_round_trips),
		cmocka_unit_test(test_midstream),
		cmocka_unit_test(test_unknown_role_and_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
