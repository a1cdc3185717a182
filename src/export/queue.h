/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way from the engine's thread to an I/O thread: a bounded ring in which records are made in place.
 * What is a record only the two ends know; here they are whole or absent, and in order.
 *
 * When there is no room the producer is told so (live), or waits (reading a file).
 *
 * One thread is the producer, one the consumer. Several producers take turns under a lock of theirs.
 */
#ifndef CLV_EXPORT_QUEUE_H
#define CLV_EXPORT_QUEUE_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Handed over at once when this much waits, or with `wait` a quarter of the queue; less waits for clv_queue_tick(). */
#define CLV_QUEUE_BATCH_BYTES (256u << 10)
/* The same while the producer takes by itself: nobody is woken, and so little stays in the cache. */
#define CLV_QUEUE_HERE_BYTES (64u << 10)
/* So much does not wait any more for who is busy: then take() may not say CLV_QUEUE_LATER. */
#define CLV_QUEUE_LATER_BYTES (512u << 10)
/* How long records may wait for more of them: waking the other thread costs more than a record does. */
#define CLV_QUEUE_TICK_NS 5000000u
/* Of its bytes, when so many are used it is pressed: half are left for what cannot wait. */
#define CLV_QUEUE_PRESSED_PART 2
/* How long the producer waits for a consumer that takes nothing, once the run was stopped. */
#define CLV_QUEUE_PATIENCE_MS 2000

#define CLV_QUEUE_LATER SIZE_MAX

struct clv_queue_config {
	size_t bytes;                      /* a multiple of the page size; also the longest record, */
	size_t most;                       /* if not this: with `wait`, longer ones make the queue grow, up to here */
	bool wait;                         /* clv_queue_room() waits; no longer than the patience once *stop is set */
	const volatile sig_atomic_t *stop; /* with `wait` */
	/*
	 * How a consumer that sleeps elsewhere is woken; called without the lock, on the producer's thread. NULL: it
	 * sleeps in clv_queue_peek().
	 */
	void (*wake)(void *ctx);
	/*
	 * Takes as much of the bytes as it can at once; returns how many, 0: none, the consumer is to. Called on the
	 * producer's thread in place of handing over, while the consumer has nothing left to take. `later`: it may also
	 * be CLV_QUEUE_LATER, and will be asked again with more. May be NULL.
	 */
	size_t (*take)(void *ctx, struct clv_slice s, bool later);
	void *ctx;
};

struct clv_queue;

/* Returns 0 or -errno. */
int clv_queue_new(const struct clv_queue_config *config, struct clv_queue **out);
/* When neither thread uses it any more. NULL is allowed. */
void clv_queue_free(struct clv_queue *q);

/* ---- the producer's ---- */

/* Room for up to `bytes` bytes; NULL when there is none or the consumer has failed. Valid until the next call. */
char *clv_queue_room(struct clv_queue *q, size_t bytes);
/* The first `bytes` of that room are a record. */
void clv_queue_commit(struct clv_queue *q, size_t bytes);
/* Room and commit in one: a copy of `s`, one or more whole records. False: there was no room. */
bool clv_queue_put(struct clv_queue *q, struct clv_slice s);
/* Often called: what waits is handed over, unless that was done less than CLV_QUEUE_TICK_NS ago. */
void clv_queue_tick(struct clv_queue *q);
/* Is it filling up? Then whatever can wait before it should; what it has is handed over, so that time helps. */
bool clv_queue_pressed(struct clv_queue *q);
/* 0, or what the consumer gave to clv_queue_end(). */
int clv_queue_error(struct clv_queue *q);
/* Hands over what there is and says that no more will come. */
void clv_queue_close(struct clv_queue *q);
/*
 * After clv_queue_close(): waits until the consumer has called clv_queue_end(), which it should do soon after having
 * taken everything. Returns false when it took nothing for CLV_QUEUE_PATIENCE_MS (with `wait`: and *stop is set).
 */
bool clv_queue_join(struct clv_queue *q);

/* ---- the consumer's ---- */

/*
 * All that was handed over and not yet taken, in one piece; valid until taken. Empty: there is nothing. With `block`
 * it sleeps until there is something or the producer has closed.
 */
struct clv_slice clv_queue_peek(struct clv_queue *q, bool block);
/* The first `bytes` of that are no longer needed. */
void clv_queue_take(struct clv_queue *q, size_t bytes);
/* Nothing more will come than what clv_queue_peek() shows. */
bool clv_queue_closed(struct clv_queue *q);
/* Sleeps for at most `ms`, or until something happens. */
void clv_queue_pause(struct clv_queue *q, unsigned ms);
/* The consumer takes no more: 0, or a -errno for the producer. Its last call. */
void clv_queue_end(struct clv_queue *q, int error);

/* ---- anybody's ---- */

/* A lock for producers: who holds it runs as long as somebody more urgent waits for it. */
void clv_queue_lock_init(pthread_mutex_t *lock);

/* Bytes handed over and not taken. */
size_t clv_queue_used(struct clv_queue *q);

#endif
