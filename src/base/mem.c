/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks in classes. Small ones are cut from arenas of 64 KiB, each of one size, large ones come one by one; both
 * go back to the system once a few lie idle. So neither a burst of long heads nor of short ones holds memory for
 * good. Not thread-safe: one owner, one thread.
 */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Arenas stand at multiples of this: a block's address tells its arena. */
#define ARENA_BYTES ((size_t)64 * 1024)
/*
 * The rest is left to malloc() for its own. Without that each arena would reach beyond the next multiple, and as much
 * as another one's place, with a page of it in use, would lie between each two of them.
 */
#define ARENA_ROOM  (ARENA_BYTES - 2 * sizeof(size_t))
#define LARGE_BYTES ((size_t)1 << CLV_MEM_LARGE_SHIFT)
/*
 * Of much memory each new page is a miss in the processor's tables too, and in a virtual machine a dear one: from here
 * on arenas are cut from pieces as large as a huge page, which the system is asked for.
 */
#define PIECE_BYTES ((size_t)2 * 1024 * 1024)
#define PIECE_FROM  ((size_t)8 * 1024 * 1024)
#define PIECE_ALL   UINT32_MAX
/* So much may lie idle. */
#define IDLE_BYTES ((size_t)4 * 1024 * 1024)

struct block {
	struct block *next;
};

struct arena {
	struct clv_node all;     /* in clv_mem.arenas */
	struct clv_node partial; /* in clv_mem.partial, while there is a free block */
	struct piece *piece;     /* that it was cut from; NULL: it is one of its own */
	struct block *free;
	uint32_t uncut; /* from this offset on it is not cut into blocks yet, so its pages are not touched */
	uint32_t used;  /* blocks */
};

struct piece {
	struct clv_node node; /* in clv_mem.pieces, or in .full_pieces while no arena is free */
	uint8_t *base;
	uint32_t free; /* one bit an arena */
};

_Static_assert(PIECE_BYTES / ARENA_BYTES == 32, "struct piece: one bit an arena");

/*
 * An arena begins with what is no block, and the blocks with a line of the cache. What stands at the same place of each
 * arena has the same few places in the cache: so it stands elsewhere in each, within the first ARENA_COLORS lines.
 */
#define ARENA_HEAD   64
#define ARENA_COLORS 16
_Static_assert(sizeof(struct arena) <= ARENA_HEAD, "struct arena outgrew its place");

static void *arena_base(void *p)
{
	return (uint8_t *)p - ((uintptr_t)p & (ARENA_BYTES - 1));
}

static struct arena *arena_at(void *base)
{
	return (struct arena *)(void *)((uint8_t *)base + (uintptr_t)base / ARENA_BYTES % ARENA_COLORS * ARENA_HEAD);
}

/* What a block's size decides. */
struct block_class {
	unsigned index;
	size_t bytes; /* the largest size of the same class */
};

/*
 * Up to 64 B one class each 16 B, from there four to each power of two: which power of two is at or below the last
 * byte, and the two bits behind it.
 */
static inline struct block_class class_of(size_t size)
{
	size_t last = size - 1;
	unsigned shift = 63 - (unsigned)__builtin_clzll(last | CLV_MEM_EVEN);
	unsigned step = shift - CLV_MEM_STEP_SHIFT;
	size_t steps = last >> step;

	return (struct block_class){
		.index = ((shift - CLV_MEM_EVEN_SHIFT) << CLV_MEM_STEP_SHIFT) + (unsigned)steps,
		.bytes = (steps + 1) << step,
	};
}

size_t clv_mem_class_size(size_t size)
{
	return class_of(size).bytes;
}

void clv_mem_init(struct clv_mem *m, size_t budget_bytes)
{
	*m = (struct clv_mem){.budget_bytes = budget_bytes};
	clv_list_init(&m->arenas);
	clv_list_init(&m->pieces);
	clv_list_init(&m->full_pieces);
	for (unsigned class = 0; class < CLV_MEM_SMALL; class ++)
		clv_list_init(&m->partial[class]);
}

static void piece_free(struct piece *piece)
{
	clv_list_remove(&piece->node);
	munmap(piece->base, PIECE_BYTES);
	free(piece);
}

static void pieces_fini(struct clv_node *list)
{
	for (struct clv_node *n = list->next, *next; n != list; n = next) {
		struct piece *piece = clv_list_entry(n, struct piece, node);

		next = n->next;
		munmap(piece->base, PIECE_BYTES);
		free(piece);
	}
}

void clv_mem_fini(struct clv_mem *m)
{
	for (struct clv_node *n = m->arenas.next, *next; n != &m->arenas; n = next) {
		struct arena *a = clv_list_entry(n, struct arena, all);

		next = n->next;
		if (!a->piece)
			free(arena_base(a));
	}
	pieces_fini(&m->pieces);
	pieces_fini(&m->full_pieces);
	for (unsigned i = 0; i < CLV_MEM_CLASSES - CLV_MEM_SMALL; i++)
		for (struct block *b = m->large[i], *next; b; b = next) {
			next = b->next;
			free(b);
		}
	clv_mem_init(m, 0);
}

static void *system_take(struct clv_mem *m, void *p, size_t bytes)
{
	if (!p)
		return NULL;
	m->fresh++;
	m->held_bytes += bytes;
	return p;
}

static void system_give(struct clv_mem *m, void *p, size_t bytes)
{
	m->held_bytes -= bytes;
	free(p);
}

/* Something of `bytes` bytes is no longer in use: may it stay? */
static bool may_idle(struct clv_mem *m, size_t bytes)
{
	if (m->idle_bytes + bytes > IDLE_BYTES)
		return false;
	m->idle_bytes += bytes;
	return true;
}

static __attribute__((noinline)) void *take_large(struct clv_mem *m, unsigned class, size_t bytes)
{
	void **list = &m->large[class - CLV_MEM_SMALL];
	struct block *b = *list;

	if (!b)
		return system_take(m, malloc(bytes), bytes);
	*list = b->next;
	m->idle_bytes -= bytes;
	return b;
}

static __attribute__((noinline)) void put_large(struct clv_mem *m, unsigned class, size_t bytes, struct block *b)
{
	void **list = &m->large[class - CLV_MEM_SMALL];

	if (!may_idle(m, bytes)) {
		system_give(m, b, bytes);
		return;
	}
	b->next = *list;
	*list = b;
}

/* ---- arenas ------------------------------------------------------------------------------------------------------ */

/* Address space that begins at a multiple of PIECE_BYTES, or NULL. */
static uint8_t *piece_map(void)
{
	uint8_t *p = mmap(NULL, 2 * PIECE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	size_t before = -(uintptr_t)p & (PIECE_BYTES - 1);

	if (before)
		munmap(p, before);
	munmap(p + before + PIECE_BYTES, PIECE_BYTES - before);
	madvise(p + before, PIECE_BYTES, MADV_HUGEPAGE); /* if not, then not */
	return p + before;
}

static struct piece *piece_new(struct clv_mem *m)
{
	struct piece *piece = malloc(sizeof(*piece));
	uint8_t *base = piece ? piece_map() : NULL;

	if (!base) {
		free(piece);
		return NULL;
	}
	*piece = (struct piece){.base = base, .free = PIECE_ALL};
	clv_list_append(&m->pieces, &piece->node);
	return piece;
}

static void *piece_take(struct clv_mem *m, struct piece *piece)
{
	unsigned i = (unsigned)__builtin_ctz(piece->free);

	piece->free &= ~(1u << i);
	if (!piece->free)
		clv_list_touch(&m->full_pieces, &piece->node);
	return piece->base + i * ARENA_BYTES;
}

static void piece_give(struct clv_mem *m, struct piece *piece, void *arena)
{
	if (!piece->free)
		clv_list_touch(&m->pieces, &piece->node);
	piece->free |= 1u << ((size_t)((uint8_t *)arena - piece->base) / ARENA_BYTES);
	if (piece->free == PIECE_ALL)
		piece_free(piece);
	else
		madvise(arena, ARENA_BYTES, MADV_DONTNEED);
}

/* Room for an arena, of a piece if there is so much memory in use. NULL when the system has none. */
static void *arena_take(struct clv_mem *m, struct piece **piece)
{
	void *p;

	*piece = clv_list_first(&m->pieces, struct piece, node);
	if (!*piece && m->held_bytes >= PIECE_FROM)
		*piece = piece_new(m);
	if (*piece)
		return piece_take(m, *piece);
	return posix_memalign(&p, ARENA_BYTES, ARENA_ROOM) ? NULL : p;
}

static void arena_give(struct clv_mem *m, struct arena *a)
{
	m->held_bytes -= ARENA_BYTES;
	if (a->piece)
		piece_give(m, a->piece, arena_base(a));
	else
		free(arena_base(a));
}

/* An arena for blocks of a class. NULL when the system has no memory. */
static __attribute__((noinline)) struct arena *arena_new(struct clv_mem *m, unsigned class)
{
	struct piece *piece;
	void *base = system_take(m, arena_take(m, &piece), ARENA_BYTES);

	if (!base)
		return NULL;
	struct arena *a = arena_at(base);
	a->piece = piece;
	a->free = NULL;
	a->uncut = (uint32_t)((uint8_t *)a - (uint8_t *)base) + ARENA_HEAD;
	a->used = 0;
	m->idle_bytes += ARENA_BYTES;
	clv_list_append(&m->arenas, &a->all);
	clv_list_append(&m->partial[class], &a->partial);
	return a;
}

static bool arena_is_full(const struct arena *a, size_t bytes)
{
	return !a->free && a->uncut + bytes > ARENA_ROOM;
}

static struct block *arena_block(struct arena *a, size_t bytes)
{
	struct block *b = a->free;

	if (b) {
		a->free = b->next;
		__builtin_prefetch(a->free, 1); /* it has been free for long: the next one to ask would wait for it */
		return b;
	}
	b = (struct block *)(void *)((uint8_t *)arena_base(a) + a->uncut);
	a->uncut += (uint32_t)bytes;
	return b;
}

static void *take_small(struct clv_mem *m, unsigned class, size_t bytes)
{
	struct arena *a = clv_list_first(&m->partial[class], struct arena, partial);

	if (!a && !(a = arena_new(m, class)))
		return NULL;
	if (a->used++ == 0)
		m->idle_bytes -= ARENA_BYTES;
	struct block *b = arena_block(a, bytes);
	if (arena_is_full(a, bytes))
		clv_list_remove(&a->partial);
	return b;
}

/* Nothing of it is in use: it stays, or goes back to the system. */
static __attribute__((noinline)) void arena_unused(struct clv_mem *m, struct arena *a)
{
	if (may_idle(m, ARENA_BYTES))
		return;
	clv_list_remove(&a->partial);
	clv_list_remove(&a->all);
	arena_give(m, a);
}

static void put_small(struct clv_mem *m, unsigned class, size_t bytes, struct block *b)
{
	struct arena *a = arena_at(arena_base(b));

	if (arena_is_full(a, bytes))
		clv_list_append(&m->partial[class], &a->partial);
	b->next = a->free;
	a->free = b;
	if (!--a->used)
		arena_unused(m, a);
}

/* ---- what was in use a moment ago -------------------------------------------------------------------------------- */

/*
 * It is in the processor's cache, and so is not the head of its arena, once there are many: so the next one to ask gets
 * it, and the arena hears nothing of it. What is kept so keeps an arena each, which must not be much beside what is in
 * use.
 */
static inline bool may_keep_warm(const struct clv_mem *m)
{
	return m->held_bytes <= 2 * m->used_bytes + IDLE_BYTES / 2;
}

/* The first `count` blocks of a class, which were freed before the others, go back to their arenas. */
static __attribute__((noinline)) void warm_give(struct clv_mem *m, unsigned class, size_t bytes, uint64_t count)
{
	struct clv_mem_warm *w = &m->warm[class];

	for (uint64_t i = 0; i < count; i++)
		put_small(m, class, bytes, w->block[i]);
	w->count -= count;
	memmove(w->block, w->block + count, w->count * sizeof(w->block[0]));
}

static __attribute__((noinline)) void warm_give_all(struct clv_mem *m)
{
	for (size_t bytes = CLV_MEM_MIN; bytes < LARGE_BYTES; bytes = class_of(bytes + 1).bytes) {
		unsigned class = class_of(bytes).index;

		warm_give(m, class, bytes, m->warm[class].count);
	}
	m->any_warm = false;
}

static inline void *warm_take(struct clv_mem *m, unsigned class)
{
	struct clv_mem_warm *w = &m->warm[class];

	return w->count ? w->block[--w->count] : NULL;
}

static inline bool warm_put(struct clv_mem *m, unsigned class, void *p)
{
	struct clv_mem_warm *w = &m->warm[class];

	if (w->count == CLV_MEM_WARM)
		return false;
	w->block[w->count++] = p;
	m->any_warm = true;
	return true;
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static inline void *take(struct clv_mem *m, struct block_class class)
{
	if (class.bytes >= LARGE_BYTES)
		return take_large(m, class.index, class.bytes);
	void *p = warm_take(m, class.index);
	return p ? p : take_small(m, class.index, class.bytes);
}

void *clv_mem_alloc(struct clv_mem *m, size_t size)
{
	if (size - 1 >= CLV_MEM_MAX)
		return NULL;
	struct block_class class = class_of(size);

	if (class.bytes > m->budget_bytes - m->used_bytes)
		return NULL;
	void *p = take(m, class);
	if (!p)
		return NULL;
	m->used_bytes += class.bytes;
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

/* A block for which there is no place where it is quickly found again. */
static __attribute__((noinline)) void put(struct clv_mem *m, struct block_class class, void *p)
{
	if (m->any_warm && !may_keep_warm(m))
		warm_give_all(m);
	if (class.bytes >= LARGE_BYTES) {
		put_large(m, class.index, class.bytes, p);
	} else if (may_keep_warm(m)) {
		warm_give(m, class.index, class.bytes, m->warm[class.index].count / 2);
		warm_put(m, class.index, p);
	} else {
		put_small(m, class.index, class.bytes, p);
	}
}

void clv_mem_free(struct clv_mem *m, void *p, size_t size)
{
	if (!p)
		return;
	struct block_class class = class_of(size);

	m->used_bytes -= class.bytes;
	if (class.bytes >= LARGE_BYTES || !may_keep_warm(m) || !warm_put(m, class.index, p))
		put(m, class, p);
}
