/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source: packets in, verdicts back. Two exist, the live ring buffer (ring.h) and capture files (pcap.h).
 * One thread drives a source: open, poll until it ends, close.
 */
#ifndef CLV_SOURCE_SOURCE_H
#define CLV_SOURCE_SOURCE_H

#include "source/batch.h"

/* Called for each packet, in capture order. The packet and its payload are borrowed until it returns. */
typedef void (*clv_packet_fn)(void *ctx, const struct clv_packet *p);

enum { CLV_SOURCE_END = -4096 }; /* no errno */

struct clv_source;

struct clv_source_ops {
	/*
	 * Delivers what is there, waiting up to timeout_ms when nothing is. Returns the number of packets
	 * delivered, CLV_SOURCE_END after the last one, or another negative -errno on a fatal error.
	 */
	int (*poll)(struct clv_source *s, clv_packet_fn fn, void *ctx, int timeout_ms);
	/* May be NULL: nobody to tell. Never blocks. */
	void (*verdict)(struct clv_source *s, const struct clv_kernel_ref *ref, const struct clv_kverdict *v);
	/*
	 * Unix time before which no further packet can arrive, for the engine's deadlines while nothing flows;
	 * 0 when only packets tell the time (files). May be NULL.
	 */
	uint64_t (*now_ns)(struct clv_source *s);
	/*
	 * May be NULL: nothing can wait. From hold(true) on, which may be called while poll() delivers, poll() leaves
	 * packets where they are as long as they are safe there, and returns after a few milliseconds at the latest;
	 * it delivers no more than makes room for what comes. Until hold(false).
	 */
	void (*hold)(struct clv_source *s, bool hold);
	/*
	 * What poll() does, in two halves for two threads; NULL: it has no halves. read() fills `b` with the next
	 * frames, waiting up to timeout_ms when there are none; `room` has CLV_ROOM_BYTES for their bytes (b->moved: it
	 * was taken). Packets stay as they are until the room that they lie in is given again. Returns how many frames,
	 * or as poll(). taken() counts what is in the batch: for figures, which must not be looked at meanwhile.
	 */
	int (*read)(struct clv_source *s, struct clv_batch *b, uint8_t *room, int timeout_ms);
	void (*taken)(struct clv_source *s, const struct clv_batch *b);
	/*
	 * May be NULL: nothing is ever urgent. A descriptor that becomes readable when something cannot wait for the
	 * next poll().
	 */
	int (*urgent_fd)(const struct clv_source *s);
	/* NULL: it is closed with what it is a part of. */
	void (*close)(struct clv_source *s);
};

/* So many packets before its turn a packet is told of. */
#define CLV_SOURCE_AHEAD 8

/* Every source begins with this. */
struct clv_source {
	const struct clv_source_ops *ops;
	/*
	 * Who consumes the packets may set this between polls: poll() calls it for packets that it will deliver soon,
	 * where it knows any. Of the packet the endpoints, the net, the side, the transport, the length and the TCP
	 * flags are right; the rest need not be.
	 */
	clv_packet_fn ahead;
	void *ahead_ctx;
	/* poll() sets it: little comes, and nothing of it was urgent. */
	bool calm;
};

#endif
