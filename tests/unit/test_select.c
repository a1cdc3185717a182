/* SPDX-License-Identifier: Apache-2.0 */
/* Which pods are traced: the pod's own word, then namespaces and selectors, and why. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/select.h"
#include "kube_text.h"

static struct clv_select *make(const struct clv_select_config *config)
{
	char why[CLV_KUBE_SELECTOR_WHY];
	struct clv_select *s;

	assert_int_equal(clv_select_new(config, &s, why), 0);
	return s;
}

/* A pod of that namespace and name, with labels, annotation clovisor.io/trace (NULL: none) and phase. */
static enum clv_select_reason reason(const struct clv_select *s, const char *namespace, const char *labels,
				     const char *trace, const char *phase)
{
	char text[1024], annotations[256] = "";

	if (trace)
		snprintf(annotations, sizeof(annotations), "'clovisor.io/trace': '%s'", trace);
	snprintf(text, sizeof(text),
		 "{'metadata': {'name': 'agent-x', 'namespace': '%s', 'labels': {%s}, 'annotations': {%s}},"
		 " 'status': {'phase': '%s'}}",
		 namespace, labels, annotations, phase);
	struct clv_kube_object *pod = kube_object(CLV_KUBE_POD, text);
	enum clv_select_reason r = clv_select_pod(s, (struct clv_kube_pod *)pod);

	clv_kube_object_free(pod);
	return r;
}

static void test_nothing_configured_is_the_default_namespace(void **state)
{
	struct clv_select *s = make(&(struct clv_select_config){0});

	assert_int_equal(reason(s, "default", "", NULL, "Running"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "default", "", NULL, "Pending"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "shop", "", NULL, "Running"), CLV_SELECT_OTHER_NAMESPACE);
	assert_int_equal(reason(s, "default", "", NULL, "Succeeded"), CLV_SELECT_ENDED);
	assert_int_equal(reason(s, "default", "", "true", "Failed"), CLV_SELECT_ENDED);
	clv_select_free(s);
}

static void test_any_of_several(void **state)
{
	static const char *const namespaces[] = {"shop", "bank"}, *const selectors[] = {"app=web,tier", "app in (db)"};
	struct clv_select *s = make(&(struct clv_select_config){
		.namespaces = namespaces, .namespace_count = 2, .selectors = selectors, .selector_count = 2});

	assert_int_equal(reason(s, "bank", "'app': 'web', 'tier': '1'", NULL, "Running"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "shop", "'app': 'db'", NULL, "Running"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "shop", "'app': 'web'", NULL, "Running"), CLV_SELECT_OTHER_LABELS);
	assert_int_equal(reason(s, "shop", "", NULL, "Running"), CLV_SELECT_OTHER_LABELS);
	assert_int_equal(reason(s, "default", "'app': 'db'", NULL, "Running"), CLV_SELECT_OTHER_NAMESPACE);
	clv_select_free(s);
}

static void test_a_pods_own_word_comes_first(void **state)
{
	static const char *const namespaces[] = {"*"}, *const selectors[] = {"app=web"};
	struct clv_select *s = make(&(struct clv_select_config){
		.namespaces = namespaces, .namespace_count = 1, .selectors = selectors, .selector_count = 1});

	assert_int_equal(reason(s, "any", "'app': 'web'", NULL, "Running"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "any", "'app': 'web'", "false", "Running"), CLV_SELECT_OPTED_OUT);
	assert_int_equal(reason(s, "any", "'app': 'db'", "true", "Running"), CLV_SELECT_ANNOTATED);
	assert_int_equal(reason(s, "any", "'app': 'web'", "yes", "Running"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "any", "'app': 'db'", "", "Running"), CLV_SELECT_OTHER_LABELS);
	clv_select_free(s);

	s = make(&(struct clv_select_config){0});
	assert_int_equal(reason(s, "shop", "", "true", "Running"), CLV_SELECT_ANNOTATED);
	clv_select_free(s);
}

static void test_not_itself(void **state)
{
	struct clv_select *s = make(&(struct clv_select_config){.self = "agent-x"});

	assert_int_equal(reason(s, "default", "", NULL, "Running"), CLV_SELECT_SELF);
	assert_int_equal(reason(s, "default", "", "true", "Running"), CLV_SELECT_ANNOTATED);
	clv_select_free(s);
	s = make(&(struct clv_select_config){.self = "agent-x", .self_namespace = "clovisor"});
	assert_int_equal(reason(s, "default", "", NULL, "Running"), CLV_SELECT_YES);
	assert_int_equal(reason(s, "clovisor", "", NULL, "Running"), CLV_SELECT_SELF);
	clv_select_free(s);
	s = make(&(struct clv_select_config){.self = "other"});
	assert_int_equal(reason(s, "default", "", NULL, "Running"), CLV_SELECT_YES);
	clv_select_free(s);
}

static void test_what_is_said(void **state)
{
	static const char *const selectors[] = {"app", "app in web"};
	char why[CLV_KUBE_SELECTOR_WHY];
	struct clv_select *s = NULL;

	assert_int_equal(
		clv_select_new(&(struct clv_select_config){.selectors = selectors, .selector_count = 2}, &s, why),
		-EINVAL);
	assert_non_null(strstr(why, "\"(\" is missing here"));
	assert_null(s);
	for (int r = CLV_SELECT_YES; r <= CLV_SELECT_SELF; r++) {
		assert_non_null(clv_select_text((enum clv_select_reason)r));
		assert_int_equal(clv_select_is_yes((enum clv_select_reason)r), r <= CLV_SELECT_ANNOTATED);
	}
	clv_select_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_configured_is_the_default_namespace),
		cmocka_unit_test(test_any_of_several),
		cmocka_unit_test(test_a_pods_own_word_comes_first),
		cmocka_unit_test(test_not_itself),
		cmocka_unit_test(test_what_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
