/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoint that Prometheus scrapes: /metrics; and /healthz and /readyz for probes. A thread of its own serves it;
 * it speaks as much HTTP/1.1 (RFC 9112) as that takes, one request a connection, a few connections at a time.
 */
#ifndef CLV_EXPORT_METRICS_HTTP_H
#define CLV_EXPORT_METRICS_HTTP_H

#include "export/health.h"
#include "export/metrics.h"

/* The port that Prometheus's registry has for OpenTelemetry; OTEL_EXPORTER_PROMETHEUS_PORT's default. */
#define CLV_METRICS_PORT 9464

struct clv_metrics_http;

#define CLV_METRICS_HTTP_WHY 256

/*
 * Listens on `address`, "[ADDR]:PORT": ":9464" and "9464" mean all addresses, "localhost:9464" and "[::1]:9464" these
 * ones. Port 0: any free one. `m` is borrowed until close, and `health`; NULL: always well. Returns 0; -EINVAL for what
 * is no such address; what bind(2) and listen(2) say (-EADDRINUSE); -ENOMEM. On failure *why says it in words, for one
 * log line.
 */
int clv_metrics_http_open(const char *address, struct clv_metrics *m, struct clv_health *health,
			  struct clv_metrics_http **out, char why[CLV_METRICS_HTTP_WHY]);
/* The port that it listens on. */
uint16_t clv_metrics_http_port(const struct clv_metrics_http *h);
/* Ends the thread, and cuts off who is being served. NULL is allowed. */
void clv_metrics_http_close(struct clv_metrics_http *h);

#endif
