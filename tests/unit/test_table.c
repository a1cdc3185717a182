/* SPDX-License-Identifier: Apache-2.0 */
/* The flow table: keys, growth, and the queues by which old, closed and blocked flows are found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "flow/table.h"

struct bed {
	struct clv_mem mem;
	struct clv_flows t;
};

static void open_bed(struct bed *b)
{
	clv_mem_init(&b->mem, 16 << 20);
	assert_int_equal(clv_flows_init(&b->t, &b->mem), 0);
}

static struct clv_flow *first(const struct clv_node *queue)
{
	return clv_list_first(queue, struct clv_flow, used);
}

static struct clv_flow *first_waiting(const struct bed *b, enum clv_blocked kind)
{
	return clv_list_first(&b->t.wait[kind - 1], struct clv_flow, wait);
}

static void close_bed(struct bed *b)
{
	struct clv_flow *f;

	while ((f = first(&b->t.used)) || (f = first(&b->t.closed)))
		clv_flows_remove(&b->t, f);
	assert_null(first_waiting(b, CLV_BLOCKED_LOST));
	assert_null(first_waiting(b, CLV_BLOCKED_LATE));
	clv_flows_fini(&b->t);
	assert_int_equal(b->mem.used_bytes, 0);
	clv_mem_fini(&b->mem);
}

static struct clv_flow_key key(uint32_t n)
{
	const uint8_t a[4] = {10, 0, (uint8_t)(n >> 8), (uint8_t)n}, b[4] = {10, 1, 0, 1};

	return (struct clv_flow_key){
		.a_addr = clv_addr_v4(a), .b_addr = clv_addr_v4(b), .a_port = 40000, .b_port = 80, .net = 1};
}

static struct clv_flow *find(const struct bed *b, uint32_t n)
{
	struct clv_flow_key k = key(n);
	uint32_t hash;

	return clv_flows_find(&b->t, &k, &hash);
}

static struct clv_flow *add(struct bed *b, uint32_t n)
{
	struct clv_flow_key k = key(n);
	uint32_t hash;

	assert_null(clv_flows_find(&b->t, &k, &hash));
	struct clv_flow *f = clv_flows_add(&b->t, &k, hash);
	assert_non_null(f);
	return f;
}

static void keys(void **state)
{
	const uint8_t pod[4] = {10, 0, 0, 9}, peer[4] = {10, 0, 0, 2};
	struct clv_packet out = {.src = {clv_addr_v4(pod), 5000}, .dst = {clv_addr_v4(peer), 80}, .net = 3};
	struct clv_packet in = {.src = out.dst, .dst = out.src, .net = 3};

	for (int known = 0; known < 2; known++) {
		int d_out, d_in;

		out.side = known ? CLV_SIDE_OUT : CLV_SIDE_UNKNOWN;
		in.side = known ? CLV_SIDE_IN : CLV_SIDE_UNKNOWN;
		struct clv_flow_key k = clv_flow_key_of(&out, &d_out), other = clv_flow_key_of(&in, &d_in);
		assert_memory_equal(&k, &other, sizeof(k));
		assert_int_equal(d_out, !d_in);
		assert_int_equal(d_out, known ? 0 : 1); /* the pod is a; else the smaller address is */
		in.net = 4;
		other = clv_flow_key_of(&in, &d_in);
		assert_memory_not_equal(&k, &other, sizeof(k));
		in.net = 3;
	}
}

static void grows(void **state)
{
	const uint32_t count = 5000;
	struct bed b;

	open_bed(&b);
	for (uint32_t n = 0; n < count; n++)
		add(&b, n);
	assert_true(b.t.place_count > count);
	for (uint32_t n = 0; n < count; n += 2)
		clv_flows_remove(&b.t, find(&b, n));
	for (uint32_t n = 0; n < count; n++)
		assert_int_equal(find(&b, n) != NULL, n % 2);
	close_bed(&b);
}

static void oldest_first(void **state)
{
	struct bed b;

	open_bed(&b);
	struct clv_flow *f = add(&b, 1), *g = add(&b, 2);
	assert_ptr_equal(first(&b.t.used), f);
	clv_flows_touch(&b.t, f, 10);
	assert_ptr_equal(first(&b.t.used), g);
	clv_flows_wait(&b.t, g, CLV_BLOCKED_LATE, false, 10);
	clv_flows_close(&b.t, g);
	assert_null(first_waiting(&b, CLV_BLOCKED_LATE));
	assert_ptr_equal(first(&b.t.closed), g);
	clv_flows_touch(&b.t, g, 20); /* a straggler does not bring it back */
	assert_ptr_equal(first(&b.t.closed), g);
	assert_ptr_equal(first(&b.t.used), f);
	close_bed(&b);
}

/* A flow waits since its state changed, or since something moved; the queue is in that order. */
static void waiting(void **state)
{
	struct bed b;

	open_bed(&b);
	struct clv_flow *f = add(&b, 1), *g = add(&b, 2), *h = add(&b, 3);
	clv_flows_wait(&b.t, f, CLV_BLOCKED_LATE, false, 10);
	clv_flows_wait(&b.t, g, CLV_BLOCKED_LATE, false, 20);
	clv_flows_wait(&b.t, h, CLV_BLOCKED_LATE, false, 15); /* from a deadline that lies back */
	assert_ptr_equal(first_waiting(&b, CLV_BLOCKED_LATE), f);
	clv_flows_wait(&b.t, f, CLV_BLOCKED_LATE, false, 30);
	assert_int_equal(f->wait_since_ns, 10);
	clv_flows_wait(&b.t, f, CLV_BLOCKED_LATE, true, 30);
	assert_int_equal(f->wait_since_ns, 30);
	assert_ptr_equal(first_waiting(&b, CLV_BLOCKED_LATE), h);
	clv_flows_wait(&b.t, h, CLV_BLOCKED_LOST, false, 31);
	assert_ptr_equal(first_waiting(&b, CLV_BLOCKED_LATE), g);
	assert_ptr_equal(first_waiting(&b, CLV_BLOCKED_LOST), h);
	clv_flows_wait(&b.t, h, CLV_BLOCKED_NO, true, 32);
	assert_null(first_waiting(&b, CLV_BLOCKED_LOST));
	close_bed(&b);
}

/* A packet finds what the key made of it finds, and nothing that differs in any part of it. */
static void sought_by_packet(void **state)
{
	const uint8_t pod[4] = {10, 0, 0, 9}, peer[4] = {10, 0, 0, 2};
	const struct clv_endpoint a = {clv_addr_v4(pod), 5000}, b = {clv_addr_v4(peer), 80};
	struct clv_packet p = {.src = a, .dst = b, .net = 3};
	struct bed bed;

	open_bed(&bed);
	for (int side = CLV_SIDE_UNKNOWN; side <= CLV_SIDE_OUT; side++) {
		uint32_t hash, same, place;
		int d, other;

		p.side = (uint8_t)side;
		struct clv_flow_key k = clv_flow_key_of(&p, &d);
		assert_null(clv_flows_seek(&bed.t, &p, &other, &hash));
		assert_int_equal(d, other);
		struct clv_flow *f = clv_flows_add(&bed.t, &k, hash);
		assert_ptr_equal(clv_flows_find(&bed.t, &k, &same), f);
		assert_int_equal(same, hash);
		assert_int_equal(clv_flows_fetch(&bed.t, &p), hash);
		assert_ptr_equal(clv_flows_guess(&bed.t, hash, &place), f);
		assert_ptr_equal(clv_flows_at(&bed.t, place, hash), f);
		assert_ptr_equal(clv_flows_seek(&bed.t, &p, &other, &hash), f);

		struct clv_packet back = p, odd[] = {p, p, p, p, p, p};
		back.src = b;
		back.dst = a;
		back.side = side == CLV_SIDE_UNKNOWN ? CLV_SIDE_UNKNOWN : CLV_SIDE_UNKNOWN + 3 - (uint8_t)side;
		assert_ptr_equal(clv_flows_seek(&bed.t, &back, &other, &hash), f);
		assert_int_equal(d, !other);
		odd[0].src.port++;
		odd[1].dst.port++;
		odd[2].net++;
		odd[3].transport = CLV_TRANSPORT_UDP;
		odd[4].src.addr.b[15]++;
		odd[5].dst.addr.b[0]++;
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
			assert_null(clv_flows_seek(&bed.t, &odd[i], &other, &hash));
		clv_flows_remove(&bed.t, f);
		assert_null(clv_flows_at(&bed.t, place, hash));
	}
	close_bed(&bed);
}

/*
 * Of many, flows are moved once a season only; all the same they are told in the order of their last packets, whether
 * they are as many as that now or were before.
 */
static void oldest_of_many(void **state)
{
	enum { COUNT = 2 * CLV_FLOWS_MANY, ODD = 7919 }; /* no divisor in common */
	const uint64_t step_ns = CLV_FLOWS_SEASON_NS / CLV_FLOWS_MANY;
	uint64_t now_ns = 0, last_ns = 0;
	struct clv_flow *f;
	struct bed b;

	open_bed(&b);
	for (uint32_t n = 0; n < COUNT; n++)
		clv_flows_touch(&b.t, add(&b, n), ++now_ns);
	assert_true(b.t.rough);
	for (uint32_t i = 0; i < 3 * COUNT; i++) {
		f = find(&b, i * ODD % COUNT);
		clv_flows_touch(&b.t, f, now_ns += i % 2 ? step_ns : 0);
		if (i % 5000 == 0) { /* in the middle of a season */
			struct clv_flow *oldest = clv_flows_oldest(&b.t, NULL);

			assert_ptr_equal(clv_flows_oldest(&b.t, oldest),
					 clv_list_entry(oldest->used.next, struct clv_flow, used));
			assert_true(clv_flows_quiet_since(&b.t) == oldest->last_ns);
		}
	}
	assert_true(clv_flows_quiet_since(&b.t) <= clv_flows_oldest(&b.t, NULL)->last_ns);
	for (size_t left = COUNT; (f = clv_flows_oldest(&b.t, NULL)); left--) {
		assert_true(f->last_ns >= last_ns);
		last_ns = f->last_ns;
		assert_int_equal(b.t.rough, left >= CLV_FLOWS_MANY / 2);
		clv_flows_remove(&b.t, f);
	}
	assert_int_equal(b.t.count, 0);
	assert_true(clv_flows_quiet_since(&b.t) == UINT64_MAX);
	close_bed(&b);
}

/* The same after so many seasons that their numbers began anew, when nobody has asked for the oldest in all of them. */
static void oldest_after_long(void **state)
{
	enum { COUNT = CLV_FLOWS_MANY + 1, ODD = 7919, ROUNDS = 50, SEASONS = 800 };
	uint64_t now_ns = 0;
	struct bed b;

	open_bed(&b);
	for (uint32_t n = 0; n < COUNT; n++)
		clv_flows_touch(&b.t, add(&b, n), ++now_ns);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < SEASONS; i++)
			clv_flows_touch(&b.t, find(&b, 0), now_ns += CLV_FLOWS_SEASON_NS);
		for (uint32_t n = 0; n < COUNT; n++)
			clv_flows_touch(&b.t, find(&b, n), ++now_ns);
	}
	for (uint32_t i = 0; i < COUNT; i++)
		clv_flows_touch(&b.t, find(&b, i * ODD % COUNT), ++now_ns);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct clv_flow *f = clv_flows_oldest(&b.t, NULL);

		assert_ptr_equal(f, find(&b, i * ODD % COUNT));
		clv_flows_remove(&b.t, f);
	}
	close_bed(&b);
}

/* A flow that is closed and comes back within a season is in its queue again, behind all others. */
static void comes_back_among_many(void **state)
{
	struct bed b;

	open_bed(&b);
	for (uint32_t n = 0; n <= CLV_FLOWS_MANY; n++)
		clv_flows_touch(&b.t, add(&b, n), 1);
	struct clv_flow *f = find(&b, 5);
	clv_flows_touch(&b.t, f, 2);
	clv_flows_touch(&b.t, f, 3);
	clv_flows_close(&b.t, f);
	assert_ptr_equal(first(&b.t.closed), f);
	f->closed = false;
	clv_flows_touch(&b.t, f, 4);
	assert_null(first(&b.t.closed));
	clv_flows_sort(&b.t);
	assert_ptr_equal(b.t.used.prev, &f->used);
	close_bed(&b);
}

/* One client's ports in a row stand nearly as well apart as chance would have it, whatever the seed. */
static void ports_in_a_row(void **state)
{
	const uint32_t count = 700; /* of 1024 */

	for (int seeds = 0; seeds < 20; seeds++) {
		struct bed b;
		size_t behind = 0;

		open_bed(&b);
		for (uint32_t n = 0; n < count; n++) {
			struct clv_flow_key k = key(1);
			uint32_t hash;

			k.a_port = (uint16_t)(40000 + n);
			assert_null(clv_flows_find(&b.t, &k, &hash));
			assert_non_null(clv_flows_add(&b.t, &k, hash));
		}
		assert_int_equal(b.t.place_count, 1024);
		for (size_t at = 0; at < b.t.place_count; at++)
			if (b.t.places[at].flow)
				behind += (at - b.t.places[at].hash) & (b.t.place_count - 1);
		assert_true(behind < 3 * count); /* about one each is to be expected */
		close_bed(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys),
		cmocka_unit_test(grows),
		cmocka_unit_test(oldest_first),
		cmocka_unit_test(oldest_of_many),
		cmocka_unit_test(oldest_after_long),
		cmocka_unit_test(comes_back_among_many),
		cmocka_unit_test(waiting),
		cmocka_unit_test(sought_by_packet),
		cmocka_unit_test(ports_in_a_row),
	};

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
