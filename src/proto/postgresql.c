/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PostgreSQL's protocol, 3.0 and 3.2: where messages begin and end, and which of them ask and answer. What a span says
 * of them: postgresql_span.c. PostgreSQL's manual, "Frontend/Backend Protocol".
 *
 *	first   = length(4) code(4) ...                SSLRequest, GSSENCRequest (answered by one byte), CancelRequest,
 *	                                               StartupMessage: *( name NUL value NUL ) NUL
 *	message = type(1) length(4) ...                the length counts itself
 *	asks    = Query | Execute | FunctionCall       one span each; a Parse that no Execute follows, only if it fails
 *	answers = CommandComplete | EmptyQueryResponse | PortalSuspended | ErrorResponse; of a Query: up to
 *ReadyForQuery
 *
 * What the client asked is kept as a queue of letters, and each answer is held against its first one. After an error
 * the server leaves out all up to the next Sync, and so does the queue. Where one side was not heard, a '?' stands in
 * the queue: behind it nothing is told until ReadyForQuery, when all is known again. Rows and parameters are skipped,
 * never read; passwords, too. Memory beyond the state: postgresql_names.c, a longer queue. Engine thread.
 */
#include "proto/postgresql.h"

#include "engine/limits.h"
#include "proto/postgresql_names.h"

/* So much of a statement is read for its text and summary. */
#define PG_TEXT_BYTES 16384u
/* Names of databases, users, statements and portals: PostgreSQL's own have at most 63 bytes. */
#define PG_NAME_BYTES 64u
/* So much of a message that has names in it is waited for. */
#define PG_NAMES_BYTES 512u
/* A StartupMessage that is longer is none (PostgreSQL refuses it, too). */
#define PG_STARTUP_BYTES 10000u
/* Messages that only few kinds may exceed (PostgreSQL has the same bound for them). */
#define PG_SMALL_BYTES 30000u
#define PG_LONG_BYTES  (1u << 30)
/* Of an error's fields, and of a command's tag. */
#define PG_ERROR_BYTES 1024u
#define PG_TAG_BYTES   64u
/* What the client has asked and was not answered: in the state, and when that is too short. */
#define PG_QUEUE_BYTES 48u
#define PG_QUEUE_MORE  8192u

#define PG_HEAD_BYTES (1 + 2 * PG_NAME_BYTES + CLV_SQL_SUMMARY_BYTES + CLV_SQL_TEXT_BYTES)

#define PG_VERSION_3 0x00030000u
#define PG_CANCEL    80877102u
#define PG_SSL       80877103u
#define PG_GSSENC    80877104u

/* Letters of the queue, beside those of the messages P B D C E Q F S. */
#define PG_PREPARE 'R' /* stands behind what it was made of */
#define PG_CONNECT 'c'
#define PG_LOST    '?'

enum pg_phase {
	PG_TYPED, /* messages with a type */
	PG_FIRST, /* to the server: a message without a type; to the client: one byte answers it, or a message */
};

struct pg_state {
	struct clv_postgresql_names names;
	uint8_t phase[2];  /* enum pg_phase */
	bool request_open; /* the last request's message ends when it is paid for... */
	bool answer_open;  /* ...and so does an answer's */
	bool negotiating;  /* an SSLRequest or GSSENCRequest has no answer yet */
	bool aligned;      /* the client was heard since the last place where a server would start afresh */
	bool heard;        /* the server, or that something of it is missing */
	bool unproven;     /* the first request of a connection joined late has no answer yet */
	bool failed;       /* an error: the server leaves out all up to the next Sync */
	bool answering;    /* the answer of the queue's first request was begun */
	bool copying;      /* rows go to the server in the extended protocol: it ignores a Sync */
	bool copied_in;    /* rows went to the server in this answer */
	uint8_t backslash; /* enum clv_sql_backslash */
	uint8_t database_len, user_len;
	uint16_t first, count;                    /* of the queue */
	uint64_t rows;                            /* seen in this answer */
	uint32_t parses;                          /* sent */
	uint32_t parsed;                          /* answered, or left out */
	struct clv_postgresql_statement *touched; /* by the last of P B D, if no Execute has followed */
	bool touching;
	struct clv_postgresql_answer answer;
	char database[PG_NAME_BYTES], user[PG_NAME_BYTES];
	uint8_t *more; /* PG_QUEUE_MORE bytes instead of `queue` */
	uint8_t queue[PG_QUEUE_BYTES];
};

_Static_assert(sizeof(struct pg_state) <= 512, "one per connection");
_Static_assert(sizeof(struct clv_postgresql_request) <= CLV_FACTS_MAX, "facts outgrew their place");
_Static_assert(sizeof(struct clv_postgresql_answer) <= CLV_FACTS_MAX, "facts outgrew their place");
_Static_assert(5 + PG_TEXT_BYTES < CLV_TAIL_BYTES && PG_STARTUP_BYTES < CLV_TAIL_BYTES, "the tail holds them");

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

static uint32_t pg_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint16_t pg_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

/* Cuts a string off that a NUL ends. False: no NUL is there, and *out is all there is. */
static bool pg_string(struct clv_slice *in, struct clv_slice *out)
{
	size_t end = clv_slice_find(*in, 0, 0);
	bool whole = end < in->len;

	*out = clv_slice_head(*in, end);
	*in = clv_slice_from(*in, end + 1);
	return whole;
}

static struct clv_fed pg_fed(enum clv_fed_verdict v, size_t used, size_t need)
{
	return (struct clv_fed){.v = v, .used = (uint32_t)used, .need = (uint32_t)need};
}

/* ---- the queue ------------------------------------------------------------------------------------------------- */

static uint8_t *pg_at(struct pg_state *st, uint32_t i)
{
	return st->more ? &st->more[(st->first + i) % PG_QUEUE_MORE] : &st->queue[(st->first + i) % PG_QUEUE_BYTES];
}

/* The first letter; 0 when there is none. */
static uint8_t pg_front(struct pg_state *st)
{
	return st->count ? *pg_at(st, 0) : 0;
}

/* Nothing is known of what is outstanding any more. */
static void pg_lose(struct pg_state *st)
{
	st->first = 0;
	st->count = 1;
	*pg_at(st, 0) = PG_LOST;
	st->failed = st->answering = st->answer_open = st->copying = false;
}

static bool pg_queue_grow(struct pg_state *st)
{
	struct clv_postgresql_names *n = &st->names;
	uint8_t *more = st->more || !n->alloc ? NULL : n->alloc(n->mem, PG_QUEUE_MORE);

	if (!more)
		return false;
	for (uint32_t i = 0; i < st->count; i++)
		more[i] = *pg_at(st, i);
	st->more = more;
	st->first = 0;
	return true;
}

static void pg_push(struct pg_state *st, uint8_t letter)
{
	if (st->count >= (st->more ? PG_QUEUE_MORE : PG_QUEUE_BYTES) && !pg_queue_grow(st))
		pg_lose(st);
	st->count++;
	*pg_at(st, st->count - 1u) = letter;
}

static void pg_pop(struct pg_state *st)
{
	uint8_t letter = pg_front(st);

	st->parsed += letter == 'P';
	st->first = (uint16_t)((st->first + 1u) % (st->more ? PG_QUEUE_MORE : PG_QUEUE_BYTES));
	st->count--;
}

static bool pg_is_request(uint8_t letter)
{
	return letter == 'Q' || letter == 'E' || letter == 'F' || letter == PG_PREPARE || letter == PG_CONNECT;
}

/* The first request that the server would answer now; 0: none before the next Sync, or none that is known. */
static uint8_t pg_next_request(struct pg_state *st)
{
	for (uint32_t i = 0; i < st->count; i++) {
		uint8_t letter = *pg_at(st, i);

		if (pg_is_request(letter))
			return letter;
		if (letter == 'S' || letter == PG_LOST)
			break;
	}
	return 0;
}

/* ---- what the client asks -------------------------------------------------------------------------------------- */

struct pg_what {
	enum clv_postgresql_kind kind;
	uint32_t flags;
	struct clv_slice verb, summary, text;
};

static void pg_put(uint8_t *head, size_t *len, const void *data, size_t n)
{
	if (n)
		memcpy(head + *len, data, n);
	*len += n;
}

/* A request: its message begins at `at`, `raw` are its bytes as far as they are there. */
static void pg_ask(struct pg_state *st, const struct pg_what *w, size_t at, struct clv_slice raw, struct clv_sink *sink)
{
	static const struct clv_slice methods[] = {
		[CLV_POSTGRESQL_QUERY] = CLV_LIT("QUERY"),     [CLV_POSTGRESQL_EXECUTE] = CLV_LIT("EXECUTE"),
		[CLV_POSTGRESQL_PREPARE] = CLV_LIT("PREPARE"), [CLV_POSTGRESQL_CALL] = CLV_LIT("FUNCTION"),
		[CLV_POSTGRESQL_CONNECT] = CLV_LIT("CONNECT"), [CLV_POSTGRESQL_CANCEL] = CLV_LIT("CANCEL"),
	};
	uint8_t head[PG_HEAD_BYTES];
	size_t len = 0;
	struct clv_postgresql_request facts = {
		.database_len = st->database_len,
		.user_len = st->user_len,
		.verb_len = (uint16_t)w->verb.len,
		.summary_len = (uint16_t)w->summary.len,
		.text_len = (uint16_t)w->text.len,
		.kind = (uint8_t)w->kind,
	};

	head[len++] = (uint8_t)w->kind;
	pg_put(head, &len, st->database, st->database_len);
	pg_put(head, &len, st->user, st->user_len);
	pg_put(head, &len, w->summary.data, w->summary.len);
	pg_put(head, &len, w->text.data, w->text.len);
	sink->head(sink, CLV_TO_SERVER,
		   &(struct clv_msg){.role = CLV_REQUEST,
				     .flags = w->flags,
				     .at = (uint32_t)at,
				     .head = clv_slice(head, len),
				     .method = methods[w->kind],
				     .facts = &facts,
				     .facts_size = sizeof(facts),
				     .raw = raw});
}

static void pg_asked(struct clv_sink *sink, size_t end)
{
	sink->end(sink, CLV_TO_SERVER, &(struct clv_end){.at = (uint32_t)end});
}

/* Something about a statement; NULL: about one that nobody knows. */
static struct pg_what pg_about(enum clv_postgresql_kind kind, const struct clv_postgresql_statement *s)
{
	struct pg_what w = {.kind = kind};

	if (!s) {
		w.flags = CLV_MSG_MIDSTREAM;
		return w;
	}
	w.verb = clv_slice(s->data, s->verb_len);
	w.summary = clv_slice(s->data, s->summary_len);
	w.text = clv_slice(s->data + s->summary_len, s->text_len);
	return w;
}

/* A message as far as it is waited for. */
struct pg_message {
	uint8_t type;
	bool whole;            /* all of it is in `body` */
	size_t at, end;        /* its place in the slice; `end` is where it is cut, if it is not whole */
	struct clv_slice body; /* behind the length */
	struct clv_slice raw;
};

static void pg_touch(struct pg_state *st, struct clv_postgresql_statement *s)
{
	clv_postgresql_hold(&st->names, &st->touched, s);
	st->touching = true;
}

static void pg_untouch(struct pg_state *st)
{
	clv_postgresql_hold(&st->names, &st->touched, NULL);
	st->touching = false;
}

static struct clv_sql pg_sql(struct pg_state *st, struct clv_slice text, bool whole, char *out, char *summary)
{
	return clv_sql_read(CLV_SQL_POSTGRESQL, (enum clv_sql_backslash)st->backslash, text, whole, out, summary);
}

/* Statements of SQL's own that take names away. */
static bool pg_forgets(const struct clv_sql *sql)
{
	return clv_slice_eq_nocase(sql->verb, CLV_LIT("DEALLOCATE")) ||
	       clv_slice_eq_nocase(sql->verb, CLV_LIT("DISCARD"));
}

/*
 * A server starts afresh here. On a connection joined late whose server has said nothing yet, nothing else is asked
 * before, as far as anyone knows: evidence decides (exchange.h).
 */
static void pg_fresh(struct pg_state *st)
{
	if (!st->aligned && !st->heard && st->count == 1) {
		st->count = 0;
		st->unproven = true;
	}
	st->aligned = true;
}

static void pg_query(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	char text[CLV_SQL_TEXT_BYTES], summary[CLV_SQL_SUMMARY_BYTES];
	struct clv_slice rest = m->body, statement;
	bool whole = pg_string(&rest, &statement);
	struct clv_sql sql = pg_sql(st, statement, whole, text, summary);
	struct pg_what w = {.kind = CLV_POSTGRESQL_QUERY, .verb = sql.verb, .summary = sql.summary, .text = sql.text};

	if (pg_forgets(&sql))
		clv_postgresql_forget(&st->names, false);
	/* A Query takes the unnamed ones away. */
	clv_postgresql_set(&st->names, false, clv_slice(NULL, 0), 0, NULL);
	clv_postgresql_set(&st->names, true, clv_slice(NULL, 0), 0, NULL);
	pg_untouch(st);
	pg_fresh(st);
	pg_push(st, 'Q');
	pg_ask(st, &w, m->at, m->raw, sink);
}

/* Parse: name NUL statement NUL count(2) types */
static void pg_parse(struct pg_state *st, const struct pg_message *m)
{
	char text[CLV_SQL_TEXT_BYTES], summary[CLV_SQL_SUMMARY_BYTES];
	struct clv_slice rest = m->body, name, statement;
	struct clv_postgresql_statement *s = NULL;

	st->parses++;
	if (pg_string(&rest, &name)) {
		bool whole = pg_string(&rest, &statement);
		struct clv_sql sql = pg_sql(st, statement, whole, text, summary);

		s = clv_postgresql_statement(&st->names, &sql);
		clv_postgresql_set(&st->names, false, name, st->parses, s);
	}
	pg_touch(st, s);
	if (s)
		clv_postgresql_hold(&st->names, &s, NULL);
}

/* Bind: portal NUL statement NUL ... What follows are values. */
static void pg_bind(struct pg_state *st, const struct pg_message *m)
{
	struct clv_slice rest = m->body, portal, name;
	struct clv_postgresql_statement *s = NULL;

	if (pg_string(&rest, &portal)) {
		if (pg_string(&rest, &name))
			s = clv_postgresql_get(&st->names, false, name);
		clv_postgresql_set(&st->names, true, portal, 0, s);
	}
	pg_touch(st, s);
}

/* Describe and Close: 'S' or 'P', name NUL */
static void pg_named(struct pg_state *st, const struct pg_message *m)
{
	struct clv_slice rest = clv_slice_from(m->body, 1), name;
	bool portal = m->body.len && m->body.data[0] == 'P';

	if (!pg_string(&rest, &name))
		return;
	if (m->type == 'D')
		pg_touch(st, clv_postgresql_get(&st->names, portal, name));
	else
		clv_postgresql_set(&st->names, portal, name, 0, NULL);
}

/* Execute: portal NUL rows(4) */
static void pg_execute(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	struct clv_slice rest = m->body, portal;
	const struct clv_postgresql_statement *s =
		pg_string(&rest, &portal) ? clv_postgresql_get(&st->names, true, portal) : NULL;
	struct pg_what w = pg_about(CLV_POSTGRESQL_EXECUTE, s);

	pg_untouch(st);
	pg_push(st, 'E');
	pg_ask(st, &w, m->at, m->raw, sink);
	pg_asked(sink, m->end);
}

/* Sync and Flush: what was prepared and not executed is answered by itself. */
static void pg_sync(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	if (st->touching && st->aligned) {
		struct pg_what w = pg_about(CLV_POSTGRESQL_PREPARE, st->touched);

		w.flags |= CLV_MSG_QUIET;
		pg_push(st, PG_PREPARE);
		pg_ask(st, &w, m->at, m->raw, sink);
		pg_asked(sink, m->end);
	}
	pg_untouch(st);
	if (m->type == 'S' && st->aligned && !st->copying)
		pg_push(st, 'S');
	if (m->type == 'S')
		st->aligned = true;
}

static void pg_call(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	pg_push(st, 'F');
	pg_ask(st, &(struct pg_what){.kind = CLV_POSTGRESQL_CALL}, m->at, m->raw, sink);
}

/* One message of the client's. True: it is a request whose end is that of the message. */
static bool pg_from_client(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	switch (m->type) {
	case 'Q':
		pg_query(st, m, sink);
		return true;
	case 'F':
		pg_fresh(st);
		pg_call(st, m, sink);
		return true;
	case 'P':
		pg_parse(st, m);
		break;
	case 'B':
		pg_bind(st, m);
		break;
	case 'D':
	case 'C':
		pg_named(st, m);
		break;
	case 'E':
		if (st->aligned)
			pg_execute(st, m, sink);
		return false;
	case 'S':
	case 'H':
		pg_sync(st, m, sink);
		return false;
	case 'c':
	case 'f':
		st->copying = false;
		return false;
	default:
		return false;
	}
	if (st->aligned)
		pg_push(st, m->type);
	return false;
}

/* ---- what the server answers ----------------------------------------------------------------------------------- */

static void pg_answer(struct pg_state *st, size_t at, struct clv_slice head, struct clv_sink *sink)
{
	if (st->answering)
		return;
	st->answering = true;
	st->copied_in = false;
	st->rows = 0;
	st->answer = (struct clv_postgresql_answer){0};
	sink->head(sink, CLV_TO_CLIENT,
		   &(struct clv_msg){.role = CLV_RESPONSE,
				     .at = (uint32_t)at,
				     .head = head,
				     .facts = &st->answer,
				     .facts_size = sizeof(st->answer)});
}

static void pg_answered(struct pg_state *st, size_t end, struct clv_sink *sink)
{
	bool failed = st->answer.flags & (CLV_POSTGRESQL_ERROR);

	st->answering = false;
	sink->end(
		sink, CLV_TO_CLIENT,
		&(struct clv_end){
			.at = (uint32_t)end, .facts = &st->answer, .facts_size = sizeof(st->answer), .failed = failed});
}

/* The number at the end of a command's tag; false: there is none. */
static bool pg_tag_rows(struct clv_slice tag, uint64_t *rows)
{
	size_t at = tag.len;
	uint64_t n = 0;

	while (at && (uint8_t)(tag.data[at - 1] - '0') < 10)
		at--;
	if (at == tag.len || !at || tag.data[at - 1] != ' ' || tag.len - at > 18)
		return false;
	for (; at < tag.len; at++)
		n = n * 10 + (uint64_t)(tag.data[at] - '0');
	*rows = n;
	return true;
}

static void pg_complete(struct pg_state *st, struct clv_slice body)
{
	static const struct clv_slice affecting[] = {CLV_LIT("INSERT "), CLV_LIT("UPDATE "), CLV_LIT("DELETE "),
						     CLV_LIT("MERGE ")};
	struct clv_postgresql_answer *a = &st->answer;
	struct clv_slice tag;
	uint64_t rows;

	pg_string(&body, &tag);
	if (!pg_tag_rows(tag, &rows))
		return;
	bool affects = clv_slice_starts(tag, CLV_LIT("COPY ")) && st->copied_in;
	bool returns = clv_slice_starts(tag, CLV_LIT("SELECT ")) || clv_slice_starts(tag, CLV_LIT("FETCH ")) ||
		       (clv_slice_starts(tag, CLV_LIT("COPY ")) && !st->copied_in);
	for (size_t i = 0; i < sizeof(affecting) / sizeof(affecting[0]); i++)
		affects |= clv_slice_starts(tag, affecting[i]);
	if (affects) {
		a->affected += rows;
		a->flags |= CLV_POSTGRESQL_AFFECTED;
	} else if (returns) {
		a->returned += rows;
		a->flags |= CLV_POSTGRESQL_RETURNED;
	}
}

/* ErrorResponse: *( field(1) text NUL ) NUL. True: the server ends the connection. */
static bool pg_error(struct pg_state *st, struct clv_slice body)
{
	bool fatal = false;

	st->answer.flags |= CLV_POSTGRESQL_ERROR;
	while (body.len && body.data[0]) {
		uint8_t field = body.data[0];
		struct clv_slice text;

		body = clv_slice_from(body, 1);
		if (!pg_string(&body, &text))
			break;
		if (field == 'C' && text.len == sizeof(st->answer.code))
			memcpy(st->answer.code, text.data, text.len);
		else if (field == 'V' || field == 'S')
			fatal |= clv_slice_eq(text, CLV_LIT("FATAL")) || clv_slice_eq(text, CLV_LIT("PANIC"));
	}
	return fatal;
}

/* ParameterStatus: name NUL value NUL */
static void pg_parameter(struct pg_state *st, struct clv_slice body, struct clv_sink *sink)
{
	struct clv_slice name, value;

	if (!pg_string(&body, &name) || !pg_string(&body, &value))
		return;
	if (clv_slice_eq(name, CLV_LIT("standard_conforming_strings")))
		st->backslash =
			clv_slice_eq(value, CLV_LIT("on")) ? CLV_SQL_BACKSLASH_PLAIN : CLV_SQL_BACKSLASH_ESCAPES;
	else if (clv_slice_eq(name, CLV_LIT("server_version")) && sink->note)
		sink->note(sink, CLV_NOTE_VERSION, value);
}

/* All that a Parse named and that nobody has confirmed. */
static void pg_undo(struct pg_state *st)
{
	uint32_t most = CLV_POSTGRESQL_NAMES_MAX;

	while (st->parsed != st->parses && most--)
		clv_postgresql_undo(&st->names, ++st->parsed);
	if (st->parsed != st->parses)
		clv_postgresql_forget(&st->names, false);
	st->parsed = st->parses;
}

/* What had been prepared is answered: the request that stands for it is over. */
static void pg_prepared(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	if (pg_front(st) != PG_PREPARE)
		return;
	if (st->answering && !m->whole)
		st->answer_open = true;
	else if (st->answering)
		pg_answered(st, m->end, sink);
	pg_pop(st);
}

/* One letter was answered as it should be. */
static void pg_step(struct pg_state *st, uint8_t letter, const struct pg_message *m, struct clv_sink *sink)
{
	if (pg_front(st) != letter) {
		pg_lose(st);
		return;
	}
	if (pg_next_request(st))
		pg_answer(st, m->at, m->raw, sink);
	pg_pop(st);
	pg_prepared(st, m, sink);
}

/* Execute is over, or one of a Query's statements is. */
static void pg_done(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	uint8_t front = pg_front(st);

	if (front != 'E' && front != 'Q') {
		pg_lose(st);
		return;
	}
	pg_answer(st, m->at, m->raw, sink);
	if (m->type == 'C') {
		pg_complete(st, m->body);
	} else if (m->type == 's') {
		st->answer.returned = st->rows;
		st->answer.flags |= CLV_POSTGRESQL_RETURNED;
	}
	if (front == 'Q')
		return;
	pg_answered(st, m->end, sink);
	pg_pop(st);
}

/* Rows, or what describes them, or another part of an answer that ends later. */
static void pg_part(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	uint8_t front = pg_front(st);

	if (m->type == 'T' && front == 'D') {
		pg_step(st, 'D', m, sink);
	} else if (pg_is_request(front)) {
		pg_answer(st, m->at, m->raw, sink);
		st->rows += m->type == 'D';
		st->copied_in |= m->type == 'G';
		st->copying |= m->type == 'G' && front == 'E';
		/* A server that reads rows ignores the Sync behind the Execute: another one follows them. */
		if (m->type == 'G' && front == 'E' && st->count == 2 && *pg_at(st, 1) == 'S')
			st->count = 1;
	} else {
		pg_lose(st);
	}
}

static void pg_failed(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	uint8_t request = pg_next_request(st), front = pg_front(st);

	if (st->failed || !st->count)
		return; /* the connection's own */
	if (request)
		pg_answer(st, m->at, m->raw, sink);
	bool fatal = pg_error(st, m->body);
	if (request == PG_CONNECT || ((front == 'Q' || front == 'F') && fatal)) {
		pg_answered(st, m->end, sink);
		pg_pop(st);
		return;
	}
	if (front == 'Q' || front == 'F')
		return;
	st->failed = true;
	st->copying = false;
	if (request)
		pg_answered(st, m->end, sink);
	for (uint8_t letter = 0; request && letter != request;) {
		letter = pg_front(st);
		if (letter == 'P')
			clv_postgresql_undo(&st->names, st->parsed + 1);
		pg_pop(st);
	}
}

/* After an error: all up to the Sync was left out. False: there is none. */
static bool pg_left_out(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	st->failed = false;
	while (st->count) {
		uint8_t letter = pg_front(st);

		if (letter == PG_LOST)
			return false;
		if (letter == 'P')
			clv_postgresql_undo(&st->names, st->parsed + 1);
		pg_pop(st);
		if (letter == 'S')
			return true;
		if (!pg_is_request(letter))
			continue;
		pg_answer(st, m->at, m->raw, sink);
		st->answer.flags = CLV_POSTGRESQL_ABORTED;
		pg_answered(st, m->end, sink);
	}
	return false;
}

/* ReadyForQuery. */
static void pg_ready(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	uint8_t front = pg_front(st);

	if (front == PG_LOST || !front) {
		/* What was asked since nobody knows when is over, or its answers cannot be told from others. */
		st->first = st->count = 0;
		st->failed = st->answering = st->copying = false;
		pg_undo(st);
	} else if ((front == 'Q' || front == 'F' || front == PG_CONNECT) && st->answering) {
		pg_answered(st, m->end, sink);
		pg_pop(st);
	} else if (front == 'S' && !st->failed) {
		pg_pop(st);
	} else if (!st->failed || !pg_left_out(st, m, sink)) {
		pg_lose(st);
	}
}

/* May the answer to a Query begin so? Else it is the end of one whose beginning was not heard. */
static bool pg_may_begin(const struct pg_message *m)
{
	if (m->type != 'C')
		return memchr("TEIGHWV", m->type, 7);
	return !clv_slice_starts(m->body, CLV_LIT("SELECT ")) && !clv_slice_starts(m->body, CLV_LIT("FETCH ")) &&
	       !clv_slice_starts(m->body, CLV_LIT("COPY "));
}

/* One message of the server's. */
static void pg_from_server(struct pg_state *st, const struct pg_message *m, struct clv_sink *sink)
{
	st->heard = true;
	if (m->type == 'S')
		pg_parameter(st, m->body, sink);
	if (memchr("SNAKv", m->type, 5)) /* at any time, or nobody's answer */
		return;
	if (st->unproven && !pg_may_begin(m))
		pg_lose(st);
	st->unproven = false;
	if (m->type == 'Z') {
		pg_ready(st, m, sink);
		return;
	}
	uint8_t front = pg_front(st);
	if (front == PG_LOST || st->failed)
		return;
	switch (m->type) {
	case 'R':
		if (front == PG_CONNECT)
			pg_answer(st, m->at, m->raw, sink);
		break;
	case '1':
		pg_step(st, 'P', m, sink);
		break;
	case '2':
		pg_step(st, 'B', m, sink);
		break;
	case '3':
		pg_step(st, 'C', m, sink);
		break;
	case 'n':
		pg_step(st, 'D', m, sink);
		break;
	case 't': /* RowDescription or NoData follows */
		if (front == 'D' && pg_next_request(st))
			pg_answer(st, m->at, m->raw, sink);
		break;
	case 'C':
	case 'I':
	case 's':
		pg_done(st, m, sink);
		break;
	case 'E':
		pg_failed(st, m, sink);
		break;
	default:
		pg_part(st, m, sink);
	}
}

/* ---- messages -------------------------------------------------------------------------------------------------- */

/* How long a message of this type may be, and how much of it is waited for; 0 and 0: there is no such type. */
struct pg_type {
	uint32_t most;  /* of the length */
	uint32_t least; /* likewise */
	uint32_t read;  /* of the body; 0: it is skipped */
};

static struct pg_type pg_type(enum clv_dir dir, uint8_t type)
{
	static const struct pg_type types[2][128] =
		{
			[CLV_TO_SERVER] =
				{
					['Q'] = {PG_LONG_BYTES, 5, PG_TEXT_BYTES},
					['P'] = {PG_LONG_BYTES, 8, PG_TEXT_BYTES},
					['B'] = {PG_LONG_BYTES, 12, PG_NAMES_BYTES},
					['E'] = {PG_SMALL_BYTES, 9, PG_NAMES_BYTES},
					['D'] = {PG_SMALL_BYTES, 6, PG_NAMES_BYTES},
					['C'] = {PG_SMALL_BYTES, 6, PG_NAMES_BYTES},
					['F'] = {PG_LONG_BYTES, 14, 0},
					['S'] = {4, 4, 0},
					['H'] = {4, 4, 0},
					['X'] = {4, 4, 0},
					['c'] = {4, 4, 0},
					['d'] = {PG_LONG_BYTES, 4, 0},
					['f'] = {PG_SMALL_BYTES, 5, 0},
					['p'] = {2 * PG_SMALL_BYTES + 5535, 4, 0},
				},
			[CLV_TO_CLIENT] =
				{
					['R'] = {PG_SMALL_BYTES, 8, 0},
					['K'] = {PG_SMALL_BYTES, 12, 0},
					['S'] = {PG_LONG_BYTES, 6, PG_NAMES_BYTES},
					['v'] = {PG_SMALL_BYTES, 12, 0},
					['Z'] = {5, 5, 1},
					['T'] = {PG_LONG_BYTES, 6, 0},
					['D'] = {PG_LONG_BYTES, 6, 0},
					['C'] = {PG_SMALL_BYTES, 5, PG_TAG_BYTES},
					['I'] = {4, 4, 0},
					['E'] = {PG_SMALL_BYTES, 5, PG_ERROR_BYTES},
					['N'] = {PG_LONG_BYTES, 5, 0},
					['A'] = {PG_LONG_BYTES, 10, 0},
					['1'] = {4, 4, 0},
					['2'] = {4, 4, 0},
					['3'] = {4, 4, 0},
					['n'] = {4, 4, 0},
					['s'] = {4, 4, 0},
					['t'] = {PG_LONG_BYTES, 6, 0},
					['G'] = {PG_LONG_BYTES, 7, 0},
					['H'] = {PG_LONG_BYTES, 7, 0},
					['W'] = {PG_LONG_BYTES, 7, 0},
					['d'] = {PG_LONG_BYTES, 4, 0},
					['c'] = {4, 4, 0},
					['V'] = {PG_LONG_BYTES, 8, 0},
				},
		};
	return type < 128 ? types[dir][type] : (struct pg_type){0};
}

/* Is there a type and a length that goes with it at the start of `in`, as far as that goes? */
static bool pg_header_fits(enum clv_dir dir, struct clv_slice in)
{
	struct pg_type t = pg_type(dir, in.data[0]);

	if (!t.most)
		return false;
	if (in.len < 5) /* the first byte of a length is small */
		return in.len < 2 || in.data[1] <= PG_LONG_BYTES >> 24;
	uint32_t len = pg_u32(in.data + 1);
	return len >= t.least && len <= t.most;
}

static struct clv_fed pg_message(struct pg_state *st, enum clv_dir dir, struct clv_slice in, size_t at,
				 struct clv_sink *sink)
{
	struct clv_slice rest = clv_slice_from(in, at);

	if (!pg_header_fits(dir, rest))
		return pg_fed(CLV_FED_BAD, at, 0);
	if (rest.len < 5)
		return pg_fed(CLV_FED_MORE, at, 5);
	uint32_t len = pg_u32(rest.data + 1), body = len - 4;
	struct pg_type t = pg_type(dir, rest.data[0]);
	uint32_t read = body < t.read ? body : t.read;
	if (rest.len < 5 + read)
		return pg_fed(CLV_FED_MORE, at, 5 + read);
	struct pg_message m = {
		.type = rest.data[0],
		.whole = read == body,
		.at = at,
		.end = at + 5 + read,
		.body = clv_slice_sub(rest, 5, read),
		.raw = clv_slice_head(rest, 5 + read),
	};
	struct clv_fed fed = pg_fed(CLV_FED_OK, m.end, 0);
	fed.skip = body - read;
	if (dir == CLV_TO_CLIENT) {
		pg_from_server(st, &m, sink);
	} else if (pg_from_client(st, &m, sink)) {
		if (m.whole)
			pg_asked(sink, m.end);
		else
			st->request_open = true;
	}
	return fed;
}

static struct clv_fed pg_messages(struct pg_state *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	size_t at = 0;

	while (at < in.len) {
		struct clv_fed fed = pg_message(st, dir, in, at, sink);

		if (fed.v != CLV_FED_OK || fed.skip)
			return fed;
		at = fed.used;
	}
	return pg_fed(CLV_FED_OK, at, 0);
}

/* ---- the first messages ---------------------------------------------------------------------------------------- */

static void pg_copy_name(struct clv_slice from, char *to, uint8_t *len)
{
	/* Half a name is another one. */
	*len = from.len <= PG_NAME_BYTES ? (uint8_t)from.len : 0;
	if (*len)
		memcpy(to, from.data, *len);
}

/* StartupMessage: pairs of name and value. */
static void pg_startup_parameters(struct pg_state *st, struct clv_slice in, struct clv_sink *sink)
{
	struct clv_slice name, value;

	while (in.len && pg_string(&in, &name) && name.len && pg_string(&in, &value)) {
		if (clv_slice_eq(name, CLV_LIT("user")))
			pg_copy_name(value, st->user, &st->user_len);
		else if (clv_slice_eq(name, CLV_LIT("database")))
			pg_copy_name(value, st->database, &st->database_len);
	}
	if (!st->database_len) {
		memcpy(st->database, st->user, st->user_len);
		st->database_len = st->user_len;
	}
	if (st->user_len && sink->note)
		sink->note(sink, CLV_NOTE_USER, clv_slice(st->user, st->user_len));
}

static void pg_opaque_note(struct clv_sink *sink)
{
	if (sink->note)
		sink->note(sink, CLV_NOTE_ALPN, CLV_LIT("postgresql"));
}

static struct clv_fed pg_first(struct pg_state *st, struct clv_slice in, struct clv_sink *sink)
{
	if (in.len && in.data[0] == 0x16) { /* TLS: the answer was yes */
		pg_opaque_note(sink);
		return pg_fed(CLV_FED_OPAQUE, 0, 0);
	}
	if (in.len < 8)
		return pg_fed(CLV_FED_MORE, 0, 8);
	uint32_t len = pg_u32(in.data), code = pg_u32(in.data + 4);
	if (len < 8 || len > PG_STARTUP_BYTES) {
		st->phase[CLV_TO_SERVER] = PG_TYPED;
		return pg_fed(CLV_FED_BAD, 0, 0);
	}
	if (in.len < len)
		return pg_fed(CLV_FED_MORE, 0, len);
	struct clv_slice raw = clv_slice_head(in, 8); /* no key, no name */
	if (code == PG_SSL || code == PG_GSSENC) {
		st->negotiating = true;
		st->phase[CLV_TO_CLIENT] = PG_FIRST;
	} else if (code == PG_CANCEL) {
		pg_ask(st, &(struct pg_what){.kind = CLV_POSTGRESQL_CANCEL, .flags = CLV_MSG_ONEWAY}, 0, raw, sink);
		pg_asked(sink, len);
		st->phase[CLV_TO_SERVER] = PG_TYPED;
	} else if (code >> 16 == PG_VERSION_3 >> 16) {
		pg_startup_parameters(st, clv_slice_sub(in, 8, len - 8), sink);
		st->phase[CLV_TO_SERVER] = st->phase[CLV_TO_CLIENT] = PG_TYPED;
		pg_push(st, PG_CONNECT);
		pg_ask(st, &(struct pg_what){.kind = CLV_POSTGRESQL_CONNECT, .flags = CLV_MSG_QUIET}, 0, raw, sink);
		pg_asked(sink, len);
	} else {
		st->phase[CLV_TO_SERVER] = PG_TYPED;
		return pg_fed(CLV_FED_BAD, len, 0);
	}
	return pg_fed(CLV_FED_OK, len, 0);
}

/* The answer to SSLRequest or GSSENCRequest. */
static struct clv_fed pg_negotiated(struct pg_state *st, struct clv_slice in, struct clv_sink *sink)
{
	if (!in.len)
		return pg_fed(CLV_FED_MORE, 0, 1);
	st->phase[CLV_TO_CLIENT] = PG_TYPED;
	st->negotiating = false;
	if (in.data[0] == 'S' || in.data[0] == 'G') {
		pg_opaque_note(sink);
		return pg_fed(CLV_FED_OPAQUE, 1, 0);
	}
	/* An old server answers with an error, as a message. */
	return in.data[0] == 'E' ? pg_messages(st, CLV_TO_CLIENT, in, sink) : pg_fed(CLV_FED_OK, 1, 0);
}

/* ---- the contract ----------------------------------------------------------------------------------------------- */

static struct clv_fed pg_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct pg_state *st = state;

	if (dir == CLV_TO_SERVER && st->request_open) {
		st->request_open = false;
		pg_asked(sink, 0);
	}
	if (dir == CLV_TO_CLIENT && st->answer_open) {
		st->answer_open = false;
		pg_answered(st, 0, sink);
	}
	if (!in.len)
		return pg_fed(CLV_FED_MORE, 0, 0);
	if (st->phase[dir] == PG_FIRST)
		return dir == CLV_TO_SERVER ? pg_first(st, in, sink) : pg_negotiated(st, in, sink);
	return pg_messages(st, dir, in, sink);
}

static void pg_open(void *state, const struct clv_conn_info *conn)
{
	struct pg_state *st = state;

	st->names.alloc = conn->alloc;
	st->names.free = conn->free;
	st->names.mem = conn->mem;
	if (conn->midstream)
		pg_lose(st);
	else
		st->phase[CLV_TO_SERVER] = PG_FIRST;
	st->aligned = !conn->midstream;
}

static void pg_close(void *state)
{
	struct pg_state *st = state;

	clv_postgresql_hold(&st->names, &st->touched, NULL);
	clv_postgresql_names_fini(&st->names);
	if (st->more)
		st->names.free(st->names.mem, st->more, PG_QUEUE_MORE);
	st->more = NULL;
}

static void pg_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct pg_state *st = state;

	st->phase[dir] = PG_TYPED;
	st->heard = true;
	if (dir == CLV_TO_CLIENT) {
		pg_lose(st);
		return;
	}
	/* What was asked before the gap is still answered; what any name means since then, nobody knows. */
	st->request_open = false;
	st->aligned = false;
	pg_untouch(st);
	clv_postgresql_forget(&st->names, false);
	pg_push(st, PG_LOST);
}

static void pg_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

/* ---- is it this protocol? -------------------------------------------------------------------------------------- */

static bool pg_is_text(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < 0x20 && (s.data[i] < '\t' || s.data[i] > '\r'))
			return false;
	return s.len > 0;
}

/* The first message of a connection. */
static enum clv_match pg_probe_first(struct clv_slice in)
{
	if (in.data[0] || (in.len > 1 && in.data[1]))
		return CLV_MATCH_NO;
	if (in.len < 8)
		return CLV_MATCH_MAYBE;
	uint32_t len = pg_u32(in.data), code = pg_u32(in.data + 4);
	if (code == PG_SSL || code == PG_GSSENC)
		return len == 8 && in.len == 8 ? CLV_MATCH_YES : CLV_MATCH_NO;
	if (code == PG_CANCEL)
		return len >= 16 && len <= 268 ? CLV_MATCH_YES : CLV_MATCH_NO;
	if (code >> 16 != 3 || (code & 0xffff) > 2 || len < 8 + 6 + 2 || len > PG_STARTUP_BYTES || in.len > len)
		return CLV_MATCH_NO;
	struct clv_slice rest = clv_slice_sub(in, 8, len - 8), name, value;
	bool user = false;
	while (rest.len && pg_string(&rest, &name) && name.len) {
		if (!pg_is_text(name))
			return CLV_MATCH_NO;
		user |= clv_slice_eq(name, CLV_LIT("user"));
		if (!pg_string(&rest, &value))
			break;
	}
	if (user)
		return CLV_MATCH_YES;
	return in.len < len ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
}

/* DataRow: count(2) *( length(4) value ), length -1: NULL. */
static bool pg_row_fits(struct clv_slice body)
{
	if (body.len < 2)
		return false;
	uint32_t count = pg_u16(body.data);

	body = clv_slice_from(body, 2);
	for (; count && body.len >= 4; count--) {
		uint32_t len = pg_u32(body.data);

		body = clv_slice_from(body, 4);
		if (len != UINT32_MAX && len > body.len)
			return false;
		body = clv_slice_from(body, len == UINT32_MAX ? 0 : len);
	}
	return !count && !body.len;
}

/* RowDescription: count(2) *( name NUL, 18 bytes ). */
static bool pg_columns_fit(struct clv_slice body)
{
	struct clv_slice name;

	if (body.len < 2)
		return false;
	uint32_t count = pg_u16(body.data);

	body = clv_slice_from(body, 2);
	for (; count && pg_string(&body, &name) && body.len >= 18; count--)
		body = clv_slice_from(body, 18);
	return !count && !body.len;
}

/* What stands in a client's message, as far as it can be checked against its length. `body`: all of it. */
static bool pg_asks_well(uint8_t type, struct clv_slice body)
{
	struct clv_slice a, b;

	switch (type) {
	case 'Q':
		return pg_string(&body, &a) && !body.len && pg_is_text(a);
	case 'P':
		return pg_string(&body, &a) && pg_string(&body, &b) && body.len >= 2 &&
		       body.len == 2 + 4 * (size_t)pg_u16(body.data);
	case 'B':
		return pg_string(&body, &a) && pg_string(&body, &b) && body.len >= 6 &&
		       pg_u16(body.data) <= 1 + (body.len - 6) / 2;
	case 'E':
		return pg_string(&body, &a) && body.len == 4;
	case 'D':
	case 'C':
		a = clv_slice_from(body, 1);
		return (body.data[0] == 'S' || body.data[0] == 'P') && pg_string(&a, &b) && !a.len;
	default:
		return true;
	}
}

/* The same in a server's. */
static bool pg_answers_well(uint8_t type, struct clv_slice body)
{
	struct clv_slice a, b;

	switch (type) {
	case 'Z':
		return memchr("ITE", body.data[0], 3);
	case 'D':
		return pg_row_fits(body);
	case 'T':
		return pg_columns_fit(body);
	case 'C':
		return pg_string(&body, &a) && !body.len && pg_is_text(a) && (uint8_t)(a.data[0] - 'A') < 26;
	case 'S':
		return pg_string(&body, &a) && pg_string(&body, &b) && !body.len && pg_is_text(a);
	case 'E':
	case 'N':
		return body.data[body.len - 1] == 0 && (body.data[0] == 'S' || body.data[0] == 'M');
	default:
		return true;
	}
}

static bool pg_body_fits(enum clv_dir dir, uint8_t type, struct clv_slice body)
{
	if (!body.len) /* its length is right: checked before */
		return true;
	return dir == CLV_TO_SERVER ? pg_asks_well(type, body) : pg_answers_well(type, body);
}

/* Messages one after the other up to the end of a packet, with something in them that can be checked. */
static enum clv_match pg_probe_chain(enum clv_dir dir, struct clv_slice in)
{
	unsigned checked = 0;

	for (size_t at = 0; at < in.len;) {
		struct clv_slice rest = clv_slice_from(in, at);

		if (!pg_header_fits(dir, rest))
			return CLV_MATCH_NO;
		size_t len = rest.len < 5 ? rest.len : 1 + (size_t)pg_u32(rest.data + 1);
		if (rest.len < 5 || rest.len < len)
			break;
		if (!pg_body_fits(dir, rest.data[0], clv_slice_sub(rest, 5, len - 5)))
			return CLV_MATCH_NO;
		checked += strchr(dir == CLV_TO_SERVER ? "QPBESF" : "ZCSETD", rest.data[0]) != NULL;
		at += len;
	}
	if (checked)
		return CLV_MATCH_LIKELY;
	return in.len < 5 ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
}

static enum clv_match pg_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	if (where == CLV_WHERE_DATAGRAM)
		return CLV_MATCH_NO;
	if (!in.len)
		return CLV_MATCH_MAYBE;
	if (where == CLV_WHERE_START)
		return dir == CLV_TO_SERVER ? pg_probe_first(in) : CLV_MATCH_NO;
	if (dir == CLV_TO_SERVER && in.data[0] == 0)
		return pg_probe_first(in);
	return pg_probe_chain(dir, in);
}

/* ---- finding messages ------------------------------------------------------------------------------------------ */

/* A Query at `at`, with all of its statement, or, if `sure`, the beginning of one. MAYBE: more bytes would tell. */
static enum clv_match pg_is_query(struct clv_slice in, size_t at, bool sure)
{
	struct clv_slice rest = clv_slice_from(in, at);

	if (rest.len < 5)
		return CLV_MATCH_MAYBE;
	uint32_t len = pg_u32(rest.data + 1);
	if (len < 6 || len > PG_LONG_BYTES)
		return CLV_MATCH_NO;
	bool whole = rest.len >= 1 + (size_t)len;
	struct clv_slice text = clv_slice_sub(rest, 5, len - 5);
	/* Before the text is read: what is long and has no witness is none, however it goes on. */
	if (!whole && !sure && len > PG_TEXT_BYTES)
		return CLV_MATCH_NO;
	if (text.len && !pg_is_text(text))
		return CLV_MATCH_NO;
	if (whole)
		return rest.data[len] == 0 ? CLV_MATCH_YES : CLV_MATCH_NO;
	if (sure && text.len >= 6)
		return CLV_MATCH_YES;
	return len <= PG_TEXT_BYTES || sure ? CLV_MATCH_MAYBE : CLV_MATCH_NO;
}

/*
 * The server is found again by ReadyForQuery: only it says what is known again. The client by a Sync or a Query, for
 * behind one and at the other a server starts afresh.
 */
static ptrdiff_t pg_find(enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	static const uint8_t ready[] = {'Z', 0, 0, 0, 5}, sync[] = {'S', 0, 0, 0, 4};
	const uint8_t *mark = dir == CLV_TO_CLIENT ? ready : sync;

	for (size_t at = 0; at < in.len; at++) {
		uint8_t c = in.data[at];
		if (c != mark[0] && (c != 'Q' || dir == CLV_TO_CLIENT))
			continue;
		struct clv_slice rest = clv_slice_from(in, at);
		enum clv_match match = CLV_MATCH_NO;
		if (c == 'Q' && dir == CLV_TO_SERVER) {
			match = pg_is_query(in, at, at_packet && at == 0);
		} else if (memcmp(rest.data, mark, rest.len < 5 ? rest.len : 5) == 0) {
			bool end = dir == CLV_TO_SERVER || (rest.len > 5 && memchr("ITE", rest.data[5], 3));
			match = rest.len < (dir == CLV_TO_CLIENT ? 6 : 5) ? CLV_MATCH_MAYBE
				: end                                     ? CLV_MATCH_YES
									  : CLV_MATCH_NO;
		}
		if (match == CLV_MATCH_YES)
			return (ptrdiff_t)at;
		if (match == CLV_MATCH_MAYBE)
			return -1 - (ptrdiff_t)rest.len;
	}
	return -1;
}

static ptrdiff_t pg_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct pg_state *st = state;
	ptrdiff_t found;

	/* A packet that holds nothing but good messages begins with one. */
	if (at_packet && in.len && (dir == CLV_TO_CLIENT || in.data[0] == 'F') &&
	    pg_probe_chain(dir, in) == CLV_MATCH_LIKELY)
		return 0;
	found = pg_find(dir, in, at_packet);
	if (dir == CLV_TO_CLIENT)
		st->heard |= found != 0;
	return found;
}

static const struct clv_framing *pg_framing(const void *state, enum clv_dir dir)
{
	/* All but rows ('D' to the client, 'd') come as a whole. A 'D' to the server is a Describe: all of it, too. */
	static const struct clv_framing rows[2] = {
		[CLV_TO_SERVER] = {.header_bytes = 5,
				   .length_at = 1,
				   .length_bytes = 4,
				   .length_adds = 1,
				   .keep_bytes = 5,
				   .whole = {UINT32_MAX, UINT32_MAX, UINT32_MAX, ~(1u << ('d' - 96)), UINT32_MAX,
					     UINT32_MAX, UINT32_MAX, UINT32_MAX}},
		[CLV_TO_CLIENT] = {.header_bytes = 5,
				   .length_at = 1,
				   .length_bytes = 4,
				   .length_adds = 1,
				   .keep_bytes = 5,
				   .whole = {UINT32_MAX, UINT32_MAX, ~(1u << ('D' - 64)), ~(1u << ('d' - 96)),
					     UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}},
	};
	const struct pg_state *st = state;

	return st->phase[0] == PG_TYPED && st->phase[1] == PG_TYPED ? &rows[dir] : NULL;
}

const struct clv_proto clv_postgresql = {
	.name = "postgresql",
	.ports = {5432, 6432},
	.state_size = sizeof(struct pg_state),
	.probe = pg_probe,
	.open = pg_open,
	.close = pg_close,
	.feed = pg_feed,
	.gap = pg_gap,
	.resync = pg_resync,
	.fin = pg_fin,
	.framing = pg_framing,
	.describe = clv_postgresql_describe,
};
