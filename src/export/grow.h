/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer that grows, for what is written seldom and read at once: a scrape, a request. Without memory it is failed,
 * and stays so; what is put into it then goes nowhere. */
#ifndef CLV_EXPORT_GROW_H
#define CLV_EXPORT_GROW_H

#include <stdbool.h>
#include <stdlib.h>

#include "base/slice.h"

struct clv_grow {
	char *data; /* malloc'ed */
	size_t len, cap;
	bool failed;
	/* NULL, or who takes what is there now and then, and sets `len` to 0: so that not all has to be there at once.
	 */
	void (*drain)(void *ctx, struct clv_grow *g);
	void *drain_ctx;
};

/* So much is worth being drained. */
#define CLV_GROW_DRAIN 65536u

/* Room for `more` bytes behind data[len]; NULL without memory. What was written there counts once `len` says so. */
static inline char *clv_grow_room(struct clv_grow *g, size_t more)
{
	if (g->failed)
		return NULL;
	if (more > g->cap - g->len) {
		size_t cap = g->cap ? g->cap : 16384;
		while (more > cap - g->len)
			cap *= 2;
		char *data = realloc(g->data, cap);

		if (!data) {
			g->failed = true;
			return NULL;
		}
		g->data = data;
		g->cap = cap;
	}
	return g->data + g->len;
}

static inline void clv_grow_put(struct clv_grow *g, const void *data, size_t len)
{
	char *p = clv_grow_room(g, len);

	if (p && len)
		memcpy(p, data, len);
	g->len += p ? len : 0;
}

static inline void clv_grow_slice(struct clv_grow *g, struct clv_slice s)
{
	clv_grow_put(g, s.data, s.len);
}

#define clv_grow_lit(g, s) clv_grow_put((g), (s), sizeof(s) - 1)

static inline void clv_grow_fini(struct clv_grow *g)
{
	free(g->data);
	*g = (struct clv_grow){0};
}

static inline void clv_grow_offer(struct clv_grow *g)
{
	if (g->drain && g->len >= CLV_GROW_DRAIN)
		g->drain(g->drain_ctx, g);
}

#endif
