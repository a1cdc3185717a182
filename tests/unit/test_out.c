/* SPDX-License-Identifier: Apache-2.0 */
/* export/out.c: lines arrive whole, in order, promptly; or are counted. Through real pipes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "export/out.h"

static volatile sig_atomic_t stop;

/* Reads to the end; lines must be "N xxx...x", with N growing (by one, when `all`) and N % 97 times x. */
struct reader {
	int fd;
	bool all;
	uint64_t lines;
	bool wrong;
};

static void *reader_run(void *arg)
{
	struct reader *r = arg;
	FILE *f = fdopen(r->fd, "r");
	char *line = NULL;
	size_t cap = 0;
	unsigned long next = 0;

	for (ssize_t n; (n = getline(&line, &cap, f)) > 0; r->lines++) {
		char *x;
		unsigned long number = strtoul(line, &x, 10);

		if (r->all ? number != next : number < next)
			r->wrong = true;
		if (strspn(++x, "x") != number % 97 || x[number % 97] != '\n')
			r->wrong = true;
		next = number + 1;
	}
	free(line);
	fclose(f);
	return NULL;
}

static bool put(struct clv_out *o, unsigned long number)
{
	char *room = clv_out_room(o, 200);

	if (!room)
		return false;
	int n = sprintf(room, "%lu ", number);
	memset(room + n, 'x', number % 97);
	room[(size_t)n + number % 97] = '\n';
	clv_out_commit(o, (size_t)n + number % 97 + 1);
	return true;
}

static void test_waits_and_loses_nothing(void **state)
{
	struct reader r = {.all = true};
	struct clv_out *o;
	pthread_t thread;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	r.fd = fds[0];
	pthread_create(&thread, NULL, reader_run, &r);
	assert_int_equal(clv_out_open(fds[1], true, &stop, &o), 0);
	for (unsigned long i = 0; i < 200000; i++)
		assert_true(put(o, i));
	assert_int_equal(clv_out_dropped(o), 0);
	assert_int_equal(clv_out_close(o), 0);
	close(fds[1]);
	pthread_join(thread, NULL);
	assert_int_equal(r.lines, 200000);
	assert_false(r.wrong);
}

static void test_live_drops_whole_lines(void **state)
{
	struct reader r = {.all = false};
	struct clv_out *o;
	uint64_t shown = 0;
	pthread_t thread;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	r.fd = fds[0];
	assert_int_equal(clv_out_open(fds[1], false, &stop, &o), 0);
	for (unsigned long i = 0; i < 1000000; i++) /* nobody reads yet: they cannot all fit */
		shown += put(o, i);
	assert_true(shown < 1000000);
	assert_int_equal(clv_out_dropped(o), 1000000 - shown);
	pthread_create(&thread, NULL, reader_run, &r);
	for (unsigned long i = 1000000; i < 1050000; i++)
		shown += put(o, i);
	assert_int_equal(clv_out_close(o), 0);
	close(fds[1]);
	pthread_join(thread, NULL);
	assert_int_equal(r.lines, shown);
	assert_false(r.wrong);
}

static void test_a_tick_hands_over(void **state)
{
	struct clv_out *o;
	char got[16];
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(clv_out_open(fds[1], false, &stop, &o), 0);
	put(o, 1);
	clv_out_tick(o);
	assert_int_equal(poll(&(struct pollfd){.fd = fds[0], .events = POLLIN}, 1, 5000), 1);
	assert_int_equal(read(fds[0], got, sizeof(got)), 4);
	assert_memory_equal(got, "1 x\n", 4);
	assert_int_equal(clv_out_close(o), 0);
	close(fds[0]);
	close(fds[1]);
}

static void test_reader_leaves(void **state)
{
	struct clv_out *o;
	int fds[2], err = 0;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(clv_out_open(fds[1], true, &stop, &o), 0);
	close(fds[0]);
	for (unsigned long i = 0; i < 100000 && !err; i++) {
		put(o, i);
		clv_out_tick(o);
		err = clv_out_error(o);
	}
	assert_int_equal(err, -EPIPE);
	assert_int_equal(clv_out_close(o), -EPIPE);
	close(fds[1]);
}

static void test_disk_is_full(void **state)
{
	struct clv_out *o;
	int fd = open("/dev/full", O_WRONLY);

	assert_int_equal(clv_out_open(fd, true, &stop, &o), 0);
	for (unsigned long i = 0; i < 100000; i++)
		put(o, i);
	assert_int_equal(clv_out_close(o), -ENOSPC);
	close(fd);
}

static void test_longest_line(void **state)
{
	struct clv_out *o;
	int fd = open("/dev/null", O_WRONLY);

	assert_int_equal(clv_out_open(fd, true, &stop, &o), 0);
	for (int i = 0; i < 5; i++) {
		char *room = clv_out_room(o, CLV_OUT_BYTES);

		assert_non_null(room);
		memset(room, 'x', CLV_OUT_BYTES);
		clv_out_commit(o, CLV_OUT_BYTES - 1);
	}
	assert_null(clv_out_room(o, CLV_OUT_BYTES + 1));
	assert_int_equal(clv_out_dropped(o), 1);
	assert_int_equal(clv_out_close(o), 0);
	close(fd);
}

static void test_descriptor_that_does_not_block(void **state)
{
	struct reader r = {.all = true};
	struct clv_out *o;
	pthread_t thread;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	fcntl(fds[1], F_SETFL, O_NONBLOCK);
	r.fd = fds[0];
	assert_int_equal(clv_out_open(fds[1], true, &stop, &o), 0);
	for (unsigned long i = 0; i < 20000; i++)
		put(o, i);
	pthread_create(&thread, NULL, reader_run, &r);
	assert_int_equal(clv_out_close(o), 0);
	close(fds[1]);
	pthread_join(thread, NULL);
	assert_int_equal(r.lines, 20000);
	assert_false(r.wrong);
}

static void test_stopped_with_a_reader_that_sleeps(void **state)
{
	struct clv_out *o;
	uint64_t shown = 0;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(clv_out_open(fds[1], true, &stop, &o), 0);
	stop = SIGINT;
	for (unsigned long i = 0; i < 500000; i++)
		shown += put(o, i);
	assert_true(shown < 500000);
	assert_int_equal(clv_out_close(o), -ETIMEDOUT);
	stop = 0;
	/* The thread still hangs in write(): this lets it go. */
	close(fds[0]);
	usleep(100000);
}

/* Threads that put lines in whole parcels: none is lost, none is torn, and each thread's stay in order. */
#define PUTTERS 4
#define PARCELS 2000

static struct clv_out *put_to;

static void *putter_run(void *arg)
{
	unsigned long base = *(const unsigned long *)arg;
	char lines[8 * 200];
	bool pressed;

	for (unsigned long i = 0; i < PARCELS; i++) {
		size_t len = 0;

		for (unsigned long j = 0; j < 8; j++) {
			unsigned long number = base + 8 * i + j;
			int n = sprintf(lines + len, "%lu ", number);

			memset(lines + len + n, 'x', number % 97);
			len += (size_t)n + number % 97;
			lines[len++] = '\n';
		}
		clv_out_put(put_to, clv_slice(lines, len), 8, &pressed); /* what is not taken is missed below */
	}
	return NULL;
}

#define BASE 1000000ul /* of the numbers of one thread */

static void test_parcels_of_several_threads(void **state)
{
	static unsigned long bases[PUTTERS], next[PUTTERS];
	pthread_t thread[PUTTERS];
	char *line = NULL;
	size_t cap = 0;
	FILE *f = tmpfile();

	assert_int_equal(clv_out_open(fileno(f), true, &stop, &put_to), 0);
	for (unsigned long i = 0; i < PUTTERS; i++) {
		bases[i] = next[i] = i * BASE;
		pthread_create(&thread[i], NULL, putter_run, &bases[i]);
	}
	for (unsigned i = 0; i < PUTTERS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(clv_out_dropped(put_to), 0);
	assert_int_equal(clv_out_close(put_to), 0);
	rewind(f);
	while (getline(&line, &cap, f) > 0) {
		char *x;
		unsigned long number = strtoul(line, &x, 10);

		assert_in_range(number / BASE, 0, PUTTERS - 1);
		assert_int_equal(number, next[number / BASE]++);
		assert_int_equal(strspn(++x, "x"), number % 97);
	}
	for (unsigned long i = 0; i < PUTTERS; i++)
		assert_int_equal(next[i], i * BASE + 8 * PARCELS);
	free(line);
	fclose(f);
}

/* What finds no room is counted line by line, and so is what was never made. */
static void test_parcels_without_room_are_counted(void **state)
{
	static char lines[64 << 10];
	struct clv_out *o;
	bool pressed = false;
	unsigned put = 0;
	int fds[2];

	memset(lines, '\n', sizeof(lines));
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(clv_out_open(fds[1], false, &stop, &o), 0);
	while (clv_out_put(o, clv_slice(lines, sizeof(lines)), 100, &pressed))
		assert_true(++put <= CLV_OUT_LIVE_BYTES / sizeof(lines) + 2);
	assert_true(pressed);
	assert_int_equal(clv_out_dropped(o), 100);
	assert_false(clv_out_put(o, clv_slice(NULL, 0), 3, &pressed));
	assert_int_equal(clv_out_dropped(o), 103);
	assert_true(clv_out_put(o, clv_slice(NULL, 0), 0, &pressed));
	close(fds[0]);
	assert_int_equal(clv_out_close(o), -EPIPE);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waits_and_loses_nothing),
		cmocka_unit_test(test_live_drops_whole_lines),
		cmocka_unit_test(test_a_tick_hands_over),
		cmocka_unit_test(test_reader_leaves),
		cmocka_unit_test(test_disk_is_full),
		cmocka_unit_test(test_longest_line),
		cmocka_unit_test(test_descriptor_that_does_not_block),
		cmocka_unit_test(test_stopped_with_a_reader_that_sleeps),
		cmocka_unit_test(test_parcels_of_several_threads),
		cmocka_unit_test(test_parcels_without_room_are_counted),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
