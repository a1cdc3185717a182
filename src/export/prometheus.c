/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes metrics as text for Prometheus. Owns nothing, counts nothing. On the thread that asks, never the engine's.
 *
 * One endpoint speaks for many resources, and target_info can be joined to one only; so each series says itself which
 * service, and which pod, it is about.
 */
#include "export/prometheus.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"

const char *const clv_prometheus_type[2] = {
	"text/plain; version=0.0.4; charset=utf-8",
	"application/openmetrics-text; version=1.0.0; charset=utf-8",
};

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Letters, digits and single underscores; no digit at the front. */
static size_t name_clean(struct clv_slice s, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len && n + 2 < cap; i++) {
		uint8_t c = s.data[i];
		bool digit = (uint8_t)(c - '0') < 10, letter = (uint8_t)((c | 0x20) - 'a') < 26;

		if (n == 0 && digit)
			out[n++] = '_';
		if (digit || letter)
			out[n++] = (char)c;
		else if (n == 0 || out[n - 1] != '_')
			out[n++] = '_';
	}
	out[n] = '\0';
	return n;
}

/* The suffix of a unit; NULL: none. */
static const char *unit_suffix(const struct clv_metric_family *f)
{
	if (strcmp(f->unit, "s") == 0)
		return "seconds";
	if (strcmp(f->unit, "By") == 0)
		return "bytes";
	return NULL; /* what is counted in braces; and "1", as there is no gauge of it */
}

void clv_prometheus_name(const struct clv_metric_family *f, char out[CLV_PROMETHEUS_NAME])
{
	const char *unit = unit_suffix(f);
	size_t len = name_clean(clv_slice_str(f->name), out, CLV_PROMETHEUS_NAME - sizeof("_seconds_total"));
	size_t unit_len = unit ? strlen(unit) : 0;

	if (unit && (len < unit_len || strcmp(out + len - unit_len, unit) != 0))
		snprintf(out + len, CLV_PROMETHEUS_NAME - len, "_%s", unit);
}

static const char *type_name(enum clv_metric_type type)
{
	return type == CLV_METRIC_COUNTER ? "counter" : type == CLV_METRIC_HISTOGRAM ? "histogram" : "gauge";
}

/* ---- pieces of lines --------------------------------------------------------------------------------------------- */

#define NUMBER_TEXT 32

/* The shortest text that is this number again. */
static void number_text(char out[NUMBER_TEXT], double v)
{
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(out, NUMBER_TEXT, "%.*g", digits, v);
		if (strtod(out, NULL) == v)
			return;
	}
}

static void put_str(struct clv_grow *g, const char *s)
{
	clv_grow_put(g, s, strlen(s));
}

static void put_number(struct clv_grow *g, double v)
{
	char text[NUMBER_TEXT];

	number_text(text, v);
	put_str(g, text);
}

static void put_u64(struct clv_grow *g, uint64_t v)
{
	char text[24];
	struct clv_buf b = clv_buf(text, sizeof(text));

	clv_buf_u64(&b, v);
	clv_grow_put(g, b.data, b.len);
}

static void put_escaped(struct clv_grow *g, struct clv_slice s)
{
	size_t from = 0;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.data[i];

		if (c != '\\' && c != '"' && c != '\n')
			continue;
		clv_grow_slice(g, clv_slice_sub(s, from, i - from));
		put_str(g, c == '\n' ? "\\n" : c == '"' ? "\\\"" : "\\\\");
		from = i + 1;
	}
	clv_grow_slice(g, clv_slice_from(s, from));
}

static void put_label(struct clv_grow *g, struct clv_slice key, struct clv_slice value)
{
	char name[CLV_PROMETHEUS_NAME];

	clv_grow_put(g, name, name_clean(key, name, sizeof(name)));
	clv_grow_lit(g, "=\"");
	put_escaped(g, value);
	clv_grow_lit(g, "\"");
}

/* ---- a scrape ---------------------------------------------------------------------------------------------------- */

struct scrape {
	struct clv_grow *out;
	bool openmetrics;
	const struct clv_metric_family *family; /* being written */
	char name[CLV_PROMETHEUS_NAME];
	char bound[CLV_METRICS_BOUNDS][NUMBER_TEXT]; /* its bounds */
	struct clv_grow labels;                      /* of the series being written, without braces */
	struct clv_grow identity;                    /* those of its resource */
	uint32_t resource_id;
};

/* Two keys may become one label; then the first stands. */
static bool is_first(const struct clv_metric_point *p, uint32_t i)
{
	char name[CLV_PROMETHEUS_NAME], other[CLV_PROMETHEUS_NAME];

	name_clean(p->resource[i].key, name, sizeof(name));
	for (uint32_t j = 0; j < i; j++) {
		name_clean(p->resource[j].key, other, sizeof(other));
		if (strcmp(name, other) == 0)
			return false;
	}
	return true;
}

static void put_resource(struct clv_grow *g, const struct clv_metric_point *p, bool all)
{
	bool any = g->len > 0;

	for (uint32_t i = 0; i < p->resource_count; i++) {
		if ((!all && !clv_metrics_identifies(p->resource, p->resource_count, p->resource[i].key)) ||
		    !is_first(p, i))
			continue;
		if (any)
			clv_grow_lit(g, ",");
		any = true;
		put_label(g, p->resource[i].key, p->resource[i].value);
	}
}

static void set_labels(struct scrape *s, const struct clv_metric_point *p)
{
	struct clv_grow *g = &s->labels;

	if (s->resource_id != p->resource_id) {
		s->identity.len = 0;
		clv_grow_lit(&s->identity, "otel_scope_name=\"clovisor\",otel_scope_version=\"" CLV_VERSION "\"");
		put_resource(&s->identity, p, false);
		s->resource_id = p->resource_id;
	}
	g->len = 0;
	for (uint32_t i = 0; i < p->label_count; i++) {
		put_label(g, clv_slice_str(p->labels[i].key), p->labels[i].text);
		clv_grow_lit(g, ",");
	}
	clv_grow_put(g, s->identity.data, s->identity.len);
}

static void begin_family(struct scrape *s, const struct clv_metric_point *p)
{
	const struct clv_metric_family *f = p->family;
	const char *suffix = f->type == CLV_METRIC_COUNTER && !s->openmetrics ? "_total" : "";
	const char *unit = unit_suffix(f);
	char line[512];

	s->family = f;
	clv_prometheus_name(f, s->name);
	for (uint32_t i = 0; i < p->bound_count; i++)
		number_text(s->bound[i], p->bounds[i]);
	snprintf(line, sizeof(line), "# HELP %s%s %s\n# TYPE %s%s %s\n", s->name, suffix, f->help, s->name, suffix,
		 type_name(f->type));
	put_str(s->out, line);
	if (s->openmetrics && unit) {
		snprintf(line, sizeof(line), "# UNIT %s %s\n", s->name, unit);
		put_str(s->out, line);
	}
}

/* name SUFFIX { labels */
static void begin_line(struct scrape *s, const char *suffix)
{
	put_str(s->out, s->name);
	put_str(s->out, suffix);
	clv_grow_lit(s->out, "{");
	clv_grow_put(s->out, s->labels.data, s->labels.len);
}

static void put_exemplar(struct scrape *s, const struct clv_metric_exemplar *x)
{
	char text[160];
	struct clv_buf b = clv_buf(text, sizeof(text));

	clv_buf_lit(&b, " # {trace_id=\"");
	clv_buf_hex(&b, x->trace_id, sizeof(x->trace_id));
	clv_buf_lit(&b, "\",span_id=\"");
	clv_buf_hex(&b, x->span_id, sizeof(x->span_id));
	clv_buf_lit(&b, "\"} ");
	clv_grow_put(s->out, b.data, b.len);
	put_number(s->out, (double)x->value / s->family->divisor);
	b.len = 0;
	clv_buf_printf(&b, " %llu.%03u", (unsigned long long)(x->ts_ns / 1000000000),
		       (unsigned)(x->ts_ns / 1000000 % 1000));
	clv_grow_put(s->out, b.data, b.len);
}

static void put_histogram(struct scrape *s, const struct clv_metric_point *p)
{
	uint64_t so_far = 0;

	for (uint32_t i = 0; i <= p->bound_count; i++) {
		so_far += p->bucket[i];
		begin_line(s, "_bucket");
		clv_grow_lit(s->out, ",le=\"");
		put_str(s->out, i < p->bound_count ? s->bound[i] : "+Inf");
		clv_grow_lit(s->out, "\"} ");
		put_u64(s->out, so_far);
		if (s->openmetrics && p->exemplar[i].ts_ns)
			put_exemplar(s, &p->exemplar[i]);
		clv_grow_lit(s->out, "\n");
	}
	begin_line(s, "_sum");
	clv_grow_lit(s->out, "} ");
	put_number(s->out, (double)p->sum / p->family->divisor);
	clv_grow_lit(s->out, "\n");
	begin_line(s, "_count");
	clv_grow_lit(s->out, "} ");
	put_u64(s->out, p->count);
	clv_grow_lit(s->out, "\n");
}

static void put_single(struct scrape *s, const struct clv_metric_point *p)
{
	begin_line(s, p->family->type == CLV_METRIC_COUNTER ? "_total" : "");
	clv_grow_lit(s->out, "} ");
	if (p->family->divisor == 1 && p->value >= 0)
		put_u64(s->out, (uint64_t)p->value);
	else
		put_number(s->out, (double)p->value / p->family->divisor);
	clv_grow_lit(s->out, "\n");
}

static void put_point(void *ctx, const struct clv_metric_point *p)
{
	struct scrape *s = ctx;

	if (s->family != p->family)
		begin_family(s, p);
	set_labels(s, p);
	if (p->family->type == CLV_METRIC_HISTOGRAM)
		put_histogram(s, p);
	else
		put_single(s, p);
	clv_grow_offer(s->out);
}

/* One line for each resource, all its attributes as labels. */
static void put_target(void *ctx, const struct clv_metric_point *p)
{
	struct scrape *s = ctx;

	if (s->resource_id == p->resource_id)
		return;
	s->resource_id = p->resource_id;
	s->labels.len = 0;
	put_resource(&s->labels, p, true);
	clv_grow_lit(s->out, "target_info{");
	clv_grow_put(s->out, s->labels.data, s->labels.len);
	clv_grow_lit(s->out, "} 1\n");
}

int clv_prometheus_write(struct clv_metrics *m, enum clv_prometheus_format format, struct clv_grow *out)
{
	struct scrape s = {.out = out, .openmetrics = format == CLV_PROMETHEUS_OPENMETRICS};

	put_str(out, s.openmetrics ? "# HELP target Whom series are about.\n# TYPE target info\n"
				   : "# HELP target_info Whom series are about.\n# TYPE target_info gauge\n");
	int err = clv_metrics_visit(m, CLV_METRICS_BY_RESOURCE, put_target, &s);
	s.resource_id = 0;
	if (!err)
		err = clv_metrics_visit(m, CLV_METRICS_BY_FAMILY, put_point, &s);
	if (s.openmetrics)
		clv_grow_lit(out, "# EOF\n");
	bool failed = out->failed || s.labels.failed || s.identity.failed;
	clv_grow_fini(&s.labels);
	clv_grow_fini(&s.identity);
	return err ? err : failed ? -ENOMEM : 0;
}
