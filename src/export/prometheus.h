/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics as Prometheus reads them: the text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats) and
 * OpenMetrics 1.0.0. Names as OpenTelemetry's "Prometheus and OpenMetrics Compatibility" has them.
 */
#ifndef CLV_EXPORT_PROMETHEUS_H
#define CLV_EXPORT_PROMETHEUS_H

#include "export/grow.h"
#include "export/metrics.h"

enum clv_prometheus_format {
	CLV_PROMETHEUS_TEXT,
	CLV_PROMETHEUS_OPENMETRICS, /* and exemplars */
};

/* The Content-Type of each. */
extern const char *const clv_prometheus_type[2];

/* The longest translated name, with its suffixes and its NUL. */
#define CLV_PROMETHEUS_NAME 128

/* A metric's name, with the suffix of its unit and, of a counter, without _total. Any thread. */
void clv_prometheus_name(const struct clv_metric_family *f, char out[CLV_PROMETHEUS_NAME]);

/* Appends all there is. Returns 0 or -ENOMEM. Any thread. */
int clv_prometheus_write(struct clv_metrics *m, enum clv_prometheus_format format, struct clv_grow *out);

#endif
