/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of what has a node in it: intrusive, chained, doubling. Several entries may have the same hash; the
 * caller compares keys. The hash is seeded: names and addresses come from strangers. One thread.
 */
#ifndef CLV_AGENT_INDEX_H
#define CLV_AGENT_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct clv_index_node {
	struct clv_index_node *next;
	uint64_t hash;
};

struct clv_index {
	struct clv_index_node **buckets;
	size_t bucket_count, count;
	uint64_t seed;
};

/* Returns 0 or -ENOMEM. */
int clv_index_init(struct clv_index *x);
/* Frees the table, not what is in it. */
void clv_index_fini(struct clv_index *x);

uint64_t clv_index_hash(const struct clv_index *x, const void *key, size_t len);

/* `hash` as clv_index_hash() gave it. Never fails: without memory the chains just grow. */
void clv_index_add(struct clv_index *x, struct clv_index_node *n, uint64_t hash);
/* It must be in the table. */
void clv_index_remove(struct clv_index *x, struct clv_index_node *n);

/* The first entry of that hash, or NULL; and the one after `n`. The newest come first. */
struct clv_index_node *clv_index_first(const struct clv_index *x, uint64_t hash);
struct clv_index_node *clv_index_next(const struct clv_index_node *n);

/* The struct that holds node `n` as member `m`. */
#define clv_index_entry(n, type, m) ((type *)(void *)((char *)(n)-offsetof(type, m)))

#endif
