/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table of the cluster's things. Owns its buckets, nothing else. One thread. */
#include "agent/index.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/hash.h"

#define FIRST_BUCKETS 64

int clv_index_init(struct clv_index *x)
{
	*x = (struct clv_index){.buckets = calloc(FIRST_BUCKETS, sizeof(struct clv_index_node *)),
				.bucket_count = FIRST_BUCKETS};
	if (!x->buckets)
		return -ENOMEM;
	if (getrandom(&x->seed, sizeof(x->seed), GRND_NONBLOCK) != sizeof(x->seed))
		x->seed = (uint64_t)(uintptr_t)x->buckets;
	return 0;
}

void clv_index_fini(struct clv_index *x)
{
	free(x->buckets);
	x->buckets = NULL;
}

uint64_t clv_index_hash(const struct clv_index *x, const void *key, size_t len)
{
	return clv_hash(key, len, x->seed);
}

static struct clv_index_node **index_bucket(const struct clv_index *x, uint64_t hash)
{
	return &x->buckets[hash & (x->bucket_count - 1)];
}

static void index_link(struct clv_index *x, struct clv_index_node *n)
{
	struct clv_index_node **bucket = index_bucket(x, n->hash);

	n->next = *bucket;
	*bucket = n;
}

static void index_grow(struct clv_index *x)
{
	struct clv_index old = *x;
	struct clv_index_node **buckets = calloc(old.bucket_count * 2, sizeof(struct clv_index_node *));

	if (!buckets)
		return;
	x->buckets = buckets;
	x->bucket_count *= 2;
	for (size_t i = 0; i < old.bucket_count; i++)
		for (struct clv_index_node *n = old.buckets[i], *next; n; n = next) {
			next = n->next;
			index_link(x, n);
		}
	free(old.buckets);
}

void clv_index_add(struct clv_index *x, struct clv_index_node *n, uint64_t hash)
{
	if (x->count >= x->bucket_count)
		index_grow(x);
	n->hash = hash;
	index_link(x, n);
	x->count++;
}

void clv_index_remove(struct clv_index *x, struct clv_index_node *n)
{
	struct clv_index_node **link = index_bucket(x, n->hash);

	while (*link != n)
		link = &(*link)->next;
	*link = n->next;
	x->count--;
}

static struct clv_index_node *index_of_hash(struct clv_index_node *n, uint64_t hash)
{
	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct clv_index_node *clv_index_first(const struct clv_index *x, uint64_t hash)
{
	return index_of_hash(*index_bucket(x, hash), hash);
}

struct clv_index_node *clv_index_next(const struct clv_index_node *n)
{
	return index_of_hash(n->next, n->hash);
}
