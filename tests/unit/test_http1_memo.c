/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of field lines that came before mean what parsing them means; which are kept; and that threads share none. */
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

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	struct ear *e = (struct ear *)sink;
	uint32_t said[] = {dir, msg->role, msg->flags, msg->at, (uint32_t)msg->head.len, msg->facts_size};

	hear(e, said, sizeof(said));
	hear(e, msg->facts, msg->facts_size);
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
	{CLV_TO_CLIENT, "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 3\r\nETag: \"1\"\r\n\r\nabc"},
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
	go_through(together, MESSAGES, true, &heads_together);
	for (size_t i = 0; i < MESSAGES; i++)
		assert_int_equal(alone[i], together[i]);
	assert_int_equal(heads_alone, heads_together);
	assert_in_range(heads_alone, MESSAGES / 4, 2 * MESSAGES);
	for (size_t i = 0; i < COUNT(usual); i++) {
		struct clv_slice text = clv_slice_str(usual[i].text);
		struct http1_head h = {.started = true};

		found += clv_http1_memo_find(&place, text, clv_slice_find(text, 0, '\n') + 1, &h);
	}
	assert_in_range(found, COUNT(usual) / 2, COUNT(usual) - 1); /* never the one with trace context */
	free(alone);
	free(together);
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
		cmocka_unit_test_setup(test_threads_share_nothing, setup),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
