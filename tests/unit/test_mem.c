/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks under a budget: alignment, classes, the bound, reuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void classes(void **state)
{
	assert_int_equal(clv_mem_class_size(1), 64);
	assert_int_equal(clv_mem_class_size(64), 64);
	assert_int_equal(clv_mem_class_size(65), 128);
	assert_int_equal(clv_mem_class_size(CLV_MEM_MAX), CLV_MEM_MAX);
}

static void blocks_do_not_overlap(void **state)
{
	struct clv_mem m;
	uint8_t *p[200];

	clv_mem_init(&m, 64 << 20);
	for (size_t i = 0; i < 200; i++) {
		size_t size = 1 + i * 97;

		p[i] = clv_mem_alloc(&m, size);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], (int)i, size);
	}
	for (size_t i = 0; i < 200; i++) {
		size_t size = 1 + i * 97;

		for (size_t at = 0; at < size; at++)
			assert_int_equal(p[i][at], (uint8_t)i);
		clv_mem_free(&m, p[i], size);
	}
	assert_int_equal(m.used_bytes, 0);
	clv_mem_fini(&m);
}

static void budget(void **state)
{
	struct clv_mem m;

	clv_mem_init(&m, 1000);
	void *a = clv_mem_alloc(&m, 512);
	assert_non_null(a);
	assert_null(clv_mem_alloc(&m, 512));
	void *b = clv_mem_alloc(&m, 256);
	assert_non_null(b);
	clv_mem_free(&m, a, 512);
	a = clv_mem_zalloc(&m, 300);
	assert_non_null(a);
	assert_null(clv_mem_alloc(&m, 0));
	assert_null(clv_mem_alloc(&m, CLV_MEM_MAX + 1));
	assert_int_equal(m.peak_bytes, 768);
	clv_mem_free(&m, a, 300);
	clv_mem_free(&m, b, 256);
	clv_mem_free(&m, NULL, 5);
	clv_mem_fini(&m);
}

static void steady_state(void **state)
{
	struct clv_mem m;
	uint64_t fresh = 0;

	clv_mem_init(&m, 64 << 20);
	for (int round = 0; round < 10; round++) {
		void *p[64];

		for (size_t i = 0; i < 64; i++)
			p[i] = clv_mem_alloc(&m, 1 + (i * 331) % 20000);
		for (size_t i = 0; i < 64; i++)
			clv_mem_free(&m, p[i], 1 + (i * 331) % 20000);
		if (round == 0)
			fresh = m.fresh;
		assert_int_equal(m.fresh, fresh);
	}
	clv_mem_fini(&m);
}

/* A burst of large blocks does not stay with us. */
static void large_blocks_go_back(void **state)
{
	struct clv_mem m;
	void *p[100];

	clv_mem_init(&m, 64 << 20);
	for (int i = 0; i < 100; i++)
		p[i] = clv_mem_alloc(&m, 128 << 10);
	for (int i = 0; i < 100; i++)
		clv_mem_free(&m, p[i], 128 << 10);
	assert_int_equal(m.used_bytes, 0);
	assert_true(m.held_bytes <= 4 << 20);
	assert_int_equal(m.idle_bytes, m.held_bytes);
	clv_mem_fini(&m);
}

/* Neither does one of small ones, size after size: each may use the whole budget without holding it for good. */
static void small_blocks_go_back(void **state)
{
	enum { BUDGET = 16 << 20 };
	static void *p[BUDGET / 64];
	struct clv_mem m;

	clv_mem_init(&m, BUDGET);
	for (size_t size = 64; size <= 8192; size *= 2) {
		size_t n = 0;

		while ((p[n] = clv_mem_alloc(&m, size))) {
			memset(p[n], 0xff, size);
			if (++n == BUDGET / size)
				break;
		}
		assert_int_equal(n, BUDGET / size);
		assert_true(m.held_bytes <= BUDGET + BUDGET / 4 + (4 << 20));
		for (size_t i = 0; i < n; i++) /* not in the order they came */
			clv_mem_free(&m, p[(i * 7919) % n], size);
		assert_int_equal(m.used_bytes, 0);
		assert_true(m.held_bytes <= 4 << 20);
	}
	clv_mem_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(blocks_do_not_overlap),
		cmocka_unit_test(budget),
		cmocka_unit_test(steady_state),
		cmocka_unit_test(large_blocks_go_back),
		cmocka_unit_test(small_blocks_go_back),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
