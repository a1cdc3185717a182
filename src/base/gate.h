/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several threads work inside a gate, each on what is its own, and look at what they share; one other changes that
 * while all stand outside. So what is shared needs no locks, and its owners need not know of threads.
 *
 * Who works inside goes out before it waits for anything but room at an output, and gives way now and then; who is
 * let in next is the one who changes things. Not recursive. Needs pthreads.
 */
#ifndef CLV_BASE_GATE_H
#define CLV_BASE_GATE_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>

struct clv_gate {
	/* Somebody waits to change things. Looked at for each packet: not where each one who comes and goes writes. */
	alignas(64) atomic_bool wanted;
	alignas(64) pthread_rwlock_t lock;
};

static inline void clv_gate_init(struct clv_gate *g)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&g->lock, &attr);
	pthread_rwlockattr_destroy(&attr);
	atomic_init(&g->wanted, false);
}

static inline void clv_gate_fini(struct clv_gate *g)
{
	pthread_rwlock_destroy(&g->lock);
}

/* ---- who works ---- */

static inline void clv_gate_enter(struct clv_gate *g)
{
	pthread_rwlock_rdlock(&g->lock);
}

static inline void clv_gate_leave(struct clv_gate *g)
{
	pthread_rwlock_unlock(&g->lock);
}

/* Often, inside: lets the one in who waits. What was looked at before may have changed. */
static inline void clv_gate_give_way(struct clv_gate *g)
{
	if (!atomic_load_explicit(&g->wanted, memory_order_relaxed))
		return;
	clv_gate_leave(g);
	clv_gate_enter(g);
}

/* ---- who changes things: one thread ---- */

/* Returns when nobody is inside. */
static inline void clv_gate_close(struct clv_gate *g)
{
	atomic_store_explicit(&g->wanted, true, memory_order_relaxed);
	pthread_rwlock_wrlock(&g->lock);
	atomic_store_explicit(&g->wanted, false, memory_order_relaxed);
}

static inline void clv_gate_open(struct clv_gate *g)
{
	pthread_rwlock_unlock(&g->lock);
}

#endif
