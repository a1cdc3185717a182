/* SPDX-License-Identifier: Apache-2.0 */
/* What patterns take out of values, and that what cannot be searched is not shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "trace/redact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct clv_redact *patterns(const char *const *p, size_t count)
{
	struct clv_redact *r = NULL;
	char why[256] = "";

	if (clv_redact_new(p, count, &r, why, sizeof(why)))
		fail_msg("%s", why);
	return r;
}

static void expect(struct clv_redact *r, const char *value, const char *want)
{
	/* At the end of its block, so that a read beyond is seen. */
	size_t len = strlen(value);
	char *block = malloc(len + 1);
	uint64_t whole = 0;

	memcpy(block, value, len);
	block = realloc(block, len ? len : 1);
	struct clv_slice got = clv_redact_apply(r, clv_slice(block, len), &whole);
	if (!clv_slice_eq(got, clv_slice_str(want)))
		fail_msg("%s gives \"%.*s\", not \"%s\"", value, (int)got.len, (const char *)got.data, want);
	assert_int_equal(whole, 0);
	free(block);
}

static void matches(void **state)
{
	static const char *const p[] = {
		"[0-9]{3}-[0-9]{4}", "(?<=token=)[^&]+", "^/users/[^/]+", "x*y", "(?i)bob", "a.c$"};
	struct clv_redact *r = patterns(p, COUNT(p));

	expect(r, "", "");
	expect(r, "nothing here", "nothing here");
	expect(r, "call 555-1234 or 555-9999 now", "call REDACTED or REDACTED now");
	expect(r, "a=1&token=s3cret&b=2&token=", "a=1&token=REDACTED&b=2&token=");
	expect(r, "/users/carol/x", "REDACTED/x");
	expect(r, "/a/users/carol", "/a/users/carol");
	expect(r, "xx", "xx");
	expect(r, "wxxyz", "wREDACTEDz");
	expect(r, "BoB and bOb", "REDACTED and REDACTED");
	expect(r, "555-1234 bob", "REDACTED REDACTED");
	expect(r,
	       "a\xff"
	       "c",
	       "REDACTED");          /* bytes, not characters */
	expect(r, "abc\n", "abc\n"); /* the end is the end */
	expect(r, "aac\nabc", "aac\nREDACTED");
	clv_redact_free(r);
	clv_redact_free(NULL);
}

static void itself(void **state)
{
	static const char *const p[] = {"secret"};
	struct clv_redact *r = patterns(p, 1);
	struct clv_slice v = CLV_LIT("untouched");
	uint64_t whole = 0;

	assert_ptr_equal(clv_redact_apply(r, v, &whole).data, v.data);
	clv_redact_free(r);
}

/* An empty match would put REDACTED between all bytes, or loop. */
static void empty(void **state)
{
	static const char *const p[] = {"q*", "(?=b)", "$", "\\b"};
	struct clv_redact *r = patterns(p, COUNT(p));

	expect(r, "abc", "abc");
	expect(r, "aqqc", "aREDACTEDc");
	clv_redact_free(r);
}

static void expect_whole(struct clv_redact *r, struct clv_slice value)
{
	uint64_t whole = 0;
	struct clv_slice got = clv_redact_apply(r, value, &whole);

	assert_true(clv_slice_eq(got, CLV_LIT("REDACTED")));
	assert_int_equal(whole, 1);
}

static void in_doubt(void **state)
{
	static const char *const slow[] = {"(a+)+$"}, *const odd[] = {"ab\\Kc|x\\Kyz"},
				 *const deep[] = {"(?:(a)|b)*[cd]"};
	static const char *const common[] = {"a"}, *const never[] = {"z"};
	static char value[65536];
	struct clv_redact *r = patterns(slow, 1);

	memset(value, 'a', sizeof(value));
	value[40] = 'b';
	expect_whole(r, clv_slice(value, 41));
	expect(r, "baa", "bREDACTED");
	clv_redact_free(r);

	r = patterns(common, 1); /* more matches than anyone wants replaced */
	memset(value, 'a', sizeof(value));
	expect_whole(r, clv_slice(value, sizeof(value)));
	expect_whole(r, clv_slice(value, CLV_REDACT_MATCHES + 1));
	uint64_t whole = 0;
	assert_int_equal(clv_redact_apply(r, clv_slice(value, CLV_REDACT_MATCHES), &whole).len, 8 * CLV_REDACT_MATCHES);
	assert_int_equal(whole, 0);
	clv_redact_free(r);

	/* Steps are bounded for the value, not for each place in it. */
	r = patterns(deep, 1);
	expect_whole(r, clv_slice(value, CLV_REDACT_LONGEST));
	expect(r, "aab", "aab");
	clv_redact_free(r);

	r = patterns(never, 1);
	assert_int_equal(clv_redact_apply(r, clv_slice(value, CLV_REDACT_LONGEST), &whole).len, CLV_REDACT_LONGEST);
	assert_int_equal(whole, 0);
	expect_whole(r, clv_slice(value, CLV_REDACT_LONGEST + 1));
	clv_redact_free(r);

	r = patterns(odd, 1);
	expect(r, "abcd", "abREDACTEDd");
	clv_redact_free(r);
}

static void refused(void **state)
{
	static const char *const bad[] = {"(", "[z-a]", "a{2,1}", "\\", "(*UTF)a"};
	static char longer[CLV_REDACT_PATTERN_BYTES + 2];
	const char *many[CLV_REDACT_PATTERNS + 1], *one = longer;
	struct clv_redact *r = NULL;
	char why[256];

	for (size_t i = 0; i < COUNT(bad); i++) {
		why[0] = '\0';
		assert_int_equal(clv_redact_new(&bad[i], 1, &r, why, sizeof(why)), -EINVAL);
		assert_non_null(strstr(why, bad[i]));
		assert_null(r);
	}
	memset(longer, 'a', sizeof(longer) - 1);
	assert_int_equal(clv_redact_new(&one, 1, &r, why, sizeof(why)), -EINVAL);
	for (size_t i = 0; i <= CLV_REDACT_PATTERNS; i++)
		many[i] = "a";
	assert_int_equal(clv_redact_new(many, CLV_REDACT_PATTERNS + 1, &r, why, sizeof(why)), -E2BIG);
	assert_null(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches),  cmocka_unit_test(itself),  cmocka_unit_test(empty),
		cmocka_unit_test(in_doubt), cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests_name("redact", tests, NULL, NULL);
}
