/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has an address. Of all who claim it, a Service of that port comes first (its external address may be a node's,
 * too), then the node (what else has its address are pods of its network), then the pod that claimed it last. Owns
 * nothing. Engine thread.
 */
#include "agent/cluster_internal.h"

/* What was found of an address. */
struct found {
	const struct clv_claim *pod; /* the last claim of a pod: by its own object, or by an EndpointSlice */
	struct clv_known *node;
	struct clv_known *guest;                       /* a pod of the node's network */
	struct clv_known *host_pod;                    /* one of them, that has this port */
	struct clv_known *service;                     /* its own address, and of this port */
	struct clv_known *any;                         /* likewise, whatever the port */
	const struct clv_kube_endpointslice *endpoint; /* that leads there, though no pod is there */
};

static bool service_has_port(const struct clv_kube_service *s, uint16_t port)
{
	for (size_t i = 0; i < s->port_count; i++)
		if (s->port[i].port == port)
			return true;
	return false;
}

static bool pod_has_port(const struct clv_kube_pod *pod, uint16_t port)
{
	for (size_t i = 0; i < pod->port_count; i++)
		if (pod->port[i].port == port)
			return port;
	return false;
}

static const struct clv_kube_endpoint *claim_endpoint(const struct clv_claim *claim)
{
	return &clv_known_slice(claim->by)->endpoint[claim->endpoint];
}

/* Two have a claim that is as good: the one whose name comes first, so that it is always the same one. */
static struct clv_known *first_named(struct clv_known *a, struct clv_known *b)
{
	if (!a)
		return b;
	int order = strcmp(a->object->namespace, b->object->namespace);
	if (!order)
		order = strcmp(a->object->name, b->object->name);
	return order <= 0 ? a : b;
}

static void found_pod(struct found *f, const struct clv_claim *claim)
{
	if (!f->pod || claim->since > f->pod->since)
		f->pod = claim;
}

static void found_guest(struct found *f, struct clv_known *pod, uint16_t port)
{
	f->guest = pod;
	if (pod_has_port(clv_known_pod(pod), port))
		f->host_pod = first_named(f->host_pod, pod);
}

static void found_add(struct found *f, const struct clv_claim *claim, uint16_t port)
{
	switch (claim->by->object->kind) {
	case CLV_KUBE_POD:
		if (!clv_known_pod(claim->by)->host_network)
			found_pod(f, claim);
		else if (claim->since)
			found_guest(f, claim->by, port);
		break;
	case CLV_KUBE_ENDPOINTSLICE:
		if (claim_endpoint(claim)->pod[0])
			found_pod(f, claim);
		else if (!f->endpoint || strcmp(clv_known_slice(claim->by)->service, f->endpoint->service) < 0)
			f->endpoint = clv_known_slice(claim->by);
		break;
	case CLV_KUBE_SERVICE:
		if (service_has_port(clv_known_service(claim->by), port))
			f->service = first_named(f->service, claim->by);
		f->any = first_named(f->any, claim->by);
		break;
	case CLV_KUBE_NODE:
		f->node = claim->by;
		break;
	case CLV_KUBE_REPLICASET:
	case CLV_KUBE_KINDS:
		break;
	}
}

/* ---- pods -------------------------------------------------------------------------------------------------------- */

static void peer_owners(struct clv_peer *p, const struct clv_owners *owners)
{
	if (!owners->count)
		return;
	p->workload = owners->owner[owners->count - 1].name;
	p->workload_kind = owners->owner[owners->count - 1].kind;
}

static void peer_pod(const struct clv_cluster *c, struct clv_peer *p, const struct clv_kube_pod *pod)
{
	struct clv_owners owners = clv_cluster_owners(c, pod);

	p->namespace = clv_slice_str(pod->head.namespace);
	p->pod = clv_slice_str(pod->head.name);
	p->node = clv_slice_str(pod->node);
	p->service_name = clv_cluster_service_name(c, pod, &owners);
	p->service_namespace = clv_cluster_service_namespace(pod);
	peer_owners(p, &owners);
}

/* A pod of which an EndpointSlice tells, and nothing else does. */
static void peer_endpoint(const struct clv_cluster *c, struct clv_peer *p, const char *namespace,
			  const struct clv_kube_endpoint *e)
{
	const struct clv_known *known =
		clv_cluster_store_find(&c->store, CLV_KUBE_POD, clv_slice_str(namespace), clv_slice_str(e->pod));

	if (known && (!e->pod_uid[0] || strcmp(known->object->uid, e->pod_uid) == 0)) {
		peer_pod(c, p, clv_known_pod(known));
		return;
	}
	struct clv_owners owners = clv_cluster_owners_by_name(c, namespace, e->pod);
	p->namespace = clv_slice_str(namespace);
	p->pod = clv_slice_str(e->pod);
	p->node = clv_slice_str(e->node);
	peer_owners(p, &owners);
	p->service_name = p->workload;
	p->service_namespace = p->workload.len ? p->namespace : clv_slice(NULL, 0);
}

/* ---- Services ---------------------------------------------------------------------------------------------------- */

/* Is it named like the pod of `before`, but for the last part: by what made them both? */
static bool is_sibling(const struct clv_kube_endpoint *e, const struct clv_kube_endpoint *before)
{
	const char *dash = strrchr(e->pod, '-'), *other = before ? strrchr(before->pod, '-') : NULL;

	return dash && other && dash - e->pod == other - before->pod &&
	       memcmp(e->pod, before->pod, (size_t)(dash - e->pod)) == 0;
}

/* Can it be one of those pods that are known? */
static bool may_be_known(const struct clv_cluster *c, const struct clv_kube_endpoint *e)
{
	return !c->node || !e->node[0] || strcmp(e->node, c->node) == 0;
}

/*
 * What the pods behind it are called, if all that are known agree. There can be thousands: of those on other nodes
 * nothing but the name is known, so of siblings one is enough.
 */
static struct clv_slice service_name_behind(const struct clv_cluster *c, const struct clv_kube_object *service)
{
	struct clv_slice name = {0};
	struct clv_index_node *at = NULL;
	const struct clv_kube_endpointslice *slice;
	const struct clv_kube_endpoint *before = NULL;

	while ((slice = clv_cluster_store_slice(&c->store, service->namespace, service->name, &at)))
		for (size_t i = 0; i < slice->endpoint_count; i++) {
			const struct clv_kube_endpoint *e = &slice->endpoint[i];
			bool known = may_be_known(c, e);
			struct clv_peer p = {0};

			if (!e->pod[0] || (!known && is_sibling(e, before)))
				continue;
			before = known ? before : e;
			peer_endpoint(c, &p, slice->head.namespace, e);
			if (name.len && p.service_name.len && !clv_slice_eq(name, p.service_name))
				return clv_slice(NULL, 0);
			if (p.service_name.len)
				name = p.service_name;
		}
	return name;
}

static void peer_service(const struct clv_cluster *c, struct clv_peer *p, struct clv_known *k)
{
	if (k->named_at != c->generation) {
		k->service = service_name_behind(c, k->object);
		k->named_at = c->generation;
	}
	p->namespace = p->service_namespace = clv_slice_str(k->object->namespace);
	p->service = clv_slice_str(k->object->name);
	p->service_name = k->service.len ? k->service : p->service;
}

/* How surely a Service is the one by which a pod was reached: the port, then that it has an address of its own. */
static int service_rank(const struct clv_known *service, uint16_t port)
{
	const struct clv_kube_service *s = service ? clv_known_service(service) : NULL;
	int rank = s && !s->headless;

	for (size_t i = 0; s && port && i < s->port_count; i++)
		if (s->port[i].target == port)
			return rank + 2;
	return rank;
}

/* The Service that has this pod among its endpoints. */
static struct clv_slice service_before(const struct clv_cluster *c, const struct clv_addr *addr,
				       const struct clv_peer *pod, uint16_t port)
{
	const struct clv_claim *claim = NULL;
	const char *best = "";
	int best_rank = -1;

	while ((claim = clv_cluster_store_claim(&c->store, addr, claim))) {
		const struct clv_kube_endpointslice *slice = clv_known_slice(claim->by);

		if (slice->head.kind != CLV_KUBE_ENDPOINTSLICE || !slice->service[0] ||
		    !clv_slice_eq(pod->pod, clv_slice_str(claim_endpoint(claim)->pod)) ||
		    !clv_slice_eq(pod->namespace, clv_slice_str(slice->head.namespace)))
			continue;
		int rank = service_rank(clv_cluster_store_find(&c->store, CLV_KUBE_SERVICE, pod->namespace,
							       clv_slice_str(slice->service)),
					port);
		if (rank > best_rank || (rank == best_rank && strcmp(slice->service, best) < 0)) {
			best = slice->service;
			best_rank = rank;
		}
	}
	return clv_slice_str(best);
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* The network's own address, or the first one after it. */
static bool is_gateway(const struct clv_claim *range, const struct clv_addr *addr)
{
	struct clv_addr first = range->addr;

	first.b[15] |= 1;
	return range->bits < 127 &&
	       (memcmp(addr, &range->addr, sizeof(*addr)) == 0 || memcmp(addr, &first, sizeof(*addr)) == 0);
}

/*
 * An address that nobody claims, but in a node's podCIDR, is of that node; whose there is not known, except that where
 * nodes get podCIDRs they have the first addresses themselves (bridge, flannel): what comes from the node to its pods,
 * the kubelet's probes for one, comes from there.
 */
static void peer_in_range(const struct clv_cluster *c, struct clv_peer *p, const struct clv_addr *addr)
{
	const struct clv_claim *claim = clv_cluster_store_range(&c->store, addr);

	if (!claim)
		return;
	p->kind = is_gateway(claim, addr) ? CLV_PEER_NODE : CLV_PEER_UNKNOWN;
	p->node = clv_slice_str(claim->by->object->name);
}

static bool is_local(const struct clv_cluster *c, const struct clv_addr *addr)
{
	for (size_t i = 0; i < c->local_count; i++)
		if (memcmp(&c->local[i], addr, sizeof(*addr)) == 0)
			return true;
	return false;
}

/* Nobody claims it. */
static void peer_stranger(const struct clv_cluster *c, struct clv_peer *p, const struct clv_addr *addr)
{
	if (is_local(c, addr)) {
		p->kind = CLV_PEER_NODE;
		p->node = clv_slice_str(c->node ? c->node : "");
		return;
	}
	bool near = clv_ranges_has(&c->ranges, addr); /* as nodes' podCIDRs are: only then it is worth looking at all */
	p->kind = CLV_PEER_UNKNOWN;
	if (near)
		peer_in_range(c, p, addr);
	if (near || !clv_cluster_synced(c))
		return;
	if (c->state[CLV_KUBE_NODE] == CLUSTER_LISTED || !clv_addr_is_private(addr))
		p->kind = CLV_PEER_EXTERNAL;
}

struct clv_peer clv_cluster_peer(const struct clv_cluster *c, const struct clv_addr *addr, uint16_t port)
{
	const struct clv_claim *claim = NULL;
	struct found f = {0};
	struct clv_peer p = {0};

	while ((claim = clv_cluster_store_claim(&c->store, addr, claim)))
		found_add(&f, claim, port);
	if (f.service || (f.any && !f.pod && !f.node && !f.guest)) {
		p.kind = CLV_PEER_SERVICE;
		peer_service(c, &p, f.service ? f.service : f.any);
	} else if (f.node || f.guest) {
		p.kind = CLV_PEER_NODE;
		if (f.host_pod)
			peer_pod(c, &p, clv_known_pod(f.host_pod));
		p.node = clv_slice_str(f.node ? f.node->object->name : clv_known_pod(f.guest)->node);
	} else if (f.pod) {
		p.kind = CLV_PEER_POD;
		if (f.pod->by->object->kind == CLV_KUBE_POD)
			peer_pod(c, &p, clv_known_pod(f.pod->by));
		else
			peer_endpoint(c, &p, f.pod->by->object->namespace, claim_endpoint(f.pod));
		p.service = service_before(c, addr, &p, port);
	} else if (f.endpoint) {
		p.kind = CLV_PEER_EXTERNAL;
		p.namespace = clv_slice_str(f.endpoint->head.namespace);
		p.service = clv_slice_str(f.endpoint->service);
	} else {
		peer_stranger(c, &p, addr);
	}
	return p;
}
