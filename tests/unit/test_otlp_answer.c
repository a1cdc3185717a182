/* SPDX-License-Identifier: Apache-2.0 */
/* export/otlp_answer.c: which answers are success, which are to be repeated, and what hostile ones do: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "export/otlp_answer.h"

#define NS    1000000000ull
#define NOW_S 1700000000 /* Tue, 14 Nov 2023 22:13:20 GMT */

static struct clv_otlp_fields f;
static struct clv_otlp_answer a;

static void fields(const char *line, ...)
{
	va_list ap;

	memset(&f, 0, sizeof(f));
	f.grpc_status = -1;
	va_start(ap, line);
	for (; line; line = va_arg(ap, const char *))
		clv_otlp_field(&f, clv_slice_str(line), NOW_S);
	va_end(ap);
}

static void http(long status, const char *body, size_t len)
{
	clv_otlp_answer_http(&f, status, clv_slice(body, len), true, &a);
}

static void grpc(long status, const char *body, size_t len)
{
	clv_otlp_answer_grpc(&f, status, clv_slice(body, len), true, &a);
}

static void test_http_statuses(void **state)
{
	for (long status = 100; status < 600; status++) {
		bool retry = status == 429 || status == 502 || status == 503 || status == 504;

		fields(NULL);
		http(status, "", 0);
		assert_int_equal(a.verdict, status / 100 == 2 ? CLV_OTLP_DELIVERED
					    : retry           ? CLV_OTLP_RETRY
							      : CLV_OTLP_REFUSED);
		assert_false(a.strange);
	}
}

static void test_retry_after(void **state)
{
	static const struct {
		const char *line;
		uint64_t wait_ns;
	} cases[] = {
		{"Retry-After: 7\r\n", 7 * NS},
		{"retry-after:0", 0},
		{"Retry-After: 99999999999999999999999", CLV_OTLP_WAIT_MAX_NS},
		{"Retry-After: Tue, 14 Nov 2023 22:13:30 GMT", 10 * NS},
		{"Retry-After: Tue, 14 Nov 2023 22:13:10 GMT", 0},
		{"Retry-After: Tue, 14 Nov 2043 22:13:10 GMT", CLV_OTLP_WAIT_MAX_NS},
		{"Retry-After: -5", 0},
		{"Retry-After: soon", 0},
		{"Retry-After:", 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		fields(cases[i].line, NULL);
		http(503, "", 0);
		assert_int_equal(a.wait_ns, cases[i].wait_ns);
		http(500, "", 0); /* not to be repeated: nothing to wait for */
		assert_int_equal(a.wait_ns, 0);
	}
}

static void test_partial_success(void **state)
{
	fields("Content-Type: application/x-protobuf", NULL);
	http(200, "\x0a\x07\x08\x05\x12\x03\x61\x07\x62", 9);
	assert_int_equal(a.verdict, CLV_OTLP_DELIVERED);
	assert_int_equal(a.rejected, 5);
	assert_string_equal(a.message, "a?b");
	assert_false(a.strange);
	http(200, "\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13); /* -1 */
	assert_int_equal(a.rejected, 0);
	fields("content-type: application/json; charset=utf-8", NULL);
	const char *json = "{ \"partialSuccess\" : { \"rejectedSpans\" : \"12\", \"errorMessage\": \"no\" } }";
	http(200, json, strlen(json));
	assert_int_equal(a.rejected, 12);
	assert_string_equal(a.message, "no");
	json = "{\"partialSuccess\":{\"rejectedDataPoints\":3}}";
	http(200, json, strlen(json));
	assert_int_equal(a.rejected, 3);
	http(200, "{}", 2);
	assert_int_equal(a.rejected, 0);
	assert_false(a.strange);
}

static void test_error_with_a_message(void **state)
{
	fields("Content-Type: application/x-protobuf", NULL);
	http(400, "\x08\x03\x12\x04nope", 8); /* google.rpc.Status */
	assert_string_equal(a.message, "HTTP 400: nope");
	fields("Content-Type: text/plain", NULL);
	http(404, "gone\n\x1b[2J", 9);
	assert_string_equal(a.message, "HTTP 404: gone??[2J");
}

static void test_grpc_statuses(void **state)
{
	static const char retryable[17] = {[1] = 1, [4] = 1, [10] = 1, [11] = 1, [14] = 1, [15] = 1};
	char line[32];

	for (int status = 0; status < 17; status++) {
		snprintf(line, sizeof(line), "grpc-status: %d", status);
		fields(line, NULL);
		grpc(200, "", 0);
		assert_int_equal(a.verdict, status == 0         ? CLV_OTLP_DELIVERED
					    : retryable[status] ? CLV_OTLP_RETRY
								: CLV_OTLP_REFUSED);
	}
	fields("grpc-status: 0", NULL);
	grpc(200, "\0\0\0\0\4\x0a\x02\x08\x05", 9);
	assert_int_equal(a.rejected, 5);
	/* No gRPC at all. */
	fields(NULL);
	grpc(503, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_RETRY);
	grpc(404, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_REFUSED);
	grpc(200, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_REFUSED);
	fields("grpc-status: x", NULL);
	grpc(200, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_REFUSED);
}

static void test_retry_info(void **state)
{
	/* Status { code: 8, details: [Any { type_url, value: RetryInfo { retry_delay { seconds: 3 } } }] } */
	static const char *const details = "grpc-status-details-bin: "
					   "CAgaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIAw";

	fields("grpc-status: 8", details, NULL);
	grpc(200, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_RETRY);
	assert_int_equal(a.wait_ns, 3 * NS);
	fields("grpc-status: 14", details, NULL);
	grpc(200, "", 0);
	assert_int_equal(a.wait_ns, 3 * NS);
	fields("grpc-status: 8", "grpc-status-details-bin: CAgaMAoo", NULL); /* cut */
	grpc(200, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_REFUSED);
	fields("grpc-status: 8", "grpc-status-details-bin: !!!", NULL);
	grpc(200, "", 0);
	assert_int_equal(a.verdict, CLV_OTLP_REFUSED);
}

/* Under the sanitizers: whatever comes, nothing is read beyond it. */
static void test_garbage(void **state)
{
	srandom(1);
	for (int i = 0; i < 200000; i++) {
		size_t len = (size_t)random() % 40;
		char *body = malloc(len + 1);

		for (size_t j = 0; j < len; j++) /* small numbers look like tags and lengths */
			body[j] = (char)(random() % 3 ? random() % 20 : random());
		fields(i & 1 ? "Content-Type: application/x-protobuf" : "Content-Type: application/json", NULL);
		clv_otlp_field(&f, clv_slice(body, len), NOW_S);
		http(i & 2 ? 200 : 400, body, len);
		f.grpc_status = i & 4 ? 0 : 8;
		f.details_len = len;
		memcpy(f.details, body, len);
		grpc(200, body, len);
		assert_true(memchr(a.message, '\0', sizeof(a.message)) != NULL);
		free(body);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_http_statuses),   cmocka_unit_test(test_retry_after),
		cmocka_unit_test(test_partial_success), cmocka_unit_test(test_error_with_a_message),
		cmocka_unit_test(test_grpc_statuses),   cmocka_unit_test(test_retry_info),
		cmocka_unit_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
