/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one engine and its rules, and the thread that it runs on, where there are several. Never opens or closes a
 * source. The lane's thread, except where lane.h says so.
 */
#include "cli/lane.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hurry.h"
#include "base/thread.h"

/* How long packets may wait because the outputs fall behind; longer, and they do not fall behind, they stand still. */
#define HOLD_NS (5ull * 1000 * 1000 * 1000)
/* For so long little must have come, without a pause and without anything urgent, before it lets others go first. */
#define CALM_NS (100ull * 1000 * 1000)
/* So long after the last packet there is nothing left that will be asked about soon. */
#define QUIET_NS (1ull * 1000 * 1000 * 1000)

struct clv_lane {
	struct clv_lane_config config;
	struct clv_engine *engine;
	struct clv_rules *rules;
	uint64_t newest_ns;  /* of the last packet */
	uint64_t lag_ns;     /* how late packets came here, at worst lately */
	uint64_t pressed_ns; /* since when the outputs fall behind; 0: they do not */
	uint64_t busy_ns;    /* when the last packets came, CLOCK_MONOTONIC */
	atomic_bool quiet;   /* that was long ago, and nothing waits for time to pass */
	bool held;           /* and packets wait for them */
	bool inside;         /* the gate */
	uint64_t calm_ns;    /* since when little comes, CLOCK_MONOTONIC; 0: it does not */
	bool rests;          /* or will, as far as it knows: it may have been called */

	struct clv_placement *placement; /* live; NULL: where it runs does not matter, or cannot be told */

	/* Of several. */
	pthread_t thread;
	bool started;
	int error; /* the thread's, when it has ended */
	atomic_bool ending, over;
	atomic_uint_fast64_t alive_ns;
};

/* ---- per packet and per span ------------------------------------------------------------------------------------- */

/*
 * The outputs fall behind: packets wait at their source, as long as that has room. Then they do not; what the outputs
 * have no room for is lost to them, and counted.
 */
static void lane_ease(struct clv_lane *l)
{
	struct clv_source *s = l->config.source;

	if (!s->ops->hold)
		return;
	bool pressed = clv_outlet_pressed(l->config.outlet);
	if (!pressed)
		l->pressed_ns = 0;
	else if (!l->pressed_ns)
		l->pressed_ns = clv_clock_ns();
	bool hold = pressed && clv_clock_ns() - l->pressed_ns < HOLD_NS;
	if (hold != l->held)
		s->ops->hold(s, hold);
	l->held = hold;
}

static void lane_on_packet(void *ctx, const struct clv_packet *p)
{
	struct clv_lane *l = ctx;

	if (l->config.tap)
		l->config.tap(l->config.tap_ctx, p);
	if (p->ts_ns > l->newest_ns)
		l->newest_ns = p->ts_ns;
	clv_engine_packet(l->engine, p);
	lane_ease(l);
}

static void lane_on_ahead(void *ctx, const struct clv_packet *p)
{
	clv_engine_expect(((struct clv_lane *)ctx)->engine, p);
}

/* One lane of several is inside the gate from the first packet of a poll on. */
static void lane_on_packet_inside(void *ctx, const struct clv_packet *p)
{
	struct clv_lane *l = ctx;
	struct clv_source *s = l->config.source;

	if (l->inside)
		clv_gate_give_way(l->config.gate);
	else
		clv_gate_enter(l->config.gate);
	l->inside = true;
	/* A file's time goes on with the packets that others get, too. */
	uint64_t now_ns = l->config.run->live ? 0 : s->ops->now_ns(s);
	if (now_ns > p->ts_ns)
		clv_engine_tick(l->engine, now_ns);
	lane_on_packet(l, p);
}

void clv_lane_emit(void *lane, struct clv_span *span)
{
	clv_outlet_span(((struct clv_lane *)lane)->config.outlet, span);
}

static void lane_on_span(void *ctx, struct clv_span *span)
{
	struct clv_lane *l = ctx;
	const struct clv_run_config *run = l->config.run;

	if (run->span)
		run->span(run->ctx, l->config.number, span, clv_lane_emit, l);
	else
		clv_lane_emit(l, span);
}

static void lane_on_flow(void *ctx, struct clv_flow_record *record)
{
	clv_outlet_flow(((struct clv_lane *)ctx)->config.outlet, record);
}

static void lane_on_event(void *ctx, const struct clv_event *event)
{
	clv_outlet_event(((struct clv_lane *)ctx)->config.outlet, event);
}

static bool lane_pod_named(void *ctx, uint32_t net, struct clv_slice prefix)
{
	struct clv_lane *l = ctx;
	const struct clv_resource *resource = clv_resources_get(l->config.run->resources, net);

	return clv_slice_starts(clv_resource_value(resource, CLV_LIT("k8s.pod.name")), prefix);
}

static void lane_on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct clv_source *s = ((struct clv_lane *)ctx)->config.source;

	s->ops->verdict(s, ref, v);
}

/* ---- polling ----------------------------------------------------------------------------------------------------- */

/* Several lanes: what is done until lane_leave() is done inside the gate. */
static void lane_enter(struct clv_lane *l)
{
	if (l->config.gate && !l->inside)
		clv_gate_enter(l->config.gate);
	l->inside = true;
}

static void lane_leave(struct clv_lane *l)
{
	if (l->config.gate && l->inside)
		clv_gate_leave(l->config.gate);
	l->inside = false;
}

/* The main thread's seat is the first. */
static unsigned lane_seat(const struct clv_lane *l)
{
	return l->config.gate ? l->config.number + 1 : 0;
}

static void lane_run_ahead(struct clv_lane *l)
{
	if (l->config.caller)
		clv_caller_wake(l->config.caller);
	l->rests = false;
	l->calm_ns = 0;
}

/*
 * While little comes, the thread runs where nobody else wants to, so that nobody waits for it. It does what it has to
 * do some milliseconds later, for which its rings have room.
 */
static void lane_pace(struct clv_lane *l, bool calm, uint64_t now_ns)
{
	struct clv_caller *caller = l->config.caller;
	struct clv_source *s = l->config.source;

	if (!caller || !s->ops->urgent_fd)
		return;
	if (l->rests && !clv_caller_hear(caller, now_ns))
		calm = false; /* it was called */
	if (!calm)
		lane_run_ahead(l);
	else if (!l->calm_ns)
		l->calm_ns = now_ns;
	else if (!l->rests && now_ns - l->calm_ns >= CALM_NS)
		l->rests = clv_caller_rest(caller, s->ops->urgent_fd(s));
}

/* Ends inside the gate, unless with an error. */
static int lane_take(struct clv_lane *l, int timeout_ms)
{
	struct clv_source *s = l->config.source;
	int n = s->ops->poll(s, l->config.gate ? lane_on_packet_inside : lane_on_packet, l, timeout_ms);

	if (n < 0)
		lane_leave(l);
	else
		lane_enter(l);
	lane_ease(l);
	uint64_t now_ns = clv_clock_ns();

	if (n && !l->rests) /* else it is in nobody's way */
		clv_placement_tick(l->placement, now_ns);
	lane_pace(l, n > 0 && s->calm && !l->held, now_ns);
	l->busy_ns = n ? now_ns : l->busy_ns;
	bool quiet = now_ns - l->busy_ns >= QUIET_NS && !clv_engine_waits(l->engine);
	atomic_store_explicit(&l->quiet, quiet, memory_order_relaxed);
	atomic_store_explicit(&l->alive_ns, now_ns, memory_order_relaxed);
	return n;
}

int clv_lane_patience_ms(const struct clv_lane *l)
{
	return atomic_load_explicit(&l->quiet, memory_order_relaxed) ? CLV_LANE_QUIET_MS : CLV_LANE_POLL_MS;
}

static void lane_tick(struct clv_lane *l)
{
	struct clv_source *s = l->config.source;
	uint64_t now_ns = s->ops->now_ns ? s->ops->now_ns(s) : 0;

	if (now_ns)
		clv_engine_tick(l->engine, now_ns);
	if (now_ns && l->newest_ns && now_ns > l->newest_ns) {
		uint64_t lag_ns = now_ns - l->newest_ns;

		l->lag_ns = lag_ns > l->lag_ns ? lag_ns : l->lag_ns;
		l->newest_ns = 0;
	}
	clv_outlet_tick(l->config.outlet);
	s->ahead = clv_engine_wants_ahead(l->engine) ? lane_on_ahead : NULL;
}

/* A file's time goes on with the packets that others get, too; also behind the last one of this lane. */
static void lane_catch_up(struct clv_lane *l)
{
	struct clv_source *s = l->config.source;
	uint64_t now_ns = l->config.run->live || !s->ops->now_ns ? 0 : s->ops->now_ns(s);

	if (!now_ns)
		return;
	lane_enter(l);
	clv_engine_tick(l->engine, now_ns);
	lane_leave(l);
}

int clv_lane_poll(struct clv_lane *l, int timeout_ms)
{
	int n = lane_take(l, timeout_ms);

	if (n < 0)
		return n;
	bool slow = l->config.run->live && !l->rests && clv_hurry_is_over(lane_seat(l));

	if (slow && !l->held && (n == 0 || l->config.source->calm))
		clv_hurry(lane_seat(l));
	lane_tick(l);
	lane_leave(l);
	return n;
}

void clv_lane_drain(struct clv_lane *l)
{
	lane_run_ahead(l);
	while (lane_take(l, l->held ? 10 : 0) > 0 || l->held) {
		clv_outlet_tick(l->config.outlet);
		lane_leave(l);
	}
	lane_leave(l);
}

void clv_lane_flush(struct clv_lane *l)
{
	lane_run_ahead(l);
	lane_enter(l);
	clv_engine_flush(l->engine);
	clv_outlet_flush(l->config.outlet);
	lane_leave(l);
}

/* ---- of the main thread ------------------------------------------------------------------------------------------ */

void clv_lane_set_rules(struct clv_lane *l, struct clv_rules *rules)
{
	clv_engine_set_rules(l->engine, &rules->head);
	clv_rules_free(l->rules);
	l->rules = rules;
}

struct clv_engine *clv_lane_engine(struct clv_lane *l)
{
	return l->engine;
}

uint64_t clv_lane_lag_ns(const struct clv_lane *l)
{
	return l->lag_ns;
}

void clv_lane_forget_lag(struct clv_lane *l)
{
	l->lag_ns = 0;
}

/* ---- the thread -------------------------------------------------------------------------------------------------- */

static void *lane_run(void *arg)
{
	struct clv_lane *l = arg;
	int n = 0;

	if (l->config.run->live)
		clv_hurry(lane_seat(l));
	clv_placement_tick(l->placement, clv_clock_ns());
	while (!atomic_load_explicit(&l->ending, memory_order_acquire) && (n >= 0 || n == -EINTR))
		n = clv_lane_poll(l, clv_lane_patience_ms(l));
	l->error = n < 0 && n != -EINTR && n != CLV_SOURCE_END ? n : 0;
	if (n >= 0)
		clv_lane_drain(l);
	lane_catch_up(l);
	clv_lane_flush(l);
	clv_hurry_leave(lane_seat(l));
	atomic_store_explicit(&l->over, true, memory_order_release);
	return NULL;
}

int clv_lane_start(struct clv_lane *l)
{
	char name[16];

	snprintf(name, sizeof(name), "worker %u", l->config.number);
	int err = clv_thread_start(&l->thread, name, lane_run, l);

	l->started = !err;
	return err;
}

void clv_lane_end(struct clv_lane *l)
{
	atomic_store_explicit(&l->ending, true, memory_order_release);
}

bool clv_lane_is_over(const struct clv_lane *l)
{
	return atomic_load_explicit(&l->over, memory_order_acquire);
}

uint64_t clv_lane_alive_ns(const struct clv_lane *l)
{
	return atomic_load_explicit(&l->alive_ns, memory_order_relaxed);
}

int clv_lane_join(struct clv_lane *l)
{
	if (!l->started)
		return 0;
	pthread_join(l->thread, NULL);
	l->started = false;
	return l->error;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int lane_open_engine(struct clv_lane *l)
{
	const struct clv_run_config *run = l->config.run;
	const struct clv_options *o = run->options;
	const struct clv_engine_config engine = {
		.memory_bytes = l->config.memory_bytes,
		.ports = o->ports,
		.port_count = o->port_count,
		.egress = o->egress,
		.egress_count = o->egress_count,
		.pod_named = lane_pod_named,
		.pod_ctx = l,
		.hint = run->hint,
		.hint_ctx = run->ctx,
		.rules = l->rules->head,
		.on_span = lane_on_span,
		.span_ctx = l,
		.on_event = l->config.counts_events ? lane_on_event : NULL,
		.event_ctx = l,
		.on_flow = o->flows ? lane_on_flow : NULL,
		.flow_ctx = l,
		.verdict = l->config.source->ops->verdict ? lane_on_verdict : NULL,
		.verdict_ctx = l,
	};

	return clv_engine_new(&engine, &l->engine);
}

int clv_lane_new(const struct clv_lane_config *config, struct clv_lane **out)
{
	struct clv_lane *l = calloc(1, sizeof(*l));

	if (!l) {
		clv_rules_free(config->rules);
		return -ENOMEM;
	}
	l->config = *config;
	l->rules = config->rules;
	atomic_init(&l->alive_ns, clv_clock_ns());
	atomic_init(&l->quiet, false);
	int err = lane_open_engine(l);
	if (err) {
		clv_lane_free(l);
		return err;
	}
	if (config->run->live)
		l->placement = clv_placement_new(CLV_PLACEMENT_STAT);
	clv_placement_join(l->placement, config->crew, config->number);
	config->source->ahead_ctx = l;
	*out = l;
	return 0;
}

void clv_lane_free(struct clv_lane *l)
{
	if (!l)
		return;
	clv_engine_free(l->engine);
	clv_rules_free(l->rules);
	clv_placement_free(l->placement);
	free(l);
}
