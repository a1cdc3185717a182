/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the flows and their clock. A packet goes: deadlines that lie before it -> its flow -> reassembly (which
 * calls conn.c with what it can deliver) -> what the kernel is told. Never reads a clock, a file or a socket.
 * One thread.
 */
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/conn.h"
#include "engine/engine_internal.h"
#include "engine/ledger.h"
#include "engine/limits.h"
#include "engine/twin.h"
#include "engine/watch.h"

/* ---- what is wanted -------------------------------------------------------------------------------------------- */

static const struct clv_port_rule *port_rule(const struct clv_engine *e, uint16_t port)
{
	for (size_t i = 0; i < e->config.port_count; i++)
		if (e->config.ports[i].port == port)
			return &e->config.ports[i];
	return NULL;
}

static bool egress_match(const struct clv_engine *e, const struct clv_egress_rule *r, uint32_t net,
			 const struct clv_endpoint *server)
{
	const struct clv_engine_config *c = &e->config;

	return (r->port == 0 || r->port == server->port) &&
	       clv_addr_prefix_eq(&r->addr, &server->addr, r->prefix_bits) &&
	       (!r->pod.len || (c->pod_named && c->pod_named(c->pod_ctx, net, r->pod)));
}

/* What the rules say of a request going out, in *wanted. False: nothing. */
static bool egress_rules(const struct clv_engine *e, uint32_t net, const struct clv_endpoint *server, bool *wanted)
{
	bool record = false;

	for (size_t i = 0; i < e->config.egress_count; i++) {
		const struct clv_egress_rule *r = &e->config.egress[i];

		if (egress_match(e, r, net, server)) {
			*wanted = !r->ignore;
			return true;
		}
		record |= !r->ignore;
	}
	*wanted = false;
	return record;
}

bool clv_engine_wants(const struct clv_engine *e, uint32_t net, const struct clv_endpoint *server, bool client_side)
{
	bool wanted;

	if (client_side && egress_rules(e, net, server, &wanted))
		return wanted;
	return !e->config.port_count || port_rule(e, server->port);
}

const struct clv_proto *clv_engine_forced(const struct clv_engine *e, uint16_t port)
{
	const struct clv_port_rule *r = port_rule(e, port);

	return r ? r->proto : NULL;
}

/* Could this packet belong to a connection that is wanted, whichever end the server is? */
static bool may_want(const struct clv_engine *e, const struct clv_packet *p)
{
	bool outgoing = p->side != CLV_SIDE_IN, incoming = p->side != CLV_SIDE_OUT;

	if (!e->config.port_count && !e->config.egress_count)
		return true;
	return clv_engine_wants(e, p->net, &p->src, incoming && p->side != CLV_SIDE_UNKNOWN) ||
	       clv_engine_wants(e, p->net, &p->dst, outgoing && p->side != CLV_SIDE_UNKNOWN) ||
	       clv_engine_wants(e, p->net, &p->src, false) || clv_engine_wants(e, p->net, &p->dst, false);
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

/* What it spoke is over; the flow may go on. */
static void conn_finish(struct clv_flow *f, const char *error)
{
	struct clv_conn *c = f->conn;

	if (c)
		clv_conn_finish(c, error, f->last_ns);
	clv_ledger_learn(f);
	clv_conn_free(c);
	f->conn = NULL;
}

/* `error` as in struct clv_report. */
static void flow_finish(struct clv_engine *e, struct clv_flow *f, const char *error, enum clv_flow_end end)
{
	conn_finish(f, error);
	clv_ledger_end(e, f, end);
}

static void flow_remove(struct clv_engine *e, struct clv_flow *f, enum clv_flow_end end)
{
	flow_finish(e, f, NULL, end);
	clv_flows_remove(&e->flows, f);
}

/* Of a flow whose end was not seen: `end`, unless it never began. */
static enum clv_flow_end end_of(const struct clv_flow *f, enum clv_flow_end end)
{
	return clv_watch_failed(f) ? CLV_FLOW_FAILED : end;
}

/* The one that was quiet longest, but for the one being worked on; NULL: there is none. */
static struct clv_flow *oldest_but_busy(const struct clv_engine *e, const struct clv_node *queue)
{
	const struct clv_node *n = queue->next;

	if (n != queue && clv_list_entry(n, struct clv_flow, used) == e->busy)
		n = n->next;
	return n == queue ? NULL : clv_list_entry(n, struct clv_flow, used);
}

void clv_engine_due(struct clv_engine *e, uint64_t ns)
{
	if (ns < e->due_ns)
		e->due_ns = ns;
}

/* Gives up one flow other than the one being worked on. */
static bool evict(struct clv_engine *e)
{
	struct clv_flow *f = clv_list_first(&e->flows.closed, struct clv_flow, used);

	if (!f || f == e->busy) {
		f = clv_flows_oldest(&e->flows, e->busy);
		struct clv_flow *datagrams = oldest_but_busy(e, &e->flows.datagrams);

		if (!f || (datagrams && datagrams->last_ns < f->last_ns))
			f = datagrams;
		if (!f)
			return false;
		e->stats.drop_memory++;
	}
	clv_watch_answered(e, f);
	flow_remove(e, f, CLV_FLOW_EVICTED);
	return true;
}

void *clv_engine_alloc(struct clv_engine *e, size_t size)
{
	void *p;

	while (!(p = clv_mem_alloc(&e->mem, size)))
		if (e->exchanges.spare)
			clv_exchange_pool_trim(&e->exchanges);
		else if (size > CLV_MEM_MAX || !evict(e))
			return NULL;
	return p;
}

/* ---- one flow's delivery --------------------------------------------------------------------------------------- */

static uint64_t delivered(const struct clv_flow *f)
{
	return f->streams.s[0].next + f->streams.s[1].next;
}

static void steer(const struct clv_engine *e, struct clv_flow *f)
{
	if (!f->conn || !e->config.verdict)
		return;
	clv_conn_steer(f->conn, 0);
	clv_conn_steer(f->conn, 1);
}

/* Both ends have said farewell, or the observed one for both. */
static bool is_over(const struct clv_flow *f)
{
	return f->streams.s[0].fin_done && (f->streams.s[1].fin_done || f->last);
}

static uint64_t patience(enum clv_blocked b)
{
	return b == CLV_BLOCKED_LOST ? CLV_GAP_ACKED_NS : CLV_GAP_UNACKED_NS;
}

void clv_engine_close(struct clv_engine *e, struct clv_flow *f)
{
	clv_flows_close(&e->flows, f);
	clv_engine_due(e, f->wait_since_ns + CLV_LINGER_NS);
}

/* After anything was delivered or given up: is it over, and what does it wait for? */
static void settle(struct clv_engine *e, struct clv_flow *f, uint64_t before, uint64_t now_ns)
{
	if (is_over(f)) {
		clv_watch_closed(e, f);
		flow_finish(e, f, CLV_ERROR_CLOSED, CLV_FLOW_CLOSED);
		clv_engine_close(e, f);
		return;
	}
	if (f->streams.backlog) {
		clv_flows_wait(&e->flows, f, clv_streams_blocked(&f->streams), delivered(f) != before, now_ns);
		if (f->blocked)
			clv_engine_due(e, f->wait_since_ns + patience(f->blocked));
		else
			clv_streams_trim(&e->mem, &f->streams);
	}
	steer(e, f);
}

static void give_up(struct clv_engine *e, struct clv_flow *f, uint64_t now_ns)
{
	uint64_t before = delivered(f);

	e->busy = f;
	clv_streams_give_up(&e->streams, &f->streams);
	settle(e, f, before, now_ns);
	e->busy = NULL;
}

/* ---- the clock ------------------------------------------------------------------------------------------------- */

/* The blocked flow whose patience ends first, or NULL; when, in *deadline_ns. */
static struct clv_flow *first_overdue(struct clv_engine *e, uint64_t *deadline_ns)
{
	struct clv_flow *first = NULL;

	for (enum clv_blocked kind = CLV_BLOCKED_LOST; kind <= CLV_BLOCKED_LATE; kind++) {
		struct clv_flow *f = clv_list_first(&e->flows.wait[kind - 1], struct clv_flow, wait);

		if (f && (!first || f->wait_since_ns + patience(kind) < *deadline_ns)) {
			first = f;
			*deadline_ns = f->wait_since_ns + patience(kind);
		}
	}
	return first;
}

/* When is the next thing to happen by itself? Flows that get packets only put it off. */
static void look_ahead(struct clv_engine *e)
{
	const struct clv_flows *t = &e->flows;
	const struct clv_flow *f;
	uint64_t deadline_ns;

	e->due_ns = UINT64_MAX;
	if (first_overdue(e, &deadline_ns))
		clv_engine_due(e, deadline_ns);
	if ((f = clv_list_first(&t->closed, struct clv_flow, used)))
		clv_engine_due(e, f->wait_since_ns + CLV_LINGER_NS);
	if ((f = clv_list_first(&t->syn, struct clv_flow, syn)))
		clv_engine_due(e, f->last_ns + CLV_SYN_NS);
	if ((f = clv_list_first(&t->datagrams, struct clv_flow, used)))
		clv_engine_due(e, f->last_ns + CLV_DATAGRAM_IDLE_NS);
	if (clv_flows_quiet_since(t) != UINT64_MAX)
		clv_engine_due(e, clv_flows_quiet_since(t) + CLV_IDLE_NS);
}

static bool is_idle(uint64_t last_ns, uint64_t now_ns)
{
	return last_ns <= now_ns && now_ns - last_ns >= CLV_IDLE_NS;
}

/* Everything that was to happen before now_ns happens. */
static __attribute__((noinline)) void happen(struct clv_engine *e, uint64_t now_ns)
{
	struct clv_flow *f;
	uint64_t deadline_ns;

	/* By deadline, not by kind: giving up one wait may begin another that is over, too. */
	while ((f = first_overdue(e, &deadline_ns)) && deadline_ns <= now_ns)
		give_up(e, f, deadline_ns);
	while ((f = clv_list_first(&e->flows.closed, struct clv_flow, used)) &&
	       f->wait_since_ns + CLV_LINGER_NS <= now_ns) {
		flow_remove(e, f, CLV_FLOW_IDLE);
		clv_engine_expect_end(e);
	}
	while ((f = clv_list_first(&e->flows.syn, struct clv_flow, syn)) && f->last_ns + CLV_SYN_NS <= now_ns) {
		clv_watch_given_up(e, f);
		clv_ledger_end(e, f, CLV_FLOW_FAILED);
	}
	while ((f = clv_list_first(&e->flows.datagrams, struct clv_flow, used)) &&
	       f->last_ns + CLV_DATAGRAM_IDLE_NS <= now_ns)
		flow_remove(e, f, CLV_FLOW_IDLE);
	while (is_idle(clv_flows_quiet_since(&e->flows), now_ns) && (f = clv_flows_oldest(&e->flows, NULL)) &&
	       is_idle(f->last_ns, now_ns)) {
		clv_watch_given_up(e, f);
		flow_remove(e, f, end_of(f, CLV_FLOW_IDLE));
	}
	look_ahead(e);
}

static inline void advance(struct clv_engine *e, uint64_t now_ns)
{
	if (now_ns <= e->now_ns)
		return;
	e->now_ns = now_ns;
	if (now_ns >= e->due_ns)
		happen(e, now_ns);
}

/* ---- a packet -------------------------------------------------------------------------------------------------- */

/* A connection begins in f: anew, or for the first time. */
static void flow_begin(struct clv_engine *e, struct clv_flow *f, const struct clv_packet *p)
{
	clv_streams_fini(&e->mem, &f->streams);
	clv_streams_init(&f->streams);
	clv_list_remove(&f->wait);
	f->blocked = CLV_BLOCKED_NO;
	f->side_known = p->side != CLV_SIDE_UNKNOWN;
	f->client = -1;
	f->last = f->left_out = f->both_ends = false;
	memset(f->kernel, 0, sizeof(f->kernel));
	if (f->watched)
		memset(&f->watch, 0, sizeof(f->watch));
	clv_watch_answered(e, f);
	if (f->closed) {
		f->closed = false;
		clv_flows_touch(&e->flows, f, e->now_ns);
	}
	clv_engine_due(e, e->now_ns + (f->key.transport == CLV_TRANSPORT_UDP ? CLV_DATAGRAM_IDLE_NS : CLV_IDLE_NS));
	e->stats.flows++;
}

static struct clv_flow *flow_add(struct clv_engine *e, uint32_t hash, const struct clv_packet *p)
{
	struct clv_flow *f;
	int d;
	const struct clv_flow_key key = clv_flow_key_of(p, &d);

	while (!(f = clv_flows_add(&e->flows, &key, hash)))
		if (!evict(e))
			return NULL;
	flow_begin(e, f, p);
	return f;
}

/* A SYN or SYN-ACK: does it begin another connection than the one that f holds? */
static bool begins_another(const struct clv_flow *f, int d, const struct clv_packet *p)
{
	const struct clv_stream *s = &f->streams.s[d];

	if (s->syn_seen)
		return s->syn != p->seq && (f->closed || s->data_seen || f->streams.s[!d].data_seen || d == f->client);
	if (!s->started)
		return f->closed;
	/* Joined midstream: the SYN of what is running already, late, or a new connection's. */
	int64_t ahead = (int64_t)(clv_stream_pos(s, p->seq + 1) - s->next);
	return f->closed || ahead > 0 || ahead < -(int64_t)CLV_WINDOW_AHEAD;
}

static void take_syn(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_stream *s = &f->streams.s[d];

	if (f->left_out && (p->tcp_flags & CLV_TCP_ACK || s->syn == p->seq)) /* of the connection that is left out */
		return;
	if (begins_another(f, d, p)) {
		while (clv_streams_give_up(&e->streams, &f->streams))
			;
		clv_watch_given_up(e, f);
		flow_finish(e, f, NULL, end_of(f, CLV_FLOW_REPLACED));
		flow_begin(e, f, p);
	}
	if (!s->started || (s->syn_seen && s->syn != p->seq && !s->data_seen)) { /* not seen before */
		clv_stream_start(&e->mem, &f->streams, d, p->seq + 1);
		s->syn_seen = true;
		s->syn = p->seq;
		f->client = (int8_t)(p->tcp_flags & CLV_TCP_ACK ? !d : d);
	}
	clv_watch_syn(e, f, d, p);
}

/* On a connection seen from its SYN on, an acknowledgement tells where the other stream begins. */
static void take_other_start(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_stream *other = &f->streams.s[!d];

	if (f->client < 0 || other->started || !(p->tcp_flags & CLV_TCP_ACK))
		return;
	clv_stream_start(&e->mem, &f->streams, !d, p->ack);
	other->syn_seen = true;
	other->syn = p->ack - 1;
}

/* Which slot of the kernel's table this direction has; a new one knows nothing of what was said before. */
static inline void take_kernel_ref(struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_conn *c = f->conn;
	struct clv_kernel_ref *ref = &f->kernel[d];

	if (ref->gen == p->kernel.gen && ref->slot == p->kernel.slot)
		return;
	*ref = p->kernel;
	if (c)
		clv_conn_retell(c, d);
}

static bool begin_conn(struct clv_engine *e, struct clv_flow *f)
{
	/* From the start only if no byte can be missing: both streams known by their SYN, as far as known at all. */
	bool midstream = f->client < 0 || !f->streams.s[f->client].syn_seen;

	f->conn = clv_conn_new(e, f, f->client, midstream);
	return f->conn != NULL;
}

/* A packet taken in probe mode: what lies before it, in both directions, was left out without a word. */
static void take_probe(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	clv_stream_jump(&e->streams, &f->streams, d, p->seq);
	if (f->streams.s[!d].started)
		clv_stream_jump(&e->streams, &f->streams, !d, p->ack);
}

static void take_payload(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_stream *s = &f->streams.s[d];
	uint64_t before = delivered(f);

	if (e->config.on_flow)
		clv_ledger_begin(e, f, d, p);
	f->last |= p->last;
	if (p->probe)
		take_probe(e, f, d, p);
	if (!s->started)
		clv_stream_start(&e->mem, &f->streams, d, p->hole_len ? p->hole_seq : p->seq);
	if (!f->conn && (p->len || p->hole_len) && !begin_conn(e, f)) {
		e->stats.drop_memory++;
		return;
	}
	struct clv_conn *c = f->conn;
	if (p->sought | p->walked)
		f->hinted = true;
	/* A mere acknowledgement: the conn, which it has nothing to say to, may not be in the cache. */
	if (c && (p->len || p->hole_len || p->retransmits || f->hinted)) {
		c->retransmits += p->retransmits;
		c->packet_sought = p->sought;
		c->half[d].walked = false;
		if (p->walked)
			clv_conn_walked(c, d, clv_stream_pos(s, p->seq) + p->len);
	}
	uint32_t again = clv_streams_packet(&e->streams, &f->streams, d, p);
	if (again && c && f->conn) {
		c->retransmits++;
		e->stats.retransmits++;
	}
	e->stats.retransmits += p->retransmits;
	if (clv_watch_wanted(e))
		clv_watch_payload(e, f, d, p, again);
	clv_ledger_packet(f, d, p, again);
	settle(e, f, before, e->now_ns);
}

/* A reset counts when it comes from where the stream is, or the flow is lost to it anyway. */
static void take_rst(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_stream *s = &f->streams.s[d];

	if (s->started) {
		int64_t off = (int64_t)(clv_stream_pos(s, p->seq) - s->next);

		if (off < -1 || off > (int64_t)CLV_RST_AHEAD_BYTES)
			return;
	}
	while (clv_streams_give_up(&e->streams, &f->streams))
		;
	clv_watch_reset(e, f);
	flow_finish(e, f, CLV_ERROR_RESET, end_of(f, CLV_FLOW_RESET));
	clv_engine_close(e, f);
}

/* A flow of datagrams has no end; when nothing is open, it is over, until the next one. */
static void take_datagram(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	if (f->closed)
		flow_begin(e, f, p);
	clv_ledger_begin(e, f, d, p);
	clv_ledger_packet(f, d, p, 0);
	clv_watch_datagram(e, f, d, p);
	if (!f->conn && !(f->conn = clv_conn_new(e, f, -1, false))) {
		e->stats.drop_memory++;
		return;
	}
	if (p->kernel.gen)
		take_kernel_ref(f, d, p);
	if (clv_conn_datagram(f->conn, d, p)) {
		conn_finish(f, NULL);
		clv_engine_close(e, f);
	} else {
		steer(e, f);
	}
}

/* The packet's part in f, whose SYN has been dealt with. */
static void take_segment(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	take_other_start(e, f, d, p);
	if (p->kernel.gen)
		take_kernel_ref(f, d, p);
	if (!f->closed)
		take_payload(e, f, d, p);
	if (!f->closed && p->tcp_flags & CLV_TCP_RST)
		take_rst(e, f, d, p);
}

/* Any packet, of a flow that may not be there yet. */
static __attribute__((noinline)) void take_packet(struct clv_engine *e, struct clv_flow *f, uint32_t hash, int d,
						  const struct clv_packet *p)
{
	bool syn = p->tcp_flags & CLV_TCP_SYN, is_new = !f;

	if (!f && (syn || p->len || p->hole_len) && !(f = flow_add(e, hash, p)))
		e->stats.drop_memory++;
	if (!f)
		return;
	e->busy = f;
	clv_flows_touch(&e->flows, f, e->now_ns);
	if (syn)
		take_syn(e, f, d, p);
	if (p->net & CLV_PACKET_CGROUP && (is_new || syn))
		clv_twin_meet(e, f);
	if (f->left_out)
		clv_twin_hush(e, p);
	else if (p->transport == CLV_TRANSPORT_UDP)
		take_datagram(e, f, d, p);
	else
		take_segment(e, f, d, p);
	e->busy = NULL;
}

/* What is done with every usual packet, first */
static inline void usual_begins(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	e->busy = f;
	clv_flows_touch(&e->flows, f, e->now_ns);
	if (p->kernel.gen)
		take_kernel_ref(f, d, p);
	if (f->watched)
		clv_ledger_begin(e, f, d, p);
}

/* and last. */
static inline void usual_is_noted(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	if (f->watched) {
		clv_watch_payload(e, f, d, p, 0);
		clv_ledger_packet(f, d, p, 0);
	}
}

/*
 * The packet of a connection whose bytes are what is next and all that is to be said of it: by far the most. Does what
 * take_packet() would, of which nothing else would happen.
 */
static inline void take_next(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_conn *c = f->conn;

	usual_begins(e, f, d, p);
	if (p->sought)
		f->hinted = true;
	c->packet_sought = p->sought;
	c->half[d].walked = false;
	clv_conn_packet(c, d, p, f->streams.s[d].next - p->len);
	usual_is_noted(e, f, d, p);
	if (e->config.verdict && clv_conn_steers(c, d))
		steer(e, f);
	e->busy = NULL;
}

/* One that only acknowledges, likewise: nearly half of a capture file. */
static __attribute__((noinline)) void take_ack(struct clv_engine *e, struct clv_flow *f, int d,
					       const struct clv_packet *p)
{
	struct clv_conn *c = f->conn;

	usual_begins(e, f, d, p);
	if (c) {
		c->packet_sought = p->sought;
		c->half[d].walked = false;
	}
	usual_is_noted(e, f, d, p);
	steer(e, f);
	e->busy = NULL;
}

/* The first bytes of a connection that was seen to begin. False without memory: take_packet() counts it. */
static __attribute__((noinline)) bool begin_early(struct clv_engine *e, struct clv_flow *f)
{
	e->busy = f;
	return begin_conn(e, f);
}

/* Is the packet one of those of which nearly nothing is to be said? True: that has been done. */
static inline bool take_usual(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	if (!f->streams.s[d].plain || f->closed || p->rare || p->last)
		return false;
	if (!p->len) {
		if (!clv_streams_acked(&f->streams, d, p))
			return false;
		take_ack(e, f, d, p);
		return true;
	}
	if ((!f->conn && !begin_early(e, f)) || !clv_streams_next(&f->streams, d, p))
		return false;
	take_next(e, f, d, p);
	return true;
}

void clv_engine_packet(struct clv_engine *e, const struct clv_packet *p)
{
	uint32_t hash;
	int d;

	advance(e, p->ts_ns);
	if (!may_want(e, p))
		return;
	struct clv_flow *f = clv_flows_seek(&e->flows, p, &d, &hash);

	if (!f || !take_usual(e, f, d, p))
		take_packet(e, f, hash, d, p);
}

void clv_engine_tick(struct clv_engine *e, uint64_t now_ns)
{
	advance(e, now_ns);
}

bool clv_engine_waits(const struct clv_engine *e)
{
	return !clv_list_empty(&e->flows.wait[0]) || !clv_list_empty(&e->flows.wait[1]);
}

size_t clv_engine_open(struct clv_engine *e, uint64_t now_ns, uint64_t least_ns, size_t most, clv_span_fn fn, void *ctx)
{
	const struct clv_node *const queues[] = {&e->flows.used, &e->flows.datagrams};
	size_t n = 0;

	clv_flows_sort(&e->flows);
	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++)
		for (const struct clv_node *at = queues[i]->next; at != queues[i]; at = at->next) {
			struct clv_flow *f = clv_list_entry(at, struct clv_flow, used);

			if (f->conn)
				n += clv_conn_open(f->conn, now_ns, least_ns, n < most ? most - n : 0, fn, ctx);
		}
	return n;
}

void clv_engine_flush(struct clv_engine *e)
{
	struct clv_flow *f;

	while ((f = clv_flows_oldest(&e->flows, NULL))) {
		e->busy = f;
		while (!is_over(f) && clv_streams_give_up(&e->streams, &f->streams))
			;
		bool closed = is_over(f);
		flow_finish(e, f, closed ? CLV_ERROR_CLOSED : NULL, closed ? CLV_FLOW_CLOSED : CLV_FLOW_CAPTURE_END);
		clv_flows_remove(&e->flows, f);
	}
	while ((f = clv_list_first(&e->flows.datagrams, struct clv_flow, used)))
		flow_remove(e, f, CLV_FLOW_CAPTURE_END);
	while ((f = clv_list_first(&e->flows.closed, struct clv_flow, used)))
		flow_remove(e, f, CLV_FLOW_CAPTURE_END);
	clv_exchange_pool_trim(&e->exchanges);
	e->busy = NULL;
}

/* ---- lifecycle ------------------------------------------------------------------------------------------------- */

int clv_engine_new(const struct clv_engine_config *config, struct clv_engine **out)
{
	struct clv_engine *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->config = *config;
	e->overflow = malloc(CLV_SPAN_OVERFLOW);
	clv_mem_init(&e->mem, config->memory_bytes ? config->memory_bytes : CLV_MEMORY_BYTES);
	e->sink.base = clv_conn_sink_base;
	e->exchanges = clv_exchange_pool(&e->mem);
	e->streams = (struct clv_stream_user){
		.data = clv_conn_data, .hole = clv_conn_hole, .fin = clv_conn_fin, .mem = &e->mem};
	e->report = (struct clv_report){
		.overflow = e->overflow,
		.rules = &e->config.rules,
		.commons = &e->commons,
		.counts = {.headers_dropped = &e->stats.drop_headers, .redacted_whole = &e->stats.redacted_whole},
	};
	if (!e->overflow || clv_flows_init(&e->flows, &e->mem) != 0) {
		free(e->overflow);
		free(e);
		return -ENOMEM;
	}
	e->flows.watched = clv_watch_wanted(e);
	e->flows.recorded = config->on_flow;
	*out = e;
	return 0;
}

void clv_engine_free(struct clv_engine *e)
{
	struct clv_flow *f;

	if (!e)
		return;
	struct clv_node *const queues[] = {&e->flows.used, &e->flows.datagrams, &e->flows.closed};

	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		while ((f = clv_list_first(queues[i], struct clv_flow, used))) {
			clv_conn_abandon(f->conn);
			clv_flows_remove(&e->flows, f);
		}
	}
	clv_flows_fini(&e->flows);
	clv_mem_fini(&e->mem);
	free(e->overflow);
	free(e);
}

void clv_engine_set_rules(struct clv_engine *e, const struct clv_head_rules *rules)
{
	e->config.rules = *rules;
}

const struct clv_engine_stats *clv_engine_stats(const struct clv_engine *e)
{
	return &e->stats;
}

size_t clv_engine_flows(const struct clv_engine *e)
{
	return e->flows.count;
}

void clv_engine_memory(const struct clv_engine *e, size_t *used_bytes, size_t *peak_bytes, uint64_t *fresh)
{
	if (used_bytes)
		*used_bytes = e->mem.used_bytes;
	if (peak_bytes)
		*peak_bytes = e->mem.peak_bytes;
	if (fresh)
		*fresh = e->mem.fresh;
}
