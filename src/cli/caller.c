/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the thread that calls, and the epoll set of what it is called by. Never reads from what it watches. */
#include "cli/caller.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hurry.h"
#include "base/thread.h"

/* While that one rests it looks so often whether it is late. */
#define LOOK_MS 100

struct clv_caller {
	pthread_t thread;
	unsigned seat;         /* of who rests */
	int epoll_fd, news_fd; /* that one wants to rest, or it is to end */
	atomic_bool ending;
	atomic_bool able;              /* to call; else nobody rests */
	atomic_bool wants;             /* to rest */
	atomic_uint_fast64_t heard_ns; /* CLOCK_MONOTONIC */
	bool watched;                  /* the other thread's */
};

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/* Also for who rests. */
void clv_caller_wake(struct clv_caller *c)
{
	atomic_store(&c->wants, false);
	clv_hurry_call(c->seat);
}

static bool is_late(const struct clv_caller *c)
{
	return clv_hurry_rests(c->seat) && clv_clock_ns() > atomic_load(&c->heard_ns) + CLV_CALLER_LATE_MS * 1000000ull;
}

static void *caller_run(void *arg)
{
	struct clv_caller *c = arg;
	struct epoll_event events[2];
	uint64_t count;

	clv_hurry(CLV_HURRY_CALLER);
	atomic_store(&c->able, clv_hurry_can_rest());
	while (!atomic_load(&c->ending) && atomic_load(&c->able)) {
		int n = epoll_wait(c->epoll_fd, events, 2, clv_hurry_rests(c->seat) ? LOOK_MS : -1);

		if (clv_hurry_is_over(CLV_HURRY_CALLER))
			clv_hurry(CLV_HURRY_CALLER);
		for (int i = 0; i < n; i++)
			if (events[i].data.u32 != CLV_HURRY_CALLER)
				clv_caller_wake(c);
			else if (read(c->news_fd, &count, sizeof(count)) > 0 && atomic_exchange(&c->wants, false))
				clv_hurry_rest(c->seat);
		if (is_late(c))
			clv_hurry_call(c->seat);
	}
	clv_hurry_leave(CLV_HURRY_CALLER);
	return NULL;
}

/* ---- who rests --------------------------------------------------------------------------------------------------- */

static void caller_tell(struct clv_caller *c)
{
	static const uint64_t one = 1;

	if (write(c->news_fd, &one, sizeof(one)) < 0)
		return; /* it has been told often enough */
}

bool clv_caller_rest(struct clv_caller *c, int fd)
{
	/* Once, since whoever was called is watched anew when it rests again. */
	struct epoll_event e = {.events = EPOLLIN | EPOLLET | EPOLLONESHOT, .data.u32 = c->seat};

	if (!atomic_load(&c->able) || clv_hurry_is_over(c->seat))
		return false;
	atomic_store(&c->heard_ns, clv_clock_ns());
	/* Before it is watched: what becomes urgent from then on takes this back. */
	atomic_store(&c->wants, true);
	if (epoll_ctl(c->epoll_fd, c->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e)) {
		atomic_store(&c->wants, false);
		return false;
	}
	c->watched = true;
	caller_tell(c);
	return true;
}

bool clv_caller_hear(struct clv_caller *c, uint64_t now_ns)
{
	atomic_store_explicit(&c->heard_ns, now_ns, memory_order_relaxed);
	return atomic_load_explicit(&c->wants, memory_order_relaxed) || clv_hurry_rests(c->seat);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static int caller_start(struct clv_caller *c)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = CLV_HURRY_CALLER};

	c->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	c->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->epoll_fd < 0 || c->news_fd < 0 || epoll_ctl(c->epoll_fd, EPOLL_CTL_ADD, c->news_fd, &e))
		return -errno;
	return clv_thread_start(&c->thread, "caller", caller_run, c);
}

static void caller_close(struct clv_caller *c)
{
	if (c->epoll_fd >= 0)
		close(c->epoll_fd);
	if (c->news_fd >= 0)
		close(c->news_fd);
	free(c);
}

int clv_caller_new(unsigned seat, struct clv_caller **out)
{
	struct clv_caller *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->seat = seat;
	c->epoll_fd = c->news_fd = -1;
	int err = caller_start(c);
	if (err) {
		caller_close(c);
		return err;
	}
	*out = c;
	return 0;
}

void clv_caller_free(struct clv_caller *c)
{
	if (!c)
		return;
	atomic_store(&c->ending, true);
	caller_tell(c);
	pthread_join(c->thread, NULL);
	caller_close(c);
}
