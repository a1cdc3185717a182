/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodes metrics for OTLP. Owns nothing. On the thread that asks, never the engine's.
 *
 * The messages nest: a resource's metrics, a scope's, a metric, its data, a point. The outer ones stay open until a
 * point comes that does not belong to them; where their lengths go is kept as offsets, since the buffer moves.
 */
#include "export/otlp_metrics.h"

#include <errno.h>

#include "export/protobuf.h"

#define SCHEMA_URL "https://opentelemetry.io/schemas/1.44.0"

enum { CUMULATIVE = 2 };

/* A point: labels, buckets, exemplars of 64 bytes, and what is fixed. */
#define POINT_BYTES \
	(256u + CLV_METRICS_LABELS * (CLV_METRICS_VALUE + 64u) + (CLV_METRICS_BOUNDS + 1u) * (2u * 8u + 72u))
/* What precedes a resource's or a metric's points, beside attributes. */
#define BEGIN_BYTES 1024u

struct encoder {
	struct clv_grow *out;
	uint64_t now_ns;
	uint32_t resource_id;                   /* 0: no resource is open */
	const struct clv_metric_family *family; /* NULL: no metric is open */
	size_t resource, scope, metric, data;   /* offsets of their lengths */
};

static char *put_attribute(char *p, uint32_t field, struct clv_slice key, const struct clv_metric_label *l,
			   struct clv_slice text)
{
	char *attribute, *value;

	p = protobuf_open(p, field, &attribute);
	p = protobuf_bytes(p, 1, key);
	p = protobuf_open(p, 2, &value);
	if (l && l->integer)
		p = protobuf_uint(p, 3, (uint64_t)l->number);
	else if (l && l->boolean)
		p = protobuf_uint(p, 2, 1);
	else
		p = protobuf_bytes(p, 1, text);
	protobuf_close(value, p);
	protobuf_close(attribute, p);
	return p;
}

static char *put_labels(char *p, uint32_t field, const struct clv_metric_point *m)
{
	for (uint32_t i = 0; i < m->label_count; i++)
		p = put_attribute(p, field, clv_slice_str(m->labels[i].key), &m->labels[i], m->labels[i].text);
	return p;
}

static size_t resource_bytes(const struct clv_metric_point *m)
{
	size_t n = BEGIN_BYTES;

	for (uint32_t i = 0; i < m->resource_count; i++)
		n += m->resource[i].key.len + m->resource[i].value.len + 40;
	return n;
}

/* Room, or NULL; `e->out->len` is where it begins. */
static char *room(const struct encoder *e, size_t bytes)
{
	return clv_grow_room(e->out, bytes);
}

static void advance_to(const struct encoder *e, const char *end)
{
	e->out->len = (size_t)(end - e->out->data);
}

static size_t offset_of(const struct encoder *e, const char *p)
{
	return (size_t)(p - e->out->data);
}

/* ---- what nests -------------------------------------------------------------------------------------------------- */

static void close_metric(struct encoder *e)
{
	const struct clv_metric_family *f = e->family;
	char *p = f ? room(e, 16) : NULL;

	if (p) {
		if (f->type != CLV_METRIC_GAUGE)
			p = protobuf_uint(p, 2, CUMULATIVE);
		if (f->type == CLV_METRIC_COUNTER)
			p = protobuf_uint(p, 3, 1); /* monotonic */
		protobuf_close(e->out->data + e->data, p);
		protobuf_close(e->out->data + e->metric, p);
		advance_to(e, p);
	}
	e->family = NULL;
}

static void close_resource(struct encoder *e)
{
	close_metric(e);
	char *p = e->resource_id ? room(e, BEGIN_BYTES) : NULL;

	if (p) {
		p = protobuf_bytes(p, 3, CLV_LIT(SCHEMA_URL));
		protobuf_close(e->out->data + e->scope, p);
		p = protobuf_bytes(p, 3, CLV_LIT(SCHEMA_URL));
		protobuf_close(e->out->data + e->resource, p);
		advance_to(e, p);
	}
	e->resource_id = 0;
}

static void open_resource(struct encoder *e, const struct clv_metric_point *m)
{
	char *p = room(e, resource_bytes(m)), *begin, *scope;

	if (!p)
		return;
	p = protobuf_open(p, 1, &begin);
	e->resource = offset_of(e, begin);
	p = protobuf_open(p, 1, &begin);
	for (uint32_t i = 0; i < m->resource_count; i++)
		p = put_attribute(p, 1, m->resource[i].key, NULL, m->resource[i].value);
	protobuf_close(begin, p);
	p = protobuf_open(p, 2, &begin);
	e->scope = offset_of(e, begin);
	p = protobuf_open(p, 1, &scope);
	p = protobuf_bytes(p, 1, CLV_LIT("clovisor"));
	p = protobuf_bytes(p, 2, CLV_LIT(CLV_VERSION));
	protobuf_close(scope, p);
	advance_to(e, p);
	e->resource_id = m->resource_id;
}

static void open_metric(struct encoder *e, const struct clv_metric_family *f)
{
	static const uint32_t data[] = {
		[CLV_METRIC_COUNTER] = 7, [CLV_METRIC_UPDOWN] = 7, [CLV_METRIC_GAUGE] = 5, [CLV_METRIC_HISTOGRAM] = 9};
	char *p = room(e, BEGIN_BYTES), *begin;

	if (!p)
		return;
	p = protobuf_open(p, 2, &begin);
	e->metric = offset_of(e, begin);
	p = protobuf_bytes(p, 1, clv_slice_str(f->name));
	p = protobuf_bytes(p, 2, clv_slice_str(f->help));
	p = protobuf_bytes(p, 3, clv_slice_str(f->unit));
	p = protobuf_open(p, data[f->type], &begin);
	e->data = offset_of(e, begin);
	advance_to(e, p);
	e->family = f;
}

/* ---- points ------------------------------------------------------------------------------------------------------ */

static char *put_value(char *p, uint32_t as_double, const struct clv_metric_family *f, int64_t value)
{
	if (f->divisor == 1)
		return protobuf_fixed64(p, 6, (uint64_t)value); /* as_int, in points and exemplars alike */
	return protobuf_double(p, as_double, (double)value / f->divisor);
}

static char *put_exemplars(char *p, const struct clv_metric_point *m)
{
	for (uint32_t i = 0; i <= m->bound_count; i++) {
		const struct clv_metric_exemplar *x = &m->exemplar[i];
		char *begin;

		if (!x->ts_ns)
			continue;
		p = protobuf_open(p, 8, &begin);
		p = protobuf_fixed64(p, 2, x->ts_ns);
		p = put_value(p, 3, m->family, (int64_t)x->value);
		p = protobuf_bytes(p, 4, clv_slice(x->span_id, sizeof(x->span_id)));
		p = protobuf_bytes(p, 5, clv_slice(x->trace_id, sizeof(x->trace_id)));
		protobuf_close(begin, p);
	}
	return p;
}

static char *put_histogram(char *p, const struct clv_metric_point *m)
{
	p = protobuf_fixed64(p, 4, m->count);
	p = protobuf_double(p, 5, (double)m->sum / m->family->divisor);
	/* Little endian, as fixed64 and double are. */
	p = protobuf_bytes(p, 6, clv_slice(m->bucket, (m->bound_count + 1) * sizeof(m->bucket[0])));
	p = protobuf_bytes(p, 7, clv_slice(m->bounds, m->bound_count * sizeof(m->bounds[0])));
	p = put_exemplars(p, m);
	return put_labels(p, 9, m);
}

static void put_point(void *ctx, const struct clv_metric_point *m)
{
	const struct clv_metric_family *f = m->family;
	enum clv_metric_type type = f->type;
	struct encoder *e = ctx;
	char *begin;

	if (e->resource_id != m->resource_id) {
		close_resource(e);
		open_resource(e, m);
	}
	if (e->family != f) {
		close_metric(e);
		open_metric(e, f);
	}
	char *p = room(e, POINT_BYTES);
	if (!p)
		return;
	p = protobuf_open(p, 1, &begin);
	if (type != CLV_METRIC_GAUGE)
		p = protobuf_fixed64(p, 2, m->start_ns);
	p = protobuf_fixed64(p, 3, e->now_ns);
	if (type == CLV_METRIC_HISTOGRAM)
		p = put_histogram(p, m);
	else
		p = put_labels(put_value(p, 4, m->family, m->value), 7, m);
	protobuf_close(begin, p);
	advance_to(e, p);
}

int clv_otlp_metrics(struct clv_metrics *m, uint64_t now_ns, struct clv_grow *out)
{
	struct encoder e = {.out = out, .now_ns = now_ns};
	int err = clv_metrics_visit(m, CLV_METRICS_BY_RESOURCE, put_point, &e);

	close_resource(&e);
	return err ? err : out->failed ? -ENOMEM : 0;
}
