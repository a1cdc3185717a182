/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that is read ahead of those who work: one thread reads, and each of one or several others polls a source of
 * its own, which gets its share of the packets. Batches go round in a ring; who reads faster than the others work
 * waits. A connection's packets are all in one share.
 *
 * Time passes for all shares alike: each packet brings the newest time that its capture had reached before it, so that
 * an engine which sees only some of the packets has the clock of one that sees all.
 */
#ifndef CLV_SOURCE_FEED_H
#define CLV_SOURCE_FEED_H

#include "source/source.h"

#define CLV_FEED_SHARES 8
/*
 * In the ring. So many that threads seldom wait for each other, and are woken: of 16 and 8 a file took an eighth
 * longer, of 128 and 64 as well, since they no longer stay in a cache. 7 MiB in all.
 */
#define CLV_FEED_BATCHES 64
#define CLV_FEED_ROOMS   32

struct clv_feed;

/* What `from` (borrowed, with read()) has, in `shares` (up to CLV_FEED_SHARES) shares. Returns 0 or -ENOMEM. */
int clv_feed_new(struct clv_source *from, unsigned shares, struct clv_feed **out);
/* When nobody polls any more; ends the thread. NULL is allowed. */
void clv_feed_free(struct clv_feed *f);

/*
 * The source with this number, from 0 on: one thread polls it. poll() delivers packets of one batch; after the last
 * one it returns CLV_SOURCE_END or the -errno that ended the reading. now_ns() is, while a packet is delivered, the
 * newest time before or at it; the only share has none, as its packets tell it all. Closed with the feed.
 */
struct clv_source *clv_feed_source(struct clv_feed *f, unsigned share);

/* ---- the reading thread's ---- */

/* Begins a thread which reads all there is. Then `from` is the thread's, but for taken(), which is poll()'s. */
int clv_feed_start(struct clv_feed *f);

/*
 * Instead of such a thread, over and over: reads a batch, shows it to `tap` (may be NULL) and hands it over. Waits
 * while the ring is full, and up to timeout_ms for packets. Returns how many frames there were, or what ended the
 * reading.
 */
int clv_feed_pump(struct clv_feed *f, clv_packet_fn tap, void *ctx, int timeout_ms);
/* No more is read. */
void clv_feed_end(struct clv_feed *f);

/* ---- any thread's ---- */

/*
 * Which of `count` shares a packet is in: the same for both directions of a connection and wherever it was captured,
 * since two flows of one connection may have to meet.
 */
unsigned clv_feed_choose(const struct clv_packet *p, unsigned count);

#endif
