/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the API and claims to addresses. Owns the objects it holds; never says what a claim is worth. Engine
 * thread.
 */
#include "agent/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int clv_cluster_store_init(struct clv_cluster_store *s)
{
	*s = (struct clv_cluster_store){0};
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++)
		clv_list_init(&s->kinds[kind]);
	if (clv_index_init(&s->names) || clv_index_init(&s->others) || clv_index_init(&s->addrs) ||
	    clv_index_init(&s->ranges)) {
		clv_cluster_store_fini(s);
		return -ENOMEM;
	}
	return 0;
}

void clv_cluster_store_fini(struct clv_cluster_store *s)
{
	for (int kind = 0; kind < CLV_KUBE_KINDS; kind++) {
		struct clv_known *k;

		while ((k = clv_list_first(&s->kinds[kind], struct clv_known, of_kind)))
			clv_kube_object_free(clv_cluster_store_take(s, k));
	}
	clv_index_fini(&s->names);
	clv_index_fini(&s->others);
	clv_index_fini(&s->addrs);
	clv_index_fini(&s->ranges);
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static uint64_t store_hash(const struct clv_index *x, unsigned kind, struct clv_slice namespace, struct clv_slice name)
{
	return clv_index_hash(x, name.data, name.len) + 3 * clv_index_hash(x, namespace.data, namespace.len) + kind;
}

static bool slice_is(struct clv_slice a, const char *b)
{
	return clv_slice_eq(a, clv_slice_str(b));
}

struct clv_known *clv_cluster_store_find(const struct clv_cluster_store *s, enum clv_kube_kind kind,
					 struct clv_slice namespace, struct clv_slice name)
{
	struct clv_index_node *n = clv_index_first(&s->names, store_hash(&s->names, kind, namespace, name));

	for (; n; n = clv_index_next(n)) {
		struct clv_known *k = clv_index_entry(n, struct clv_known, by_name);

		if (k->object->kind == kind && slice_is(name, k->object->name) &&
		    slice_is(namespace, k->object->namespace))
			return k;
	}
	return NULL;
}

struct clv_known *clv_cluster_store_pod(const struct clv_cluster_store *s, const char *uid)
{
	struct clv_slice key = clv_slice_str(uid), none = {0};
	struct clv_index_node *n = clv_index_first(&s->others, store_hash(&s->others, CLV_KUBE_POD, none, key));

	for (; n; n = clv_index_next(n)) {
		struct clv_known *k = clv_index_entry(n, struct clv_known, by_other);

		if (k->object->kind == CLV_KUBE_POD && slice_is(key, k->object->uid))
			return k;
	}
	return NULL;
}

const struct clv_kube_endpointslice *clv_cluster_store_slice(const struct clv_cluster_store *s, const char *namespace,
							     const char *service, struct clv_index_node **after)
{
	struct clv_index_node *n = *after;

	if (n)
		n = clv_index_next(n);
	else
		n = clv_index_first(&s->others, store_hash(&s->others, CLV_KUBE_ENDPOINTSLICE, clv_slice_str(namespace),
							   clv_slice_str(service)));
	for (; n; n = clv_index_next(n)) {
		const struct clv_known *k = clv_index_entry(n, struct clv_known, by_other);
		const struct clv_kube_endpointslice *slice = clv_known_slice(k);

		*after = n;
		if (k->object->kind == CLV_KUBE_ENDPOINTSLICE && strcmp(slice->service, service) == 0 &&
		    strcmp(slice->head.namespace, namespace) == 0)
			return slice;
	}
	return NULL;
}

const struct clv_kube_service *clv_cluster_store_service(const struct clv_cluster_store *s, const char *namespace,
							 struct clv_index_node **after)
{
	const struct clv_slice of = clv_slice_str(namespace), none = {0};
	struct clv_index_node *n =
		*after ? clv_index_next(*after)
		       : clv_index_first(&s->others, store_hash(&s->others, CLV_KUBE_SERVICE, of, none));

	for (; n; n = clv_index_next(n)) {
		const struct clv_known *k = clv_index_entry(n, struct clv_known, by_other);

		*after = n;
		if (k->object->kind == CLV_KUBE_SERVICE && slice_is(of, k->object->namespace))
			return clv_known_service(k);
	}
	return NULL;
}

static struct clv_addr addr_head(const struct clv_addr *addr, unsigned bits)
{
	struct clv_addr head = {{0}};

	memcpy(head.b, addr->b, bits / 8);
	if (bits % 8)
		head.b[bits / 8] = (uint8_t)(addr->b[bits / 8] & 0xff00 >> bits % 8);
	return head;
}

static uint64_t range_hash(const struct clv_cluster_store *s, const struct clv_addr *head, unsigned bits)
{
	return clv_index_hash(&s->ranges, head, sizeof(*head)) + bits;
}

static const struct clv_claim *range_of_bits(const struct clv_cluster_store *s, const struct clv_addr *addr,
					     unsigned bits)
{
	const struct clv_addr head = addr_head(addr, bits);
	struct clv_index_node *n = clv_index_first(&s->ranges, range_hash(s, &head, bits));

	for (; n; n = clv_index_next(n)) {
		const struct clv_claim *claim = clv_index_entry(n, struct clv_claim, by_addr);

		if (claim->bits == bits && memcmp(&claim->addr, &head, sizeof(head)) == 0)
			return claim;
	}
	return NULL;
}

const struct clv_claim *clv_cluster_store_range(const struct clv_cluster_store *s, const struct clv_addr *addr)
{
	const struct clv_claim *found = NULL;

	for (unsigned bits = 129; bits-- > 0 && !found;)
		if (s->range_bits[bits])
			found = range_of_bits(s, addr, bits);
	return found;
}

const struct clv_claim *clv_cluster_store_claim(const struct clv_cluster_store *s, const struct clv_addr *addr,
						const struct clv_claim *after)
{
	struct clv_index_node *n;

	if (after)
		n = clv_index_next(&after->by_addr);
	else
		n = clv_index_first(&s->addrs, clv_index_hash(&s->addrs, addr, sizeof(*addr)));
	for (; n; n = clv_index_next(n)) {
		const struct clv_claim *claim = clv_index_entry(n, struct clv_claim, by_addr);

		if (memcmp(&claim->addr, addr, sizeof(*addr)) == 0)
			return claim;
	}
	return NULL;
}

/* ---- claims ------------------------------------------------------------------------------------------------------ */

/* Claims that are being collected; without a list only counted. */
struct claims {
	struct clv_claim *list;
	size_t count;
};

static void claims_add(struct claims *c, uint32_t endpoint, const struct clv_addr *ip, size_t count)
{
	for (size_t i = 0; i < count && c->count < CLV_CLAIMS_MAX; i++, c->count++) {
		if (!c->list)
			continue;
		c->list[c->count].addr = ip[i];
		c->list[c->count].endpoint = endpoint;
	}
}

static void claims_add_ranges(struct claims *c, const struct clv_kube_range *range, size_t count)
{
	for (size_t i = 0; i < count && c->count < CLV_CLAIMS_MAX; i++, c->count++) {
		if (!c->list)
			continue;
		c->list[c->count].addr = addr_head(&range[i].addr, range[i].bits);
		c->list[c->count].bits = range[i].bits;
		c->list[c->count].range = true;
	}
}

static void claims_of(const struct clv_kube_object *object, struct claims *out)
{
	const struct clv_kube_endpointslice *slice = (const struct clv_kube_endpointslice *)object;
	const struct clv_kube_service *service = (const struct clv_kube_service *)object;
	const struct clv_kube_node *node = (const struct clv_kube_node *)object;
	const struct clv_kube_pod *pod = (const struct clv_kube_pod *)object;

	switch (object->kind) {
	case CLV_KUBE_POD:
		claims_add(out, 0, pod->ip, pod->ip_count);
		break;
	case CLV_KUBE_SERVICE:
		claims_add(out, 0, service->ip, service->ip_count);
		break;
	case CLV_KUBE_NODE:
		claims_add(out, 0, node->ip, node->ip_count);
		claims_add_ranges(out, node->range, node->range_count);
		break;
	case CLV_KUBE_ENDPOINTSLICE:
		for (uint32_t i = 0; i < slice->endpoint_count; i++)
			claims_add(out, i, slice->endpoint[i].ip, slice->endpoint[i].ip_count);
		break;
	case CLV_KUBE_REPLICASET:
	case CLV_KUBE_KINDS:
		break;
	}
}

static int by_what(const void *a, const void *b)
{
	const struct clv_claim *x = a, *y = b;
	int order = memcmp(&x->addr, &y->addr, sizeof(x->addr));

	if (!order)
		order = (x->range - y->range) * 256 + x->bits - y->bits;
	return order ? order : (x->endpoint > y->endpoint) - (x->endpoint < y->endpoint);
}

/* Who says the same a thousand times would make everybody look at it a thousand times. Returns how many are left. */
static size_t claims_once(struct clv_claim *list, size_t count)
{
	size_t kept = 0;

	if (count)
		qsort(list, count, sizeof(*list), by_what);
	for (size_t i = 0; i < count; i++)
		if (!kept || memcmp(&list[i].addr, &list[kept - 1].addr, sizeof(list->addr)) != 0 ||
		    list[i].range != list[kept - 1].range || list[i].bits != list[kept - 1].bits)
			list[kept++] = list[i];
	return kept;
}

/* Is it the same pod that claimed the address before? */
static bool claim_is_same(const struct clv_claim *before, const struct clv_kube_object *object, uint32_t endpoint)
{
	const struct clv_kube_object *old = before->by->object;

	if (object->kind != CLV_KUBE_ENDPOINTSLICE)
		return strcmp(old->uid, object->uid) == 0;
	return strcmp(((const struct clv_kube_endpointslice *)old)->endpoint[before->endpoint].pod_uid,
		      ((const struct clv_kube_endpointslice *)object)->endpoint[endpoint].pod_uid) == 0;
}

static bool has_ended(const struct clv_kube_object *object)
{
	const struct clv_kube_pod *pod = (const struct clv_kube_pod *)object;

	return object->kind == CLV_KUBE_POD && (pod->phase == CLV_KUBE_SUCCEEDED || pod->phase == CLV_KUBE_FAILED);
}

static uint64_t claim_since(struct clv_cluster_store *s, const struct clv_known *k,
			    const struct clv_kube_object *object, const struct clv_claim *claim)
{
	const struct clv_claim *before = NULL;

	if (claim->range || has_ended(object))
		return 0;
	while (k->object && (before = clv_cluster_store_claim(s, &claim->addr, before)))
		if (before->by == k && before->since && claim_is_same(before, object, claim->endpoint))
			return before->since;
	return ++s->claims;
}

static void claim_index(struct clv_cluster_store *s, struct clv_claim *claim)
{
	if (claim->range) {
		s->range_bits[claim->bits]++;
		clv_index_add(&s->ranges, &claim->by_addr, range_hash(s, &claim->addr, claim->bits));
	} else {
		clv_index_add(&s->addrs, &claim->by_addr, clv_index_hash(&s->addrs, &claim->addr, sizeof(claim->addr)));
	}
}

static void claim_drop(struct clv_cluster_store *s, struct clv_claim *claim)
{
	if (claim->range)
		s->range_bits[claim->bits]--;
	clv_index_remove(claim->range ? &s->ranges : &s->addrs, &claim->by_addr);
}

static void claims_drop(struct clv_cluster_store *s, struct clv_known *k)
{
	for (size_t i = 0; i < k->claim_count; i++)
		claim_drop(s, &k->claim[i]);
	s->bytes -= k->claim_count * sizeof(*k->claim);
	free(k->claim);
	k->claim = NULL;
	k->claim_count = 0;
}

/* What the new object claims, in place of what the old one did. */
static int claims_renew(struct clv_cluster_store *s, struct clv_known *k, const struct clv_kube_object *object)
{
	struct claims new = {0};

	claims_of(object, &new);
	size_t count = new.count;
	struct clv_claim *claim = count ? calloc(count, sizeof(*claim)) : NULL;
	if (count && !claim)
		return -ENOMEM;
	new = (struct claims){.list = claim};
	claims_of(object, &new);
	count = claim ? claims_once(claim, count) : 0;
	for (size_t i = 0; i < count; i++) {
		claim[i].by = k;
		claim[i].since = claim_since(s, k, object, &claim[i]);
	}
	claims_drop(s, k);
	for (size_t i = 0; i < count; i++)
		claim_index(s, &claim[i]);
	k->claim = claim;
	k->claim_count = count;
	s->bytes += count * sizeof(*claim);
	return 0;
}

/* ---- in and out -------------------------------------------------------------------------------------------------- */

static bool has_other(const struct clv_kube_object *object)
{
	return object->kind == CLV_KUBE_POD || object->kind == CLV_KUBE_ENDPOINTSLICE ||
	       object->kind == CLV_KUBE_SERVICE;
}

static uint64_t other_hash(const struct clv_cluster_store *s, const struct clv_kube_object *object)
{
	const struct clv_slice none = {0};

	if (object->kind == CLV_KUBE_POD)
		return store_hash(&s->others, object->kind, none, clv_slice_str(object->uid));
	if (object->kind == CLV_KUBE_SERVICE)
		return store_hash(&s->others, object->kind, clv_slice_str(object->namespace), none);
	return store_hash(&s->others, object->kind, clv_slice_str(object->namespace),
			  clv_slice_str(((const struct clv_kube_endpointslice *)object)->service));
}

static struct clv_known *store_add(struct clv_cluster_store *s, const struct clv_kube_object *object)
{
	struct clv_known *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	clv_index_add(
		&s->names, &k->by_name,
		store_hash(&s->names, object->kind, clv_slice_str(object->namespace), clv_slice_str(object->name)));
	clv_list_append(&s->kinds[object->kind], &k->of_kind);
	s->counts[object->kind]++;
	s->bytes += sizeof(*k);
	return k;
}

static void store_drop(struct clv_cluster_store *s, struct clv_known *k, enum clv_kube_kind kind)
{
	claims_drop(s, k);
	clv_index_remove(&s->names, &k->by_name);
	clv_list_remove(&k->of_kind);
	s->counts[kind]--;
	s->bytes -= sizeof(*k);
	free(k);
}

int clv_cluster_store_put(struct clv_cluster_store *s, struct clv_kube_object *object, struct clv_kube_object **before)
{
	struct clv_known *k =
		clv_cluster_store_find(s, object->kind, clv_slice_str(object->namespace), clv_slice_str(object->name));
	bool is_new = !k;

	if (is_new && !(k = store_add(s, object)))
		return -ENOMEM;
	if (claims_renew(s, k, object)) {
		if (is_new)
			store_drop(s, k, object->kind);
		return -ENOMEM;
	}
	if (!is_new && has_other(object))
		clv_index_remove(&s->others, &k->by_other);
	if (has_other(object))
		clv_index_add(&s->others, &k->by_other, other_hash(s, object));
	*before = k->object;
	s->bytes += object->bytes - (k->object ? k->object->bytes : 0);
	k->object = object;
	k->round = s->rounds[object->kind];
	return 0;
}

struct clv_kube_object *clv_cluster_store_take(struct clv_cluster_store *s, struct clv_known *k)
{
	struct clv_kube_object *object = k->object;

	if (has_other(object))
		clv_index_remove(&s->others, &k->by_other);
	s->bytes -= object->bytes;
	store_drop(s, k, object->kind);
	return object;
}

void clv_cluster_store_begin(struct clv_cluster_store *s, enum clv_kube_kind kind)
{
	s->rounds[kind]++;
}

void clv_cluster_store_sweep(struct clv_cluster_store *s, enum clv_kube_kind kind,
			     void (*gone)(void *ctx, struct clv_known *k), void *ctx)
{
	struct clv_node *head = &s->kinds[kind], *n = head->next;

	while (n != head) {
		struct clv_known *k = clv_list_entry(n, struct clv_known, of_kind);

		n = n->next;
		if (k->round != s->rounds[kind])
			gone(ctx, k);
	}
}
