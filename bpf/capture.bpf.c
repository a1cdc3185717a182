// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The programs on a network interface's ingress and egress, or on a cgroup's: they look at each packet and let it pass,
 * whatever happens. parse.h makes a segment or a datagram of it, flow.h knows which of a segment's bytes are new, this
 * file decides which of those user space needs, emit.h sends them.
 *
 * The rule for leaving anything out: only bytes that user space has said it does not need (skip, ignore), or
 * that lie beyond the window that it keeps open. What is left out is reported, once, so that a hole in the stream
 * is never a surprise.
 */
#include "maps.h"
#include "parse.h"
#include "flow.h"
#include "emit.h"
#include "seek.h"
#include "socket.h"
#include "walk.h"
#include "worker.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT  -1 /* of an interface, TCX_NEXT and TC_ACT_UNSPEC: the next program decides */
#define ALLOW 1  /* of a cgroup */

#define SKIP_REPORT_BYTES   (16u << 20)  /* progress of a long skip */
#define WINDOW_REPORT_BYTES (256u << 10) /* likewise beyond the window */
/*
 * With less of a window left, the reader is woken. It keeps 768 KiB open and moves that in steps of 32 KiB: so only a
 * long body that has to be read comes here, and what is left, and to spare, gives the reader more than a millisecond at
 * 2 GB/s.
 */
#define WINDOW_URGENT_BYTES (704 << 10)
#define WINDOW_HALF_BYTES   (384 << 10)

/* What a packet begins with, and what else tells of it. */
enum layer {
	LAYER_ETHERNET,
	LAYER_IP,
	LAYER_SOCKET, /* IP, and there is the socket that it came from or goes to */
};

/* What the steps of one packet share. */
struct pass {
	struct __sk_buff *skb;
	struct clv_kstats *st;
	const struct segment *seg;
	struct flow_ref ref;
	struct dir *dir; /* NULL: no state */
	struct clv_ctl_dir *ctl;
	__u32 net;
	__u32 worker; /* who gets its records */
	__u32 off;    /* of the payload that is dealt with, in the skb */
	__u8 hook;
	__u8 flags;         /* for the next record: enum clv_rec_flag */
	__u8 tcp_flags;     /* likewise */
	__u8 left_out : 1;  /* of this packet: the newest of what is not reported */
	__u8 disturbed : 1; /* another packet may come in the middle: scratch_take() has more */
	__u32 rested;       /* which bits of jiffies differ since the direction's packet before: flow_count_due() */
};

/* ---- sending --------------------------------------------------------------------------------------- */

static __always_inline void record_fill(struct clv_rec *r, const struct pass *p)
{
	const struct segment *s = p->seg;
	const struct dir *d = p->dir;

	r->ts_ns = bpf_ktime_get_ns();
	r->net = p->net;
	r->slot = p->ref.slot;
	r->gen = d ? d->gen : 0;
	r->tcp_flags = p->tcp_flags;
	r->flags = p->flags | (p->hook == CLV_HOOK_EGRESS ? CLV_REC_EGRESS : 0) | (s->v6 ? CLV_REC_IPV6 : 0);
	r->ack = s->ack;
	r->hole_seq = d ? d->unsent_from : 0;
	r->hole_len = d ? d->unsent_to - d->unsent_from : 0;
	if (d && d->shape)
		r->flags |= CLV_REC_WALKED;
	r->retransmits = d ? d->retransmits : 0;
	r->sport = s->sport;
	r->dport = s->dport;
	r->rtt = d ? rtt_take(p->ref.flow, p->hook) : 0;
	__builtin_memcpy(r->saddr, &s->src, sizeof(r->saddr));
	__builtin_memcpy(r->daddr, &s->dst, sizeof(r->daddr));
}

/* Of the window something is left behind `end`, or nothing: should user space be woken? */
static __always_inline __u32 window_urgency(const struct dir *d, clv_word window, __u32 end)
{
	__s32 left = dir_window_end(d, window) - end;

	if (left < (window ? WINDOW_HALF_BYTES : -WINDOW_HALF_BYTES))
		return CLV_URGENT_NOW;
	return left < (window ? WINDOW_URGENT_BYTES : (__s32)CLV_WINDOW_BYTES / 2) ? CLV_URGENT_SOON : CLV_URGENT_NOT;
}

/* In 32 bits: in units of 4 us, for 4.9 hours. */
static __always_inline __u32 left_time(__u64 ns)
{
	return ns >> 12;
}

/* Was something left out of earlier packets, and not reported? */
static __always_inline bool owes_earlier(const struct pass *p)
{
	return p->dir && !p->left_out && p->dir->unsent_from != p->dir->unsent_to;
}

/*
 * Reports that by itself, with the time of the last of those packets: a body may have ended with it, which only its
 * reader knows. `r`: the record of this packet.
 */
static __always_inline void send_earlier(struct pass *p, struct clv_rec *r)
{
	struct dir *d = p->dir;

	if (!(d->flags & DIR_SKIP))
		r->ts_ns -= (__u64)(left_time(r->ts_ns) - d->left_at) << 12;
	r->tcp_flags = p->seg->flags & TCP_ACK;
	r->seq = d->unsent_to;
	r->len = r->cap = 0;
	if (emit(p->skb, r, p->off, how_soon(0, p->worker, p->disturbed), p->st)) {
		d->unsent_from = d->unsent_to;
		d->retransmits = 0;
	}
	r->ts_ns = bpf_ktime_get_ns(); /* again: there is no room on the stack */
	r->tcp_flags = p->tcp_flags;
	r->hole_len = d->unsent_to - d->unsent_from;
	r->retransmits = d->retransmits;
	r->rtt = 0;
}

/*
 * Sends a record about [seq, end), with the first `cap` bytes of it and with what the direction owes: its
 * unreported hole, its retransmissions. If it cannot be sent, a retransmission may still bring the payload. Without
 * payload and flags there is nothing to tell but what was left out before.
 */
static __noinline int send(struct pass *p, __u32 seq, __u32 end, __u32 cap, __u32 urgent)
{
	struct dir *d = p->dir;
	struct clv_rec r;

	record_fill(&r, p);
	if (unlikely(owes_earlier(p))) {
		send_earlier(p, &r);
		if (seq == end && !p->tcp_flags)
			return 0;
	}
	r.seq = seq;
	r.len = end - seq;
	r.cap = cap < snaplen ? cap : snaplen;
	int sent = emit(p->skb, &r, p->off, how_soon(urgent, p->worker, p->disturbed), p->st);

	if (unlikely(!d))
		return 0;
	if (likely(sent)) {
		d->unsent_from = d->unsent_to;
		d->retransmits = 0;
	} else if (seq != end && !(p->flags & CLV_REC_UDP)) {
		d->shape = 0;
		hole_open(d, seq, end);
	} else if (p->left_out) {
		d->flags &= ~DIR_SKIP;
		d->left_at = left_time(r.ts_ns);
	}
	return 0;
}

/* A record without payload. */
static __always_inline void send_bare(struct pass *p, __u32 seq)
{
	send(p, seq, seq, 0, 0);
}

/* Of a segment whose payload is not told, only its FIN is. */
static __always_inline void send_fin(struct pass *p, __u32 end)
{
	if (p->tcp_flags & TCP_FIN)
		send_bare(p, end);
}

/* What was left out of earlier packets. */
static __always_inline void tell_earlier(struct pass *p)
{
	__u8 tcp_flags = p->tcp_flags;

	p->tcp_flags = 0;
	send_bare(p, p->dir->unsent_to);
	p->tcp_flags = tcp_flags;
}

/* [lo, hi) is left out. What was left out elsewhere before is reported first. */
static __noinline int leave_out(struct pass *p, __u32 lo, __u32 hi)
{
	struct dir *d = p->dir;

	if (!dir_leave_out(d, lo, hi)) {
		tell_earlier(p);
		d->unsent_from = lo;
		d->unsent_to = hi;
	}
	p->left_out = 1;
	if (!(d->flags & DIR_SKIP))
		d->left_at = left_time(bpf_ktime_get_ns());
	return 0;
}

/* [lo, hi) is left out, and nothing of the segment remains to be sent: is it time to say so? */
static __always_inline void leave_rest_out(struct pass *p, __u32 lo, __u32 hi, bool tell, __u32 tell_bytes,
					   __u32 urgent)
{
	struct dir *d = p->dir;

	leave_out(p, lo, hi);
	if (tell || p->tcp_flags & TCP_FIN || d->unsent_to - d->unsent_from >= tell_bytes)
		send(p, hi, hi, 0, urgent);
}

/* ---- holes in what is skipped ------------------------------------------------------------------------- */

/*
 * Where two processors send for one connection, its packets overtake each other all the time. In the middle of a skip
 * that needs no record: the hole is "late", and what is left out, and not reported, goes on behind it. What fills it is
 * then nothing to tell. If anything else is to be sent first, the hole is put right before.
 */

/*
 * [seq, end) came before what is missing in front of it, the hole `gap` from `next` on: that joins what is left out.
 * False: it has to be reported.
 */
static __always_inline bool leave_gap_out(struct pass *p, __u32 gap, __u32 next, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;

	if (!gap || d->holes & ~(d->late | gap) || p->tcp_flags & TCP_FIN)
		return false;
	if (d->unsent_from == d->unsent_to)
		d->unsent_from = d->unsent_to = next;
	if (d->unsent_to != next || end - d->unsent_from >= SKIP_REPORT_BYTES)
		return false;
	d->unsent_to = seq;
	d->late |= gap;
	return true;
}

/* Is the segment in the middle of a skip, so that no record is due? */
static __always_inline bool late_may_stay(const struct pass *p, const struct segment *s)
{
	const struct dir *d = p->dir;
	__u32 end = s->seq + s->len;

	if (d->gen != p->ref.flow->gen || !s->len || s->flags & (TCP_SYN | TCP_FIN | TCP_RST))
		return false;
	if (d->holes == (1 << HOLES) - 1 || d->holes & ~d->late || end - d->unsent_from >= SKIP_REPORT_BYTES)
		return false;
	if (clv_word_flags(word_read(&p->ctl->window, d->gen)) & (CLV_WORD_IGNORE | CLV_WORD_PROBE))
		return false;
	clv_word w = word_read(&p->ctl->skip, d->gen);

	return (d->flags & DIR_SKIP && seq_before(end, d->skip_until)) ||
	       (w && clv_word_seq(w) - end - 1 < CLV_SKIP_MAX);
}

/* What lies before each late hole is reported by itself. */
static __always_inline void settle_late(struct pass *p)
{
	struct dir *d = p->dir;
	__u32 to = d->unsent_to;
	__u8 tcp_flags = p->tcp_flags;

	p->tcp_flags = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < HOLES; i++) {
		__u32 late = hole_late(d);

		if (late >= HOLES)
			break;
		__u32 lo = d->hole[late].lo, hi = d->hole[late].hi;

		d->late &= ~(1 << late);
		if (seq_before(lo, d->unsent_from) || seq_before(to, hi))
			continue;
		d->unsent_to = lo;
		if (d->unsent_from != lo)
			send_bare(p, lo);
		d->unsent_from = hi;
		d->unsent_to = to;
	}
	d->late = 0;
	p->tcp_flags = tcp_flags;
}

/* ---- Content-Length in the kernel ------------------------------------------------------------------- */

/*
 * When may the kernel believe a Content-Length? Only when the response that it stands in answers a request that is
 * known not to be HEAD; with pipelining nobody but the parser knows which that is. So all of this must hold: a skip
 * ended, and nothing came since in that direction; no request waited for its answer any more; then one packet came from
 * the other side, with one whole request and no more; then the response begins. Or both begin their directions: then
 * the one is to the other.
 *
 * That no request waited is known where the one before was such a request, too, or by user space, which says up to
 * where it has seen but one whose answer is being skipped.
 */

/* Does [seq, ...) begin a direction whose SYN was seen? */
static __always_inline bool dir_begins(const struct dir *d, __u32 seq)
{
	return seek_first && d->flags & DIR_SYN && seq == d->window_end - CLV_WINDOW_BYTES;
}

/*
 * The request's part. Asked only of a direction whose answers may be sought. `turn`: the other side talked last.
 * `begins`: dir_begins().
 */
static __always_inline enum asked asked_now(struct pass *p, enum asked before, bool turn, bool begins, __u32 seq,
					    __u32 len)
{
	const struct dir *d = p->dir, *other = &p->ref.flow->dir[!p->hook];
	const struct clv_ctl_dir *other_ctl = &p->ref.ctl->dir[!p->hook];

	if (unlikely(begins))
		return seek_possible() && seek_usual_request(p->skb, p->off, len) ? ASKED_FIRST : ASKED_UNKNOWN;
	if (!(clv_word_flags(word_read(&other_ctl->window, d->gen)) & CLV_WORD_SEEK))
		return ASKED_UNKNOWN;
	if (!turn || other->gen != d->gen || !dir_skip_ends_at(other, other_ctl, other->next))
		return ASKED_UNKNOWN;
	clv_word w = word_read(&p->ctl->skip, d->gen);

	if (before != ASKED_ONE && (!(clv_word_flags(w) & CLV_WORD_ALONE) || clv_word_seq(w) != seq))
		return ASKED_UNKNOWN;
	return seek_possible() && seek_plain_request(p->skb, p->off, len) ? ASKED_ONE : ASKED_UNKNOWN;
}

static __always_inline void note_request(struct pass *p, bool turn, bool begins, __u32 seq, __u32 len)
{
	__u8 *asked = &p->ref.flow->asked[p->hook & 1];
	enum asked before = *asked, now = asked_now(p, before, turn, begins, seq, len);

	if (now != before)
		*asked = now;
}

/*
 * The response's part: may its body be skipped? Then the record ends with its head. Nothing may be missing before it,
 * on either side, and the server must have had what was asked last, and no more. `asked`: the least that must be known
 * of that. `urgent`: enum clv_urgency.
 */
static __always_inline bool seek(struct pass *p, enum asked asked, __u32 seq, __u32 end, __u32 urgent)
{
	const struct dir *asker = &p->ref.flow->dir[!p->hook];
	struct dir *d = p->dir;
	__u32 unseen = p->seg->ack - asker->next; /* by this hook, and acknowledged; a FIN counts */
	__u32 head_len = 0;
	__u64 body_len = 0;

	if (dir_misses(d) || dir_misses(asker) || asker->gen != d->gen || unseen > 1 ||
	    p->ref.flow->asked[!p->hook] < asked)
		return false;
	if (!seek_body(p->skb, p->off, end - seq, &head_len, &body_len))
		return false;
	if (body_len > CLV_SKIP_MAX)
		body_len = CLV_SKIP_MAX;
	__u32 body_end = seq + head_len + (__u32)body_len;

	if (seq_before(body_end, end)) /* all of it is here, and more behind it */
		return false;
	d->skip_until = body_end;
	/* The body may be over, and the next answer here, before user space has moved its window past it. */
	d->window_end = body_end + CLV_WINDOW_BEHIND_BYTES;
	d->flags = (d->flags & ~DIR_SYN) | DIR_SKIP | DIR_AHEAD;
	p->flags |= CLV_REC_SOUGHT;
	p->st->sought++;
	p->st->skipped_bytes += end - seq - head_len;
	send(p, seq, end, head_len, urgent);
	return true;
}

/* ---- frames that the kernel walks over --------------------------------------------------------------- */

/* Sends the pieces that were kept of a packet, as send() does. */
static __noinline int send_pieces(struct pass *p, struct walk *w)
{
	struct dir *d = p->dir;
	struct clv_rec *r = (struct clv_rec *)w->rec;

	record_fill(r, p);
	r->flags |= CLV_REC_PIECES;
	r->seq = w->first;
	r->len = w->last - w->first;
	r->cap = w->used;
	if (emit_pieces(w, p->worker, p->st)) {
		d->unsent_from = d->unsent_to;
		d->retransmits = 0;
	} else {
		d->shape = 0;
		hole_open(d, w->first, w->last);
	}
	return 0;
}

/* What is left out does not count against the window, neither the kernel's own nor user space's. */
static __always_inline void window_stretch(struct dir *d, clv_word window, __u32 by)
{
	if (!by)
		return;
	if (window && !(d->flags & DIR_AHEAD))
		d->window_end = clv_word_seq(window);
	d->window_end += by;
	d->flags |= DIR_AHEAD;
}

/* New payload [seq, end), with `w` taken. False: it is not walked over, and nothing was done. */
static __always_inline bool walk_and_send(struct pass *p, struct walk *w, clv_word window, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;

	if (!walk(p->skb, d, p->off, seq, end))
		return false;
	window_stretch(d, window, end - seq - w->kept);
	if (dir_window(d, window, seq, end - seq, p->worker) < end - seq) {
		d->shape = 0;
		return false;
	}
	p->st->walked += w->frames;
	p->st->skipped_bytes += end - seq - w->kept;
	p->st->payload_bytes += w->kept - (w->run_to - w->run_from);
	p->flags |= CLV_REC_WALKED;
	if (w->pieces) {
		if (w->first != seq)
			leave_out(p, seq, w->first);
		else if (owes_earlier(p))
			tell_earlier(p);
		if (w->last != end)
			p->tcp_flags &= ~TCP_FIN;
		send_pieces(p, w);
		seq = w->last;
	}
	if (w->run_from != w->run_to) {
		if (w->run_from != seq)
			leave_out(p, seq, w->run_from);
		if (!d->shape)
			p->flags &= ~CLV_REC_WALKED;
		p->off += w->run_from - w->from;
		p->tcp_flags = w->run_to == end ? p->seg->flags : p->tcp_flags & ~TCP_FIN;
		seq = w->run_to;
		send(p, w->run_from, seq, seq - w->run_from, 0);
	}
	p->tcp_flags = p->seg->flags;
	if (seq != end)
		leave_rest_out(p, seq, end, d->frames.next == end, SKIP_REPORT_BYTES, 0);
	return true;
}

/* New payload [seq, end) of a direction whose frames are walked over. False: not any more, and nothing was done. */
static __always_inline bool walked_payload(struct pass *p, clv_word window, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;
	struct walk *w;

	if (!walk_agrees(d, p->ctl, seq))
		return false;
	w = walk_take();
	if (!w) {
		d->shape = 0;
		return false;
	}
	bool walked = walk_and_send(p, w, window, seq, end);

	scratch_leave(&w->busy);
	return walked;
}

/* ---- what becomes of a packet ----------------------------------------------------------------------- */

/* Probing: only what comes first after the other side has talked, to see whether anything readable passes. */
static __always_inline void probe(struct pass *p, bool first, __u32 seq, __u32 end)
{
	__u32 len = end - seq;

	p->dir->unsent_from = p->dir->unsent_to;
	if (first) {
		p->flags |= CLV_REC_PROBE;
		send(p, seq, end, len < CLV_PROBE_BYTES ? len : CLV_PROBE_BYTES, 0);
	} else {
		p->st->ignored++;
		send_fin(p, end);
	}
}

/*
 * New payload [seq, end): which bytes of it are wanted? `apart`: it does not follow what came last; if that is for a
 * gap, it begins at `next`, and `gap` is what dir_place() says. `begins`: dir_begins().
 */
static __always_inline void new_payload(struct pass *p, clv_word window, bool apart, __u32 gap, __u32 next, bool begins,
					__u32 seq, __u32 end)
{
	struct dir *d = p->dir;
	bool after_skip = false, walking = d->shape;
	__u32 skip = seq;

	if (!walking) {
		after_skip = dir_skip_ends_at(d, p->ctl, seq);
		if (after_skip && !apart)
			d->holes = 0; /* what is missing from before nobody waits for */
		skip = dir_skip_end(d, p->ctl, seq, !apart);
	}
	if (unlikely(d->shape)) {
		if (walked_payload(p, window, seq, end))
			return;
		if (walking)
			skip = dir_skip_end(d, p->ctl, seq, false);
	}
	__u32 from = seq_min(skip, end);

	p->st->skipped_bytes += from - seq;
	if (unlikely(from == end)) {
		if (apart && end != skip && leave_gap_out(p, gap, next, seq, end))
			apart = false;
		leave_rest_out(p, seq, end, apart || end == skip, SKIP_REPORT_BYTES, 0);
		return;
	}
	d->flags &= ~DIR_SKIP; /* passed */
	if (unlikely(from != seq)) {
		leave_out(p, seq, from);
		p->off += from - seq;
	}

	__u32 len = end - from, left = dir_window(d, window, from, len, p->worker), cap = len < left ? len : left;

	p->st->drop_window_bytes += len - cap;
	if (unlikely(!cap)) {
		/* The reader is behind: until it moves the window, all that passes is lost to it. */
		leave_rest_out(p, from, end, apart || !(d->flags & DIR_BEYOND), WINDOW_REPORT_BYTES, CLV_URGENT_NOW);
		d->flags |= DIR_BEYOND;
		return;
	}
	d->flags &= ~DIR_BEYOND;
	if (likely(!apart && cap == len) && seek_possible()) {
		/* User space has to say soon that it agrees, or the next answer is not sought. */
		if (begins && len >= SEEK_FIRST_BYTES && seek(p, ASKED_FIRST, from, end, CLV_URGENT_NOW))
			return;
		if (after_skip && clv_word_flags(window) & CLV_WORD_SEEK &&
		    seek(p, ASKED_ONE, from, end, CLV_URGENT_NOT))
			return;
	}
	send(p, from, end, cap, window_urgency(d, window, end));
}

/* What was seen before is sent again. */
static __always_inline void seen_again(struct pass *p, __u32 end)
{
	p->st->retransmits++;
	dir_count_retransmit(p->dir);
	rtt_void(p->ref.flow, p->hook);
	send_fin(p, end);
}

/* New bytes up to `end` pass: time what is in its place, for what fills a gap may have been sent before. */
static __always_inline void note_sent(struct pass *p, enum place place, __u32 end)
{
	if (place == PLACE_NEXT)
		rtt_sent(p->ref.flow, p->hook, end);
	else
		rtt_void(p->ref.flow, p->hook);
}

/* Nobody wants the bytes, but how many there are. */
static __always_inline void count_only(struct pass *p, __u32 seq, __u32 end)
{
	__u32 gap = 0;
	enum place place = dir_place(p->dir, &seq, end, &gap);

	if (place == PLACE_SEEN) {
		seen_again(p, end);
		return;
	}
	note_sent(p, place, end);
	leave_rest_out(p, seq, end, false, SKIP_REPORT_BYTES, 0);
}

/*
 * Is it known that not this direction talked last? From here on it did. That is noted only where user space wants an
 * answer sought or a flow probed: for all others the key's line of the cache stays unwritten, and so in the caches of
 * all CPUs.
 */
static __always_inline bool take_turn(struct pass *p)
{
	const struct clv_ctl *ctl = p->ref.ctl;
	struct flow *f = p->ref.flow;
	__u16 asked = clv_word_flags(word_read(&ctl->dir[0].window, f->gen)) |
		      clv_word_flags(word_read(&ctl->dir[1].window, f->gen));
	__u8 before = f->talker, this = p->hook + 1;
	__u8 now = asked & (CLV_WORD_SEEK | CLV_WORD_PROBE) ? this : TALKER_UNKNOWN;

	if (before != now)
		f->talker = now;
	return before != this && before != TALKER_UNKNOWN;
}

/* Payload [seq, end): is there anything new in it, and does anybody care? */
static __always_inline void payload(struct pass *p, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;
	clv_word window = word_read(&p->ctl->window, d->gen);
	bool turn = take_turn(p);
	__u32 first = seq;

	if (unlikely(clv_word_flags(window) & CLV_WORD_IGNORE)) {
		p->st->ignored++;
		if (measure)
			count_only(p, seq, end);
		else if (flow_count_due(p->rested))
			send_bare(p, end);
		else
			send_fin(p, end);
		return;
	}
	__u32 next = d->next, gap = 0;
	enum place place = dir_place(d, &seq, end, &gap);

	if (unlikely(place == PLACE_SEEN)) {
		seen_again(p, end);
		return;
	}
	note_sent(p, place, end);
	if (unlikely(place == PLACE_LATE)) {
		p->st->skipped_bytes += end - seq;
		send_fin(p, end);
		return;
	}
	p->off += seq - first;
	bool in_turn = place == PLACE_NEXT && seq == first, begins = in_turn && dir_begins(d, seq);

	note_request(p, turn && in_turn, begins, seq, end - seq);
	if (unlikely(clv_word_flags(window) & CLV_WORD_PROBE))
		probe(p, turn, seq, end);
	else
		new_payload(p, window, place == PLACE_APART, gap, next, begins, seq, end);
}

/* SYN: the direction begins anew; without ACK the whole flow does. A SYN seen before changes nothing. */
static __always_inline void begin(struct pass *p, const struct segment *s)
{
	struct dir *d = p->dir;
	__u32 first = s->seq + 1, end = first + s->len;

	if (d->gen == p->ref.flow->gen && d->flags & DIR_SYN && d->window_end == first + CLV_WINDOW_BYTES) {
		dir_count_retransmit(d);
		rtt_void(p->ref.flow, p->hook);
	} else {
		if (!(s->flags & TCP_ACK) && !p->ref.is_new)
			flow_renew(p->ref.flow, p->ref.ctl);
		dir_start(d, p->ref.flow->gen, first, DIR_SYN);
		rtt_sent(p->ref.flow, p->hook, first);
	}
	if (seq_before(d->next, end))
		d->next = end;
	send(p, s->seq, s->seq + s->len, s->len, 0);
}

static __always_inline void known_flow(struct pass *p, const struct segment *s)
{
	struct dir *d = p->dir;

	if (unlikely(d->late) && !late_may_stay(p, s))
		settle_late(p);
	if (unlikely(s->flags & TCP_SYN)) {
		begin(p, s);
	} else {
		if (unlikely(d->gen != p->ref.flow->gen))
			dir_start(d, p->ref.flow->gen, s->seq, DIR_JOINED);
		if (likely(s->len && !(s->flags & TCP_RST)))
			payload(p, s->seq, s->seq + s->len);
		else
			send_bare(p, s->seq);
	}
	if (unlikely(s->flags & TCP_RST))
		d->flags |= DIR_CLOSED | DIR_RESET;
	else if (unlikely(s->flags & TCP_FIN))
		d->flags |= DIR_CLOSED;
}

/* ---- datagrams -------------------------------------------------------------------------------------- */

/* Nobody paces a sender of datagrams: in each period so many bytes of a direction are copied, and no more. */
static __always_inline bool affordable(struct dir *d, __u32 jiffy, __u32 len, __u32 worker)
{
	__u32 period = jiffy >> CLV_DATAGRAM_PERIOD_BITS;

	if (d->period != period) {
		d->period = period;
		d->copied_bytes = 0;
	}
	__u32 sum = d->copied_bytes + len;

	if (sum > CLV_WINDOW_BYTES && (sum > CLV_DATAGRAM_BYTES || !spare_bytes || !ring_is_roomy(worker)))
		return false;
	d->copied_bytes = sum;
	return true;
}

/* A datagram of a flow in the table: does user space want it? */
static __always_inline bool datagram_wanted(struct pass *p, __u32 jiffy)
{
	struct dir *d = p->dir;
	__u32 last = d->last;

	if (d->gen != p->ref.flow->gen) {
		dir_start(d, p->ref.flow->gen, 0, 0);
		d->copied_bytes = 0;
	}
	d->last = jiffy;
	if (clv_word_flags(word_read(&p->ctl->window, d->gen)) & CLV_WORD_IGNORE) {
		p->st->ignored++;
		if (flow_count_due(last ^ jiffy))
			send(p, 0, 0, 0, 0);
		return false;
	}
	if (!affordable(d, jiffy, p->seg->cap, p->worker)) {
		p->st->drop_window_bytes += p->seg->len;
		return false;
	}
	return true;
}

static __always_inline bool wanted(__u16 sport, __u16 dport)
{
	if (!ports_filtered)
		return true;
	return (wanted_ports[dport / 64] >> dport % 64 | wanted_ports[sport / 64] >> sport % 64) & 1;
}

static __always_inline __u64 coarse_ns(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* Is somebody reading? The clock is asked once a jiffy: that would be a quarter of the price of a pure ACK. */
static __always_inline bool lease_holds(__u64 jiffy)
{
	if (shared.alive_jiffy == jiffy)
		return true;
	if (coarse_ns() >= shared.lease_ns)
		return false;
	shared.alive_jiffy = jiffy;
	return true;
}

/* A segment that only acknowledges: the other direction's round trip may end with it, and it may be counted. */
static __always_inline void pure_ack(struct __sk_buff *skb, const struct segment *s, const enum clv_hook hook,
				     __u32 net, struct clv_kstats *st)
{
	struct flow_ref ref = {};
	struct flow_key key;

	key_make(&key, s, net, hook);
	if (!flow_get(&key, &ref, st, false))
		return;
	if (measure)
		rtt_acked(ref.flow, !hook, s->ack);
	if (count_flows)
		flow_count(skb, s, ref.slot, ref.flow->gen, hook, 0);
}

/* Whole, or, while its flow's budget is used up, not at all. Where the table was busy nothing is known of it. */
static __always_inline void datagram(struct __sk_buff *skb, const struct segment *s, const enum clv_hook hook,
				     const enum layer layer, __u32 net, struct clv_kstats *st, __u32 jiffy)
{
	struct flow_key key;
	struct pass p = {.skb = skb,
			 .st = st,
			 .seg = s,
			 .net = net,
			 .worker = worker_of(s, true),
			 .off = s->off,
			 .hook = hook,
			 .disturbed = layer == LAYER_SOCKET,
			 .flags = CLV_REC_UDP};
	__u32 each = skb->gso_size;

	st->udp++;
	if (!wanted(s->sport, s->dport)) {
		st->unwanted++;
		return;
	}
	if (!s->len)
		return;
	key_make(&key, s, net | KEY_UDP, hook);
	if (flow_get(&key, &p.ref, st, true)) {
		if (flow_was_silent(p.ref.flow, jiffy))
			flow_renew(p.ref.flow, p.ref.ctl);
		p.dir = &p.ref.flow->dir[hook];
		p.ctl = &p.ref.ctl->dir[hook];
		if (count_flows)
			flow_count(skb, s, p.ref.slot, p.ref.flow->gen, hook, s->cap);
		if (!datagram_wanted(&p, jiffy))
			return;
	}
	send(&p, each, each + s->len, s->cap, 0);
}

static __always_inline int parse(struct __sk_buff *skb, const enum clv_hook hook, const enum layer layer,
				 struct clv_kstats *st, struct segment *s)
{
	int parsed = layer == LAYER_ETHERNET ? parse_frame(skb, st, s) : parse_packet(skb, st, s);

	if (layer == LAYER_SOCKET && parsed != PARSED_NOTHING)
		socket_names(skb, s, hook == CLV_HOOK_EGRESS);
	return parsed;
}

/*
 * A SYN-ACK comes from a listener, which does not know its peer: where the address was translated on the way out,
 * nobody could tell whose it is. So it belongs to the flow that its SYN began, or is left alone.
 */
static __always_inline bool may_begin(const struct segment *s, const enum clv_hook hook, const enum layer layer)
{
	if (layer == LAYER_SOCKET && hook == CLV_HOOK_EGRESS && s->flags & TCP_SYN && s->flags & TCP_ACK)
		return false;
	return s->len || s->flags & TCP_SYN;
}

/* This CPU's; NULL when nobody is reading, which is counted. */
static __always_inline struct clv_kstats *stats_if_read(__u64 jiffy)
{
	__u32 zero = 0;
	struct clv_kstats *st = bpf_map_lookup_elem(&stats, &zero);

	if (!st || lease_holds(jiffy))
		return st;
	st->drop_lease_expired++;
	return NULL;
}

/*
 * Is it clear at first sight that nobody wants the packet? Where only some ports are asked for, that is most of them,
 * and it has to cost next to nothing. Not at a cgroup: there the socket knows the ports.
 */
static __always_inline bool pass_over(struct __sk_buff *skb, const enum layer layer)
{
	const bool ethernet = layer == LAYER_ETHERNET;
	struct glance g;

	if (!ports_filtered || layer == LAYER_SOCKET || !glance(skb, ethernet, &g) ||
	    wanted(bpf_ntohs(g.ports[0]), bpf_ntohs(g.ports[1])))
		return false;
	struct clv_kstats *st = stats_if_read(bpf_jiffies64());

	if (!st)
		return true;
	st->packets++;
	st->bytes += skb->len - (ethernet ? sizeof(struct ethhdr) : 0);
	if (g.protocol == IPPROTO_UDP)
		st->udp++;
	st->unwanted++;
	return true;
}

static __always_inline void capture(struct __sk_buff *skb, const enum clv_hook hook, const enum layer layer, __u32 net)
{
	if (pass_over(skb, layer))
		return;

	__u64 jiffy = bpf_jiffies64();
	struct clv_kstats *st = stats_if_read(jiffy);

	if (unlikely(!st))
		return;
	st->packets++;

	struct segment s = {};
	int parsed = parse(skb, hook, layer, st, &s);

	if (unlikely(parsed != PARSED_TCP)) {
		if (parsed == PARSED_UDP)
			datagram(skb, &s, hook, layer, net, st, jiffy);
		return;
	}
	if (!wanted(s.sport, s.dport)) {
		st->unwanted++;
		return;
	}
	if (!s.len && !(s.flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
		st->pure_acks++;
		if (measure || count_flows)
			pure_ack(skb, &s, hook, net, st);
		return;
	}
	struct flow_key key;
	struct pass p = {.skb = skb,
			 .st = st,
			 .seg = &s,
			 .net = net,
			 .worker = worker_of(&s, false),
			 .off = s.off,
			 .hook = hook,
			 .tcp_flags = s.flags,
			 .disturbed = layer == LAYER_SOCKET};
	bool begins = may_begin(&s, hook, layer);

	if (layer == LAYER_SOCKET && hook == CLV_HOOK_EGRESS && s.flags & TCP_FIN && socket_reads_no_more(skb))
		p.flags |= CLV_REC_LAST;

	key_make(&key, &s, net, hook);
	if (likely(flow_get(&key, &p.ref, st, begins))) {
		p.dir = &p.ref.flow->dir[hook];
		p.ctl = &p.ref.ctl->dir[hook];
		p.rested = p.dir->last ^ (__u32)jiffy;
		p.dir->last = jiffy;
		if (measure && s.flags & TCP_ACK)
			rtt_acked(p.ref.flow, !hook, s.ack);
		known_flow(&p, &s);
		if (count_flows) /* now, as a SYN may have made it another flow */
			flow_count(skb, &s, p.ref.slot, p.ref.flow->gen, hook, s.len);
	} else if (begins || !(s.flags & TCP_SYN)) {
		/* The table was busy, or this is a stray RST: everything is copied, nothing is known. */
		__u32 len = s.flags & TCP_RST ? 0 : s.len;

		send(&p, s.seq, s.seq + len, len, 0);
	}
}

SEC("tc")
int clovisor_in(struct __sk_buff *skb)
{
	capture(skb, CLV_HOOK_INGRESS, LAYER_ETHERNET, skb->ifindex);
	return NEXT;
}

SEC("tc")
int clovisor_out(struct __sk_buff *skb)
{
	capture(skb, CLV_HOOK_EGRESS, LAYER_ETHERNET, skb->ifindex);
	return NEXT;
}

/* For devices whose packets begin with the IP header. */
SEC("tc")
int clovisor_in_l3(struct __sk_buff *skb)
{
	capture(skb, CLV_HOOK_INGRESS, LAYER_IP, skb->ifindex);
	return NEXT;
}

SEC("tc")
int clovisor_out_l3(struct __sk_buff *skb)
{
	capture(skb, CLV_HOOK_EGRESS, LAYER_IP, skb->ifindex);
	return NEXT;
}

/* For cgroups. One that was not told its number yet is not looked at. */
static __always_inline int capture_cgroup(struct __sk_buff *skb, const enum clv_hook hook)
{
	const __u32 *told = bpf_get_local_storage(&cgroup_net, 0);
	__u32 net = *told ? *told : net_untold;

	if (net)
		capture(skb, hook, LAYER_SOCKET, net);
	return ALLOW;
}

SEC("cgroup_skb/ingress")
int clovisor_in_cg(struct __sk_buff *skb)
{
	return capture_cgroup(skb, CLV_HOOK_INGRESS);
}

SEC("cgroup_skb/egress")
int clovisor_out_cg(struct __sk_buff *skb)
{
	return capture_cgroup(skb, CLV_HOOK_EGRESS);
}
