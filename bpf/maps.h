/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Everything the programs keep or are told: maps, the words shared with user space, the knobs fixed at load.
 */
#ifndef CLV_BPF_MAPS_H
#define CLV_BPF_MAPS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "wire/record.h"

/*
 * What is usual lies in one piece then: between two packets the processor has run so much else that each line of code
 * is fetched anew.
 */
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* ---- knobs: constants to the verifier, set before the object is loaded ----------------------------- */

const volatile __u32 set_mask;    /* number of flow sets - 1 */
const volatile __u64 hash_seed;   /* random, so that nobody outside knows which set is whose */
const volatile __u32 snaplen;     /* payload bytes a record carries at most */
const volatile __u32 wake_bytes;  /* this much unread data in a ring wakes its reader, or half of it: room_urgency() */
const volatile __u32 roomy_bytes; /* up to so much of it, windows may be wider */
const volatile __u32 spare_bytes; /* CLV_WINDOW_SPARE_BYTES */
const volatile bool measure;      /* round-trip times, and the bytes of flows that are ignored */
const volatile bool count_flows;  /* struct clv_counts */
const volatile bool seek_first;   /* a connection's first answer may be sought before user space has said so */
const volatile bool ports_filtered;
const volatile __u64 wanted_ports[65536 / 64];
const volatile __u32 workers; /* 1 to CLV_WAKES: how many ring buffers */
const volatile __u32 cpus;    /* so many have rings of their own; 0: none */
const volatile __u32 cpu_ring_bytes;
const volatile bool stores_in_order; /* this machine shows a CPU's stores to others in the order that they were made */
const volatile __u32 net_untold;     /* of a cgroup that is not in cgroup_net; 0: it is not looked at (tests) */

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
	__u32 where; /* the place of capture, and KEY_UDP */
	__u16 inside_port, outside_port;
};

#define KEY_UDP CLV_NET_FREE

struct hole {
	__u32 lo, hi; /* [lo, hi) of the sequence space, not seen yet; empty when equal */
};

#define HOLES 4

/*
 * Where the frames of a direction stand. The bytes up to keep_until are wanted, those from there to `next` are not; at
 * `next` a frame begins, of whose header `have` bytes were in packets before.
 */
struct frames {
	__u32 next, keep_until;
	__u8 have;
	__u8 pad[3];
	__u8 header[CLV_SHAPE_HEADER];
};

enum dir_flag {
	DIR_SYN = 1 << 0,    /* began with a SYN: window_end tells its sequence number */
	DIR_JOINED = 1 << 1, /* began in the middle: hole[0] stands for what a reordering may still bring */
	DIR_CLOSED = 1 << 2, /* FIN or RST seen */
	DIR_RESET = 1 << 3,  /* RST seen: both directions are over */
	DIR_SKIP = 1 << 4,   /* skip_until is the kernel's own */
	DIR_BEYOND = 1 << 5, /* left out beyond the window, and said so */
	DIR_AHEAD = 1 << 6,  /* window_end is the kernel's own, behind a body that it skipped on its own */
};

/* One direction's state. Written only by its own hook, so that the two never need a lock. */
struct dir {
	union {
		__u32 next;   /* highest end of sequence space seen */
		__u32 period; /* of datagrams: the one in which copied_bytes were copied */
	};
	__u32 unsent_from, unsent_to; /* left out, not reported yet; empty when equal */
	union {
		__u32 skip_until; /* with DIR_SKIP */
		__u32 left_at; /* without: when the newest of what is not reported passed, as coarsely as left_time() */
	};
	union {
		__u32 window_end; /* until user space says otherwise */
		__u32 copied_bytes;
	};
	__u32 last;        /* jiffies at its last use */
	__u16 gen;         /* of the flow this state belongs to: otherwise stale */
	__u16 retransmits; /* since the last record */
	__u8 flags;
	__u8 holes; /* bit i: hole[i] is not empty */
	__u8 shape; /* not 0: its frames are walked over. Nothing is missing then: there are no holes */
	__u8 late;  /* bit i: hole[i] lies in what was left out and is not reported, all of it in a skip */
	union {
		struct hole hole[HOLES];
		struct frames frames;
	};
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

/* What a direction sent last, for who reads Content-Length in the kernel. */
enum asked {
	ASKED_UNKNOWN,
	ASKED_FIRST, /* its first packet: begins with a request whose answer may have a body; more may be behind it */
	ASKED_ONE,   /* one such request, whole, without a body, and none that waits for its answer is another kind */
};

#define TALKER_NONE    0 /* nobody has, since the flow began */
#define TALKER_UNKNOWN 3 /* it was not noted */

struct flow {
	struct flow_key key;
	__u16 gen;
	__u8 talker;       /* who talked last: 1 + hook, or a TALKER_ */
	__u8 rtt_state[2]; /* by hook that sees the data */
	__u8 asked[2];     /* likewise: enum asked; a new flow's is cleared by whoever sees its first packet */
	__u8 pad[1];
	struct rtt rtt[2];
	struct dir dir[2];
};

#define WAYS 8

/* tag 0: free. 1: being claimed, its contents belong to the claimer. Otherwise the upper hash bits. */
struct flow_set {
	__u32 tag[WAYS];
	__u64 pad[4];
	struct flow way[WAYS];
};

_Static_assert(sizeof(struct dir) == 64, "a direction is one cache line");
_Static_assert(sizeof(struct flow) == 192, "ring.h tells users this figure");
_Static_assert(sizeof(struct flow_set) == 64 + WAYS * 192, "no holes");

/*
 * Nobody maps it; but what could be mapped begins at a page. Other arrays begin anywhere, and then a direction's line
 * is two, each shared with another direction's, which another CPU writes.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
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

/* By slot, as ctl. One entry where nobody asked for them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__type(value, struct clv_counts);
} counts SEC(".maps");

/* ---- out ------------------------------------------------------------------------------------------- */

struct ring_buffer {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* set at load */
};

/* The first worker's. */
struct ring_buffer ring SEC(".maps");

/* With several workers, every one's, by worker. Otherwise there is no such map. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1); /* set at load */
	__type(key, __u32);
	__array(values, struct ring_buffer);
} rings SEC(".maps");

/* By worker * cpus + CPU; none where cpus is 0. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set at load, as is the size of a value, a struct clv_cpu_ring */
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(struct clv_cpu_ring));
} cpu_rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct clv_kstats);
} stats SEC(".maps");

/* By cgroup, for both hooks: the place of capture. Written by user space once the first program is attached there. */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, __u32);
} cgroup_net SEC(".maps");

/* Shapes of frames, written once by user space, before a control word names them. 0 is not used. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CLV_SHAPES);
	__type(key, __u32);
	__type(value, struct clv_shape);
} shapes SEC(".maps");

/*
 * A program's scratch is its CPU's. On an interface nothing comes between; at a cgroup's egress a process may run it,
 * and an interrupt with another packet, or on some kernels another process, comes in the middle. So who uses it says
 * so, and who finds it in use goes without.
 */
static __always_inline bool scratch_take(__u32 *busy)
{
	return !__sync_lock_test_and_set(busy, 1);
}

static __always_inline void scratch_leave(__u32 *busy)
{
	barrier();
	*busy = 0;
}

/* What walk.h keeps of a packet, as long as it is short: all pieces together, and the longest of them. */
#define WALK_BYTES     2048
#define WALK_PIECE_MAX 1024

struct walk {
	__u32 from, end;        /* the packet's new payload, as sequence numbers */
	__u32 off;              /* of `from` in the skb */
	__u32 pos;              /* dealt with so far */
	__u32 run_from, run_to; /* wanted, and not in data[]; empty when equal */
	__u32 first, last;      /* where what is in data[] begins and ends */
	__u32 used;             /* of data[] */
	__u32 kept;             /* bytes that are wanted, of those dealt with */
	__u32 frames;           /* that began */
	__u32 rest;             /* with has_rest: from here on all is copied */
	bool pieces, has_rest;
	__u8 pad[6];
	__u8 header[2 * CLV_SHAPE_HEADER];
	__u32 busy, pad2;
	__u8 rec[offsetof(struct clv_rec, data)] __attribute__((aligned(8))); /* the record's head, and its data[] */
	__u8 data[WALK_BYTES + WALK_PIECE_MAX + 16];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct walk);
} walk_state SEC(".maps");

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
	__u32 busy;
	__u8 data[SEEK_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct seek);
} seek_state SEC(".maps");

#endif
