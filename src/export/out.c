/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue between the engine's thread and the output. Owns the buffer and the I/O thread; never looks into the
 * lines, never touches the descriptor's flags (a terminal shares them with the shell).
 *
 * A ring of bytes, mapped twice in a row: any stretch of it is contiguous, so a line is made in place and one
 * write() takes all that waits. Positions only grow (modulo size they are offsets); the lock is taken once a
 * batch, not once a line:
 *
 *     taken <= given <= head <= taken + size
 *     [written)[for the I/O thread)[not handed over yet)[free)
 */
#include "export/out.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct clv_out {
	/* The caller's own. */
	char *ring;
	int fd;
	bool wait;
	const volatile sig_atomic_t *stop;
	uint64_t head;
	uint64_t known_given, known_taken; /* as last seen under the lock */
	uint64_t dropped;
	uint64_t ticked_ns; /* when lines were last handed over because of time */
	pthread_t thread;

	/* Shared. */
	pthread_mutex_t lock;
	pthread_cond_t more, less; /* given has grown, or closing; taken has grown, or error */
	uint64_t given, taken;
	bool closing, done, left; /* `left` to the I/O thread to free */
	int error;
};

/* The same memory twice, side by side. */
static int out_map(char **ring)
{
	int fd = memfd_create("clovisor-out", MFD_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, CLV_OUT_BYTES) < 0)
		goto fail;
	char *p = mmap(NULL, 2 * CLV_OUT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		goto fail;
	for (int i = 0; i < 2; i++) {
		void *at = p + i * (size_t)CLV_OUT_BYTES;

		if (mmap(at, CLV_OUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
			int err = errno;

			munmap(p, 2 * CLV_OUT_BYTES);
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
static void out_wait(pthread_cond_t *cond, pthread_mutex_t *lock, unsigned ms)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000l;
	if (t.tv_nsec >= 1000000000) {
		t.tv_sec++;
		t.tv_nsec -= 1000000000;
	}
	pthread_cond_timedwait(cond, lock, &t);
}

static void out_free(struct clv_out *o)
{
	pthread_cond_destroy(&o->more);
	pthread_cond_destroy(&o->less);
	pthread_mutex_destroy(&o->lock);
	munmap(o->ring, 2 * CLV_OUT_BYTES);
	free(o);
}

/* Writes all that was given, until there is nothing left and the output closes, or writing fails. */
static void *out_run(void *arg)
{
	struct clv_out *o = arg;

	pthread_mutex_lock(&o->lock);
	while (!o->error) {
		size_t len = (size_t)(o->given - o->taken);
		const char *from = o->ring + o->taken % CLV_OUT_BYTES;

		if (len == 0) {
			if (o->closing)
				break;
			pthread_cond_wait(&o->more, &o->lock);
			continue;
		}
		pthread_mutex_unlock(&o->lock);
		ssize_t n = write(o->fd, from, len);
		int err = n < 0 ? errno : 0;
		pthread_mutex_lock(&o->lock);
		if (n > 0)
			o->taken += (uint64_t)n;
		else if (err == EAGAIN) /* somebody else made the descriptor non-blocking */
			out_wait(&o->more, &o->lock, 10);
		else if (err != EINTR)
			o->error = err ? -err : -EIO;
		pthread_cond_signal(&o->less);
	}
	o->done = true;
	bool left = o->left;
	pthread_cond_signal(&o->less);
	pthread_mutex_unlock(&o->lock);
	if (left)
		out_free(o);
	return NULL;
}

/* Hands over all lines so far. The lock is held. */
static void out_give(struct clv_out *o)
{
	if (o->given != o->head) {
		o->given = o->head;
		pthread_cond_signal(&o->more);
	}
	o->known_given = o->given;
	o->known_taken = o->taken;
}

static void out_hand_over(struct clv_out *o)
{
	pthread_mutex_lock(&o->lock);
	out_give(o);
	pthread_mutex_unlock(&o->lock);
}

static size_t out_free_bytes(const struct clv_out *o)
{
	return CLV_OUT_BYTES - (size_t)(o->head - o->known_taken);
}

/* Until there are `bytes` free (for a reader of a file: a quarter of the buffer, not to come back for each line).
 * Gives up when writing has failed, or the run was stopped and nobody reads. The lock is held. */
static void out_wait_room(struct clv_out *o, size_t bytes)
{
	size_t enough = bytes > CLV_OUT_BYTES / 4 ? bytes : CLV_OUT_BYTES / 4;
	unsigned waited_ms = 0;

	while (!o->error && out_free_bytes(o) < enough && waited_ms < CLV_OUT_PATIENCE_MS) {
		out_wait(&o->less, &o->lock, 100);
		waited_ms = *o->stop && o->taken == o->known_taken ? waited_ms + 100 : 0;
		o->known_taken = o->taken;
	}
	if (waited_ms >= CLV_OUT_PATIENCE_MS)
		o->wait = false; /* once is enough */
}

char *clv_out_room(struct clv_out *o, size_t bytes)
{
	if (out_free_bytes(o) < bytes) {
		pthread_mutex_lock(&o->lock);
		out_give(o);
		if (o->wait && bytes <= CLV_OUT_BYTES)
			out_wait_room(o, bytes);
		pthread_mutex_unlock(&o->lock);
	}
	if (out_free_bytes(o) < bytes) {
		o->dropped++;
		return NULL;
	}
	return o->ring + o->head % CLV_OUT_BYTES;
}

void clv_out_commit(struct clv_out *o, size_t bytes)
{
	o->head += bytes;
	if (o->head - o->known_given >= CLV_OUT_BATCH_BYTES)
		out_hand_over(o);
}

void clv_out_tick(struct clv_out *o)
{
	struct timespec t;

	if (o->head == o->known_given)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	uint64_t now_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
	if (now_ns - o->ticked_ns < CLV_OUT_TICK_NS)
		return;
	o->ticked_ns = now_ns;
	out_hand_over(o);
}

int clv_out_error(struct clv_out *o)
{
	pthread_mutex_lock(&o->lock);
	int err = o->error;
	pthread_mutex_unlock(&o->lock);
	return err;
}

uint64_t clv_out_dropped(const struct clv_out *o)
{
	return o->dropped;
}

int clv_out_open(int fd, bool wait, const volatile sig_atomic_t *stop, struct clv_out **out)
{
	struct clv_out *o = calloc(1, sizeof(*o));
	pthread_condattr_t attr;
	pthread_mutexattr_t inherit;
	int err;

	if (!o)
		return -ENOMEM;
	o->fd = fd;
	o->wait = wait;
	o->stop = stop;
	err = out_map(&o->ring);
	if (err) {
		free(o);
		return err;
	}
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	/* The engine's thread may run ahead of all others; one that it waits for must then run as well. */
	pthread_mutexattr_init(&inherit);
	pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&o->lock, &inherit);
	pthread_mutexattr_destroy(&inherit);
	pthread_cond_init(&o->more, &attr);
	pthread_cond_init(&o->less, &attr);
	pthread_condattr_destroy(&attr);
	err = pthread_create(&o->thread, NULL, out_run, o);
	if (err) {
		munmap(o->ring, 2 * CLV_OUT_BYTES);
		free(o);
		return -err;
	}
	*out = o;
	return 0;
}

int clv_out_close(struct clv_out *o)
{
	unsigned waited_ms = 0;

	if (!o)
		return 0;
	pthread_mutex_lock(&o->lock);
	out_give(o);
	o->closing = true;
	pthread_cond_signal(&o->more);
	while (!o->done && waited_ms < CLV_OUT_PATIENCE_MS) {
		out_wait(&o->less, &o->lock, 100);
		/* A file's reader may take its time, unless the run was stopped. */
		waited_ms = o->taken == o->known_taken && (!o->wait || *o->stop) ? waited_ms + 100 : 0;
		o->known_taken = o->taken;
	}
	bool done = o->done;
	int err = o->error;
	o->left = !done;
	if (!done)
		pthread_detach(o->thread);
	pthread_mutex_unlock(&o->lock);
	if (!done)
		return -ETIMEDOUT;
	pthread_join(o->thread, NULL);
	out_free(o);
	return err;
}
