/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redis: where commands and replies begin and end (RESP2 and RESP3, redis.io "Redis serialization protocol
 * specification"; github.com/redis/redis-specifications, RESP3). What a span says of them: redis_span.c.
 *
 *	command = "*" n CRLF n*bulk  |  words on a line (inline)
 *	bulk    = "$" length CRLF bytes CRLF
 *	value   = bulk | "$-1" | ( "+" "-" ":" "_" "#" "," "(" ) text CRLF | ( "!" "=" ) length CRLF bytes CRLF
 *	        | ( "*" "~" ">" ) n CRLF n*value | "%" n CRLF 2n*value | "|" n CRLF 2n*value value
 *	        | ( "*" "~" "%" ) "?" CRLF *value "." CRLF | "$?" CRLF *( ";" length CRLF bytes CRLF ) ";0" CRLF
 *
 * Replies come in the order of commands; but some commands have no reply, others several, and what a client has
 * subscribed to comes between them. Which it is follows from what was said before: the modes below. After a loss they
 * are not known, and then what could be either answers nothing.
 *
 * Payloads that are long are skipped. Values are walked, not kept: what is still to come is a number, however deep they
 * nest. Owns nothing but the state it is lent, never allocates, reads no clock. Engine thread.
 */
#include "proto/redis.h"

/* A command's name, and any other word that decides something, is no longer than this... */
#define REDIS_NAME_BYTES 64u
/* ...nor is a first argument that is kept: keys are short, or nobody can read them. */
#define REDIS_KEY_BYTES 128u
/* Of a reply's first line so much is its head. */
#define REDIS_HEAD_BYTES 64u
/* Payloads from here on are skipped. */
#define REDIS_SKIP_BYTES 1024u
/* Redis takes lines of 64 KiB; nobody types so much. */
#define REDIS_INLINE_BYTES 16384u
/* Streamed aggregates within each other, counting what is counted within one; no server sends any. */
#define REDIS_STREAMS 12u
/* Redis takes no more words in a command than this; nor elements in a reply. */
#define REDIS_COUNT_MOST INT32_MAX
/* Bytes of a payload: proto-max-bulk-len is 512 MiB, and may be raised. */
#define REDIS_PAYLOAD_MOST (1ll << 40)
/* Elements that are still to come, all levels together. */
#define REDIS_LEFT_MOST (1ull << 40)
/* Subscriptions of one client that are counted. */
#define REDIS_SUBSCRIPTIONS_MOST (1 << 24)
/* So many confirmations as there are subscriptions, which nobody counted. */
#define REDIS_UNTIL_NONE UINT32_MAX
/* What stands for the length of something that is streamed. */
#define REDIS_STREAMED INT64_MIN
#define REDIS_UNENDING UINT64_MAX

_Static_assert(sizeof(struct clv_redis_facts) <= CLV_FACTS_MAX, "facts outgrew their place");

enum redis_got { REDIS_MORE, REDIS_DONE, REDIS_BAD };

enum redis_phase {
	REDIS_IDLE,
	REDIS_WITHIN,      /* arguments, or parts of a value, are to come */
	REDIS_PAYLOAD_END, /* so is the line end behind a payload that was skipped */
	REDIS_LINE,        /* within a line that is longer than anybody reads */
};

/* What the server's value is. */
enum redis_class {
	REDIS_REPLY,
	REDIS_PUSH,     /* answers nothing */
	REDIS_CONFIRM,  /* answers a (UN)SUBSCRIBE, or does not */
	REDIS_CONTINUE, /* another confirmation of the same answer */
};

enum redis_family { REDIS_CHANNELS, REDIS_PATTERNS, REDIS_SHARDS };

struct redis_side {
	uint64_t bytes; /* of the message so far */
	uint8_t phase;
	bool candidate; /* resync: what was kept began a packet */
};

/* A value that is being walked. */
struct redis_value {
	uint64_t left;                 /* elements to come before it is complete; REDIS_UNENDING: until its mark */
	uint64_t outer[REDIS_STREAMS]; /* the same, of what surrounds a streamed one */
	int64_t number;                /* the last ":" */
	uint8_t streams;
	bool chunks; /* the innermost streamed one is a string */
	bool top;    /* its own first byte is still to come: an attribute may stand before it */
	bool failed; /* an error is in it */
	bool nil;    /* so is nothing */
};

struct redis_state {
	struct redis_side side[2];
	/* The command that is being read. */
	uint32_t words_left;
	struct clv_redis_facts command;
	/* What is being answered. */
	struct redis_value value;
	struct clv_redis_facts reply;
	struct clv_redis_facts answered_to; /* `words` 0: not known */
	uint8_t class, family, answer_family;
	bool silent;           /* nothing of the value is reported */
	bool confirmation;     /* it has the shape of one */
	uint32_t replies_left; /* confirmations of the same answer; 1 and more: its message is open */
	uint8_t code_len;
	char code[REDIS_HEAD_BYTES]; /* of an error: its first word, or all of a redirection */
	/*
	 * Which reply answers which command: both are counted. `epoch` counts the gaps; in doubt, the next answer that
	 * finds a command of this epoch says where we are. Before a gap among commands nothing is in doubt until their
	 * replies have come.
	 */
	uint32_t asked, answered, epoch, gap_at;
	bool gap_ahead, doubt;
	bool turn; /* a command came since the last value that may answer one */
	/* Modes, as far as the client has asked for them... */
	bool reply_off, reply_skip, queueing, replicating;
	uint32_t modal;                  /* 1 + index of the last command that changes modes by its answer */
	uint32_t subscribing, since_gap; /* (UN)SUBSCRIBEs without an answer; those behind the gap */
	/* ...and as the server has confirmed them. */
	int32_t db;                 /* -1: not known */
	int32_t queued_db;          /* SELECT within MULTI; -1: none */
	uint32_t queued;            /* commands since MULTI */
	int32_t channels, patterns; /* that are subscribed to; -1: not known */
	int32_t listening, shards;  /* both of them; shard channels; -1: not known */
	uint8_t resp;               /* 2 or 3; 0: not known */
	bool multi, odd;            /* `odd`: EXEC's reply will break the framing */
};

_Static_assert(sizeof(struct redis_state) <= 512, "one per connection");

/* ---- bytes ----------------------------------------------------------------------------------------------------- */

static inline bool redis_is_digit(uint8_t c)
{
	return (uint8_t)(c - '0') < 10;
}

/* A type and a number on a line: "$12", "*-1", ":-7"; "$?" with `streamed`. */
static enum redis_got redis_number(struct clv_slice in, size_t at, bool streamed, int64_t *n, size_t *next)
{
	const size_t most = 24; /* an int64_t, its type, and the line end */
	uint64_t v = 0;
	size_t i = at + 1;
	bool minus = i < in.len && in.data[i] == '-';

	i += minus || (i < in.len && in.data[i] == '+' && in.data[at] == ':');
	size_t digits = i;
	if (streamed && i < in.len && in.data[i] == '?' && !minus) {
		i++;
		*n = REDIS_STREAMED;
	} else {
		for (; i < in.len && i - at < most && redis_is_digit(in.data[i]); i++)
			v = v > UINT64_MAX / 20 ? v : v * 10 + in.data[i] - '0';
		/* REDIS_STREAMED is no number; the least one there is has no use here but to be one. */
		if (i < in.len && (i == digits || v > (uint64_t)INT64_MAX + minus))
			return REDIS_BAD;
		v = v > INT64_MAX ? INT64_MAX : v;
		*n = minus ? -(int64_t)v : (int64_t)v;
	}
	if (i == in.len)
		return i - at < most ? REDIS_MORE : REDIS_BAD;
	if (in.data[i] != '\r')
		return REDIS_BAD;
	if (i + 1 == in.len)
		return REDIS_MORE;
	*next = i + 2;
	return in.data[i + 1] == '\n' ? REDIS_DONE : REDIS_BAD;
}

/* A short bulk string, whole. REDIS_DONE with *next 0: it is longer than `most`. */
static enum redis_got redis_bulk(struct clv_slice in, size_t at, size_t most, struct clv_slice *word, size_t *next)
{
	int64_t len;
	size_t data;

	if (at >= in.len)
		return REDIS_MORE;
	if (in.data[at] != '$')
		return REDIS_BAD;
	enum redis_got got = redis_number(in, at, false, &len, &data);
	if (got != REDIS_DONE)
		return got;
	if (len < 0 || len > REDIS_PAYLOAD_MOST)
		return REDIS_BAD;
	*next = 0;
	if ((uint64_t)len > most)
		return REDIS_DONE;
	size_t end = data + (size_t)len;
	if ((end < in.len && in.data[end] != '\r') || (end + 1 < in.len && in.data[end + 1] != '\n'))
		return REDIS_BAD;
	if (end + 2 > in.len)
		return REDIS_MORE;
	*word = clv_slice(in.data + data, (size_t)len);
	*next = end + 2;
	return REDIS_DONE;
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

/* A command as far as its head goes. */
struct redis_command {
	struct clv_redis_facts facts;
	uint32_t len;          /* of the head */
	uint32_t used;         /* the head, or an inline command's whole line */
	uint32_t words_left;   /* behind the head */
	struct clv_slice mode; /* of CLIENT REPLY */
	bool line;             /* inline */
};

static enum clv_redis_kind redis_kind(const struct clv_redis_facts *f)
{
	const struct clv_redis_command *c = clv_redis_command(f->command);

	return c ? (enum clv_redis_kind)c->kind : CLV_REDIS_PLAIN;
}

static int32_t redis_database(struct clv_slice s)
{
	int32_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (!redis_is_digit(s.data[i]) || i > 8)
			return -1;
		n = n * 10 + s.data[i] - '0';
	}
	return s.len ? n : -1;
}

static void redis_name_is(struct redis_command *c, size_t at, struct clv_slice name)
{
	c->facts.name_at = (uint16_t)at;
	c->facts.name_len = (uint8_t)name.len;
	c->facts.command = clv_redis_find(name);
}

static void redis_arg_is(struct redis_command *c, size_t at, struct clv_slice arg)
{
	c->facts.arg_at = (uint16_t)at;
	c->facts.arg_len = (uint8_t)arg.len;
	if (redis_kind(&c->facts) == CLV_REDIS_SELECT)
		c->facts.number = redis_database(arg);
}

/* Does the word behind the first argument decide whether there is an answer? */
static bool redis_has_mode(const struct redis_command *c, struct clv_slice arg)
{
	return redis_kind(&c->facts) == CLV_REDIS_CLIENT && c->facts.words == 3 &&
	       clv_slice_eq_nocase(arg, CLV_LIT("reply"));
}

/* The next word of an array; *more: there is one, and it is short. */
static enum redis_got redis_next_word(struct clv_slice in, struct redis_command *c, size_t most, struct clv_slice *word,
				      bool *more)
{
	size_t next;
	enum redis_got got = redis_bulk(in, c->len, most, word, &next);

	*more = got == REDIS_DONE && next;
	if (*more) {
		c->len = (uint32_t)next;
		c->words_left--;
	}
	return got;
}

static enum redis_got redis_array_command(struct clv_slice in, struct redis_command *c)
{
	struct clv_slice name, arg;
	size_t next;
	int64_t n;
	bool more;
	enum redis_got got = redis_number(in, 0, false, &n, &next);

	if (got != REDIS_DONE)
		return got;
	if (n > REDIS_COUNT_MOST)
		return REDIS_BAD;
	c->len = (uint32_t)next;
	if (n <= 0) /* Redis passes over it */
		return REDIS_DONE;
	c->facts.words = c->words_left = (uint32_t)n;
	got = redis_next_word(in, c, REDIS_NAME_BYTES, &name, &more);
	if (got != REDIS_DONE || !more)
		return got;
	redis_name_is(c, (size_t)(name.data - in.data), name);
	if (!c->words_left || redis_kind(&c->facts) == CLV_REDIS_SECRET)
		return REDIS_DONE;
	got = redis_next_word(in, c, REDIS_KEY_BYTES, &arg, &more);
	if (got != REDIS_DONE || !more)
		return got;
	redis_arg_is(c, (size_t)(arg.data - in.data), arg);
	if (!redis_has_mode(c, arg))
		return REDIS_DONE;
	return redis_next_word(in, c, REDIS_NAME_BYTES, &c->mode, &more);
}

/* The next word of a line from *at on; quotes hold blanks together. Empty: there is none. */
static struct clv_slice redis_line_word(struct clv_slice line, size_t *at)
{
	uint8_t quote = 0;

	while (*at < line.len && (line.data[*at] == ' ' || line.data[*at] == '\t'))
		++*at;
	size_t from = *at;
	for (; *at < line.len; ++*at) {
		uint8_t c = line.data[*at];

		if (!quote && (c == ' ' || c == '\t'))
			break;
		if (quote == '"' && c == '\\' && *at + 1 < line.len)
			++*at;
		else if (quote ? c == quote : c == '"' || c == '\'')
			quote = quote ? 0 : c;
	}
	return clv_slice(line.data + from, *at - from);
}

static bool redis_is_text(struct clv_slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if ((s.data[i] < 0x20 && s.data[i] != '\t') || s.data[i] == 0x7f)
			return false;
	return true;
}

/* Words on a line, as people and health checks type them. */
static enum redis_got redis_inline_command(struct clv_slice in, struct redis_command *c)
{
	size_t lf = clv_slice_find(clv_slice_head(in, REDIS_INLINE_BYTES), 0, '\n'), at = 0;
	struct clv_slice line = clv_slice_head(in, lf);

	if (lf < in.len && line.len && line.data[line.len - 1] == '\r')
		line.len--;
	struct clv_slice name = redis_line_word(line, &at);
	if (!redis_is_text(clv_slice_head(line, line.len - (lf == in.len && line.len && line.data[lf - 1] == '\r'))) ||
	    (name.len && at < line.len && !clv_redis_is_word(name)) || lf == REDIS_INLINE_BYTES)
		return REDIS_BAD;
	if (lf == in.len)
		return REDIS_MORE;
	c->line = true;
	c->used = (uint32_t)lf + 1;
	if (!name.len)
		return REDIS_DONE;
	if (!clv_redis_is_word(name))
		return REDIS_BAD;
	c->facts.words = 1;
	redis_name_is(c, (size_t)(name.data - in.data), name);
	c->len = (uint32_t)at;
	struct clv_slice arg = redis_line_word(line, &at), mode = {0};
	size_t arg_ends = at;
	for (struct clv_slice word = arg; word.len; word = redis_line_word(line, &at)) {
		c->facts.words++;
		if (c->facts.words == 3)
			mode = word;
	}
	if (!arg.len || arg.len > REDIS_KEY_BYTES || redis_kind(&c->facts) == CLV_REDIS_SECRET)
		return REDIS_DONE;
	redis_arg_is(c, (size_t)(arg.data - in.data), arg);
	c->len = (uint32_t)arg_ends;
	if (redis_has_mode(c, arg))
		c->mode = mode;
	return REDIS_DONE;
}

/* A command's head at in.data[0]. `facts.words` 0: an empty one, which nobody answers. */
static enum redis_got redis_read_command(struct clv_slice in, struct redis_command *c)
{
	memset(c, 0, sizeof(*c));
	c->facts.number = c->facts.db = -1;
	if (!in.len)
		return REDIS_MORE;
	if (in.data[0] != '*')
		return redis_inline_command(in, c);
	enum redis_got got = redis_array_command(in, c);
	c->used = c->len;
	return got;
}

/* CLIENT REPLY and what it does to others. Returns false when nobody will answer. */
static bool redis_is_answered(struct redis_state *st, const struct redis_command *c)
{
	if (redis_kind(&c->facts) == CLV_REDIS_RESET) {
		st->reply_off = st->reply_skip = false;
		return true;
	}
	bool answered = !st->reply_off && !st->reply_skip;
	st->reply_skip = false;
	if (!c->mode.len || st->queueing)
		return answered;
	if (clv_slice_eq_nocase(c->mode, CLV_LIT("on"))) {
		st->reply_off = false;
		return true;
	}
	if (clv_slice_eq_nocase(c->mode, CLV_LIT("off")))
		st->reply_off = true;
	else if (clv_slice_eq_nocase(c->mode, CLV_LIT("skip")))
		st->reply_skip = !st->reply_off;
	else
		return answered; /* an error */
	return false;
}

/* What a command will change once it is answered. */
static void redis_expect(struct redis_state *st, const struct clv_redis_facts *f)
{
	enum clv_redis_kind kind = redis_kind(f);

	switch (kind) {
	case CLV_REDIS_MULTI:
		st->queueing = true;
		break;
	case CLV_REDIS_RESET:
	case CLV_REDIS_EXEC:
	case CLV_REDIS_DISCARD:
		st->queueing = false;
		break;
	case CLV_REDIS_SUBSCRIBE:
	case CLV_REDIS_UNSUBSCRIBE:
		st->subscribing++;
		st->since_gap++;
		break;
	case CLV_REDIS_REPLICATE:
		st->replicating = true;
		return;
	case CLV_REDIS_SELECT:
	case CLV_REDIS_HELLO:
		break;
	default:
		return;
	}
	st->modal = f->index + 1;
}

static void redis_request(struct redis_state *st, struct clv_slice in, size_t at, struct redis_command *c,
			  struct clv_sink *sink)
{
	const struct clv_redis_command *known = clv_redis_command(c->facts.command);
	bool answered = redis_is_answered(st, c);

	c->facts.index = st->asked;
	c->facts.epoch = st->epoch;
	if (answered) {
		st->asked++;
		st->turn = true;
		redis_expect(st, &c->facts);
	}
	st->command = c->facts;
	st->side[CLV_TO_SERVER].bytes = c->used;
	st->words_left = c->words_left;
	sink->head(sink, CLV_TO_SERVER,
		   &(struct clv_msg){
			   .role = CLV_REQUEST,
			   .flags = answered ? 0 : CLV_MSG_ONEWAY,
			   .at = (uint32_t)at,
			   .head = clv_slice_sub(in, at, c->len),
			   .method = known ? known->name : CLV_LIT("_OTHER"),
			   .facts = &c->facts,
			   .facts_size = sizeof(c->facts),
		   });
}

/* ---- verdicts -------------------------------------------------------------------------------------------------- */

static struct clv_fed redis_fed(enum clv_fed_verdict v, size_t used, uint64_t skip)
{
	return (struct clv_fed){.v = v, .used = (uint32_t)used, .skip = skip};
}

static struct clv_fed redis_more(size_t used, size_t need)
{
	return (struct clv_fed){.v = CLV_FED_MORE, .used = (uint32_t)used, .need = (uint32_t)need};
}

/* What one step within a message came to. */
struct redis_step {
	enum redis_got got;
	size_t next;   /* behind it */
	uint64_t skip; /* a payload that follows there */
	size_t need;   /* REDIS_MORE: bytes from its beginning on; 0: not known */
};

/* The payload that a header announced, `data` being where it begins. */
static struct redis_step redis_payload(struct clv_slice in, size_t at, size_t data, int64_t len)
{
	struct redis_step s = {.got = REDIS_DONE, .next = data};

	if (len >= REDIS_SKIP_BYTES) {
		s.skip = (uint64_t)len;
		return s;
	}
	size_t end = data + (size_t)len;
	if (in.len < end + 2) {
		s.got = REDIS_MORE;
		s.need = end + 2 - at;
		return s;
	}
	if (in.data[end] != '\r' || in.data[end + 1] != '\n')
		s.got = REDIS_BAD;
	s.next = end + 2;
	return s;
}

/* The line end behind a payload that was skipped. */
static struct redis_step redis_payload_end(struct clv_slice in, size_t at)
{
	struct redis_step s = {.got = REDIS_DONE, .next = at + 2, .need = 2};

	if ((at < in.len && in.data[at] != '\r') || (at + 1 < in.len && in.data[at + 1] != '\n'))
		s.got = REDIS_BAD;
	else if (at + 2 > in.len)
		s.got = REDIS_MORE;
	return s;
}

static struct clv_fed redis_bad(struct redis_side *s, size_t used)
{
	*s = (struct redis_side){0};
	return redis_fed(CLV_FED_BAD, used, 0);
}

/* ---- what clients say ------------------------------------------------------------------------------------------ */

static struct redis_step redis_argument(struct redis_state *st, struct clv_slice in, size_t at)
{
	struct redis_side *s = &st->side[CLV_TO_SERVER];
	struct redis_step step = {.got = REDIS_MORE};
	int64_t len;
	size_t data;

	if (s->phase == REDIS_PAYLOAD_END) {
		step = redis_payload_end(in, at);
	} else if (at < in.len) {
		step.got = in.data[at] == '$' ? redis_number(in, at, false, &len, &data) : REDIS_BAD;
		if (step.got != REDIS_DONE)
			return step;
		if (len < 0 || len > REDIS_PAYLOAD_MOST)
			return (struct redis_step){.got = REDIS_BAD};
		step = redis_payload(in, at, data, len);
	}
	if (step.got == REDIS_DONE) {
		s->phase = step.skip ? REDIS_PAYLOAD_END : REDIS_WITHIN;
		s->bytes += step.next - at + step.skip;
		st->words_left -= !step.skip;
	}
	return step;
}

/* The arguments behind the head, and the end. */
static struct clv_fed redis_arguments(struct redis_state *st, struct clv_slice in, size_t at, struct clv_sink *sink)
{
	struct redis_side *s = &st->side[CLV_TO_SERVER];

	s->phase = s->phase == REDIS_IDLE ? REDIS_WITHIN : s->phase;
	while (st->words_left) {
		struct redis_step step = redis_argument(st, in, at);

		if (step.got == REDIS_MORE)
			return redis_more(at, step.need);
		if (step.got == REDIS_BAD)
			return redis_bad(s, at);
		at = step.next;
		if (step.skip)
			return redis_fed(CLV_FED_OK, at, step.skip);
	}
	st->command.bytes = s->bytes;
	*s = (struct redis_side){0};
	sink->end(sink, CLV_TO_SERVER,
		  &(struct clv_end){.at = (uint32_t)at, .facts = &st->command, .facts_size = sizeof(st->command)});
	return redis_fed(CLV_FED_OK, at, 0);
}

/* Line ends alone are no command. */
static size_t redis_empty_lines(struct clv_slice in)
{
	size_t at = 0;

	for (;;) {
		if (at < in.len && in.data[at] == '\n')
			at++;
		else if (at + 1 < in.len && in.data[at] == '\r' && in.data[at + 1] == '\n')
			at += 2;
		else
			return at;
	}
}

/* "REPLCONF ACK offset": so replicas report, and nobody answers. The connection has been theirs for long. */
static bool redis_is_replica(const struct redis_command *c, struct clv_slice in)
{
	struct clv_slice arg = clv_slice_sub(in, c->facts.arg_at, c->facts.arg_len);

	return redis_kind(&c->facts) == CLV_REDIS_REPLICA && c->facts.words == 3 &&
	       clv_slice_eq_nocase(arg, CLV_LIT("ack"));
}

static struct clv_fed redis_feed_command(struct redis_state *st, struct clv_slice in, struct clv_sink *sink)
{
	struct redis_side *s = &st->side[CLV_TO_SERVER];
	struct redis_command c;

	if (s->phase != REDIS_IDLE)
		return redis_arguments(st, in, 0, sink);
	/* Behind a SYNC the answer decides what this is. */
	if (st->replicating && in.len)
		return st->doubt || st->gap_ahead ? redis_fed(CLV_FED_OPAQUE, 0, 0) : redis_more(0, 0);
	size_t at = redis_empty_lines(in);
	struct clv_slice rest = clv_slice_from(in, at);
	if (!rest.len || (rest.len == 1 && rest.data[0] == '\r'))
		return redis_more(at, 0);
	switch (redis_read_command(rest, &c)) {
	case REDIS_MORE:
		return redis_more(at, 0);
	case REDIS_BAD:
		return redis_bad(s, at);
	case REDIS_DONE:
		break;
	}
	if (!c.facts.words)
		return redis_fed(CLV_FED_OK, at + c.used, 0);
	if (redis_is_replica(&c, rest))
		return redis_fed(CLV_FED_OPAQUE, at, 0);
	redis_request(st, in, at, &c, sink);
	return redis_arguments(st, in, at + c.used, sink);
}

/* ---- values ---------------------------------------------------------------------------------------------------- */

/* An element is over: what surrounds it has one less to come. */
static void redis_element(struct redis_value *v)
{
	if (v->left != REDIS_UNENDING)
		v->left--;
}

static bool redis_complete(const struct redis_value *v)
{
	return !v->left && !v->streams;
}

/* An aggregate of n elements begins. `itself`: it is an element, too. */
static bool redis_aggregate(struct redis_value *v, uint64_t n, bool itself)
{
	if (itself)
		redis_element(v);
	if (v->left == REDIS_UNENDING) { /* within a streamed one: its elements are not counted, but these are */
		if (!n)
			return true;
		if (v->streams == REDIS_STREAMS)
			return false;
		v->outer[v->streams++] = v->left;
		v->left = n;
		return true;
	}
	v->left += n;
	return v->left < REDIS_LEFT_MOST;
}

/* A counted aggregate within a streamed one is over: on with the streamed one. */
static void redis_ascend(struct redis_value *v)
{
	while (!v->left && v->streams)
		v->left = v->outer[--v->streams];
}

static bool redis_stream_begins(struct redis_value *v, bool chunks)
{
	redis_element(v);
	if (v->streams == REDIS_STREAMS)
		return false;
	v->outer[v->streams++] = v->left;
	v->left = REDIS_UNENDING;
	v->chunks = chunks;
	return true;
}

static bool redis_stream_ends(struct redis_value *v, bool chunks)
{
	if (v->left != REDIS_UNENDING || v->chunks != chunks)
		return false;
	v->left = v->outer[--v->streams];
	v->chunks = false;
	return true;
}

/* A line whose text is of no interest; of a very long one the rest is passed over. */
static struct redis_step redis_text(struct redis_side *s, struct clv_slice in, size_t at)
{
	size_t lf = clv_slice_find(in, at, '\n');
	struct redis_step step = {.got = REDIS_DONE, .next = lf + 1};

	if (lf < in.len) {
		if (s->phase != REDIS_LINE && (lf == at || in.data[lf - 1] != '\r'))
			step.got = REDIS_BAD;
		s->phase = REDIS_WITHIN;
	} else if (s->phase == REDIS_LINE || in.len - at >= REDIS_HEAD_BYTES) {
		s->phase = REDIS_LINE;
		step.next = in.len;
	} else {
		step.got = REDIS_MORE;
	}
	return step;
}

/* A header with a count or a length, and a payload if there is one. */
static struct redis_step redis_sized(struct redis_side *s, struct redis_value *v, struct clv_slice in, size_t at)
{
	const struct redis_step bad = {.got = REDIS_BAD};
	uint8_t type = in.data[at];
	bool text = type == '$' || type == '=' || type == '!' || type == ';';
	bool maybe_streamed = type == '$' || type == '*' || type == '~' || type == '%';
	int64_t n;
	size_t next;
	enum redis_got got = redis_number(in, at, maybe_streamed, &n, &next);
	struct redis_step step = {.got = got, .next = next};

	if (got != REDIS_DONE)
		return (struct redis_step){.got = got};
	if (n == REDIS_STREAMED) {
		if (!redis_stream_begins(v, text))
			return bad;
	} else if (n < 0) {
		if (n != -1 || (type != '$' && type != '*'))
			return bad;
		v->nil = true;
		redis_element(v);
	} else if (text) {
		if (n > REDIS_PAYLOAD_MOST || (type == ';') != (v->left == REDIS_UNENDING && v->chunks))
			return bad;
		if (type == ';' && !n)
			return redis_stream_ends(v, true) ? step : bad;
		step = redis_payload(in, at, next, n);
		if (step.got != REDIS_DONE)
			return step;
		if (step.skip)
			s->phase = REDIS_PAYLOAD_END;
		redis_element(v); /* counted now, though its last bytes may be to come */
	} else {
		bool pairs = type == '%' || type == '|';

		if (n > REDIS_COUNT_MOST || !redis_aggregate(v, (uint64_t)n << pairs, type != '|'))
			return bad;
	}
	return step;
}

/* One step through a value; nothing of it is read but where it ends. */
static struct redis_step redis_walk(struct redis_side *s, struct redis_value *v, struct clv_slice in, size_t at)
{
	struct redis_step step = {.got = REDIS_MORE};
	size_t next = 0;

	if (s->phase == REDIS_PAYLOAD_END) {
		step = redis_payload_end(in, at);
		if (step.got == REDIS_DONE)
			s->phase = REDIS_WITHIN;
		return step;
	}
	if (at >= in.len)
		return step;
	if (s->phase == REDIS_LINE) {
		step = redis_text(s, in, at);
		return step;
	}
	v->failed |= in.data[at] == '-' || in.data[at] == '!';
	v->nil |= in.data[at] == '_';
	switch (in.data[at]) {
	case ':':
		step.got = redis_number(in, at, false, &v->number, &next);
		step.next = next;
		if (step.got == REDIS_DONE)
			redis_element(v);
		break;
	case '+':
	case '-':
	case ',':
	case '(':
	case '#':
	case '_':
		step = redis_text(s, in, at);
		if (step.got == REDIS_DONE)
			redis_element(v);
		break;
	case '$':
	case '=':
	case '!':
	case ';':
	case '*':
	case '~':
	case '%':
	case '>':
	case '|':
		step = redis_sized(s, v, in, at);
		break;
	case '.':
		step.got = in.len - at < 3 ? REDIS_MORE : REDIS_DONE;
		step.next = at + 3;
		if (step.got == REDIS_DONE &&
		    (in.data[at + 1] != '\r' || in.data[at + 2] != '\n' || !redis_stream_ends(v, false)))
			step.got = REDIS_BAD;
		break;
	default:
		step.got = REDIS_BAD;
	}
	redis_ascend(v);
	return step;
}

/* Is everything of it here, its last payload's line end included? */
static bool redis_over(const struct redis_side *s, const struct redis_value *v)
{
	return redis_complete(v) && s->phase != REDIS_PAYLOAD_END && s->phase != REDIS_LINE;
}

/* ---- what a value is ------------------------------------------------------------------------------------------- */

/* Of a reply's first line as much as its head may hold: 0 when it is not here. */
static size_t redis_head_len(struct clv_slice in, size_t at)
{
	struct clv_slice seen = clv_slice_sub(in, at, REDIS_HEAD_BYTES);
	size_t lf = clv_slice_find(seen, 0, '\n');

	return lf < seen.len ? lf + 1 : seen.len == REDIS_HEAD_BYTES ? seen.len : 0;
}

/* "+1339518083.107412 [0 127.0.0.1:60866] ...": what MONITOR sends, and nothing else does. */
static bool redis_is_monitor(struct clv_slice line)
{
	size_t at = 1;

	while (at < line.len && redis_is_digit(line.data[at]))
		at++;
	if (at == 1 || at == line.len || line.data[at] != '.')
		return false;
	size_t point = at++;
	while (at < line.len && redis_is_digit(line.data[at]))
		at++;
	return at > point + 1 && clv_slice_starts(clv_slice_from(line, at), CLV_LIT(" ["));
}

enum redis_shape { REDIS_ANY, REDIS_MESSAGE, REDIS_CONFIRMATION };

/* Is the array, or push, that begins at `at` one of those that subscribers get? */
static enum redis_got redis_shape(struct clv_slice in, size_t at, enum redis_shape *shape, enum redis_family *family)
{
	struct clv_slice word;
	int64_t n;
	size_t next;
	enum redis_got got = redis_number(in, at, true, &n, &next);

	*shape = REDIS_ANY;
	if (got != REDIS_DONE || n < 3 || n > 4)
		return got;
	if (next < in.len && in.data[next] != '$')
		return REDIS_DONE;
	got = redis_bulk(in, next, REDIS_NAME_BYTES, &word, &next);
	if (got != REDIS_DONE || !next || !word.len)
		return got;
	*family = word.data[0] == 'p' ? REDIS_PATTERNS : REDIS_CHANNELS;
	if (*family == REDIS_PATTERNS || (word.data[0] == 's' && !clv_slice_eq(word, CLV_LIT("subscribe")))) {
		*family = word.data[0] == 'p' ? REDIS_PATTERNS : REDIS_SHARDS;
		word = clv_slice_from(word, 1);
	}
	if (clv_slice_eq(word, CLV_LIT("message")) && n == (*family == REDIS_PATTERNS ? 4 : 3))
		*shape = REDIS_MESSAGE;
	else if (n == 3 && (clv_slice_eq(word, CLV_LIT("subscribe")) || clv_slice_eq(word, CLV_LIT("unsubscribe"))))
		*shape = REDIS_CONFIRMATION;
	return REDIS_DONE;
}

/* Could an array be something else than a reply? */
static bool redis_listens(const struct redis_state *st)
{
	return st->resp != 3 && (st->listening || st->shards || st->subscribing || st->replies_left);
}

/* A confirmation that continues no answer: does it begin one? */
static enum redis_class redis_confirms(const struct redis_state *st, uint8_t type)
{
	if (st->subscribing && (!st->doubt || st->turn))
		return REDIS_CONFIRM;
	return type == '>' || st->listening || st->shards || st->doubt ? REDIS_PUSH : REDIS_REPLY;
}

/*
 * What is the value that begins at `at`? REDIS_BAD: it cannot be told, and whichever was chosen, later answers might
 * go to the wrong commands.
 */
static enum redis_got redis_classify(struct redis_state *st, struct clv_slice in, size_t at, enum redis_class *class)
{
	uint8_t type = in.data[at];
	enum redis_shape shape = REDIS_ANY;
	enum redis_family family = REDIS_CHANNELS;

	*class = REDIS_REPLY;
	if (type == '+' && redis_is_monitor(clv_slice_sub(in, at, REDIS_HEAD_BYTES)))
		*class = REDIS_PUSH;
	if (type == '>' || (type == '*' && redis_listens(st))) {
		enum redis_got got = redis_shape(in, at, &shape, &family);

		if (got != REDIS_DONE)
			return got;
		*class = type == '>' ? REDIS_PUSH : REDIS_REPLY;
	}
	st->family = (uint8_t)family;
	st->confirmation = shape == REDIS_CONFIRMATION;
	if (shape == REDIS_CONFIRMATION)
		*class = st->replies_left ? REDIS_CONTINUE : redis_confirms(st, type);
	if (shape == REDIS_MESSAGE && (st->listening || st->shards)) {
		if (type == '*' && st->listening < 0 && !st->doubt && st->asked != st->answered)
			return REDIS_BAD;
		*class = REDIS_PUSH;
	}
	if (st->replies_left && *class != REDIS_CONTINUE && *class != REDIS_PUSH)
		return REDIS_BAD;
	/* Does it answer what was asked since, or was the answer before not over? */
	if (st->replies_left == REDIS_UNTIL_NONE && *class == REDIS_CONTINUE && st->turn)
		return REDIS_BAD;
	return REDIS_DONE;
}

/* ---- modes ----------------------------------------------------------------------------------------------------- */

/* Commands that change modes may have passed unseen. */
static void redis_forget_modes(struct redis_state *st)
{
	st->db = st->queued_db = -1;
	st->channels = st->patterns = st->listening = st->shards = -1;
	st->resp = 0;
	st->multi = st->odd = false;
}

/* The replies to the commands before the gap have come. */
static void redis_pass_gap(struct redis_state *st)
{
	/* One that changes modes may have been answered while nobody could read. */
	if (st->doubt && (int32_t)(st->modal - st->answered) > 0)
		redis_forget_modes(st);
	if (st->doubt || !st->gap_ahead || (int32_t)(st->answered - st->gap_at) < 0)
		return;
	st->gap_ahead = false;
	st->doubt = true;
	st->subscribing = st->since_gap;
	redis_forget_modes(st);
}

/* A reply began, and the engine said which command it answers; NULL: it does not know. */
static void redis_answers(struct redis_state *st, const struct clv_redis_facts *request)
{
	enum clv_redis_kind kind = request ? redis_kind(request) : CLV_REDIS_PLAIN;

	if (request && request->epoch == st->epoch) {
		/* Of the replies that were missed, one may have changed modes. */
		if (st->gap_ahead || (request->index != st->answered && (int32_t)(st->modal - st->answered) > 0))
			redis_forget_modes(st);
		st->answered = request->index + 1;
		st->doubt = st->gap_ahead = false;
	} else if (!st->doubt && st->answered != st->asked) {
		st->answered++;
	}
	if ((kind == CLV_REDIS_SUBSCRIBE || kind == CLV_REDIS_UNSUBSCRIBE) && st->subscribing)
		st->subscribing--;
	st->answered_to = request ? *request : (struct clv_redis_facts){0};
	if (!request) /* whatever it was, it may have changed something */
		redis_forget_modes(st);
}

/* How many confirmations will there be, the first included? */
static uint32_t redis_confirmations(const struct redis_state *st)
{
	const struct clv_redis_facts *f = &st->answered_to;
	enum clv_redis_kind kind = redis_kind(f);
	int32_t all = st->family == REDIS_SHARDS     ? st->shards
		      : st->family == REDIS_PATTERNS ? st->patterns
						     : st->channels;

	if (kind != CLV_REDIS_SUBSCRIBE && kind != CLV_REDIS_UNSUBSCRIBE)
		return 1;
	if (f->words > 1)
		return f->words - 1;
	return all < 0 ? REDIS_UNTIL_NONE : all ? (uint32_t)all : 1;
}

/* A confirmation says how many subscriptions there are now. */
static void redis_count_subscriptions(struct redis_state *st)
{
	int64_t n = st->value.number;
	int32_t now = n < 0 || n > REDIS_SUBSCRIPTIONS_MOST ? -1 : (int32_t)n;

	if (st->family == REDIS_SHARDS) {
		st->shards = now;
		return;
	}
	if (!now)
		st->channels = st->patterns = 0;
	else if (st->listening >= 0 && now >= 0 && st->channels >= 0 && st->patterns >= 0)
		*(st->family == REDIS_PATTERNS ? &st->patterns : &st->channels) += now - st->listening;
	else
		st->channels = -1;
	if (st->channels < 0 || st->patterns < 0 || st->channels > now || st->patterns > now)
		st->channels = st->patterns = -1;
	st->listening = now;
}

/* SELECTs that were queued happen at EXEC, if they do. */
static void redis_exec(struct redis_state *st)
{
	struct clv_redis_facts *r = &st->reply;
	bool done = !(r->flags & (CLV_REDIS_ERROR | CLV_REDIS_NIL));

	if (st->multi) {
		r->batch = st->queued;
		r->flags |= CLV_REDIS_BATCH;
	}
	if (done && !st->multi)
		st->db = -1; /* what was queued was not seen */
	else if (done && st->queued_db >= 0)
		st->db = st->value.failed ? -1 : st->queued_db;
	st->multi = false;
}

/* A reply is complete: what does it change? */
static void redis_change_modes(struct redis_state *st)
{
	const struct clv_redis_facts *f = &st->answered_to;
	uint8_t flags = st->reply.flags;
	enum clv_redis_kind kind = redis_kind(f);

	if (flags & CLV_REDIS_QUEUED) {
		st->queued++;
		if (kind == CLV_REDIS_SELECT)
			st->queued_db = f->number;
		st->odd |= kind == CLV_REDIS_SUBSCRIBE || kind == CLV_REDIS_UNSUBSCRIBE;
		return;
	}
	if (kind == CLV_REDIS_EXEC)
		redis_exec(st);
	if (kind == CLV_REDIS_REPLICATE)
		st->replicating = false;
	if (flags & CLV_REDIS_ERROR)
		return;
	switch (kind) {
	case CLV_REDIS_SELECT:
		st->db = f->number;
		break;
	case CLV_REDIS_HELLO:
		st->resp = st->reply.type == '%' ? 3 : 2;
		break;
	case CLV_REDIS_RESET:
		st->db = st->channels = st->patterns = st->listening = st->shards = 0;
		st->resp = 2;
		st->multi = false;
		break;
	case CLV_REDIS_MULTI:
		st->multi = true;
		st->odd = false;
		st->queued = 0;
		st->queued_db = -1;
		break;
	case CLV_REDIS_DISCARD:
		st->multi = false;
		break;
	case CLV_REDIS_PLAIN:
		/* A RESP2 client that listens may not ask this. */
		if (f->command && st->listening < 0)
			st->listening = st->shards = st->channels = st->patterns = 0;
		break;
	default:
		break;
	}
}

/* ---- what servers say ------------------------------------------------------------------------------------------ */

/* An error's first word; of a redirection all of it: it names a slot and a node. */
static void redis_keep_code(struct redis_state *st, struct clv_slice text)
{
	size_t n = 0;

	while (n < text.len && ((uint8_t)(text.data[n] - 'A') < 26 || (n && text.data[n] == '_') ||
				(n && redis_is_digit(text.data[n]))))
		n++;
	st->code_len = 0;
	if (n < 2 || n > 32 || (n < text.len && text.data[n] != ' '))
		return;
	struct clv_slice word = clv_slice_head(text, n);
	if (text.len < REDIS_HEAD_BYTES - 1 &&
	    (clv_slice_eq(word, CLV_LIT("MOVED")) || clv_slice_eq(word, CLV_LIT("ASK"))))
		n = text.len;
	memcpy(st->code, text.data, n);
	st->code_len = (uint8_t)n;
}

/* What the value's own first line says. `s` is what is there of it, from its first byte on. */
static void redis_note_top(struct redis_state *st, struct clv_slice s)
{
	struct clv_redis_facts *r = &st->reply;
	size_t lf = clv_slice_find(clv_slice_head(s, REDIS_HEAD_BYTES), 0, '\n');
	struct clv_slice text = clv_slice_sub(s, 1, lf - 1);

	if (text.len && text.data[text.len - 1] == '\r')
		text.len--;
	r->type = s.data[0];
	r->flags = 0;
	st->code_len = 0;
	switch (r->type) {
	case '-':
		r->flags = CLV_REDIS_ERROR;
		redis_keep_code(st, text);
		break;
	case '!':
		r->flags = CLV_REDIS_ERROR;
		text = clv_slice_sub(s, lf + 1, REDIS_HEAD_BYTES - 2);
		redis_keep_code(st, clv_slice_head(text, clv_slice_find(text, 0, '\r')));
		break;
	case '+':
		r->flags = clv_slice_eq(text, CLV_LIT("OK"))       ? CLV_REDIS_OK
			   : clv_slice_eq(text, CLV_LIT("QUEUED")) ? CLV_REDIS_QUEUED
								   : 0;
		break;
	case '_':
		r->flags = CLV_REDIS_NIL;
		break;
	case '$':
	case '*':
		r->flags = clv_slice_eq(text, CLV_LIT("-1")) ? CLV_REDIS_NIL : 0;
		break;
	case '%':
	case '~':
	case '>':
	case '#':
	case ',':
	case '(':
	case '=':
		st->resp = 3; /* RESP2 has none of these */
		break;
	default:
		break;
	}
}

/* The reply's head goes to the engine. */
static void redis_response(struct redis_state *st, struct clv_slice in, size_t at, size_t len, struct clv_sink *sink)
{
	struct clv_msg msg = {
		.role = CLV_RESPONSE,
		.at = (uint32_t)at,
		.head = clv_slice_sub(in, at, len),
		.facts = &st->reply,
		.facts_size = sizeof(st->reply),
	};

	if (st->reply.type == '-')
		msg.keep = clv_slice(st->code, st->code_len);
	redis_answers(st, sink->head(sink, CLV_TO_CLIENT, &msg));
}

static void redis_end_reply(struct redis_state *st, size_t at, struct clv_sink *sink)
{
	struct redis_side *s = &st->side[CLV_TO_CLIENT];

	redis_change_modes(st);
	st->reply.bytes = s->bytes;
	st->reply.db = st->db;
	*s = (struct redis_side){0};
	sink->end(sink, CLV_TO_CLIENT,
		  &(struct clv_end){.at = (uint32_t)at,
				    .facts = &st->reply,
				    .facts_size = sizeof(st->reply),
				    .keep = clv_slice(st->code, st->code_len)});
}

/*
 * One more confirmation of an UNSUBSCRIBE from everything, by one who does not know how many there will be. False: it
 * cannot be one.
 */
static bool redis_until_none(struct redis_state *st, int32_t before)
{
	bool fits = !st->value.nil && st->family == st->answer_family && st->value.number == before - 1;

	if (st->class == REDIS_CONTINUE && !fits)
		return false;
	if (st->value.nil || !st->value.number)
		st->replies_left = 1;
	return true;
}

/* A value is complete. False: it does not fit to what was before. */
static bool redis_value_ends(struct redis_state *st, size_t at, struct clv_sink *sink)
{
	struct redis_side *s = &st->side[CLV_TO_CLIENT];
	int32_t before = st->family == REDIS_SHARDS ? st->shards : st->listening;

	s->phase = REDIS_IDLE;
	if (st->confirmation && st->class != REDIS_REPLY)
		redis_count_subscriptions(st);
	if (st->silent) {
		s->bytes = st->replies_left ? s->bytes : 0;
		return true;
	}
	if (st->replies_left == REDIS_UNTIL_NONE) {
		if (!redis_until_none(st, before))
			return false;
		if (st->replies_left == REDIS_UNTIL_NONE)
			return true;
	}
	if (!st->replies_left || !--st->replies_left)
		redis_end_reply(st, at, sink);
	return true;
}

/* Does what follows belong to a replica? Then this is the last that is Redis. */
static bool redis_replicates(const struct redis_state *st, struct clv_slice in)
{
	if (!st->answered_to.words)
		return clv_slice_starts(in, CLV_LIT("+FULLRESYNC "));
	return redis_kind(&st->answered_to) == CLV_REDIS_REPLICATE &&
	       (st->reply.type == '$' || (st->reply.type == '+' && !(st->reply.flags & CLV_REDIS_QUEUED)));
}

/* Is there a value at `at`, as far as its first line shows? `len`: what is its head. */
static enum redis_got redis_first_line(const struct redis_state *st, struct clv_slice in, size_t at, size_t *len)
{
	int64_t n;
	size_t next;

	if (st->replicating && clv_slice_starts(clv_slice_from(in, at), CLV_LIT("$EOF:"))) {
		*len = redis_head_len(in, at);
		return *len ? REDIS_DONE : REDIS_MORE;
	}
	if (!memchr("+-:$*%~>_#,(=!|", in.data[at], 15))
		return REDIS_BAD;
	*len = redis_head_len(in, at);
	if (memchr(":$*%~>=!|", in.data[at], 9)) {
		enum redis_got got = redis_number(in, at, true, &n, &next);

		if (got != REDIS_DONE)
			return got;
	}
	return *len ? REDIS_DONE : REDIS_MORE;
}

/* Between values: what begins here? On REDIS_DONE it is being walked, or was the last. */
static enum redis_got redis_begin_value(struct redis_state *st, struct clv_slice in, size_t at, struct clv_sink *sink)
{
	enum redis_class class;
	size_t len;
	enum redis_got got = redis_first_line(st, in, at, &len);

	if (got != REDIS_DONE)
		return got;
	redis_pass_gap(st);
	got = redis_classify(st, in, at, &class);
	if (got != REDIS_DONE)
		return got;
	/* A blob error's first word is in its payload. */
	if (in.data[at] == '!' && in.len - at < REDIS_HEAD_BYTES + len) {
		struct redis_value v = {.left = 1};
		struct redis_side s = {0};
		struct redis_step step = redis_walk(&s, &v, in, at);

		if (step.got != REDIS_DONE || step.skip)
			return step.got == REDIS_BAD ? REDIS_BAD : REDIS_MORE;
	}
	if (in.data[at] == '>')
		st->resp = 3;
	st->class = (uint8_t) class;
	st->code_len = 0;
	st->value = (struct redis_value){.left = 1, .top = true};
	st->side[CLV_TO_CLIENT].phase = REDIS_WITHIN;
	st->silent = class == REDIS_PUSH;
	if (class == REDIS_PUSH || class == REDIS_CONTINUE) {
		st->turn &= !st->confirmation;
		return REDIS_DONE;
	}
	st->reply = (struct clv_redis_facts){.db = -1};
	if (in.data[at] != '|')
		redis_note_top(st, clv_slice_from(in, at));
	redis_response(st, in, at, len, sink);
	st->turn = false;
	st->side[CLV_TO_CLIENT].bytes = 0;
	if (class == REDIS_CONFIRM) {
		st->replies_left = redis_confirmations(st);
		st->answer_family = st->family;
	}
	return REDIS_DONE;
}

/* Nobody knows what this is, nor what it has changed. */
static struct clv_fed redis_bad_reply(struct redis_state *st, size_t at)
{
	st->replies_left = 0;
	redis_forget_modes(st);
	return redis_bad(&st->side[CLV_TO_CLIENT], at);
}

/* The rest of the value that was begun. */
static struct clv_fed redis_go_on(struct redis_state *st, struct clv_slice in, size_t at, struct clv_sink *sink)
{
	struct redis_side *s = &st->side[CLV_TO_CLIENT];
	struct redis_value *v = &st->value;

	while (!redis_over(s, v)) {
		bool top = v->top && v->left == 1 && !v->streams && s->phase == REDIS_WITHIN && at < in.len;
		uint8_t type = top ? in.data[at] : 0;
		struct redis_step step = redis_walk(s, v, in, at);

		if (step.got == REDIS_MORE)
			return redis_more(at, step.need);
		if (step.got == REDIS_BAD) {
			return redis_bad_reply(st, at);
		}
		if (top && type != '|') {
			v->top = false;
			if (!st->silent && !st->reply.type)
				redis_note_top(st, clv_slice_from(in, at));
		}
		s->bytes += step.next - at + step.skip;
		at = step.next;
		if (step.skip)
			return redis_fed(CLV_FED_OK, at, step.skip);
	}
	if (!redis_value_ends(st, at, sink)) {
		return redis_bad_reply(st, at);
	}
	return redis_fed(CLV_FED_OK, at, 0);
}

static struct clv_fed redis_feed_reply(struct redis_state *st, struct clv_slice in, struct clv_sink *sink)
{
	struct redis_side *s = &st->side[CLV_TO_CLIENT];
	size_t at = 0;

	if (s->phase != REDIS_IDLE)
		return redis_go_on(st, in, 0, sink);
	/* A server that prepares for a replica sends line ends meanwhile. */
	while (st->replicating && at < in.len && in.data[at] == '\n')
		at++;
	if (at == in.len)
		return redis_more(at, 0);
	switch (redis_begin_value(st, in, at, sink)) {
	case REDIS_MORE:
		return redis_more(at, 0);
	case REDIS_BAD:
		return redis_bad_reply(st, at);
	case REDIS_DONE:
		break;
	}
	if (st->silent || st->class == REDIS_CONTINUE)
		return redis_go_on(st, in, at, sink);
	if (redis_replicates(st, clv_slice_from(in, at))) {
		size_t end = at + redis_head_len(in, at);

		s->bytes = end - at;
		redis_end_reply(st, end, sink);
		return redis_fed(CLV_FED_OPAQUE, end, 0);
	}
	if (st->odd && redis_kind(&st->answered_to) == CLV_REDIS_EXEC) {
		return redis_bad_reply(st, at);
	}
	return redis_go_on(st, in, at, sink);
}

/* ---- the contract ---------------------------------------------------------------------------------------------- */

static struct clv_fed redis_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	return dir == CLV_TO_SERVER ? redis_feed_command(state, in, sink) : redis_feed_reply(state, in, sink);
}

static void redis_open(void *state, const struct clv_conn_info *conn)
{
	struct redis_state *st = state;

	st->resp = 2;
	st->queued_db = -1;
	if (conn->midstream) {
		st->doubt = true;
		redis_forget_modes(st);
	}
}

/* Commands were missed: what they changed shows when the replies to those before them have come. */
static void redis_lose_commands(struct redis_state *st)
{
	if (!st->doubt && !st->gap_ahead) {
		st->gap_ahead = true;
		st->gap_at = st->asked;
	}
	st->since_gap = 0;
	if (st->doubt) {
		st->subscribing = 0;
		redis_forget_modes(st);
	}
	st->reply_off = st->reply_skip = st->queueing = false;
}

/* Replies were missed, and nobody waits any more for those that are to come. */
static void redis_lose_replies(struct redis_state *st)
{
	if (st->doubt || st->gap_ahead || (int32_t)(st->modal - st->answered) > 0 || st->multi)
		redis_forget_modes(st);
	st->gap_ahead = st->turn = false;
	st->doubt = true;
	st->subscribing = st->since_gap = st->replies_left = 0;
}

static void redis_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct redis_state *st = state;

	if (dir == CLV_TO_CLIENT && (st->side[dir].phase != REDIS_IDLE || st->replies_left))
		redis_forget_modes(st); /* an answer that was begun, but not its changes */
	st->side[dir] = (struct redis_side){0};
	st->epoch++;
	if (dir == CLV_TO_SERVER) {
		st->words_left = 0;
		redis_lose_commands(st);
	} else {
		redis_lose_replies(st);
	}
}

static void redis_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

/* ---- finding messages ------------------------------------------------------------------------------------------ */

/* Of a line that is not complete: could its first word be a command on record? */
static bool redis_may_be_known(struct clv_slice in)
{
	size_t at = 0;
	struct clv_slice name = redis_line_word(in, &at);

	return at < in.len ? clv_redis_find(name) != 0 : name.len <= REDIS_NAME_BYTES;
}

/* How surely is in.data[0] the first byte of a command? `line`: it may be an inline one. */
static enum clv_match redis_begins_command(struct clv_slice in, bool line)
{
	struct redis_command c;

	if (!in.len)
		return CLV_MATCH_MAYBE;
	if (in.data[0] != '*' && !line)
		return CLV_MATCH_NO;
	enum redis_got got = redis_read_command(in, &c);
	if (got == REDIS_MORE && in.data[0] != '*' && !redis_may_be_known(in))
		return CLV_MATCH_NO;
	if (got != REDIS_DONE)
		return got == REDIS_BAD ? CLV_MATCH_NO : CLV_MATCH_MAYBE;
	struct clv_slice name = clv_slice_sub(in, c.facts.name_at, c.facts.name_len);
	if (!clv_redis_is_word(name))
		return CLV_MATCH_NO;
	if (c.line)
		return c.facts.command && !memmem(in.data, c.used, "HTTP/", 5) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
	return c.facts.command ? CLV_MATCH_YES : CLV_MATCH_LIKELY;
}

/*
 * Are the arguments bulk strings? What servers say may begin like a command: "*3 subscribe c :1". MAYBE: those are that
 * are there.
 */
static enum clv_match redis_all_bulk(struct clv_slice in, const struct redis_command *c)
{
	size_t at = c->len, next;
	int64_t len;

	for (uint32_t left = c->words_left; left; left--) {
		if (at >= in.len)
			return CLV_MATCH_MAYBE;
		enum redis_got got = in.data[at] == '$' ? redis_number(in, at, false, &len, &next) : REDIS_BAD;
		if (got == REDIS_BAD || (got == REDIS_DONE && (len < 0 || len > REDIS_PAYLOAD_MOST)))
			return CLV_MATCH_NO;
		if (got == REDIS_MORE || (uint64_t)len >= in.len - next)
			return CLV_MATCH_MAYBE;
		at = next + (size_t)len + 2;
	}
	return CLV_MATCH_YES;
}

/*
 * An array command: is it a client's? Arrays of strings go both ways, so in the middle of a connection a name must be
 * on record, or look like a module's: "JSON.SET". And of what servers send to subscribers nothing may be missing.
 */
static enum clv_match redis_probe_array(struct clv_slice in, enum clv_where where)
{
	struct redis_command c;

	redis_read_command(in, &c);
	enum clv_redis_kind kind = redis_kind(&c.facts);
	enum clv_match bulk = redis_all_bulk(in, &c);

	if (bulk == CLV_MATCH_NO)
		return CLV_MATCH_NO;
	if (where == CLV_WHERE_START)
		return CLV_MATCH_YES;
	if (!c.facts.command)
		return memchr(in.data + c.facts.name_at, '.', c.facts.name_len) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
	return kind == CLV_REDIS_SUBSCRIBE || kind == CLV_REDIS_UNSUBSCRIBE ? bulk : CLV_MATCH_YES;
}

static enum clv_match redis_probe_command(struct clv_slice in, enum clv_where where)
{
	struct clv_slice rest = clv_slice_from(in, redis_empty_lines(in));
	int64_t n;
	size_t next;

	while (rest.len && rest.data[0] == '*' && redis_number(rest, 0, false, &n, &next) == REDIS_DONE && n <= 0) {
		rest = clv_slice_from(rest, next);
		rest = clv_slice_from(rest, redis_empty_lines(rest));
	}
	if (!rest.len || (rest.len == 1 && rest.data[0] == '\r'))
		return CLV_MATCH_MAYBE;
	enum clv_match m = redis_begins_command(rest, where == CLV_WHERE_START);
	if (rest.data[0] != '*' || m == CLV_MATCH_NO || m == CLV_MATCH_MAYBE)
		return m;
	return redis_probe_array(rest, where);
}

/* A word that servers say by itself: "+OK", "+PONG". POP3's "+OK hello" is another's. */
static bool redis_plain_status(struct clv_slice line)
{
	static const struct clv_slice statuses[] = {CLV_LIT("OK"),    CLV_LIT("PONG"),   CLV_LIT("QUEUED"),
						    CLV_LIT("RESET"), CLV_LIT("string"), CLV_LIT("none")};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
		if (clv_slice_eq(line, statuses[i]))
			return true;
	return clv_slice_starts(line, CLV_LIT("FULLRESYNC ")) || clv_slice_starts(line, CLV_LIT("CONTINUE"));
}

/* "-ERR something": an upper-case word of two letters at least, and more behind it. */
static bool redis_plain_error(struct clv_slice line)
{
	size_t n = 0;

	while (n < line.len && ((uint8_t)(line.data[n] - 'A') < 26 || (n && line.data[n] == '_')))
		n++;
	return n > 1 && n < line.len && line.data[n] == ' ' && redis_is_text(line);
}

/* Is in.data[0] the first byte of what a server says, as far as it goes? */
static enum redis_got redis_is_value(struct clv_slice in)
{
	static const struct redis_state nothing;
	struct redis_value v = {.left = 1};
	struct redis_side s = {.phase = REDIS_WITHIN};
	size_t len, at = 0;
	enum redis_got got = redis_first_line(&nothing, in, 0, &len);

	while (got == REDIS_DONE && !redis_over(&s, &v)) {
		struct redis_step step = redis_walk(&s, &v, in, at);

		if (step.got == REDIS_MORE || step.skip > in.len - step.next)
			break;
		if (step.got == REDIS_BAD)
			return REDIS_BAD;
		at = step.next + (size_t)step.skip;
	}
	return got;
}

static enum clv_match redis_probe_value(struct clv_slice in)
{
	if (!in.len)
		return CLV_MATCH_MAYBE;
	switch (redis_is_value(in)) {
	case REDIS_MORE:
		return CLV_MATCH_MAYBE;
	case REDIS_BAD:
		return CLV_MATCH_NO;
	case REDIS_DONE:
		break;
	}
	struct clv_slice line = clv_slice_sub(in, 1, redis_head_len(in, 0) - 1);
	while (line.len && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
		line.len--;
	switch (in.data[0]) {
	case '+':
		return redis_plain_status(line) || redis_is_monitor(in) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
	case '-':
		return redis_plain_error(line) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
	case '#':
		return clv_slice_eq(line, CLV_LIT("t")) || clv_slice_eq(line, CLV_LIT("f")) ? CLV_MATCH_LIKELY
											    : CLV_MATCH_NO;
	case '_':
		return line.len ? CLV_MATCH_NO : CLV_MATCH_LIKELY;
	case ',':
	case '(':
		return CLV_MATCH_NO; /* rare, and like anything */
	default:
		return CLV_MATCH_LIKELY;
	}
}

static enum clv_match redis_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	if (where == CLV_WHERE_DATAGRAM)
		return CLV_MATCH_NO;
	return dir == CLV_TO_SERVER ? redis_probe_command(in, where) : redis_probe_value(in);
}

/* Does the command that begins the packet end in it, and at its end, or before another? */
static bool redis_is_whole(struct clv_slice in)
{
	struct redis_command c;
	struct clv_slice word;
	size_t next = 0;

	if (redis_read_command(in, &c) != REDIS_DONE)
		return false;
	for (next = c.used; c.words_left; c.words_left--)
		if (redis_bulk(in, next, in.len, &word, &next) != REDIS_DONE || !next)
			return false;
	return next == in.len || in.data[next] == '*';
}

/*
 * Payloads quote anything. So behind a line end only commands on record are believed; where a packet begins others,
 * too, if they are whole.
 */
static ptrdiff_t redis_resync_command(struct redis_side *s, struct clv_slice in, bool at_packet)
{
	bool sure = at_packet || s->candidate;

	s->candidate = false;
	if (sure && in.len) {
		enum clv_match m = redis_begins_command(in, false);

		if (m == CLV_MATCH_YES || (m == CLV_MATCH_LIKELY && redis_is_whole(in)))
			return 0;
		if (m == CLV_MATCH_MAYBE) {
			s->candidate = true;
			return -1 - (ptrdiff_t)in.len;
		}
	}
	for (size_t cr = clv_slice_find(in, 0, '\r'); cr < in.len; cr = clv_slice_find(in, cr + 1, '\r')) {
		if (cr + 2 >= in.len && (cr + 1 == in.len || in.data[cr + 1] == '\n'))
			return -1 - (ptrdiff_t)(in.len - cr);
		if (in.data[cr + 1] != '\n' || in.data[cr + 2] != '*')
			continue;
		enum clv_match m = redis_begins_command(clv_slice_from(in, cr + 2), false);
		if (m == CLV_MATCH_YES)
			return (ptrdiff_t)cr + 2;
		if (m == CLV_MATCH_MAYBE)
			return -1 - (ptrdiff_t)(in.len - cr);
	}
	return -1;
}

/*
 * Nothing tells a reply from an element of one. But who does not pipeline waits for the answer: what the server says
 * first behind a command begins it, if it begins a packet.
 */
static ptrdiff_t redis_resync_reply(struct redis_state *st, struct clv_slice in, bool at_packet)
{
	struct redis_side *s = &st->side[CLV_TO_CLIENT];
	bool sure = (at_packet || s->candidate) && st->turn && in.len;
	enum redis_got got = sure ? redis_is_value(in) : REDIS_BAD;

	s->candidate = got == REDIS_MORE;
	if (got == REDIS_DONE)
		return 0;
	if (got == REDIS_MORE)
		return -1 - (ptrdiff_t)in.len;
	st->turn &= !in.len;
	return -1;
}

static ptrdiff_t redis_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct redis_state *st = state;

	return dir == CLV_TO_SERVER ? redis_resync_command(&st->side[CLV_TO_SERVER], in, at_packet)
				    : redis_resync_reply(st, in, at_packet);
}

const struct clv_proto clv_redis = {
	.name = "redis",
	.ports = {6379, 6380, 16379, 26379},
	.state_size = sizeof(struct redis_state),
	.probe = redis_probe,
	.open = redis_open,
	.feed = redis_feed,
	.gap = redis_gap,
	.resync = redis_resync,
	.fin = redis_fin,
	.describe = clv_redis_describe,
};
