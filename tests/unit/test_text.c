/* SPDX-License-Identifier: Apache-2.0 */
/* export/text.c: what stands in a line, and that nothing in it can command a terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "export/text.h"

static struct clv_text plain(void)
{
	return (struct clv_text){.pair = 30, .started = true};
}

static struct clv_span usual_span(void)
{
	struct clv_span s = {
		.kind = CLV_KIND_SERVER,
		.side_known = true,
		.start_ns = 1700000000123456789,
		.end_ns = 1700000000123456789 + 1234567,
		.client = {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), 40000},
		.server = {clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), 80},
		.method = CLV_LIT("GET"),
		.target = CLV_LIT("/api/items?id=1"),
		.status_code = 200,
		.bytes = 12345,
	};
	return s;
}

static const char *line_of(struct clv_text *t, const struct clv_span *s)
{
	static char line[1 << 20];
	size_t bound = clv_text_bound(t, s);
	char *room = malloc(bound);
	size_t len = clv_text_write(t, s, room);

	assert_in_range(len, 1, bound);
	assert_true(len < sizeof(line));
	memcpy(line, room, len);
	line[len] = '\0';
	free(room);
	return line;
}

static void test_line(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();

	assert_string_equal(line_of(&t, &s),
			    "22:13:20.123 in   10.0.0.2:40000 -> 10.0.0.1:80  GET     /api/items?id=1                "
			    "          200      1.23ms   12.3k\n");

	s.kind = CLV_KIND_CLIENT;
	s.status_code = 0;
	s.flags = CLV_SPAN_TRUNCATED | CLV_SPAN_GAP | CLV_SPAN_MIDSTREAM | CLV_SPAN_UNPAIRED;
	clv_span_str(&s, CLV_ATTR_ERROR_TYPE, CLV_LIT("reset"));
	assert_string_equal(line_of(&t, &s),
			    "22:13:20.123 out  10.0.0.2:40000 -> 10.0.0.1:80  GET     /api/items?id=1                "
			    "          -        1.23ms   12.3k reset truncated gap midstream unpaired\n");

	s.side_known = false;
	assert_non_null(strstr(line_of(&t, &s), " -    10.0.0.2"));
}

static void test_header_is_aligned(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();

	t.started = false;
	s.client.addr = clv_addr_v6((const uint8_t[]){0x20, 1, 0xd, 0xb8, [15] = 1});
	const char *head = line_of(&t, &s), *line = strchr(head, '\n') + 1;
	assert_int_equal(strstr(head, "METHOD") - head, strstr(line, "GET") - line);
	assert_int_equal(strstr(head, "TARGET") - head, strstr(line, "/api") - line);
	assert_int_equal(strstr(head, "STATUS") - head, strstr(line, "200 ") - line);
	assert_int_equal(strstr(head, "BYTES") + 5 - head, strstr(line, "12.3k") + 5 - line);
	assert_non_null(strstr(line, "[2001:db8::1]:40000 -> 10.0.0.1:80"));
}

static void test_colour_changes_no_column(void **state)
{
	struct clv_text t = plain(), c = plain();
	struct clv_span s = usual_span();
	char bare[4096], *out = bare;

	c.color = true;
	for (const char *p = line_of(&c, &s); *p; p++) {
		if (*p == '\033')
			p = strchr(p, 'm');
		else
			*out++ = *p;
	}
	*out = '\0';
	assert_string_equal(bare, line_of(&t, &s));
}

static void test_targets_are_shortened_for_terminals(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();
	char target[500];

	memset(target, 'a', sizeof(target));
	s.target = clv_slice(target, sizeof(target));
	assert_true(strlen(line_of(&t, &s)) > 500);
	t.width = 120;
	const char *line = line_of(&t, &s);
	assert_true(strlen(line) <= 120 + 2); /* the ellipsis has three bytes */
	assert_non_null(strstr(line, "a… "));

	/* Exactly what fits is whole. */
	size_t room = (size_t)(strstr(line, "… ") - strchr(line, 'a')) + 1;
	s.target = clv_slice(target, room);
	assert_null(strstr(line_of(&t, &s), "…"));
	s.target = clv_slice(target, room + 1);
	assert_non_null(strstr(line_of(&t, &s), "…"));
}

static void test_nothing_commands_the_terminal(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();

	s.target = CLV_LIT("/\033[2J\r\n\x7f\x9b\xc2\x9b\xe2\x80\xae\xff");
	s.method = CLV_LIT("G\aT");
	const char *line = line_of(&t, &s);
	assert_non_null(strstr(line, "/\\x1b[2J\\x0d\\x0a\\x7f\\x9b\\u009b\\u202e\\xff"));
	assert_non_null(strstr(line, "G\\x07T"));

	srandom(2);
	for (int i = 0; i < 20000; i++) {
		uint8_t target[64];

		for (size_t j = 0; j < sizeof(target); j++)
			target[j] = (uint8_t)random();
		s.target = s.method = clv_slice(target, (size_t)random() % (sizeof(target) + 1));
		t.width = random() % 2 ? 80 : 0;
		line = line_of(&t, &s);
		for (const char *p = line; p[1]; p++)
			assert_false((uint8_t)*p < 0x20 || *p == 0x7f || ((uint8_t)*p == 0xc2 && (uint8_t)p[1] < 0xa0));
	}
}

static void test_numbers(void **state)
{
	static const struct {
		uint64_t ns;
		const char *text;
	} times[] = {{0, "0ns"},           {999, "999ns"},       {1000, "1.00us"},
		     {12345, "12.3us"},    {999499, "999us"},    {999500, "1.00ms"},
		     {45600000, "45.6ms"}, {999500000, "1.00s"}, {UINT64_MAX, "18446744074s"}};
	static const struct {
		uint64_t bytes;
		const char *text;
	} sizes[] = {{0, "0"},          {999, "999"},        {1000, "1.00k"},
		     {999999, "1.00M"}, {10500000, "10.5M"}, {UINT64_MAX, "18.4E"}};
	char out[CLV_TEXT_DURATION];

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++) {
		clv_text_duration(out, times[i].ns);
		assert_string_equal(out, times[i].text);
	}
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		clv_text_bytes(out, sizes[i].bytes);
		assert_string_equal(out, sizes[i].text);
	}
}

/* Of other protocols the result says more than a number; what they are stands behind. */
static void test_other_protocols(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();

	s.protocol = "postgresql";
	s.method = CLV_LIT("SELECT");
	s.target = CLV_LIT("carts");
	s.result = CLV_LIT("OK");
	s.status_code = 0;
	clv_span_int(&s, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS, 12);
	assert_string_equal(line_of(&t, &s),
			    "22:13:20.123 in   10.0.0.2:40000 -> 10.0.0.1:80  SELECT  carts                          "
			    "          OK       1.23ms   12.3k postgresql 12 rows\n");
	s.attr[0].i = 1;
	assert_non_null(strstr(line_of(&t, &s), " postgresql 1 row\n"));

	s.result = CLV_LIT("42P01");
	s.attr_count = 0;
	s.status = CLV_STATUS_ERROR;
	clv_span_str(&s, CLV_ATTR_ERROR_TYPE, CLV_LIT("42P01"));
	const char *line = line_of(&t, &s);
	assert_non_null(strstr(line, " 42P01 "));
	assert_non_null(strstr(line, "12.3k postgresql\n")); /* the error is not told twice */

	s.result = CLV_LIT("\033[2J"); /* it comes from the network, too */
	assert_non_null(strstr(line_of(&t, &s), " \\x1b[2J "));

	s.protocol = "http2"; /* as HTTP */
	s.status_code = 404;
	s.attr_count = 0;
	assert_non_null(strstr(line_of(&t, &s), " 404    "));
	assert_non_null(strstr(line_of(&t, &s), "12.3k\n"));
}

/* A long method takes its room from the target: the columns behind stay where they are. */
static void test_long_methods(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();
	const char *line = line_of(&t, &s);
	ptrdiff_t usual = strstr(line, "1.23ms") - line;

	s.method = CLV_LIT("CLIENT SETNAME");
	s.target = CLV_LIT("a");
	line = line_of(&t, &s);
	assert_int_equal(strstr(line, "1.23ms") - line, usual);
	assert_non_null(strstr(line, "CLIENT SETNAME a "));
}

/* What takes long says when it began to answer, and how many messages there were. */
static void test_streams(void **state)
{
	struct clv_text t = plain();
	struct clv_span s = usual_span();

	s.protocol = "grpc";
	s.end_ns = s.start_ns + 5000000000;
	s.first_ns = s.start_ns + 12300000;
	clv_span_int(&s, CLV_ATTR_CLOVISOR_MESSAGES_SENT, 3);
	clv_span_int(&s, CLV_ATTR_CLOVISOR_MESSAGES_RECEIVED, 1);
	assert_non_null(strstr(line_of(&t, &s), " grpc first 12.3ms sent 3 received 1\n"));
	s.end_ns = s.start_ns + 13000000;
	assert_non_null(strstr(line_of(&t, &s), " grpc sent 3 received 1\n"));
}

static const char *flow_line_of(struct clv_text *t, const struct clv_flow_record *r)
{
	static char line[8192];
	size_t len = clv_text_flow(t, r, line);

	assert_in_range(len, 1, clv_text_flow_bound(r));
	line[len] = '\0';
	return line;
}

static void test_connections(void **state)
{
	struct clv_text t = plain();
	struct clv_flow_record r = {
		.client = {clv_addr_v4((const uint8_t[]){10, 0, 0, 2}), 40000},
		.server = {clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), 443},
		.side_known = true,
		.role = CLV_KIND_CLIENT,
		.end = CLV_FLOW_CLOSED,
		.start_ns = 1700000000123456789,
		.end_ns = 1700000000123456789 + 1234567,
		.bytes = {517, 10500},
		.handshake_ns = 812000,
		.protocol = "tls",
		.server_name = CLV_LIT("shop.example"),
		.version = CLV_LIT("1.3"),
		.alpn_offered = CLV_LIT("h2,http/1.1"),
	};

	assert_string_equal(
		flow_line_of(&t, &r),
		"22:13:20.123 out  10.0.0.2:40000 -> 10.0.0.1:443 <tcp>   tls 1.3 shop.example (h2,http/1.1?) "
		"     closed   1.23ms sent 517, received 10.5k, handshake 812us\n");
	r.server_name = CLV_LIT("\033[31m\xff");
	assert_non_null(strstr(flow_line_of(&t, &r), "tls 1.3 \\x1b[31m\\xff ("));
	r = (struct clv_flow_record){.client = r.client,
				     .server = r.server,
				     .transport = 1,
				     .end = CLV_FLOW_IDLE,
				     .protocol = "quic",
				     .guessed = true,
				     .requests = 1,
				     .midstream = true};
	assert_non_null(strstr(flow_line_of(&t, &r), " <udp>   quic? "));
	assert_non_null(strstr(flow_line_of(&t, &r), "sent 0, received 0, 1 request, midstream\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_header_is_aligned),
		cmocka_unit_test(test_colour_changes_no_column),
		cmocka_unit_test(test_targets_are_shortened_for_terminals),
		cmocka_unit_test(test_nothing_commands_the_terminal),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_other_protocols),
		cmocka_unit_test(test_long_methods),
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_connections),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
