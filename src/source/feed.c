/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the ring of batches and the rooms that their bytes lie in, and the thread that reads, if it is to. Never looks
 * into a payload, never reads a clock but to wait.
 *
 * Batches have numbers that only grow: [done by all)[handed over)[the next one to fill). Handing one over is a store,
 * and so is being done with it; the lock is for those who sleep.
 */
#include "source/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/thread.h"
#include "wire/turn.h"

/* How late the thread may notice that it is to end. */
#define POLL_MS 100

#define LINE_BYTES 64
/* So many packets before its turn a packet's bytes are fetched, and thrice as many before, where they are. */
#define AHEAD       4
#define FETCH_BYTES 512

/* A batch, and whose its packets are. */
struct slot {
	uint64_t newest_ns; /* behind it */

	/* Of several shares: which packets a share has, and the newest time at each packet. */
	uint16_t has[CLV_FEED_SHARES];
	uint8_t of[CLV_FEED_SHARES][CLV_BATCH_FRAMES];
	uint64_t time_ns[CLV_BATCH_FRAMES];

	struct clv_batch batch;
};

_Static_assert(CLV_BATCH_FRAMES - 1 <= UINT8_MAX, "a packet's place in its batch is a byte");

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): it keeps cache lines of different threads apart */
struct share {
	struct clv_source source; /* first: a source points here */
	struct clv_feed *feed;
	unsigned number;
	uint64_t now_ns;

	/* What others look at has a cache line of its own. */
	alignas(64) atomic_uint_fast64_t done;
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): it keeps cache lines of different threads apart */
struct clv_feed {
	struct clv_source *from;
	unsigned shares;
	struct slot *slots; /* CLV_FEED_BATCHES */
	uint8_t *rooms;

	/* The reading thread's. */
	unsigned room;                       /* the one that is read into */
	uint64_t room_until[CLV_FEED_ROOMS]; /* the batch before this one is the last in it */
	uint64_t newest_ns;
	pthread_t thread;
	bool started;

	/* Shared. */
	alignas(64) atomic_uint_fast64_t given;
	atomic_int ended; /* 0, or what poll() returns after the last batch */
	atomic_bool stop; /* the thread is to end */

	/* Who sleeps looks again after having said so; who has something to tell looks for sleepers after telling it.
	 */
	alignas(64) atomic_uint pollers; /* that sleep */
	atomic_uint_fast64_t wanted; /* the reading thread sleeps until all are done before this one; 0: it does not */
	pthread_mutex_t lock;
	pthread_cond_t more, less;

	struct share share[CLV_FEED_SHARES];
};

/* ---- the polling threads' ---------------------------------------------------------------------------------------- */

/*
 * Packets come from another processor's cache, and the engine looks at their first bytes at once: they are fetched
 * while it works on those before.
 */
static void feed_fetch_packet(const struct clv_packet *p)
{
	for (size_t at = 0; at < sizeof(*p); at += LINE_BYTES)
		__builtin_prefetch((const uint8_t *)p + at);
}

static void feed_fetch_payload(const struct clv_packet *p)
{
	for (size_t at = 0; at < p->payload.len && at < FETCH_BYTES; at += LINE_BYTES)
		__builtin_prefetch(p->payload.data + at);
}

/* Tells who polls of a packet before its turn. */
static void feed_tell(const struct share *s, const struct clv_packet *p)
{
	if (s->source.ahead)
		s->source.ahead(s->source.ahead_ctx, p);
}

static void feed_only_deliver(struct share *s, const struct slot *slot, clv_packet_fn fn, void *ctx)
{
	const struct clv_batch *b = &slot->batch;

	for (unsigned i = 0; i < b->count && i < CLV_SOURCE_AHEAD; i++)
		feed_tell(s, &b->packet[i]);
	for (unsigned i = 0; i < b->count; i++) {
		if (i + 3 * AHEAD < b->count)
			feed_fetch_packet(&b->packet[i + 3 * AHEAD]);
		if (i + CLV_SOURCE_AHEAD < b->count)
			feed_tell(s, &b->packet[i + CLV_SOURCE_AHEAD]);
		if (i + AHEAD < b->count)
			feed_fetch_payload(&b->packet[i + AHEAD]);
		fn(ctx, &b->packet[i]);
	}
	s->feed->from->ops->taken(s->feed->from, b);
}

static void feed_deliver(struct share *s, const struct slot *slot, clv_packet_fn fn, void *ctx)
{
	const struct clv_packet *packet = slot->batch.packet;
	const uint8_t *of = slot->of[s->number];
	unsigned has = slot->has[s->number];

	for (unsigned i = 0; i < has && i < CLV_SOURCE_AHEAD; i++)
		feed_tell(s, &packet[of[i]]);
	for (unsigned i = 0; i < has; i++) {
		if (i + 3 * AHEAD < has)
			feed_fetch_packet(&packet[of[i + 3 * AHEAD]]);
		if (i + CLV_SOURCE_AHEAD < has)
			feed_tell(s, &packet[of[i + CLV_SOURCE_AHEAD]]);
		if (i + AHEAD < has)
			feed_fetch_payload(&packet[of[i + AHEAD]]);
		s->now_ns = slot->time_ns[of[i]];
		fn(ctx, &packet[of[i]]);
	}
	s->now_ns = slot->newest_ns;
}

static uint64_t feed_done(struct clv_feed *f)
{
	uint64_t done = UINT64_MAX;

	for (unsigned i = 0; i < f->shares; i++) {
		uint64_t of_share = atomic_load(&f->share[i].done);

		done = of_share < done ? of_share : done;
	}
	return done;
}

/* Whoever was about to sleep does so after this, or looks again. Who wakes up wants the lock, so it is not kept. */
static void feed_pass(struct clv_feed *f)
{
	pthread_mutex_lock(&f->lock);
	pthread_mutex_unlock(&f->lock);
}

static void share_is_done(struct share *s, uint64_t done)
{
	struct clv_feed *f = s->feed;

	atomic_store(&s->done, done);
	uint64_t wanted = atomic_load(&f->wanted);
	if (!wanted || feed_done(f) < wanted)
		return;
	feed_pass(f);
	pthread_cond_signal(&f->less);
}

/* Until batch number `at` is there, all has ended, or time is up. */
static void feed_wait(struct clv_feed *f, uint64_t at, int timeout_ms)
{
	struct timespec until = clv_clock_after(timeout_ms < 0 ? POLL_MS : (unsigned)timeout_ms);

	pthread_mutex_lock(&f->lock);
	atomic_fetch_add(&f->pollers, 1);
	while (atomic_load(&f->given) == at && !atomic_load(&f->ended))
		if (pthread_cond_timedwait(&f->more, &f->lock, &until))
			break;
	atomic_fetch_sub(&f->pollers, 1);
	pthread_mutex_unlock(&f->lock);
}

static int feed_poll(struct clv_source *source, clv_packet_fn fn, void *ctx, int timeout_ms)
{
	struct share *s = (struct share *)source;
	struct clv_feed *f = s->feed;
	uint64_t at = atomic_load_explicit(&s->done, memory_order_relaxed);

	if (timeout_ms && atomic_load(&f->given) == at)
		feed_wait(f, at, timeout_ms);
	int ended = atomic_load(&f->ended); /* before looking whether there is more */
	while (atomic_load(&f->given) != at) {
		const struct slot *slot = &f->slots[at % CLV_FEED_BATCHES];
		unsigned has = f->shares > 1 ? slot->has[s->number] : slot->batch.count;

		if (f->shares > 1)
			feed_deliver(s, slot, fn, ctx);
		else
			feed_only_deliver(s, slot, fn, ctx);
		share_is_done(s, ++at);
		if (has) /* else it was only time that has passed */
			return (int)has;
	}
	return ended;
}

static uint64_t feed_now_ns(struct clv_source *s)
{
	return ((struct share *)s)->now_ns;
}

static const struct clv_source_ops feed_ops = {.poll = feed_poll, .now_ns = feed_now_ns};
static const struct clv_source_ops feed_only_ops = {.poll = feed_poll};

/* ---- the reading thread's ---------------------------------------------------------------------------------------- */

/* Until all are done with the batches before `until`; once it sleeps it sleeps until half of what waits is done. */
static bool feed_wait_done(struct clv_feed *f, uint64_t until)
{
	uint64_t given = atomic_load_explicit(&f->given, memory_order_relaxed), done = feed_done(f);

	if (done >= until)
		return true;
	uint64_t half = done + (given - done + 1) / 2;
	pthread_mutex_lock(&f->lock);
	atomic_store(&f->wanted, until > half ? until : half);
	while (feed_done(f) < atomic_load_explicit(&f->wanted, memory_order_relaxed) && !atomic_load(&f->stop))
		pthread_cond_wait(&f->less, &f->lock);
	atomic_store(&f->wanted, 0);
	pthread_mutex_unlock(&f->lock);
	return feed_done(f) >= until;
}

static void feed_deal(struct clv_feed *f, struct slot *slot)
{
	const struct clv_batch *b = &slot->batch;

	memset(slot->has, 0, sizeof(slot->has));
	for (unsigned i = 0; i < b->count; i++) {
		unsigned share = clv_feed_choose(&b->packet[i], f->shares);

		slot->of[share][slot->has[share]++] = (uint8_t)i;
		f->newest_ns = b->packet[i].ts_ns > f->newest_ns ? b->packet[i].ts_ns : f->newest_ns;
		slot->time_ns[i] = f->newest_ns;
	}
	slot->newest_ns = f->newest_ns;
}

static void feed_wake_pollers(struct clv_feed *f)
{
	if (!atomic_load(&f->pollers))
		return;
	feed_pass(f);
	pthread_cond_broadcast(&f->more);
}

static void feed_give(struct clv_feed *f, struct slot *slot, uint64_t number)
{
	f->room_until[f->room] = number + 1;
	if (f->shares > 1) {
		feed_deal(f, slot);
		f->from->ops->taken(f->from, &slot->batch);
	}
	atomic_store(&f->given, number + 1);
	feed_wake_pollers(f);
}

static void feed_end(struct clv_feed *f, int why)
{
	int none = 0;

	if (atomic_compare_exchange_strong(&f->ended, &none, why))
		feed_wake_pollers(f);
}

int clv_feed_pump(struct clv_feed *f, clv_packet_fn tap, void *ctx, int timeout_ms)
{
	uint64_t number = atomic_load_explicit(&f->given, memory_order_relaxed);
	struct slot *slot = &f->slots[number % CLV_FEED_BATCHES];
	unsigned room = (f->room + 1) % CLV_FEED_ROOMS;
	uint64_t until = number < CLV_FEED_BATCHES ? 0 : number + 1 - CLV_FEED_BATCHES;

	if (!feed_wait_done(f, until > f->room_until[room] ? until : f->room_until[room]))
		return 0;
	int n = f->from->ops->read(f->from, &slot->batch, f->rooms + room * (size_t)CLV_ROOM_BYTES, timeout_ms);
	f->room = slot->batch.moved ? room : f->room;
	for (unsigned i = 0; tap && i < slot->batch.count; i++)
		tap(ctx, &slot->batch.packet[i]);
	if (n > 0)
		feed_give(f, slot, number);
	else if (n < 0)
		feed_end(f, n);
	return n;
}

void clv_feed_end(struct clv_feed *f)
{
	feed_end(f, CLV_SOURCE_END);
}

static void *feed_run(void *arg)
{
	struct clv_feed *f = arg;

	clv_thread_patient();
	while (!atomic_load(&f->stop) && clv_feed_pump(f, NULL, NULL, POLL_MS) >= 0)
		;
	return NULL;
}

int clv_feed_start(struct clv_feed *f)
{
	int err = clv_thread_start(&f->thread, "reader", feed_run, f);

	f->started = !err;
	return err;
}

/*
 * One long multiplication: enough to spread what differs in a few bits, at a tenth of clv_hash()'s cost, and each
 * packet pays it twice. Who chooses addresses to have all on one worker gets what one worker does.
 */
static uint64_t address_hash(const struct clv_addr *a)
{
	uint64_t high, low;

	memcpy(&high, a->b, sizeof(high));
	memcpy(&low, a->b + sizeof(high), sizeof(low));
	return clv_hash_mix(high ^ 0x9e3779b97f4a7c15u, low ^ 0xd6e8feb86659fd93u);
}

/* Sums are the same either way round. */
unsigned clv_feed_choose(const struct clv_packet *p, unsigned count)
{
	uint64_t sum = address_hash(&p->src.addr) + address_hash(&p->dst.addr) + p->transport;

	return ((uint32_t)(sum >> 32) + clv_turn(p->src.port, p->dst.port, count)) % count;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static struct clv_feed *feed_alloc(void)
{
	struct clv_feed *f = aligned_alloc(alignof(struct clv_feed), sizeof(*f));

	if (!f)
		return NULL;
	memset(f, 0, sizeof(*f));
	f->slots = aligned_alloc(alignof(struct slot), CLV_FEED_BATCHES * sizeof(*f->slots));
	f->rooms = malloc(CLV_FEED_ROOMS * (size_t)CLV_ROOM_BYTES);
	if (f->slots && f->rooms)
		return f;
	free(f->slots);
	free(f->rooms);
	free(f);
	return NULL;
}

int clv_feed_new(struct clv_source *from, unsigned shares, struct clv_feed **out)
{
	struct clv_feed *f = feed_alloc();
	pthread_condattr_t attr;

	if (!f)
		return -ENOMEM;
	f->from = from;
	f->shares = shares;
	for (unsigned i = 0; i < shares; i++) {
		f->share[i].source.ops = shares > 1 ? &feed_ops : &feed_only_ops;
		f->share[i].feed = f;
		f->share[i].number = i;
	}
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&f->more, &attr);
	pthread_cond_init(&f->less, &attr);
	pthread_condattr_destroy(&attr);
	*out = f;
	return 0;
}

struct clv_source *clv_feed_source(struct clv_feed *f, unsigned share)
{
	return &f->share[share].source;
}

static void feed_stop(struct clv_feed *f)
{
	atomic_store(&f->stop, true);
	feed_pass(f);
	pthread_cond_signal(&f->less);
	if (f->started)
		pthread_join(f->thread, NULL);
}

void clv_feed_free(struct clv_feed *f)
{
	if (!f)
		return;
	feed_stop(f);
	pthread_cond_destroy(&f->more);
	pthread_cond_destroy(&f->less);
	pthread_mutex_destroy(&f->lock);
	free(f->slots);
	free(f->rooms);
	free(f);
}
