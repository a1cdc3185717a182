/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a span says of MySQL: OpenTelemetry's semantic conventions v1.44, "MySQL client operations" and "Database
 * client spans". Statements are shown without their literals (sql.h). Pure functions over what the parser kept; engine
 * thread.
 */
#include "proto/mysql.h"

#include "proto/describe.h"
#include "proto/mysql_wire.h"
#include "proto/sql.h"

/* The request's parts, as they stand in its head. */
struct mysql_parts {
	struct clv_slice db, user, text;
};

static struct mysql_parts mysql_parts(const struct clv_mysql_request *q, struct clv_slice head)
{
	return (struct mysql_parts){
		.db = clv_slice_sub(head, 0, q->db_len),
		.user = clv_slice_sub(head, q->db_len, q->user_len),
		.text = clv_slice_sub(head, (size_t)q->db_len + q->user_len, q->text_len),
	};
}

/* "a b" */
static struct clv_slice mysql_join(struct clv_span *span, struct clv_slice a, struct clv_slice b)
{
	if (!b.len)
		return a;
	struct clv_buf buf = clv_describe_room(span, a.len + 1 + b.len);
	clv_buf_slice(&buf, a);
	clv_buf_char(&buf, ' ');
	clv_buf_slice(&buf, b);
	return buf.cut ? a : clv_describe_text(&buf);
}

/* A string that lives as long as the span. */
static struct clv_slice mysql_copy(struct clv_span *span, const char *text, size_t len)
{
	struct clv_buf buf = clv_describe_room(span, len);

	clv_buf_put(&buf, text, len);
	return clv_describe_text(&buf);
}

/* The statement's text and summary, as they may be shown. */
static struct clv_sql mysql_sql(struct clv_span *span, const struct clv_mysql_request *q, struct clv_slice text)
{
	char *shown = clv_span_scratch(span, CLV_SQL_TEXT_BYTES), *summary;
	struct clv_sql sql = {0};

	summary = shown ? clv_span_scratch(span, CLV_SQL_SUMMARY_BYTES) : NULL;
	if (summary)
		sql = clv_sql_read(CLV_SQL_MYSQL, (enum clv_sql_backslash)q->backslash, text,
				   !(q->flags & CLV_MYSQL_TEXT_CUT), shown, summary);
	clv_describe_str(span, CLV_ATTR_DB_QUERY_TEXT, sql.text);
	return sql;
}

/* A statement that is run: it goes by its summary. */
static void mysql_describe_run(struct clv_span *span, const struct clv_sql *sql)
{
	clv_span_str(span, CLV_ATTR_DB_QUERY_SUMMARY, sql->summary);
	span->name = sql->summary;
	span->method = sql->verb;
	span->target = sql->target;
}

/* "#17" */
static struct clv_slice mysql_statement_number(struct clv_span *span, uint32_t id)
{
	struct clv_buf buf = clv_describe_room(span, 12);

	clv_buf_char(&buf, '#');
	clv_buf_u64(&buf, id);
	return clv_describe_text(&buf);
}

/*
 * A command of the protocol: by its name. What is prepared or fetched is not run, so that it must not count as that:
 * its statement's summary stands behind the command's name.
 */
static void mysql_describe_command(struct clv_span *span, const struct clv_mysql_request *q,
				   const struct mysql_parts *parts, struct clv_slice summary)
{
	struct clv_slice name = mysql_command_name(q->command), of = summary.len ? summary : parts->db;

	if (q->command == CLV_MYSQL_FIELD_LIST)
		clv_describe_str(span, CLV_ATTR_DB_COLLECTION_NAME, parts->text);
	if (q->command == CLV_MYSQL_FIELD_LIST || q->command == CLV_MYSQL_CREATE_DB || q->command == CLV_MYSQL_DROP_DB)
		of = parts->text;
	clv_span_str(span, CLV_ATTR_DB_OPERATION_NAME, name);
	span->method = name;
	span->target = of;
	span->name = mysql_join(span, name, of);
	/* Text that is not known: its number tells statements of one connection apart, but is no name. */
	if (q->statement && !parts->text.len)
		span->target = mysql_statement_number(span, q->statement);
}

/* Is its text a statement, and is that what it runs? */
static bool mysql_has_statement(const struct clv_mysql_request *q)
{
	return q->command == CLV_MYSQL_QUERY || q->command == CLV_MYSQL_PREPARE || q->command == CLV_MYSQL_EXECUTE ||
	       q->command == CLV_MYSQL_BULK_EXECUTE || q->command == CLV_MYSQL_FETCH ||
	       q->command == CLV_MYSQL_RESET_STATEMENT;
}

static bool mysql_runs(const struct clv_mysql_request *q)
{
	return q->command == CLV_MYSQL_QUERY || q->command == CLV_MYSQL_EXECUTE || q->command == CLV_MYSQL_BULK_EXECUTE;
}

static void mysql_describe_response(const struct clv_mysql_response *r, bool ended, struct clv_span *span)
{
	span->result = CLV_LIT("OK");
	if (ended && r->flags & CLV_MYSQL_HAS_ROWS)
		clv_span_int(span, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS, (int64_t)r->rows);
	if (ended && r->flags & CLV_MYSQL_HAS_AFFECTED)
		clv_span_int(span, CLV_ATTR_CLOVISOR_DB_ROWS_AFFECTED, (int64_t)r->affected);
	if (!(r->flags & CLV_MYSQL_FAILED)) {
		if (!ended)
			span->result = clv_slice(NULL, 0);
		return;
	}
	span->result = clv_describe_number(span, r->error);
	span->status_code = r->error;
	clv_describe_str(span, CLV_ATTR_DB_RESPONSE_STATUS_CODE, span->result);
	if (r->sqlstate[0])
		clv_describe_str(span, CLV_ATTR_CLOVISOR_DB_SQLSTATE,
				 mysql_copy(span, r->sqlstate, sizeof(r->sqlstate)));
	clv_describe_error(span, span->result);
}

void clv_mysql_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_mysql_request *q = pair->request;
	const struct clv_mysql_response *r = pair->response;
	struct mysql_parts parts = mysql_parts(q, pair->request_head);
	struct clv_sql sql = {0};

	clv_span_str(span, CLV_ATTR_DB_SYSTEM_NAME,
		     q->flags & CLV_MYSQL_IS_MARIADB ? CLV_LIT("mariadb") : CLV_LIT("mysql"));
	clv_describe_str(span, CLV_ATTR_DB_NAMESPACE, parts.db);
	clv_describe_str(span, CLV_ATTR_CLOVISOR_DB_USER, parts.user);
	if (mysql_has_statement(q) && parts.text.len)
		sql = mysql_sql(span, q, parts.text);
	if (mysql_runs(q) && sql.summary.len)
		mysql_describe_run(span, &sql);
	else
		mysql_describe_command(span, q, &parts, sql.summary);
	clv_describe_ends(span, clv_slice(NULL, 0));
	if (r)
		mysql_describe_response(r, pair->response_ended, span);
}
