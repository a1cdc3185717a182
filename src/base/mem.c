/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power-of-two blocks on free lists. Small classes are cut from 64 KiB arenas that stay until fini; large blocks
 * come one by one and go back to the system once a few lie idle, so that one burst of long heads does not hold
 * memory for good. Not thread-safe: one owner, one thread.
 */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define ARENA_BYTES ((size_t)64 * 1024)
/* Blocks from this size on are the system's own; so much of them may lie idle. */
#define LARGE_BYTES      ((size_t)16 * 1024)
#define LARGE_IDLE_BYTES ((size_t)2 * 1024 * 1024)

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
	for (struct arena *a = m->arenas, *next; a; a = next) {
		next = a->next;
		free(a);
	}
	for (unsigned class = class_of(LARGE_BYTES); class < CLV_MEM_CLASSES; class ++)
		for (struct block *b = m->free[class], *next; b; b = next) {
			next = b->next;
			free(b);
		}
	clv_mem_init(m, 0);
}

/* Fills a small class's free list from a new arena. Returns false when the system has no memory. */
static bool refill(struct clv_mem *m, unsigned class)
{
	size_t size = (size_t)1 << (class + CLV_MEM_MIN_SHIFT), count = ARENA_BYTES / size;
	struct arena *a = malloc(sizeof(*a) + ARENA_BYTES);

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

static void *take_large(struct clv_mem *m, unsigned class, size_t bytes)
{
	struct block *b = m->free[class];

	if (b) {
		m->free[class] = b->next;
		m->idle_bytes -= bytes;
		return b;
	}
	m->fresh++;
	return malloc(bytes);
}

static void put_large(struct clv_mem *m, unsigned class, size_t bytes, struct block *b)
{
	if (m->idle_bytes + bytes > LARGE_IDLE_BYTES) {
		free(b);
		return;
	}
	b->next = m->free[class];
	m->free[class] = b;
	m->idle_bytes += bytes;
}

static void *take_small(struct clv_mem *m, unsigned class)
{
	if (!m->free[class] && !refill(m, class))
		return NULL;
	struct block *b = m->free[class];
	m->free[class] = b->next;
	return b;
}

void *clv_mem_alloc(struct clv_mem *m, size_t size)
{
	if (size == 0 || size > CLV_MEM_MAX)
		return NULL;
	unsigned class = class_of(size);
	size_t bytes = (size_t)1 << (class + CLV_MEM_MIN_SHIFT);

	if (bytes > m->budget_bytes - m->used_bytes)
		return NULL;
	void *p = bytes >= LARGE_BYTES ? take_large(m, class, bytes) : take_small(m, class);
	if (!p)
		return NULL;
	m->used_bytes += bytes;
	if (m->used_bytes > m->peak_bytes)
		m->peak_bytes = m->used_bytes;
	return p;
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
	size_t bytes = (size_t)1 << (class + CLV_MEM_MIN_SHIFT);
	struct block *b = p;

	m->used_bytes -= bytes;
	if (bytes >= LARGE_BYTES) {
		put_large(m, class, bytes, b);
		return;
	}
	b->next = m->free[class];
	m->free[class] = b;
}
