/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The whole contract between bpf/ and user space: the ring buffer record, the control words that user
 * space writes back, and the counters. Fixed widths, no implicit padding, asserted below.
 *
 * Included by BPF and by user space: <linux/types.h> only.
 */
#ifndef CLV_WIRE_RECORD_H
#define CLV_WIRE_RECORD_H

#include <linux/types.h>

/* ---- records (ring buffer map "ring", kernel -> user) ------------------------------------------- */

/*
 * Which hook saw the packet. On a pod's host-side veth, INGRESS is what the pod sends; on its cgroup, what it receives.
 */
enum clv_hook { CLV_HOOK_INGRESS = 0, CLV_HOOK_EGRESS = 1 };

/*
 * A place of capture is an interface, then its number is the ifindex, or a cgroup, then user space gives it a number
 * from CLV_NET_CGROUP on. The bit CLV_NET_FREE is not set in either.
 */
#define CLV_NET_CGROUP (1u << 31)
#define CLV_NET_FREE   (1u << 30)

enum clv_rec_flag {
	CLV_REC_EGRESS = 1 << 0, /* seen by the egress hook; otherwise by the ingress hook */
	CLV_REC_IPV6 = 1 << 1,
	CLV_REC_SOUGHT = 1 << 2, /* the kernel read a Content-Length here and skips that body on its own */
	CLV_REC_PROBE = 1 << 3,  /* taken in probe mode: bytes around it may be missing */
	CLV_REC_UDP = 1 << 4,    /* a datagram: tcp_flags, ack, holes and retransmits are 0 */
	CLV_REC_WALKED =
		1 << 5, /* the kernel walks over the frames of this direction, and leaves out what they carry */
	CLV_REC_PIECES = 1 << 6, /* data[] holds struct clv_piece, one behind the other, `cap` bytes of them in all */
	CLV_REC_LAST = 1 << 7,   /* a FIN of a cgroup's socket that reads no more: what still comes is not seen */
};

/*
 * One packet, or what is left of it. `len` counts the payload bytes on the wire from `seq` on; `cap` of
 * them, the first ones, follow in data[]. The rest was left out on purpose (window, skip, snaplen).
 *
 * hole_seq/hole_len: payload that this hook saw before this record and left out, never reported yet. It
 * is a contiguous range of this direction's sequence space and normally ends at `seq`.
 *
 * A record without payload (cap == 0) carries a SYN, FIN or RST, the end of a skip, or just a hole.
 *
 * Of a datagram `len` is what its own header says. Several that the stack carries as one (GSO, GRO) are one record:
 * then `seq` tells how long each of them is, the last one excepted. Otherwise it is 0.
 */
struct clv_rec {
	__u64 ts_ns; /* CLOCK_MONOTONIC when the hook ran */
	__u32 net;   /* the place of capture */
	__u32 slot;  /* index into map "ctl" */
	__u16 gen;   /* generation of that slot; control words carry it. 0: the kernel keeps no state of this flow */
	__u8 tcp_flags;
	__u8 flags; /* enum clv_rec_flag */
	__u32 seq;  /* of data[0]; for a SYN, the SYN's own sequence number */
	__u32 ack;
	__u32 len; /* with pieces: up to the end of the last one */
	__u32 cap;
	__u32 hole_seq;
	__u32 hole_len;
	__u16 retransmits; /* duplicates of this direction counted, not sent, since its last record */
	__u16 sport;       /* host byte order */
	__u16 dport;
	__u16 rtt; /* clv_rtt_pack(): how long earlier data of this direction took to be acknowledged; 0: no new sample
		    */
	__u8 saddr[16]; /* IPv4 as ::ffff:a.b.c.d */
	__u8 daddr[16];
	__u8 data[];
};

/*
 * Of a packet whose frames were walked over: payload that was kept, and what it stands in front of. What lies between
 * two pieces was left out, and is not reported anywhere else. Each begins at a multiple of 4 bytes.
 */
struct clv_piece {
	__u32 seq, len;
	__u8 data[];
};

/* Microseconds in 16 bits: 12 of them count, in units of a power of two that the upper four bits tell. 0 only for 0. */
static inline __u16 clv_rtt_pack(__u32 us)
{
	__u32 shift = 0;

	for (int i = 0; i < 15 && us > 0xfff; i++) {
		us >>= 1;
		shift++;
	}
	return (__u16)(shift << 12 | (us > 0xfff ? 0xfff : us));
}
static inline __u32 clv_rtt_unpack(__u16 rtt)
{
	return (__u32)(rtt & 0xfff) << (rtt >> 12);
}

/* ---- records of one CPU (mmap-able array "cpu_rings", kernel -> user) ------------------------------- */

/*
 * What one CPU has for one worker: most records, since here nobody waits for another CPU. What does not fit, is long,
 * or wakes the reader goes into the ring buffer, so the times of records say in which order they are. Records lie one
 * behind the other, each at a multiple of 8 bytes; an offset is a position modulo the size, a power of two; the last
 * record may go on behind that. Positions only grow.
 */
struct clv_cpu_ring {
	__u64 begin; /* of what is not read, unless `read` is ahead of it; written before `end` */
	__u64 end;   /* written by the CPU, when all before it is complete */
	__u64 pad1[6];
	__u64 read; /* written by user space */
	__u64 pad2[7];
	__u8 data[];
};

/* No record in there is longer. */
#define CLV_CPU_RING_RECORD 2048u

/* Of one with `cap` bytes of payload. */
static inline __u32 clv_cpu_ring_step(__u32 cap)
{
	return ((__u32)sizeof(struct clv_rec) + cap + 7) & ~7u;
}

/* ---- control words (mmap-able array "ctl", user -> kernel) ---------------------------------------- */

/*
 * One 64-bit word, written in one store: sequence number, the generation of the slot it is meant for, and
 * flags. A word whose generation is not the flow's is ignored, so a verdict can never reach another flow.
 */
typedef __u64 clv_word;

enum clv_word_flag {
	CLV_WORD_VALID = 1 << 0,
	CLV_WORD_IGNORE = 1 << 1, /* window only: no payload of this direction; SYN/FIN/RST only */
	CLV_WORD_PROBE = 1 << 2,  /* window only: only the first packet after a change of direction, at most
				     CLV_PROBE_BYTES of it */
	CLV_WORD_SEEK = 1 << 3,   /* window only: read Content-Length in the kernel */
	CLV_WORD_ALONE = 1 << 4,  /* skip only: of what was asked before this sequence number, all is answered but one
				     request, and the answer to that is being skipped */
};

/*
 * A skip may also say that at its end a frame begins, and of which shape: its flags' upper half is an index into map
 * "shapes", 0 for none. From there on the kernel walks over the frames, for as long as it sees every byte. A skip
 * without a shape ends that.
 */
#define CLV_WORD_SHAPE_SHIFT 8
#define CLV_SHAPES           16

/* struct clv_framing (src/model/framing.h has the meanings), checked by user space. */
struct clv_shape {
	__u8 header_bytes;
	__u8 length_at, length_bytes;
	__u8 little_endian;
	__s8 length_adds;
	__u8 type_at;
	__u16 keep_bytes;
	__u32 whole[8];
};

/* Longer than any header. */
#define CLV_SHAPE_HEADER 16

static inline clv_word clv_word_make(__u32 seq, __u16 gen, __u16 flags)
{
	return (__u64)seq | (__u64)gen << 32 | (__u64)flags << 48;
}
static inline __u32 clv_word_seq(clv_word w)
{
	return (__u32)w;
}
static inline __u16 clv_word_gen(clv_word w)
{
	return (__u16)(w >> 32);
}
static inline __u16 clv_word_flags(clv_word w)
{
	return (__u16)(w >> 48);
}

struct clv_ctl_dir {
	clv_word window; /* payload at or after this sequence number is not copied, unless there is room to spare */
	clv_word skip;   /* payload before this sequence number is not copied; the kernel clears it when passed */
};

struct clv_ctl {
	struct clv_ctl_dir dir[2]; /* by enum clv_hook */
};

/* Bytes of a direction that are copied before user space has said anything about it. */
#define CLV_WINDOW_BYTES (64u * 1024u)
/*
 * That many more than any window as long as the ring buffer is less than half full: a body passes faster than any
 * reader can speak. Not with CLV_WORD_SEEK: such bodies are skipped, and what is copied of them is copied in vain.
 */
#define CLV_WINDOW_SPARE_BYTES (1792u * 1024u)
/* Open behind a body that the kernel skips on its own, until user space has spoken. */
#define CLV_WINDOW_BEHIND_BYTES (768u * 1024u)
/* A window end farther ahead than this is not believed: the word is older than half the sequence space. */
#define CLV_WINDOW_MAX (16u << 20)
/* Likewise a skip. */
#define CLV_SKIP_MAX    (1u << 30)
#define CLV_PROBE_BYTES 1024u
/*
 * Of datagrams, whose senders wait for nobody, CLV_WINDOW_BYTES, and with a ring buffer less than half full so many,
 * are copied per direction and 2^CLV_DATAGRAM_PERIOD_BITS jiffies; what is beyond counts as beyond the window.
 */
#define CLV_DATAGRAM_BYTES       (768u * 1024u)
#define CLV_DATAGRAM_PERIOD_BITS 3
/*
 * A flow of datagrams that was silent for so many jiffies, both ways, is another one: what was said of it holds no
 * more. At 1000 of them a second, where that is shortest, it is a little longer than user space remembers it.
 */
#define CLV_DATAGRAM_SILENCE (1u << 14)
/* The largest payload one record carries. */
#define CLV_REC_MAX_CAP 65536u

/* ---- what a flow has carried (mmap-able array "counts", kernel -> user; with count_flows only) ---------- */

/*
 * One direction, all of its packets since the flow began or was joined, ignored ones and pure acknowledgements too.
 * Bytes from the IP header on; of what the stack carries as one, as if it were not. The generation is in `packets`,
 * above CLV_COUNT_BITS of them.
 */
struct clv_count {
	__u64 packets;
	__u64 bytes;
};

#define CLV_COUNT_BITS 48

struct clv_counts {
	struct clv_count dir[2]; /* by enum clv_hook */
};

/* Of a flow that is ignored a bare record comes all the same, once in 2^n jiffies, so that its counts are looked at. */
#define CLV_COUNT_PERIOD_BITS 10

/* ---- counters (per-CPU array "stats", one struct per CPU) ------------------------------------------ */

/*
 * What the kernel half counted. X(name, text): the name is the key in --summary JSON under "drops" where
 * `drop` is 1, otherwise a plain figure.
 */
#define CLV_KSTATS(X)                                                                  \
	X(packets, 0, "packets seen by the hooks")                                     \
	X(bytes, 0, "bytes of those packets, from the network header on")              \
	X(records, 0, "records sent to user space")                                    \
	X(record_bytes, 0, "bytes of those records, headers included")                 \
	X(payload_bytes, 0, "payload bytes copied to user space")                      \
	X(skipped_bytes, 0, "payload bytes left out because a body was being skipped") \
	X(pure_acks, 0, "TCP segments without payload or SYN/FIN/RST")                 \
	X(retransmits, 0, "segments whose payload had been seen before")               \
	X(udp, 0, "UDP packets")                                                       \
	X(other_l4, 0, "packets of other transports")                                  \
	X(not_ip, 0, "frames that are not IP")                                         \
	X(unwanted, 0, "packets of ports that were not asked for")                     \
	X(ignored, 0, "packets of flows that no parser wanted")                        \
	X(sought, 0, "bodies whose length the kernel read itself")                     \
	X(walked, 0, "frames that the kernel walked over itself")                      \
	X(drop_ring_full, 1, "records lost because there was no room for them")        \
	X(drop_window_bytes, 1, "payload bytes beyond a flow's window, not copied")    \
	X(drop_fragments, 1, "IP fragments other than the first")                      \
	X(drop_malformed, 1, "packets whose headers do not parse")                     \
	X(drop_flow_evicted, 1, "kernel flow entries given up for a newer flow")       \
	X(drop_lease_expired, 1, "packets seen while user space was not reading")

struct clv_kstats {
#define X(name, drop, text) __u64 name;
	CLV_KSTATS(X)
#undef X
};

/* ---- shared words in the BPF object's .bss (mapped by user space) ---------------------------------- */

/*
 * lease_ns: user space renews it (CLOCK_MONOTONIC now + CLV_LEASE_NS) at least once a second; past it every
 * hook returns at once, so a filter whose owner was killed costs next to nothing.
 */
#define CLV_LEASE_NS (5ull * 1000 * 1000 * 1000)

enum clv_urgency {
	CLV_URGENT_NOT,
	/* A window, or the ring buffer's room, has begun to run out: a fast sender is through it in a moment. */
	CLV_URGENT_SOON,
	/* Half of it is used, or, before user space has said anything, much more than all of it. */
	CLV_URGENT_NOW,
};

/*
 * One worker's, on a cache line of its own.
 * want_wake: user space sets it to 1 before it blocks without a timer; the first record clears it and wakes.
 * wake_armed: user space sets it after each drain, to the least urgency that wakes it: CLV_URGENT_SOON, or
 * CLV_URGENT_NOW when it leaves what can wait in the ring. A window that is as short as that, or a ring buffer in which
 * as much waits, clears it and wakes, once.
 */
struct clv_wake {
	__u32 want_wake;
	__u32 wake_armed;
	__u64 pad[7];
};

/* So many workers at most, each with a ring buffer of its own. */
#define CLV_WAKES 8

/* The whole of .bss, so that the lease of somebody else's object is found at offset 0. */
struct clv_shared {
	__u64 lease_ns;
	__u64 alive_jiffy; /* kernel only: the last one in which the lease was found to hold */
	__u64 pad[6];
	struct clv_wake wake[CLV_WAKES];
};

_Static_assert(sizeof(struct clv_rec) == 88, "clv_rec is part of the wire format");
_Static_assert(sizeof(struct clv_cpu_ring) == 128, "the two sides write to cache lines of their own");
_Static_assert(sizeof(struct clv_ctl) == 32, "clv_ctl is part of the wire format");
_Static_assert(sizeof(struct clv_counts) == 32, "clv_counts is part of the wire format");
_Static_assert(sizeof(struct clv_piece) == 8, "clv_piece is part of the wire format");
_Static_assert(sizeof(struct clv_shape) == 40, "clv_shape is part of the wire format");
_Static_assert(sizeof(struct clv_wake) == 64, "a worker's words share a cache line with nobody's");

#endif
