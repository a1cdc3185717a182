/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The output's end of a queue, or of one for each lane. Owns the queues and the I/O thread, which writes what the
 * engines' threads put in, if they do not themselves; never looks into the lines, never touches the descriptor's flags
 * (a terminal shares them with the shell).
 *
 * Several lanes that write by themselves take turns: who has the lock `writing` writes whole lines. A line that the
 * disk took only a part of makes its lane the `torn` one, after which nobody writes before the rest of it.
 */
#include "export/out.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/clock.h"
#include "base/hurry.h"
#include "base/log.h"
#include "base/thread.h"

/* Next to the engine's thread: what that makes in a burst must not wait until everybody else has had their turn. */
#define NICE (-14)

/*
 * Live, a file's lines are written by who makes them: there they are in the cache, and nobody needs to be woken, which
 * is a sixth of what a request costs. A disk that once keeps this writer waiting for so long meets the other one, for a
 * while.
 *
 * Many at a time are another matter, unless their lane rests: until it has made the last one, it runs ahead of a client
 * or a server, and the other of the two soon waits for that one. So the I/O thread runs ahead as well, and writes on
 * the processor that has nothing to do meanwhile. Several lanes do as much by themselves.
 */
#define SLOW_NS     10000000u
#define SLOW_FOR_NS (60ull * 1000 * 1000 * 1000)

/* A disk that comes back finds much: so often who writes that ahead of others lets them have a turn. */
#define TURN_BYTES (8u << 20)
#define TURN_US    100

/* Written at once: what was is room again, and a reader that takes it is seen to do so. */
#define WRITE_BYTES (768u << 10)

/* A lane that waited so long for others to have written lets the I/O thread do it. */
#define TURN_MS 2
/* How often the lock is tried before a thread sleeps for it. */
#define SPINS 100
/* No lane's line is torn. */
#define WHOLE CLV_OUT_LANES

/* A lane's own, on cache lines of its own. */
struct out_lane {
	alignas(64) struct clv_out *out;
	struct clv_queue *queue;
	unsigned number;
	uint64_t dropped;
};

struct clv_out {
	struct out_lane lane[CLV_OUT_LANES];

	/* Who writes. */
	alignas(64) pthread_mutex_t writing;
	unsigned torn;                      /* a lane, or WHOLE; under that lock */
	atomic_bool head_waits;             /* to be written before any line */
	atomic_bool behind;                 /* the I/O thread writes, or waits to: no lane needs to wait for that */
	atomic_uint_fast64_t slow_until_ns; /* no writing on lanes' threads before, CLOCK_MONOTONIC */

	unsigned lanes;
	int fd;
	bool live;
	bool shares;        /* the work with the only lane, if it may: */
	atomic_bool ahead;  /* of others runs the I/O thread, as the lane does, and writes what is much at a time */
	atomic_bool parted; /* set by the thread at its end, and by a closer that does not wait: the second one frees */
	bool news;          /* some lane has handed over lines, or closed; under the lock, as what follows */
	pthread_mutex_t lock;
	pthread_cond_t more; /* of several lanes: news */
	char *head;          /* NULL: none */
	size_t head_len;
	pthread_t thread;
};

static void out_free(struct clv_out *o)
{
	for (unsigned i = 0; i < o->lanes; i++)
		clv_queue_free(o->lane[i].queue);
	pthread_mutex_destroy(&o->lock);
	pthread_mutex_destroy(&o->writing);
	pthread_cond_destroy(&o->more);
	free(o->head);
	free(o);
}

/* ---- the I/O thread's -------------------------------------------------------------------------------------------- */

/* One of several lanes has something. */
static void out_wake(void *ctx)
{
	struct clv_out *o = ((struct out_lane *)ctx)->out;

	pthread_mutex_lock(&o->lock);
	o->news = true;
	pthread_cond_signal(&o->more);
	pthread_mutex_unlock(&o->lock);
}

static void out_sleep(struct clv_out *o)
{
	pthread_mutex_lock(&o->lock);
	while (!o->news)
		pthread_cond_wait(&o->more, &o->lock);
	o->news = false;
	pthread_mutex_unlock(&o->lock);
}

/* The next lane, in turns, which has something, and what; as many as there are: all are closed. */
static unsigned out_next(struct clv_out *o, unsigned last, struct clv_slice *s)
{
	bool only = o->lanes == 1; /* then the queue is where it sleeps */

	for (;;) {
		unsigned closed = 0;

		for (unsigned i = 1; i <= o->lanes; i++) {
			unsigned lane = (last + i) % o->lanes;

			closed += clv_queue_closed(o->lane[lane].queue);
			*s = clv_queue_peek(o->lane[lane].queue, only);
			if (s->len)
				return lane;
		}
		if (closed == o->lanes)
			return o->lanes;
		if (!only)
			out_sleep(o);
	}
}

/* Returns how many bytes were written, 0: none for now; or -errno. */
static ssize_t out_write(const struct clv_out *o, const void *data, size_t len)
{
	ssize_t n = write(o->fd, data, len < WRITE_BYTES ? len : WRITE_BYTES);

	if (n > 0)
		return n;
	return n < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : n < 0 ? -errno : -EIO;
}

/* How often this thread has waited for something. One that was only interrupted, or whose machine was, has not. */
static long times_waited(void)
{
	struct rusage u;

	return getrusage(RUSAGE_THREAD, &u) ? 0 : u.ru_nvcsw;
}

/* Likewise, in its turn; notes it if the disk made this thread wait. */
static ssize_t out_write_timed(struct clv_out *o, struct clv_slice s)
{
	long waited = times_waited();
	uint64_t before_ns = clv_clock_ns();
	ssize_t n = out_write(o, s.data, s.len);
	uint64_t after_ns = clv_clock_ns();

	if (after_ns - before_ns > SLOW_NS && times_waited() != waited)
		atomic_store_explicit(&o->slow_until_ns, after_ns + SLOW_FOR_NS, memory_order_relaxed);
	return n;
}

/* What comes before the first line; it is there before any line is. */
static int out_write_head(struct clv_out *o)
{
	ssize_t n;

	pthread_mutex_lock(&o->lock);
	struct clv_slice s = clv_slice(o->head, o->head_len);
	pthread_mutex_unlock(&o->lock);
	for (; s.len; s = clv_slice_from(s, (size_t)n)) {
		n = out_write(o, s.data, s.len);
		if (n < 0)
			return (int)n;
		if (!n)
			clv_queue_pause(o->lane[0].queue, 10);
	}
	return 0;
}

/* Whole lines of one lane, or the rest of one. */
static int out_write_lines(struct clv_out *o, unsigned lane, struct clv_slice s)
{
	while (s.len) {
		ssize_t n = o->shares ? out_write_timed(o, s) : out_write(o, s.data, s.len);

		if (n < 0)
			return (int)n;
		if (n > 0)
			clv_queue_take(o->lane[lane].queue, (size_t)n);
		else /* somebody else made the descriptor non-blocking */
			clv_queue_pause(o->lane[lane].queue, 10);
		s = clv_slice_from(s, (size_t)n);
	}
	return 0;
}

/* Of this lane; but if another one's line is torn, that one's, which hands over the rest at once. */
static int out_write_turn(struct clv_out *o, unsigned lane, struct clv_slice s)
{
	int error = 0;

	atomic_store_explicit(&o->behind, true, memory_order_relaxed);
	pthread_mutex_lock(&o->writing);
	if (atomic_load_explicit(&o->head_waits, memory_order_relaxed))
		error = out_write_head(o);
	atomic_store_explicit(&o->head_waits, false, memory_order_relaxed);
	if (o->torn != WHOLE && o->torn != lane) {
		lane = o->torn;
		s = clv_queue_peek(o->lane[lane].queue, true);
	}
	if (!error)
		error = out_write_lines(o, lane, s);
	o->torn = WHOLE;
	pthread_mutex_unlock(&o->writing);
	atomic_store_explicit(&o->behind, false, memory_order_relaxed);
	return error;
}

/* After so many bytes without a pause. Returns after how many it is. */
static size_t out_let_others(struct clv_out *o, size_t unbroken)
{
	if (!clv_queue_used(o->lane[0].queue)) { /* it will sleep */
		if (clv_hurry_is_over(CLV_HURRY_OUTPUT))
			clv_hurry(CLV_HURRY_OUTPUT);
		return 0;
	}
	if (unbroken < TURN_BYTES)
		return unbroken;
	usleep(TURN_US);
	return 0;
}

/* On the I/O thread. */
static void out_take_place(struct clv_out *o)
{
	if (!o->live)
		clv_thread_patient();
	else if (o->shares)
		atomic_store_explicit(&o->ahead, clv_hurry(CLV_HURRY_OUTPUT), memory_order_relaxed);
	else if (setpriority(PRIO_PROCESS, 0, NICE)) /* on Linux, of this thread alone */
		clv_debug("output: cannot raise the priority: %s", strerror(errno));
}

/* Writes all that was given, until there is nothing left and the output closes, or writing fails. */
static void *out_run(void *arg)
{
	struct clv_out *o = arg;
	struct clv_slice s;
	size_t unbroken = 0;
	int error = 0;

	out_take_place(o);
	unsigned lane = out_next(o, o->lanes - 1, &s);
	while (!error && lane < o->lanes) {
		unbroken += s.len;
		error = out_write_turn(o, lane, s);
		if (o->shares)
			unbroken = out_let_others(o, unbroken);
		lane = error ? lane : out_next(o, lane, &s);
	}
	clv_hurry_leave(CLV_HURRY_OUTPUT);
	for (unsigned i = 0; i < o->lanes; i++)
		clv_queue_end(o->lane[i].queue, error);
	if (atomic_exchange(&o->parted, true))
		out_free(o);
	return NULL;
}

/* ---- the lanes' -------------------------------------------------------------------------------------------------- */

/* Another lane writes for a tenth of a millisecond, a disk that stands still for longer. */
static bool out_wait_turn(struct clv_out *o)
{
	struct timespec until;

	for (int i = 0; i < SPINS; i++)
		if (!pthread_mutex_trylock(&o->writing))
			return true;
	clock_gettime(CLOCK_REALTIME, &until); /* the only one that such a lock can go by everywhere */
	until.tv_nsec += TURN_MS * 1000000l;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return !pthread_mutex_timedlock(&o->writing, &until);
}

/* Past the I/O thread. What fails here fails there again, and is told then. */
static size_t out_write_here(void *ctx, struct clv_slice s, bool later)
{
	const struct out_lane *l = ctx;
	struct clv_out *o = l->out;
	bool many = atomic_load_explicit(&o->ahead, memory_order_relaxed) && s.len >= CLV_QUEUE_HERE_BYTES &&
		    !clv_hurry_rests(CLV_HURRY_LANE);
	ssize_t n = 0;

	/* Whoever comes first has the I/O thread write what comes before. */
	if (many || atomic_load_explicit(&o->head_waits, memory_order_relaxed) ||
	    clv_clock_ns() < atomic_load_explicit(&o->slow_until_ns, memory_order_relaxed) ||
	    atomic_load_explicit(&o->behind, memory_order_relaxed))
		return 0;
	if (pthread_mutex_trylock(&o->writing)) {
		if (later)
			return CLV_QUEUE_LATER;
		if (!out_wait_turn(o))
			return 0;
	}
	if (o->torn == WHOLE)
		n = out_write_timed(o, s);
	if (n > 0 && (size_t)n < s.len)
		o->torn = l->number;
	pthread_mutex_unlock(&o->writing);
	return n > 0 ? (size_t)n : 0;
}

char *clv_out_room(struct clv_out *o, unsigned lane, size_t bytes)
{
	char *room = clv_queue_room(o->lane[lane].queue, bytes);

	o->lane[lane].dropped += !room;
	return room;
}

void clv_out_commit(struct clv_out *o, unsigned lane, size_t bytes)
{
	clv_queue_commit(o->lane[lane].queue, bytes);
}

void clv_out_tick(struct clv_out *o, unsigned lane)
{
	clv_queue_tick(o->lane[lane].queue);
}

bool clv_out_pressed(struct clv_out *o, unsigned lane)
{
	return clv_queue_pressed(o->lane[lane].queue);
}

void clv_out_head(struct clv_out *o, struct clv_slice s)
{
	pthread_mutex_lock(&o->lock);
	if (!o->head && (o->head = malloc(s.len + 1))) {
		memcpy(o->head, s.data, s.len);
		o->head_len = s.len;
		atomic_store_explicit(&o->head_waits, true, memory_order_relaxed);
	}
	pthread_mutex_unlock(&o->lock);
}

/* ---- all others -------------------------------------------------------------------------------------------------- */

int clv_out_error(struct clv_out *o)
{
	return clv_queue_error(o->lane[0].queue);
}

uint64_t clv_out_dropped(const struct clv_out *o)
{
	uint64_t dropped = 0;

	for (unsigned i = 0; i < o->lanes; i++)
		dropped += o->lane[i].dropped;
	return dropped;
}

/* Each lane's share; live, the longest line must find room. */
static size_t out_bytes(unsigned lanes, bool wait)
{
	size_t live = CLV_OUT_LIVE_BYTES / lanes & ~(size_t)0xffff;

	if (wait)
		return lanes > 1 ? CLV_OUT_WAIT_BYTES / 2 : CLV_OUT_WAIT_BYTES;
	return live > CLV_OUT_BYTES ? live : CLV_OUT_BYTES;
}

/* A file of a system that nobody else can bring to a stand: a server that is gone would hold up the engine. */
static bool is_local_file(int fd)
{
	static const unsigned long local[] = {TMPFS_MAGIC, EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					      OVERLAYFS_SUPER_MAGIC};
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if ((unsigned long)fs.f_type == local[i])
			return true;
	return false;
}

static struct clv_out *out_new(int fd, bool live)
{
	struct clv_out *o = aligned_alloc(alignof(struct clv_out), sizeof(*o));

	if (!o)
		return NULL;
	*o = (struct clv_out){.fd = fd, .live = live, .torn = WHOLE};
	clv_queue_lock_init(&o->lock);
	clv_queue_lock_init(&o->writing);
	pthread_cond_init(&o->more, NULL);
	return o;
}

/* Is there a processor for the I/O thread while one makes lines? */
static bool can_share(unsigned lanes)
{
	cpu_set_t cpus;

	return lanes == 1 && !sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_COUNT(&cpus) > 1;
}

int clv_out_open(int fd, unsigned lanes, bool wait, const volatile sig_atomic_t *stop, struct clv_out **out)
{
	struct clv_out *o = out_new(fd, !wait);
	struct clv_queue_config config = {
		.bytes = out_bytes(lanes, wait),
		.most = CLV_OUT_BYTES,
		.wait = wait,
		.stop = stop,
		.wake = lanes > 1 ? out_wake : NULL,
		.take = !wait && is_local_file(fd) ? out_write_here : NULL,
	};
	int err = 0;

	if (!o)
		return -ENOMEM;
	for (; o->lanes < lanes && !err; o->lanes += !err) {
		struct out_lane *l = &o->lane[o->lanes];

		l->out = o;
		l->number = o->lanes;
		config.ctx = l;
		err = clv_queue_new(&config, &l->queue);
	}
	o->shares = config.take && can_share(lanes);
	if (!err)
		err = clv_thread_start(&o->thread, "output", out_run, o);
	if (err) {
		out_free(o);
		return err;
	}
	*out = o;
	return 0;
}

static bool out_join(struct clv_out *o)
{
	for (unsigned i = 0; i < o->lanes; i++)
		clv_queue_close(o->lane[i].queue);
	for (unsigned i = 0; i < o->lanes; i++)
		if (!clv_queue_join(o->lane[i].queue))
			return false;
	return true;
}

int clv_out_close(struct clv_out *o)
{
	if (!o)
		return 0;
	if (!out_join(o)) {
		pthread_detach(o->thread);
		if (atomic_exchange(&o->parted, true))
			out_free(o);
		return -ETIMEDOUT;
	}
	pthread_join(o->thread, NULL);
	int err = clv_out_error(o);
	out_free(o);
	return err;
}
