/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that another thread feeds: packets that were read in one place, dealt out to several engines. They are
 * copied into batches, and those wait in a bounded queue; who feeds faster than the other side takes waits.
 *
 * Time passes for all feeds alike: each packet brings the newest time that its capture had reached before it, so that
 * an engine which sees only some of the packets has the clock of one that sees all.
 */
#ifndef CLV_SOURCE_FEED_H
#define CLV_SOURCE_FEED_H

#include "source/source.h"

/* A batch is handed over when it is so long; a single longer packet is one by itself. */
#define CLV_FEED_BATCH_BYTES (64u << 10)
/* Of one feed. Few, so that they stay in the processor's cache. */
#define CLV_FEED_BATCHES 8
/* A feed that gets no packets is told the time when it is so much later than what it knows. */
#define CLV_FEED_TIME_NS (100ull * 1000 * 1000)

struct clv_feed;

/* Returns 0 or -ENOMEM. */
int clv_feed_new(struct clv_feed **out);

/*
 * What the other thread polls; poll() delivers a batch, and CLV_SOURCE_END after the last one. now_ns() is, while a
 * packet is delivered, the newest time before or at it. Closing it is clv_feed_free(), when neither thread uses it.
 */
struct clv_source *clv_feed_source(struct clv_feed *f);
/* NULL is allowed. */
void clv_feed_free(struct clv_feed *f);

/* ---- the feeding thread's ---- */

/*
 * Copies the packet and its payload. `newest_ns`: the newest time so far, this packet's included. Waits while the queue
 * is full. Returns 0, or -ENOMEM when a long packet finds no memory.
 */
int clv_feed_packet(struct clv_feed *f, const struct clv_packet *p, uint64_t newest_ns);
/* Hands over what there is, and the time. */
void clv_feed_flush(struct clv_feed *f, uint64_t newest_ns);
/* The last call: no more will come. */
void clv_feed_end(struct clv_feed *f, uint64_t newest_ns);

/* ---- any thread's ---- */

/*
 * Which of `count` feeds a packet goes to: the same for both directions of a connection and wherever it was captured,
 * since two flows of one connection may have to meet.
 */
unsigned clv_feed_choose(const struct clv_packet *p, unsigned count);

#endif
