/* SPDX-License-Identifier: Apache-2.0 */
/* Filters on finished spans. Borrows its values, never allocates. Filled at start, then read by the engine thread. */
#include "export/filter.h"

#include <errno.h>
#include <stdlib.h>

/* Linear in practice: on a mismatch only the last star is tried again, one byte further. */
bool clv_glob_match(struct clv_slice glob, struct clv_slice text)
{
	size_t g = 0, t = 0, star = SIZE_MAX, resume = 0;

	while (t < text.len) {
		if (g < glob.len && glob.data[g] == '*') {
			star = g++;
			resume = t;
		} else if (g < glob.len && (glob.data[g] == '?' || glob.data[g] == text.data[t])) {
			g++;
			t++;
		} else if (star != SIZE_MAX) {
			g = star + 1;
			t = ++resume;
		} else {
			return false;
		}
	}
	while (g < glob.len && glob.data[g] == '*')
		g++;
	return g == glob.len;
}

int clv_duration_parse(const char *text, uint64_t *ns)
{
	static const struct {
		const char *unit;
		double ns;
	} units[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};
	char *end;

	if (*text < '0' || *text > '9') /* strtod would take signs, blanks, "inf" */
		return -EINVAL;
	double v = strtod(text, &end);
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
		if (strcmp(end, units[i].unit) != 0)
			continue;
		v *= units[i].ns;
		if (v >= 9e18)
			return -EINVAL;
		*ns = (uint64_t)(v + 0.5);
		return 0;
	}
	return -EINVAL;
}

/* 404, or a class: 4xx. */
static int filter_status(const char *text, int *least, int *most)
{
	if (strlen(text) != 3 || text[0] < '1' || text[0] > '9')
		return -EINVAL;
	int class = (text[0] - '0') * 100;
	if (strcasecmp(text + 1, "xx") == 0) {
		*least = class;
		*most = class + 99;
		return 0;
	}
	if (text[1] < '0' || text[1] > '9' || text[2] < '0' || text[2] > '9')
		return -EINVAL;
	*least = *most = class + (text[1] - '0') * 10 + text[2] - '0';
	return 0;
}

int clv_filter_add(struct clv_filter *f, const char *text, const char **why)
{
	const char *equals = strchr(text, '=');

	*why = "it must be KEY=VALUE with one of the keys method, path, status, min-duration";
	if (!equals)
		return -EINVAL;
	struct clv_slice key = clv_slice(text, (size_t)(equals - text));
	const char *value = equals + 1;
	bool method = clv_slice_eq(key, CLV_LIT("method")), path = clv_slice_eq(key, CLV_LIT("path"));
	bool status = clv_slice_eq(key, CLV_LIT("status")), least = clv_slice_eq(key, CLV_LIT("min-duration"));

	if (!method && !path && !status && !least)
		return -EINVAL;
	*why = "there is no value after the =";
	if (!*value)
		return -EINVAL;
	if (least) {
		*why = "a duration is a number with its unit: 10ms (ns, us, ms, s, m, h)";
		return clv_duration_parse(value, &f->min_ns);
	}
	*why = "too many values of one key";
	if ((method && f->methods == CLV_FILTER_VALUES) || (path && f->paths == CLV_FILTER_VALUES) ||
	    (status && f->statuses == CLV_FILTER_VALUES))
		return -EINVAL;
	if (method) {
		f->method[f->methods++] = clv_slice_str(value);
	} else if (path) {
		f->path[f->paths++] = clv_slice_str(value);
	} else {
		*why = "a status is a code or a class: 404, 4xx";
		if (filter_status(value, &f->status[f->statuses].least, &f->status[f->statuses].most))
			return -EINVAL;
		f->statuses++;
	}
	return 0;
}

/* What the request asked for, without its query. */
static struct clv_slice filter_path(const struct clv_span *span)
{
	const struct clv_attr *path = clv_span_get(span, CLV_ATTR_URL_PATH);

	if (path && path->type == CLV_TYPE_STRING)
		return path->s;
	return clv_slice_head(span->target, clv_slice_find(span->target, 0, '?'));
}

static bool filter_method_matches(const struct clv_filter *f, const struct clv_span *span)
{
	for (unsigned i = 0; i < f->methods; i++)
		if (clv_slice_eq_nocase(f->method[i], span->method))
			return true;
	return f->methods == 0;
}

static bool filter_path_matches(const struct clv_filter *f, const struct clv_span *span)
{
	if (f->paths == 0)
		return true;
	struct clv_slice path = filter_path(span);
	for (unsigned i = 0; i < f->paths; i++)
		if (clv_glob_match(f->path[i], path))
			return true;
	return false;
}

static bool filter_status_matches(const struct clv_filter *f, const struct clv_span *span)
{
	for (unsigned i = 0; i < f->statuses; i++)
		if (span->status_code >= f->status[i].least && span->status_code <= f->status[i].most)
			return true;
	return f->statuses == 0;
}

bool clv_filter_match(const struct clv_filter *f, const struct clv_span *span)
{
	uint64_t lasted_ns = span->end_ns > span->start_ns ? span->end_ns - span->start_ns : 0;

	return lasted_ns >= f->min_ns && filter_method_matches(f, span) && filter_status_matches(f, span) &&
	       filter_path_matches(f, span);
}
