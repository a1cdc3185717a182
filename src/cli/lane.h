/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane is what one thread of a run owns: a source, the engine that gets its packets, the rules that this goes by, an
 * outlet for what it reports. The only lane runs on the main thread; of several each has a thread of its own, and
 * shares nothing with the others but what lies behind a gate (base/gate.h): it is inside while packets and time come,
 * never while it waits for them. So the main thread, with the gate closed, may call whatever is the lane's.
 */
#ifndef CLV_CLI_LANE_H
#define CLV_CLI_LANE_H

#include "base/gate.h"
#include "cli/caller.h"
#include "cli/outlet.h"
#include "cli/placement.h"
#include "cli/rules.h"
#include "cli/run.h"
#include "engine/engine.h"

/* How late the engine's deadlines, and that a run is to end, may be noticed while nothing flows... */
#define CLV_LANE_POLL_MS 100
/* ...and after a while in which nothing did. */
#define CLV_LANE_QUIET_MS 500

struct clv_lane;

struct clv_lane_config {
	const struct clv_run_config *run; /* borrowed, as all that follows */
	unsigned number;                  /* from 0 on */
	struct clv_source *source;
	struct clv_outlet *outlet;
	struct clv_gate *gate;     /* NULL: the only lane */
	struct clv_crew *crew;     /* live, of several: where they run */
	struct clv_caller *caller; /* live, of the only one: calls it when it rests; NULL: it never does */
	struct clv_rules *rules;   /* the lane's from here on, also when this fails */
	size_t memory_bytes;
	bool counts_events; /* somebody does: the outlet gets events */
	/* Sees each packet first. May be NULL. */
	clv_packet_fn tap;
	void *tap_ctx;
};

/* Says what is wrong, and returns -errno then. The options' arrays must outlive the lane. */
int clv_lane_new(const struct clv_lane_config *config, struct clv_lane **out);
/* Not while its thread runs. NULL is allowed. */
void clv_lane_free(struct clv_lane *l);

/* ---- the lane's thread ---- */

/*
 * One poll of its source, and lets time pass. Returns as poll() of a source. With several lanes: what the thread does,
 * over and over.
 */
int clv_lane_poll(struct clv_lane *l, int timeout_ms);
/* For how long that poll may wait. On any thread. */
int clv_lane_patience_ms(const struct clv_lane *l);
/* No more packets come: takes what is there... */
void clv_lane_drain(struct clv_lane *l);
/* ...and reports what is open. */
void clv_lane_flush(struct clv_lane *l);

/* ---- the main thread; with several lanes while the gate is closed ---- */

/* Other rules take the place of those there were, which are freed. They are the lane's from here on. */
void clv_lane_set_rules(struct clv_lane *l, struct clv_rules *rules);
struct clv_engine *clv_lane_engine(struct clv_lane *l);
/* How late packets came to the engine, at worst since the lag was forgotten. */
uint64_t clv_lane_lag_ns(const struct clv_lane *l);
void clv_lane_forget_lag(struct clv_lane *l);
/* A span to its outlet, now. For clv_run_config.span and what it has kept. */
void clv_lane_emit(void *lane, struct clv_span *span);

/* ---- the main thread, at any time ---- */

/* Begins a thread that polls until clv_lane_end() or the source's end, drains and flushes. Returns 0 or -errno. */
int clv_lane_start(struct clv_lane *l);
/* It is to end. */
void clv_lane_end(struct clv_lane *l);
/* It has come to its end by itself. */
bool clv_lane_is_over(const struct clv_lane *l);
/* When it polled last, CLOCK_MONOTONIC. */
uint64_t clv_lane_alive_ns(const struct clv_lane *l);
/* Waits for the thread, if there is one. Returns 0, or -errno of its source. */
int clv_lane_join(struct clv_lane *l);

#endif
