/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Walks over the frames of a direction whose protocol puts a length before each, so that what nobody reads of them
 * stays in the kernel. It knows no protocol: the shape of a frame (wire/record.h: struct clv_shape) and where one
 * begins come from user space, which reads the same lengths and notices when a hole is not where it said.
 *
 * It needs every byte in its turn. After a gap, a frame that makes no sense, more frames in a packet than the bound, or
 * a word from user space that says otherwise, it stops, everything is copied, and user space may begin anew.
 */
#ifndef CLV_BPF_WALK_H
#define CLV_BPF_WALK_H

#include "flow.h"
#include "maps.h"

/* Frames that begin in one packet. */
#define WALK_FRAMES 64
/* Fewer bytes between what is kept cost more to leave out than to copy. */
#define WALK_MIN_HOLE 256u

/* What is wanted up to here becomes a piece; where there is no room for it, all from there on is copied. */
static __always_inline void walk_close(struct __sk_buff *skb, struct walk *w)
{
	__u32 n = w->run_to - w->run_from, used = w->used;

	barrier_var(n);
	barrier_var(used);
	if (n == 0)
		return;
	if (n > WALK_PIECE_MAX || n > snaplen || used > WALK_BYTES || used + n + sizeof(struct clv_piece) > WALK_BYTES)
		goto rest;
	struct clv_piece *piece = (void *)&w->data[used];

	piece->seq = w->run_from;
	piece->len = n;
	if (bpf_skb_load_bytes(skb, w->off + (w->run_from - w->from), piece->data, n))
		goto rest;
	if (!w->pieces)
		w->first = w->run_from;
	w->last = w->run_to;
	w->pieces = true;
	w->kept += n;
	w->used = used + sizeof(*piece) + ((n + 3) & ~3u);
	w->run_from = w->run_to;
	return;
rest:
	w->rest = w->run_from;
	w->has_rest = true;
}

/* [lo, hi) is wanted. It joins what was before it, or that is closed. */
static __always_inline void walk_keep(struct __sk_buff *skb, struct walk *w, __u32 lo, __u32 hi)
{
	if (w->has_rest)
		return;
	if (w->run_from != w->run_to && w->run_to != lo) {
		walk_close(skb, w);
		if (w->has_rest)
			return;
	}
	if (w->run_from == w->run_to)
		w->run_from = lo;
	w->run_to = hi;
}

/* The header of the frame at f->next is complete. False when it makes no sense. */
static __always_inline bool walk_frame(struct frames *f, const struct clv_shape *s, const __u8 *header)
{
	__u32 len = 0;

	for (__u32 i = 0; i < 4; i++) {
		if (i >= s->length_bytes)
			break;
		__u32 at = s->length_at + (s->little_endian ? s->length_bytes - 1u - i : i);

		len = len << 8 | header[at & (CLV_SHAPE_HEADER - 1)];
	}
	__s64 total = (__s64)len + s->length_adds;
	__u8 type = header[s->type_at & (CLV_SHAPE_HEADER - 1)];

	if (total < s->header_bytes || total > CLV_SKIP_MAX)
		return false;
	__u32 keep = s->keep_bytes;

	if (total - keep < (__s64)WALK_MIN_HOLE || s->whole[type >> 5] >> (type & 31) & 1)
		keep = total;
	f->keep_until = f->next + keep;
	f->next += total;
	return true;
}

/* The rest of a frame, and the header of the next. Returns whether there is more. */
__noinline int walk_step(struct __sk_buff *skb, struct dir *d, struct walk *w)
{
	if (!d || !w)
		return 0;
	struct frames *f = &d->frames;
	__u32 index = d->shape, pos = w->pos, to, have = f->have;
	const struct clv_shape *s = bpf_map_lookup_elem(&shapes, &index);

	if (!s)
		return 0;
	if (!have && seq_before(pos, f->next)) {
		to = seq_min(f->keep_until, w->end);
		if (seq_before(pos, to)) {
			walk_keep(skb, w, pos, to);
			pos = to;
		}
		pos = seq_max(pos, seq_min(f->next, w->end));
		w->pos = pos;
	}
	if (pos == w->end)
		return 0;
	__u32 want = s->header_bytes - have, here = w->end - pos, n = want < here ? want : here;

	barrier_var(n);
	barrier_var(have);
	if (have >= CLV_SHAPE_HEADER || n == 0 || n > CLV_SHAPE_HEADER ||
	    bpf_skb_load_bytes(skb, w->off + (pos - w->from), w->header + have, n)) {
		d->shape = 0;
		return 0;
	}
	walk_keep(skb, w, pos, pos + n);
	w->pos = pos + n;
	if (n < want) {
		f->have = have + n;
		__builtin_memcpy(f->header, w->header, sizeof(f->header));
		return 0;
	}
	f->have = 0;
	w->frames++;
	if (!walk_frame(f, s, w->header)) {
		d->shape = 0;
		return 0;
	}
	return w->pos != w->end;
}

/*
 * User space is right. If it says that frames begin somewhere else, they do; if it says no more, that is so. False when
 * nothing is walked over (any more).
 */
static __always_inline bool walk_agrees(struct dir *d, struct clv_ctl_dir *c, __u32 seq)
{
	clv_word w = word_read(&c->skip, d->gen);
	__u8 shape = clv_word_flags(w) >> CLV_WORD_SHAPE_SHIFT;

	if (w && !shape) {
		d->shape = 0;
		return false;
	}
	if (w) {
		if (clv_word_seq(w) - seq < CLV_SKIP_MAX && (clv_word_seq(w) != d->frames.next || shape != d->shape))
			frames_begin(d, shape, clv_word_seq(w));
		__sync_val_compare_and_swap(&c->skip, w, 0);
	}
	if (!d->frames.have && d->frames.next - seq > CLV_SKIP_MAX)
		d->shape = 0;
	return d->shape;
}

static __always_inline struct walk *walk_state_of_this_cpu(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&walk_state, &zero);
}

/* To be left again, with scratch_leave(). NULL: it is in use. */
static __always_inline struct walk *walk_take(void)
{
	struct walk *w = walk_state_of_this_cpu();

	return w && scratch_take(&w->busy) ? w : NULL;
}

/* Walks over new payload, which begins at `off` of the skb. What came of it is in walk_state, which is taken. */
__noinline int walk(struct __sk_buff *skb, struct dir *d, __u32 off, __u32 from, __u32 end)
{
	struct walk *w = walk_state_of_this_cpu();

	if (!w || !d)
		return 0;
	__builtin_memset(w, 0, offsetof(struct walk, header));
	w->from = w->pos = from;
	w->end = end;
	w->off = off;
	if (d->frames.have)
		__builtin_memcpy(w->header, d->frames.header, sizeof(d->frames.header));
	for (int i = 0; i < WALK_FRAMES; i++)
		if (!walk_step(skb, d, w))
			break;
	if (w->pos != end && !w->has_rest) {
		w->rest = w->run_from != w->run_to ? w->run_from : w->pos;
		w->has_rest = true;
	}
	if (w->pos != end)
		d->shape = 0;
	if (w->pieces && !w->has_rest)
		walk_close(skb, w);
	if (w->has_rest) {
		w->run_from = w->rest;
		w->run_to = end;
	}
	w->kept += w->run_to - w->run_from;
	return 1;
}

#endif
