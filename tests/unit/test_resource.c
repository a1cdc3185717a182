/* SPDX-License-Identifier: Apache-2.0 */
/* Resources by place of capture: found, replaced, removed, bounded. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "model/resource.h"

static void assert_service(const struct clv_resources *rs, uint32_t net, const char *name)
{
	const struct clv_resource *r = clv_resources_get(rs, net);

	assert_true(clv_slice_eq(r->attr[0].key, CLV_LIT("service.name")));
	assert_true(clv_slice_eq(r->attr[0].value, clv_slice_str(name)));
}

static void test_by_place(void **state)
{
	struct clv_resources *rs;
	char name[16];

	assert_int_equal(clv_resources_new(CLV_LIT("other"), NULL, 0, &rs), 0);
	for (uint32_t i = 0; i < 100; i++) { /* in an order of its own */
		uint32_t net = i * 37 % 100;

		snprintf(name, sizeof(name), "s%u", net);
		assert_int_equal(clv_resources_set(rs, net, clv_slice_str(name), NULL, 0), 0);
	}
	for (uint32_t net = 0; net < 100; net += 2)
		clv_resources_remove(rs, net);
	clv_resources_remove(rs, 1000);
	for (uint32_t net = 0; net < 100; net++) {
		snprintf(name, sizeof(name), "s%u", net);
		assert_service(rs, net, net % 2 ? name : "other");
	}
	assert_service(rs, 1000, "other");
	clv_resources_free(rs);
}

static void test_another_one_has_another_id(void **state)
{
	struct clv_resources *rs;

	assert_int_equal(clv_resources_new(CLV_LIT("other"), NULL, 0, &rs), 0);
	assert_int_equal(clv_resources_set(rs, 5, CLV_LIT("a"), NULL, 0), 0);
	uint32_t id = clv_resources_get(rs, 5)->id;
	assert_int_not_equal(id, clv_resources_get(rs, 6)->id);
	assert_int_equal(clv_resources_set(rs, 5, CLV_LIT("a"), NULL, 0), 0);
	assert_int_not_equal(id, clv_resources_get(rs, 5)->id);
	clv_resources_free(rs);
}

static void test_too_much_changes_nothing(void **state)
{
	static char text[CLV_RESOURCE_BYTES];
	struct clv_resource_attr more[CLV_RESOURCE_ATTRS];
	struct clv_resources *rs;

	for (size_t i = 0; i < CLV_RESOURCE_ATTRS; i++)
		more[i] = (struct clv_resource_attr){CLV_LIT("k"), CLV_LIT("v")};
	assert_int_equal(clv_resources_new(CLV_LIT("other"), NULL, 0, &rs), 0);
	assert_int_equal(clv_resources_set(rs, 5, CLV_LIT("a"), more, CLV_RESOURCE_ATTRS - 1), 0);
	assert_int_equal(clv_resources_set(rs, 5, CLV_LIT("b"), more, CLV_RESOURCE_ATTRS), -E2BIG);
	more[0].value = clv_slice(text, sizeof(text));
	assert_int_equal(clv_resources_set(rs, 5, CLV_LIT("b"), more, 1), -E2BIG);
	assert_service(rs, 5, "a");
	clv_resources_free(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_place),
		cmocka_unit_test(test_another_one_has_another_id),
		cmocka_unit_test(test_too_much_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
