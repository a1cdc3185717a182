/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in OTLP's protobuf form: opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest (opentelemetry-
 * proto 1.11). Sums and histograms are cumulative, each since its own start.
 */
#ifndef CLV_EXPORT_OTLP_METRICS_H
#define CLV_EXPORT_OTLP_METRICS_H

#include "export/grow.h"
#include "export/metrics.h"

/* Appends one whole request; `now_ns`, Unix time, stands in each point. Returns 0 or -ENOMEM. Any thread. */
int clv_otlp_metrics(struct clv_metrics *m, uint64_t now_ns, struct clv_grow *out);

#endif
