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
	struct clv_exchanges xs;
};

static void open_bed(struct bed *b, bool by_id, bool midstream)
{
	clv_mem_init(&b->mem, 16 << 20);
	clv_exchanges_init(&b->xs, by_id, midstream);
}

static void drop(struct bed *b, struct clv_exchange *x)
{
	clv_exchanges_take(&b->xs, x);
	clv_exchange_free(&b->mem, x);
}

static void close_bed(struct bed *b)
{
	struct clv_exchange *x;

	while ((x = clv_exchanges_first(&b->xs)))
		drop(b, x);
	assert_int_equal(b->xs.count, 0);
	assert_int_equal(b->xs.bytes, 0);
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

	return clv_exchanges_request(&b->xs, &b->mem, &msg, &at);
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

static void bounds(void **state)
{
	static uint8_t head[60000];
	struct clv_msg msg = message(0, clv_slice(head, sizeof(head)));
	struct clv_mark at = {.pos = 100, .ts_ns = 1};
	unsigned n = 0;
	struct bed b;

	open_bed(&b, false, false);
	while (!clv_exchanges_full(&b.xs, &msg)) {
		assert_non_null(clv_exchanges_request(&b.xs, &b.mem, &msg, &at));
		n++;
	}
	assert_int_equal(n, CLV_PENDING_BYTES / (sizeof(head) + msg.facts_size));
	assert_null(clv_exchanges_request(&b.xs, &b.mem, &msg, &at));
	drop(&b, clv_exchanges_first(&b.xs));
	assert_false(clv_exchanges_full(&b.xs, &msg));
	close_bed(&b);

	open_bed(&b, false, false);
	for (n = 0; request(&b, 0, 100 + n, 500); n++)
		;
	assert_int_equal(n, CLV_PENDING_MAX);
	close_bed(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_turn),     cmocka_unit_test(impossible), cmocka_unit_test(evidence),
		cmocka_unit_test(no_evidence), cmocka_unit_test(by_id),      cmocka_unit_test(bounds),
	};

	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
