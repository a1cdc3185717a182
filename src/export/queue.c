/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue between the engine's thread and an I/O thread. Owns the buffer and the lock; never looks into the
 * records, starts no thread.
 *
 * A ring of bytes, mapped twice in a row: any stretch of it is contiguous, so a record is made in place and one
 * write() takes all that waits. Positions only grow (modulo size they are offsets); the lock is taken once a
 * batch, not once a record:
 *
 *     origin <= taken <= given <= head <= taken + size
 *     [taken)[for the consumer)[not handed over yet)[free)
 *
 * Whenever it is found empty it begins again at the start of the buffer: the memory in use is what waits at a time,
 * however large the ring is; and what a burst took is given back, at once if that was much, else when not half of it
 * was in use for SHRINK_NS, or nothing has come for IDLE_NS.
 */
#include "export/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define PAUSE_MS 100u
/*
 * A buffer of which no more than this was used is kept: 20 ms of 130,000 lines a second, which come at once, are more
 * than two MiB, and page faults and giving back took 8 % of the program's time where bursts were so long.
 */
#define KEEP_BYTES (4u << 20)
#define IDLE_NS    1000000000u
/* So long not half of it was in use: it is not needed. A few drains' time. */
#define SHRINK_NS 250000000u
/* So little is never given back. */
#define IDLE_BYTES (64u << 10)

struct clv_queue {
	/* The producer's own. */
	char *ring;
	size_t bytes, most, batch;
	bool wait;
	const volatile sig_atomic_t *stop;
	void (*wake)(void *ctx);
	size_t (*take)(void *ctx, struct clv_slice s, bool later);
	void *ctx;
	uint64_t head;
	uint64_t later;                    /* take() was asked up to here, and will be again */
	bool busy;                         /* the consumer took over, and is woken seldom */
	uint64_t known_given, known_taken; /* as last seen under the lock */
	uint64_t ticked_ns;                /* when records were last handed over because of time */
	uint64_t touched_bytes;            /* of the ring, since it was last given back */
	uint64_t peak_bytes;               /* the most of it that was in use at a time, since */
	uint64_t peaked_ns;                /* then */
	bool shrinks;                      /* it is to be given back when the ring is found empty */

	/* Shared. */
	pthread_mutex_t lock;
	pthread_cond_t more, less;     /* given has grown, or closing; taken has grown, or ended */
	uint64_t origin, given, taken; /* origin stands at the start of the ring */
	bool closing, ended;
	int error;
};

/* The same memory twice, side by side. */
static int queue_map(size_t bytes, char **ring)
{
	int fd = memfd_create("clovisor-queue", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0)
		goto fail;
	char *p = mmap(NULL, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		goto fail;
	for (size_t i = 0; i < 2; i++) {
		if (mmap(p + i * bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
			int err = errno;

			munmap(p, 2 * bytes);
			close(fd);
			return -err;
		}
	}
	close(fd);
	*ring = p;
	return 0;
fail:;
	int err = errno;
	close(fd);
	return -err;
}

/* Waits on a condition for at most `ms`; the lock is held. */
static void queue_wait(pthread_cond_t *cond, pthread_mutex_t *lock, unsigned ms)
{
	struct timespec until = clv_clock_after(ms);

	pthread_cond_timedwait(cond, lock, &until);
}

/* The engine's thread may run ahead of all others; one that it waits for must then run as well. */
void clv_queue_lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t inherit;

	pthread_mutexattr_init(&inherit);
	pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(lock, &inherit);
	pthread_mutexattr_destroy(&inherit);
}

int clv_queue_new(const struct clv_queue_config *config, struct clv_queue **out)
{
	struct clv_queue *q = calloc(1, sizeof(*q));
	pthread_condattr_t attr;

	if (!q)
		return -ENOMEM;
	q->bytes = config->bytes;
	q->most = config->most;
	q->batch = config->take ? CLV_QUEUE_HERE_BYTES : CLV_QUEUE_BATCH_BYTES;
	if (config->wait && config->bytes / 4 > q->batch)
		q->batch = config->bytes / 4;
	q->wait = config->wait;
	q->stop = config->stop;
	q->wake = config->wake;
	q->take = config->take;
	q->ctx = config->ctx;
	int err = queue_map(q->bytes, &q->ring);
	if (err) {
		free(q);
		return err;
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	clv_queue_lock_init(&q->lock);
	pthread_cond_init(&q->more, &attr);
	pthread_cond_init(&q->less, &attr);
	pthread_condattr_destroy(&attr);
	*out = q;
	return 0;
}

void clv_queue_free(struct clv_queue *q)
{
	if (!q)
		return;
	pthread_cond_destroy(&q->more);
	pthread_cond_destroy(&q->less);
	pthread_mutex_destroy(&q->lock);
	munmap(q->ring, 2 * q->bytes);
	free(q);
}

/* ---- the producer's -------------------------------------------------------------------------------------- */

/* Hands over all records so far. The lock is held. Returns whether there were any: then the consumer is to be told. */
static bool queue_give(struct clv_queue *q)
{
	bool some = q->given != q->head;

	q->given = q->head;
	q->known_given = q->given;
	q->known_taken = q->taken;
	return some;
}

/* Without the lock, which who wakes up wants at once. */
static void queue_tell(struct clv_queue *q)
{
	pthread_cond_signal(&q->more);
	if (q->wake)
		q->wake(q->ctx);
}

/* The consumer has taken all that it was given and sleeps, or will: what is not given yet is not looked at. */
static bool queue_is_idle(struct clv_queue *q)
{
	pthread_mutex_lock(&q->lock);
	bool idle = q->taken == q->given && !q->ended;
	pthread_mutex_unlock(&q->lock);
	return idle;
}

/* What is taken here and now is still in this processor's cache, and nobody is woken for it. False: it will be later.
 */
static bool queue_take_here(struct clv_queue *q, bool later)
{
	size_t len = (size_t)(q->head - q->known_given);

	if (!len || !queue_is_idle(q))
		return true;
	size_t taken = q->take(q->ctx, clv_slice(q->ring + (q->known_given - q->origin) % q->bytes, len), later);
	if (taken == CLV_QUEUE_LATER)
		return false;
	pthread_mutex_lock(&q->lock);
	q->given += taken;
	q->taken += taken;
	q->known_given = q->given;
	q->known_taken = q->taken;
	pthread_mutex_unlock(&q->lock);
	return true;
}

static void queue_hand_over(struct clv_queue *q, bool later)
{
	bool left = q->take && !queue_take_here(q, later);

	q->later = q->head;
	if (left)
		return;
	pthread_mutex_lock(&q->lock);
	bool some = queue_give(q);
	pthread_mutex_unlock(&q->lock);
	q->busy = some;
	if (some)
		queue_tell(q);
}

static size_t queue_free_bytes(const struct clv_queue *q)
{
	return q->bytes - (size_t)(q->head - q->known_taken);
}

/* Until there are `enough` bytes free. Gives up when the consumer has ended, or the run was stopped and nothing is
 * taken. The lock is held. */
static void queue_wait_free(struct clv_queue *q, size_t enough)
{
	unsigned waited_ms = 0;

	while (!q->ended && queue_free_bytes(q) < enough && waited_ms < CLV_QUEUE_PATIENCE_MS) {
		queue_wait(&q->less, &q->lock, PAUSE_MS);
		waited_ms = *q->stop && q->taken == q->known_taken ? waited_ms + PAUSE_MS : 0;
		q->known_taken = q->taken;
	}
	if (waited_ms >= CLV_QUEUE_PATIENCE_MS)
		q->wait = false; /* once is enough */
}

/* A quarter of the buffer, not to come back for each record. The lock is held. */
static void queue_wait_room(struct clv_queue *q, size_t bytes)
{
	queue_wait_free(q, bytes > q->bytes / 4 ? bytes : q->bytes / 4);
}

/* A larger ring takes the place of this one, once that is empty: then nobody looks at it. */
static void queue_grow(struct clv_queue *q, size_t bytes)
{
	size_t size = q->bytes;
	char *ring = NULL;

	while (size < bytes)
		size = 2 * size < q->most ? 2 * size : q->most;
	queue_hand_over(q, false);
	pthread_mutex_lock(&q->lock);
	q->known_taken = q->taken;
	queue_wait_free(q, q->bytes);
	if (q->taken == q->head && !queue_map(size, &ring)) {
		munmap(q->ring, 2 * q->bytes);
		q->ring = ring;
		q->bytes = size;
		q->origin = q->head;
		q->touched_bytes = 0;
	}
	pthread_mutex_unlock(&q->lock);
}

static void queue_note_use(struct clv_queue *q)
{
	uint64_t used = q->head - q->origin;

	q->touched_bytes = used > q->touched_bytes ? used : q->touched_bytes;
	q->peak_bytes = used > q->peak_bytes ? used : q->peak_bytes;
}

/* All was handed over; if it was taken as well, the next record goes to the start. What is touched beyond `keep` bytes
 * is given back. */
static void queue_rewind(struct clv_queue *q, size_t keep)
{
	bool much = false;

	pthread_mutex_lock(&q->lock);
	q->known_taken = q->taken;
	if (q->taken == q->head) {
		queue_note_use(q);
		much = q->touched_bytes > (q->shrinks && keep > IDLE_BYTES ? IDLE_BYTES : keep);
		q->shrinks = false;
		q->origin = q->head;
	}
	pthread_mutex_unlock(&q->lock);
	if (!much)
		return;
	q->touched_bytes = 0;
	/* The consumer looks at none of it. If it cannot be given back, it stays. */
	if (madvise(q->ring, q->bytes, MADV_REMOVE))
		return;
}

char *clv_queue_room(struct clv_queue *q, size_t bytes)
{
	if (bytes > q->bytes && bytes <= q->most && q->wait)
		queue_grow(q, bytes);
	if (q->head == q->known_given)
		queue_rewind(q, KEEP_BYTES);
	if (queue_free_bytes(q) < bytes) {
		queue_hand_over(q, false);
		pthread_mutex_lock(&q->lock);
		q->known_taken = q->taken;
		if (q->wait && bytes <= q->bytes)
			queue_wait_room(q, bytes);
		pthread_mutex_unlock(&q->lock);
	}
	if (queue_free_bytes(q) < bytes)
		return NULL;
	size_t at = q->head - q->origin;
	return q->ring + (at < q->bytes ? at : at % q->bytes); /* seldom; and a division takes long */
}

void clv_queue_commit(struct clv_queue *q, size_t bytes)
{
	q->head += bytes;
	if (q->head - q->later >= (q->busy && q->batch < CLV_QUEUE_BATCH_BYTES ? CLV_QUEUE_BATCH_BYTES : q->batch))
		queue_hand_over(q, q->head - q->known_given < CLV_QUEUE_LATER_BYTES);
}

bool clv_queue_put(struct clv_queue *q, struct clv_slice s)
{
	char *room = s.len ? clv_queue_room(q, s.len) : NULL;

	if (room) {
		memcpy(room, s.data, s.len);
		clv_queue_commit(q, s.len);
	}
	return room || !s.len;
}

/* What a burst took, and nobody has needed since, is given back. */
static void queue_shrink(struct clv_queue *q, uint64_t now_ns)
{
	if (now_ns - q->peaked_ns < SHRINK_NS)
		return;
	q->peaked_ns = now_ns;
	queue_note_use(q); /* it may not have been empty for long */
	q->shrinks = q->touched_bytes > 2 * q->peak_bytes;
	q->peak_bytes = 0;
	if (q->shrinks)
		queue_rewind(q, KEEP_BYTES);
}

void clv_queue_tick(struct clv_queue *q)
{
	bool idle = q->head == q->known_given;

	if (idle && q->head - q->origin <= IDLE_BYTES && q->touched_bytes <= IDLE_BYTES)
		return;
	if (idle && q->head - q->origin > KEEP_BYTES) {
		queue_rewind(q, KEEP_BYTES); /* perhaps nothing comes for long */
		return;
	}
	uint64_t now_ns = clv_clock_coarse_ns();

	if (now_ns - q->ticked_ns < (idle ? IDLE_NS : CLV_QUEUE_TICK_NS))
		return;
	q->ticked_ns = now_ns;
	if (idle) {
		queue_rewind(q, IDLE_BYTES);
		return;
	}
	queue_hand_over(q, false);
	queue_shrink(q, now_ns);
}

static bool queue_is_filling(const struct clv_queue *q)
{
	return q->head - q->known_taken > q->bytes / CLV_QUEUE_PRESSED_PART;
}

bool clv_queue_pressed(struct clv_queue *q)
{
	if (!queue_is_filling(q))
		return false;
	queue_hand_over(q, false); /* and learn what was taken since */
	return queue_is_filling(q);
}

int clv_queue_error(struct clv_queue *q)
{
	pthread_mutex_lock(&q->lock);
	int err = q->error;
	pthread_mutex_unlock(&q->lock);
	return err;
}

void clv_queue_close(struct clv_queue *q)
{
	pthread_mutex_lock(&q->lock);
	queue_give(q);
	q->closing = true;
	pthread_mutex_unlock(&q->lock);
	queue_tell(q);
}

bool clv_queue_join(struct clv_queue *q)
{
	unsigned waited_ms = 0;

	pthread_mutex_lock(&q->lock);
	while (!q->ended && waited_ms < CLV_QUEUE_PATIENCE_MS) {
		queue_wait(&q->less, &q->lock, PAUSE_MS);
		/* A file's reader may take its time, unless the run was stopped. */
		waited_ms = q->taken == q->known_taken && (!q->wait || *q->stop) ? waited_ms + PAUSE_MS : 0;
		q->known_taken = q->taken;
	}
	bool ended = q->ended;
	pthread_mutex_unlock(&q->lock);
	return ended;
}

/* ---- the consumer's -------------------------------------------------------------------------------------- */

struct clv_slice clv_queue_peek(struct clv_queue *q, bool block)
{
	pthread_mutex_lock(&q->lock);
	while (block && q->given == q->taken && !q->closing)
		pthread_cond_wait(&q->more, &q->lock);
	struct clv_slice s = {.data = (const uint8_t *)q->ring + (q->taken - q->origin) % q->bytes,
			      .len = (size_t)(q->given - q->taken)};
	pthread_mutex_unlock(&q->lock);
	return s;
}

void clv_queue_take(struct clv_queue *q, size_t bytes)
{
	pthread_mutex_lock(&q->lock);
	q->taken += bytes;
	pthread_mutex_unlock(&q->lock);
	pthread_cond_signal(&q->less);
}

bool clv_queue_closed(struct clv_queue *q)
{
	pthread_mutex_lock(&q->lock);
	bool closing = q->closing;
	pthread_mutex_unlock(&q->lock);
	return closing;
}

void clv_queue_pause(struct clv_queue *q, unsigned ms)
{
	pthread_mutex_lock(&q->lock);
	queue_wait(&q->more, &q->lock, ms);
	pthread_mutex_unlock(&q->lock);
}

void clv_queue_end(struct clv_queue *q, int error)
{
	pthread_mutex_lock(&q->lock);
	q->ended = true;
	q->error = error;
	pthread_cond_signal(&q->less);
	pthread_mutex_unlock(&q->lock);
}

size_t clv_queue_used(struct clv_queue *q)
{
	pthread_mutex_lock(&q->lock);
	size_t used = (size_t)(q->given - q->taken);
	pthread_mutex_unlock(&q->lock);
	return used;
}
