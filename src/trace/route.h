/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths as few names: templates that the user gave ("/users/{id}"), and guesses for when there are none. How they are
 * written and which one wins: docs/context.md. No allocation but in clv_routes_new(); any thread.
 */
#ifndef CLV_TRACE_ROUTE_H
#define CLV_TRACE_ROUTE_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define CLV_ROUTES_MAX     1024u
#define CLV_ROUTE_BYTES    512u /* the longest template */
#define CLV_ROUTE_SEGMENTS 32u  /* of one */
#define CLV_TEMPLATE_DEPTH 8u   /* segments of a guess; more become "..." */
#define CLV_TEMPLATE_WORD  48u  /* bytes of a segment that is taken as it is */
#define CLV_TEMPLATE_BYTES (CLV_TEMPLATE_DEPTH * (CLV_TEMPLATE_WORD + 1) + 4)

struct clv_routes;

/*
 * Returns 0, -ENOMEM, or -EINVAL (-E2BIG when they are too many) with what is wrong with which in `why`. Templates that
 * stand for the same paths are an error.
 */
int clv_routes_new(const char *const *templates, size_t count, struct clv_routes **out, char *why, size_t why_size);
/* NULL is allowed. */
void clv_routes_free(struct clv_routes *r);

/* The most specific template of a path (no query), as it was given; empty when none fits. Borrowed from r. */
struct clv_slice clv_routes_match(const struct clv_routes *r, struct clv_slice path);

/*
 * A guess: the path with what looks like an identifier replaced. Writes to `out` of CLV_TEMPLATE_BYTES and returns what
 * is there; empty when it is no path.
 */
struct clv_slice clv_route_guess(struct clv_slice path, char *out);

#endif
