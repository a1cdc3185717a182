/* SPDX-License-Identifier: Apache-2.0 */
/* cli/run.c: how many workers a run has. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sched.h>

#include "cli/run.h"

/* This process may use so many processors from here on; false: there are not so many. */
static bool use_processors(unsigned count)
{
	cpu_set_t all, some;

	CPU_ZERO(&some);
	sched_getaffinity(0, sizeof(all), &all);
	for (int i = 0; i < CPU_SETSIZE && (unsigned)CPU_COUNT(&some) < count; i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &some);
	return (unsigned)CPU_COUNT(&some) == count && sched_setaffinity(0, sizeof(some), &some) == 0;
}

static void test_workers(void **state)
{
	static struct clv_options o;

	assert_int_equal(clv_run_workers(&o, false), 1); /* a file's order is always the same */
	o.workers = 5;
	assert_int_equal(clv_run_workers(&o, true), 5);
	assert_int_equal(clv_run_workers(&o, false), 5);
	o.write_path = "x.pcapng";
	assert_int_equal(clv_run_workers(&o, true), 1); /* packets would come in disorder */
	assert_int_equal(clv_run_workers(&o, false), 5);
	o.write_path = NULL;
	o.plugins.count = 1;
	assert_int_equal(clv_run_workers(&o, true), 1); /* a plugin may count on one thread */
	assert_int_equal(clv_run_workers(&o, false), 1);
}

static void test_workers_by_processors(void **state)
{
	static struct clv_options o;
	static const struct {
		unsigned processors, workers;
	} cases[] = {{32, 4}, {16, 4}, {12, 3}, {8, 2}, {7, 1}, {4, 1}, {2, 1}, {1, 1}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (use_processors(cases[i].processors))
			assert_int_equal(clv_run_workers(&o, true), cases[i].workers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_workers),
		cmocka_unit_test(test_workers_by_processors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
