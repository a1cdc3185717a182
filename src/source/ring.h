/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The live source: the loaded BPF object, its ring buffer read into packets, verdicts stored into the map that
 * the programs read. Attaching them to interfaces is attach.h's business.
 *
 * One thread opens, polls and closes; clv_ring_prog_fd(), clv_ring_set_link() and clv_ring_figures() may be
 * called from any thread in between.
 */
#ifndef CLV_SOURCE_RING_H
#define CLV_SOURCE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/figure.h"
#include "source/source.h"
#include "wire/record.h"

/* Holds a fifth of a second of 50,000 small requests a second; mapped twice, so it counts twice in RSS. */
#define CLV_RING_BYTES (8u << 20)
/* 192 B each in the kernel, allocated at load. */
#define CLV_RING_FLOWS 65536u

struct clv_ring_config {
	uint32_t ring_bytes;   /* rounded up to a power of two; 0: CLV_RING_BYTES */
	uint32_t max_flows;    /* rounded up to a power of two; 0: CLV_RING_FLOWS */
	uint32_t snaplen;      /* payload bytes a record carries at most; 0: all */
	const uint16_t *ports; /* with any, only TCP from or to one of them; copied */
	size_t port_count;
	bool measure;       /* round-trip times, and the bytes of connections that nobody reads: for metrics */
	bool strict_window; /* copy nothing beyond a window, however empty the ring (tests) */
};

/* Whose requests are "in" and "out" on an interface. */
enum clv_viewpoint {
	CLV_VIEW_HOST, /* this machine: what the interface receives comes in */
	CLV_VIEW_POD,  /* the far end of a veth: what the interface receives went out of the pod */
};

struct clv_ring;

/*
 * Loads the BPF object once. Returns 0 and the source in *out; -EPERM when bpf(2) is not allowed, -EINVAL for a
 * bad config, -ENOMEM, or what the kernel said. Logs the verifier's words when they matter.
 */
int clv_ring_open(const struct clv_ring_config *config, struct clv_ring **out);

/* The source to poll, tell verdicts and close (which frees the ring). Borrowed. */
struct clv_source *clv_ring_source(struct clv_ring *r);

/*
 * poll() also returns early, with 0 packets, when `fd` becomes readable; the caller reads it. For signals, link
 * events and attach events. The ring does not own it. Returns 0 or -errno. Polling thread only.
 */
int clv_ring_wake_on(struct clv_ring *r, int fd);

/* The program of a hook, for attaching; `l3`: to a device whose packets have no Ethernet header. Borrowed. */
int clv_ring_prog_fd(struct clv_ring *r, enum clv_hook hook, bool l3);

/*
 * Before attaching: says whose interface it is. Returns 0, or -ENOSPC past CLV_RING_LINKS interfaces at once.
 */
int clv_ring_set_link(struct clv_ring *r, uint32_t ifindex, enum clv_viewpoint view);
void clv_ring_forget_link(struct clv_ring *r, uint32_t ifindex);
#define CLV_RING_LINKS 4096u

/* libbpf explains its failures on stderr; from here on only where debug lines are asked for. Open calls it. */
void clv_ring_hush_libbpf(void);

#define CLV_RING_FIGURES 32
/* Fills `out` with every count of wire/record.h and the reader's own. Returns how many. */
size_t clv_ring_figures(struct clv_ring *r, struct clv_figure out[CLV_RING_FIGURES]);

#endif
