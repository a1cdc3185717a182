/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of one thread of several that share an output: made in a buffer of its own, then put into the queue in one
 * piece, so that the queue's lock is taken once for some hundred of them. All zero: empty. One thread.
 */
#ifndef CLV_EXPORT_PARCEL_H
#define CLV_EXPORT_PARCEL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/slice.h"

/* It is full at this size, unless a single record is longer. */
#define CLV_PARCEL_BYTES (64u << 10)

struct clv_parcel {
	char *data;
	size_t len, cap;
	uint32_t count; /* of whatever is counted when there is no room for it */
};

/* Must what there is be put away before `bytes` more? */
static inline bool clv_parcel_full(const struct clv_parcel *p, size_t bytes)
{
	return p->len && bytes > CLV_PARCEL_BYTES - p->len;
}

/* Room for up to `bytes` bytes behind what there is; NULL: no memory. Valid until the next call. */
static inline char *clv_parcel_room(struct clv_parcel *p, size_t bytes)
{
	if (bytes > p->cap - p->len) {
		size_t cap = p->len + bytes > CLV_PARCEL_BYTES ? p->len + bytes : CLV_PARCEL_BYTES;
		char *data = realloc(p->data, cap);

		if (!data)
			return NULL;
		p->data = data;
		p->cap = cap;
	}
	return p->data + p->len;
}

/* The first `bytes` of that room are a record. */
static inline void clv_parcel_commit(struct clv_parcel *p, size_t bytes, uint32_t count)
{
	p->len += bytes;
	p->count += count;
}

static inline struct clv_slice clv_parcel_get(const struct clv_parcel *p)
{
	return clv_slice(p->data, p->len);
}

/* What an unusually long record took is given back. */
static inline void clv_parcel_clear(struct clv_parcel *p)
{
	p->len = p->count = 0;
	if (p->cap <= 4 * CLV_PARCEL_BYTES)
		return;
	free(p->data);
	p->data = NULL;
	p->cap = 0;
}

static inline void clv_parcel_free(struct clv_parcel *p)
{
	free(p->data);
	*p = (struct clv_parcel){0};
}

#endif
