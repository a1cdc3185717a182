/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL case by case: detection, who answers what, names. What holds for every input is in tests/laws. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "engine/limits.h"
#include "proto/postgresql.h"
#include "proto/postgresql_names.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a sink that writes down what it hears ------------------------------------------------------------------------
 */

static struct {
	struct clv_sink sink;
	char log[8192];
	size_t len;
	struct clv_postgresql_request asked;
} ear;

static void note(const char *what, struct clv_slice text)
{
	ear.len += (size_t)snprintf(ear.log + ear.len, sizeof(ear.log) - ear.len, "%s%.*s\n", what, (int)text.len,
				    text.len ? (const char *)text.data : "");
	assert_true(ear.len < sizeof(ear.log));
}

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	static const char *const kinds[] = {"query ", "execute ", "prepare ", "call ", "connect ", "cancel "};

	if (msg->role != CLV_REQUEST) {
		note("begins", CLV_LIT(""));
		return NULL;
	}
	memcpy(&ear.asked, msg->facts, sizeof(ear.asked));
	const struct clv_postgresql_request *f = &ear.asked;
	assert_int_equal(msg->head.len, 1 + f->database_len + f->user_len + f->summary_len + f->text_len);
	assert_int_equal(!!(msg->flags & CLV_MSG_QUIET),
			 f->kind == CLV_POSTGRESQL_CONNECT || f->kind == CLV_POSTGRESQL_PREPARE);
	note(kinds[f->kind], clv_slice_sub(msg->head, 1 + f->database_len + f->user_len, f->summary_len));
	return NULL;
}

static void on_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
	const struct clv_postgresql_answer *a = end->facts;
	char text[96];

	if (dir == CLV_TO_SERVER)
		return;
	if (a->flags & CLV_POSTGRESQL_ERROR)
		snprintf(text, sizeof(text), "%.5s", a->code);
	else if (a->flags & CLV_POSTGRESQL_ABORTED)
		snprintf(text, sizeof(text), "aborted");
	else
		snprintf(text, sizeof(text), "%ld %ld", a->flags & CLV_POSTGRESQL_RETURNED ? (long)a->returned : -1,
			 a->flags & CLV_POSTGRESQL_AFFECTED ? (long)a->affected : -1);
	assert_int_equal(end->failed, !!(a->flags & CLV_POSTGRESQL_ERROR));
	note("ends ", clv_slice_str(text));
}

/* ---- a connection -------------------------------------------------------------------------------------------------
 */

static _Alignas(16) uint8_t state[1024];
static size_t lent, lent_most;

static void *lend(void *ctx, size_t size)
{
	lent += size;
	lent_most = lent > lent_most ? lent : lent_most;
	return malloc(size);
}

static void take_back(void *ctx, void *p, size_t size)
{
	lent -= size;
	free(p);
}

static const struct clv_conn_info info = {.server_port = 5432, .alloc = lend, .free = take_back};

static void fresh(bool midstream)
{
	struct clv_conn_info conn = info;

	memset(&ear, 0, sizeof(ear));
	memset(state, 0, sizeof(state));
	assert_true(clv_postgresql.state_size <= sizeof(state));
	ear.sink = (struct clv_sink){.head = on_head, .end = on_end};
	conn.midstream = midstream;
	clv_postgresql.open(state, &conn);
}

/* All of it is used, whatever is skipped. */
static void give(enum clv_dir dir, const void *data, size_t len)
{
	uint8_t *copy = malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	for (size_t at = 0; at < len;) {
		struct clv_fed fed = clv_postgresql.feed(state, dir, clv_slice(copy + at, len - at), &ear.sink);

		assert_int_equal(fed.v, CLV_FED_OK);
		at += fed.used + fed.skip;
		assert_true(at <= len);
		if (fed.skip && at == len)
			clv_postgresql.feed(state, dir, clv_slice(NULL, 0), &ear.sink);
	}
	free(copy);
}

#define CLIENT(bytes) give(CLV_TO_SERVER, bytes, sizeof(bytes) - 1)
#define SERVER(bytes) give(CLV_TO_CLIENT, bytes, sizeof(bytes) - 1)

#define OK      "R\0\0\0\x8\0\0\0\0Z\0\0\0\5I"
#define PARSE   "P\0\0\0\x18s\0SELECT 1 FROM a\0\0\0"
#define BIND    "B\0\0\0\xd\0s\0\0\0\0\0\0\0"
#define EXECUTE "E\0\0\0\x9\0\0\0\0\0"
#define SYNC    "S\0\0\0\4"
#define READY   "Z\0\0\0\5I"
#define DONE    "C\0\0\0\xdSELECT 7\0"
#define FAILED  "E\0\0\0\x13SERROR\0C42601\0\0"

static void begin(void)
{
	fresh(false);
	give(CLV_TO_SERVER, "\0\0\0\x1d\0\3\0\0user\0joe\0database\0x\0\0", 29);
	SERVER(OK);
	ear.len = 0;
	ear.log[0] = '\0';
}

static void expect(const char *want)
{
	assert_string_equal(ear.log, want);
	clv_postgresql.close(state);
	assert_int_equal(lent, 0);
}

/* ---- who answers what -----------------------------------------------------------------------------------------------
 */

static void logins(void **ctx)
{
	fresh(false);
	CLIENT("\0\0\0\x8\x4\xd2\x16\x2f");
	SERVER("N");
	CLIENT("\0\0\0\x8\x4\xd2\x16\x30");
	SERVER("N");
	give(CLV_TO_SERVER, "\0\0\0\x1d\0\3\0\2user\0joe\0database\0x\0\0", 29);
	SERVER("R\0\0\0\xc\0\0\0\5salt");
	CLIENT("p\0\0\0\xbsecret\0");
	SERVER("E\0\0\0\x13SFATAL\0C28P01\0\0");
	assert_int_equal(ear.asked.database_len, 1);
	assert_int_equal(ear.asked.user_len, 3);
	expect("connect \nbegins\nends 28P01\n");

	/* Without a database it is the user's. */
	fresh(false);
	CLIENT("\0\0\0\x12\0\3\0\0user\0joe\0\0");
	assert_int_equal(ear.asked.database_len, 3);
	expect("connect \n");
}

static void negotiations(void **ctx)
{
	fresh(false);
	CLIENT("\0\0\0\x8\x4\xd2\x16\x2f");
	struct clv_fed fed = clv_postgresql.feed(state, CLV_TO_CLIENT, CLV_LIT("S"), &ear.sink);
	assert_int_equal(fed.v, CLV_FED_OPAQUE);
	expect("");
	/* The answer was missed, but not what it led to. */
	fresh(false);
	CLIENT("\0\0\0\x8\x4\xd2\x16\x2f");
	fed = clv_postgresql.feed(state, CLV_TO_SERVER, CLV_LIT("\x16\3\1"), &ear.sink);
	assert_int_equal(fed.v, CLV_FED_OPAQUE);
	expect("");
	/* A server too old to know of it answers with an error. */
	fresh(false);
	CLIENT("\0\0\0\x8\x4\xd2\x16\x2f");
	SERVER(FAILED);
	expect("");
}

static void batches(void **ctx)
{
	begin();
	CLIENT(PARSE BIND EXECUTE BIND EXECUTE SYNC);
	SERVER("1\0\0\0\4"
	       "2\0\0\0\4" DONE "2\0\0\0\4" DONE READY);
	expect("execute SELECT a\nexecute SELECT a\nbegins\nends 7 -1\nbegins\nends 7 -1\n");

	begin();
	CLIENT(PARSE BIND EXECUTE BIND EXECUTE);
	SERVER("1\0\0\0\4" FAILED);
	CLIENT(BIND EXECUTE SYNC); /* sent before the error was read */
	SERVER(READY);
	CLIENT("Q\0\0\0\xdSELECT 2\0");
	SERVER(DONE READY);
	expect("execute SELECT a\nexecute SELECT a\nbegins\nends 42601\nexecute SELECT a\nbegins\nends "
	       "aborted\nbegins\n"
	       "ends aborted\nquery SELECT\nbegins\nends 7 -1\n");
}

static void prepares(void **ctx)
{
	begin();
	CLIENT(PARSE SYNC);
	SERVER("1\0\0\0\4" READY);
	CLIENT(PARSE SYNC);
	SERVER(FAILED READY);
	/* What the failed one named is not known any more. */
	CLIENT(BIND EXECUTE SYNC);
	expect("prepare SELECT a\nbegins\nends -1 -1\nprepare SELECT a\nbegins\nends 42601\nexecute \n");

	/* With Flush: the answer comes before the rest is asked for. */
	begin();
	CLIENT(PARSE "H\0\0\0\4");
	SERVER("1\0\0\0\4");
	CLIENT(BIND EXECUTE SYNC);
	SERVER("2\0\0\0\4" DONE READY);
	expect("prepare SELECT a\nbegins\nends -1 -1\nexecute SELECT a\nbegins\nends 7 -1\n");

	/* SQL takes names away, too. */
	begin();
	CLIENT(PARSE SYNC);
	SERVER("1\0\0\0\4" READY);
	CLIENT("Q\0\0\0\x10"
	       "DISCARD ALL\0");
	SERVER("C\0\0\0\x10"
	       "DISCARD ALL\0" READY);
	CLIENT(BIND EXECUTE SYNC);
	expect("prepare SELECT a\nbegins\nends -1 -1\nquery DISCARD\nbegins\nends -1 -1\nexecute \n");
}

/* A server that reads rows ignores the Sync that was sent behind the Execute. */
static void copies(void **ctx)
{
	begin();
	CLIENT(PARSE BIND EXECUTE SYNC);
	SERVER("1\0\0\0\4"
	       "2\0\0\0\4"
	       "G\0\0\0\7\0\0\0");
	CLIENT("d\0\0\0\6"
	       "1\n" SYNC "c\0\0\0\4" SYNC);
	SERVER("C\0\0\0\xb"
	       "COPY 1\0" READY);
	CLIENT("Q\0\0\0\xdSELECT 2\0");
	SERVER(DONE READY);
	expect("execute SELECT a\nbegins\nends -1 1\nquery SELECT\nbegins\nends 7 -1\n");
}

static void endings(void **ctx)
{
	/* FATAL: no ReadyForQuery follows. */
	begin();
	CLIENT("Q\0\0\0\xdSELECT 2\0");
	SERVER("E\0\0\0\x13SFATAL\0C57P01\0\0");
	expect("query SELECT\nbegins\nends 57P01\n");
	/* Nobody asked. */
	begin();
	SERVER("E\0\0\0\x13SFATAL\0C57P01\0\0");
	expect("");
}

/* An answer to nothing that was heard: nothing is told up to ReadyForQuery. */
static void surprises(void **ctx)
{
	begin();
	SERVER(DONE);
	CLIENT("Q\0\0\0\xdSELECT 2\0");
	SERVER(DONE READY);
	CLIENT("Q\0\0\0\xdSELECT 3\0");
	SERVER(DONE READY);
	expect("query SELECT\nquery SELECT\nbegins\nends 7 -1\n");
	/* ReadyForQuery alone answers nothing. */
	begin();
	CLIENT("Q\0\0\0\xdSELECT 2\0");
	SERVER(READY);
	CLIENT("Q\0\0\0\xdSELECT 3\0");
	SERVER(DONE READY DONE READY);
	expect("query SELECT\nquery SELECT\n");
}

/* More than the state holds, and more than anything holds. */
static void long_queues(void **ctx)
{
	begin();
	for (int i = 0; i < 100; i++)
		CLIENT(BIND EXECUTE);
	CLIENT(SYNC);
	ear.len = 0;
	for (int i = 0; i < 100; i++)
		SERVER("2\0\0\0\4" DONE);
	SERVER(READY);
	assert_int_equal(ear.len, 100 * strlen("begins\nends 7 -1\n"));
	clv_postgresql.close(state);
	assert_int_equal(lent, 0);

	begin();
	for (int i = 0; i < 10000; i++) {
		CLIENT(EXECUTE);
		ear.len = 0;
	}
	CLIENT(SYNC);
	SERVER(DONE READY);
	ear.log[ear.len = 0] = '\0';
	CLIENT("Q\0\0\0\xdSELECT 2\0");
	SERVER(DONE READY);
	expect("query SELECT\nbegins\nends 7 -1\n");
}

/* ---- names ----------------------------------------------------------------------------------------------------------
 */

static struct clv_postgresql_statement *make(struct clv_postgresql_names *n, const char *text)
{
	return clv_postgresql_statement(n, &(struct clv_sql){.text = clv_slice_str(text)});
}

static void expect_text(const struct clv_postgresql_names *n, bool portal, const char *name, const char *want)
{
	const struct clv_postgresql_statement *s = clv_postgresql_get(n, portal, clv_slice_str(name));

	if (!want) {
		assert_null(s);
		return;
	}
	assert_non_null(s);
	assert_int_equal(s->text_len, strlen(want));
	assert_memory_equal(s->data + s->summary_len, want, s->text_len);
}

static void names(void **ctx)
{
	struct clv_postgresql_names n = {.alloc = lend, .free = take_back};
	struct clv_postgresql_statement *s = make(&n, "one");

	clv_postgresql_set(&n, false, CLV_LIT("a"), 1, s);
	clv_postgresql_set(&n, true, CLV_LIT("a"), 0, s);
	clv_postgresql_set(&n, true, CLV_LIT(""), 0, s);
	clv_postgresql_hold(&n, &s, NULL);
	/* A portal keeps its statement, whatever the name means now. */
	s = make(&n, "two");
	clv_postgresql_set(&n, false, CLV_LIT("a"), 2, s);
	clv_postgresql_hold(&n, &s, NULL);
	expect_text(&n, false, "a", "two");
	expect_text(&n, true, "a", "one");
	expect_text(&n, true, "", "one");
	clv_postgresql_undo(&n, 1);
	expect_text(&n, false, "a", "two");
	clv_postgresql_undo(&n, 2);
	expect_text(&n, false, "a", NULL);
	clv_postgresql_forget(&n, true);
	expect_text(&n, true, "a", NULL);
	expect_text(&n, true, "", NULL);
	clv_postgresql_names_fini(&n);
	assert_int_equal(lent, 0);
}

static void names_are_bounded(void **ctx)
{
	static char text[CLV_SQL_TEXT_BYTES];
	struct clv_postgresql_names n = {.alloc = lend, .free = take_back};
	char name[32];

	memset(text, 'x', sizeof(text) - 1);
	lent_most = 0;
	for (unsigned i = 0; i < 20000; i++) {
		struct clv_postgresql_statement *s = make(&n, i % 2 ? text : "short");

		snprintf(name, sizeof(name), "statement %u", i);
		clv_postgresql_set(&n, i % 3 == 0, clv_slice_str(name), i, s);
		if (s)
			clv_postgresql_hold(&n, &s, NULL);
	}
	assert_true(n.count <= CLV_POSTGRESQL_NAMES_MAX);
	assert_true(lent_most <= CLV_POSTGRESQL_NAMES_BYTES);
	clv_postgresql_names_fini(&n);
	assert_int_equal(lent, 0);
}

/* ---- is it this protocol? -------------------------------------------------------------------------------------------
 */

static void probes(void **ctx)
{
	static const struct {
		enum clv_dir dir;
		enum clv_where where;
		struct clv_slice in;
		enum clv_match match;
	} rows[] = {
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x8\x4\xd2\x16\x2f"), CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x8\x4\xd2\x16\x30"), CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START,
		 CLV_LIT("\0\0\0\x10\x4\xd2\x16\x2e"
			 "12345678"),
		 CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x12\0\3\0\0user\0joe\0\0"), CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x12\0\3\0\0user\0j"), CLV_MATCH_YES},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x12\0\3\0\0us"), CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0"), CLV_MATCH_MAYBE},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x12\0\3\0\0uxer\0joe\0\0"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x12\0\4\0\0user\0joe\0\0"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("\0\0\0\x9\x4\xd2\x16\x2f"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_START, CLV_LIT("GET / HTTP/1.1\r\n\r\n"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_DATAGRAM, CLV_LIT("\0\0\0\x8\x4\xd2\x16\x2f"), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_START, CLV_LIT(READY), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("Q\0\0\0\xdSELECT 2\0"), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT(BIND EXECUTE SYNC), CLV_MATCH_LIKELY},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT(BIND EXECUTE SYNC "?"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("Q\0\0\0\xdSELECT\1 2\0"), CLV_MATCH_NO},
		{CLV_TO_SERVER, CLV_WHERE_PACKET, CLV_LIT("SELECT 1 FROM"), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT(DONE READY), CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("Z\0\0\0\5X"), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("D\0\0\0\xd\0\1\0\0\0\3abc"), CLV_MATCH_LIKELY},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("D\0\0\0\xd\0\1\0\0\0\4abc"), CLV_MATCH_NO},
		{CLV_TO_CLIENT, CLV_WHERE_PACKET, CLV_LIT("HTTP/1.1 200 OK\r\n"), CLV_MATCH_NO},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint8_t *copy = malloc(rows[i].in.len); /* an end that is watched */

		assert_non_null(copy);
		memcpy(copy, rows[i].in.data, rows[i].in.len);
		enum clv_match m = clv_postgresql.probe(rows[i].dir, clv_slice(copy, rows[i].in.len), rows[i].where);
		if (m != rows[i].match)
			print_error("row %zu: %d instead of %d\n", i, m, rows[i].match);
		assert_int_equal(m, rows[i].match);
		free(copy);
	}
}

/* What the kernel may leave out: rows, and nothing else. */
static void framing(void **ctx)
{
	fresh(false);
	assert_null(clv_postgresql.framing(state, CLV_TO_SERVER));
	clv_postgresql.close(state);
	begin();
	for (int d = 0; d < 2; d++) {
		const struct clv_framing *f = clv_postgresql.framing(state, (enum clv_dir)d);

		assert_non_null(f);
		for (unsigned c = 0; c < 256; c++) {
			bool whole = f->whole[c / 32] >> (c % 32) & 1;

			assert_int_equal(whole, c != 'd' && (d == CLV_TO_SERVER || c != 'D'));
		}
	}
	clv_postgresql.close(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(logins),    cmocka_unit_test(negotiations),
		cmocka_unit_test(batches),   cmocka_unit_test(prepares),
		cmocka_unit_test(copies),    cmocka_unit_test(endings),
		cmocka_unit_test(surprises), cmocka_unit_test(long_queues),
		cmocka_unit_test(names),     cmocka_unit_test(names_are_bounded),
		cmocka_unit_test(probes),    cmocka_unit_test(framing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
