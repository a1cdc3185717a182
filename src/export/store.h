/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where chunks of spans wait for the collector: in memory, or in a spool with memory to fall back on. The oldest go
 * when there are too many, and their spans are counted.
 *
 * One thread at a time.
 */
#ifndef CLV_EXPORT_STORE_H
#define CLV_EXPORT_STORE_H

#include "export/spool.h"

/* How long a spool that could not be written to is left alone. */
#define CLV_STORE_RETRY_NS 1000000000ull

struct clv_store;

struct clv_store_config {
	const char *spool_dir; /* NULL: memory only */
	uint64_t spool_bytes;
	uint64_t memory_bytes;
	uint64_t max_spans; /* in memory; 0: no bound but that in bytes */
};

/* A chunk that was taken; from memory when the segment is NULL. */
struct clv_store_ref {
	struct clv_spool_ref spool;
	uint32_t spans;
};

struct clv_store_figures {
	uint64_t waiting_spans, waiting_bytes; /* both places */
	uint64_t evicted_spans, damaged_spans, damaged_places;
	uint64_t found_spans;   /* left in the spool by earlier runs */
	uint64_t spooled_spans; /* written to the spool by this one */
	uint64_t memory_bytes;
};

/* Returns 0 or -errno; -EBUSY: another process uses the spool. */
int clv_store_open(const struct clv_store_config *config, struct clv_store **out);
void clv_store_close(struct clv_store *s);

/* Whether there is room without removing others. */
bool clv_store_fits(const struct clv_store *s, size_t bytes, uint32_t spans);
/* Copies it. Whatever happens to its spans is counted. */
void clv_store_put(struct clv_store *s, struct clv_slice chunk, uint32_t spans, uint64_t now_ns);
/* The next chunk, borrowed until the next call. False: none. */
bool clv_store_peek(struct clv_store *s, struct clv_slice *chunk, uint32_t *spans);
/* Takes what clv_store_peek() showed; its bytes are no longer valid. */
void clv_store_take(struct clv_store *s, struct clv_store_ref *ref);
/* It needs never be sent again. */
void clv_store_ack(struct clv_store *s, struct clv_store_ref ref);
/* It was not sent, and will not be in this run. True: the next run will. */
bool clv_store_keep(struct clv_store *s, struct clv_store_ref ref);
/* What waits in memory is given up: returns how many spans. What is in the spool stays. */
uint64_t clv_store_abandon(struct clv_store *s);

const struct clv_store_figures *clv_store_figures(struct clv_store *s);

#endif
