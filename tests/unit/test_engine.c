/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine as its users see it: packets in, spans out. One exchange seen in two places, NAT and resegmentation
 * between them, ticks, rules, memory, shuffled directions, and what a connection's end does to a request.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/limits.h"

#define MS        1000000ull
#define GET_A     "GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
#define GET_B     "GET /b HTTP/1.1\r\nHost: shop\r\n\r\n"
#define OK_5      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define NOT_FOUND "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

struct seen {
	uint8_t trace_id[16], span_id[8], parent_id[8];
	bool has_parent;
	enum clv_span_kind kind;
	uint64_t start_ns, end_ns;
	uint32_t flags;
	int status_code;
	char target[64], error[64];
};

struct bed {
	struct clv_engine *engine;
	struct seen span[64];
	unsigned count;
	struct clv_endpoint client, server;
	uint32_t seq[2]; /* next of client, of server */
	uint8_t client_side;
	uint32_t net;
	uint64_t now_ns;
};

static void copy_text(char *out, size_t size, struct clv_slice s)
{
	size_t n = s.len < size - 1 ? s.len : size - 1;

	if (n)
		memcpy(out, s.data, n);
	out[n] = '\0';
}

static void on_span(void *ctx, struct clv_span *s)
{
	struct bed *b = ctx;
	assert_true(b->count < 64);
	struct seen *o = &b->span[b->count++];
	const struct clv_attr *error = clv_span_get(s, CLV_ATTR_ERROR_TYPE);

	memcpy(o->trace_id, s->trace_id, 16);
	memcpy(o->span_id, s->span_id, 8);
	memcpy(o->parent_id, s->parent_id, 8);
	o->has_parent = s->has_parent;
	o->kind = s->kind;
	o->start_ns = s->start_ns;
	o->end_ns = s->end_ns;
	o->flags = s->flags;
	o->status_code = s->status_code;
	copy_text(o->target, sizeof(o->target), s->target);
	copy_text(o->error, sizeof(o->error), error ? error->s : CLV_LIT(""));
}

static struct clv_endpoint endpoint(const char *text, uint16_t port)
{
	struct clv_endpoint e = {.port = port};

	assert_int_equal(clv_addr_parse(text, &e.addr), 0);
	return e;
}

static void open_bed(struct bed *b, struct clv_engine_config config)
{
	memset(b, 0, sizeof(*b));
	config.on_span = on_span;
	config.span_ctx = b;
	assert_int_equal(clv_engine_new(&config, &b->engine), 0);
	b->client = endpoint("10.0.0.1", 40000);
	b->server = endpoint("10.0.0.2", 80);
	b->seq[0] = 1000;
	b->seq[1] = 0xfffffff0; /* wraps soon */
	b->now_ns = 1700000000ull * 1000 * MS;
}

static void close_bed(struct bed *b)
{
	clv_engine_free(b->engine);
}

static struct clv_packet packet(struct bed *b, int from_server, struct clv_slice bytes, uint8_t flags)
{
	b->now_ns += MS;
	return (struct clv_packet){
		.ts_ns = b->now_ns,
		.src = from_server ? b->server : b->client,
		.dst = from_server ? b->client : b->server,
		.net = b->net,
		.seq = b->seq[from_server],
		.ack = b->seq[!from_server],
		.len = (uint32_t)bytes.len,
		.payload = bytes,
		.tcp_flags = flags,
		.side = b->client_side == CLV_SIDE_UNKNOWN                 ? CLV_SIDE_UNKNOWN
			: (b->client_side == CLV_SIDE_OUT) == !from_server ? CLV_SIDE_OUT
									   : CLV_SIDE_IN,
	};
}

static void send_flags(struct bed *b, int from_server, const char *text, uint8_t flags)
{
	struct clv_packet p = packet(b, from_server, clv_slice_str(text), flags);

	b->seq[from_server] += (uint32_t)strlen(text) + !!(flags & CLV_TCP_SYN) + !!(flags & CLV_TCP_FIN);
	clv_engine_packet(b->engine, &p);
}

static void say(struct bed *b, int from_server, const char *text)
{
	send_flags(b, from_server, text, CLV_TCP_ACK | CLV_TCP_PSH);
}

static void handshake(struct bed *b)
{
	send_flags(b, 0, "", CLV_TCP_SYN);
	send_flags(b, 1, "", CLV_TCP_SYN | CLV_TCP_ACK);
	say(b, 0, "");
}

static void one_exchange(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	uint64_t start = b.now_ns + MS;
	say(&b, 0, GET_A);
	assert_int_equal(b.count, 0);
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].target, "/a");
	assert_int_equal(b.span[0].status_code, 200);
	assert_int_equal(b.span[0].kind, CLV_KIND_SERVER);
	assert_false(b.span[0].has_parent);
	assert_int_equal(b.span[0].start_ns, start);
	assert_int_equal(b.span[0].end_ns, start + MS);
	assert_int_equal(b.span[0].flags, 0);
	close_bed(&b);
}

/* The client's veth and the server's: other addresses (NAT), other segments, same trace; parent and child. */
static void two_observers(void **state)
{
	struct bed c, s;

	open_bed(&c, (struct clv_engine_config){0});
	c.client_side = CLV_SIDE_OUT;
	c.server = endpoint("10.96.0.1", 8080); /* a service address, before DNAT */
	handshake(&c);
	say(&c, 0, GET_A);
	say(&c, 1, OK_5);
	assert_int_equal(c.count, 1);

	open_bed(&s, (struct clv_engine_config){0});
	s.client_side = CLV_SIDE_IN;
	handshake(&s);
	say(&s, 0, "GET /a HTT");
	say(&s, 0, "P/1.1\r\nHost: shop\r\n\r\n");
	say(&s, 1, "HTTP/1.1 200 OK\r\nContent-Le");
	say(&s, 1, "ngth: 5\r\n\r\nhel");
	say(&s, 1, "lo");
	assert_int_equal(s.count, 1);

	assert_int_equal(c.span[0].kind, CLV_KIND_CLIENT);
	assert_int_equal(s.span[0].kind, CLV_KIND_SERVER);
	assert_memory_equal(c.span[0].trace_id, s.span[0].trace_id, 16);
	assert_false(c.span[0].has_parent);
	assert_true(s.span[0].has_parent);
	assert_memory_equal(s.span[0].parent_id, c.span[0].span_id, 8);
	assert_memory_not_equal(s.span[0].span_id, c.span[0].span_id, 8);
	close_bed(&c);
	close_bed(&s);
}

/* Two requests that are alike byte by byte are two traces. */
static void ids_differ(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, GET_A GET_A);
	say(&b, 1, OK_5 OK_5);
	assert_int_equal(b.count, 2);
	assert_memory_not_equal(b.span[0].trace_id, b.span[1].trace_id, 16);
	close_bed(&b);
}

static void traceparent(void **state)
{
	static const uint8_t trace[4] = {0x0a, 0xf7, 0x65, 0x19}, parent[4] = {0xb7, 0xad, 0x6b, 0x71};
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0,
	    "GET /a HTTP/1.1\r\nHost: shop\r\n"
	    "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n");
	say(&b, 1, OK_5);
	assert_memory_equal(b.span[0].trace_id, trace, 4);
	assert_true(b.span[0].has_parent);
	assert_memory_equal(b.span[0].parent_id, parent, 4);
	close_bed(&b);
}

/* The observed end is through with reading when it says farewell: nothing more will be seen, so it is over now. */
static void last_farewell(void **state)
{
	for (int last = 0; last < 2; last++) {
		struct bed b;

		open_bed(&b, (struct clv_engine_config){0});
		b.client_side = CLV_SIDE_OUT;
		handshake(&b);
		say(&b, 0, GET_A);
		struct clv_packet p = packet(&b, 0, CLV_LIT(""), CLV_TCP_ACK | CLV_TCP_FIN);

		p.last = last;
		clv_engine_packet(b.engine, &p);
		b.seq[0]++;
		assert_int_equal(b.count, last);
		if (last) {
			assert_string_equal(b.span[0].error, "connection_closed");
		} else {
			say(&b, 1, OK_5);
			assert_int_equal(b.count, 1);
			assert_int_equal(b.span[0].status_code, 200);
		}
		close_bed(&b);
	}
}

/* Two CPUs: the response is captured before the request it answers. */
static void response_first(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	struct clv_packet request = packet(&b, 0, CLV_LIT(GET_A), CLV_TCP_ACK);
	b.seq[0] += (uint32_t)request.len;
	struct clv_packet response = packet(&b, 1, CLV_LIT(OK_5), CLV_TCP_ACK);
	clv_engine_packet(b.engine, &response);
	assert_int_equal(b.count, 0);
	clv_engine_packet(b.engine, &request);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.span[0].status_code, 200);
	assert_int_equal(b.span[0].flags, 0);
	close_bed(&b);
}

/* A response was lost between two exchanges: the first stays without answer, the second has its own. */
static void lost_response(bool pipelined)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	if (pipelined) {
		say(&b, 0, GET_A GET_B GET_A);
		say(&b, 1, OK_5);
		b.seq[1] += sizeof(NOT_FOUND) - 1; /* the answer to /b, never captured */
	} else {
		say(&b, 0, GET_B);
		b.seq[1] += sizeof(NOT_FOUND) - 1;
		say(&b, 0, GET_A);
	}
	say(&b, 1, OK_5);
	clv_engine_flush(b.engine);
	for (unsigned i = 0; i < b.count; i++) {
		bool is_b = strcmp(b.span[i].target, "/b") == 0;

		assert_false(is_b && b.span[i].status_code == 200);
	}
	assert_int_equal(b.count, pipelined ? 3 : 2);
	unsigned right = 0;
	for (unsigned i = 0; i < b.count; i++)
		right += b.span[i].status_code == 200;
	assert_int_equal(right, 1);
	close_bed(&b);
}

static void lost_response_in_turn(void **state)
{
	lost_response(false);
}

static void lost_response_pipelined(void **state)
{
	lost_response(true);
}

/* A request was lost: its answer must not go to the next one. */
static void lost_request(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	b.seq[0] += sizeof(GET_B) - 1; /* never captured */
	say(&b, 1, NOT_FOUND);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	clv_engine_flush(b.engine);
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].target, "/a");
	assert_int_equal(b.span[0].status_code, 200);
	assert_int_equal(clv_engine_stats(b.engine)->drop_orphan_responses, 1);
	close_bed(&b);
}

static void midstream(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	say(&b, 1, "the end of some older body");
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	say(&b, 0, GET_B);
	say(&b, 1, NOT_FOUND);
	assert_int_equal(b.count, 2);
	assert_int_equal(b.span[0].status_code, 200);
	assert_int_equal(b.span[0].flags & CLV_SPAN_MIDSTREAM, CLV_SPAN_MIDSTREAM);
	assert_int_equal(b.span[1].status_code, 404);
	assert_int_equal(b.span[1].flags, CLV_SPAN_REUSED);
	close_bed(&b);
}

/* Empty lines before a request are no part of it, whatever packets they come in. */
static void empty_lines(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, "\r");
	say(&b, 0, "\n\r");
	say(&b, 0, "\n");
	uint64_t start = b.now_ns + MS;
	for (const char *head = GET_A; *head; head++) { /* byte by byte */
		char byte[2] = {*head};

		say(&b, 0, byte);
	}
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.span[0].start_ns, start);
	close_bed(&b);
}

/* A body that quotes requests, cut by a gap: what is quoted is none. */
static void quoted(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, "POST /p HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n");
	b.seq[0] += 100; /* lost, with a chunk's end in it */
	say(&b, 0, "of a text\r\n\r\n" GET_B GET_B "more text\r\n0\r\n\r\n");
	say(&b, 1, OK_5);
	say(&b, 0, GET_A);
	say(&b, 1, NOT_FOUND);
	clv_engine_flush(b.engine);
	for (unsigned i = 0; i < b.count; i++)
		assert_string_not_equal(b.span[i].target, "/b");
	assert_int_equal(b.span[0].status_code, 200);
	assert_string_equal(b.span[0].target, "/p");
	assert_true(clv_engine_stats(b.engine)->drop_unconfirmed >= 1);
	close_bed(&b);
}

static void ends(uint8_t flags, int from_server, const char *error)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, GET_A);
	send_flags(&b, from_server, "", flags);
	clv_engine_flush(b.engine);
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].error, error);
	assert_int_equal(!!(b.span[0].flags & CLV_SPAN_UNPAIRED), error[0] == '\0');
	close_bed(&b);
}

static void endings(void **state)
{
	ends(CLV_TCP_RST | CLV_TCP_ACK, 1, "connection_reset");
	ends(CLV_TCP_RST, 0, "connection_reset");
	ends(CLV_TCP_FIN | CLV_TCP_ACK, 1, "connection_closed");
	ends(CLV_TCP_FIN | CLV_TCP_ACK, 0, ""); /* half-closed: the answer may still come, but the capture ended */
	ends(CLV_TCP_ACK, 1, "");
}

/* The client has bytes of the server that nobody saw: its request may have been answered. */
static void answer_passed_unseen(void **state)
{
	for (int from_server = 0; from_server < 2; from_server++) {
		struct bed b;

		open_bed(&b, (struct clv_engine_config){0});
		handshake(&b);
		say(&b, 0, GET_A);
		b.seq[1] += 50;
		send_flags(&b, 0, "", CLV_TCP_ACK);
		send_flags(&b, from_server, "", CLV_TCP_RST | CLV_TCP_ACK);
		clv_engine_flush(b.engine);
		assert_int_equal(b.count, 1);
		assert_string_equal(b.span[0].error, "");
		assert_true(b.span[0].flags & CLV_SPAN_GAP);
		close_bed(&b);
	}
}

static void play_with_ticks(struct bed *b, bool ticks)
{
	handshake(b);
	say(b, 0, GET_A);
	b->seq[1] += 10; /* lost */
	say(b, 1, OK_5);
	for (int i = 0; i < 30; i++) {
		b->now_ns += 400 * MS;
		if (ticks)
			clv_engine_tick(b->engine, b->now_ns);
	}
	say(b, 0, GET_B);
	say(b, 1, NOT_FOUND);
	clv_engine_flush(b->engine);
}

/* Ticks make reports earlier and change nothing. */
static void ticks(void **state)
{
	struct bed with, without;

	open_bed(&with, (struct clv_engine_config){0});
	open_bed(&without, (struct clv_engine_config){0});
	play_with_ticks(&with, true);
	play_with_ticks(&without, false);
	assert_int_equal(with.count, without.count);
	assert_memory_equal(with.span, without.span, sizeof(with.span));
	assert_true(with.count >= 2);
	close_bed(&with);
	close_bed(&without);
}

/* Many connections in a small budget: the oldest go and are counted; memory stays within. */
static void memory(void **state)
{
	struct clv_engine_config config = {.memory_bytes = 256 << 10};
	struct bed b;
	size_t peak;

	open_bed(&b, config);
	for (int i = 0; i < 2000; i++) {
		b.client.port = (uint16_t)(10000 + i);
		b.seq[0] = 1;
		b.seq[1] = 1;
		handshake(&b);
		say(&b, 0, "GET /never-ends HTTP/1.1\r\nX: ");
	}
	clv_engine_memory(b.engine, NULL, &peak, NULL);
	assert_true(peak <= config.memory_bytes);
	assert_true(clv_engine_stats(b.engine)->drop_memory > 1000);
	close_bed(&b);
}

static void rules(void **state)
{
	struct clv_port_rule port = {.port = 8080};
	struct clv_egress_rule egress = {.prefix_bits = 96 + 8, .port = 80};
	struct bed b;

	open_bed(&b, (struct clv_engine_config){.ports = &port, .port_count = 1});
	handshake(&b);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 0); /* port 80 was not asked for */
	close_bed(&b);

	assert_int_equal(clv_addr_parse("10.0.0.0", &egress.addr), 0);
	for (int match = 0; match < 2; match++)
		for (int out = 0; out < 2; out++) {
			open_bed(&b, (struct clv_engine_config){.egress = &egress, .egress_count = 1});
			b.client_side = out ? CLV_SIDE_OUT : CLV_SIDE_IN;
			if (!match)
				b.server = endpoint("192.168.0.1", 80);
			handshake(&b);
			say(&b, 0, GET_A);
			say(&b, 1, OK_5);
			assert_int_equal(b.count, match || !out); /* rules are for requests going out */
			close_bed(&b);
		}
}

static bool is_web(void *ctx, uint32_t net, struct clv_slice prefix)
{
	assert_int_equal(net, 3);
	return clv_slice_starts(CLV_LIT("web-7d9c-x2x4"), prefix);
}

/* The first egress rule that matches decides, for its pods. */
static void egress_rules(void **state)
{
	static const struct {
		struct clv_egress_rule rule[3];
		bool recorded;
	} cases[] = {
		{{{.port = 80, .pod = CLV_LIT("web-")}}, true},
		{{{.port = 80, .pod = CLV_LIT("web-7d9c-x2x4-longer")}}, false},
		{{{.port = 80, .pod = CLV_LIT("db-")}}, false},
		{{{.port = 80, .pod = CLV_LIT("db-"), .ignore = true}}, true},
		{{{.port = 80, .ignore = true}}, false},
		{{{.port = 81, .ignore = true}}, true},
		{{{.port = 80, .pod = CLV_LIT("web"), .ignore = true}, {.port = 80}}, false},
		{{{.port = 80, .pod = CLV_LIT("db"), .ignore = true}, {.port = 80}}, true},
		{{{.port = 80}, {.port = 80, .ignore = true}}, true},
		{{{.port = 81, .ignore = true}, {.port = 82}}, false}, /* there is one that records, but not this */
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		for (int out = 0; out < 2; out++) {
			struct bed b;

			open_bed(&b, (struct clv_engine_config){
					     .egress = cases[i].rule,
					     .egress_count = cases[i].rule[1].port ? 2 : 1,
					     .pod_named = is_web,
				     });
			b.net = 3;
			b.client_side = out ? CLV_SIDE_OUT : CLV_SIDE_IN;
			handshake(&b);
			say(&b, 0, GET_A);
			say(&b, 1, OK_5);
			assert_int_equal(b.count, cases[i].recorded || !out);
			close_bed(&b);
		}
}

/* With ports as well: what no egress rule speaks of is theirs. */
static void egress_rules_and_ports(void **state)
{
	struct clv_port_rule port = {.port = 80};
	struct clv_egress_rule other = {.port = 443, .ignore = true}, this = {.port = 80, .ignore = true};

	for (int i = 0; i < 4; i++) {
		struct bed b;

		port.port = i & 1 ? 80 : 8080;
		open_bed(&b,
			 (struct clv_engine_config){
				 .ports = &port, .port_count = 1, .egress = i & 2 ? &this : &other, .egress_count = 1});
		b.client_side = CLV_SIDE_OUT;
		handshake(&b);
		say(&b, 0, GET_A);
		say(&b, 1, OK_5);
		assert_int_equal(b.count, i == 1);
		close_bed(&b);
	}
}

/* What is not HTTP says so once, and costs nothing more. */
static struct clv_kverdict last_verdict[2];

static void note_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	last_verdict[ref->hook] = *v;
}

static void verdicts(void **state)
{
	struct clv_engine_config config = {.verdict = note_verdict};
	struct bed b;

	for (int http = 0; http < 2; http++) {
		memset(last_verdict, 0, sizeof(last_verdict));
		open_bed(&b, config);
		handshake(&b);
		for (int from_server = 0; from_server < 2; from_server++) {
			const char *text = !http         ? "\x16\x03\x01 hello"
					   : from_server ? "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n"
							 : GET_A;
			struct clv_packet p = packet(&b, from_server, clv_slice_str(text), CLV_TCP_ACK);

			p.kernel = (struct clv_kernel_ref){.slot = 7, .gen = 3, .hook = (uint8_t)from_server};
			b.seq[from_server] += p.len;
			clv_engine_packet(b.engine, &p);
		}
		if (http) { /* the window moves past the body; the last word of that direction */
			assert_int_equal(last_verdict[1].kind, CLV_VERDICT_WINDOW);
			assert_int_equal(last_verdict[1].seq, b.seq[1] + 5000000 + CLV_WINDOW_AHEAD);
			assert_true(last_verdict[1].seek);
		} else {
			assert_int_equal(last_verdict[0].kind, CLV_VERDICT_IGNORE);
			assert_int_equal(last_verdict[1].kind, CLV_VERDICT_IGNORE);
		}
		close_bed(&b);
	}
}

/* ---- what no honest peer sends ------------------------------------------------------------------------------ */

static void send_bytes(struct bed *b, int from_server, struct clv_slice bytes)
{
	struct clv_packet p = packet(b, from_server, bytes, CLV_TCP_ACK);

	b->seq[from_server] += p.len;
	clv_engine_packet(b->engine, &p);
}

/* A start that may still become a request, and behind it more in one packet than anything may be. */
static void start_too_long(void **state)
{
	static uint8_t noise[65495];
	struct bed b;

	memset(noise, 'a', sizeof(noise));
	memcpy(noise, "GET ", 4); /* a target with a slash would be believed sooner */
	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	send_bytes(&b, 0, clv_slice(noise, CLV_DETECT_BYTES - 1));
	memset(noise, 'a', 4);
	send_bytes(&b, 0, clv_slice(noise, sizeof(noise)));
	send_bytes(&b, 0, clv_slice(noise, sizeof(noise)));
	clv_engine_flush(b.engine);
	assert_int_equal(b.count, 0);
	close_bed(&b);
}

/* Whatever the budget: no crash, never above it, and what it costs is counted. */
static void any_budget(void **state)
{
	for (size_t budget = 64; budget <= 64 << 10; budget += budget / 8) {
		struct bed b;
		size_t peak;

		open_bed(&b, (struct clv_engine_config){.memory_bytes = budget});
		for (int i = 0; i < 3; i++) {
			b.client.port++;
			handshake(&b);
			say(&b, 0, "GET /a HT");
			say(&b, 0, "TP/1.1\r\nHost: shop\r\n\r\n" GET_B);
			say(&b, 1, "HTTP/1.1 200 OK\r\nContent-");
			say(&b, 1, "Length: 5\r\n\r\nhello" NOT_FOUND);
		}
		const struct clv_engine_stats *st = clv_engine_stats(b.engine);
		assert_true(b.count == 6 || st->drop_memory);
		for (unsigned i = 0; i < b.count; i++)
			if (b.span[i].status_code)
				assert_int_equal(b.span[i].status_code, b.span[i].target[1] == 'a' ? 200 : 404);
		clv_engine_memory(b.engine, NULL, &peak, NULL);
		assert_true(peak <= budget);
		clv_engine_flush(b.engine);
		close_bed(&b);
	}
}

/* One connection full of long requests that nobody answers takes nothing from the others. */
static void greedy(void **state)
{
	static char head[60000];
	struct bed quiet, b;

	memset(head, 'x', sizeof(head));
	memcpy(head, "GET /a HTTP/1.1\r\nX: ", 20);
	memcpy(head + sizeof(head) - 4, "\r\n\r\n", 4);
	open_bed(&b, (struct clv_engine_config){0});
	quiet = b;
	quiet.client.port = 50000;
	handshake(&quiet);
	say(&quiet, 0, GET_B);
	b.now_ns = quiet.now_ns;
	handshake(&b);
	for (unsigned i = 0; i < CLV_PENDING_MAX; i++)
		send_bytes(&b, 0, clv_slice(head, sizeof(head)));
	const struct clv_engine_stats *st = clv_engine_stats(b.engine);
	assert_int_equal(st->drop_memory, 0);
	assert_true(st->drop_pending_overflow > 900);
	quiet.now_ns = b.now_ns;
	say(&quiet, 1, OK_5);
	assert_int_equal(b.count, 1); /* spans of this engine all go to b */
	assert_string_equal(b.span[0].target, "/b");
	assert_int_equal(b.span[0].status_code, 200);
	close_bed(&b);
}

/* Only the first bytes after each turn are captured: every span is right, or says that it is not whole. */
static void probing(void **state)
{
	static const char *const said[] = {GET_A, "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\nxx", GET_B,
					   NOT_FOUND};
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	for (int i = 0; i < 4; i++) {
		struct clv_packet p = packet(&b, i & 1, clv_slice_str(said[i]), CLV_TCP_ACK);

		p.probe = true;
		p.kernel = (struct clv_kernel_ref){.slot = 7, .gen = 3, .hook = (uint8_t)(i & 1)};
		p.len = i == 1 ? 1000 : p.len;
		b.seq[i & 1] += i == 1 ? 3000 + (uint32_t)strlen(said[i]) - 2 : p.len;
		clv_engine_packet(b.engine, &p);
	}
	assert_int_equal(b.count, 2);
	assert_string_equal(b.span[0].target, "/a");
	assert_int_equal(b.span[0].status_code, 200);
	assert_string_equal(b.span[1].target, "/b");
	assert_int_equal(b.span[1].status_code, 404);
	close_bed(&b);
}

/* What stands behind a FIN was never read by anybody. */
static void behind_fin(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	send_flags(&b, 0, GET_A, CLV_TCP_ACK | CLV_TCP_FIN);
	say(&b, 0, GET_B);
	say(&b, 1, OK_5 NOT_FOUND);
	clv_engine_flush(b.engine);
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].target, "/a");
	assert_int_equal(clv_engine_stats(b.engine)->requests, 1);
	assert_int_equal(clv_engine_stats(b.engine)->drop_gaps, 0);
	close_bed(&b);
}

/*
 * A stray packet from anywhere in the sequence space may cost answers, and time, but not the rest of the connection:
 * all requests behind it are found.
 */
static void stray(uint32_t off, uint8_t flags)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	struct clv_packet p = packet(&b, 0, CLV_LIT("stray"), flags);
	p.seq += off;
	clv_engine_packet(b.engine, &p);
	for (int i = 0; i < 4; i++) {
		b.now_ns += 11000 * MS; /* longer than anything is waited for */
		say(&b, 0, GET_B);
		say(&b, 1, OK_5);
	}
	b.now_ns += 11000 * MS;
	clv_engine_tick(b.engine, b.now_ns);
	assert_int_equal(clv_engine_stats(b.engine)->requests, 5);
	assert_string_equal(b.span[0].target, "/a");
	for (unsigned i = 0; i < b.count; i++)
		assert_true(b.span[i].status_code == 0 || b.span[i].status_code == 200);
	close_bed(&b);
}

static void strays(void **state)
{
	static const uint8_t flags[] = {CLV_TCP_ACK, CLV_TCP_ACK | CLV_TCP_FIN, CLV_TCP_RST, CLV_TCP_RST | CLV_TCP_ACK,
					CLV_TCP_SYN};

	for (size_t f = 0; f < sizeof(flags); f++) {
		for (unsigned shift = 27; shift < 32; shift++)
			stray((1u << shift) + 12345, flags[f]);
		for (unsigned shift = 6; shift < 32; shift++)
			stray(0 - (1u << shift), flags[f]);
	}
}

/* A port is used again while bytes of the connection before still wait for others: they count. */
static void port_reused(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	b.seq[0] += 30; /* lost */
	say(&b, 0, GET_B);
	assert_int_equal(clv_engine_stats(b.engine)->requests, 0);
	b.seq[0] += 100000;
	b.seq[1] += 100000;
	handshake(&b);
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].target, "/b");
	assert_true(b.span[0].flags & CLV_SPAN_UNPAIRED);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 2);
	assert_int_equal(b.span[1].flags, 0);
	close_bed(&b);
}

/* Requests behind an offer to switch wait for its answer. When that is lost, they are requests. */
static void held_requests(void **state)
{
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, "GET /a HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	say(&b, 0, GET_B);
	assert_int_equal(clv_engine_stats(b.engine)->requests, 1);
	b.seq[1] += 40; /* lost */
	say(&b, 1, "lo");
	b.now_ns += 11000 * MS;
	clv_engine_tick(b.engine, b.now_ns);
	assert_int_equal(clv_engine_stats(b.engine)->requests, 2);
	clv_engine_flush(b.engine);
	assert_int_equal(b.count, 2);
	assert_true(b.span[0].flags & b.span[1].flags & CLV_SPAN_UNPAIRED);
	close_bed(&b);
}

static void count_open(void *ctx, struct clv_span *span)
{
	struct clv_span *last = ctx;

	*last = *span;
}

/* What is open can be looked at, as it stands, and goes on as if nobody had looked. */
static void open_requests(void **state)
{
	static struct clv_span last;
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, GET_A);
	assert_int_equal(clv_engine_open(b.engine, b.now_ns, 1000 * MS, 10, count_open, &last), 0);
	b.now_ns += 1500 * MS;
	assert_int_equal(clv_engine_open(b.engine, b.now_ns, 1000 * MS, 0, count_open, &last), 1);
	assert_int_equal(last.start_ns, 0);
	assert_int_equal(clv_engine_open(b.engine, b.now_ns, 1000 * MS, 10, count_open, &last), 1);
	assert_int_equal(last.end_ns, b.now_ns);
	assert_int_equal(last.flags, 0);
	assert_int_equal(last.status_code, 0);
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.span[0].flags, 0);
	assert_int_equal(clv_engine_open(b.engine, b.now_ns + 5000 * MS, 1000 * MS, 10, count_open, &last), 0);
	close_bed(&b);
}

/* Behind a gap, a request line that takes two packets, and is longer than what detection looks at. */
static void long_line_behind_gap(void **state)
{
	char line[6000] = "GET /";
	struct bed b;

	memset(line + 5, 'x', sizeof(line) - 6);
	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	say(&b, 0, GET_A);
	say(&b, 1, OK_5);
	b.seq[0] += 30; /* lost */
	say(&b, 1, OK_5);
	b.now_ns += 200 * MS;
	say(&b, 0, line);
	say(&b, 0, " HTTP/1.1\r\nHost: shop\r\n\r\n");
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 2);
	assert_memory_equal(b.span[1].target, "/xxx", 4);
	assert_int_equal(b.span[1].status_code, 200);
	close_bed(&b);
}

/* An empty line, then a request, a byte a packet: it begins with its own first byte, however many follow. */
static void byte_by_byte(void **state)
{
	const char *text = "\r\n" GET_A;
	struct bed b;

	open_bed(&b, (struct clv_engine_config){0});
	handshake(&b);
	uint64_t start = b.now_ns + 3 * MS;
	for (; *text; text++)
		send_bytes(&b, 0, clv_slice(text, 1));
	say(&b, 1, OK_5);
	assert_int_equal(b.count, 1);
	assert_int_equal(b.span[0].start_ns, start);
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_exchange),
		cmocka_unit_test(two_observers),
		cmocka_unit_test(ids_differ),
		cmocka_unit_test(traceparent),
		cmocka_unit_test(last_farewell),
		cmocka_unit_test(response_first),
		cmocka_unit_test(lost_response_in_turn),
		cmocka_unit_test(lost_response_pipelined),
		cmocka_unit_test(lost_request),
		cmocka_unit_test(midstream),
		cmocka_unit_test(empty_lines),
		cmocka_unit_test(quoted),
		cmocka_unit_test(endings),
		cmocka_unit_test(answer_passed_unseen),
		cmocka_unit_test(ticks),
		cmocka_unit_test(memory),
		cmocka_unit_test(rules),
		cmocka_unit_test(egress_rules),
		cmocka_unit_test(egress_rules_and_ports),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(start_too_long),
		cmocka_unit_test(any_budget),
		cmocka_unit_test(greedy),
		cmocka_unit_test(probing),
		cmocka_unit_test(behind_fin),
		cmocka_unit_test(strays),
		cmocka_unit_test(port_reused),
		cmocka_unit_test(held_requests),
		cmocka_unit_test(open_requests),
		cmocka_unit_test(long_line_behind_gap),
		cmocka_unit_test(byte_by_byte),
	};

	return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
