/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which processor a thread runs that runs ahead of others (hurry.h). The scheduler leaves it where it ran last, and
 * whoever works there waits; so it looks now and then which processor has had most time left, and goes there. Looking
 * takes about a hundredth of the time that the thread takes itself. One thread.
 */
#ifndef CLV_CLI_PLACEMENT_H
#define CLV_CLI_PLACEMENT_H

#include <sched.h>
#include <stdint.h>

#include "base/slice.h"

#define CLV_PLACEMENT_STAT "/proc/stat"
/* Between two looks passes at least this. */
#define CLV_PLACEMENT_LOOK_NS 250000000ull

struct clv_placement;

/* `stat`: the file that tells of processors' time (proc_stat(5)). NULL without it, or without memory: then nobody
 * moves. */
struct clv_placement *clv_placement_new(const char *stat);
/* NULL is allowed. */
void clv_placement_free(struct clv_placement *p);

/*
 * Often called, by the thread itself: looks, if it is time to, and moves, if that pays. `now_ns`: CLOCK_MONOTONIC.
 * Returns the processor that it has moved to, or -1. NULL is allowed.
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

#endif
