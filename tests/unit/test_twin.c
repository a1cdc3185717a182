/* SPDX-License-Identifier: Apache-2.0 */
/* Connections whose both ends are seen at one place: within a cgroup they are one, anywhere else two. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/limits.h"

#define MS     1000000ull
#define GET_A  "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK_5   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define QUERY  "\x12\x34\x01\0\0\x01\0\0\0\0\0\0\1a\0\0\1\0\1"
#define ANSWER "\x12\x34\x81\x80\0\x01\0\0\0\0\0\0\1a\0\0\1\0\1"
#define LEN(s) (sizeof(s) - 1)

enum { F = CLV_TCP_FIN, S = CLV_TCP_SYN, A = CLV_TCP_ACK };

struct bed {
	struct clv_engine *engine;
	struct {
		enum clv_span_kind kind;
		uint32_t net;
		bool has_parent;
		uint8_t id[8], parent[8];
	} span[8];
	unsigned spans, records;
	enum clv_span_kind role; /* of the last record */
	int open[2], under_way;  /* connections by role, requests */
	unsigned ignored;        /* verdicts */
	uint32_t ignored_slot;
	uint32_t seq[2]; /* next of client, of server */
	uint32_t net[2]; /* where the client is seen, and the server; 0: nowhere */
	uint16_t port[2];
	bool udp;
	uint64_t now_ns;
};

static void on_span(void *ctx, struct clv_span *s)
{
	struct bed *b = ctx;

	assert_true(b->spans < 8);
	b->span[b->spans].kind = s->kind;
	b->span[b->spans].net = s->net;
	b->span[b->spans].has_parent = s->has_parent;
	memcpy(b->span[b->spans].id, s->span_id, 8);
	memcpy(b->span[b->spans].parent, s->parent_id, 8);
	b->spans++;
}

static void on_flow(void *ctx, struct clv_flow_record *r)
{
	((struct bed *)ctx)->records++;
	((struct bed *)ctx)->role = r->role;
}

static void on_event(void *ctx, const struct clv_event *e)
{
	struct bed *b = ctx;

	b->open[e->role == CLV_KIND_CLIENT] += (e->kind == CLV_EVENT_OPENED) - (e->kind == CLV_EVENT_CLOSED);
	b->under_way += (e->kind == CLV_EVENT_REQUEST) - (e->kind == CLV_EVENT_REQUEST_END);
}

static void on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct bed *b = ctx;

	if (v->kind != CLV_VERDICT_IGNORE)
		return;
	b->ignored++;
	b->ignored_slot = ref->slot;
}

static void open_bed(struct bed *b, uint32_t client_net, uint32_t server_net)
{
	memset(b, 0, sizeof(*b));
	struct clv_engine_config config = {.on_span = on_span,
					   .span_ctx = b,
					   .on_flow = on_flow,
					   .flow_ctx = b,
					   .on_event = on_event,
					   .event_ctx = b,
					   .verdict = on_verdict,
					   .verdict_ctx = b};

	assert_int_equal(clv_engine_new(&config, &b->engine), 0);
	b->net[0] = client_net;
	b->net[1] = server_net;
	b->port[0] = 40000;
	b->port[1] = 80;
	b->seq[0] = 1000;
	b->seq[1] = 5000;
	b->now_ns = 1700000000ull * 1000 * MS;
}

static void close_bed(struct bed *b)
{
	clv_engine_flush(b->engine);
	assert_int_equal(b->under_way, 0);
	assert_int_equal(b->open[0], 0);
	assert_int_equal(b->open[1], 0);
	clv_engine_free(b->engine);
}

/* Seen where it leaves the one end, and then where it reaches the other. */
static void pass(struct bed *b, int from_server, const char *bytes, size_t len, uint8_t flags)
{
	static const uint8_t here[4] = {127, 0, 0, 1};

	for (int at = 0; at < 2; at++) {
		int end = at ? !from_server : from_server;

		b->now_ns += MS;
		if (!b->net[end])
			continue;
		struct clv_packet p = {
			.ts_ns = b->now_ns,
			.src = {clv_addr_v4(here), b->port[from_server]},
			.dst = {clv_addr_v4(here), b->port[!from_server]},
			.net = b->net[end],
			.transport = b->udp ? CLV_TRANSPORT_UDP : CLV_TRANSPORT_TCP,
			.seq = b->udp ? 0 : b->seq[from_server],
			.ack = b->udp ? 0 : b->seq[!from_server],
			.len = (uint32_t)len,
			.payload = clv_slice(bytes, len),
			.tcp_flags = b->udp ? 0 : flags,
			.side = at ? CLV_SIDE_IN : CLV_SIDE_OUT,
			.kernel = {.slot = (uint32_t)end, .gen = 1, .hook = (uint8_t)!at},
		};
		clv_engine_packet(b->engine, &p);
	}
	b->seq[from_server] += (uint32_t)len + !!(flags & S) + !!(flags & F);
}

static void say(struct bed *b, int from_server, const char *text)
{
	pass(b, from_server, text, strlen(text), A);
}

static void handshake(struct bed *b)
{
	pass(b, 0, "", 0, S);
	pass(b, 1, "", 0, S | A);
	pass(b, 0, "", 0, A);
}

static void farewell(struct bed *b)
{
	pass(b, 0, "", 0, F | A);
	pass(b, 1, "", 0, F | A);
}

static void exchange(struct bed *b)
{
	handshake(b);
	say(b, 0, GET_A);
	say(b, 1, OK_5);
	farewell(b);
}

static void within(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	exchange(&b);
	assert_int_equal(b.spans, 1);
	assert_int_equal(b.span[0].kind, CLV_KIND_SERVER);
	assert_false(b.span[0].has_parent); /* nobody else has seen the client */
	clv_engine_flush(b.engine);
	assert_int_equal(b.records, 1);
	assert_int_equal(b.role, CLV_KIND_SERVER);
	assert_int_equal(clv_engine_stats(b.engine)->both_ends, 1);
	close_bed(&b);
}

/* Also when its last packets still linger. */
static void same_ports_again(void **state)
{
	for (int pause = 0; pause < 2; pause++) {
		struct bed b;

		open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
		exchange(&b);
		b.now_ns += (uint64_t)pause * 2 * CLV_LINGER_NS;
		b.seq[0] += 100000;
		b.seq[1] += 100000;
		exchange(&b);
		assert_int_equal(b.spans, 2);
		assert_int_equal(b.span[1].kind, CLV_KIND_SERVER);
		close_bed(&b);
	}
}

/* The same ports, but this time whoever listens is somewhere else. */
static void elsewhere_later(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	exchange(&b);
	b.net[1] = CLV_PACKET_CGROUP + 1;
	b.seq[0] += 100000;
	b.seq[1] += 100000;
	exchange(&b);
	assert_int_equal(b.spans, 3);
	assert_int_equal(b.span[1].kind + b.span[2].kind, CLV_KIND_CLIENT + CLV_KIND_SERVER);
	close_bed(&b);
}

static void syn_again(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	pass(&b, 0, "", 0, S);
	b.seq[0]--;
	handshake(&b);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	assert_int_equal(b.spans, 1);
	assert_int_equal(b.span[0].kind, CLV_KIND_SERVER);
	farewell(&b);
	close_bed(&b);
}

/* Long after the client's end has been left out and forgotten it is still left out. */
static void long_lived(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	handshake(&b);
	for (int i = 0; i < 5; i++) {
		say(&b, 0, GET_A);
		say(&b, 1, OK_5);
		b.now_ns += 2 * CLV_LINGER_NS;
	}
	assert_int_equal(b.spans, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(b.span[i].kind, CLV_KIND_SERVER);
	assert_true(b.ignored > 0);
	assert_int_equal(b.ignored_slot, 0); /* what the client's socket sees */
	farewell(&b);
	close_bed(&b);
}

static void joined(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	assert_int_equal(b.spans, 2);
	assert_int_equal(b.span[0].kind, CLV_KIND_SERVER);
	assert_int_equal(b.span[1].kind, CLV_KIND_SERVER);
	close_bed(&b);
}

/* The ports mislead; one span it is all the same. */
static void joined_with_odd_ports(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	b.port[1] = 50000;
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	assert_int_equal(b.spans, 1);
	close_bed(&b);
}

static void datagrams(void **state)
{
	struct bed b;

	open_bed(&b, CLV_PACKET_CGROUP, CLV_PACKET_CGROUP);
	b.udp = true;
	b.port[1] = 53;
	for (int i = 0; i < 3; i++) {
		pass(&b, 0, QUERY, LEN(QUERY), 0);
		pass(&b, 1, ANSWER, LEN(ANSWER), 0);
		b.now_ns += (uint64_t)i * CLV_LINGER_NS;
	}
	assert_int_equal(b.spans, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(b.span[i].kind, CLV_KIND_SERVER);
	assert_int_equal(b.ignored, 0);
	close_bed(&b);
}

/* Of two cgroups each has its end, and of an interface nobody knows whose both are. */
static void two_observers(void **state)
{
	static const uint32_t nets[][2] = {{CLV_PACKET_CGROUP, CLV_PACKET_CGROUP + 1}, {1, 1}, {3, CLV_PACKET_CGROUP}};

	for (size_t i = 0; i < sizeof(nets) / sizeof(*nets); i++) {
		struct bed b;

		open_bed(&b, nets[i][0], nets[i][1]);
		exchange(&b);
		assert_int_equal(b.spans, 2);
		int server = b.span[1].kind == CLV_KIND_SERVER;

		assert_int_equal(b.span[server].kind, CLV_KIND_SERVER);
		assert_int_equal(b.span[!server].kind, CLV_KIND_CLIENT);
		assert_int_equal(b.span[server].net, nets[i][1]);
		assert_true(b.span[server].has_parent);
		assert_memory_equal(b.span[server].parent, b.span[!server].id, 8);
		close_bed(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(within),
		cmocka_unit_test(same_ports_again),
		cmocka_unit_test(elsewhere_later),
		cmocka_unit_test(syn_again),
		cmocka_unit_test(long_lived),
		cmocka_unit_test(joined),
		cmocka_unit_test(joined_with_odd_ports),
		cmocka_unit_test(datagrams),
		cmocka_unit_test(two_observers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
