/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The prepared statements and portals of one PostgreSQL connection, as far as its client was heard making them: what
 * an Execute is about. Bounded; what is not known, or not for sure, is not found. Used by postgresql.c alone.
 */
#ifndef CLV_PROTO_POSTGRESQL_NAMES_H
#define CLV_PROTO_POSTGRESQL_NAMES_H

#include "proto/proto.h"
#include "proto/sql.h"

/* Statements and portals of a connection together, and the bytes they take. */
#define CLV_POSTGRESQL_NAMES_MAX   1024u
#define CLV_POSTGRESQL_NAMES_BYTES (512u * 1024u)
#define CLV_POSTGRESQL_BUCKETS     64u

/* A statement, without its literals. Lives as long as a name, a portal or a holder refers to it. */
struct clv_postgresql_statement {
	uint32_t refs;
	uint32_t room; /* of data */
	uint16_t verb_len, summary_len, text_len;
	char data[]; /* summary, text */
};

struct clv_postgresql_name;

struct clv_postgresql_names {
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *mem;
	struct clv_postgresql_name **bucket;               /* NULL: no names yet */
	struct clv_postgresql_statement *unnamed, *portal; /* the unnamed ones */
	struct clv_postgresql_statement *spare;
	uint32_t count, bytes;
};

/* Refers to `s`, or to nothing (NULL), in *slot, in place of what it referred to. */
void clv_postgresql_hold(struct clv_postgresql_names *n, struct clv_postgresql_statement **slot,
			 struct clv_postgresql_statement *s);

/* The statement or the portal (`portal`) of that name, borrowed; NULL: not known. */
struct clv_postgresql_statement *clv_postgresql_get(const struct clv_postgresql_names *n, bool portal,
						    struct clv_slice name);
/*
 * The name means `s` from now on; NULL: it is forgotten. `serial`: which Parse said so. Without room the name is
 * forgotten, too.
 */
void clv_postgresql_set(struct clv_postgresql_names *n, bool portal, struct clv_slice name, uint32_t serial,
			struct clv_postgresql_statement *s);
/* A new statement with one reference, the caller's; NULL without room. */
struct clv_postgresql_statement *clv_postgresql_statement(struct clv_postgresql_names *n, const struct clv_sql *sql);

/* The Parse with this serial number failed, or nobody knows: what it named is not known. */
void clv_postgresql_undo(struct clv_postgresql_names *n, uint32_t serial);
/* All names are forgotten; `portals`: only those of portals. */
void clv_postgresql_forget(struct clv_postgresql_names *n, bool portals);
/* Gives all memory back. */
void clv_postgresql_names_fini(struct clv_postgresql_names *n);

#endif
