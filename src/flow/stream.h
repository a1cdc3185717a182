/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP reassembly: two streams of one connection, delivered in order and in cause.
 *
 * Positions are 64-bit and grow without wrapping; their low 32 bits are the sequence number on the wire.
 *
 * Two rules decide when bytes are delivered:
 *   order   a byte waits until all before it are there, or are known never to come;
 *   cause   a segment waits until everything that it acknowledges has been delivered in the other
 *           direction, because its sender had read that before (RFC 9293 section 3.10.7.4). So a response is
 *           never delivered before the request it answers, however the capture shuffled them.
 *
 * What overlaps: the first copy of a byte wins. (Linux receivers keep the first copy as well; a target that
 * prefers the last one, as old Windows did in part, would read another stream. One policy, said here.)
 */
#ifndef CLV_FLOW_STREAM_H
#define CLV_FLOW_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/slice.h"
#include "engine/limits.h"
#include "model/packet.h"

/* A run of bytes that cannot be delivered yet. cap < len: the rest of it was not captured. */
struct clv_segment {
	struct clv_segment *next;
	uint64_t pos;
	uint64_t ack; /* position in the other direction that must be delivered first; 0: none */
	uint64_t ts_ns;
	uint32_t ack_seq; /* as on the wire */
	uint32_t len, cap;
	bool over_time; /* as of clv_stream_ops.hole */
	uint8_t data[];
};

struct clv_stream {
	uint64_t next;               /* the first position not delivered */
	uint64_t acked;              /* the receiver has everything before this */
	uint64_t fin;                /* position behind the last byte, once a FIN was seen */
	uint64_t fin_ns;             /* when that was */
	uint64_t credit;             /* holes before this position hold nobody up: a body that is being skipped */
	struct clv_segment *waiting; /* ordered, not overlapping */
	struct clv_segment *last;    /* of them, if there is any */
	uint32_t waiting_bytes;
	uint32_t syn;           /* sequence number of the SYN */
	uint16_t waiting_count; /* CLV_OOO_SEGMENTS, and for a moment the parts of one packet that lie between them */
	bool started;           /* next is known */
	bool syn_seen, fin_seen, fin_done;
	bool mute; /* its packets are not captured at all: nobody waits for it */
	bool data_seen;
};

/* Delivered bytes: `pos` of the first, the packet's time, and its acknowledgement number. */
struct clv_run {
	uint64_t pos;
	struct clv_slice bytes;
	uint64_t ts_ns;
	uint32_t ack_seq;
};

/* Who receives the streams; `d` is the stream's index. Calls come in stream order. */
struct clv_stream_ops {
	void (*data)(void *ctx, int d, const struct clv_run *run);
	/*
	 * `len` bytes that will never come. ts_ns: when the last of them passed the capture; 0: it never saw them.
	 * over_time: they were several packets', the others passed at some time before.
	 */
	void (*hole)(void *ctx, int d, uint64_t pos, uint64_t len, uint64_t ts_ns, bool over_time);
	void (*fin)(void *ctx, int d, uint64_t ts_ns);
};

_Static_assert(2 * CLV_OOO_SEGMENTS + 1 <= UINT16_MAX, "clv_stream.waiting_count");

struct clv_streams {
	struct clv_stream s[2];
	const struct clv_stream_ops *ops;
	void *ctx;
	struct clv_mem *mem;
};

/*
 * The position that sequence number `seq` means: at most CLV_BEHIND_BYTES before what is expected next, else after
 * it. So a stream that a stray packet led astray comes back to its true place as over any other hole.
 */
static inline uint64_t clv_stream_pos(const struct clv_stream *s, uint32_t seq)
{
	return s->next - CLV_BEHIND_BYTES + (uint32_t)(seq - (uint32_t)s->next + CLV_BEHIND_BYTES);
}

/* How far it has been delivered, the body that is being skipped included. */
static inline uint64_t clv_stream_reached(const struct clv_stream *s)
{
	return s->credit > s->next ? s->credit : s->next;
}

void clv_streams_init(struct clv_streams *st, const struct clv_stream_ops *ops, void *ctx, struct clv_mem *mem);
/* Forgets what waits, without delivering it. */
void clv_streams_fini(struct clv_streams *st);
/* Begins stream d at sequence number `seq`. */
void clv_stream_start(struct clv_streams *st, int d, uint32_t seq);
/* Begins stream d there, or, begun before, gives up all of it that lies before `seq` and was not delivered. */
void clv_stream_jump(struct clv_streams *st, int d, uint32_t seq);

/*
 * Takes the payload, hole and FIN of a packet of started stream d and delivers what can be. Returns the number
 * of bytes of the payload that had been seen before. Without memory the oldest holes are given up.
 */
uint32_t clv_streams_packet(struct clv_streams *st, int d, const struct clv_packet *p);

/* Does anything that was taken still wait to be delivered? */
static inline bool clv_streams_wait(const struct clv_streams *st)
{
	const struct clv_stream *a = &st->s[0], *b = &st->s[1];

	return a->waiting || b->waiting || a->fin_seen != a->fin_done || b->fin_seen != b->fin_done;
}

enum clv_blocked {
	CLV_BLOCKED_NO,
	CLV_BLOCKED_LOST, /* on bytes that the receiver has: they will hardly be seen again */
	CLV_BLOCKED_LATE, /* on bytes that may still be sent again */
};

/* What, if anything, delivery waits for. */
enum clv_blocked clv_streams_blocked(const struct clv_streams *st);
/*
 * Gives up what delivery waits for, once: the bytes missing first are reported as a hole, then all that
 * follows is delivered as far as it goes. Returns false when nothing was waiting.
 */
bool clv_streams_give_up(struct clv_streams *st);

#endif
