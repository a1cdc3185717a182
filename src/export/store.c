/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: chunks in memory, in a list, and the choice between that and the spool. Owns both; never looks into the
 * chunks. The exporter's thread, after the one that opened it.
 */
#include "export/store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/log.h"

struct store_chunk {
	struct clv_node node;
	uint32_t len, spans;
	uint8_t data[];
};

struct clv_store {
	struct clv_store_config config;
	struct clv_spool *spool;
	uint64_t spool_retry_ns; /* 0: the spool takes chunks */
	struct clv_node chunks;  /* oldest first */
	uint64_t memory_spans, memory_evicted_spans;
	bool shown_memory; /* what peek showed */
	uint32_t shown_spans;
	struct clv_store_figures figures;
};

int clv_store_open(const struct clv_store_config *config, struct clv_store **out)
{
	struct clv_store *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->config = *config;
	clv_list_init(&s->chunks);
	int err = config->spool_dir ? clv_spool_open(config->spool_dir, config->spool_bytes, &s->spool) : 0;
	if (err) {
		free(s);
		return err;
	}
	*out = s;
	return 0;
}

void clv_store_close(struct clv_store *s)
{
	if (!s)
		return;
	clv_store_abandon(s);
	clv_spool_close(s->spool);
	free(s);
}

/* ---- memory ---------------------------------------------------------------------------------------------- */

static struct store_chunk *memory_oldest(struct clv_store *s)
{
	return clv_list_first(&s->chunks, struct store_chunk, node);
}

static struct store_chunk *memory_after(struct clv_store *s, struct store_chunk *c)
{
	return c->node.next == &s->chunks ? NULL : clv_list_entry(c->node.next, struct store_chunk, node);
}

static void memory_remove(struct clv_store *s, struct store_chunk *c)
{
	clv_list_remove(&c->node);
	s->memory_spans -= c->spans;
	s->figures.memory_bytes -= sizeof(*c) + c->len;
	free(c);
}

static bool memory_fits(const struct clv_store *s, size_t bytes, uint32_t spans)
{
	if (s->figures.memory_bytes + sizeof(struct store_chunk) + bytes > s->config.memory_bytes)
		return false;
	return s->config.max_spans == 0 || s->memory_spans + spans <= s->config.max_spans;
}

static void memory_put(struct clv_store *s, struct clv_slice chunk, uint32_t spans)
{
	struct store_chunk *c = NULL;

	for (struct store_chunk *old = memory_oldest(s), *next; old && !memory_fits(s, chunk.len, spans); old = next) {
		next = memory_after(s, old);
		s->memory_evicted_spans += old->spans;
		memory_remove(s, old);
	}
	if (memory_fits(s, chunk.len, spans))
		c = malloc(sizeof(*c) + chunk.len);
	if (!c) {
		s->memory_evicted_spans += spans;
		return;
	}
	c->len = (uint32_t)chunk.len;
	c->spans = spans;
	memcpy(c->data, chunk.data, chunk.len);
	clv_list_append(&s->chunks, &c->node);
	s->memory_spans += spans;
	s->figures.memory_bytes += sizeof(*c) + chunk.len;
}

/* ---- both ------------------------------------------------------------------------------------------------ */

bool clv_store_fits(const struct clv_store *s, size_t bytes, uint32_t spans)
{
	return s->spool && !s->spool_retry_ns ? clv_spool_fits(s->spool, bytes) : memory_fits(s, bytes, spans);
}

/* Whether the spool took it. Said when it stops doing so, and when it does again. */
static bool store_spool(struct clv_store *s, struct clv_slice chunk, uint32_t spans, uint64_t now_ns)
{
	if (s->spool_retry_ns && now_ns < s->spool_retry_ns)
		return false;
	int err = clv_spool_append(s->spool, chunk, spans);
	if (err) {
		if (!s->spool_retry_ns)
			clv_warn("cannot write to the spool %s: %s; spans wait in memory meanwhile",
				 s->config.spool_dir, strerror(-err));
		s->spool_retry_ns = now_ns + CLV_STORE_RETRY_NS;
		return false;
	}
	if (s->spool_retry_ns)
		clv_info("the spool %s can be written to again", s->config.spool_dir);
	s->spool_retry_ns = 0;
	s->figures.spooled_spans += spans;
	return true;
}

void clv_store_put(struct clv_store *s, struct clv_slice chunk, uint32_t spans, uint64_t now_ns)
{
	if (!s->spool || !store_spool(s, chunk, spans, now_ns))
		memory_put(s, chunk, spans);
}

/* Memory first: with a spool, what is there is there because the spool failed, and dies with the process. */
bool clv_store_peek(struct clv_store *s, struct clv_slice *chunk, uint32_t *spans)
{
	const struct store_chunk *c = memory_oldest(s);

	s->shown_memory = c != NULL;
	if (c) {
		*chunk = clv_slice(c->data, c->len);
		*spans = c->spans;
	} else if (!s->spool || !clv_spool_peek(s->spool, chunk, spans)) {
		return false;
	}
	s->shown_spans = *spans;
	return true;
}

void clv_store_take(struct clv_store *s, struct clv_store_ref *ref)
{
	*ref = (struct clv_store_ref){.spans = s->shown_spans};
	if (s->shown_memory)
		memory_remove(s, memory_oldest(s));
	else
		clv_spool_take(s->spool, &ref->spool);
}

void clv_store_ack(struct clv_store *s, struct clv_store_ref ref)
{
	if (ref.spool.segment)
		clv_spool_ack(s->spool, ref.spool);
}

bool clv_store_keep(struct clv_store *s, struct clv_store_ref ref)
{
	return ref.spool.segment && clv_spool_keep(s->spool, ref.spool);
}

uint64_t clv_store_abandon(struct clv_store *s)
{
	uint64_t spans = s->memory_spans;

	for (struct store_chunk *c = memory_oldest(s), *next; c; c = next) {
		next = memory_after(s, c);
		memory_remove(s, c);
	}
	return spans;
}

const struct clv_store_figures *clv_store_figures(struct clv_store *s)
{
	struct clv_store_figures *f = &s->figures;

	f->waiting_spans = s->memory_spans;
	f->evicted_spans = s->memory_evicted_spans;
	f->waiting_bytes = f->memory_bytes;
	if (s->spool) {
		const struct clv_spool_figures *p = clv_spool_figures(s->spool);

		f->waiting_spans += p->waiting_spans;
		f->waiting_bytes += p->bytes;
		f->evicted_spans += p->evicted_spans;
		f->found_spans = p->found_spans;
		f->damaged_spans = p->damaged_spans;
		f->damaged_places = p->damaged_places;
	}
	return f;
}
