/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors: every operator, the API's rules for keys and values, what errors say. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/selector.h"

static const struct clv_kube_pair pairs[] = {
	{"app", "web"}, {"empty", ""}, {"example.com/tier", "front"}, {"in", "in"}, {"replica", "7"}, {"word", "7a"},
};
static const struct clv_kube_pairs labels = {sizeof(pairs) / sizeof(*pairs), pairs};

static void test_matching(void **state)
{
	static const struct {
		const char *text;
		bool matches;
	} cases[] = {
		{"", true},
		{"  ", true},
		{"app", true},
		{"nothing", false},
		{"!app", false},
		{"!nothing", true},
		{"! nothing", true},
		{"app=web", true},
		{"app==web", true},
		{" app = web ", true},
		{"app=w", false},
		{"app!=web", false},
		{"app!=shop", true},
		{"nothing!=shop", true}, /* no label is not that label */
		{"app=", false},
		{"empty=", true},
		{"empty", true},
		{"empty!=", false},
		{"nothing=", false},
		{"app in (web)", true},
		{"app in (shop,web)", true},
		{"app in(shop, web)", true},
		{"app in (shop)", false},
		{"nothing in (web)", false},
		{"app notin (shop,web)", false},
		{"app notin (shop)", true},
		{"nothing notin (shop)", true},
		{"empty in ()", true},
		{"empty in (,web)", true},
		{"app in (,web)", true},
		{"in in (in)", true},
		{"in", true},
		{"in=in", true},
		{"in notin (notin)", true},
		{"example.com/tier=front", true},
		{"example.com/tier in (back)", false},
		{"replica>6", true},
		{"replica > 7", false},
		{"replica<8", true},
		{"replica<7", false},
		{"replica>99999999999", false},
		{"word>6", false}, /* no number */
		{"nothing>6", false},
		{"app=web,replica>6,!nothing", true},
		{"app=web,nothing", false},
		{"app,app=web,app in (web)", true},
		{"app=web\n,\treplica", true},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct clv_kube_selector *s;
		char why[CLV_KUBE_SELECTOR_WHY] = "";

		if (clv_kube_selector_parse(cases[i].text, &s, why))
			fail_msg("\"%s\" is refused: %s", cases[i].text, why);
		if (clv_kube_selector_matches(s, &labels) != cases[i].matches)
			fail_msg("\"%s\" should match: %d", cases[i].text, cases[i].matches);
		clv_kube_selector_free(s);
	}
}

static void test_errors(void **state)
{
	static const struct {
		const char *text, *why; /* its beginning */
	} cases[] = {
		{",", "at \",\" (byte 1): a label's key is missing here"},
		{"app,", "at its end: a label's key is missing here"},
		{"app,,b", "at \",b\" (byte 5): a label's key is missing here"},
		{"=web", "at \"=web\" (byte 1): a label's key is missing here"},
		{"!", "at its end: a label's key is missing here"},
		{"!!app", "at \"!app\" (byte 2): a label's key is missing here"},
		{"!app=web", "at \"=web\" (byte 5): \",\" or an operator"},
		{"app web", "at \"web\" (byte 5): \",\" or an operator"},
		{"app=web shop", "at \"shop\" (byte 9): \",\" or an operator"},
		{"app===web", "at \"=web\" (byte 6)"},
		{"app= =web", "at \"=web\" (byte 6)"},
		{"app!web", "at \"!web\" (byte 4): \",\" is missing here, or it should be KEY!=VALUE"},
		{"app in web", "at \"web\" (byte 8): \"(\" is missing here"},
		{"app in", "at its end: \"(\" is missing here"},
		{"app in (web", "at its end: \",\" or \")\" is missing here"},
		{"app in (web shop)", "at \"shop)\" (byte 13): \",\" or \")\" is missing here"},
		{"app in (web))", "at \")\" (byte 13)"},
		{"app in ((web)", "at \"(web)\" (byte 9)"},
		{"replica>", "at its end: before this belongs a number"},
		{"replica>six", "at its end: before this belongs a number"},
		{"replica>99999999999999999999", "at its end: before this belongs a number"},
		{"replica>=6", "at \"=6\" (byte 9): before this belongs a number"},
		{"-app", "at \"-app\" (byte 1): a name has at most 63"},
		{"app.", "at \"app.\" (byte 1): a name has at most 63"},
		{"a*b", "at \"a*b\" (byte 1): a name has at most 63"},
		{"/app", "at \"/app\" (byte 1): before its \"/\" belongs a DNS name"},
		{"a/b/c", "at \"a/b/c\" (byte 1): a name has at most 63"},
		{"Example.com/app", "at \"Example.com/app\" (byte 1): before its"},
		{"example..com/app", "at \"example..com/app\" (byte 1): before its"},
		{"example.-com/app", "at \"example.-com/app\" (byte 1): before its"},
		{"example-.com/app", "at \"example-.com/app\" (byte 1): before its"},
		{"example.com./app", "at \"example.com./app\" (byte 1): before its"},
		{"example.com/", "at \"example.com/\" (byte 1): a name has at most 63"},
		{"app=-web", "at \"-web\" (byte 5): a value has at most 63"},
		{"app=w/b", "at \"w/b\" (byte 5): a value has at most 63"},
		{"app in (web,w b)", "at \"b)\" (byte 15)"},
		{"app in (web,_b)", "at \"_b)\" (byte 13): a value has at most 63"},
		{"app=w\xc3\xa4hrung", "at \"w\xc3\xa4hrung\" (byte 5): a value has at most 63"},
		{"app=-0123456789012345678901234567890", "at \"-01234567890123456789012...\" (byte 5): a value"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct clv_kube_selector *s = NULL;
		char why[CLV_KUBE_SELECTOR_WHY] = "";

		if (clv_kube_selector_parse(cases[i].text, &s, why) != -EINVAL)
			fail_msg("\"%s\" is taken", cases[i].text);
		if (strncmp(why, cases[i].why, strlen(cases[i].why)) != 0)
			fail_msg("\"%s\": %s", cases[i].text, why);
		assert_null(s);
	}
}

/* The longest that the API takes, and one byte more. */
static void test_lengths(void **state)
{
	char text[400], why[CLV_KUBE_SELECTOR_WHY];
	struct clv_kube_selector *s;

	for (int more = 0; more < 2; more++) {
		snprintf(text, sizeof(text), "app=%0*d", 63 + more, 1);
		assert_int_equal(clv_kube_selector_parse(text, &s, why), more ? -EINVAL : 0);
		if (!more)
			clv_kube_selector_free(s);
		snprintf(text, sizeof(text), "%0*d=1", 63 + more, 1);
		assert_int_equal(clv_kube_selector_parse(text, &s, why), more ? -EINVAL : 0);
		if (!more)
			clv_kube_selector_free(s);
		snprintf(text, sizeof(text), "%0*d/a=1", 253 + more, 1);
		assert_int_equal(clv_kube_selector_parse(text, &s, why), more ? -EINVAL : 0);
		if (!more)
			clv_kube_selector_free(s);
	}
	static char much[20000];
	memset(much, 'a', sizeof(much) - 1);
	assert_int_equal(clv_kube_selector_parse(much, &s, why), -EINVAL);
	assert_string_equal(why, "it has 19999 bytes, and 16384 are the most");
	clv_kube_selector_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matching),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
