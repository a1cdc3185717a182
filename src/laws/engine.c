/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of clovisor/proto.h, on a parser within the engine: talks as TCP segments with true sequence and
 * acknowledgement numbers. Every span must be true: a lost pair is fine, a wrong pair is not. Owns a talk, a wire and
 * an engine; main thread.
 */
#include <stdlib.h>

#include "engine/engine.h"
#include "laws/laws.h"
#include "laws/reader.h"

#define TALKS 120

static struct talk talk;

/* When the bytes of a direction passed, up to `end` of them. */
#define STAMPS 8192
struct stamp {
	uint32_t end;
	uint64_t ts_ns;
};

static struct passed {
	struct stamp stamp[STAMPS];
	unsigned count;
} passed[2];

/* ---- what the engine says ---------------------------------------------------------------------------------- */

struct verdict {
	struct laws *laws;
	const struct talk_sample *sample;
	unsigned spans, answered, wrong, lacking;
	bool late; /* what spans do not lack is compared with what passed */
	uint8_t seen[TALK_MESSAGES];
};

static int64_t body_size(const struct clv_span *span, enum clv_attr_key key)
{
	const struct clv_attr *a = clv_span_get(span, key);

	return a ? a->i : -1;
}

static uint64_t passed_at(enum clv_dir dir, uint32_t offset)
{
	const struct passed *p = &passed[dir];
	unsigned lo = 0, hi = p->count;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (p->stamp[mid].end > offset)
			hi = mid;
		else
			lo = mid + 1;
	}
	return lo < p->count ? p->stamp[lo].ts_ns : 0;
}

#define LACKING (CLV_SPAN_GAP | CLV_SPAN_UNPAIRED | CLV_SPAN_TRUNCATED | CLV_SPAN_MIDSTREAM)

/* What a span that lacks nothing tells wrong of message i, beyond what check() looks at; NULL: nothing. */
static const char *whole_fault(const struct clv_span *span, int i)
{
	const struct talk_message *m = &talk.message[i], *r = m->answer >= 0 ? &talk.message[m->answer] : NULL;

	if (!r || span->flags & LACKING || clv_span_get(span, CLV_ATTR_CLOVISOR_CANCELLED))
		return NULL;
	/* Of requests that look alike it may be another, which began at another time. */
	if (span->start_ns != passed_at(m->dir, m->start))
		return NULL;
	if (!span->first_ns)
		return "the answer";
	return r->end == UINT32_MAX || span->end_ns == passed_at(r->dir, r->end - 1) ? NULL : "the end";
}

static bool whole_is_true(struct verdict *v, const struct clv_span *span, int i)
{
	const char *fault = whole_fault(span, i);

	v->lacking += (span->flags & LACKING) != 0;
	if (fault) {
		laws_fail(v->laws, "talk %lu: %s of %.*s %.*s is not told as it was", (unsigned long)talk.seed, fault,
			  (int)span->method.len, (const char *)span->method.data,
			  (int)(span->target.len < 40 ? span->target.len : 40), (const char *)span->target.data);
		laws_say(v->laws, "%s", v->laws->why);
	}
	return !fault;
}

static void on_span(void *ctx, struct clv_span *span)
{
	struct verdict *v = ctx;
	bool ok = false;
	int i = v->sample->check(&talk, span, &ok);

	v->spans++;
	v->answered += span->first_ns || span->status_code;
	if (i >= 0 && v->seen[i]++)
		ok = false;
	if (i >= 0)
		talk.taken[i] = true;
	if (v->late && i >= 0 && ok)
		ok = whole_is_true(v, span, i);
	if (((i >= 0 || i == TALK_SEVERAL) && ok) || i == TALK_UNTOLD)
		return;
	v->wrong++;
	if (!v->laws)
		return;
	laws_fail(v->laws, "talk %lu: wrong span: %.*s %.*s %.*s %d, bodies %ld and %ld, flags %x",
		  (unsigned long)talk.seed, (int)span->method.len, (const char *)span->method.data,
		  (int)(span->target.len < 40 ? span->target.len : 40), (const char *)span->target.data,
		  (int)(span->result.len < 40 ? span->result.len : 40), (const char *)span->result.data,
		  span->status_code, (long)body_size(span, CLV_ATTR_HTTP_REQUEST_BODY_SIZE),
		  (long)body_size(span, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE), span->flags);
	laws_say(v->laws, "%s", v->laws->why);
	if (i < 0)
		return;
	const struct talk_message *m = &talk.message[i], *r = m->answer >= 0 ? &talk.message[m->answer] : m;
	laws_say(v->laws, "  in truth: %d, bodies %u and %u", (int)r->tag, m->body_bytes, r->body_bytes);
}

/* ---- a talk as packets ---------------------------------------------------------------------------------------- */

struct wire {
	struct clv_engine *engine;
	struct reader *reader; /* NULL: packets come to the engine as they are */
	uint32_t read_percent; /* how often it reads */
	bool datagram;
	struct clv_endpoint end[2]; /* by enum clv_dir: who sends in it */
	uint32_t isn[2];
	uint32_t sent[2]; /* stream bytes */
	uint64_t now_ns;
	uint64_t rng;
	uint32_t lose_percent;
	int lose; /* the number of one segment, or -1 */
	int segment;
	unsigned lost;
	uint8_t copy[65536]; /* so that reading behind a payload is seen by sanitizers */
};

static struct wire wire;

/* The payload is where it stays. */
static void packet_read_late(struct wire *w, enum clv_dir dir, struct clv_packet *p)
{
	struct passed *passing = &passed[dir];
	uint32_t from = p->seq - w->isn[dir] - 1;

	if (p->len) {
		p->payload = clv_slice(talk.bytes[dir] + from, p->len);
		if (passing->count == STAMPS)
			abort();
		passing->stamp[passing->count++] = (struct stamp){.end = from + p->len, .ts_ns = p->ts_ns};
	}
	p->kernel = (struct clv_kernel_ref){.gen = 1, .hook = (uint8_t)dir};
	reader_packet(w->reader, dir, p);
	if (talk_chance(&w->rng, w->read_percent))
		reader_read(w->reader);
}

static void packet(struct wire *w, enum clv_dir dir, uint8_t flags, uint32_t from, uint32_t len)
{
	enum clv_dir other = dir == CLV_TO_SERVER ? CLV_TO_CLIENT : CLV_TO_SERVER;
	struct clv_packet p = {
		.ts_ns = w->now_ns,
		.src = w->end[dir],
		.dst = w->end[other],
		.seq = w->isn[dir] + (flags & CLV_TCP_SYN ? 0 : 1 + from),
		.ack = w->isn[other] + 1 + w->sent[other],
		.len = len,
		.tcp_flags = flags,
	};

	w->now_ns += 1000 + talk_below(&w->rng, 50000);
	if (w->reader) {
		packet_read_late(w, dir, &p);
		return;
	}
	if (len && (w->segment++ == w->lose || (w->lose_percent && talk_chance(&w->rng, w->lose_percent)))) {
		w->lost++;
		return;
	}
	memcpy(w->copy + sizeof(w->copy) - len, talk.bytes[dir] + from, len);
	p.payload = clv_slice(w->copy + sizeof(w->copy) - len, len);
	clv_engine_packet(w->engine, &p);
}

static void handshake(struct wire *w)
{
	if (w->datagram)
		return;
	packet(w, CLV_TO_SERVER, CLV_TCP_SYN, 0, 0);
	packet(w, CLV_TO_CLIENT, CLV_TCP_SYN | CLV_TCP_ACK, 0, 0);
	packet(w, CLV_TO_SERVER, CLV_TCP_ACK, 0, 0);
}

/* Each write is a datagram. One that is lost may be cut instead. */
static void speak_datagrams(struct wire *w, unsigned first_write)
{
	for (unsigned i = first_write; i < talk.writes; i++) {
		const struct talk_write *t = &talk.write[i];
		struct clv_packet p = {
			.ts_ns = w->now_ns,
			.transport = CLV_TRANSPORT_UDP,
			.src = w->end[t->dir],
			.dst = w->end[!t->dir],
			.len = t->len,
		};
		uint32_t captured = t->len;

		w->now_ns += 1000 + talk_below(&w->rng, 50000);
		if (talk_chance(&w->rng, 20))
			w->now_ns += 20000000ull * talk_below(&w->rng, 20);
		if (w->segment++ == w->lose || (w->lose_percent && talk_chance(&w->rng, w->lose_percent))) {
			w->lost++;
			captured = talk_chance(&w->rng, 70) ? 0 : talk_below(&w->rng, t->len);
		}
		if (!captured)
			continue;
		memcpy(w->copy + sizeof(w->copy) - captured, talk.bytes[t->dir] + t->start, captured);
		p.payload = clv_slice(w->copy + sizeof(w->copy) - captured, captured);
		clv_engine_packet(w->engine, &p);
	}
}

/* `mss` 0: segments of random length. */
static void speak(struct wire *w, uint32_t mss, unsigned first_write)
{
	if (w->datagram) {
		speak_datagrams(w, first_write);
		return;
	}
	for (unsigned i = first_write; i < talk.writes; i++) {
		const struct talk_write *t = &talk.write[i];
		for (uint32_t at = t->start, n; at < t->start + t->len; at += n) {
			n = mss ? mss : 1 + talk_below(&w->rng, talk_chance(&w->rng, 30) ? 40 : 4000);
			if (n > t->start + t->len - at)
				n = t->start + t->len - at;
			packet(w, t->dir, CLV_TCP_ACK, at, n);
			w->sent[t->dir] = at + n;
		}
		if (talk_chance(&w->rng, 20))
			w->now_ns += 20000000ull * talk_below(&w->rng, 20);
	}
}

static void goodbye(struct wire *w)
{
	if (w->datagram)
		return;
	packet(w, CLV_TO_CLIENT, CLV_TCP_FIN | CLV_TCP_ACK, talk.len[1], 0);
	packet(w, CLV_TO_SERVER, CLV_TCP_FIN | CLV_TCP_ACK, talk.len[0], 0);
}

static void wire_init(struct wire *w, struct clv_engine *e, const struct talk_sample *sample, uint64_t seed)
{
	uint64_t now = w->now_ns;

	*w = (struct wire){.engine = e, .rng = seed ^ 0x5eed, .lose = -1, .now_ns = now ? now : 1700000000000000000ull};
	w->now_ns += 60000000000ull;
	w->datagram = sample->datagram;
	w->end[0] = (struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 2}),
					  .port = (uint16_t)(1024 + seed % 60000)};
	w->end[1] = (struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 1}),
					  .port = sample->port ? sample->port : 80};
	for (int d = 0; d < 2; d++)
		w->isn[d] = talk_chance(&w->rng, 30) ? UINT32_MAX - talk_below(&w->rng, 20000)
						     : (uint32_t)talk_random(&w->rng);
}

static struct clv_engine *engine_of(const struct clv_engine_config *config)
{
	struct clv_engine *e;

	if (clv_engine_new(config, &e))
		abort();
	memset(talk.taken, 0, sizeof(talk.taken));
	return e;
}

static struct clv_engine *engine_with(struct verdict *v, const struct clv_head_rules *rules)
{
	struct clv_engine_config config = {.on_span = on_span, .span_ctx = v, .rules = *rules};

	return engine_of(&config);
}

static struct clv_engine *engine_for(struct verdict *v)
{
	return engine_with(v, &(struct clv_head_rules){0});
}

static void begin(void)
{
	talk_init(&talk);
}

static bool end(bool holds)
{
	talk_fini(&talk);
	return holds;
}

static unsigned count_requests(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < talk.messages; i++)
		n += talk.message[i].role == CLV_REQUEST && !talk.message[i].quiet;
	return n;
}

/* Requests that have an answer, and a span. */
static unsigned count_answers(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < talk.messages; i++)
		n += talk.message[i].role == CLV_REQUEST && talk.message[i].answer >= 0 && !talk.message[i].quiet;
	return n;
}

/* ---- the laws ------------------------------------------------------------------------------------------------- */

bool law_pairs(struct laws *l)
{
	static const uint32_t mss[] = {1448, 65000, 0, 1};
	const struct talk_sample *sample = l->sample;

	begin();
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		talk_reset(&talk, seed);
		sample->make(&talk);
		for (int k = 0; k < (seed % 20 ? 3 : 4); k++) {
			struct verdict v = {.laws = l, .sample = sample};
			struct clv_engine *e = engine_for(&v);
			wire_init(&wire, e, sample, seed);
			handshake(&wire);
			speak(&wire, mss[k], 0);
			goodbye(&wire);
			clv_engine_flush(e);
			clv_engine_free(e);
			if (v.wrong)
				return end(false);
			if (v.spans != count_requests() || v.answered < count_answers() || v.answered > v.spans)
				return end(laws_fail(l, "talk %lu, cut %d: %u requests, %u spans, %u answered",
						     (unsigned long)seed, k, count_requests(), v.spans, v.answered));
		}
	}
	return end(true);
}

bool law_pairs_losses(struct laws *l)
{
	const struct talk_sample *sample = l->sample;
	unsigned requests = 0, spans = 0, answered = 0, wrong = 0;
	unsigned least = sample->answered_under_loss ? sample->answered_under_loss : 60;

	begin();
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		talk_reset(&talk, seed);
		sample->make(&talk);
		for (unsigned k = 0; k < 14; k++) {
			struct verdict v = {.laws = l, .sample = sample};
			struct clv_engine *e = engine_for(&v);
			wire_init(&wire, e, sample, seed * 100 + k);
			if (k < 10)
				wire.lose = (int)talk_below(&wire.rng, 80);
			else
				wire.lose_percent = k == 10 ? 25 : k == 11 ? 1 : 5;
			handshake(&wire);
			speak(&wire, k % 2 ? 1448 : 0, 0);
			goodbye(&wire);
			clv_engine_flush(e);
			clv_engine_free(e);
			wrong += v.wrong;
			requests += count_answers();
			spans += v.spans;
			answered += v.answered;
		}
	}
	laws_say(l, "%s under loss: %u requests, %u spans, %u answered, %u wrong", sample->proto, requests, spans,
		 answered, wrong);
	if (wrong)
		return end(false);
	if (answered < requests / 100 * least)
		return end(laws_fail(l, "only %u of %u requests answered under loss: at least %u %% are asked for",
				     answered, requests, least));
	return end(laws_hold(l, "%u requests, %u spans, %u answered", requests, spans, answered));
}

/* A talk as the engine gets it from `reader`, which reads after `read_percent` of the packets. */
static void hear_late(struct verdict *v, struct reader *reader, uint64_t seed, uint32_t read_percent, uint32_t mss)
{
	struct clv_engine_config config = {
		.on_span = on_span, .span_ctx = v, .verdict = reader_verdict, .verdict_ctx = reader};
	struct clv_engine *e = engine_of(&config);

	wire_init(&wire, e, v->sample, seed);
	reader_init(reader, e, &wire.rng);
	wire.reader = reader;
	wire.read_percent = read_percent;
	passed[0].count = passed[1].count = 0;
	handshake(&wire);
	reader_read(reader);
	speak(&wire, mss, 0);
	goodbye(&wire);
	reader_read(reader);
	clv_engine_flush(e);
	clv_engine_free(e);
}

/* Behind a reader that is mostly somewhere else. */
bool law_pairs_late(struct laws *l)
{
	static const uint32_t read_percent[] = {50, 20, 5, 2};
	static struct reader reader;
	const struct talk_sample *sample = l->sample;
	unsigned requests = 0, answered = 0, lacking = 0, wrong = 0;

	if (sample->datagram)
		return laws_hold(l, "datagrams are not left out");
	begin();
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		talk_reset(&talk, seed);
		sample->make(&talk);
		for (unsigned k = 0; k < 8; k++) {
			struct verdict v = {.laws = l, .sample = sample, .late = true};

			hear_late(&v, &reader, seed * 100 + k, read_percent[k % 4], k < 4 ? 1448 : 0);
			requests += count_answers();
			answered += v.answered;
			lacking += v.lacking;
			wrong += v.wrong;
		}
	}
	laws_say(l, "%s read late: %u requests, %u answered, %u lacking, %u wrong", sample->proto, requests, answered,
		 lacking, wrong);
	if (wrong)
		return end(false);
	return end(laws_hold(l, "%u requests, %u answered", requests, answered));
}

/* Joined after the handshake, at any packet. */
bool law_pairs_offsets(struct laws *l)
{
	const struct talk_sample *sample = l->sample;
	unsigned requests = 0, answered = 0, wrong = 0, least = sample->answered_late ? sample->answered_late : 50;

	begin();
	for (uint64_t seed = 0; seed < TALKS; seed++) {
		talk_reset(&talk, seed);
		sample->make(&talk);
		for (unsigned k = 0; k < 6; k++) {
			struct verdict v = {.laws = l, .sample = sample};
			struct clv_engine *e = engine_for(&v);
			wire_init(&wire, e, sample, seed * 100 + k);
			unsigned first = talk_below(&wire.rng, talk.writes);
			for (unsigned i = 0; i < first; i++)
				wire.sent[talk.write[i].dir] = talk.write[i].start + talk.write[i].len;
			for (unsigned i = first; i < talk.writes; i++)
				for (unsigned m = 0; m < talk.messages; m++)
					requests += talk.message[m].role == CLV_REQUEST && !talk.message[m].quiet &&
						    talk.write[i].dir == CLV_TO_SERVER &&
						    talk.message[m].start == talk.write[i].start;
			speak(&wire, k % 2 ? 1448 : 0, first);
			goodbye(&wire);
			clv_engine_flush(e);
			clv_engine_free(e);
			wrong += v.wrong;
			answered += v.answered;
		}
	}
	laws_say(l, "%s joined late: %u requests at packets, %u answered, %u wrong", sample->proto, requests, answered,
		 wrong);
	if (wrong)
		return end(false);
	if (answered < requests / 100 * least)
		return end(laws_fail(l, "only %u answered, of %u requests at packets: at least %u %% are asked for",
				     answered, requests, least));
	return end(laws_hold(l, "%u requests at packets, %u answered", requests, answered));
}

/* The same talks again and again: after the first round nothing is asked of the system, whatever was lost. */
bool law_steady(struct laws *l)
{
	const struct talk_sample *sample = l->sample;
	struct verdict v = {.laws = l, .sample = sample};
	bool quiet = true;
	uint64_t fresh = 0, now_fresh;

	begin();
	struct clv_engine *e = engine_with(&v, l->rules ? l->rules : &(struct clv_head_rules){0});
	for (int round = 0; round < 4; round++) {
		if (round == 2) {
			clv_engine_memory(e, NULL, NULL, &fresh);
			if (l->begin)
				l->begin();
		}
		for (uint64_t seed = 0; seed < 20; seed++) {
			talk_reset(&talk, seed);
			sample->make(&talk);
			memset(v.seen, 0, sizeof(v.seen));
			wire_init(&wire, e, sample, seed);
			wire.lose_percent = 2;
			handshake(&wire);
			speak(&wire, 1448, 0);
			goodbye(&wire);
			clv_engine_tick(e, wire.now_ns + 30000000000ull);
		}
	}
	if (l->begin)
		quiet = l->end();
	clv_engine_memory(e, NULL, NULL, &now_fresh);
	clv_engine_flush(e);
	clv_engine_free(e);
	if (v.wrong)
		return end(false);
	if (!quiet || now_fresh != fresh)
		return end(laws_fail(l, "memory was taken from the system after the second round"));
	return end(true);
}
