/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL as far as an observer may show it: the statement with its literals replaced, and a summary of few values.
 * OpenTelemetry's database conventions: "Sanitization of db.query.text", "Generating a summary of the query".
 *
 * A lexer, no parser: it knows strings, numbers, comments, identifiers and operators of a dialect, and what follows a
 * keyword such as FROM. Pure functions, no allocation, any thread.
 */
#ifndef CLV_PROTO_SQL_H
#define CLV_PROTO_SQL_H

#include <stdbool.h>

#include "base/slice.h"

enum clv_sql_dialect { CLV_SQL_POSTGRESQL, CLV_SQL_MYSQL };

/*
 * What a backslash in '...' (MySQL: in "..." too) means. A setting of the connection says so: PostgreSQL's
 * standard_conforming_strings, MySQL's NO_BACKSLASH_ESCAPES. E'...' does not depend on it.
 */
enum clv_sql_backslash {
	CLV_SQL_BACKSLASH_UNKNOWN, /* a string that would end elsewhere with the other meaning ends what is shown */
	CLV_SQL_BACKSLASH_PLAIN,   /* PostgreSQL's default */
	CLV_SQL_BACKSLASH_ESCAPES, /* MySQL's default */
};

/* The longest text and summary that are shown; what is longer is cut, at a token. */
#define CLV_SQL_TEXT_BYTES    2048u
#define CLV_SQL_SUMMARY_BYTES 255u

struct clv_sql {
	struct clv_slice text;    /* literals as "?", comments and surplus white space gone */
	struct clv_slice summary; /* "SELECT orders customers"; empty when there is no statement */
	struct clv_slice verb;    /* its first operation, as "CREATE TABLE"... */
	struct clv_slice target;  /* ...and the rest of it; both are parts of summary */
	bool cut;                 /* the statement, or its text, ended before its end */
};

/*
 * Writes to `text` (CLV_SQL_TEXT_BYTES) and `summary` (CLV_SQL_SUMMARY_BYTES) and returns what is in them. `whole`:
 * false when `in` is only the beginning of the statement: an unfinished literal at its end is a literal all the same,
 * and an unfinished name is left out.
 */
struct clv_sql clv_sql_read(enum clv_sql_dialect dialect, enum clv_sql_backslash backslash, struct clv_slice in,
			    bool whole, char *text, char *summary);

/*
 * Does the user let statements out as they are (--show-statements)? Set by the engine's thread between packets; read by
 * clv_sql_read(), whose text is `in` then, as far as there is room.
 */
extern bool clv_sql_verbatim;

#endif
