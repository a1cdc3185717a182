/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live source: the loaded BPF object, its records read into packets, verdicts stored into the map that
 * the programs read. Attaching them to interfaces and cgroups is attach.h's business.
 *
 * The packets come by one ring buffer a worker, and by rings of the CPUs (merge.h). The kernel chooses whose by the
 * addresses and ports of a packet, the same for both directions and at every place of capture: so a connection is one
 * worker's from its first packet to its last.
 *
 * One thread opens and closes; in between each source may be polled, told verdicts and held by a thread of its own.
 * clv_ring_prog_fd(), clv_ring_set_link(), clv_ring_number_cgroup() and clv_ring_figures() may be called from any
 * thread.
 */
#ifndef CLV_SOURCE_RING_H
#define CLV_SOURCE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/figure.h"
#include "source/source.h"
#include "wire/record.h"

#define CLV_RING_WORKERS CLV_WAKES
/*
 * A small request and its answer take 500 bytes in the rings of the CPUs, which take a sixteenth of this besides: that
 * is a hundredth of a second of 100,000 of them a second. What they have no room for comes by the ring buffers. All of
 * it counts as memory of this process.
 */
#define CLV_RING_BYTES (8u << 20)
/* 192 B each in the kernel, allocated at load. */
#define CLV_RING_FLOWS 65536u

struct clv_ring_config {
	uint32_t workers;      /* how many ring buffers; at most CLV_RING_WORKERS; 0: one */
	uint32_t ring_bytes;   /* of all ring buffers; a share is rounded up to a power of two; 0: CLV_RING_BYTES */
	uint32_t max_flows;    /* rounded up to a power of two; 0: CLV_RING_FLOWS */
	uint32_t snaplen;      /* payload bytes a record carries at most; 0: all */
	const uint16_t *ports; /* with any, only packets from or to one of them; copied */
	size_t port_count;
	bool measure;        /* round-trip times, and the bytes of connections that nobody reads: for metrics */
	bool count_flows;    /* packets and bytes of each flow, all of them: clv_packet.total_packets */
	bool cgroups;        /* load the programs for cgroups, too */
	uint32_t net_untold; /* what cgroups that were not told their number pass for; 0: they are not looked at (tests)
			      */
	bool seek_first;     /* nobody but HTTP/1's parser reads what looks like it: the kernel may read the length of a
				connection's first answer before it was asked to */
	bool strict_window;  /* copy nothing beyond a window, however empty the ring (tests) */
};

/* Whose requests are "in" and "out" at a place of capture. */
enum clv_viewpoint {
	CLV_VIEW_HOST, /* this machine, or a cgroup's processes: what the interface or the cgroup receives comes in */
	CLV_VIEW_POD,  /* the far end of a veth: what the interface receives went out of the pod */
};

/* What a program is for: how packets begin there. */
enum clv_layer {
	CLV_LAYER_ETHERNET,
	CLV_LAYER_IP,     /* an interface without Ethernet headers; loaded when first asked for, which takes a while */
	CLV_LAYER_CGROUP, /* only with config.cgroups */
};

struct clv_ring;

/*
 * Loads the BPF object once. Returns 0 and the source in *out; -EPERM when bpf(2) is not allowed, -EINVAL for a
 * bad config, -ENOMEM, or what the kernel said. Logs the verifier's words when they matter.
 */
int clv_ring_open(const struct clv_ring_config *config, struct clv_ring **out);

/* NULL is nothing to close. No source is polled any more; the programs are detached, or will find nobody reading. */
void clv_ring_close(struct clv_ring *r);

/*
 * A worker's source, to poll and tell verdicts of what it delivered. Borrowed until the ring is closed; it has no
 * close() of its own.
 */
struct clv_source *clv_ring_source(struct clv_ring *r, uint32_t worker);

/*
 * The worker's poll() also returns early, with 0 packets, when `fd` becomes readable; the caller reads it. For signals,
 * link events and attach events. The ring does not own it. Returns 0 or -errno.
 */
int clv_ring_wake_on(struct clv_ring *r, uint32_t worker, int fd);

/* The program of a hook, for attaching. Borrowed; or -errno: it is not loaded, -EOPNOTSUPP: nor was it to be. */
int clv_ring_prog_fd(struct clv_ring *r, enum clv_hook hook, enum clv_layer layer);

/*
 * Before attaching: says whose place of capture `net` is (wire/record.h). Returns 0, -ENOSPC past CLV_RING_LINKS of
 * them at once, or -EINVAL for a number that is none.
 */
int clv_ring_set_link(struct clv_ring *r, uint32_t net, enum clv_viewpoint view);
void clv_ring_forget_link(struct clv_ring *r, uint32_t net);
/*
 * Between attaching the first program to a cgroup and the second: `net` is the number of the cgroup with this id (the
 * inode of its directory). 0: it is not looked at any more. Returns 0 or -errno. Any thread.
 */
int clv_ring_number_cgroup(struct clv_ring *r, uint64_t cgroup_id, uint32_t net);
#define CLV_RING_LINKS 4096u

/* libbpf explains its failures on stderr; from here on only where debug lines are asked for. Open calls it. */
void clv_ring_hush_libbpf(void);

#define CLV_RING_FIGURES 32
/* Fills `out` with every count of wire/record.h and the reader's own. Returns how many. */
size_t clv_ring_figures(struct clv_ring *r, struct clv_figure out[CLV_RING_FIGURES]);

#endif
