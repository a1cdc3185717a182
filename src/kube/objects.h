/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the Kubernetes API, reduced to what clovisor needs of them. Each is one piece of memory that holds all its
 * strings: made on the API thread by kube/parse.h, handed over, freed by whoever has it.
 *
 * Strings are never NULL: what an object does not say is "". Source: Kubernetes API reference, v1.34; field names are
 * the API's.
 */
#ifndef CLV_KUBE_OBJECTS_H
#define CLV_KUBE_OBJECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

enum clv_kube_kind {
	CLV_KUBE_POD,           /* core/v1, of this node, or of all */
	CLV_KUBE_SERVICE,       /* core/v1 */
	CLV_KUBE_ENDPOINTSLICE, /* discovery.k8s.io/v1 */
	CLV_KUBE_REPLICASET,    /* apps/v1, metadata alone */
	CLV_KUBE_NODE,          /* core/v1 */
	CLV_KUBE_KINDS
};

struct clv_kube_pair {
	const char *key, *value;
};

/* Sorted by key. */
struct clv_kube_pairs {
	size_t count;
	const struct clv_kube_pair *pair;
};

/* What all have. */
struct clv_kube_object {
	enum clv_kube_kind kind;
	size_t bytes;                 /* of the whole piece */
	const char *namespace, *name; /* "": it is not in a namespace */
	const char *uid;
	struct {
		const char *kind, *name, *uid; /* the controller's: "ReplicaSet", "StatefulSet", ...; "" without one */
	} owner;
};

enum clv_kube_phase { CLV_KUBE_PENDING, CLV_KUBE_RUNNING, CLV_KUBE_SUCCEEDED, CLV_KUBE_FAILED, CLV_KUBE_UNKNOWN };

/* A port that a container or a Service declares. */
struct clv_kube_port {
	uint16_t port;   /* containerPort; of a Service: port */
	uint16_t target; /* of a Service: targetPort where it is a number; otherwise 0 */
	bool udp;        /* protocol: neither SCTP nor anything else is kept */
	const char *name;
	const char *target_name; /* of a Service: targetPort where it is a name */
	const char *app_protocol;
};

struct clv_kube_container {
	const char *name;
	const char *id; /* without its scheme: 64 hexadecimal digits; "": it has not run yet */
	bool main;      /* one of spec.containers: neither init nor ephemeral */
};

struct clv_kube_pod {
	struct clv_kube_object head;
	const char *node; /* spec.nodeName */
	bool host_network;
	bool deleting; /* metadata.deletionTimestamp is set */
	enum clv_kube_phase phase;
	struct clv_kube_pairs labels;
	struct clv_kube_pairs annotations; /* those of clovisor.io/ and resource.opentelemetry.io/ alone */
	size_t ip_count;
	const struct clv_addr *ip; /* status.podIPs */
	size_t container_count;
	const struct clv_kube_container *container; /* init and ephemeral ones, too */
	size_t port_count;
	const struct clv_kube_port *port;
};

struct clv_kube_service {
	struct clv_kube_object head;
	bool headless; /* no ClusterIP, and so no address that leads to it; also of type ExternalName */
	struct clv_kube_pairs selector;
	size_t ip_count;
	const struct clv_addr *ip; /* clusterIPs, externalIPs, load balancers'; the ClusterIP is the first */
	size_t port_count;
	const struct clv_kube_port *port;
};

/* One endpoint is one pod, mostly: of all its addresses. */
struct clv_kube_endpoint {
	size_t ip_count;
	const struct clv_addr *ip;
	const char *node;
	const char *pod, *pod_uid; /* of targetRef, if that is a Pod */
};

struct clv_kube_endpointslice {
	struct clv_kube_object head;
	const char *service; /* label kubernetes.io/service-name */
	size_t endpoint_count;
	const struct clv_kube_endpoint *endpoint;
};

struct clv_kube_replicaset {
	struct clv_kube_object head; /* its owner is what counts */
};

/* 10.244.1.0/24 */
struct clv_kube_range {
	struct clv_addr addr;
	uint8_t bits; /* of the 128 that addresses have here */
};

struct clv_kube_node {
	struct clv_kube_object head;
	size_t ip_count;
	const struct clv_addr *ip; /* status.addresses: InternalIP and ExternalIP */
	size_t range_count;
	const struct clv_kube_range *range; /* spec.podCIDRs */
};

/* As the API's paths have it: "pods". */
const char *clv_kube_kind_name(enum clv_kube_kind kind);

/* The value of a key, or NULL. */
const char *clv_kube_pairs_get(const struct clv_kube_pairs *pairs, const char *key);

/* NULL is allowed. */
void clv_kube_object_free(struct clv_kube_object *object);

#endif
