/* SPDX-License-Identifier: Apache-2.0 */
/* cli/placement.c: what /proc/stat says of processors, which of them a thread prefers, and that it goes there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/placement.h"

#define TICK_NS 10000000ull

static void test_idle_time_is_idle_and_iowait(void **state)
{
	static const char text[] = "cpu  90 1 2 700 30 0 0 0 0 0\n"
				   "cpu0 40 1 2 300 10 0 5 0 0 0\n"
				   "cpu2 50 0 0 400 20 9 9 9 9 9\n"
				   "cpu9 50 0 0 77777 20 0 0 0 0 0\n"
				   "intr 1 2 3\n";
	uint64_t idle_ns[4] = {1, 1, 1, 1};

	clv_placement_parse(clv_slice_str(text), idle_ns, 4);
	assert_int_equal(idle_ns[0], 310 * TICK_NS);
	assert_int_equal(idle_ns[1], 0); /* not there */
	assert_int_equal(idle_ns[2], 420 * TICK_NS);
	assert_int_equal(idle_ns[3], 0);
}

static void test_text_that_is_cut_or_strange(void **state)
{
	static const char *const texts[] = {"", "c", "cpu", "cpu0", "cpu0 1 2 3 400 10", "cpu\n", "cpu0\n", "cpu0 x\n"};
	uint64_t idle_ns[1];

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		clv_placement_parse(clv_slice_str(texts[i]), idle_ns, 1);
		assert_int_equal(idle_ns[0], 0);
	}
}

static void test_prefers_who_has_most_left(void **state)
{
	const uint64_t left_ns[] = {10, 40, 90, 70};
	cpu_set_t all, some;

	CPU_ZERO(&all);
	for (unsigned i = 0; i < 4; i++)
		CPU_SET(i, &all);
	some = all;
	CPU_CLR(2, &some);
	assert_int_equal(clv_placement_choose(left_ns, 4, 0, 100, &all), 2);
	assert_int_equal(clv_placement_choose(left_ns, 4, 0, 100, &some), 3);
	assert_int_equal(clv_placement_choose(left_ns, 4, 3, 100, &all), -1); /* not for a fifth of the time */
	assert_int_equal(clv_placement_choose(left_ns, 4, 3, 99, &all), 2);
	assert_int_equal(clv_placement_choose(left_ns, 4, 2, 100, &all), -1);
	assert_int_equal(clv_placement_choose(left_ns, 4, 7, 100, &all), 2); /* where nothing is known of */
	CPU_ZERO(&some);
	assert_int_equal(clv_placement_choose(left_ns, 4, 0, 100, &some), -1);
}

/* All that was idle since the start was `idle`, but for the others at first. */
static void say(FILE *f, unsigned idle, unsigned ticks)
{
	long count = sysconf(_SC_NPROCESSORS_CONF);

	rewind(f);
	fprintf(f, "cpu  1 1 1 %u 0 0 0 0 0 0\n", ticks);
	for (unsigned i = 0; i < count; i++)
		fprintf(f, "cpu%u 1 1 1 %u 0 0 0 0 0 0\n", i, 1000 + (i == idle ? ticks : 0));
	fflush(f);
}

/* Looks as soon as what the thread has done is worth it. */
static int look(struct clv_placement *p, uint64_t now_ns)
{
	int to = clv_placement_tick(p, now_ns);

	for (int i = 0; i < 1000000 && to < 0; i++)
		to = clv_placement_tick(p, now_ns);
	return to;
}

static void test_goes_there_and_is_free_again(void **state)
{
	cpu_set_t before, after;
	char path[40];
	FILE *f = tmpfile();
	unsigned idle = 0, moved = 0;

	sched_getaffinity(0, sizeof(before), &before);
	if (CPU_COUNT(&before) < 2) {
		print_message("skipped: there is one processor for us\n");
		fclose(f);
		skip();
	}
	while (!CPU_ISSET(idle, &before))
		idle++;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fileno(f));
	say(f, idle, 0);
	struct clv_placement *p = clv_placement_new(path);
	assert_non_null(p);
	uint64_t now_ns = 5 * CLV_PLACEMENT_LOOK_NS;
	assert_int_equal(clv_placement_tick(p, now_ns), -1); /* nothing to compare with */
	say(f, idle, 25);
	assert_int_equal(clv_placement_tick(p, now_ns + CLV_PLACEMENT_LOOK_NS - 1), -1); /* too early */

	/* Where it is there already it stays; sooner or later it is elsewhere. */
	for (unsigned turn = 2; turn < 200 && !moved; turn++) {
		now_ns += CLV_PLACEMENT_LOOK_NS;
		int to = look(p, now_ns);

		if (to >= 0)
			assert_int_equal(to, idle);
		moved += to >= 0;
		say(f, idle, turn * 25);
		if ((unsigned)sched_getcpu() == idle && !moved) {
			after = before;
			CPU_CLR(idle, &after);
			sched_setaffinity(0, sizeof(after), &after);
			sched_setaffinity(0, sizeof(before), &before);
		}
	}
	assert_int_equal(moved, 1);
	sched_getaffinity(0, sizeof(after), &after);
	assert_true(CPU_EQUAL(&before, &after));
	clv_placement_free(p);
	fclose(f);
}

/* ---- a crew ------------------------------------------------------------------------------------------------------ */

#define S_NS 1000000000ull

static void test_a_crew_knows_who_is_where(void **state)
{
	struct clv_crew crew = {0};
	struct clv_crew_view view;

	clv_crew_meet(&crew, 2, 7, S_NS, &view);
	assert_int_equal(CPU_COUNT(&view.taken), 0); /* nobody else has begun */
	assert_false(view.shared || view.to_give_way);
	clv_crew_meet(&crew, 1, 7, S_NS, &view);
	assert_int_equal(CPU_COUNT(&view.taken), 1);
	assert_true(CPU_ISSET(7, &view.taken));
	assert_true(view.shared);
	assert_false(view.to_give_way); /* the later one does */
	clv_crew_meet(&crew, 2, 7, S_NS, &view);
	assert_true(view.shared && view.to_give_way);
	clv_crew_meet(&crew, 2, 0, S_NS, &view);
	assert_false(view.shared || view.to_give_way);
	clv_crew_meet(&crew, 0, 7, S_NS + CLV_CREW_FRESH_NS, &view);
	assert_int_equal(CPU_COUNT(&view.taken), 2);
	assert_true(CPU_ISSET(0, &view.taken) && view.shared);
	/* Those that have nothing to do are in nobody's way. */
	clv_crew_meet(&crew, 0, 7, S_NS + CLV_CREW_FRESH_NS + 1000000, &view);
	assert_int_equal(CPU_COUNT(&view.taken), 0);
}

static void test_gives_way_to_where_nobody_is(void **state)
{
	const uint64_t left_ns[] = {10, 40, 90, 70}, none_ns[4] = {0};
	cpu_set_t all, taken;

	CPU_ZERO(&all);
	CPU_ZERO(&taken);
	for (unsigned i = 0; i < 4; i++)
		CPU_SET(i, &all);
	CPU_SET(2, &taken);
	assert_int_equal(clv_placement_give_way(left_ns, 4, &all, &taken), 3);
	CPU_SET(0, &taken);
	assert_int_equal(clv_placement_give_way(none_ns, 4, &all, &taken), 1); /* before the first look */
	CPU_CLR(1, &all);
	CPU_CLR(3, &all);
	assert_int_equal(clv_placement_give_way(left_ns, 4, &all, &taken), -1);
}

/* Puts this thread there, and lets it go where it wants to again. */
static void stand_on(unsigned cpu, const cpu_set_t *allowed)
{
	cpu_set_t there;

	CPU_ZERO(&there);
	CPU_SET(cpu, &there);
	sched_setaffinity(0, sizeof(there), &there);
	sched_setaffinity(0, sizeof(*allowed), allowed);
}

/* Both at one place: the earlier one stays, whatever is left elsewhere, and the later one leaves at once. */
static void test_two_of_a_crew_part(void **state)
{
	struct clv_crew crew = {0};
	struct clv_placement *first = clv_placement_new(CLV_PLACEMENT_STAT), *second;
	cpu_set_t allowed, after;
	unsigned here = 0;

	second = clv_placement_new(CLV_PLACEMENT_STAT);
	assert_non_null(first);
	assert_non_null(second);
	clv_placement_join(first, &crew, 0);
	clv_placement_join(second, &crew, 1);
	clv_placement_join(NULL, &crew, 2);
	sched_getaffinity(0, sizeof(allowed), &allowed);
	if (CPU_COUNT(&allowed) < 2) {
		print_message("skipped: there is one processor for us\n");
		skip();
	}
	while (!CPU_ISSET(here, &allowed))
		here++;
	/* Another thread's work may push this one elsewhere between the two ticks. */
	int to = -1;
	for (unsigned turn = 1; turn < 100 && to < 0; turn++) {
		stand_on(here, &allowed);
		clv_placement_tick(first, turn * S_NS);
		to = clv_placement_tick(second, turn * S_NS);
	}
	assert_true(to >= 0 && CPU_ISSET((unsigned)to, &allowed));
	assert_int_not_equal(to, here);
	sched_getaffinity(0, sizeof(after), &after);
	assert_true(CPU_EQUAL(&allowed, &after));
	clv_placement_free(first);
	clv_placement_free(second);
}

static void test_without_the_file(void **state)
{
	assert_null(clv_placement_new("/nowhere/stat"));
	assert_int_equal(clv_placement_tick(NULL, 1), -1);
	clv_placement_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_time_is_idle_and_iowait),
		cmocka_unit_test(test_text_that_is_cut_or_strange),
		cmocka_unit_test(test_prefers_who_has_most_left),
		cmocka_unit_test(test_goes_there_and_is_free_again),
		cmocka_unit_test(test_a_crew_knows_who_is_where),
		cmocka_unit_test(test_gives_way_to_where_nobody_is),
		cmocka_unit_test(test_two_of_a_crew_part),
		cmocka_unit_test(test_without_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
