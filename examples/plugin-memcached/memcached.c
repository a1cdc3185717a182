/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parses the Memcached text protocol. Owns the state of one connection, two bytes a direction; never allocates. The
 * engine's thread.
 *
 * What is on the wire (doc/protocol.txt of memcached 1.6): lines that end in CRLF, or LF alone, and data blocks whose
 * length a line before them says, each followed by CRLF. Commands are in lower case.
 *
 *     client                                     server
 *     set KEY FLAGS TIME BYTES [noreply]         STORED | NOT_STORED | EXISTS | NOT_FOUND | an error
 *     DATA
 *     get KEY...                                 VALUE KEY FLAGS BYTES, then DATA; as often as there are items; END
 *     incr KEY NUMBER [noreply]                  a number | NOT_FOUND | an error
 *     stats [WORDS]                              STAT NAME VALUE, as often as ...; END
 *     errors:                                    ERROR | CLIENT_ERROR text | SERVER_ERROR text
 *
 * Answers come in the order of the commands; with noreply there is none. How an answer is framed shows in its own first
 * word, so that it can be read without its command. Of the meta commands (mg, ms, ...) the quiet ones are answered or
 * not, depending on how it goes: from the first of them on nobody can tell what answers what, and the connection is no
 * longer followed. Behind `watch` there are log lines, likewise.
 */
#include "memcached.h"

/* How a command's line goes on. */
enum form { FORM_STORE, FORM_KEYS, FORM_TIME_KEYS, FORM_KEY, FORM_KEY_NUMBER, FORM_META, FORM_WORDS };

/* What comes behind an answer's first line. */
enum follows { FOLLOWS_LINE, FOLLOWS_TEXT, FOLLOWS_DATA, FOLLOWS_LIST };

/* What a direction is about to read. */
enum phase {
	PHASE_LINE,     /* the first line of a message */
	PHASE_DATA_END, /* the CRLF behind a command's data, or behind that of VA: the message's end */
	PHASE_ITEM_END, /* the CRLF behind an item of a list */
	PHASE_LIST,     /* the next line of a list */
};

struct state {
	uint8_t phase[2];              /* by enum clv_dir */
	struct memcached_facts answer; /* of the list that is being read */
};

static const struct {
	struct clv_slice name;
	enum form form;
} commands[MEMCACHED_COMMAND_COUNT] = {
#define X(id, text, how) [MEMCACHED_##id] = {{(const uint8_t *)(text), sizeof(text) - 1}, FORM_##how},
	MEMCACHED_COMMANDS(X)
#undef X
};

static const struct {
	struct clv_slice word;
	enum follows follows;
	bool alone;
} answers[] = {
#define X(id, text, how, alone) [MEMCACHED_##id] = {{(const uint8_t *)(text), sizeof(text) - 1}, FOLLOWS_##how, alone},
	MEMCACHED_ANSWERS(X)
#undef X
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct clv_slice memcached_command_name(enum memcached_command command)
{
	return command == MEMCACHED_OTHER ? CLV_LIT("_OTHER") : commands[command].name;
}

/* ---- words ----------------------------------------------------------------------------------------------------- */

/* A line's length with its end, or 0: not all of it is there. */
static size_t line_len(struct clv_slice in)
{
	size_t at = clv_slice_find(in, 0, '\n');

	return at < in.len ? at + 1 : 0;
}

/* Without its end. */
static struct clv_slice line_text(struct clv_slice in, size_t len)
{
	len--;
	if (len && in.data[len - 1] == '\r')
		len--;
	return clv_slice_head(in, len);
}

static struct clv_slice skip_blanks(struct clv_slice s)
{
	while (s.len && s.data[0] == ' ')
		s = clv_slice_from(s, 1);
	return s;
}

/* Cuts the next word off; empty at the end. */
static struct clv_slice next_word(struct clv_slice *rest)
{
	*rest = skip_blanks(*rest);
	size_t end = clv_slice_find(*rest, 0, ' ');
	struct clv_slice word = clv_slice_head(*rest, end);

	*rest = clv_slice_from(*rest, end);
	return word;
}

/* Keys may hold any bytes but blanks and controls. */
static bool is_plain(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.data[i] < ' ' || s.data[i] == 0x7f)
			return false;
	return true;
}

static bool is_key(struct clv_slice s)
{
	return s.len && s.len <= MEMCACHED_KEY_BYTES && is_plain(s);
}

/* Digits only, at most `most`. */
static bool number(struct clv_slice s, uint64_t most, uint64_t *out)
{
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++) {
		unsigned digit = (unsigned)s.data[i] - '0';

		if (digit > 9 || v > (most - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*out = v;
	return s.len > 0;
}

/* A number that may have a sign: times are negative for "at once". */
static bool is_number(struct clv_slice s)
{
	uint64_t ignored;

	return number(s.len && s.data[0] == '-' ? clv_slice_from(s, 1) : s, UINT64_MAX, &ignored);
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

/* How much a line is like one of this protocol. */
enum sense { SENSE_NONE, SENSE_OTHER, SENSE_KNOWN, SENSE_GOOD };

/* The server keeps data lengths in 31 bits. */
#define DATA_MAX (INT32_MAX - 2)

struct command {
	enum sense sense;
	bool data;      /* a data block follows, of... */
	uint64_t bytes; /* ...so many bytes */
	bool quiet;     /* a meta command that is answered only sometimes */
	struct memcached_facts facts;
};

static enum memcached_command command_find(struct clv_slice word)
{
	for (unsigned i = MEMCACHED_OTHER + 1; i < MEMCACHED_COMMAND_COUNT; i++)
		if (clv_slice_eq(word, commands[i].name))
			return (enum memcached_command)i;
	return MEMCACHED_OTHER;
}

static void take_key(struct command *c, struct clv_slice line, struct clv_slice key)
{
	if (c->facts.keys == 0) {
		c->facts.key_at = (uint16_t)(key.data - line.data);
		c->facts.key_len = (uint16_t)(key.len < UINT16_MAX ? key.len : UINT16_MAX);
	}
	c->facts.keys += c->facts.keys < UINT16_MAX;
}

/* KEY FLAGS TIME BYTES [CAS] [noreply]. Anything else is answered by an error, and no data are taken. */
static bool read_store(struct command *c, struct clv_slice line, struct clv_slice rest)
{
	struct clv_slice key = next_word(&rest), flags = next_word(&rest), time = next_word(&rest);
	struct clv_slice bytes = next_word(&rest);

	if (!is_key(key))
		return false;
	take_key(c, line, key);
	if (!is_number(flags) || !is_number(time) || !number(bytes, DATA_MAX, &c->bytes))
		return false;
	if (c->facts.command == MEMCACHED_CAS && !is_number(next_word(&rest)))
		return false;
	c->data = true;
	return true;
}

static bool read_keys(struct command *c, struct clv_slice line, struct clv_slice rest)
{
	bool good = true;

	for (struct clv_slice key; (key = next_word(&rest)).len;) {
		good &= is_key(key);
		take_key(c, line, key);
	}
	return good && c->facts.keys > 0;
}

/* mg KEY FLAG..., ms KEY BYTES FLAG... A flag is one letter and what belongs to it. */
static bool read_meta(struct command *c, struct clv_slice line, struct clv_slice rest)
{
	struct clv_slice key = next_word(&rest);

	if (!is_key(key))
		return false;
	take_key(c, line, key);
	if (c->facts.command == MEMCACHED_MS) {
		c->data = number(next_word(&rest), DATA_MAX, &c->bytes);
		if (!c->data)
			return false;
	}
	for (struct clv_slice flag; (flag = next_word(&rest)).len;)
		c->quiet |= flag.data[0] == 'q';
	return true;
}

static bool read_arguments(struct command *c, struct clv_slice line, struct clv_slice rest)
{
	struct clv_slice word;

	switch (commands[c->facts.command].form) {
	case FORM_STORE:
		return read_store(c, line, rest);
	case FORM_TIME_KEYS:
		return is_number(next_word(&rest)) && read_keys(c, line, rest);
	case FORM_KEYS:
		return read_keys(c, line, rest);
	case FORM_META:
		return read_meta(c, line, rest);
	case FORM_KEY:
	case FORM_KEY_NUMBER:
		word = next_word(&rest);
		if (!is_key(word))
			return false;
		take_key(c, line, word);
		return commands[c->facts.command].form == FORM_KEY || is_number(next_word(&rest));
	case FORM_WORDS:
		word = next_word(&rest);
		if (word.len)
			take_key(c, line, word);
		return true;
	}
	return false;
}

/* A client's line, without its end. */
static struct command read_command(struct clv_slice line)
{
	struct command c = {.sense = SENSE_NONE};
	struct clv_slice rest = line, word = next_word(&rest);

	if (!word.len || !is_plain(line))
		return c;
	c.sense = SENSE_OTHER;
	c.facts.command = (uint8_t)command_find(word);
	if (c.facts.command == MEMCACHED_OTHER)
		return c;
	c.sense = read_arguments(&c, line, rest) ? SENSE_GOOD : SENSE_KNOWN;
	/* The server looks at the last word only, and at those of whole commands. */
	c.facts.noreply = c.sense == SENSE_GOOD && commands[c.facts.command].form != FORM_META &&
			  commands[c.facts.command].form != FORM_KEYS && line.len > 8 &&
			  memcmp(line.data + line.len - 8, " noreply", 8) == 0;
	return c;
}

static bool is_oneway(const struct command *c)
{
	return c->facts.noreply || c->facts.command == MEMCACHED_QUIT || c->facts.command == MEMCACHED_SHUTDOWN;
}

static void end_message(struct clv_sink *sink, enum clv_dir dir, uint32_t at, const struct memcached_facts *facts)
{
	struct clv_end end = {.at = at, .facts = facts, .facts_size = facts ? (uint16_t)sizeof(*facts) : 0};

	sink->end(sink, dir, &end);
}

static struct clv_fed feed_command(struct state *s, struct clv_slice in, struct clv_sink *sink)
{
	size_t len = line_len(in);

	if (!len && in.len > MEMCACHED_LINE_BYTES)
		return (struct clv_fed){.v = CLV_FED_BAD, .used = (uint32_t)in.len};
	if (!len)
		return (struct clv_fed){.v = CLV_FED_MORE};
	struct command c = read_command(line_text(in, len));
	if (c.sense == SENSE_NONE || len > MEMCACHED_LINE_BYTES)
		return (struct clv_fed){.v = CLV_FED_BAD, .used = (uint32_t)len};
	if (c.quiet)
		return (struct clv_fed){.v = CLV_FED_OPAQUE};
	struct clv_msg msg = {
		.role = CLV_REQUEST,
		.flags = is_oneway(&c) ? CLV_MSG_ONEWAY : 0,
		.head = clv_slice_head(in, len),
		.method = memcached_command_name((enum memcached_command)c.facts.command),
		.facts = &c.facts,
		.facts_size = sizeof(c.facts),
	};
	sink->head(sink, CLV_TO_SERVER, &msg);
	if (c.data)
		s->phase[CLV_TO_SERVER] = PHASE_DATA_END;
	else
		end_message(sink, CLV_TO_SERVER, (uint32_t)len, NULL);
	return (struct clv_fed){.v = CLV_FED_OK, .used = (uint32_t)len, .skip = c.data ? c.bytes : 0};
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

struct answer {
	enum memcached_answer what; /* MEMCACHED_NONE: no line of this protocol */
	enum follows follows;
	bool alone;
	bool data; /* a data block follows */
	uint64_t bytes;
};

/* VALUE KEY FLAGS BYTES [CAS], or VA BYTES FLAG... */
static bool read_data_line(struct answer *a, struct clv_slice rest)
{
	if (a->what == MEMCACHED_VALUE && (!is_key(next_word(&rest)) || !is_number(next_word(&rest))))
		return false;
	a->data = true;
	return number(next_word(&rest), DATA_MAX, &a->bytes);
}

/* A server's line, without its end. */
static struct answer read_answer(struct clv_slice line)
{
	struct clv_slice rest = line, word = next_word(&rest);
	struct answer a = {.what = MEMCACHED_NONE};
	bool more = skip_blanks(rest).len > 0;

	if (!word.len || word.data != line.data || !is_plain(line))
		return a;
	for (unsigned i = 1; i < COUNT(answers); i++) {
		if (!clv_slice_eq(word, answers[i].word))
			continue;
		a = (struct answer){(enum memcached_answer)i, answers[i].follows, answers[i].alone, false, 0};
		if ((a.what == MEMCACHED_VALUE || a.what == MEMCACHED_VA) && !read_data_line(&a, rest))
			return (struct answer){.what = MEMCACHED_NONE};
		if (a.follows == FOLLOWS_LINE && more)
			return (struct answer){.what = MEMCACHED_NONE};
		return a;
	}
	if (number(word, UINT64_MAX, &a.bytes)) /* decr leaves blanks behind a number that got shorter */
		return (struct answer){.what = more ? MEMCACHED_NONE : MEMCACHED_NUMBER};
	if (clv_slice_starts(line, CLV_LIT("key=")))
		return (struct answer){.what = MEMCACHED_DUMP, .follows = FOLLOWS_LIST};
	return a;
}

static bool ends_list(enum memcached_answer what)
{
	return what == MEMCACHED_END || what == MEMCACHED_ERROR || what == MEMCACHED_CLIENT_ERROR ||
	       what == MEMCACHED_SERVER_ERROR;
}

/* A line of a list that has begun. */
static struct clv_fed feed_list(struct state *s, const struct answer *a, uint32_t len, struct clv_sink *sink)
{
	if (ends_list(a->what)) {
		s->phase[CLV_TO_CLIENT] = PHASE_LINE;
		s->answer.ended = (uint8_t)a->what;
		end_message(sink, CLV_TO_CLIENT, len, &s->answer);
	} else if (a->follows != FOLLOWS_LIST) {
		return (struct clv_fed){.v = CLV_FED_BAD, .used = len};
	} else {
		s->answer.hits += s->answer.hits < UINT16_MAX;
		s->phase[CLV_TO_CLIENT] = a->data ? PHASE_ITEM_END : PHASE_LIST;
	}
	return (struct clv_fed){.v = CLV_FED_OK, .used = len, .skip = a->data ? a->bytes : 0};
}

/* The text behind an error's first word, for describe(). */
static struct clv_slice error_text(const struct answer *a, struct clv_slice line)
{
	if (a->what != MEMCACHED_CLIENT_ERROR && a->what != MEMCACHED_SERVER_ERROR)
		return clv_slice(NULL, 0);
	next_word(&line);
	return skip_blanks(line);
}

static struct clv_fed feed_answer(struct state *s, struct clv_slice in, struct clv_sink *sink)
{
	size_t len = line_len(in);

	if (!len && in.len > MEMCACHED_LINE_BYTES)
		return (struct clv_fed){.v = CLV_FED_BAD, .used = (uint32_t)in.len};
	if (!len)
		return (struct clv_fed){.v = CLV_FED_MORE};
	struct clv_slice line = line_text(in, len);
	struct answer a = read_answer(line);
	if (a.what == MEMCACHED_NONE)
		return (struct clv_fed){.v = CLV_FED_BAD, .used = (uint32_t)len};
	if (s->phase[CLV_TO_CLIENT] == PHASE_LIST)
		return feed_list(s, &a, (uint32_t)len, sink);

	struct memcached_facts facts = {.answer = (uint8_t)a.what, .hits = a.data};
	struct clv_msg msg = {
		.role = CLV_RESPONSE,
		.head = clv_slice_head(in, len),
		.facts = &facts,
		.facts_size = sizeof(facts),
		.keep = error_text(&a, line),
	};
	const struct memcached_facts *request = sink->head(sink, CLV_TO_CLIENT, &msg);
	bool log = request && request->command == MEMCACHED_WATCH && a.what == MEMCACHED_OK;
	if (a.follows == FOLLOWS_LIST) {
		s->answer = facts;
		s->answer.hits = 1;
		s->phase[CLV_TO_CLIENT] = a.data ? PHASE_ITEM_END : PHASE_LIST;
	} else if (a.data) {
		s->phase[CLV_TO_CLIENT] = PHASE_DATA_END;
	} else {
		end_message(sink, CLV_TO_CLIENT, (uint32_t)len, NULL);
	}
	return (struct clv_fed){
		.v = log ? CLV_FED_OPAQUE : CLV_FED_OK, .used = (uint32_t)len, .skip = a.data ? a.bytes : 0};
}

/* ---- the contract ---------------------------------------------------------------------------------------------- */

static void memcached_open(void *st, const struct clv_conn_info *conn)
{
}

/* The two bytes behind a data block. Of a command they are its end, right or wrong: the server goes on behind them. */
static struct clv_fed feed_data_end(struct state *s, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	if (in.len < 2)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = 2};
	if (dir == CLV_TO_CLIENT && memcmp(in.data, "\r\n", 2) != 0)
		return (struct clv_fed){.v = CLV_FED_BAD, .used = 2};
	if (s->phase[dir] == PHASE_DATA_END) {
		end_message(sink, dir, 2, NULL);
		s->phase[dir] = PHASE_LINE;
	} else {
		s->phase[dir] = PHASE_LIST;
	}
	return (struct clv_fed){.v = CLV_FED_OK, .used = 2};
}

static struct clv_fed memcached_feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct state *s = st;

	if (s->phase[dir] == PHASE_DATA_END || s->phase[dir] == PHASE_ITEM_END)
		return feed_data_end(s, dir, in, sink);
	return dir == CLV_TO_SERVER ? feed_command(s, in, sink) : feed_answer(s, in, sink);
}

static void memcached_gap(void *st, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct state *s = st;

	s->phase[dir] = PHASE_LINE;
}

/* Commands begin packets; in the middle of one anything may be data. */
static ptrdiff_t resync_command(struct clv_slice in, bool at_packet)
{
	size_t len = line_len(in);

	return at_packet && len && len <= MEMCACHED_LINE_BYTES && read_command(line_text(in, len)).sense == SENSE_GOOD
		       ? 0
		       : -1;
}

/* A line that is kept while its end has not come. */
#define HUNT_LINE_BYTES 512u

static const struct clv_slice eol = {(const uint8_t *)"\r\n", 2}, list_end = {(const uint8_t *)"\r\nEND\r\n", 7};

static bool ends_with(struct clv_slice s, struct clv_slice end)
{
	return s.len >= end.len && memcmp(s.data + s.len - end.len, end.data, end.len) == 0;
}

/* Did a list end right before `at`? A slice that begins with END does so at a packet's beginning, or was kept. */
static bool behind_list(struct clv_slice in, size_t at)
{
	struct clv_slice before = clv_slice_head(in, at);

	return ends_with(before, list_end) || clv_slice_eq(before, clv_slice_from(list_end, 2));
}

/*
 * Does an answer begin at `at`, where a line may begin? One that is a line of its own does, unless it may be the rest
 * of a longer word (NOT_STORED, CLIENT_ERROR) that began in another packet. VALUE, STAT and END go on with a list,
 * unless one has just ended; and a number alone may be anything.
 */
static bool begins_answer(struct clv_slice in, size_t at, struct clv_slice line)
{
	struct answer a = read_answer(line);

	if (a.what == MEMCACHED_NONE)
		return false;
	if (behind_list(in, at))
		return true;
	return a.alone && (at || (a.what != MEMCACHED_STORED && a.what != MEMCACHED_ERROR));
}

static ptrdiff_t resync_answer(struct clv_slice in, bool at_packet)
{
	size_t at = 0;
	bool may_begin_here = at_packet;

	for (size_t len; (len = line_len(clv_slice_from(in, at))); at += len) {
		if (may_begin_here && begins_answer(in, at, line_text(clv_slice_from(in, at), len)))
			return (ptrdiff_t)at;
		may_begin_here = ends_with(clv_slice_head(in, at + len), eol);
	}
	/* The last line has not ended; what stands before it may be needed to tell what it is. */
	size_t before = behind_list(in, at) ? list_end.len : eol.len;
	if (!may_begin_here || in.len - at > HUNT_LINE_BYTES)
		return -1;
	if (before > at)
		before = at;
	return -1 - (ptrdiff_t)(in.len - at + before);
}

static ptrdiff_t memcached_resync(void *st, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	return dir == CLV_TO_SERVER ? resync_command(in, at_packet) : resync_answer(in, at_packet);
}

static void memcached_fin(void *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

/* ---- is it this protocol? -------------------------------------------------------------------------------------- */

/* Could a line that begins like this have a word of the list before its first blank? */
static bool may_begin(struct clv_slice in, struct clv_slice word)
{
	size_t n = in.len < word.len ? in.len : word.len;

	return memcmp(in.data, word.data, n) == 0 && (in.len <= word.len || strchr(" \r\n", in.data[word.len]) != NULL);
}

static enum clv_match probe_part(enum clv_dir dir, struct clv_slice in)
{
	if (!is_plain(in.len && in.data[in.len - 1] == '\r' ? clv_slice_head(in, in.len - 1) : in))
		return CLV_MATCH_NO;
	for (unsigned i = 1; dir == CLV_TO_SERVER && i < MEMCACHED_COMMAND_COUNT; i++)
		if (may_begin(in, commands[i].name))
			return CLV_MATCH_MAYBE;
	for (unsigned i = 1; dir == CLV_TO_CLIENT && i < COUNT(answers); i++)
		if (may_begin(in, answers[i].word))
			return CLV_MATCH_MAYBE;
	return dir == CLV_TO_CLIENT && in.len && in.data[0] >= '0' && in.data[0] <= '9' ? CLV_MATCH_MAYBE
											: CLV_MATCH_NO;
}

/* Of a command with data, and of an item, there is nothing like it; a word and a key may be anybody's. */
static enum clv_match memcached_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	size_t len = line_len(in);

	if (!len)
		return probe_part(dir, in);
	struct clv_slice line = line_text(in, len);
	if (dir == CLV_TO_SERVER) {
		struct command c = read_command(line);

		if (c.sense != SENSE_GOOD)
			return CLV_MATCH_NO;
		return c.data && c.facts.command != MEMCACHED_MS ? CLV_MATCH_YES : CLV_MATCH_LIKELY;
	}
	struct answer a = read_answer(line);
	if (a.what == MEMCACHED_NONE)
		return CLV_MATCH_NO;
	return a.what == MEMCACHED_VALUE || a.what == MEMCACHED_NOT_STORED ? CLV_MATCH_YES : CLV_MATCH_LIKELY;
}

const struct clv_proto memcached_proto = {
	.name = "memcached",
	.ports = {11211},
	.state_size = sizeof(struct state),
	.probe = memcached_probe,
	.open = memcached_open,
	.feed = memcached_feed,
	.gap = memcached_gap,
	.resync = memcached_resync,
	.fin = memcached_fin,
	.describe = memcached_describe,
};
