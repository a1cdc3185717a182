/* SPDX-License-Identifier: Apache-2.0 */
/* Pairing: which request a response answers, by order and by evidence, and what is bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/limits.h"
#include "model/span.h"
#include "trace/exchange.h"

struct bed {
	struct clv_mem mem;
	struct clv_exchange_pool pool;
	struct clv_exchanges xs;
};

static void open_bed(struct bed *b, bool by_id, bool midstream)
{
	clv_mem_init(&b->mem, 16 << 20);
	b->pool = clv_exchange_pool(&b->mem);
	clv_exchanges_init(&b->xs, by_id, midstream);
}

static void drop(struct bed *b, struct clv_exchange *x)
{
	clv_exchanges_take(&b->xs, x);
	clv_exchange_free(&b->pool, x);
}

static void close_bed(struct bed *b)
{
	struct clv_exchange *x;

	while ((x = clv_exchanges_first(&b->xs)))
		drop(b, x);
	assert_int_equal(b->xs.count, 0);
	assert_int_equal(b->xs.bytes, 0);
	clv_exchange_pool_trim(&b->pool);
	assert_int_equal(b->mem.used_bytes, 0);
	clv_mem_fini(&b->mem);
}

static struct clv_msg message(uint64_t id, struct clv_slice head)
{
	static const uint64_t facts = 42;

	return (struct clv_msg){.id = id, .head = head, .facts = &facts, .facts_size = sizeof(facts)};
}

/* A request at `pos` whose packet acknowledged `ack`. */
static struct clv_exchange *request(struct bed *b, uint64_t id, uint64_t pos, uint32_t ack)
{
	struct clv_msg msg = message(id, CLV_LIT("head"));
	struct clv_mark at = {.pos = pos, .ts_ns = 1, .ack_seq = ack};

	return clv_exchanges_request(&b->xs, &b->pool, &msg, &at);
}

static struct clv_exchange *match(struct bed *b, uint64_t id, uint64_t pos, uint32_t ack)
{
	struct clv_msg msg = message(id, CLV_LIT("answer"));
	struct clv_mark at = {.pos = pos, .ts_ns = 2, .ack_seq = ack};

	return clv_exchanges_match(&b->xs, &msg, &at);
}

static void answer(struct bed *b, uint64_t pos)
{
	struct clv_msg msg = message(0, CLV_LIT("answer"));
	struct clv_mark at = {.pos = pos, .ts_ns = 2};

	clv_exchange_answer(clv_exchanges_first(&b->xs), &msg, &at);
}

static void in_turn(void **state)
{
	struct bed b;

	open_bed(&b, false, false);
	struct clv_exchange *x = request(&b, 0, 100, 500), *y = request(&b, 0, 150, 500);
	assert_int_equal(x->flags, 0);
	assert_int_equal(y->flags, CLV_SPAN_REUSED);
	assert_memory_equal(clv_exchange_head(y).data, "head", 4);
	assert_ptr_equal(match(&b, 0, 500, 200), x);
	answer(&b, 500); /* not ended: it stays in the list */
	assert_ptr_equal(match(&b, 0, 600, 200), y);
	close_bed(&b);
}

/* Answers were stepped over: what waits for one needs evidence that the next is its own. */
static void doubt(void **state)
{
	struct bed b;

	open_bed(&b, false, false);
	request(&b, 0, 100, 500);
	clv_exchanges_doubt(&b.xs);
	assert_null(match(&b, 0, 600, 200)); /* its own began at 500 */
	struct clv_exchange *y = request(&b, 0, 200, 700);
	assert_ptr_equal(match(&b, 0, 700, 300), y);
	close_bed(&b);
}

/* A client that was told to continue has read on, but not the answer to what it asked. */
static void interim_is_no_evidence(void **state)
{
	struct clv_msg msg = {.role = CLV_INTERIM};
	struct clv_mark at = {.pos = 500, .ts_ns = 2, .ack_seq = 300};
	struct bed b;

	open_bed(&b, false, false);
	clv_exchanges_lost_requests(&b.xs, 500); /* one of them at 100, which expected a "100 Continue" */
	struct clv_exchange *y = request(&b, 0, 200, 525);
	assert_null(clv_exchanges_match(&b.xs, &msg, &at));
	assert_null(match(&b, 0, 525, 300)); /* the answer to that one */
	drop(&b, y);

	clv_exchanges_lost_answers(&b.xs);
	struct clv_exchange *z = request(&b, 0, 300, 600);
	at.pos = 600;
	at.ack_seq = 400;
	assert_ptr_equal(clv_exchanges_match(&b.xs, &msg, &at), z);
	assert_ptr_equal(match(&b, 0, 625, 400), z);
	close_bed(&b);
}

/* Sequence numbers are compared as such, also where they wrap. */
static void impossible(void **state)
{
	struct bed b;

	open_bed(&b, false, false);
	struct clv_exchange *x = request(&b, 0, 0x1fffffff0ull, 0xfffffff8);
	assert_null(match(&b, 0, 0x1fffffff0ull, 0xfffffff5)); /* the client had read past this when it asked */
	assert_null(match(&b, 0, 0x200000004ull, 0xffffffe0)); /* the server had not got as far as the request */
	assert_ptr_equal(match(&b, 0, 0x200000004ull, 5), x);
	close_bed(&b);
}

/* Joined in the middle: only the answer that begins where the client had read up to. */
static void evidence(void **state)
{
	struct bed b;

	open_bed(&b, false, true);
	struct clv_exchange *x = request(&b, 0, 100, 500);
	assert_true(x->unsure);
	assert_null(match(&b, 0, 501, 200));
	assert_ptr_equal(match(&b, 0, 500, 200), x);
	answer(&b, 500);
	assert_false(x->unsure);
	close_bed(&b);
}

/* A client that does not wait gives no evidence: what is unsure stays so. */
static void no_evidence(void **state)
{
	struct bed b;

	open_bed(&b, false, true);
	request(&b, 0, 100, 500);
	request(&b, 0, 150, 500); /* nothing new was read: it did not wait */
	assert_null(match(&b, 0, 500, 200));
	close_bed(&b);

	open_bed(&b, false, false);
	clv_exchanges_lost_requests(&b.xs, 700);
	request(&b, 0, 100, 700); /* the lost one was not answered before this */
	assert_null(match(&b, 0, 700, 200));
	close_bed(&b);

	open_bed(&b, false, false);
	clv_exchanges_lost_requests(&b.xs, 700);
	struct clv_exchange *x = request(&b, 0, 100, 800);
	assert_ptr_equal(match(&b, 0, 800, 200), x);
	close_bed(&b);
}

static void by_id(void **state)
{
	struct bed b;

	open_bed(&b, true, true);
	struct clv_exchange *x = request(&b, 1, 100, 500), *y = request(&b, 3, 150, 500);
	assert_ptr_equal(match(&b, 3, 600, 200), y);
	assert_ptr_equal(match(&b, 1, 700, 200), x);
	assert_null(match(&b, 5, 700, 200));
	close_bed(&b);
}

/* A few of those that were freed are taken again, when they fit. */
static void spares(void **state)
{
	static uint8_t head[2000];
	struct clv_msg msg = message(0, clv_slice(head, 300));
	const struct clv_mark at = {.pos = 100, .ts_ns = 1};
	struct clv_exchange *x[2 * CLV_EXCHANGE_SPARES];
	struct bed b;

	open_bed(&b, false, false);
	for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		x[i] = clv_exchanges_request(&b.xs, &b.pool, &msg, &at);
	size_t each = b.mem.used_bytes / (2 * CLV_EXCHANGE_SPARES);
	for (size_t i = 0; i < sizeof(x) / sizeof(x[0]); i++)
		drop(&b, x[i]);
	assert_int_equal(b.mem.used_bytes, CLV_EXCHANGE_SPARES * each);
	/* A shorter one, as long as little is wasted. */
	msg.head.len = 290;
	assert_ptr_equal(x[0] = clv_exchanges_request(&b.xs, &b.pool, &msg, &at), x[CLV_EXCHANGE_SPARES - 1]);
	assert_int_equal(b.mem.used_bytes, CLV_EXCHANGE_SPARES * each);
	drop(&b, x[0]);
	/* What does not fit goes, one at a time. */
	msg.head.len = 4;
	x[0] = clv_exchanges_request(&b.xs, &b.pool, &msg, &at);
	assert_int_equal(b.pool.spares, CLV_EXCHANGE_SPARES - 1);
	msg.head.len = sizeof(head);
	x[1] = clv_exchanges_request(&b.xs, &b.pool, &msg, &at);
	assert_int_equal(b.pool.spares, CLV_EXCHANGE_SPARES - 2);
	drop(&b, x[1]); /* too long to be kept */
	assert_int_equal(b.pool.spares, CLV_EXCHANGE_SPARES - 2);
	close_bed(&b);
}

static void bounds(void **state)
{
	static uint8_t head[60000];
	struct clv_msg msg = message(0, clv_slice(head, sizeof(head)));
	struct clv_mark at = {.pos = 100, .ts_ns = 1};
	unsigned n = 0;
	struct bed b;

	open_bed(&b, false, false);
	while (!clv_exchanges_full(&b.xs, &msg)) {
		assert_non_null(clv_exchanges_request(&b.xs, &b.pool, &msg, &at));
		n++;
	}
	assert_int_equal(n, CLV_PENDING_BYTES / (sizeof(head) + msg.facts_size));
	assert_null(clv_exchanges_request(&b.xs, &b.pool, &msg, &at));
	drop(&b, clv_exchanges_first(&b.xs));
	assert_false(clv_exchanges_full(&b.xs, &msg));
	close_bed(&b);

	open_bed(&b, false, false);
	for (n = 0; request(&b, 0, 100 + n, 500); n++)
		;
	assert_int_equal(n, CLV_PENDING_MAX);
	close_bed(&b);
}

/* Facts of another size are another protocol's: they are not taken. */
static void foreign_facts(void **state)
{
	uint8_t facts[CLV_FACTS_MAX] = {0xff};
	struct clv_exchange *x;
	struct bed b;

	open_bed(&b, true, false);
	x = request(&b, 1, 1000, 5000);
	clv_exchange_amend(x, CLV_TO_SERVER, &(struct clv_end){.facts = facts, .facts_size = sizeof(facts)});
	clv_exchange_amend(x, CLV_TO_CLIENT, &(struct clv_end){.facts = facts, .facts_size = sizeof(facts)});
	assert_true(x->facts_size < sizeof(facts));
	assert_int_equal(x->response_facts[0], 0);
	drop(&b, x);
	close_bed(&b);
}

/* However ids are chosen, and in whatever order `ids` of them come and go: each is found as long as it waits. */
static void come_and_go(unsigned ids)
{
	enum { IDS = 1000 };
	static const uint64_t steps[] = {1, 2, 256, UINT64_C(0xf1de83e19937733d) /* ways in a row */};

	for (size_t s = 0; s < sizeof(steps) / sizeof(steps[0]); s++) {
		struct clv_exchange *waits[IDS] = {NULL};
		uint32_t luck = 1;
		struct bed b;

		open_bed(&b, true, false);
		for (unsigned i = 0; i < 20 * IDS; i++) {
			luck = luck * 1664525 + 1013904223;
			unsigned n = (luck >> 8) % ids;
			uint64_t id = n * steps[s];

			assert_ptr_equal(clv_exchanges_find(&b.xs, id), waits[n]);
			assert_ptr_equal(match(&b, id, 1, 1), waits[n]);
			if (waits[n])
				drop(&b, waits[n]);
			waits[n] = waits[n] ? NULL : request(&b, id, i, 0);
			assert_ptr_equal(clv_exchanges_find(&b.xs, id), waits[n]);
		}
		for (unsigned n = 0; n < ids; n++)
			assert_ptr_equal(clv_exchanges_find(&b.xs, n * steps[s]), waits[n]);
		close_bed(&b);
	}
}

static void many_by_id(void **state)
{
	come_and_go(1000);
}

/* There is a tree of them, and then it is gone, and made again. */
static void some_by_id(void **state)
{
	for (unsigned ids = 1; ids < 64; ids += 7)
		come_and_go(ids);
}

/* Up to many, and down to none, each from its own end. */
static void up_and_down_by_id(void **state)
{
	enum { MOST = 40 };
	struct clv_exchange *waits[MOST];
	struct bed b;

	open_bed(&b, true, false);
	for (unsigned most = 1; most <= MOST; most++) {
		for (unsigned n = 0; n < most; n++)
			waits[n] = request(&b, n, n, 0);
		for (unsigned left = most; left; left--) {
			for (unsigned n = 0; n < most; n++)
				assert_ptr_equal(clv_exchanges_find(&b.xs, n), waits[n]);
			unsigned gone = left % 2 ? (most - left) / 2 : most - 1 - (most - left) / 2;
			while (!waits[gone])
				gone = (gone + 1) % most;
			drop(&b, waits[gone]);
			waits[gone] = NULL;
		}
		assert_null(clv_exchanges_find(&b.xs, 0));
	}
	close_bed(&b);
}

/* A connection goes on with a protocol that has ids: what waits already is found by its own. */
static void later_by_id(void **state)
{
	struct clv_exchange *x;
	struct bed b;

	open_bed(&b, false, false);
	x = request(&b, 1, 1000, 5000);
	clv_exchanges_go_by_id(&b.xs, true);
	assert_ptr_equal(clv_exchanges_find(&b.xs, 1), x);
	assert_ptr_equal(match(&b, 1, 5000, 1004), x);
	x = request(&b, 3, 1004, 5000);
	assert_ptr_equal(clv_exchanges_find(&b.xs, 3), x);
	close_bed(&b);
}

/* Of two with one id the one that waits for its answer is answered. */
static void twice_by_id(void **state)
{
	struct clv_exchange *x, *y;
	struct clv_msg msg = message(7, CLV_LIT(""));
	struct clv_mark at = {.pos = 5000, .ts_ns = 2};
	struct bed b;

	open_bed(&b, true, false);
	x = request(&b, 7, 1000, 5000);
	clv_exchange_answer(x, &msg, &at);
	y = request(&b, 7, 1004, 5000);
	assert_ptr_equal(match(&b, 7, 5000, 1004), y);
	drop(&b, x);
	assert_ptr_equal(match(&b, 7, 5000, 1004), y);
	close_bed(&b);
}

/* Of many with few ids the oldest is, in whatever order others go. */
static void same_ids(void **state)
{
	enum { MOST = 200, IDS = 5 };
	struct clv_exchange *waits[MOST], *oldest;
	uint32_t luck = 1;
	unsigned left = MOST;
	struct bed b;

	open_bed(&b, true, false);
	for (unsigned n = 0; n < MOST; n++)
		waits[n] = request(&b, n % IDS ? n % IDS : 100 + n, n, 0);
	while (left) {
		for (unsigned id = 1; id < IDS; id++) {
			oldest = NULL;
			for (unsigned n = id; n < MOST && !oldest; n += IDS)
				oldest = waits[n];
			assert_ptr_equal(match(&b, id, 1, 1), oldest);
		}
		luck = luck * 1664525 + 1013904223;
		unsigned gone = (luck >> 8) % MOST;
		if (!waits[gone])
			continue;
		drop(&b, waits[gone]);
		waits[gone] = NULL;
		left--;
	}
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_turn),
		cmocka_unit_test(doubt),
		cmocka_unit_test(interim_is_no_evidence),
		cmocka_unit_test(impossible),
		cmocka_unit_test(evidence),
		cmocka_unit_test(no_evidence),
		cmocka_unit_test(by_id),
		cmocka_unit_test(bounds),
		cmocka_unit_test(spares),
		cmocka_unit_test(foreign_facts),
		cmocka_unit_test(many_by_id),
		cmocka_unit_test(some_by_id),
		cmocka_unit_test(up_and_down_by_id),
		cmocka_unit_test(later_by_id),
		cmocka_unit_test(twice_by_id),
		cmocka_unit_test(same_ids),
	};

	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
