/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of clovisor/proto.h, on a parser by itself. Whether the right two are paired is not the parser's business
 * but the engine's: engine.c. Owns a talk and a pump; main thread.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/limits.h"
#include "laws/laws.h"
#include "laws/pump.h"
#include "model/span.h"

#define TALKS 160
/* More than any message may keep waiting. */
#define FLOOD_BYTES (CLV_TAIL_BYTES + 65536u)

static struct talk talk;
static struct pump pump;

/* ---- ways to cut ------------------------------------------------------------------------------------------- */

enum cut { CUT_BYTES, CUT_WRITES, CUT_MSS, CUT_RANDOM };

static uint32_t next_cut(enum cut cut, uint64_t *rng, uint32_t left)
{
	uint32_t n = left;

	switch (cut) {
	case CUT_BYTES:
		n = 1;
		break;
	case CUT_MSS:
		n = 1448;
		break;
	case CUT_RANDOM:
		n = 1 + talk_below(rng, talk_chance(rng, 50) ? 20 : 3000);
		break;
	default:
		break;
	}
	return n < left ? n : left;
}

/* Likewise, where each write is a datagram: some are lost, of some only the first bytes were captured. */
static void play_datagrams(uint64_t seed, uint32_t percent, int lose, const uint32_t from[2])
{
	uint64_t rng = seed;

	for (unsigned i = 0; i < talk.writes; i++) {
		const struct talk_write *w = &talk.write[i];
		bool lost = (int)i == lose || (percent && talk_chance(&rng, percent));

		if (w->start < from[w->dir])
			continue;
		if (!lost)
			pump_datagram(&pump, w->dir, w->len, w->len);
		else
			pump_datagram(&pump, w->dir, w->len, talk_chance(&rng, 50) ? 0 : talk_below(&rng, w->len));
	}
}

/* Plays the talk from the given offsets on; loses `percent` of the segments, or the one numbered `lose`. */
static void play(enum cut cut, uint64_t seed, uint32_t percent, int lose, const uint32_t from[2])
{
	uint64_t rng = seed;
	int segment = 0;

	if (pump.sample->datagram) {
		play_datagrams(seed, percent, lose, from);
		return;
	}
	for (unsigned i = 0; i < talk.writes; i++) {
		const struct talk_write *w = &talk.write[i];
		uint32_t at = w->start < from[w->dir] ? from[w->dir] : w->start, end = w->start + w->len;
		while (at < end) {
			uint32_t n = next_cut(cut, &rng, end - at);
			if (segment++ == lose || (percent && talk_chance(&rng, percent)))
				pump_hole(&pump, w->dir, n);
			else
				pump_bytes(&pump, w->dir, n);
			at += n;
		}
	}
	for (int d = 0; d < 2; d++)
		if (talk.fin[d])
			pump_fin(&pump, (enum clv_dir)d);
}

static const uint32_t at_start[2];

/* Moves offsets on to where writes begin. */
static void from_write(uint32_t from[2])
{
	for (int d = 0; d < 2; d++) {
		uint32_t at = talk.len[d];
		for (unsigned i = 0; i < talk.writes; i++)
			if (talk.write[i].dir == (enum clv_dir)d && talk.write[i].start >= from[d] &&
			    talk.write[i].start < at)
				at = talk.write[i].start;
		from[d] = at;
	}
}

static void make(const struct laws *l, uint64_t seed)
{
	talk_reset(&talk, seed);
	if (l->sample->make)
		l->sample->make(&talk);
	else
		talk_noise(&talk);
}

static void begin(const struct laws *l, bool verbose)
{
	talk_init(&talk);
	pump_init(&pump, l->sample);
	pump.verbose = verbose ? l->say : NULL;
	pump.broken = l->broken;
}

static bool end(bool holds)
{
	pump_fini(&pump);
	talk_fini(&talk);
	return holds;
}

/* ---- the laws ---------------------------------------------------------------------------------------------- */

static bool expect_everything(struct laws *l, uint64_t seed)
{
	bool all = pump.wrong == 0;
	unsigned i = 0;

	while (i < talk.messages && pump.seen[i] == (SEEN_HEAD | SEEN_END))
		i++;
	if (all && i == talk.messages)
		return true;
	if (i == talk.messages)
		return laws_fail(l, "talk %lu: %s", (unsigned long)seed, pump.first_wrong);
	const struct talk_message *m = &talk.message[i];
	return laws_fail(l, "talk %lu: message %u (dir %d, at %u) was %s%s%s", (unsigned long)seed, i, m->dir, m->start,
			 pump.seen[i] & SEEN_HEAD ? "not seen to end" : "not seen", *pump.first_wrong ? "; " : "",
			 pump.first_wrong);
}

bool law_splits(struct laws *l)
{
	bool holds = true;

	begin(l, true);
	for (uint64_t seed = 0; seed < TALKS && holds; seed++) {
		make(l, seed);
		/* Byte by byte takes its time: not with every talk. */
		for (enum cut cut = seed % 8 ? CUT_WRITES : CUT_BYTES; cut <= CUT_RANDOM && holds; cut++) {
			pump_open(&pump, &talk, false, at_start);
			play(cut, seed, 0, -1, at_start);
			holds = expect_everything(l, seed);
		}
	}
	return end(holds);
}

/* Everything reported is true; and enough is, that hunting can be said to work. */
bool law_losses(struct laws *l)
{
	unsigned heads = 0, all = 0, least = l->sample->seen_under_loss ? l->sample->seen_under_loss : 70;

	begin(l, true);
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		make(l, seed);
		for (unsigned k = 0; k < 10; k++) {
			pump_open(&pump, &talk, false, at_start);
			if (k < 8)
				play(CUT_MSS, seed + k, 0, (int)talk_below(&talk.rng, 60), at_start);
			else
				play(k % 2 ? CUT_MSS : CUT_RANDOM, seed + k, k == 8 ? 20 : 3, -1, at_start);
			if (pump.wrong)
				return end(laws_fail(l, "talk %lu: %s", (unsigned long)seed, pump.first_wrong));
			for (unsigned i = 0; i < talk.messages; i++)
				heads += pump.seen[i] != 0;
			all += talk.messages;
		}
	}
	laws_say(l, "%s: %u of %u messages seen under loss", l->sample->proto, heads, all);
	if (heads < all / 100 * least)
		return end(laws_fail(l, "only %u of %u messages seen under loss: at least %u %% are asked for", heads,
				     all, least));
	return end(laws_hold(l, "%u of %u messages seen", heads, all));
}

/* In each direction a write that begins with a message, later on, must be found. */
static void count_recovered(const uint32_t from[2], unsigned *recovered, unsigned *could)
{
	for (int d = 0; d < 2; d++) {
		bool later = false, seen = false;
		for (unsigned i = 0; i < talk.messages; i++) {
			const struct talk_message *m = &talk.message[i];
			if (m->dir != (enum clv_dir)d || m->start <= from[d])
				continue;
			seen |= pump.seen[i] != 0;
			for (unsigned w = 0; w < talk.writes; w++)
				later |= talk.write[w].dir == m->dir && talk.write[w].start == m->start;
		}
		*could += later;
		*recovered += later && seen;
	}
}

/* An offset to begin at; of a write's first byte, if the sample needs that. */
static uint32_t some_offset(const struct laws *l, enum clv_dir dir)
{
	uint32_t offset = talk_below(&talk.rng, talk.len[dir]), least = talk.len[dir];

	if (!l->sample->by_writes)
		return offset;
	for (unsigned i = 0; i < talk.writes; i++)
		if (talk.write[i].dir == dir && talk.write[i].start >= offset && talk.write[i].start < least)
			least = talk.write[i].start;
	return least;
}

bool law_offsets(struct laws *l)
{
	unsigned recovered = 0, could = 0;

	begin(l, true);
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		make(l, seed);
		for (unsigned k = 0; k < 10; k++) {
			uint32_t from[2] = {some_offset(l, CLV_TO_SERVER), some_offset(l, CLV_TO_CLIENT)};
			if (l->sample->datagram) /* they have no middle */
				from_write(from);
			pump_open(&pump, &talk, true, from);
			play(CUT_MSS, seed, 0, -1, from);
			if (pump.wrong)
				return end(laws_fail(l, "talk %lu: %s", (unsigned long)seed, pump.first_wrong));
			count_recovered(from, &recovered, &could);
		}
	}
	laws_say(l, "%s: recovered %u of %u times", l->sample->proto, recovered, could);
	if (recovered < could / 100 * 95)
		return end(laws_fail(l, "a later message was found only %u of %u times", recovered, could));
	return end(laws_hold(l, "found %u of %u times", recovered, could));
}

bool law_allocations(struct laws *l)
{
	bool holds = true;

	begin(l, false);
	for (uint64_t seed = 0; seed < TALKS / 10 && holds; seed++) {
		make(l, seed);
		/* Once before, so that what the parser may take is there to be taken. */
		pump_open(&pump, &talk, false, at_start);
		play(CUT_RANDOM, seed, 2, -1, at_start);
		pump_open(&pump, &talk, false, at_start);
		l->begin();
		play(CUT_RANDOM, seed, 2, -1, at_start);
		holds = l->end();
	}
	return end(holds || laws_fail(l, "the parser has allocated"));
}

/*
 * No end of what is no message: from the client at once, from the server behind the talk's first write. (What a client
 * says behind that may have to wait for an answer; then the engine bounds it.)
 */
static void make_flood(const struct laws *l, unsigned kind, enum clv_dir dir)
{
	static const uint8_t bytes[] = {'a', 0, '\n', ' '};

	make(l, kind);
	talk.writes = dir == CLV_TO_CLIENT && talk.writes && talk.write[0].dir == CLV_TO_SERVER;
	talk.len[dir] = talk.flushed[dir] = 0;
	for (unsigned i = 0; i < FLOOD_BYTES; i++)
		talk_put(&talk, dir, kind < sizeof(bytes) ? &bytes[kind] : &(uint8_t){(uint8_t)talk_random(&talk.rng)},
			 1);
	talk_flush(&talk, dir);
}

static bool is_bounded(struct laws *l, uint64_t seed, uint32_t *most)
{
	if (pump.most_tail > *most)
		*most = pump.most_tail;
	return pump.most_tail <= CLV_TAIL_BYTES + 3000 ||
	       laws_fail(l, "talk %lu: %u bytes are left unused", (unsigned long)seed, pump.most_tail);
}

/* Noise, and talks with bytes changed: nothing is read beyond the slice, and nothing is kept without bound. */
bool law_noise(struct laws *l)
{
	uint32_t most = 0;

	begin(l, false);
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		make(l, seed);
		unsigned changes = 1 + talk_below(&talk.rng, 60);
		for (unsigned i = 0; i < changes; i++) {
			static const uint8_t nasty[] = "\r\n :;,\t\0/0a";
			enum clv_dir d = talk_below(&talk.rng, 2);
			if (talk.len[d])
				talk.bytes[d][talk_below(&talk.rng, talk.len[d])] =
					nasty[talk_below(&talk.rng, sizeof(nasty) - 1)];
		}
		pump_open(&pump, &talk, false, at_start);
		play(CUT_RANDOM, seed, talk_chance(&talk.rng, 50) ? 0 : 5, -1, at_start);
		if (!is_bounded(l, seed, &most))
			return end(false);
		for (int d = 0; d < 2 && pump.proto->probe; d++)
			pump_probe(&pump, (enum clv_dir)d, 1 + talk_below(&talk.rng, 200),
				   l->sample->datagram ? CLV_WHERE_DATAGRAM : CLV_WHERE_PACKET);
	}
	for (unsigned kind = 0; kind < 10; kind++) {
		make_flood(l, kind / 2, kind % 2 ? CLV_TO_CLIENT : CLV_TO_SERVER);
		pump_open(&pump, &talk, false, at_start);
		play(CUT_MSS, kind, 0, -1, at_start);
		if (!is_bounded(l, kind, &most))
			return end(false);
	}
	return end(laws_hold(l, "at most %u bytes kept", most));
}

/* However few bytes of a beginning there are, it is not another protocol's; and all of them are enough. */
bool law_probe(struct laws *l)
{
	begin(l, false);
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		make(l, seed);
		enum clv_dir d = talk.write[0].dir;
		bool whole = l->sample->datagram;
		enum clv_where where = whole ? CLV_WHERE_DATAGRAM : CLV_WHERE_START;
		uint32_t all = talk.write[0].len < CLV_DETECT_BYTES || whole ? talk.write[0].len : CLV_DETECT_BYTES;
		pump_open(&pump, &talk, false, at_start);
		for (uint32_t n = whole ? all : 1; n <= all; n++)
			if (pump_probe(&pump, d, n, where) == CLV_MATCH_NO)
				return end(laws_fail(l, "talk %lu: probe() says NO to its first %u bytes",
						     (unsigned long)seed, n));
		if (pump_probe(&pump, d, all, where) < CLV_MATCH_LIKELY)
			return end(laws_fail(l, "talk %lu: probe() is not sure of its first write, %u bytes",
					     (unsigned long)seed, all));
	}
	return end(true);
}

/* ---- describe() -------------------------------------------------------------------------------------------- */

static struct clv_span span;

/* The span of one request of the talk, as far as the parser's own facts go. */
static void describe_one(const struct talk_message *m, struct clv_slice head, bool answered)
{
	int i = (int)(m - talk.message);
	struct clv_pair pair = {
		.request_head = head,
		.request = pump.facts[i],
		.response = answered ? pump.facts[m->answer] : NULL,
		.request_body_bytes = m->body_bytes,
		.response_body_bytes = answered ? talk.message[m->answer].body_bytes : 0,
		.request_ended = true,
		.response_ended = answered,
	};

	memset(&span, 0, offsetof(struct clv_span, attr));
	span.scratch_used = 0;
	span.overflow = NULL;
	span.kind = answered ? CLV_KIND_SERVER : CLV_KIND_CLIENT;
	span.protocol = pump.proto->name;
	span.client = span.server =
		(struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), .port = 80};
	pump.proto->describe(&pair, &span);
}

/* What is wrong with it, or NULL. */
static const char *span_fault(void)
{
	static char text[CLV_ATTR_NAME_MAX + 64];

	if (!span.name.len)
		return "it has no name";
	if (span.attrs_dropped)
		return "an attribute's name is not valid, or there are too many attributes";
	for (unsigned i = 0; i < span.attr_count; i++)
		for (unsigned j = 0; j < i; j++)
			if (span.attr[i].key == span.attr[j].key) {
				snprintf(text, sizeof(text), "it has %s twice",
					 clv_attr_name((enum clv_attr_key)span.attr[i].key));
				return text;
			}
	return NULL;
}

/* Each head ends at a guard page here, too. */
static const char *describe_all(struct laws *l)
{
	const char *fault = NULL;

	for (unsigned i = 0; i < talk.messages && !fault; i++) {
		const struct talk_message *m = &talk.message[i];

		if (m->role != CLV_REQUEST || m->decoded || !(pump.seen[i] & SEEN_HEAD))
			continue;
		struct clv_slice head = pump_slice(&pump, m->dir, m->start, m->head_len);
		for (int answered = 0; answered < 2 && !fault; answered++) {
			if (answered && (m->answer < 0 || !(pump.seen[m->answer] & SEEN_HEAD)))
				continue;
			if (l->begin)
				l->begin();
			describe_one(m, head, answered);
			if (l->begin && !l->end())
				return "describe() has allocated";
			fault = span_fault();
		}
	}
	return fault;
}

bool law_describe(struct laws *l)
{
	const char *fault = NULL;
	uint64_t seed = 0;

	begin(l, false);
	for (; seed < TALKS / 4 && !fault; seed++) {
		make(l, seed);
		pump_open(&pump, &talk, false, at_start);
		play(CUT_WRITES, seed, 0, -1, at_start);
		fault = describe_all(l);
	}
	return end(!fault || laws_fail(l, "talk %lu: %s", (unsigned long)(seed - 1), fault));
}
