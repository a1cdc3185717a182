/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the segments that wait for their turn; delivers everything else straight from the packet, uncopied.
 * Never looks at the bytes. Engine thread only.
 */
#include "flow/stream.h"

#include <assert.h>

void clv_streams_init(struct clv_streams *st)
{
	*st = (struct clv_streams){0};
}

/* After anything but the next bytes: is it only those that may come? */
static void look(struct clv_streams *st)
{
	const struct clv_stream *a = &st->s[0], *b = &st->s[1];
	bool plain = !st->backlog && a->started && b->started && !a->fin_seen && !b->fin_seen && !a->mute && !b->mute;

	st->s[0].plain = st->s[1].plain = plain;
}

static void segment_free(struct clv_mem *mem, struct clv_segment *seg)
{
	clv_mem_free(mem, seg, sizeof(*seg) + seg->cap);
}

/* Where direction d keeps what cannot be delivered; false without memory. */
static bool open_backlog(const struct clv_stream_user *u, struct clv_streams *st)
{
	if (!st->backlog)
		st->backlog = clv_mem_zalloc(u->mem, sizeof(*st->backlog));
	return st->backlog;
}

static struct clv_segment *first_waiting(const struct clv_streams *st, int d)
{
	return st->backlog ? st->backlog->of[d].first : NULL;
}

static bool fin_waits(const struct clv_stream *s)
{
	return s->fin_seen && !s->fin_done;
}

static struct clv_segment *pop(struct clv_streams *st, int d)
{
	struct clv_backlog *b = st->backlog;
	struct clv_segment *seg = b->of[d].first;

	b->of[d].first = seg->next;
	b->of[d].bytes -= seg->cap;
	b->of[d].count--;
	return seg;
}

static void forget_waiting(struct clv_mem *mem, struct clv_streams *st, int d)
{
	while (first_waiting(st, d))
		segment_free(mem, pop(st, d));
}

static void close_backlog(struct clv_mem *mem, struct clv_streams *st)
{
	clv_mem_free(mem, st->backlog, sizeof(*st->backlog));
	st->backlog = NULL;
}

void clv_streams_trim(struct clv_mem *mem, struct clv_streams *st)
{
	close_backlog(mem, st);
	look(st);
}

void clv_streams_fini(struct clv_mem *mem, struct clv_streams *st)
{
	forget_waiting(mem, st, 0);
	forget_waiting(mem, st, 1);
	close_backlog(mem, st);
	st->s[0].plain = st->s[1].plain = false;
}

void clv_stream_start(struct clv_mem *mem, struct clv_streams *st, int d, uint32_t seq)
{
	struct clv_stream *s = &st->s[d];

	forget_waiting(mem, st, d);
	/* One wrap above zero, so that positions a little before the start are positions too. */
	*s = (struct clv_stream){.next = (1ull << 32) + seq, .started = true};
	s->acked = s->next;
	look(st);
}

/* ---- delivery -------------------------------------------------------------------------------------- */

/* Must a segment that acknowledges `ack` wait for the other direction? */
static bool must_wait(const struct clv_stream *other, uint64_t ack)
{
	return ack && other->started && !other->mute && !other->fin_done && ack > clv_stream_reached(other);
}

static void deliver_hole(const struct clv_stream_user *u, struct clv_streams *st, int d, uint64_t len, uint64_t ts_ns,
			 bool over_time)
{
	struct clv_stream *s = &st->s[d];
	uint64_t pos = s->next;

	s->next += len;
	u->hole(st, d, pos, len, ts_ns, over_time);
}

/* Delivers `seg`, of which `bytes` were captured; what lies before `next` was delivered already. */
static void deliver(const struct clv_stream_user *u, struct clv_streams *st, int d, const struct clv_segment *seg,
		    struct clv_slice bytes)
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
		u->data(st, d, &run);
	}
	if (bytes.len < len)
		deliver_hole(u, st, d, len - bytes.len, seg->ts_ns, seg->over_time);
}

static void pass_fin(const struct clv_stream_user *u, struct clv_streams *st, int d, uint64_t fin, uint64_t ts_ns)
{
	struct clv_stream *s = &st->s[d];

	s->fin_done = true;
	s->next = fin + 1;             /* the FIN takes a sequence number of its own */
	forget_waiting(u->mem, st, d); /* nobody reads on behind it */
	u->fin(st, d, ts_ns);
}

static bool deliver_fin(const struct clv_stream_user *u, struct clv_streams *st, int d)
{
	if (!fin_waits(&st->s[d]) || st->s[d].next < st->backlog->of[d].fin)
		return false;
	pass_fin(u, st, d, st->backlog->of[d].fin, st->backlog->of[d].fin_ns);
	return true;
}

/* Delivers what waits in direction d and may go. Returns true when anything went. */
static bool drain_one(const struct clv_stream_user *u, struct clv_streams *st, int d)
{
	struct clv_segment *seg;
	bool moved = false;

	while ((seg = first_waiting(st, d)) && seg->pos <= st->s[d].next && !must_wait(&st->s[!d], seg->ack)) {
		pop(st, d);
		deliver(u, st, d, seg, clv_slice(seg->data, seg->cap));
		segment_free(u->mem, seg);
		moved = true;
	}
	return deliver_fin(u, st, d) || moved;
}

static void drain(const struct clv_stream_user *u, struct clv_streams *st)
{
	bool moved;

	do {
		moved = drain_one(u, st, 0);
		moved = drain_one(u, st, 1) || moved;
	} while (moved);
}

void clv_stream_jump(const struct clv_stream_user *u, struct clv_streams *st, int d, uint32_t seq)
{
	struct clv_stream *s = &st->s[d];

	if (!s->started) {
		clv_stream_start(u->mem, st, d, seq);
		return;
	}
	uint64_t pos = clv_stream_pos(s, seq);
	if (pos <= s->next || s->fin_done)
		return;
	forget_waiting(u->mem, st, d);
	deliver_hole(u, st, d, pos - s->next, 0, false);
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

/* Puts [pos, end) behind *at. Returns the link behind the new segment, or NULL without memory. */
static struct clv_segment **insert(const struct clv_stream_user *u, struct clv_backlog *b, int d,
				   struct clv_segment **at, uint64_t pos, uint64_t end, struct clv_slice bytes,
				   const struct clv_segment *like)
{
	uint32_t len = (uint32_t)(end - pos);
	bytes = clv_slice_head(bytes, len);
	struct clv_segment *seg = clv_mem_alloc(u->mem, sizeof(*seg) + bytes.len);

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
		b->of[d].last = seg;
	b->of[d].bytes += seg->cap;
	b->of[d].count++;
	return &seg->next;
}

/*
 * Keeps the parts of `like` that are neither delivered nor waiting yet. Adds to *seen what was.
 * Returns false when memory ran out.
 */
static bool keep(const struct clv_stream_user *u, struct clv_streams *st, int d, const struct clv_segment *like,
		 struct clv_slice bytes, uint32_t *seen)
{
	uint64_t pos = like->pos, at = pos, end = pos + like->len;

	if (!open_backlog(u, st))
		return false;
	struct clv_backlog *b = st->backlog;
	struct clv_segment **link = &b->of[d].first;

	if (*link && b->of[d].last->pos + b->of[d].last->len <= pos) /* mostly: no need to go through the list */
		link = &b->of[d].last->next;
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
		link = insert(u, b, d, link, at, stop, clv_slice_from(bytes, at - pos), like);
		if (!link)
			return false;
		at = stop;
	}
	return true;
}

static bool too_much_waits(const struct clv_streams *st, int d)
{
	const struct clv_backlog *b = st->backlog;

	return b && (b->of[d].bytes > CLV_OOO_BYTES || b->of[d].count > CLV_OOO_SEGMENTS);
}

/* A part of a packet, with the `bytes` captured of it: delivered at once if its turn has come, kept otherwise. */
static void take(const struct clv_stream_user *u, struct clv_streams *st, int d, struct clv_segment *part,
		 struct clv_slice bytes, uint32_t *seen)
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
	if (part->pos == s->next && !first_waiting(st, d) && !must_wait(&st->s[!d], part->ack)) {
		deliver(u, st, d, part, bytes);
		return;
	}
	if (!keep(u, st, d, part, bytes, seen)) {
		/* No memory: give up what is missing before it, until it is the next and needs no room. */
		while (s->next < part->pos && clv_streams_give_up(u, st))
			;
		if (s->next < part->pos)
			deliver_hole(u, st, d, part->pos - s->next, 0, false);
		deliver(u, st, d, part, bytes);
	}
	while (too_much_waits(st, d) && clv_streams_give_up(u, st))
		;
}

/* The FIN behind position `end`. What is missing before it is waited for; without memory it is given up. */
static void take_fin(const struct clv_stream_user *u, struct clv_streams *st, int d, uint64_t end, uint64_t ts_ns)
{
	struct clv_stream *s = &st->s[d];

	s->fin_seen = true;
	if (!st->backlog && s->next < end && !open_backlog(u, st))
		deliver_hole(u, st, d, end - s->next, 0, false);
	if (!st->backlog) {
		pass_fin(u, st, d, end, ts_ns);
		return;
	}
	st->backlog->of[d].fin = end;
	st->backlog->of[d].fin_ns = ts_ns;
}

uint32_t clv_streams_packet(const struct clv_stream_user *u, struct clv_streams *st, int d, const struct clv_packet *p)
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
			deliver_hole(u, st, !d, ack - other->next, 0, false);
	}
	struct clv_segment part = {.ack = ack, .ts_ns = p->ts_ns, .ack_seq = p->ack};
	if (p->hole_len && p->hole_len <= INT32_MAX) {
		part.pos = clv_stream_pos(s, p->hole_seq);
		part.len = p->hole_len;
		part.over_time = true;
		take(u, st, d, &part, clv_slice(NULL, 0), &seen);
	}
	uint32_t unseen_before = seen;
	uint32_t first = p->seq + ((p->tcp_flags & CLV_TCP_SYN) ? 1 : 0);
	uint64_t pos = clv_stream_pos(s, first), end = pos + p->len;
	part.pos = pos;
	part.len = p->len;
	part.over_time = false;
	take(u, st, d, &part, p->payload, &seen);
	if ((p->tcp_flags & CLV_TCP_FIN) && !s->fin_seen && end >= s->next && end - s->next <= CLV_ACK_AHEAD_BYTES)
		take_fin(u, st, d, end, p->ts_ns);
	if (st->backlog)
		drain(u, st);
	look(st);
	return seen - unseen_before;
}

/* ---- giving up ---------------------------------------------------------------------------------------- */

/* What direction d's first waiting segment, or its FIN, is short of. */
static enum clv_blocked blocked_one(const struct clv_streams *st, int d)
{
	const struct clv_stream *s = &st->s[d];
	const struct clv_segment *w = first_waiting(st, d);

	if (w && w->pos > s->next)
		return s->acked > s->next ? CLV_BLOCKED_LOST : CLV_BLOCKED_LATE;
	if (w) /* in order, so the other direction holds it */
		return CLV_BLOCKED_LOST;
	if (fin_waits(s))
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
static void give_up_hole(const struct clv_stream_user *u, struct clv_streams *st, int d, uint64_t end)
{
	struct clv_stream *s = &st->s[d];
	const struct clv_segment *w = first_waiting(st, d);

	if (w && w->pos < end)
		end = w->pos;
	if (!s->data_seen)
		s->mute = true;
	deliver_hole(u, st, d, end - s->next, 0, false);
}

/*
 * Every direction that waits is in order, and held by the other. Either the other's bytes were never seen, or
 * both hold each other (a retransmission carries a newer acknowledgement): then the older segment goes first.
 */
static bool give_up_cause(const struct clv_stream_user *u, struct clv_streams *st)
{
	struct clv_segment *a = first_waiting(st, 0), *b = first_waiting(st, 1);

	if (a && b)
		(a->ts_ns <= b->ts_ns ? a : b)->ack = 0;
	else if (a)
		give_up_hole(u, st, 1, a->ack);
	else if (b)
		give_up_hole(u, st, 0, b->ack);
	else
		return false;
	drain(u, st);
	return true;
}

bool clv_streams_give_up(const struct clv_stream_user *u, struct clv_streams *st)
{
	if (!st->backlog)
		return false;
	for (int d = 0; d < 2; d++) { /* a direction whose own bytes are missing goes first */
		struct clv_stream *s = &st->s[d];
		const struct clv_segment *w = first_waiting(st, d);
		uint64_t end = w ? w->pos : fin_waits(s) ? st->backlog->of[d].fin : 0;

		if (end <= s->next)
			continue;
		if (s->acked > s->next && s->acked < end)
			end = s->acked;
		give_up_hole(u, st, d, end);
		drain(u, st);
		return true;
	}
	return give_up_cause(u, st);
}
