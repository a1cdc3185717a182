// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The programs on a network interface's ingress and egress: they look at each packet and let it pass, whatever
 * happens. parse.h makes a segment of it, flow.h knows which of its bytes are new, this file decides which of
 * those user space needs, emit.h sends them.
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

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define NEXT -1 /* TCX_NEXT and TC_ACT_UNSPEC: the next program decides */

#define SKIP_REPORT_BYTES   (16u << 20)  /* progress of a long skip */
#define WINDOW_REPORT_BYTES (256u << 10) /* likewise beyond the window */
/*
 * With less of a window left, the reader is woken. It keeps 768 KiB open and moves that in steps of 32 KiB: so only a
 * long body that has to be read comes here, and what is left gives the reader a third of a millisecond at 2 GB/s.
 */
#define WINDOW_URGENT_BYTES (704u << 10)

/* What the steps of one packet share. */
struct pass {
	struct __sk_buff *skb;
	struct clv_kstats *st;
	const struct segment *seg;
	const struct flow_key *key;
	struct flow *flow;
	struct dir *dir, *other_dir; /* NULL: no state */
	struct clv_ctl_dir *ctl, *other_ctl;
	__u32 slot;
	__u32 off; /* of the payload that is dealt with, in the skb */
	__u8 hook;
	__u8 flags;     /* for the next record: enum clv_rec_flag */
	__u8 tcp_flags; /* likewise */
};

/* ---- sending --------------------------------------------------------------------------------------- */

static __always_inline void record_fill(struct clv_rec *r, const struct pass *p)
{
	const struct segment *s = p->seg;
	const struct dir *d = p->dir;

	r->ts_ns = bpf_ktime_get_ns();
	r->ifindex = p->key->ifindex;
	r->slot = p->slot;
	r->gen = d ? d->gen : 0;
	r->tcp_flags = p->tcp_flags;
	r->flags = p->flags | (p->hook == CLV_HOOK_EGRESS ? CLV_REC_EGRESS : 0) | (s->v6 ? CLV_REC_IPV6 : 0);
	r->ack = s->ack;
	r->hole_seq = d ? d->unsent_from : 0;
	r->hole_len = d ? d->unsent_to - d->unsent_from : 0;
	r->retransmits = d ? d->retransmits : 0;
	r->sport = s->sport;
	r->dport = s->dport;
	r->rtt = d ? rtt_take(p->flow, p->hook) : 0;
	__builtin_memcpy(r->saddr, &s->src, sizeof(r->saddr));
	__builtin_memcpy(r->daddr, &s->dst, sizeof(r->daddr));
}

/*
 * Sends a record about [seq, end), with the first `cap` bytes of it and with what the direction owes: its
 * unreported hole, its retransmissions. If it cannot be sent, a retransmission may still bring the payload.
 */
static __noinline int send(struct pass *p, __u32 seq, __u32 end, __u32 cap, __u32 urgent)
{
	struct dir *d = p->dir;
	struct clv_rec r;

	record_fill(&r, p);
	r.seq = seq;
	r.len = end - seq;
	r.cap = cap < snaplen ? cap : snaplen;
	int sent = emit(p->skb, &r, p->off, urgent, p->st);

	if (!d)
		return 0;
	if (sent) {
		d->unsent_from = d->unsent_to;
		d->retransmits = 0;
	} else if (seq != end) {
		hole_open(d, seq, end);
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

/* [lo, hi) is left out. What was left out elsewhere before is reported first. */
static __noinline int leave_out(struct pass *p, __u32 lo, __u32 hi)
{
	struct dir *d = p->dir;
	__u8 tcp_flags = p->tcp_flags;

	if (dir_leave_out(d, lo, hi))
		return 0;
	p->tcp_flags = 0;
	send_bare(p, d->unsent_to);
	p->tcp_flags = tcp_flags;
	d->unsent_from = lo;
	d->unsent_to = hi;
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

/* ---- Content-Length in the kernel ------------------------------------------------------------------- */

/*
 * When may the kernel believe a Content-Length? Only when the response that it stands in answers a request that is
 * known not to be HEAD; with pipelining nobody but the parser knows which that is. So all of this must hold: a skip
 * ended, and nothing came since in that direction; then one packet came from the other side, with one whole request
 * and no more; then the response begins.
 */

/* The request's part. Asked only of a direction whose answers may be sought. `turn`: the other side talked last. */
static __always_inline void note_request(struct pass *p, bool turn, __u32 len)
{
	struct dir *d = p->dir;
	const struct dir *other = p->other_dir;

	d->flags &= ~DIR_PLAIN;
	if (!(clv_word_flags(word_read(&p->other_ctl->window, d->gen)) & CLV_WORD_SEEK))
		return;
	if (turn && other->gen == d->gen && dir_skip_ends_at(other, p->other_ctl, other->next) && seek_possible() &&
	    seek_plain_request(p->skb, p->off, len))
		d->flags |= DIR_PLAIN;
}

/*
 * The response's part: may its body be skipped? Then the record ends with its head. Nothing may be missing before it,
 * except what a joined direction would have wanted from before its beginning.
 */
static __always_inline bool seek(struct pass *p, __u32 seq, __u32 end)
{
	const struct dir *asker = p->other_dir;
	struct dir *d = p->dir;
	__u32 head_len = 0;
	__u64 body_len = 0;

	if (d->holes & ~(d->flags & DIR_JOINED ? 1 : 0) || asker->gen != d->gen || !(asker->flags & DIR_PLAIN))
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
	d->window_end = body_end + CLV_WINDOW_BYTES + spare_bytes;
	d->flags = (d->flags & ~DIR_SYN) | DIR_SKIP | DIR_AHEAD;
	p->flags |= CLV_REC_SOUGHT;
	p->st->sought++;
	p->st->skipped_bytes += end - seq - head_len;
	send(p, seq, end, head_len, 0);
	return true;
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

/* New payload [seq, end): which bytes of it are wanted? `apart`: it does not follow what came last. */
static __always_inline void new_payload(struct pass *p, clv_word window, bool apart, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;
	bool after_skip = dir_skip_ends_at(d, p->ctl, seq);
	__u32 skip = dir_skip_end(d, p->ctl, seq), from = seq_min(skip, end);

	p->st->skipped_bytes += from - seq;
	if (from == end) {
		leave_rest_out(p, seq, end, apart || end == skip, SKIP_REPORT_BYTES, 0);
		return;
	}
	if (from != seq) {
		leave_out(p, seq, from);
		p->off += from - seq;
	}

	__u32 len = end - from, left = dir_window(d, window, from, len), cap = len < left ? len : left;

	p->st->drop_window_bytes += len - cap;
	if (!cap) {
		/* The reader is behind: until it moves the window, all that passes is lost to it. */
		leave_rest_out(p, from, end, apart || !(d->flags & DIR_BEYOND), WINDOW_REPORT_BYTES, 1);
		d->flags |= DIR_BEYOND;
		return;
	}
	d->flags &= ~DIR_BEYOND;
	if (clv_word_flags(window) & CLV_WORD_SEEK && after_skip && !apart && cap == len) {
		if (seek_possible() && seek(p, from, end))
			return;
	}
	send(p, from, end, cap, left - cap < (window ? WINDOW_URGENT_BYTES : CLV_WINDOW_BYTES / 2));
}

/* What was seen before is sent again. */
static __always_inline void seen_again(struct pass *p, __u32 end)
{
	p->st->retransmits++;
	dir_count_retransmit(p->dir);
	rtt_void(p->flow, p->hook);
	send_fin(p, end);
}

/* New bytes up to `end` pass: time what is in its place, for what fills a gap may have been sent before. */
static __always_inline void note_sent(struct pass *p, enum place place, __u32 end)
{
	if (place == PLACE_NEXT)
		rtt_sent(p->flow, p->hook, end);
	else
		rtt_void(p->flow, p->hook);
}

/* Nobody wants the bytes, but how many there are. */
static __always_inline void count_only(struct pass *p, __u32 seq, __u32 end)
{
	enum place place = dir_place(p->dir, &seq, end);

	if (place == PLACE_SEEN) {
		seen_again(p, end);
		return;
	}
	note_sent(p, place, end);
	leave_rest_out(p, seq, end, false, SKIP_REPORT_BYTES, 0);
}

/* Payload [seq, end): is there anything new in it, and does anybody care? */
static __always_inline void payload(struct pass *p, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;
	struct flow *f = p->flow;
	clv_word window = word_read(&p->ctl->window, d->gen);
	bool turn = f->talker != p->hook + 1;
	__u32 first = seq;

	if (turn)
		f->talker = p->hook + 1;
	if (clv_word_flags(window) & CLV_WORD_IGNORE) {
		p->st->ignored++;
		if (measure)
			count_only(p, seq, end);
		else
			send_fin(p, end);
		return;
	}
	enum place place = dir_place(d, &seq, end);

	if (place == PLACE_SEEN) {
		seen_again(p, end);
		return;
	}
	note_sent(p, place, end);
	p->off += seq - first;
	note_request(p, turn && place == PLACE_NEXT && seq == first, end - seq);
	if (clv_word_flags(window) & CLV_WORD_PROBE)
		probe(p, turn, seq, end);
	else
		new_payload(p, window, place == PLACE_APART, seq, end);
}

/* SYN: the direction begins anew; without ACK the whole flow does. A SYN seen before changes nothing. */
static __always_inline void begin(struct pass *p, const struct segment *s, const struct flow_ref *ref)
{
	struct dir *d = p->dir;
	__u32 first = s->seq + 1, end = first + s->len;

	if (d->gen == p->flow->gen && d->flags & DIR_SYN && d->window_end == first + CLV_WINDOW_BYTES) {
		dir_count_retransmit(d);
		rtt_void(p->flow, p->hook);
	} else {
		if (!(s->flags & TCP_ACK) && !ref->is_new)
			flow_renew(p->flow, ref->ctl);
		dir_start(d, p->flow->gen, first, DIR_SYN);
		rtt_sent(p->flow, p->hook, first);
	}
	if (seq_before(d->next, end))
		d->next = end;
	send(p, s->seq, s->seq + s->len, s->len, 0);
}

static __always_inline void known_flow(struct pass *p, const struct segment *s, const struct flow_ref *ref)
{
	struct dir *d = p->dir;

	if (s->flags & TCP_SYN) {
		begin(p, s, ref);
	} else {
		if (d->gen != p->flow->gen)
			dir_start(d, p->flow->gen, s->seq, DIR_JOINED);
		if (s->len && !(s->flags & TCP_RST))
			payload(p, s->seq, s->seq + s->len);
		else
			send_bare(p, s->seq);
	}
	if (s->flags & TCP_RST)
		d->flags |= DIR_CLOSED | DIR_RESET;
	else if (s->flags & TCP_FIN)
		d->flags |= DIR_CLOSED;
}

static __always_inline bool wanted(const struct segment *s)
{
	if (!ports_filtered)
		return true;
	return (wanted_ports[s->dport / 64] >> s->dport % 64 | wanted_ports[s->sport / 64] >> s->sport % 64) & 1;
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

/* A segment that only acknowledges: the other direction's round trip may end with it. */
static __always_inline void pure_ack(struct __sk_buff *skb, const struct segment *s, const enum clv_hook hook,
				     struct clv_kstats *st)
{
	struct flow_ref ref = {};
	struct flow_key key;

	key_make(&key, s, skb->ifindex, hook);
	if (flow_get(&key, &ref, st, false))
		rtt_acked(ref.flow, !hook, s->ack);
}

static __always_inline int capture(struct __sk_buff *skb, const enum clv_hook hook, const bool ethernet)
{
	__u32 zero = 0;
	__u64 jiffy = bpf_jiffies64();
	struct clv_kstats *st = bpf_map_lookup_elem(&stats, &zero);
	struct segment s = {};

	if (!st)
		return NEXT;
	if (!lease_holds(jiffy)) {
		st->drop_lease_expired++;
		return NEXT;
	}
	st->packets++;
	if (!(ethernet ? parse_frame(skb, st, &s) : parse_packet(skb, st, &s)))
		return NEXT;
	if (!s.len && !(s.flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
		st->pure_acks++;
		if (measure && wanted(&s))
			pure_ack(skb, &s, hook, st);
		return NEXT;
	}
	if (!wanted(&s)) {
		st->unwanted++;
		return NEXT;
	}

	struct flow_ref ref = {};
	struct flow_key key;
	struct pass p = {
		.skb = skb, .st = st, .seg = &s, .key = &key, .off = s.off, .hook = hook, .tcp_flags = s.flags};

	key_make(&key, &s, skb->ifindex, hook);
	if (flow_get(&key, &ref, st, s.len || s.flags & TCP_SYN)) {
		p.flow = ref.flow;
		p.dir = &ref.flow->dir[hook];
		p.other_dir = &ref.flow->dir[!hook];
		p.ctl = &ref.ctl->dir[hook];
		p.other_ctl = &ref.ctl->dir[!hook];
		p.slot = ref.slot;
		p.dir->last = jiffy;
		if (measure && s.flags & TCP_ACK)
			rtt_acked(ref.flow, !hook, s.ack);
		known_flow(&p, &s, &ref);
	} else { /* the table was busy, or this is a stray RST: everything is copied, nothing is known */
		__u32 len = s.flags & TCP_RST ? 0 : s.len;

		send(&p, s.seq, s.seq + len, len, 0);
	}
	return NEXT;
}

SEC("tc")
int clovisor_in(struct __sk_buff *skb)
{
	return capture(skb, CLV_HOOK_INGRESS, true);
}

SEC("tc")
int clovisor_out(struct __sk_buff *skb)
{
	return capture(skb, CLV_HOOK_EGRESS, true);
}

/* For devices whose packets begin with the IP header. */
SEC("tc")
int clovisor_in_l3(struct __sk_buff *skb)
{
	return capture(skb, CLV_HOOK_INGRESS, false);
}

SEC("tc")
int clovisor_out_l3(struct __sk_buff *skb)
{
	return capture(skb, CLV_HOOK_EGRESS, false);
}
