/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The flow table and what is known of each direction's sequence space.
 *
 * The table is an array of sets of eight ways: a lookup is one index, two cache lines and no helper, and memory
 * is bounded by construction. Both hooks may work on one flow at once, on two CPUs: each writes only its own
 * direction, and whatever a race can do to the rest costs bytes copied twice, never bytes left out. (What a side has
 * asked is compared with what the other one acknowledges before it is believed.)
 */
#ifndef CLV_BPF_FLOW_H
#define CLV_BPF_FLOW_H

#include "maps.h"
#include "parse.h"
#include "worker.h"

/* Sequence numbers compare by their distance (RFC 9293 section 3.4). */
static __always_inline bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline __u32 seq_min(__u32 a, __u32 b)
{
	return seq_before(a, b) ? a : b;
}

static __always_inline __u32 seq_max(__u32 a, __u32 b)
{
	return seq_before(a, b) ? b : a;
}

/* ---- the table ------------------------------------------------------------------------------------- */

struct flow_ref {
	struct flow *flow;
	struct clv_ctl *ctl;
	__u32 slot;
	bool is_new;
};

static __always_inline void key_make(struct flow_key *k, const struct segment *s, __u32 where, enum clv_hook hook)
{
	bool from_inside = hook == CLV_HOOK_INGRESS;

	k->inside = from_inside ? s->src : s->dst;
	k->outside = from_inside ? s->dst : s->src;
	k->inside_port = from_inside ? s->sport : s->dport;
	k->outside_port = from_inside ? s->dport : s->sport;
	k->where = where;
}

static __always_inline bool key_eq(const struct flow_key *a, const struct flow_key *b)
{
	const __u64 *x = (const void *)a, *y = (const void *)b;

	return !((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]));
}

/* Where a flow is sought: lower half, in which set; upper half, by what the set knows it. */
static __always_inline __u64 key_hash(const struct flow_key *k)
{
	const __u64 *w = (const void *)k;
	__u64 h = hash_seed ^ k->where;

#pragma unroll
	for (int i = 0; i < 4; i++) {
		h = (h ^ w[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	h *= 0xff51afd7ed558ccdull;
	/*
	 * A client's connections, whose ports follow each other, are in sets that follow each other: in few pages,
	 * whose addresses the processor knows. Where a client's begin nobody outside knows, nor whose flows stand there
	 * too.
	 */
	__u32 set = (h >> 32) + k->inside_port + k->outside_port;
	__u64 tag = (h ^ w[4]) * 0xc4ceb9fe1a85ec53ull;

	return (tag & ~0xffffffffull) | set;
}

/*
 * When a flow was last used, for choosing which to give up; 0 when it is over. Datagrams' go before all connections:
 * with them only a verdict is lost, which user space will repeat.
 */
static __always_inline __u32 flow_last(const struct flow *f)
{
	const __u32 connection = 1u << 31;
	const struct dir *a = &f->dir[0], *b = &f->dir[1];
	__u8 a_flags = a->gen == f->gen ? a->flags : 0, b_flags = b->gen == f->gen ? b->flags : 0;

	if ((a_flags | b_flags) & DIR_RESET || a_flags & b_flags & DIR_CLOSED)
		return 0;
	__u32 last = (a->last > b->last ? a->last : b->last) & ~connection;

	return f->key.where & KEY_UDP ? last | 1 : last | connection;
}

/* Of datagrams: nothing has passed for so long that whoever speaks now may be somebody else. */
static __always_inline bool flow_was_silent(const struct flow *f, __u32 jiffy)
{
	for (int i = 0; i < 2; i++)
		if (f->dir[i].gen == f->gen && jiffy - f->dir[i].last < CLV_DATAGRAM_SILENCE)
			return false;
	return true;
}

static __always_inline void ctl_clear(struct clv_ctl *c)
{
	c->dir[0].window = c->dir[0].skip = c->dir[1].window = c->dir[1].skip = 0;
}

/* A new generation: both directions' state and all control words are void from here on. */
static __always_inline void flow_renew(struct flow *f, struct clv_ctl *c)
{
	__u16 gen = f->gen + 1;

	ctl_clear(c);
	f->rtt_state[0] = f->rtt_state[1] = RTT_IDLE;
	f->asked[0] = f->asked[1] = ASKED_UNKNOWN;
	f->talker = TALKER_NONE;
	f->gen = gen ? gen : 1;
}

/* The way that has the flow of `key`, whose tag is `tag`; WAYS: none. Apart for the verifier, as flow_victim(). */
__noinline int flow_way(struct flow_set *set, const struct flow_key *key, __u32 tag)
{
	int way;

	if (!set || !key)
		return WAYS;
	for (way = 0; way < WAYS; way++)
		if (set->tag[way] == tag && key_eq(&set->way[way].key, key))
			break;
	return way;
}

/* No way of the set can be had just now. */
#define NO_WAY (~0ull)

/*
 * The way that a new flow gets: a free one, or that of the least recently used flow; in bits 32 to 63 the tag that
 * stands there. A function of its own, since the verifier follows each of its turns only once then.
 */
__noinline __u64 flow_victim(struct flow_set *set)
{
	__u32 oldest = ~0u;
	__u64 victim = NO_WAY;

	if (!set)
		return NO_WAY;
	for (__u32 way = 0; way < WAYS; way++) {
		__u32 seen = *(volatile __u32 *)&set->tag[way];
		__u32 last = seen ? flow_last(&set->way[way]) : 0;

		if (seen != 1 && (last < oldest || !seen)) {
			oldest = last;
			victim = (__u64)seen << 32 | way;
		}
		if (!seen)
			break;
	}
	return victim;
}

/*
 * Finds the flow of `key`, or makes it in a free way or that of the least recently used flow of its set. False
 * when another CPU is just doing the same: the caller then goes without state.
 */
static __noinline bool flow_get(const struct flow_key *key, struct flow_ref *ref, struct clv_kstats *st, bool create)
{
	__u64 hash = key_hash(key);
	__u32 tag = (hash >> 32) | 2, set_index = (__u32)hash & set_mask;
	struct flow_set *set = bpf_map_lookup_elem(&flows, &set_index);
	__u32 way;

	if (!set)
		return false;
	way = flow_way(set, key, tag);
	if (likely(way < WAYS))
		goto found;
	if (!create)
		return false;
	__u64 victim = flow_victim(set);
	__u32 victim_tag = victim >> 32;

	if (victim == NO_WAY)
		return false;
	way = victim & (WAYS - 1);
	if (__sync_val_compare_and_swap(&set->tag[way], victim_tag, 1) != victim_tag)
		return false;
	if (victim_tag && flow_last(&set->way[way]) && !(set->way[way].key.where & KEY_UDP))
		st->drop_flow_evicted++;
	set->way[way].key = *key;
	ref->slot = set_index * WAYS + way;
	ref->ctl = bpf_map_lookup_elem(&ctl, &ref->slot);
	if (!ref->ctl)
		return false;
	ref->flow = &set->way[way];
	ref->is_new = true;
	flow_renew(ref->flow, ref->ctl);
	ref->flow->dir[0].gen = ref->flow->dir[1].gen = 0;
	__sync_lock_test_and_set(&set->tag[way], tag);
	return true;
found:
	ref->slot = set_index * WAYS + way;
	ref->flow = &set->way[way];
	ref->ctl = bpf_map_lookup_elem(&ctl, &ref->slot);
	return ref->ctl;
}

/* ---- one direction --------------------------------------------------------------------------------- */

static __always_inline void dir_start(struct dir *d, __u16 gen, __u32 first, __u8 flags)
{
	d->holes = d->late = d->shape = 0;
	if (flags & DIR_JOINED) {
		d->hole[0].lo = first - CLV_WINDOW_BYTES;
		d->hole[0].hi = first;
		d->holes = 1;
	}
	d->next = first;
	d->unsent_from = d->unsent_to = first;
	d->window_end = first + CLV_WINDOW_BYTES;
	d->retransmits = 0;
	d->flags = flags;
	d->gen = gen;
}

/*
 * [lo, hi) below `next` has not been seen. Past HOLES of them the highest one grows to cover it: what lies
 * between may then be copied twice. Holes a quarter of the sequence space old would soon compare as new: gone.
 * Returns the bit of a hole that is this alone, or 0.
 */
__noinline int hole_open(struct dir *d, __u32 lo, __u32 hi)
{
	__u32 highest = 0, free = HOLES;

	if (!d)
		return 0;
	for (__u32 i = 0; i < HOLES; i++) {
		struct hole *h = &d->hole[i];

		if (d->holes & 1 << i && d->next - h->lo > CLV_SKIP_MAX)
			d->holes &= ~(1 << i);
		if (!(d->holes & 1 << i))
			free = i;
		else if (seq_before(d->hole[highest & (HOLES - 1)].hi, h->hi))
			highest = i;
	}
	if (free < HOLES) {
		d->hole[free].lo = lo;
		d->hole[free].hi = hi;
		d->holes |= 1 << free;
		d->late &= ~(1 << free);
		return 1 << free;
	}
	struct hole *h = &d->hole[highest & (HOLES - 1)];

	h->lo = seq_min(h->lo, lo);
	h->hi = seq_max(h->hi, hi);
	d->late &= ~(1 << (highest & (HOLES - 1)));
	return 0;
}

/* Which holes did some bytes fill? */
enum filled { FILLED_NONE, FILLED_LATE = 1, FILLED_MISSING = 2 };

/* Takes [lo, hi) out of the holes: enum filled, both bits if there were both. */
__noinline int hole_fill(struct dir *d, __u32 lo, __u32 hi)
{
	int touched = FILLED_NONE;
	__u32 rest = hi; /* end of what remains above, when a hole is cut in two: holes may overlap */

	if (!d)
		return 0;
	for (__u32 i = 0; i < HOLES; i++) {
		struct hole *h = &d->hole[i];

		if (!(d->holes & 1 << i) || !seq_before(lo, h->hi) || !seq_before(h->lo, hi))
			continue;
		touched |= d->late & 1 << i ? FILLED_LATE : FILLED_MISSING;
		bool keeps_low = seq_before(h->lo, lo), keeps_high = seq_before(hi, h->hi);

		if (keeps_low && keeps_high) {
			rest = seq_max(rest, h->hi);
			h->hi = lo;
		} else if (keeps_low) {
			h->hi = lo;
		} else if (keeps_high) {
			h->lo = hi;
		} else {
			d->holes &= ~(1 << i);
		}
	}
	d->late &= d->holes;
	if (rest != hi) {
		__u32 opened = hole_open(d, hi, rest);

		if (touched == FILLED_LATE)
			d->late |= opened;
	}
	return touched;
}

/* The first of the holes that are late; HOLES: there is none. */
__noinline int hole_late(const struct dir *d)
{
	__u32 first = HOLES, lo = 0;

	if (!d)
		return HOLES;
	for (__u32 i = 0; i < HOLES; i++)
		if (d->late & d->holes & 1 << i && (first == HOLES || seq_before(d->hole[i].lo, lo))) {
			first = i;
			lo = d->hole[i].lo;
		}
	return first;
}

static __always_inline void dir_count_retransmit(struct dir *d)
{
	if (d->retransmits != 0xffff)
		d->retransmits++;
}

enum place {
	PLACE_NEXT,  /* begins where the last one ended */
	PLACE_APART, /* after a gap, or into a hole */
	PLACE_LATE,  /* into holes in what is left out already */
	PLACE_SEEN,  /* nothing new */
};

/*
 * Where do the payload bytes [*lo, hi) stand? Marks them as seen. Bytes at their front that had been seen are
 * cut off (*lo moves). A hole is noted before `next` passes it: *gap is its bit, as hole_open() tells.
 */
static __always_inline enum place dir_place(struct dir *d, __u32 *lo, __u32 hi, __u32 *gap)
{
	__u32 next = d->next;

	if (likely(*lo == next)) {
		d->next = hi;
		return PLACE_NEXT;
	}
	if (*lo - next + CLV_SKIP_MAX > 2 * CLV_SKIP_MAX) { /* no TCP window reaches that far: start afresh */
		dir_start(d, d->gen, *lo, DIR_JOINED);
		d->next = hi;
		return PLACE_APART;
	}
	if (seq_before(next, *lo)) {
		d->shape = 0;
		*gap = hole_open(d, next, *lo);
		d->next = hi;
		return PLACE_APART;
	}
	int filled = d->holes ? hole_fill(d, *lo, seq_min(next, hi)) : FILLED_NONE;

	if (seq_before(next, hi)) {
		d->next = hi;
		if (filled & FILLED_MISSING)
			return PLACE_APART;
		*lo = next;
		return PLACE_NEXT;
	}
	return filled == FILLED_LATE ? PLACE_LATE : filled ? PLACE_APART : PLACE_SEEN;
}

/* ---- round trips ----------------------------------------------------------------------------------- */

static __always_inline __u32 now_us(void)
{
	return (__u32)(bpf_ktime_get_ns() / 1000);
}

/* New data up to `end`, or a SYN, have passed. */
static __always_inline void rtt_sent(struct flow *f, __u32 hook, __u32 end)
{
	if (!measure || f->rtt_state[hook & 1] != RTT_IDLE)
		return;
	f->rtt[hook & 1].end = end;
	f->rtt[hook & 1].us = now_us();
	f->rtt_state[hook & 1] = RTT_WAITING;
}

/* Something was sent again, so nobody can tell what an acknowledgement is for (RFC 6298 section 3, Karn). */
static __always_inline void rtt_void(struct flow *f, __u32 hook)
{
	if (measure && f->rtt_state[hook & 1] == RTT_WAITING)
		f->rtt_state[hook & 1] = RTT_IDLE;
}

/* An acknowledgement of what `hook` sees has passed. */
static __always_inline void rtt_acked(struct flow *f, __u32 hook, __u32 ack)
{
	struct rtt *r = &f->rtt[hook & 1];

	if (f->rtt_state[hook & 1] != RTT_WAITING || seq_before(ack, r->end))
		return;
	__u32 us = now_us() - r->us;

	r->us = us ? us : 1;
	f->rtt_state[hook & 1] = RTT_READY;
}

/* The sample, once. */
static __always_inline __u16 rtt_take(struct flow *f, __u32 hook)
{
	if (!measure || f->rtt_state[hook & 1] != RTT_READY)
		return 0;
	f->rtt_state[hook & 1] = RTT_IDLE;
	return clv_rtt_pack(f->rtt[hook & 1].us);
}

/* ---- what a flow has carried ------------------------------------------------------------------------ */

/* One packet of `payload` bytes; only where somebody asked. */
static __always_inline void flow_count(struct __sk_buff *skb, const struct segment *s, __u32 slot, __u16 gen,
				       __u32 hook, __u32 payload)
{
	struct clv_counts *c = bpf_map_lookup_elem(&counts, &slot);

	if (!c)
		return;
	struct clv_count *d = &c->dir[hook & 1];
	__u32 packets = skb->gso_size && skb->gso_segs ? skb->gso_segs : 1;

	if (d->packets >> CLV_COUNT_BITS != gen) {
		d->bytes = 0;
		d->packets = (__u64)gen << CLV_COUNT_BITS;
	}
	d->bytes += payload + (__u64)packets * (s->off - s->ip);
	d->packets += packets;
}

/*
 * Is it time that user space looks at what an ignored flow has carried? `rested`: now and then, as jiffies, differ in
 * these bits.
 */
static __always_inline bool flow_count_due(__u32 rested)
{
	return count_flows && rested >> CLV_COUNT_PERIOD_BITS;
}

/* ---- control words --------------------------------------------------------------------------------- */

static __always_inline clv_word word_read(const clv_word *from, __u16 gen)
{
	clv_word w = *(const volatile clv_word *)from;

	return clv_word_gen(w) == gen && clv_word_flags(w) & CLV_WORD_VALID ? w : 0;
}

/* Did a skip end exactly at `seq`? Known until the next payload passes it. */
static __always_inline bool dir_skip_ends_at(const struct dir *d, const struct clv_ctl_dir *c, __u32 seq)
{
	clv_word w = word_read(&c->skip, d->gen);

	return (d->flags & DIR_SKIP && d->skip_until == seq) || (w && clv_word_seq(w) == seq);
}

/* Is anything missing, but what a joined direction would have wanted from before its beginning? */
static __always_inline bool dir_misses(const struct dir *d)
{
	return d->holes & ~(d->flags & DIR_JOINED ? 1 : 0);
}

/*
 * At `at`, not before what comes next, a frame begins. Nothing that is wanted may be missing before it; what a joined
 * direction would have wanted from before its beginning is given up.
 */
static __always_inline void frames_begin(struct dir *d, __u8 shape, __u32 at)
{
	if (dir_misses(d))
		return;
	d->holes = d->late = 0;
	d->shape = shape & (CLV_SHAPES - 1);
	d->frames.next = at;
	d->frames.keep_until = at - CLV_SKIP_MAX; /* nothing before it is wanted */
	d->frames.have = 0;
}

/*
 * The end of what is being skipped at `seq`; `seq` itself when nothing is. A skip that is passed is cleared. At its end
 * frames may begin, if no byte is missing (`in_turn`).
 */
static __always_inline __u32 dir_skip_end(struct dir *d, struct clv_ctl_dir *c, __u32 seq, bool in_turn)
{
	__u32 end = seq;
	clv_word w = word_read(&c->skip, d->gen);

	if (unlikely(d->flags & DIR_SKIP)) {
		if (seq_before(seq, d->skip_until))
			end = d->skip_until;
		else
			d->flags &= ~DIR_SKIP;
	}
	if (likely(!w))
		return end;
	__u8 shape = clv_word_flags(w) >> CLV_WORD_SHAPE_SHIFT;

	if (shape && in_turn && clv_word_seq(w) - seq < CLV_SKIP_MAX)
		frames_begin(d, shape, clv_word_seq(w));
	if (clv_word_seq(w) - seq - 1 < CLV_SKIP_MAX)
		return seq_max(end, clv_word_seq(w));
	__sync_val_compare_and_swap(&c->skip, w, 0);
	return end;
}

/*
 * Where the window ends that user space keeps open, or the usual one before it has said so; where the kernel skipped a
 * body on its own, what it keeps open behind that.
 */
static __always_inline __u32 dir_window_end(const struct dir *d, clv_word window)
{
	return window && !(d->flags & DIR_AHEAD) ? clv_word_seq(window) : d->window_end;
}

/* How many bytes from `seq` on user space wants: up to the window's end, and some more when the ring has room. */
static __always_inline __u32 dir_window(struct dir *d, clv_word window, __u32 seq, __u32 len, __u32 worker)
{
	if (unlikely(d->flags & DIR_AHEAD) && window && !seq_before(clv_word_seq(window), d->window_end))
		d->flags &= ~DIR_AHEAD; /* user space has caught up */
	__u32 left = dir_window_end(d, window) - seq;
	bool enough = left >= len && left <= CLV_WINDOW_MAX;

	if (unlikely(!enough) && !(clv_word_flags(window) & CLV_WORD_SEEK) && left + spare_bytes <= CLV_WINDOW_MAX &&
	    ring_is_roomy(worker))
		left += spare_bytes;
	return left <= CLV_WINDOW_MAX ? left : 0;
}

/*
 * The bytes [lo, hi) are left out. True when they join what was left out before and is not reported; false when
 * the caller has to report that first.
 */
static __always_inline bool dir_leave_out(struct dir *d, __u32 lo, __u32 hi)
{
	if (d->unsent_from == d->unsent_to) {
		d->unsent_from = lo;
		d->unsent_to = hi;
	} else if (d->unsent_to == lo) {
		d->unsent_to = hi;
	} else if (d->unsent_from == hi) {
		d->unsent_from = lo;
	} else {
		return false;
	}
	return true;
}

#endif
