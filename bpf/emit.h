/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Records, into this CPU's own ring or into the ring buffer, and the decision when the reader has to be woken: never
 * for a record as such (an interrupt to another CPU costs several microseconds), only when it asked to be or when room
 * is running out.
 */
#ifndef CLV_BPF_EMIT_H
#define CLV_BPF_EMIT_H

#include "flow.h"
#include "maps.h"
#include "worker.h"

/*
 * Reservations must have a size that the verifier knows. So there are classes, and the compiler must not find out how
 * they follow from each other.
 */
#define CLASS(bytes)                                                         \
	({                                                                   \
		__u32 size_;                                                 \
		asm volatile("%0 = %1" : "=r"(size_) : "i"((__u32)(bytes))); \
		size_;                                                       \
	})
/* One of two, or of four, from `first` on. */
#define CLASS_OF_2(size, first, step) ((size) <= (first) ? CLASS(first) : CLASS((first) + (step)))
#define CLASS_OF_4(size, first, step) \
	((size) <= (first) + (step) ? CLASS_OF_2(size, first, step) : CLASS_OF_2(size, (first) + 2 * (step), step))

static __always_inline __u32 record_size(__u32 cap)
{
	const __u32 head = sizeof(struct clv_rec);
	__u32 size = cap + head;

	if (cap == 0)
		return head;
	if (size <= 256)
		return size <= 128 ? CLASS(128) : CLASS_OF_2(size, 192, 64);
	if (size <= 512)
		return CLASS_OF_4(size, 320, 64);
	if (size <= 1024)
		return size <= 768 ? CLASS_OF_4(size, 576, 64) : CLASS_OF_4(size, 832, 64);
	if (size <= 2048)
		return size <= 1536 ? CLASS_OF_2(size, 1280, 256) : CLASS(2048);
	if (size <= 4096)
		return CLASS_OF_2(size, 3072, 1024);
	if (cap <= 16384)
		return cap <= 8192 ? CLASS(head + 8192) : CLASS(head + 16384);
	/* Half of what GSO makes is a frequent size of its own. */
	return cap <= 32768 ? CLASS(head + 32768) : CLASS(head + CLV_REC_MAX_CAP);
}

/* By how much waits in the ring buffer: a fast sender has it full in a moment, or there is little room. */
static __always_inline __u32 room_urgency(void *several)
{
	__u64 waits = unread(several);

	if (waits > wake_bytes)
		return CLV_URGENT_NOW;
	return waits > wake_bytes / 2 ? CLV_URGENT_SOON : CLV_URGENT_NOT;
}

static __always_inline __u64 wake_flag(void *several, __u32 worker, __u32 urgent)
{
	volatile struct clv_wake *w = &shared.wake[worker & (CLV_WAKES - 1)];

	if (w->want_wake) {
		w->want_wake = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	if (w->wake_armed && (urgent >= w->wake_armed || room_urgency(several) >= w->wake_armed)) {
		w->wake_armed = 0;
		return BPF_RB_FORCE_WAKEUP;
	}
	return BPF_RB_NO_WAKEUP;
}

/*
 * Has the reader to be woken? Then it is by a record in the ring buffer. If much waits there, it has been already, and
 * room is short.
 */
static __always_inline bool is_due(__u32 worker, __u32 urgent)
{
	volatile struct clv_wake *w = &shared.wake[worker & (CLV_WAKES - 1)];

	if (likely(!w->want_wake && !(urgent && w->wake_armed && urgent >= w->wake_armed)))
		return false;
	return unread(ring_of(worker)) <= wake_bytes;
}

/*
 * How soon a record has to be read, by whom, and whether anything may come between while it is written, in one word:
 * functions have five parameters at most.
 */
#define SOON_DISTURBED (1u << 31)
static __always_inline __u32 how_soon(enum clv_urgency urgent, __u32 worker, bool disturbed)
{
	return worker << 8 | urgent | (disturbed ? SOON_DISTURBED : 0);
}

/* Whoever sees `value` there sees all that was written before. An exchange would wait until all of it has arrived. */
static __always_inline void publish(__u64 *at, __u64 value)
{
	barrier();
	if (stores_in_order)
		*(volatile __u64 *)at = value;
	else
		__sync_lock_test_and_set(at, value);
}

/*
 * Into this CPU's own ring, which nobody else writes: on an interface's hook nothing comes between. While it is empty
 * it begins anew at its beginning, which is in the cache. 0: there is no room.
 */
static __always_inline int emit_here(struct __sk_buff *skb, const struct clv_rec *head, __u32 off, __u32 worker,
				     struct clv_kstats *st)
{
	__u32 cpu = bpf_get_smp_processor_id(), cap = head->cap, key = worker * cpus + cpu;
	struct clv_cpu_ring *ring = cpu < cpus ? bpf_map_lookup_elem(&cpu_rings, &key) : NULL;

	barrier_var(cap);
	if (!ring || cap > CLV_CPU_RING_RECORD - sizeof(*head))
		return 0;
	__u64 end = ring->end, read = *(volatile __u64 *)&ring->read, begin = ring->begin;

	if (end == read)
		ring->begin = end = (end + cpu_ring_bytes - 1) & ~(__u64)(cpu_ring_bytes - 1);
	else if (end - (begin > read ? begin : read) + CLV_CPU_RING_RECORD > cpu_ring_bytes)
		return 0;
	struct clv_rec *r = (void *)&ring->data[(__u32)end & (cpu_ring_bytes - 8)];

	__builtin_memcpy(r, head, sizeof(*r));
	if (cap > 0 && bpf_skb_load_bytes(skb, off, r->data, cap))
		r->cap = cap = 0;
	st->payload_bytes += cap;
	st->records++;
	st->record_bytes += clv_cpu_ring_step(cap);
	publish(&ring->end, end + clv_cpu_ring_step(cap));
	return 1;
}

/*
 * One record: `head`, and head->cap bytes of the skb from `off` on. `soon`: how_soon(). 0 when there is no room
 * (counted).
 */
__noinline int emit(struct __sk_buff *skb, const struct clv_rec *head, __u32 off, __u32 soon, struct clv_kstats *st)
{
	if (!head || !st)
		return 0;

	__u32 worker = soon >> 8 & (CLV_WAKES - 1), urgent = soon & 0xff;

	if (cpus && !(soon & SOON_DISTURBED) && likely(!is_due(worker, urgent)) &&
	    likely(emit_here(skb, head, off, worker, st)))
		return 1;

	void *several = ring_of(worker);
	__u32 cap = head->cap, size = record_size(cap);
	struct clv_rec *r = bpf_ringbuf_reserve(several ? several : &ring, size, 0);

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
	bpf_ringbuf_submit(r, wake_flag(several, worker, urgent));
	return 1;
}

/* Likewise what walk.h has kept: its record's head, filled in, and the pieces behind it. */
static __always_inline int emit_pieces(struct walk *w, __u32 worker, struct clv_kstats *st)
{
	__u32 used = w->used;
	void *several = ring_of(worker);

	barrier_var(used);
	if (used > WALK_BYTES + 8)
		return 0;
	if (bpf_ringbuf_output(several ? several : &ring, w->rec, sizeof(struct clv_rec) + used,
			       wake_flag(several, worker, 0))) {
		st->drop_ring_full++;
		return 0;
	}
	st->records++;
	st->record_bytes += sizeof(struct clv_rec) + used;
	return 1;
}

#endif
