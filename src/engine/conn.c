/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what is between delivered bytes and spans: detection, feeding the parser, the debt of skipped bodies, and the
 * open exchanges. Knows no protocol by name. Tails are in tail.c, what the kernel is told in steer.c. Engine thread
 * only.
 */
#include "engine/conn.h"

#include <assert.h>

#include "engine/engine_internal.h"
#include "engine/ledger.h"
#include "engine/limits.h"
#include "engine/watch.h"
#include "trace/report.h"

/* ---- exchanges to spans ---------------------------------------------------------------------------------------- */

/* One end is no host but a group of them. */
static bool to_group(const struct clv_conn *c)
{
	return clv_addr_is_multicast(&c->flow->key.a_addr) || clv_addr_is_multicast(&c->flow->key.b_addr);
}

static bool client_side(const struct clv_conn *c)
{
	return c->flow->side_known && c->client == 0;
}

/* What never changes of it the engine has filled in. */
static inline __attribute__((always_inline)) struct clv_report *report_of(struct clv_conn *c,
									  const struct clv_exchange *x)
{
	struct clv_report *r = &c->engine->report;
	const struct clv_flow *f = c->flow;

	r->proto = x->proto;
	r->client = clv_flow_endpoint(f, c->client);
	r->server = clv_flow_endpoint(f, !c->client);
	r->kind = client_side(c) ? CLV_KIND_CLIENT : CLV_KIND_SERVER;
	r->side_known = f->side_known;
	r->both_ends = f->both_ends;
	r->open = false;
	r->transport = (uint8_t)f->key.transport;
	r->net = f->key.net;
	r->retransmits = c->retransmits + x->asked_again;
	r->closed_ns = 0;
	r->error = NULL;
	return r;
}

/* A message of x has not ended, and will not. */
static void break_off(struct clv_conn *c, struct clv_exchange *x)
{
	for (int d = 0; d < 2; d++) {
		if (c->half[d].open != x)
			continue;
		c->half[d].open = NULL;
		if (c->exchanges.by_id)
			continue;
		if (d == c->client)
			x->request_body_bytes = c->half[d].body_bytes;
		else
			x->response_body_bytes = c->half[d].body_bytes;
	}
}

/* Takes the exchange out, reports it, frees it. */
static void report(struct clv_conn *c, struct clv_exchange *x, const char *error, uint64_t closed_ns)
{
	struct clv_engine *e = c->engine;

	if (c->half[0].open == x || c->half[1].open == x)
		break_off(c, x);
	clv_exchanges_take(&c->exchanges, x);
	if (x->counted)
		clv_watch_request_end(c, x);
	if (x->tentative) {
		e->stats.drop_unconfirmed++;
	} else if (!x->quiet) {
		struct clv_report *r = report_of(c, x);

		r->error = error;
		r->closed_ns = closed_ns;
		clv_report_span(r, x, &e->span);
		e->stats.spans++;
		if (c->flow->recorded)
			clv_ledger_span(c->flow);
		e->config.on_span(e->config.span_ctx, &e->span);
	}
	clv_exchange_free(&e->exchanges, x);
}

static void report_if_done(struct clv_conn *c, struct clv_exchange *x)
{
	bool cancelled = x->cancelled && !x->lingers;
	bool over = x->oneway || cancelled || x->response_end_ns;

	if (over && (!x->open[CLV_TO_SERVER] || cancelled))
		report(c, x, NULL, 0);
}

/* Is something missing of a request that was not seen to end? What the server has acknowledged did pass. */
static bool request_lacks(const struct clv_conn *c, const struct clv_exchange *x)
{
	const struct clv_stream *s = &c->flow->streams.s[c->client];

	return x->open[CLV_TO_SERVER] && s->acked > s->next;
}

/* Has the client more of the server's bytes than were seen? Then there may be answers in them. */
static bool answers_passed(const struct clv_conn *c)
{
	const struct clv_stream *s = &c->flow->streams.s[!c->client];

	return s->started && s->acked > s->next;
}

/*
 * Reports what is open; `answers`: only what waits for an answer. Answers come in the order of requests: where one may
 * have passed unseen, so may those of the requests behind it.
 */
static void finish(struct clv_conn *c, const char *error, uint64_t ts_ns, bool answers)
{
	bool doubt = false, passed = answers_passed(c);

	for (struct clv_exchange *x = clv_exchanges_first(&c->exchanges), *next; x; x = next) {
		next = clv_exchanges_next(&c->exchanges, x);
		if (answers && x->oneway)
			continue;
		/* An answer may have passed unseen: then the connection's end says nothing about this request. */
		doubt |= x->unsure && !x->oneway;
		bool hidden = error && !x->response.ts_ns &&
			      (doubt || c->half[!c->client].hunting || (x->oneway && c->half[c->client].hunting) ||
			       (c->exchanges.by_id && x->flags & CLV_SPAN_GAP));

		hidden |= error && passed && !x->oneway && !x->response_end_ns;
		if (hidden || request_lacks(c, x))
			x->flags |= CLV_SPAN_GAP;
		report(c, x, hidden ? NULL : error, ts_ns);
	}
}

size_t clv_conn_open(struct clv_conn *c, uint64_t now_ns, uint64_t least_ns, size_t most, clv_span_fn fn, void *ctx)
{
	struct clv_engine *e = c->engine;
	size_t n = 0;

	for (struct clv_exchange *x = clv_exchanges_first(&c->exchanges); x; x = clv_exchanges_next(&c->exchanges, x)) {
		if (x->tentative || x->request.ts_ns + least_ns > now_ns || n++ >= most)
			continue;
		struct clv_report *r = report_of(c, x);

		r->open = true;
		clv_report_span(r, x, &e->span);
		e->span.end_ns = now_ns;
		fn(ctx, &e->span);
	}
	return n;
}

void clv_conn_finish(struct clv_conn *c, const char *error, uint64_t ts_ns)
{
	finish(c, error, ts_ns, false);
}

/* ---- the parser's sink ----------------------------------------------------------------------------------------- */

/* Which packet brought the byte at offset `at` of a slice: the tail, or, without one, a run that begins at `first`. */
static inline struct clv_mark mark_at(const struct clv_tail *t, const struct clv_mark *first, uint32_t at)
{
	if (t)
		return clv_tail_mark(t, at);
	return (struct clv_mark){.pos = first->pos + at, .ts_ns = first->ts_ns, .ack_seq = first->ack_seq};
}

static inline struct clv_mark sink_mark(const struct clv_conn_sink *s, uint32_t at)
{
	return mark_at(s->h->tail, s->first, at);
}

/* How far the server has been heard, or will have when its body is over, as a sequence number. */
static uint32_t heard(const struct clv_conn *c)
{
	return (uint32_t)clv_stream_reached(&c->flow->streams.s[!c->client]);
}

/*
 * A datagram that nobody answered in time is sent again: the same id, the same bytes. With other bytes it takes the
 * place of the one before: what is answered from now on is the newer one.
 */
static bool asked_again(struct clv_conn *c, const struct clv_msg *msg, uint64_t ts_ns)
{
	struct clv_exchange *x = clv_exchanges_find(&c->exchanges, msg->id);

	if (!x || x->response.ts_ns)
		return false;
	if (!clv_slice_eq(clv_exchange_head(x), msg->head)) {
		report(c, x, NULL, 0);
		return false;
	}
	x->asked_again++;
	x->request_end_ns = ts_ns;
	clv_list_touch(&c->exchanges.pending, &x->node); /* the one that waits longest comes first */
	c->engine->stats.retransmits++;
	return true;
}

/* Ids outlive losses; so does an exchange whose end was lost. It makes room for one that is new. */
static void give_up_oldest(struct clv_conn *c)
{
	struct clv_exchange *x = clv_exchanges_first(&c->exchanges);

	if (!x)
		return;
	x->flags |= CLV_SPAN_GAP;
	report(c, x, NULL, 0);
}

/* It was all head. */
static void request_ends(struct clv_conn_sink *s, struct clv_exchange *x)
{
	s->h->open = NULL;
	x->open[CLV_TO_SERVER] = false;
	x->request_end_ns = s->h->newest_ns;
	report_if_done(s->c, x);
}

static __attribute__((noinline)) void on_request(struct clv_conn_sink *s, const struct clv_msg *msg)
{
	struct clv_conn *c = s->c;
	struct clv_engine *e = c->engine;
	struct clv_mark at = sink_mark(s, msg->at);
	struct clv_exchange *x;

	if (c->datagram && !(msg->flags & CLV_MSG_ONEWAY) && asked_again(c, msg, at.ts_ns))
		return;
	e->stats.requests++;
	if (c->exchanges.by_id && clv_exchanges_full(&c->exchanges, msg))
		give_up_oldest(c);
	x = clv_exchanges_request(&c->exchanges, &e->exchanges, msg, &at);
	bool full = !x && clv_exchanges_full(&c->exchanges, msg);
	if (!x && !full) {
		/* The budget is used up: make room once, at others' cost. */
		size_t size = sizeof(*x) + msg->facts_size + msg->head.len;
		void *room = clv_engine_alloc(e, size);
		clv_mem_free(&e->mem, room, size);
		x = room ? clv_exchanges_request(&c->exchanges, &e->exchanges, msg, &at) : NULL;
	}
	if (!c->exchanges.by_id)
		s->h->open = x;
	if (!x) {
		*(full ? &e->stats.drop_pending_overflow : &e->stats.drop_memory) += 1;
		clv_exchanges_lost_requests(&c->exchanges, heard(c));
		return;
	}
	if (x->unsure && c->midstream)
		x->flags |= CLV_SPAN_MIDSTREAM;
	x->proto = c->proto;
	/* Of what is being searched for the next message something was lost: this one's, maybe. */
	if (c->exchanges.by_id && (c->half[0].hunting || c->half[1].hunting))
		x->flags |= CLV_SPAN_GAP;
	x->tentative = c->tentative;
	x->retransmits_before = c->retransmits;
	if (e->config.on_event)
		clv_watch_request(c, x, msg);
	if (msg->flags & CLV_MSG_ENDS)
		request_ends(s, x);
}

/* Whoever asked before x, and has no answer yet, will not be answered any more. */
static void drop_before(struct clv_conn *c, struct clv_exchange *x)
{
	for (struct clv_exchange *y = clv_exchanges_first(&c->exchanges), *next; y != x; y = next) {
		next = clv_exchanges_next(&c->exchanges, y);
		if (!y->response.ts_ns)
			report(c, y, NULL, 0);
	}
}

/* The response's head will be gone when the span is made: what was asked for of its fields is kept. */
static __attribute__((noinline)) void keep_headers(struct clv_conn *c, struct clv_exchange *x,
						   const struct clv_msg *msg)
{
	struct clv_engine *e = c->engine;
	const struct clv_capture *capture = e->config.rules.capture;
	struct clv_span_header h[CLV_SPAN_HEADERS];

	if (!capture->response.count || !c->proto->fields)
		return;
	size_t found = clv_capture_gather(&capture->response, c->proto, msg->head, true, h, CLV_SPAN_HEADERS,
					  &e->stats.drop_headers);
	size_t count = found, bytes = clv_capture_packed(h, &count);
	uint8_t *room = count ? clv_engine_alloc(e, bytes) : NULL;
	e->stats.drop_headers += found - (room ? count : 0);
	if (!room)
		return;
	clv_capture_pack(h, count, room);
	x->kept = room;
	x->kept_len = (uint32_t)bytes;
}

/* An answer shows that its neighbours are requests, too. */
static void believe_all(struct clv_conn *c)
{
	for (struct clv_exchange *x = clv_exchanges_first(&c->exchanges); x; x = clv_exchanges_next(&c->exchanges, x))
		x->tentative = false;
}

static __attribute__((noinline)) const void *on_response(struct clv_conn_sink *s, const struct clv_msg *msg)
{
	struct clv_conn *c = s->c;
	struct clv_mark at = sink_mark(s, msg->at);
	struct clv_exchange *x = clv_exchanges_match(&c->exchanges, msg, &at);

	if (msg->role == CLV_INTERIM)
		return x ? clv_exchange_facts(x) : NULL;
	c->engine->stats.responses++;
	if (!c->exchanges.by_id)
		s->h->open = x;
	if (!x) {
		c->engine->stats.drop_orphan_responses++;
		return NULL;
	}
	if (!c->exchanges.by_id)
		drop_before(c, x);
	clv_exchange_answer(x, msg, &at);
	if (msg->keep.len)
		clv_exchange_keep(x, &c->engine->mem, msg->keep);
	if (c->engine->config.rules.capture)
		keep_headers(c, x, msg);
	c->tentative = c->likely = false;
	if (c->datagram)
		believe_all(c);
	return clv_exchange_facts(x);
}

static const void *sink_head(struct clv_sink *base, enum clv_dir dir, const struct clv_msg *msg)
{
	struct clv_conn_sink *s = (struct clv_conn_sink *)base;

	s->spoke = true;
	if (!s->c->exchanges.by_id)
		s->h->body_bytes = 0;
	if (msg->role == CLV_REQUEST) {
		on_request(s, msg);
		return NULL;
	}
	if (msg->role == CLV_RESPONSE)
		s->h->sought = s->c->packet_sought;
	return on_response(s, msg);
}

/* The message of `dir` that is over, or that is being read: by id, or the one announced last. */
static struct clv_exchange *sink_open(const struct clv_conn_sink *s, enum clv_dir dir, uint64_t id)
{
	struct clv_exchange *x;

	if (!s->c->exchanges.by_id)
		return s->h->open;
	x = clv_exchanges_find(&s->c->exchanges, id);
	return x && x->open[dir] ? x : NULL;
}

/* Any end. */
static __attribute__((noinline)) void on_end(struct clv_conn_sink *s, enum clv_dir dir, const struct clv_end *end)
{
	struct clv_conn *c = s->c;
	struct clv_half *h = s->h;
	struct clv_exchange *x = sink_open(s, dir, end->id);

	s->spoke = true;
	if (!x && end->cancelled && c->exchanges.by_id) /* before, or after, its own message */
		x = clv_exchanges_find(&c->exchanges, end->id);
	if (!x || (end->cancelled && x->proto != c->proto)) /* what led here is not this protocol's to give up */
		return;
	bool again = end->cancelled && x->cancelled;
	h->open = NULL;
	x->open[dir] = false;
	clv_exchange_amend(x, dir, end);
	x->lingers = end->lingers;
	if (again) {
		/* It has ended when this was said first. */
	} else if (dir == CLV_TO_SERVER) {
		x->request_end_ns = h->newest_ns;
		if (!c->exchanges.by_id)
			x->request_body_bytes = h->body_bytes;
	} else {
		x->response_end_ns = h->newest_ns;
		if (end->keep.len)
			clv_exchange_keep(x, &c->engine->mem, end->keep);
		if (!c->exchanges.by_id)
			x->response_body_bytes = h->body_bytes;
	}
	report_if_done(c, x);
}

/* As on_end(), of which nothing but the usual would happen. */
static void sink_end(struct clv_sink *base, enum clv_dir dir, const struct clv_end *end)
{
	struct clv_conn_sink *s = (struct clv_conn_sink *)base;
	struct clv_half *h = s->h;
	struct clv_exchange *x = h->open;

	if (s->c->exchanges.by_id || !x || end->cancelled || end->facts || end->keep.len) {
		on_end(s, dir, end);
		return;
	}
	s->spoke = true;
	h->open = NULL;
	x->open[dir] = false;
	x->quiet &= !end->failed;
	x->lingers = end->lingers;
	*(dir == CLV_TO_SERVER ? &x->request_end_ns : &x->response_end_ns) = h->newest_ns;
	*(dir == CLV_TO_SERVER ? &x->request_body_bytes : &x->response_body_bytes) = h->body_bytes;
	report_if_done(s->c, x);
}

static void sink_body(struct clv_sink *base, enum clv_dir dir, uint64_t id, uint64_t bytes)
{
	struct clv_conn_sink *s = (struct clv_conn_sink *)base;
	struct clv_exchange *x = sink_open(s, dir, id);

	if (!x)
		return;
	if (dir == CLV_TO_SERVER) {
		x->request_body_bytes += bytes;
	} else {
		x->response_body_bytes += bytes;
		x->response_seen_ns = s->h->newest_ns;
	}
}

static void sink_update(struct clv_sink *base, enum clv_dir dir, uint64_t id, const void *facts, uint16_t size)
{
	struct clv_exchange *x = sink_open((struct clv_conn_sink *)base, dir, id);

	if (x && facts)
		clv_exchange_update(x, dir, facts, size);
}

static void sink_note(struct clv_sink *base, enum clv_note note, struct clv_slice text)
{
	struct clv_conn *c = ((struct clv_conn_sink *)base)->c;

	clv_ledger_note(c->engine, c->flow, note, text);
}

static enum clv_dir dir_of(const struct clv_conn *c, int d)
{
	return d == c->client ? CLV_TO_SERVER : CLV_TO_CLIENT;
}

const struct clv_sink clv_conn_sink_base = {
	.head = sink_head, .end = sink_end, .body = sink_body, .update = sink_update, .note = sink_note};

static struct clv_conn_sink sink_for(struct clv_conn *c, int d, const struct clv_mark *first)
{
	return (struct clv_conn_sink){.base = clv_conn_sink_base, .c = c, .h = &c->half[d], .first = first};
}

/* ---- the tail -------------------------------------------------------------------------------------------------- */

static void tail_drop(struct clv_conn *c, struct clv_half *h)
{
	clv_tail_drop(c->engine, &h->tail);
	h->need = 0;
}

/* ---- gaps ------------------------------------------------------------------------------------------------------ */

/* What was to be skipped of direction d is not. */
static void forgive(struct clv_conn *c, int d)
{
	c->flow->streams.s[d].credit = 0;
	c->half[d].skipping = false;
}

/* Does the kernel walk over frames of direction d, or was it told to? */
static bool walks(const struct clv_conn *c, int d)
{
	return c->half[d].walked || (c->skipped && c->skipped->of[d].walk_from);
}

/* Answers that were being read or still to come may lie in the gap: none of them can be told any more. */
static void lose_responses(struct clv_conn *c)
{
	for (struct clv_exchange *x = clv_exchanges_first(&c->exchanges), *next; x; x = next) {
		next = clv_exchanges_next(&c->exchanges, x);
		if (x->response_end_ns)
			continue;
		x->flags |= CLV_SPAN_GAP;
		report(c, x, NULL, 0);
	}
}

/* With ids, what was open may go on behind the gap; but what it lacks nobody knows. */
static void doubt_all(struct clv_conn *c)
{
	for (struct clv_exchange *x = clv_exchanges_first(&c->exchanges); x; x = clv_exchanges_next(&c->exchanges, x))
		x->flags |= CLV_SPAN_GAP;
}

/*
 * The parser of direction d lost its place: `lost` bytes are missing behind `rest`, the last ones it had (lost 0:
 * none, but it cannot go on). What is in the tail is hunted through, if it is not `rest`.
 */
static void lose_place_after(struct clv_conn *c, int d, struct clv_slice rest, uint64_t lost)
{
	const struct clv_mark nowhere = {0};
	struct clv_half *h = &c->half[d];
	struct clv_conn_sink sink = sink_for(c, d, &nowhere);

	/* While it hunts, what was kept is nothing yet. */
	c->proto->gap(c->state, dir_of(c, d), h->hunting ? clv_slice(NULL, 0) : rest, lost, &sink.base);
	if (!h->hunting) {
		struct clv_exchange *x = h->open;
		h->open = NULL;
		if (x) {
			x->open[dir_of(c, d)] = false;
			x->flags |= CLV_SPAN_GAP;
			if (d == c->client)
				x->request_body_bytes = h->body_bytes;
			else
				x->response_body_bytes = h->body_bytes;
		}
		if (x && d == c->client)
			report_if_done(c, x);
		else if (x)
			report(c, x, NULL, 0);
	}
	if (d == c->client)
		clv_exchanges_lost_requests(&c->exchanges, heard(c));
	else
		clv_exchanges_lost_answers(&c->exchanges);
	if (c->exchanges.by_id)
		doubt_all(c);
	else if (d != c->client)
		lose_responses(c);
	if (walks(c, d))
		clv_conn_stop_walk(c, d);
	h->need = 0;
	h->hunting = true;
	h->junk = false;
	forgive(c, d);
}

/* The same, and the tail is the last that was there. */
static void lose_place(struct clv_conn *c, int d, uint64_t lost)
{
	lose_place_after(c, d, clv_tail_bytes(c->half[d].tail), lost);
	tail_drop(c, &c->half[d]);
}

static uint64_t walked_to(const struct clv_conn *c, int d)
{
	return c->skipped ? c->skipped->of[d].walked_to : 0;
}

/* What the kernel left out by itself does not fit what the parser reads: no more of that. */
static void distrust(struct clv_conn *c, struct clv_half *h)
{
	c->engine->stats.drop_sought_mismatch++;
	h->seek = false;
	h->mismatched = true;
	h->sought = false;
	h->told_until = 0; /* says it again, without the privilege */
}

/* ---- feeding --------------------------------------------------------------------------------------------------- */

/* What is left of a run, with its place. */
struct rest {
	struct clv_slice bytes;
	struct clv_mark at;
	bool at_packet; /* begins with a packet's first byte */
};

static void rest_advance(struct rest *r, size_t n)
{
	if (n == 0)
		return;
	r->bytes = clv_slice_from(r->bytes, n);
	r->at.pos += n;
	r->at_packet = false;
}

/*
 * Pays the debt of a skipped body from data: all that lies before clv_stream.credit. Returns false while it is not
 * paid.
 */
static inline bool pay(struct clv_conn *c, int d, struct rest *r)
{
	struct clv_stream *s = &c->flow->streams.s[d];
	uint64_t debt = s->credit - r->at.pos; /* what is skipped begins behind what was read */
	uint64_t n = r->bytes.len < debt ? r->bytes.len : debt;

	c->half[d].body_bytes += n;
	rest_advance(r, n);
	if (n < debt)
		return false;
	s->credit = 0;
	return true;
}

/* The `skip` bytes from position `from` on are payload that nobody reads. */
static inline void owe(struct clv_conn *c, int d, uint64_t from, uint64_t skip)
{
	struct clv_half *h = &c->half[d];

	if (h->body_bytes > 0 && !h->framed) { /* not the message's first */
		h->framed = true;
		h->told_until = 0;
	}
	c->flow->streams.s[d].credit = skip < UINT64_MAX - from ? from + skip : UINT64_MAX;
	h->skipping = true;
	if (skip >= CLV_KERNEL_WALK_BYTES)
		h->long_frames = c->heavy = true;
}

/* The next input for the parser: the tail with some of the rest behind it, or just the rest. */
struct input {
	struct clv_slice bytes;
	uint32_t old_len; /* bytes of the tail that were there before */
	uint32_t added;   /* bytes of the rest in it */
};

static struct input next_input(struct clv_conn *c, struct clv_half *h, const struct rest *r)
{
	if (!h->tail)
		return (struct input){.bytes = r->bytes, .added = (uint32_t)r->bytes.len};
	uint32_t old_len = h->tail->len;
	size_t step = h->need > old_len + 2048 ? h->need - old_len : 2048;
	uint32_t added = clv_tail_append(c->engine, &h->tail, clv_slice_head(r->bytes, step), &r->at);

	return (struct input){.bytes = clv_tail_bytes(h->tail), .old_len = old_len, .added = added};
}

/* Takes `used` bytes off the input: off the tail, or off the rest where the tail is used up. */
static void consume(struct clv_conn *c, struct clv_half *h, struct rest *r, const struct input *in, uint32_t used)
{
	if (in->old_len == 0) {
		rest_advance(r, used);
	} else if (used >= in->old_len) { /* go on in the packet itself */
		tail_drop(c, h);
		rest_advance(r, used - in->old_len);
	} else {
		clv_tail_consume(c->engine, &h->tail, used);
		rest_advance(r, in->added);
	}
}

/* Keeps the rest for later. Returns false when not all of it finds room. */
static bool keep(struct clv_conn *c, struct clv_half *h, struct rest *r)
{
	while (r->bytes.len) {
		uint32_t taken = clv_tail_append(c->engine, &h->tail, r->bytes, &r->at);

		if (!taken)
			return false;
		rest_advance(r, taken);
	}
	return true;
}

/* The tail cannot grow: it is longer than anything may be, or there is no memory. What it waits for is lost. */
static void lose_rest(struct clv_conn *c, int d, struct rest *r)
{
	if (clv_tail_bytes(c->half[d].tail).len >= CLV_TAIL_BYTES)
		c->engine->stats.drop_parse_errors++;
	else
		c->engine->stats.drop_memory++;
	lose_place(c, d, r->bytes.len);
	rest_advance(r, r->bytes.len);
}

static void keep_rest(struct clv_conn *c, int d, struct rest *r)
{
	if (!keep(c, &c->half[d], r))
		lose_rest(c, d, r);
}

/* After a gap: finds the next message. Returns false when the input holds none. */
static bool hunt(struct clv_conn *c, int d, struct rest *r)
{
	struct clv_half *h = &c->half[d];
	bool at_packet = !h->tail && r->at_packet;
	struct input in = next_input(c, h, r);
	ptrdiff_t found = c->proto->resync(c->state, dir_of(c, d), in.bytes, at_packet);

	size_t kept = found < 0 ? (size_t)(-1 - found) : in.bytes.len - (size_t)found;
	assert(kept <= in.bytes.len);
	uint32_t junk = (uint32_t)(in.bytes.len - kept);
	/* Junk is the end of a request that nobody saw begin: it is no older than its last byte. */
	if (junk && d == c->client)
		clv_exchanges_lost_requests(&c->exchanges, mark_at(h->tail, &r->at, junk - 1).ack_seq);
	/* Whatever waits for an answer may have had it in there. */
	if (junk && d != c->client)
		clv_exchanges_doubt(&c->exchanges);
	consume(c, h, r, &in, junk);
	h->junk |= junk > 0;
	if (found >= 0) {
		h->hunting = false;
		if (d == c->client)
			c->tentative = h->junk && !(at_packet && junk == 0);
		return true;
	}
	if (!in.old_len || !in.added) /* all of the rest was looked at, or it finds no room */
		keep_rest(c, d, r);
	return false;
}

static void go_opaque(struct clv_conn *c);
static void close_parser(struct clv_conn *c);
static void go_on_with(struct clv_conn *c, const struct clv_proto *proto);
static void withdraw(struct clv_conn *c);

/* The tail may hold the first bytes of a body that is being skipped. */
static void pay_from_tail(struct clv_conn *c, int d)
{
	struct clv_half *h = &c->half[d];

	if (!h->tail)
		return;
	struct rest tail = {.bytes = clv_tail_bytes(h->tail), .at = clv_tail_mark(h->tail, 0)};

	pay(c, d, &tail);
	clv_tail_consume(c->engine, &h->tail, h->tail->len - (uint32_t)tail.bytes.len);
}

/* The parser has had `in`, and said `fed`. Returns true when it should be asked again, whatever is left of the run. */
static __attribute__((noinline)) bool follow(struct clv_conn *c, int d, struct rest *r, const struct input *in,
					     const struct clv_fed *fed, struct clv_conn_sink *sink)
{
	struct clv_half *h = &c->half[d];
	bool more_coming = in->added < r->bytes.len;
	uint32_t used = fed->used;

	/* What is bad goes, or it would be found again. */
	if (fed->v == CLV_FED_BAD && !used && in->bytes.len)
		used = 1;

	assert(used <= in->bytes.len);
	consume(c, h, r, in, used);

	switch (fed->v) {
	case CLV_FED_OK:
		assert(fed->used || fed->skip || in->bytes.len == 0);
		if (fed->skip) {
			owe(c, d, h->tail ? clv_tail_mark(h->tail, 0).pos : r->at.pos, fed->skip);
			pay_from_tail(c, d);
		}
		return h->tail;
	case CLV_FED_MORE:
		if (!h->tail && !more_coming)
			keep_rest(c, d, r);
		if (h->tail)
			h->need = fed->need;
		return false;
	case CLV_FED_BAD:
		if (c->likely) {
			withdraw(c);
			return false;
		}
		c->engine->stats.drop_parse_errors++;
		if (h->walked || r->at.pos < walked_to(c, d))
			distrust(c, h);
		lose_place_after(c, d, clv_slice(NULL, 0), 0);
		sink->spoke = true; /* what the other direction waits for may have been in there */
		return h->tail;
	case CLV_FED_OPAQUE:
		go_opaque(c);
		return false;
	case CLV_FED_SWITCH:
		go_on_with(c, fed->next);
		return h->tail;
	}
	return false;
}

/* One call of the parser. Returns as follow(). */
static bool feed_once(struct clv_conn *c, int d, struct rest *r, struct clv_conn_sink *sink)
{
	struct clv_half *h = &c->half[d];
	struct input in = next_input(c, h, r);
	bool stuck = in.old_len && r->bytes.len && !in.added;

	if (stuck) {
		lose_rest(c, d, r);
		return false;
	}
	if (in.old_len && h->need > in.bytes.len) {
		rest_advance(r, in.added);
		return false;
	}
	h->skipping = false;
	h->need = 0;
	struct clv_fed fed = c->proto->feed(c->state, dir_of(c, d), in.bytes, &sink->base);
	return follow(c, d, r, &in, &fed, sink);
}

/* Does direction d hold bytes that its parser may take once the other direction has said more? */
static bool waiting(const struct clv_conn *c, int d)
{
	return c->half[d].tail && !c->half[d].hunting;
}

/*
 * Gives what is left of a run to the parser of direction d, until it is used up or something was reported that
 * the other direction may have waited for. `ask`: whether there is anything left or not.
 */
static void pump(struct clv_conn *c, int d, struct rest *r, struct clv_conn_sink *sink, bool ask)
{
	struct clv_half *h = &c->half[d];

	while (c->phase == CLV_CONN_SPEAKING && !(sink->spoke && waiting(c, !d))) {
		if (c->flow->streams.s[d].credit && !pay(c, d, r))
			break;
		if (!ask && !r->bytes.len && !h->skipping)
			break;
		if (h->hunting)
			ask = hunt(c, d, r); /* what it found may all be in the tail */
		else
			ask = feed_once(c, d, r, sink);
	}
}

/* True: something was reported. */
static bool pump_tail(struct clv_conn *c, int d, struct rest *r)
{
	struct clv_conn_sink sink = sink_for(c, d, &r->at);

	pump(c, d, r, &sink, c->half[d].tail);
	return sink.spoke;
}

/* Behind what direction d has said so far nothing is left but its tail. */
static struct rest nothing_behind(const struct clv_conn *c, int d)
{
	return (struct rest){.at.pos = c->flow->streams.s[d].next};
}

/* Gives a run to direction d, and the other its turn whenever that may help it. */
static __attribute__((noinline)) void feed_in_turns(struct clv_conn *c, int d, struct rest *r)
{
	while (pump_tail(c, d, r) && c->phase == CLV_CONN_SPEAKING && waiting(c, !d)) {
		struct rest nothing = nothing_behind(c, !d);

		c->half[!d].need = 0;
		pump_tail(c, !d, &nothing);
	}
}

/*
 * Gives a run to direction d. Mostly neither direction holds anything back: then its parser is asked until the run is
 * used up, and all that is not as usual is left to pump().
 */
static inline void feed(struct clv_conn *c, int d, struct rest *r)
{
	struct clv_half *h = &c->half[d];
	const struct clv_stream *s = &c->flow->streams.s[d];

	if (c->half[0].tail || c->half[1].tail || h->hunting) {
		feed_in_turns(c, d, r);
		return;
	}
	struct clv_conn_sink *sink = &c->engine->sink;
	enum clv_dir dir = dir_of(c, d);

	sink->c = c;
	sink->h = h;
	sink->first = &r->at;
	sink->spoke = false;
	while ((!s->credit || pay(c, d, r)) && (r->bytes.len || h->skipping)) {
		h->skipping = false;
		struct clv_fed fed = c->proto->feed(c->state, dir, r->bytes, &sink->base);

		if (fed.v == CLV_FED_MORE && fed.used == r->bytes.len)
			return;
		if (fed.v != CLV_FED_OK) {
			struct input in = {.bytes = r->bytes, .added = (uint32_t)r->bytes.len};

			pump(c, d, r, sink, follow(c, d, r, &in, &fed, sink));
			return;
		}
		assert(fed.used <= r->bytes.len && (fed.used || fed.skip || r->bytes.len == 0));
		rest_advance(r, fed.used);
		if (fed.skip)
			owe(c, d, r->at.pos, fed.skip);
	}
}

/* ---- what it is ------------------------------------------------------------------------------------------------ */

static void go_opaque(struct clv_conn *c)
{
	clv_conn_finish(c, NULL, 0);
	for (int d = 0; d < 2; d++) {
		tail_drop(c, &c->half[d]);
		forgive(c, d);
	}
	close_parser(c);
	c->phase = CLV_CONN_OPAQUE;
	for (int d = 0; d < 2; d++) {
		clv_conn_retell(c, d);
		clv_conn_steer(c, d);
	}
}

/* What a connection may be. */
struct guess {
	const struct clv_proto *proto;
	int client;  /* the stream that goes to the server */
	bool likely; /* CLV_MATCH_LIKELY, and then something more */
};

static void *parser_alloc(void *ctx, size_t size)
{
	return clv_engine_alloc(ctx, size);
}

static void parser_free(void *ctx, void *p, size_t size)
{
	struct clv_engine *e = ctx;

	clv_mem_free(&e->mem, p, size);
}

static void close_parser(struct clv_conn *c)
{
	if (!c->state)
		return;
	if (c->proto->close)
		c->proto->close(c->state);
	if (c->state != c->room)
		clv_mem_free(&c->engine->mem, c->state, c->proto->state_size);
	c->state = NULL;
}

/* Puts `proto` in the place of the parser before it. Returns false without memory: nothing has changed. */
static bool open_parser(struct clv_conn *c, const struct clv_proto *proto, const struct clv_upgrade *upgrade)
{
	struct clv_conn_info info = {
		.server_port = clv_flow_endpoint(c->flow, !c->client).port,
		.midstream = c->midstream,
		.datagram = c->datagram,
		.multicast = to_group(c),
		.upgrade = upgrade,
		.alloc = parser_alloc,
		.free = parser_free,
		.mem = c->engine,
	};
	/* The one before is still needed there. */
	bool fits = proto->state_size <= CLV_CONN_ROOM && c->state != c->room;
	void *state = fits ? c->room : clv_engine_alloc(c->engine, proto->state_size);

	if (!state) {
		c->engine->stats.drop_memory++;
		return false;
	}
	memset(state, 0, proto->state_size);
	close_parser(c);
	c->state = state;
	c->proto = proto;
	proto->open(state, &info);
	return true;
}

/* The connection speaks `proto`, and stream `client` goes to the server. */
static void go_speaking(struct clv_conn *c, const struct clv_proto *proto, int client)
{
	struct clv_endpoint server = clv_flow_endpoint(c->flow, !client);

	c->client = (int8_t)client;
	if (!clv_engine_wants(c->engine, c->flow->key.net, &server, client_side(c)) || !open_parser(c, proto, NULL)) {
		go_opaque(c);
		return;
	}
	c->phase = CLV_CONN_SPEAKING;
	clv_conn_retell(c, 0);
	clv_conn_retell(c, 1);
	clv_exchanges_init(&c->exchanges, proto->caps & CLV_CAP_BY_ID, c->midstream);
	/* A half that said nothing yet and starts in its middle begins with a hunt. */
	if (c->midstream)
		c->half[0].hunting = c->half[1].hunting = true;
}

/* Both directions change to `proto`. The request that asked for it is told to it; its answer, if any, ends here. */
static void go_on_with(struct clv_conn *c, const struct clv_proto *proto)
{
	struct clv_half *h = &c->half[!c->client];
	struct clv_exchange *x = h->open ? h->open : clv_exchanges_first(&c->exchanges);
	struct clv_upgrade upgrade = {.from = c->proto};

	for (int d = 0; d < 2; d++)
		upgrade.missed[dir_of(c, d)] = c->half[d].hunting;
	if (x) {
		upgrade.head = clv_exchange_head(x);
		upgrade.facts = clv_exchange_facts(x);
	}
	if (!open_parser(c, proto, &upgrade)) {
		go_opaque(c);
		return;
	}
	c->half[0].need = c->half[1].need = 0;
	h->skipping = true; /* it is asked, whether there are bytes or not */
	struct clv_exchange *keep = h->open ? NULL : x;
	if (h->open)
		h->open->response_end_ns = h->newest_ns;
	c->half[0].open = c->half[1].open = NULL;
	/* Of what the protocol before left open, only the request that waits for its answer goes on. */
	for (struct clv_exchange *y = clv_exchanges_first(&c->exchanges), *next; y; y = next) {
		next = clv_exchanges_next(&c->exchanges, y);
		y->open[CLV_TO_SERVER] = y->open[CLV_TO_CLIENT] = false;
		if (y != keep)
			report(c, y, NULL, 0);
	}
	clv_exchanges_go_by_id(&c->exchanges, proto->caps & CLV_CAP_BY_ID);
}

/* It was taken for something that it is not: nothing of what was said of it is kept. */
static void withdraw(struct clv_conn *c)
{
	struct clv_exchange *x;

	c->engine->stats.withdrawn++;
	while ((x = clv_exchanges_first(&c->exchanges))) {
		x->tentative = true;
		report(c, x, NULL, 0);
	}
	close_parser(c);
	c->refused = c->proto;
	c->proto = NULL;
	c->likely = c->tentative = false;
	c->midstream = !c->datagram;
	c->client = c->flow->client;
	for (int d = 0; d < 2; d++) {
		tail_drop(c, &c->half[d]);
		forgive(c, d);
		c->half[d].hunting = c->half[d].long_frames = false;
		if (walks(c, d))
			clv_conn_stop_walk(c, d);
	}
	c->phase = c->datagram ? CLV_CONN_DETECTING : CLV_CONN_PROBING;
	clv_exchanges_init(&c->exchanges, false, c->midstream);
	clv_conn_retell(c, 0);
	clv_conn_retell(c, 1);
	if (++c->withdrawals >= CLV_WITHDRAWALS) {
		c->engine->stats.opaque_flows++;
		go_opaque(c);
	}
}

/* One of the protocol's own, or said to be one, of a server that is here. */
static bool usual_port(const struct clv_conn *c, const struct clv_proto *proto, int client)
{
	const struct clv_engine_config *config = &c->engine->config;
	uint16_t port = clv_flow_endpoint(c->flow, !client).port;
	bool elsewhere = c->flow->side_known && client == 0 && !c->flow->both_ends;

	for (size_t i = 0; i < sizeof(proto->ports) / sizeof(proto->ports[0]) && proto->ports[i]; i++)
		if (proto->ports[i] == port)
			return true;
	return !elsewhere && config->hint && config->hint(config->hint_ctx, c->flow->key.net, port) == proto;
}

static enum clv_where where_of(const struct clv_conn *c)
{
	if (c->datagram)
		return CLV_WHERE_DATAGRAM;
	return c->phase == CLV_CONN_DETECTING ? CLV_WHERE_START : CLV_WHERE_PACKET;
}

/* What looks right but need not be is believed on the usual port, or when the other direction looks right as well. */
static enum clv_match weigh(const struct clv_conn *c, const struct clv_proto *proto, int d, int client)
{
	const struct clv_tail *other = c->half[!d].tail;
	enum clv_match m;

	if (usual_port(c, proto, client))
		return CLV_MATCH_YES;
	if (!other)
		return CLV_MATCH_LIKELY;
	m = proto->probe(d != client ? CLV_TO_SERVER : CLV_TO_CLIENT, clv_tail_bytes(other), where_of(c));
	if (m == CLV_MATCH_NO && c->phase == CLV_CONN_PROBING) /* that was no beginning of anything, maybe */
		return CLV_MATCH_LIKELY;
	return m == CLV_MATCH_LIKELY ? CLV_MATCH_YES : m;
}

/* Can `proto` begin a connection, or a flow of datagrams, of this kind? */
static bool carries(const struct clv_conn *c, const struct clv_proto *proto)
{
	bool carried = c->datagram ? proto->caps & CLV_CAP_DATAGRAM : !(proto->caps & CLV_CAP_NO_STREAM);

	return carried && !(proto->caps & CLV_CAP_FOLLOWS);
}

/* Asks every protocol whether `in` is what a client (stream `client`) or its server says. */
static enum clv_match ask_as(const struct clv_conn *c, int d, int client, struct clv_slice in, struct guess *guess)
{
	enum clv_match best = CLV_MATCH_NO;

	for (const struct clv_proto *const *p = clv_protos; *p; p++) {
		if (!carries(c, *p) || *p == c->refused)
			continue;
		enum clv_match m = (*p)->probe(d == client ? CLV_TO_SERVER : CLV_TO_CLIENT, in, where_of(c));
		bool likely = m == CLV_MATCH_LIKELY;

		if (likely)
			m = weigh(c, *p, d, client);
		if (m > best) {
			best = m;
			*guess = (struct guess){.proto = *p, .client = client, .likely = likely};
		}
		if (m == CLV_MATCH_YES && !likely)
			break;
	}
	return best;
}

/*
 * What do the bytes say? Who sent the SYN is asked first; but bytes decide, and a server that speaks like a
 * client is one. On YES *guess is set.
 */
static enum clv_match ask(const struct clv_conn *c, int d, struct clv_slice in, struct guess *guess)
{
	int first = c->client >= 0 ? c->client : d;
	struct guess turned;
	enum clv_match m = ask_as(c, d, first, in, guess);

	if (m == CLV_MATCH_YES && !guess->likely)
		return m;
	enum clv_match other = ask_as(c, d, !first, in, &turned);
	if (c->client >= 0 && other == CLV_MATCH_YES && turned.likely)
		return m; /* the SYN is the better witness */
	if (other > m || (other == CLV_MATCH_YES && !turned.likely)) {
		*guess = turned;
		return c->client >= 0 && other < CLV_MATCH_LIKELY ? m : other;
	}
	return m;
}

/* Does a rule say what is spoken here? */
static bool forced(const struct clv_conn *c, struct guess *guess)
{
	for (int server = 0; server < 2; server++) {
		const struct clv_proto *p = clv_engine_forced(c->engine, clv_flow_endpoint(c->flow, server).port);

		if (!p || !carries(c, p) || (c->client >= 0 && c->client == server))
			continue;
		*guess = (struct guess){.proto = p, .client = !server};
		return true;
	}
	return false;
}

/* The parser gets what both directions have said so far, the client first; `r` is the rest of direction d. */
static void feed_both(struct clv_conn *c, int d, struct rest r)
{
	for (int i = 0; i < 2 && c->phase == CLV_CONN_SPEAKING; i++) {
		int turn = i == 0 ? c->client : !c->client;

		if (turn == d)
			feed(c, d, &r);
		else if (c->half[turn].tail)
			feed_in_turns(c, turn, &(struct rest){.at.pos = c->flow->streams.s[turn].next});
	}
}

/* Direction d has spoken in vain. If the other has said nothing yet, it decides. */
static void give_up_detection(struct clv_conn *c, int d)
{
	tail_drop(c, &c->half[d]);
	if (c->phase == CLV_CONN_DETECTING && !c->half[d].deaf && !c->half[!d].newest_ns) {
		c->half[d].deaf = true;
		c->half[d].unread = 0;
		return;
	}
	if (c->phase == CLV_CONN_DETECTING || ++c->probes >= CLV_PROBE_PACKETS) {
		c->engine->stats.opaque_flows++;
		go_opaque(c);
	} else {
		clv_conn_steer(c, d);
	}
}

/* More of a direction that began as nothing known: the other one is waited for, but not for ever. */
static void pass_over(struct clv_conn *c, int d, struct clv_slice bytes)
{
	struct clv_half *h = &c->half[d];

	h->unread += (uint16_t)(bytes.len < CLV_DETECT_BYTES ? bytes.len : CLV_DETECT_BYTES);
	if (h->unread >= CLV_DETECT_BYTES)
		give_up_detection(c, d);
}

/* It is known what is spoken, from what direction d has said. */
static void begin_speaking(struct clv_conn *c, int d, const struct guess *guess)
{
	const struct clv_tail *other = c->half[!d].tail;
	enum clv_dir dir = d != guess->client ? CLV_TO_SERVER : CLV_TO_CLIENT;
	bool fits = other && guess->likely &&
		    guess->proto->probe(dir, clv_tail_bytes(other), where_of(c)) >= CLV_MATCH_LIKELY;

	c->midstream |= c->half[!d].deaf;
	go_speaking(c, guess->proto, guess->client);
	c->likely = guess->likely;
	c->half[d].hunting = false;
	if (fits) /* what it has said begins with a message, too */
		c->half[!d].hunting = false;
}

static void detect(struct clv_conn *c, int d, struct rest r)
{
	struct clv_half *h = &c->half[d];
	const struct rest run = r;
	struct clv_slice in = r.bytes;
	struct guess guess = {.client = c->client};

	if (h->tail) {
		rest_advance(&r,
			     clv_tail_append(c->engine, &h->tail, clv_slice_head(r.bytes, CLV_DETECT_BYTES), &r.at));
		in = clv_tail_bytes(h->tail);
	}
	enum clv_match m = forced(c, &guess) ? CLV_MATCH_YES : ask(c, d, in, &guess);
	if (m < CLV_MATCH_LIKELY && c->phase == CLV_CONN_PROBING && h->tail) {
		/* What was kept may be no beginning; this packet may be one. */
		struct guess alone = {.client = c->client};
		enum clv_match n = ask(c, d, run.bytes, &alone);

		if (n > m || m == CLV_MATCH_NO) {
			tail_drop(c, h);
			r = run;
			in = r.bytes;
			m = n;
			guess = alone;
		}
	}
	if (c->phase == CLV_CONN_DETECTING)
		clv_ledger_guess(c->flow, in);
	if (m == CLV_MATCH_YES) {
		begin_speaking(c, d, &guess);
		feed_both(c, d, r);
	} else if (m == CLV_MATCH_NO || (m == CLV_MATCH_MAYBE && in.len >= CLV_DETECT_BYTES)) {
		give_up_detection(c, d);
	} else if (!keep(c, h, &r)) { /* what looks right waits for the other direction, as long as there is room */
		c->engine->stats.drop_memory += clv_tail_bytes(h->tail).len < CLV_TAIL_BYTES;
		give_up_detection(c, d);
	}
}

/* What turns out not to be what it looked like may be something else. */
static void detect_again(struct clv_conn *c, int d, struct rest r)
{
	unsigned before;

	do {
		before = c->withdrawals;
		detect(c, d, r);
	} while (c->withdrawals != before && c->phase == CLV_CONN_PROBING);
}

/* ---- from the streams ------------------------------------------------------------------------------------------ */

static struct clv_conn *conn_of(struct clv_streams *st)
{
	return clv_list_entry(st, struct clv_flow, streams)->conn;
}

/* A run of direction d of a connection of which it is not known what it speaks, or nobody wants to. */
static __attribute__((noinline)) void take_unknown(struct clv_conn *c, int d, const struct rest *r)
{
	if (c->phase == CLV_CONN_DETECTING && c->half[d].deaf)
		pass_over(c, d, r->bytes);
	else if (c->phase != CLV_CONN_OPAQUE)
		detect_again(c, d, *r);
}

static inline void take_run(struct clv_conn *c, int d, struct rest *r)
{
	struct clv_half *h = &c->half[d];

	if (r->at.ts_ns > h->newest_ns)
		h->newest_ns = r->at.ts_ns;
	if (h->open && d != c->client)
		h->open->response_seen_ns = h->newest_ns;
	if (c->phase == CLV_CONN_SPEAKING)
		feed(c, d, r);
	else
		take_unknown(c, d, r);
}

void clv_conn_data(struct clv_streams *st, int d, const struct clv_run *run)
{
	struct clv_conn *c = conn_of(st);
	struct rest r = {.bytes = run->bytes,
			 .at = {.pos = run->pos, .ts_ns = run->ts_ns, .ack_seq = run->ack_seq},
			 .at_packet = true};

	if (c)
		take_run(c, d, &r);
}

void clv_conn_packet(struct clv_conn *c, int d, const struct clv_packet *p, uint64_t pos)
{
	struct rest r = {
		.bytes = p->payload, .at = {.pos = pos, .ts_ns = p->ts_ns, .ack_seq = p->ack}, .at_packet = true};

	take_run(c, d, &r);
}

/* The message that ends here does so at some time that nobody saw. With ids it may be any. */
static void doubt_end(struct clv_conn *c, struct clv_half *h)
{
	if (c->exchanges.by_id)
		doubt_all(c);
	else if (h->open)
		h->open->flags |= CLV_SPAN_GAP;
}

void clv_conn_hole(struct clv_streams *st, int d, uint64_t pos, uint64_t len, uint64_t ts_ns, bool over_time)
{
	struct clv_conn *c = conn_of(st);

	if (!c || c->phase == CLV_CONN_OPAQUE)
		return;
	struct clv_half *h = &c->half[d];
	struct clv_engine *e = c->engine;
	uint64_t *credit = &st->s[d].credit, debt = *credit ? *credit - pos : 0;
	bool ends_inside = over_time && debt && debt < len;
	if (ts_ns > h->newest_ns && !ends_inside)
		h->newest_ns = ts_ns;
	if (c->phase != CLV_CONN_SPEAKING) {
		tail_drop(c, h);
		c->phase = CLV_CONN_PROBING;
		c->midstream = true;
		c->half[0].deaf = c->half[1].deaf = false;
		return;
	}
	if (debt) {
		uint64_t paid = len < debt ? len : debt;
		bool all = paid == debt;

		h->body_bytes += paid;
		e->stats.skipped_bytes += paid;
		len -= paid;
		if (all && (!ts_ns || ends_inside)) /* nobody knows when the last byte passed */
			doubt_end(c, h);
		if (h->open && d != c->client)
			h->open->response_seen_ns = h->newest_ns;
		if (all) {
			*credit = 0;
			feed(c, d, &(struct rest){.at = {.pos = pos + paid, .ts_ns = h->newest_ns}});
		}
		if (ts_ns > h->newest_ns)
			h->newest_ns = ts_ns;
	}
	if (len && c->phase == CLV_CONN_SPEAKING) {
		e->stats.drop_gaps++;
		e->stats.drop_gap_bytes += len;
		if (h->sought || (!h->hunting && (h->walked || pos <= walked_to(c, d))))
			distrust(c, h);
		lose_place(c, d, len);
		if (waiting(c, !d)) { /* what it waits for may have been in there */
			struct rest nothing = nothing_behind(c, !d);

			feed_in_turns(c, !d, &nothing);
		}
	}
}

void clv_conn_fin(struct clv_streams *st, int d, uint64_t ts_ns)
{
	struct clv_conn *c = conn_of(st);

	if (!c || c->phase != CLV_CONN_SPEAKING)
		return;
	struct clv_half *h = &c->half[d];
	const struct clv_mark nowhere = {0};
	struct clv_conn_sink sink = sink_for(c, d, &nowhere);
	if (!h->hunting)
		c->proto->fin(c->state, dir_of(c, d), clv_tail_bytes(h->tail), &sink.base);
	tail_drop(c, h);
	forgive(c, d);
	struct clv_exchange *unfinished = h->open;
	if (d != c->client) {
		finish(c, CLV_ERROR_CLOSED, ts_ns, true);
	} else if (unfinished) { /* the rest of the request will not come; its answer may */
		unfinished->request_body_bytes = h->body_bytes;
		unfinished->open[CLV_TO_SERVER] = false;
		h->open = NULL;
		report_if_done(c, unfinished);
	}
}

/* ---- datagrams ------------------------------------------------------------------------------------------------- */

/*
 * Without sequence numbers time stands for them: in steps of 4.3 s, so coarse that two observers mostly agree, and so
 * fine that who asks the same with the same 16 bit id mostly does so in another one. What goes to a group has many
 * observers and often no id at all: each has its own ids then.
 */
static uint32_t datagram_time(const struct clv_conn *c, uint64_t ts_ns)
{
	return (uint32_t)(to_group(c) ? ts_ns >> 10 : ts_ns >> 32);
}

/* One datagram to the parser; of one that was cut, as much as can be told. */
static void feed_datagram(struct clv_conn *c, int d, const struct clv_packet *p)
{
	struct clv_mark at = {.pos = d == c->client || to_group(c) ? datagram_time(c, p->ts_ns) : 0, .ts_ns = p->ts_ns};
	struct clv_conn_sink sink = sink_for(c, d, &at);
	uint32_t lost = p->len - (uint32_t)p->payload.len;

	if (lost) {
		c->proto->gap(c->state, dir_of(c, d), p->payload, lost, &sink.base);
		if (!sink.spoke) { /* too little of it is left */
			c->engine->stats.drop_gaps++;
			c->engine->stats.drop_gap_bytes += lost;
		}
		return;
	}
	struct clv_fed fed = c->proto->feed(c->state, dir_of(c, d), p->payload, &sink.base);

	if (fed.v == CLV_FED_BAD && c->likely)
		withdraw(c);
	else if (fed.v == CLV_FED_BAD)
		c->engine->stats.drop_parse_errors++;
	else if (fed.v == CLV_FED_OPAQUE)
		go_opaque(c);
}

/* One of the protocol's own, or the user's word for it. */
static bool known_port(const struct clv_conn *c, const struct clv_proto *proto, int client)
{
	return usual_port(c, proto, client) ||
	       clv_engine_forced(c->engine, clv_flow_endpoint(c->flow, !client).port) == proto;
}

/* What looks right waits for an answer that does, too. Only the last one is kept. */
static void keep_datagram(struct clv_conn *c, int d, const struct clv_packet *p)
{
	struct clv_mark at = {.ts_ns = p->ts_ns};

	tail_drop(c, &c->half[d]);
	if (p->len != p->payload.len || p->len > CLV_DETECT_BYTES)
		return;
	if (!clv_tail_append(c->engine, &c->half[d].tail, p->payload, &at))
		c->engine->stats.drop_memory++;
}

/* The one that was kept is answered. */
static void feed_kept(struct clv_conn *c, int d)
{
	struct clv_tail *t = c->half[d].tail;

	if (!t)
		return;
	c->half[d].tail = NULL;
	struct clv_packet p = {.ts_ns = clv_tail_mark(t, 0).ts_ns, .len = t->len, .payload = clv_tail_bytes(t)};
	if (c->phase == CLV_CONN_SPEAKING)
		feed_datagram(c, d, &p);
	clv_tail_drop(c->engine, &t);
}

static void detect_datagram(struct clv_conn *c, int d, const struct clv_packet *p)
{
	struct guess guess = {.client = c->client};
	enum clv_match m = forced(c, &guess) ? CLV_MATCH_YES : ask(c, d, p->payload, &guess);

	if (m == CLV_MATCH_YES) {
		go_speaking(c, guess.proto, guess.client);
		c->likely = guess.likely;
		/* On any port one datagram that looks right is little: nothing is said until it is answered. */
		c->tentative = !known_port(c, guess.proto, guess.client);
		tail_drop(c, &c->half[d]);
		feed_kept(c, !d);
		return;
	}
	clv_ledger_guess(c->flow, p->payload);
	if (m == CLV_MATCH_LIKELY)
		keep_datagram(c, d, p);
	if (++c->probes >= CLV_PROBE_DATAGRAMS) {
		c->engine->stats.opaque_flows++;
		go_opaque(c);
	}
}

/* A socket that is never quiet has its unanswered requests all the same. */
static void expire(struct clv_conn *c, uint64_t now_ns)
{
	struct clv_exchange *x;

	while ((x = clv_exchanges_first(&c->exchanges))) {
		uint64_t last_ns = x->request_end_ns ? x->request_end_ns : x->request.ts_ns;

		if (last_ns + CLV_DATAGRAM_IDLE_NS > now_ns)
			break;
		report(c, x, NULL, 0);
	}
}

bool clv_conn_datagram(struct clv_conn *c, int d, const struct clv_packet *p)
{
	if (c->phase == CLV_CONN_OPAQUE || !p->payload.len)
		return false;
	expire(c, p->ts_ns);
	c->half[d].newest_ns = p->ts_ns;
	if (c->phase != CLV_CONN_SPEAKING)
		detect_datagram(c, d, p);
	if (c->phase == CLV_CONN_SPEAKING)
		feed_datagram(c, d, p);
	return c->phase == CLV_CONN_SPEAKING && !c->exchanges.count;
}

/* ---- lifecycle ------------------------------------------------------------------------------------------------- */

struct clv_conn *clv_conn_new(struct clv_engine *e, struct clv_flow *f, int client, bool midstream)
{
	struct clv_conn *c = clv_engine_alloc(e, sizeof(*c));

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->engine = e;
	c->flow = f;
	c->client = (int8_t)client;
	c->midstream = midstream;
	c->datagram = f->key.transport == CLV_TRANSPORT_UDP;
	c->phase = midstream ? CLV_CONN_PROBING : CLV_CONN_DETECTING;
	clv_exchanges_init(&c->exchanges, false, midstream);
	return c;
}

void clv_conn_free(struct clv_conn *c)
{
	if (!c)
		return;
	struct clv_mem *mem = &c->engine->mem;
	for (int d = 0; d < 2; d++)
		tail_drop(c, &c->half[d]);
	close_parser(c);
	if (c->skipped)
		clv_mem_free(mem, c->skipped, sizeof(*c->skipped));
	clv_mem_free(mem, c, sizeof(*c));
}

void clv_conn_abandon(struct clv_conn *c)
{
	struct clv_exchange *x;

	while (c && (x = clv_exchanges_first(&c->exchanges))) {
		clv_exchanges_take(&c->exchanges, x);
		clv_exchange_free(&c->engine->exchanges, x);
	}
	clv_conn_free(c);
}
