/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The laws of proto.h, on every registered parser within the engine: talks as TCP segments with true sequence and
 * acknowledgement numbers. Every span must be true: a lost pair is fine, a wrong pair is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "allocations.h"
#include "engine/engine.h"
#include "talk.h"

#define TALKS 120

static const struct talk_sample *const samples[] = {&talk_http1, NULL};
static struct talk talk;

/* ---- what the engine says ---------------------------------------------------------------------------------- */

struct verdict {
	const struct talk_sample *sample;
	unsigned spans, answered, wrong;
	uint8_t seen[TALK_MESSAGES];
};

static int64_t body_size(const struct clv_span *span, enum clv_attr_key key)
{
	const struct clv_attr *a = clv_span_get(span, key);

	return a ? a->i : -1;
}

static void on_span(void *ctx, struct clv_span *span)
{
	struct verdict *v = ctx;
	bool ok = false;
	int i = v->sample->check(&talk, span, &ok);

	v->spans++;
	v->answered += span->status_code != 0;
	if (i >= 0 && v->seen[i]++)
		ok = false;
	if (i >= 0 && ok)
		return;
	v->wrong++;
	print_message("# talk %lu: wrong span: %.*s %.*s %d, bodies %ld and %ld, flags %x\n", (unsigned long)talk.seed,
		      (int)span->method.len, (const char *)span->method.data, (int)span->target.len,
		      (const char *)span->target.data, span->status_code,
		      (long)body_size(span, CLV_ATTR_HTTP_REQUEST_BODY_SIZE),
		      (long)body_size(span, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE), span->flags);
	if (i < 0)
		return;
	const struct talk_message *m = &talk.message[i], *r = m->answer >= 0 ? &talk.message[m->answer] : m;
	print_message("#   in truth: %d, bodies %u and %u\n", (int)r->tag, m->body_bytes, r->body_bytes);
}

/* ---- a talk as packets ---------------------------------------------------------------------------------------- */

struct wire {
	struct clv_engine *engine;
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
	packet(w, CLV_TO_SERVER, CLV_TCP_SYN, 0, 0);
	packet(w, CLV_TO_CLIENT, CLV_TCP_SYN | CLV_TCP_ACK, 0, 0);
	packet(w, CLV_TO_SERVER, CLV_TCP_ACK, 0, 0);
}

/* `mss` 0: segments of random length. */
static void speak(struct wire *w, uint32_t mss, unsigned first_write)
{
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
	packet(w, CLV_TO_CLIENT, CLV_TCP_FIN | CLV_TCP_ACK, talk.len[1], 0);
	packet(w, CLV_TO_SERVER, CLV_TCP_FIN | CLV_TCP_ACK, talk.len[0], 0);
}

static void wire_init(struct wire *w, struct clv_engine *e, uint64_t seed)
{
	uint64_t now = w->now_ns;

	*w = (struct wire){.engine = e, .rng = seed ^ 0x5eed, .lose = -1, .now_ns = now ? now : 1700000000000000000ull};
	w->now_ns += 60000000000ull;
	w->end[0] = (struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 2}),
					  .port = (uint16_t)(1024 + seed % 60000)};
	w->end[1] = (struct clv_endpoint){.addr = clv_addr_v4((const uint8_t[]){10, 0, 0, 1}), .port = 80};
	for (int d = 0; d < 2; d++)
		w->isn[d] = talk_chance(&w->rng, 30) ? UINT32_MAX - talk_below(&w->rng, 20000)
						     : (uint32_t)talk_random(&w->rng);
}

static struct clv_engine *engine_with(struct verdict *v, const struct clv_head_rules *rules)
{
	struct clv_engine_config config = {.on_span = on_span, .span_ctx = v, .rules = *rules};
	struct clv_engine *e;

	assert_int_equal(clv_engine_new(&config, &e), 0);
	return e;
}

static struct clv_engine *engine_for(struct verdict *v)
{
	return engine_with(v, &(struct clv_head_rules){0});
}

static unsigned count_requests(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < talk.messages; i++)
		n += talk.message[i].role == CLV_REQUEST;
	return n;
}

/* ---- the laws ------------------------------------------------------------------------------------------------- */

static void test_splits(void **state)
{
	static const uint32_t mss[] = {1448, 65000, 0, 1};

	for (const struct talk_sample *const *s = samples; *s; s++)
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			talk_reset(&talk, seed);
			(*s)->make(&talk);
			for (int k = 0; k < (seed % 20 ? 3 : 4); k++) {
				struct verdict v = {.sample = *s};
				struct clv_engine *e = engine_for(&v);
				wire_init(&wire, e, seed);
				handshake(&wire);
				speak(&wire, mss[k], 0);
				goodbye(&wire);
				clv_engine_flush(e);
				clv_engine_free(e);
				if (v.wrong || v.spans != count_requests() || v.answered != v.spans)
					print_message("# talk %lu, cut %d: %u requests, %u spans, %u answered\n",
						      (unsigned long)seed, k, count_requests(), v.spans, v.answered);
				assert_int_equal(v.wrong, 0);
				assert_int_equal(v.spans, count_requests());
				assert_int_equal(v.answered, v.spans);
			}
		}
}

static void test_losses(void **state)
{
	unsigned requests = 0, spans = 0, answered = 0, wrong = 0;

	for (const struct talk_sample *const *s = samples; *s; s++)
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			talk_reset(&talk, seed);
			(*s)->make(&talk);
			for (unsigned k = 0; k < 14; k++) {
				struct verdict v = {.sample = *s};
				struct clv_engine *e = engine_for(&v);
				wire_init(&wire, e, seed * 100 + k);
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
				requests += count_requests();
				spans += v.spans;
				answered += v.answered;
			}
		}
	print_message("# under loss: %u requests, %u spans, %u answered, %u wrong\n", requests, spans, answered, wrong);
	assert_int_equal(wrong, 0);
	assert_true(answered > requests / 10 * 6);
}

/* Joined after the handshake, at any packet. */
static void test_offsets(void **state)
{
	unsigned requests = 0, answered = 0, wrong = 0;

	for (const struct talk_sample *const *s = samples; *s; s++)
		for (uint64_t seed = 0; seed < TALKS; seed++) {
			talk_reset(&talk, seed);
			(*s)->make(&talk);
			for (unsigned k = 0; k < 6; k++) {
				struct verdict v = {.sample = *s};
				struct clv_engine *e = engine_for(&v);
				wire_init(&wire, e, seed * 100 + k);
				unsigned first = talk_below(&wire.rng, talk.writes);
				for (unsigned i = 0; i < first; i++)
					wire.sent[talk.write[i].dir] = talk.write[i].start + talk.write[i].len;
				for (unsigned i = first; i < talk.writes; i++)
					for (unsigned m = 0; m < talk.messages; m++)
						requests += talk.message[m].role == CLV_REQUEST &&
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
	print_message("# joined late: %u requests at packets, %u answered, %u wrong\n", requests, answered, wrong);
	assert_int_equal(wrong, 0);
	assert_true(answered > requests / 2);
}

/* The same talks again and again: after the first round nothing is asked of the system, whatever was lost. */
static void steady(const struct clv_head_rules *rules)
{
	for (const struct talk_sample *const *s = samples; *s; s++) {
		struct verdict v = {.sample = *s};
		struct clv_engine *e = engine_with(&v, rules);
		uint64_t fresh = 0, now_fresh;
		size_t used;
		unsigned before = 0;
		for (int round = 0; round < 4; round++) {
			if (round == 2) {
				clv_engine_memory(e, NULL, NULL, &fresh);
				before = allocations;
			}
			for (uint64_t seed = 0; seed < 20; seed++) {
				talk_reset(&talk, seed);
				(*s)->make(&talk);
				memset(v.seen, 0, sizeof(v.seen));
				wire_init(&wire, e, seed);
				wire.lose_percent = 2;
				handshake(&wire);
				speak(&wire, 1448, 0);
				goodbye(&wire);
				clv_engine_tick(e, wire.now_ns + 30000000000ull);
			}
		}
		clv_engine_memory(e, &used, NULL, &now_fresh);
		assert_int_equal(now_fresh, fresh);
		assert_int_equal(allocations, before);
		clv_engine_flush(e);
		assert_int_equal(v.wrong, 0);
		clv_engine_free(e);
	}
}

static void test_steady(void **state)
{
	steady(&(struct clv_head_rules){0});
}

/* With every rule about heads that leaves the talk's targets as they are. */
static void test_steady_with_rules(void **state)
{
	static const char *const patterns[] = {"(?<=nobody=)[0-9]+", "nginx"}, *const templates[] = {"/{any...}"};
	struct clv_capture capture = {0};
	struct clv_head_rules rules = {.guess_templates = true, .capture = &capture};
	struct clv_routes *routes;
	char why[128];

	assert_int_equal(clv_capture_add(&capture.request, "host"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "content-length"), 0);
	assert_int_equal(clv_capture_add(&capture.response, "transfer-encoding"), 0);
	assert_int_equal(clv_redact_new(patterns, 2, &rules.redact, why, sizeof(why)), 0);
	assert_int_equal(clv_routes_new(templates, 1, &routes, why, sizeof(why)), 0);
	rules.routes = routes;
	steady(&rules);
	clv_routes_free(routes);
	clv_redact_free(rules.redact);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_splits),
		cmocka_unit_test(test_losses),
		cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_steady),
		cmocka_unit_test(test_steady_with_rules),
	};

	talk_init(&talk);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	talk_fini(&talk);
	return rc;
}
