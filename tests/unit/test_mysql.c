/* SPDX-License-Identifier: Apache-2.0 */
/* MySQL case by case: what talks of the laws do not reach. What holds for every input is in tests/laws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/span.h"
#include "proto/mysql_statements.h"
#include "proto/mysql_wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
/* A string with NUL bytes in it. */
#define BYTES(s) clv_slice(s, sizeof(s) - 1)

/* ---- a sink that remembers --------------------------------------------------------------------------------- */

static struct ear {
	struct clv_sink sink;
	unsigned heads, ends, notes;
	uint32_t flags, end_at;
	struct clv_mysql_request asked;
	struct clv_mysql_response said;
	char head[16384], raw[16384], note[CLV_NOTES][64];
	size_t head_len, raw_len;
	bool forget; /* responses are told that their request is not known */
} ear;

static _Alignas(16) uint8_t state[512];

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	ear.heads++;
	ear.flags = msg->flags;
	if (dir == CLV_TO_CLIENT)
		return ear.forget ? NULL : &ear.asked;
	assert_int_equal(msg->facts_size, sizeof(ear.asked));
	memcpy(&ear.asked, msg->facts, sizeof(ear.asked));
	assert_true(msg->head.len <= sizeof(ear.head) && msg->raw.len <= sizeof(ear.raw));
	memcpy(ear.head, msg->head.data, msg->head.len);
	ear.head_len = msg->head.len;
	memcpy(ear.raw, msg->raw.data, msg->raw.len);
	ear.raw_len = msg->raw.len;
	return NULL;
}

static void on_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
	ear.ends++;
	ear.end_at = end->at;
	if (end->facts)
		memcpy(&ear.said, end->facts, sizeof(ear.said));
}

static void on_note(struct clv_sink *sink, enum clv_note note, struct clv_slice text)
{
	ear.notes++;
	snprintf(ear.note[note], sizeof(ear.note[note]), "%.*s", (int)text.len, (const char *)text.data);
}

static unsigned taken;

static void *take(void *ctx, size_t size)
{
	taken++;
	return malloc(size);
}

static void give(void *ctx, void *p, size_t size)
{
	taken--;
	free(p);
}

static const struct clv_conn_info start = {.server_port = 3306, .alloc = take, .free = give};
static const struct clv_conn_info middle = {.server_port = 3306, .alloc = take, .free = give, .midstream = true};

static void fresh(const struct clv_conn_info *conn)
{
	memset(&ear, 0, sizeof(ear));
	memset(state, 0, sizeof(state));
	assert_true(clv_mysql.state_size <= sizeof(state));
	ear.sink = (struct clv_sink){.head = on_head, .end = on_end, .note = on_note};
	clv_mysql.open(state, conn);
}

static void over(void)
{
	clv_mysql.close(state);
	assert_int_equal(taken, 0);
}

static struct clv_fed feed(enum clv_dir dir, struct clv_slice in)
{
	return clv_mysql.feed(state, dir, in, &ear.sink);
}

/* Feeds and pays as an engine does, until nothing more is used. The last verdict that was not OK, or OK. */
static enum clv_fed_verdict say(enum clv_dir dir, struct clv_slice in)
{
	for (;;) {
		struct clv_fed fed = feed(dir, in);
		in = clv_slice_from(in, fed.used);
		if (fed.v != CLV_FED_OK)
			return fed.v == CLV_FED_MORE && !in.len ? CLV_FED_OK : fed.v;
		assert_true(fed.skip <= in.len);
		in = clv_slice_from(in, (size_t)fed.skip);
		if (!in.len && !fed.skip)
			return CLV_FED_OK;
	}
}

static struct clv_slice text(void)
{
	return clv_slice(ear.head + ear.asked.db_len + ear.asked.user_len, ear.asked.text_len);
}

static void expect_names(const char *db, const char *user)
{
	assert_true(clv_slice_eq(clv_slice(ear.head, ear.asked.db_len), clv_slice_str(db)));
	assert_true(clv_slice_eq(clv_slice(ear.head + ear.asked.db_len, ear.asked.user_len), clv_slice_str(user)));
}

#define GREETING                                                                   \
	"\x4a\0\0\0\x0a"                                                           \
	"8.0.36\0abcd12345678\0\xff\xff\x21\x02\0\xff\xff\x15\0\0\0\0\0\0\0\0\0\0" \
	"123456789012\0mysql_native_password\0"
#define LOGIN(caps)                                                                    \
	"\x44\0\0\1" caps "\0\0\0\1\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" \
	"app\0\4wordshop\0mysql_native_password\0"
#define CAPS        "\x8d\xf7\x0f\0"
#define CAPS_ZLIB   "\xad\xf7\x0f\0"
#define CAPS_ZSTD   "\x8d\xf7\x0f\x04"
#define OK(seq)     "\7\0\0" seq "\0\0\0\2\0\0\0"
#define EOF_(seq)   "\5\0\0" seq "\xfe\0\0\2\0"
#define COLUMN(seq) "\x17\0\0" seq "\3def\0\0\0\1n\0\x0c\x21\0\0\0\0\0\3\0\0\0\0\0"

static void log_in(void)
{
	fresh(&start);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES(GREETING)), CLV_FED_OK);
	assert_int_equal(say(CLV_TO_SERVER, BYTES(LOGIN(CAPS))), CLV_FED_OK);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES(OK("\2"))), CLV_FED_OK);
	assert_int_equal(ear.heads, 2);
	assert_int_equal(ear.ends, 2);
}

/* ---- the start ------------------------------------------------------------------------------------------------ */

static void test_login(void **unused)
{
	log_in();
	expect_names("shop", "app");
	assert_string_equal(ear.note[CLV_NOTE_VERSION], "8.0.36");
	assert_string_equal(ear.note[CLV_NOTE_USER], "app");
	assert_int_equal(ear.asked.command, CLV_MYSQL_LOGIN);
	assert_null(memmem(ear.head, ear.head_len, "word", 4));
	assert_null(memmem(ear.raw, ear.raw_len, "word", 4));
	over();
}

/* Compression on both sides, or on one: only the first wraps what follows. TLS ends it before the login. */
static void test_wrapped(void **unused)
{
	static const struct {
		const char *login;
		size_t len;
		bool server_too;
		enum clv_fed_verdict v;
		const char *note;
	} table[] = {
		{LOGIN(CAPS_ZLIB), sizeof(LOGIN(CAPS_ZLIB)) - 1, true, CLV_FED_OPAQUE, "mysql+zlib"},
		{LOGIN(CAPS_ZSTD), sizeof(LOGIN(CAPS_ZSTD)) - 1, true, CLV_FED_OPAQUE, "mysql+zstd"},
		{LOGIN(CAPS_ZLIB), sizeof(LOGIN(CAPS_ZLIB)) - 1, false, CLV_FED_OK, ""},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		char greeting[] = GREETING;
		fresh(&start);
		if (!table[i].server_too) { /* behind version, connection and half of the scramble */
			greeting[4 + 1 + 7 + 4 + 8 + 1] &= ~0x20;
			greeting[4 + 1 + 7 + 4 + 8 + 1 + 6] &= ~0x04;
		}
		say(CLV_TO_CLIENT, clv_slice(greeting, sizeof(greeting) - 1));
		assert_int_equal(say(CLV_TO_SERVER, clv_slice(table[i].login, table[i].len)), CLV_FED_OK);
		assert_int_equal(say(CLV_TO_CLIENT, BYTES(OK("\2"))), table[i].v);
		assert_int_equal(ear.ends, 2);
		assert_string_equal(ear.note[CLV_NOTE_ALPN], table[i].note);
		over();
	}
	fresh(&start);
	say(CLV_TO_CLIENT, BYTES(GREETING));
	assert_int_equal(
		say(CLV_TO_SERVER, BYTES("\x20\0\0\1\x8d\xff\x0f\0\0\0\0\1\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
					 "\0\0\0\0\0\0")),
		CLV_FED_OPAQUE);
	assert_int_equal(ear.heads, 0);
	assert_string_equal(ear.note[CLV_NOTE_ALPN], "mysql");
	over();
}

/* Before 4.1: a short login, no warnings in an OK, an EOF of one byte, columns without "def". */
static void test_old(void **unused)
{
	fresh(&start);
	say(CLV_TO_CLIENT, BYTES("\x19\0\0\0\x09"
				 "3.23.58\0abcd12345678901\0"));
	assert_string_equal(ear.note[CLV_NOTE_VERSION], "3.23.58");
	assert_int_equal(say(CLV_TO_SERVER, BYTES("\x14\0\0\1\x8d\x24\0\0\0app\0wordword\0s\0")), CLV_FED_OK);
	expect_names("s", "app");
	assert_int_equal(say(CLV_TO_CLIENT, BYTES("\5\0\0\2\0\0\0\2\0")), CLV_FED_OK);
	assert_int_equal(ear.ends, 2);
	assert_int_equal(say(CLV_TO_SERVER, BYTES("\x9\0\0\0\3SELECT 1")), CLV_FED_OK);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES("\1\0\0\1\1\4\0\0\2\1t\1n\1\0\0\3\xfe\2\0\0\4\1"
						  "1\1\0\0\5\xfe")),
			 CLV_FED_OK);
	assert_int_equal(ear.ends, 4);
	assert_int_equal(ear.said.rows, 1);
	over();
}

static void test_refused(void **unused)
{
	fresh(&start);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES("\x17\0\0\0\xff\x10\4Too many connections")), CLV_FED_OK);
	assert_int_equal(ear.heads, 0);
	over();
}

/* A server that closes an idle connection says why: no answer to anything. */
static void test_nobody_asked(void **unused)
{
	log_in();
	assert_int_equal(say(CLV_TO_CLIENT, BYTES("\x10\0\0\0\xff\xbf\x0f#HY000Timeout")), CLV_FED_OK);
	assert_int_equal(ear.heads, 2);
	over();
}

/* ---- large packets -------------------------------------------------------------------------------------------- */

/* A statement and a row of more than 16 MiB, each a full packet and what is left; the answer counts on from both. */
static void test_large(void **unused)
{
	enum { FULL = 0xffffff };
	static uint8_t big[4 + FULL + 4 + 5];
	struct clv_fed fed;

	log_in();
	memset(big, 'x', sizeof(big));
	memcpy(big, "\xff\xff\xff\0\3SELECT a FROM b WHERE c = '", 31);
	memcpy(big + 4 + FULL, "\5\0\0\1", 4);
	assert_int_equal(say(CLV_TO_SERVER, clv_slice(big, sizeof(big))), CLV_FED_OK);
	assert_int_equal(ear.ends, 3);
	assert_true(ear.asked.flags & CLV_MYSQL_TEXT_CUT);
	assert_true(clv_slice_starts(text(), CLV_LIT("SELECT a FROM b")));
	say(CLV_TO_CLIENT, BYTES("\1\0\0\2\1" COLUMN("\3") EOF_("\4")));
	fed = feed(CLV_TO_CLIENT, BYTES("\xff\xff\xff\5\xfe"));
	assert_int_equal(fed.skip, 4 + FULL);
	/* What a row goes on with is no packet of its own, whatever it looks like. */
	fed = feed(CLV_TO_CLIENT, BYTES("\5\0\0\6\xfe\0\0\2\0" EOF_("\7")));
	assert_int_equal(fed.skip, 18);
	assert_int_equal(ear.ends, 3);
	feed(CLV_TO_CLIENT, BYTES(""));
	assert_int_equal(ear.ends, 4);
	assert_int_equal(ear.said.rows, 1);
	over();
}

/* A file of more packets than there are numbers: one of them is 0 again, and no command. */
static void test_file_wraps(void **unused)
{
	log_in();
	say(CLV_TO_SERVER, BYTES("\x12\0\0\0\3LOAD DATA LOCAL I"));
	say(CLV_TO_CLIENT, BYTES("\2\0\0\1\xfbx"));
	for (unsigned i = 2; i < 300; i++) {
		uint8_t packet[] = {2, 0, 0, (uint8_t)i, CLV_MYSQL_PING, 'x'};
		assert_int_equal(say(CLV_TO_SERVER, clv_slice(packet, sizeof(packet))), CLV_FED_OK);
	}
	assert_int_equal(say(CLV_TO_SERVER, clv_slice((uint8_t[]){0, 0, 0, (uint8_t)300}, 4)), CLV_FED_OK);
	assert_int_equal(ear.heads, 4);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES("\7\0\0\x2d\0\x2a\0\2\0\0\0")), CLV_FED_OK);
	assert_int_equal(ear.said.affected, 42);
	say(CLV_TO_SERVER, BYTES("\1\0\0\0\x0e"));
	assert_int_equal(ear.asked.command, CLV_MYSQL_PING);
	over();
}

/* ---- results -------------------------------------------------------------------------------------------------- */

/* Whether columns are defined stands before their count in documents, behind it on the wire: both are understood. */
static void test_optional_metadata(void **unused)
{
	static const struct {
		struct clv_slice answer;
		unsigned rows;
	} table[] = {
		{CLV_LIT("\2\0\0\1\2\1" COLUMN("\2") COLUMN("\3") EOF_("\4") "\2\0\0\5\1x" EOF_("\6")), 1},
		{CLV_LIT("\2\0\0\1\1\2" COLUMN("\2") COLUMN("\3") EOF_("\4") "\2\0\0\5\1x" EOF_("\6")), 1},
		{CLV_LIT("\2\0\0\1\2\0" EOF_("\2") "\2\0\0\3\1x\2\0\0\4\1x" EOF_("\5")), 2},
		{CLV_LIT("\2\0\0\1\0\2" EOF_("\2") "\2\0\0\3\1x\2\0\0\4\1x" EOF_("\5")), 2},
		{CLV_LIT("\1\0\0\1\1" COLUMN("\2") "\7\0\0\3\xfe\0\0\2\0\0\0"), 0},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		log_in();
		say(CLV_TO_SERVER, BYTES("\x9\0\0\0\3SELECT 1"));
		assert_int_equal(say(CLV_TO_CLIENT, table[i].answer), CLV_FED_OK);
		assert_int_equal(ear.ends, 4);
		assert_int_equal(ear.said.rows, table[i].rows);
		over();
	}
}

static void test_bad_answers(void **unused)
{
	static const struct {
		const char *answer;
		size_t len;
	} table[] = {
		{"\1\0\0\3\1", 5},               /* not the number that comes next */
		{"\1\0\0\1\1\5\0\0\2hello", 14}, /* no definition */
		{"\1\0\0\1\1" COLUMN("\3"), 35}, /* a number is missing */
		{"\3\0\0\1\xfc\0\0", 7},         /* no columns */
		{"\3\0\0\1\xfc\xff\xff", 7},     /* too many */
		{"\5\0\0\1\0\0\0\2\0", 9},       /* half an OK */
		{"\1\0\0\1\xfe", 5},             /* an EOF answers no query */
		{"\0\0\0\1", 4},
		{"\2\0\0\1\xff\x10", 6},
		{"\xa\0\0\1\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff", 14},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		log_in();
		say(CLV_TO_SERVER, BYTES("\x9\0\0\0\3SELECT 1"));
		enum clv_fed_verdict v = say(CLV_TO_CLIENT, clv_slice(table[i].answer, table[i].len));
		if (v != CLV_FED_BAD)
			print_message("row %zu: %d\n", i, v);
		assert_int_equal(v, CLV_FED_BAD);
		over();
	}
}

/* Behind a CLONE's answer another protocol is spoken. */
static void test_clone(void **unused)
{
	log_in();
	say(CLV_TO_SERVER, BYTES("\1\0\0\0\x20"));
	assert_int_equal(say(CLV_TO_CLIENT, BYTES(OK("\1"))), CLV_FED_OPAQUE);
	over();
}

/* An answer to what nobody saw: once others have found their requests, it is a sign of loss. */
static void test_stray(void **unused)
{
	log_in();
	ear.forget = true;
	assert_int_equal(say(CLV_TO_CLIENT, BYTES(OK("\1"))), CLV_FED_BAD);
	over();
	fresh(&middle);
	ear.forget = true;
	assert_int_equal(say(CLV_TO_CLIENT, BYTES(OK("\1"))), CLV_FED_OK);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES("\xc\0\0\1\0\1\0\0\0\0\0\1\0\0\0\0" COLUMN("\2") EOF_("\3"))),
			 CLV_FED_OK);
	assert_int_equal(say(CLV_TO_CLIENT, BYTES(OK("\1"))), CLV_FED_OK);
	assert_int_equal(ear.heads, 3);
	over();
}

/* ---- commands --------------------------------------------------------------------------------------------------- */

#define OK_MORE "\7\0\0\1\0\0\0\x0a\0\0\0"
#define FAILS   "\xb\0\0\1\xff\x7a\4#42S02no"

static void test_use(void **unused)
{
	static const struct {
		const char *text, *db;
		const char *more; /* another answer in place of an OK */
	} table[] = {
		{"use a", "a", NULL},
		{"USE `a b`", "a b", NULL},
		{" \n\tUse\na ;", "a", NULL},
		{"use`a`", "a", NULL},
		{"use a;", "a", NULL},
		{"used a", "shop", NULL},
		{"use", "shop", NULL},
		{"use `a``b`", "", NULL}, /* not decoded: not known */
		{"use a0123456789012345678901234567890123456789012345678901234567890123456789", "", NULL},
		{"SELECT 'use a'", "shop", NULL},
		{"use a", "shop", FAILS},
		/* Of several statements only the first ones may have been run; how many, the results tell. */
		{"do '; use a'", "shop", NULL},
		{"do 1; use a", "", OK_MORE OK("\2")},
		{"use a; do 1", "a", OK_MORE OK("\2")},
		{"use a; oops", "a", OK_MORE "\xb\0\0\2\xff\x7a\4#42S02no"},
		{"use a; use b", "", OK_MORE OK("\2")},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		uint8_t packet[96] = {(uint8_t)(strlen(table[i].text) + 1), 0, 0, 0, CLV_MYSQL_QUERY};
		log_in();
		memcpy(packet + 5, table[i].text, strlen(table[i].text));
		say(CLV_TO_SERVER, clv_slice(packet, 5 + strlen(table[i].text)));
		if (!table[i].more)
			say(CLV_TO_CLIENT, BYTES(OK("\1")));
		else
			say(CLV_TO_CLIENT,
			    clv_slice(table[i].more, table[i].more[0] == '\7' ? sizeof(OK_MORE) - 1 : 15));
		if (table[i].more && table[i].more[0] == '\7')
			say(CLV_TO_CLIENT, clv_slice(table[i].more + 11, 4 + (size_t)(uint8_t)table[i].more[11]));
		say(CLV_TO_SERVER, BYTES("\1\0\0\0\x0e"));
		expect_names(table[i].db, "app");
		over();
	}
}

static void test_secrets(void **unused)
{
	log_in();
	say(CLV_TO_SERVER, BYTES("\x2c\0\0\0\x11"
				 "boss\0\4wordvault\0\x21\0mysql_native_password\0\0\0\0"));
	expect_names("vault", "boss");
	assert_null(memmem(ear.raw, ear.raw_len, "word", 4));
	say(CLV_TO_CLIENT, BYTES(OK("\1")));
	say(CLV_TO_SERVER, BYTES("\x17\0\0\0\x15\1\0\0\0\4host\4user\4word\0\0\0"));
	assert_int_equal(ear.asked.command, CLV_MYSQL_REGISTER_REPLICA);
	assert_null(memmem(ear.raw, ear.raw_len, "word", 4));
	assert_null(memmem(ear.head, ear.head_len, "word", 4));
	over();
}

static void test_attributes(void **unused)
{
	static const struct {
		struct clv_slice payload;
		bool told;
		size_t at;
	} table[] = {
		{CLV_LIT("\3SELECT 1"), false, 1},
		{CLV_LIT("\3\0\1SELECT 1"), false, 3},
		{CLV_LIT("\3\0\1SELECT 1"), true, 3},
		{CLV_LIT("\3\n\tSELECT 1"), false, 1},
		{CLV_LIT("\3\1\1\0\1\3\0\1nabcdSELECT 1"), true, 13},
		{CLV_LIT("\3\1\1\1\1\3\0\1nSELECT 1"), true, 9}, /* NULL */
		{CLV_LIT("\3\1\1\0\1\xfe\0\0\3abcSELECT 1"), true, 12},
		{CLV_LIT("\3\1\1\0\1\x0c\0\0\4abcdSELECT 1"), true, 13}, /* a time */
		{CLV_LIT("\3\1\1\0\0\3\0\1nabcdSELECT 1"), true, 0},     /* types that were sent before */
		{CLV_LIT("\3\1\1\0\1\x7f\0\1nabcdSELECT 1"), true, 0},   /* no such type */
		{CLV_LIT("\3\1\1\0\1\xfe\0\0\xfe\xff\xff\xff\xff\xff\xff\xff\xffx"), true, 0},
		{CLV_LIT("\3\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1\0\1"), true, 0},
		{CLV_LIT("\3"), true, 1},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		size_t at = clv_mysql_query_text(table[i].payload, table[i].told);
		if (at != table[i].at)
			print_message("row %zu: %zu\n", i, at);
		assert_int_equal(at, table[i].at);
	}
}

/* ---- prepared statements --------------------------------------------------------------------------------------- */

static void test_statements(void **unused)
{
	struct mysql_statements s;
	char name[16];

	clv_mysql_statements_init(&s, &start);
	for (uint32_t i = 1; i <= 3 * MYSQL_STATEMENTS; i++) {
		snprintf(name, sizeof(name), "text %u", i);
		clv_mysql_statements_prepare(&s, i, clv_slice_str(name), false);
		clv_mysql_statements_name(&s, i, i + 1000);
		clv_mysql_statements_find(&s, 1001); /* in use all the time */
	}
	assert_true(clv_slice_eq(clv_mysql_statements_find(&s, 1001).text, CLV_LIT("text 1")));
	assert_int_equal(clv_mysql_statements_find(&s, 1002).text.len, 0);
	assert_true(clv_slice_eq(clv_mysql_statements_find(&s, 1000 + 3 * MYSQL_STATEMENTS).text, CLV_LIT("text 768")));
	assert_true(clv_slice_eq(clv_mysql_statements_find(&s, MYSQL_LAST_STATEMENT).text, CLV_LIT("text 768")));
	assert_int_equal(taken, MYSQL_STATEMENTS + 1);
	/* An id that is given out again is another's. */
	clv_mysql_statements_prepare(&s, 9000, CLV_LIT("new"), true);
	clv_mysql_statements_name(&s, 9000, 1001);
	struct mysql_text t = clv_mysql_statements_find(&s, 1001);
	assert_true(clv_slice_eq(t.text, CLV_LIT("new")) && t.cut);
	clv_mysql_statements_prepare(&s, 9001, CLV_LIT("refused"), false);
	clv_mysql_statements_refuse(&s, 9001);
	assert_int_equal(clv_mysql_statements_find(&s, MYSQL_LAST_STATEMENT).text.len, 0);
	clv_mysql_statements_close(&s, 1001);
	assert_int_equal(clv_mysql_statements_find(&s, 1001).text.len, 0);
	assert_int_equal(clv_mysql_statements_find(&s, 0).text.len, 0);
	clv_mysql_statements_clear(&s);
	assert_int_equal(taken, 0);
}

/* A statement may have been closed, and its id given to another, while nobody listened: it is forgotten. */
static void test_statements_after_loss(void **unused)
{
	static const struct {
		bool lost[2];
		bool known;
	} table[] = {{{true, false}, true}, {{false, true}, true}, {{true, true}, false}};

	for (size_t i = 0; i < COUNT(table); i++) {
		log_in();
		say(CLV_TO_SERVER, BYTES("\xe\0\0\0\x16SELECT b FROM"));
		say(CLV_TO_CLIENT, BYTES("\xc\0\0\1\0\7\0\0\0\0\0\0\0\0\0\0"));
		for (int d = 0; d < 2; d++)
			if (table[i].lost[d])
				clv_mysql.gap(state, (enum clv_dir)d, clv_slice(NULL, 0), 100, &ear.sink);
		say(CLV_TO_SERVER, BYTES("\xa\0\0\0\x17\7\0\0\0\0\1\0\0\0"));
		assert_int_equal(ear.asked.statement, 7);
		assert_int_equal(text().len != 0, table[i].known);
		assert_int_equal(!(ear.flags & CLV_MSG_MIDSTREAM), table[i].known);
		over();
	}
}

/* ---- detection -------------------------------------------------------------------------------------------------- */

static void test_probe(void **unused)
{
	static const struct {
		enum clv_dir dir;
		enum clv_where where;
		struct clv_slice in;
		enum clv_match want;
	} table[] = {
		{CLV_TO_CLIENT, CLV_WHERE_START, CLV_LIT(GREETING), CLV_MATCH_YES},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT(GREETING), CLV_MATCH_YES},
		{CLV_TO_CLIENT, CLV_WHERE_DATAGRAM, CLV_LIT(GREETING), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START,
		 CLV_LIT("\x4a\0\0\0\x0a"
			 "8.0"),
		 CLV_MATCH_MAYBE},
		{CLV_TO_CLIENT, CLV_WHERE_START,
		 CLV_LIT("\x4a\0\0\0\x0a"
			 "8.0\1"),
		 CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START,
		 CLV_LIT("\x4a\0\0\0\x0b"
			 "8.0"),
		 CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, CLV_LIT(GREETING "x"), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, CLV_LIT("\x17\0\0\0\xff\x10\4Too many connections"), CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_START,
		 CLV_LIT("\x19\0\0\0\x09"
			 "3.23.58\0abcd12345678901\0"),
		 CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT(LOGIN(CAPS)), CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\x9\0\0\0\3SELECT 1"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\x9\0\0\0\3SELECT 1"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\x9\0\0\0\3SELEKT 1"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\x9\0\0\1\3SELECT 1"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\x9\0\0\0\3SELECT 1x"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\x9\0\0\0\3SELECT 1xxxx"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\x9\0\0\0\3SELECT 1\1\0\0\0\x0e"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\xb\0\0\0\3\0\1SELECT 1"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\1\0\0\0\x0e"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\1\0\0\0"), CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\2\0\0\0\x0e"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\xa\0\0\0\x17\1\0\0\0\0\1\0\0\0"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("\xa\0\0\0\x17\1\0\0\0\0\2\0\0\0"), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT(OK("\1")), CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT(OK("\2")), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, CLV_LIT(OK("\1")), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("\1\0\0\1\1" COLUMN("\2")), CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("\1\0\0\1\1"), CLV_MATCH_MAYBE},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("\1\0\0\1\1" OK("\2")), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("\xb\0\0\1\xff\x7a\4#42S02no"), CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("GET / HTTP/1.1\r\n"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("GET / HTTP/1.1\r\n"), CLV_MATCH_NO},
	};

	for (size_t i = 0; i < COUNT(table); i++) {
		enum clv_match m = clv_mysql.probe(table[i].dir, table[i].in, table[i].where);
		if (m != table[i].want)
			print_message("row %zu: %d\n", i, m);
		assert_int_equal(m, table[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_login),        cmocka_unit_test(test_wrapped),
		cmocka_unit_test(test_old),          cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nobody_asked), cmocka_unit_test(test_large),
		cmocka_unit_test(test_file_wraps),   cmocka_unit_test(test_optional_metadata),
		cmocka_unit_test(test_bad_answers),  cmocka_unit_test(test_clone),
		cmocka_unit_test(test_stray),        cmocka_unit_test(test_use),
		cmocka_unit_test(test_secrets),      cmocka_unit_test(test_attributes),
		cmocka_unit_test(test_statements),   cmocka_unit_test(test_statements_after_loss),
		cmocka_unit_test(test_probe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
