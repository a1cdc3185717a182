/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory under one byte budget: blocks from 16 B to 1 MiB in classes (16, 32, 48, 64, 80, 96, 112, 128, 160, 192...),
 * kept on free lists. After warm-up nothing allocates: `fresh` stands still.
 *
 * One clv_mem belongs to one thread. When the budget is used up, clv_mem_alloc() returns NULL and the caller
 * makes room (the engine evicts its least recently used flow) or goes on with less and counts it.
 */
#ifndef CLV_BASE_MEM_H
#define CLV_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define CLV_MEM_MIN ((size_t)16)
#define CLV_MEM_MAX ((size_t)1 << 20)

/* Classes: each CLV_MEM_MIN bytes up to CLV_MEM_EVEN, from there on four to each power of two. */
#define CLV_MEM_EVEN_SHIFT   6
#define CLV_MEM_EVEN         ((size_t)1 << CLV_MEM_EVEN_SHIFT)
#define CLV_MEM_STEP_SHIFT   2
#define CLV_MEM_UP_TO(shift) ((((shift)-CLV_MEM_EVEN_SHIFT) + 1) << CLV_MEM_STEP_SHIFT)
#define CLV_MEM_CLASSES      CLV_MEM_UP_TO(20)

/* From this size on blocks are the system's own; smaller ones are cut from arenas. */
#define CLV_MEM_LARGE_SHIFT 14
#define CLV_MEM_SMALL       (CLV_MEM_UP_TO(CLV_MEM_LARGE_SHIFT) - 1)

/* Small blocks of a class that were freed last: of it and its count are two lines of the cache. */
#define CLV_MEM_WARM 15

struct clv_mem_warm {
	uint64_t count;
	void *block[CLV_MEM_WARM];
};

struct clv_mem {
	size_t budget_bytes; /* what may be in use at once */
	size_t used_bytes;   /* in use now, by class size */
	size_t peak_bytes;
	size_t held_bytes; /* taken from the system now, and of that... */
	size_t idle_bytes; /* ...in large blocks and arenas of which nothing is in use */
	uint64_t fresh;    /* blocks and arenas taken from the system since init */
	struct clv_node arenas;
	struct clv_node pieces, full_pieces;    /* that arenas are cut from, once there are many */
	struct clv_node partial[CLV_MEM_SMALL]; /* by class: the arenas that have a free block */
	void *large[CLV_MEM_CLASSES - CLV_MEM_SMALL];
	struct clv_mem_warm warm[CLV_MEM_SMALL]; /* by class: to be given out next, while so little is no matter */
	bool any_warm;
};

void clv_mem_init(struct clv_mem *m, size_t budget_bytes);
/* Returns to the system all small blocks, which become invalid, and all large ones that were freed. */
void clv_mem_fini(struct clv_mem *m);

/* A block of at least `size` bytes (1..CLV_MEM_MAX), 16-byte aligned, contents undefined; NULL when the budget
 * or the system has no room, or when size is out of range. */
void *clv_mem_alloc(struct clv_mem *m, size_t size);
/* The same, zeroed. */
void *clv_mem_zalloc(struct clv_mem *m, size_t size);
/* `size` must be the size asked for, or any other of the same class. NULL is allowed. */
void clv_mem_free(struct clv_mem *m, void *p, size_t size);

/* The usable size of a block that was asked for with `size`. */
size_t clv_mem_class_size(size_t size);

#endif
