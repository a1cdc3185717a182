/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output's end of a queue. Owns the queue and the I/O thread, which writes what the engine's thread put in; never
 * looks into the lines, never touches the descriptor's flags (a terminal shares them with the shell).
 */
#include "export/out.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

/* Next to the engine's thread: what that makes in a burst must not wait until everybody else has had their turn. */
#define NICE (-14)

struct clv_out {
	struct clv_queue *queue;
	int fd;
	bool live;
	uint64_t dropped;
	pthread_mutex_t put; /* whoever puts is the queue's producer for that time */
	pthread_t thread;
	atomic_bool parted; /* set by the thread at its end, and by a closer that does not wait: the second one frees */
};

static void out_free(struct clv_out *o)
{
	clv_queue_free(o->queue);
	pthread_mutex_destroy(&o->put);
	free(o);
}

/* Writes all that was given, until there is nothing left and the output closes, or writing fails. */
static void *out_run(void *arg)
{
	struct clv_out *o = arg;
	int error = 0;

	if (o->live && setpriority(PRIO_PROCESS, 0, NICE)) /* on Linux, of this thread alone */
		clv_debug("output: cannot raise the priority: %s", strerror(errno));
	while (!error) {
		struct clv_slice s = clv_queue_peek(o->queue, true);

		if (s.len == 0)
			break; /* closed */
		ssize_t n = write(o->fd, s.data, s.len);
		int err = n < 0 ? errno : 0;
		if (n > 0)
			clv_queue_take(o->queue, (size_t)n);
		else if (err == EAGAIN) /* somebody else made the descriptor non-blocking */
			clv_queue_pause(o->queue, 10);
		else if (err != EINTR)
			error = err ? -err : -EIO;
	}
	clv_queue_end(o->queue, error);
	if (atomic_exchange(&o->parted, true))
		out_free(o);
	return NULL;
}

char *clv_out_room(struct clv_out *o, size_t bytes)
{
	char *room = clv_queue_room(o->queue, bytes);

	o->dropped += !room;
	return room;
}

void clv_out_commit(struct clv_out *o, size_t bytes)
{
	clv_queue_commit(o->queue, bytes);
}

bool clv_out_put(struct clv_out *o, struct clv_slice s, uint32_t count, bool *pressed)
{
	pthread_mutex_lock(&o->put);
	bool room = clv_queue_put(o->queue, s) && (s.len || !count);
	o->dropped += room ? 0 : count;
	clv_queue_tick(o->queue);
	*pressed = clv_queue_pressed(o->queue);
	pthread_mutex_unlock(&o->put);
	return room;
}

void clv_out_tick(struct clv_out *o)
{
	clv_queue_tick(o->queue);
}

bool clv_out_pressed(struct clv_out *o)
{
	return clv_queue_pressed(o->queue);
}

int clv_out_error(struct clv_out *o)
{
	return clv_queue_error(o->queue);
}

uint64_t clv_out_dropped(const struct clv_out *o)
{
	return o->dropped;
}

int clv_out_open(int fd, bool wait, const volatile sig_atomic_t *stop, struct clv_out **out)
{
	const struct clv_queue_config config = {
		.bytes = wait ? CLV_OUT_WAIT_BYTES : CLV_OUT_LIVE_BYTES,
		.most = CLV_OUT_BYTES,
		.wait = wait,
		.stop = stop,
	};
	struct clv_out *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	clv_queue_lock_init(&o->put);
	o->fd = fd;
	o->live = !wait;
	int err = clv_queue_new(&config, &o->queue);
	if (!err)
		err = -pthread_create(&o->thread, NULL, out_run, o);
	if (err) {
		out_free(o);
		return err;
	}
	*out = o;
	return 0;
}

int clv_out_close(struct clv_out *o)
{
	if (!o)
		return 0;
	clv_queue_close(o->queue);
	if (!clv_queue_join(o->queue)) {
		pthread_detach(o->thread);
		if (atomic_exchange(&o->parted, true))
			out_free(o);
		return -ETIMEDOUT;
	}
	pthread_join(o->thread, NULL);
	int err = clv_queue_error(o->queue);
	out_free(o);
	return err;
}
