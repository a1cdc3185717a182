/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines on their way out: the engine's thread writes them into a bounded buffer, an I/O thread of its own takes
 * them to the descriptor, so that a slow reader never holds up the engine. A local file is none, as long as its disk
 * keeps up: live, a lane's thread writes to it by itself, unless there is much at a time and another processor for
 * that, and waits for nobody but others that do.
 *
 * When the buffer is full a line is dropped and counted (live), or the caller waits (reading a file). Lines are
 * whole or absent, and in order. How long lines wait for each other: export/queue.h.
 *
 * Several threads have a lane each, whose lines are in order; between lanes any, in blocks as queue.h hands them over.
 * One thread makes all calls of a lane, and one all others.
 */
#ifndef CLV_EXPORT_OUT_H
#define CLV_EXPORT_OUT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "export/queue.h"

/* Room for the longest line there is, a head of escapes. */
#define CLV_OUT_BYTES (8u << 20)
/* Where the caller waits: for all that waits, unless there are longer lines. Little, so that it stays in a cache. */
#define CLV_OUT_WAIT_BYTES (2u << 20)
#define CLV_OUT_LANES      8
/* Live, for all lanes: for about 32,000 spans, as a disk may keep a writer waiting for a second. Memory is used as
 * lines wait. */
#define CLV_OUT_LIVE_BYTES (32u << 20)

struct clv_out;

/*
 * For lines to `fd`, which is borrowed, from so many lanes (up to CLV_OUT_LANES). `wait`: never drop; then, once *stop
 * is set, wait no longer than CLV_QUEUE_PATIENCE_MS for the reader. Returns 0 or -errno.
 */
int clv_out_open(int fd, unsigned lanes, bool wait, const volatile sig_atomic_t *stop, struct clv_out **out);

/* ---- a lane's ---- */

/*
 * Room for a line of up to `bytes` bytes; NULL when there is none (then it is counted as dropped) or when writing
 * has failed. Valid until the lane's next call.
 */
char *clv_out_room(struct clv_out *o, unsigned lane, size_t bytes);
/* The first `bytes` of that room are the line. */
void clv_out_commit(struct clv_out *o, unsigned lane, size_t bytes);
/* Often called: what waits is written, unless that was done less than CLV_QUEUE_TICK_NS ago. */
void clv_out_tick(struct clv_out *o, unsigned lane);
/* Does the reader fall behind? Lines still find room, but soon will not. */
bool clv_out_pressed(struct clv_out *o, unsigned lane);
/* Copies what is to come before the first line of all; only the first lane's counts. Before the lane's own first line.
 */
void clv_out_head(struct clv_out *o, struct clv_slice s);

/* ---- all others ---- */

/* 0, or the -errno that ended the writing (-EPIPE: the reader has left). */
int clv_out_error(struct clv_out *o);
/* Lines that found no room. While no lane asks for any. */
uint64_t clv_out_dropped(const struct clv_out *o);

/*
 * Writes what waits and frees. Returns 0, what clv_out_error() says, or -ETIMEDOUT when the reader took nothing
 * for CLV_QUEUE_PATIENCE_MS: then the thread frees them, should it ever come back. NULL is allowed.
 */
int clv_out_close(struct clv_out *o);

#endif
