/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers of this host, and where their packets pass: container -> process -> network namespace -> interfaces of
 * this namespace that lead there; or the cgroup, where there is none. Nothing is executed in a container, no namespace
 * is entered.
 *
 *     /proc/PID/cgroup says whose process it is (hostPID in Kubernetes); /proc/PID/ns/net its namespace
 * (CAP_SYS_PTRACE). Where processes cannot be seen, the namespace that has the pod's address is the pod's, among those
 * that links lead into (CAP_NET_ADMIN).
 *
 * One thread.
 */
#ifndef CLV_KUBE_PODNET_H
#define CLV_KUBE_PODNET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "kube/cgroup.h"
#include "source/links.h"

struct clv_podnet_config {
	const char *proc;   /* the host's /proc; NULL: /proc */
	const char *cgroup; /* the host's /sys/fs/cgroup: v2, or hybrid with v2 in "unified"; NULL: /sys/fs/cgroup */
	struct clv_links *links; /* borrowed */
};

/* A container that runs, or a pod's sandbox. */
struct clv_podnet_container {
	struct clv_cgroup_name name;
	int32_t pid;        /* one of its processes, in the host's numbering */
	uint64_t netns;     /* inode of its network namespace; 0: not allowed to look */
	int32_t nsid;       /* by this namespace's numbering: links whose peer_nsid is this lead there; -1: none do */
	bool host_network;  /* its namespace is this one; for some ms also that of a container which is being made */
	const char *cgroup; /* directory of the pod's (or lone container's) v2 cgroup, below config.cgroup; "": none */
	uint64_t cgroup_inode;
};

struct clv_podnet;

/* Returns 0 or -errno. */
int clv_podnet_open(const struct clv_podnet_config *config, struct clv_podnet **out);
/* NULL is allowed. */
void clv_podnet_close(struct clv_podnet *p);

/*
 * Looks at every process. What was found is valid until the next scan. Takes about 30 us a process that is new, 1 us
 * one that has not changed for some time; call it when something is sought, not more than some times a second. Returns
 * how many containers there are, or -errno: -ENOMEM, or why /proc cannot be read.
 */
int clv_podnet_scan(struct clv_podnet *p);
/* Of the last scan. Borrowed until the next. */
const struct clv_podnet_container *clv_podnet_containers(const struct clv_podnet *p, size_t *count);
/* A container of this pod (by uid, with dashes), or of one of these container ids, preferring one that is not
 * host_network's and has an nsid; NULL: none. */
const struct clv_podnet_container *clv_podnet_find(const struct clv_podnet *p, const char *pod_uid,
						   const char *const *ids, size_t id_count);
/*
 * The number of the namespace that has this address, by the links that lead into others: as they were when this was
 * first asked after the last scan. Returns 0; -ENOENT: none has it; -ENOTUNIQ: several have; -EACCES: CAP_NET_ADMIN is
 * missing; or -errno.
 */
int clv_podnet_find_address(struct clv_podnet *p, const struct clv_addr *addr, int32_t *nsid);

/* Why the last scan could see less than all, for people: "no process of a container is visible: hostPID is missing"; ""
 * when nothing is wrong. */
const char *clv_podnet_trouble(const struct clv_podnet *p);

#endif
