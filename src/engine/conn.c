/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what is between delivered bytes and spans: detection, feeding the parser, the debt of skipped bodies, and the
 * open exchanges. Knows no protocol by name. Tails are in tail.c, what the kernel is told in steer.c. Engine thread
 * only.
 */
#include "engine/conn.h"

#include <assert.h>

#include "engine/engine_internal.h"
#include "engine/limits.h"
#include "engine/watch.h"
#include "trace/report.h"

/* ---- exchanges to spans ---------------------------------------------------------------------------------------- */

static bool client_side(const struct clv_conn *c)
{
	return c->flow->side_known && c->client == 0;
}

/* Takes the exchange out, reports it, frees it. */
static void report(struct clv_conn *c, struct clv_exchange *x, const char *error, uint64_t closed_ns)
{
	struct clv_engine *e = c->engine;
	struct clv_report r = {
		.proto = c->proto,
		.client = clv_flow_endpoint(c->flow, c->client),
		.server = clv_flow_endpoint(c->flow, !c->client),
		.kind = client_side(c) ? CLV_KIND_CLIENT : CLV_KIND_SERVER,
		.side_known = c->flow->side_known,
		.net = c->flow->key.net,
		.retransmits = c->retransmits,
		.closed_ns = closed_ns,
		.error = error,
		.overflow = e->overflow,
		.rules = &e->config.rules,
		.counts = {.headers_dropped = &e->stats.drop_headers, .redacted_whole = &e->stats.redacted_whole},
	};

	for (int d = 0; d < 2; d++) {
		if (c->half[d].open != x)
			continue;
		c->half[d].open = NULL;
		if (d == c->client)
			x->request_body_bytes = c->half[d].body_bytes;
		else
			x->response_body_bytes = c->half[d].body_bytes;
	}
	clv_exchanges_take(&c->exchanges, x);
	clv_watch_request_end(c, x);
	if (x->tentative) {
		e->stats.drop_unconfirmed++;
	} else {
		clv_report_span(&r, x, &e->span);
		e->stats.spans++;
		e->config.on_span(e->config.span_ctx, &e->span);
	}
	clv_exchange_free(&e->mem, x);
}

static void report_if_done(struct clv_conn *c, struct clv_exchange *x)
{
	if (x->response_end_ns && c->half[c->client].open != x)
		report(c, x, NULL, 0);
}

void clv_conn_finish(struct clv_conn *c, const char *error, uint64_t ts_ns)
{
	struct clv_exchange *x;

	while ((x = clv_exchanges_first(&c->exchanges))) {
		/* An answer may have passed unseen: then the connection's end says nothing about this request. */
		bool hidden = error && !x->response.ts_ns && (x->unsure || c->half[!c->client].hunting);

		if (hidden)
			x->flags |= CLV_SPAN_GAP;
		report(c, x, hidden ? NULL : error, ts_ns);
	}
}

/* ---- the parser's sink ----------------------------------------------------------------------------------------- */

/* Lives for one call of the parser; knows where the slice it was given stands in the stream. */
struct conn_sink {
	struct clv_sink base;
	struct clv_conn *c;
	int d;
	struct clv_mark first; /* of the slice's first byte, when it is not the tail */
	bool spoke;            /* something was reported */
};

/* Which packet brought the byte at offset `at` of a slice: the tail, or, without one, a run that begins at `first`. */
static struct clv_mark mark_at(const struct clv_tail *t, struct clv_mark first, uint32_t at)
{
	if (t)
		return clv_tail_mark(t, at);
	first.pos += at;
	return first;
}

static struct clv_mark sink_mark(const struct conn_sink *s, uint32_t at)
{
	return mark_at(s->c->half[s->d].tail, s->first, at);
}

/* How far the server has been heard, as a sequence number. */
static uint32_t heard(const struct clv_conn *c)
{
	return (uint32_t)c->flow->streams.s[!c->client].next;
}

static void on_request(struct conn_sink *s, const struct clv_msg *msg)
{
	struct clv_conn *c = s->c;
	struct clv_engine *e = c->engine;
	struct clv_mark at = sink_mark(s, msg->at);
	struct clv_exchange *x;

	e->stats.requests++;
	x = clv_exchanges_request(&c->exchanges, &e->mem, msg, &at);
	bool full = !x && clv_exchanges_full(&c->exchanges, msg);
	if (!x && !full) {
		/* The budget is used up: make room once, at others' cost. */
		size_t size = sizeof(*x) + msg->facts_size + msg->head.len;
		void *room = clv_engine_alloc(e, size);
		clv_mem_free(&e->mem, room, size);
		x = room ? clv_exchanges_request(&c->exchanges, &e->mem, msg, &at) : NULL;
	}
	c->half[s->d].open = x;
	if (!x) {
		*(full ? &e->stats.drop_pending_overflow : &e->stats.drop_memory) += 1;
		clv_exchanges_lost_requests(&c->exchanges, heard(c));
		return;
	}
	if (x->unsure && c->midstream)
		x->flags |= CLV_SPAN_MIDSTREAM;
	x->tentative = c->tentative;
	x->retransmits_before = c->retransmits;
	clv_watch_request(c, x, msg);
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
static void keep_headers(struct clv_conn *c, struct clv_exchange *x, const struct clv_msg *msg)
{
	struct clv_engine *e = c->engine;
	const struct clv_capture *capture = e->config.rules.capture;
	struct clv_span_header h[CLV_SPAN_HEADERS];

	if (!capture || !capture->response.count)
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

static const void *on_response(struct conn_sink *s, const struct clv_msg *msg)
{
	struct clv_conn *c = s->c;
	struct clv_mark at = sink_mark(s, msg->at);
	struct clv_exchange *x = clv_exchanges_match(&c->exchanges, msg, &at);

	if (msg->role == CLV_INTERIM)
		return x ? clv_exchange_facts(x) : NULL;
	c->engine->stats.responses++;
	c->half[s->d].open = x;
	if (!x) {
		c->engine->stats.drop_orphan_responses++;
		return NULL;
	}
	if (!c->exchanges.by_id)
		drop_before(c, x);
	clv_exchange_answer(x, msg, &at);
	keep_headers(c, x, msg);
	c->tentative = false;
	return clv_exchange_facts(x);
}

static const void *sink_head(struct clv_sink *base, enum clv_dir dir, const struct clv_msg *msg)
{
	struct conn_sink *s = (struct conn_sink *)base;

	s->spoke = true;
	s->c->half[s->d].body_bytes = 0;
	if (msg->role == CLV_RESPONSE)
		s->c->half[s->d].sought = s->c->packet_sought;
	if (msg->role == CLV_REQUEST) {
		on_request(s, msg);
		return NULL;
	}
	return on_response(s, msg);
}

static void sink_end(struct clv_sink *base, enum clv_dir dir, uint32_t at)
{
	struct conn_sink *s = (struct conn_sink *)base;
	struct clv_conn *c = s->c;
	struct clv_half *h = &c->half[s->d];
	struct clv_exchange *x = h->open;

	s->spoke = true;
	if (!x)
		return;
	h->open = NULL;
	if (dir == CLV_TO_SERVER) {
		x->request_end_ns = h->newest_ns;
		x->request_body_bytes = h->body_bytes;
	} else {
		x->response_end_ns = h->newest_ns;
		x->response_body_bytes = h->body_bytes;
	}
	report_if_done(c, x);
}

static enum clv_dir dir_of(const struct clv_conn *c, int d)
{
	return d == c->client ? CLV_TO_SERVER : CLV_TO_CLIENT;
}

static struct conn_sink sink_for(struct clv_conn *c, int d, struct clv_mark first)
{
	return (struct conn_sink){.base = {.head = sink_head, .end = sink_end}, .c = c, .d = d, .first = first};
}

/* ---- the tail -------------------------------------------------------------------------------------------------- */

static void tail_drop(struct clv_conn *c, struct clv_half *h)
{
	clv_tail_drop(c->engine, &h->tail);
	h->need = 0;
}

/* ---- gaps ------------------------------------------------------------------------------------------------------ */

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

/*
 * The parser of direction d lost its place: `lost` bytes are missing behind `rest`, the last ones it had (lost 0:
 * none, but it cannot go on). What is in the tail is hunted through, if it is not `rest`.
 */
static void lose_place_after(struct clv_conn *c, int d, struct clv_slice rest, uint64_t lost)
{
	struct clv_half *h = &c->half[d];
	struct conn_sink sink = sink_for(c, d, (struct clv_mark){0});

	if (!h->hunting) {
		c->proto->gap(c->state, dir_of(c, d), rest, lost, &sink.base);
		struct clv_exchange *x = h->open;
		h->open = NULL;
		if (x) {
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
	if (d != c->client && !c->exchanges.by_id)
		lose_responses(c);
	h->need = 0;
	h->hunting = true;
	h->junk = false;
	h->skipping = false;
	h->debt = 0;
}

/* The same, and the tail is the last that was there. */
static void lose_place(struct clv_conn *c, int d, uint64_t lost)
{
	lose_place_after(c, d, clv_tail_bytes(c->half[d].tail), lost);
	tail_drop(c, &c->half[d]);
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

/* Pays the debt of a skipped body from data. Returns false while it is not paid. */
static bool pay(struct clv_half *h, struct rest *r)
{
	uint64_t n = r->bytes.len < h->debt ? r->bytes.len : h->debt;

	h->body_bytes += n;
	if (h->debt != CLV_SKIP_TO_FIN)
		h->debt -= n;
	rest_advance(r, n);
	return h->debt == 0;
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
		clv_exchanges_lost_requests(&c->exchanges, mark_at(h->tail, r->at, junk - 1).ack_seq);
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

/* The tail may hold the first bytes of a body that is being skipped. */
static void pay_from_tail(struct clv_conn *c, struct clv_half *h)
{
	struct rest tail = {.bytes = clv_tail_bytes(h->tail)};

	pay(h, &tail);
	if (h->tail)
		clv_tail_consume(c->engine, &h->tail, h->tail->len - (uint32_t)tail.bytes.len);
}

/* One call of the parser. Returns true when it should be asked again though nothing of the run is left. */
static bool feed_once(struct clv_conn *c, int d, struct rest *r, bool *spoke)
{
	struct clv_half *h = &c->half[d];
	struct input in = next_input(c, h, r);
	struct conn_sink sink = sink_for(c, d, r->at);
	bool stuck = in.old_len && r->bytes.len && !in.added;
	bool more_coming = in.added < r->bytes.len;

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
	struct clv_fed fed = c->proto->feed(c->state, dir_of(c, d), in.bytes, &sink.base);
	assert(fed.used <= in.bytes.len);
	*spoke |= sink.spoke;
	if (fed.v == CLV_FED_BAD && !fed.used && in.bytes.len)
		fed.used = 1; /* what is bad goes, or it would be found again */
	consume(c, h, r, &in, fed.used);

	switch (fed.v) {
	case CLV_FED_OK:
		assert(fed.used || fed.skip || in.bytes.len == 0);
		if (fed.skip) {
			h->framed |= h->body_bytes > 0; /* not the message's first */
			h->debt = fed.skip;
			h->skipping = true;
			pay_from_tail(c, h);
		}
		return h->tail;
	case CLV_FED_MORE:
		if (!h->tail && !more_coming)
			keep_rest(c, d, r);
		if (h->tail)
			h->need = fed.need;
		return false;
	case CLV_FED_BAD:
		c->engine->stats.drop_parse_errors++;
		lose_place_after(c, d, clv_slice(NULL, 0), 0);
		*spoke = true; /* what the other direction waits for may have been in there */
		return h->tail;
	case CLV_FED_OPAQUE:
		go_opaque(c);
		return false;
	}
	return false;
}

/* Does direction d hold bytes that its parser may take once the other direction has said more? */
static bool waiting(const struct clv_conn *c, int d)
{
	return c->half[d].tail && !c->half[d].hunting;
}

/*
 * Gives what is left of a run to the parser of direction d, until it is used up or something was reported that
 * the other direction may have waited for. True: something was reported.
 */
static bool pump(struct clv_conn *c, int d, struct rest *r)
{
	struct clv_half *h = &c->half[d];
	bool spoke = false, ask = h->tail;

	while (c->phase == CLV_CONN_SPEAKING && !(spoke && waiting(c, !d))) {
		if (h->debt && !pay(h, r))
			break;
		if (!ask && !r->bytes.len && !h->skipping)
			break;
		if (h->hunting)
			ask = hunt(c, d, r); /* what it found may all be in the tail */
		else
			ask = feed_once(c, d, r, &spoke);
	}
	return spoke;
}

/* Gives a run to direction d, and the other its turn whenever that may help it. */
static void feed(struct clv_conn *c, int d, struct rest r)
{
	while (pump(c, d, &r) && c->phase == CLV_CONN_SPEAKING && waiting(c, !d)) {
		struct rest nothing = {0};

		c->half[!d].need = 0;
		pump(c, !d, &nothing);
	}
}

/* ---- what it is ------------------------------------------------------------------------------------------------ */

static void go_opaque(struct clv_conn *c)
{
	clv_conn_finish(c, NULL, 0);
	for (int d = 0; d < 2; d++) {
		tail_drop(c, &c->half[d]);
		c->half[d].debt = 0;
		c->half[d].skipping = false;
	}
	c->phase = CLV_CONN_OPAQUE;
	for (int d = 0; d < 2; d++) {
		clv_conn_retell(c, d);
		clv_conn_steer(c, d);
	}
}

/* The connection speaks `proto`, and stream `client` goes to the server. */
static void go_speaking(struct clv_conn *c, const struct clv_proto *proto, int client)
{
	struct clv_endpoint server = clv_flow_endpoint(c->flow, !client);
	struct clv_conn_info info = {.server_port = server.port, .midstream = c->midstream};

	c->client = (int8_t)client;
	if (!clv_engine_wants(c->engine, &server, client_side(c))) {
		go_opaque(c);
		return;
	}
	c->state = clv_engine_alloc(c->engine, proto->state_size);
	if (!c->state) {
		c->engine->stats.drop_memory++;
		go_opaque(c);
		return;
	}
	memset(c->state, 0, proto->state_size);
	c->proto = proto;
	c->phase = CLV_CONN_SPEAKING;
	clv_conn_retell(c, 0);
	clv_conn_retell(c, 1);
	clv_exchanges_init(&c->exchanges, proto->caps & CLV_CAP_BY_ID, c->midstream);
	proto->open(c->state, &info);
	/* A half that said nothing yet and starts in its middle begins with a hunt. */
	if (c->midstream)
		c->half[0].hunting = c->half[1].hunting = true;
}

/* Asks every protocol whether `in` is what a client (stream `client`) or its server says. */
static enum clv_match ask_as(const struct clv_conn *c, int d, int client, struct clv_slice in,
			     const struct clv_proto **proto)
{
	enum clv_match best = CLV_MATCH_NO;
	bool first = c->phase == CLV_CONN_DETECTING;

	for (const struct clv_proto *const *p = clv_protos; *p; p++) {
		enum clv_match m = (*p)->probe(d == client ? CLV_TO_SERVER : CLV_TO_CLIENT, in, first);

		if (m > best) {
			best = m;
			*proto = *p;
		}
		if (m == CLV_MATCH_YES)
			break;
	}
	return best;
}

/*
 * What do the bytes say? Who sent the SYN is asked first; but bytes decide, and a server that speaks like a
 * client is one. On YES *proto and *client are set.
 */
static enum clv_match ask(const struct clv_conn *c, int d, struct clv_slice in, const struct clv_proto **proto,
			  int *client)
{
	int first = c->client >= 0 ? c->client : d;
	enum clv_match m = ask_as(c, d, first, in, proto);

	if (m == CLV_MATCH_YES) {
		*client = first;
		return m;
	}
	enum clv_match other = ask_as(c, d, !first, in, proto);
	if (other == CLV_MATCH_YES) {
		*client = !first;
		return other;
	}
	return c->client >= 0 || m > other ? m : other;
}

/* Does a rule say what is spoken here? */
static bool forced(const struct clv_conn *c, const struct clv_proto **proto, int *client)
{
	for (int server = 0; server < 2; server++) {
		const struct clv_proto *p = clv_engine_forced(c->engine, clv_flow_endpoint(c->flow, server).port);

		if (!p || (c->client >= 0 && c->client == server))
			continue;
		*proto = p;
		*client = !server;
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
			feed(c, d, r);
		else if (c->half[turn].tail)
			feed(c, turn, (struct rest){0});
	}
}

static void give_up_detection(struct clv_conn *c, int d)
{
	tail_drop(c, &c->half[d]);
	if (c->phase == CLV_CONN_DETECTING || ++c->probes >= CLV_PROBE_PACKETS) {
		c->engine->stats.opaque_flows++;
		go_opaque(c);
	} else {
		clv_conn_steer(c, d);
	}
}

static void detect(struct clv_conn *c, int d, struct rest r)
{
	struct clv_half *h = &c->half[d];
	const struct rest run = r;
	struct clv_slice in = r.bytes;
	const struct clv_proto *proto = NULL;
	int client = c->client;

	if (h->tail) {
		rest_advance(&r,
			     clv_tail_append(c->engine, &h->tail, clv_slice_head(r.bytes, CLV_DETECT_BYTES), &r.at));
		in = clv_tail_bytes(h->tail);
	}
	enum clv_match m = forced(c, &proto, &client) ? CLV_MATCH_YES : ask(c, d, in, &proto, &client);
	if (m == CLV_MATCH_NO && c->phase == CLV_CONN_PROBING && h->tail) {
		/* What was kept was no beginning; this packet may be one. */
		tail_drop(c, h);
		r = run;
		in = r.bytes;
		m = ask(c, d, in, &proto, &client);
	}
	if (m == CLV_MATCH_YES) {
		go_speaking(c, proto, client);
		h->hunting = false;
		feed_both(c, d, r);
	} else if (m == CLV_MATCH_NO || in.len >= CLV_DETECT_BYTES) {
		give_up_detection(c, d);
	} else if (!keep(c, h, &r)) {
		c->engine->stats.drop_memory++;
		give_up_detection(c, d);
	}
}

/* ---- from the streams ------------------------------------------------------------------------------------------ */

/* A body being skipped holds nobody up, however little of it the kernel sends. */
static void give_credit(struct clv_conn *c)
{
	for (int d = 0; d < 2; d++) {
		struct clv_stream *s = &c->flow->streams.s[d];
		uint64_t debt = c->half[d].debt;

		s->credit = debt == CLV_SKIP_TO_FIN ? UINT64_MAX : debt ? s->next + debt : 0;
	}
}

static void conn_data(void *ctx, int d, const struct clv_run *run)
{
	struct clv_conn *c = ((struct clv_flow *)ctx)->conn;
	struct rest r = {.bytes = run->bytes,
			 .at = {.pos = run->pos, .ts_ns = run->ts_ns, .ack_seq = run->ack_seq},
			 .at_packet = true};

	if (!c)
		return;
	if (run->ts_ns > c->half[d].newest_ns)
		c->half[d].newest_ns = run->ts_ns;
	if (c->half[d].open && d != c->client)
		c->half[d].open->response_seen_ns = c->half[d].newest_ns;
	if (c->phase == CLV_CONN_SPEAKING)
		feed(c, d, r);
	else if (c->phase != CLV_CONN_OPAQUE)
		detect(c, d, r);
	give_credit(c);
}

static void conn_hole(void *ctx, int d, uint64_t pos, uint64_t len, uint64_t ts_ns)
{
	struct clv_conn *c = ((struct clv_flow *)ctx)->conn;

	if (!c || c->phase == CLV_CONN_OPAQUE)
		return;
	struct clv_half *h = &c->half[d];
	struct clv_engine *e = c->engine;
	if (ts_ns > h->newest_ns)
		h->newest_ns = ts_ns;
	if (c->phase != CLV_CONN_SPEAKING) {
		tail_drop(c, h);
		c->phase = CLV_CONN_PROBING;
		c->midstream = true;
		return;
	}
	if (h->debt) {
		uint64_t paid = len < h->debt ? len : h->debt;

		h->body_bytes += paid;
		e->stats.skipped_bytes += paid;
		len -= paid;
		if (h->debt != CLV_SKIP_TO_FIN)
			h->debt -= paid;
		if (h->open && !h->debt && !ts_ns) /* the last byte was not seen: nobody knows when it passed */
			h->open->flags |= CLV_SPAN_GAP;
		if (h->open && d != c->client)
			h->open->response_seen_ns = h->newest_ns;
		if (!h->debt)
			feed(c, d, (struct rest){.at = {.pos = pos + paid, .ts_ns = h->newest_ns}});
	}
	if (len && c->phase == CLV_CONN_SPEAKING) {
		e->stats.drop_gaps++;
		e->stats.drop_gap_bytes += len;
		if (h->sought) {
			e->stats.drop_sought_mismatch++;
			h->seek = false;
			h->mismatched = true;
			h->sought = false;
			h->window_end = 0; /* says it again, without the privilege */
		}
		lose_place(c, d, len);
		if (waiting(c, !d)) /* what it waits for may have been in there */
			feed(c, !d, (struct rest){0});
	}
	give_credit(c);
}

static void conn_fin(void *ctx, int d, uint64_t ts_ns)
{
	struct clv_conn *c = ((struct clv_flow *)ctx)->conn;

	if (!c || c->phase != CLV_CONN_SPEAKING)
		return;
	struct clv_half *h = &c->half[d];
	struct conn_sink sink = sink_for(c, d, (struct clv_mark){0});
	if (!h->hunting)
		c->proto->fin(c->state, dir_of(c, d), clv_tail_bytes(h->tail), &sink.base);
	tail_drop(c, h);
	h->debt = 0;
	h->skipping = false;
	struct clv_exchange *unfinished = h->open;
	if (d != c->client) {
		clv_conn_finish(c, CLV_ERROR_CLOSED, ts_ns);
	} else if (unfinished) { /* the rest of the request will not come; its answer may */
		unfinished->request_body_bytes = h->body_bytes;
		h->open = NULL;
		report_if_done(c, unfinished);
	}
	give_credit(c);
}

const struct clv_stream_ops clv_conn_stream_ops = {.data = conn_data, .hole = conn_hole, .fin = conn_fin};

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
	if (c->state)
		clv_mem_free(mem, c->state, c->proto->state_size);
	clv_mem_free(mem, c, sizeof(*c));
}

void clv_conn_abandon(struct clv_conn *c)
{
	struct clv_exchange *x;

	while (c && (x = clv_exchanges_first(&c->exchanges))) {
		clv_exchanges_take(&c->exchanges, x);
		clv_exchange_free(&c->engine->mem, x);
	}
	clv_conn_free(c);
}
