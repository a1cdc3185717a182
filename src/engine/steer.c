/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kernel which bytes of a connection are still needed: compares what the parser has read with what was said
 * last, and speaks where they differ. Never looks at a byte. Engine thread only.
 */
#include "engine/conn.h"

#include "engine/engine_internal.h"
#include "engine/limits.h"

/* Stands in told_until once the kernel knows that there is no window. */
#define TOLD UINT64_MAX

static void tell(struct clv_conn *c, int d, const struct clv_kverdict *v)
{
	struct clv_engine *e = c->engine;

	e->config.verdict(e->config.verdict_ctx, &c->flow->kernel[d], v);
}

/* NULL without memory: then nothing may be left out. */
static struct clv_skipped *skipped(struct clv_conn *c)
{
	if (!c->skipped && (c->skipped = clv_engine_alloc(c->engine, sizeof(*c->skipped))))
		memset(c->skipped, 0, sizeof(*c->skipped));
	return c->skipped;
}

static void tell_skip(struct clv_conn *c, int d, uint64_t end, const struct clv_framing *framing)
{
	if (c->skipped)
		c->skipped->of[d].skip_end = end;
	tell(c, d, &(struct clv_kverdict){.kind = CLV_VERDICT_SKIP, .seq = (uint32_t)end, .framing = framing});
}

/* Of the requests that direction d has brought one at most is not answered, and that one's answer is skipped. */
static void tell_alone(struct clv_conn *c, int d)
{
	uint64_t next = c->flow->streams.s[d].next;

	c->skipped->of[d].skip_end = next;
	tell(c, d, &(struct clv_kverdict){.kind = CLV_VERDICT_SKIP, .seq = (uint32_t)next, .alone = true});
}

void clv_conn_retell(struct clv_conn *c, int d)
{
	c->half[d].told_until = 0;
	c->half[d].walked = false;
	if (c->skipped)
		c->skipped->of[d].skip_end = c->skipped->of[d].walk_from = 0;
}

void clv_conn_stop_walk(struct clv_conn *c, int d)
{
	c->half[d].walked = false;
	if (c->skipped)
		c->skipped->of[d].walk_from = 0;
	if (c->engine->config.verdict && c->flow->kernel[d].gen)
		tell_skip(c, d, c->flow->streams.s[d].next, NULL);
}

void clv_conn_walked(struct clv_conn *c, int d, uint64_t end)
{
	c->half[d].walked = true;
	if (skipped(c))
		c->skipped->of[d].walked_to = end;
}

/*
 * The frames that the kernel should walk over from position *at on, but does not; NULL: none. It can only begin where
 * it has not passed yet: while the direction rests, or at the end of a skip.
 */
static const struct clv_framing *steer_walk(struct clv_conn *c, int d, uint64_t *at)
{
	const struct clv_half *h = &c->half[d];
	uint64_t debt = clv_conn_debt(c, d);

	if (!h->long_frames || h->walked || h->mismatched || h->hunting || h->tail || debt >= CLV_KERNEL_SKIP_MAX ||
	    !c->proto->framing)
		return NULL;
	*at = c->flow->streams.s[d].next + debt;
	if (*at == c->skipped->of[d].walk_from)
		return NULL;
	return c->proto->framing(c->state, d == c->client ? CLV_TO_SERVER : CLV_TO_CLIENT);
}

/*
 * Does no request wait for its answer, but the one whose answer, of direction d, is being skipped? Of protocols with
 * frames nobody asks that, and their skips say where these begin.
 */
static bool answers_last(const struct clv_conn *c, int d)
{
	const struct clv_half *asker = &c->half[!d];
	const struct clv_exchange *x = clv_exchanges_first(&c->exchanges);

	return !c->proto->framing && c->exchanges.count == 1 && !c->exchanges.lost && !c->exchanges.unsure &&
	       x == c->half[d].open && !x->open[CLV_TO_SERVER] && !asker->tail && !asker->hunting &&
	       !clv_conn_debt(c, !d);
}

/* What is skipped, and the frames behind it. */
static void steer_skip(struct clv_conn *c, int d)
{
	struct clv_half *h = &c->half[d];
	uint64_t next = c->flow->streams.s[d].next, debt = clv_conn_debt(c, d), at;

	bool walkable = h->long_frames && c->proto->framing;

	if ((!walkable && debt <= CLV_KERNEL_SKIP_BYTES) || !skipped(c))
		return;
	const struct clv_framing *framing = steer_walk(c, d, &at);

	if (framing) {
		c->skipped->of[d].walk_from = at;
		tell_skip(c, d, at, framing);
	}
	if (h->walked || c->skipped->of[d].walk_from > next || debt <= CLV_KERNEL_SKIP_BYTES)
		return;
	uint64_t reach = debt < CLV_KERNEL_SKIP_MAX ? debt : CLV_KERNEL_SKIP_MAX;

	if (c->skipped->of[d].skip_end < next + reach / 2) {
		tell_skip(c, d, next + reach, NULL);
		h->seek = d != c->client && !h->mismatched;
		if (h->seek && answers_last(c, d))
			tell_alone(c, !d);
	}
}

void clv_conn_steer(struct clv_conn *c, int d)
{
	struct clv_half *h = &c->half[d];

	if (!c->engine->config.verdict || !c->flow->kernel[d].gen)
		return;
	if (c->phase == CLV_CONN_OPAQUE || (c->phase == CLV_CONN_PROBING && !c->datagram)) {
		enum clv_verdict_kind kind = c->phase == CLV_CONN_OPAQUE ? CLV_VERDICT_IGNORE : CLV_VERDICT_PROBE;

		if (h->told_until != TOLD)
			tell(c, d, &(struct clv_kverdict){.kind = kind});
		h->told_until = TOLD;
		return;
	}
	if (c->datagram) /* each of them is wanted, whole */
		return;
	if (c->phase == CLV_CONN_SPEAKING)
		steer_skip(c, d);
	uint64_t next = c->flow->streams.s[d].next;
	if (clv_conn_debt(c, d) > CLV_KERNEL_SKIP_BYTES && c->skipped && c->skipped->of[d].skip_end > next)
		next = c->skipped->of[d].skip_end;
	if (h->told_until < next) {
		uint64_t end = next + (h->framed ? CLV_WINDOW_AHEAD_FRAMED : CLV_WINDOW_AHEAD);

		h->told_until = next + CLV_WINDOW_STEP;
		tell(c, d, &(struct clv_kverdict){.kind = CLV_VERDICT_WINDOW, .seq = (uint32_t)end, .seek = h->seek});
	}
}
