/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the readers of all sources of one worker, and which of their records come next. Never looks into a payload. */
#include "source/merge.h"

#include <errno.h>
#include <stdlib.h>

/* A record is copied in a few microseconds. */
#define BUSY_SPINS 2000

int clv_merge_open(struct clv_merge *m, struct clv_cpu_ring *rings, uint32_t cpus, size_t stride, uint32_t bytes)
{
	m->cpu = calloc(cpus + 1u, sizeof(*m->cpu));
	m->head = calloc(cpus + 1u, sizeof(*m->head));
	if (!m->cpu || !m->head)
		return -ENOMEM;
	m->cpus = cpus;
	for (uint32_t i = 0; i < cpus; i++)
		clv_cpuring_open(&m->cpu[i], (void *)((uint8_t *)rings + i * stride), bytes);
	return 0;
}

void clv_merge_close(struct clv_merge *m)
{
	clv_ringbuf_close(&m->ring);
	free(m->cpu);
	free(m->head);
	m->cpu = NULL;
	m->head = NULL;
	m->cpus = 0;
}

/* ---- the heads of all sources -------------------------------------------------------------------------------- */

/*
 * The ring buffer's next record. Behind one that is being written may be the cause of what the CPUs' rings have: if it
 * does not come in a moment, the round ends with what lies before it.
 */
static const void *ring_fetch(struct clv_merge *m, struct clv_merged *h)
{
	const void *rec = clv_ringbuf_peek(&m->ring, &h->bytes, &h->behind);

	for (int i = 0; !rec && m->ring.busy && i < BUSY_SPINS; i++)
		rec = clv_ringbuf_peek(&m->ring, &h->bytes, &h->behind);
	if (!rec && m->ring.busy && m->until_ns > m->ring_ns)
		m->until_ns = m->ring_ns;
	return rec;
}

/* The source's next record into *h; false when there is none that is due. */
static bool head_fetch(struct clv_merge *m, struct clv_merged *h)
{
	const void *rec =
		h->source ? clv_cpuring_peek(&m->cpu[h->source - 1], &h->bytes, &h->behind) : ring_fetch(m, h);

	if (!rec)
		return false;
	h->rec = rec;
	h->ts_ns = h->bytes < sizeof(*h->rec) ? 0 : h->rec->ts_ns;
	if (!h->source && h->ts_ns > m->ring_ns)
		m->ring_ns = h->ts_ns;
	return h->ts_ns <= m->until_ns;
}

/* `h` stands at `at`, or below, where it is younger than those there. */
static void heap_place(struct clv_merge *m, uint32_t at, struct clv_merged h)
{
	for (uint32_t below; (below = 2 * at + 1) < m->heads; at = below) {
		below += below + 1 < m->heads && m->head[below + 1].ts_ns < m->head[below].ts_ns;
		if (m->head[below].ts_ns >= h.ts_ns)
			break;
		m->head[at] = m->head[below];
	}
	m->head[at] = h;
}

void clv_merge_begin(struct clv_merge *m, uint64_t until_ns)
{
	m->until_ns = until_ns;
	m->first = m->count = m->heads = 0;
	clv_ringbuf_look(&m->ring);
	for (uint32_t i = 0; i < m->cpus; i++)
		clv_cpuring_look(&m->cpu[i]);
	for (uint32_t i = 0; i <= m->cpus; i++) {
		struct clv_merged *h = &m->head[m->heads];

		h->source = i;
		m->heads += head_fetch(m, h);
	}
	for (uint32_t i = m->heads / 2; i-- > 0;)
		heap_place(m, i, m->head[i]);
}

/* The oldest head goes into the line, and the next record of its source takes its place. */
static bool line_add(struct clv_merge *m)
{
	if (!m->heads || m->head[0].ts_ns > m->until_ns)
		return false;
	struct clv_merged h = m->head[0];

	m->line[(m->first + m->count++) % CLV_MERGE_LINE] = h;
	if (!head_fetch(m, &h))
		h = m->head[--m->heads];
	if (m->heads)
		heap_place(m, 0, h);
	return true;
}

/* ---- the line ------------------------------------------------------------------------------------------------ */

const struct clv_merged *clv_merge_at(struct clv_merge *m, uint32_t i)
{
	while (m->count <= i)
		if (!line_add(m))
			return NULL;
	return &m->line[(m->first + i) % CLV_MERGE_LINE];
}

void clv_merge_pass(struct clv_merge *m)
{
	const struct clv_merged *h = &m->line[m->first];

	if (h->source)
		clv_cpuring_pass(&m->cpu[h->source - 1], h->behind);
	else
		clv_ringbuf_pass(&m->ring, h->behind);
	m->first = (m->first + 1) % CLV_MERGE_LINE;
	m->count--;
}

void clv_merge_end(struct clv_merge *m)
{
	clv_ringbuf_done(&m->ring);
	for (uint32_t i = 0; i < m->cpus; i++)
		clv_cpuring_done(&m->cpu[i]);
}

uint64_t clv_merge_unread(const struct clv_merge *m)
{
	uint64_t sum = clv_ringbuf_unread(&m->ring);

	for (uint32_t i = 0; i < m->cpus; i++)
		sum += clv_cpuring_unread(&m->cpu[i]);
	return sum;
}
