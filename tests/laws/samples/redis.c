/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in Redis: everything that RESP2 and RESP3 have, and all that makes a connection change its ways: transactions,
 * databases, subscriptions, MONITOR, replies that are off, RESET, replication.
 *
 * Most commands are told apart by their span's target: keys are "LETTERS:number", and the letters are the exchange's
 * number. Which reply it got shows in the bytes of both.
 */
#include "../talk.h"

#include <stdarg.h>
#include <strings.h>

#include "model/span.h"
#include "proto/redis.h"

#define WORD_MOST 16

/* What is true beyond the messages' places. By message. */
static struct {
	uint32_t bytes[TALK_MESSAGES];
	char method[TALK_MESSAGES][40];
	char target[TALK_MESSAGES][24];
	char result[TALK_MESSAGES][16]; /* of responses */
	int batch[TALK_MESSAGES];       /* -1: none */
	int db[TALK_MESSAGES];
} truth;

static struct {
	int resp, db, id;
	int channels, patterns;
	bool monitor;
	int multi, multi_db; /* commands that are queued; -1: none */
	bool off, skip;
} mode;

static uint64_t hash(const void *data, size_t len)
{
	uint64_t h = len;

	for (size_t i = 0; i < len; i++)
		h = (h ^ ((const uint8_t *)data)[i]) * 0x100000001b3u;
	return h;
}

static uint64_t redis_tag(const struct clv_msg *msg)
{
	return hash(msg->head.data, msg->head.len);
}

/* ---- commands -------------------------------------------------------------------------------------------------- */

struct word {
	char text[512];
	uint32_t len;
	uint32_t fill; /* instead of the text: so many bytes */
};

static struct word words[WORD_MOST];
static unsigned count;

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	struct word *w = &words[count++];
	va_list ap;

	va_start(ap, fmt);
	w->len = (uint32_t)vsnprintf(w->text, sizeof(w->text), fmt, ap);
	w->fill = 0;
	va_end(ap);
}

/* A word as long as nobody else's: so a command's bytes tell which it is, where nothing else does. */
static void pad(void)
{
	say("%0*d", mode.id + 3, mode.id);
}

static void say_bytes(uint32_t len)
{
	words[count++] = (struct word){.len = len, .fill = len};
}

/* Payloads that look like the protocol, but begin no command that is on record and no packet. */
static void fill(struct talk *t, enum clv_dir dir, uint32_t len)
{
	static const char *const texts[] = {"$5\r\nhello",
					    "*2\r\n$3\r\nfoo\r\n",
					    "+OK",
					    "{\"a\": [1, 2]}\r\n",
					    "-ERR x",
					    "\r\n\r\n",
					    ":12",
					    "*",
					    "$-1\r\n",
					    "\0\x01\xff",
					    "*1\r\n$4\r\nPIN"};

	talk_put(t, dir, "x", len > 0);
	for (uint32_t left = len ? len - 1 : 0; left;) {
		const char *text = texts[talk_below(&t->rng, 11)];
		uint32_t n = (uint32_t)strlen(text) + 1;

		n = n > left ? left : n;
		talk_put(t, dir, text, n);
		left -= n;
	}
}

static void put_words_inline(struct talk *t, int m)
{
	for (unsigned i = 0; i < count; i++) {
		talk_printf(t, CLV_TO_SERVER, "%s", i ? talk_chance(&t->rng, 20) ? "  " : " " : "");
		talk_put(t, CLV_TO_SERVER, words[i].text, words[i].len);
		if (i == 0 || (i == 1 && words[1].len <= 128 && strcasecmp(words[0].text, "AUTH") != 0))
			talk_head_ends(t, m);
	}
	talk_printf(t, CLV_TO_SERVER, talk_chance(&t->rng, 70) ? "\r\n" : "\n");
}

static void put_words(struct talk *t, int m)
{
	bool open = true; /* the head goes on */

	talk_printf(t, CLV_TO_SERVER, "*%u\r\n", count);
	talk_head_ends(t, m);
	for (unsigned i = 0; i < count; i++) {
		struct word *w = &words[i];

		talk_printf(t, CLV_TO_SERVER, "$%u\r\n", w->len);
		if (w->fill)
			fill(t, CLV_TO_SERVER, w->fill);
		else
			talk_put(t, CLV_TO_SERVER, w->text, w->len);
		talk_printf(t, CLV_TO_SERVER, "\r\n");
		open = open && w->len <= (i == 0 ? 64u : 128u);
		if (i == 1 && !strcasecmp(words[0].text, "AUTH"))
			open = false;
		bool reply = count == 3 && !strcasecmp(words[0].text, "CLIENT") && !strcasecmp(words[1].text, "REPLY");
		if (open && (i < 2 || (i == 2 && reply)))
			talk_head_ends(t, m);
		else
			open = false;
		if (w->len >= 1024)
			t->message[m].body_bytes += w->len;
	}
}

/* What was said is a command. Returns its message. */
static int command(struct talk *t, bool may_be_inline)
{
	static const char *const nothing[] = {"\r\n", "\n", "*0\r\n", "*-1\r\n"};
	int id = mode.id++;

	if (talk_chance(&t->rng, 5))
		talk_printf(t, CLV_TO_SERVER, "%s", nothing[talk_below(&t->rng, 4)]);
	int m = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, id, -1);
	uint32_t from = t->len[CLV_TO_SERVER];
	if (may_be_inline && talk_chance(&t->rng, 50))
		put_words_inline(t, m);
	else
		put_words(t, m);
	talk_ends(t, m);
	t->message[m].tag = hash(t->bytes[0] + t->message[m].start, t->message[m].head_len);
	truth.bytes[m] = t->len[CLV_TO_SERVER] - from;
	snprintf(truth.method[m], sizeof(truth.method[m]), "%.39s", words[0].text);
	for (char *p = truth.method[m]; *p; p++)
		*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
	truth.target[m][0] = 0;
	count = 0;
	return m;
}

/* The exchange's number in letters. */
static const char *letters(void)
{
	static char text[8];
	int n = mode.id;

	text[0] = 'k';
	for (int i = 1; i < 5; i++, n /= 26)
		text[i] = (char)('a' + n % 26);
	return text;
}

static int keyed(struct talk *t, bool may_be_inline)
{
	char target[24];

	snprintf(target, sizeof(target), "%s:?", letters());
	int m = command(t, may_be_inline);
	memcpy(truth.target[m], target, sizeof(target));
	return m;
}

/* ---- replies --------------------------------------------------------------------------------------------------- */

static int begin_reply(struct talk *t, int request)
{
	int m = talk_begin(t, CLV_TO_CLIENT, CLV_RESPONSE, t->message[request].id, request);

	truth.batch[m] = -1;
	strcpy(truth.result[m], "OK");
	return m;
}

static void end_reply(struct talk *t, int m)
{
	struct talk_message *r = &t->message[m];
	const uint8_t *p = t->bytes[CLV_TO_CLIENT] + r->start;

	talk_ends(t, m);
	uint32_t len = r->end - r->start, n = 0;
	while (n < len && n < 64 && p[n++] != '\n')
		;
	r->head_len = n;
	r->tag = hash(p, n);
	truth.bytes[m] = len;
	truth.db[m] = mode.db;
}

static uint32_t put_bulk(struct talk *t, char type, uint32_t len)
{
	talk_printf(t, CLV_TO_CLIENT, "%c%u\r\n", type, len);
	fill(t, CLV_TO_CLIENT, len);
	talk_printf(t, CLV_TO_CLIENT, "\r\n");
	return len >= 1024 ? len : 0;
}

static uint32_t size_of_value(struct talk *t)
{
	return talk_below(&t->rng, talk_chance(&t->rng, 10) ? 6000 : 60);
}

static uint32_t put_value(struct talk *t, unsigned depth);

static uint32_t put_values(struct talk *t, unsigned n, unsigned depth)
{
	uint32_t skipped = 0;

	while (n--)
		skipped += put_value(t, depth);
	return skipped;
}

static uint32_t put_resp3(struct talk *t, unsigned depth)
{
	unsigned n = talk_below(&t->rng, depth ? 4 : 2);
	uint32_t skipped = 0;

	switch (talk_below(&t->rng, depth ? 12 : 7)) {
	case 0:
		talk_printf(t, CLV_TO_CLIENT, "_\r\n");
		break;
	case 1:
		talk_printf(t, CLV_TO_CLIENT, ",%u.25\r\n", n);
		break;
	case 2:
		talk_printf(t, CLV_TO_CLIENT, "#%c\r\n", n & 1 ? 't' : 'f');
		break;
	case 3:
		talk_printf(t, CLV_TO_CLIENT, "(%s%0*u\r\n", n & 1 ? "-" : "", (int)talk_below(&t->rng, 300) + 20, n);
		break;
	case 4:
		return put_bulk(t, '=', 4 + size_of_value(t));
	case 5:
		talk_printf(t, CLV_TO_CLIENT, "!%d\r\nSYNTAX bad\r\n", 10);
		break;
	case 6: /* in pieces */
		talk_printf(t, CLV_TO_CLIENT, "$?\r\n");
		for (unsigned i = 0; i < n; i++)
			skipped += put_bulk(t, ';', 1 + size_of_value(t));
		talk_printf(t, CLV_TO_CLIENT, ";0\r\n");
		break;
	case 7:
		talk_printf(t, CLV_TO_CLIENT, "%%%u\r\n", n);
		return put_values(t, 2 * n, depth - 1);
	case 8:
		talk_printf(t, CLV_TO_CLIENT, "~%u\r\n", n);
		return put_values(t, n, depth - 1);
	case 9: /* how many, nobody says before */
		talk_printf(t, CLV_TO_CLIENT, "%s?\r\n", n & 1 ? "*" : "%");
		skipped = put_values(t, 2 * n, depth > 2 ? 2 : depth - 1);
		talk_printf(t, CLV_TO_CLIENT, ".\r\n");
		break;
	default:
		talk_printf(t, CLV_TO_CLIENT, "|%u\r\n", n);
		skipped = put_values(t, 2 * n, depth - 1);
		return skipped + put_value(t, depth - 1);
	}
	return skipped;
}

/* Returns the bytes of it that are skipped. */
static uint32_t put_value(struct talk *t, unsigned depth)
{
	unsigned n = talk_below(&t->rng, 5);

	if (mode.resp == 3 && talk_chance(&t->rng, 50))
		return put_resp3(t, depth);
	switch (talk_below(&t->rng, depth ? 7 : 5)) {
	case 0:
		talk_printf(t, CLV_TO_CLIENT, "+some text\r\n");
		break;
	case 1:
		talk_printf(t, CLV_TO_CLIENT, ":%d\r\n", (int)talk_below(&t->rng, 100000) - 50000);
		break;
	case 2:
		talk_printf(t, CLV_TO_CLIENT, n ? "$-1\r\n" : "*-1\r\n");
		break;
	case 3:
		talk_printf(t, CLV_TO_CLIENT, "-ERR element\r\n");
		break;
	case 4:
		return put_bulk(t, '$', size_of_value(t));
	default:
		talk_printf(t, CLV_TO_CLIENT, "*%u\r\n", n);
		return put_values(t, n, depth - 1);
	}
	return 0;
}

static void error_is(int m, const char *code)
{
	snprintf(truth.result[m], sizeof(truth.result[m]), "%s", code);
}

/* Any reply that a command may get; its size is its own. */
static void any_reply(struct talk *t, int m)
{
	unsigned id = (unsigned)t->message[m].id;
	uint32_t skipped = 0, kind = talk_below(&t->rng, mode.resp == 3 ? 14 : 9);

	switch (kind) {
	case 0:
		talk_printf(t, CLV_TO_CLIENT, "+OK\r\n");
		break;
	case 1:
		talk_printf(t, CLV_TO_CLIENT, "$-1\r\n");
		error_is(m, "nil");
		break;
	case 2:
		talk_printf(t, CLV_TO_CLIENT, "-E%u of this kind %0*u\r\n", id, (int)talk_below(&t->rng, 200) + 1, id);
		snprintf(truth.result[m], sizeof(truth.result[m]), "E%u", id);
		break;
	case 3:
		talk_printf(t, CLV_TO_CLIENT, "-MOVED %u 127.0.0.1:6381\r\n", id);
		error_is(m, "MOVED");
		break;
	case 4:
		talk_printf(t, CLV_TO_CLIENT, ":%u\r\n", id);
		break;
	case 5:
		talk_printf(t, CLV_TO_CLIENT, "+%0*u\r\n", (int)talk_below(&t->rng, 900) + 1, id);
		break;
	case 6:
		skipped = put_bulk(t, '$', size_of_value(t) + id);
		break;
	case 7:
	case 8:
		talk_printf(t, CLV_TO_CLIENT, "*2\r\n:%u\r\n", id);
		skipped = put_value(t, 4);
		break;
	case 9: /* as an attribute's value */
		talk_printf(t, CLV_TO_CLIENT, "|1\r\n+ttl\r\n:3600\r\n");
		talk_printf(t, CLV_TO_CLIENT, id & 1 ? "-WRONGTYPE of key\r\n" : "_\r\n");
		error_is(m, id & 1 ? "WRONGTYPE" : "nil");
		break;
	case 10:
		talk_printf(t, CLV_TO_CLIENT, "!21\r\nSYNTAX invalid syntax\r\n");
		error_is(m, "SYNTAX");
		break;
	case 11:
		talk_printf(t, CLV_TO_CLIENT, "%%1\r\n:%u\r\n", id);
		skipped = put_value(t, 4);
		break;
	case 12:
		talk_printf(t, CLV_TO_CLIENT, "~?\r\n:%u\r\n", id);
		skipped = put_values(t, 3, 3);
		talk_printf(t, CLV_TO_CLIENT, ".\r\n");
		break;
	default:
		talk_printf(t, CLV_TO_CLIENT, "=%u\r\ntxt:%020u\r\n", 24, id);
	}
	t->message[m].body_bytes = skipped;
}

/* What comes unasked, if anything may. */
static void unasked(struct talk *t)
{
	unsigned n = talk_chance(&t->rng, 40) ? 0 : talk_below(&t->rng, 3);
	char type = mode.resp == 3 ? '>' : '*';

	while (n--) {
		if (mode.monitor) {
			talk_printf(t, CLV_TO_CLIENT, "+1700000000.%06u [0 127.0.0.1:6] \"set\" \"%0*u\"\r\n", n,
				    (int)talk_below(&t->rng, 200) + 1, n);
		} else if (mode.channels && talk_chance(&t->rng, 70)) {
			talk_printf(t, CLV_TO_CLIENT, "%c3\r\n$7\r\nmessage\r\n$1\r\na\r\n", type);
			put_bulk(t, '$', size_of_value(t));
		} else if (mode.patterns) {
			talk_printf(t, CLV_TO_CLIENT, "%c4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n", type);
			put_bulk(t, '$', size_of_value(t));
		} else if (mode.resp == 3) {
			talk_printf(t, CLV_TO_CLIENT, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nabc\r\n");
		}
	}
}

static void short_reply(struct talk *t, int request, const char *text, const char *result)
{
	int m = begin_reply(t, request);

	talk_printf(t, CLV_TO_CLIENT, "%s", text);
	error_is(m, result);
	end_reply(t, m);
}

/* ---- exchanges: each puts a command, and later its reply ------------------------------------------------------- */

enum kind {
	KIND_KEY,
	KIND_VALUE,
	KIND_MODULE,
	KIND_FUNCTION,
	KIND_SELECT,
	KIND_PING,
	KIND_AUTH,
	KIND_LONG_NAME,
	KIND_SIMPLE,
	KIND_PARAMETERS, /* CLUSTER NODES */
	KIND_ANY = KIND_PARAMETERS + 1,
	KIND_OFF,
	KIND_ON,
	KIND_SKIP,
	KIND_SUBSCRIBE,
	KIND_UNSUBSCRIBE,
	KIND_UNSUBSCRIBE_ALL,
	KIND_HELLO,
	KIND_RESET,
	KIND_MONITOR,
	KIND_MULTI,
	KIND_QUEUED_SELECT,
	KIND_EXEC,
	KIND_DISCARD,
};

struct exchange {
	enum kind kind;
	int request;
	int number; /* SELECT's database, HELLO's version, channels */
	bool pattern, answered;
};

static void ask_for_subscriptions(struct talk *t, struct exchange *x)
{
	static const char *const names[] = {"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "punsubscribe"};

	/* An UNSUBSCRIBE from everything has no room for what is its own: its method is the same, and so are its bytes.
	 */
	x->pattern = talk_chance(&t->rng, 40);
	say("%s", names[(x->kind != KIND_SUBSCRIBE) * 2 + x->pattern]);
	x->number = x->kind == KIND_UNSUBSCRIBE_ALL ? 0 : 1 + (int)talk_below(&t->rng, 3);
	for (int i = 0; i < x->number; i++)
		say("%c%0*d", 'a' + i, mode.id, mode.id);
	x->request = command(t, false);
}

static void ask(struct talk *t, struct exchange *x)
{
	static const char *const keyed_names[] = {"GET", "lrange", "HGETALL", "BLPOP", "Zadd", "XADD"};

	switch (x->kind) {
	case KIND_KEY:
		say("%s", keyed_names[talk_below(&t->rng, 6)]);
		say("%s:%u", letters(), talk_below(&t->rng, 1000));
		if (talk_chance(&t->rng, 50))
			say("%u", talk_below(&t->rng, 10));
		x->request = keyed(t, true);
		break;
	case KIND_VALUE:
		say("SET");
		say("%s:%u", letters(), talk_below(&t->rng, 1000));
		say_bytes(1 + size_of_value(t));
		if (talk_chance(&t->rng, 20))
			say_bytes(1 + size_of_value(t));
		x->request = keyed(t, false);
		break;
	case KIND_MODULE:
		say("X%d.cmd_%s", mode.id, letters());
		if (talk_chance(&t->rng, 50))
			say_bytes(1 + size_of_value(t));
		x->request = command(t, false);
		break;
	case KIND_FUNCTION: {
		char name[24];

		snprintf(name, sizeof(name), "fn_%s", letters());
		say("FCALL");
		say("%s", name);
		say("0");
		x->request = command(t, false);
		memcpy(truth.target[x->request], name, sizeof(name));
		break;
	}
	case KIND_SELECT:
	case KIND_QUEUED_SELECT:
		x->number = (int)talk_below(&t->rng, 16);
		say("SELECT");
		say("%d", x->number);
		pad();
		x->request = command(t, true);
		break;
	case KIND_PING:
		say(talk_chance(&t->rng, 50) ? "PING" : "ping");
		pad();
		x->request = command(t, true);
		break;
	case KIND_AUTH:
		say("AUTH");
		pad();
		x->request = command(t, true);
		break;
	case KIND_LONG_NAME: /* no name at all */
		say_bytes(65 + (uint32_t)mode.id);
		say("x");
		x->request = command(t, false);
		strcpy(truth.method[x->request], "_OTHER");
		break;
	case KIND_PARAMETERS:
		say("cluster");
		say("Nodes%s", letters());
		x->request = command(t, true);
		snprintf(truth.method[x->request], sizeof(truth.method[0]), "CLUSTER NODES");
		for (int i = 0, n = mode.id - 1; i < 5; i++)
			truth.method[x->request][13 + i] = i ? (char)('A' + n % 26) : 'K', n /= i ? 26 : 1;
		truth.method[x->request][18] = 0;
		break;
	case KIND_OFF:
	case KIND_ON:
	case KIND_SKIP:
		say("CLIENT");
		say("REPLY");
		say(x->kind == KIND_OFF ? "OFF" : x->kind == KIND_ON ? "on" : "Skip");
		x->request = command(t, true);
		strcpy(truth.method[x->request], "CLIENT REPLY");
		break;
	case KIND_SUBSCRIBE:
	case KIND_UNSUBSCRIBE:
	case KIND_UNSUBSCRIBE_ALL:
		ask_for_subscriptions(t, x);
		break;
	case KIND_HELLO:
		x->number = 2 + (int)talk_below(&t->rng, 2);
		say("HELLO");
		say("%d", x->number);
		say("AUTH");
		say("user");
		pad();
		x->request = command(t, false);
		break;
	case KIND_RESET:
		say("RESET");
		pad();
		x->request = command(t, true);
		break;
	case KIND_MONITOR:
		say("MONITOR");
		pad();
		x->request = command(t, true);
		break;
	case KIND_MULTI:
	case KIND_EXEC:
	case KIND_DISCARD:
		say(x->kind == KIND_MULTI ? "MULTI" : x->kind == KIND_EXEC ? "EXEC" : "discard");
		pad();
		x->request = command(t, true);
		break;
	default:
		say("DBSIZE");
		pad();
		x->request = command(t, true);
	}
	x->answered = !mode.off && !mode.skip;
	mode.skip = false;
	if (x->kind == KIND_OFF || x->kind == KIND_SKIP)
		x->answered = false;
	if (x->kind == KIND_OFF)
		mode.off = true;
	if (x->kind == KIND_SKIP)
		mode.skip = !mode.off;
	if (x->kind == KIND_ON) {
		mode.off = false;
		x->answered = true;
	}
}

static void confirm(struct talk *t, const struct exchange *x)
{
	static const char names[2][2][16] = {{"subscribe", "psubscribe"}, {"unsubscribe", "punsubscribe"}};
	const char *name = names[x->kind != KIND_SUBSCRIBE][x->pattern ? 1 : 0];
	int *what = x->pattern ? &mode.patterns : &mode.channels;
	int n = x->kind == KIND_UNSUBSCRIBE_ALL ? *what : x->number, m = begin_reply(t, x->request);
	char type = mode.resp == 3 ? '>' : '*';

	if (n == 0) {
		talk_printf(t, CLV_TO_CLIENT, "%c3\r\n$%zu\r\n%s\r\n%s:%d\r\n", type, strlen(name), name,
			    mode.resp == 3 ? "_\r\n" : "$-1\r\n", mode.channels + mode.patterns);
		end_reply(t, m);
		return;
	}
	for (int i = 0; i < n; i++) {
		if (x->kind == KIND_SUBSCRIBE)
			*what = *what > i + 1 ? *what : i + 1;
		else if (x->kind == KIND_UNSUBSCRIBE_ALL)
			--*what;
		else if (*what > 0)
			--*what;
		talk_printf(t, CLV_TO_CLIENT, "%c3\r\n$%zu\r\n%s\r\n$1\r\n%c\r\n:%d\r\n", type, strlen(name), name,
			    'a' + i, mode.channels + mode.patterns);
	}
	end_reply(t, m);
}

static void hello(struct talk *t, const struct exchange *x)
{
	int m = begin_reply(t, x->request);

	mode.resp = x->number;
	talk_printf(t, CLV_TO_CLIENT, mode.resp == 3 ? "%%3\r\n" : "*6\r\n");
	talk_printf(t, CLV_TO_CLIENT, "$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:%d\r\n$7\r\nmodules\r\n*0\r\n",
		    mode.resp);
	end_reply(t, m);
}

static void reset(struct talk *t, const struct exchange *x)
{
	int m = begin_reply(t, x->request);

	mode.resp = 2;
	mode.db = mode.channels = mode.patterns = 0;
	mode.monitor = false;
	mode.multi = -1;
	talk_printf(t, CLV_TO_CLIENT, "+RESET\r\n");
	end_reply(t, m);
}

static void execute(struct talk *t, const struct exchange *x)
{
	int m = begin_reply(t, x->request);

	truth.batch[m] = mode.multi;
	if (talk_chance(&t->rng, 20)) {
		talk_printf(t, CLV_TO_CLIENT, mode.resp == 3 ? "_\r\n" : "*-1\r\n");
		error_is(m, "nil");
	} else {
		talk_printf(t, CLV_TO_CLIENT, "*%d\r\n", mode.multi);
		for (int i = 0; i < mode.multi; i++)
			t->message[m].body_bytes += put_bulk(t, '$', size_of_value(t));
		if (mode.multi_db >= 0)
			mode.db = mode.multi_db;
	}
	mode.multi = -1;
	end_reply(t, m);
}

static void answer(struct talk *t, const struct exchange *x)
{
	int m;

	if (!x->answered)
		return;
	unasked(t);
	if (mode.multi >= 0 && x->kind != KIND_EXEC && x->kind != KIND_DISCARD && x->kind != KIND_RESET) {
		mode.multi++;
		if (x->kind == KIND_QUEUED_SELECT)
			mode.multi_db = x->number;
		short_reply(t, x->request, "+QUEUED\r\n", "QUEUED");
		return;
	}
	switch (x->kind) {
	case KIND_SELECT:
		mode.db = x->number;
		short_reply(t, x->request, "+OK\r\n", "OK");
		break;
	case KIND_PING:
		short_reply(t, x->request,
			    mode.resp == 2 && mode.channels + mode.patterns ? "*2\r\n$4\r\npong\r\n$0\r\n\r\n"
									    : "+PONG\r\n",
			    "OK");
		break;
	case KIND_SUBSCRIBE:
	case KIND_UNSUBSCRIBE:
	case KIND_UNSUBSCRIBE_ALL:
		confirm(t, x);
		break;
	case KIND_HELLO:
		hello(t, x);
		break;
	case KIND_RESET:
		reset(t, x);
		break;
	case KIND_MONITOR:
		short_reply(t, x->request, "+OK\r\n", "OK");
		mode.monitor = true;
		break;
	case KIND_MULTI:
		mode.multi = 0;
		mode.multi_db = -1;
		short_reply(t, x->request, "+OK\r\n", "OK");
		break;
	case KIND_EXEC:
		execute(t, x);
		break;
	case KIND_DISCARD:
		mode.multi = -1;
		short_reply(t, x->request, "+OK\r\n", "OK");
		break;
	case KIND_ON:
	case KIND_AUTH:
		short_reply(t, x->request, "+OK\r\n", "OK");
		break;
	default:
		m = begin_reply(t, x->request);
		any_reply(t, m);
		end_reply(t, m);
	}
}

/* ---- a whole talk ---------------------------------------------------------------------------------------------- */

/* What is asked is written at once, and so are the answers, in one piece or more. */
static void exchange(struct talk *t, struct exchange *x, int n)
{
	for (int i = 0; i < n; i++)
		ask(t, &x[i]);
	talk_flush(t, CLV_TO_SERVER);
	for (int i = 0; i < n; i++) {
		answer(t, &x[i]);
		if (talk_chance(&t->rng, 30))
			talk_flush(t, CLV_TO_CLIENT);
	}
	talk_flush(t, CLV_TO_CLIENT);
}

static void one(struct talk *t, enum kind kind)
{
	struct exchange x = {.kind = kind};

	exchange(t, &x, 1);
}

static enum kind any(struct talk *t)
{
	if (!t->messages) /* one without a name makes no connection Redis */
		return KIND_KEY;
	return (enum kind)talk_below(&t->rng, KIND_ANY);
}

static void listen(struct talk *t)
{
	static const enum kind kinds[] = {KIND_SUBSCRIBE, KIND_SUBSCRIBE, KIND_UNSUBSCRIBE, KIND_PING};

	one(t, KIND_SUBSCRIBE);
	for (int n = (int)talk_below(&t->rng, 4); n--;) {
		enum kind kind = kinds[talk_below(&t->rng, 4)];

		if (mode.channels + mode.patterns == 0)
			break;
		one(t, kind);
		unasked(t);
		talk_flush(t, CLV_TO_CLIENT);
	}
	while (mode.channels + mode.patterns && talk_chance(&t->rng, 90))
		one(t, KIND_UNSUBSCRIBE_ALL);
	if (mode.channels + mode.patterns)
		one(t, KIND_RESET);
}

static void transaction(struct talk *t, bool pipelined)
{
	struct exchange x[8] = {{.kind = KIND_MULTI}};
	int n = 1 + (int)talk_below(&t->rng, 5);

	for (int i = 1; i < n; i++)
		x[i].kind = talk_chance(&t->rng, 20)   ? KIND_QUEUED_SELECT
			    : talk_chance(&t->rng, 50) ? KIND_KEY
						       : KIND_VALUE;
	x[n++].kind = talk_chance(&t->rng, 85) ? KIND_EXEC : KIND_DISCARD;
	for (int i = 0; !pipelined && i < n; i++)
		exchange(t, &x[i], 1);
	if (pipelined)
		exchange(t, x, n);
}

static void silence(struct talk *t, bool pipelined)
{
	struct exchange x[8] = {
		{.kind = KIND_OFF}, {.kind = KIND_KEY}, {.kind = KIND_SKIP}, {.kind = KIND_VALUE}, {.kind = KIND_ON}};
	int n = 5;

	if (talk_chance(&t->rng, 50)) {
		x[0].kind = KIND_SKIP;
		x[2].kind = KIND_KEY;
		n = 3;
	}
	for (int i = 0; !pipelined && i < n; i++)
		exchange(t, &x[i], 1);
	if (pipelined)
		exchange(t, x, n);
}

static void watch(struct talk *t)
{
	one(t, KIND_MONITOR);
	for (int n = (int)talk_below(&t->rng, 4); n--;) {
		unasked(t);
		talk_flush(t, CLV_TO_CLIENT);
		one(t, KIND_PING);
	}
	one(t, KIND_RESET);
}

static void pipeline(struct talk *t)
{
	struct exchange x[16];
	int n = 2 + (int)talk_below(&t->rng, 15);

	for (int i = 0; i < n; i++)
		x[i] = (struct exchange){.kind = any(t)};
	exchange(t, x, n);
}

/* The connection becomes a replica's. */
static void replicate(struct talk *t)
{
	bool old = talk_chance(&t->rng, 50);

	say(old ? "SYNC" : "PSYNC");
	if (!old) {
		say("?");
		say("-1");
	}
	int request = command(t, false);
	talk_flush(t, CLV_TO_SERVER);
	if (talk_chance(&t->rng, 50))
		talk_printf(t, CLV_TO_CLIENT, "\n\n");
	talk_flush(t, CLV_TO_CLIENT);
	short_reply(t, request, old ? "$1000\r\n" : "+FULLRESYNC 8de1787ba490483314a4d30f1c628bc5025eb761 0\r\n", "OK");
	talk_flush(t, CLV_TO_CLIENT);
	for (int d = 0; d < 2; d++) {
		t->opaque_at[d] = t->len[d];
		talk_fill(t, (enum clv_dir)d, 100 + talk_below(&t->rng, 3000));
		talk_flush(t, (enum clv_dir)d);
	}
}

/* Some clients never pipeline: behind a loss only these can be followed. */
static void redis_make(struct talk *t)
{
	unsigned most = 110 + talk_below(&t->rng, 80);
	bool pipelines = talk_chance(&t->rng, 35);

	memset(&mode, 0, sizeof(mode));
	mode.resp = 2;
	mode.multi = -1;
	mode.id = (int)talk_below(&t->rng, 100);
	while (t->messages < most && t->writes < TALK_WRITES - 200) {
		uint32_t what = talk_below(&t->rng, 100);

		if (what < 20 && pipelines)
			pipeline(t);
		else if (what < 65)
			one(t, any(t));
		else if (what < 75)
			transaction(t, pipelines);
		else if (what < 80 && pipelines)
			silence(t, talk_chance(&t->rng, 50));
		else if (what < 87)
			listen(t);
		else if (what < 90)
			watch(t);
		else if (what < 97)
			one(t, KIND_HELLO);
		else
			one(t, KIND_RESET);
	}
	if (talk_chance(&t->rng, 20))
		replicate(t);
}

/* ---- spans ----------------------------------------------------------------------------------------------------- */

/* Is the request one of several that look the same? */
static bool redis_is_plain(const struct clv_span *span)
{
	return !span->target.len && !clv_slice_starts(span->method, CLV_LIT("X")) &&
	       !clv_slice_starts(span->method, CLV_LIT("CLUSTER"));
}

/* Is the span, with the answer it has or has not, this request's? */
static bool redis_fits(const struct talk *t, const struct clv_span *span, unsigned i)
{
	const struct talk_message *q = &t->message[i];
	const struct clv_attr *db = clv_span_get(span, CLV_ATTR_DB_NAMESPACE);
	const struct clv_attr *batch = clv_span_get(span, CLV_ATTR_DB_OPERATION_BATCH_SIZE);
	bool cut = span->flags & CLV_SPAN_GAP || span->flags & CLV_SPAN_TRUNCATED;

	if (!span->result.len)
		return !span->first_ns && (span->bytes == truth.bytes[i] || !span->bytes);
	if (q->answer < 0 || !clv_slice_eq(span->result, clv_slice_str(truth.result[q->answer])))
		return !cut || q->answer < 0 ? false : span->bytes < truth.bytes[i] + truth.bytes[q->answer];
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", truth.db[q->answer]);
	if (db && !clv_slice_eq(db->s, clv_slice(text, (size_t)len)))
		return false;
	if (batch && batch->i != truth.batch[q->answer])
		return false;
	uint64_t bytes = truth.bytes[i] + truth.bytes[q->answer];
	return span->bytes == bytes || (cut && span->bytes < bytes);
}

static int redis_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	/* Cut, it lacks the bytes that tell it from others. */
	bool several = redis_is_plain(span) && span->flags & (CLV_SPAN_GAP | CLV_SPAN_TRUNCATED | CLV_SPAN_UNPAIRED);
	int found = -1;

	*ok = false;
	for (unsigned i = 0; i < t->messages; i++) {
		if (t->message[i].role != CLV_REQUEST || (t->taken[i] && !several) ||
		    !clv_slice_eq(span->method, clv_slice_str(truth.method[i])) ||
		    !clv_slice_eq(span->target, clv_slice_str(truth.target[i])))
			continue;
		found = (int)i;
		*ok = redis_fits(t, span, i);
		if (*ok)
			return several ? TALK_SEVERAL : found;
	}
	return found;
}

const struct talk_sample talk_redis = {
	.proto = "redis",
	.port = 6379,
	.by_writes = true, /* an answer can be told from an element of one only by where packets begin */
	.make = redis_make,
	.tag = redis_tag,
	.check = redis_check,
};
