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
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/hurry.h"
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
	char *room = clv_out_room(o, 0, 200);

	if (!room)
		return false;
	int n = sprintf(room, "%lu ", number);
	memset(room + n, 'x', number % 97);
	room[(size_t)n + number % 97] = '\n';
	clv_out_commit(o, 0, (size_t)n + number % 97 + 1);
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
	assert_int_equal(clv_out_open(fds[1], 1, true, &stop, &o), 0);
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
	assert_int_equal(clv_out_open(fds[1], 1, false, &stop, &o), 0);
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
	assert_int_equal(clv_out_open(fds[1], 1, false, &stop, &o), 0);
	put(o, 1);
	clv_out_tick(o, 0);
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
	assert_int_equal(clv_out_open(fds[1], 1, true, &stop, &o), 0);
	close(fds[0]);
	for (unsigned long i = 0; i < 100000 && !err; i++) {
		put(o, i);
		clv_out_tick(o, 0);
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

	assert_int_equal(clv_out_open(fd, 1, true, &stop, &o), 0);
	for (unsigned long i = 0; i < 100000; i++)
		put(o, i);
	assert_int_equal(clv_out_close(o), -ENOSPC);
	close(fd);
}

/* Bytes that the calling thread has given to write() so far. */
static uint64_t written_here(void)
{
	FILE *f = fopen("/proc/thread-self/io", "r");
	unsigned long long bytes = 0;
	char line[80];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "wchar: %llu", &bytes);
	fclose(f);
	return bytes;
}

static unsigned long put_many(struct clv_out *o, unsigned long from, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++)
		assert_true(put(o, from + i));
	return from + count;
}

/* Of the file, so much was written meanwhile, by this thread and in all. */
struct share {
	uint64_t here;
	off_t all;
};

static struct share share_since(int fd, struct share before)
{
	return (struct share){.here = written_here() - before.here, .all = lseek(fd, 0, SEEK_CUR) - before.all};
}

static off_t lines_bytes(unsigned long from, unsigned long to)
{
	off_t size = 0;

	for (unsigned long i = from; i < to; i++)
		size += snprintf(NULL, 0, "%lu ", i) + (int)(i % 97) + 1;
	return size;
}

/* Is there another thread to write what is much at a time? */
static bool writes_elsewhere(void)
{
	struct rlimit most;
	cpu_set_t cpus;

	sched_getaffinity(0, sizeof(cpus), &cpus);
	return CPU_COUNT(&cpus) > 1 && (!geteuid() || (!getrlimit(RLIMIT_RTPRIO, &most) && most.rlim_cur));
}

static void wait_written(struct clv_out *o, int fd, off_t size)
{
	for (int i = 0; i < 2000 && lseek(fd, 0, SEEK_CUR) != size; i++) {
		usleep(5000);
		clv_out_tick(o, 0);
	}
	assert_int_equal(lseek(fd, 0, SEEK_CUR), size);
}

/*
 * By who makes the lines; but of many at once by another one, on another processor, unless who makes them rests. The
 * other thread's name is not meant.
 */
static void test_a_file_is_written_at_once(void **state)
{
	int fd = memfd_create("lines", MFD_CLOEXEC); /* wherever temporary files are */
	struct reader r = {.all = true};
	struct share s;
	struct clv_out *o;
	unsigned long next = 0;
	off_t size;

	assert_int_equal(clv_out_open(fd, 1, false, &stop, &o), 0);
	struct share before = share_since(fd, (struct share){0});
	for (int i = 0; i < 20; i++) {
		next = put_many(o, next, 500); /* 25 KB */
		usleep(6000);
		clv_out_tick(o, 0);
	}
	s = share_since(fd, before);
	assert_true(s.all > 450000);
	assert_int_equal(s.here, s.all);

	before = share_since(fd, (struct share){0});
	next = put_many(o, next, 100000);
	size = lines_bytes(0, next);
	wait_written(o, fd, size);
	s = share_since(fd, before);
	assert_true(writes_elsewhere() ? s.here < (uint64_t)s.all / 4 : s.here == (uint64_t)s.all);

	if (writes_elsewhere() && clv_hurry(CLV_HURRY_LANE) && clv_hurry_can_rest()) {
		usleep(50000); /* it has put its pen down */
		before = share_since(fd, (struct share){0});
		clv_hurry_rest(CLV_HURRY_LANE);
		assert_true(clv_hurry_rests(CLV_HURRY_LANE));
		next = put_many(o, next, 3000);
		usleep(6000);
		clv_out_tick(o, 0);
		s = share_since(fd, before);
		clv_hurry_call(CLV_HURRY_LANE);
		assert_int_equal(s.here, s.all);
		assert_true(s.all > 130000);
	}
	clv_hurry_leave(CLV_HURRY_LANE);
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});

	size = lseek(fd, 0, SEEK_CUR);
	assert_int_equal(clv_out_close(o), 0);
	assert_int_equal(lseek(fd, 0, SEEK_CUR), size);
	r.fd = dup(fd);
	lseek(fd, 0, SEEK_SET);
	reader_run(&r);
	assert_int_equal(r.lines, next);
	assert_false(r.wrong);
	close(fd);
}

static void test_a_file_that_is_full(void **state)
{
	struct rlimit before, less;
	FILE *file = tmpfile();
	struct clv_out *o;
	int err = 0;

	getrlimit(RLIMIT_FSIZE, &before);
	less = before;
	less.rlim_cur = 3000000; /* in the middle of a line */
	assert_int_equal(clv_out_open(fileno(file), 1, false, &stop, &o), 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
	for (unsigned long i = 0; i < 100000 || !err; i++) {
		put(o, i);
		err = clv_out_error(o);
	}
	assert_int_equal(err, -EFBIG);
	assert_int_equal(lseek(fileno(file), 0, SEEK_CUR), less.rlim_cur);
	assert_int_equal(clv_out_close(o), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	fclose(file);
}

static void test_longest_line(void **state)
{
	struct clv_out *o;
	int fd = open("/dev/null", O_WRONLY);

	assert_int_equal(clv_out_open(fd, 1, true, &stop, &o), 0);
	for (int i = 0; i < 5; i++) {
		char *room = clv_out_room(o, 0, CLV_OUT_BYTES);

		assert_non_null(room);
		memset(room, 'x', CLV_OUT_BYTES);
		clv_out_commit(o, 0, CLV_OUT_BYTES - 1);
	}
	assert_null(clv_out_room(o, 0, CLV_OUT_BYTES + 1));
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
	assert_int_equal(clv_out_open(fds[1], 1, true, &stop, &o), 0);
	for (unsigned long i = 0; i < 20000; i++) {
		if (i == 10000) /* nobody has read so far, and the pipe is full */
			pthread_create(&thread, NULL, reader_run, &r);
		put(o, i);
	}
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
	assert_int_equal(clv_out_open(fds[1], 1, true, &stop, &o), 0);
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

/* Threads that have a lane each: no line is lost, none is torn, each thread's stay in order, and one head is first. */
#define LANES 4
#define LINES 16000
#define BASE  1000000ul /* of the numbers of one thread */

static _Thread_local bool makes_lines;
static atomic_bool slow_elsewhere; /* the I/O thread waits for the disk */

struct putter {
	struct clv_out *o;
	unsigned lane;
	unsigned long base; /* of its lines' numbers */
	pthread_t thread;
};

static void *putter_run(void *arg)
{
	struct putter *p = arg;

	makes_lines = true;
	clv_out_head(p->o, clv_slice("head\n", 5));
	for (unsigned long number = p->base; number < p->base + LINES; number++) {
		char *room = clv_out_room(p->o, p->lane, 200);

		if (!room)
			break; /* it is missed below */
		int n = sprintf(room, "%lu ", number);
		memset(room + n, 'x', number % 97);
		room[(size_t)n + number % 97] = '\n';
		clv_out_commit(p->o, p->lane, (size_t)n + number % 97 + 1);
		if (number % 1000 == 0)
			clv_out_tick(p->o, p->lane);
	}
	return NULL;
}

static void check_lanes(FILE *f)
{
	unsigned long next[LANES];
	char *line = NULL;
	size_t cap = 0;

	for (unsigned i = 0; i < LANES; i++)
		next[i] = i * BASE;
	rewind(f);
	assert_true(getline(&line, &cap, f) > 0);
	assert_string_equal(line, "head\n");
	while (getline(&line, &cap, f) > 0) {
		char *x;
		unsigned long number = strtoul(line, &x, 10);

		assert_in_range(number / BASE, 0, LANES - 1);
		assert_int_equal(number, next[number / BASE]++);
		assert_int_equal(strspn(++x, "x"), number % 97);
	}
	for (unsigned i = 0; i < LANES; i++)
		assert_int_equal(next[i], i * BASE + LINES);
	free(line);
}

static void put_by_lanes(FILE *f, bool wait)
{
	struct putter putters[LANES];
	struct clv_out *o;

	assert_int_equal(clv_out_open(fileno(f), LANES, wait, &stop, &o), 0);
	for (unsigned i = 0; i < LANES; i++) {
		putters[i] = (struct putter){.o = o, .lane = i, .base = i * BASE};
		pthread_create(&putters[i].thread, NULL, putter_run, &putters[i]);
	}
	for (unsigned i = 0; i < LANES; i++)
		pthread_join(putters[i].thread, NULL);
	assert_int_equal(clv_out_dropped(o), 0);
	assert_int_equal(clv_out_close(o), 0);
}

static void test_lanes_of_several_threads(void **state)
{
	FILE *f = tmpfile();

	put_by_lanes(f, true);
	check_lanes(f);
	fclose(f);
}

/* Live they write themselves. Now and then a write stops in the middle of a line, as when a disk was full. */
static atomic_bool tear;
static atomic_uint whole_here, torn_here; /* writes by threads that make lines */
/* How a write is slow: */
static atomic_int slow;
enum { SLOW_NOT, SLOW_WAITS, SLOW_IS_BUSY, SLOW_ELSEWHERE };

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void be_slow(void)
{
	uint64_t until_us = now_us() + 50000;

	if (slow == SLOW_WAITS)
		usleep(50000);
	while (now_us() < until_us) {
	}
}

ssize_t __real_write(int fd, const void *data, size_t len);
ssize_t __wrap_write(int fd, const void *data, size_t len);

ssize_t __wrap_write(int fd, const void *data, size_t len)
{
	static atomic_uint count;
	bool torn = atomic_load(&tear) && len > 2 && atomic_fetch_add(&count, 1) % 3 == 2;

	if (makes_lines && slow)
		be_slow();
	if (!makes_lines && atomic_load(&slow_elsewhere))
		usleep(50000);
	if (makes_lines)
		atomic_fetch_add(torn ? &torn_here : &whole_here, 1);
	return __real_write(fd, data, torn ? len - len / 3 - 1 : len);
}

static void test_lanes_write_themselves(void **state)
{
	/* As long as the I/O thread has something to write it may be the one who writes. */
	for (int turn = 0; turn < 1000 && (turn < 10 || !whole_here || !torn_here); turn++) {
		FILE *f = tmpfile();

		tear = turn % 2;
		put_by_lanes(f, false);
		tear = false;
		check_lanes(f);
		fclose(f);
	}
	assert_true(whole_here > 0);
	assert_true(torn_here > 0);
}

/* So many of 20 writes, each of the lines of a moment, were the own thread's. */
static unsigned own_writes(int how_slow)
{
	FILE *f = tmpfile();
	struct clv_out *o;
	unsigned before = whole_here;

	makes_lines = true;
	assert_int_equal(clv_out_open(fileno(f), 1, false, &stop, &o), 0);
	if (how_slow == SLOW_ELSEWHERE) {
		atomic_store(&slow_elsewhere, true);
		usleep(50000);        /* the thread is there */
		put_many(o, 0, 2000); /* much at a time, 100 KB */
		wait_written(o, fileno(f), lines_bytes(0, 2000));
		atomic_store(&slow_elsewhere, false);
		before = whole_here;
	}
	for (unsigned long i = 0; i < 20; i++) {
		slow = i == 2 && how_slow != SLOW_ELSEWHERE ? how_slow : SLOW_NOT;
		const off_t size = lseek(fileno(f), 0, SEEK_END);

		assert_true(put(o, i));
		while (lseek(fileno(f), 0, SEEK_END) == size) {
			usleep(200);
			clv_out_tick(o, 0);
		}
	}
	slow = SLOW_NOT;
	assert_int_equal(clv_out_close(o), 0);
	makes_lines = false;
	fclose(f);
	return whole_here - before;
}

/* A disk that makes its writer wait has another one from then on; a processor that others take away is no such disk. */
static void test_a_disk_that_is_slow(void **state)
{
	assert_in_range(own_writes(SLOW_WAITS), 1, 3);
	assert_true(own_writes(SLOW_IS_BUSY) > 10);
	if (writes_elsewhere())
		assert_int_equal(own_writes(SLOW_ELSEWHERE), 0);
}

/* What finds no room is counted line by line, in whatever lane; a lane that is full leaves the others their room. */
static void test_lanes_without_room_are_counted(void **state)
{
	struct clv_out *o;
	unsigned put = 0;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(clv_out_open(fds[1], 2, false, &stop, &o), 0);
	for (char *room; (room = clv_out_room(o, 1, 64 << 10));) {
		memset(room, '\n', 64 << 10);
		clv_out_commit(o, 1, 64 << 10);
		assert_true(++put <= CLV_OUT_LIVE_BYTES / (64 << 10) + 2);
	}
	assert_true(clv_out_pressed(o, 1));
	assert_false(clv_out_pressed(o, 0));
	assert_int_equal(clv_out_dropped(o), 1);
	assert_null(clv_out_room(o, 1, 64 << 10));
	assert_null(clv_out_room(o, 0, CLV_OUT_LIVE_BYTES + 1));
	assert_int_equal(clv_out_dropped(o), 3);
	assert_non_null(clv_out_room(o, 0, CLV_OUT_BYTES));
	assert_int_equal(clv_out_dropped(o), 3);
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
		cmocka_unit_test(test_a_file_is_written_at_once),
		cmocka_unit_test(test_a_file_that_is_full),
		cmocka_unit_test(test_longest_line),
		cmocka_unit_test(test_descriptor_that_does_not_block),
		cmocka_unit_test(test_stopped_with_a_reader_that_sleeps),
		cmocka_unit_test(test_lanes_of_several_threads),
		cmocka_unit_test(test_lanes_write_themselves),
		cmocka_unit_test(test_a_disk_that_is_slow),
		cmocka_unit_test(test_lanes_without_room_are_counted),
	};

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
