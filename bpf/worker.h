/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Whose a packet is, where user space has several workers, and that worker's ring buffer. With one worker the verifier
 * knows it, and removes all of this.
 */
#ifndef CLV_BPF_WORKER_H
#define CLV_BPF_WORKER_H

#include "maps.h"
#include "parse.h"
#include "wire/turn.h"

static __always_inline __u64 addr_hash(const union ip_addr *addr)
{
	__u64 h = (addr->q[0] ^ hash_seed) * 0x9e3779b97f4a7c15ull;

	h = (h ^ h >> 32 ^ addr->q[1]) * 0xff51afd7ed558ccdull;
	return h ^ h >> 32;
}

/*
 * The same for both directions, and wherever the packet is seen: so the place of capture is not in it, and the two ends
 * are added.
 */
__noinline int worker_of_many(const struct segment *s, bool udp)
{
	if (!s || !workers)
		return 0;
	__u64 h = (addr_hash(&s->src) + addr_hash(&s->dst) + udp) * 0x9e3779b97f4a7c15ull;
	__u32 turn = clv_turn(s->sport, s->dport, workers);

	/* Datagrams the other way round: no worker has, by chance, all of both. */
	turn = (h >> 32) + (udp ? -turn : turn);
	return turn % workers;
}

static __always_inline __u32 worker_of(const struct segment *s, bool udp)
{
	return workers < 2 ? 0 : worker_of_many(s, udp);
}

/* With several workers. NULL cannot be, but for the verifier. */
static __always_inline void *ring_of(__u32 worker)
{
	return workers < 2 ? NULL : bpf_map_lookup_elem(&rings, &worker);
}

/* `several`: ring_of(). */
static __always_inline __u64 unread(void *several)
{
	return bpf_ringbuf_query(several ? several : &ring, BPF_RB_AVAIL_DATA);
}

/* Is there room for what nobody has asked for yet? */
__noinline int ring_is_roomy(__u32 worker)
{
	return unread(ring_of(worker)) <= roomy_bytes;
}

#endif
