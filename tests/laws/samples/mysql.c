/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in MySQL's and MariaDB's protocol: greeting and login of both, then commands of every kind with answers of
 * every form. An exchange's number is in its statement ("t000017"), its affected rows, its error or its count of rows;
 * commands that carry no name occur once in a talk. What database the connection is in at each request is known here.
 */
#include "../talk.h"

#include "model/span.h"
#include "proto/mysql.h"

enum mysql_kind {
	KIND_OK,       /* no rows; a statement long enough for a body, now and then */
	KIND_ROWS,     /* a result set */
	KIND_MANY,     /* more rows than there are sequence numbers */
	KIND_ERROR,    /* at once, or behind some rows */
	KIND_MULTI,    /* several results */
	KIND_FILE,     /* LOCAL INFILE */
	KIND_PREPARED, /* prepare; run; fetch, reset, close */
	KIND_RUN,      /* of one that was prepared before */
	KIND_DIRECT,   /* prepare and run in one write */
	KIND_PIPELINE, /* several queries in one write */
	KIND_MOVE,     /* another database */
	KIND_FIELDS,
	KIND_PROGRESS, /* MariaDB tells how far it is */
	KIND_ONCE,     /* those without a name */
	KIND_COUNT,
};

enum { MYSQL_PREPARED_MAX = 32, ROW_BYTES = 12000 };

#define CAPS       0x000ff78du /* of MySQL 5.7, without SSL, compression, and what is drawn */
#define CAP_NO_EOF 0x01000000u
#define CAP_ATTR   0x08000000u
#define CAP_META   0x02000000u
#define CAP_SSL    0x00000800u
#define CAP_ZIP    0x00000020u
#define MORE       0x0008
#define CURSOR     0x0040
#define AUTOCOMMIT 0x0002
#define STATE      0x4000

/* Of the talk that is being made, and then of its spans. */
static struct {
	bool mariadb, no_eof, attributes, metadata;
	int db, next_id, made;
	int prepared[MYSQL_PREPARED_MAX], kept; /* exchange numbers of statements that are not closed */
	uint8_t once[8];
	/* By message. */
	int in_db[TALK_MESSAGES];
	int64_t rows[TALK_MESSAGES], affected[TALK_MESSAGES], error[TALK_MESSAGES]; /* -1: not said */
	uint8_t command[TALK_MESSAGES];
} now;

/* A payload being written. */
static struct {
	uint8_t data[65536];
	uint32_t len;
} pay;

static uint64_t hash(const void *data, size_t len, uint64_t seed)
{
	uint64_t h = seed + len;

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
	return h;
}

/* The number behind the first "t" and six digits, or behind "db"; -1: there is none. */
static int number_in(struct clv_slice s, const char *prefix)
{
	size_t skip = strlen(prefix);
	const uint8_t *p = s.len ? memmem(s.data, s.len, prefix, skip) : NULL, *end = s.len ? s.data + s.len : NULL;
	int n = 0, digits = 0;

	while (p && !(p + skip + 6 <= end && p[skip] >= '0' && p[skip] <= '9'))
		p = p + 1 < end ? memmem(p + 1, (size_t)(end - p - 1), prefix, skip) : NULL;
	for (p = p ? p + skip : end; p < end && *p >= '0' && *p <= '9' && digits < 6; p++, digits++)
		n = n * 10 + *p - '0';
	return digits == 6 ? n : -1;
}

static uint64_t request_tag(uint8_t command, int id)
{
	return command * 10000019ull + (uint64_t)id;
}

/* What is known of an EXECUTE depends on what was seen before: its statement's number is always there. */
static uint64_t mysql_tag(const struct clv_msg *msg)
{
	const struct clv_mysql_request *q = msg->facts;

	if (msg->role == CLV_RESPONSE)
		return hash(msg->head.data, msg->head.len, 0);
	struct clv_slice text = clv_slice_from(msg->head, (size_t)q->db_len + q->user_len);
	int id = number_in(text, "t");
	if (q->statement && q->statement != UINT32_MAX) {
		if (id >= 0 && id != (int)q->statement - 1)
			return 0; /* another's text */
		id = (int)q->statement - 1;
	}
	if (q->command == CLV_MYSQL_INIT_DB)
		id = number_in(text, "db");
	return request_tag(q->command, id);
}

/* ---- packets --------------------------------------------------------------------------------------------------- */

static void add(const void *data, size_t len)
{
	memcpy(pay.data + pay.len, data, len);
	pay.len += (uint32_t)len;
}

static void add_number(uint64_t v, unsigned bytes)
{
	for (; bytes--; v >>= 8)
		pay.data[pay.len++] = (uint8_t)v;
}

static void add_lenenc(uint64_t v)
{
	if (v < 0xfb) {
		add_number(v, 1);
	} else {
		add_number(0xfc, 1);
		add_number(v, 2);
	}
}

static void add_string(const char *s)
{
	add_lenenc(strlen(s));
	add(s, strlen(s));
}

static void add_noise(struct talk *t, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		pay.data[pay.len++] = (uint8_t)talk_below(&t->rng, 256);
}

static void put(struct talk *t, enum clv_dir dir, uint8_t *seq)
{
	const uint8_t header[] = {(uint8_t)pay.len, (uint8_t)(pay.len >> 8), (uint8_t)(pay.len >> 16), (*seq)++};

	talk_put(t, dir, header, sizeof(header));
	talk_put(t, dir, pay.data, pay.len);
	pay.len = 0;
}

/* ---- requests -------------------------------------------------------------------------------------------------- */

/* The payload is a request: reports it. `kept`: as many bytes of it are the parser's, the rest is body. */
static int ask_from(struct talk *t, uint8_t command, int id, uint32_t kept, uint8_t seq)
{
	int m = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, id, -1);

	t->message[m].decoded = true;
	t->message[m].tag = request_tag(command, id);
	t->message[m].body_bytes = pay.len > kept ? pay.len - kept : 0;
	now.in_db[m] = now.db;
	now.command[m] = command;
	now.rows[m] = now.affected[m] = now.error[m] = -1;
	put(t, CLV_TO_SERVER, &seq);
	talk_head_ends(t, m);
	talk_ends(t, m);
	return m;
}

static int ask(struct talk *t, uint8_t command, int id, uint32_t kept)
{
	return ask_from(t, command, id, kept, 0);
}

static void add_statement(struct talk *t, int id, bool long_one)
{
	static const char *const verbs[] = {"SELECT a FROM t%06d WHERE b = 'c''d'", "UPDATE t%06d SET a = 1, b = \"x\"",
					    " \n/* why */ insert into t%06d values (1, 'two', 3.0)",
					    "select * from t%06d where a in (1,2,3) -- so"};
	char text[128];

	snprintf(text, sizeof(text), verbs[talk_below(&t->rng, 4)], id);
	add(text, strlen(text));
	for (unsigned n = long_one ? talk_below(&t->rng, 12000) : 0; n; n--)
		add("x", 1);
}

static int ask_query(struct talk *t, int id)
{
	add_number(CLV_MYSQL_QUERY, 1);
	if (now.attributes && talk_chance(&t->rng, 70)) {
		add_number(0, 1);
		add_number(1, 1);
	} else if (now.attributes) { /* a LONG, a string and a NULL */
		add_number(3, 1);
		add_number(1, 1);
		add_number(4, 1);
		add_number(1, 1);
		add_number(3, 2);
		add_string("n");
		add_number(254, 2);
		add_string("name");
		add_number(6, 2);
		add_string("");
		add_number((uint64_t)id, 4);
		add_string("t999999 is no table");
	}
	add_statement(t, id, talk_chance(&t->rng, 8));
	return ask(t, CLV_MYSQL_QUERY, id, 8192);
}

/* Statement ids are the number of the exchange that prepared them, and one, so that none is 0. */
static int ask_execute(struct talk *t, int id, bool cursor)
{
	add_number(CLV_MYSQL_EXECUTE, 1);
	add_number((uint64_t)id + 1, 4);
	add_number(cursor, 1);
	add_number(1, 4);
	add_noise(t, talk_below(&t->rng, talk_chance(&t->rng, 5) ? 20000 : 60));
	return ask(t, CLV_MYSQL_EXECUTE, id, 10);
}

static void say_of(struct talk *t, uint8_t command, int id)
{
	uint8_t seq = 0;

	add_number(command, 1);
	add_number((uint64_t)id + 1, 4);
	if (command == CLV_MYSQL_LONG_DATA) {
		add_number(0, 2);
		add_noise(t, talk_below(&t->rng, 3000));
	}
	put(t, CLV_TO_SERVER, &seq);
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

struct answer {
	int message, request;
	uint8_t seq;
	bool first; /* the next packet is the head */
};

static void put_answer(struct talk *t, struct answer *a)
{
	struct talk_message *m = &t->message[a->message];
	uint32_t len = pay.len;

	if (!a->first)
		m->body_bytes += 4 + len;
	put(t, CLV_TO_CLIENT, &a->seq);
	if (!a->first)
		return;
	a->first = false;
	m->head_len = 4 + (len < 1024 ? len : 1024);
	m->body_bytes = 4 + len - m->head_len;
	m->tag = hash(t->bytes[CLV_TO_CLIENT] + m->start, m->head_len, 0);
}

static struct answer answer(struct talk *t, int request)
{
	int m = talk_begin(t, CLV_TO_CLIENT, CLV_RESPONSE, t->message[request].id, request);

	return (struct answer){.message = m, .request = request, .seq = 1, .first = true};
}

static void answered(struct talk *t, struct answer *a)
{
	talk_ends(t, a->message);
	if (talk_chance(&t->rng, 90))
		talk_flush(t, CLV_TO_CLIENT);
}

/* `header`: 0, or 0xfe where it stands for an EOF. */
static void put_ok(struct talk *t, struct answer *a, uint8_t header, uint64_t affected, uint16_t status)
{
	add_number(header, 1);
	add_lenenc(affected);
	add_lenenc(talk_chance(&t->rng, 20) ? 4711 : 0);
	add_number(status | AUTOCOMMIT, 2);
	add_number(0, 2);
	if (!header && talk_chance(&t->rng, 20))
		add_string("Rows matched: 1  Changed: 1  Warnings: 0");
	put_answer(t, a);
	if (!header)
		now.affected[a->request] =
			(now.affected[a->request] > 0 ? now.affected[a->request] : 0) + (int64_t)affected;
}

static void put_error(struct talk *t, struct answer *a, int code)
{
	add_number(0xff, 1);
	add_number((uint64_t)code, 2);
	add("#42S02Table 'x' doesn't exist", 29);
	put_answer(t, a);
	now.error[a->request] = code;
}

static void put_eof(struct talk *t, struct answer *a, uint16_t status)
{
	add_number(0xfe, 1);
	add_number(0, 2);
	add_number(status | AUTOCOMMIT, 2);
	put_answer(t, a);
}

static void put_definitions(struct talk *t, struct answer *a, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		add_string("def");
		add_string("shop");
		add_string("t");
		add_string("t");
		add_string(i % 2 ? "name" : "number");
		add_string("n");
		add_number(12, 1);
		add_noise(t, 12);
		put_answer(t, a);
	}
}

static void put_columns(struct talk *t, struct answer *a, unsigned columns)
{
	bool defined = !now.metadata || talk_chance(&t->rng, 60);

	add_lenenc(columns);
	if (now.metadata)
		add_number(defined, 1);
	put_answer(t, a);
	if (defined)
		put_definitions(t, a, columns);
}

static void put_row(struct talk *t, struct answer *a, bool binary)
{
	uint32_t len = talk_chance(&t->rng, 4) ? talk_below(&t->rng, 3000) : 1 + talk_below(&t->rng, 30);

	if (binary) {
		add_number(0, 2);
		add_noise(t, len);
	} else if (talk_chance(&t->rng, 5)) {
		add_number(0xfb, 1); /* NULL */
	} else {
		add_lenenc(len);
		add_noise(t, len);
	}
	put_answer(t, a);
}

static void put_rows_end(struct talk *t, struct answer *a, uint16_t status)
{
	if (now.no_eof)
		put_ok(t, a, 0xfe, 0, status);
	else
		put_eof(t, a, status);
}

/* A whole result set. */
static void put_set(struct talk *t, struct answer *a, unsigned rows, bool binary, uint16_t status)
{
	put_columns(t, a, 1 + talk_below(&t->rng, 6));
	if (!now.no_eof)
		put_eof(t, a, status & ~MORE);
	if (now.no_eof && status & CURSOR) {
		put_ok(t, a, 0xfe, 0, status);
		rows = 0;
	} else if (status & CURSOR) {
		t->rng++; /* the EOF behind the columns was the last */
		rows = 0;
	} else {
		for (unsigned i = 0; i < rows; i++)
			put_row(t, a, binary);
		put_rows_end(t, a, status);
	}
	now.rows[a->request] = (now.rows[a->request] > 0 ? now.rows[a->request] : 0) + rows;
}

static unsigned rows_of(int id)
{
	return (unsigned)id % 101;
}

static void answer_set(struct talk *t, int request, int id, bool binary)
{
	struct answer a = answer(t, request);

	put_set(t, &a, rows_of(id), binary, 0);
	answered(t, &a);
}

static void answer_ok(struct talk *t, int request, int id)
{
	struct answer a = answer(t, request);

	put_ok(t, &a, 0, (uint64_t)id * 3 + 1, 0);
	answered(t, &a);
}

static void answer_error(struct talk *t, int request, int id)
{
	struct answer a = answer(t, request);

	if (now.command[request] != CLV_MYSQL_PREPARE && talk_chance(&t->rng, 30)) {
		put_columns(t, &a, 2);
		if (!now.no_eof)
			put_eof(t, &a, 0);
		for (unsigned i = 0; i < rows_of(id); i++)
			put_row(t, &a, false);
		now.rows[request] = rows_of(id);
	}
	put_error(t, &a, 1000 + id);
	answered(t, &a);
}

static void answer_any(struct talk *t, int request, int id)
{
	if (talk_chance(&t->rng, 50))
		answer_set(t, request, id, false);
	else if (talk_chance(&t->rng, 70))
		answer_ok(t, request, id);
	else
		answer_error(t, request, id);
}

static void answer_prepared(struct talk *t, int request, int id)
{
	unsigned columns = talk_below(&t->rng, 4), parameters = talk_below(&t->rng, 4);
	bool defined = !now.metadata || now.mariadb || talk_chance(&t->rng, 60);
	struct answer a = answer(t, request);

	add_number(0, 1);
	add_number((uint64_t)id + 1, 4);
	add_number(columns, 2);
	add_number(parameters, 2);
	add_number(0, 3);
	if (now.metadata && !now.mariadb)
		add_number(defined, 1);
	put_answer(t, &a);
	put_definitions(t, &a, defined ? parameters : 0);
	if (parameters && !now.no_eof && defined)
		put_eof(t, &a, 0);
	put_definitions(t, &a, defined ? columns : 0);
	if (columns && !now.no_eof && defined)
		put_eof(t, &a, 0);
	answered(t, &a);
	talk_flush(t, CLV_TO_CLIENT); /* nobody knows the id before */
}

/* ---- exchanges ------------------------------------------------------------------------------------------------- */

static void exchange_multi(struct talk *t, int id)
{
	int m = ask_query(t, id);

	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	unsigned n = 1 + talk_below(&t->rng, 3);

	for (unsigned i = 0; i < n; i++) {
		if (talk_chance(&t->rng, 60))
			put_set(t, &a, rows_of(id), false, MORE);
		else
			put_ok(t, &a, 0, (uint64_t)id, MORE);
	}
	if (talk_chance(&t->rng, 20))
		put_error(t, &a, 1000 + id);
	else
		put_ok(t, &a, 0, (uint64_t)id * 5, 0);
	answered(t, &a);
}

static void exchange_file(struct talk *t, int id)
{
	uint32_t left = talk_below(&t->rng, talk_chance(&t->rng, 10) ? 60000 : 3000);
	int m = ask_query(t, id);

	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	add_number(0xfb, 1);
	add("/tmp/data.csv", 13);
	put_answer(t, &a);
	talk_flush(t, CLV_TO_CLIENT);
	uint8_t seq = 2;
	while (left) {
		uint32_t n = 1 + talk_below(&t->rng, left < 400 ? left : 400);
		add_noise(t, n);
		put(t, CLV_TO_SERVER, &seq);
		left -= n;
	}
	put(t, CLV_TO_SERVER, &seq);
	talk_flush(t, CLV_TO_SERVER);
	a.seq = seq;
	if (talk_chance(&t->rng, 80))
		put_ok(t, &a, 0, (uint64_t)id * 3, 0);
	else
		put_error(t, &a, 1000 + id);
	answered(t, &a);
}

static int prepare(struct talk *t, int id)
{
	add_number(CLV_MYSQL_PREPARE, 1);
	add_statement(t, id, false);
	return ask(t, CLV_MYSQL_PREPARE, id, 8192);
}

/* A cursor is opened, rows are fetched from it. */
static void run_with_cursor(struct talk *t, int id)
{
	int m = ask_execute(t, id, true);

	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	put_set(t, &a, 0, true, CURSOR);
	answered(t, &a);
	add_number(CLV_MYSQL_FETCH, 1);
	add_number((uint64_t)id + 1, 4);
	add_number(100, 4);
	m = ask(t, CLV_MYSQL_FETCH, id, 9);
	talk_flush(t, CLV_TO_SERVER);
	a = answer(t, m);
	for (unsigned i = 0; i < rows_of(id); i++)
		put_row(t, &a, true);
	now.rows[m] = rows_of(id);
	put_rows_end(t, &a, CURSOR | 0x80);
	answered(t, &a);
}

static void run(struct talk *t, int id)
{
	if (talk_chance(&t->rng, 15))
		say_of(t, CLV_MYSQL_LONG_DATA, id);
	if (talk_chance(&t->rng, 20)) {
		run_with_cursor(t, id);
	} else {
		int m = ask_execute(t, id, false);
		talk_flush(t, CLV_TO_SERVER);
		if (talk_chance(&t->rng, 60))
			answer_set(t, m, id, true);
		else
			answer_ok(t, m, id);
	}
	if (talk_chance(&t->rng, 15)) {
		add_number(CLV_MYSQL_RESET_STATEMENT, 1);
		add_number((uint64_t)id + 1, 4);
		int m = ask(t, CLV_MYSQL_RESET_STATEMENT, id, 5);
		talk_flush(t, CLV_TO_SERVER);
		answer_ok(t, m, id);
		now.affected[m] = -1;
	}
	if (talk_chance(&t->rng, 50))
		say_of(t, CLV_MYSQL_CLOSE_STATEMENT, id);
	if (talk_chance(&t->rng, 50))
		talk_flush(t, CLV_TO_SERVER);
}

static void exchange_prepared(struct talk *t, int id)
{
	int m = prepare(t, id);

	talk_flush(t, CLV_TO_SERVER);
	if (talk_chance(&t->rng, 10)) {
		answer_error(t, m, id);
		return;
	}
	answer_prepared(t, m, id);
	if (talk_chance(&t->rng, 50) && now.kept < MYSQL_PREPARED_MAX)
		now.prepared[now.kept++] = id;
	else
		run(t, id);
}

static void exchange_direct(struct talk *t, int id)
{
	int p = prepare(t, id), m;

	add_number(CLV_MYSQL_EXECUTE, 1);
	add_number(UINT32_MAX, 4);
	add_number(0, 1);
	add_number(1, 4);
	m = ask(t, CLV_MYSQL_EXECUTE, id, 10);
	talk_flush(t, CLV_TO_SERVER);
	answer_prepared(t, p, id);
	answer_set(t, m, id, true);
	say_of(t, CLV_MYSQL_CLOSE_STATEMENT, id);
}

static int exchange_pipeline(struct talk *t, int id)
{
	int count = 2 + (int)talk_below(&t->rng, 5), m[8];

	for (int i = 0; i < count; i++)
		m[i] = ask_query(t, id + i);
	talk_flush(t, CLV_TO_SERVER);
	for (int i = 0; i < count; i++)
		answer_any(t, m[i], id + i);
	talk_flush(t, CLV_TO_CLIENT);
	return count;
}

static void exchange_move(struct talk *t, int id)
{
	bool use = talk_chance(&t->rng, 50), done = talk_chance(&t->rng, 80);
	char text[32];
	int before = now.db;

	snprintf(text, sizeof(text), use ? "%suse `db%06d`" : "%sdb%06d", use && talk_chance(&t->rng, 30) ? " \n" : "",
		 id);
	now.db = id;
	add_number(use ? CLV_MYSQL_QUERY : CLV_MYSQL_INIT_DB, 1);
	if (use && now.attributes) {
		add_number(0, 1);
		add_number(1, 1);
	}
	add(text, strlen(text));
	int m = ask(t, use ? CLV_MYSQL_QUERY : CLV_MYSQL_INIT_DB, use ? -1 : id, 8192);
	t->message[m].id = id;
	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	if (done) {
		put_ok(t, &a, 0, 0, 0);
	} else {
		put_error(t, &a, 1049);
		now.db = before;
	}
	if (!use && done)
		now.affected[m] = -1;
	answered(t, &a);
}

static void exchange_fields(struct talk *t, int id)
{
	char text[32];

	add_number(CLV_MYSQL_FIELD_LIST, 1);
	snprintf(text, sizeof(text), "t%06d", id);
	add(text, strlen(text) + 1);
	int m = ask(t, CLV_MYSQL_FIELD_LIST, id, 2048);
	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	put_definitions(t, &a, talk_below(&t->rng, 5));
	put_rows_end(t, &a, 0);
	answered(t, &a);
}

static void exchange_progress(struct talk *t, int id)
{
	int m = ask_query(t, id);

	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	for (unsigned n = 1 + talk_below(&t->rng, 3); n; n--) {
		add_number(0xff, 1);
		add_number(0xffff, 2);
		add_number(1, 1);
		add_number(1, 1);
		add_number(2, 1);
		add_number(50000, 3);
		add_string("copy to tmp table");
		put_answer(t, &a);
		talk_flush(t, CLV_TO_CLIENT);
	}
	put_ok(t, &a, 0, (uint64_t)id, 0);
	answered(t, &a);
}

static void exchange_once(struct talk *t)
{
	static const uint8_t commands[] = {CLV_MYSQL_PING,       CLV_MYSQL_STATISTICS,   CLV_MYSQL_SET_OPTION,
					   CLV_MYSQL_DEBUG,      CLV_MYSQL_PROCESS_INFO, CLV_MYSQL_RESET_CONNECTION,
					   CLV_MYSQL_CHANGE_USER};
	unsigned i = talk_below(&t->rng, 7);
	uint8_t command = commands[i];

	if (now.once[i]++)
		return;
	add_number(command, 1);
	if (command == CLV_MYSQL_SET_OPTION)
		add_number(0, 2);
	if (command == CLV_MYSQL_RESET_CONNECTION || command == CLV_MYSQL_CHANGE_USER)
		now.kept = 0;
	if (command == CLV_MYSQL_CHANGE_USER) {
		char db[16];
		now.db = now.next_id++;
		snprintf(db, sizeof(db), "db%06d", now.db);
		add("user", 5);
		add_number(20, 1);
		add_noise(t, 20);
		add(db, 9);
		add_number(33, 2);
		add("mysql_native_password", 22);
	}
	int m = ask(t, command, -1, 2048);
	t->message[m].id = 9000 + command;
	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	if (command == CLV_MYSQL_STATISTICS) {
		add("Uptime: 3340  Threads: 7", 24);
		put_answer(t, &a);
	} else if (command == CLV_MYSQL_PROCESS_INFO) {
		put_set(t, &a, 3, false, 0);
	} else if (command == CLV_MYSQL_CHANGE_USER && talk_chance(&t->rng, 50)) {
		add_number(0xfe, 1);
		add("mysql_native_password", 22);
		add_noise(t, 20);
		put_answer(t, &a);
		talk_flush(t, CLV_TO_CLIENT);
		add_noise(t, 20);
		put(t, CLV_TO_SERVER, &a.seq);
		talk_flush(t, CLV_TO_SERVER);
		put_ok(t, &a, 0, 0, 0);
	} else if (!now.no_eof && (command == CLV_MYSQL_SET_OPTION || command == CLV_MYSQL_DEBUG)) {
		put_eof(t, &a, 0);
	} else {
		put_ok(t, &a, 0, 0, 0);
	}
	now.affected[m] = -1;
	answered(t, &a);
}

/* ---- a whole talk ---------------------------------------------------------------------------------------------- */

static uint32_t capabilities(void)
{
	return CAPS | (now.no_eof ? CAP_NO_EOF : 0) | (now.attributes ? CAP_ATTR : 0) |
	       (now.metadata && !now.mariadb ? CAP_META : 0);
}

static void greet(struct talk *t, uint32_t caps)
{
	const char *version = now.mariadb ? "5.5.5-10.11.6-MariaDB-0+deb12u1" : "8.0.36";
	uint8_t seq = 0;

	add_number(10, 1);
	add(version, strlen(version) + 1);
	add_noise(t, 4 + 8);
	add_number(0, 1);
	add_number(caps & 0xffff, 2);
	add_number(33, 1);
	add_number(2, 2);
	add_number(caps >> 16, 2);
	add_number(21, 1);
	add_number(0, 8);
	add_number(0, 2);
	add_noise(t, 12);
	add_number(0, 1);
	add("mysql_native_password", 22);
	put(t, CLV_TO_CLIENT, &seq);
	talk_flush(t, CLV_TO_CLIENT);
}

static void add_login(struct talk *t, uint32_t caps)
{
	add_number(caps, 4);
	add_number(1 << 24, 4);
	add_number(33, 1);
	add_number(0, 19);
	add_number(0, 4);
}

static int login(struct talk *t, uint32_t caps)
{
	char db[16];

	now.db = now.next_id++;
	snprintf(db, sizeof(db), "db%06d", now.db);
	add_login(t, caps);
	add("user", 5);
	add_number(20, 1);
	add_noise(t, 20);
	add(db, 9);
	add("mysql_native_password", 22);
	int m = ask_from(t, CLV_MYSQL_LOGIN, -1, 2048, 1);
	t->message[m].id = 9000 + CLV_MYSQL_LOGIN;
	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	a.seq = 2;
	if (talk_chance(&t->rng, 40)) {
		add_number(0xfe, 1);
		add("caching_sha2_password", 22);
		add_noise(t, 20);
		add_number(0, 1);
		put_answer(t, &a);
		talk_flush(t, CLV_TO_CLIENT);
		add_noise(t, 32);
		put(t, CLV_TO_SERVER, &a.seq);
		talk_flush(t, CLV_TO_SERVER);
		add_number(0x0301, 2);
		put_answer(t, &a);
	}
	put_ok(t, &a, 0, 0, 0);
	now.affected[m] = -1;
	answered(t, &a);
	talk_flush(t, CLV_TO_CLIENT);
	return m;
}

/* From here on both sides say what nobody can read. */
static void go_opaque(struct talk *t)
{
	for (int d = 0; d < 2; d++) {
		t->opaque_at[d] = t->len[d];
		talk_fill(t, (enum clv_dir)d, 200 + talk_below(&t->rng, 3000));
		talk_flush(t, (enum clv_dir)d);
	}
}

static void one(struct talk *t)
{
	enum mysql_kind kind = (enum mysql_kind)talk_below(&t->rng, KIND_COUNT);
	int id = now.next_id++, m;

	switch (kind) {
	case KIND_OK:
	case KIND_ROWS:
	case KIND_ERROR:
		m = ask_query(t, id);
		talk_flush(t, CLV_TO_SERVER);
		if (kind == KIND_OK)
			answer_ok(t, m, id);
		else if (kind == KIND_ROWS)
			answer_set(t, m, id, false);
		else
			answer_error(t, m, id);
		break;
	case KIND_MANY:
		if (!talk_chance(&t->rng, 15))
			break;
		m = ask_query(t, id);
		talk_flush(t, CLV_TO_SERVER);
		struct answer a = answer(t, m);
		put_set(t, &a, 300 + (unsigned)id, false, 0);
		answered(t, &a);
		break;
	case KIND_MULTI:
		exchange_multi(t, id);
		break;
	case KIND_FILE:
		exchange_file(t, id);
		break;
	case KIND_PREPARED:
		exchange_prepared(t, id);
		break;
	case KIND_RUN:
		if (now.kept)
			run(t, now.prepared[--now.kept]);
		break;
	case KIND_DIRECT:
		exchange_direct(t, id);
		break;
	case KIND_PIPELINE:
		if (talk_chance(&t->rng, 30))
			now.next_id += exchange_pipeline(t, id);
		break;
	case KIND_MOVE:
		exchange_move(t, id);
		break;
	case KIND_FIELDS:
		exchange_fields(t, id);
		break;
	case KIND_PROGRESS:
		if (now.mariadb)
			exchange_progress(t, id);
		break;
	default:
		exchange_once(t);
	}
	talk_flush(t, CLV_TO_SERVER);
	talk_flush(t, CLV_TO_CLIENT);
}

/* A replica reads the binary log until somebody closes. */
static void dump(struct talk *t)
{
	add_number(CLV_MYSQL_BINLOG_DUMP, 1);
	add_number(4, 4);
	add_number(0, 2);
	add_number(7, 4);
	add("binlog.000001", 13);
	int m = ask(t, CLV_MYSQL_BINLOG_DUMP, -1, 10);
	t->message[m].id = 9000 + CLV_MYSQL_BINLOG_DUMP;
	talk_flush(t, CLV_TO_SERVER);
	struct answer a = answer(t, m);
	for (unsigned n = 1 + talk_below(&t->rng, 20); n; n--) {
		add_number(0, 1);
		add_noise(t, 19 + talk_below(&t->rng, n == 1 ? 100 : 2000));
		put_answer(t, &a);
		talk_flush(t, CLV_TO_CLIENT);
	}
	talk_ends(t, a.message);
	t->fin[CLV_TO_CLIENT] = true;
}

static void mysql_make(struct talk *t)
{
	memset(&now, 0, sizeof(now));
	pay.len = 0;
	now.mariadb = talk_chance(&t->rng, 50);
	now.no_eof = talk_chance(&t->rng, 50);
	now.attributes = !now.mariadb && talk_chance(&t->rng, 40);
	now.metadata = talk_chance(&t->rng, 30);
	now.next_id = 1 + (int)talk_below(&t->rng, 100);
	uint32_t caps = capabilities();
	if (talk_chance(&t->rng, 4)) {
		uint8_t seq = 1;
		greet(t, caps | CAP_SSL);
		add_login(t, caps | CAP_SSL);
		put(t, CLV_TO_SERVER, &seq);
		talk_flush(t, CLV_TO_SERVER);
		go_opaque(t);
		return;
	}
	bool wrapped = talk_chance(&t->rng, 4);
	greet(t, caps | CAP_ZIP);
	login(t, wrapped ? caps | CAP_ZIP : caps);
	if (wrapped) {
		go_opaque(t);
		return;
	}
	for (unsigned n = 5 + talk_below(&t->rng, 30);
	     n && t->messages < TALK_MESSAGES - 30 && t->writes < TALK_WRITES - 200; n--)
		one(t);
	if (talk_chance(&t->rng, 15)) {
		dump(t);
	} else if (talk_chance(&t->rng, 50)) {
		uint8_t seq = 0;
		add_number(CLV_MYSQL_QUIT, 1);
		put(t, CLV_TO_SERVER, &seq);
		talk_flush(t, CLV_TO_SERVER);
	}
}

/* ---- spans ----------------------------------------------------------------------------------------------------- */

static struct clv_slice attr(const struct clv_span *s, enum clv_attr_key key)
{
	const struct clv_attr *a = clv_span_get(s, key);

	return a ? a->s : clv_slice(NULL, 0);
}

static bool number_is(const struct clv_span *s, enum clv_attr_key key, int64_t truth)
{
	const struct clv_attr *a = clv_span_get(s, key);

	return !a || a->i == truth;
}

/* The request whose command is said, or else is a statement's run. */
static int find(const struct talk *t, const struct clv_span *span, int id)
{
	struct clv_slice operation = attr(span, CLV_ATTR_DB_OPERATION_NAME);

	for (unsigned i = 0; i < t->messages; i++) {
		const struct talk_message *m = &t->message[i];
		if (m->role != CLV_REQUEST || (id >= 0 && m->id != id))
			continue;
		switch (now.command[i]) {
#define X(name, code)                                                                               \
	case (code):                                                                                \
		if (clv_slice_eq(operation, CLV_LIT(#name)) ||                                      \
		    (!operation.len && ((code) == CLV_MYSQL_QUERY || (code) == CLV_MYSQL_EXECUTE))) \
			return (int)i;                                                              \
		break;
			CLV_MYSQL_COMMANDS(X)
#undef X
		default:
			break;
		}
	}
	return -1;
}

/* "#17" */
static int statement_number(struct clv_slice s)
{
	int n = 0;

	for (size_t i = 1; i < s.len; i++)
		n = n * 10 + s.data[i] - '0';
	return n;
}

static int mysql_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	struct clv_slice text = attr(span, CLV_ATTR_DB_QUERY_TEXT), db = attr(span, CLV_ATTR_DB_NAMESPACE);
	int id = number_in(text, "t");

	*ok = false;
	if (id < 0 && span->target.len && span->target.data[0] == '#')
		id = statement_number(span->target) - 1;
	if (id < 0 && !text.len)
		id = number_in(span->target, "t");
	if (id < 0)
		id = number_in(text, "db");
	if (id < 0 && clv_slice_eq(span->method, CLV_LIT("INIT_DB")))
		id = number_in(db, "db");
	int i = find(t, span, id);
	if (i < 0)
		return -1;
	*ok = !db.len || number_in(db, "db") == now.in_db[i];
	if (!span->first_ns)
		return i;
	*ok &= t->message[i].answer >= 0;
	*ok &= number_is(span, CLV_ATTR_DB_RESPONSE_RETURNED_ROWS, now.rows[i]);
	*ok &= number_is(span, CLV_ATTR_CLOVISOR_DB_ROWS_AFFECTED, now.affected[i]);
	*ok &= !span->status_code || span->status_code == now.error[i];
	*ok &= !clv_slice_eq(span->result, CLV_LIT("OK")) || now.error[i] < 0;
	return i;
}

const struct talk_sample talk_mysql = {
	.proto = "mysql",
	.port = 3306,
	.make = mysql_make,
	.tag = mysql_tag,
	.check = mysql_check,
};
