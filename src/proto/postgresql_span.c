/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was asked of a PostgreSQL server as spans: OpenTelemetry's database conventions (v1.44) and those for
 * PostgreSQL, from the facts that postgresql.c kept. Strings borrow from the request's head. Never allocates. Engine
 * thread, once per span.
 */
#include "proto/postgresql.h"

#include "base/buf.h"
#include "model/span.h"
#include "proto/describe.h"

struct pg_parts {
	struct clv_slice database, user, verb, target, summary, text;
};

static struct clv_slice pg_take(struct clv_slice *head, size_t len)
{
	struct clv_slice part = clv_slice_head(*head, len);

	*head = clv_slice_from(*head, len);
	return part;
}

static struct pg_parts pg_parts(const struct clv_pair *pair)
{
	const struct clv_postgresql_request *f = pair->request;
	struct clv_slice head = clv_slice_from(pair->request_head, 1);
	struct pg_parts p = {.database = pg_take(&head, f->database_len), .user = pg_take(&head, f->user_len)};

	p.summary = pg_take(&head, f->summary_len);
	p.text = pg_take(&head, f->text_len);
	p.verb = clv_slice_head(p.summary, f->verb_len);
	p.target = clv_slice_from(p.summary, (size_t)f->verb_len + 1);
	return p;
}

/* What is done, where no statement says so. */
static struct clv_slice pg_operation(enum clv_postgresql_kind kind)
{
	switch (kind) {
	case CLV_POSTGRESQL_QUERY:
		return CLV_LIT("QUERY");
	case CLV_POSTGRESQL_EXECUTE:
		return CLV_LIT("EXECUTE");
	case CLV_POSTGRESQL_PREPARE:
		return CLV_LIT("PREPARE");
	case CLV_POSTGRESQL_CALL:
		return CLV_LIT("FUNCTION");
	case CLV_POSTGRESQL_CONNECT:
		return CLV_LIT("CONNECT");
	case CLV_POSTGRESQL_CANCEL:
		return CLV_LIT("CANCEL");
	}
	return clv_slice(NULL, 0);
}

/* "{operation} {database}". */
static struct clv_slice pg_name(struct clv_span *span, struct clv_slice operation, struct clv_slice database)
{
	if (!database.len)
		return operation;
	struct clv_buf b = clv_describe_room(span, operation.len + 1 + database.len);

	clv_buf_slice(&b, operation);
	clv_buf_char(&b, ' ');
	clv_buf_slice(&b, database);
	return b.cut ? operation : clv_describe_text(&b);
}

static void pg_describe_ask(const struct clv_postgresql_request *f, const struct pg_parts *p, struct clv_span *span)
{
	clv_span_str(span, CLV_ATTR_DB_SYSTEM_NAME, CLV_LIT("postgresql"));
	clv_describe_str(span, CLV_ATTR_DB_NAMESPACE, p->database);
	if (p->summary.len) {
		span->name = p->summary;
		span->method = p->verb;
		span->target = p->target;
	} else {
		span->method = pg_operation((enum clv_postgresql_kind)f->kind);
		span->target = p->database;
		span->name = pg_name(span, span->method, p->database);
		clv_span_str(span, CLV_ATTR_DB_OPERATION_NAME, span->method);
	}
	clv_describe_str(span, CLV_ATTR_DB_QUERY_SUMMARY, p->summary);
	clv_describe_str(span, CLV_ATTR_DB_QUERY_TEXT, p->text);
	clv_describe_str(span, CLV_ATTR_CLOVISOR_DB_USER, p->user);
}

/*
 * Success is 00, a warning 01, no data 02; all others are errors (SQL standard). An answer whose end was not seen may
 * have become one there.
 */
static void pg_describe_answer(const struct clv_postgresql_answer *a, bool ended, struct clv_span *span)
{
	if (ended)
		span->result = CLV_LIT("OK");
	if (a->flags & CLV_POSTGRESQL_RETURNED)
		clv_span_int(span, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS, (int64_t)a->returned);
	if (a->flags & CLV_POSTGRESQL_AFFECTED)
		clv_span_int(span, CLV_ATTR_CLOVISOR_DB_ROWS_AFFECTED, (int64_t)a->affected);
	if (a->flags & CLV_POSTGRESQL_ABORTED) {
		span->result = CLV_LIT("aborted");
		clv_describe_error(span, span->result);
	} else if (a->flags & CLV_POSTGRESQL_ERROR) {
		struct clv_buf b = clv_describe_room(span, sizeof(a->code));

		clv_buf_put(&b, a->code, sizeof(a->code));
		span->result = a->code[0] ? clv_describe_text(&b) : CLV_LIT("_OTHER");
		if (a->code[0])
			clv_describe_str(span, CLV_ATTR_DB_RESPONSE_STATUS_CODE, span->result);
		clv_describe_error(span, span->result);
	}
}

void clv_postgresql_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_postgresql_request *f = pair->request;
	struct pg_parts p = pg_parts(pair);

	pg_describe_ask(f, &p, span);
	clv_describe_ends(span, clv_slice(NULL, 0));
	clv_span_str(span, CLV_ATTR_NETWORK_PROTOCOL_NAME, CLV_LIT("postgresql"));
	if (pair->response)
		pg_describe_answer(pair->response, pair->response_ended, span);
}
