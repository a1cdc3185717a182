/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that the API has told, by name, and who claims which address. For the files of the cluster alone
 * (cluster_internal.h). The engine's thread.
 */
#ifndef CLV_AGENT_STORE_H
#define CLV_AGENT_STORE_H

#include "agent/index.h"
#include "base/list.h"
#include "base/slice.h"
#include "kube/objects.h"

/* An object and what is kept beside it. */
struct clv_known {
	struct clv_index_node by_name;
	struct clv_index_node
		by_other; /* a pod by its uid, an EndpointSlice by its Service, a Service by its namespace */
	struct clv_node of_kind;
	struct clv_kube_object *object;
	struct clv_claim *claim;
	size_t claim_count;
	uint32_t round;           /* the list in which it was told last */
	uint64_t named_at;        /* of a Service: the cluster's generation in which this was found out: */
	struct clv_slice service; /* what telemetry of those behind it is called */
};

/* An address, or a range of them, that an object says is its own, or one of its endpoints'. */
struct clv_claim {
	struct clv_index_node by_addr;
	struct clv_known *by;
	struct clv_addr addr; /* of a range: its first one */
	uint8_t bits;         /* of a range, as struct clv_kube_range has it */
	bool range;
	/* The later the claim, the larger: an address comes to another pod before its last owner is told to be gone.
	 * 0: of a pod that has ended. */
	uint64_t since;
	uint32_t endpoint; /* of an EndpointSlice */
};

/* Of one object, each address once; the API allows an EndpointSlice 1000 endpoints, most of which have one. More are
 * left out. */
#define CLV_CLAIMS_MAX 4096u

struct clv_cluster_store {
	struct clv_index names, others, addrs, ranges;
	struct clv_node kinds[CLV_KUBE_KINDS];
	size_t counts[CLV_KUBE_KINDS];
	uint32_t rounds[CLV_KUBE_KINDS];
	uint64_t claims;          /* made so far */
	uint32_t range_bits[129]; /* how many ranges have so many */
	size_t bytes;
};

/* Returns 0 or -ENOMEM. */
int clv_cluster_store_init(struct clv_cluster_store *s);
/* Frees all objects. */
void clv_cluster_store_fini(struct clv_cluster_store *s);

/*
 * Takes the object in; one of its kind and name that was there before goes to `*before` (otherwise NULL), and to the
 * caller. Returns 0, or -ENOMEM with the object still the caller's.
 */
int clv_cluster_store_put(struct clv_cluster_store *s, struct clv_kube_object *object, struct clv_kube_object **before);
/* Takes it out; the object is the caller's. */
struct clv_kube_object *clv_cluster_store_take(struct clv_cluster_store *s, struct clv_known *k);

/* NULL: not known. */
struct clv_known *clv_cluster_store_find(const struct clv_cluster_store *s, enum clv_kube_kind kind,
					 struct clv_slice namespace, struct clv_slice name);
struct clv_known *clv_cluster_store_pod(const struct clv_cluster_store *s, const char *uid);

/* All EndpointSlices of a Service: NULL `after` for the first one; NULL at the end. */
const struct clv_kube_endpointslice *clv_cluster_store_slice(const struct clv_cluster_store *s, const char *namespace,
							     const char *service, struct clv_index_node **after);
/* All Services of a namespace, likewise. */
const struct clv_kube_service *clv_cluster_store_service(const struct clv_cluster_store *s, const char *namespace,
							 struct clv_index_node **after);
/* The smallest range that holds the address; NULL: none. */
const struct clv_claim *clv_cluster_store_range(const struct clv_cluster_store *s, const struct clv_addr *addr);
/* All claims to an address, likewise. */
const struct clv_claim *clv_cluster_store_claim(const struct clv_cluster_store *s, const struct clv_addr *addr,
						const struct clv_claim *after);

/* A list begins; its objects are put. At its end, those that were not are given to gone() one by one, which takes each
 * of them out. */
void clv_cluster_store_begin(struct clv_cluster_store *s, enum clv_kube_kind kind);
void clv_cluster_store_sweep(struct clv_cluster_store *s, enum clv_kube_kind kind,
			     void (*gone)(void *ctx, struct clv_known *k), void *ctx);

/* for (...) over all of a kind; the body must not take any out. */
#define clv_cluster_store_each(s, kind, k)                                           \
	for ((k) = clv_list_entry((s)->kinds[kind].next, struct clv_known, of_kind); \
	     &(k)->of_kind != &(s)->kinds[kind]; (k) = clv_list_entry((k)->of_kind.next, struct clv_known, of_kind))

static inline const struct clv_kube_pod *clv_known_pod(const struct clv_known *k)
{
	return (const struct clv_kube_pod *)k->object;
}

static inline const struct clv_kube_service *clv_known_service(const struct clv_known *k)
{
	return (const struct clv_kube_service *)k->object;
}

static inline const struct clv_kube_endpointslice *clv_known_slice(const struct clv_known *k)
{
	return (const struct clv_kube_endpointslice *)k->object;
}

#endif
