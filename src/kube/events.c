/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of events. Owns the objects that wait in it, and the eventfd that is readable while there are any; never
 * calls anybody with its lock held.
 */
#include "kube/events.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Taken out under one lock. */
#define BATCH 32

/* An event without the room for a text that few have. */
struct entry {
	enum clv_kube_event_type type;
	enum clv_kube_kind kind;
	struct clv_kube_object *object;
	char *why; /* NULL: none */
};

struct clv_kube_events {
	int fd;
	pthread_mutex_t lock;
	pthread_cond_t room;
	struct entry ring[CLV_KUBE_QUEUE];
	size_t first, count, bytes;
	uint64_t stalls;
	bool stopped;
};

int clv_kube_events_new(struct clv_kube_events **out)
{
	struct clv_kube_events *q = calloc(1, sizeof(*q));
	pthread_mutexattr_t inherit;

	if (!q)
		return -ENOMEM;
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->fd < 0) {
		int err = -errno;

		free(q);
		return err;
	}
	/* The engine's thread may run ahead of all others; one that it waits for must then run as well. */
	pthread_mutexattr_init(&inherit);
	pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&q->lock, &inherit);
	pthread_mutexattr_destroy(&inherit);
	pthread_cond_init(&q->room, NULL);
	*out = q;
	return 0;
}

static void entry_free(struct entry *e)
{
	clv_kube_object_free(e->object);
	free(e->why);
}

void clv_kube_events_free(struct clv_kube_events *q)
{
	if (!q)
		return;
	for (; q->count; q->count--, q->first = (q->first + 1) % CLV_KUBE_QUEUE)
		entry_free(&q->ring[q->first]);
	pthread_cond_destroy(&q->room);
	pthread_mutex_destroy(&q->lock);
	close(q->fd);
	free(q);
}

static size_t entry_bytes(const struct entry *e)
{
	return e->object ? e->object->bytes : 0;
}

/* The lock is held. */
static bool has_room(const struct clv_kube_events *q, size_t bytes)
{
	return q->count == 0 || (q->count < CLV_KUBE_QUEUE && q->bytes + bytes <= CLV_KUBE_QUEUE_BYTES);
}

int clv_kube_events_put(struct clv_kube_events *q, const struct clv_kube_event *event)
{
	struct entry e = {.type = event->type, .kind = event->kind, .object = event->object};
	int err = 0;

	if (*event->why && !(e.why = strdup(event->why))) {
		entry_free(&e);
		return -ENOMEM;
	}
	pthread_mutex_lock(&q->lock);
	q->stalls += !q->stopped && !has_room(q, entry_bytes(&e));
	while (!q->stopped && !has_room(q, entry_bytes(&e)))
		pthread_cond_wait(&q->room, &q->lock);
	if (q->stopped) {
		err = -ECANCELED;
	} else {
		q->ring[(q->first + q->count) % CLV_KUBE_QUEUE] = e;
		q->bytes += entry_bytes(&e);
		if (q->count++ == 0)
			eventfd_write(q->fd, 1);
	}
	pthread_mutex_unlock(&q->lock);
	if (err)
		entry_free(&e);
	return err;
}

uint64_t clv_kube_events_stalls(struct clv_kube_events *q)
{
	pthread_mutex_lock(&q->lock);
	uint64_t stalls = q->stalls;
	pthread_mutex_unlock(&q->lock);
	return stalls;
}

void clv_kube_events_stop(struct clv_kube_events *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopped = true;
	pthread_cond_broadcast(&q->room);
	pthread_mutex_unlock(&q->lock);
}

int clv_kube_events_fd(const struct clv_kube_events *q)
{
	return q->fd;
}

static size_t events_take(struct clv_kube_events *q, size_t most, struct entry out[BATCH])
{
	size_t n = 0;
	eventfd_t ignored;

	pthread_mutex_lock(&q->lock);
	for (; n < most && n < BATCH && q->count; n++) {
		out[n] = q->ring[q->first];
		q->bytes -= entry_bytes(&out[n]);
		q->first = (q->first + 1) % CLV_KUBE_QUEUE;
		q->count--;
	}
	if (n && q->count == 0)
		eventfd_read(q->fd, &ignored);
	/* Not for each single one that leaves a full queue: half of it at once. */
	if (n && q->count <= CLV_KUBE_QUEUE / 2 && q->bytes <= CLV_KUBE_QUEUE_BYTES / 2)
		pthread_cond_signal(&q->room);
	pthread_mutex_unlock(&q->lock);
	return n;
}

size_t clv_kube_events_poll(struct clv_kube_events *q, size_t most, void (*fn)(void *ctx, struct clv_kube_event *event),
			    void *ctx)
{
	struct entry batch[BATCH];
	size_t done = 0, n;

	while (done < most && (n = events_take(q, most - done, batch))) {
		for (size_t i = 0; i < n; i++) {
			struct clv_kube_event event = {
				.type = batch[i].type, .kind = batch[i].kind, .object = batch[i].object};

			if (batch[i].why)
				strncpy(event.why, batch[i].why, sizeof(event.why) - 1);
			free(batch[i].why);
			fn(ctx, &event);
		}
		done += n;
	}
	return done;
}
