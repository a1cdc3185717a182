/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text buffer over memory somebody else owns: appends until it is full, then only counts. What does not fit
 * is cut at once and for all (`cut`), so that no half-written thing is taken for a whole one.
 */
#ifndef CLV_BASE_BUF_H
#define CLV_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/slice.h"

struct clv_buf {
	char *data;
	size_t len, cap;
	bool cut; /* something did not fit: discard the contents */
};

static inline struct clv_buf clv_buf(char *data, size_t cap)
{
	return (struct clv_buf){.data = data, .cap = cap};
}

static inline void clv_buf_put(struct clv_buf *b, const void *data, size_t len)
{
	if (b->cut || len > b->cap - b->len) {
		b->cut = true;
		return;
	}
	if (len) /* an empty slice may have no pointer */
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static inline void clv_buf_char(struct clv_buf *b, char c)
{
	clv_buf_put(b, &c, 1);
}

static inline void clv_buf_slice(struct clv_buf *b, struct clv_slice s)
{
	clv_buf_put(b, s.data, s.len);
}

/* A string literal. */
#define clv_buf_lit(b, s) clv_buf_put((b), (s), sizeof(s) - 1)

/* Decimal, no padding. */
void clv_buf_u64(struct clv_buf *b, uint64_t v);
void clv_buf_i64(struct clv_buf *b, int64_t v);
/* Lower-case hex, two digits a byte. */
void clv_buf_hex(struct clv_buf *b, const uint8_t *data, size_t len);
/* printf, for text that is not on the hot path. */
void clv_buf_printf(struct clv_buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
