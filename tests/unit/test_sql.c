/* SPDX-License-Identifier: Apache-2.0 */
/* SQL without its literals, and its summary: a table a dialect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "proto/sql.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct row {
	const char *in, *text, *summary;
};

/* Each with room that ends where it may end. */
static struct clv_sql read_sql(enum clv_sql_dialect dialect, enum clv_sql_backslash backslash, struct clv_slice in,
			       bool whole)
{
	static char *text, *summary;

	free(text);
	free(summary);
	text = malloc(CLV_SQL_TEXT_BYTES);
	summary = malloc(CLV_SQL_SUMMARY_BYTES);
	assert_non_null(text);
	assert_non_null(summary);
	return clv_sql_read(dialect, backslash, in, whole, text, summary);
}

static unsigned differ(const char *what, struct clv_slice got, const char *want, const char *in)
{
	if (!want || clv_slice_eq(got, clv_slice_str(want)))
		return 0;
	print_error("%s\n  %s: \"%.*s\"\n  instead of \"%s\"\n", in, what, (int)got.len, (const char *)got.data, want);
	return 1;
}

static void check(enum clv_sql_dialect dialect, enum clv_sql_backslash backslash, const struct row *rows, size_t count)
{
	unsigned wrong = 0;

	for (const struct row *r = rows; r < rows + count; r++) {
		struct clv_sql s = read_sql(dialect, backslash, clv_slice_str(r->in), true);

		wrong += differ("text", s.text, r->text, r->in);
		wrong += differ("summary", s.summary, r->summary, r->in);
	}
	assert_int_equal(wrong, 0);
}

#define POSTGRESQL(rows) check(CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_PLAIN, rows, COUNT(rows))
#define MYSQL(rows)      check(CLV_SQL_MYSQL, CLV_SQL_BACKSLASH_ESCAPES, rows, COUNT(rows))

static void postgresql_literals(void **ctx)
{
	static const struct row rows[] = {
		{"SELECT 'a', 'it''s', ''", "SELECT ?, ?, ?", "SELECT"},
		{"SELECT E'it\\'s', e'\\\\', 1", "SELECT ?, ?, ?", "SELECT"},
		{"SELECT 'C:\\', x FROM t", "SELECT ?, x FROM t", "SELECT t"},
		{"SELECT U&'d\\0061t' UESCAPE '!', U&\"n\\0061me\"", "SELECT ? UESCAPE ?, U&\"n\\0061me\"", NULL},
		{"SELECT B'101', x'1F', N'a'", "SELECT ?, ?, ?", NULL},
		{"SELECT $$it's$$, $a$ $$ $b$ $a$, $1", "SELECT ?, ?, $1", NULL},
		{"DO $body$ BEGIN DELETE FROM t; END $body$", "DO ?", "DO"},
		{"SELECT $x$never ends", "SELECT ?", NULL},
		{"SELECT 'never ends; SELECT secret", "SELECT ?", NULL},
		{"SELECT $half FROM t", "SELECT ? FROM t", NULL},
		{"SELECT 1, 2.5, .5, 1., 1e10, 1.5e-3, 0x1F, 0b1, 1_000", "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?", NULL},
		{"SELECT -1, +2, - 3, a-1, a -1, (a)-1, b[1]-2", "SELECT ?, ?, - ?, a-?, a -?, (a)-?, b[?]-?", NULL},
		{"SELECT x WHERE a=-1 AND b BETWEEN -1 AND -2 LIMIT -1",
		 "SELECT x WHERE a=? AND b BETWEEN ? AND ? LIMIT ?", NULL},
		{"SELECT t1.a2, a$1, \"1'2\" FROM t1", "SELECT t1.a2, a$1, \"1'2\" FROM t1", NULL},
		{"SELECT a[1:2], x::int4, '1'::text, a:=1", "SELECT a[?:?], x::int4, ?::text, a:=?", NULL},
		{"SELECT TRUE, false, a IS TRUE, b IS NOT FALSE, NULL", "SELECT ?, ?, a IS TRUE, b IS NOT FALSE, NULL",
		 NULL},
		{"SELECT DATE '2020-01-01', INTERVAL '1 day'", "SELECT DATE ?, INTERVAL ?", NULL},
		{"SELECT data->'k', data #> '{a}', data ? 'k' FROM t", "SELECT data->?, data #> ?, data ? ? FROM t",
		 "SELECT t"},
		{"SELECT a FROM t WHERE b = $1 AND c = :name AND d = ?",
		 "SELECT a FROM t WHERE b = $1 AND c = :name AND d = ?", "SELECT t"},
		{"SELECT 1for", "SELECT ?", NULL},
		{"CREATE USER joe PASSWORD 'x'", "CREATE USER joe PASSWORD ?", "CREATE USER"},
		{"SELECT 'a'\n'b'", "SELECT ? ?", NULL},
		{"SELECT u.1", "SELECT u.?", NULL},
	};
	POSTGRESQL(rows);
}

static void blank_and_comments(void **ctx)
{
	static const struct row rows[] = {
		{"  SELECT\n\t a ,b\r\n FROM   t  ", "SELECT a ,b FROM t", "SELECT t"},
		{"SELECT a -- the secret\n FROM t", "SELECT a FROM t", "SELECT t"},
		{"SELECT/* x /* nested */ y */a/**/FROM t", "SELECT a FROM t", "SELECT t"},
		{"/* traceparent='00-1' */ SELECT 1", "SELECT ?", "SELECT"},
		{"SELECT 1 /* never ends", "SELECT ?", NULL},
		{"SELECT 1 --never ends", "SELECT ?", NULL},
		{"", "", ""},
		{" ; ; ", "; ;", ""},
		{"-- nothing", "", ""},
	};
	POSTGRESQL(rows);
}

static void lists(void **ctx)
{
	static const struct row rows[] = {
		{"SELECT a FROM t WHERE b IN (1, 2, 3) AND c IN ('x')", "SELECT a FROM t WHERE b IN (?) AND c IN (?)",
		 "SELECT t"},
		{"WHERE b in (-1,-2 , 'x',?) ", "WHERE b in (?)", NULL},
		{"x NOT IN (1, 2, a, 3)", "x NOT IN (?, ?, a, ?)", NULL},
		{"x IN (1, 2+3)", "x IN (?, ?+?)", NULL},
		{"x IN (1, 2,)", "x IN (?, ?,)", NULL},
		{"x IN ($1, $2)", "x IN ($1, $2)", NULL},
		{"x IN (1, $2)", "x IN (?, $2)", NULL},
		{"x IN (SELECT 1, 2)", "x IN (SELECT ?, ?)", NULL},
		{"(a, b) IN ((1, 2), (3, 4))", "(a, b) IN ((?, ?), (?, ?))", NULL},
		{"x IN (1, 2", "x IN (?, ?", NULL},
		{"INSERT INTO t VALUES (1, 2), (3, 4)", "INSERT INTO t VALUES (?, ?), (?, ?)", "INSERT t"},
	};
	POSTGRESQL(rows);
}

static void mysql_literals(void **ctx)
{
	static const struct row rows[] = {
		{"SELECT 'it\\'s', \"say \\\"x\\\"\", 'a''b', \"c\"\"d\" FROM `t``x`", "SELECT ?, ?, ?, ? FROM `t``x`",
		 "SELECT `t``x`"},
		{"SELECT 0x1F, x'1F', b'01', 0b01, n'x', _utf8mb4'x'", "SELECT ?, ?, ?, ?, ?, _utf8mb4?", NULL},
		{"SELECT 5--3, a # the secret\n, 1 -- x\n", "SELECT ?-?, a , ?", NULL},
		{"SELECT /* not /* nested */ a FROM t", "SELECT a FROM t", "SELECT t"},
		{"/*!40101 SET NAMES utf8 */;", "SET NAMES utf8 ;", "SET"},
		{"/*M!100401 SELECT 1 */", "SELECT ?", "SELECT"},
		{"SELECT @a, @@global.x, @'q'", "SELECT @a, @@global.x, @?", NULL},
		{"SELECT * FROM db.1st, db.2", "SELECT * FROM db.1st, db.?", NULL},
		{"INSERT INTO t SET a=1", "INSERT INTO t SET a=?", "INSERT t"},
		{"SELECT 'C:\\\\', secret FROM t", "SELECT ?, secret FROM t", NULL},
		{"ALTER USER 'u'@'h' IDENTIFIED BY 'p'", "ALTER USER ?@? IDENTIFIED BY ?", "ALTER USER"},
	};
	MYSQL(rows);
}

/* What is a literal with one meaning of the backslash must not come out when the other one may hold. */
static void backslashes(void **ctx)
{
	static const struct {
		enum clv_sql_dialect dialect;
		enum clv_sql_backslash backslash;
		const char *in, *text;
		bool cut;
	} rows[] = {
		{CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_ESCAPES, "SELECT 'a\\'b', c", "SELECT ?, c", false},
		{CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_UNKNOWN, "SELECT 'a\\'b', c", "SELECT ?", true},
		{CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_UNKNOWN, "SELECT 'a\\', c, 'd'", "SELECT ?", true},
		{CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_UNKNOWN, "SELECT 'a\\\\', 'a\\b', c", "SELECT ?, ?, c", false},
		{CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_UNKNOWN, "SELECT 'a\\\\\\', c", "SELECT ?", true},
		{CLV_SQL_POSTGRESQL, CLV_SQL_BACKSLASH_UNKNOWN, "SELECT E'a\\'b', c", "SELECT ?, c", false},
		{CLV_SQL_MYSQL, CLV_SQL_BACKSLASH_PLAIN, "SELECT 'a\\', b", "SELECT ?, b", false},
		{CLV_SQL_MYSQL, CLV_SQL_BACKSLASH_UNKNOWN, "SELECT \"a\\\"b\", c", "SELECT ?", true},
		{CLV_SQL_MYSQL, CLV_SQL_BACKSLASH_ESCAPES, "SELECT 'a\\", "SELECT ?", false},
	};
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct clv_sql s = read_sql(rows[i].dialect, rows[i].backslash, clv_slice_str(rows[i].in), true);

		assert_int_equal(differ("text", s.text, rows[i].text, rows[i].in), 0);
		assert_int_equal(s.cut, rows[i].cut);
	}
}

static void summaries(void **ctx)
{
	static const struct row rows[] = {
		/* OpenTelemetry's own examples. */
		{"SELECT *\nFROM   wuser_table\nWHERE  username = ?", NULL, "SELECT wuser_table"},
		{"INSERT INTO shipping_details\n (order_id,\n address)\nSELECT order_id,\n address\nFROM orders\n"
		 "WHERE order_id = ?",
		 NULL, "INSERT shipping_details SELECT orders"},
		{"SELECT *\nFROM songs,\n artists\nWHERE songs.artist_id == artists.id", NULL, "SELECT songs artists"},
		{"SELECT order_date\nFROM (SELECT *\n FROM orders o\n JOIN customers c\n ON o.customer_id = "
		 "c.customer_id)",
		 NULL, "SELECT SELECT orders customers"},
		{"SELECT * FROM \"song list\", artists", NULL, "SELECT \"song list\" artists"},
		{"call some_stored_procedure", NULL, "call some_stored_procedure"},
		{"EXECUTE some_stored_procedure", NULL, "EXECUTE some_stored_procedure"},
		/* Where tables stand. */
		{"select a.b from public.t as x left outer join \"S\".\"T\" y using (id) natural join u", NULL,
		 "select public.t \"S\".\"T\" u"},
		{"SELECT a FROM t x, u AS y JOIN v ON f(x, y) = 1, w WHERE a IN (1, b, c) ORDER BY a, b", NULL,
		 "SELECT t u v w"},
		{"SELECT a, b, c", NULL, "SELECT"},
		{"SELECT * FROM (a JOIN b ON a.x = b.x) JOIN LATERAL (SELECT 1 FROM c) z ON true", NULL,
		 "SELECT a b SELECT c"},
		{"SELECT EXTRACT(year FROM d), trim(both ' ' from x), a IS DISTINCT FROM b FROM t", NULL, "SELECT t"},
		{"SELECT * FROM generate_series(1, 10) g(a, b), t", NULL, "SELECT generate_series t"},
		{"SELECT a FROM t1 UNION ALL SELECT b, c FROM t2 ORDER BY 1", NULL, "SELECT t1 SELECT t2"},
		{"(SELECT a FROM t1) UNION (SELECT b FROM t2)", NULL, "SELECT t1 SELECT t2"},
		{"SELECT (SELECT max(x) FROM u) FROM t WHERE EXISTS (SELECT 1 FROM v) FOR UPDATE OF t, u", NULL,
		 "SELECT SELECT u t SELECT v"},
		{"SELECT a . b FROM s . t", NULL, "SELECT s.t"},
		{"SELECT x.select, x.from FROM ONLY t", NULL, "SELECT t"},
		{"SELECT a INTO b FROM c", NULL, "SELECT b c"},
		{"SELECT * FROM t TABLESAMPLE system (1) WHERE 'FROM x' = a", NULL, "SELECT t"},
		{"SELECT * FROM copy", NULL, "SELECT copy"},
		/* WITH. */
		{"WITH a AS (SELECT * FROM t), b (x, y) AS (DELETE FROM u RETURNING *) SELECT * FROM a JOIN b ON 1=1 "
		 "JOIN c ON 1=1",
		 NULL, "SELECT t DELETE u SELECT c"},
		{"WITH RECURSIVE r AS (SELECT 1 UNION SELECT n+1 FROM r) INSERT INTO t SELECT * FROM r", NULL,
		 "SELECT SELECT INSERT t SELECT"},
		{"WITH x AS (SELECT 1) UPDATE t SET a = 1 FROM x, y WHERE b = 2", NULL, "SELECT UPDATE t y"},
		{"INSERT INTO t WITH x AS (SELECT 1 FROM u) SELECT * FROM x", NULL, "INSERT t SELECT u SELECT"},
		{"SELECT * FROM (WITH x AS (SELECT 1 FROM u) SELECT * FROM x) y", NULL, "SELECT SELECT u SELECT"},
		/* What changes something. */
		{"INSERT INTO t (a, b) VALUES ($1, $2) ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING a, b", NULL,
		 "INSERT t"},
		{"UPDATE ONLY s.t AS x SET a = 1, b = 2 WHERE c = 3", NULL, "UPDATE s.t"},
		{"UPDATE t SET a = u.a FROM u, v WHERE t.x = u.x", NULL, "UPDATE t u v"},
		{"DELETE FROM t USING u, v WHERE t.x = u.x", NULL, "DELETE t u v"},
		{"MERGE INTO t USING s ON t.a = s.a WHEN MATCHED THEN UPDATE SET x = 1, y = 2 WHEN NOT MATCHED THEN "
		 "INSERT (a) VALUES (1)",
		 NULL, "MERGE t s"},
		{"TRUNCATE TABLE a, b.c CASCADE", NULL, "TRUNCATE TABLE a b.c"},
		{"TRUNCATE a", NULL, "TRUNCATE a"},
		{"COPY t (a, b) FROM STDIN", NULL, "COPY t"},
		{"COPY (SELECT * FROM t) TO STDOUT", NULL, "COPY SELECT t"},
		{"CALL s.p(1, 'x')", NULL, "CALL s.p"},
		/* Definitions. */
		{"CREATE TABLE IF NOT EXISTS s.t (a int REFERENCES u (b) ON DELETE CASCADE ON UPDATE SET NULL, c int)",
		 NULL, "CREATE TABLE s.t"},
		{"CREATE TEMP TABLE t AS SELECT a, b FROM u", NULL, "CREATE TABLE t SELECT u"},
		{"CREATE TABLE p PARTITION OF t FOR VALUES FROM (1) TO (2)", NULL, "CREATE TABLE p"},
		{"CREATE UNIQUE INDEX CONCURRENTLY i ON t USING btree (a, b)", NULL, "CREATE INDEX i t"},
		{"CREATE INDEX ON t (a)", NULL, "CREATE INDEX t"},
		{"CREATE OR REPLACE VIEW v AS SELECT * FROM a JOIN b USING (c)", NULL, "CREATE VIEW v SELECT a b"},
		{"CREATE MATERIALIZED VIEW v AS SELECT 1 FROM t", NULL, "CREATE MATERIALIZED VIEW v SELECT t"},
		{"REFRESH MATERIALIZED VIEW CONCURRENTLY v", NULL, "REFRESH MATERIALIZED VIEW v"},
		{"DROP TABLE IF EXISTS a, b CASCADE", NULL, "DROP TABLE a b"},
		{"ALTER TABLE ONLY t ADD COLUMN x int, ADD COLUMN y int", NULL, "ALTER TABLE t"},
		{"CREATE FUNCTION f(a int) RETURNS int AS $$ SELECT 1 FROM t $$ LANGUAGE sql", NULL,
		 "CREATE FUNCTION f"},
		{"CREATE TRIGGER g BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()", NULL,
		 "CREATE TRIGGER g"},
		{"CREATE EXTENSION IF NOT EXISTS \"uuid-ossp\"", NULL, "CREATE EXTENSION \"uuid-ossp\""},
		{"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO joe", NULL, "ALTER"},
		{"GRANT SELECT, UPDATE ON t TO joe", NULL, "GRANT"},
		/* Of many kinds. */
		{"BEGIN", NULL, "BEGIN"},
		{"START TRANSACTION READ ONLY", NULL, "START TRANSACTION"},
		{"SAVEPOINT sp_1234", NULL, "SAVEPOINT"},
		{"SET search_path TO a, b", NULL, "SET"},
		{"SHOW transaction_isolation", NULL, "SHOW transaction_isolation"},
		{"EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM t", NULL, "EXPLAIN SELECT t"},
		{"EXPLAIN ANALYZE UPDATE t SET a = 1", NULL, "EXPLAIN UPDATE t"},
		{"DECLARE \"c1\" CURSOR FOR SELECT * FROM t", NULL, "DECLARE SELECT t"},
		{"FETCH FORWARD 100 FROM \"c1\"", NULL, "FETCH"},
		{"PREPARE p AS INSERT INTO t VALUES ($1)", NULL, "PREPARE INSERT t"},
		{"VACUUM (FULL, ANALYZE) t", NULL, "VACUUM t"},
		{"VACUUM ANALYZE t, u", NULL, "VACUUM t u"},
		{"LOCK TABLE t IN ACCESS EXCLUSIVE MODE", NULL, "LOCK TABLE t"},
		{"TABLE t", NULL, "TABLE t"},
		{"VALUES (1, 2), (3, 4)", NULL, "VALUES"},
		{"LISTEN channel", NULL, "LISTEN"},
		/* More than one. */
		{"BEGIN; UPDATE t SET a = 1; SELECT 1 FROM u; COMMIT;", NULL, "BEGIN UPDATE t SELECT u COMMIT"},
		{"SELECT 1 FROM ((((t)))); SELECT 2", NULL, "SELECT t SELECT"},
		{"SELECT (; SELECT a FROM b", NULL, "SELECT SELECT b"},
		{"SELECT )))) FROM t", NULL, "SELECT t"},
	};
	POSTGRESQL(rows);
}

static void mysql_summaries(void **ctx)
{
	static const struct row rows[] = {
		{"SELECT * FROM `a b`.`c`, d", NULL, "SELECT `a b`.`c` d"},
		{"INSERT IGNORE INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = REPLACE(b, 'x', 'y')", NULL, "INSERT t"},
		{"REPLACE INTO t SET a = 1", NULL, "REPLACE t"},
		{"REPLACE LOW_PRIORITY t VALUES (1)", NULL, "REPLACE t"},
		{"DELETE t1, t2 FROM t1 INNER JOIN t2 WHERE 1", NULL, "DELETE t1 t2"},
		{"UPDATE LOW_PRIORITY a, b SET a.x = b.x", NULL, "UPDATE a b"},
		{"UPDATE a STRAIGHT_JOIN b ON 1 SET a.x = b.x", NULL, "UPDATE a b"},
		{"SELECT REPLACE(a, 'x', 'y'), INSERT (a, 1, 2, 'x') FROM t", NULL, "SELECT t"},
		{"SELECT a INTO @x FROM t", NULL, "SELECT t"},
		{"SELECT a INTO OUTFILE '/tmp/x' FROM t", NULL, "SELECT t"},
		{"LOAD DATA LOCAL INFILE 'f' IGNORE INTO TABLE t FIELDS TERMINATED BY ','", NULL, "LOAD DATA t"},
		{"LOCK TABLES a READ, b WRITE", NULL, "LOCK TABLES a b"},
		{"USE shop", NULL, "USE shop"},
		{"SHOW TABLES FROM x", NULL, "SHOW TABLES"},
		{"DESCRIBE t", NULL, "DESCRIBE t"},
		{"OPTIMIZE TABLE a, b", NULL, "OPTIMIZE TABLE a b"},
		{"CREATE DEFINER=`root`@`%` PROCEDURE p() BEGIN SELECT 1 FROM t; DELETE FROM u; END", NULL,
		 "CREATE PROCEDURE p"},
		{"DROP INDEX i ON t", NULL, "DROP INDEX i t"},
		{"CREATE DATABASE d; USE d", NULL, "CREATE DATABASE d USE d"},
	};
	MYSQL(rows);
}

static void verb_and_target(void **ctx)
{
	struct clv_sql s = read_sql(CLV_SQL_POSTGRESQL, 0, CLV_LIT("create table a as select * from b, c"), true);

	assert_int_equal(differ("verb", s.verb, "create table", ""), 0);
	assert_int_equal(differ("target", s.target, "a select b c", ""), 0);
	s = read_sql(CLV_SQL_POSTGRESQL, 0, CLV_LIT("COMMIT"), true);
	assert_int_equal(differ("verb", s.verb, "COMMIT", ""), 0);
	assert_int_equal(s.target.len, 0);
}

/* The beginning of a statement shows no half name, and no half literal. */
static void beginnings(void **ctx)
{
	static const char in[] =
		"SELECT 'it''s', $q$x$q$, 12 FROM orders, \"my carts\" WHERE a IN (1, 2) AND TRUE -- x";

	for (size_t len = 0; len < sizeof(in); len++) {
		char *copy = malloc(len + 1); /* an end that is watched */
		assert_non_null(copy);
		memcpy(copy, in, len);
		struct clv_sql s = read_sql(CLV_SQL_POSTGRESQL, 0, clv_slice(copy, len), false);

		assert_true(s.cut);
		for (size_t i = 0; i < s.text.len; i++)
			assert_null(memchr("x12'", s.text.data[i], 4));
		assert_true(s.summary.len == 0 || clv_slice_eq(s.summary, CLV_LIT("SELECT")) ||
			    clv_slice_eq(s.summary, CLV_LIT("SELECT orders")) ||
			    clv_slice_eq(s.summary, CLV_LIT("SELECT orders \"my carts\"")));
		free(copy);
	}
}

static void long_ones(void **ctx)
{
	static char in[65536];
	size_t len = 0;

	for (int i = 0; i < 400; i++)
		len += (size_t)snprintf(in + len, sizeof(in) - len, "%s table_number_%d", i ? "," : "SELECT * FROM", i);
	struct clv_sql s = read_sql(CLV_SQL_POSTGRESQL, 0, clv_slice(in, len), true);
	assert_true(s.cut && s.text.len <= CLV_SQL_TEXT_BYTES && s.text.len > CLV_SQL_TEXT_BYTES - 32);
	assert_true(s.summary.len <= CLV_SQL_SUMMARY_BYTES && s.summary.len > CLV_SQL_SUMMARY_BYTES - 32);
	const uint8_t *last = memrchr(s.summary.data, ' ', s.summary.len);
	assert_true(clv_slice_starts(clv_slice(last + 1, 13), CLV_LIT("table_number_")));

	/* A list that would not fit is as short as any other. */
	len = (size_t)snprintf(in, sizeof(in), "SELECT a FROM t WHERE b IN (1");
	for (int i = 0; i < 10000; i++)
		len += (size_t)snprintf(in + len, sizeof(in) - len, ",%d", i % 100);
	len += (size_t)snprintf(in + len, sizeof(in) - len, ") AND c = 1");
	s = read_sql(CLV_SQL_POSTGRESQL, 0, clv_slice(in, len), true);
	assert_int_equal(differ("text", s.text, "SELECT a FROM t WHERE b IN (?) AND c = ?", "a long list"), 0);
	assert_false(s.cut);

	/* Deep, but only counted. */
	len = (size_t)snprintf(in, sizeof(in), "SELECT ");
	memset(in + len, '(', 1000);
	memset(in + len + 1000, ')', 1000);
	len += 2000 + (size_t)snprintf(in + len + 2000, sizeof(in) - len - 2000, " FROM t");
	s = read_sql(CLV_SQL_POSTGRESQL, 0, clv_slice(in, len), true);
	assert_int_equal(differ("summary", s.summary, "SELECT t", "deep"), 0);
}

static void verbatim(void **ctx)
{
	clv_sql_verbatim = true;
	struct clv_sql s = read_sql(CLV_SQL_POSTGRESQL, 0, CLV_LIT("SELECT 'x'  FROM t"), true);
	assert_int_equal(differ("text", s.text, "SELECT 'x'  FROM t", ""), 0);
	assert_int_equal(differ("summary", s.summary, "SELECT t", ""), 0);
	assert_false(s.cut);
	clv_sql_verbatim = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(postgresql_literals),
		cmocka_unit_test(blank_and_comments),
		cmocka_unit_test(lists),
		cmocka_unit_test(mysql_literals),
		cmocka_unit_test(backslashes),
		cmocka_unit_test(summaries),
		cmocka_unit_test(mysql_summaries),
		cmocka_unit_test(verb_and_target),
		cmocka_unit_test(beginnings),
		cmocka_unit_test(long_ones),
		cmocka_unit_test(verbatim),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
