/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of metrics: what spans, events and clovisor's own figures add up to, by resource and labels
 * (docs/metrics.md has them all). Names and labels are OpenTelemetry's; prometheus.h and otlp_metrics.h write them out.
 *
 * The engines' threads write, each as a writer with a number of its own; any other may read at any time by
 * clv_metrics_visit(). A writer never waits for a reader: values are relaxed atomics, new series are published by one
 * store. Nor for another writer, but where a series is new: they share no cell. Readers exclude each other, and the
 * sweep.
 */
#ifndef CLV_EXPORT_METRICS_H
#define CLV_EXPORT_METRICS_H

#include "model/event.h"
#include "model/figure.h"
#include "model/resource.h"
#include "model/span.h"

/* Series in all, by default. */
#define CLV_METRICS_SERIES 10000u
/* Series of one metric for one resource: OpenTelemetry's default (metrics SDK specification, cardinality limits). */
#define CLV_METRICS_SERIES_EACH 2000u
/* Bounds of a histogram at most. */
#define CLV_METRICS_BOUNDS 32u
/* A label's value in bytes; longer ones are cut. */
#define CLV_METRICS_VALUE   255u
#define CLV_METRICS_LABELS  10u
#define CLV_METRICS_WRITERS 8u
/* The series of a resource that is gone are exported this much longer. */
#define CLV_METRICS_LINGER_NS (300ull * 1000 * 1000 * 1000)

enum clv_metric_type {
	CLV_METRIC_COUNTER,   /* only grows */
	CLV_METRIC_UPDOWN,    /* a sum that may shrink */
	CLV_METRIC_GAUGE,     /* as it is now */
	CLV_METRIC_HISTOGRAM, /* with explicit bounds */
};

struct clv_metric_family {
	const char *name; /* OpenTelemetry's */
	const char *unit; /* UCUM, as OpenTelemetry writes it: s, By, {request} */
	const char *help;
	enum clv_metric_type type;
	double divisor; /* a value in `unit` is the stored integer divided by this */
};

struct clv_metric_label {
	const char *key;       /* OpenTelemetry's */
	struct clv_slice text; /* valid UTF-8; of an integer its digits */
	bool integer;
	bool boolean;
	int64_t number;
};

/* A measurement that went into a bucket, and the span it was made of. */
struct clv_metric_exemplar {
	uint64_t value; /* as the series' values are stored */
	uint64_t ts_ns; /* Unix time; 0: there is none */
	uint8_t trace_id[16];
	uint8_t span_id[8];
};

/* One series as it is now. Valid during the call it is given to. */
struct clv_metric_point {
	const struct clv_metric_family *family;
	const struct clv_resource_attr *resource; /* service.name first */
	uint32_t resource_count, resource_id;
	const struct clv_metric_label *labels;
	uint32_t label_count;
	uint64_t start_ns; /* it counts since then */
	int64_t value;     /* not of histograms */
	/* of histograms */
	const double *bounds; /* upper ones, inclusive, in `unit` */
	uint32_t bound_count;
	uint64_t count; /* the sum of the buckets */
	uint64_t sum;
	uint64_t bucket[CLV_METRICS_BOUNDS + 1];                     /* each by itself; the last: above all bounds */
	struct clv_metric_exemplar exemplar[CLV_METRICS_BOUNDS + 1]; /* by bucket */
};

struct clv_metrics_config {
	const double *bounds; /* of request durations in seconds, ascending; NULL: OpenTelemetry's */
	size_t bound_count;   /* at most CLV_METRICS_BOUNDS */
	size_t max_series;    /* 0: CLV_METRICS_SERIES */
	/* Whom clovisor's own metrics are about, and what overflows past max_series. Copied. NULL: service.name
	 * clovisor. */
	const struct clv_resource *own;
	uint64_t now_ns; /* Unix time: the start of clovisor's own counters */
};

struct clv_metrics;

/* Returns 0 and the registry in *out; -EINVAL for bounds that do not ascend or are too many, or -ENOMEM. */
int clv_metrics_new(const struct clv_metrics_config *config, struct clv_metrics **out);
/* No reader may be left. NULL is allowed. */
void clv_metrics_free(struct clv_metrics *m);

/* ---- writing: the engines' threads ---------------------------------------------------------------------------------
 */

/*
 * A finished span, with its resource: every one, whatever sampling and filters do with it. `kept`: it is exported, so
 * it may stand as an exemplar. `writer`: below CLV_METRICS_WRITERS.
 */
void clv_metrics_span(struct clv_metrics *m, unsigned writer, const struct clv_span *span, bool kept);
/* `resource`: of what was captured at event->net. */
void clv_metrics_event(struct clv_metrics *m, unsigned writer, const struct clv_resource *resource,
		       const struct clv_event *event);

/* ---- writing as well, while no other thread does ------------------------------------------------------------------
 */

/* Clovisor's own figures as they are now, by name (docs/metrics.md lists them); others are ignored. */
void clv_metrics_figures(struct clv_metrics *m, const struct clv_figure *figures, size_t n, uint64_t now_ns);
/*
 * This resource is gone, since now: its series linger, then their room is used again. They do not while another one
 * is there that clv_metrics_identifies() cannot tell from it.
 */
void clv_metrics_gone(struct clv_metrics *m, uint32_t resource_id, uint64_t now_ns);
/* About once a second: lets go of what has lingered. Puts it off while somebody reads. */
void clv_metrics_sweep(struct clv_metrics *m, uint64_t now_ns);
/* Measurements that went into an overflow series. */
uint64_t clv_metrics_overflowed(const struct clv_metrics *m);
/* Series there are. */
size_t clv_metrics_series(const struct clv_metrics *m);

/* ---- reading: any thread -------------------------------------------------------------------------------------------
 */

enum clv_metrics_order {
	CLV_METRICS_BY_FAMILY,   /* all of a family in a row, within it by resource */
	CLV_METRICS_BY_RESOURCE, /* all of a resource in a row, within it by family */
};

/*
 * Does this attribute of a resource tell its series from those of others, as labels must (docs/metrics.md)? Which of
 * them do depends on what others it has.
 */
bool clv_metrics_identifies(const struct clv_resource_attr *attr, uint32_t count, struct clv_slice key);

/* Histograms that nothing went into are left out. Returns 0, or -ENOMEM with nothing visited. */
int clv_metrics_visit(struct clv_metrics *m, enum clv_metrics_order order,
		      void (*fn)(void *ctx, const struct clv_metric_point *point), void *ctx);

#endif
