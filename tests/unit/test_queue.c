/* SPDX-License-Identifier: Apache-2.0 */
/* export/queue.c: what the consumer sees of what the producer did, and when each of them is woken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "export/queue.h"

#define BYTES (64u << 10)

static volatile sig_atomic_t stop;
static int woken;

static void wake(void *ctx)
{
	(*(int *)ctx)++;
}

static struct clv_queue *queue_of(bool wait)
{
	struct clv_queue_config config = {.bytes = BYTES, .wait = wait, .stop = &stop, .wake = wake, .ctx = &woken};
	struct clv_queue *q;

	woken = 0;
	assert_int_equal(clv_queue_new(&config, &q), 0);
	return q;
}

static bool put(struct clv_queue *q, size_t bytes, char with)
{
	char *room = clv_queue_room(q, bytes);

	if (!room)
		return false;
	memset(room, with, bytes);
	clv_queue_commit(q, bytes);
	return true;
}

static void test_shows_what_was_handed_over(void **state)
{
	struct clv_queue *q = queue_of(false);

	assert_true(put(q, 10, 'a'));
	assert_int_equal(clv_queue_peek(q, false).len, 0); /* not yet */
	clv_queue_tick(q);
	assert_int_equal(woken, 1);
	struct clv_slice s = clv_queue_peek(q, false);
	assert_int_equal(s.len, 10);
	assert_int_equal(s.data[9], 'a');
	assert_int_equal(clv_queue_used(q), 10);
	clv_queue_take(q, 4);
	assert_int_equal(clv_queue_peek(q, true).len, 6);
	assert_true(put(q, 5, 'b'));
	clv_queue_close(q);
	assert_int_equal(clv_queue_peek(q, true).len, 11);
	assert_true(clv_queue_closed(q));
	clv_queue_take(q, 11);
	assert_int_equal(clv_queue_peek(q, true).len, 0); /* closed: does not block */
	clv_queue_end(q, -EPIPE);
	assert_true(clv_queue_join(q));
	assert_int_equal(clv_queue_error(q), -EPIPE);
	clv_queue_free(q);
}

static char offered[BYTES];
static size_t offered_len, offered_most;

static size_t take(void *ctx, struct clv_slice s, bool later)
{
	(*(int *)ctx)++;
	memcpy(offered, s.data, s.len);
	offered_len = s.len;
	return s.len < offered_most ? s.len : offered_most;
}

/* What can be taken by the producer's own thread is, as long as nothing else waits for the consumer. */
static void test_offers_before_it_hands_over(void **state)
{
	int offers = 0;
	struct clv_queue_config config = {.bytes = BYTES, .stop = &stop, .take = take, .ctx = &offers};
	struct clv_queue *q;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	offered_most = BYTES;
	assert_true(put(q, BYTES, 'a'));
	assert_true(put(q, 10, 'b')); /* there is room again */
	assert_int_equal(offers, 1);
	assert_int_equal(offered_len, BYTES);
	assert_int_equal(clv_queue_used(q), 0);
	offered_most = 4;
	clv_queue_tick(q);
	assert_int_equal(offers, 2);
	assert_int_equal(offered_len, 10);
	assert_int_equal(offered[0], 'b');
	assert_int_equal(clv_queue_peek(q, true).len, 6);
	assert_true(put(q, BYTES / 2, 'c'));
	assert_true(clv_queue_pressed(q));
	assert_int_equal(offers, 2); /* six bytes come first */
	assert_int_equal(clv_queue_peek(q, true).len, 6 + BYTES / 2);
	clv_queue_take(q, 6 + BYTES / 2);
	assert_true(put(q, 1, 'd'));
	clv_queue_end(q, -EPIPE);
	assert_true(put(q, BYTES - 1, 'e'));
	assert_false(put(q, 1, 'f'));
	assert_int_equal(offers, 2); /* who has ended takes nothing, in whatever way */
	clv_queue_free(q);
}

static size_t take_later(void *ctx, struct clv_slice s, bool later)
{
	(*(int *)ctx)++;
	offered_len = s.len;
	return later ? CLV_QUEUE_LATER : s.len;
}

/* Who is busy is asked again with more, but not for ever. */
static void test_offers_again_later(void **state)
{
	int offers = 0;
	struct clv_queue_config config = {.bytes = 1u << 20, .stop = &stop, .take = take_later, .ctx = &offers};
	struct clv_queue *q;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	assert_true(put(q, CLV_QUEUE_HERE_BYTES, 'a'));
	assert_int_equal(offers, 1);
	assert_true(put(q, CLV_QUEUE_HERE_BYTES - 1, 'b')); /* not for each record */
	assert_int_equal(offers, 1);
	assert_true(put(q, 1, 'c'));
	assert_int_equal(offers, 2);
	assert_int_equal(offered_len, 2 * CLV_QUEUE_HERE_BYTES);
	assert_int_equal(clv_queue_peek(q, false).len, 0); /* nothing for the consumer */
	clv_queue_tick(q);
	assert_int_equal(offers, 3);
	assert_true(put(q, 1, 'd'));
	for (size_t put_bytes = 1; put_bytes < CLV_QUEUE_LATER_BYTES; put_bytes += CLV_QUEUE_HERE_BYTES)
		assert_true(put(q, CLV_QUEUE_HERE_BYTES, 'e'));
	assert_int_equal(offered_len, CLV_QUEUE_LATER_BYTES + 1);
	assert_true(put(q, CLV_QUEUE_HERE_BYTES, 'f'));
	assert_int_equal(offered_len, CLV_QUEUE_HERE_BYTES); /* all before it was taken */
	clv_queue_free(q);
}

static void test_full(void **state)
{
	struct clv_queue *q = queue_of(false);

	assert_true(put(q, BYTES, 'a'));
	assert_false(put(q, 1, 'b'));
	assert_int_equal(woken, 1); /* it was handed over all the same */
	clv_queue_take(q, 100);
	assert_true(put(q, 100, 'c'));
	assert_false(put(q, 1, 'd'));
	assert_null(clv_queue_room(q, BYTES + 1));
	/* In one piece over the ring's end. */
	struct clv_slice s = clv_queue_peek(q, false);
	assert_int_equal(s.len, BYTES);
	assert_int_equal(s.data[s.len - 101], 'a');
	assert_int_equal(s.data[s.len - 1], 'c');
	clv_queue_free(q);
}

static void test_pressed_when_half_is_used(void **state)
{
	struct clv_queue *q = queue_of(false);

	assert_true(put(q, BYTES / 2, 'a'));
	assert_false(clv_queue_pressed(q));
	assert_true(put(q, 1, 'b'));
	assert_true(clv_queue_pressed(q));
	assert_int_equal(clv_queue_peek(q, false).len, BYTES / 2 + 1); /* so that somebody takes it */
	clv_queue_take(q, 1);
	assert_false(clv_queue_pressed(q));
	clv_queue_free(q);
}

/* However much goes through it, what was taken at once is written to the same place. */
static void test_begins_again_when_it_is_empty(void **state)
{
	struct clv_queue *q = queue_of(false);
	const char *start = clv_queue_room(q, 100);

	for (char c = 'a'; c < 'z'; c++) {
		assert_ptr_equal(clv_queue_room(q, BYTES / 3), start);
		assert_true(put(q, BYTES / 3, c));
		assert_ptr_not_equal(clv_queue_room(q, 1), start); /* not handed over */
		assert_true(put(q, BYTES / 3, c));
		clv_queue_pressed(q);
		assert_ptr_not_equal(clv_queue_room(q, 1), start); /* not taken */
		struct clv_slice s = clv_queue_peek(q, false);
		assert_ptr_equal(s.data, start);
		assert_int_equal(s.len, BYTES / 3 * 2);
		assert_int_equal(s.data[s.len - 1], c);
		clv_queue_take(q, s.len - 1);
		assert_ptr_not_equal(clv_queue_room(q, 1), start); /* not all of it */
		clv_queue_take(q, 1);
	}
	clv_queue_free(q);
}

/* How much of the queue's memory there is. It is shared memory, so /proc/self/smaps says it by its name. */
static size_t resident_kib(void)
{
	char line[512];
	size_t sum = 0, kib;
	bool ours = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			ours = strstr(line, "clovisor-queue");
		else if (ours && sscanf(line, "Rss: %zu kB", &kib) == 1)
			sum += kib;
	}
	fclose(f);
	return sum;
}

static void test_gives_back_what_a_burst_took(void **state)
{
	struct clv_queue_config config = {.bytes = 8u << 20, .stop = &stop};
	struct clv_queue *q;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	assert_true(put(q, 6u << 20, 'a'));
	assert_true(resident_kib() >= 6u << 10);
	clv_queue_tick(q);
	clv_queue_pressed(q);
	clv_queue_take(q, 6u << 20);
	assert_true(put(q, 10, 'b'));
	assert_true(resident_kib() < 1u << 10);
	clv_queue_close(q);
	assert_memory_equal(clv_queue_peek(q, false).data, "bbbbbbbbbb", 10);
	clv_queue_free(q);
}

/* Though nothing comes behind it. */
static void test_gives_back_in_silence(void **state)
{
	struct clv_queue_config config = {.bytes = 8u << 20, .stop = &stop};
	struct clv_queue *q;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	assert_true(put(q, 6u << 20, 'a'));
	clv_queue_tick(q);
	clv_queue_take(q, 3u << 20);
	clv_queue_tick(q);
	assert_true(resident_kib() >= 6u << 10);
	clv_queue_take(q, 3u << 20);
	clv_queue_tick(q);
	assert_int_equal(resident_kib(), 0);
	clv_queue_free(q);
}

/* As much as is kept between two bursts goes when there is none for long. */
static void test_gives_back_little_later(void **state)
{
	struct clv_queue_config config = {.bytes = 8u << 20, .stop = &stop};
	struct clv_queue *q;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	assert_true(put(q, 2u << 20, 'a'));
	clv_queue_tick(q);
	clv_queue_pressed(q);
	for (int i = 0; i < 200; i++, usleep(10000)) {
		clv_queue_tick(q);
		assert_true(resident_kib() >= 2u << 10); /* nobody has read it */
	}
	clv_queue_take(q, 2u << 20);
	for (int i = 0; i < 1000 && resident_kib(); i++, usleep(10000))
		clv_queue_tick(q);
	assert_int_equal(resident_kib(), 0);
	assert_true(put(q, 10, 'b'));
	clv_queue_close(q);
	assert_memory_equal(clv_queue_peek(q, false).data, "bbbbbbbbbb", 10);
	clv_queue_free(q);
}

/* One record after the other, of so many bytes, for half a second and until the memory is less than `below_kib`. */
static void put_and_take(struct clv_queue *q, size_t bytes, size_t below_kib)
{
	for (int i = 0; i < 25 || (i < 500 && resident_kib() >= below_kib); i++, usleep(20000)) {
		assert_true(put(q, bytes, 'a'));
		clv_queue_tick(q);
		while (clv_queue_used(q))
			clv_queue_take(q, clv_queue_used(q));
	}
}

/* What a burst took goes though there is always a little. What is in use all the time does not. */
static void test_gives_back_while_little_comes(void **state)
{
	struct clv_queue_config config = {.bytes = 8u << 20, .stop = &stop};
	struct clv_queue *q;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	put_and_take(q, 2u << 20, SIZE_MAX);
	assert_true(resident_kib() >= 2u << 10);
	put_and_take(q, 1000, 256);
	assert_true(resident_kib() < 256);
	clv_queue_free(q);
}

static void *take_all(void *arg)
{
	struct clv_queue *q = arg;
	struct clv_slice s;
	size_t sum = 0;

	while ((s = clv_queue_peek(q, true)).len) {
		sum += s.len;
		clv_queue_take(q, s.len);
	}
	clv_queue_end(q, 0);
	return (void *)sum;
}

static void test_waits_for_room(void **state)
{
	struct clv_queue *q = queue_of(true);
	pthread_t thread;
	void *sum;

	pthread_create(&thread, NULL, take_all, q);
	for (size_t i = 0; i < 10000; i++)
		assert_true(put(q, 1000, 'x'));
	clv_queue_close(q);
	assert_true(clv_queue_join(q));
	pthread_join(thread, &sum);
	assert_int_equal((size_t)sum, 10000000);
	clv_queue_free(q);
}

struct taken {
	struct clv_queue *queue;
	size_t a, b, other;
};

static void *take_it_all(void *taken)
{
	struct taken *t = taken;
	struct clv_slice s;

	while ((s = clv_queue_peek(t->queue, true)).len) {
		s.len = s.len / 2 + 1;
		for (size_t i = 0; i < s.len; i++)
			++*(s.data[i] == 'a' ? &t->a : s.data[i] == 'b' ? &t->b : &t->other);
		clv_queue_take(t->queue, s.len);
	}
	return NULL;
}

static void test_grows_for_a_long_record(void **state)
{
	struct clv_queue_config config = {.bytes = BYTES, .most = 8 * BYTES, .wait = true, .stop = &stop};
	struct taken taken = {0};
	struct clv_queue *q;
	pthread_t thread;

	assert_int_equal(clv_queue_new(&config, &q), 0);
	taken.queue = q;
	pthread_create(&thread, NULL, take_it_all, &taken);
	for (int i = 0; i < 3; i++) {
		assert_true(put(q, BYTES / 2 + 1, 'a'));
		assert_true(put(q, 5 * BYTES + 1, 'b'));
	}
	assert_true(put(q, 8 * BYTES, 'b'));
	assert_null(clv_queue_room(q, 8 * BYTES + 1));
	clv_queue_close(q);
	pthread_join(thread, NULL);
	assert_int_equal(taken.a, 3 * (BYTES / 2 + 1));
	assert_int_equal(taken.b, 3 * (5 * BYTES + 1) + 8 * BYTES);
	assert_int_equal(taken.other, 0);
	assert_int_equal(clv_queue_used(q), 0);
	clv_queue_free(q);
}

static void test_nobody_waits_for_a_consumer_that_has_ended(void **state)
{
	struct clv_queue *q = queue_of(true);

	assert_true(put(q, BYTES, 'a'));
	clv_queue_end(q, -EIO);
	assert_false(put(q, 1, 'b'));
	assert_int_equal(clv_queue_error(q), -EIO);
	clv_queue_free(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shows_what_was_handed_over),
		cmocka_unit_test(test_offers_before_it_hands_over),
		cmocka_unit_test(test_offers_again_later),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_pressed_when_half_is_used),
		cmocka_unit_test(test_begins_again_when_it_is_empty),
		cmocka_unit_test(test_gives_back_what_a_burst_took),
		cmocka_unit_test(test_gives_back_in_silence),
		cmocka_unit_test(test_gives_back_little_later),
		cmocka_unit_test(test_gives_back_while_little_comes),
		cmocka_unit_test(test_waits_for_room),
		cmocka_unit_test(test_grows_for_a_long_record),
		cmocka_unit_test(test_nobody_waits_for_a_consumer_that_has_ended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
