/* SPDX-License-Identifier: Apache-2.0 */
/* Samplers: parents, ratios that two observers agree on, the rate limit, what is always kept, and their names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "export/sample.h"

#define SECOND 1000000000ull

static uint64_t seed = 1;

static uint64_t any(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return seed ^ seed >> 29;
}

static struct clv_span span_of(uint64_t id)
{
	struct clv_span s = {.start_ns = 100 * SECOND, .end_ns = 100 * SECOND + 1000};

	for (int i = 0; i < 8; i++)
		s.trace_id[8 + i] = (uint8_t)(id >> (56 - 8 * i));
	return s;
}

static struct clv_sampler sampler(struct clv_sampling config)
{
	struct clv_sampler s = {0};

	clv_sampler_init(&s, &config);
	return s;
}

static void test_all_by_default(void **state)
{
	struct clv_sampler s = sampler((struct clv_sampling){0});
	struct clv_span span = span_of(0);

	span.parent_sampled = CLV_NOT_SAMPLED;
	assert_true(clv_sampler_takes(&s, &span));
}

static void test_parent_first(void **state)
{
	struct clv_sampler none = sampler((struct clv_sampling){.root = CLV_SAMPLE_NONE, .parent_based = true});
	struct clv_sampler all = sampler((struct clv_sampling){.parent_based = true});
	struct clv_span span = span_of(any());

	assert_false(clv_sampler_takes(&none, &span));
	assert_true(clv_sampler_takes(&all, &span));
	span.parent_sampled = CLV_SAMPLED;
	assert_true(clv_sampler_takes(&none, &span));
	span.parent_sampled = CLV_NOT_SAMPLED;
	assert_false(clv_sampler_takes(&all, &span));
	assert_int_equal(none.sampled_out_root, 1);
	assert_int_equal(all.sampled_out_parent, 1);
}

static void test_ratio_takes_its_share_and_all_agree(void **state)
{
	const double ratios[] = {0, 0.01, 0.25, 0.5, 1};
	unsigned taken[5] = {0};

	for (unsigned i = 0; i < 100000; i++) {
		struct clv_span client = span_of(any()), server = client;
		bool before = false;

		client.kind = CLV_KIND_CLIENT;
		server.end_ns += any() % SECOND;
		for (unsigned r = 0; r < 5; r++) {
			struct clv_sampling c = {.root = CLV_SAMPLE_RATIO, .ratio = ratios[r]};
			struct clv_sampler one = sampler(c), two = sampler(c);
			bool takes = clv_sampler_takes(&one, &client);

			assert_int_equal(takes, clv_sampler_takes(&two, &server));
			assert_true(takes || !before); /* what a smaller ratio takes, a larger one takes as well */
			before = takes;
			taken[r] += takes;
		}
	}
	assert_int_equal(taken[0], 0);
	assert_in_range(taken[1], 800, 1200);
	assert_in_range(taken[2], 24000, 26000);
	assert_in_range(taken[3], 49000, 51000);
	assert_int_equal(taken[4], 100000);
}

/* The last 56 bits against (1 - ratio) * 2^56: what makes others decide alike. */
static void test_threshold(void **state)
{
	struct clv_sampler s = sampler((struct clv_sampling){.root = CLV_SAMPLE_RATIO, .ratio = 0.5});
	struct clv_span below = span_of(0xff7fffffffffffff), at = span_of(0x0080000000000000);

	assert_false(clv_sampler_takes(&s, &below));
	assert_true(clv_sampler_takes(&s, &at));
}

static void test_rate(void **state)
{
	struct clv_sampler s = sampler((struct clv_sampling){.per_second = 10});
	unsigned taken = 0;

	for (unsigned i = 0; i < 1000; i++) { /* 100 a second, for ten seconds */
		struct clv_span span = span_of(any());

		span.start_ns = span.end_ns = (100 + i / 100) * SECOND + i % 100 * (SECOND / 100);
		taken += clv_sampler_takes(&s, &span);
	}
	assert_in_range(taken, 100, 110);
	assert_int_equal(s.sampled_out_rate, 1000 - taken);
	struct clv_span late = span_of(any()); /* time does not go back */
	late.end_ns = late.start_ns = 50 * SECOND;
	clv_sampler_takes(&s, &late);
}

static void test_what_is_always_kept(void **state)
{
	struct clv_sampler s = sampler((struct clv_sampling){.root = CLV_SAMPLE_NONE,
							     .parent_based = true,
							     .per_second = 1,
							     .keep_errors = true,
							     .keep_slow_ns = 2 * SECOND});
	struct clv_span error = span_of(any()), slow = span_of(any()), usual = span_of(any());

	error.status = CLV_STATUS_ERROR;
	error.parent_sampled = CLV_NOT_SAMPLED;
	slow.end_ns = slow.start_ns + 2 * SECOND;
	for (int i = 0; i < 10; i++) {
		assert_true(clv_sampler_takes(&s, &error));
		assert_true(clv_sampler_takes(&s, &slow));
		assert_false(clv_sampler_takes(&s, &usual));
	}
	slow.end_ns--;
	assert_false(clv_sampler_takes(&s, &slow));
}

static void test_figures(void **state)
{
	struct clv_sampler s = sampler((struct clv_sampling){.root = CLV_SAMPLE_NONE});
	struct clv_figure f[CLV_SAMPLE_FIGURES];
	struct clv_span span = span_of(any());

	clv_sampler_takes(&s, &span);
	clv_sampler_init(&s, &(struct clv_sampling){0}); /* a new configuration does not forget */
	clv_sampler_figures(&s, f);
	assert_string_equal(f[1].name, "sampled_out_root");
	assert_int_equal(f[1].value, 1);
}

static void test_names(void **state)
{
	struct clv_sampling c = {.per_second = 7};
	const char *why = NULL;

	assert_int_equal(clv_sampling_parse("parentbased_traceidratio", "0.25", &c, &why), 0);
	assert_true(c.root == CLV_SAMPLE_RATIO && c.parent_based && c.ratio == 0.25 && c.per_second == 7);
	assert_int_equal(clv_sampling_parse("traceidratio", NULL, &c, &why), 0);
	assert_true(c.ratio == 1 && !c.parent_based);
	assert_int_equal(clv_sampling_parse("always_off", NULL, &c, &why), 0);
	assert_true(c.root == CLV_SAMPLE_NONE);
	const char *bad[] = {"-1", "1.1", "x", "", "0.5x", "nan", "inf"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(clv_sampling_parse("traceidratio", bad[i], &c, &why), -EINVAL);
	assert_non_null(strstr(why, "ratio"));
	assert_int_equal(clv_sampling_parse("sometimes", NULL, &c, &why), -EINVAL);
	assert_true(c.root == CLV_SAMPLE_NONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_by_default),
		cmocka_unit_test(test_parent_first),
		cmocka_unit_test(test_ratio_takes_its_share_and_all_agree),
		cmocka_unit_test(test_threshold),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_what_is_always_kept),
		cmocka_unit_test(test_figures),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
