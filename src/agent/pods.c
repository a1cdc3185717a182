/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the table of pods, in the order of their labels; the objects behind them are the cluster's. Never attaches:
 * whoever owns the places does, and is told where.
 */
#include "agent/pods.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "kube/room.h"
#include "wire/record.h"

/* No more than this many times a second is everything looked at, whatever the news. */
#define SEEK_AGAIN_NS (20ull * 1000 * 1000)
/*
 * Nor is more than this part of the time spent on it, as packets are read by the same thread: a host can have 10,000
 * processes, and the kernel make us wait for its list of links while others are attached to. But a new pod does not
 * wait for longer than that.
 */
#define SEEK_PART       10
#define SEEK_AGAIN_MOST (300ull * 1000 * 1000)
#define LABEL_BYTES     512
/* CLV_POD_FAILED_NS becomes twice as long so many times: an hour. */
#define FAILED_DOUBLINGS 7

struct pod {
	struct clv_agent_pod head;
	bool lone; /* a container without a pod */
	bool host_network, deleting;
	bool left;             /* its network went away while it was being deleted */
	uint64_t cgroup_inode; /* of the cgroup that it is captured at */
	uint64_t failed_ns;    /* when its only place could not be attached to; 0: it was not so */
	unsigned failures;     /* of that kind, since its last news */
	bool crowded;          /* it has been told that not all of its interfaces are captured */
};

struct clv_pods {
	struct clv_pods_config config;
	struct pod **pod;
	size_t count, cap;

	struct clv_link *link; /* as of the last look */
	size_t link_count, link_cap;
	bool partial;   /* some may be missing there */
	bool redirects; /* the data path hands packets to pods past their host interfaces */

	uint64_t now_ns, sought_ns, next_ns, wait_ns;
	uint64_t pause_ns;    /* between two looks, at least */
	uint32_t cgroup_nets; /* numbers given so far */
	unsigned generation;
};

/* ---- the table ----------------------------------------------------------------------------------------------- */

static struct pod *pods_get(const struct clv_pods *ps, const char *key)
{
	for (size_t i = 0; i < ps->count; i++)
		if (strcmp(ps->pod[i]->head.key, key) == 0)
			return ps->pod[i];
	return NULL;
}

const struct clv_agent_pod *clv_pods_find(const struct clv_pods *ps, const char *key)
{
	const struct pod *p = pods_get(ps, key);

	return p ? &p->head : NULL;
}

static bool pod_has(const struct pod *p, uint32_t net)
{
	for (size_t i = 0; i < p->head.place_count; i++)
		if (p->head.net[i] == net)
			return true;
	return false;
}

const struct clv_agent_pod *clv_pods_at(const struct clv_pods *ps, uint32_t net)
{
	for (size_t i = 0; i < ps->count; i++)
		if (pod_has(ps->pod[i], net))
			return &ps->pod[i]->head;
	return NULL;
}

void clv_pods_each(const struct clv_pods *ps, void (*fn)(void *ctx, const struct clv_agent_pod *pod), void *ctx)
{
	for (size_t i = 0; i < ps->count; i++)
		fn(ctx, &ps->pod[i]->head);
}

static void pod_free(struct pod *p)
{
	if (!p)
		return;
	free(p->head.namespace);
	free(p->head.name);
	free(p->head.label);
	free(p);
}

static bool pods_grow(struct clv_pods *ps)
{
	struct pod **p = clv_room(ps->pod, ps->count, &ps->cap, sizeof(struct pod *));

	if (p)
		ps->pod = p;
	return p;
}

static struct pod *pod_new(const char *key, const char *namespace, const char *name)
{
	struct pod *p = calloc(1, sizeof(*p));
	char label[LABEL_BYTES];

	if (!p)
		return NULL;
	snprintf(label, sizeof(label), "%s%s%s", namespace, *namespace ? "/" : "", name);
	snprintf(p->head.key, sizeof(p->head.key), "%s", key);
	p->head.namespace = strdup(namespace);
	p->head.name = strdup(name);
	p->head.label = strdup(label);
	p->head.nsid = -1;
	if (!p->head.namespace || !p->head.name || !p->head.label) {
		pod_free(p);
		return NULL;
	}
	return p;
}

/* Puts a new one in its place; NULL: no memory. */
static struct pod *pods_add(struct clv_pods *ps, const char *key, const char *namespace, const char *name)
{
	struct pod *p = pods_grow(ps) ? pod_new(key, namespace, name) : NULL;
	size_t at = 0;

	if (!p)
		return NULL;
	while (at < ps->count && strcmp(ps->pod[at]->head.label, p->head.label) <= 0)
		at++;
	memmove(ps->pod + at + 1, ps->pod + at, (ps->count - at) * sizeof(struct pod *));
	ps->pod[at] = p;
	ps->count++;
	p->head.since_ns = ps->now_ns;
	return p;
}

static void pods_drop(struct clv_pods *ps, const struct pod *p)
{
	size_t at = 0;

	while (ps->pod[at] != p)
		at++;
	ps->count--;
	memmove(ps->pod + at, ps->pod + at + 1, (ps->count - at) * sizeof(struct pod *));
}

/* ---- places ---------------------------------------------------------------------------------------------------- */

/* There is something new: looked at soon, and then again and again. */
static void pods_hurry(struct clv_pods *ps)
{
	ps->wait_ns = CLV_POD_SEEK_LEAST_NS;
	ps->next_ns = ps->sought_ns + ps->pause_ns;
}

/* One that is sought already goes on waiting for its interface as long as it would have. */
static void pod_seek_again(struct clv_pods *ps, struct pod *p, const char *why)
{
	if (p->head.state != CLV_POD_SOUGHT) {
		p->head.state = CLV_POD_SOUGHT;
		p->head.why = why;
		p->failed_ns = 0;
		p->head.found_ns = 0;
		p->head.nsid = -1;
		p->head.cgroup = false;
	}
	pods_hurry(ps);
}

static void pod_leave(struct clv_pods *ps, struct pod *p)
{
	for (size_t i = 0; i < p->head.place_count; i++)
		ps->config.leave(ps->config.ctx, &p->head, p->head.net[i]);
	p->head.place_count = 0;
	p->head.nsid = -1;
	p->head.cgroup = false;
}

static void pod_enter(struct clv_pods *ps, struct pod *p, const struct clv_pod_place *place)
{
	if (pod_has(p, place->net))
		return;
	if (p->head.place_count == CLV_POD_PLACES) {
		if (!p->crowded)
			clv_warn("%s has more than %d interfaces: the others are not traced", p->head.label,
				 CLV_POD_PLACES);
		p->crowded = true;
		return;
	}
	p->head.net[p->head.place_count++] = place->net; /* enter() may look at it */
	if (!ps->config.enter(ps->config.ctx, &p->head, place))
		p->head.place_count--;
}

static void pod_nowhere(struct pod *p, const char *why)
{
	p->head.state = CLV_POD_NOWHERE;
	p->head.why = why;
}

/* Containers can share a network; their packets are captured once. */
static void pod_shares(struct pod *p)
{
	pod_nowhere(p, "its network is that of another container, which is traced");
}

/* At every interface that leads into its namespace. */
static void pod_enter_links(struct clv_pods *ps, struct pod *p)
{
	for (size_t i = 0; i < ps->link_count && p->head.nsid >= 0; i++) {
		const struct clv_link *l = &ps->link[i];

		if (l->peer_nsid != p->head.nsid)
			continue;
		if (clv_pods_at(ps, l->ifindex) && !pod_has(p, l->ifindex))
			pod_shares(p);
		else
			pod_enter(ps, p, &(struct clv_pod_place){.net = l->ifindex, .link = l});
	}
}

static bool pods_have_cgroup(const struct clv_pods *ps, uint64_t inode)
{
	for (size_t i = 0; i < ps->count; i++)
		if (ps->pod[i]->head.cgroup && ps->pod[i]->cgroup_inode == inode)
			return true;
	return false;
}

static void pod_enter_cgroup(struct clv_pods *ps, struct pod *p, const struct clv_podnet_container *c)
{
	const struct clv_pod_place place = {
		.net = CLV_NET_CGROUP + ps->cgroup_nets,
		.cgroup = c->cgroup,
		.cgroup_inode = c->cgroup_inode,
	};

	if (!c->cgroup[0]) {
		pod_nowhere(p, "it has no interface of its own, and no cgroup v2 of it is visible");
		return;
	}
	if (pods_have_cgroup(ps, c->cgroup_inode)) {
		pod_shares(p);
		return;
	}
	ps->cgroup_nets++;
	p->head.cgroup = true;
	p->cgroup_inode = c->cgroup_inode;
	pod_enter(ps, p, &place);
	if (p->head.place_count)
		return;
	p->head.cgroup = false;
	pod_nowhere(p, "its cgroup could not be attached to");
}

/* ---- seeking --------------------------------------------------------------------------------------------------- */

static const struct clv_kube_pod *pod_object(const struct clv_pods *ps, const struct pod *p)
{
	return p->lone ? NULL : ps->config.object(ps->config.ctx, p->head.key);
}

static const struct clv_podnet_container *pod_container(const struct clv_pods *ps, const struct pod *p)
{
	const struct clv_kube_pod *object = pod_object(ps, p);
	const char *id[64];
	size_t count = 0;

	if (p->lone) {
		id[count++] = p->head.key;
		return clv_podnet_find(ps->config.podnet, "", id, count);
	}
	for (size_t i = 0; object && i < object->container_count && count < sizeof(id) / sizeof(*id); i++)
		if (object->container[i].id[0])
			id[count++] = object->container[i].id;
	return clv_podnet_find(ps->config.podnet, p->head.key, id, count);
}

/* Where processes of others cannot be seen, its address tells. */
static bool pod_find_by_address(const struct clv_pods *ps, struct pod *p)
{
	const struct clv_kube_pod *object = pod_object(ps, p);

	for (size_t i = 0; object && !p->host_network && i < object->ip_count; i++)
		if (clv_podnet_find_address(ps->config.podnet, &object->ip[i], &p->head.nsid) == 0)
			return true;
	return false;
}

/* A container that is being made still has the network of whoever makes it. */
static bool pod_is_being_made(const struct clv_pods *ps, const struct pod *p, const struct clv_podnet_container *c)
{
	if (!p->lone)
		return c->host_network && !p->host_network;
	return c->host_network && ps->now_ns - p->head.found_ns < CLV_POD_NO_LINK_NS;
}

/* Where its namespace cannot be looked at, its object says. */
static bool pod_has_host_network(const struct pod *p, const struct clv_podnet_container *c)
{
	return c->host_network || (p->host_network && !c->netns);
}

/* Its namespace is known: the interfaces that lead there. */
static void pod_capture_links(struct clv_pods *ps, struct pod *p, const struct clv_podnet_container *c)
{
	p->head.nsid = c->nsid;
	if (c->netns || pod_find_by_address(ps, p))
		pod_enter_links(ps, p);
	if (p->head.place_count || p->head.state != CLV_POD_SOUGHT)
		return;
	p->head.why = c->netns ? "no interface leads into its network namespace yet"
			       : "its network namespace cannot be looked at (CAP_SYS_PTRACE)";
	if (ps->partial || ps->now_ns - p->head.found_ns < CLV_POD_NO_LINK_NS)
		return;
	if (ps->config.capture == CLV_POD_AUTO)
		pod_enter_cgroup(ps, p, c);
	else
		pod_nowhere(p, "no interface of this host leads to it (capture: auto would take its cgroup)");
}

/* Its processes are known. */
static void pod_capture(struct clv_pods *ps, struct pod *p, const struct clv_podnet_container *c)
{
	if (!p->head.found_ns)
		p->head.found_ns = ps->now_ns;
	if (ps->config.capture == CLV_POD_CGROUP) {
		pod_enter_cgroup(ps, p, c);
		return;
	}
	if (pod_is_being_made(ps, p, c)) {
		p->head.why = "its network is being made";
		return;
	}
	bool host = pod_has_host_network(p, c);

	if (ps->config.capture == CLV_POD_AUTO && (host || ps->redirects))
		pod_enter_cgroup(ps, p, c);
	else if (host)
		pod_nowhere(
			p, "it has the host's network: only its cgroup tells its packets from others' (capture: auto)");
	else
		pod_capture_links(ps, p, c);
}

/* May the interface at the end of an address be taken without another look? Not where packets may pass it by. */
static bool pods_trust_addresses(const struct clv_pods *ps)
{
	return ps->config.capture == CLV_POD_INTERFACE || (ps->config.capture == CLV_POD_AUTO && !ps->redirects);
}

static void pod_seek(struct clv_pods *ps, struct pod *p)
{
	const struct clv_podnet_container *c = pod_container(ps, p);
	const char *trouble = clv_podnet_trouble(ps->config.podnet);

	if (c)
		pod_capture(ps, p, c);
	else if (pods_trust_addresses(ps) && pod_find_by_address(ps, p))
		pod_enter_links(ps, p);
	else
		p->head.why = *trouble ? trouble : "none of its containers runs yet";
	if (p->head.place_count) {
		p->head.state = CLV_POD_PLACED;
		p->head.why = NULL;
	}
}

static void pods_keep_link(void *ctx, const struct clv_link *l)
{
	struct clv_pods *ps = ctx;

	struct clv_link *link = clv_room(ps->link, ps->link_count, &ps->link_cap, sizeof(*link));

	/* Cilium hands packets to pods by bpf_redirect_peer(): their host interfaces do not see them. */
	ps->redirects |= strcmp(l->name, "cilium_host") == 0;
	if (!link)
		return; /* found at the next look */
	ps->link = link;
	link[ps->link_count++] = *l;
}

/* When they change all the time, the kernel's list may lack some. */
static void pods_list_links(struct clv_pods *ps)
{
	bool redirected = ps->redirects;

	ps->link_count = 0;
	ps->redirects = false;
	ps->partial = clv_links_list(ps->config.links, pods_keep_link, ps) != 0;
	ps->redirects |= ps->partial && redirected;
}

static bool pods_seeks(const struct clv_pods *ps)
{
	for (size_t i = 0; i < ps->count; i++)
		if (ps->pod[i]->head.state == CLV_POD_SOUGHT)
			return true;
	return false;
}

bool clv_pods_settled(const struct clv_pods *ps)
{
	return !pods_seeks(ps);
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void pods_look(struct clv_pods *ps)
{
	if (clv_podnet_scan(ps->config.podnet) < 0)
		return;      /* the next look may see more */
	pods_list_links(ps); /* after the scan, which gives namespaces their numbers */
	for (size_t i = 0; i < ps->count; i++)
		if (ps->pod[i]->head.state == CLV_POD_SOUGHT)
			pod_seek(ps, ps->pod[i]);
}

static bool pod_failed_long_ago(const struct pod *p, uint64_t now_ns)
{
	unsigned doublings = p->failures < FAILED_DOUBLINGS ? p->failures : FAILED_DOUBLINGS;

	return p->failed_ns && now_ns - p->failed_ns >= (CLV_POD_FAILED_NS << doublings) / 2;
}

/* Ever more seldom: each time is a line in the log. */
static void pods_try_failed(struct clv_pods *ps)
{
	for (size_t i = 0; i < ps->count; i++) {
		struct pod *p = ps->pod[i];

		if (p->head.state != CLV_POD_NOWHERE || !pod_failed_long_ago(p, ps->now_ns))
			continue;
		pod_leave(ps, p);
		pod_seek_again(ps, p, "it could not be attached to, and is tried again");
	}
}

void clv_pods_service(struct clv_pods *ps, uint64_t now_ns)
{
	ps->now_ns = now_ns;
	pods_try_failed(ps);
	if (now_ns < ps->next_ns || !pods_seeks(ps))
		return;
	uint64_t begun_ns = clv_clock_ns();
	pods_look(ps);
	uint64_t took_ns = clv_clock_ns() - begun_ns;

	ps->sought_ns = now_ns + took_ns;
	ps->pause_ns = least(SEEK_PART * took_ns, SEEK_AGAIN_MOST);
	if (ps->pause_ns < SEEK_AGAIN_NS)
		ps->pause_ns = SEEK_AGAIN_NS;
	ps->next_ns = ps->sought_ns + (ps->wait_ns > ps->pause_ns ? ps->wait_ns : ps->pause_ns);
	ps->wait_ns = least(2 * ps->wait_ns, CLV_POD_SEEK_MOST_NS);
}

/* ---- news ------------------------------------------------------------------------------------------------------ */

/* For those that there was no way to capture there may be one now. */
static void pods_retry(struct clv_pods *ps, const char *why)
{
	for (size_t i = 0; i < ps->count; i++) {
		struct pod *p = ps->pod[i];

		if (p->head.state == CLV_POD_NOWHERE && !p->head.place_count && !p->left)
			pod_seek_again(ps, p, why);
	}
}

static void pods_gone(struct clv_pods *ps, struct pod *p)
{
	bool shared = p->lone && p->head.place_count;

	pod_leave(ps, p);
	pods_drop(ps, p);
	pod_free(p);
	if (shared)
		pods_retry(ps, "another container is gone");
}

static void pod_name(struct clv_pods *ps, const struct pod *p)
{
	for (size_t i = 0; i < p->head.place_count; i++)
		ps->config.name(ps->config.ctx, &p->head, p->head.net[i]);
}

void clv_pods_pod(struct clv_pods *ps, const struct clv_kube_pod *object, bool gone)
{
	struct pod *p = pods_get(ps, object->head.uid);

	if (gone) {
		if (p)
			pods_gone(ps, p);
		return;
	}
	if (!p && !(p = pods_add(ps, object->head.uid, object->head.namespace, object->head.name)))
		return; /* no memory: told again with its next change */
	p->host_network = object->host_network;
	p->deleting = object->deleting;
	p->head.reason = clv_select_pod(ps->config.select, object);
	if (!clv_select_is_yes(p->head.reason)) {
		pod_leave(ps, p);
		p->head.state = CLV_POD_NOT_SELECTED;
		p->head.why = clv_select_text(p->head.reason);
	} else if (p->head.state == CLV_POD_PLACED) {
		pod_name(ps, p);
	} else if (p->deleting && p->left) {
		return; /* there will be nothing more of it */
	} else {
		p->failures = 0;
		pod_leave(ps, p); /* what could not be attached to is tried again */
		pod_seek_again(ps, p, "it has just been told of");
	}
}

void clv_pods_select(struct clv_pods *ps, const struct clv_select *select)
{
	ps->config.select = select;
}

void clv_pods_containers(struct clv_pods *ps, const char *self,
			 void (*name_of)(void *ctx, const struct clv_podnet_container *c, char name[256]), void *ctx)
{
	size_t count;
	const struct clv_podnet_container *c = clv_podnet_containers(ps->config.podnet, &count);

	ps->generation++;
	for (size_t i = 0; i < count; i++) {
		const char *key = c[i].name.container;
		struct pod *p = *key ? pods_get(ps, key) : NULL;
		char name[256];

		if (!*key || strcmp(key, self) == 0)
			continue;
		if (!p) {
			name_of(ctx, &c[i], name);
			p = pods_add(ps, key, "", name);
			if (!p)
				continue;
			p->lone = true;
			p->head.container = c[i].name;
			pod_seek_again(ps, p, "it has just been found");
		}
		p->head.generation = ps->generation;
	}
	for (size_t i = ps->count; i-- > 0;)
		if (ps->pod[i]->head.generation != ps->generation)
			pods_gone(ps, ps->pod[i]);
}

/* A place of it went away by itself. */
static void pod_lost(struct clv_pods *ps, struct pod *p, uint32_t net)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->head.place_count; i++)
		if (p->head.net[i] != net)
			p->head.net[kept++] = p->head.net[i];
	p->head.place_count = kept;
	if (kept)
		return;
	if (p->deleting) {
		p->head.cgroup = false;
		p->left = true;
		pod_nowhere(p, "its network went away, for it is being deleted");
	} else {
		pod_seek_again(ps, p, "its network went away");
	}
}

void clv_pods_lost(struct clv_pods *ps, uint32_t net)
{
	for (size_t i = 0; i < ps->count; i++)
		if (pod_has(ps->pod[i], net))
			pod_lost(ps, ps->pod[i], net);
}

void clv_pods_failed(struct clv_pods *ps, uint32_t net)
{
	for (size_t i = 0; i < ps->count; i++) {
		struct pod *p = ps->pod[i];

		if (!pod_has(p, net) || p->head.place_count != 1)
			continue;
		pod_nowhere(p, "it could not be attached to: the log says why");
		p->failed_ns = ps->now_ns;
		p->failures++;
	}
}

/* The pod whose namespace it leads into, of those that are captured at interfaces. */
static struct pod *pods_behind(const struct clv_pods *ps, const struct clv_link *l)
{
	for (size_t i = 0; i < ps->count && l->peer_nsid >= 0; i++) {
		struct pod *p = ps->pod[i];

		if (p->head.state == CLV_POD_PLACED && !p->head.cgroup && p->head.nsid == l->peer_nsid)
			return p;
	}
	return NULL;
}

void clv_pods_link(struct clv_pods *ps, const struct clv_link *l, bool gone)
{
	struct pod *p = gone ? NULL : pods_behind(ps, l);

	if (gone) {
		clv_pods_lost(ps, l->ifindex);
		return;
	}
	if (p)
		pod_enter(ps, p, &(struct clv_pod_place){.net = l->ifindex, .link = l});
	else if (l->peer_nsid >= 0)
		pods_retry(ps, "an interface has just come");
	if (pods_seeks(ps))
		pods_hurry(ps);
}

/* ---- start and end --------------------------------------------------------------------------------------------- */

int clv_pods_new(const struct clv_pods_config *config, struct clv_pods **out)
{
	struct clv_pods *ps = calloc(1, sizeof(*ps));

	if (!ps)
		return -ENOMEM;
	ps->config = *config;
	ps->wait_ns = CLV_POD_SEEK_LEAST_NS;
	ps->pause_ns = SEEK_AGAIN_NS;
	*out = ps;
	return 0;
}

void clv_pods_free(struct clv_pods *ps)
{
	if (!ps)
		return;
	for (size_t i = 0; i < ps->count; i++)
		pod_free(ps->pod[i]);
	free(ps->pod);
	free(ps->link);
	free(ps);
}
