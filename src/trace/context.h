/* SPDX-License-Identifier: Apache-2.0 */
/* W3C Trace Context, level 1 and 2: reading a traceparent header. */
#ifndef CLV_TRACE_CONTEXT_H
#define CLV_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct clv_context {
	uint8_t trace_id[16];
	uint8_t parent_id[8];
	uint8_t flags; /* 0x01 sampled, 0x02 random */
};

/*
 * Parses a traceparent value (section 3.2). Version 00 is exactly 55 characters; a higher one may carry more
 * behind a '-'. Returns false, with *out untouched, when it is not valid: then there is no context.
 */
bool clv_context_parse(struct clv_slice value, struct clv_context *out);

#endif
