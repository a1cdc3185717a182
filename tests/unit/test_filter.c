/* SPDX-License-Identifier: Apache-2.0 */
/* export/filter.c: what matches, what is refused, and that globs stay fast. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

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
	static const char *const bad[] = {
		"",           "GET",         "verb=GET", "method=", "status=",       "status=40",       "status=4x4",
		"status=0xx", "status=4040", "path=",    "=GET",    "min-duration=", "min-duration=10", "Status=404"};

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

/* ---- expressions ----------------------------------------------------------------------------------------------- */

/* A span with some of everything. */
static const struct clv_span *rich(void)
{
	static const struct clv_resource resource = {
		.count = 1, .attr = {{.key = CLV_LIT("service.name"), .value = CLV_LIT("shop")}}};
	static struct clv_span s;

	s = get_404;
	s.name = CLV_LIT("GET /api/items");
	s.kind = CLV_KIND_CLIENT;
	s.status = CLV_STATUS_ERROR;
	s.result = CLV_LIT("404");
	s.protocol = "http";
	memset(s.trace_id, 0xab, sizeof(s.trace_id));
	s.resource = &resource;
	clv_span_str(&s, CLV_ATTR_DB_SYSTEM_NAME, CLV_LIT("redis"));
	clv_span_str(&s, CLV_ATTR_DB_NAMESPACE, CLV_LIT("3"));
	clv_span_int(&s, CLV_ATTR_SERVER_PORT, 6379);
	clv_span_int(&s, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE, 2500000);
	clv_span_bool(&s, CLV_ATTR_CLOVISOR_GAP, true);
	clv_span_strs(&s, CLV_ATTR_DNS_ANSWERS,
		      clv_slice("10.0.0.1\0"
				"10.0.0.2\0",
				18));
	s.header[s.header_count++] =
		(struct clv_span_header){.name = CLV_LIT("x-tenant"), .value = CLV_LIT("blue team")};
	return &s;
}

static void test_expressions_that_hold(void **state)
{
	static const char *const good[] = {
		"db.system.name == redis",
		"db.system.name==redis",
		"  db.system.name  ==  'redis'  ",
		"db.system.name != mysql",
		"db.system.name =~ re*s",
		"db.system.name !~ my*",
		"db.system.name",
		"has(db.system.name)",
		"has( db.system.name )",
		"!http.route",
		"http.route != x", /* what is not there is not equal to anything */
		"db.namespace == 3",
		"db.namespace > 2",
		"server.port == 6379",
		"server.port >= 6379 && server.port <= 6379.5",
		"server.port =~ 63*",
		"clovisor.gap == true",
		"clovisor.time_to_first_byte_ns > 2ms",
		"clovisor.time_to_first_byte_ns == 2500000",
		"dns.answers == 10.0.0.2",
		"dns.answers =~ *.1",
		"http.request.header.x-tenant == 'blue team'",
		"http.request.header.X-Tenant =~ blue*",
		"service.name == shop",
		"name == \"GET /api/items\"",
		"kind == client",
		"kind == CLIENT",
		"duration == 10ms",
		"duration >= 10ms && duration < 10.1ms",
		"duration > 0.001s",
		"status == error",
		"status != ok",
		"status == 404",
		"status == 4xx",
		"status != 5xx",
		"status >= 400 && status < 500",
		"status =~ 40?",
		"method == get",
		"method =~ G*",
		"target == '/api/items?id=1'",
		"path == /api/items",
		"protocol == http",
		"trace_id == ABABABABABABABABABABABABABABABAB",
		"trace_id =~ abab*",
		"(db.system.name == redis)",
		"!(db.system.name == mysql)",
		"!!db.system.name",
		"db.system.name == mysql || duration > 1ms",
		/* && binds closer than ||. */
		"db.system.name == redis || kind == server && kind == server",
		"(db.system.name == redis || kind == server) && kind == client",
		"db.system.name == mysql || db.system.name == redis || db.system.name == x",
		"db.system.name == redis && kind == client && status == error && path",
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		char turned[256];

		if (!PASSES(rich(), good[i]))
			print_message("%s does not hold\n", good[i]);
		assert_true(PASSES(rich(), good[i]));
		snprintf(turned, sizeof(turned), "!(%s)", good[i]);
		assert_false(PASSES(rich(), turned));
	}
	assert_true(PASSES(rich(), "method=GET", "kind == client", "duration > 1ms"));
	assert_false(PASSES(rich(), "method=GET", "kind == server", "duration > 1ms"));
	assert_false(PASSES(rich(), "method=POST", "kind == client"));
}

static void test_expressions_that_do_not_hold(void **state)
{
	static const char *const bad[] = {
		"db.system.name == redi",
		"db.system.name == Redis",
		"db.system.name > 1",
		"http.route == x",
		"http.route",
		"http.route =~ *",
		"server.port == http",
		"server.port < 80",
		"clovisor.gap == false",
		"dns.answers == 10.0.0.",
		"service.name == x",
		"http.request.header.x-other",
		"http.response.header.x-tenant",
		"status == ok",
		"status == 5xx",
		"duration < 10ms",
		"kind == server",
		"db.system.name == redis && kind == server",
		"plugin.made.up == 1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		if (PASSES(rich(), bad[i]))
			print_message("%s holds\n", bad[i]);
		assert_false(PASSES(rich(), bad[i]));
	}
	/* Without an answer there is no code. */
	struct clv_span s = *rich();
	s.status_code = 0;
	assert_false(PASSES(&s, "status < 500"));
	assert_false(PASSES(&s, "status == 4xx"));
}

/* Each with the column where it goes wrong. */
static void test_expressions_that_are_refused(void **state)
{
	static const struct {
		const char *text;
		unsigned column;
	} bad[] = {
		{"", 1},
		{"   ", 4},
		{"nosuch == 1", 1},
		{"db.system.name = redis", 16},
		{"db.system.name == ", 19},
		{"db.system.name ==", 18},
		{"db.system.name redis", 16},
		{"db.system.name == redis mysql", 25},
		{"db.system.name == redis &", 25},
		{"db.system.name == redis & kind == client", 25},
		{"db.system.name == redis &&", 27},
		{"db.system.name == redis && || kind", 28},
		{"(db.system.name == redis", 25},
		{"db.system.name == redis)", 24},
		{"db.system.name == 'redis", 19},
		{"has(db.system.name", 19},
		{"has()", 5},
		{"!", 1},
		{"duration > 10", 12},
		{"duration > fast", 12},
		{"duration =~ 10*", 13},
		{"server.port > http", 15},
		{"server.port > 0x10", 15},
		{"status > 4xx", 10},
		{"()", 2},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct clv_filter f = {0};
		const char *why = NULL;
		unsigned column = 0;

		assert_int_equal(clv_filter_add(&f, bad[i].text, &why), -EINVAL);
		assert_int_equal(sscanf(why, "column %u: ", &column), 1);
		if (column != bad[i].column)
			print_message("%s: %s\n", bad[i].text, why);
		assert_int_equal(column, bad[i].column);
		assert_int_equal(f.nodes, 0);
	}
}

static void test_bounds(void **state)
{
	static char text[CLV_FILTER_BYTES + 2];
	struct clv_filter f = {0};
	const char *why;

	memset(text, '!', CLV_FILTER_DEPTH);
	strcpy(text + CLV_FILTER_DEPTH, "a.b");
	assert_int_equal(clv_filter_add(&f, text, &why), 0);
	memset(text, '(', CLV_FILTER_DEPTH + 1);
	strcpy(text + CLV_FILTER_DEPTH + 1, "a.b");
	assert_int_equal(clv_filter_add(&f, text, &why), -EINVAL);
	memset(text, ' ', sizeof(text) - 1);
	assert_int_equal(clv_filter_add(&f, text, &why), -EINVAL);

	/* What was refused has taken nothing. */
	f = (struct clv_filter){0};
	int n = 0;
	while (clv_filter_add(&f, "kind == client", &why) == 0)
		n++;
	assert_int_equal(n, CLV_FILTER_NODES / 2);
	assert_true(clv_filter_match(&f, rich()));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_globs),
		cmocka_unit_test(test_hostile_glob),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_matches),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_expressions_that_hold),
		cmocka_unit_test(test_expressions_that_do_not_hold),
		cmocka_unit_test(test_expressions_that_are_refused),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
