/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in PostgreSQL's protocol: simple queries of one and several statements, the extended protocol with named and
 * unnamed statements and portals, batches, pipelines, errors that leave out what follows, COPY both ways, function
 * calls, and what a server says unasked. Each statement is about a table of its own number, and its answer has rows or
 * an SQLSTATE of that number, so that a wrong pair, and a wrong text, are seen at once.
 */
#include "../talk.h"

#include <stdlib.h>

#include "model/span.h"
#include "proto/postgresql.h"

#define MOST 200

/* What is true of exchange `id` of the talk made last. */
static struct {
	int request; /* the message; -1: none */
	bool aborted, failed, named;
	int64_t returned, affected; /* -1: none */
} truth[MOST];

static int ids;

/* ---- messages -------------------------------------------------------------------------------------------------- */

static struct {
	uint8_t bytes[200000];
	uint32_t len;
} body;

static void b_bytes(const void *data, size_t len)
{
	if (len > sizeof(body.bytes) - body.len)
		abort();
	memcpy(body.bytes + body.len, data, len);
	body.len += (uint32_t)len;
}

static void b_string(const char *text)
{
	b_bytes(text, strlen(text) + 1);
}

static void b_u16(unsigned n)
{
	b_bytes((const uint8_t[]){(uint8_t)(n >> 8), (uint8_t)n}, 2);
}

static void b_u32(uint32_t n)
{
	b_bytes((const uint8_t[]){(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n}, 4);
}

static void b_fill(struct talk *t, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		b_bytes((const uint8_t[]){(uint8_t)talk_random(&t->rng)}, 1);
}

/* What was put into the body, as a message. */
static void put(struct talk *t, enum clv_dir dir, char type)
{
	uint32_t len = body.len + 4;
	const uint8_t head[] = {(uint8_t)type, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8),
				(uint8_t)len};

	talk_put(t, dir, head, sizeof(head));
	talk_put(t, dir, body.bytes, body.len);
	body.len = 0;
}

/* ---- the server ------------------------------------------------------------------------------------------------ */

static int answer = -1; /* the message that is being written */

/* One that is skipped counts as the body of the answer around it. */
static void say(struct talk *t, char type)
{
	static const char read[] = "SCEZ";

	if (answer >= 0 && !strchr(read, type))
		t->message[answer].body_bytes += body.len;
	put(t, CLV_TO_CLIENT, type);
}

static void unasked(struct talk *t)
{
	if (!talk_chance(&t->rng, 4))
		return;
	switch (talk_below(&t->rng, 3)) {
	case 0:
		b_string("SNOTICE");
		b_string("C00000");
		b_bytes("", 1);
		say(t, 'N');
		break;
	case 1:
		b_u32(77);
		b_string("channel");
		b_string("payload");
		say(t, 'A');
		break;
	default:
		b_string("TimeZone");
		b_string("UTC");
		say(t, 'S');
	}
}

static void begin(struct talk *t, int id)
{
	if (answer < 0 && truth[id].request >= 0)
		answer = talk_begin(t, CLV_TO_CLIENT, CLV_RESPONSE, id, truth[id].request);
	if (answer >= 0)
		t->message[answer].decoded = true;
}

static void end(struct talk *t)
{
	if (answer >= 0) {
		talk_head_ends(t, answer);
		talk_ends(t, answer);
	}
	answer = -1;
}

static void ready(struct talk *t)
{
	b_bytes(&"ITE"[talk_below(&t->rng, 3)], 1);
	say(t, 'Z');
}

static void row_description(struct talk *t)
{
	b_u16(1);
	b_string("column");
	b_fill(t, 18);
	say(t, 'T');
}

static void rows(struct talk *t, char type, uint32_t count)
{
	while (count--) {
		uint32_t len = talk_below(&t->rng, talk_chance(&t->rng, 3) ? 20000 : 300);

		if (type == 'D') {
			b_u16(1);
			b_u32(len);
		}
		b_fill(t, len);
		say(t, type);
		unasked(t);
		if (talk_chance(&t->rng, 10))
			talk_flush(t, CLV_TO_CLIENT);
	}
}

static void complete(struct talk *t, int id, const char *command, bool affects)
{
	char tag[64];
	int64_t n = 1000 + id;

	snprintf(tag, sizeof(tag), "%s %d", command, (int)n);
	b_string(tag);
	say(t, 'C');
	int64_t *sum = affects ? &truth[id].affected : &truth[id].returned;
	*sum = *sum < 0 ? n : *sum + n;
}

static void error(struct talk *t, int id)
{
	char code[16];

	truth[id].failed = true;
	snprintf(code, sizeof(code), "C4%04d", id);
	b_string("SERROR");
	b_string("VERROR");
	b_string(code);
	b_string("Msomething with 'a secret' in it");
	b_bytes("", 1);
	say(t, 'E');
}

/* ---- the client ------------------------------------------------------------------------------------------------ */

static const char *statement(struct talk *t, int id, const char *verb)
{
	static char text[64];

	snprintf(text, sizeof(text), "%s table_%d WHERE a = 'secret'", verb, id);
	return text;
}

static void ask(struct talk *t, int id, bool quiet)
{
	truth[id].request = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, id, -1);
	struct talk_message *m = &t->message[truth[id].request];
	m->decoded = true;
	m->quiet = quiet;
}

static void asked(struct talk *t, int id, enum clv_postgresql_kind kind)
{
	struct talk_message *m = &t->message[truth[id].request];

	m->tag = kind;
	talk_head_ends(t, truth[id].request);
	talk_ends(t, truth[id].request);
}

static int new_id(void)
{
	truth[ids].request = -1;
	truth[ids].returned = truth[ids].affected = -1;
	truth[ids].aborted = truth[ids].failed = truth[ids].named = false;
	return ids++;
}

static int query(struct talk *t, const char *verb)
{
	int id = new_id();
	bool is_long = talk_chance(&t->rng, 3);

	ask(t, id, false);
	b_string(statement(t, id, verb));
	if (is_long) { /* longer than what is read of it */
		body.len--;
		for (int i = 0; i < 20000; i++)
			b_bytes(" ", 1);
		b_bytes("", 1);
		t->message[truth[id].request].body_bytes = body.len - 16384;
	}
	put(t, CLV_TO_SERVER, 'Q');
	asked(t, id, CLV_POSTGRESQL_QUERY);
	return id;
}

static void parse(struct talk *t, int id, const char *name)
{
	b_string(name);
	b_string(statement(t, id, "SELECT * FROM"));
	b_u16(1);
	b_u32(23);
	put(t, CLV_TO_SERVER, 'P');
}

static void bind(struct talk *t, const char *portal, const char *name)
{
	b_string(portal);
	b_string(name);
	b_u16(0);
	b_u16(1);
	b_u32(6);
	b_bytes("secret", 6);
	b_u16(0);
	put(t, CLV_TO_SERVER, 'B');
}

static void named(struct talk *t, char type, char what, const char *name)
{
	b_bytes(&what, 1);
	b_string(name);
	put(t, CLV_TO_SERVER, type);
}

static void execute(struct talk *t, int id, const char *portal, uint32_t most)
{
	ask(t, id, false);
	b_string(portal);
	b_u32(most);
	put(t, CLV_TO_SERVER, 'E');
	asked(t, id, CLV_POSTGRESQL_EXECUTE);
}

/* ---- exchanges ------------------------------------------------------------------------------------------------- */

/* What the server has to say to a segment, in the order that it was asked. */
struct turn {
	enum {
		TURN_QUERY,
		TURN_INSERT,
		TURN_SEVERAL,
		TURN_ERROR,
		TURN_EMPTY,
		TURN_COPY_OUT,
		TURN_CALL,
		TURN_UNNAMED,  /* Parse Bind Describe Execute Sync */
		TURN_BATCH,    /* the same several times, one Sync */
		TURN_PREPARED, /* Bind Execute Sync */
		TURN_PREPARE,  /* Parse Describe Sync */
		TURN_BAD,      /* the same, and it fails */
		TURN_COUNT,
	} kind;
	int id, count, bad; /* of a batch: the one that fails */
};

/* Names that may be used, and by which exchange; it is the only one to execute it. */
static int prepared[4];

static void turn_ask(struct talk *t, struct turn *u)
{
	char name[16];

	switch (u->kind) {
	case TURN_QUERY:
	case TURN_ERROR:
	case TURN_EMPTY:
	case TURN_SEVERAL:
	case TURN_COPY_OUT:
		u->id = query(t, "SELECT * FROM");
		break;
	case TURN_INSERT:
		u->id = query(t, "INSERT INTO");
		break;
	case TURN_CALL:
		u->id = new_id();
		ask(t, u->id, false);
		t->message[truth[u->id].request].body_bytes = 10;
		b_fill(t, 10);
		put(t, CLV_TO_SERVER, 'F');
		asked(t, u->id, CLV_POSTGRESQL_CALL);
		break;
	case TURN_UNNAMED:
	case TURN_BATCH:
		u->count = u->kind == TURN_BATCH ? 2 + (int)talk_below(&t->rng, 4) : 1;
		u->bad = talk_chance(&t->rng, 20) ? (int)talk_below(&t->rng, (uint32_t)u->count) : -1;
		u->id = ids;
		for (int i = 0; i < u->count; i++) {
			int id = new_id();
			parse(t, id, "");
			bind(t, "", "");
			named(t, 'D', 'P', "");
			execute(t, id, "", 0);
		}
		put(t, CLV_TO_SERVER, 'S');
		break;
	case TURN_PREPARED: {
		int slot = (int)talk_below(&t->rng, 4);
		u->id = prepared[slot];
		prepared[slot] = -1;
		if (u->id < 0) {
			u->kind = TURN_QUERY;
			turn_ask(t, u);
			return;
		}
		snprintf(name, sizeof(name), "S_%d", slot);
		u->bad = talk_chance(&t->rng, 15) ? 0 : -1;
		bind(t, "portal", name);
		execute(t, u->id, "portal", 3);
		named(t, 'C', 'S', name);
		put(t, CLV_TO_SERVER, 'S');
		break;
	}
	default: {
		int slot = (int)talk_below(&t->rng, 4);
		bool bad = u->kind == TURN_BAD;
		u->id = new_id();
		snprintf(name, sizeof(name), bad ? "bad" : "S_%d", slot);
		if (!bad && prepared[slot] >= 0)
			named(t, 'C', 'S', name);
		u->count = !bad && prepared[slot] >= 0; /* of Close */
		if (!bad)
			prepared[slot] = u->id;
		parse(t, u->id, name);
		named(t, 'D', 'S', name);
		ask(t, u->id, !bad);
		put(t, CLV_TO_SERVER, 'S');
		asked(t, u->id, CLV_POSTGRESQL_PREPARE);
	}
	}
}

static void answer_batch(struct talk *t, const struct turn *u)
{
	for (int i = 0; i < u->count; i++) {
		int id = u->id + i;
		unasked(t);
		if (i == u->bad) {
			begin(t, id);
			if (talk_chance(&t->rng, 50)) {
				say(t, '1');
				say(t, '2');
			}
			error(t, id);
			end(t);
			break;
		}
		begin(t, id);
		say(t, '1');
		say(t, '2');
		row_description(t);
		rows(t, 'D', talk_below(&t->rng, 4));
		complete(t, id, "SELECT", false);
		end(t);
	}
	/* All that ReadyForQuery tells of them. */
	for (int i = u->bad + 1; u->bad >= 0 && i < u->count; i++) {
		begin(t, u->id + i);
		truth[u->id + i].aborted = true;
		t->message[answer].end = t->len[CLV_TO_CLIENT] + 6;
		answer = -1;
	}
	ready(t);
}

static void answer_prepared(struct talk *t, const struct turn *u)
{
	uint32_t n = talk_below(&t->rng, 4);

	begin(t, u->id);
	if (u->bad >= 0) {
		error(t, u->id);
		end(t);
		ready(t);
		return;
	}
	say(t, '2');
	rows(t, 'D', n);
	if (talk_chance(&t->rng, 50)) {
		truth[u->id].returned = n;
		say(t, 's');
	} else {
		complete(t, u->id, "SELECT", false);
	}
	end(t);
	say(t, '3');
	ready(t);
}

static void answer_prepare(struct talk *t, const struct turn *u)
{
	begin(t, u->id);
	for (int i = 0; i < u->count; i++)
		say(t, '3');
	if (u->kind == TURN_BAD) {
		error(t, u->id);
		end(t);
		ready(t);
		return;
	}
	say(t, '1');
	b_u16(1);
	b_u32(23);
	say(t, 't');
	row_description(t);
	end(t);
	ready(t);
}

static void turn_answer(struct talk *t, const struct turn *u)
{
	unasked(t);
	switch (u->kind) {
	case TURN_UNNAMED:
	case TURN_BATCH:
		answer_batch(t, u);
		return;
	case TURN_PREPARED:
		answer_prepared(t, u);
		return;
	case TURN_PREPARE:
	case TURN_BAD:
		answer_prepare(t, u);
		return;
	default:
		break;
	}
	begin(t, u->id);
	switch (u->kind) {
	case TURN_INSERT:
		complete(t, u->id, "INSERT 0", true);
		break;
	case TURN_ERROR:
		error(t, u->id);
		break;
	case TURN_EMPTY:
		say(t, 'I');
		break;
	case TURN_COPY_OUT:
		b_bytes("\0\0\1", 3);
		b_u16(0);
		say(t, 'H');
		rows(t, 'd', talk_below(&t->rng, 6));
		say(t, 'c');
		complete(t, u->id, "COPY", false);
		break;
	case TURN_CALL:
		b_u32(0);
		say(t, 'V');
		break;
	case TURN_SEVERAL:
		complete(t, u->id, "UPDATE", true);
		/* fall through */
	default:
		row_description(t);
		rows(t, 'D', talk_below(&t->rng, 5));
		complete(t, u->id, "SELECT", false);
	}
	ready(t);
	end(t);
}

static void copy_in(struct talk *t)
{
	int id = query(t, "COPY");

	talk_flush(t, CLV_TO_SERVER);
	begin(t, id);
	b_bytes("\0\0\1", 3);
	b_u16(0);
	say(t, 'G');
	talk_flush(t, CLV_TO_CLIENT);
	for (uint32_t i = talk_below(&t->rng, 6); i; i--) {
		b_fill(t, talk_below(&t->rng, 9000));
		put(t, CLV_TO_SERVER, 'd');
		talk_flush(t, CLV_TO_SERVER);
	}
	put(t, CLV_TO_SERVER, 'c');
	talk_flush(t, CLV_TO_SERVER);
	complete(t, id, "COPY", true);
	ready(t);
	end(t);
	talk_flush(t, CLV_TO_CLIENT);
}

static void startup(struct talk *t)
{
	int id = new_id();
	static const uint8_t ssl[] = {0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f};

	if (talk_chance(&t->rng, 30)) {
		talk_put(t, CLV_TO_SERVER, ssl, sizeof(ssl));
		talk_flush(t, CLV_TO_SERVER);
		talk_put(t, CLV_TO_CLIENT, "N", 1);
		talk_flush(t, CLV_TO_CLIENT);
	}
	ask(t, id, true);
	b_u32(talk_chance(&t->rng, 50) ? 0x30000 : 0x30002);
	b_string("user");
	b_string("joe");
	b_string("database");
	b_string("shop");
	b_bytes("", 1);
	uint32_t len = body.len + 4;
	talk_put(t, CLV_TO_SERVER, (const uint8_t[]){0, 0, (uint8_t)(len >> 8), (uint8_t)len}, 4);
	talk_put(t, CLV_TO_SERVER, body.bytes, body.len);
	body.len = 0;
	asked(t, id, CLV_POSTGRESQL_CONNECT);
	talk_flush(t, CLV_TO_SERVER);
	begin(t, id);
	b_u32(10);
	b_string("SCRAM-SHA-256");
	b_bytes("", 1);
	say(t, 'R');
	talk_flush(t, CLV_TO_CLIENT);
	b_string("secret");
	put(t, CLV_TO_SERVER, 'p');
	talk_flush(t, CLV_TO_SERVER);
	b_u32(0);
	say(t, 'R');
	b_string("standard_conforming_strings");
	b_string("on");
	say(t, 'S');
	b_u32(1234);
	b_u32(5678);
	say(t, 'K');
	ready(t);
	end(t);
	talk_flush(t, CLV_TO_CLIENT);
}

static void pg_make(struct talk *t)
{
	ids = 0;
	answer = -1;
	body.len = 0;
	for (int i = 0; i < 4; i++)
		prepared[i] = -1;
	startup(t);
	for (uint32_t n = 3 + talk_below(&t->rng, 20); n; n--) {
		struct turn u[4];
		int count = talk_chance(&t->rng, 10) ? 2 + (int)talk_below(&t->rng, 3) : 1;

		if (t->messages > TALK_MESSAGES - 64 || ids > MOST - 40 || t->len[1] > TALK_BYTES / 2)
			break;
		if (talk_chance(&t->rng, 5)) {
			copy_in(t);
			continue;
		}
		for (int i = 0; i < count; i++) {
			u[i] = (struct turn){.kind = talk_below(&t->rng, TURN_COUNT), .bad = -1};
			turn_ask(t, &u[i]);
			/* Simple queries that do not wait for each other: whoever joins between two of them cannot
			 * know. */
			if (u[i].kind >= TURN_UNNAMED && talk_chance(&t->rng, 10))
				talk_flush(t, CLV_TO_SERVER);
		}
		talk_flush(t, CLV_TO_SERVER);
		for (int i = 0; i < count; i++) {
			turn_answer(t, &u[i]);
			if (talk_chance(&t->rng, 50))
				talk_flush(t, CLV_TO_CLIENT);
		}
		talk_flush(t, CLV_TO_CLIENT);
	}
	put(t, CLV_TO_SERVER, 'X');
	talk_flush(t, CLV_TO_SERVER);
	t->fin[0] = t->fin[1] = true;
}

/* ---- the truth ------------------------------------------------------------------------------------------------- */

static uint64_t pg_tag(const struct clv_msg *msg)
{
	const struct clv_postgresql_request *f = msg->facts;

	return msg->role == CLV_REQUEST ? f->kind : 0;
}

static int64_t said(const struct clv_span *span, enum clv_attr_key key)
{
	const struct clv_attr *a = clv_span_get(span, key);

	return a ? a->i : -1;
}

static int number(struct clv_slice s)
{
	int n = 0;

	for (size_t i = 0; i < s.len && s.data[i] >= '0' && s.data[i] <= '9'; i++)
		n = n * 10 + (s.data[i] - '0');
	return n;
}

/* The exchange that the answer says it is; -1: it does not. */
static int by_answer(const struct clv_span *span)
{
	int64_t rows = said(span, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS);

	if (span->result.len == 5)
		return number(clv_slice_from(span->result, 1));
	if (rows < 1000)
		rows = said(span, CLV_ATTR_CLOVISOR_DB_ROWS_AFFECTED);
	return rows >= 1000 ? (int)rows - 1000 : -1;
}

static bool answer_is_true(const struct clv_span *span, int id)
{
	if (!span->first_ns)
		return !span->result.len;
	if (!span->result.len) /* its end was not seen */
		return span->flags & (CLV_SPAN_GAP | CLV_SPAN_TRUNCATED);
	if (truth[id].failed)
		return by_answer(span) == id && span->result.len == 5;
	if (truth[id].aborted)
		return clv_slice_eq(span->result, CLV_LIT("aborted"));
	if (span->flags & CLV_SPAN_GAP)
		return true;
	return clv_slice_eq(span->result, CLV_LIT("OK")) &&
	       said(span, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS) == truth[id].returned &&
	       said(span, CLV_ATTR_CLOVISOR_DB_ROWS_AFFECTED) == truth[id].affected;
}

static int pg_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	const struct clv_attr *text = clv_span_get(span, CLV_ATTR_DB_QUERY_TEXT);
	const uint8_t *at = text ? memmem(text->s.data, text->s.len, "table_", 6) : NULL;
	int id = -1;

	if (clv_slice_eq(span->method, CLV_LIT("CONNECT")))
		return TALK_UNTOLD;
	if (text && (!at || memmem(text->s.data, text->s.len, "secret", 6)))
		return -1;
	if (at)
		id = number(clv_slice_from(text->s, (size_t)(at + 6 - text->s.data)));
	else if (by_answer(span) >= 0)
		id = by_answer(span);
	else /* of what nobody heard being prepared, or a function's call */
		return TALK_UNTOLD;
	if (id >= ids || truth[id].request < 0)
		return -1;
	*ok = answer_is_true(span, id);
	return truth[id].request;
}

const struct talk_sample talk_postgresql = {
	.proto = "postgresql",
	.port = 5432,
	.offers_late = true,
	.make = pg_make,
	.tag = pg_tag,
	.check = pg_check,
};
