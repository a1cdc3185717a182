/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which processor a thread runs that runs ahead of others (base/hurry.h). The scheduler leaves it where it ran last,
 * and whoever works there waits; so it looks now and then which processor has had most time left, and goes there.
 * Looking takes about a hundredth of the time that the thread takes itself. One thread.
 *
 * Several of them are a crew. Each of these is to have a processor of its own, for then they work at the same time and
 * everybody else waits half as long; so none goes where another is, and of two at one place the later one gives way.
 */
#ifndef CLV_CLI_PLACEMENT_H
#define CLV_CLI_PLACEMENT_H

#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define CLV_PLACEMENT_STAT "/proc/stat"
/* Between two looks passes at least this. */
#define CLV_PLACEMENT_LOOK_NS 250000000ull

#define CLV_CREW_MOST 8
/* Who has not worked for so long is in nobody's way. */
#define CLV_CREW_FRESH_NS 1000000000ull

/* Where each of a crew was when it worked last. All zero: they have not begun. Each writes its own, all read. */
struct clv_crew {
	alignas(64) atomic_uint_fast64_t seat[CLV_CREW_MOST];
};

struct clv_placement;

/* `stat`: the file that tells of processors' time (proc_stat(5)). NULL without it, or without memory: then nobody
 * moves. */
struct clv_placement *clv_placement_new(const char *stat);
/* Before the first tick: the thread is one of these, that with this number, less than CLV_CREW_MOST. NULL is allowed.
 */
void clv_placement_join(struct clv_placement *p, struct clv_crew *crew, unsigned number);
/* NULL is allowed. */
void clv_placement_free(struct clv_placement *p);

/*
 * Often called, by the thread itself, when it has work: looks, if it is time to, and moves, if that pays, or if it is
 * to give way. `now_ns`: CLOCK_MONOTONIC. Returns the processor that it has moved to, or -1. NULL is allowed.
 */
int clv_placement_tick(struct clv_placement *p, uint64_t now_ns);

/* ---- its parts ---- */

/*
 * How long each processor has been idle since the start, from the text of that file, into idle_ns[0..count): 0 for
 * those that it does not name.
 */
void clv_placement_parse(struct clv_slice text, uint64_t *idle_ns, unsigned count);
/* Which of the `allowed` processors has so much more left than `here` that moving pays; or -1. `left_ns`: of `all_ns`.
 */
int clv_placement_choose(const uint64_t *left_ns, unsigned count, unsigned here, uint64_t all_ns,
			 const cpu_set_t *allowed);

/* What one of a crew finds. */
struct clv_crew_view {
	cpu_set_t taken;  /* the processors of the others */
	bool shared;      /* one of which is this thread's, too, */
	bool to_give_way; /* and the other there is an earlier one */
};

/* This one is here now: notes that, and looks where the others are. */
void clv_crew_meet(struct clv_crew *crew, unsigned number, unsigned here, uint64_t now_ns, struct clv_crew_view *view);
/* Where to go from a processor that is another's: of those that nobody has, one that had most left. -1: there is none.
 */
int clv_placement_give_way(const uint64_t *left_ns, unsigned count, const cpu_set_t *allowed, const cpu_set_t *taken);

#endif
