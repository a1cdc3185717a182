/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the batches: a few, which go round between two threads, full ones forwards, empty ones back. Never looks into a
 * payload, never reads a clock.
 */
#include "source/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

/* A packet in a batch; the captured payload follows. */
struct entry {
	struct clv_packet packet;
	uint64_t newest_ns;
};

#define ENTRY_ALIGN _Alignof(struct entry)

struct batch {
	struct batch *next;
	uint8_t *data;
	size_t len, cap;
	unsigned packets;
	uint64_t newest_ns; /* when it was handed over */
};

struct clv_feed {
	struct clv_source source; /* first: a source points here */
	struct batch batch[CLV_FEED_BATCHES];

	/* The feeding thread's. */
	struct batch *filling; /* NULL: one must be waited for */
	uint64_t told_ns;      /* the time that the other side was told last */

	/* The polling thread's. */
	uint64_t now_ns;

	/* Shared. */
	pthread_mutex_t lock;
	pthread_cond_t full_more, free_more;
	struct batch *full, **full_end; /* the oldest first */
	struct batch *free;
	bool ended;
};

/* ---- the polling thread's ---------------------------------------------------------------------------------------- */

static size_t entry_bytes(size_t payload)
{
	return (sizeof(struct entry) + payload + ENTRY_ALIGN - 1) / ENTRY_ALIGN * ENTRY_ALIGN;
}

static void feed_deliver(struct clv_feed *f, const struct batch *b, clv_packet_fn fn, void *ctx)
{
	for (size_t at = 0; at < b->len;) {
		struct entry *e = (struct entry *)(void *)(b->data + at);

		f->now_ns = e->newest_ns;
		e->packet.payload.data = b->data + at + sizeof(*e);
		at += entry_bytes(e->packet.payload.len);
		fn(ctx, &e->packet);
	}
	f->now_ns = b->newest_ns;
}

/* The lock is held. */
static struct batch *feed_take(struct clv_feed *f, int timeout_ms)
{
	struct timespec until = clv_clock_after((unsigned)timeout_ms);

	while (!f->full && !f->ended && !pthread_cond_timedwait(&f->full_more, &f->lock, &until))
		;
	struct batch *b = f->full;
	if (b && !(f->full = b->next))
		f->full_end = &f->full;
	return b;
}

static int feed_poll(struct clv_source *s, clv_packet_fn fn, void *ctx, int timeout_ms)
{
	struct clv_feed *f = (struct clv_feed *)s;

	pthread_mutex_lock(&f->lock);
	struct batch *b = feed_take(f, timeout_ms);
	bool ended = f->ended;
	pthread_mutex_unlock(&f->lock);
	if (!b)
		return ended ? CLV_SOURCE_END : 0;
	int delivered = (int)b->packets;
	feed_deliver(f, b, fn, ctx);
	b->len = b->packets = 0;
	pthread_mutex_lock(&f->lock);
	b->next = f->free;
	f->free = b;
	pthread_cond_signal(&f->free_more);
	pthread_mutex_unlock(&f->lock);
	return delivered;
}

static uint64_t feed_now_ns(struct clv_source *s)
{
	return ((struct clv_feed *)s)->now_ns;
}

static void feed_close(struct clv_source *s)
{
	clv_feed_free((struct clv_feed *)s);
}

static const struct clv_source_ops feed_ops = {.poll = feed_poll, .now_ns = feed_now_ns, .close = feed_close};

/* ---- the feeding thread's ---------------------------------------------------------------------------------------- */

static struct batch *feed_filling(struct clv_feed *f)
{
	if (f->filling)
		return f->filling;
	pthread_mutex_lock(&f->lock);
	while (!f->free)
		pthread_cond_wait(&f->free_more, &f->lock);
	struct batch *b = f->filling = f->free;
	f->free = b->next;
	pthread_mutex_unlock(&f->lock);
	b->next = NULL;
	return b;
}

static void feed_hand_over(struct clv_feed *f, uint64_t newest_ns)
{
	struct batch *b = feed_filling(f);

	b->newest_ns = f->told_ns = newest_ns;
	f->filling = NULL;
	pthread_mutex_lock(&f->lock);
	*f->full_end = b;
	f->full_end = &b->next;
	pthread_cond_signal(&f->full_more);
	pthread_mutex_unlock(&f->lock);
}

/* Room for `bytes` in an empty batch. */
static int batch_grow(struct batch *b, size_t bytes)
{
	uint8_t *data = bytes > b->cap ? realloc(b->data, bytes) : b->data;

	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = bytes > b->cap ? bytes : b->cap;
	return 0;
}

int clv_feed_packet(struct clv_feed *f, const struct clv_packet *p, uint64_t newest_ns)
{
	size_t bytes = entry_bytes(p->payload.len);
	struct batch *b = feed_filling(f);

	if (b->len && bytes > b->cap - b->len) {
		feed_hand_over(f, newest_ns);
		b = feed_filling(f);
	}
	if (bytes > b->cap - b->len && batch_grow(b, bytes))
		return -ENOMEM;
	struct entry *e = (struct entry *)(void *)(b->data + b->len);
	e->packet = *p;
	e->newest_ns = newest_ns;
	if (p->payload.len)
		memcpy(e + 1, p->payload.data, p->payload.len);
	b->len += bytes;
	b->packets++;
	return 0;
}

void clv_feed_flush(struct clv_feed *f, uint64_t newest_ns)
{
	if ((f->filling && f->filling->len) || newest_ns >= f->told_ns + CLV_FEED_TIME_NS)
		feed_hand_over(f, newest_ns);
}

void clv_feed_end(struct clv_feed *f, uint64_t newest_ns)
{
	clv_feed_flush(f, newest_ns);
	pthread_mutex_lock(&f->lock);
	f->ended = true;
	pthread_cond_signal(&f->full_more);
	pthread_mutex_unlock(&f->lock);
}

/*
 * One long multiplication: enough to spread what differs in a few bits, at a tenth of clv_hash()'s cost, and each
 * packet pays it twice. Who chooses addresses to have all on one worker gets what one worker does.
 */
static uint64_t endpoint_hash(const struct clv_endpoint *e)
{
	uint64_t high, low;

	memcpy(&high, e->addr.b, sizeof(high));
	memcpy(&low, e->addr.b + sizeof(high), sizeof(low));
	high ^= 0x9e3779b97f4a7c15u ^ (uint64_t)e->port << 24;
	unsigned __int128 product = (unsigned __int128)high * (low ^ 0xd6e8feb86659fd93u);
	return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

unsigned clv_feed_choose(const struct clv_packet *p, unsigned count)
{
	/* A sum is the same either way round; its upper half is as good as any. */
	uint64_t sum = endpoint_hash(&p->src) + endpoint_hash(&p->dst) + p->transport;

	return (unsigned)((sum >> 32) * count >> 32);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

int clv_feed_new(struct clv_feed **out)
{
	struct clv_feed *f = calloc(1, sizeof(*f));
	pthread_condattr_t attr;
	int err = 0;

	if (!f)
		return -ENOMEM;
	f->source.ops = &feed_ops;
	f->full_end = &f->full;
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->full_more, &attr);
	pthread_cond_init(&f->free_more, &attr);
	pthread_condattr_destroy(&attr);
	for (size_t i = 0; i < CLV_FEED_BATCHES && !err; i++) {
		err = batch_grow(&f->batch[i], CLV_FEED_BATCH_BYTES);
		f->batch[i].next = f->free;
		f->free = &f->batch[i];
	}
	if (err) {
		clv_feed_free(f);
		return err;
	}
	*out = f;
	return 0;
}

struct clv_source *clv_feed_source(struct clv_feed *f)
{
	return &f->source;
}

void clv_feed_free(struct clv_feed *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < CLV_FEED_BATCHES; i++)
		free(f->batch[i].data);
	pthread_cond_destroy(&f->full_more);
	pthread_cond_destroy(&f->free_more);
	pthread_mutex_destroy(&f->lock);
	free(f);
}
