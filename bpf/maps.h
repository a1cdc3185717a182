/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Everything the programs keep or are told: maps, the words shared with user space, the knobs fixed at load.
 */
#ifndef CLV_BPF_MAPS_H
#define CLV_BPF_MAPS_H

#include <linux/bpf.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

#include "wire/record.h"

/* ---- knobs: constants to the verifier, set before the object is loaded ----------------------------- */

const volatile __u32 set_mask;    /* number of flow sets - 1 */
const volatile __u64 hash_seed;   /* random, so that nobody outside can aim at one set */
const volatile __u32 snaplen;     /* payload bytes a record carries at most */
const volatile __u32 wake_bytes;  /* this much unread data in the ring wakes the reader */
const volatile __u32 spare_bytes; /* CLV_WINDOW_SPARE_BYTES */
const volatile bool measure;      /* round-trip times, and the bytes of flows that are ignored */
const volatile bool ports_filtered;
const volatile __u64 wanted_ports[65536 / 64];

/* ---- words shared with user space ------------------------------------------------------------------ */

volatile struct clv_shared shared;

/* ---- flows ----------------------------------------------------------------------------------------- */

union ip_addr {
	__u8 b[16];
	__u32 w[4];
	__u64 q[2];
};

/* inside/outside do not depend on the direction of a packet: ingress comes from the inside. */
struct flow_key {
	union ip_addr inside, outside;
	__u32 ifindex;
	__u16 inside_port, outside_port;
};

struct hole {
	__u32 lo, hi; /* [lo, hi) of the sequence space, not seen yet; empty when equal */
};

#define HOLES 4

enum dir_flag {
	DIR_SYN = 1 << 0,    /* began with a SYN: window_end tells its sequence number */
	DIR_JOINED = 1 << 1, /* began in the middle: hole[0] stands for what a reordering may still bring */
	DIR_CLOSED = 1 << 2, /* FIN or RST seen */
	DIR_RESET = 1 << 3,  /* RST seen: both directions are over */
	DIR_SKIP = 1 << 4,   /* skip_until is the kernel's own */
	DIR_BEYOND = 1 << 5, /* left out beyond the window, and said so */
	DIR_PLAIN = 1 << 6,  /* what came last is one request, whose answer may have a body */
	DIR_AHEAD = 1 << 7,  /* window_end is the kernel's own, behind a body that it skipped on its own */
};

/* One direction's state. Written only by its own hook, so that the two never need a lock. */
struct dir {
	__u32 next;                   /* highest end of sequence space seen */
	__u32 unsent_from, unsent_to; /* left out, not reported yet; empty when equal */
	__u32 skip_until;             /* with DIR_SKIP */
	__u32 window_end;             /* until user space says otherwise */
	__u32 last;                   /* jiffies at its last use */
	__u16 gen;                    /* of the flow this state belongs to: otherwise stale */
	__u16 retransmits;            /* since the last record */
	__u8 flags;
	__u8 holes; /* bit i: hole[i] is not empty */
	__u16 pad;
	struct hole hole[HOLES];
};

/*
 * One measurement of a round trip at a time. IDLE to WAITING and READY to IDLE: by the hook that sees the data; WAITING
 * to READY: by the one that sees their acknowledgement. A race of the two costs a sample.
 */
enum rtt_state { RTT_IDLE, RTT_WAITING, RTT_READY };

struct rtt {
	__u32 end; /* of what is waited for, as a sequence number */
	__u32 us;  /* WAITING: when it passed; READY: how long it took, not 0 */
};

struct flow {
	struct flow_key key;
	__u16 gen;
	__u8 talker;       /* hook that last saw payload */
	__u8 rtt_state[2]; /* by hook that sees the data */
	__u8 pad[3];
	struct rtt rtt[2];
	struct dir dir[2];
};

#define WAYS 4

/* tag 0: free. 1: being claimed, its contents belong to the claimer. Otherwise the upper hash bits. */
struct flow_set {
	__u32 tag[WAYS];
	__u64 pad[6];
	struct flow way[WAYS];
};

_Static_assert(sizeof(struct dir) == 64, "a direction is one cache line");
_Static_assert(sizeof(struct flow) == 192, "ring.h tells users this figure");
_Static_assert(sizeof(struct flow_set) == 64 + WAYS * 192, "no holes");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct flow_set);
} flows SEC(".maps");

/* Written by user space through its mapping, without a system call. Index: set * WAYS + way. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct clv_ctl);
} ctl SEC(".maps");

/* ---- out ------------------------------------------------------------------------------------------- */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set at load */
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clv_kstats);
} stats SEC(".maps");

/* How much of a response seek.h looks at. */
#define SEEK_BYTES 512

/* Its scratch. In a map because the verifier follows every value on the stack, byte after byte, and gives up. */
struct seek {
	__u64 length;
	__u32 len;      /* bytes there are */
	__u32 head_len; /* result: 0 while the head has not ended */
	__u32 column;
	__u32 length_match, coding_match; /* how much of the line so far equals the name */
	__u32 digits;                     /* of the value */
	bool in_value, found, gap, cr, bad;
	__u8 data[SEEK_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seek);
} seek_state SEC(".maps");

#endif
