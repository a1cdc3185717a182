/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls who rests. Where little comes, who reads it may let everybody else go first (base/hurry.h): then nobody waits
 * for it, and it finds a moment. But a window may be over in half a millisecond, and a busy machine may have no such
 * moment. So a thread that runs ahead, and sleeps nearly always, sends it to rest, and calls it when what it reads says
 * that something cannot wait, or when it was not heard of for CLV_CALLER_LATE_MS.
 */
#ifndef CLV_CLI_CALLER_H
#define CLV_CLI_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#define CLV_CALLER_LATE_MS 200

struct clv_caller;

/* Begins its thread, which calls the one with this seat. Returns 0 or -errno. */
int clv_caller_new(unsigned seat, struct clv_caller **out);
/* Ends it, when that one does not rest any more, and will not. NULL is allowed. */
void clv_caller_free(struct clv_caller *c);

/* ---- the thread's with that seat ---- */

/*
 * It runs ahead, and wants to rest until it is called, by itself or others. `fd` becomes readable when something cannot
 * wait, edge-triggered; it is always the same one, and is there as long as `c`. False: it cannot.
 */
bool clv_caller_rest(struct clv_caller *c, int fd);
/* Often, while it rests: it is here. `now_ns`: CLOCK_MONOTONIC. Does it still rest, or will? */
bool clv_caller_hear(struct clv_caller *c, uint64_t now_ns);
/* It runs ahead again, if it rests, or will. */
void clv_caller_wake(struct clv_caller *c);

#endif
