/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the engine finds out what is spoken: weak matches and their witnesses, servers that speak first, wrong guesses
 * taken back, connections joined late, datagrams. Beside HTTP with parsers that exist here only.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/limits.h"
#include "proto/http1.h"

#define MS     1000000ull
#define GET_A  "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK_5   "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define USUAL  7000
#define OTHER  7777
#define HINTED 7003

enum { S = CLV_TCP_SYN, A = CLV_TCP_ACK };

/* ---- a protocol that others look like: requests <N>, answers [N] --------------------------------------------------
 */

static bool weak_is(enum clv_dir dir, struct clv_slice in)
{
	return in.len >= 3 && in.data[0] == (dir == CLV_TO_SERVER ? '<' : '[') &&
	       in.data[2] == (dir == CLV_TO_SERVER ? '>' : ']');
}

static enum clv_match weak_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	(void)where;
	if (in.len < 3)
		return CLV_MATCH_MAYBE;
	return weak_is(dir, in) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
}

static void weak_open(void *st, const struct clv_conn_info *conn)
{
	(void)st;
	(void)conn;
}

static struct clv_fed weak_feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct clv_msg m = {.role = dir == CLV_TO_SERVER ? CLV_REQUEST : CLV_RESPONSE,
			    .head = clv_slice_head(in, 3),
			    .method = CLV_LIT("ASK"),
			    .facts = "",
			    .facts_size = 1};
	struct clv_end end = {.at = 3};

	(void)st;
	if (in.len < 3)
		return (struct clv_fed){.v = in.len ? CLV_FED_MORE : CLV_FED_OK};
	if (!weak_is(dir, in))
		return (struct clv_fed){.v = CLV_FED_BAD};
	m.id = end.id = in.data[1];
	sink->head(sink, dir, &m);
	sink->end(sink, dir, &end);
	return (struct clv_fed){.v = CLV_FED_OK, .used = 3};
}

static void weak_gap(void *st, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	(void)st;
	(void)dir;
	(void)rest;
	(void)lost;
	(void)sink;
}

static ptrdiff_t weak_resync(void *st, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	(void)st;
	return at_packet && weak_is(dir, in) ? 0 : -1;
}

static void weak_fin(void *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	(void)st;
	(void)dir;
	(void)rest;
	(void)sink;
}

static void weak_describe(const struct clv_pair *pair, struct clv_span *span)
{
	span->method = CLV_LIT("ASK");
	span->status_code = pair->response != NULL;
}

#define WEAK(n, c, f)                                                                                                \
	{                                                                                                            \
		.name = (n), .ports = {USUAL}, .caps = (c), .state_size = 1, .probe = weak_probe, .open = weak_open, \
		.feed = (f), .gap = weak_gap, .resync = weak_resync, .fin = weak_fin, .describe = weak_describe      \
	}

static const struct clv_proto weak = WEAK("weak", CLV_CAP_DATAGRAM | CLV_CAP_BY_ID, weak_feed);

/* Looks the same, and never is. */
static struct clv_fed liar_feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	(void)st;
	(void)dir;
	(void)sink;
	return (struct clv_fed){.v = in.len ? CLV_FED_BAD : CLV_FED_OK};
}

/* Has long frames, which the kernel can walk over, before anything is answered. */
static struct clv_fed walker_feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	if (in.len && in.data[0] == '#')
		return (struct clv_fed){.v = CLV_FED_OK, .used = 1, .skip = CLV_KERNEL_WALK_BYTES};
	return weak_feed(st, dir, in, sink);
}

static const struct clv_framing *walker_framing(const void *st, enum clv_dir dir)
{
	static const struct clv_framing framing = {.header_bytes = 1, .length_bytes = 1, .keep_bytes = 1};

	(void)st;
	(void)dir;
	return &framing;
}

static const struct clv_proto walker = {
	.name = "walker",
	.ports = {USUAL},
	.state_size = 1,
	.probe = weak_probe,
	.open = weak_open,
	.feed = walker_feed,
	.gap = weak_gap,
	.resync = weak_resync,
	.fin = weak_fin,
	.describe = weak_describe,
	.framing = walker_framing,
};

static const struct clv_proto liar = WEAK("liar", 0, liar_feed), other_liar = WEAK("other-liar", 0, liar_feed);

static const struct clv_proto *const usual_protos[] = {&clv_http1, &weak, NULL};
static const struct clv_proto *const with_liar[] = {&clv_http1, &liar, &weak, NULL};
static const struct clv_proto *const only_walker[] = {&walker, NULL};
static const struct clv_proto *const only_liars[] = {&liar, &other_liar, NULL};

/* ---- the bed ----------------------------------------------------------------------------------------------------- */

struct bed {
	struct clv_engine *engine;
	unsigned spans, answered;
	char protocol[16]; /* of the last span */
	char recorded[16]; /* of the last connection record; "-": none */
	uint16_t port[2];  /* of client, of server */
	uint8_t transport;
	uint32_t seq[2];
	uint64_t now_ns;
	bool live;                                           /* packets come from a kernel */
	const struct clv_framing *framing[2];                /* of the last word about what is skipped, by hook */
	enum { NOBODY_HERE, CLIENT_HERE, SERVER_HERE } here; /* whose packets are captured */
};

static struct bed b;

static void on_span(void *ctx, struct clv_span *span)
{
	(void)ctx;
	b.spans++;
	b.answered += span->status_code != 0;
	strncpy(b.protocol, span->protocol, sizeof(b.protocol) - 1);
}

static void on_flow(void *ctx, struct clv_flow_record *record)
{
	(void)ctx;
	strncpy(b.recorded, record->protocol ? record->protocol : "-", sizeof(b.recorded) - 1);
}

static void on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	(void)ctx;
	if (v->kind == CLV_VERDICT_SKIP)
		b.framing[ref->hook] = v->framing;
}

/* Here a server on that port speaks it. */
static const struct clv_proto *on_hint(void *ctx, uint32_t net, uint16_t port)
{
	(void)ctx;
	(void)net;
	return port == HINTED ? &weak : NULL;
}

static void begin(const struct clv_proto *const *protos, uint16_t port)
{
	const struct clv_engine_config config = {
		.on_span = on_span, .on_flow = on_flow, .verdict = on_verdict, .hint = on_hint};

	clv_protos = protos;
	memset(&b, 0, sizeof(b));
	assert_int_equal(clv_engine_new(&config, &b.engine), 0);
	b.port[0] = 40000;
	b.port[1] = port;
	b.seq[0] = 1000;
	b.seq[1] = 5000;
	b.now_ns = 1700000000ull * 1000 * MS;
}

static void end(void)
{
	clv_engine_flush(b.engine);
	clv_engine_free(b.engine);
}

static void send(int from_server, const char *text, uint8_t flags)
{
	static const uint8_t client[4] = {10, 0, 0, 1}, server[4] = {10, 0, 0, 2};
	struct clv_endpoint ends[2] = {{clv_addr_v4(client), b.port[0]}, {clv_addr_v4(server), b.port[1]}};

	b.now_ns += MS;
	bool out = from_server == (b.here == SERVER_HERE);
	struct clv_packet p = {
		.side = b.here == NOBODY_HERE ? CLV_SIDE_UNKNOWN
			: out                 ? CLV_SIDE_OUT
					      : CLV_SIDE_IN,
		.ts_ns = b.now_ns,
		.src = ends[from_server],
		.dst = ends[!from_server],
		.transport = b.transport,
		.seq = b.transport ? 0 : b.seq[from_server],
		.ack = b.transport ? 0 : b.seq[!from_server],
		.len = (uint32_t)strlen(text),
		.payload = clv_slice_str(text),
		.tcp_flags = b.transport ? 0 : flags,
		.kernel = {.gen = b.live, .hook = (uint8_t)from_server},
	};
	b.seq[from_server] += p.len + !!(flags & S);
	clv_engine_packet(b.engine, &p);
}

static void asks(const char *text)
{
	send(0, text, A);
}

static void says(const char *text)
{
	send(1, text, A);
}

static void shake(void)
{
	send(0, "", S);
	send(1, "", S | A);
}

static void expect(unsigned spans, unsigned answered, const char *recorded, unsigned withdrawn)
{
	assert_int_equal(clv_engine_stats(b.engine)->withdrawn, withdrawn);
	end();
	assert_int_equal(b.spans, spans);
	assert_int_equal(b.answered, answered);
	assert_string_equal(b.recorded, recorded);
}

/* ---- streams ------------------------------------------------------------------------------------------------------
 */

/* One side is enough on the usual port. */
static void test_usual_port(void **state)
{
	begin(usual_protos, USUAL);
	shake();
	asks("<1>");
	expect(1, 0, "weak", 0);
}

/* What is said of a port here is said of the servers here. */
static void test_hinted_port(void **state)
{
	begin(usual_protos, HINTED);
	b.here = SERVER_HERE;
	shake();
	asks("<1>");
	expect(1, 0, "weak", 0);

	begin(usual_protos, HINTED);
	b.here = CLIENT_HERE;
	shake();
	asks("<1>");
	expect(0, 0, "-", 0);
}

/* Elsewhere both sides must fit; nothing of what was said before is lost. */
static void test_any_port(void **state)
{
	begin(usual_protos, OTHER);
	shake();
	asks("<1>");
	asks("<2>");
	assert_int_equal(clv_engine_stats(b.engine)->requests, 0);
	says("[1]");
	says("[2]");
	assert_int_equal(b.spans, 2);
	expect(2, 2, "weak", 0);

	begin(usual_protos, OTHER);
	shake();
	asks("<1>");
	says("no such thing");
	asks("<2>");
	says("[2]");
	expect(0, 0, "-", 0);
}

static void test_server_first(void **state)
{
	for (int usual = 0; usual < 2; usual++) {
		begin(usual_protos, usual ? USUAL : OTHER);
		shake();
		says("[0]"); /* answers nothing */
		asks("<1>");
		says("[1]");
		expect(1, 1, "weak", 0);
	}
}

/* HTTP is HTTP on the port of something else, whose parser would believe less. */
static void test_foreign_port(void **state)
{
	begin(usual_protos, USUAL);
	shake();
	asks(GET_A);
	says(OK_5);
	expect(1, 1, "http", 0);
}

/* Byte by byte. */
static void test_in_pieces(void **state)
{
	begin(usual_protos, OTHER);
	shake();
	asks("<");
	asks("1");
	asks(">");
	says("[");
	says("1");
	says("]");
	expect(1, 1, "weak", 0);
}

/* A weak match the other way round does not make a client of who was asked. */
static void test_syn_tells(void **state)
{
	begin(usual_protos, OTHER);
	b.port[0] = USUAL;
	shake();
	says("<1>");
	asks("[1]");
	expect(0, 0, "-", 0);
}

/* What the client begins with is nothing known; what the server says is. */
static void test_either_side_decides(void **state)
{
	begin(usual_protos, 80);
	shake();
	asks("PROXY TCP4 10.9.9.9 10.0.0.2 4000 80\r\n");
	says(OK_5); /* answers nothing that was seen */
	asks(GET_A);
	says(OK_5);
	expect(1, 1, "http", 0);
}

/* But it is not waited for for ever. */
static void test_patience(void **state)
{
	static char much[CLV_DETECT_BYTES + 1];

	memset(much, '.', sizeof(much) - 1);
	begin(usual_protos, 80);
	shake();
	asks(much);
	assert_int_equal(clv_engine_stats(b.engine)->opaque_flows, 0);
	asks(much);
	assert_int_equal(clv_engine_stats(b.engine)->opaque_flows, 1);
	says(OK_5);
	asks(GET_A);
	says(OK_5);
	expect(0, 0, "-", 0);
}

/* ---- wrong guesses -------------------------------------------------------------------------------------------------
 */

/* What was said before is taken back, and what is spoken in truth is found. */
static void test_withdrawn(void **state)
{
	begin(usual_protos, USUAL);
	shake();
	asks("<1>");
	asks("<2>");
	asks("nonsense");
	assert_int_equal(b.spans, 0);
	assert_int_equal(clv_engine_stats(b.engine)->withdrawn, 1);
	assert_int_equal(clv_engine_stats(b.engine)->drop_unconfirmed, 2);
	asks(GET_A);
	says(OK_5);
	assert_int_equal(b.answered, 1);
	expect(1, 1, "http", 1);
}

/* What the kernel was told of its frames is taken back as well, whoever breaks it. */
static void test_walks_end(void **state)
{
	static char body[CLV_KERNEL_WALK_BYTES + 1];

	memset(body, '.', sizeof(body) - 1);
	for (int who = 0; who < 2; who++) {
		begin(only_walker, USUAL);
		b.live = true;
		shake();
		asks("<1>");
		for (int i = 0; i < 2; i++) {
			send(i, "#", A);
			send(i, body, A);
		}
		assert_non_null(b.framing[0]);
		assert_non_null(b.framing[1]);
		send(who, "nonsense", A);
		assert_int_equal(clv_engine_stats(b.engine)->withdrawn, 1);
		assert_null(b.framing[0]);
		assert_null(b.framing[1]);
		end();
	}
}

/* An answer has confirmed it: from there on nonsense is a gap like any other. */
static void test_confirmed(void **state)
{
	begin(usual_protos, USUAL);
	shake();
	asks("<1>");
	says("[1]");
	asks("nonsense");
	asks("<2>");
	says("[2]");
	assert_int_equal(clv_engine_stats(b.engine)->drop_parse_errors, 1);
	expect(2, 2, "weak", 0);
}

/* The bytes that proved one guess wrong are another's beginning. */
static void test_asked_again(void **state)
{
	begin(with_liar, USUAL);
	shake();
	asks("<1>");
	says("[1]");
	expect(1, 1, "weak", 1);
}

static void test_no_end_of_it(void **state)
{
	begin(only_liars, USUAL);
	shake();
	for (int i = 0; i < 20; i++)
		asks("<1>");
	assert_int_equal(clv_engine_stats(b.engine)->opaque_flows, 1);
	expect(0, 0, "-", CLV_WITHDRAWALS);
}

/* ---- joined late ---------------------------------------------------------------------------------------------------
 */

static void test_midstream(void **state)
{
	begin(usual_protos, OTHER);
	asks("in the middle");
	says("of something");
	asks("<1>");
	says("[1]");
	asks("<2>");
	says("[2]");
	expect(2, 2, "weak", 0);

	begin(usual_protos, OTHER);
	says("of something");
	asks(GET_A);
	says(OK_5);
	expect(1, 1, "http", 0);
}

/* ---- datagrams -----------------------------------------------------------------------------------------------------
 */

static void test_datagrams(void **state)
{
	begin(usual_protos, USUAL);
	b.transport = CLV_TRANSPORT_UDP;
	asks("<1>");
	expect(1, 0, "weak", 0);

	begin(usual_protos, OTHER);
	b.transport = CLV_TRANSPORT_UDP;
	asks("<1>");
	assert_int_equal(clv_engine_stats(b.engine)->requests, 0);
	says("[1]");
	assert_int_equal(b.spans, 1);
	asks("<2>");
	says("[2]");
	expect(2, 2, "weak", 0);

	begin(usual_protos, OTHER);
	b.transport = CLV_TRANSPORT_UDP;
	for (int i = 0; i < 10; i++)
		asks("<1>");
	assert_int_equal(clv_engine_stats(b.engine)->opaque_flows, 1);
	expect(0, 0, "-", 0);
}

static void test_datagrams_withdrawn(void **state)
{
	begin(usual_protos, USUAL);
	b.transport = CLV_TRANSPORT_UDP;
	asks("<1>");
	asks("nonsense");
	asks("<2>");
	expect(0, 0, "-", 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hinted_port),  cmocka_unit_test(test_usual_port),
		cmocka_unit_test(test_any_port),     cmocka_unit_test(test_server_first),
		cmocka_unit_test(test_foreign_port), cmocka_unit_test(test_in_pieces),
		cmocka_unit_test(test_syn_tells),    cmocka_unit_test(test_either_side_decides),
		cmocka_unit_test(test_patience),     cmocka_unit_test(test_withdrawn),
		cmocka_unit_test(test_confirmed),    cmocka_unit_test(test_asked_again),
		cmocka_unit_test(test_no_end_of_it), cmocka_unit_test(test_midstream),
		cmocka_unit_test(test_datagrams),    cmocka_unit_test(test_datagrams_withdrawn),
		cmocka_unit_test(test_walks_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
