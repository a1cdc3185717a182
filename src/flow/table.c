/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the flows: a chained hash table that doubles, and the queues by which old, closed and blocked flows are
 * found. Never decides when one of them is over. Engine thread only.
 */
#include "flow/table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/hash.h"

#define FIRST_BUCKETS 1024

_Static_assert(sizeof(struct clv_flow_key) == 44, "the key is hashed and compared as bytes: no padding");

int clv_flows_init(struct clv_flows *t, struct clv_mem *mem)
{
	struct clv_flow **buckets = calloc(FIRST_BUCKETS, sizeof(struct clv_flow *));

	if (!buckets)
		return -ENOMEM;
	*t = (struct clv_flows){.buckets = buckets, .bucket_count = FIRST_BUCKETS, .mem = mem};
	if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) != sizeof(t->seed))
		t->seed = (uint64_t)(uintptr_t)buckets;
	clv_list_init(&t->used);
	clv_list_init(&t->closed);
	clv_list_init(&t->datagrams);
	clv_list_init(&t->wait[0]);
	clv_list_init(&t->wait[1]);
	clv_list_init(&t->syn);
	return 0;
}

void clv_flows_fini(struct clv_flows *t)
{
	assert(t->count == 0);
	free(t->buckets);
	t->buckets = NULL;
}

struct clv_flow_key clv_flow_key_of(const struct clv_packet *p, int *dir)
{
	bool src_is_a;

	if (p->side == CLV_SIDE_UNKNOWN)
		src_is_a = clv_endpoint_cmp(&p->src, &p->dst) <= 0;
	else
		src_is_a = p->side == CLV_SIDE_OUT;
	const struct clv_endpoint *a = src_is_a ? &p->src : &p->dst, *b = src_is_a ? &p->dst : &p->src;
	*dir = src_is_a ? 0 : 1;
	return (struct clv_flow_key){
		.a_addr = a->addr,
		.b_addr = b->addr,
		.a_port = a->port,
		.b_port = b->port,
		.net = p->net,
		.transport = p->transport,
	};
}

/* As memcmp(), without the call: every packet asks once. */
static bool key_eq(const struct clv_flow_key *a, const struct clv_flow_key *b)
{
	uint64_t x[5], y[5], differ = a->transport ^ b->transport;

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	for (int i = 0; i < 5; i++)
		differ |= x[i] ^ y[i];
	return !differ;
}

struct clv_flow *clv_flows_find(const struct clv_flows *t, const struct clv_flow_key *key, uint32_t *hash)
{
	*hash = (uint32_t)clv_hash(key, sizeof(*key), t->seed);
	struct clv_flow *f = t->buckets[*hash & (t->bucket_count - 1)];

	while (f && (f->hash != *hash || !key_eq(&f->key, key)))
		f = f->chain;
	return f;
}

static void chain(struct clv_flows *t, struct clv_flow *f)
{
	struct clv_flow **bucket = &t->buckets[f->hash & (t->bucket_count - 1)];

	f->chain = *bucket;
	*bucket = f;
}

/* Twice the buckets. Without memory the chains just grow. */
static void grow(struct clv_flows *t)
{
	struct clv_flow **old = t->buckets;
	size_t old_count = t->bucket_count;
	struct clv_flow **buckets = calloc(old_count * 2, sizeof(struct clv_flow *));

	if (!buckets)
		return;
	t->buckets = buckets;
	t->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++)
		for (struct clv_flow *f = old[i], *next; f; f = next) {
			next = f->chain;
			chain(t, f);
		}
	free(old);
}

static struct clv_node *queue_of(struct clv_flows *t, const struct clv_flow *f)
{
	return f->key.transport == CLV_TRANSPORT_UDP ? &t->datagrams : &t->used;
}

struct clv_flow *clv_flows_add(struct clv_flows *t, const struct clv_flow_key *key, uint32_t hash)
{
	struct clv_flow *f = clv_mem_zalloc(t->mem, sizeof(*f));

	if (!f)
		return NULL;
	if (t->count >= t->bucket_count)
		grow(t);
	f->key = *key;
	f->hash = hash;
	clv_list_init(&f->wait);
	clv_list_init(&f->syn);
	clv_list_init(&f->used);
	clv_list_append(queue_of(t, f), &f->used);
	chain(t, f);
	t->count++;
	return f;
}

void clv_flows_remove(struct clv_flows *t, struct clv_flow *f)
{
	struct clv_flow **link = &t->buckets[f->hash & (t->bucket_count - 1)];

	while (*link != f)
		link = &(*link)->chain;
	*link = f->chain;
	t->count--;
	clv_list_remove(&f->used);
	clv_list_remove(&f->wait);
	clv_list_remove(&f->syn);
	clv_streams_fini(&f->streams);
	clv_mem_free(t->mem, f, sizeof(*f));
}

void clv_flows_touch(struct clv_flows *t, struct clv_flow *f, uint64_t now_ns)
{
	f->last_ns = now_ns;
	if (!f->closed)
		clv_list_touch(queue_of(t, f), &f->used);
}

void clv_flows_close(struct clv_flows *t, struct clv_flow *f)
{
	f->closed = true;
	f->wait_since_ns = f->last_ns;
	clv_list_remove(&f->wait);
	f->blocked = CLV_BLOCKED_NO;
	clv_streams_fini(&f->streams);
	clv_list_touch(&t->closed, &f->used);
}

void clv_flows_wait(struct clv_flows *t, struct clv_flow *f, enum clv_blocked blocked, bool moved, uint64_t now_ns)
{
	if (blocked == f->blocked && !(moved && blocked != CLV_BLOCKED_NO))
		return;
	clv_list_remove(&f->wait);
	f->blocked = (uint8_t)blocked;
	if (blocked == CLV_BLOCKED_NO)
		return;
	f->wait_since_ns = now_ns;
	/* Nearly always the last; a flow that waits anew after giving up counts from its deadline. */
	struct clv_node *head = &t->wait[blocked - 1], *at = head;
	while (at->prev != head && clv_list_entry(at->prev, struct clv_flow, wait)->wait_since_ns > now_ns)
		at = at->prev;
	clv_list_insert_before(at, &f->wait);
}
