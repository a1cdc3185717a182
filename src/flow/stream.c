/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the segments that wait for their turn; delivers everything else straight from the packet, uncopied.
 * Never looks at the bytes. Engine thread only.
 */
#include "flow/stream.h"

#include <assert.h>

void clv_streams_init(struct clv_streams *st, const struct clv_stream_ops *ops, void *ctx, struct clv_mem *mem)
{
	*st = (struct clv_streams){.ops = ops, .ctx = ctx, .mem = mem};
}

static void segment_free(struct clv_streams *st, struct clv_segment *seg)
{
	clv_mem_free(st->mem, seg, sizeof(*seg) + seg->cap);
}

static struct clv_segment *stream_pop(struct clv_stream *s)
{
	struct clv_segment *seg = s->waiting;

	s->waiting = seg->next;
	s->waiting_bytes -= seg->cap;
	s->waiting_count--;
	return seg;
}

static void forget_waiting(struct clv_streams *st, struct clv_stream *s)
{
	while (s->waiting)
		segment_free(st, stream_pop(s));
}

void clv_streams_fini(struct clv_streams *st)
{
	forget_waiting(st, &st->s[0]);
	forget_waiting(st, &st->s[1]);
}

void clv_stream_start(struct clv_streams *st, int d, uint32_t seq)
{
	struct clv_stream *s = &st->s[d];

	forget_waiting(st, s);
	/* One wrap above zero, so that positions a little before the start are positions too. */
	*s = (struct clv_stream){.next = (1ull << 32) + seq, .started = true};
	s->acked = s->next;
}

/* ---- delivery -------------------------------------------------------------------------------------- */

/* Must a segment that acknowledges `ack` wait for the other direction? */
static bool must_wait(const struct clv_stream *other, uint64_t ack)
{
	return ack && other->started && !other->mute && !other->fin_done && ack > clv_stream_reached(other);
}

static void deliver_hole(struct clv_streams *st, int d, uint64_t len, uint64_t ts_ns, bool over_time)
{
	struct clv_stream *s = &st->s[d];
	uint64_t pos = s->next;

	s->next += len;
	st->ops->hole(st->ctx, d, pos, len, ts_ns, over_time);
}

/* Delivers `seg`, of which `bytes` were captured; what lies before `next` was delivered already. */
static void deliver(struct clv_streams *st, int d, const struct clv_segment *seg, struct clv_slice bytes)
{
	struct clv_stream *s = &st->s[d];
	uint64_t old = s->next - seg->pos;

	assert(seg->pos <= s->next);
	if (old >= seg->len)
		return;
	bytes = clv_slice_from(bytes, old);
	uint32_t len = seg->len - (uint32_t)old;
	if (bytes.len) {
		struct clv_run run = {.pos = s->next, .bytes = bytes, .ts_ns = seg->ts_ns, .ack_seq = seg->ack_seq};

		s->next += bytes.len;
		st->ops->data(st->ctx, d, &run);
	}
	if (bytes.len < len)
		deliver_hole(st, d, len - bytes.len, seg->ts_ns, seg->over_time);
}

static bool deliver_fin(struct clv_streams *st, int d)
{
	struct clv_stream *s = &st->s[d];

	if (!s->fin_seen || s->fin_done || s->next < s->fin)
		return false;
	s->fin_done = true;
	s->next = s->fin + 1;  /* the FIN takes a sequence number of its own */
	forget_waiting(st, s); /* nobody reads on behind it */
	st->ops->fin(st->ctx, d, s->fin_ns);
	return true;
}

/* Delivers what waits in direction d and may go. Returns true when anything went. */
static bool drain_one(struct clv_streams *st, int d)
{
	struct clv_stream *s = &st->s[d];
	bool moved = false;

	while (s->waiting && s->waiting->pos <= s->next && !must_wait(&st->s[!d], s->waiting->ack)) {
		struct clv_segment *seg = stream_pop(s);

		deliver(st, d, seg, clv_slice(seg->data, seg->cap));
		segment_free(st, seg);
		moved = true;
	}
	return deliver_fin(st, d) || moved;
}

static void drain(struct clv_streams *st)
{
	bool moved;

	do {
		moved = drain_one(st, 0);
		moved = drain_one(st, 1) || moved;
	} while (moved);
}

void clv_stream_jump(struct clv_streams *st, int d, uint32_t seq)
{
	struct clv_stream *s = &st->s[d];

	if (!s->started) {
		clv_stream_start(st, d, seq);
		return;
	}
	uint64_t pos = clv_stream_pos(s, seq);
	if (pos <= s->next || s->fin_done)
		return;
	forget_waiting(st, s);
	deliver_hole(st, d, pos - s->next, 0, false);
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

/* Puts [pos, end) behind *at. Returns the link behind the new segment, or NULL without memory. */
static struct clv_segment **insert(struct clv_streams *st, struct clv_stream *s, struct clv_segment **at, uint64_t pos,
				   uint64_t end, struct clv_slice bytes, const struct clv_segment *like)
{
	uint32_t len = (uint32_t)(end - pos);
	bytes = clv_slice_head(bytes, len);
	struct clv_segment *seg = clv_mem_alloc(st->mem, sizeof(*seg) + bytes.len);

	if (!seg)
		return NULL;
	*seg = (struct clv_segment){.next = *at,
				    .pos = pos,
				    .ack = like->ack,
				    .ts_ns = like->ts_ns,
				    .ack_seq = like->ack_seq,
				    .len = len,
				    .cap = (uint32_t)bytes.len,
				    .over_time = like->over_time};
	if (bytes.len)
		memcpy(seg->data, bytes.data, bytes.len);
	*at = seg;
	if (!seg->next)
		s->last = seg;
	s->waiting_bytes += seg->cap;
	s->waiting_count++;
	return &seg->next;
}

/*
 * Keeps the parts of `like` that are neither delivered nor waiting yet. Adds to *seen what was.
 * Returns false when memory ran out.
 */
static bool keep(struct clv_streams *st, int d, const struct clv_segment *like, struct clv_slice bytes, uint32_t *seen)
{
	struct clv_stream *s = &st->s[d];
	uint64_t pos = like->pos, at = pos, end = pos + like->len;
	struct clv_segment **link = &s->waiting;

	if (s->waiting && s->last->pos + s->last->len <= pos) /* mostly: no need to go through the list */
		link = &s->last->next;
	while (at < end) {
		while (*link && (*link)->pos + (*link)->len <= at)
			link = &(*link)->next;
		if (*link && (*link)->pos <= at) { /* the first copy wins */
			uint64_t covered = (*link)->pos + (*link)->len;

			if (covered > end)
				covered = end;
			*seen += (uint32_t)(covered - at);
			at = covered;
			continue;
		}
		uint64_t stop = *link && (*link)->pos < end ? (*link)->pos : end;
		link = insert(st, s, link, at, stop, clv_slice_from(bytes, at - pos), like);
		if (!link)
			return false;
		at = stop;
	}
	return true;
}

/* A part of a packet, with the `bytes` captured of it: delivered at once if its turn has come, kept otherwise. */
static void take(struct clv_streams *st, int d, struct clv_segment *part, struct clv_slice bytes, uint32_t *seen)
{
	struct clv_stream *s = &st->s[d];

	if (part->len == 0 || s->fin_done)
		return;
	if (part->pos + part->len <= s->next) {
		*seen += part->len;
		return;
	}
	s->data_seen = true;
	s->mute = false;
	if (part->pos < s->next) {
		uint64_t old = s->next - part->pos;

		*seen += (uint32_t)old;
		bytes = clv_slice_from(bytes, old);
		part->len -= (uint32_t)old;
		part->pos = s->next;
	}
	if (part->pos == s->next && !s->waiting && !must_wait(&st->s[!d], part->ack)) {
		deliver(st, d, part, bytes);
		return;
	}
	if (!keep(st, d, part, bytes, seen)) {
		/* No memory: give up what is missing before it, until it is the next and needs no room. */
		while (s->next < part->pos && clv_streams_give_up(st))
			;
		if (s->next < part->pos)
			deliver_hole(st, d, part->pos - s->next, 0, false);
		deliver(st, d, part, bytes);
	}
	while ((s->waiting_bytes > CLV_OOO_BYTES || s->waiting_count > CLV_OOO_SEGMENTS) && clv_streams_give_up(st))
		;
}

uint32_t clv_streams_packet(struct clv_streams *st, int d, const struct clv_packet *p)
{
	struct clv_stream *s = &st->s[d], *other = &st->s[!d];
	uint32_t seen = 0;
	uint64_t ack = 0;

	if ((p->tcp_flags & CLV_TCP_ACK) && other->started) {
		ack = clv_stream_pos(other, p->ack);
		if (ack > other->next + CLV_ACK_AHEAD_BYTES)
			ack = 0; /* no receiver believes that either */
		if (ack > other->acked)
			other->acked = ack;
		if (other->mute && ack > other->next)
			deliver_hole(st, !d, ack - other->next, 0, false);
	}
	struct clv_segment part = {.ack = ack, .ts_ns = p->ts_ns, .ack_seq = p->ack};
	if (p->hole_len && p->hole_len <= INT32_MAX) {
		part.pos = clv_stream_pos(s, p->hole_seq);
		part.len = p->hole_len;
		part.over_time = true;
		take(st, d, &part, clv_slice(NULL, 0), &seen);
	}
	uint32_t unseen_before = seen;
	uint32_t first = p->seq + ((p->tcp_flags & CLV_TCP_SYN) ? 1 : 0);
	uint64_t pos = clv_stream_pos(s, first), end = pos + p->len;
	part.pos = pos;
	part.len = p->len;
	part.over_time = false;
	take(st, d, &part, p->payload, &seen);
	if ((p->tcp_flags & CLV_TCP_FIN) && !s->fin_seen && end >= s->next && end - s->next <= CLV_ACK_AHEAD_BYTES) {
		s->fin_seen = true;
		s->fin = end;
		s->fin_ns = p->ts_ns;
	}
	if (clv_streams_wait(st))
		drain(st);
	return seen - unseen_before;
}

/* ---- giving up ---------------------------------------------------------------------------------------- */

/* What direction d's first waiting segment, or its FIN, is short of. */
static enum clv_blocked blocked_one(const struct clv_streams *st, int d)
{
	const struct clv_stream *s = &st->s[d];

	if (s->waiting && s->waiting->pos > s->next)
		return s->acked > s->next ? CLV_BLOCKED_LOST : CLV_BLOCKED_LATE;
	if (s->waiting) /* in order, so the other direction holds it */
		return CLV_BLOCKED_LOST;
	if (s->fin_seen && !s->fin_done)
		return s->acked > s->next ? CLV_BLOCKED_LOST : CLV_BLOCKED_LATE;
	return CLV_BLOCKED_NO;
}

enum clv_blocked clv_streams_blocked(const struct clv_streams *st)
{
	enum clv_blocked a = blocked_one(st, 0), b = blocked_one(st, 1);

	if (a == CLV_BLOCKED_LOST || b == CLV_BLOCKED_LOST)
		return CLV_BLOCKED_LOST;
	return a != CLV_BLOCKED_NO ? a : b;
}

/* Gives up the hole at the front of direction d, up to `end`. */
static void give_up_hole(struct clv_streams *st, int d, uint64_t end)
{
	struct clv_stream *s = &st->s[d];

	if (s->waiting && s->waiting->pos < end)
		end = s->waiting->pos;
	if (!s->data_seen)
		s->mute = true;
	deliver_hole(st, d, end - s->next, 0, false);
}

/*
 * Every direction that waits is in order, and held by the other. Either the other's bytes were never seen, or
 * both hold each other (a retransmission carries a newer acknowledgement): then the older segment goes first.
 */
static bool give_up_cause(struct clv_streams *st)
{
	struct clv_segment *w[2] = {st->s[0].waiting, st->s[1].waiting};

	if (!w[0] && !w[1])
		return false;
	if (w[0] && w[1])
		w[w[0]->ts_ns <= w[1]->ts_ns ? 0 : 1]->ack = 0;
	else if (w[0])
		give_up_hole(st, 1, w[0]->ack);
	else
		give_up_hole(st, 0, w[1]->ack);
	drain(st);
	return true;
}

bool clv_streams_give_up(struct clv_streams *st)
{
	for (int d = 0; d < 2; d++) { /* a direction whose own bytes are missing goes first */
		struct clv_stream *s = &st->s[d];
		uint64_t end = s->waiting ? s->waiting->pos : s->fin_seen && !s->fin_done ? s->fin : 0;

		if (end <= s->next)
			continue;
		if (s->acked > s->next && s->acked < end)
			end = s->acked;
		give_up_hole(st, d, end);
		drain(st);
		return true;
	}
	return give_up_cause(st);
}
