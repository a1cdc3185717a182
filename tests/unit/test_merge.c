/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a worker gets the records of several CPUs and of the ring buffer, and what one CPU's ring says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/bpf.h>

#include "source/merge.h"

#define CPUS   3
#define BYTES  4096u
#define STRIDE (sizeof(struct clv_cpu_ring) + BYTES + CLV_CPU_RING_RECORD)

static struct {
	struct clv_merge merge;
	uint8_t *cpu;
	uint64_t consumer, producer;
	uint8_t data[2 * BYTES] __attribute__((aligned(8)));
} t;

static struct clv_cpu_ring *cpu_ring(uint32_t cpu)
{
	return (void *)(t.cpu + cpu * STRIDE);
}

/* As bpf/emit.h does it. False: there is no room. */
static bool cpu_writes(uint32_t cpu, uint64_t ts_ns, uint32_t cap)
{
	struct clv_cpu_ring *r = cpu_ring(cpu);
	uint64_t end = r->end;

	if (end == r->read)
		r->begin = end = (end + BYTES - 1) / BYTES * BYTES;
	else if (end - (r->begin > r->read ? r->begin : r->read) + CLV_CPU_RING_RECORD > BYTES)
		return false;
	struct clv_rec *rec = (void *)&r->data[end % BYTES];

	*rec = (struct clv_rec){.ts_ns = ts_ns, .cap = cap, .len = cap, .net = cpu};
	memset(rec->data, (int)ts_ns, cap);
	r->end = end + clv_cpu_ring_step(cap);
	return true;
}

static void ring_writes(uint64_t ts_ns, bool busy)
{
	uint8_t *at = &t.data[t.producer % BYTES];
	struct clv_rec rec = {.ts_ns = ts_ns, .net = 99};

	*(uint32_t *)(void *)at = (uint32_t)sizeof(rec) | (busy ? BPF_RINGBUF_BUSY_BIT : 0);
	memcpy(at + BPF_RINGBUF_HDR_SZ, &rec, sizeof(rec));
	t.producer += BPF_RINGBUF_HDR_SZ + sizeof(rec);
}

static int set_up(void **state)
{
	memset(&t, 0, sizeof(t));
	t.cpu = aligned_alloc(64, (CPUS * STRIDE + 63) / 64 * 64);
	memset(t.cpu, 0, CPUS * STRIDE);
	t.merge.ring = (struct clv_ringbuf){.consumer = &t.consumer,
					    .producer = &t.producer,
					    .data = t.data,
					    .bytes = BYTES,
					    .longest = 1024,
					    .batch = 1};
	return clv_merge_open(&t.merge, (void *)t.cpu, CPUS, STRIDE, BYTES);
}

static int tear_down(void **state)
{
	t.merge.ring.consumer = NULL; /* nothing is mapped */
	clv_merge_close(&t.merge);
	free(t.cpu);
	return 0;
}

/* Reads all up to `until`, and expects these times. */
static void expect_times(uint64_t until, size_t count, const uint64_t *times)
{
	const struct clv_merged *next;
	size_t i = 0;

	clv_merge_begin(&t.merge, until);
	for (; (next = clv_merge_at(&t.merge, 0)); i++) {
		assert_true(i < count);
		assert_int_equal(next->ts_ns, times[i]);
		for (uint32_t b = 0; b < next->rec->cap; b++)
			assert_int_equal(next->rec->data[b], (uint8_t)times[i]);
		clv_merge_pass(&t.merge);
	}
	clv_merge_end(&t.merge);
	assert_int_equal(i, count);
}

#define expect(until, ...) expect_times(until, sizeof((uint64_t[]){__VA_ARGS__}) / 8, (const uint64_t[]){__VA_ARGS__})

static void by_time(void **state)
{
	cpu_writes(0, 10, 0);
	cpu_writes(0, 40, 100);
	cpu_writes(1, 20, 1);
	cpu_writes(2, 30, 7);
	cpu_writes(2, 50, 8);
	ring_writes(15, false);
	ring_writes(45, false);
	expect(100, 10, 15, 20, 30, 40, 45, 50);
	assert_int_equal(clv_merge_unread(&t.merge), 0);
	expect_times(100, 0, NULL);
}

/* What is later than the moment stays, also what came into another source before it. */
static void until_a_moment(void **state)
{
	cpu_writes(0, 10, 50);
	cpu_writes(0, 31, 50);
	cpu_writes(1, 30, 50);
	ring_writes(32, false);
	ring_writes(20, false); /* behind one that stays, so it stays, too */
	expect(30, 10, 30);
	assert_int_equal(clv_merge_unread(&t.merge),
			 clv_cpu_ring_step(50) + 2 * (BPF_RINGBUF_HDR_SZ + sizeof(struct clv_rec)));
	expect(40, 31, 32, 20);
}

/* One that is being written holds up those behind it, and what they may be the cause of. */
static void not_complete(void **state)
{
	uint64_t at;

	ring_writes(10, false);
	at = t.producer;
	ring_writes(20, true);
	ring_writes(30, false);
	cpu_writes(1, 5, 0);
	cpu_writes(1, 40, 0);
	cpu_writes(2, 15, 0);
	expect(100, 5, 10);
	assert_true(t.merge.ring.busy);
	expect_times(100, 0, NULL);
	*(uint32_t *)(void *)&t.data[at] &= ~BPF_RINGBUF_BUSY_BIT;
	expect(100, 15, 20, 30, 40);
	assert_false(t.merge.ring.busy);
}

/* The reader stops in the middle: what it has not passed comes again. */
static void comes_again(void **state)
{
	for (uint64_t i = 1; i <= 6; i++)
		cpu_writes(i % CPUS, i, 3);
	clv_merge_begin(&t.merge, 100);
	assert_int_equal(clv_merge_at(&t.merge, 4)->ts_ns, 5);
	assert_int_equal(clv_merge_at(&t.merge, 0)->ts_ns, 1);
	clv_merge_pass(&t.merge);
	assert_int_equal(clv_merge_at(&t.merge, 0)->ts_ns, 2);
	assert_null(clv_merge_at(&t.merge, 5));
	clv_merge_pass(&t.merge);
	clv_merge_end(&t.merge);
	expect(100, 3, 4, 5, 6);
}

/* Through the ring many times, read in pieces of all sizes; it never says that there is no room while there is. */
static void round_and_round(void **state)
{
	uint64_t wrote = 0, read = 0;
	uint32_t random = 1, wraps = 0;

	for (int turn = 0; turn < 2000; turn++) {
		random = random * 1103515245u + 12345;
		for (uint32_t n = random >> 16 & 7; n; n--) {
			uint32_t cap = (random >> n) % 1500;
			bool roomy = clv_merge_unread(&t.merge) + CLV_CPU_RING_RECORD <= BYTES;
			bool written = cpu_writes(1, wrote + 1, cap);

			assert_true(written || !roomy);
			wrote += written;
		}
		wraps += cpu_ring(1)->end % BYTES < 1500;
		clv_merge_begin(&t.merge, UINT64_MAX);
		for (uint32_t n = random >> 20 & 3; n && clv_merge_at(&t.merge, 0); n--) {
			assert_int_equal(clv_merge_at(&t.merge, 0)->ts_ns, ++read);
			clv_merge_pass(&t.merge);
		}
		clv_merge_end(&t.merge);
	}
	assert_true(read > 1000 && wraps > 100);
}

/* An empty ring begins anew at its beginning, where its lines are in the cache. */
static void begins_anew(void **state)
{
	for (uint64_t i = 1; i < 100; i++) {
		cpu_writes(0, i, 200);
		assert_int_equal(cpu_ring(0)->begin % BYTES, 0);
		assert_int_equal(clv_merge_unread(&t.merge), clv_cpu_ring_step(200));
		expect(UINT64_MAX, i);
	}
}

/* Whatever stands there, nothing beyond the ring is looked at, and it goes on with what comes later. */
static void makes_no_sense(void **state)
{
	struct clv_cpu_ring *r = cpu_ring(0);

	cpu_writes(0, 1, 10);
	cpu_writes(0, 2, 10);
	((struct clv_rec *)(void *)r->data)->cap = 1u << 30;
	clv_merge_begin(&t.merge, 100);
	assert_int_equal(clv_merge_at(&t.merge, 0)->bytes, 0);
	assert_null(clv_merge_at(&t.merge, 1));
	clv_merge_pass(&t.merge);
	clv_merge_end(&t.merge);
	cpu_writes(0, 3, 10);
	expect(100, 3);

	r->end += 10 * BYTES; /* more than there is room for */
	expect_times(100, 0, NULL);
	cpu_writes(0, 4, 10);
	expect(100, 4);

	r->end += 8; /* less than a record */
	clv_merge_begin(&t.merge, 100);
	assert_int_equal(clv_merge_at(&t.merge, 0)->bytes, 0);
	clv_merge_pass(&t.merge);
	clv_merge_end(&t.merge);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(by_time),     T(until_a_moment),  T(not_complete),   T(comes_again),
		T(begins_anew), T(round_and_round), T(makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
