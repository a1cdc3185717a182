/* SPDX-License-Identifier: Apache-2.0 */
/* export/summary.c: quantiles within 2 %, and the form of the JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>

#include "export/summary.h"

static void test_quantiles_of_one_value(void **state)
{
	for (uint64_t v = 1; v < UINT64_MAX / 3; v += v / 20 + 1) {
		static struct clv_histogram h;

		h = (struct clv_histogram){0};
		clv_histogram_add(&h, v);
		clv_histogram_add(&h, UINT64_MAX); /* so that the largest value does not help */
		double off = ((double)clv_histogram_quantile(&h, .5) - (double)v) / (double)v;
		assert_true(off > -.02 && off < .02);
		assert_int_equal(h.most, UINT64_MAX);
	}
}

static void test_quantiles(void **state)
{
	static struct clv_histogram h;
	static const double qs[] = {.01, .5, .9, .99, 1};

	assert_int_equal(clv_histogram_quantile(&h, .5), 0);
	for (uint64_t i = 1; i <= 10000; i++)
		clv_histogram_add(&h, i * 1000);
	for (size_t i = 0; i < sizeof(qs) / sizeof(*qs); i++) {
		double want = qs[i] * 1e7, got = (double)clv_histogram_quantile(&h, qs[i]);

		assert_true(got > want * .98 && got < want * 1.02);
	}
}

static void test_json(void **state)
{
	static struct clv_summary s;
	struct clv_span span = {.start_ns = 1000, .end_ns = 2001000, .first_ns = 1500, .status = CLV_STATUS_ERROR};
	char *text;
	size_t len;

	clv_summary_span(&s, &span);
	span.first_ns = 0; /* no answer: counted, but has no latency */
	clv_summary_span(&s, &span);
	clv_summary_set(&s, (struct clv_figure){"drop_ring_full", "", true, 7});
	clv_summary_set(&s, (struct clv_figure){"packets", "", false, 10});
	clv_summary_set(&s, (struct clv_figure){"packets", "", false, 11});
	clv_summary_set(&s, (struct clv_figure){"other", "", false, UINT64_MAX / 2});
	FILE *f = open_memstream(&text, &len);
	assert_int_equal(clv_summary_json(&s, f), 0);
	fclose(f);
	assert_memory_equal(text,
			    "{\"packets\":10,\"bytes\":0,\"records\":0,\"record_bytes\":0,\"flows\":0,\"spans\":0,"
			    "\"drops\":{\"ring_full\":7},\"other\":9223372036854775807,\"shown\":2,\"errors\":2,",
			    120);
	json_t *j = json_loads(text, 0, NULL);
	assert_non_null(j);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "latency_ns"), "max")), 2000000);
	json_decref(j);
	free(text);
}

/* What several have shown, as if one had. */
static void test_gathered(void **state)
{
	static struct clv_summary one, part[3], all;
	const struct clv_summary *const parts[] = {&part[0], &part[1], &part[2]};

	for (uint64_t i = 0; i < 3000; i++) {
		struct clv_span s = {.start_ns = 1000, .end_ns = 1000 + i * i, .first_ns = 1000};

		s.status = i % 7 ? CLV_STATUS_UNSET : CLV_STATUS_ERROR;
		clv_summary_span(&one, &s);
		clv_summary_span(&part[i % 3], &s);
	}
	clv_summary_set(&all, (struct clv_figure){"packets", "", false, 5});
	for (int again = 0; again < 2; again++)
		clv_summary_gather(&all, parts, 3);
	assert_int_equal(all.requests, 3000);
	assert_int_equal(all.errors, one.errors);
	assert_memory_equal(&all.latency_ns, &one.latency_ns, sizeof(one.latency_ns));
	assert_int_equal(clv_summary_get(&all, "packets"), 5);
}

static void test_text_names_what_was_lost(void **state)
{
	static struct clv_summary s;
	char *text;
	size_t len;

	clv_summary_set(&s, (struct clv_figure){"drop_gaps", "holes in a stream", true, 0});
	FILE *f = open_memstream(&text, &len);
	clv_summary_text(&s, f);
	fclose(f);
	assert_non_null(strstr(text, "dropped: nothing\n"));
	free(text);

	clv_summary_reset(&s);
	clv_summary_set(&s, (struct clv_figure){"drop_gaps", "holes in a stream", true, 3});
	f = open_memstream(&text, &len);
	clv_summary_text(&s, f);
	clv_summary_line(&s, f);
	fclose(f);
	assert_non_null(strstr(text, "dropped: gaps 3\n"));
	assert_non_null(strstr(text, "gaps: holes in a stream\n"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quantiles_of_one_value),
		cmocka_unit_test(test_quantiles),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_gathered),
		cmocka_unit_test(test_text_names_what_was_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
