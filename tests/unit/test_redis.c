/* SPDX-License-Identifier: Apache-2.0 */
/* Redis case by case: the commands on record, detection, what spans show. What holds for every input is in tests/laws.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model/span.h"
#include "proto/redis.h"

static void test_commands_are_found(void **state)
{
	for (uint16_t i = 0; i < clv_redis_command_count; i++)
		assert_int_equal(clv_redis_find(clv_redis_commands[i].name), i + 1); /* so they are in order */
	assert_int_equal(clv_redis_find(CLV_LIT("get")), clv_redis_find(CLV_LIT("GET")));
	assert_int_equal(clv_redis_find(CLV_LIT("GE")), 0);
	assert_int_equal(clv_redis_find(CLV_LIT("GETT")), 0);
	assert_int_equal(clv_redis_find(CLV_LIT("")), 0);
	assert_int_equal(clv_redis_find(CLV_LIT("GEORADIUSBYMEMBER_RO_AND_MORE")), 0);
}

static void test_words(void **state)
{
	assert_true(clv_redis_is_word(CLV_LIT("JSON.SET")));
	assert_true(clv_redis_is_word(CLV_LIT("restore-asking")));
	assert_false(clv_redis_is_word(CLV_LIT("")));
	assert_false(clv_redis_is_word(CLV_LIT("1GET")));
	assert_false(clv_redis_is_word(CLV_LIT("no way")));
	assert_false(clv_redis_is_word(CLV_LIT("abcdefghijabcdefghijabcdefghijabc")));
}

static void test_detection(void **state)
{
	static const struct {
		enum clv_dir dir;
		enum clv_where where;
		const char *text;
		enum clv_match match;
	} cases[] = {
		{CLV_TO_SERVER, CLV_WHERE_START, "*1\r\n$4\r\nPING\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, "*0\r\n\r\n*1\r\n$4\r\nPING\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, "*2\r\n$3\r\nfoo\r\n$1\r\nx\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n", CLV_MATCH_YES},
		/* An array of strings that a server may send as well. */
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "*2\r\n$3\r\nfoo\r\n$1\r\nx\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "*2\r\n$8\r\nJSON.GET\r\n$1\r\nx\r\n", CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "*2\r\n$6\r\nBF.ADD\r\n$1\r\nx\r\n", CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, CLV_WHERE_START, "*1\r\n$4\r\nPI", CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, CLV_WHERE_START, "*1\r\n$99\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, "*x", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, "PING\r\n", CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, "PING\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, "GET / HTTP/1.1\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, "EHLO example.com\r\n", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, "EHLO exam", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, "\x16\x03\x01", CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_DATAGRAM, "*1\r\n$4\r\nPING\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, "+OK\r\n", CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_START, "+OK POP3 ready\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, "-NOAUTH Authentication required.\r\n", CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_START, "220 ready\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, ":server 001 you :hi\r\n", CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, "$5\r\nhello\r\n", CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, "$5\r\nhello, world", CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, "*2\r\n:1\r\nx", CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, "%1\r\n+a\r\n#t\r\n", CLV_MATCH_LIKELY},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum clv_match m = clv_redis.probe(cases[i].dir, clv_slice_str(cases[i].text), cases[i].where);

		if (m != cases[i].match)
			print_message("case %zu: %s: %d\n", i, cases[i].text, m);
		assert_int_equal(m, cases[i].match);
	}
}

/* ---- what spans show ------------------------------------------------------------------------------------------- */

static struct clv_span span;
static struct clv_redis_facts facts;
static char head[256];
static size_t head_len;

static const void *keep_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	memcpy(&facts, msg->facts, sizeof(facts));
	memcpy(head, msg->head.data, msg->head.len);
	head_len = msg->head.len;
	return NULL;
}

static void ignore_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
}

/* The span of a command without an answer. */
static void describe(const char *command)
{
	static _Alignas(16) uint8_t state[1024];
	struct clv_sink sink = {.head = keep_head, .end = ignore_end};

	memset(state, 0, sizeof(state));
	assert_true(clv_redis.state_size <= sizeof(state));
	clv_redis.open(state, &(struct clv_conn_info){.server_port = 6379});
	head_len = 0;
	clv_redis.feed(state, CLV_TO_SERVER, clv_slice_str(command), &sink);
	assert_true(head_len > 0);
	memset(&span, 0, sizeof(span));
	clv_redis.describe(&(struct clv_pair){.request_head = clv_slice(head, head_len), .request = &facts}, &span);
}

static void expect(const char *command, const char *name, const char *text)
{
	describe(command);
	const struct clv_attr *a = clv_span_get(&span, CLV_ATTR_DB_QUERY_TEXT);
	struct clv_slice got = a ? a->s : CLV_LIT("");

	if (!clv_slice_eq(span.name, clv_slice_str(name)) || !clv_slice_eq(got, clv_slice_str(text)))
		print_message("%s: %.*s, %.*s\n", command, (int)span.name.len, (const char *)span.name.data,
			      (int)got.len, (const char *)got.data);
	assert_true(clv_slice_eq(span.name, clv_slice_str(name)));
	assert_true(clv_slice_eq(got, clv_slice_str(text)));
}

static void test_texts(void **state)
{
	expect("get user:42\r\n", "GET", "GET user:?");
	expect("GET my-kind_of:x:y\r\n", "GET", "GET my-kind_of:?");
	expect("GET user42:1\r\n", "GET", "GET ?");
	expect("GET :1:key\r\n", "GET", "GET ?");
	expect("GET \"user:42 x\"\r\n", "GET", "GET ?");
	expect("GET john@example.com\r\n", "GET", "GET ?");
	expect("PING\r\n", "PING", "PING");
	expect("config get maxmemory\r\n", "CONFIG GET", "CONFIG GET ?");
	expect("CONFIG  set requirepass  secret\r\n", "CONFIG SET", "CONFIG SET ? ?");
	expect("AUTH secret\r\n", "AUTH", "AUTH ?");
	expect("*2\r\n$4\r\nAUTH\r\n$6\r\nsecret\r\n", "AUTH", "AUTH ?");
	assert_null(memmem(head, head_len, "secret", 6)); /* it is not even kept */
	expect("*2\r\n$6\r\nAC\r\nDC\r\n$1\r\nx\r\n", "redis", "");
	expect("EVALSHA da39a3ee5e6b4b0d3255bfef95601890afd80709 0\r\n",
	       "EVALSHA da39a3ee5e6b4b0d3255bfef95601890afd80709",
	       "EVALSHA da39a3ee5e6b4b0d3255bfef95601890afd80709 ?");
	expect("EVAL secret 0\r\n", "EVAL", "EVAL ? ?");
	expect("DEL 1 2 3 4 5 6 7 8 9 a b c d e f g h\r\n", "DEL", "DEL ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ? ...");
	expect("*3\r\n$3\r\nSET\r\n$200\r\nuser:", "SET", "SET ? ?"); /* so long a key is not kept */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands_are_found),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_detection),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
