/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MySQL's and MariaDB's client/server protocol: where commands and their answers begin and end (MySQL Server's
 * "Client/Server Protocol", MariaDB's of the same name). What a span says of them: mysql_span.c; whether it is this
 * protocol at all: mysql_probe.c.
 *
 *	packet  = length (3 bytes), sequence number, payload; one of 0xffffff bytes goes on in the next
 *	start   = greeting (server, 0), login (client, 1), *( more of either side ), OK | ERR
 *	command = packet 0 of the client; all that follows until the next command counts on from it
 *	answer  = packet 1 of the server and what counts on from it: OK | ERR | result sets | what the command asks for
 *	result  = column count, columns, [ EOF ], rows, EOF | OK | ERR; its status says whether another one follows
 *	file    = 0xfb NAME in the answer's place; the client sends packets until an empty one; then the answer goes on
 *
 * Of an answer the first packet is its head, all others are its body: walked over, not read, but for their first bytes.
 * Owns the state that it is lent, and the texts of prepared statements (mysql_statements.c). Passwords and what stands
 * for them are skipped. Reads no clock. Engine thread.
 */
#include "proto/mysql.h"

#include "engine/limits.h"
#include "proto/mysql_statements.h"
#include "proto/mysql_wire.h"
#include "proto/sql.h"

/* What is kept of a statement. */
#define MYSQL_TEXT_BYTES 8192u
/* Of a login or a change of user, until the name of the database. */
#define MYSQL_LOGIN_BYTES 2048u
/* Of an answer's first packet, and of what ends its rows: an OK's numbers and what the session tells of itself. */
#define MYSQL_FIRST_BYTES 1024u
/* A head that was cut is worth reporting when so much of the statement is there. */
#define MYSQL_CUT_BYTES 32u
/* Names; a longer one is not known. */
#define MYSQL_DB_BYTES   64u
#define MYSQL_USER_BYTES 48u

_Static_assert(MYSQL_HEADER + MYSQL_TEXT_BYTES < CLV_TAIL_BYTES, "the engine must be able to keep what is waited for");
_Static_assert(sizeof(struct clv_mysql_request) <= CLV_FACTS_MAX, "facts outgrew their place");
_Static_assert(sizeof(struct clv_mysql_response) <= CLV_FACTS_MAX, "facts outgrew their place");

enum mysql_phase {
	MYSQL_IDLE,     /* a command, or the first packet of an answer, comes next */
	MYSQL_START,    /* the greeting; the login */
	MYSQL_FILE,     /* client: packets of a file, until an empty one; server: the answer goes on behind it */
	MYSQL_DEFINES,  /* columns are defined; `left` of them */
	MYSQL_DEFINED,  /* EOF, or the first row where none is sent */
	MYSQL_ROWS,     /* until EOF, OK or ERR */
	MYSQL_RESULT,   /* another result begins */
	MYSQL_PREPARED, /* parameters and columns of a prepared statement are defined */
	MYSQL_FIELDS,   /* columns until EOF or OK */
	MYSQL_LOGIN,    /* the server asks for more, or decides */
	MYSQL_STREAM,   /* events, until EOF or ERR */
	MYSQL_STRAY,    /* an answer to something that nobody saw: until the next one begins */
};

/* Does an EOF end each group of definitions? */
enum mysql_eof { MYSQL_EOF_UNKNOWN, MYSQL_EOF_SENT, MYSQL_EOF_GONE };

struct mysql_side {
	uint8_t phase; /* enum mysql_phase */
	uint8_t seq;   /* of the last packet */
	bool goes_on;  /* the last packet was a full one: the next is more of it */
	bool ending;   /* the message is over when what is owed is paid */
	bool done;     /* the answer is over with this packet, and with what goes on from it */
	/* resync: */
	bool candidate; /* what was kept began a packet */
	uint16_t kept;
};

struct mysql_state {
	struct mysql_side client, server;
	struct mysql_statements statements;
	struct clv_mysql_response answer;
	uint32_t left;        /* definitions to come */
	uint32_t left_second; /* and those of the group behind them */
	uint32_t caps;        /* of both sides, once the client has told */
	uint32_t greeted;     /* of the server */
	uint32_t serial;      /* requests so far */
	uint32_t asked;       /* by which the answer at hand was asked for */
	uint32_t moves;       /* a request whose success may mean another database: next_db; 0: none */
	uint8_t command;      /* that the answer at hand answers; 0: not known */
	uint8_t eof;          /* enum mysql_eof */
	uint8_t backslash;    /* enum clv_sql_backslash, as the server said last */
	bool caps_known, greeting_seen;
	bool old; /* the protocol before 4.1 */
	bool mariadb;
	bool authenticating; /* the client's packets that are no commands are of a login */
	bool confirmed;      /* an answer has found its request */
	bool moves_first;    /* what moves begins with a USE, or is a command that does the same */
	bool moves_later;    /* what moves has several statements, or may have: more than the first may be a USE */
	bool many;           /* the answer at hand has more than one result */
	bool lost[2];        /* something was missed of that direction, since statements are kept */
	uint8_t db_len, user_len, next_db_len;
	char db[MYSQL_DB_BYTES], next_db[MYSQL_DB_BYTES], user[MYSQL_USER_BYTES];
};

_Static_assert(sizeof(struct mysql_state) <= 384, "one per connection");

static struct clv_fed mysql_fed(enum clv_fed_verdict v, size_t used, uint64_t skip)
{
	return (struct clv_fed){.v = v, .used = (uint32_t)used, .skip = skip};
}

static struct clv_fed mysql_need(size_t bytes)
{
	return (struct clv_fed){.v = CLV_FED_MORE, .need = (uint32_t)bytes};
}

static void mysql_reset(struct mysql_side *s)
{
	memset(s, 0, sizeof(*s));
}

static struct clv_fed mysql_bad(struct mysql_side *s, size_t used)
{
	mysql_reset(s);
	return mysql_fed(CLV_FED_BAD, used, 0);
}

static void mysql_end(struct clv_sink *sink, enum clv_dir dir, size_t at, const struct clv_mysql_response *answer)
{
	sink->end(sink, dir,
		  &(struct clv_end){.at = (uint32_t)at, .facts = answer, .facts_size = answer ? sizeof(*answer) : 0});
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* Remembers a name; one that is too long is not known. */
static void mysql_name(char *to, uint8_t *to_len, size_t room, struct clv_slice name)
{
	*to_len = name.len <= room ? (uint8_t)name.len : 0;
	if (*to_len)
		memcpy(to, name.data, name.len);
}

static void mysql_set_db(struct mysql_state *st, struct clv_slice name)
{
	mysql_name(st->db, &st->db_len, sizeof(st->db), name);
}

static void mysql_set_user(struct mysql_state *st, struct clv_slice name, struct clv_sink *sink)
{
	mysql_name(st->user, &st->user_len, sizeof(st->user), name);
	if (name.len)
		sink->note(sink, CLV_NOTE_USER, name);
}

/* If the request numbered `serial` succeeds, the connection's database is another: `db`; empty: one that is not known.
 */
static void mysql_will_move(struct mysql_state *st, uint32_t serial, struct clv_slice db)
{
	st->moves = serial;
	st->moves_first = true;
	st->moves_later = false;
	mysql_name(st->next_db, &st->next_db_len, sizeof(st->next_db), db);
}

/* Is the statement a USE? Of which database: *db; empty when its name cannot be told. */
static bool mysql_is_use(struct clv_slice text, struct clv_slice *db)
{
	size_t at = 0, end;

	*db = clv_slice(NULL, 0);

	while (at < text.len && mysql_is_blank(text.data[at]))
		at++;
	if (!clv_slice_eq_nocase(clv_slice_sub(text, at, 3), CLV_LIT("use")))
		return false;
	at += 3;
	size_t word = at;
	while (at < text.len && mysql_is_blank(text.data[at]))
		at++;
	if (at < text.len && text.data[at] == '`') {
		end = clv_slice_find(text, ++at, '`');
		/* A doubled one is part of the name: too rare to be worth decoding. */
		if (end + 1 >= text.len || text.data[end + 1] != '`')
			*db = clv_slice_sub(text, at, end - at);
		return true;
	}
	if (at == word)
		return false;
	for (end = at; end < text.len && !mysql_is_blank(text.data[end]) && text.data[end] != ';';)
		end++;
	*db = clv_slice_sub(text, at, end - at);
	return true;
}

/* Is there a USE behind the first statement of several? What it names is not looked at. */
static bool mysql_uses_later(struct clv_slice text)
{
	for (size_t at = clv_slice_find(text, 0, ';'); at < text.len; at = clv_slice_find(text, at, ';')) {
		at++;
		while (at < text.len && mysql_is_blank(text.data[at]))
			at++;
		if (clv_slice_eq_nocase(clv_slice_sub(text, at, 3), CLV_LIT("use")))
			return true;
	}
	return false;
}

/* ---- what the client says ---------------------------------------------------------------------------------------- */

/* A request as it was found: `text` is the statement, or the name that the command takes. */
struct mysql_asked {
	struct clv_mysql_request facts;
	struct clv_slice db;
	struct clv_slice text;
	struct clv_slice raw; /* what ids are made from: never with a password in it */
	uint32_t flags;       /* enum clv_msg_flag */
};

/* Tells the sink: names and text, one behind the other, are the head. */
static void mysql_report(struct mysql_state *st, struct mysql_asked *a, struct clv_sink *sink)
{
	uint8_t head[MYSQL_DB_BYTES + MYSQL_USER_BYTES + MYSQL_TEXT_BYTES];
	size_t len = a->db.len;

	if (a->db.len)
		memcpy(head, a->db.data, a->db.len);
	memcpy(head + len, st->user, st->user_len);
	len += st->user_len;
	a->text = clv_slice_head(a->text, MYSQL_TEXT_BYTES);
	if (a->text.len)
		memcpy(head + len, a->text.data, a->text.len);
	len += a->text.len;
	a->facts.db_len = (uint8_t)a->db.len;
	a->facts.user_len = st->user_len;
	a->facts.text_len = (uint32_t)a->text.len;
	a->facts.serial = st->serial;
	a->facts.backslash = st->backslash;
	a->facts.flags |= st->mariadb ? CLV_MYSQL_IS_MARIADB : 0;
	struct clv_msg msg = {
		.role = CLV_REQUEST,
		.flags = a->flags,
		.head = clv_slice(head, len),
		.method = mysql_command_name(a->facts.command),
		.facts = &a->facts,
		.facts_size = sizeof(a->facts),
		.raw = a->raw,
	};
	sink->head(sink, CLV_TO_SERVER, &msg);
}

/* From here on both sides wrap what they say into something else. */
static bool mysql_wraps(const struct mysql_state *st)
{
	return st->caps_known && st->caps & (MYSQL_CAP_COMPRESS | MYSQL_CAP_ZSTD);
}

static void mysql_agree(struct mysql_state *st, uint32_t caps)
{
	st->caps = st->greeting_seen ? caps & st->greeted : caps;
	st->caps_known = true;
	st->old = !(caps & MYSQL_CAP_PROTOCOL_41);
	if (st->greeting_seen || !(caps & MYSQL_CAP_NO_EOF))
		st->eof = st->caps & MYSQL_CAP_NO_EOF ? MYSQL_EOF_GONE : MYSQL_EOF_SENT;
}

/* User and database of a login (HandshakeResponse41, and 320). False: it is none. */
static bool mysql_login_names(const struct mysql_state *st, struct clv_slice p, struct clv_slice *user,
			      struct clv_slice *db)
{
	struct mysql_reader r = mysql_reader(p, st->old ? 5 : 32);

	*user = mysql_cstring(&r);
	*db = clv_slice(NULL, 0);
	if (r.bad)
		return false;
	if (st->old) { /* the scramble may be last, without an end */
		mysql_cstring(&r);
		*db = st->caps & MYSQL_CAP_CONNECT_WITH_DB ? mysql_cstring(&r) : *db;
		return true;
	}
	if (st->caps & MYSQL_CAP_LENENC_AUTH)
		mysql_take(&r, mysql_lenenc(&r));
	else if (st->caps & MYSQL_CAP_SECURE)
		mysql_take(&r, mysql_number(&r, 1));
	else
		mysql_cstring(&r);
	if (st->caps & MYSQL_CAP_CONNECT_WITH_DB)
		*db = mysql_cstring(&r);
	return true;
}

/* Behind the head comes `rest` of the packet; if it is a full one, another packet, too. */
static struct clv_fed mysql_request_rest(struct mysql_state *st, size_t used, uint32_t rest, struct clv_sink *sink)
{
	struct mysql_side *c = &st->client;

	c->ending = rest && !c->goes_on;
	if (!rest && !c->goes_on)
		mysql_end(sink, CLV_TO_SERVER, used, NULL);
	return mysql_fed(CLV_FED_OK, used, rest);
}

/* The client's first packet, or one that looks like it. */
static struct clv_fed mysql_login(struct mysql_state *st, struct clv_slice in, const struct mysql_header *h,
				  struct clv_sink *sink)
{
	struct mysql_side *c = &st->client;
	uint32_t want = h->len < MYSQL_LOGIN_BYTES ? h->len : MYSQL_LOGIN_BYTES;
	struct clv_slice p = clv_slice_sub(in, MYSQL_HEADER, want), user, db;

	if (p.len < want)
		return mysql_need(MYSQL_HEADER + want);
	if (want < 5)
		return mysql_bad(c, MYSQL_HEADER + want);
	bool old = !(mysql_u16(p.data) & MYSQL_CAP_PROTOCOL_41);
	mysql_agree(st, old || want < 32 ? mysql_u16(p.data) : mysql_u32(p.data));
	if (st->caps & MYSQL_CAP_SSL && h->len == (old ? 5 : 32)) {
		sink->note(sink, CLV_NOTE_ALPN, CLV_LIT("mysql")); /* within TLS */
		return mysql_fed(CLV_FED_OPAQUE, MYSQL_HEADER + want, 0);
	}
	if (!mysql_login_names(st, p, &user, &db))
		return mysql_bad(c, MYSQL_HEADER + want);
	mysql_set_user(st, user, sink);
	mysql_set_db(st, db);
	st->serial++;
	st->authenticating = true;
	*c = (struct mysql_side){.seq = h->seq};
	struct mysql_asked a = {.facts = {.command = CLV_MYSQL_LOGIN},
				.db = clv_slice(st->db, st->db_len),
				.raw = clv_slice_head(in, (size_t)(user.data + user.len - in.data))};
	mysql_report(st, &a, sink);
	return mysql_request_rest(st, MYSQL_HEADER + want, h->len - want, sink);
}

/* Who and where a COM_CHANGE_USER wants to be. */
static void mysql_change_user(struct mysql_state *st, struct mysql_asked *a, struct clv_slice p, struct clv_sink *sink)
{
	struct mysql_reader r = mysql_reader(p, 1);
	struct clv_slice user = mysql_cstring(&r);

	a->raw = clv_slice_head(a->raw, MYSQL_HEADER + 1 + user.len);
	if (st->old)
		mysql_cstring(&r);
	else
		mysql_take(&r, mysql_number(&r, 1));
	struct clv_slice db = mysql_cstring(&r);
	mysql_set_user(st, user, sink);
	mysql_set_db(st, r.bad ? clv_slice(NULL, 0) : db);
	st->moves = 0;
	st->authenticating = true;
	clv_mysql_statements_clear(&st->statements);
}

static bool mysql_has_attributes(const struct mysql_state *st)
{
	return st->caps_known && st->caps & MYSQL_CAP_ATTRIBUTES;
}

static void mysql_query(struct mysql_state *st, struct mysql_asked *a, struct clv_slice p, bool cut)
{
	size_t at = clv_mysql_query_text(p, mysql_has_attributes(st));

	a->text = clv_slice_from(p, at ? at : p.len);
	a->facts.flags |= cut || !at ? CLV_MYSQL_TEXT_CUT : 0;
	struct clv_slice db;
	bool first = mysql_is_use(a->text, &db), later = cut || mysql_uses_later(a->text);
	if (!first && !later)
		return;
	mysql_will_move(st, st->serial, db);
	st->moves_first = first;
	st->moves_later = later;
}

static void mysql_execute(struct mysql_state *st, struct mysql_asked *a, struct clv_slice p)
{
	struct mysql_reader r = mysql_reader(p, 1);

	a->facts.statement = (uint32_t)mysql_number(&r, 4);
	struct mysql_text t = clv_mysql_statements_find(&st->statements, a->facts.statement);
	a->text = t.text;
	a->facts.flags |= t.cut ? CLV_MYSQL_TEXT_CUT : 0;
	a->flags |= t.text.len ? 0 : CLV_MSG_MIDSTREAM;
	struct clv_slice db;
	if (a->facts.command == CLV_MYSQL_EXECUTE && mysql_is_use(t.text, &db))
		mysql_will_move(st, st->serial, db);
}

/* Reports the command in `p`, of which `cut` says that there is more. `raw`: with its header. */
static void mysql_ask(struct mysql_state *st, struct clv_slice raw, bool cut, uint32_t flags, struct clv_sink *sink)
{
	struct clv_slice p = clv_slice_from(raw, MYSQL_HEADER);
	struct mysql_asked a = {.facts = {.command = p.data[0]}, .raw = raw, .flags = flags};
	struct mysql_reader r = mysql_reader(p, 1);
	/* Before its answer has come, nobody knows whether a move has succeeded. */
	bool moving = st->moves;

	st->serial += st->serial == UINT32_MAX ? 2 : 1; /* 0 is none */
	switch (p.data[0]) {
	case CLV_MYSQL_QUERY:
		mysql_query(st, &a, p, cut);
		break;
	case CLV_MYSQL_PREPARE:
		a.text = clv_slice_from(p, 1);
		a.facts.flags |= cut ? CLV_MYSQL_TEXT_CUT : 0;
		clv_mysql_statements_prepare(&st->statements, st->serial, a.text, cut);
		break;
	case CLV_MYSQL_EXECUTE:
	case CLV_MYSQL_BULK_EXECUTE:
	case CLV_MYSQL_FETCH:
	case CLV_MYSQL_RESET_STATEMENT:
		mysql_execute(st, &a, p);
		break;
	case CLV_MYSQL_INIT_DB:
		a.text = clv_slice_from(p, 1);
		mysql_will_move(st, st->serial, a.text);
		break;
	case CLV_MYSQL_CREATE_DB:
	case CLV_MYSQL_DROP_DB:
		a.text = clv_slice_from(p, 1);
		break;
	case CLV_MYSQL_FIELD_LIST:
		a.text = mysql_cstring(&r);
		break;
	case CLV_MYSQL_CHANGE_USER:
		mysql_change_user(st, &a, p, sink);
		break;
	case CLV_MYSQL_RESET_CONNECTION:
		clv_mysql_statements_clear(&st->statements);
		break;
	case CLV_MYSQL_REGISTER_REPLICA:
		a.raw = clv_slice_head(raw, MYSQL_HEADER + 5); /* a password follows */
		break;
	default:
		break;
	}
	/* A move is about the database that it names, whatever comes of it. */
	if (st->moves == st->serial && st->next_db_len)
		a.db = clv_slice(st->next_db, st->next_db_len);
	else if (!moving || p.data[0] == CLV_MYSQL_CHANGE_USER)
		a.db = clv_slice(st->db, st->db_len);
	mysql_report(st, &a, sink);
}

static bool mysql_is_command(uint8_t c)
{
	switch (c) {
#define X(name, code) case (code):
		CLV_MYSQL_COMMANDS(X)
#undef X
		return c != CLV_MYSQL_LOGIN;
	case CLV_MYSQL_QUIT:
	case CLV_MYSQL_LONG_DATA:
	case CLV_MYSQL_CLOSE_STATEMENT:
	case CLV_MYSQL_SEMI_SYNC_ACK:
		return true;
	default:
		return false;
	}
}

/* How much of a command must be there before it is reported. */
static uint32_t mysql_command_bytes(uint8_t command)
{
	switch (command) {
	case CLV_MYSQL_QUERY:
	case CLV_MYSQL_PREPARE:
		return MYSQL_TEXT_BYTES;
	case CLV_MYSQL_CHANGE_USER:
	case CLV_MYSQL_FIELD_LIST:
		return MYSQL_LOGIN_BYTES;
	case CLV_MYSQL_INIT_DB:
	case CLV_MYSQL_CREATE_DB:
	case CLV_MYSQL_DROP_DB:
		return MYSQL_FIRST_BYTES;
	default:
		return 10; /* an EXECUTE's fixed part; no other says more of itself in less */
	}
}

static bool mysql_is_silent(uint8_t command)
{
	return command == CLV_MYSQL_QUIT || command == CLV_MYSQL_LONG_DATA || command == CLV_MYSQL_CLOSE_STATEMENT ||
	       command == CLV_MYSQL_SEMI_SYNC_ACK;
}

static struct clv_fed mysql_command(struct mysql_state *st, struct clv_slice in, const struct mysql_header *h,
				    struct clv_sink *sink)
{
	struct mysql_side *c = &st->client;

	if (in.len == MYSQL_HEADER)
		return h->len ? mysql_need(MYSQL_HEADER + 1) : mysql_bad(c, MYSQL_HEADER);
	uint8_t command = in.data[MYSQL_HEADER];
	if (!h->len || !mysql_is_command(command))
		return mysql_bad(c, MYSQL_HEADER + (h->len ? 1 : 0));
	uint32_t most = mysql_command_bytes(command), want = h->len < most ? h->len : most;
	struct clv_slice raw = clv_slice_head(in, MYSQL_HEADER + want);
	if (raw.len < MYSQL_HEADER + want)
		return mysql_need(MYSQL_HEADER + want);
	*c = (struct mysql_side){.seq = 0, .goes_on = h->len == MYSQL_FULL};
	st->authenticating = false;
	if (!mysql_is_silent(command)) {
		mysql_ask(st, raw, want < h->len, 0, sink);
		return mysql_request_rest(st, raw.len, h->len - want, sink);
	}
	struct mysql_reader r = mysql_reader(raw, MYSQL_HEADER + 1);
	if (command == CLV_MYSQL_CLOSE_STATEMENT)
		clv_mysql_statements_close(&st->statements, (uint32_t)mysql_number(&r, 4));
	c->done = true; /* no message: its packets end nothing */
	return mysql_fed(CLV_FED_OK, raw.len, h->len - want);
}

/* A packet that begins no command: more of a large one, of a login, or of a file. */
static struct clv_fed mysql_client_more(struct mysql_state *st, const struct mysql_header *h)
{
	struct mysql_side *c = &st->client;
	bool counts_on = h->seq == (uint8_t)(c->seq + 1);

	if ((c->goes_on || c->phase == MYSQL_FILE) && !counts_on)
		return mysql_bad(c, 0);
	c->seq = h->seq;
	if (c->goes_on) {
		c->goes_on = h->len == MYSQL_FULL;
		c->ending = !c->goes_on && !c->done;
		return mysql_fed(CLV_FED_OK, 0, (uint64_t)MYSQL_HEADER + h->len);
	}
	if (!st->authenticating)
		c->phase = h->len ? MYSQL_FILE : MYSQL_IDLE;
	return mysql_fed(CLV_FED_OK, MYSQL_HEADER, h->len);
}

static struct clv_fed mysql_feed_client(struct mysql_state *st, struct clv_slice in, struct clv_sink *sink)
{
	struct mysql_side *c = &st->client;
	struct mysql_header h;

	if (c->ending) {
		c->ending = false;
		mysql_end(sink, CLV_TO_SERVER, 0, NULL);
	}
	if (!mysql_header(in, 0, &h))
		return mysql_need(MYSQL_HEADER);
	bool count = c->goes_on || (c->phase == MYSQL_FILE && c->seq == UINT8_MAX);
	if (h.seq == 0 && !count)
		return mysql_command(st, in, &h, sink);
	/* Where a connection was joined, its start may all the same be still to come. */
	bool start = c->phase == MYSQL_START || (!st->confirmed && clv_mysql_is_login(in) == CLV_MATCH_YES);
	if (h.seq == 1 && start && !count)
		return mysql_login(st, in, &h, sink);
	return mysql_client_more(st, &h);
}

/* ---- what the server says ---------------------------------------------------------------------------------------- */

enum mysql_step {
	MYSQL_GOES_ON, /* another packet belongs to it */
	MYSQL_DONE,    /* the answer is over */
	MYSQL_LOST,    /* this cannot be */
};

/* The session tells of itself: the database, maybe. */
static void mysql_session(struct mysql_state *st, struct clv_slice info)
{
	struct mysql_reader r = mysql_reader(info, 0);

	mysql_take(&r, mysql_lenenc(&r)); /* a message for people */
	struct mysql_reader changes = mysql_reader(mysql_take(&r, mysql_lenenc(&r)), 0);
	while (!changes.bad && changes.at < changes.in.len) {
		uint64_t type = mysql_number(&changes, 1);
		struct mysql_reader data = mysql_reader(mysql_take(&changes, mysql_lenenc(&changes)), 0);
		struct clv_slice db = type == 1 ? mysql_take(&data, mysql_lenenc(&data)) : clv_slice(NULL, 0);
		if (type != 1 || data.bad)
			continue;
		mysql_set_db(st, db);
		if (st->moves == st->asked)
			st->moves = 0;
	}
}

/* The answer has failed; progress is no failure. */
static enum mysql_step mysql_error(struct mysql_state *st, struct clv_slice p)
{
	struct mysql_reader r = mysql_reader(p, 1);
	uint16_t code = (uint16_t)mysql_number(&r, 2);

	if (r.bad)
		return MYSQL_LOST;
	if (code == MYSQL_PROGRESS)
		return MYSQL_GOES_ON;
	struct clv_slice state = clv_slice_sub(p, 3, 6);
	if (state.len == 6 && state.data[0] == '#')
		memcpy(st->answer.sqlstate, state.data + 1, sizeof(st->answer.sqlstate));
	st->answer.error = code;
	st->answer.flags |= CLV_MYSQL_FAILED;
	return MYSQL_DONE;
}

/* Every status tells what strings look like from now on. */
static void mysql_status(struct mysql_state *st, uint16_t status)
{
	if (!st->old)
		st->backslash = status & MYSQL_NO_BACKSLASH ? CLV_SQL_BACKSLASH_PLAIN : CLV_SQL_BACKSLASH_ESCAPES;
}

/* One result is over; its status says whether another one follows. */
static enum mysql_step mysql_result_over(struct mysql_state *st, uint16_t status, uint16_t warnings)
{
	st->answer.warnings = warnings;
	if (status & MYSQL_MORE_RESULTS) {
		st->server.phase = MYSQL_RESULT;
		st->many = true;
		return MYSQL_GOES_ON;
	}
	return MYSQL_DONE;
}

/* An OK, which may stand in an EOF's place (`rows`). */
static enum mysql_step mysql_done(struct mysql_state *st, struct clv_slice p, bool rows)
{
	struct mysql_ok ok;

	if (!mysql_ok(p, st->old, &ok))
		return MYSQL_LOST;
	if (!rows) {
		st->answer.affected += ok.affected;
		st->answer.flags |= CLV_MYSQL_HAS_AFFECTED;
	}
	mysql_status(st, ok.status);
	if (ok.status & MYSQL_STATE_CHANGED)
		mysql_session(st, ok.info);
	return mysql_result_over(st, ok.status, ok.warnings);
}

/* The packet that may end rows: EOF, or the OK in its place. */
static bool mysql_ends_rows(struct clv_slice p, uint32_t len)
{
	return p.len && p.data[0] == MYSQL_EOF && len < MYSQL_FULL;
}

static bool mysql_is_eof(struct clv_slice p, uint32_t len)
{
	return p.len && p.data[0] == MYSQL_EOF && len <= 5;
}

static uint16_t mysql_eof_status(struct clv_slice p)
{
	return p.len >= 5 ? (uint16_t)mysql_u16(p.data + 3) : 0;
}

static uint16_t mysql_eof_warnings(struct clv_slice p)
{
	return p.len >= 3 ? (uint16_t)mysql_u16(p.data + 1) : 0;
}

static enum mysql_step mysql_row(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	if (mysql_is_eof(p, len)) {
		if (p.len >= 5)
			mysql_status(st, mysql_eof_status(p));
		return mysql_result_over(st, mysql_eof_status(p), mysql_eof_warnings(p));
	}
	if (mysql_ends_rows(p, len)) {
		st->eof = MYSQL_EOF_GONE;
		return mysql_done(st, p, true);
	}
	if (p.len && p.data[0] == MYSQL_ERR)
		return mysql_error(st, p);
	st->answer.rows++;
	return MYSQL_GOES_ON;
}

/* Behind the definitions of columns: what comes here tells whether EOFs are sent. */
static enum mysql_step mysql_defined(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	st->server.phase = MYSQL_ROWS;
	if (!mysql_is_eof(p, len)) {
		st->eof = MYSQL_EOF_GONE;
		return mysql_row(st, p, len);
	}
	st->eof = MYSQL_EOF_SENT;
	/* With a cursor the rows are fetched later. */
	return mysql_eof_status(p) & MYSQL_CURSOR ? MYSQL_DONE : MYSQL_GOES_ON;
}

/* Every definition since 4.1 begins with the catalog, "def". */
static bool mysql_is_definition(const struct mysql_state *st, struct clv_slice p)
{
	return st->old || clv_slice_starts(p, CLV_LIT("\3def"));
}

static enum mysql_step mysql_define(struct mysql_state *st, struct clv_slice p)
{
	if (p.len && p.data[0] == MYSQL_ERR)
		return mysql_error(st, p);
	if (!mysql_is_definition(st, p))
		return MYSQL_LOST;
	if (--st->left == 0)
		st->server.phase = MYSQL_DEFINED;
	return MYSQL_GOES_ON;
}

/*
 * The count of columns, and maybe whether they are defined at all: MySQL's documents put that byte first, its servers
 * and MariaDB's last. There are no results without columns, so that both can be told from each other.
 */
static enum mysql_step mysql_columns(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	struct mysql_reader r = mysql_reader(clv_slice_head(p, len), 0);
	uint64_t columns = mysql_lenenc(&r);
	bool defined = true;

	if (!r.bad && r.at < len) {
		uint64_t second = mysql_lenenc(&r);
		defined = columns && second;
		if (columns <= 1 && second)
			columns = second;
	}
	if (r.bad || r.at != len || !columns || columns > MYSQL_COLUMNS)
		return MYSQL_LOST;
	st->answer.flags |= CLV_MYSQL_HAS_ROWS;
	st->left = (uint32_t)columns;
	st->server.phase = defined ? MYSQL_DEFINES : MYSQL_DEFINED;
	return MYSQL_GOES_ON;
}

/* The first packet of a result. */
static enum mysql_step mysql_result(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	st->server.phase = MYSQL_RESULT;
	if (!p.len)
		return MYSQL_LOST;
	switch (p.data[0]) {
	case MYSQL_OK:
		return len == 2 ? mysql_columns(st, p, len) : mysql_done(st, p, false);
	case MYSQL_ERR:
		return mysql_error(st, p);
	case MYSQL_INFILE:
		st->server.phase = MYSQL_FILE;
		return MYSQL_GOES_ON;
	case MYSQL_EOF:
		return MYSQL_LOST;
	default:
		return mysql_columns(st, p, len);
	}
}

/* An answer of one packet. */
static enum mysql_step mysql_simple(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	st->server.phase = MYSQL_RESULT;
	if (p.len && p.data[0] == MYSQL_ERR)
		return mysql_error(st, p);
	if (mysql_is_eof(p, len))
		return MYSQL_DONE;
	if (p.len && (p.data[0] == MYSQL_OK || p.data[0] == MYSQL_EOF))
		return mysql_done(st, p, true);
	return MYSQL_LOST;
}

/* Behind a group of definitions, or where there is none: is the other one to come? */
static enum mysql_step mysql_prepared_group(struct mysql_state *st)
{
	if (st->left)
		return MYSQL_GOES_ON;
	st->left = st->left_second;
	st->left_second = 0;
	return st->left ? MYSQL_GOES_ON : MYSQL_DONE;
}

/* The answer to a PREPARE: its id, then parameters and columns. */
static enum mysql_step mysql_prepared(struct mysql_state *st, struct clv_slice p)
{
	struct mysql_reader r = mysql_reader(p, 1);

	st->server.phase = MYSQL_RESULT;
	if (p.len && p.data[0] == MYSQL_ERR) {
		enum mysql_step step = mysql_error(st, p);
		if (step == MYSQL_DONE)
			clv_mysql_statements_refuse(&st->statements, st->asked);
		return step;
	}
	uint32_t id = (uint32_t)mysql_number(&r, 4);
	uint32_t columns = (uint32_t)mysql_number(&r, 2), parameters = (uint32_t)mysql_number(&r, 2);
	if (r.bad || !p.len || p.data[0] != MYSQL_OK)
		return MYSQL_LOST;
	clv_mysql_statements_name(&st->statements, st->asked, id);
	st->answer.warnings = p.len >= 12 ? (uint16_t)mysql_u16(p.data + 10) : 0;
	if (p.len >= 13 && !p.data[12]) /* none is defined (CLIENT_OPTIONAL_RESULTSET_METADATA) */
		return MYSQL_DONE;
	st->server.phase = MYSQL_PREPARED;
	st->left = parameters;
	st->left_second = columns;
	return mysql_prepared_group(st);
}

/* A definition of a prepared statement, or the EOF behind a group of them. `last`: no more bytes are here. */
static enum mysql_step mysql_prepared_more(struct mysql_state *st, struct clv_slice p, uint32_t len, bool last)
{
	if (p.len && p.data[0] == MYSQL_ERR)
		return mysql_error(st, p);
	if (mysql_is_eof(p, len)) {
		st->eof = MYSQL_EOF_SENT;
		return mysql_prepared_group(st);
	}
	if (!st->left) { /* no EOF came: the next group begins */
		st->eof = MYSQL_EOF_GONE;
		if (mysql_prepared_group(st) == MYSQL_DONE)
			return MYSQL_LOST;
	}
	if (!mysql_is_definition(st, p))
		return MYSQL_LOST;
	st->left--;
	if (st->left || st->left_second)
		return MYSQL_GOES_ON;
	/* The last one: only an EOF could follow, and a server that sends it does so in one go. */
	return st->eof == MYSQL_EOF_SENT || (st->eof == MYSQL_EOF_UNKNOWN && !last) ? MYSQL_GOES_ON : MYSQL_DONE;
}

static enum mysql_step mysql_field(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	st->server.phase = MYSQL_FIELDS;
	if (p.len && p.data[0] == MYSQL_ERR)
		return mysql_error(st, p);
	if (mysql_ends_rows(p, len))
		return MYSQL_DONE;
	return mysql_is_definition(st, p) ? MYSQL_GOES_ON : MYSQL_LOST;
}

/* The server decides on a login, or asks for more. */
static enum mysql_step mysql_logged_in(struct mysql_state *st, struct clv_slice p)
{
	st->server.phase = MYSQL_LOGIN;
	if (!p.len)
		return MYSQL_LOST;
	if (p.data[0] == MYSQL_OK)
		return mysql_done(st, p, true);
	return p.data[0] == MYSQL_ERR ? mysql_error(st, p) : MYSQL_GOES_ON;
}

/* Events of a binary log; the first byte is an OK's. */
static enum mysql_step mysql_event(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	st->server.phase = MYSQL_STREAM;
	if (p.len && p.data[0] == MYSQL_ERR)
		return mysql_error(st, p);
	return mysql_is_eof(p, len) ? MYSQL_DONE : MYSQL_GOES_ON;
}

/* The first packet of an answer to a request that nobody saw: what can be only one thing. */
static enum mysql_step mysql_stray(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	struct mysql_reader r = mysql_reader(p, 1);

	if (!p.len)
		return MYSQL_LOST;
	if (p.data[0] == MYSQL_OK && len >= 12) {
		/* Maybe a PREPARE's: then the id that it gives is another statement's no longer. */
		clv_mysql_statements_close(&st->statements, (uint32_t)mysql_number(&r, 4));
		return MYSQL_LOST;
	}
	return p.data[0] == MYSQL_INFILE ? MYSQL_LOST : mysql_result(st, p, len);
}

/* The first packet of an answer, by what was asked. */
static enum mysql_step mysql_first(struct mysql_state *st, struct clv_slice p, uint32_t len)
{
	switch (st->command) {
	case 0:
		return mysql_stray(st, p, len);
	case CLV_MYSQL_QUERY:
	case CLV_MYSQL_EXECUTE:
	case CLV_MYSQL_BULK_EXECUTE:
	case CLV_MYSQL_PROCESS_INFO:
		return mysql_result(st, p, len);
	case CLV_MYSQL_FETCH:
		st->answer.flags |= CLV_MYSQL_HAS_ROWS;
		st->server.phase = MYSQL_ROWS;
		return mysql_row(st, p, len);
	case CLV_MYSQL_PREPARE:
		return mysql_prepared(st, p);
	case CLV_MYSQL_FIELD_LIST:
		return mysql_field(st, p, len);
	case CLV_MYSQL_LOGIN:
	case CLV_MYSQL_CHANGE_USER:
		return mysql_logged_in(st, p);
	case CLV_MYSQL_BINLOG_DUMP:
	case CLV_MYSQL_BINLOG_DUMP_GTID:
	case CLV_MYSQL_TABLE_DUMP:
	case CLV_MYSQL_SUBSCRIBE_GROUP_REPLICATION:
		return mysql_event(st, p, len);
	case CLV_MYSQL_STATISTICS:
		return p.len && p.data[0] == MYSQL_ERR ? mysql_error(st, p) : MYSQL_DONE;
	default:
		return mysql_simple(st, p, len);
	}
}

/* A later packet of an answer. `last`: what is here ends with it. */
static enum mysql_step mysql_next(struct mysql_state *st, struct clv_slice p, uint32_t len, bool last)
{
	switch (st->server.phase) {
	case MYSQL_DEFINES:
		return mysql_define(st, p);
	case MYSQL_DEFINED:
		return mysql_defined(st, p, len);
	case MYSQL_ROWS:
		return mysql_row(st, p, len);
	case MYSQL_PREPARED:
		return mysql_prepared_more(st, p, len, last);
	case MYSQL_FIELDS:
		return mysql_field(st, p, len);
	case MYSQL_LOGIN:
		return mysql_logged_in(st, p);
	case MYSQL_STREAM:
		return mysql_event(st, p, len);
	case MYSQL_RESULT: /* behind progress, it is as if nothing had been said */
		return st->answer.flags ? mysql_result(st, p, len) : mysql_first(st, p, len);
	default:
		return mysql_result(st, p, len);
	}
}

/* How much of a later packet decides what it is: little, but for what ends something. */
static uint32_t mysql_next_bytes(const struct mysql_state *st, struct clv_slice in, size_t at, uint32_t len)
{
	bool rows = st->server.phase == MYSQL_ROWS || st->server.phase == MYSQL_DEFINED;
	uint32_t most = MYSQL_FIRST_BYTES;

	if (at + MYSQL_HEADER >= in.len)
		return len < 1 ? len : 1;
	uint8_t first = in.data[at + MYSQL_HEADER];
	if (st->server.phase == MYSQL_DEFINES || st->server.phase == MYSQL_PREPARED ||
	    st->server.phase == MYSQL_FIELDS || st->server.phase == MYSQL_STREAM)
		most = 13;
	else if (rows && first != MYSQL_ERR && (first != MYSQL_EOF || len == MYSQL_FULL))
		most = 1;
	return len < most ? len : most;
}

/* What the answer has changed, now that it is over. */
static void mysql_settle(struct mysql_state *st)
{
	if (!st->moves || st->moves != st->asked)
		return;
	bool failed = st->answer.flags & CLV_MYSQL_FAILED && !st->many; /* of several, not the first */
	if (st->moves_later && st->many)
		mysql_set_db(st, clv_slice(NULL, 0));
	else if (st->moves_first && !failed)
		mysql_set_db(st, clv_slice(st->next_db, st->next_db_len));
	st->moves = 0;
}

/* The answer's last byte is the one before `at`. */
static struct clv_fed mysql_answered(struct mysql_state *st, size_t at, struct clv_sink *sink)
{
	bool failed = st->answer.flags & CLV_MYSQL_FAILED;

	mysql_settle(st);
	mysql_reset(&st->server);
	mysql_end(sink, CLV_TO_CLIENT, at, &st->answer);
	if (!failed && st->command == CLV_MYSQL_LOGIN && mysql_wraps(st)) {
		sink->note(sink, CLV_NOTE_ALPN,
			   st->caps & MYSQL_CAP_COMPRESS ? CLV_LIT("mysql+zlib") : CLV_LIT("mysql+zstd"));
		return mysql_fed(CLV_FED_OPAQUE, at, 0);
	}
	if (!failed && st->command == CLV_MYSQL_CLONE)
		return mysql_fed(CLV_FED_OPAQUE, at, 0);
	return mysql_fed(CLV_FED_OK, at, 0);
}

/*
 * More of an answer: as many packets as are here. What was walked over is body: it is given back as such, and the end
 * waits until that is paid.
 */
static struct clv_fed mysql_more(struct mysql_state *st, struct clv_slice in)
{
	struct mysql_side *s = &st->server;
	bool strict = s->phase != MYSQL_LOGIN && s->phase != MYSQL_FILE; /* the client's packets count as well */
	size_t at = 0, need = MYSQL_HEADER;
	struct mysql_header h;

	for (; !s->ending && mysql_header(in, at, &h); at += MYSQL_HEADER + (size_t)h.len, need = MYSQL_HEADER) {
		enum mysql_step step = MYSQL_GOES_ON;
		if ((strict || s->goes_on) && h.seq != (uint8_t)(s->seq + 1))
			step = MYSQL_LOST;
		uint32_t want = s->goes_on || step == MYSQL_LOST ? 0 : mysql_next_bytes(st, in, at, h.len);
		if (in.len - at - MYSQL_HEADER < want) {
			need = MYSQL_HEADER + want;
			break;
		}
		if (step == MYSQL_LOST && at)
			break; /* first what is before it */
		bool last = in.len - at - MYSQL_HEADER <= h.len;
		if (step != MYSQL_LOST && !s->goes_on)
			step = mysql_next(st, clv_slice_sub(in, at + MYSQL_HEADER, h.len), h.len, last);
		if (step == MYSQL_LOST)
			return mysql_bad(s, at);
		s->seq = h.seq;
		s->goes_on = h.len == MYSQL_FULL;
		s->done |= step == MYSQL_DONE;
		s->ending = s->done && !s->goes_on;
	}
	return at ? mysql_fed(CLV_FED_OK, 0, at) : mysql_need(need);
}

/* Does an answer begin with this number? With 1, but for one to a command of several packets. */
static bool mysql_may_answer(const struct mysql_state *st, uint8_t seq)
{
	return seq == 1 || seq == (uint8_t)(st->client.seq + 1);
}

/* The first packet of an answer: its head. */
static struct clv_fed mysql_answer(struct mysql_state *st, struct clv_slice in, const struct mysql_header *h,
				   struct clv_sink *sink)
{
	struct mysql_side *s = &st->server;
	uint32_t want = h->len < MYSQL_FIRST_BYTES ? h->len : MYSQL_FIRST_BYTES;
	struct clv_slice head = clv_slice_head(in, MYSQL_HEADER + want), p = clv_slice_from(head, MYSQL_HEADER);

	if (head.len < MYSQL_HEADER + want)
		return mysql_need(MYSQL_HEADER + want);
	/* A server that closes an idle connection may say why. Nobody asked. */
	if (h->seq == 0 && p.len && p.data[0] == MYSQL_ERR)
		return mysql_fed(CLV_FED_OK, head.len, h->len - want);
	/* The end of definitions that seemed to be over. */
	if (h->seq != 1 && mysql_is_eof(p, h->len) && st->command == CLV_MYSQL_PREPARE) {
		st->eof = MYSQL_EOF_SENT;
		return mysql_fed(CLV_FED_OK, head.len, 0);
	}
	if (!mysql_may_answer(st, h->seq))
		return mysql_bad(s, head.len);
	st->answer = (struct clv_mysql_response){0};
	st->many = false;
	struct clv_msg msg = {
		.role = CLV_RESPONSE, .head = head, .facts = &st->answer, .facts_size = sizeof(st->answer)};
	const struct clv_mysql_request *asked = sink->head(sink, CLV_TO_CLIENT, &msg);
	st->command = asked ? asked->command : 0;
	st->asked = asked ? asked->serial : 0;
	st->confirmed |= asked != NULL;
	*s = (struct mysql_side){.seq = h->seq, .goes_on = h->len == MYSQL_FULL};
	enum mysql_step step = mysql_first(st, p, h->len);
	/* Once answers have found their requests, one that does not is a sign that something was missed. */
	if (!asked && st->confirmed)
		return mysql_bad(s, head.len);
	if (!asked && step == MYSQL_LOST) {
		s->phase = MYSQL_STRAY;
		return mysql_fed(CLV_FED_OK, head.len, h->len - want);
	}
	if (step == MYSQL_LOST)
		return mysql_bad(s, head.len);
	s->done = step == MYSQL_DONE;
	s->ending = s->done && !s->goes_on && want < h->len;
	if (s->done && !s->goes_on && !s->ending)
		return mysql_answered(st, head.len, sink);
	return mysql_fed(CLV_FED_OK, head.len, h->len - want);
}

/* Version and capabilities (HandshakeV10, V9). False: it is no greeting. */
static bool mysql_greeted(struct mysql_state *st, struct clv_slice p, struct clv_sink *sink)
{
	struct mysql_reader r = mysql_reader(p, 0);
	uint64_t protocol = mysql_number(&r, 1);
	struct clv_slice version = mysql_cstring(&r);

	if (r.bad || (protocol != 10 && protocol != 9))
		return false;
	sink->note(sink, CLV_NOTE_VERSION, version);
	st->mariadb = memmem(version.data, version.len, "MariaDB", 7) != NULL;
	mysql_take(&r, 4 + 8 + 1); /* connection, half of the scramble, 0 */
	st->greeted = (uint32_t)mysql_number(&r, 2);
	mysql_take(&r, 1 + 2);
	st->greeted |= (uint32_t)mysql_number(&r, 2) << 16;
	if (protocol == 9)
		st->greeted = 0;
	st->greeting_seen = protocol == 10;
	return true;
}

static struct clv_fed mysql_greeting(struct mysql_state *st, struct clv_slice in, const struct mysql_header *h,
				     struct clv_sink *sink)
{
	struct mysql_side *s = &st->server;
	uint32_t want = h->len < MYSQL_FIRST_BYTES ? h->len : MYSQL_FIRST_BYTES;
	struct clv_slice p = clv_slice_sub(in, MYSQL_HEADER, want);

	if (p.len < want)
		return mysql_need(MYSQL_HEADER + want);
	mysql_reset(s);
	if (want && p.data[0] != MYSQL_ERR && !mysql_greeted(st, p, sink)) /* an error: nobody gets in */
		return mysql_bad(s, MYSQL_HEADER + want);
	return mysql_fed(CLV_FED_OK, MYSQL_HEADER + want, h->len - want);
}

static struct clv_fed mysql_feed_server(struct mysql_state *st, struct clv_slice in, struct clv_sink *sink)
{
	struct mysql_side *s = &st->server;
	struct mysql_header h;

	if (s->ending) {
		struct clv_fed fed = mysql_answered(st, 0, sink);
		if (fed.v != CLV_FED_OK || !in.len)
			return fed.v == CLV_FED_OK ? mysql_need(MYSQL_HEADER) : fed;
	}
	bool between = s->phase == MYSQL_IDLE || s->phase == MYSQL_START;
	if (s->goes_on || (!between && s->phase != MYSQL_STRAY))
		return mysql_more(st, in);
	if (!mysql_header(in, 0, &h))
		return mysql_need(MYSQL_HEADER);
	if (s->phase == MYSQL_STRAY && h.seq == (uint8_t)(s->seq + 1)) {
		s->seq = h.seq;
		s->goes_on = h.len == MYSQL_FULL;
		return mysql_fed(CLV_FED_OK, 0, MYSQL_HEADER + (uint64_t)h.len);
	}
	bool start = s->phase == MYSQL_START || (!st->confirmed && clv_mysql_is_greeting(in) == CLV_MATCH_YES);
	if (h.seq == 0 && start)
		return mysql_greeting(st, in, &h, sink);
	return mysql_answer(st, in, &h, sink);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void mysql_open(void *state, const struct clv_conn_info *conn)
{
	struct mysql_state *st = state;

	clv_mysql_statements_init(&st->statements, conn);
	if (!conn->midstream)
		st->client.phase = st->server.phase = MYSQL_START;
	st->client.candidate = st->server.candidate = conn->midstream;
}

static void mysql_close(void *state)
{
	clv_mysql_statements_clear(&((struct mysql_state *)state)->statements);
}

static struct clv_fed mysql_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	return dir == CLV_TO_SERVER ? mysql_feed_client(state, in, sink) : mysql_feed_server(state, in, sink);
}

/* A statement that was cut, but not at its very beginning, still says what was asked. */
static void mysql_report_cut(struct mysql_state *st, struct clv_slice rest, struct clv_sink *sink)
{
	struct mysql_side *c = &st->client;
	struct mysql_header h;

	if (c->goes_on || c->phase != MYSQL_IDLE || !mysql_header(rest, 0, &h) || h.seq)
		return;
	struct clv_slice p = clv_slice_from(rest, MYSQL_HEADER);
	if (p.len < MYSQL_CUT_BYTES || p.len >= h.len)
		return;
	size_t text = p.data[0] == CLV_MYSQL_PREPARE ? 1 : 0;
	if (p.data[0] == CLV_MYSQL_QUERY)
		text = clv_mysql_query_text(p, mysql_has_attributes(st));
	if (text && p.len - text >= MYSQL_CUT_BYTES)
		mysql_ask(st, clv_slice_head(rest, MYSQL_HEADER + MYSQL_TEXT_BYTES), true, CLV_MSG_TRUNCATED, sink);
}

/* What was missed may have changed what is known of the session. */
static void mysql_doubt(struct mysql_state *st, enum clv_dir dir)
{
	st->lost[dir] = true;
	st->backslash = CLV_SQL_BACKSLASH_UNKNOWN;
	if (dir == CLV_TO_SERVER) {
		st->db_len = st->user_len = 0;
		st->moves = 0;
		st->statements.last = 0;
	} else {
		if (st->moves)
			st->db_len = 0;
		st->moves = 0;
		clv_mysql_statements_forget_unnamed(&st->statements);
	}
	/* A statement may have been closed, and its id given to another one, without anybody having seen either. */
	if (st->lost[0] && st->lost[1]) {
		clv_mysql_statements_clear(&st->statements);
		st->lost[0] = st->lost[1] = false;
	}
}

static void mysql_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct mysql_state *st = state;

	if (dir == CLV_TO_SERVER && lost)
		mysql_report_cut(st, rest, sink);
	mysql_reset(dir == CLV_TO_SERVER ? &st->client : &st->server);
	mysql_doubt(st, dir);
}

static void mysql_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	struct mysql_state *st = state;

	if (dir == CLV_TO_SERVER)
		mysql_report_cut(st, rest, sink);
	else if (st->server.phase == MYSQL_STREAM) /* that is how they end */
		mysql_end(sink, CLV_TO_CLIENT, 0, &st->answer);
}

/* ---- finding messages ----------------------------------------------------------------------------------------------
 */

static enum clv_match mysql_begins(struct mysql_state *st, enum clv_dir dir, struct clv_slice in, uint8_t *phase)
{
	enum clv_match start = dir == CLV_TO_SERVER ? clv_mysql_is_login(in) : clv_mysql_is_greeting(in);
	enum clv_match message = dir == CLV_TO_SERVER ? clv_mysql_is_command(in) : clv_mysql_is_answer(in);

	/* Logins are sent once, before anything else. */
	if (st->confirmed)
		start = CLV_MATCH_NO;
	*phase = start > CLV_MATCH_MAYBE ? MYSQL_START : MYSQL_IDLE;
	return start > message ? start : message;
}

/* Only where a packet begins: nothing within one tells where the next begins. */
static ptrdiff_t mysql_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct mysql_state *st = state;
	struct mysql_side *s = dir == CLV_TO_SERVER ? &st->client : &st->server;
	const size_t places[] = {0, s->kept};
	bool tried[] = {at_packet || s->candidate, s->kept > 0};

	for (size_t i = 0; i < 2; i++) {
		struct clv_slice from = clv_slice_from(in, places[i]);
		uint8_t phase;
		if (!tried[i] || !from.len)
			continue;
		enum clv_match m = mysql_begins(st, dir, from, &phase);
		if (m == CLV_MATCH_NO || (m == CLV_MATCH_MAYBE && from.len > MYSQL_FIRST_BYTES))
			continue;
		mysql_reset(s);
		if (m > CLV_MATCH_MAYBE) {
			s->phase = phase;
			return (ptrdiff_t)places[i];
		}
		s->candidate = true;
		s->kept = (uint16_t)from.len;
		return -1 - (ptrdiff_t)from.len;
	}
	mysql_reset(s);
	return -1;
}

const struct clv_proto clv_mysql = {
	.name = "mysql",
	.ports = {3306},
	.state_size = sizeof(struct mysql_state),
	.probe = clv_mysql_probe,
	.open = mysql_open,
	.close = mysql_close,
	.feed = mysql_feed,
	.gap = mysql_gap,
	.resync = mysql_resync,
	.fin = mysql_fin,
	.describe = clv_mysql_describe,
};
