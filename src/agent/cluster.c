/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the cluster. Owns the objects that the API tells, and says when a pod of this node has changed. The
 * questions are answered by peer.c, pod_resource.c, owners.c and protocol.c. Engine thread.
 */
#include "agent/cluster.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cluster_internal.h"

/* ---- pods of this node ------------------------------------------------------------------------------------------- */

static bool cluster_is_own(const struct clv_cluster *c, const struct clv_kube_pod *pod)
{
	return !c->node || strcmp(pod->node, c->node) == 0;
}

static void cluster_tell(struct clv_cluster *c, const struct clv_kube_pod *pod, bool gone)
{
	if (c->config.pod)
		c->config.pod(c->config.ctx, pod, gone);
}

/* A pod in place of what had its name before, which may be the same one, another, or nothing. */
static void cluster_pod_set(struct clv_cluster *c, const struct clv_kube_pod *pod, const struct clv_kube_pod *before)
{
	bool own = cluster_is_own(c, pod), was_own = before && cluster_is_own(c, before);

	c->own_pods += own;
	c->own_pods -= was_own;
	if (was_own && (!own || strcmp(before->head.uid, pod->head.uid) != 0))
		cluster_tell(c, before, true);
	if (own)
		cluster_tell(c, pod, false);
}

/* A ReplicaSet's owner is known now: so are its pods' names. */
static void cluster_replicaset_set(struct clv_cluster *c, const struct clv_kube_object *replicaset,
				   const struct clv_kube_object *before)
{
	const struct clv_known *k;

	if (before && strcmp(before->owner.uid, replicaset->owner.uid) == 0)
		return;
	clv_cluster_store_each(&c->store, CLV_KUBE_POD, k)
		if (strcmp(k->object->owner.uid, replicaset->uid) == 0 && cluster_is_own(c, clv_known_pod(k)))
			cluster_tell(c, clv_known_pod(k), false);
}

/* ---- which addresses are the cluster's --------------------------------------------------------------------------- */

static void cluster_learn(struct clv_cluster *c, const struct clv_addr *ip, size_t count)
{
	for (size_t i = 0; i < count; i++)
		clv_ranges_learn(&c->ranges, &ip[i], 128);
}

static bool cluster_has_node_at(const struct clv_cluster *c, const struct clv_addr *addr)
{
	const struct clv_claim *claim = NULL;

	while ((claim = clv_cluster_store_claim(&c->store, addr, claim)))
		if (claim->by->object->kind == CLV_KUBE_NODE)
			return true;
	return false;
}

/* Pods of a node's network have the node's address: only once nodes are known an endpoint is known to be another. */
static void cluster_learn_endpoints(struct clv_cluster *c, const struct clv_kube_endpointslice *slice)
{
	for (size_t i = 0; i < slice->endpoint_count; i++) {
		const struct clv_kube_endpoint *e = &slice->endpoint[i];

		for (size_t k = 0; k < e->ip_count && e->pod[0]; k++)
			if (!cluster_has_node_at(c, &e->ip[k]))
				clv_ranges_learn(&c->ranges, &e->ip[k], 128);
	}
}

static void cluster_learn_all_endpoints(struct clv_cluster *c)
{
	const struct clv_known *k;

	clv_cluster_store_each(&c->store, CLV_KUBE_ENDPOINTSLICE, k)
		cluster_learn_endpoints(c, clv_known_slice(k));
}

/* External addresses of a Service are not the cluster's: a ClusterIP comes first in the list. */
static void cluster_learn_from(struct clv_cluster *c, const struct clv_kube_object *object)
{
	const struct clv_kube_service *service = (const struct clv_kube_service *)object;
	const struct clv_kube_node *node = (const struct clv_kube_node *)object;
	const struct clv_kube_pod *pod = (const struct clv_kube_pod *)object;

	switch (object->kind) {
	case CLV_KUBE_POD:
		if (!pod->host_network)
			cluster_learn(c, pod->ip, pod->ip_count);
		break;
	case CLV_KUBE_SERVICE:
		if (!service->headless)
			cluster_learn(c, service->ip, service->ip_count ? 1 : 0);
		break;
	case CLV_KUBE_NODE:
		for (size_t i = 0; i < node->range_count; i++)
			clv_ranges_learn(&c->ranges, &node->range[i].addr, node->range[i].bits);
		break;
	case CLV_KUBE_ENDPOINTSLICE:
		if (c->state[CLV_KUBE_NODE] == CLUSTER_LISTED)
			cluster_learn_endpoints(c, (const struct clv_kube_endpointslice *)object);
		break;
	case CLV_KUBE_REPLICASET:
	case CLV_KUBE_KINDS:
		break;
	}
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static void cluster_set(struct clv_cluster *c, struct clv_kube_object *object)
{
	struct clv_kube_object *before;

	if (clv_cluster_store_put(&c->store, object, &before)) {
		clv_kube_object_free(object);
		c->lost++;
		return;
	}
	c->generation++;
	cluster_learn_from(c, object);
	if (object->kind == CLV_KUBE_POD)
		cluster_pod_set(c, (const struct clv_kube_pod *)object, (const struct clv_kube_pod *)before);
	else if (object->kind == CLV_KUBE_REPLICASET)
		cluster_replicaset_set(c, object, before);
	clv_kube_object_free(before);
}

static void cluster_gone(void *ctx, struct clv_known *k)
{
	struct clv_cluster *c = ctx;
	struct clv_kube_object *object = clv_cluster_store_take(&c->store, k);

	c->generation++;
	if (object->kind == CLV_KUBE_POD && cluster_is_own(c, (const struct clv_kube_pod *)object)) {
		c->own_pods--;
		cluster_tell(c, (const struct clv_kube_pod *)object, true);
	}
	clv_kube_object_free(object);
}

/* Unless another one has that name by now. */
static void cluster_delete(struct clv_cluster *c, struct clv_kube_object *object)
{
	struct clv_known *k = clv_cluster_store_find(&c->store, object->kind, clv_slice_str(object->namespace),
						     clv_slice_str(object->name));

	if (k && strcmp(k->object->uid, object->uid) == 0)
		cluster_gone(c, k);
	clv_kube_object_free(object);
}

/* A kind has been told as a whole. */
static void cluster_listed(struct clv_cluster *c, enum clv_kube_kind kind)
{
	bool first = c->state[kind] != CLUSTER_LISTED;

	c->state[kind] = CLUSTER_LISTED;
	c->generation++; /* nobody else has an address than those who are known */
	clv_cluster_store_sweep(&c->store, kind, cluster_gone, c);
	if (first && kind == CLV_KUBE_NODE)
		cluster_learn_all_endpoints(c);
}

/* What keeps a kind from being known, or that nothing does any more. */
static void cluster_trouble(struct clv_cluster *c, enum clv_kube_kind kind, const char *why)
{
	snprintf(c->why[kind], sizeof(c->why[kind]), "%s", why);
}

void clv_cluster_event(struct clv_cluster *c, struct clv_kube_event *event)
{
	struct clv_kube_object *object = event->object;

	event->object = NULL;
	switch (event->type) {
	case CLV_KUBE_LISTING:
		clv_cluster_store_begin(&c->store, event->kind);
		break;
	case CLV_KUBE_LISTED:
		cluster_listed(c, event->kind);
		break;
	case CLV_KUBE_SET:
		cluster_set(c, object);
		break;
	case CLV_KUBE_GONE:
		cluster_delete(c, object);
		break;
	case CLV_KUBE_TROUBLE:
		cluster_trouble(c, event->kind, event->why);
		break;
	case CLV_KUBE_DENIED:
		if (c->state[event->kind] == CLUSTER_EXPECTED)
			c->state[event->kind] = CLUSTER_DENIED;
		c->generation++;
		cluster_trouble(c, event->kind, event->why);
		break;
	case CLV_KUBE_WORKING:
		cluster_trouble(c, event->kind, "");
		break;
	}
}

bool clv_cluster_synced(const struct clv_cluster *c)
{
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++)
		if (c->config.kinds & 1u << kind && c->state[kind] == CLUSTER_EXPECTED)
			return false;
	return true;
}

const char *clv_cluster_trouble(const struct clv_cluster *c, enum clv_kube_kind kind)
{
	return c->why[kind];
}

uint64_t clv_cluster_generation(const struct clv_cluster *c)
{
	return c->generation;
}

/* ---- pods, figures ----------------------------------------------------------------------------------------------- */

const struct clv_kube_pod *clv_cluster_pod(const struct clv_cluster *c, const char *uid)
{
	const struct clv_known *k = clv_cluster_store_pod(&c->store, uid);

	return k && cluster_is_own(c, clv_known_pod(k)) ? clv_known_pod(k) : NULL;
}

void clv_cluster_pods(const struct clv_cluster *c, void (*fn)(void *ctx, const struct clv_kube_pod *pod), void *ctx)
{
	const struct clv_known *k;

	clv_cluster_store_each(&c->store, CLV_KUBE_POD, k)
		if (cluster_is_own(c, clv_known_pod(k)))
			fn(ctx, clv_known_pod(k));
}

int clv_cluster_set_local(struct clv_cluster *c, const struct clv_addr *addr, size_t count)
{
	struct clv_addr *copy;

	if (count == c->local_count && (!count || memcmp(addr, c->local, count * sizeof(*addr)) == 0))
		return 0;
	copy = count ? reallocarray(NULL, count, sizeof(*copy)) : NULL;
	if (count && !copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, addr, count * sizeof(*copy));
	free(c->local);
	c->local = copy;
	c->local_count = count;
	c->generation++;
	return 0;
}

static size_t index_bytes(const struct clv_index *x)
{
	return x->bucket_count * sizeof(struct clv_index_node *);
}

size_t clv_cluster_figures(const struct clv_cluster *c, struct clv_figure out[CLV_CLUSTER_FIGURES])
{
	const struct clv_cluster_store *s = &c->store;
	const struct clv_figure figures[] = {
		{"kube_pods", "pods of this node", false, c->own_pods},
		{"kube_services", "Services that are known", false, s->counts[CLV_KUBE_SERVICE]},
		{"kube_nodes", "nodes that are known", false, s->counts[CLV_KUBE_NODE]},
		{"kube_replicasets", "ReplicaSets that are known", false, s->counts[CLV_KUBE_REPLICASET]},
		{"kube_addresses", "addresses of pods, Services and nodes that are known", false, s->addrs.count},
		{"kube_bytes", "bytes of what is known of the cluster", false,
		 s->bytes + index_bytes(&s->names) + index_bytes(&s->others) + index_bytes(&s->addrs) +
			 index_bytes(&s->ranges)},
		{"kube_lost", "Kubernetes objects not kept for want of memory", true, c->lost},
	};

	_Static_assert(sizeof(figures) / sizeof(*figures) <= CLV_CLUSTER_FIGURES, "there is room for all");
	memcpy(out, figures, sizeof(figures));
	return sizeof(figures) / sizeof(*figures);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int copy_string(const char *text, char **out)
{
	if (text && *text && !(*out = strdup(text)))
		return -ENOMEM;
	return 0;
}

int clv_cluster_new(const struct clv_cluster_config *config, struct clv_cluster **out)
{
	struct clv_cluster *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->config = *config;
	if (!c->config.kinds)
		c->config.kinds = (1u << CLV_KUBE_KINDS) - 1;
	c->generation = 1; /* 0: never */
	if (clv_cluster_store_init(&c->store)) {
		free(c);
		return -ENOMEM;
	}
	if (copy_string(config->cluster_name, &c->cluster_name) || copy_string(config->node, &c->node)) {
		clv_cluster_free(c);
		return -ENOMEM;
	}
	*out = c;
	return 0;
}

void clv_cluster_free(struct clv_cluster *c)
{
	if (!c)
		return;
	clv_cluster_store_fini(&c->store);
	free(c->cluster_name);
	free(c->node);
	free(c->local);
	free(c);
}
