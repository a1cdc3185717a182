/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's protocol 3.0 and 3.2: what is kept of a request and of its answer. A request's head is made by the
 * parser: one byte (enum clv_postgresql_kind), then the parts below one after the other.
 */
#ifndef CLV_PROTO_POSTGRESQL_H
#define CLV_PROTO_POSTGRESQL_H

#include "proto/proto.h"

enum clv_postgresql_kind {
	CLV_POSTGRESQL_QUERY,
	CLV_POSTGRESQL_EXECUTE,
	CLV_POSTGRESQL_PREPARE, /* parsed, bound or described, and not executed: a span only if it fails */
	CLV_POSTGRESQL_CALL,    /* FunctionCall */
	CLV_POSTGRESQL_CONNECT, /* a span only if it fails */
	CLV_POSTGRESQL_CANCEL,
};

/* Facts of a request: lengths of the parts of its head, in their order. */
struct clv_postgresql_request {
	uint16_t database_len, user_len;
	uint16_t verb_len;    /* the summary's first words */
	uint16_t summary_len; /* 0: what is asked for is not known */
	uint16_t text_len;    /* without literals */
	uint8_t kind;         /* enum clv_postgresql_kind */
};

enum clv_postgresql_answer_flag {
	CLV_POSTGRESQL_ERROR = 1 << 0,    /* `code` says which */
	CLV_POSTGRESQL_ABORTED = 1 << 1,  /* not done, because of an error before it */
	CLV_POSTGRESQL_RETURNED = 1 << 2, /* `returned` is known */
	CLV_POSTGRESQL_AFFECTED = 1 << 3, /* `affected` is known */
};

/* Facts of an answer. */
struct clv_postgresql_answer {
	uint64_t returned, affected; /* rows */
	char code[5];                /* SQLSTATE */
	uint8_t flags;               /* enum clv_postgresql_answer_flag */
};

extern const struct clv_proto clv_postgresql;

/* clv_proto.describe (postgresql_span.c). */
void clv_postgresql_describe(const struct clv_pair *pair, struct clv_span *span);

#endif
