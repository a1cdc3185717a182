/* SPDX-License-Identifier: Apache-2.0 */
/* Whose place of capture a number is, and so on which side of it a packet was seen. Any thread may read and write. */
#ifndef CLV_SOURCE_SIDES_H
#define CLV_SOURCE_SIDES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "model/packet.h"
#include "source/ring.h"

#define CLV_SIDES_SLOTS (2 * CLV_RING_LINKS)

/* Slots are one word each, so that readers need no lock: the place's number in the upper half, below what is known. */
struct clv_sides {
	pthread_mutex_t lock; /* writers only */
	uint32_t count;
	_Atomic uint64_t slot[CLV_SIDES_SLOTS];
};

void clv_sides_init(struct clv_sides *s);
void clv_sides_fini(struct clv_sides *s);

/* As clv_ring_set_link() and clv_ring_forget_link(). */
int clv_sides_set(struct clv_sides *s, uint32_t net, enum clv_viewpoint view);
void clv_sides_forget(struct clv_sides *s, uint32_t net);

enum clv_side clv_sides_get(const struct clv_sides *s, uint32_t net, enum clv_hook hook);

#endif
