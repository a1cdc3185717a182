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
	bool over_time; /* as of clv_stream_user.hole */
	uint8_t data[];
};

/* One direction. What every packet asks for, and no more: two of them are a line of the cache. */
struct clv_stream {
	uint64_t next;    /* the first position not delivered */
	uint64_t acked;   /* the receiver has everything before this */
	uint64_t credit;  /* holes before this hold nobody up: a body is skipped up to here (UINT64_MAX: to the end) */
	uint32_t syn;     /* sequence number of the SYN */
	bool started : 1; /* next is known */
	bool syn_seen : 1, fin_seen : 1, fin_done : 1;
	bool mute : 1; /* its packets are not captured at all: nobody waits for it */
	bool data_seen : 1;
	bool plain; /* of neither direction anything waits, or ever has to: clv_streams_next() may be asked */
};

/* What cannot be delivered yet, by stream. */
struct clv_backlog {
	struct {
		struct clv_segment *first; /* ordered, not overlapping */
		struct clv_segment *last;  /* of them, if there is any */
		uint32_t bytes;
		uint16_t count;  /* CLV_OOO_SEGMENTS, and for a moment the parts of one packet that lie between them */
		uint64_t fin;    /* position behind the last byte, once a FIN was seen */
		uint64_t fin_ns; /* when that was */
	} of[2];
};

/* Delivered bytes: `pos` of the first, the packet's time, and its acknowledgement number. */
struct clv_run {
	uint64_t pos;
	struct clv_slice bytes;
	uint64_t ts_ns;
	uint32_t ack_seq;
};

struct clv_streams {
	struct clv_stream s[2];
	struct clv_backlog *backlog; /* NULL, mostly: nothing waits */
};

/*
 * Who receives streams, and under whose budget they keep what waits: one for many connections. `d` is the stream's
 * index. Calls come in stream order.
 */
struct clv_stream_user {
	void (*data)(struct clv_streams *st, int d, const struct clv_run *run);
	/*
	 * `len` bytes that will never come. ts_ns: when the last of them passed the capture; 0: it never saw them.
	 * over_time: they were several packets', the others passed at some time before.
	 */
	void (*hole)(struct clv_streams *st, int d, uint64_t pos, uint64_t len, uint64_t ts_ns, bool over_time);
	void (*fin)(struct clv_streams *st, int d, uint64_t ts_ns);
	struct clv_mem *mem;
};

_Static_assert(2 * CLV_OOO_SEGMENTS + 1 <= UINT16_MAX, "clv_backlog.count");

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

void clv_streams_init(struct clv_streams *st);
/* Forgets what waits, without delivering it. `mem`: as of its user, here and below. */
void clv_streams_fini(struct clv_mem *mem, struct clv_streams *st);
/* Begins stream d at sequence number `seq`. */
void clv_stream_start(struct clv_mem *mem, struct clv_streams *st, int d, uint32_t seq);
/* Begins stream d there, or, begun before, gives up all of it that lies before `seq` and was not delivered. */
void clv_stream_jump(const struct clv_stream_user *u, struct clv_streams *st, int d, uint32_t seq);

/*
 * Takes the payload, hole and FIN of a packet of started stream d and delivers what can be. Returns the number
 * of bytes of the payload that had been seen before. Without memory the oldest holes are given up.
 */
uint32_t clv_streams_packet(const struct clv_stream_user *u, struct clv_streams *st, int d, const struct clv_packet *p);

/*
 * The usual packet, of a plain stream: its payload is what is next, all of it is there, and what it acknowledges was
 * seen. True: the stream has passed it, and the caller delivers it. False: it is another one, nothing has changed.
 */
static inline bool clv_streams_next(struct clv_streams *st, int d, const struct clv_packet *p)
{
	const uint8_t flags = CLV_TCP_FIN | CLV_TCP_SYN | CLV_TCP_RST | CLV_TCP_ACK;
	struct clv_stream *s = &st->s[d], *other = &st->s[!d];
	uint64_t ack = clv_stream_pos(other, p->ack);

	if (p->seq != (uint32_t)s->next || (p->tcp_flags & flags) != CLV_TCP_ACK || ack > other->next)
		return false;
	if (!p->len || p->payload.len != p->len || p->hole_len)
		return false;
	s->next += p->len;
	s->data_seen = true;
	if (ack > other->acked)
		other->acked = ack;
	return true;
}

/*
 * The same of a packet of no bytes, whatever its sequence number: all that it does is to acknowledge what was seen.
 * True: that is noted.
 */
static inline bool clv_streams_acked(struct clv_streams *st, int d, const struct clv_packet *p)
{
	const uint8_t flags = CLV_TCP_FIN | CLV_TCP_SYN | CLV_TCP_RST | CLV_TCP_ACK;
	struct clv_stream *other = &st->s[!d];
	uint64_t ack = clv_stream_pos(other, p->ack);

	if (p->len || p->hole_len || (p->tcp_flags & flags) != CLV_TCP_ACK || ack > other->next)
		return false;
	if (ack > other->acked)
		other->acked = ack;
	return true;
}

enum clv_blocked {
	CLV_BLOCKED_NO,
	CLV_BLOCKED_LOST, /* on bytes that the receiver has: they will hardly be seen again */
	CLV_BLOCKED_LATE, /* on bytes that may still be sent again */
};

/* What, if anything, delivery waits for. */
enum clv_blocked clv_streams_blocked(const struct clv_streams *st);
/* Nothing waits any more: gives the backlog back. */
void clv_streams_trim(struct clv_mem *mem, struct clv_streams *st);
/*
 * Gives up what delivery waits for, once: the bytes missing first are reported as a hole, then all that
 * follows is delivered as far as it goes. Returns false when nothing was waiting.
 */
bool clv_streams_give_up(const struct clv_stream_user *u, struct clv_streams *st);

#endif
