/* SPDX-License-Identifier: Apache-2.0 */
/* Connection records: what they say of each way in which a connection can go and end. */
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
	struct clv_flow_record record; /* the last one */
	char server_name[300], alpn_offered[300];
	unsigned records, spans, spans_at_record;
	uint32_t seq[2]; /* next of client, of server */
	enum clv_side client_side;
	uint8_t transport;
	uint16_t server_port;
	uint64_t now_ns;
};

static void on_span(void *ctx, struct clv_span *span)
{
	(void)span;
	((struct bed *)ctx)->spans++;
}

static void on_flow(void *ctx, struct clv_flow_record *record)
{
	struct bed *b = ctx;

	b->record = *record;
	b->records++;
	b->spans_at_record = b->spans;
	memcpy(b->server_name, record->server_name.data ? record->server_name.data : (const uint8_t *)"",
	       record->server_name.len);
	b->server_name[record->server_name.len] = '\0';
}

static void open_bed(struct bed *b, size_t memory_bytes)
{
	memset(b, 0, sizeof(*b));
	struct clv_engine_config config = {
		.on_span = on_span, .span_ctx = b, .on_flow = on_flow, .flow_ctx = b, .memory_bytes = memory_bytes};

	assert_int_equal(clv_engine_new(&config, &b->engine), 0);
	b->client_side = CLV_SIDE_OUT;
	b->server_port = 80;
	b->seq[0] = 1000;
	b->seq[1] = 5000;
	b->now_ns = 1700000000ull * 1000 * MS;
}

static void close_bed(struct bed *b)
{
	size_t used;

	clv_engine_flush(b->engine);
	assert_int_equal(clv_engine_stats(b->engine)->flow_records, b->records);
	clv_engine_memory(b->engine, &used, NULL, NULL);
	assert_int_equal(used, 0);
	clv_engine_free(b->engine);
}

static struct clv_packet packet(struct bed *b, int from_server, struct clv_slice bytes, uint8_t flags)
{
	static const uint8_t client[4] = {10, 0, 0, 1}, server[4] = {10, 0, 0, 2};
	struct clv_endpoint end[2] = {{clv_addr_v4(client), 40000}, {clv_addr_v4(server), b->server_port}};
	enum clv_side other = b->client_side == CLV_SIDE_OUT  ? CLV_SIDE_IN
			      : b->client_side == CLV_SIDE_IN ? CLV_SIDE_OUT
							      : CLV_SIDE_UNKNOWN;

	b->now_ns += MS;
	return (struct clv_packet){
		.ts_ns = b->now_ns,
		.src = end[from_server],
		.dst = end[!from_server],
		.net = 7,
		.transport = b->transport,
		.seq = b->transport ? 0 : b->seq[from_server],
		.ack = b->transport ? 0 : b->seq[!from_server],
		.len = (uint32_t)bytes.len,
		.payload = bytes,
		.tcp_flags = flags,
		.side = (uint8_t)(from_server ? other : b->client_side),
	};
}

static void say_bytes(struct bed *b, int from_server, struct clv_slice bytes, uint8_t flags)
{
	struct clv_packet p = packet(b, from_server, bytes, flags);

	b->seq[from_server] += (uint32_t)bytes.len + !!(flags & (S | F));
	clv_engine_packet(b->engine, &p);
}

static void say(struct bed *b, int from_server, const char *text, uint8_t flags)
{
	say_bytes(b, from_server, clv_slice_str(text), flags);
}

static void handshake(struct bed *b)
{
	say(b, 0, "", S);
	say(b, 1, "", S | A);
	say(b, 0, "", A);
}

static void goodbye(struct bed *b)
{
	say(b, 0, "", F | A);
	say(b, 1, "", F | A);
}

static void test_a_whole_connection(void **state)
{
	struct bed b;

	open_bed(&b, 0);
	handshake(&b);
	say(&b, 0, GET_A, A);
	say(&b, 1, OK_5, A);
	assert_int_equal(b.records, 0);
	goodbye(&b);
	assert_int_equal(b.records, 1);
	const struct clv_flow_record *r = &b.record;
	assert_int_equal(r->end, CLV_FLOW_CLOSED);
	assert_int_equal(r->client.port, 40000);
	assert_int_equal(r->server.port, 80);
	assert_int_equal(r->net, 7);
	assert_true(r->roles_known && r->side_known && !r->midstream && !r->guessed);
	assert_int_equal(r->role, CLV_KIND_CLIENT);
	assert_string_equal(r->protocol, "http");
	assert_int_equal(r->requests, 1);
	assert_int_equal(b.spans_at_record, 1); /* spans come first */
	assert_int_equal(r->bytes[CLV_TO_SERVER], sizeof(GET_A) - 1);
	assert_int_equal(r->bytes[CLV_TO_CLIENT], sizeof(OK_5) - 1);
	assert_int_equal(r->packets[CLV_TO_SERVER], 4);
	assert_int_equal(r->packets[CLV_TO_CLIENT], 3);
	assert_int_equal(r->retransmits[CLV_TO_SERVER] + r->retransmits[CLV_TO_CLIENT], 0);
	assert_int_equal(r->handshake_ns, MS);
	assert_int_equal(r->end_ns - r->start_ns, 6 * MS);
	close_bed(&b);
	assert_int_equal(b.records, 1);
}

/* Each byte once, however often it was sent. */
static void test_retransmits(void **state)
{
	struct bed b;

	open_bed(&b, 0);
	handshake(&b);
	struct clv_packet p = packet(&b, 0, CLV_LIT("\1\2\3\4garbage"), A);
	clv_engine_packet(b.engine, &p);
	clv_engine_packet(b.engine, &p);
	b.seq[0] += p.len;
	goodbye(&b);
	assert_int_equal(b.record.bytes[CLV_TO_SERVER], 11);
	assert_int_equal(b.record.retransmits[CLV_TO_SERVER], 1);
	assert_int_equal(b.record.retransmits[CLV_TO_CLIENT], 0);
	assert_null(b.record.protocol);
	close_bed(&b);
}

static void test_ends(void **state)
{
	struct bed b;

	open_bed(&b, 0);
	handshake(&b);
	say(&b, 1, "", R);
	assert_int_equal(b.record.end, CLV_FLOW_RESET);
	assert_null(b.record.protocol);
	close_bed(&b);

	open_bed(&b, 0);
	handshake(&b);
	say(&b, 1, "SSH-2.0-OpenSSH_9.2\r\n", A);
	say(&b, 0, "", R);
	assert_int_equal(b.record.end, CLV_FLOW_RESET);
	assert_string_equal(b.record.protocol, "ssh");
	assert_true(b.record.guessed);
	close_bed(&b);

	open_bed(&b, 0);
	say(&b, 0, "", S);
	say(&b, 1, "", R | A);
	assert_int_equal(b.record.end, CLV_FLOW_FAILED);
	assert_int_equal(b.record.handshake_ns, 0);
	close_bed(&b);

	open_bed(&b, 0);
	say(&b, 0, "", S);
	clv_engine_tick(b.engine, b.now_ns + CLV_SYN_NS + 1);
	assert_int_equal(b.record.end, CLV_FLOW_FAILED);
	close_bed(&b);
	assert_int_equal(b.records, 1);

	open_bed(&b, 0);
	handshake(&b);
	say(&b, 0, GET_A, A);
	clv_engine_tick(b.engine, b.now_ns + CLV_IDLE_NS + 1);
	assert_int_equal(b.record.end, CLV_FLOW_IDLE);
	assert_int_equal(b.record.end_ns, b.now_ns);
	close_bed(&b);

	open_bed(&b, 0);
	handshake(&b);
	say(&b, 0, GET_A, A);
	close_bed(&b);
	assert_int_equal(b.record.end, CLV_FLOW_CAPTURE_END);
	assert_int_equal(b.records, 1);
}

/* The ports are used anew: two connections, each with its own figures. */
static void test_replaced(void **state)
{
	struct bed b;

	open_bed(&b, 0);
	handshake(&b);
	say(&b, 0, GET_A, A);
	uint64_t last_ns = b.now_ns;
	b.seq[0] += 1000000;
	say(&b, 0, "", S);
	assert_int_equal(b.records, 1);
	assert_int_equal(b.record.end, CLV_FLOW_REPLACED);
	assert_int_equal(b.record.end_ns, last_ns);
	assert_int_equal(b.record.packets[CLV_TO_SERVER], 3);
	say(&b, 1, "", S | A);
	goodbye(&b);
	assert_int_equal(b.records, 2);
	assert_int_equal(b.record.end, CLV_FLOW_CLOSED);
	assert_int_equal(b.record.packets[CLV_TO_SERVER], 2);
	assert_null(b.record.protocol);
	close_bed(&b);
}

/* Joined late, nobody knows who is the client until the bytes tell. */
static void test_midstream(void **state)
{
	struct bed b;

	open_bed(&b, 0);
	b.client_side = CLV_SIDE_UNKNOWN;
	say(&b, 1, "\1\2\3\4garbage", A);
	close_bed(&b);
	assert_true(b.record.midstream && !b.record.roles_known && !b.record.side_known);
	assert_int_equal(b.record.client.port, 80); /* heard first */

	open_bed(&b, 0);
	say(&b, 1, OK_5, A);
	say(&b, 0, GET_A, A);
	close_bed(&b);
	assert_true(b.record.midstream && b.record.roles_known);
	assert_int_equal(b.record.client.port, 40000);
	assert_string_equal(b.record.protocol, "http");
}

static void test_evicted(void **state)
{
	struct bed b;

	open_bed(&b, 64 * 1024);
	for (int i = 0; i < 500 && !b.records; i++) {
		b.server_port = (uint16_t)(1000 + i);
		handshake(&b);
		say(&b, 0, "GET /", A);
	}
	assert_true(b.records > 0);
	assert_int_equal(b.record.end, CLV_FLOW_EVICTED);
	assert_int_equal(b.record.server.port, 1000);
	close_bed(&b);
}

static void test_datagrams(void **state)
{
	static uint8_t quic[1200] = {0xc3, 0, 0, 0, 1, 8};
	struct bed b;

	open_bed(&b, 0);
	b.transport = CLV_TRANSPORT_UDP;
	say_bytes(&b, 0, clv_slice(quic, sizeof(quic)), 0);
	for (int i = 0; i < 10; i++)
		say(&b, 1, "answer", 0);
	assert_int_equal(b.records, 0);
	clv_engine_tick(b.engine, b.now_ns + CLV_DATAGRAM_IDLE_NS + 1);
	assert_int_equal(b.records, 1);
	assert_int_equal(b.record.end, CLV_FLOW_IDLE);
	assert_int_equal(b.record.transport, CLV_TRANSPORT_UDP);
	assert_int_equal(b.record.client.port, 40000); /* who spoke first */
	assert_int_equal(b.record.bytes[CLV_TO_SERVER], 1200);
	assert_int_equal(b.record.bytes[CLV_TO_CLIENT], 60);
	assert_int_equal(b.record.packets[CLV_TO_CLIENT], 10);
	assert_string_equal(b.record.protocol, "quic");
	assert_true(b.record.guessed && !b.record.midstream);
	close_bed(&b);
}

/* type, version, random, no session, one suite, no compression, the name */
#define TLS_HELLO(name)                \
	"\x16\3\1\0\x42\1\0\0\x3e\3\3" \
	"0123456789abcdef0123456789abcdef\0\0\2\x13\1\1\0\0\x13\0\0\0\x0f\0\x0d\0\0\x0a" name

static void test_notes(void **state)
{
	struct bed b;

	open_bed(&b, 0);
	handshake(&b);
	b.server_port = 80; /* any port */
	say_bytes(&b, 0, CLV_LIT(TLS_HELLO("my.example")), A);
	say(&b, 1, "\x15\3\3", A);
	say(&b, 1, "\x15\3\3", A);
	goodbye(&b);
	assert_string_equal(b.record.protocol, "tls");
	assert_false(b.record.guessed);
	assert_string_equal(b.server_name, "my.example");
	assert_int_equal(b.record.alpn.len + b.record.alpn_offered.len, 0);
	assert_int_equal(b.record.version_offered.len, 3);
	assert_int_equal(b.record.version.len, 0);
	assert_int_equal(b.spans, 0);
	close_bed(&b);
}

/* Nobody wants records: the memory is what it was. */
static void test_nobody_asks(void **state)
{
	struct bed b;
	size_t with, without;

	open_bed(&b, 0);
	handshake(&b);
	clv_engine_memory(b.engine, &with, NULL, NULL);
	close_bed(&b);
	open_bed(&b, 0);
	struct clv_engine_config config = {.on_span = on_span, .span_ctx = &b};
	clv_engine_free(b.engine);
	assert_int_equal(clv_engine_new(&config, &b.engine), 0);
	handshake(&b);
	clv_engine_memory(b.engine, &without, NULL, NULL);
	assert_true(without < with);
	goodbye(&b);
	assert_int_equal(b.records, 0);
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_whole_connection),
		cmocka_unit_test(test_retransmits),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_midstream),
		cmocka_unit_test(test_evicted),
		cmocka_unit_test(test_datagrams),
		cmocka_unit_test(test_notes),
		cmocka_unit_test(test_nobody_asks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
