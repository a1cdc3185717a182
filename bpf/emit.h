/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records into the ring buffer, and the decision when the reader has to be woken: never for a record as such (an
 * interrupt to another CPU costs several microseconds), only when it asked to be or when room is running out.
 */
#ifndef CLV_BPF_EMIT_H
#define CLV_BPF_EMIT_H

#include "flow.h"
#include "maps.h"

/* Reservations must have a constant size; in most traffic the first three fit. */
static __always_inline __u32 record_size(__u32 cap)
{
	if (cap <= 256 - sizeof(struct clv_rec))
		return cap ? 256 : sizeof(struct clv_rec);
	if (cap <= 512 - sizeof(struct clv_rec))
		return 512;
	if (cap <= 768 - sizeof(struct clv_rec))
		return 768;
	if (cap <= 1536 - sizeof(struct clv_rec))
		return 1536;
	if (cap <= 4096 - sizeof(struct clv_rec))
		return 4096;
	if (cap <= 8192)
		return 8192 + sizeof(struct clv_rec);
	if (cap <= 16384)
		return 16384 + sizeof(struct clv_rec);
	if (cap <= 32768) /* half of what GSO makes: a frequent size of its own */
		return 32768 + sizeof(struct clv_rec);
	return CLV_REC_MAX_CAP + sizeof(struct clv_rec);
}

static __always_inline __u64 wake_flag(__u32 urgent)
{
	if (shared.want_wake) {
		shared.want_wake = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	if (shared.wake_armed && (urgent || ring_is_filling())) {
		shared.wake_armed = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	return BPF_RB_NO_WAKEUP;
}

/*
 * One record: `head`, and head->cap bytes of the skb from `off` on. `urgent`: its window is running out. 0 when the
 * ring is full (counted).
 */
__noinline int emit(struct __sk_buff *skb, const struct clv_rec *head, __u32 off, __u32 urgent, struct clv_kstats *st)
{
	if (!head || !st)
		return 0;

	__u32 cap = head->cap, size = record_size(cap);
	struct clv_rec *r = bpf_ringbuf_reserve(&ring, size, 0);

	if (!r) {
		st->drop_ring_full++;
		return 0;
	}
	__builtin_memcpy(r, head, sizeof(*r));
	barrier_var(cap);
	if (cap > 0 && cap <= size - sizeof(*r)) {
		if (bpf_skb_load_bytes(skb, off, r->data, cap))
			r->cap = 0;
		else
			st->payload_bytes += cap;
	}
	st->records++;
	st->record_bytes += size;
	bpf_ringbuf_submit(r, wake_flag(urgent));
	return 1;
}

#endif
