/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in Memcached's text protocol, for clovisor check-plugin: every command, pipelined and alone, with and without
 * noreply, data that look like lines, answers of every kind. The exchange's number is in the key, so that a wrong pair
 * shows.
 */
#include "memcached.h"

#include <stdio.h>

static uint64_t mix(struct clv_slice s)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ s.data[i]) * 0x100000001b3u;
	return h;
}

/* A command is its line, an answer its first word. */
static uint64_t tag(const struct clv_msg *msg)
{
	const struct memcached_facts *f = msg->facts;

	return msg->role == CLV_REQUEST ? mix(msg->head) : f->answer;
}

/* One exchange, as it is going to be said. */
struct exchange {
	int id, request;
	enum memcached_command command;
	unsigned keys;
	uint32_t bytes; /* of a command's data */
	bool noreply;
	char line[2048]; /* with its end */
	char target[300];
};

static const char *const names[] = {
#define X(id, name, form) [MEMCACHED_##id] = name,
	MEMCACHED_COMMANDS(X)
#undef X
};

static bool stores(enum memcached_command c)
{
	return c >= MEMCACHED_SET && c <= MEMCACHED_CAS;
}

static bool retrieves(enum memcached_command c)
{
	return c >= MEMCACHED_GET && c <= MEMCACHED_GATS;
}

static bool meta(enum memcached_command c)
{
	return c >= MEMCACHED_MG && c <= MEMCACHED_ME;
}

static void draw_line(struct clv_talk *t, const struct clv_talk_host *h, struct exchange *x)
{
	const char *noreply = x->noreply ? " noreply" : "", *eol = h->chance(t, 90) ? "\r\n" : "\n";
	const char *name = names[x->command];
	size_t at;

	snprintf(x->target, sizeof(x->target), "key:%d", x->id);
	if (stores(x->command)) {
		snprintf(x->line, sizeof(x->line), "%s %s %u %u %u%s%s%s", name, x->target, h->below(t, 99),
			 h->below(t, 4000), x->bytes, x->command == MEMCACHED_CAS ? " 17" : "", noreply, eol);
	} else if (retrieves(x->command)) {
		bool time = x->command == MEMCACHED_GAT || x->command == MEMCACHED_GATS;

		at = (size_t)snprintf(x->line, sizeof(x->line), "%s%s %s", name, time ? " 100" : "", x->target);
		for (unsigned i = 1; i < x->keys; i++)
			at += (size_t)snprintf(x->line + at, sizeof(x->line) - at, " other:%u", i);
		snprintf(x->line + at, sizeof(x->line) - at, "%s", eol);
		if (x->keys > 1)
			snprintf(x->target, sizeof(x->target), "key:%d +%u", x->id, x->keys - 1);
	} else if (x->command == MEMCACHED_DELETE) {
		snprintf(x->line, sizeof(x->line), "%s %s%s%s", name, x->target, noreply, eol);
	} else if (x->command == MEMCACHED_INCR || x->command == MEMCACHED_DECR || x->command == MEMCACHED_TOUCH) {
		snprintf(x->line, sizeof(x->line), "%s %s %u%s%s", name, x->target, 1 + h->below(t, 9), noreply, eol);
	} else if (x->command == MEMCACHED_MS) {
		snprintf(x->line, sizeof(x->line), "ms %s %u T0%s", x->target, x->bytes, eol);
	} else if (meta(x->command)) {
		snprintf(x->line, sizeof(x->line), "%s %s%s%s", name, x->target, h->chance(t, 50) ? " t v" : " k", eol);
	} else if (x->command == MEMCACHED_OTHER) { /* the word itself is not told */
		x->target[0] = '\0';
		snprintf(x->line, sizeof(x->line), "gett key:%d%s", x->id, eol);
	} else {
		/* Whatever its words: they tell it from others. */
		snprintf(x->line, sizeof(x->line), "%s %s%s%s", name, x->target, noreply, eol);
	}
}

static struct exchange draw(struct clv_talk *t, const struct clv_talk_host *h, int id)
{
	struct exchange x = {.id = id};
	bool words;

	do
		x.command = (enum memcached_command)h->below(t, MEMCACHED_COMMAND_COUNT);
	while (x.command >= MEMCACHED_WATCH || (x.command == MEMCACHED_OTHER && !h->chance(t, 20)));
	if (h->chance(t, 50)) /* what is mostly said */
		x.command = h->chance(t, 60) ? MEMCACHED_GET : MEMCACHED_SET;
	x.keys = retrieves(x.command) && h->chance(t, 40) ? 2 + h->below(t, 20) : 1;
	if (stores(x.command) || x.command == MEMCACHED_MS)
		x.bytes = h->chance(t, 10) ? h->below(t, 60000) : h->below(t, 2000);
	words = x.command == MEMCACHED_FLUSH_ALL || x.command == MEMCACHED_VERBOSITY;
	x.noreply = (stores(x.command) || words || (x.command >= MEMCACHED_DELETE && x.command <= MEMCACHED_TOUCH)) &&
		    h->chance(t, 15);
	draw_line(t, h, &x);
	return x;
}

static void put_request(struct clv_talk *t, const struct clv_talk_host *h, struct exchange *x, bool in_parts)
{
	struct clv_slice line = clv_slice_str(x->line);

	x->request = h->begin(t, CLV_TO_SERVER, CLV_REQUEST, -1);
	h->tag(t, x->request, mix(line));
	h->put(t, CLV_TO_SERVER, line.data, line.len);
	h->head_ends(t, x->request);
	if (stores(x->command) || x->command == MEMCACHED_MS) {
		if (in_parts)
			h->flush(t, CLV_TO_SERVER);
		h->fill(t, CLV_TO_SERVER, x->bytes);
		h->print(t, CLV_TO_SERVER, "\r\n");
	}
	h->ends(t, x->request, x->bytes);
}

static void expect(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x, const char *result)
{
	h->span(t, x->request, memcached_command_name(x->command), clv_slice_str(x->target), clv_slice_str(result), 0);
}

static void put_line(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x,
		     enum memcached_answer what, const char *line, const char *result)
{
	int m = h->begin(t, CLV_TO_CLIENT, CLV_RESPONSE, x->request);

	h->tag(t, m, what);
	h->print(t, CLV_TO_CLIENT, "%s\r\n", line);
	h->head_ends(t, m);
	h->ends(t, m, 0);
	expect(t, h, x, result);
}

/* `items` of the keys are there. */
static void put_items(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x, unsigned items)
{
	int m = h->begin(t, CLV_TO_CLIENT, CLV_RESPONSE, x->request);
	uint32_t sum = 0;

	h->tag(t, m, items ? MEMCACHED_VALUE : MEMCACHED_END);
	for (unsigned i = 0; i < items; i++) {
		uint32_t bytes = h->chance(t, 10) ? h->below(t, 20000) : h->below(t, 500);

		h->print(t, CLV_TO_CLIENT, "VALUE key:%d 0 %u%s\r\n", x->id + (int)i, bytes,
			 x->command == MEMCACHED_GETS ? " 4711" : "");
		if (i == 0)
			h->head_ends(t, m);
		h->fill(t, CLV_TO_CLIENT, bytes);
		h->print(t, CLV_TO_CLIENT, "\r\n");
		sum += bytes;
	}
	h->print(t, CLV_TO_CLIENT, "END\r\n");
	if (!items)
		h->head_ends(t, m);
	h->ends(t, m, sum);
	expect(t, h, x, items == x->keys ? "HIT" : items ? "PARTIAL" : "MISS");
}

static void put_stats(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x)
{
	int m = h->begin(t, CLV_TO_CLIENT, CLV_RESPONSE, x->request);

	h->tag(t, m, MEMCACHED_STAT);
	for (unsigned i = 0; i < 30; i++) {
		h->print(t, CLV_TO_CLIENT, "STAT name_%u %u\r\n", i, h->below(t, 100000));
		if (i == 0)
			h->head_ends(t, m);
	}
	h->print(t, CLV_TO_CLIENT, "END\r\n");
	h->ends(t, m, 0);
	expect(t, h, x, "END");
}

static void put_data(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x)
{
	int m = h->begin(t, CLV_TO_CLIENT, CLV_RESPONSE, x->request);
	uint32_t bytes = h->below(t, 3000);

	h->tag(t, m, MEMCACHED_VA);
	h->print(t, CLV_TO_CLIENT, "VA %u s%u t-1\r\n", bytes, bytes);
	h->head_ends(t, m);
	h->fill(t, CLV_TO_CLIENT, bytes);
	h->print(t, CLV_TO_CLIENT, "\r\n");
	h->ends(t, m, bytes);
	expect(t, h, x, "VA");
}

static void put_meta(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x)
{
	if (x->command == MEMCACHED_MG && h->chance(t, 60))
		put_data(t, h, x);
	else if (x->command == MEMCACHED_MG)
		put_line(t, h, x, MEMCACHED_EN, "EN", "EN");
	else if (x->command == MEMCACHED_ME)
		put_line(t, h, x, MEMCACHED_IS_ME, "ME key exp=-1 la=3 cas=2", "ME");
	else if (h->chance(t, 60))
		put_line(t, h, x, MEMCACHED_HD, "HD t-1", "HD");
	else
		put_line(t, h, x, MEMCACHED_NF, "NF", "NF");
}

static void put_stored(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x)
{
	static const char *const said[] = {"STORED", "NOT_STORED", "EXISTS", "NOT_FOUND"};
	unsigned i = h->chance(t, 60) ? 0 : h->below(t, 4);

	put_line(t, h, x, (enum memcached_answer)(MEMCACHED_STORED + i), said[i], said[i]);
}

static void put_answer(struct clv_talk *t, const struct clv_talk_host *h, const struct exchange *x)
{
	if (x->noreply)
		expect(t, h, x, "");
	else if (x->command == MEMCACHED_OTHER)
		put_line(t, h, x, MEMCACHED_ERROR, "ERROR", "ERROR");
	else if (h->chance(t, 5))
		put_line(t, h, x, MEMCACHED_SERVER_ERROR, "SERVER_ERROR out of memory", "SERVER_ERROR");
	else if (h->chance(t, 3))
		put_line(t, h, x, MEMCACHED_CLIENT_ERROR, "CLIENT_ERROR bad command line format", "CLIENT_ERROR");
	else if (retrieves(x->command))
		put_items(t, h, x, h->chance(t, 50) ? x->keys : h->below(t, x->keys + 1));
	else if (stores(x->command))
		put_stored(t, h, x);
	else if (meta(x->command))
		put_meta(t, h, x);
	else if (x->command == MEMCACHED_STATS)
		put_stats(t, h, x);
	else if (x->command == MEMCACHED_VERSION)
		put_line(t, h, x, MEMCACHED_IS_VERSION, "VERSION 1.6.18", "VERSION");
	else if (x->command == MEMCACHED_MN)
		put_line(t, h, x, MEMCACHED_IS_MN, "MN", "MN");
	else if (x->command == MEMCACHED_DELETE)
		put_line(t, h, x, MEMCACHED_DELETED, "DELETED", "DELETED");
	else if (x->command == MEMCACHED_TOUCH)
		put_line(t, h, x, MEMCACHED_TOUCHED, "TOUCHED", "TOUCHED");
	else if (x->command == MEMCACHED_INCR || x->command == MEMCACHED_DECR)
		put_line(t, h, x, MEMCACHED_NUMBER, "41  ", "OK");
	else
		put_line(t, h, x, MEMCACHED_OK, "OK", "OK");
}

#define PIPELINE 8

static void make(struct clv_talk *t, const struct clv_talk_host *h)
{
	struct exchange x[PIPELINE];
	int id = 0, end = 5 + (int)h->below(t, 60);

	/* One that is known at once begins. */
	x[0] = (struct exchange){.id = id++, .command = MEMCACHED_SET, .keys = 1, .bytes = 10};
	draw_line(t, h, &x[0]);
	put_request(t, h, &x[0], false);
	h->flush(t, CLV_TO_SERVER);
	put_answer(t, h, &x[0]);
	h->flush(t, CLV_TO_CLIENT);
	while (id < end) {
		unsigned count = h->chance(t, 25) ? 2 + h->below(t, PIPELINE - 1) : 1;

		for (unsigned i = 0; i < count; i++) {
			x[i] = draw(t, h, id++);
			put_request(t, h, &x[i], count == 1 && h->chance(t, 20));
		}
		h->flush(t, CLV_TO_SERVER);
		for (unsigned i = 0; i < count; i++) {
			put_answer(t, h, &x[i]);
			if (h->chance(t, 30))
				h->flush(t, CLV_TO_CLIENT);
		}
		h->flush(t, CLV_TO_CLIENT);
	}
	if (h->chance(t, 50)) {
		x[0] = (struct exchange){.id = id, .command = MEMCACHED_QUIT};
		draw_line(t, h, &x[0]);
		put_request(t, h, &x[0], false);
		expect(t, h, &x[0], "");
		h->flush(t, CLV_TO_SERVER);
	}
	h->closes(t, CLV_TO_CLIENT);
}

const struct clv_talk_source memcached_talk = {
	.proto = "memcached",
	.make = make,
	.tag = tag,
};
