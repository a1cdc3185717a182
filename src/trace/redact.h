/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must not leave, as regular expressions of the user's (PCRE2, on bytes): every match becomes REDACTED.
 *
 * In doubt nothing leaves: a value that is too long, or whose match costs more than a bound, is replaced as a whole,
 * and counted. One set of patterns belongs to one thread.
 */
#ifndef CLV_TRACE_REDACT_H
#define CLV_TRACE_REDACT_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define CLV_REDACT_PATTERNS 16
/* The longest pattern. */
#define CLV_REDACT_PATTERN_BYTES 4096u
/*
 * What a pattern may cost on one value: steps of PCRE2's (pcre2_set_match_limit), all together, which PCRE2 counts
 * from each place where a match may begin, and matches.
 */
#define CLV_REDACT_STEPS   500000u
#define CLV_REDACT_STEPS_1 50000u /* from one place, at most */
#define CLV_REDACT_MATCHES 1024u
/*
 * A longer value is not searched: a pattern such as "(?:\w+\.)+\w+@" takes a time that grows with the square of the
 * length, without steps that PCRE2 counts; 18 ms for this.
 */
#define CLV_REDACT_LONGEST 8192u
/* The longest value that may become of one. */
#define CLV_REDACT_BYTES (32u * 1024u)

struct clv_redact;

/*
 * Compiles the patterns. Returns 0, -ENOMEM, -E2BIG when they are too many, or -EINVAL, with what is wrong with which
 * in `why`.
 */
int clv_redact_new(const char *const *patterns, size_t count, struct clv_redact **out, char *why, size_t why_size);
/* NULL is allowed. */
void clv_redact_free(struct clv_redact *r);

/*
 * The value as it may be shown: itself when nothing matches, otherwise borrowed from r until the next call. Adds 1 to
 * *whole when it was given up and is REDACTED as a whole. Allocates nothing once the largest value was met.
 */
struct clv_slice clv_redact_apply(struct clv_redact *r, struct clv_slice value, uint64_t *whole);

#endif
