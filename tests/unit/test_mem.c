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
	static const size_t first[] = {16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640};
	size_t size = 1, classes = 0;

	for (size_t bytes; size <= CLV_MEM_MAX; size = bytes + 1, classes++) {
		bytes = clv_mem_class_size(size);
		if (classes < sizeof(first) / sizeof(first[0]))
			assert_int_equal(bytes, first[classes]);
		assert_true(bytes >= size);
		assert_int_equal(bytes % 16, 0);
		assert_int_equal(clv_mem_class_size(bytes), bytes);
		if (size > 64)
			assert_true(bytes - size < size / 4);
	}
	assert_int_equal(size, CLV_MEM_MAX + 1);
	assert_int_equal(classes, CLV_MEM_CLASSES);
}

/* Whatever was asked for, a block is large enough, its own, and one of the same class takes its place. */
static void every_class_is_one_size(void **state)
{
	struct clv_mem m;

	for (size_t bytes = clv_mem_class_size(1); bytes <= CLV_MEM_MAX; bytes = clv_mem_class_size(bytes + 1)) {
		clv_mem_init(&m, 2 * bytes);
		uint8_t *a = clv_mem_alloc(&m, bytes), *b = clv_mem_alloc(&m, bytes);

		assert_non_null(a);
		assert_non_null(b);
		assert_int_equal(m.used_bytes, 2 * bytes);
		memset(a, 1, bytes);
		memset(b, 2, bytes);
		assert_int_equal(a[bytes - 1], 1);
		uint64_t fresh = m.fresh;
		clv_mem_free(&m, a, bytes);
		assert_ptr_equal(clv_mem_alloc(&m, bytes - 1), a);
		assert_int_equal(m.fresh, fresh);
		clv_mem_free(&m, a, bytes);
		clv_mem_free(&m, b, bytes);
		assert_int_equal(m.used_bytes, 0);
		clv_mem_fini(&m);
		if (bytes == CLV_MEM_MAX)
			break;
	}
}

#ifndef __SANITIZE_ADDRESS__ /* which keeps what it gives out apart */
/* Arenas stand close together: between two of them nothing of their size is left unused. */
static void arenas_lie_close(void **state)
{
	enum { ARENA = 64 << 10, ARENAS = 64 };
	struct clv_mem m;
	uintptr_t low = UINTPTR_MAX, high = 0;

	clv_mem_init(&m, 64 << 20);
	while (m.fresh <= ARENAS) {
		uintptr_t at = (uintptr_t)clv_mem_alloc(&m, 320);

		low = at < low ? at : low;
		high = at > high ? at : high;
	}
	assert_true(high - low < (uintptr_t)(ARENAS + 8) * ARENA);
	clv_mem_fini(&m);
}
#endif

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
	void *b = clv_mem_alloc(&m, 250);
	assert_non_null(b);
	clv_mem_free(&m, a, 512);
	a = clv_mem_zalloc(&m, 450);
	assert_non_null(a);
	assert_null(clv_mem_alloc(&m, 0));
	assert_null(clv_mem_alloc(&m, CLV_MEM_MAX + 1));
	assert_int_equal(m.peak_bytes, 768);
	clv_mem_free(&m, a, 450);
	clv_mem_free(&m, b, 250);
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
	static void *p[BUDGET / 16];
	struct clv_mem m;

	clv_mem_init(&m, BUDGET);
	for (size_t size = 16; size <= 8192; size *= 2) {
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

/* What was freed last is given out first, wherever it lies: it is in the cache. */
static void last_freed_comes_first(void **state)
{
	enum { BLOCKS = 1000 }; /* of some arenas */
	struct clv_mem m;
	void *p[BLOCKS];

	clv_mem_init(&m, 64 << 20);
	for (size_t i = 0; i < BLOCKS; i++)
		p[i] = clv_mem_alloc(&m, 320);
	for (size_t i = 0; i < BLOCKS; i += 300)
		clv_mem_free(&m, p[i], 320);
	for (size_t i = 900; i; i -= 300)
		assert_ptr_equal(clv_mem_alloc(&m, 320), p[i]);
	clv_mem_fini(&m);
}

/* Sizes that were in use together and are not any more: what is kept of each holds no arena for good. */
static void warm_blocks_go_back(void **state)
{
	enum { EACH = 64 << 10, SIZES = 20 };
	static void *p[SIZES][EACH / 256];
	struct clv_mem m;

	clv_mem_init(&m, 64 << 20);
	void *stays = clv_mem_alloc(&m, 4096);
	for (size_t round = 0; round < 8; round++) {
		for (size_t i = 0; i < EACH / 256; i++)
			for (size_t s = 0; s < SIZES; s++)
				p[s][i] = clv_mem_alloc(&m, 300 + 300 * s);
		for (size_t i = 0; i < EACH / 256; i++)
			for (size_t s = 0; s < SIZES; s++)
				clv_mem_free(&m, p[s][i], 300 + 300 * s);
		assert_int_equal(m.used_bytes, 4096);
		assert_true(m.held_bytes <= (4 << 20) + EACH);
	}
	clv_mem_free(&m, stays, 4096);
	clv_mem_fini(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_freed_comes_first),
		cmocka_unit_test(warm_blocks_go_back),
		cmocka_unit_test(classes),
		cmocka_unit_test(every_class_is_one_size),
#ifndef __SANITIZE_ADDRESS__
		cmocka_unit_test(arenas_lie_close),
#endif
		cmocka_unit_test(blocks_do_not_overlap),
		cmocka_unit_test(budget),
		cmocka_unit_test(steady_state),
		cmocka_unit_test(large_blocks_go_back),
		cmocka_unit_test(small_blocks_go_back),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
