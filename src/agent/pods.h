/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of this node and where each is captured: selected or not and why; found on this host or not yet; at which
 * interfaces, or at its cgroup. Without a cluster the same for the containers of this host.
 *
 *     the API's word on a pod -> selected? -> its processes -> its network namespace -> interfaces that lead there
 *                                                           \> no interface of its own -> its cgroup
 *
 * Never both for one pod: no packet is seen twice. The engine's thread.
 */
#ifndef CLV_AGENT_PODS_H
#define CLV_AGENT_PODS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/select.h"
#include "kube/objects.h"
#include "kube/podnet.h"

/* Interfaces of one pod: Multus can add some. */
#define CLV_POD_PLACES 8
/* A pod that cannot be found is sought again after so long, ever more seldom. */
#define CLV_POD_SEEK_LEAST_NS (50ull * 1000 * 1000)
#define CLV_POD_SEEK_MOST_NS  (1000ull * 1000 * 1000)
/* Its namespace is there, but no interface leads to it: so long one may yet come. */
#define CLV_POD_NO_LINK_NS (2000ull * 1000 * 1000)
/* What could not be attached to is tried again after this, then after twice as long, ... */
#define CLV_POD_FAILED_NS (60ull * 1000 * 1000 * 1000)

enum clv_pod_state {
	CLV_POD_NOT_SELECTED,
	CLV_POD_SOUGHT,  /* selected; nothing of it was found on this host yet */
	CLV_POD_PLACED,  /* its places have been asked for */
	CLV_POD_NOWHERE, /* found, but there is no way to see its packets: see why */
};

struct clv_agent_pod {
	char key[65];                     /* the pod's uid; of a lone container its id */
	char *namespace, *name, *label;   /* "shop/web-1"; of a lone container its name, without a namespace */
	struct clv_cgroup_name container; /* of a lone container */
	enum clv_select_reason reason;
	enum clv_pod_state state;
	const char *why; /* of SOUGHT and NOWHERE, for people */
	bool cgroup;     /* captured there */
	int32_t nsid;    /* as clv_link.peer_nsid; -1: none */
	size_t place_count;
	uint32_t net[CLV_POD_PLACES];
	uint64_t since_ns, found_ns;
	unsigned generation; /* of clv_pods_containers() */
};

/* A place to capture one at. */
struct clv_pod_place {
	uint32_t net;                /* the interface's index, or a number that is this cgroup's */
	const struct clv_link *link; /* NULL: the cgroup */
	const char *cgroup;          /* below the cgroup root */
	uint64_t cgroup_inode;
};

enum clv_pod_capture { CLV_POD_AUTO, CLV_POD_INTERFACE, CLV_POD_CGROUP };

struct clv_pods_config {
	struct clv_podnet *podnet;       /* borrowed */
	struct clv_links *links;         /* borrowed */
	const struct clv_select *select; /* borrowed; may be changed by clv_pods_select() */
	enum clv_pod_capture capture;
	/* A pod's object by its uid, or NULL. */
	const struct clv_kube_pod *(*object)(void *ctx, const char *key);
	/* Begin to capture there: returns false when that cannot be. */
	bool (*enter)(void *ctx, const struct clv_agent_pod *pod, const struct clv_pod_place *place);
	/* What is captured there is called something else now. */
	void (*name)(void *ctx, const struct clv_agent_pod *pod, uint32_t net);
	/* Capture there no more. */
	void (*leave)(void *ctx, const struct clv_agent_pod *pod, uint32_t net);
	void *ctx;
};

struct clv_pods;

/* Returns 0 or -ENOMEM. */
int clv_pods_new(const struct clv_pods_config *config, struct clv_pods **out);
/* Leaves nothing by itself. NULL is allowed. */
void clv_pods_free(struct clv_pods *ps);

/* A pod of this node is new, has changed, or is gone. */
void clv_pods_pod(struct clv_pods *ps, const struct clv_kube_pod *pod, bool gone);
/*
 * Without a cluster: every container that podnet knows of, but for the one that this process is in, if it is in one:
 * `self`, its id. Calls name_of() for the names of a new one.
 */
void clv_pods_containers(struct clv_pods *ps, const char *self,
			 void (*name_of)(void *ctx, const struct clv_podnet_container *c, char name[256]), void *ctx);
/* Other rules of selection; `each` pod of the node has to be told again after this. */
void clv_pods_select(struct clv_pods *ps, const struct clv_select *select);
/* An interface is there or has changed; or it is gone: then it has been left already. */
void clv_pods_link(struct clv_pods *ps, const struct clv_link *l, bool gone);
/* A place went away by itself. */
void clv_pods_lost(struct clv_pods *ps, uint32_t net);
/* A place could not be attached to. It stays the pod's, and is left and tried again with the pod's next news, or after
 * CLV_POD_FAILED_NS. */
void clv_pods_failed(struct clv_pods *ps, uint32_t net);

/* Often, with CLOCK_MONOTONIC: seeks what has not been found. */
void clv_pods_service(struct clv_pods *ps, uint64_t now_ns);
/* None is sought: nothing more is to be expected without news. */
bool clv_pods_settled(const struct clv_pods *ps);

const struct clv_agent_pod *clv_pods_find(const struct clv_pods *ps, const char *key);
/* The one that is captured at that place, or NULL. */
const struct clv_agent_pod *clv_pods_at(const struct clv_pods *ps, uint32_t net);
/* In the order of their labels. */
void clv_pods_each(const struct clv_pods *ps, void (*fn)(void *ctx, const struct clv_agent_pod *pod), void *ctx);

#endif
