/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prepared statements of one connection: what text an id stands for. A text is known from its PREPARE, its id from
 * the answer; in between it is found by the request's number. Bounded in number and bytes: the one that was used
 * longest ago goes. Memory comes from the engine, and only once something is prepared. Engine thread.
 */
#ifndef CLV_PROTO_MYSQL_STATEMENTS_H
#define CLV_PROTO_MYSQL_STATEMENTS_H

#include "proto/proto.h"

/* Kept of one connection. */
#define MYSQL_STATEMENTS      256u
#define MYSQL_STATEMENT_BYTES 2048u /* of one text */

struct mysql_statement;

struct mysql_statements {
	struct mysql_statement **at; /* `count` of them, room for `room` */
	uint32_t count, room;
	uint32_t clock; /* of uses */
	uint32_t last;  /* the PREPARE seen last, by its number; 0: another one may have been missed since */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *mem;
};

struct mysql_text {
	struct clv_slice text; /* borrowed until the next call that changes something; empty: not known */
	bool cut;
};

void clv_mysql_statements_init(struct mysql_statements *s, const struct clv_conn_info *conn);
/* Gives everything back. */
void clv_mysql_statements_clear(struct mysql_statements *s);

/* The request numbered `serial` asks for a statement. Without memory it is not kept. */
void clv_mysql_statements_prepare(struct mysql_statements *s, uint32_t serial, struct clv_slice text, bool cut);
/* Its answer: the statement's id. Whatever had the id before is gone. */
void clv_mysql_statements_name(struct mysql_statements *s, uint32_t serial, uint32_t id);
/* Its answer: refused; or the answer will never be known. */
void clv_mysql_statements_refuse(struct mysql_statements *s, uint32_t serial);
/* The answers to all that have no id yet will never be known. */
void clv_mysql_statements_forget_unnamed(struct mysql_statements *s);
void clv_mysql_statements_close(struct mysql_statements *s, uint32_t id);

/* MYSQL_LAST_STATEMENT: the one that was prepared last, whether answered or not (MariaDB). */
#define MYSQL_LAST_STATEMENT UINT32_MAX
struct mysql_text clv_mysql_statements_find(struct mysql_statements *s, uint32_t id);

#endif
