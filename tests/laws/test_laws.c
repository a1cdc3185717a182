/* SPDX-License-Identifier: Apache-2.0 */
/* The laws of clovisor/proto.h (src/laws), on every protocol built in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "allocations.h"
#include "laws/laws.h"
#include "talk.h"
#include "trace/report.h"

static unsigned before;

static void watch(void)
{
	before = allocations;
}

static bool watched(void)
{
	return allocations == before;
}

static void say(const char *line)
{
	print_message("# %s\n", line);
}

static void holds(const struct law *law, const struct talk_sample *sample, const struct clv_head_rules *rules)
{
	struct laws l = {.sample = sample, .begin = watch, .end = watched, .say = say, .rules = rules};

	if (sample->follows && law->alone)
		return;
	if (law->holds(&l))
		return;
	print_message("# %s: %s\n", sample->proto, l.why);
	fail();
}

static void test_law(void **state)
{
	for (const struct talk_sample *const *s = talk_samples; *s; s++)
		holds(*state, *s, NULL);
}

/* With every rule about heads that leaves the talk's targets as they are. */
static void test_steady_with_rules(void **state)
{
	static const char *const patterns[] = {"(?<=nobody=)[0-9]+", "nginx"}, *const templates[] = {"/{any...}"};
	struct clv_capture capture = {0};
	struct clv_head_rules rules = {.guess_templates = true, .capture = &capture};
	struct clv_routes *routes;
	char why[128];

	assert_int_equal(clv_capture_add(&capture.request, "host"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "content-length"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "transfer-encoding"), 0);
	assert_int_equal(clv_redact_new(patterns, 2, &rules.redact, why, sizeof(why)), 0);
	assert_int_equal(clv_routes_new(templates, 1, &routes, why, sizeof(why)), 0);
	rules.routes = routes;
	for (const struct talk_sample *const *s = talk_samples; *s; s++)
		holds(&(struct law){.name = "steady", .holds = law_steady}, *s, &rules);
	clv_routes_free(routes);
	clv_redact_free(rules.redact);
}

/* Every registered parser has a sample: otherwise the laws are not run on it. */
static void test_all_have_samples(void **state)
{
	for (const struct clv_proto *const *p = clv_protos; *p; p++) {
		bool found = false;
		for (const struct talk_sample *const *s = talk_samples; *s; s++)
			found |= clv_proto_find((*s)->proto) == *p;
		assert_true(found);
	}
}

int main(void)
{
	struct CMUnitTest tests[24] = {
		cmocka_unit_test(test_all_have_samples),
		cmocka_unit_test(test_steady_with_rules),
	};
	size_t count = 2;

	for (const struct law *law = laws_all; law->name; law++)
		tests[count++] =
			(struct CMUnitTest){.name = law->name, .test_func = test_law, .initial_state = (void *)law};
	return _cmocka_run_group_tests("laws", tests, count, NULL, NULL);
}
