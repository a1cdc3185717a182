/* SPDX-License-Identifier: Apache-2.0 */
/* cli/caller.c, base/hurry.c: who rests, and what it is called by. Needs CAP_SYS_NICE. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hurry.h"
#include "cli/caller.h"

#define SEAT        0
#define MS          1000000ull
#define PATIENCE_MS 10000

/* Of this thread: SCHED_FIFO, SCHED_IDLE, ... */
static int policy(void)
{
	return sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
}

/* Until this thread has it; `hear`: it tells meanwhile that it is here. */
static bool comes_to(int wanted, struct clv_caller *hear)
{
	for (int ms = 0; policy() != wanted && ms < PATIENCE_MS; ms++) {
		usleep(1000);
		if (hear)
			clv_caller_hear(hear, clv_clock_ns());
	}
	return policy() == wanted;
}

/* Becomes readable. */
static void signal_fd(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void calm_fd(int fd)
{
	uint64_t count;

	assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
}

/* Its thread may not be so far that it can call. */
static void rest(struct clv_caller *c, int fd)
{
	for (int ms = 0; !clv_caller_rest(c, fd) && ms < PATIENCE_MS; ms++)
		usleep(1000);
	assert_true(comes_to(SCHED_IDLE, c));
	assert_true(clv_caller_hear(c, clv_clock_ns()));
}

static void test_what_it_is_called_by(void **state)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	struct clv_caller *c;

	clv_hurry(SEAT);
	if (policy() != SCHED_FIFO) {
		print_message("skipped: we have no CAP_SYS_NICE\n");
		close(fd);
		skip();
	}
	assert_int_equal(clv_caller_new(SEAT, &c), 0);

	rest(c, fd);
	signal_fd(fd);
	assert_true(comes_to(SCHED_FIFO, c));
	assert_false(clv_caller_hear(c, clv_clock_ns()));
	calm_fd(fd);

	/* Again, by itself. */
	rest(c, fd);
	clv_caller_wake(c);
	assert_int_equal(policy(), SCHED_FIFO);

	/* Nothing is heard of it. */
	rest(c, fd);
	uint64_t since_ns = clv_clock_ns();
	assert_true(comes_to(SCHED_FIFO, NULL));
	assert_true(clv_clock_ns() - since_ns > (CLV_CALLER_LATE_MS - 100) * MS);

	/* What was urgent before is urgent still. */
	signal_fd(fd);
	assert_true(clv_caller_rest(c, fd));
	for (int ms = 0; clv_caller_hear(c, clv_clock_ns()) && ms < PATIENCE_MS; ms++)
		usleep(1000);
	assert_int_equal(policy(), SCHED_FIFO);
	calm_fd(fd);

	/* Who was slowed down by a flood does not rest, before it runs ahead again. */
	raise(SIGXCPU);
	assert_true(clv_hurry_is_over(SEAT));
	assert_int_equal(policy(), SCHED_OTHER);
	assert_false(clv_caller_rest(c, fd));
	clv_hurry(SEAT);
	rest(c, fd);
	clv_caller_wake(c);
	clv_caller_free(c);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_it_is_called_by),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
