/* SPDX-License-Identifier: Apache-2.0 */
/* export/json.c: the line's form, and that any bytes come back as they were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "export/json.h"
#include "usual_span.h"

static struct clv_json json;
static struct clv_resources *resources;

/* The line, NUL-ended, in a buffer of exactly its bound, so that AddressSanitizer sees a write beyond. */
static char *line_of(struct clv_span *s)
{
	if (!s->resource)
		s->resource = clv_resources_get(resources, 0);
	size_t bound = clv_json_bound(&json, s);
	char *room = malloc(bound);
	size_t len = clv_json_write(&json, s, room);

	assert_in_range(len, 1, bound);
	assert_int_equal(room[len - 1], '\n');
	assert_null(memchr(room, '\n', len - 1));
	char *line = strndup(room, len);
	assert_int_equal(strlen(line), len);
	free(room);
	return line;
}

static void test_line(void **state)
{
	struct clv_span s = {
		.trace_id = {[0] = 0xab, [15] = 0xcd},
		.span_id = {[7] = 1},
		.name = CLV_LIT("GET"),
		.kind = CLV_KIND_SERVER,
		.start_ns = 1,
		.end_ns = UINT64_MAX,
	};
	char *line = line_of(&s);

	assert_string_equal(line, "{\"trace_id\":\"ab0000000000000000000000000000cd\",\"span_id\":\"0000000000000001\","
				  "\"name\":\"GET\",\"kind\":\"SERVER\",\"start_time_unix_nano\":\"1\","
				  "\"end_time_unix_nano\":\"18446744073709551615\",\"status\":{\"code\":\"UNSET\"},"
				  "\"attributes\":{},\"resource\":{\"service.name\":\"shop\"}}\n");
	free(line);

	s.has_parent = true;
	s.parent_id[0] = 0xf0;
	s.kind = CLV_KIND_CLIENT;
	s.status = CLV_STATUS_ERROR;
	clv_span_str(&s, CLV_ATTR_ERROR_TYPE, CLV_LIT("503"));
	clv_span_int(&s, CLV_ATTR_SERVER_PORT, INT64_MIN);
	clv_span_bool(&s, CLV_ATTR_CLOVISOR_GAP, true);
	clv_span_bool(&s, CLV_ATTR_CLOVISOR_TRUNCATED, false);
	line = line_of(&s);
	assert_string_equal(line, "{\"trace_id\":\"ab0000000000000000000000000000cd\",\"span_id\":\"0000000000000001\","
				  "\"parent_span_id\":\"f000000000000000\","
				  "\"name\":\"GET\",\"kind\":\"CLIENT\",\"start_time_unix_nano\":\"1\","
				  "\"end_time_unix_nano\":\"18446744073709551615\",\"status\":{\"code\":\"ERROR\"},"
				  "\"attributes\":{\"error.type\":\"503\",\"server.port\":-9223372036854775808,"
				  "\"clovisor.gap\":true,\"clovisor.truncated\":false},"
				  "\"resource\":{\"service.name\":\"shop\"}}\n");
	free(line);
}

static void test_every_number_of_digits(void **state)
{
	uint64_t v = 0;

	for (int i = 0; i < 21; i++, v = v * 10 + (uint64_t)i % 10) {
		struct clv_span s = {.start_ns = v, .end_ns = v};
		char want[64], *line = line_of(&s);

		snprintf(want, sizeof(want), "\"end_time_unix_nano\":\"%llu\"", (unsigned long long)v);
		assert_non_null(strstr(line, want));
		free(line);
	}
}

static void expect_times(uint64_t start_ns, uint64_t end_ns)
{
	struct clv_span s = {.start_ns = start_ns, .end_ns = end_ns};
	char want[128], *line = line_of(&s);

	clv_span_int(&s, CLV_ATTR_SERVER_PORT, (int64_t)(start_ns >> 1));
	free(line);
	line = line_of(&s);
	snprintf(want, sizeof(want), "\"start_time_unix_nano\":\"%llu\",\"end_time_unix_nano\":\"%llu\",",
		 (unsigned long long)start_ns, (unsigned long long)end_ns);
	assert_non_null(strstr(line, want));
	snprintf(want, sizeof(want), "\"server.port\":%llu}", (unsigned long long)(start_ns >> 1));
	assert_non_null(strstr(line, want));
	free(line);
}

/* Zeros at any place of a number; times of the second before, of the next one, and of the first that there is. */
static void test_numbers_and_seconds(void **state)
{
	const uint64_t second = 1000000000, now = 1700000000 * second;

	for (uint64_t power = 1; power < UINT64_MAX / 10; power *= 10) {
		expect_times(power, power + 1);
		expect_times(power - 1, power);
		expect_times(now + power, now + 7 * power);
		expect_times(3 * power, 3 * power + 40);
	}
	expect_times(now, now + second - 1);
	expect_times(now + second - 1, now + second);
	expect_times(now + 20, now - 1);
	expect_times(0, 0);
	expect_times(second - 1, second);
	expect_times(now, 0);
	expect_times(UINT64_MAX - 1, UINT64_MAX);
}

static const char *escaped(struct clv_slice s)
{
	static char out[4096];

	*clv_json_escape(out, s) = '\0';
	return out;
}

static void test_escapes(void **state)
{
	static const struct {
		struct clv_slice in;
		const char *out;
	} cases[] = {
		{CLV_LIT(""), ""},
		{CLV_LIT("plain, of more than eight bytes"), "plain, of more than eight bytes"},
		{CLV_LIT("a\"b\\c"), "a\\\"b\\\\c"},
		{CLV_LIT("\0\n\x1f\x7f"), "\\u0000\\u000a\\u001f\\u007f"},
		{CLV_LIT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"), "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"},
		{CLV_LIT("\xc2\x80\xc2\x9f\xc2\xa0"), "\\u0080\\u009f\xc2\xa0"},
		{CLV_LIT("\xff\xfe"), "\\\\xff\\\\xfe"},
		{CLV_LIT("\\xff"), "\\\\x5cxff"},
		{CLV_LIT("\\y\\"), "\\\\y\\\\"},
		{CLV_LIT("\\\xff"), "\\\\\\\\xff"},
		{CLV_LIT("\xc0\x80"), "\\\\xc0\\\\x80"},                           /* overlong NUL */
		{CLV_LIT("\xe0\x9f\xbf"), "\\\\xe0\\\\x9f\\\\xbf"},                /* overlong */
		{CLV_LIT("\xf0\x8f\xbf\xbf"), "\\\\xf0\\\\x8f\\\\xbf\\\\xbf"},     /* overlong */
		{CLV_LIT("\xed\xa0\x80"), "\\\\xed\\\\xa0\\\\x80"},                /* surrogate */
		{CLV_LIT("\xed\x9f\xbf\xee\x80\x80"), "\xed\x9f\xbf\xee\x80\x80"}, /* their neighbours */
		{CLV_LIT("\xf4\x8f\xbf\xbf"), "\xf4\x8f\xbf\xbf"},                 /* U+10FFFF */
		{CLV_LIT("\xf4\x90\x80\x80"), "\\\\xf4\\\\x90\\\\x80\\\\x80"},     /* past it */
		{CLV_LIT("\xe2\x82"), "\\\\xe2\\\\x82"},                           /* cut short */
		{CLV_LIT("\xe2\x82z"), "\\\\xe2\\\\x82z"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_string_equal(escaped(cases[i].in), cases[i].out);
}

/* However long the string is, and wherever it has what needs more than a copy. */
static void test_escapes_at_every_place(void **state)
{
	static const struct {
		char c;
		const char *out;
	} special[] = {{'"', "\\\""}, {'\\', "\\\\"}, {'\n', "\\u000a"}, {'\x7f', "\\u007f"}, {'\xff', "\\\\xff"}};
	const char *plain = "aZ !#[]~09{}|^_`/:;<=>?@AMNO";
	char in[32], want[64];

	for (size_t len = 0; len < 28; len++) {
		memcpy(in, plain, len);
		in[len] = '\0';
		assert_string_equal(escaped(clv_slice(plain, len)), in);
		for (size_t i = 0; i < len * 5; i++) {
			size_t at = i / 5;

			memcpy(in, plain, len);
			in[at] = special[i % 5].c;
			snprintf(want, sizeof(want), "%.*s%s%.*s", (int)at, plain, special[i % 5].out,
				 (int)(len - at - 1), plain + at + 1);
			assert_string_equal(escaped(clv_slice(in, len)), want);
		}
	}
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* What docs/output.md says to do with a decoded string: \xNN is one byte, everything else itself. */
static size_t restore(const char *s, size_t len, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (s[i] == '\\' && i + 3 < len && s[i + 1] == 'x') {
			out[n++] = (uint8_t)(hex_digit(s[i + 2]) << 4 | hex_digit(s[i + 3]));
			i += 3;
		} else {
			out[n++] = (uint8_t)s[i];
		}
	}
	return n;
}

/* Bytes that meet the edges of UTF-8 and of the escape more often than chance would have it. */
static size_t random_bytes(uint8_t *out, size_t most)
{
	static const uint8_t edges[] = {'\\', 'x',  '"',  '5',  'c',  0,    0x1f, 0x7f, 0x80, 0x9f, 0xbf, 0xc0,
					0xc2, 0xdf, 0xe0, 0xed, 0xa0, 0xef, 0xf0, 0x90, 0xf4, 0x8f, 0xf5, 0xff};
	size_t len = (size_t)random() % (most + 1);
	long mode = random() % 3;

	for (size_t i = 0; i < len; i++)
		out[i] = mode == 0   ? (uint8_t)random()
			 : mode == 1 ? edges[(size_t)random() % sizeof(edges)]
				     : (uint8_t)(random() % 16 ? ' ' + random() % 94 : random());
	return len;
}

static void test_any_bytes_come_back(void **state)
{
	uint8_t bytes[100], back[100 * 6];

	srandom(1);
	for (int i = 0; i < 50000; i++) {
		size_t len = random_bytes(bytes, sizeof(bytes));
		/* Memory of exactly that length, for AddressSanitizer. */
		uint8_t *exact = malloc(len ? len : 1);
		memcpy(exact, bytes, len);
		struct clv_span s = {.name = clv_slice(exact, len)};
		clv_span_str(&s, CLV_ATTR_URL_PATH, clv_slice(exact, len));
		char *line = line_of(&s);
		json_t *j = json_loads(line, JSON_ALLOW_NUL, NULL);

		assert_non_null(j);
		json_t *v = json_object_get(json_object_get(j, "attributes"), "url.path");
		size_t n = restore(json_string_value(v), json_string_length(v), back);
		assert_int_equal(n, len);
		assert_memory_equal(back, bytes, len);
		json_decref(j);
		free(line);
		free(exact);
	}
}

static void test_service(void **state)
{
	char name[CLV_SERVICE_MAX + 1];
	const struct clv_resource_attr more = {CLV_LIT("k8s.pod.name"), CLV_LIT("shop-\"1\"")};
	struct clv_span s = {0};

	memset(name, '\x01', sizeof(name));
	name[CLV_SERVICE_MAX] = '\0';
	assert_int_equal(clv_resources_set(resources, 7, clv_slice_str(name), &more, 1), 0);
	for (unsigned round = 0; round < 2; round++) { /* the resource changes from line to line */
		s.resource = clv_resources_get(resources, round ? 0 : 7);
		char *line = line_of(&s);
		json_t *j = json_loads(line, 0, NULL), *r = json_object_get(j, "resource");
		const char *pod = json_string_value(json_object_get(r, "k8s.pod.name"));

		assert_string_equal(json_string_value(json_object_get(r, "service.name")), round ? "shop" : name);
		assert_true(round ? !pod : strcmp(pod, "shop-\"1\"") == 0);
		json_decref(j);
		free(line);
	}
}

static void test_usual_span(void **state)
{
	struct clv_span s = usual_span();
	char *line = line_of(&s);
	json_t *j = json_loads(line, 0, NULL), *a = json_object_get(j, "attributes");

	assert_int_equal(json_object_size(a), s.attr_count);
	assert_int_equal(json_integer_value(json_object_get(a, "server.port")), 8080);
	assert_true(json_is_true(json_object_get(a, "clovisor.connection.reused")));
	json_decref(j);

	/* A figure, not a test: the best of some rounds, for the machine may be busy. */
	size_t bound = clv_json_bound(&json, &s), bytes = 0;
	char *room = malloc(bound);
	double best_ns = 1e9;
	for (int round = 0; round < 20; round++) {
		struct timespec t0, t1;

		clock_gettime(CLOCK_MONOTONIC, &t0);
		for (int i = 0; i < 1000; i++) {
			s.start_ns += (uint64_t)i;
			bytes += clv_json_write(&json, &s, room) + clv_json_bound(&json, &s);
		}
		clock_gettime(CLOCK_MONOTONIC, &t1);
		double ns = (double)(t1.tv_sec - t0.tv_sec) * 1e9 + (double)(t1.tv_nsec - t0.tv_nsec);
		best_ns = ns < best_ns ? ns : best_ns;
	}
	print_message("# %zu bytes a line, %.0f ns\n", strlen(line), best_ns / 1000);
	assert_true(bytes);
	free(room);
	free(line);
}

/* Captured fields: one array a name, whose values stand side by side; requests and responses apart. */
static void test_headers(void **state)
{
	struct clv_span s = {
		.name = CLV_LIT("GET"),
		.header_count = 5,
		.header = {{CLV_LIT("x-id"), CLV_LIT("a"), false},
			   {CLV_LIT("x-id"), CLV_LIT("\"\x01\xff"), false},
			   {CLV_LIT("x-i"), CLV_LIT(""), false},
			   {CLV_LIT("x-i"), CLV_LIT("b"), true},
			   {CLV_LIT("x-i"), CLV_LIT("c"), true}},
	};

	for (int attrs = 0; attrs < 2; attrs++) {
		char *line = line_of(&s);

		assert_non_null(strstr(line, "\"http.request.header.x-id\":[\"a\",\"\\\"\\u0001\\\\xff\"],"
					     "\"http.request.header.x-i\":[\"\"],"
					     "\"http.response.header.x-i\":[\"b\",\"c\"]},"));
		json_t *root = json_loads(line, 0, NULL);
		assert_non_null(root);
		json_decref(root);
		free(line);
		clv_span_str(&s, CLV_ATTR_URL_PATH, CLV_LIT("/"));
	}
}

/* A field whose every byte is escaped to six fits the bound. */
static void test_header_bound(void **state)
{
	static char bytes[4096];
	struct clv_span s = {.name = CLV_LIT("GET"), .header_count = CLV_SPAN_HEADERS};

	memset(bytes, 1, sizeof(bytes));
	for (unsigned i = 0; i < CLV_SPAN_HEADERS; i++)
		s.header[i] = (struct clv_span_header){clv_slice(bytes, i), clv_slice(bytes, sizeof(bytes)), true};
	free(line_of(&s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_header_bound),
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_every_number_of_digits),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_escapes_at_every_place),
		cmocka_unit_test(test_numbers_and_seconds),
		cmocka_unit_test(test_any_bytes_come_back),
		cmocka_unit_test(test_service),
		cmocka_unit_test(test_usual_span),
	};

	if (clv_resources_new(CLV_LIT("shop"), NULL, 0, &resources))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	clv_resources_free(resources);
	return failed;
}
