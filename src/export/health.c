/* SPDX-License-Identifier: Apache-2.0 */
/* Owns what was said last about life and readiness. Decides nothing but when a silence is too long. Any thread. */
#include "export/health.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"

struct clv_health {
	_Atomic uint64_t alive_ns;
	pthread_mutex_t lock;
	char why[CLV_HEALTH_CAUSES][CLV_HEALTH_WHY]; /* empty: not waited for */
};

int clv_health_new(struct clv_health **out)
{
	struct clv_health *h = calloc(1, sizeof(*h));
	pthread_mutexattr_t inherit;

	if (!h)
		return -ENOMEM;
	h->alive_ns = clv_clock_ns();
	/* The engine's thread may run ahead of all others; one that it waits for must then run as well. */
	pthread_mutexattr_init(&inherit);
	pthread_mutexattr_setprotocol(&inherit, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(&h->lock, &inherit);
	pthread_mutexattr_destroy(&inherit);
	clv_health_wait(h, CLV_HEALTH_CAPTURE, "starting");
	*out = h;
	return 0;
}

void clv_health_free(struct clv_health *h)
{
	if (!h)
		return;
	pthread_mutex_destroy(&h->lock);
	free(h);
}

void clv_health_alive(struct clv_health *h, uint64_t now_ns)
{
	if (h)
		atomic_store_explicit(&h->alive_ns, now_ns, memory_order_relaxed);
}

void clv_health_wait(struct clv_health *h, enum clv_health_cause cause, const char *why)
{
	if (!h)
		return;
	pthread_mutex_lock(&h->lock);
	snprintf(h->why[cause], CLV_HEALTH_WHY, "%s", why ? why : "");
	pthread_mutex_unlock(&h->lock);
}

/* Its silence in seconds, or 0 when that is not too long. */
static uint64_t health_silence_s(struct clv_health *h, uint64_t now_ns)
{
	uint64_t alive_ns = atomic_load_explicit(&h->alive_ns, memory_order_relaxed);

	/* It may have spoken after the clock was looked at. */
	if (now_ns <= alive_ns || now_ns - alive_ns < CLV_HEALTH_SILENCE_NS)
		return 0;
	return (now_ns - alive_ns) / 1000000000;
}

static void health_silence(struct clv_buf *b, uint64_t silent_s)
{
	if (silent_s)
		clv_buf_printf(b, "the engine has given no sign of life for %llu s\n", (unsigned long long)silent_s);
}

/* What stands in `b`, or "ok". True: the latter. */
static bool health_end(struct clv_buf *b)
{
	bool ok = b->len == 0;

	if (ok)
		clv_buf_lit(b, "ok\n");
	b->data[b->len] = '\0';
	return ok;
}

bool clv_health_is_alive(struct clv_health *h, uint64_t now_ns, char text[CLV_HEALTH_TEXT])
{
	struct clv_buf b = clv_buf(text, CLV_HEALTH_TEXT - 1);

	health_silence(&b, health_silence_s(h, now_ns));
	return health_end(&b);
}

bool clv_health_is_ready(struct clv_health *h, uint64_t now_ns, char text[CLV_HEALTH_TEXT])
{
	struct clv_buf b = clv_buf(text, CLV_HEALTH_TEXT - 1);

	health_silence(&b, health_silence_s(h, now_ns));
	pthread_mutex_lock(&h->lock);
	for (int i = 0; i < CLV_HEALTH_CAUSES; i++)
		if (*h->why[i])
			clv_buf_printf(&b, "%s\n", h->why[i]);
	pthread_mutex_unlock(&h->lock);
	return health_end(&b);
}
