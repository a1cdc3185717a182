/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines on their way out: the engine's thread writes them into a bounded buffer, an I/O thread of its own takes
 * them to the descriptor, so that a slow reader never holds up the engine.
 *
 * When the buffer is full a line is dropped and counted (live), or the caller waits (reading a file). Lines are
 * whole or absent, and in order. How long lines wait for each other: export/queue.h.
 *
 * One thread makes all calls.
 */
#ifndef CLV_EXPORT_OUT_H
#define CLV_EXPORT_OUT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/queue.h"

/* Room for about 2,000 spans, and for the longest line there is: a head of escapes. */
#define CLV_OUT_BYTES (2u << 20)

struct clv_out;

/*
 * For lines to `fd`, which is borrowed. `wait`: never drop; then, once *stop is set, wait no longer than
 * CLV_QUEUE_PATIENCE_MS for the reader. Returns 0 or -errno.
 */
int clv_out_open(int fd, bool wait, const volatile sig_atomic_t *stop, struct clv_out **out);

/*
 * Room for a line of up to `bytes` bytes; NULL when there is none (then it is counted as dropped) or when writing
 * has failed. Valid until the next call.
 */
char *clv_out_room(struct clv_out *o, size_t bytes);
/* The first `bytes` of that room are the line. */
void clv_out_commit(struct clv_out *o, size_t bytes);
/* Often called: what waits is written, unless that was done less than CLV_QUEUE_TICK_NS ago. */
void clv_out_tick(struct clv_out *o);

/* 0, or the -errno that ended the writing (-EPIPE: the reader has left). */
int clv_out_error(struct clv_out *o);
/* Lines that found no room. */
uint64_t clv_out_dropped(const struct clv_out *o);

/*
 * Writes what waits and frees. Returns 0, what clv_out_error() says, or -ETIMEDOUT when the reader took nothing
 * for CLV_QUEUE_PATIENCE_MS: then the thread frees them, should it ever come back. NULL is allowed.
 */
int clv_out_close(struct clv_out *o);

#endif
