/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns compiled patterns and two buffers between which values go from pattern to pattern. Never lets a value pass that
 * it could not search to its end. Engine thread.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "trace/redact.h"

#include <errno.h>
#include <pcre2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

/* What the machine code of a pattern may use for backtracking, and the interpreter (in KiB), where there is none. */
#define JIT_STACK_LEAST (32u * 1024u)
#define JIT_STACK_MOST  (512u * 1024u)
#define HEAP_KIB        1024u
#define DEPTH           10000u

#define REDACTED CLV_LIT("REDACTED")

struct clv_redact {
	size_t count;
	pcre2_code *code[CLV_REDACT_PATTERNS];
	pcre2_match_data *match;
	pcre2_match_context *context;
	pcre2_jit_stack *stack;
	char buffer[2][CLV_REDACT_BYTES];
};

static int redact_compile(struct clv_redact *r, size_t number, const char *pattern, char *why, size_t why_size)
{
	PCRE2_UCHAR message[128];
	PCRE2_SIZE at;
	int error;

	if (strlen(pattern) > CLV_REDACT_PATTERN_BYTES) {
		snprintf(why, why_size, "pattern %zu is longer than %u bytes", number + 1, CLV_REDACT_PATTERN_BYTES);
		return -EINVAL;
	}
	/* Bytes, not characters: what is no UTF-8 must not stop a match. */
	pcre2_code *code = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
					 PCRE2_DOTALL | PCRE2_NEVER_UTF | PCRE2_DOLLAR_ENDONLY, &error, &at, NULL);
	if (!code) {
		pcre2_get_error_message(error, message, sizeof(message));
		snprintf(why, why_size, "pattern %zu (%s): %s at offset %zu", number + 1, pattern, (char *)message, at);
		return -EINVAL;
	}
	r->code[r->count++] = code;
	pcre2_jit_compile(code, PCRE2_JIT_COMPLETE); /* without it, where memory may not be code, it is slower only */
	return 0;
}

int clv_redact_new(const char *const *patterns, size_t count, struct clv_redact **out, char *why, size_t why_size)
{
	struct clv_redact *r;

	if (count > CLV_REDACT_PATTERNS) {
		snprintf(why, why_size, "more than %u patterns", CLV_REDACT_PATTERNS);
		return -E2BIG;
	}
	if (!(r = calloc(1, sizeof(*r))))
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int err = redact_compile(r, i, patterns[i], why, why_size);

		if (err) {
			clv_redact_free(r);
			return err;
		}
	}
	/* One pair: where the whole match begins and ends. */
	r->match = pcre2_match_data_create(1, NULL);
	r->context = pcre2_match_context_create(NULL);
	r->stack = pcre2_jit_stack_create(JIT_STACK_LEAST, JIT_STACK_MOST, NULL);
	if (!r->match || !r->context || !r->stack) {
		clv_redact_free(r);
		return -ENOMEM;
	}
	pcre2_set_depth_limit(r->context, DEPTH);
	pcre2_set_heap_limit(r->context, HEAP_KIB);
	pcre2_jit_stack_assign(r->context, NULL, r->stack);
	*out = r;
	return 0;
}

void clv_redact_free(struct clv_redact *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		pcre2_code_free(r->code[i]);
	pcre2_match_data_free(r->match);
	pcre2_match_context_free(r->context);
	pcre2_jit_stack_free(r->stack);
	free(r);
}

/* The next match at or behind `from`: 1, 0 without one, -1 when that cannot be told. */
static int redact_find(struct clv_redact *r, const pcre2_code *code, struct clv_slice value, size_t from,
		       PCRE2_SIZE place[2])
{
	int rc = pcre2_match(code, value.data, value.len, from, PCRE2_NOTEMPTY, r->match, r->context);

	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	if (rc < 0)
		return -1;
	const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(r->match);
	place[0] = pair[0];
	place[1] = pair[1];
	/* A match that ends where the search began, or before it begins (both by \K), is none that could be cut out. */
	return place[0] >= from && place[1] > place[0] && place[1] <= value.len ? 1 : -1;
}

/* One pattern's matches, replaced. Returns false when the value must not be shown. */
static bool redact_one(struct clv_redact *r, const pcre2_code *code, struct clv_slice *value, struct clv_buf *b)
{
	PCRE2_SIZE place[2];
	size_t from = 0, steps = CLV_REDACT_STEPS / value->len;
	int found;

	pcre2_set_match_limit(r->context, (uint32_t)(steps < CLV_REDACT_STEPS_1 ? steps : CLV_REDACT_STEPS_1));
	for (unsigned matches = 0; (found = redact_find(r, code, *value, from, place)) > 0; from = place[1]) {
		if (matches++ == CLV_REDACT_MATCHES)
			return false;
		clv_buf_put(b, value->data + from, place[0] - from);
		clv_buf_slice(b, REDACTED);
	}
	if (found < 0)
		return false;
	if (from == 0)
		return true;
	clv_buf_slice(b, clv_slice_from(*value, from));
	*value = clv_slice(b->data, b->len);
	return !b->cut;
}

struct clv_slice clv_redact_apply(struct clv_redact *r, struct clv_slice value, uint64_t *whole)
{
	unsigned turn = 0;

	if (!value.len || !r->count)
		return value;
	if (value.len > CLV_REDACT_LONGEST) {
		++*whole;
		return REDACTED;
	}
	for (size_t i = 0; i < r->count; i++) {
		struct clv_buf b = clv_buf(r->buffer[turn], sizeof(r->buffer[turn]));

		if (!redact_one(r, r->code[i], &value, &b)) {
			++*whole;
			return REDACTED;
		}
		if (value.data == (const uint8_t *)b.data)
			turn = !turn;
	}
	return value;
}
