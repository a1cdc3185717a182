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

/* What the steps of one packet share. */
struct pass {
	struct __sk_buff *skb;
	struct clv_kstats *st;
	struct dir *dir;
	struct clv_ctl_dir *ctl;
	__u32 off;          /* of the payload in the skb */
	struct clv_rec rec; /* complete but for what changes from record to record */
};

/* Sends p->rec with what the direction owes: its unreported hole, its retransmissions. */
static __always_inline bool send(struct pass *p, __u32 off, __u32 window_left)
{
	struct dir *d = p->dir;

	p->rec.hole_seq = d->unsent_from;
	p->rec.hole_len = d->unsent_to - d->unsent_from;
	p->rec.retransmits = d->retransmits;
	if (!emit(p->skb, &p->rec, off, window_left, p->st))
		return false;
	d->unsent_from = d->unsent_to;
	d->retransmits = 0;
	return true;
}

/* A record without payload, at `seq`. */
static __noinline int send_bare(struct pass *p, __u32 seq, __u8 tcp_flags)
{
	p->rec.seq = seq;
	p->rec.len = p->rec.cap = 0;
	p->rec.tcp_flags = tcp_flags;
	return send(p, 0, CLV_WINDOW_BYTES);
}

/* The payload [seq, end), of which `cap` bytes are copied. If it cannot be sent, a retransmission may bring it. */
static __always_inline void send_payload(struct pass *p, __u32 seq, __u32 end, __u32 cap, __u32 window_left)
{
	p->rec.len = end - seq;
	p->rec.cap = cap < snaplen ? cap : snaplen;
	if (!send(p, p->off, window_left))
		hole_open(p->dir, seq, end);
}

/* [lo, hi) is left out. What was left out elsewhere before is reported first. */
static __noinline int leave_out(struct pass *p, __u32 lo, __u32 hi)
{
	struct dir *d = p->dir;
	__u8 flags = p->rec.tcp_flags;

	if (dir_leave_out(d, lo, hi))
		return 0;
	send_bare(p, d->unsent_to, 0);
	p->rec.tcp_flags = flags;
	d->unsent_from = lo;
	d->unsent_to = hi;
	return 0;
}

/* Is this a response whose body the kernel may skip? Then the record ends with its head. */
static __always_inline bool seek(struct pass *p, const struct flow *f, const enum clv_hook hook, __u32 seq, __u32 end)
{
	const struct dir *asker = &f->dir[!hook];
	struct dir *d = p->dir;
	__u32 head_len = 0;
	__u64 body_len = 0;

	if (d->flags & DIR_JOINED) { /* user space follows this direction: it does not wait for what came before */
		d->flags &= ~DIR_JOINED;
		d->holes &= ~1;
	}
	if (d->holes || asker->gen != f->gen || !(asker->flags & DIR_PLAIN))
		return false;
	if (!seek_body(p->skb, p->off, end - seq, &head_len, &body_len))
		return false;
	if (body_len > CLV_SKIP_MAX)
		body_len = CLV_SKIP_MAX;
	__u32 body_end = seq + head_len + (__u32)body_len;

	if (seq_before(body_end, end)) /* all of it is here, and more behind it */
		return false;
	d->skip_until = body_end;
	d->flags |= DIR_SKIP;
	p->rec.flags |= CLV_REC_SOUGHT;
	p->st->sought++;
	p->st->skipped_bytes += end - seq - head_len;
	send_payload(p, seq, end, head_len, CLV_WINDOW_BYTES);
	return true;
}

/* The direction's requests are known not to be HEAD as long as the last payload packet was copied and is not. */
static __always_inline void note_plain(struct pass *p, __u32 cap)
{
	__u8 start[5] = {};

	p->dir->flags &= ~DIR_PLAIN;
	if (cap >= sizeof(start) && !bpf_skb_load_bytes(p->skb, p->off, start, sizeof(start)) &&
	    !(word_is(start, "HEAD") && start[4] == ' '))
		p->dir->flags |= DIR_PLAIN;
}

/* Probing: only what comes first after the other side has talked, to see whether anything readable passes. */
static __always_inline void probe(struct pass *p, bool first, __u32 seq, __u32 end, __u8 flags)
{
	__u32 len = end - seq;

	p->dir->unsent_from = p->dir->unsent_to;
	if (first) {
		p->rec.seq = seq;
		p->rec.flags |= CLV_REC_PROBE;
		send_payload(p, seq, end, len < CLV_PROBE_BYTES ? len : CLV_PROBE_BYTES, CLV_WINDOW_BYTES);
	} else if (flags & TCP_FIN) {
		send_bare(p, end, flags);
	} else {
		p->st->ignored++;
	}
}

/* Payload [seq, end): which bytes of it are new, which of those are wanted? */
static __always_inline void payload(struct pass *p, struct flow *f, const enum clv_hook hook, __u32 seq, __u32 end)
{
	struct dir *d = p->dir;
	__u8 flags = p->rec.tcp_flags;
	clv_word window = word_read(&p->ctl->window, d->gen);
	bool turn = f->talker != hook + 1;
	__u32 first = seq;

	if (turn)
		f->talker = hook + 1;
	if (clv_word_flags(window) & CLV_WORD_IGNORE) {
		p->st->ignored++;
		if (flags & TCP_FIN)
			send_bare(p, end, flags);
		return;
	}
	enum place place = dir_place(d, &seq, end);

	if (place == PLACE_SEEN) {
		p->st->retransmits++;
		if (d->retransmits != 0xffff)
			d->retransmits++;
		if (flags & TCP_FIN)
			send_bare(p, end, flags);
		return;
	}
	p->off += seq - first;
	if (clv_word_flags(window) & CLV_WORD_PROBE) {
		probe(p, turn, seq, end, flags);
		return;
	}

	__u32 skip = dir_skip_end(d, p->ctl, seq), from = seq_min(skip, end);

	if (from != seq) {
		p->st->skipped_bytes += from - seq;
		leave_out(p, seq, from);
		p->off += from - seq;
		if (from == end) {
			if (place == PLACE_APART || end == skip || flags & TCP_FIN ||
			    d->unsent_to - d->unsent_from >= SKIP_REPORT_BYTES)
				send_bare(p, end, flags);
			return;
		}
	}

	__u32 len = end - from, left = dir_window(d, window, from), cap = len < left ? len : left;

	p->st->drop_window_bytes += len - cap;
	if (!cap) {
		leave_out(p, from, end);
		if (place == PLACE_APART || !(d->flags & DIR_BEYOND) || flags & TCP_FIN ||
		    d->unsent_to - d->unsent_from >= WINDOW_REPORT_BYTES)
			send_bare(p, end, flags);
		d->flags = (d->flags | DIR_BEYOND) & ~DIR_PLAIN;
		return;
	}
	d->flags &= ~DIR_BEYOND;
	p->rec.seq = from;
	if (clv_word_flags(window) & CLV_WORD_SEEK) {
		if (seek_possible() && place == PLACE_NEXT && skip == seq && cap == len && seek(p, f, hook, from, end))
			return;
	}
	note_plain(p, cap);
	send_payload(p, from, end, cap, left - cap);
}

/* SYN: the direction begins anew; without ACK the whole flow does. A SYN seen before changes nothing. */
static __always_inline void begin(struct pass *p, struct flow_ref *ref, const struct segment *s)
{
	struct dir *d = p->dir;
	bool again = d->gen == ref->flow->gen && d->flags & DIR_SYN && d->window_end == s->seq + 1 + CLV_WINDOW_BYTES;

	if (!again) {
		if (!(s->flags & TCP_ACK) && d->gen)
			flow_renew(ref->flow, ref->ctl);
		dir_start(d, ref->flow->gen, s->seq + 1, DIR_SYN);
	} else {
		d->retransmits++;
	}
	p->rec.gen = d->gen;
	p->rec.seq = s->seq;
	if (s->len && seq_before(d->next, s->seq + 1 + s->len))
		d->next = s->seq + 1 + s->len;
	send_payload(p, s->seq, s->seq + s->len, s->len, CLV_WINDOW_BYTES);
}

static __always_inline bool wanted(const struct segment *s)
{
	if (!ports_filtered)
		return true;
	return (wanted_ports[s->dport / 64] >> s->dport % 64 | wanted_ports[s->sport / 64] >> s->sport % 64) & 1;
}

static __always_inline void record_start(struct clv_rec *r, const struct segment *s, const struct flow_key *key,
					 const enum clv_hook hook)
{
	__builtin_memset(r, 0, sizeof(*r));
	r->ts_ns = bpf_ktime_get_ns();
	r->ifindex = key->ifindex;
	r->tcp_flags = s->flags;
	r->flags = (hook == CLV_HOOK_EGRESS ? CLV_REC_EGRESS : 0) | (s->v6 ? CLV_REC_IPV6 : 0);
	r->seq = s->seq;
	r->ack = s->ack;
	r->sport = s->sport;
	r->dport = s->dport;
	__builtin_memcpy(r->saddr, &s->src, sizeof(r->saddr));
	__builtin_memcpy(r->daddr, &s->dst, sizeof(r->daddr));
}

/* Without state (the table was busy, or a stray RST): everything is copied, nothing is known. */
static __noinline int send_stateless(struct pass *p, const struct segment *s)
{
	p->rec.len = s->flags & TCP_RST ? 0 : s->len;
	p->rec.cap = p->rec.len < snaplen ? p->rec.len : snaplen;
	return emit(p->skb, &p->rec, s->off, CLV_WINDOW_BYTES, p->st);
}

static __always_inline __u64 coarse_ns(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_ktime_get_coarse_ns))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

static __always_inline int capture(struct __sk_buff *skb, const enum clv_hook hook, const bool ethernet)
{
	__u32 zero = 0;
	struct clv_kstats *st = bpf_map_lookup_elem(&stats, &zero);
	struct pass p = {.skb = skb, .st = st};
	struct flow_ref ref = {};
	struct flow_key key;
	struct segment s = {};

	if (!st)
		return NEXT;
	if (coarse_ns() >= shared.lease_ns) {
		st->drop_lease_expired++;
		return NEXT;
	}
	st->packets++;
	if (!(ethernet ? parse_frame(skb, st, &s) : parse_packet(skb, st, &s)))
		return NEXT;
	if (!s.len && !(s.flags & (TCP_SYN | TCP_FIN | TCP_RST))) {
		st->pure_acks++;
		return NEXT;
	}
	if (!wanted(&s)) {
		st->unwanted++;
		return NEXT;
	}
	key_make(&key, &s, skb->ifindex, hook);
	record_start(&p.rec, &s, &key, hook);
	if (!flow_get(&key, &ref, st, s.len || s.flags & TCP_SYN)) {
		send_stateless(&p, &s);
		return NEXT;
	}

	struct dir *d = &ref.flow->dir[hook];

	p.dir = d;
	p.ctl = &ref.ctl->dir[hook];
	p.off = s.off;
	p.rec.slot = ref.slot;
	if (s.flags & TCP_SYN) {
		begin(&p, &ref, &s);
	} else {
		if (d->gen != ref.flow->gen)
			dir_start(d, ref.flow->gen, s.seq, DIR_JOINED);
		p.rec.gen = d->gen;
		if (s.len && !(s.flags & TCP_RST))
			payload(&p, ref.flow, hook, s.seq, s.seq + s.len);
		else
			send_bare(&p, s.seq, s.flags);
	}
	d->last = p.rec.ts_ns >> 24;
	if (s.flags & (TCP_FIN | TCP_RST))
		d->flags |= s.flags & TCP_RST ? DIR_CLOSED | DIR_RESET : DIR_CLOSED;
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
