/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of paths: which fits best, what is refused, and what is guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "trace/route.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct clv_routes *routes(const char *const *t, size_t count)
{
	struct clv_routes *r = NULL;
	char why[256];

	assert_int_equal(clv_routes_new(t, count, &r, why, sizeof(why)), 0);
	return r;
}

static void expect(const struct clv_routes *r, const char *path, const char *want)
{
	struct clv_slice got = clv_routes_match(r, clv_slice_str(path));

	if (!clv_slice_eq(got, clv_slice_str(want)))
		fail_msg("%s gives \"%.*s\", not \"%s\"", path, (int)got.len, (const char *)got.data, want);
}

static void best(void **state)
{
	static const char *const t[] = {
		"/",
		"/users/{id}",
		"/users/me",
		"/users/{id}/orders/{order.no}",
		"/users/{id}/*",
		"/users/me/orders",
		"/files/{path...}",
		"/files/{name}/meta",
		"/static/*",
		"/*/health",
		"/slash/",
		"/a/b/c",
		"/{x}/b/d",
		"/{x}/{y...}",
	};
	struct clv_routes *r = routes(t, COUNT(t));

	expect(r, "/", "/");
	expect(r, "/users/42", "/users/{id}");
	expect(r, "/users/me", "/users/me");
	expect(r, "/users/42/orders/7", "/users/{id}/orders/{order.no}");
	expect(r, "/users/42/orders", "/users/{id}/*");
	expect(r, "/users/42/orders/7/lines", "/users/{id}/*");
	expect(r, "/users/42/", "/users/{id}/*");
	expect(r, "/users/me/orders", "/users/me/orders");
	/* "me" leads nowhere here, so {id} is tried. */
	expect(r, "/users/me/orders/7", "/users/{id}/orders/{order.no}");
	expect(r, "/users/", "/{x}/{y...}");
	expect(r, "/files/", "/files/{path...}");
	expect(r, "/files/a/b/c", "/files/{path...}");
	expect(r, "/files/a/meta", "/files/{name}/meta");
	expect(r, "/files/a/meta/x", "/files/{path...}");
	expect(r, "/static/css/site.css", "/static/*");
	expect(r, "/any/health", "/*/health");
	expect(r, "/slash/", "/slash/");
	expect(r, "/slash", "");
	expect(r, "/a/b/c", "/a/b/c");
	expect(r, "/a/b/d", "/{x}/b/d");
	expect(r, "/a/b/e", "/{x}/{y...}");
	expect(r, "//x", "");
	expect(r, "/uSERS/42", "/{x}/{y...}");
	expect(r, "", "");
	expect(r, "*", "");
	expect(r, "users/42", "");
	clv_routes_free(r);
	clv_routes_free(NULL);
}

static void none(void **state)
{
	struct clv_routes *r = routes(NULL, 0);

	expect(r, "/", "");
	expect(r, "/a", "");
	clv_routes_free(r);
}

static void refused(void **state)
{
	static const char *const bad[][2] = {
		{"", NULL},
		{"users", NULL},
		{"/a b", NULL},
		{"/a?b", NULL},
		{"/a#b", NULL},
		{"/{}", NULL},
		{"/{...}", NULL},
		{"/{a b}", NULL},
		{"/{a...}/b", NULL},
		{"/x{a}", NULL},
		{"/{a}x", NULL},
		{"/{a}-{b}", NULL},
		{"/a*", NULL},
		{"/{a}", "/{b}"},
		{"/{a}", "/*/"}, /* good: not the same */
		{"/x/*", "/x/{rest...}"},
		{"/x", "/x"},
	};
	struct clv_routes *r = NULL;
	char why[256];

	for (size_t i = 0; i < COUNT(bad); i++) {
		int err;

		why[0] = '\0';
		err = clv_routes_new(bad[i], bad[i][1] ? 2 : 1, &r, why, sizeof(why));
		if (bad[i][1] && strcmp(bad[i][1], "/*/") == 0) {
			assert_int_equal(err, 0);
			clv_routes_free(r);
			r = NULL;
			continue;
		}
		if (err != -EINVAL || !why[0])
			fail_msg("\"%s\": %d, \"%s\"", bad[i][0], err, why);
		assert_null(r);
	}
}

static void bounds(void **state)
{
	static char deep[2 * CLV_ROUTE_SEGMENTS + 3], text[CLV_ROUTES_MAX + 1][16];
	static const char *many[CLV_ROUTES_MAX + 1];
	static char hostile[65536];
	const char *one = deep;
	struct clv_routes *r = NULL;
	char why[256], path[32];

	for (size_t i = 0; i < CLV_ROUTE_SEGMENTS; i++)
		memcpy(deep + 2 * i, "/*", 2);
	r = routes(&one, 1);
	memset(hostile, '/', sizeof(hostile));
	assert_int_equal(clv_routes_match(r, clv_slice(hostile, sizeof(hostile))).len, 0);
	memset(hostile + 1, 'x', sizeof(hostile) - 1);
	assert_int_equal(clv_routes_match(r, clv_slice(hostile, sizeof(hostile))).len, 0);
	for (size_t i = 0; i < sizeof(hostile); i += 2)
		hostile[i] = '/';
	assert_int_equal(clv_routes_match(r, clv_slice(hostile, sizeof(hostile))).len, strlen(deep));
	clv_routes_free(r);
	memcpy(deep + 2 * CLV_ROUTE_SEGMENTS, "/x", 2);
	assert_int_equal(clv_routes_new(&one, 1, &r, why, sizeof(why)), -EINVAL);
	for (size_t i = 0; i <= CLV_ROUTES_MAX; i++) {
		snprintf(text[i], sizeof(text[i]), "/r%zu/{id}", i);
		many[i] = text[i];
	}
	assert_int_equal(clv_routes_new(many, CLV_ROUTES_MAX + 1, &r, why, sizeof(why)), -E2BIG);
	r = routes(many, CLV_ROUTES_MAX);
	for (size_t i = 0; i < CLV_ROUTES_MAX; i++) {
		snprintf(path, sizeof(path), "/r%zu/%zu", i, i);
		expect(r, path, text[i]);
	}
	clv_routes_free(r);
}

static void guesses(void **state)
{
	static const char *const pairs[][2] = {
		{"/", "/"},
		{"/users", "/users"},
		{"/users/", "/users/"},
		{"/users/42", "/users/{id}"},
		{"/users/0", "/users/{id}"},
		{"/api/v1/users/42/orders/2024-05-06", "/api/v1/users/{id}/orders/{date}"},
		{"/log/2024-05-06T07:08:09Z", "/log/{date}"},
		{"/x/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/x/{uuid}"},
		{"/x/3F2504E0-4F89-41D3-9A0C-0305E82C3301", "/x/{uuid}"},
		{"/x/d41d8cd98f00b204e9800998ecf8427e", "/x/{hash}"},
		{"/x/deadbeefdeadbeef", "/x/{hash}"},
		{"/x/a1b2c3d4", "/x/{hash}"},
		{"/x/a1b2c3", "/x/a1b2c3"},
		{"/x/feedface", "/x/feedface"},
		{"/x/dQw4w9WgXcQdQw4w9WgXcQ", "/x/{token}"},
		{"/x/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/x/{token}"},
		{"/x/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "/x/{token}"},
		{"/static/jquery-3.6.0.bundle.min.js", "/static/jquery-3.6.0.bundle.min.js"},
		{"/well-known/openid-configuration", "/well-known/openid-configuration"},
		{"/mail/bob%40example.com", "/mail/{text}"},
		{"/mail/bob@example.com", "/mail/{text}"},
		{"/caf\xc3\xa9", "/{text}"},
		{"/this-is-a-very-long-title-of-an-article-that-nobody-will-ever-read", "/{text}"},
		{"/a/b/c/d/e/f/g/h", "/a/b/c/d/e/f/g/h"},
		{"/a/b/c/d/e/f/g/h/i", "/a/b/c/d/e/f/g/h/..."},
		{"//a", "//a"},
		{"", ""},
		{"*", ""},
		{"host:443", ""},
	};

	for (size_t i = 0; i < COUNT(pairs); i++) {
		char *room = malloc(CLV_TEMPLATE_BYTES);
		struct clv_slice got = clv_route_guess(clv_slice_str(pairs[i][0]), room);

		if (!clv_slice_eq(got, clv_slice_str(pairs[i][1])))
			fail_msg("%s gives \"%.*s\"", pairs[i][0], (int)got.len, (const char *)got.data);
		free(room);
	}
}

/* The longest guess fits its room exactly. */
static void guess_bound(void **state)
{
	char path[9 * (CLV_TEMPLATE_WORD + 1)], *room = malloc(CLV_TEMPLATE_BYTES);

	memset(path, 'w', sizeof(path));
	for (size_t i = 0; i < sizeof(path); i += CLV_TEMPLATE_WORD + 1)
		path[i] = '/';
	struct clv_slice got = clv_route_guess(clv_slice(path, sizeof(path)), room);
	assert_int_equal(got.len, CLV_TEMPLATE_BYTES);
	assert_memory_equal(got.data + got.len - 6, "ww/...", 6);
	free(room);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(best),   cmocka_unit_test(none),    cmocka_unit_test(refused),
		cmocka_unit_test(bounds), cmocka_unit_test(guesses), cmocka_unit_test(guess_bound),
	};

	return cmocka_run_group_tests_name("route", tests, NULL, NULL);
}
