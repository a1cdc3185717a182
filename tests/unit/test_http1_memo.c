/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of field lines that came before mean what parsing them means; which are kept; and that threads share none. */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash.h"
#include "proto/http1_memo.h"
#include "trace/context.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define BLOCK "Host: a.b\r\nUser-Agent: c/1\r\n\r\n"

static int setup(void **unused)
{
	clv_http1_memo_forget();
	return 0;
}

/* ---- by itself ------------------------------------------------------------------------------------------------- */

/* A head with two fields, of which one is there, and a start line of `at` bytes. */
static struct http1_head head(size_t at, size_t block)
{
	return (struct http1_head){
		.facts.host = {.at = (uint16_t)(at + 6), .len = 3},
		.facts.target = {.at = 4, .len = (uint16_t)(at - 4)},
		.facts.status = 99,
		.facts.flags = CLV_HTTP1_HEAD | CLV_HTTP1_UPGRADE,
		.facts.unfolded = 1,
		.started = true,
		.has_length = true,
		.length = 7,
		.len = (uint32_t)(at + block),
	};
}

/* Says `text`, with its block at `at`, often enough that it may be kept. */
static void teach(uint8_t *place, const char *text, size_t at)
{
	struct clv_slice in = clv_slice_str(text);
	struct http1_head h = head(at, in.len - at);

	for (unsigned i = 0; i <= 4 * HTTP1_MEMO_EVERY; i++)
		clv_http1_memo_learn(place, in, at, &h);
}

static bool known(uint8_t *place, const char *text, size_t at, struct http1_head *h)
{
	*h = (struct http1_head){.started = true, .facts.target = {1, 2}, .facts.flags = CLV_HTTP1_CONNECT};
	return clv_http1_memo_find(place, clv_slice_str(text), at, h);
}

static void test_what_is_found(void **unused)
{
	uint8_t place = 0, elsewhere = 0;
	struct http1_head h;

	assert_false(known(&place, "0123" BLOCK, 4, &h));
	teach(&place, "0123" BLOCK, 4);
	assert_true(known(&place, "012345" BLOCK "more", 6, &h));
	assert_int_equal(h.facts.host.at, 6 + 6);
	assert_int_equal(h.facts.host.len, 3);
	assert_int_equal(h.facts.user_agent.at, 0); /* absent ones stay where they are */
	assert_int_equal(h.facts.target.at, 1);
	assert_int_equal(h.facts.status, 0);
	assert_int_equal(h.facts.flags, CLV_HTTP1_CONNECT | CLV_HTTP1_UPGRADE);
	assert_true(h.started && h.has_length && !h.bad_length && !h.coded && h.facts.unfolded);
	assert_int_equal(h.length, 7);
	assert_int_equal(h.len, 6 + sizeof(BLOCK) - 1);
	/* Another connection, and one that remembers another thread's places. */
	assert_true(known(&elsewhere, "0123" BLOCK, 4, &h));
	assert_int_equal(elsewhere, place);
	for (unsigned i = 0; i < 256; i++) {
		elsewhere = (uint8_t)i;
		assert_true(known(&elsewhere, "0123" BLOCK, 4, &h));
	}
}

static void test_what_is_not(void **unused)
{
	char text[] = "0123" BLOCK;
	uint8_t place = 0;
	struct http1_head h;

	teach(&place, text, 4);
	for (size_t i = 4; i < sizeof(text) - 1; i++) {
		text[i] ^= 0x20;
		assert_false(known(&place, text, 4, &h));
		text[i] ^= 0x20;
	}
	for (size_t cut = 4; cut < sizeof(text) - 1; cut++)
		assert_false(clv_http1_memo_find(&place, clv_slice(text, cut), 4, &h));
	assert_true(known(&place, text, 4, &h));
	clv_http1_memo_forget();
	assert_false(known(&place, text, 4, &h));
}

static void test_what_is_kept(void **unused)
{
	char text[HTTP1_MEMO_BYTES + 3];
	uint8_t place = 0;
	struct http1_head h;

	memset(text, 'x', sizeof(text) - 1);
	for (size_t len = 0; len < sizeof(text); len++) {
		text[len] = '\0';
		teach(&place, text, 0);
		assert_int_equal(known(&place, text, 0, &h), len >= 8 && len <= HTTP1_MEMO_BYTES);
		text[len] = 'x';
		clv_http1_memo_forget();
	}
	/* What comes once displaces nothing. */
	teach(&place, BLOCK, 0);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(text, sizeof(text), "X-Number: %u\r\n\r\n", i);
		h = head(0, strlen(text));
		clv_http1_memo_learn(&place, clv_slice_str(text), 0, &h);
	}
	assert_true(known(&place, BLOCK, 0, &h));
	/* What is not used any more makes room; what is stays longer than that. */
	for (unsigned i = 0; i < HTTP1_MEMO_BLOCKS; i++) {
		uint8_t other = 0;

		snprintf(text, sizeof(text), "X-Number: %u\r\n\r\n", i);
		teach(&other, text, 0);
		assert_true(known(&other, text, 0, &h));
	}
}

/* Between heads that are new each time, whoever is first. */
static void test_who_takes_turns(void **unused)
{
	uint8_t place = 0;
	char text[64];
	struct http1_head h;

	for (unsigned first = 0; first < 2; first++) {
		clv_http1_memo_forget();
		for (unsigned turn = 0; !known(&place, BLOCK, 0, &h); turn++) {
			snprintf(text, sizeof(text), "X-Number: %u\r\n\r\n", turn);
			struct clv_slice block = turn % 2 == first ? CLV_LIT(BLOCK) : clv_slice_str(text);
			h = head(0, block.len);
			clv_http1_memo_learn(&place, block, 0, &h);
			assert_in_range(turn, 0, 1000);
		}
	}
}

/* ---- in the parser --------------------------------------------------------------------------------------------- */

/* What a sink hears, and what feed() answers, as one number. */
struct ear {
	struct clv_sink sink;
	uint64_t heard;
	unsigned heads;
};

static void hear(struct ear *e, const void *what, size_t size)
{
	e->heard = clv_hash(what, size, e->heard);
}

static void note_context(void *ctx, struct clv_slice name, struct clv_slice value)
{
	clv_context_take(ctx, name, value);
}

/* Where traceparent is said to be, it is, and nothing else says anything of traces. */
static void check_traceparent(struct clv_slice head, uint16_t at)
{
	struct clv_context_fields found, only;

	memset(&found, 0, sizeof(found));
	memset(&only, 0, sizeof(only));
	clv_http1.fields(head, note_context, &found);
	only.traceparent = clv_slice(head.data + at, CLV_HTTP1_TRACEPARENT_BYTES);
	only.traceparents = 1;
	assert_memory_equal(&found, &only, sizeof(found));
}

static unsigned traceparents; /* so many were said to be somewhere */

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	struct ear *e = (struct ear *)sink;
	struct clv_http1_facts facts;
	uint32_t said[] = {dir, msg->role, msg->flags, msg->at, (uint32_t)msg->head.len, msg->facts_size};

	assert_int_equal(msg->facts_size, sizeof(facts));
	memcpy(&facts, msg->facts, sizeof(facts));
	if (facts.traceparent) {
		check_traceparent(msg->head, facts.traceparent);
		traceparents++;
		facts.traceparent = 0; /* the memo alone knows */
	}
	hear(e, said, sizeof(said));
	hear(e, &facts, sizeof(facts));
	hear(e, msg->head.data, msg->head.len);
	e->heads++;
	return NULL;
}

static void on_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
	hear((struct ear *)sink, &end->at, sizeof(end->at));
}

static struct clv_fed feed(struct ear *e, void *state, enum clv_dir dir, struct clv_slice in)
{
	struct clv_fed fed = clv_http1.feed(state, dir, in, &e->sink);
	uint64_t said[] = {fed.v, fed.used, fed.need, fed.skip};

	hear(e, said, sizeof(said));
	return fed;
}

/* One message, in two pieces, to a connection of its own, each in a block of its own so that tools see what is read. */
static uint64_t parse(enum clv_dir dir, struct clv_slice text, size_t cut, unsigned *heads)
{
	_Alignas(16) uint8_t state[128] = {0};
	struct ear e = {.sink = {.head = on_head, .end = on_end}};
	uint8_t *whole = malloc(text.len + 1), *piece = malloc(cut + 1);

	assert_non_null(whole);
	assert_non_null(piece);
	memcpy(whole, text.data, text.len);
	memcpy(piece, text.data, cut);
	clv_http1.open(state, &(struct clv_conn_info){.server_port = 80});
	struct clv_fed fed = feed(&e, state, dir, clv_slice(piece, cut));
	if (fed.v == CLV_FED_MORE && !fed.used)
		feed(&e, state, dir, clv_slice(whole, text.len));
	free(whole);
	free(piece);
	*heads += e.heads;
	return e.heard;
}

#define PARENT  "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define PARENT2 "00-11111111111111111111111111111111-2222222222222222-00"

static const struct {
	enum clv_dir dir;
	const char *text;
} usual[] = {
	{CLV_TO_SERVER, "GET /a HTTP/1.1\r\nHost: a.b\r\nUser-Agent: c/1\r\nAccept: */*\r\n\r\n"},
	{CLV_TO_SERVER, "HEAD /b?c HTTP/1.0\r\nHost: a.b\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: d\r\n\r\n"},
	{CLV_TO_SERVER, "POST /c HTTP/1.1\r\nHost: a.b\r\nContent-Length: 3\r\nForwarded: for=1.2.3.4\r\n\r\nabc"},
	{CLV_TO_SERVER, "PUT /d HTTP/1.1\nHost: a.b\nTransfer-Encoding: chunked\n\n1\nx\n0\n\n"},
	{CLV_TO_SERVER, "GET /e HTTP/1.1\r\nHost: a.b\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n"},
	{CLV_TO_SERVER, "CONNECT f:443 HTTP/1.1\r\nHost: f\r\nUser-Agent: g\r\n h\r\n\r\n"},
	{CLV_TO_SERVER, "GET /i HTTP/1.1\r\nHost: a.b\r\nb3: 0\r\n\r\n"},
	{CLV_TO_SERVER, "DELETE /j HTTP/1.1\r\nHost:\r\nUser-Agent: \r\nX-Forwarded-Host:a\r\n\r\n"},
	{CLV_TO_SERVER, "GET /k HTTP/1.1\r\nHost: a.b\r\nTraceParent: " PARENT "\r\nX-Real-IP: a\r\n\r\n"},
	{CLV_TO_SERVER, "GET /l HTTP/1.1\r\ntraceparent:" PARENT2 "\r\nContent-Length: 1\r\nHost: a.b\r\n\r\na"},
	{CLV_TO_SERVER, "GET /m HTTP/1.1\r\nHost: a.b\r\ntraceparent: " PARENT "\r\ntracestate: a=b\r\n\r\n"},
	{CLV_TO_SERVER, "GET /n HTTP/1.1\r\ntraceparent: " PARENT "\r\ntraceparent: " PARENT2 "\r\n\r\n"},
	{CLV_TO_SERVER, "GET /o HTTP/1.1\r\ntraceparent: " PARENT "a\r\nHost: a.b\r\n\r\n"},
	{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 3\r\nETag: \"1\"\r\n\r\nabc"},
	{CLV_TO_SERVER, "POST /c HTTP/1.1\r\nHost: a.b\r\nContent-Length: 31\r\nAccept: */*\r\n\r\nabc"},
	{CLV_TO_SERVER, "POST /c HTTP/1.1\r\nHost: a.b\r\nContent-Length: 7\r\nAccept: */*\r\n\r\nabc"},
	{CLV_TO_SERVER, "POST /c HTTP/1.1\r\nContent-Length: 31\r\nHost: a.b\r\n\r\nabc"},
	{CLV_TO_SERVER, "POST /c HTTP/1.1\r\nContent-Length: 7\r\nHost: a.b\r\n\r\nabc"},
	{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 31\r\nETag: \"1\"\r\n\r\nabc"},
	{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 007\r\nETag: \"1\"\r\n\r\nabc"},
	{CLV_TO_CLIENT, "HTTP/1.0 404 Not Found\r\nServer: s\r\nConnection: close\r\n\r\nabc"},
	{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length : 1\r\n\r\n0\r\n\r\n"},
	{CLV_TO_CLIENT, "HTTP/1.1 304 Not Modified\r\nContent-Length: 2, 3\r\nDate: x\r\n\r\n"},
};

static uint64_t random_state;

static unsigned draw(unsigned n)
{
	random_state = random_state * 6364136223846793005 + 1442695040888963407;
	return (unsigned)((random_state >> 33) % n);
}

/* One of the usual ones; most of the time with some bytes changed, removed, or those of another one put in. */
static struct clv_slice mutate(unsigned which, uint8_t room[1024])
{
	size_t len = strlen(usual[which].text);

	memcpy(room, usual[which].text, len);
	for (unsigned n = draw(4); n && len; n--) {
		struct clv_slice other = clv_slice_str(usual[draw(COUNT(usual))].text);
		size_t at = draw((unsigned)len), from = draw((unsigned)other.len),
		       more = draw((unsigned)(other.len - from));

		switch (draw(4)) {
		case 0:
			room[at] = (uint8_t) "\r\n \t:,0aA\x80"[draw(10)];
			break;
		case 1:
			memmove(room + at, room + at + 1, --len - at);
			break;
		case 2:
			len = at + 1;
			break;
		default:
			if (at + more > 512)
				more = 0;
			memcpy(room + at, other.data + from, more);
			len = len > at + more ? len : at + more;
		}
	}
	return clv_slice(room, len);
}

/* Goes through `count` messages, always the same. *heads: how many there were in them. */
static void go_through(uint64_t *heard, size_t count, bool remember, unsigned *heads)
{
	uint8_t room[1024];

	random_state = 1;
	*heads = 0;
	for (size_t i = 0; i < count; i++) {
		unsigned which = draw(COUNT(usual));
		struct clv_slice text = mutate(which, room);
		size_t cut = draw(2) ? text.len : draw((unsigned)text.len + 1);

		if (!remember)
			clv_http1_memo_forget();
		heard[i] = parse(usual[which].dir, text, cut, heads);
	}
}

#define MESSAGES 50000u

static void test_the_same_is_heard(void **unused)
{
	uint64_t *alone = calloc(MESSAGES, sizeof(*alone)), *together = calloc(MESSAGES, sizeof(*together));
	unsigned heads_alone, heads_together, found = 0;
	uint8_t place = 0;

	assert_non_null(alone);
	assert_non_null(together);
	go_through(alone, MESSAGES, false, &heads_alone);
	assert_int_equal(traceparents, 0);
	go_through(together, MESSAGES, true, &heads_together);
	for (size_t i = 0; i < MESSAGES; i++)
		assert_int_equal(alone[i], together[i]);
	assert_int_equal(heads_alone, heads_together);
	assert_in_range(traceparents, heads_together / 50, heads_together / 5);
	assert_in_range(heads_alone, MESSAGES / 4, 2 * MESSAGES);
	for (size_t i = 0; i < COUNT(usual); i++) {
		struct clv_slice text = clv_slice_str(usual[i].text);
		struct http1_head h = {.started = true};

		found += clv_http1_memo_find(&place, text, clv_slice_find(text, 0, '\n') + 1, &h);
	}
	assert_in_range(found, COUNT(usual) / 2, COUNT(usual) - 1); /* never those with other trace context */
	free(alone);
	free(together);
}

/* Which field it is depends on nothing but what trace/context.c makes of it. */
static void test_where_traceparent_is(void **unused)
{
	static const char *const others[] = {
		"tracestate",      "b3",          "x-b3-traceid", "x-b3-spanid",
		"x-b3-sampled",    "x-b3-flags",  "x-request-id", "uber-trace-id",
		"x-amzn-trace-id", "traceparent", "X-Request-ID", "x-b4",
	};
	const size_t none = COUNT(others) - 1; /* that says nothing */
	char text[256];

	for (size_t i = 0; i < COUNT(others); i++) {
		int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s: 1\r\ntraceparent: " PARENT "\r\n\r\n",
				   others[i]);
		unsigned heads = 0;

		traceparents = 0;
		for (unsigned n = 0; n < 100; n++)
			parse(CLV_TO_SERVER, clv_slice(text, (size_t)len), (size_t)len, &heads);
		assert_int_equal(heads, 100);
		assert_in_range(traceparents, i == none ? 50 : 0, i == none ? 100 : 0);
	}
	/* Any other value of one word is in the same place; one of another form is not. */
	traceparents = 0;
	for (size_t at = 0; at < CLV_HTTP1_TRACEPARENT_BYTES; at++)
		for (unsigned byte = 0; byte < 256; byte++) {
			unsigned heads = 0;
			int len = snprintf(text, sizeof(text),
					   "GET / HTTP/1.1\r\nx-b4: 1\r\ntraceparent: " PARENT "\r\n\r\n");

			text[(size_t)len - 4 - CLV_HTTP1_TRACEPARENT_BYTES + at] = (char)byte;
			parse(CLV_TO_SERVER, clv_slice(text, (size_t)len), (size_t)len, &heads);
		}
	assert_int_equal(traceparents, CLV_HTTP1_TRACEPARENT_BYTES * (256 - ' ' - 1));
}

/* Heads that differ in nothing but their length are known by the others, whatever it is, and say the right one. */
static void test_other_lengths(void **unused)
{
	static const char *const bad[] = {"", "-1", "1a", "0x1", "1, 1", "1 1", "9999999999999999999", "+1", "1\t2"};
	char text[256];
	uint8_t place = 0;
	unsigned found = 0;

	for (unsigned i = 0; i < 1000; i++) {
		_Alignas(16) uint8_t state[128] = {0};
		struct ear e = {.sink = {.head = on_head, .end = on_end}};
		uint64_t length = i < 900 ? i * 977 + 1 : (uint64_t)1 << (i - 900) % 56;
		int start = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n");
		int len = start + snprintf(text + start, sizeof(text) - (size_t)start,
					   "Server: s\r\ncontent-length: %" PRIu64 " \r\nAge: 1\r\n\r\n", length);
		struct clv_slice in = clv_slice(text, (size_t)len);
		struct http1_head h = {.started = true};

		clv_http1.open(state, &(struct clv_conn_info){.server_port = 80});
		struct clv_fed fed = clv_http1.feed(state, CLV_TO_CLIENT, in, &e.sink);
		assert_int_equal(fed.v, CLV_FED_OK);
		assert_int_equal(fed.used, len);
		assert_int_equal(fed.skip, length);
		if (clv_http1_memo_find(&place, in, (size_t)start, &h)) {
			assert_int_equal(h.length, length);
			assert_int_equal(h.len, len);
			assert_true(h.has_length && !h.bad_length && !h.coded && !h.facts.traceparent);
			found++;
		}
		for (int cut = start; cut < len; cut++)
			assert_false(clv_http1_memo_find(&place, clv_slice(text, (size_t)cut), (size_t)start, &h));
	}
	assert_in_range(found, 900, 1000);
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct http1_head h = {.started = true};
		int len = snprintf(text, sizeof(text), "Server: s\r\ncontent-length: %s \r\nAge: 1\r\n\r\n", bad[i]);

		assert_false(clv_http1_memo_find(&place, clv_slice(text, (size_t)len), 0, &h));
	}
}

static void *in_thread(void *unused)
{
	struct http1_head h;
	uint8_t place = 0;

	return known(&place, BLOCK, 0, &h) ? unused : NULL;
}

static void test_threads_share_nothing(void **unused)
{
	struct http1_head h;
	uint8_t place = 0;
	pthread_t thread;
	void *found;

	teach(&place, BLOCK, 0);
	assert_true(known(&place, BLOCK, 0, &h));
	assert_int_equal(pthread_create(&thread, NULL, in_thread, &place), 0);
	assert_int_equal(pthread_join(thread, &found), 0);
	assert_null(found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_what_is_found, setup),
		cmocka_unit_test_setup(test_what_is_not, setup),
		cmocka_unit_test_setup(test_what_is_kept, setup),
		cmocka_unit_test_setup(test_who_takes_turns, setup),
		cmocka_unit_test_setup(test_the_same_is_heard, setup),
		cmocka_unit_test_setup(test_where_traceparent_is, setup),
		cmocka_unit_test_setup(test_other_lengths, setup),
		cmocka_unit_test_setup(test_threads_share_nothing, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
