/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A span that outlives the call it was lent for: one piece of memory, no larger than what the span says. Whoever has it
 * may use it on any thread, one at a time.
 */
#ifndef CLV_MODEL_SPAN_COPY_H
#define CLV_MODEL_SPAN_COPY_H

#include "model/span.h"

struct clv_span_copy;

/* NULL without memory. What is not the span's own stays borrowed: its resource, and the protocol's name. */
struct clv_span_copy *clv_span_copy_new(const struct clv_span *span);
/* NULL is allowed. */
void clv_span_copy_free(struct clv_span_copy *c);

/* The span again. Its strings are the copy's; it has a whole scratch, and no overflow. May be called again. */
void clv_span_copy_get(const struct clv_span_copy *c, struct clv_span *out);
const struct clv_resource *clv_span_copy_resource(const struct clv_span_copy *c);
/* What it takes. */
size_t clv_span_copy_bytes(const struct clv_span_copy *c);

#endif
