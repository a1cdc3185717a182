/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS: names and records that lie, what is taken for DNS and what is not, and what becomes of datagrams: asked again,
 * never answered, an id used twice. Exchanges as spans: tests/golden/dns-*.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/limits.h"
#include "proto/dns.h"

#define SECOND 1000000000ull

#define HEADER "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
#define QUERY                \
	HEADER "\x03www\x07" \
	       "example\x00\x00\x01\x00\x01"
#define ANSWER                                                        \
	"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x03www\x07" \
	"example\x00\x00\x01\x00\x01"                                 \
	"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x01\x00\x04\x0a\x00\x00\x01"

/* ---- names and records --------------------------------------------------------------------------------------- */

static size_t name_at(struct clv_slice msg, size_t at)
{
	struct clv_dns_name name;

	return clv_dns_name(msg, at, &name);
}

static void test_names(void **state)
{
	struct clv_dns_name name;

	assert_int_equal(clv_dns_name(CLV_LIT(HEADER "\x01"
						     "a\x00"),
				      12, &name),
			 15);
	assert_int_equal(name.len, 3);
	assert_memory_equal(name.wire,
			    "\x01"
			    "a\x00",
			    3);
	/* through a pointer, and what is behind it */
	assert_int_equal(clv_dns_name(CLV_LIT(HEADER "\x01"
						     "a\x00\x01"
						     "b\xc0\x0c!"),
				      15, &name),
			 19);
	assert_int_equal(name.len, 5);
	assert_memory_equal(name.wire,
			    "\x01"
			    "b\x01"
			    "a\x00",
			    5);
	/* to itself, forward, into the header, through itself */
	assert_int_equal(name_at(CLV_LIT(HEADER "\xc0\x0c"), 12), 0);
	assert_int_equal(name_at(CLV_LIT(HEADER "\xc0\x0e\x00"), 12), 0);
	assert_int_equal(name_at(CLV_LIT(HEADER "\x00\xc0\x02"), 13), 0);
	assert_int_equal(name_at(CLV_LIT(HEADER "\x01"
						"a\xc0\x0c"),
				 12),
			 0);
	assert_int_equal(name_at(CLV_LIT(HEADER "\x01"
						"a\xc0\x0f\x00\x01"
						"b\xc0\x0c"),
				 17),
			 0);
	/* labels of no length that there is */
	assert_int_equal(name_at(CLV_LIT(HEADER "\x40"
						"a\x00"),
				 12),
			 0);
	assert_int_equal(name_at(CLV_LIT(HEADER "\x80"
						"a\x00"),
				 12),
			 0);
	/* cut anywhere */
	static const char whole[] = HEADER "\x01"
					   "a\x00\x01"
					   "b\xc0\x0c";
	for (size_t len = 15; len < sizeof(whole) - 1; len++)
		assert_int_equal(name_at(clv_slice(whole, len), 15), CLV_DNS_CUT);
}

/* 255 bytes are a name, 256 are none; nor are they in pieces behind pointers. */
/* Pointers that lead further back each, and to nothing: no name needs more than a name has labels. */
static void test_pointer_chain(void **state)
{
	uint8_t msg[CLV_DNS_HEADER_BYTES + 1 + 2 * 400] = {0};
	size_t first = CLV_DNS_HEADER_BYTES + 1;
	struct clv_dns_name name;

	for (size_t i = 0; i < 400; i++) {
		size_t to = i ? first + 2 * (i - 1) : CLV_DNS_HEADER_BYTES;

		msg[first + 2 * i] = (uint8_t)(0xc0 | to >> 8);
		msg[first + 2 * i + 1] = (uint8_t)to;
	}
	assert_int_equal(clv_dns_name(clv_slice(msg, sizeof(msg)), first + 2 * 100, &name), first + 2 * 100 + 2);
	assert_int_equal(clv_dns_name(clv_slice(msg, sizeof(msg)), first + 2 * 399, &name), 0);
}

static void test_name_lengths(void **state)
{
	for (unsigned last = 61; last <= 62; last++) {
		uint8_t msg[400] = {0};
		size_t at = 12;

		for (int i = 0; i < 3; i++) {
			msg[at] = 63;
			memset(msg + at + 1, 'a', 63);
			at += 64;
		}
		msg[at] = (uint8_t)last;
		memset(msg + at + 1, 'b', last);
		at += 1 + last + 1;
		assert_int_equal(name_at(clv_slice(msg, at), 12), last == 61 ? at : 0);
		if (last == 61) {
			memcpy(msg + at, "\x01x\xc0\x0c", 4);
			assert_int_equal(name_at(clv_slice(msg, at + 4), at), 0);
			memcpy(msg + at, "\xc0\x0c", 2);
			assert_int_equal(name_at(clv_slice(msg, at + 2), at), at + 2);
		}
	}
}

static void test_records(void **state)
{
	static const char whole[] = ANSWER;
	struct clv_dns_record rec;
	size_t at = sizeof(QUERY) - 1;

	assert_int_equal(clv_dns_record(clv_slice(whole, sizeof(whole) - 1), at, &rec), sizeof(whole) - 1);
	assert_int_equal(rec.type, CLV_DNS_A);
	assert_int_equal(rec.class, CLV_DNS_IN);
	assert_int_equal(rec.ttl, 1);
	assert_int_equal(rec.data_len, 4);
	assert_int_equal(rec.data_at, sizeof(whole) - 5);
	for (size_t len = at; len < sizeof(whole) - 1; len++)
		assert_int_equal(clv_dns_record(clv_slice(whole, len), at, &rec), CLV_DNS_CUT);
}

/* ---- what is DNS --------------------------------------------------------------------------------------------- */

#define DATAGRAM(dir, text) clv_dns.probe(dir, CLV_LIT(text), CLV_WHERE_DATAGRAM)
#define STREAM(text)        clv_dns.probe(CLV_TO_SERVER, CLV_LIT(text), CLV_WHERE_START)

static void test_probe_datagram(void **state)
{
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, QUERY), CLV_MATCH_YES);
	assert_int_equal(DATAGRAM(CLV_TO_CLIENT, ANSWER), CLV_MATCH_YES);
	assert_int_equal(DATAGRAM(CLV_TO_CLIENT, QUERY), CLV_MATCH_NO);
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, ANSWER), CLV_MATCH_NO);
	/* well formed, but not what anybody sends: junk behind it, a response code in a query, Z, a type without a name
	 */
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, QUERY "!"), CLV_MATCH_LIKELY);
	assert_int_equal(
		DATAGRAM(CLV_TO_SERVER, "\x12\x34\x01\x03\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
		CLV_MATCH_LIKELY);
	assert_int_equal(
		DATAGRAM(CLV_TO_SERVER, "\x12\x34\x01\x40\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
		CLV_MATCH_LIKELY);
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, HEADER "\x00\xff\x00\x00\x01"), CLV_MATCH_LIKELY);
	/* other opcodes, classes, no question, a question that is cut */
	assert_int_equal(
		DATAGRAM(CLV_TO_SERVER, "\x12\x34\x78\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01"),
		CLV_MATCH_NO);
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, HEADER "\x00\x00\x01\x00\x09"), CLV_MATCH_NO);
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), CLV_MATCH_NO);
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, HEADER "\x03www"), CLV_MATCH_NO);
	/* NetBIOS, as a query and as its answer, which has no question */
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, HEADER "\x20"
							"FHEPFCELEHFCEPFFFACACACACACACABL\x00\x00\x20\x00\x01"),
			 CLV_MATCH_NO);
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, HEADER "\x20"
							"CKAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\x00\x00\x21\x00\x01"),
			 CLV_MATCH_NO);
	assert_int_equal(DATAGRAM(CLV_TO_CLIENT,
				  "\x12\x34\x85\x00\x00\x00\x00\x01\x00\x00\x00\x00\x20"
				  "FHEPFCELEHFCEPFFFACACACACACACABL\x00\x00\x20\x00\x01\x00\x00\x00\x00\x00\x06"
				  "\x00\x00\x0a\x00\x00\x01"),
			 CLV_MATCH_NO);
	/* as long, but a host's name */
	assert_int_equal(DATAGRAM(CLV_TO_SERVER, HEADER "\x20"
							"abcdefghijklmnopabcdefghijklmnop\x00\x00\x01\x00\x01"),
			 CLV_MATCH_YES);
}

static void test_probe_stream(void **state)
{
	assert_int_equal(STREAM("\x00\x1d" QUERY), CLV_MATCH_YES);
	assert_int_equal(STREAM("\x00\x1d" QUERY "\x00\x1d"), CLV_MATCH_YES);
	assert_int_equal(STREAM("\x00\x1c" QUERY), CLV_MATCH_NO); /* the question goes on behind its message */
	assert_int_equal(STREAM("\x00\x1e" QUERY "!"), CLV_MATCH_LIKELY);
	static const char text[] = "\x00\x1d" QUERY;
	for (size_t len = 1; len < sizeof(text) - 1; len++)
		assert_true(clv_dns.probe(CLV_TO_SERVER, clv_slice(text, len), CLV_WHERE_START) != CLV_MATCH_NO);
	/* others' first bytes: few are enough to say no */
	assert_int_equal(STREAM("GET / HTTP/1.1\r\n"), CLV_MATCH_NO);
	assert_int_equal(STREAM("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x12\x34\x56"), CLV_MATCH_NO);
	assert_int_equal(STREAM("*1\r\n$4\r\nPING\r\n"), CLV_MATCH_NO);
	assert_int_equal(STREAM("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), CLV_MATCH_NO);
	assert_int_equal(STREAM("\x00\x00\x00\x08\x04\xd2\x16\x2f"), CLV_MATCH_NO);
	assert_int_equal(STREAM("SSH-2.0-OpenSSH_9.2\r\n"), CLV_MATCH_NO);
	/* what may be the middle of a message must be beyond doubt */
	assert_int_equal(clv_dns.probe(CLV_TO_SERVER, CLV_LIT("\x00\x1e" QUERY "!"), CLV_WHERE_PACKET), CLV_MATCH_NO);
}

/* ---- datagrams in the engine --------------------------------------------------------------------------------- */

struct seen {
	uint8_t span_id[8];
	uint32_t flags;
	bool answered, reused;
	int64_t again;
	uint64_t start_ns, end_ns;
	char target[32];
};

struct bed {
	struct clv_engine *engine;
	uint64_t now_ns;
	uint16_t port;
	struct seen span[16];
	unsigned count;
};

static void on_span(void *ctx, struct clv_span *s)
{
	struct bed *b = ctx;
	const struct clv_attr *again = clv_span_get(s, CLV_ATTR_CLOVISOR_RETRANSMITS);
	struct seen *o = &b->span[b->count];

	assert_true(b->count++ < sizeof(b->span) / sizeof(b->span[0]));
	assert_string_equal(s->protocol, "dns");
	memcpy(o->span_id, s->span_id, sizeof(o->span_id));
	o->flags = s->flags;
	o->answered = s->first_ns;
	o->reused = clv_span_get(s, CLV_ATTR_CLOVISOR_CONNECTION_REUSED);
	o->again = again ? again->i : 0;
	o->start_ns = s->start_ns;
	o->end_ns = s->end_ns;
	memcpy(o->target, s->target.data, s->target.len < 31 ? s->target.len : 31);
}

static void open_bed(struct bed *b)
{
	struct clv_engine_config config = {.on_span = on_span, .span_ctx = b};

	*b = (struct bed){.now_ns = 1700000000 * SECOND, .port = 40000};
	assert_int_equal(clv_engine_new(&config, &b->engine), 0);
}

static void close_bed(struct bed *b)
{
	clv_engine_flush(b->engine);
	clv_engine_free(b->engine);
}

static void send_datagram(struct bed *b, bool from_server, struct clv_slice text, size_t captured)
{
	struct clv_endpoint client = {clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), b->port};
	struct clv_endpoint server = {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), 53};
	struct clv_packet p = {
		.ts_ns = b->now_ns,
		.transport = CLV_TRANSPORT_UDP,
		.src = from_server ? server : client,
		.dst = from_server ? client : server,
		.len = (uint32_t)text.len,
		.payload = clv_slice_head(text, captured),
	};

	clv_engine_packet(b->engine, &p);
	b->now_ns += 1000;
}

/* The question for NAME.example with an id, or its answer. */
static void say(struct bed *b, bool from_server, uint8_t id, char name, unsigned more)
{
	uint8_t msg[64] = {0x12, id, from_server ? 0x81 : 0x01, 0, 0, 1, 0, 0, 0, 0, 0, (uint8_t)more};
	size_t len = 12;

	memcpy(msg + len,
	       "\x01?\x07"
	       "example\x00\x00\x01\x00\x01",
	       15);
	msg[len + 1] = (uint8_t)name;
	len += 15;
	if (more) {
		memcpy(msg + len, "\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00", 11);
		len += 11;
	}
	send_datagram(b, from_server, clv_slice(msg, len), len);
}

static void ask(struct bed *b, uint8_t id, char name)
{
	say(b, false, id, name, 0);
}

static void answer(struct bed *b, uint8_t id, char name)
{
	say(b, true, id, name, 0);
}

/* A flow is over with its last open question; the next one opens it again. */
static void test_flow_ends(void **state)
{
	struct bed b;

	open_bed(&b);
	ask(&b, 1, 'a');
	ask(&b, 2, 'b');
	answer(&b, 1, 'a');
	assert_int_equal(clv_engine_flows(b.engine), 1);
	answer(&b, 2, 'b');
	b.now_ns += CLV_LINGER_NS;
	clv_engine_tick(b.engine, b.now_ns);
	assert_int_equal(clv_engine_flows(b.engine), 0);
	ask(&b, 3, 'c');
	assert_int_equal(clv_engine_flows(b.engine), 1);
	answer(&b, 3, 'c');
	ask(&b, 4, 'd'); /* while it lingers */
	answer(&b, 4, 'd');
	close_bed(&b);
	assert_int_equal(b.count, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(b.span[i].answered);
		assert_false(b.span[i].reused); /* there is no connection */
		assert_int_equal(b.span[i].flags & CLV_SPAN_UNPAIRED, 0);
	}
}

/* Each request counts its own repetitions, and its span lasts as long as it was asked. */
static void test_asked_again(void **state)
{
	struct bed b;

	open_bed(&b);
	ask(&b, 1, 'a');
	ask(&b, 2, 'b');
	b.now_ns += 5 * SECOND;
	ask(&b, 1, 'a');
	ask(&b, 1, 'a');
	answer(&b, 2, 'b');
	close_bed(&b);
	assert_int_equal(b.count, 2);
	assert_string_equal(b.span[0].target, "b.example");
	assert_int_equal(b.span[0].again, 0);
	assert_string_equal(b.span[1].target, "a.example");
	assert_int_equal(b.span[1].again, 2);
	assert_true(b.span[1].flags & CLV_SPAN_UNPAIRED);
	assert_true(b.span[1].end_ns - b.span[1].start_ns >= 5 * SECOND);
}

/* Nobody answers: told after a while, be the flow quiet or not; an answer later than that is nobody's. */
static void test_unanswered(void **state)
{
	struct bed b;

	open_bed(&b);
	ask(&b, 1, 'a');
	b.now_ns += CLV_DATAGRAM_IDLE_NS - SECOND;
	ask(&b, 2, 'b'); /* not quiet */
	assert_int_equal(b.count, 0);
	b.now_ns += SECOND;
	ask(&b, 3, 'c');
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].target, "a.example");
	answer(&b, 1, 'a');
	answer(&b, 2, 'b');
	assert_int_equal(b.count, 2);
	assert_true(b.span[1].answered);
	b.now_ns += CLV_DATAGRAM_IDLE_NS;
	clv_engine_tick(b.engine, b.now_ns);
	assert_int_equal(b.count, 3);
	assert_true(b.span[2].flags & CLV_SPAN_UNPAIRED);
	assert_int_equal(clv_engine_flows(b.engine), 0);
	assert_int_equal(clv_engine_stats(b.engine)->drop_orphan_responses, 1);
	close_bed(&b);
}

/* The same id for another question; the same id and question in other bytes. */
static void test_ids(void **state)
{
	struct bed b;

	open_bed(&b);
	ask(&b, 1, 'a');
	ask(&b, 1, 'b');
	answer(&b, 1, 'b');
	assert_int_equal(b.count, 1);
	assert_string_equal(b.span[0].target, "b.example");
	answer(&b, 1, 'x');
	assert_int_equal(b.count, 1);
	answer(&b, 1, 'A'); /* letters have no case */
	assert_int_equal(b.count, 2);
	assert_true(b.span[1].answered);
	say(&b, false, 2, 'c', 1);
	say(&b, false, 2, 'c', 0);
	assert_int_equal(b.count, 3);
	assert_true(b.span[2].flags & CLV_SPAN_UNPAIRED);
	answer(&b, 2, 'c');
	assert_int_equal(b.count, 4);
	assert_true(b.span[3].answered);
	close_bed(&b);
}

/* The same bytes some seconds later are another exchange. */
static void test_span_ids(void **state)
{
	struct bed b;

	open_bed(&b);
	for (int i = 0; i < 2; i++) {
		ask(&b, 1, 'a');
		answer(&b, 1, 'a');
		b.now_ns += 5 * SECOND;
	}
	assert_int_equal(b.count, 2);
	assert_memory_not_equal(b.span[0].span_id, b.span[1].span_id, 8);
	close_bed(&b);
}

/* Cut by the capture: enough of it is there, or it is counted. */
static void test_cut(void **state)
{
	struct bed b;

	open_bed(&b);
	send_datagram(&b, false, CLV_LIT(QUERY), sizeof(QUERY) - 1);
	send_datagram(&b, true, CLV_LIT(ANSWER), 20);
	assert_int_equal(b.count, 0);
	assert_int_equal(clv_engine_stats(b.engine)->drop_gaps, 1);
	assert_int_equal(clv_engine_stats(b.engine)->drop_gap_bytes, sizeof(ANSWER) - 1 - 20);
	send_datagram(&b, true, CLV_LIT(ANSWER), sizeof(ANSWER) - 3);
	assert_int_equal(b.count, 1);
	assert_true(b.span[0].answered);
	assert_true(b.span[0].flags & CLV_SPAN_TRUNCATED);
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),          cmocka_unit_test(test_name_lengths),
		cmocka_unit_test(test_pointer_chain),  cmocka_unit_test(test_records),
		cmocka_unit_test(test_probe_datagram), cmocka_unit_test(test_probe_stream),
		cmocka_unit_test(test_flow_ends),      cmocka_unit_test(test_asked_again),
		cmocka_unit_test(test_unanswered),     cmocka_unit_test(test_ids),
		cmocka_unit_test(test_span_ids),       cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
