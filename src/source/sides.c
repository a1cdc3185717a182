/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the table of places of capture: a word each, found by the place's number, with open addressing. */
#include "source/sides.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>

#define LIVE 1ull
#define POD  2ull

void clv_sides_init(struct clv_sides *s)
{
	pthread_mutex_init(&s->lock, NULL);
}

void clv_sides_fini(struct clv_sides *s)
{
	pthread_mutex_destroy(&s->lock);
}

static _Atomic uint64_t *slot_of(struct clv_sides *s, uint32_t net)
{
	_Atomic uint64_t *free = NULL;

	for (uint32_t i = 0; i < CLV_SIDES_SLOTS; i++) {
		_Atomic uint64_t *slot = &s->slot[(net + i) % CLV_SIDES_SLOTS];
		uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);

		if (word >> 32 == net)
			return slot;
		if (!free && !(word & LIVE))
			free = slot;
		if (!word)
			break;
	}
	return free;
}

int clv_sides_set(struct clv_sides *s, uint32_t net, enum clv_viewpoint view)
{
	int err = -ENOSPC;

	if (!net || net & CLV_NET_FREE)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	_Atomic uint64_t *slot = slot_of(s, net);
	bool live = slot && *slot >> 32 == net && *slot & LIVE;

	if (slot && (live || s->count < CLV_RING_LINKS)) {
		s->count += !live;
		*slot = (uint64_t)net << 32 | LIVE | (view == CLV_VIEW_POD ? POD : 0);
		err = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* What is known stays until the slot is needed: records may still be on their way. */
void clv_sides_forget(struct clv_sides *s, uint32_t net)
{
	pthread_mutex_lock(&s->lock);
	_Atomic uint64_t *slot = slot_of(s, net);

	if (slot && *slot >> 32 == net && *slot & LIVE) {
		*slot &= ~LIVE;
		s->count--;
	}
	pthread_mutex_unlock(&s->lock);
}

enum clv_side clv_sides_get(const struct clv_sides *s, uint32_t net, enum clv_hook hook)
{
	for (uint32_t i = 0; i < CLV_SIDES_SLOTS; i++) {
		uint64_t word = atomic_load_explicit(&s->slot[(net + i) % CLV_SIDES_SLOTS], memory_order_relaxed);

		if (word >> 32 == net)
			return !(word & POD) == (hook == CLV_HOOK_INGRESS) ? CLV_SIDE_IN : CLV_SIDE_OUT;
		if (!word)
			break;
	}
	return CLV_SIDE_UNKNOWN;
}
