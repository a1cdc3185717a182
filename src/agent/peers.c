/* SPDX-License-Identifier: Apache-2.0 */
/* Names of peers, and the spans that wait for them. Owns the copies that wait. Engine thread. */
#include "agent/peers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/hash.h"
#include "base/list.h"
#include "model/span_copy.h"

/* In a cluster of 5,000 pods most of those that this node talks to keep a slot to themselves. */
#define VAIN_SLOTS 4096u
/* In a large cluster there is always news: the list is not gone through for each of it. */
#define TRY_NS (20ull * 1000 * 1000)

struct waiting {
	struct clv_node node;
	uint64_t since_ns;
	struct clv_addr addr; /* whose name is waited for */
	uint16_t port;
	struct clv_span_copy *copy;
};

struct clv_peers {
	struct clv_peers_config config;
	struct clv_node waiting; /* the oldest first */
	size_t count, bytes;
	uint64_t now_ns;     /* of the last tick */
	uint64_t generation; /* of the cluster, when all were tried last, and when that was */
	uint64_t tried_ns;
	uint64_t waited, hurried, unnamed;
	struct {
		struct clv_addr addr;
		uint64_t until_ns;
	} vain[VAIN_SLOTS];   /* by the address's hash: one address each */
	struct clv_span span; /* a copy that goes out */
};

/* ---- what a span says of its peer -------------------------------------------------------------------------------- */

static void put(struct clv_span *s, enum clv_attr_key key, struct clv_slice value)
{
	if (value.len)
		clv_span_str(s, key, value);
}

static void peers_name(struct clv_span *s, const struct clv_peer *peer)
{
	static const struct clv_slice kinds[] = {
		[CLV_PEER_UNKNOWN] = CLV_LIT("unknown"),   [CLV_PEER_POD] = CLV_LIT("pod"),
		[CLV_PEER_SERVICE] = CLV_LIT("service"),   [CLV_PEER_NODE] = CLV_LIT("node"),
		[CLV_PEER_EXTERNAL] = CLV_LIT("external"),
	};

	assert(s->attr_count + CLV_SPAN_PEER_ATTRS <= CLV_SPAN_ATTRS);
	put(s, CLV_ATTR_CLOVISOR_PEER_KIND, kinds[peer->kind]);
	put(s, CLV_ATTR_SERVICE_PEER_NAME, peer->service_name);
	if (peer->service_name.len)
		put(s, CLV_ATTR_SERVICE_PEER_NAMESPACE, peer->service_namespace);
	put(s, CLV_ATTR_CLOVISOR_PEER_NAMESPACE, peer->namespace);
	put(s, CLV_ATTR_CLOVISOR_PEER_POD, peer->pod);
	put(s, CLV_ATTR_CLOVISOR_PEER_SERVICE, peer->service);
	put(s, CLV_ATTR_CLOVISOR_PEER_NODE, peer->node);
	put(s, CLV_ATTR_CLOVISOR_PEER_WORKLOAD_KIND, peer->workload_kind);
	put(s, CLV_ATTR_CLOVISOR_PEER_WORKLOAD_NAME, peer->workload);
}

static void peers_emit(struct clv_peers *p, struct clv_span *s, const struct clv_peer *peer)
{
	p->unnamed += peer->kind == CLV_PEER_UNKNOWN;
	peers_name(s, peer);
	p->config.emit(p->config.ctx, s);
}

/* ---- addresses that nobody waits for ----------------------------------------------------------------------------- */

static size_t vain_slot(const struct clv_addr *addr)
{
	return clv_hash(addr, sizeof(*addr), 0) % VAIN_SLOTS;
}

static bool is_vain(const struct clv_peers *p, const struct clv_addr *addr)
{
	size_t slot = vain_slot(addr);

	return p->vain[slot].until_ns > p->now_ns && memcmp(&p->vain[slot].addr, addr, sizeof(*addr)) == 0;
}

static void set_vain(struct clv_peers *p, const struct clv_addr *addr)
{
	size_t slot = vain_slot(addr);

	p->vain[slot].addr = *addr;
	p->vain[slot].until_ns = p->now_ns + CLV_PEERS_VAIN_NS;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

/* Out of the list, and out. */
static void waiting_end(struct clv_peers *p, struct waiting *w, const struct clv_peer *peer)
{
	clv_list_remove(&w->node);
	p->count--;
	p->bytes -= clv_span_copy_bytes(w->copy);
	clv_span_copy_get(w->copy, &p->span);
	peers_emit(p, &p->span, peer);
	clv_span_copy_free(w->copy);
	free(w);
}

static void waiting_end_as_it_is(struct clv_peers *p, struct waiting *w)
{
	struct clv_peer peer = clv_cluster_peer(p->config.cluster, &w->addr, w->port);

	waiting_end(p, w, &peer);
}

/* Those that were there first have had the most time. */
static void waiting_make_room(struct clv_peers *p)
{
	while (p->count > CLV_PEERS_WAITING || p->bytes > CLV_PEERS_BYTES) {
		p->hurried++;
		waiting_end_as_it_is(p, clv_list_first(&p->waiting, struct waiting, node));
	}
}

/* false: there is no memory to wait in. */
static bool waiting_begin(struct clv_peers *p, struct clv_span *span, const struct clv_endpoint *peer, uint16_t port)
{
	struct waiting *w = malloc(sizeof(*w));

	if (!w)
		return false;
	if (!span->resource)
		span->resource = clv_resources_get(p->config.resources, span->net);
	*w = (struct waiting){.since_ns = p->now_ns, .addr = peer->addr, .port = port, .copy = clv_span_copy_new(span)};
	if (!w->copy) {
		free(w);
		return false;
	}
	clv_list_append(&p->waiting, &w->node);
	p->count++;
	p->bytes += clv_span_copy_bytes(w->copy);
	p->waited++;
	waiting_make_room(p);
	return true;
}

/* ---- from outside ------------------------------------------------------------------------------------------------ */

static bool is_loopback(const struct clv_addr *a)
{
	static const struct clv_addr v6 = {.b = {[15] = 1}};

	return clv_addr_is_v4(a) ? a->b[12] == 127 : memcmp(a, &v6, sizeof(v6)) == 0;
}

void clv_peers_span(struct clv_peers *p, struct clv_span *span)
{
	bool out = span->kind == CLV_KIND_CLIENT;
	const struct clv_endpoint *other = out ? &span->server : &span->client;
	uint16_t port = out ? other->port : 0; /* a client's port says nothing */

	if (is_loopback(&other->addr)) { /* it talks to itself */
		p->config.emit(p->config.ctx, span);
		return;
	}
	struct clv_peer peer = clv_cluster_peer(p->config.cluster, &other->addr, port);
	if (peer.kind == CLV_PEER_UNKNOWN && !is_vain(p, &other->addr) && waiting_begin(p, span, other, port))
		return;
	peers_emit(p, span, &peer);
}

/* The list is gone through as a whole only when there is news. */
static void peers_try(struct clv_peers *p)
{
	uint64_t generation = clv_cluster_generation(p->config.cluster);
	struct clv_node *n = p->waiting.next;

	if (generation == p->generation || (p->tried_ns && p->now_ns - p->tried_ns < TRY_NS))
		return;
	p->generation = generation;
	p->tried_ns = p->now_ns;
	while (n != &p->waiting) {
		struct waiting *w = clv_list_entry(n, struct waiting, node);
		struct clv_peer peer = clv_cluster_peer(p->config.cluster, &w->addr, w->port);

		n = n->next;
		if (peer.kind != CLV_PEER_UNKNOWN)
			waiting_end(p, w, &peer);
	}
}

void clv_peers_tick(struct clv_peers *p, uint64_t now_ns)
{
	struct waiting *w;

	p->now_ns = now_ns;
	peers_try(p);
	while ((w = clv_list_first(&p->waiting, struct waiting, node)) && now_ns - w->since_ns >= p->config.wait_ns) {
		set_vain(p, &w->addr);
		waiting_end_as_it_is(p, w);
	}
}

void clv_peers_gone(struct clv_peers *p, uint32_t resource_id)
{
	struct clv_node *n = p->waiting.next;

	while (n != &p->waiting) {
		struct waiting *w = clv_list_entry(n, struct waiting, node);

		n = n->next;
		if (clv_span_copy_resource(w->copy)->id == resource_id)
			waiting_end_as_it_is(p, w);
	}
}

void clv_peers_flush(struct clv_peers *p)
{
	struct waiting *w;

	while ((w = clv_list_first(&p->waiting, struct waiting, node)))
		waiting_end_as_it_is(p, w);
}

size_t clv_peers_figures(const struct clv_peers *p, struct clv_figure out[CLV_PEERS_FIGURES])
{
	out[0] = (struct clv_figure){"kube_waiting", "requests that wait for their peer's name now", false, p->count};
	out[1] =
		(struct clv_figure){"kube_waited", "requests that had to wait for their peer's name", false, p->waited};
	out[2] = (struct clv_figure){"kube_hurried", "of these, requests that others left no room to wait", false,
				     p->hurried};
	out[3] = (struct clv_figure){"kube_unnamed", "requests whose peer in the cluster has no name", false,
				     p->unnamed};
	return 4;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

int clv_peers_new(const struct clv_peers_config *config, struct clv_peers **out)
{
	struct clv_peers *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->config = *config;
	if (!p->config.wait_ns)
		p->config.wait_ns = CLV_PEERS_WAIT_NS;
	clv_list_init(&p->waiting);
	*out = p;
	return 0;
}

void clv_peers_free(struct clv_peers *p)
{
	if (!p)
		return;
	for (struct clv_node *n = p->waiting.next, *next; n != &p->waiting; n = next) {
		struct waiting *w = clv_list_entry(n, struct waiting, node);

		next = n->next;
		clv_span_copy_free(w->copy);
		free(w);
	}
	free(p);
}
