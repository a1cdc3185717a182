/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the cluster share: cluster.c, peer.c, pod_resource.c, protocol.c. Nobody else includes it. */
#ifndef CLV_AGENT_CLUSTER_INTERNAL_H
#define CLV_AGENT_CLUSTER_INTERNAL_H

#include "agent/cluster.h"
#include "agent/ranges.h"
#include "agent/store.h"

enum cluster_state { CLUSTER_EXPECTED, CLUSTER_LISTED, CLUSTER_DENIED };

struct clv_cluster {
	struct clv_cluster_config config; /* its strings are the cluster's own */
	char *cluster_name, *node;
	struct clv_cluster_store store;
	struct clv_ranges ranges;
	uint64_t generation;
	uint64_t lost; /* objects, for want of memory */
	enum cluster_state state[CLV_KUBE_KINDS];
	char why[CLV_KUBE_KINDS][CLV_KUBE_WHY];
	size_t own_pods;
	struct clv_addr *local; /* this node's, besides those that its Node has */
	size_t local_count;
};

/* A pod's owners, the direct one first. */
struct clv_owners {
	size_t count;
	struct {
		struct clv_slice kind, name, uid;
	} owner[2];
};

/*
 * By what the pod says, by its ReplicaSet, and where names tell for sure: a ReplicaSet is a Deployment's when its name
 * ends with the pod's label pod-template-hash, a Job a CronJob's when it ends with the minute it was made for.
 */
struct clv_owners clv_cluster_owners(const struct clv_cluster *c, const struct clv_kube_pod *pod);
/* Of a pod of which only the name is known: if that begins with a known ReplicaSet's. */
struct clv_owners clv_cluster_owners_by_name(const struct clv_cluster *c, const char *namespace, const char *pod);

/* service.name and service.namespace. Never empty. */
struct clv_slice clv_cluster_service_name(const struct clv_cluster *c, const struct clv_kube_pod *pod,
					  const struct clv_owners *owners);
struct clv_slice clv_cluster_service_namespace(const struct clv_kube_pod *pod);

#endif
