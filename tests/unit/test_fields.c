/* SPDX-License-Identifier: Apache-2.0 */
/* Captured header fields: which are listed, which are secret, their order, and how they are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>

#include "proto/http1.h"
#include "trace/fields.h"

static void names(void **state)
{
	struct clv_capture_list list = {0};
	char name[CLV_CAPTURE_NAME_BYTES + 2] = "";

	assert_int_equal(clv_capture_add(&list, "X-Tenant"), 0);
	assert_int_equal(clv_capture_add(&list, "x-tenant"), 0);
	assert_int_equal(list.count, 1);
	assert_string_equal(list.name[0].text, "x-tenant");
	assert_int_equal(clv_capture_add(&list, ""), -EINVAL);
	assert_int_equal(clv_capture_add(&list, "a b"), -EINVAL);
	assert_int_equal(clv_capture_add(&list, "a:"), -EINVAL);
	assert_int_equal(clv_capture_add(&list, "\xc3\xa9"), -EINVAL);
	memset(name, 'n', CLV_CAPTURE_NAME_BYTES + 1);
	assert_int_equal(clv_capture_add(&list, name), -E2BIG);
	name[CLV_CAPTURE_NAME_BYTES] = '\0';
	assert_int_equal(clv_capture_add(&list, name), 0);
	for (int i = 0; i < CLV_CAPTURE_NAMES - 2; i++) {
		snprintf(name, sizeof(name), "x-%d", i);
		assert_int_equal(clv_capture_add(&list, name), 0);
	}
	assert_int_equal(clv_capture_add(&list, "one-more"), -E2BIG);
	assert_int_equal(list.count, CLV_CAPTURE_NAMES);
}

static void secrets(void **state)
{
	static const char *const secret[] = {"Authorization", "Proxy-Authorization",
					     "Cookie",        "Set-Cookie",
					     "X-API-Key",     "apikey",
					     "X-Auth-Token",  "X-Amz-Security-Token",
					     "X-CSRF-Token",  "Client-Secret",
					     "X-Session-Id",  "X-Hub-Signature-256"};
	static const char *const open[] = {"X-Request-Id", "Content-Type", "X-Tenant", "Cache-Control", "Keep-Alive"};

	for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
		struct clv_capture_list list = {0};
		assert_int_equal(clv_capture_add(&list, secret[i]), 0);
		if (!list.name[0].secret)
			fail_msg("%s is told", secret[i]);
	}
	for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
		struct clv_capture_list list = {0};
		assert_int_equal(clv_capture_add(&list, open[i]), 0);
		assert_false(list.name[0].secret);
	}
}

static const char head[] = "GET / HTTP/1.1\r\nB: 1\r\nCookie: sid=s3cret\r\nA: 2\r\nb: 3\r\nOther: x\r\nA:\r\n\r\n";

static void expect(const struct clv_span_header *h, const char *name, const char *value)
{
	assert_true(clv_slice_eq(h->name, clv_slice_str(name)));
	assert_true(clv_slice_eq(h->value, clv_slice_str(value)));
}

static struct clv_capture_list abc(void)
{
	struct clv_capture_list list = {0};

	assert_int_equal(clv_capture_add(&list, "a"), 0);
	assert_int_equal(clv_capture_add(&list, "absent"), 0);
	assert_int_equal(clv_capture_add(&list, "B"), 0);
	assert_int_equal(clv_capture_add(&list, "cookie"), 0);
	return list;
}

static void gathers(void **state)
{
	struct clv_capture_list list = abc();
	struct clv_span_header h[5];
	uint64_t dropped = 0;

	assert_int_equal(clv_capture_gather(&list, &clv_http1, CLV_LIT(head), false, h, 5, &dropped), 5);
	assert_int_equal(dropped, 0);
	expect(&h[0], "a", "2");
	expect(&h[1], "a", "");
	expect(&h[2], "b", "1");
	expect(&h[3], "b", "3");
	expect(&h[4], "cookie", "REDACTED");
	assert_false(h[0].response);
	/* One too few places. */
	assert_int_equal(clv_capture_gather(&list, &clv_http1, CLV_LIT(head), true, h, 4, &dropped), 4);
	assert_int_equal(dropped, 1);
	assert_true(h[0].response);
}

static void packs(void **state)
{
	struct clv_capture_list list = abc();
	struct clv_span_header h[5], back[5];
	uint64_t dropped = 0;
	size_t count = clv_capture_gather(&list, &clv_http1, CLV_LIT(head), true, h, 5, &dropped);
	size_t bytes = clv_capture_packed(h, &count);
	uint8_t *room = malloc(bytes);

	assert_int_equal(count, 5);
	clv_capture_pack(h, count, room);
	memset(&list, 0, sizeof(list));
	assert_int_equal(clv_capture_unpack(clv_slice(room, bytes), back, 5, &dropped), 5);
	expect(&back[0], "a", "2");
	expect(&back[1], "a", "");
	expect(&back[4], "cookie", "REDACTED");
	assert_true(back[0].response);
	assert_int_equal(dropped, 0);
	assert_int_equal(clv_capture_unpack(clv_slice(room, bytes), back, 3, &dropped), 3);
	assert_int_equal(dropped, 2);
	free(room);
}

static void bound(void **state)
{
	static uint8_t value[CLV_CAPTURE_BYTES / 2];
	struct clv_span_header h[3];
	size_t count = 3;

	for (int i = 0; i < 3; i++)
		h[i] = (struct clv_span_header){.name = CLV_LIT("a"), .value = clv_slice(value, sizeof(value) - 5)};
	assert_int_equal(clv_capture_packed(h, &count), CLV_CAPTURE_BYTES);
	assert_int_equal(count, 2);
	count = 3;
	h[1].value.len++;
	clv_capture_packed(h, &count);
	assert_int_equal(count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names), cmocka_unit_test(secrets), cmocka_unit_test(gathers),
		cmocka_unit_test(packs), cmocka_unit_test(bound),
	};

	return cmocka_run_group_tests_name("fields", tests, NULL, NULL);
}
