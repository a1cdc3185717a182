/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the two programs on interfaces and cgroups and takes them off again, on a thread of its own: attaching through
 * tcx takes the kernel some 24 ms an interface, during which a reader would lose records.
 *
 * tcx where the kernel has it (6.6): a link that dies with its owner. clsact below that: a filter of our own,
 * which outlives an owner that was killed, idle, until sweep finds it. On cgroups: links, always. Nothing of anybody
 * else's is touched.
 */
#ifndef CLV_SOURCE_ATTACH_H
#define CLV_SOURCE_ATTACH_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "source/ring.h"

/* Attach types of kernel 6.6, not in the headers of the distributions this is built on. */
#define CLV_TCX_INGRESS 46
#define CLV_TCX_EGRESS  47

enum clv_attach_mode { CLV_ATTACH_AUTO, CLV_ATTACH_TCX, CLV_ATTACH_CLSACT, CLV_ATTACH_CGROUP };

/* Holds the name of an interface, and of a cgroup the end of its path. */
#define CLV_PLACE_NAME 64

struct clv_attach_request {
	/* The place's number: the ifindex; of a cgroup one that the caller chooses, from CLV_NET_CGROUP on, no two at
	 * once alike, not used again while its packets may come. */
	uint32_t net;
	char name[CLV_PLACE_NAME]; /* for people */
	enum clv_viewpoint view;
	bool l3; /* no Ethernet header (clv_link_is_l3()) */
	enum clv_attach_mode mode;
	const char *cgroup; /* with CGROUP: the path of its directory; copied. In an event: NULL unless it answers
			       clv_attach_add(), and valid as long as the event */
};

enum clv_attach_outcome {
	CLV_ATTACH_DONE,   /* attached, or already was */
	CLV_ATTACH_GONE,   /* taken off, or the interface or the cgroup went away */
	CLV_ATTACH_FAILED, /* see error */
	CLV_ATTACH_SWEPT,  /* some time after DONE: orphans there that did not look it then were removed, see swept */
};

struct clv_attach_event {
	struct clv_attach_request request;
	enum clv_attach_outcome outcome;
	enum clv_attach_mode used; /* with DONE: TCX, CLSACT or CGROUP */
	int error;      /* with FAILED: -errno; of a cgroup -EINVAL: it is none of version 2, or the number is none;
			   -EOPNOTSUPP: the ring was opened without cgroups */
	unsigned swept; /* with DONE and SWEPT: orphans of a killed clovisor removed on the way */
};

struct clv_attach;

/* Starts the worker. The ring must outlive it. Returns 0 or -errno. */
int clv_attach_open(struct clv_ring *ring, struct clv_attach **out);

/* Queues; never blocks. Adding twice or removing what is not there is fine. Each call gives one event; when the
 * directory of a cgroup is removed, that gives one, too: GONE; so can orphans: SWEPT. Of an interface tell
 * clv_links_poll()'s news. Returns 0 or -ENOMEM. */
int clv_attach_add(struct clv_attach *a, const struct clv_attach_request *request);
int clv_attach_remove(struct clv_attach *a, uint32_t net);

/* Requests whose event has not been taken yet. */
unsigned clv_attach_pending(struct clv_attach *a);
/* Readable while events wait (for clv_ring_wake_on()). Borrowed. */
int clv_attach_fd(struct clv_attach *a);
/* Delivers waiting events on the calling thread; returns how many. */
int clv_attach_poll(struct clv_attach *a, void (*fn)(void *ctx, const struct clv_attach_event *e), void *ctx);

/* Takes everything off, waits for the worker and frees. NULL is allowed. */
void clv_attach_close(struct clv_attach *a);

/* A filter of ours that sweep took off a clsact qdisc. */
struct clv_sweep_event {
	uint32_t ifindex;
	char name[IF_NAMESIZE];
	enum clv_hook hook;
	bool live;  /* its owner was still running */
	bool qdisc; /* the qdisc went with it: we had made it and nobody else used it */
	int error;  /* 0, or -errno: it is still there; -EBUSY: its owner seems to run */
};

/*
 * Removes clovisor's filters from `ifindex`, or from every interface when 0: those whose owner is gone, with
 * `even_live` all of them. Needs no ring. Returns how many were removed, or -errno. `fn` may be NULL.
 */
int clv_attach_sweep(uint32_t ifindex, bool even_live, void (*fn)(void *ctx, const struct clv_sweep_event *e),
		     void *ctx);

#endif
