/* SPDX-License-Identifier: Apache-2.0 */
/* export/filter.c: what matches, what is refused, and that globs stay fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>

#include "export/filter.h"

static bool glob(const char *g, const char *t)
{
	return clv_glob_match(clv_slice_str(g), clv_slice_str(t));
}

static void test_globs(void **state)
{
	assert_true(glob("", ""));
	assert_false(glob("", "a"));
	assert_true(glob("*", ""));
	assert_true(glob("*", "/a/b"));
	assert_true(glob("/a/*", "/a/b/c"));
	assert_false(glob("/a/*", "/a"));
	assert_true(glob("/a?c", "/abc"));
	assert_false(glob("/a?c", "/ac"));
	assert_true(glob("*.html", "/x.html.html"));
	assert_false(glob("*.html", "/x.htm"));
	assert_true(glob("a**b*", "ab"));
	assert_true(glob("*a*b*c", "xxaxxbxxabc"));
	assert_false(glob("*a*b*c", "xxaxxbxxab"));
	assert_false(glob("[a]", "a"));
	assert_true(glob("[a]", "[a]"));
}

static void test_hostile_glob(void **state)
{
	static char text[100000];

	memset(text, 'a', sizeof(text) - 1);
	assert_false(glob("*a*a*a*a*a*a*a*a*a*a*b", text));
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"7ns", 7},          {"1.5us", 1500},       {"10ms", 10000000}, {"2s", 2000000000},
		    {"1m", 60000000000}, {"2h", 7200000000000}, {"0ms", 0}};
	static const char *const bad[] = {"", "ms", "10", "-1s", " 1s", "1 s", "1sec", "inf", "nan", "1e99s", "1days"};
	uint64_t ns = 42;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(clv_duration_parse(bad[i], &ns), -EINVAL);
		assert_int_equal(ns, 42);
	}
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		assert_int_equal(clv_duration_parse(good[i].text, &ns), 0);
		assert_int_equal(ns, good[i].ns);
	}
}

static const struct clv_span get_404 = {
	.method = {(const uint8_t *)"GET", 3},
	.target = {(const uint8_t *)"/api/items?id=1", 15},
	.status_code = 404,
	.start_ns = 1000,
	.end_ns = 1000 + 10000000,
};

/* Does the span pass these filters (NULL-ended)? */
static bool passes(const struct clv_span *s, const char *const *filters)
{
	struct clv_filter f = {0};
	const char *why;

	for (; *filters; filters++)
		assert_int_equal(clv_filter_add(&f, *filters, &why), 0);
	return clv_filter_match(&f, s);
}
#define PASSES(span, ...) passes((span), (const char *const[]){__VA_ARGS__, NULL})

static void test_matches(void **state)
{
	struct clv_span unanswered = get_404, with_path = get_404;

	assert_true(passes(&get_404, (const char *const[]){NULL}));
	assert_true(PASSES(&get_404, "method=GET"));
	assert_true(PASSES(&get_404, "method=get"));
	assert_false(PASSES(&get_404, "method=POST"));
	assert_true(PASSES(&get_404, "method=POST", "method=GET"));
	assert_true(PASSES(&get_404, "path=/api/*"));
	assert_true(PASSES(&get_404, "path=/api/items"));
	assert_false(PASSES(&get_404, "path=/api/items?id=1"));
	assert_true(PASSES(&get_404, "status=404"));
	assert_true(PASSES(&get_404, "status=4xx"));
	assert_true(PASSES(&get_404, "status=5XX", "status=4XX"));
	assert_false(PASSES(&get_404, "status=200"));
	assert_false(PASSES(&get_404, "status=5xx"));
	assert_true(PASSES(&get_404, "min-duration=10ms"));
	assert_false(PASSES(&get_404, "min-duration=10.001ms"));
	assert_true(PASSES(&get_404, "method=GET", "path=*items", "status=4xx", "min-duration=1us"));
	assert_false(PASSES(&get_404, "method=GET", "path=*items", "status=5xx", "min-duration=1us"));

	unanswered.status_code = 0;
	assert_false(PASSES(&unanswered, "status=4xx"));

	clv_span_str(&with_path, CLV_ATTR_URL_PATH, CLV_LIT("/other"));
	assert_true(PASSES(&with_path, "path=/other"));
}

static void test_refused(void **state)
{
	static const char *const bad[] = {"",          "GET",        "verb=GET",      "method=",         "status=",
					  "status=40", "status=4x4", "status=0xx",    "status=4040",     "path=",
					  "method",    "=GET",       "min-duration=", "min-duration=10", "Status=404"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct clv_filter f = {0};
		const char *why = NULL;

		assert_int_equal(clv_filter_add(&f, bad[i], &why), -EINVAL);
		assert_non_null(why);
	}

	struct clv_filter f = {0};
	const char *why;
	for (int i = 0; i < CLV_FILTER_VALUES; i++)
		assert_int_equal(clv_filter_add(&f, "path=/", &why), 0);
	assert_int_equal(clv_filter_add(&f, "path=/", &why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_globs),   cmocka_unit_test(test_hostile_glob), cmocka_unit_test(test_durations),
		cmocka_unit_test(test_matches), cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
