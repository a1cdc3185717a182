/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 case by case: detection, heads as text, what the kernel is told. What holds for every input is in tests/laws.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/limits.h"
#include "proto/http2.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PREFACE  "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\6\4\0\0\0\0\0\0\3\0\0\0\144"

/* ---- a sink that remembers ---------------------------------------------------------------------------------- */

struct ear {
	struct clv_sink sink;
	unsigned heads, ends;
	enum clv_role role;
	uint32_t flags;
	uint64_t id, body;
	struct clv_http2_facts facts, last[2]; /* of the head; of ends */
	bool cancelled, lingers;
	uint64_t ended[16]; /* ids of ends */
	unsigned count;
	char head[CLV_HEAD_BYTES];
	size_t head_len;
};

static struct ear ear;
static struct clv_mem mem;
static _Alignas(16) uint8_t state[1024];

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	ear.heads++;
	ear.ends += msg->flags & CLV_MSG_ENDS ? 1 : 0;
	ear.role = msg->role;
	ear.flags = msg->flags;
	ear.id = msg->id;
	assert_int_equal(msg->facts_size, sizeof(ear.facts));
	memcpy(&ear.facts, msg->facts, sizeof(ear.facts));
	assert_in_range(msg->head.len, 1, sizeof(ear.head));
	memcpy(ear.head, msg->head.data, msg->head.len);
	ear.head_len = msg->head.len;
	return NULL;
}

static void on_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
	ear.ends++;
	ear.cancelled = end->cancelled;
	ear.lingers = end->lingers;
	if (ear.count < COUNT(ear.ended))
		ear.ended[ear.count] = end->id;
	ear.count++;
	if (end->facts)
		memcpy(&ear.last[dir], end->facts, end->facts_size);
}

static void on_body(struct clv_sink *sink, enum clv_dir dir, uint64_t id, uint64_t bytes)
{
	ear.body += bytes;
}

static void *take(void *ctx, size_t size)
{
	return clv_mem_alloc(ctx, size);
}

static void give(void *ctx, void *p, size_t size)
{
	clv_mem_free(ctx, p, size);
}

static int setup(void **unused)
{
	struct clv_conn_info conn = {.server_port = 80, .alloc = take, .free = give, .mem = &mem};

	memset(&ear, 0, sizeof(ear));
	memset(state, 0, sizeof(state));
	assert_true(clv_http2.state_size <= sizeof(state));
	ear.sink = (struct clv_sink){.head = on_head, .end = on_end, .body = on_body};
	clv_mem_init(&mem, 8u << 20);
	clv_http2.open(state, &conn);
	return 0;
}

static int teardown(void **unused)
{
	clv_http2.close(state);
	size_t left = mem.used_bytes;
	clv_mem_fini(&mem);
	return left != 0;
}

static struct clv_fed feed(enum clv_dir dir, struct clv_slice in)
{
	return clv_http2.feed(state, dir, in, &ear.sink);
}

#define FEED(dir, text) feed(dir, CLV_LIT(text))

static struct clv_slice part(struct clv_http1_field f)
{
	return clv_slice_sub(clv_slice(ear.head, ear.head_len), f.at, f.len);
}

/* A frame made of its parts; its payload is `len` bytes of `payload`. */
static struct clv_slice frame(uint8_t type, uint8_t flags, uint32_t stream, const void *payload, size_t len)
{
	static uint8_t bytes[CLV_TAIL_BYTES * 2];
	const uint8_t head[9] = {(uint8_t)(len >> 16),   (uint8_t)(len >> 8), (uint8_t)len, type, flags, 0, 0,
				 (uint8_t)(stream >> 8), (uint8_t)stream};

	memcpy(bytes, head, sizeof(head));
	if (len)
		memcpy(bytes + sizeof(head), payload, len);
	return clv_slice(bytes, sizeof(head) + len);
}

static struct clv_fed request(uint32_t stream, struct clv_slice block)
{
	return feed(CLV_TO_SERVER, frame(1, 5, stream, block.data, block.len));
}

/* ---- detection ------------------------------------------------------------------------------------------------ */

static void test_probe(void **unused)
{
	static const struct {
		struct clv_slice in;
		enum clv_dir dir;
		enum clv_where where;
		enum clv_match match;
	} table[] = {
		{CLV_LIT(PREFACE), CLV_TO_SERVER, CLV_WHERE_START, CLV_MATCH_YES},
		{CLV_LIT("PRI * HT"), CLV_TO_SERVER, CLV_WHERE_START, CLV_MATCH_MAYBE},
		{CLV_LIT("PRI * HTTP/1.1\r\n"), CLV_TO_SERVER, CLV_WHERE_START, CLV_MATCH_NO},
		{CLV_LIT(PREFACE), CLV_TO_CLIENT, CLV_WHERE_START, CLV_MATCH_NO},
		{CLV_LIT(SETTINGS), CLV_TO_CLIENT, CLV_WHERE_START, CLV_MATCH_LIKELY},
		/* gRPC has a setting of its own. */
		{CLV_LIT("\0\0\6\4\0\0\0\0\0\xfe\3\0\0\0\1"), CLV_TO_CLIENT, CLV_WHERE_START, CLV_MATCH_LIKELY},
		{CLV_LIT("\0\0\5\4\0\0\0\0\0\0\3\0\0\0"), CLV_TO_CLIENT, CLV_WHERE_START, CLV_MATCH_NO},
		{CLV_LIT("\0\0\6\4"), CLV_TO_CLIENT, CLV_WHERE_START, CLV_MATCH_MAYBE},
		{CLV_LIT("\0\0\4\1\5\0\0\0\1\x82\x86\x84\xbe"), CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_MATCH_YES},
		{CLV_LIT("\0\0\4\1\5\0\0\0\1\x82\x86\x84\xbe"), CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_MATCH_NO},
		{CLV_LIT("\0\0\1\1\5\0\0\0\1\x88"), CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_MATCH_YES},
		{CLV_LIT("\0\0\1\1\5\0\0\0\1\x88"), CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_MATCH_NO},
		/* Either side may say this. */
		{CLV_LIT("\0\0\0\4\1\0\0\0\0"), CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_MATCH_MAYBE},
		{CLV_LIT("\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_MATCH_NO},
		{CLV_LIT("GET / HTTP/1.1\r\n\r\n"), CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_MATCH_NO},
		{CLV_LIT(PREFACE), CLV_TO_SERVER, CLV_WHERE_DATAGRAM, CLV_MATCH_NO},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		enum clv_match got = clv_http2.probe(table[i].dir, table[i].in, table[i].where);

		if (got != table[i].match)
			print_message("case %zu: %d, not %d\n", i, got, table[i].match);
		assert_int_equal(got, table[i].match);
	}
}

/* ---- heads ---------------------------------------------------------------------------------------------------- */

static void test_heads_as_text(void **unused)
{
	FEED(CLV_TO_SERVER, PREFACE SETTINGS);
	request(1, CLV_LIT("\x82\x86\x04\2/a\x41\3h:1\x7a\2ua\0\1x\3a\r\n"));
	assert_string_equal(ear.head, "GET /a HTTP/2.0\r\nhost: h:1\r\nuser-agent: ua\r\nx: a  \r\n\r\n");
	assert_int_equal(ear.facts.http.method, CLV_HTTP1_METHOD_GET);
	assert_true(clv_slice_eq(part(ear.facts.http.target), CLV_LIT("/a")));
	assert_true(clv_slice_eq(part(ear.facts.http.host), CLV_LIT("h:1")));
	assert_true(clv_slice_eq(part(ear.facts.http.user_agent), CLV_LIT("ua")));
	assert_int_equal(ear.ends, 1);
}

/* A request without a body is told at once, if all of its bytes are; others end later. */
static void test_all_head(void **unused)
{
	static const uint8_t long_value[] = {0x82, 0x86, 0x84, 0, 1, 'x', 0x7f, 0x81, 0x7f}; /* of 16,384 bytes */
	static uint8_t block[sizeof(long_value) + 16384];

	FEED(CLV_TO_SERVER, PREFACE SETTINGS);
	feed(CLV_TO_SERVER, frame(1, 5, 1, "\x82\x86\x84", 3));
	assert_int_equal(ear.flags, CLV_MSG_ENDS);
	assert_int_equal(ear.count, 0);
	feed(CLV_TO_SERVER, frame(1, 4, 3, "\x82\x86\x84", 3));
	assert_int_equal(ear.flags, 0);
	assert_int_equal(ear.ends, 1);
	FEED(CLV_TO_SERVER, "\0\0\0\0\1\0\0\0\3");
	assert_int_equal(ear.count, 1);
	assert_int_equal(ear.ended[0], 3);
	memset(block, 'v', sizeof(block));
	memcpy(block, long_value, sizeof(long_value));
	feed(CLV_TO_SERVER, frame(1, 5, 5, block, sizeof(block)));
	assert_int_equal(ear.heads, 3);
	assert_int_equal(ear.flags & CLV_MSG_ENDS, 0);
	assert_int_equal(ear.count, 2);
	assert_int_equal(ear.ended[1], 5);
	FEED(CLV_TO_CLIENT, SETTINGS "\0\0\1\1\5\0\0\0\1\x88"); /* an answer is never told so */
	assert_int_equal(ear.role, CLV_RESPONSE);
	assert_int_equal(ear.flags, 0);
	assert_int_equal(ear.ended[2], 1);
}

/* Names that cannot be, pseudo-headers in the wrong place, and CONNECT. */
static void test_odd_heads(void **unused)
{
	request(1, CLV_LIT("\x82\x86\x84\0\3a:b\1"
			   "1\0\3a\nb\1"
			   "2\x04\2/x"));
	assert_string_equal(ear.head, "GET / HTTP/2.0\r\n\r\n");
	memset(ear.head, 0, sizeof(ear.head));
	request(3, CLV_LIT("\2\7CONNECT\1\5h:443"));
	assert_string_equal(ear.head, "CONNECT h:443 HTTP/2.0\r\nhost: h:443\r\n\r\n");
	assert_true(ear.facts.http.flags & CLV_HTTP1_CONNECT);
	unsigned heads = ear.heads;
	request(5, CLV_LIT("\0\1a\1"
			   "1")); /* trailers of what nobody asked */
	assert_int_equal(ear.heads, heads);
}

/* Every byte at every place: a name that cannot be is left out, what would end a line in a value is a space. */
static void test_odd_bytes(void **unused)
{
	enum { LEN = 19 };
	uint8_t block[] = "\x82\x86\x84\0\x13nnnnnnnnnnnnnnnnnnn\x13vvvvvvvvvvvvvvvvvvv";
	uint8_t *name = block + 5, *value = name + LEN + 1;
	uint32_t stream = 1;

	for (size_t at = 0; at < LEN; at++) {
		for (unsigned c = 0; c < 256; c++, stream += 2) {
			bool can_be = c > ' ' && c != ':' && c < 0x7f;
			bool ends_line = c == '\r' || c == '\n' || c == 0;
			char want[128];

			if (at || c != ':') { /* that begins a pseudo-header */
				name[at] = (uint8_t)c;
				request(stream, clv_slice(block, sizeof(block) - 1));
				snprintf(want, sizeof(want), "GET / HTTP/2.0\r\n%.*s%s\r\n", can_be ? LEN : 0, name,
					 can_be ? ": vvvvvvvvvvvvvvvvvvv\r\n" : "");
				assert_int_equal(ear.head_len, strlen(want));
				assert_memory_equal(ear.head, want, ear.head_len);
				name[at] = 'n';
			}
			stream += 2;
			value[at] = (uint8_t)c;
			request(stream, clv_slice(block, sizeof(block) - 1));
			value[at] = ends_line ? ' ' : (uint8_t)c;
			snprintf(want, sizeof(want), "GET / HTTP/2.0\r\n%.*s: %.*s\r\n\r\n", LEN, name, LEN, value);
			assert_int_equal(ear.head_len, strlen(want));
			assert_memory_equal(ear.head, want, ear.head_len);
			value[at] = 'v';
		}
	}
}

/* The head that the bytes of a block mean, in a request of its own. */
static void expect_head(uint32_t stream, struct clv_slice block, const char *head)
{
	unsigned heads = ear.heads;

	request(stream, block);
	assert_int_equal(ear.heads, heads + 1);
	assert_int_equal(ear.head_len, strlen(head));
	assert_memory_equal(ear.head, head, ear.head_len);
}

/* The same block means the same again and again, until the table changes. */
static void test_heads_again(void **unused)
{
	const struct clv_slice again = CLV_LIT("\x82\x86\x84\xbe");
	uint32_t stream = 1;

	FEED(CLV_TO_SERVER, PREFACE SETTINGS);
	for (int value = '1'; value < '4'; value++) {
		uint8_t insert[] = "\x82\x86\x84\x40\1x\1?";
		char head[] = "GET / HTTP/2.0\r\nx: ?\r\n\r\n";

		insert[7] = (uint8_t)value;
		head[19] = (char)value;
		for (int i = 0; i < 3; i++, stream += 2) /* the same bytes, and each time they are another entry */
			expect_head(stream, clv_slice(insert, 8), head);
		for (int i = 0; i < 4; i++, stream += 2)
			expect_head(stream, again, head);
		assert_int_equal(ear.flags & CLV_MSG_MIDSTREAM, 0);
		/* With two entries, the older one. */
		expect_head(stream, CLV_LIT("\x82\x86\x84\x40\1y\1z"), "GET / HTTP/2.0\r\ny: z\r\n\r\n");
		for (int i = 0; i < 4; i++)
			expect_head(stream += 2, again, "GET / HTTP/2.0\r\ny: z\r\n\r\n");
		stream += 2;
	}
	/* An empty table: the entry is not known any more, nor is it after a gap. */
	expect_head(stream, CLV_LIT("\x20\x82\x86\x84"), "GET / HTTP/2.0\r\n\r\n");
	for (int i = 0; i < 4; i++) {
		expect_head(stream += 2, again, "GET / HTTP/2.0\r\n\r\n");
		assert_true(ear.flags & CLV_MSG_MIDSTREAM);
	}
	expect_head(stream += 2, CLV_LIT("\x3f\xe1\x1f\x82\x86\x84\x40\1y\1z"), "GET / HTTP/2.0\r\ny: z\r\n\r\n");
	for (int i = 0; i < 4; i++)
		expect_head(stream += 2, again, "GET / HTTP/2.0\r\ny: z\r\n\r\n");
	clv_http2.gap(state, CLV_TO_SERVER, clv_slice(NULL, 0), 100, &ear.sink);
	for (int i = 0; i < 4; i++) {
		expect_head(stream += 2, again, "GET / HTTP/2.0\r\n\r\n");
		assert_true(ear.flags & CLV_MSG_MIDSTREAM);
	}
}

static void test_kinds_and_timeouts(void **unused)
{
	static const struct {
		const char *type, *timeout;
		uint8_t kind;
		uint64_t ns;
	} table[] = {
		{"application/grpc", "1H", CLV_HTTP2_GRPC, 3600000000000},
		{"application/grpc+proto", "2M", CLV_HTTP2_GRPC, 120000000000},
		{"Application/gRPC;charset=x", "99999999n", CLV_HTTP2_GRPC, 99999999},
		{"application/grpc-web", "5u", CLV_HTTP2_GRPC_WEB, 5000},
		{"application/grpc-web+json", "100m", CLV_HTTP2_GRPC_WEB, 100000000},
		{"application/grpc-web-text", "1S", CLV_HTTP2_GRPC_WEB_TEXT, 1000000000},
		{"application/grpcx", "123456789n", CLV_HTTP2_PLAIN, 0},
		{"application/json", "1", CLV_HTTP2_PLAIN, 0},
		{"", "S", CLV_HTTP2_PLAIN, 0},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		char block[256];
		int len = snprintf(block, sizeof(block), "\x83\x86%c\2/m\x0f\x10%c%s%c\x0cgrpc-timeout%c%s", 4,
				   (int)strlen(table[i].type), table[i].type, 0x10, (int)strlen(table[i].timeout),
				   table[i].timeout);
		request((uint32_t)(2 * i + 1), clv_slice(block, (size_t)len));
		assert_int_equal(ear.facts.kind, table[i].kind);
		assert_int_equal(ear.facts.timeout_ns, table[i].ns);
	}
}

/* More than is read: the connection goes on behind it, and says that something is not known. */
static void test_too_long(void **unused)
{
	static uint8_t junk[CLV_HEAD_BYTES];

	struct clv_fed fed = feed(CLV_TO_SERVER, clv_slice_head(frame(1, 5, 1, junk, sizeof(junk)), 5000));
	assert_int_equal(fed.v, CLV_FED_OK);
	assert_int_equal(fed.used + fed.skip, 9 + sizeof(junk));
	request(3, CLV_LIT("\x82\x86\x84\xbe"));
	assert_int_equal(ear.heads, 1);
	assert_true(ear.flags & CLV_MSG_MIDSTREAM);
}

/* ---- bodies ---------------------------------------------------------------------------------------------------- */

/* A message's prefix in three frames, of which one is padded; of the message, what is not there yet is skipped. */
static void test_messages_across_frames(void **unused)
{
	static const char head[] = "\x83\x86\x04\2/m\x0f\x10\x10"
				   "application/grpc";

	feed(CLV_TO_SERVER, frame(1, 4, 1, head, sizeof(head) - 1));
	assert_int_equal(ear.facts.kind, CLV_HTTP2_GRPC);
	assert_int_equal(FEED(CLV_TO_SERVER, "\0\0\2\0\0\0\0\0\1\0\0").v, CLV_FED_OK);
	assert_int_equal(FEED(CLV_TO_SERVER, "\0\0\4\0\x8\0\0\0\1\1\0\x10\xff").v, CLV_FED_OK);
	struct clv_fed fed = FEED(CLV_TO_SERVER, "\0\x10\2\0\1\0\0\0\1\x01"
						 "abc");
	assert_int_equal(fed.v, CLV_FED_OK);
	assert_int_equal(fed.skip, 0x1001 - 3);
	assert_int_equal(ear.ends, 0);
	/* It has been paid for. */
	assert_int_equal(feed(CLV_TO_SERVER, clv_slice(NULL, 0)).v, CLV_FED_OK);
	assert_int_equal(ear.ends, 1);
	assert_int_equal(ear.last[CLV_TO_SERVER].messages, 1);
	assert_int_equal(ear.last[CLV_TO_SERVER].bytes, 0x1001);
	assert_int_equal(ear.body, 2 + 2 + 0x1002);
}

/* Messages that are frames, that are in one frame, and in several: all frames are there. */
static void test_messages_in_frames(void **unused)
{
	static const char head[] = "\x83\x86\x04\2/m\x0f\x10\x10"
				   "application/grpc";
	static const struct {
		struct clv_slice data;
		unsigned messages, bytes; /* so far */
	} table[] = {
		{CLV_LIT("\0\0\0\0\3abc"), 1, 3},
		{CLV_LIT("\0\0\0\0\0"), 2, 3},
		{CLV_LIT(""), 2, 3},
		{CLV_LIT("\0\0\0\0\1a\0\0\0\0\2bc"), 4, 6}, /* two */
		{CLV_LIT("\0\0\0\0\5abc"), 5, 11},
		{CLV_LIT("d"), 5, 11},
		{CLV_LIT("e\0\0\0\0\1"), 6, 12}, /* the end of one, and the next one begins */
		{CLV_LIT("f\0\0"), 6, 12},
		{CLV_LIT("\0\0\1g"), 7, 13},
	};

	for (size_t last = 0; last < COUNT(table); last++) {
		uint32_t stream = 1 + 2 * (uint32_t)last;
		size_t body = 0;

		ear.body = 0;
		feed(CLV_TO_SERVER, frame(1, 4, stream, head, sizeof(head) - 1));
		for (size_t i = 0; i <= last; i++) {
			struct clv_slice data = table[i].data;

			feed(CLV_TO_SERVER, frame(0, i == last, stream, data.data, data.len));
			body += data.len;
		}
		assert_int_equal(ear.ends, last + 1);
		assert_int_equal(ear.last[CLV_TO_SERVER].messages, table[last].messages);
		assert_int_equal(ear.last[CLV_TO_SERVER].bytes, table[last].bytes);
		assert_int_equal(ear.body, body);
	}
}

/* What is missing from a message leaves the frames where they are; how many messages there were is not known. */
static void test_a_hole_in_a_message(void **unused)
{
	static const char head[] = "\x83\x86\x04\2/m\x0f\x10\x10"
				   "application/grpc";

	feed(CLV_TO_SERVER, frame(1, 4, 1, head, sizeof(head) - 1));
	FEED(CLV_TO_SERVER, "\0\0\x10\0\1\0\0\0\1\0\0");
	clv_http2.gap(state, CLV_TO_SERVER, clv_slice(NULL, 0), 14, &ear.sink);
	assert_int_equal(clv_http2.resync(state, CLV_TO_SERVER, CLV_LIT("\0\0\0\4"), false), 0);
	FEED(CLV_TO_SERVER, "\0\0\0\4\1\0\0\0\0");
	assert_int_equal(ear.ends, 1);
	assert_true(ear.last[CLV_TO_SERVER].flags & CLV_HTTP2_CUT);
	request(3, CLV_LIT("\x82\x86\x84"));
	assert_false(ear.flags & CLV_MSG_MIDSTREAM);
}

static void test_framing(void **unused)
{
	assert_null(clv_http2.framing(state, CLV_TO_CLIENT));
	request(1, CLV_LIT("\x82\x86\x84"));
	FEED(CLV_TO_CLIENT, "\0\0\1\1\4\0\0\0\1\x88\0\0\2\0\1\0\0\0\1hi");
	const struct clv_framing *f = clv_http2.framing(state, CLV_TO_CLIENT);
	assert_non_null(f);
	assert_int_equal(f->length_bytes, 3);
	assert_false(f->whole[0] & 1);
	assert_int_equal(f->whole[0] | 1, ~0u);
	assert_true(f->keep_bytes >= f->header_bytes);
	/* gRPC's messages are counted. */
	request(3, CLV_LIT("\x83\x86\x04\2/m\x0f\x10\x10"
			   "application/grpc"));
	assert_null(clv_http2.framing(state, CLV_TO_CLIENT));
}

/* ---- ends ------------------------------------------------------------------------------------------------------ */

static void test_cancelled_before_an_answer(void **unused)
{
	request(1, CLV_LIT("\x82\x86\x84"));
	FEED(CLV_TO_SERVER, "\0\0\4\3\0\0\0\0\1\0\0\0\x8");
	assert_true(ear.cancelled && ear.lingers);
	assert_true(ear.last[CLV_TO_SERVER].flags & CLV_HTTP2_RESET_BY_CLIENT);
	/* The answer to a PING that was sent later settles it; so would one to a later request. */
	FEED(CLV_TO_SERVER, "\0\0\x8\6\0\0\0\0\0pingpong");
	FEED(CLV_TO_CLIENT, "\0\0\x8\6\1\0\0\0\0pingpong");
	assert_true(ear.cancelled && !ear.lingers);
	unsigned heads = ear.heads;
	FEED(CLV_TO_CLIENT, "\0\0\1\1\5\0\0\0\1\x88");
	assert_int_equal(ear.heads, heads);
}

/* Streams begin and end in any order, and each is found all the time. */
static void test_streams_in_any_order(void **unused)
{
	enum { OPEN = 300 };
	uint32_t open[OPEN], next[8], dice = 1;
	unsigned count = 0, ends = 0;

	for (uint32_t row = 0; row < COUNT(next); row++)
		next[row] = row << 13 | 1;
	for (unsigned step = 0; step < 12000; step++) {
		dice = dice * 1664525 + 1013904223;
		if (count < OPEN && dice >> 31) {
			uint32_t row = dice >> 8 & 7;

			feed(CLV_TO_SERVER, frame(1, 4, next[row], "\x82\x86\x84", 3));
			open[count++] = next[row];
			next[row] += 2;
		} else if (count) {
			unsigned which = (dice >> 8) % count;

			feed(CLV_TO_CLIENT, frame(1, 5, open[which], "\x88", 1));
			assert_int_equal(ear.id, open[which]);
			feed(CLV_TO_SERVER, frame(0, 1, open[which], "", 0));
			ends += 2;
			open[which] = open[--count];
		}
		assert_int_equal(ear.ends, ends);
	}
	assert_true(count > 0);
}

static void test_many_streams(void **unused)
{
	for (uint32_t i = 0; i < 5000; i++)
		request(2 * i + 1, CLV_LIT("\x82\x86\x84"));
	assert_int_equal(ear.heads, 5000);
	assert_true(mem.used_bytes < 1u << 20);
	FEED(CLV_TO_CLIENT, "\0\0\1\1\5\0\0\x27\x0f\x88"); /* the last one */
	assert_int_equal(ear.role, CLV_RESPONSE);
	assert_int_equal(ear.id, 9999);
}

static void response(uint32_t stream)
{
	feed(CLV_TO_CLIENT, frame(1, 5, stream, "\x88", 1));
}

static void reset(enum clv_dir dir, uint32_t stream)
{
	feed(dir, frame(3, 0, stream, "\0\0\0\x8", 4));
}

static void go_away(uint16_t last)
{
	const uint8_t payload[8] = {0, 0, (uint8_t)(last >> 8), (uint8_t)last};

	feed(CLV_TO_CLIENT, frame(7, 0, 0, payload, sizeof(payload)));
}

/* At the bound those with the lowest ids are forgotten, as many at once as it takes not to come back soon. */
static void test_oldest_are_forgotten(void **unused)
{
	enum { BOUND = CLV_PENDING_MAX / 2 * 3, AT_ONCE = CLV_PENDING_MAX / 8 };

	for (uint32_t i = BOUND; i > 0; i--) /* whatever order they come in */
		request(2 * i + 1, CLV_LIT("\x82\x86\x84"));
	assert_int_equal(ear.ends, BOUND);
	request(2 * BOUND + 3, CLV_LIT("\x82\x86\x84"));
	for (uint32_t i = AT_ONCE + 1; i <= BOUND + 1; i++) {
		response(2 * i + 1);
		assert_int_equal(ear.ends, BOUND + 1 + i - AT_ONCE);
		assert_int_equal(ear.flags & CLV_MSG_MIDSTREAM, 0);
	}
}

/* Who gives up streams that wait, over and over, fills the table no faster than it is emptied. */
static void test_dead_streams_make_room(void **unused)
{
	for (uint32_t i = 0; i < 20000; i++) {
		request(2 * i + 1, CLV_LIT("\x82\x86\x84"));
		reset(CLV_TO_CLIENT, 2 * i + 1);
		assert_int_equal(ear.ends, 2 * i + 2);
	}
	assert_true(mem.used_bytes < 16u << 10);
}

/* They are settled in the order in which they were given up, whatever became of some of them. */
static void test_settled_in_order(void **unused)
{
	static const uint32_t given_up[] = {9, 3, 7, 1, 5};
	unsigned ends;

	for (uint32_t id = 1; id <= 11; id += 2)
		request(id, CLV_LIT("\x82\x86\x84"));
	for (size_t i = 0; i < COUNT(given_up); i++)
		reset(CLV_TO_SERVER, given_up[i]);
	response(7);             /* was under way, and is whole */
	reset(CLV_TO_CLIENT, 9); /* the server gives it up as well */
	request(13, CLV_LIT("\x82\x86\x84"));
	reset(CLV_TO_SERVER, 11); /* after that */
	ear.count = 0;
	ends = ear.ends;
	response(13);
	assert_int_equal(ear.ends, ends + 4); /* three of those, and its own */
	assert_int_equal(ear.ended[0], 3);
	assert_int_equal(ear.ended[1], 1);
	assert_int_equal(ear.ended[2], 5);
	assert_int_equal(ear.ended[3], 13);
	request(15, CLV_LIT("\x82\x86\x84"));
	ear.count = 0;
	response(15);
	assert_int_equal(ear.ended[0], 11);
	assert_int_equal(ear.ended[1], 15);
	assert_int_equal(ear.count, 2);
}

/* What a server refuses it says once or twice. */
static void test_goaway(void **unused)
{
	for (uint32_t id = 1; id <= 41; id += 2)
		request(id, CLV_LIT("\x82\x86\x84"));
	ear.count = 0;
	for (int i = 0; i < 100; i++)
		go_away(41); /* all that there are will be answered */
	assert_int_equal(ear.count, 0);
	for (uint16_t i = 0; i < 20; i++)
		go_away((uint16_t)(39 - 2 * i));
	assert_int_equal(ear.count, 8);
	assert_int_equal(ear.ended[0], 41);
	assert_int_equal(ear.ended[7], 27);
	response(25);
	assert_int_equal(ear.id, 25);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe),
		TEST(test_heads_as_text),
		TEST(test_all_head),
		TEST(test_odd_heads),
		TEST(test_odd_bytes),
		TEST(test_heads_again),
		TEST(test_kinds_and_timeouts),
		TEST(test_too_long),
		TEST(test_messages_across_frames),
		TEST(test_messages_in_frames),
		TEST(test_a_hole_in_a_message),
		TEST(test_framing),
		TEST(test_cancelled_before_an_answer),
		TEST(test_streams_in_any_order),
		TEST(test_many_streams),
		TEST(test_oldest_are_forgotten),
		TEST(test_dead_streams_make_room),
		TEST(test_settled_in_order),
		TEST(test_goaway),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
