/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where telemetry is sent and how: defaults, then the OTEL_* variables, then the command line, each winning over the
 * one before. A variable that is empty counts as not set (OpenTelemetry specification,
 * configuration/sdk-environment-variables.md and protocol/exporter.md); one that makes no sense is warned of and
 * ignored, as that specification demands, unless it says where to send to.
 *
 * Before threads start.
 */
#ifndef CLV_EXPORT_OTLP_CONFIG_H
#define CLV_EXPORT_OTLP_CONFIG_H

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

#define CLV_OTLP_URL_MAX     1024
#define CLV_OTLP_HEADERS     32
#define CLV_OTLP_HEADERS_MAX 8192 /* bytes, all of them together */

enum clv_export_signal { CLV_EXPORT_TRACES, CLV_EXPORT_METRICS, CLV_EXPORT_SIGNALS };
enum clv_otlp_protocol { CLV_OTLP_UNSET, CLV_OTLP_HTTP, CLV_OTLP_GRPC, CLV_OTLP_HTTP_JSON };

/* Where one signal goes. */
struct clv_otlp_target {
	bool wanted;                  /* something asked for it */
	bool none;                    /* OTEL_{TRACES,METRICS}_EXPORTER=none, or without "otlp" */
	char url[CLV_OTLP_URL_MAX];   /* http:// or https://; of gRPC: without path */
	char shown[CLV_OTLP_URL_MAX]; /* the same without user and password, for people */
	enum clv_otlp_protocol protocol;
	bool gzip;
	bool insecure;                      /* gRPC, for a URL without scheme: no TLS */
	uint64_t timeout_ns;                /* of one request */
	char ca[PATH_MAX];                  /* PEM files; empty: the system's */
	char certificate[PATH_MAX];         /* of the client, with its key; empty: none */
	char key[PATH_MAX];                 /* of that certificate */
	uint32_t header_count;              /* further fields of each request */
	char *header[CLV_OTLP_HEADERS];     /* "name: value", into the next */
	char headers[CLV_OTLP_HEADERS_MAX]; /* their text */
};

/* How many resources are known at a time; an id has the slot id % CLV_OTLP_SLOTS. */
#define CLV_OTLP_SLOTS 256

struct clv_otlp_config {
	struct clv_otlp_target target[CLV_EXPORT_SIGNALS];
	bool disabled; /* OTEL_SDK_DISABLED */

	/* Spans. */
	size_t queue_bytes;    /* between the engine's thread and the exporter's */
	uint64_t memory_bytes; /* where they wait for the collector */
	uint64_t max_queue;    /* OTEL_BSP_MAX_QUEUE_SIZE: spans that wait in memory; 0: only memory_bytes count */
	uint32_t max_batch;    /* OTEL_BSP_MAX_EXPORT_BATCH_SIZE: spans of a request */
	uint64_t delay_ns;     /* OTEL_BSP_SCHEDULE_DELAY: how long a span waits for others */
	char spool[PATH_MAX];  /* empty: none */
	uint64_t spool_bytes;  /* its budget */
	bool wait;             /* the engine waits rather than lose spans (reading a file) */
	const volatile sig_atomic_t *stop; /* with `wait` */

	/*
	 * Metrics: called on the exporter's thread each interval and before the end. *data becomes an encoded
	 * ExportMetricsServiceRequest, which is freed with free(). Returns 0 or -errno; *len 0: nothing to say.
	 */
	int (*collect)(void *ctx, char **data, size_t *len);
	void *collect_ctx;
	uint64_t metric_interval_ns; /* OTEL_METRIC_EXPORT_INTERVAL */

	/* For http/json: a request from protobuf to JSON; *out is freed with free(). NULL: there is no http/json. */
	int (*json)(struct clv_slice message, enum clv_export_signal signal, char **out, size_t *len);
};

/* Every field has its default; nothing is wanted. */
void clv_otlp_config_init(struct clv_otlp_config *c);

/*
 * What the environment says. Export is wanted when it names an endpoint, or OTEL_{TRACES,METRICS}_EXPORTER says otlp.
 * Returns 0, or -EINVAL with the reason in `why`: an endpoint that cannot be used.
 */
int clv_otlp_config_env(struct clv_otlp_config *c, char *why, size_t size);

/*
 * `--otlp URL`: a base endpoint for both signals. http:// and https:// (with v1/traces and v1/metrics appended; what
 * the environment says of the protocol holds), grpc:// and grpcs:// (port 4317 if it has none). It wins over
 * endpoints in the environment and over OTEL_SDK_DISABLED; *_EXPORTER=none stays. Returns 0 or -EINVAL with `why`.
 */
int clv_otlp_config_url(struct clv_otlp_config *c, const char *url, char *why, size_t size);

/* The same for one signal, and the URL is used as it stands. */
int clv_otlp_config_signal_url(struct clv_otlp_config *c, enum clv_export_signal signal, const char *url, char *why,
			       size_t size);

/* "name=value,name=value", values percent-encoded (W3C Baggage). Adds to what is there. 0 or -EINVAL with `why`. */
int clv_otlp_config_headers(struct clv_otlp_target *t, const char *text, char *why, size_t size);

/* Whether anything is to be sent of that signal. */
bool clv_otlp_config_active(const struct clv_otlp_config *c, enum clv_export_signal signal);

#endif
