/* SPDX-License-Identifier: Apache-2.0 */
/* The tokens of SQL, between sql.c that finds them and sql_summary.c that reads them. Internal to these two. */
#ifndef CLV_PROTO_SQL_LEX_H
#define CLV_PROTO_SQL_LEX_H

#include "base/buf.h"
#include "proto/sql.h"

enum clv_sql_kind {
	CLV_SQL_END,
	CLV_SQL_WORD,    /* a keyword or a name, not quoted */
	CLV_SQL_QUOTED,  /* a name in quotes; text: with them */
	CLV_SQL_LITERAL, /* text: the literal. It must not get out */
	CLV_SQL_PARAM,   /* $1 ? :name */
	CLV_SQL_PUNCT,   /* one byte of anything else */
};

/* What a word may be. The same word is something else elsewhere, so this is no more than a hint. */
enum clv_sql_word {
	CLV_SQL_OTHER,
	CLV_SQL_SELECT,
	CLV_SQL_INSERT, /* also REPLACE, MERGE */
	CLV_SQL_UPDATE,
	CLV_SQL_DELETE,
	CLV_SQL_WITH,
	CLV_SQL_DDL,     /* CREATE, ALTER, DROP */
	CLV_SQL_EXPLAIN, /* ...and others in front of another statement */
	CLV_SQL_ACT,     /* TRUNCATE, CALL...: an operation whose targets follow */
	CLV_SQL_PAIR,    /* SHOW, START: the next word belongs to it */
	CLV_SQL_FROM,
	CLV_SQL_JOIN,
	CLV_SQL_INTO,
	CLV_SQL_USING,
	CLV_SQL_ON,
	CLV_SQL_IN,
	CLV_SQL_IS,
	CLV_SQL_DISTINCT,
	CLV_SQL_BOOL, /* TRUE, FALSE */
};

enum clv_sql_trait {
	CLV_SQL_SIGNED = 1 << 0, /* a sign behind it belongs to the number that follows */
	CLV_SQL_ENDS = 1 << 1,   /* a list of targets is over */
	CLV_SQL_SKIP = 1 << 2,   /* may stand between an operation and its target */
	CLV_SQL_OBJECT = 1 << 3, /* what CREATE, ALTER and DROP may be about */
	CLV_SQL_KIND = 1 << 4,   /* likewise of CLV_SQL_ACT */
	CLV_SQL_MORE = 1 << 5,   /* of an operation's name, and more of it follows */
	CLV_SQL_LIST = 1 << 6,   /* an operation that takes a list of targets */
	CLV_SQL_HUSH = 1 << 7,   /* names of such objects are nobody's business */
	CLV_SQL_BODY = 1 << 8,   /* code follows the object's name */
	CLV_SQL_QUERY = 1 << 9,  /* a query may follow the object's name */
};

struct clv_sql_token {
	enum clv_sql_kind kind;
	enum clv_sql_word word;
	uint16_t traits;
	bool spaced;  /* something blank was before it */
	bool open;    /* the input ends here, and the rest is missing: there may be more of it */
	uint8_t next; /* the first byte behind it that is not blank; 0: none */
	struct clv_slice text;
};

/* Which of the words above `text` is, in any case. */
void clv_sql_know(struct clv_sql_token *t);

/* ---- sql_summary.c --------------------------------------------------------------------------------------------- */

/* Nested deeper, parentheses are only counted; more names of WITH are taken for tables. */
#define CLV_SQL_DEPTH 32
#define CLV_SQL_CTES  8

struct clv_sql_level {
	enum clv_sql_word verb;
	bool begun;     /* it has had a token */
	bool verbs;     /* INSERT, UPDATE, DELETE are operations here */
	bool waiting;   /* behind WITH, EXPLAIN: until one came */
	bool with;      /* behind WITH */
	bool names;     /* behind WITH: the next name is that of a subquery */
	bool expecting; /* a target comes next */
	bool list;      /* ...and behind a comma, another one */
	bool from;      /* FROM and JOIN lead to targets */
	bool on;        /* so does ON */
	bool over;      /* nothing more of interest in this statement */
};

struct clv_sql_summary {
	struct clv_buf out;
	enum clv_sql_dialect dialect;
	struct clv_sql_level level[CLV_SQL_DEPTH];
	uint32_t depth;  /* may exceed CLV_SQL_DEPTH */
	uint16_t object; /* the traits of the object that CREATE is about */
	bool choosing;   /* behind CREATE, ALTER, DROP: which object? */
	bool kinds;      /* behind an operation of CLV_SQL_ACT: a word of CLV_SQL_KIND belongs to it */
	bool pair;       /* behind one of CLV_SQL_PAIR */
	bool building;   /* a target is being written */
	bool dotted;     /* ...and its next part comes */
	bool after_dot;  /* the token before was a dot */
	bool done;       /* nothing more of interest at all */
	enum clv_sql_word last;
	size_t target_at; /* where in out it begins */
	size_t verb_len;  /* of the first operation */
	uint32_t operations, targets;
	uint32_t ctes;
	struct clv_slice cte[CLV_SQL_CTES];
};

void clv_sql_summary_init(struct clv_sql_summary *s, enum clv_sql_dialect dialect, char *out);
void clv_sql_summary_token(struct clv_sql_summary *s, const struct clv_sql_token *t);
/* No more tokens come. */
void clv_sql_summary_end(struct clv_sql_summary *s);

#endif
