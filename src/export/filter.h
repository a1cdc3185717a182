/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which spans are shown: `--filter KEY=VALUE`. Keys: method=GET, path=GLOB, status=404 or 4xx, min-duration=10ms.
 * Every key that was given must match; of a key given several times one value must.
 */
#ifndef CLV_EXPORT_FILTER_H
#define CLV_EXPORT_FILTER_H

#include "model/span.h"

/* Values of one key. */
#define CLV_FILTER_VALUES 16

struct clv_filter {
	struct clv_slice method[CLV_FILTER_VALUES]; /* borrowed from the command line */
	struct clv_slice path[CLV_FILTER_VALUES];
	struct {
		int least, most;
	} status[CLV_FILTER_VALUES];
	uint64_t min_ns;
	unsigned methods, paths, statuses;
};

/*
 * Adds one `KEY=VALUE`, which must outlive the filter. Returns 0, or -EINVAL with the reason in *why (static, for
 * people).
 */
int clv_filter_add(struct clv_filter *f, const char *text, const char **why);

bool clv_filter_match(const struct clv_filter *f, const struct clv_span *span);

/* `*` is any run of bytes, `?` any one; the rest stands for itself. The whole text must match. */
bool clv_glob_match(struct clv_slice glob, struct clv_slice text);

/* A decimal number with a unit: ns, us, ms, s, m, h. Returns 0, or -EINVAL with *ns untouched. */
int clv_duration_parse(const char *text, uint64_t *ns);

#endif
