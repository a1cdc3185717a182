/* SPDX-License-Identifier: Apache-2.0 */
/* What workloads are called, and the attributes that all of them share. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/workload.h"

static void assert_slice(struct clv_slice s, const char *text)
{
	assert_int_equal(s.len, strlen(text));
	assert_memory_equal(s.data, text, s.len);
}

static void test_names(void **state)
{
	const struct clv_service_rule rules[] = {
		{CLV_LIT(""), CLV_LIT("all")}, {CLV_LIT("web"), CLV_LIT("shop")}, {CLV_LIT("veth9"), CLV_LIT("till")}};
	static const struct {
		struct clv_workload_place place;
		const char *with_rules, *without;
	} rows[] = {
		{{CLV_LIT("veth1"), {0}, {0}, true}, "all", "veth1"},
		{{CLV_LIT("eth0"), {0}, {0}, false}, "all", "unknown_service"},
		{{CLV_LIT("veth9"), CLV_LIT("other"), {0}, true}, "till", "other"},
		{{CLV_LIT("veth2"), CLV_LIT("web"), {0}, true}, "shop", "web"},
		{{CLV_LIT("veth2"), CLV_LIT("/run/netns/web"), {0}, true}, "all", "web"},
		{{CLV_LIT("veth2"), CLV_LIT("4711"), {0}, true}, "all", "veth2"},
		{{CLV_LIT("veth2"), CLV_LIT("/proc/4711/ns/net"), {0}, true}, "all", "veth2"},
		{{{0}, {0}, {0}, true}, "all", "unknown_service"},
		{{{0}, {0}, CLV_LIT("/sys/fs/cgroup/system.slice/web.service"), false}, "all", "web.service"},
		{{{0}, {0}, CLV_LIT("pods/shop/"), false}, "all", "shop"},
		{{{0}, {0}, CLV_LIT("shop"), false}, "all", "shop"},
		{{{0}, {0}, CLV_LIT("/"), false}, "all", "unknown_service"},
		{{{0}, {0}, CLV_LIT("/sys/fs/cgroup/shop.slice/"), true}, "all", "shop.slice"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		assert_slice(clv_workload_service(rules, 3, &rows[i].place), rows[i].with_rules);
		assert_slice(clv_workload_service(NULL, 0, &rows[i].place), rows[i].without);
	}
}

static void test_common(void **state)
{
	struct clv_workload_common c;

	assert_int_equal(clv_workload_common(&c, "k8s.cluster.name=blue, service.name=no,a=b%2Cc%20d%c3%a9 ,"), 0);
	assert_int_equal(c.count, 2);
	assert_slice(c.attr[0].key, "k8s.cluster.name");
	assert_slice(c.attr[1].value, "b,c d\xc3\xa9");
	assert_int_equal(clv_workload_common(&c, NULL), 0);
	assert_int_equal(c.count, 0);

	const char *bad[] = {"a", "a=", "=b", "ok=1,a", "a=%4", "a=%", "a=%gg"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(clv_workload_common(&c, bad[i]), -EINVAL);
		assert_int_equal(c.count, 0);
	}
}

static void test_common_is_bounded(void **state)
{
	static char text[3 * CLV_RESOURCE_BYTES];
	struct clv_workload_common c;

	memset(text, 'x', sizeof(text) - 1);
	text[1] = '=';
	assert_int_equal(clv_workload_common(&c, text), -EINVAL);
	for (size_t i = 0; i + 4 < sizeof(text); i += 4)
		memcpy(text + i, "a=b,", 4);
	assert_int_equal(clv_workload_common(&c, text), -EINVAL);
}

static void test_resource(void **state)
{
	const struct clv_workload_place place = {.interface = CLV_LIT("veth1"), .pod = true};
	struct clv_workload_common c;
	struct clv_resources *rs;

	assert_int_equal(clv_workload_common(&c, "k8s.cluster.name=blue"), 0);
	assert_int_equal(clv_resources_new(CLV_LIT("x"), NULL, 0, &rs), 0);
	assert_int_equal(clv_workload_set(rs, 3, CLV_LIT("shop"), &place, &c), 0);
	const struct clv_resource *r = clv_resources_get(rs, 3);
	assert_int_equal(r->count, 3);
	assert_slice(r->attr[0].value, "shop");
	assert_slice(r->attr[1].key, "network.interface.name");
	assert_slice(r->attr[2].value, "blue");
	/* The same again is no news; another name is. */
	uint32_t id = r->id;
	assert_int_equal(clv_workload_set(rs, 3, CLV_LIT("shop"), &place, &c), 0);
	assert_int_equal(clv_resources_get(rs, 3)->id, id);
	assert_int_equal(clv_workload_set(rs, 3, CLV_LIT("till"), &place, &c), 0);
	assert_int_not_equal(clv_resources_get(rs, 3)->id, id);
	clv_resources_free(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_common),
		cmocka_unit_test(test_common_is_bounded),
		cmocka_unit_test(test_resource),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
