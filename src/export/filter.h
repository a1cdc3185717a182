/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which spans are shown: `--filter`. Either `KEY=VALUE` with the keys method=GET, path=GLOB, status=404 or 4xx,
 * min-duration=10ms, where of a key given several times one value must match; or an expression over attributes:
 *
 *	db.system.name == redis && (duration > 10ms || status == error)
 *
 *	or   = and { "||" and }
 *	and  = not { "&&" not }
 *	not  = "!" not | "(" or ")" | test
 *	test = name ( "==" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "!~" ) value | name | "has(" name ")"
 *
 * All filters that were given must match. What names and values are: docs/filters.md.
 */
#ifndef CLV_EXPORT_FILTER_H
#define CLV_EXPORT_FILTER_H

#include "model/span.h"

/* Values of one key. */
#define CLV_FILTER_VALUES 16
/* Tests, and what joins them, of all expressions together. */
#define CLV_FILTER_NODES 128
/* Parentheses and negations within each other. */
#define CLV_FILTER_DEPTH 32
/* Bytes of one expression. */
#define CLV_FILTER_BYTES 4096

/* One test, or what joins two; a tree in an array. */
struct clv_filter_node {
	uint8_t op;      /* enum filter_op (filter.c) */
	uint8_t compare; /* enum filter_compare */
	uint8_t subject; /* enum filter_subject */
	uint8_t value;   /* enum filter_value: what the text may be, besides a text */
	uint8_t left, right;
	uint16_t key;                /* of a span's attribute, if it is built in; CLV_ATTR_COUNT: by name */
	struct clv_slice name, text; /* borrowed from the expression */
	double number;               /* durations in ns */
};

struct clv_filter {
	struct clv_slice method[CLV_FILTER_VALUES]; /* borrowed from the command line */
	struct clv_slice path[CLV_FILTER_VALUES];
	struct {
		int least, most;
	} status[CLV_FILTER_VALUES];
	uint64_t min_ns;
	unsigned methods, paths, statuses;
	struct clv_filter_node node[CLV_FILTER_NODES];
	uint8_t nodes;
	uint8_t root; /* of the expressions, joined by and; meaningless without nodes */
};

/*
 * Adds one filter, whose text must outlive it. Returns 0, or -EINVAL with the reason in *why, for people; of an
 * expression it begins with the column, counted from 1. It is good until the next call in this thread.
 */
int clv_filter_add(struct clv_filter *f, const char *text, const char **why);

/* Allocates nothing; as many steps as there are nodes, and texts are gone through once each. Any thread. */
bool clv_filter_match(const struct clv_filter *f, const struct clv_span *span);

/* `*` is any run of bytes, `?` any one; the rest stands for itself. The whole text must match. */
bool clv_glob_match(struct clv_slice glob, struct clv_slice text);

/* A decimal number with a unit: ns, us, ms, s, m, h. Returns 0, or -EINVAL with *ns untouched. */
int clv_duration_parse(const char *text, uint64_t *ns);

#endif
