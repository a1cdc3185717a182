/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent knows of the cluster, from the API's events: whose address is whose, and what a pod's telemetry is
 * called. The engine's thread owns it.
 *
 * It keeps what it needs of each object, no more: 5,000 pods fit in some MiB.
 */
#ifndef CLV_AGENT_CLUSTER_H
#define CLV_AGENT_CLUSTER_H

#include <stdbool.h>
#include <stdint.h>

#include "kube/api.h"
#include "kube/objects.h"
#include "model/figure.h"
#include "model/resource.h"

struct clv_cluster;

struct clv_cluster_config {
	const char *cluster_name; /* k8s.cluster.name; NULL: not known */
	const char *node;         /* this node's name; NULL: all pods are taken for its own */
	unsigned kinds;           /* bit 1 << enum clv_kube_kind: which will be told; 0: all */
	/* The labels app.kubernetes.io/instance, name and version may name a service: OpenTelemetry wants users to ask
	 * for it. */
	bool labels_name_services;
	/*
	 * A pod of this node is new, has changed (also: what is known of its owners), or is gone. The object is the
	 * cluster's, until this returns. The same pod may be told again unchanged. May be NULL.
	 */
	void (*pod)(void *ctx, const struct clv_kube_pod *pod, bool gone);
	void *ctx;
};

/* Returns 0 or -ENOMEM. Strings of the config are copied. */
int clv_cluster_new(const struct clv_cluster_config *config, struct clv_cluster **out);
void clv_cluster_free(struct clv_cluster *c);

/*
 * Addresses of this node that no Node object has: those of its bridges and tunnels, from which it talks to its pods.
 * In place of those that were said before; copied. Returns 0 or -ENOMEM.
 */
int clv_cluster_set_local(struct clv_cluster *c, const struct clv_addr *addr, size_t count);

/* Takes the event's object; the event is left without it. */
void clv_cluster_event(struct clv_cluster *c, struct clv_kube_event *event);
/* Lists of all kinds that are needed have been told once, or are denied: names are as good as they get. */
bool clv_cluster_synced(const struct clv_cluster *c);
/* Of a kind that is in TROUBLE or DENIED: why; otherwise "". */
const char *clv_cluster_trouble(const struct clv_cluster *c, enum clv_kube_kind kind);

/* A pod of this node by uid, or NULL. */
const struct clv_kube_pod *clv_cluster_pod(const struct clv_cluster *c, const char *uid);
/* Each pod of this node. */
void clv_cluster_pods(const struct clv_cluster *c, void (*fn)(void *ctx, const struct clv_kube_pod *pod), void *ctx);

/*
 * A pod's resource: k8s.* attributes (semantic conventions 1.44, registry/attributes/k8s), service.name by the rules of
 * non-normative/k8s-attributes.md, service.namespace, service.version, service.instance.id, and what its annotations
 * resource.opentelemetry.io/KEY say.
 *
 * An owner at the top that is neither a Deployment nor any other of the usual kinds names the service as well: what is
 * below it (a ReplicaSet of a Rollout, a pod of a database's operator) has names that change or that have numbers.
 */
#define CLV_CLUSTER_ATTRS      26   /* leaves room for attributes that all resources have */
#define CLV_CLUSTER_ATTR_BYTES 3072 /* keys and values together */
struct clv_cluster_resource {
	struct clv_slice service;
	size_t count;
	struct clv_resource_attr attr[CLV_CLUSTER_ATTRS];
	size_t bytes;    /* of keys and values */
	size_t left_out; /* attributes of annotations that had no room */
	char text[512];
};
/* Strings borrow from the cluster, until the next event, and from out->text. */
void clv_cluster_resource(const struct clv_cluster *c, const struct clv_kube_pod *pod,
			  struct clv_cluster_resource *out);

enum clv_peer_kind {
	CLV_PEER_UNKNOWN, /* inside the cluster, but whose is not known (yet); `node` is set when it is one's podCIDR */
	CLV_PEER_POD,
	CLV_PEER_SERVICE,  /* a ClusterIP, or another address of a Service */
	CLV_PEER_NODE,     /* the node itself, or a pod of its network; `pod` is set when the port is one's */
	CLV_PEER_EXTERNAL, /* nobody in the cluster has it; `service` is set when one leads there */
};

/* Who has an address. Strings are borrowed until the next event; empty where not known. */
struct clv_peer {
	enum clv_peer_kind kind;
	struct clv_slice namespace, pod, service, node;
	struct clv_slice workload;      /* the owner at the top: a Deployment's name */
	struct clv_slice workload_kind; /* "Deployment", "StatefulSet", ... */
	/* What a span of that pod has as service.name and service.namespace, as far as it is known here; of a Service:
	 * of the pods behind it if they agree, otherwise its own name. */
	struct clv_slice service_name, service_namespace;
};

/*
 * `port` may choose among Services that share an address, and pods that share a node's. 0: a client's, which says
 * nothing; then an address that is a node's or a pod's, too, is not the Service's: Services send no requests.
 *
 * An address that nobody is known to have is UNKNOWN as long as lists are to come; then if it is near those of pods and
 * Services (agent/ranges.h), and, where Nodes may not be read, if it is a private one (RFC 1918 and the like);
 * otherwise EXTERNAL.
 */
struct clv_peer clv_cluster_peer(const struct clv_cluster *c, const struct clv_addr *addr, uint16_t port);

/*
 * The protocol of a port of this pod, as the names of its container ports and of the Service ports that lead there say
 * by Istio's convention (http, http-web, grpc, appProtocol): a name of a clv_proto, or NULL. A hint, no more: what is
 * called http may as well speak HTTP/2.
 */
const char *clv_cluster_protocol(const struct clv_cluster *c, const struct clv_kube_pod *pod, uint16_t port);

/* Another number: what clv_cluster_peer() says may have changed. */
uint64_t clv_cluster_generation(const struct clv_cluster *c);

#define CLV_CLUSTER_FIGURES 8
/* kube_pods, kube_services, kube_addresses, ... Returns how many. */
size_t clv_cluster_figures(const struct clv_cluster *c, struct clv_figure out[CLV_CLUSTER_FIGURES]);

#endif
