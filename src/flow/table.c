/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the flows: a hash table with linear probing, which doubles, and the queues by which old, closed and blocked
 * flows are found. Never decides when one of them is over. Engine thread only.
 */
#include "flow/table.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/hash.h"

#define FIRST_PLACES 1024
/* Seasons are compared within a half of their numbers; flows are removed after some forty. */
#define SEASONS_BACK 16384u
/* From this size on the table asks for huge pages: its places are looked at in no order. */
#define HUGE_BYTES ((size_t)2 * 1024 * 1024)

_Static_assert(offsetof(struct clv_flow, syn) == 3 * 64, "a flow takes three lines of the cache,");
_Static_assert(offsetof(struct clv_flow, ledger) == 4 * 64, "and one that is watched four");

/* Free places, or NULL without memory. */
static struct clv_flow_place *places_new(size_t count)
{
	size_t bytes = count * sizeof(struct clv_flow_place);

	if (bytes < HUGE_BYTES)
		return calloc(1, bytes);
	void *p = aligned_alloc(HUGE_BYTES, bytes);
	if (!p)
		return NULL;
	madvise(p, bytes, MADV_HUGEPAGE); /* if not, then not */
	return memset(p, 0, bytes);
}

int clv_flows_init(struct clv_flows *t, struct clv_mem *mem)
{
	struct clv_flow_place *places = places_new(FIRST_PLACES);

	if (!places)
		return -ENOMEM;
	*t = (struct clv_flows){.places = places, .place_count = FIRST_PLACES, .mem = mem};
	const uintptr_t somewhere = (uintptr_t)places;
	if (getrandom(t->seed, sizeof(t->seed), GRND_NONBLOCK) != sizeof(t->seed))
		for (unsigned i = 0; i < 4; i++)
			t->seed[i] = clv_hash(&somewhere, sizeof(somewhere), i);
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
	free(t->places);
	t->places = NULL;
}

/* Is it endpoint a who sent the packet? */
static inline bool from_a(const struct clv_packet *p)
{
	if (p->side == CLV_SIDE_UNKNOWN)
		return clv_endpoint_cmp(&p->src, &p->dst) <= 0;
	return p->side == CLV_SIDE_OUT;
}

struct clv_flow_key clv_flow_key_of(const struct clv_packet *p, int *dir)
{
	bool src_is_a = from_a(p);
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

/* A key as it is hashed and compared: every packet does so once. */
struct words {
	uint64_t addr[4];
	uint64_t ends; /* ports and net, as they stand in the key */
	uint32_t transport;
};

_Static_assert(offsetof(struct clv_flow_key, net) == offsetof(struct clv_flow_key, a_port) + 4, "words.ends");

static inline uint64_t word_at(const void *p)
{
	uint64_t w;

	memcpy(&w, p, sizeof(w));
	return w;
}

static inline struct words words_of_key(const struct clv_flow_key *k)
{
	return (struct words){
		.addr = {word_at(k->a_addr.b), word_at(k->a_addr.b + 8), word_at(k->b_addr.b),
			 word_at(k->b_addr.b + 8)},
		.ends = word_at((const uint8_t *)k + offsetof(struct clv_flow_key, a_port)),
		.transport = k->transport,
	};
}

static inline uint64_t ends_of(uint16_t a_port, uint16_t b_port, uint32_t net)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint64_t)net << 32 | (uint32_t)b_port << 16 | a_port;
#else
	return (uint64_t)a_port << 48 | (uint64_t)b_port << 32 | net;
#endif
}

static inline struct words words_of_packet(const struct clv_packet *p, int *dir)
{
	bool src_is_a = from_a(p);
	const struct clv_endpoint *a = src_is_a ? &p->src : &p->dst, *b = src_is_a ? &p->dst : &p->src;

	*dir = !src_is_a;
	return (struct words){
		.addr = {word_at(a->addr.b), word_at(a->addr.b + 8), word_at(b->addr.b), word_at(b->addr.b + 8)},
		.ends = ends_of(a->port, b->port, p->net),
		.transport = p->transport,
	};
}

static inline uint32_t hash_of(const struct clv_flows *t, const struct words *w)
{
	uint64_t a = clv_hash_mix(w->addr[0] ^ t->seed[0], w->addr[1] ^ t->seed[1]);
	uint64_t b = clv_hash_mix(w->addr[2] ^ t->seed[2], w->addr[3] ^ t->seed[3]);

	uint64_t h = clv_hash_mix(a ^ w->ends, b ^ w->transport ^ t->seed[0]);

	/* Ports in a row would otherwise stand in a row, too. */
	return (uint32_t)((h ^ h >> 32) * 0x9e3779b97f4a7c15 >> 32);
}

static inline bool key_eq(const struct clv_flow_key *k, const struct words *w)
{
	return !((word_at(k->a_addr.b) ^ w->addr[0]) | (word_at(k->a_addr.b + 8) ^ w->addr[1]) |
		 (word_at(k->b_addr.b) ^ w->addr[2]) | (word_at(k->b_addr.b + 8) ^ w->addr[3]) |
		 (word_at((const uint8_t *)k + offsetof(struct clv_flow_key, a_port)) ^ w->ends) |
		 (k->transport ^ w->transport));
}

static size_t home(const struct clv_flows *t, uint32_t hash)
{
	return hash & (t->place_count - 1);
}

static size_t next_place(const struct clv_flows *t, size_t at)
{
	return (at + 1) & (t->place_count - 1);
}

static inline struct clv_flow *find(const struct clv_flows *t, const struct words *w, uint32_t hash)
{
	for (size_t at = home(t, hash);; at = next_place(t, at)) {
		struct clv_flow *f = t->places[at].flow;

		if (!f || (t->places[at].hash == hash && key_eq(&f->key, w)))
			return f;
	}
}

struct clv_flow *clv_flows_find(const struct clv_flows *t, const struct clv_flow_key *key, uint32_t *hash)
{
	const struct words w = words_of_key(key);

	*hash = hash_of(t, &w);
	return find(t, &w, *hash);
}

struct clv_flow *clv_flows_seek(const struct clv_flows *t, const struct clv_packet *p, int *dir, uint32_t *hash)
{
	const struct words w = words_of_packet(p, dir);

	*hash = hash_of(t, &w);
	return find(t, &w, *hash);
}

uint32_t clv_flows_fetch(const struct clv_flows *t, const struct clv_packet *p)
{
	int dir;
	const struct words w = words_of_packet(p, &dir);
	uint32_t hash = hash_of(t, &w);

	__builtin_prefetch(&t->places[home(t, hash)]);
	return hash;
}

void clv_flows_fetch_place(const struct clv_flows *t, const struct clv_flow *f)
{
	const struct words w = words_of_key(&f->key);

	__builtin_prefetch(&t->places[home(t, hash_of(t, &w))]);
}

struct clv_flow *clv_flows_guess(const struct clv_flows *t, uint32_t hash, uint32_t *place)
{
	size_t at = home(t, hash);

	while (t->places[at].flow && t->places[at].hash != hash)
		at = next_place(t, at);
	*place = (uint32_t)at;
	return t->places[at].flow;
}

static void put(struct clv_flows *t, struct clv_flow_place place)
{
	size_t at = home(t, place.hash);

	while (t->places[at].flow)
		at = next_place(t, at);
	t->places[at] = place;
}

/* Three quarters at most are in use: runs stay short. */
static bool full(const struct clv_flows *t)
{
	return t->count >= t->place_count / 4 * 3;
}

/* Twice the places. Without memory the runs just grow, until one place is left. */
static bool grow(struct clv_flows *t)
{
	struct clv_flow_place *old = t->places;
	size_t old_count = t->place_count;
	struct clv_flow_place *places = places_new(old_count * 2);

	if (!places)
		return t->count + 1 < old_count;
	t->places = places;
	t->place_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++)
		if (old[i].flow)
			put(t, old[i]);
	free(old);
	return true;
}

/* Those behind it in its run that would not be found any more move up. */
static void take_out(struct clv_flows *t, const struct clv_flow *f)
{
	const struct words w = words_of_key(&f->key);
	size_t hole = home(t, hash_of(t, &w));

	while (t->places[hole].flow != f)
		hole = next_place(t, hole);
	for (size_t at = next_place(t, hole); t->places[at].flow; at = next_place(t, at)) {
		size_t from_home = (at - home(t, t->places[at].hash)) & (t->place_count - 1);

		if (from_home < ((at - hole) & (t->place_count - 1)))
			continue;
		t->places[hole] = t->places[at];
		hole = at;
	}
	t->places[hole].flow = NULL;
}

static struct clv_node *queue_of(struct clv_flows *t, const struct clv_flow *f)
{
	return f->key.transport == CLV_TRANSPORT_UDP ? &t->datagrams : &t->used;
}

size_t clv_flows_bytes(const struct clv_flows *t)
{
	if (t->recorded)
		return sizeof(struct clv_flow);
	return t->watched ? offsetof(struct clv_flow, ledger) : offsetof(struct clv_flow, syn);
}

/* ---- seasons ----------------------------------------------------------------------------------------------------- */

static struct clv_flow *flow_at(const struct clv_node *n)
{
	return clv_list_entry(n, struct clv_flow, used);
}

static void begin_season(struct clv_flows *t, uint64_t since_ns)
{
	t->season++;
	t->since_ns[t->season % CLV_FLOWS_SEASONS] = since_ns;
	t->until_ns = since_ns + CLV_FLOWS_SEASON_NS;
	/* Where nobody ever asks, what was in order last must not seem to lie ahead. No flow is from so long ago. */
	if ((uint16_t)(t->season - t->sorted) > SEASONS_BACK)
		t->sorted = (uint16_t)(t->season - SEASONS_BACK);
}

bool clv_flows_move_now(struct clv_flows *t, const struct clv_flow *f, uint64_t now_ns)
{
	if (now_ns >= t->until_ns)
		begin_season(t, now_ns);
	return f->season != t->season;
}

/* So many are there from now on that their order is kept by seasons: up to here it is right. */
static void go_rough(struct clv_flows *t)
{
	t->rough = true;
	t->sorted = t->season;
	begin_season(t, clv_list_empty(&t->used) ? 0 : flow_at(t->used.prev)->last_ns);
}

static bool is_sorted(const struct clv_flows *t, const struct clv_flow *f)
{
	return !t->rough || (int16_t)(f->season - t->sorted) <= 0;
}

/* Two rings without a head, each by its first node, of which the first's come first where the times are the same. */
static struct clv_node *merged(struct clv_node *a, struct clv_node *b)
{
	struct clv_node *first = NULL, **at = &first;

	while (a && b) {
		struct clv_node **from = flow_at(b)->last_ns < flow_at(a)->last_ns ? &b : &a;

		*at = *from;
		at = &(*from)->next;
		*from = *at;
	}
	*at = a ? a : b;
	return first;
}

/* By their last packet; those whose packets came at once stay as they stand. Chains end with NULL. */
static struct clv_node *sorted(struct clv_node *chain)
{
	struct clv_node *runs[32] = {NULL}, *all = NULL; /* runs[i]: none, or 2^i flows in order */

	while (chain) {
		struct clv_node *run = chain;
		unsigned i = 0;

		chain = chain->next;
		run->next = NULL;
		for (; i < 31 && runs[i]; i++) {
			run = merged(runs[i], run);
			runs[i] = NULL;
		}
		runs[i] = runs[i] ? merged(runs[i], run) : run;
	}
	for (unsigned i = 0; i < 32; i++)
		all = merged(runs[i], all);
	return all;
}

/* Puts the season in order that begins with this node; all that stands before it is. */
static void sort_season(struct clv_flows *t, struct clv_node *from)
{
	struct clv_node *before = from->prev, *to = from;
	uint16_t season = flow_at(from)->season;

	/* What is in order now must not be touched where it stands. */
	if (season == t->season)
		begin_season(t, t->since_ns[season % CLV_FLOWS_SEASONS]);
	while (to != &t->used && flow_at(to)->season == season)
		to = to->next;
	to->prev->next = NULL;
	before->next = sorted(from);
	struct clv_node *at = before;
	for (; at->next; at = at->next)
		at->next->prev = at;
	at->next = to;
	to->prev = at;
	t->sorted = season;
}

/* The flow behind this place in the queue, which is in order so far. */
static struct clv_flow *next_oldest(struct clv_flows *t, const struct clv_node *at)
{
	if (at->next == &t->used)
		return NULL;
	if (!is_sorted(t, flow_at(at->next)))
		sort_season(t, at->next);
	return flow_at(at->next);
}

struct clv_flow *clv_flows_oldest(struct clv_flows *t, const struct clv_flow *busy)
{
	struct clv_flow *f = next_oldest(t, &t->used);

	return f && f == busy ? next_oldest(t, &f->used) : f;
}

uint64_t clv_flows_quiet_since(const struct clv_flows *t)
{
	const struct clv_flow *f = clv_list_first(&t->used, struct clv_flow, used);

	if (!f)
		return UINT64_MAX;
	if (is_sorted(t, f))
		return f->last_ns;
	return (uint16_t)(t->season - f->season) < CLV_FLOWS_SEASONS ? t->since_ns[f->season % CLV_FLOWS_SEASONS] : 0;
}

void clv_flows_sort(struct clv_flows *t)
{
	for (const struct clv_node *at = &t->used; next_oldest(t, at); at = at->next)
		;
}

/* ---- flows ------------------------------------------------------------------------------------------------------- */

struct clv_flow *clv_flows_add(struct clv_flows *t, const struct clv_flow_key *key, uint32_t hash)
{
	if (full(t) && !grow(t))
		return NULL;
	struct clv_flow *f = clv_mem_zalloc(t->mem, clv_flows_bytes(t));

	if (!f)
		return NULL;
	f->key = *key;
	f->watched = t->watched;
	f->recorded = t->recorded;
	clv_list_init(&f->wait);
	if (f->watched)
		clv_list_init(&f->syn);
	if (!t->rough && t->count >= CLV_FLOWS_MANY)
		go_rough(t);
	f->season = t->season;
	clv_list_init(&f->used);
	clv_list_append(queue_of(t, f), &f->used);
	put(t, (struct clv_flow_place){.flow = f, .hash = hash});
	t->count++;
	return f;
}

void clv_flows_remove(struct clv_flows *t, struct clv_flow *f)
{
	take_out(t, f);
	t->count--;
	clv_list_remove(&f->used);
	clv_list_remove(&f->wait);
	if (f->watched)
		clv_list_remove(&f->syn);
	clv_streams_fini(t->mem, &f->streams);
	clv_mem_free(t->mem, f, clv_flows_bytes(t));
	if (t->rough && t->count < CLV_FLOWS_MANY / 2) {
		clv_flows_sort(t);
		t->rough = false;
	}
}

void clv_flows_close(struct clv_flows *t, struct clv_flow *f)
{
	f->closed = true;
	f->wait_since_ns = f->last_ns;
	clv_list_remove(&f->wait);
	f->blocked = CLV_BLOCKED_NO;
	clv_streams_fini(t->mem, &f->streams);
	clv_list_touch(&t->closed, &f->used);
	f->season = (uint16_t)(t->season - 1); /* should it come back, it moves */
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
