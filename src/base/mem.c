/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power-of-two blocks on free lists. Small classes are cut from 64 KiB arenas, large ones come one by one;
 * either way the system is asked only when a free list is empty. Not thread-safe: one owner, one thread.
 */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)64 * 1024)

struct arena {
	struct arena *next;
	size_t pad; /* keeps blocks 16-byte aligned */
};

struct block {
	struct block *next;
};

static unsigned class_of(size_t size)
{
	unsigned shift = CLV_MEM_MIN_SHIFT;

	if (size > (size_t)1 << CLV_MEM_MIN_SHIFT)
		shift = 64 - (unsigned)__builtin_clzll(size - 1);
	return shift - CLV_MEM_MIN_SHIFT;
}

size_t clv_mem_class_size(size_t size)
{
	return (size_t)1 << (class_of(size) + CLV_MEM_MIN_SHIFT);
}

void clv_mem_init(struct clv_mem *m, size_t budget_bytes)
{
	*m = (struct clv_mem){.budget_bytes = budget_bytes};
}

void clv_mem_fini(struct clv_mem *m)
{
	struct arena *a = m->arenas;

	while (a) {
		struct arena *next = a->next;

		free(a);
		a = next;
	}
	clv_mem_init(m, 0);
}

/* Fills a class's free list from the system. Returns false when the system has no memory. */
static bool refill(struct clv_mem *m, unsigned class)
{
	size_t size = (size_t)1 << (class + CLV_MEM_MIN_SHIFT);
	size_t count = size < ARENA_BYTES / 4 ? ARENA_BYTES / size : 1;
	struct arena *a = malloc(sizeof(*a) + size * count);

	if (!a)
		return false;
	a->next = m->arenas;
	m->arenas = a;
	m->fresh++;
	uint8_t *p = (uint8_t *)(a + 1);
	for (size_t i = 0; i < count; i++, p += size) {
		struct block *b = (struct block *)(void *)p;

		b->next = m->free[class];
		m->free[class] = b;
	}
	return true;
}

void *clv_mem_alloc(struct clv_mem *m, size_t size)
{
	if (size == 0 || size > CLV_MEM_MAX)
		return NULL;
	unsigned class = class_of(size);
	size_t bytes = (size_t)1 << (class + CLV_MEM_MIN_SHIFT);

	if (bytes > m->budget_bytes - m->used_bytes)
		return NULL;
	if (!m->free[class] && !refill(m, class))
		return NULL;
	struct block *b = m->free[class];
	m->free[class] = b->next;
	m->used_bytes += bytes;
	if (m->used_bytes > m->peak_bytes)
		m->peak_bytes = m->used_bytes;
	return b;
}

void *clv_mem_zalloc(struct clv_mem *m, size_t size)
{
	void *p = clv_mem_alloc(m, size);

	if (p)
		memset(p, 0, size);
	return p;
}

void clv_mem_free(struct clv_mem *m, void *p, size_t size)
{
	if (!p)
		return;
	unsigned class = class_of(size);
	struct block *b = p;

	b->next = m->free[class];
	m->free[class] = b;
	m->used_bytes -= (size_t)1 << (class + CLV_MEM_MIN_SHIFT);
}
