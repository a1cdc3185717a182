/* SPDX-License-Identifier: Apache-2.0 */
/* What a tape plays is what was added, in order, as often as wanted; and it keeps no more than it may. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "source/tape.h"

#define PACKETS 500

static uint8_t bytes[5u << 20]; /* more than a block of a tape */

/* Of some lengths, so that packets begin anywhere; one has no payload, one more than a block. */
static struct clv_packet packet(unsigned n)
{
	size_t len = n == 7 ? 0 : n == 100 ? sizeof(bytes) : n * 173 % 60000;

	return (struct clv_packet){
		.ts_ns = n,
		.seq = n * 3,
		.len = (uint32_t)len + n,
		.payload = clv_slice(bytes + (n == 100 ? 0 : n), len),
	};
}

static void expect_packet(void *ctx, const struct clv_packet *p)
{
	unsigned *n = ctx;
	struct clv_packet wanted = packet((*n)++);

	assert_int_equal(p->ts_ns, wanted.ts_ns);
	assert_int_equal(p->seq, wanted.seq);
	assert_int_equal(p->len, wanted.len);
	assert_int_equal(p->payload.len, wanted.payload.len);
	assert_ptr_not_equal(p->payload.data, wanted.payload.data);
	assert_memory_equal(p->payload.data, wanted.payload.data, wanted.payload.len);
}

static void test_plays_what_was_added(void **state)
{
	struct clv_tape *t;
	unsigned n;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	assert_int_equal(clv_tape_new(SIZE_MAX, &t), 0);
	clv_tape_rewind(t);
	clv_tape_play(t, 1, expect_packet, NULL, NULL); /* there is none */
	for (n = 0; n < PACKETS; n++) {
		struct clv_packet p = packet(n);

		assert_int_equal(clv_tape_add(t, &p), 0);
	}
	assert_int_equal(clv_tape_packets(t), PACKETS);
	for (int round = 0; round < 2; round++) {
		clv_tape_rewind(t);
		n = 0;
		clv_tape_play(t, 101, expect_packet, NULL, &n);
		assert_int_equal(n, 101);
		clv_tape_play(t, SIZE_MAX, expect_packet, NULL, &n);
		assert_int_equal(n, PACKETS);
		clv_tape_play(t, 1, expect_packet, NULL, &n);
		assert_int_equal(n, PACKETS);
	}
	clv_tape_free(t);
}

/* Who is expected and who is there: told of once each, in order. */
struct turns {
	unsigned told, played;
};

static void tell_ahead(void *ctx, const struct clv_packet *p)
{
	struct turns *t = ctx;

	assert_int_equal(p->ts_ns, CLV_SOURCE_AHEAD + t->told++);
	assert_int_equal(t->told, t->played + 1); /* before the packet that is on */
}

static void tell_played(void *ctx, const struct clv_packet *p)
{
	((struct turns *)ctx)->played++;
}

static void test_tells_ahead(void **state)
{
	struct turns turns = {0};
	struct clv_tape *t;

	assert_int_equal(clv_tape_new(SIZE_MAX, &t), 0);
	for (unsigned n = 0; n < 50; n++) {
		struct clv_packet p = packet(n);

		assert_int_equal(clv_tape_add(t, &p), 0);
	}
	clv_tape_rewind(t);
	clv_tape_play(t, SIZE_MAX, tell_played, tell_ahead, &turns);
	assert_int_equal(turns.played, 50);
	assert_int_equal(turns.told, 50 - CLV_SOURCE_AHEAD);
	clv_tape_free(t);
}

static void test_bound(void **state)
{
	struct clv_packet p = {.payload = clv_slice(bytes, 1000)};
	struct clv_tape *t;
	unsigned n = 0;

	assert_int_equal(clv_tape_new(100000, &t), 0);
	while (clv_tape_add(t, &p) == 0)
		n++;
	assert_int_equal(clv_tape_add(t, &p), -ENOSPC);
	assert_int_equal(clv_tape_packets(t), n);
	assert_in_range(n, 50, 99);
	assert_in_range(clv_tape_bytes(t), n * 1000, 100000);
	clv_tape_free(t);
	clv_tape_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plays_what_was_added),
		cmocka_unit_test(test_tells_ahead),
		cmocka_unit_test(test_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
