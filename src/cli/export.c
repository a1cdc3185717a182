/* SPDX-License-Identifier: Apache-2.0 */
/* From options to the exporter's configuration. Owns nothing; never sends anything itself. Main thread, but for what
 * the exporter calls on its own. */
#include "cli/export.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "export/grow.h"
#include "export/otlp_json.h"
#include "export/otlp_metrics.h"

/* ---- what the exporter calls ------------------------------------------------------------------------------------- */

static int export_collect(void *ctx, char **data, size_t *len)
{
	struct clv_grow grow = {0};
	int err = clv_otlp_metrics(ctx, clv_clock_unix_ns(), &grow);

	if (err) {
		clv_grow_fini(&grow);
		return err;
	}
	*data = grow.data;
	*len = grow.len;
	return 0;
}

static int export_json(struct clv_slice message, enum clv_export_signal signal, char **out, size_t *len)
{
	struct clv_otlp_json json = {0};
	int err = signal == CLV_EXPORT_TRACES ? clv_otlp_json_traces(&json, message)
					      : clv_otlp_json_metrics(&json, message);

	if (err) {
		clv_otlp_json_fini(&json);
		return err;
	}
	*out = json.data;
	*len = json.len;
	return 0;
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int export_path(char out[PATH_MAX], const char *path, char *why, size_t size)
{
	if (!path)
		return 0;
	if (snprintf(out, PATH_MAX, "%s", path) < PATH_MAX)
		return 0;
	snprintf(why, size, "%.64s...: the path is too long", path);
	return -EINVAL;
}

/* Header values are taken as they are; the exporter's list is percent-encoded. */
static int export_header(struct clv_otlp_target *t, const char *name, const char *value, char *why, size_t size)
{
	static const char hex[] = "0123456789ABCDEF";
	char text[CLV_OTLP_HEADERS_MAX];
	size_t len = (size_t)snprintf(text, sizeof(text), "%s=", name);

	for (const char *v = value; *v && len + 4 < sizeof(text); v++) {
		if (strchr("%,;=\" ", *v)) {
			text[len++] = '%';
			text[len++] = hex[(uint8_t)*v >> 4];
			text[len++] = hex[(uint8_t)*v & 15];
		} else {
			text[len++] = *v;
		}
	}
	if (len + 4 >= sizeof(text)) {
		snprintf(why, size, "--otlp-header %.64s: too long", name);
		return -EINVAL;
	}
	text[len] = '\0';
	return clv_otlp_config_headers(t, text, why, size);
}

static int export_target(const struct clv_options *o, struct clv_otlp_target *t, char *why, size_t size)
{
	int err = export_path(t->ca, o->otlp.ca_path, why, size);

	if (!err)
		err = export_path(t->certificate, o->otlp.cert_path, why, size);
	if (!err)
		err = export_path(t->key, o->otlp.key_path, why, size);
	for (size_t i = 0; i < o->otlp.headers.count && !err; i++)
		err = export_header(t, o->otlp.headers.item[i].name, o->otlp.headers.item[i].value, why, size);
	if (o->otlp.compression != CLV_COMPRESSION_UNSET)
		t->gzip = o->otlp.compression == CLV_COMPRESSION_GZIP;
	if (o->otlp.timeout_ns)
		t->timeout_ns = o->otlp.timeout_ns;
	return err;
}

static int export_endpoints(const struct clv_options *o, struct clv_otlp_config *c, char *why, size_t size)
{
	const char *own[CLV_EXPORT_SIGNALS] = {o->otlp.traces_endpoint, o->otlp.metrics_endpoint};
	int err = 0;

	/* Before the URLs: of gRPC they have no path. */
	for (int i = 0; i < CLV_EXPORT_SIGNALS; i++)
		if (o->otlp.protocol != CLV_PROTOCOL_UNSET)
			c->target[i].protocol = (enum clv_otlp_protocol)o->otlp.protocol;
	if (o->otlp.protocol != CLV_PROTOCOL_UNSET && !o->otlp.endpoint &&
	    (c->target[0].wanted || c->target[1].wanted)) {
		snprintf(why, size,
			 "--otlp-protocol goes with --otlp; with OTEL_EXPORTER_OTLP_ENDPOINT it is "
			 "OTEL_EXPORTER_OTLP_PROTOCOL");
		return -EINVAL;
	}
	if (o->otlp.endpoint)
		err = clv_otlp_config_url(c, o->otlp.endpoint, why, size);
	for (int i = 0; i < CLV_EXPORT_SIGNALS && !err; i++)
		if (own[i])
			err = clv_otlp_config_signal_url(c, (enum clv_export_signal)i, own[i], why, size);
	return err;
}

_Static_assert((int)CLV_PROTOCOL_HTTP_PROTOBUF == (int)CLV_OTLP_HTTP && (int)CLV_PROTOCOL_GRPC == (int)CLV_OTLP_GRPC &&
		       (int)CLV_PROTOCOL_HTTP_JSON == (int)CLV_OTLP_HTTP_JSON,
	       "one numbering of protocols");

static int export_configure(const struct clv_options *o, struct clv_otlp_config *c, char *why, size_t size)
{
	clv_otlp_config_init(c);
	int err = clv_otlp_config_env(c, why, size);
	if (!err)
		err = export_endpoints(o, c, why, size);
	for (int i = 0; i < CLV_EXPORT_SIGNALS && !err; i++)
		err = export_target(o, &c->target[i], why, size);
	if (!err)
		err = export_path(c->spool, o->spool_dir, why, size);
	if (err)
		return err;
	c->spool_bytes = o->spool_max_bytes;
	c->memory_bytes = o->queue_bytes;
	if (o->otlp.batch_delay_ns)
		c->delay_ns = o->otlp.batch_delay_ns;
	if (o->otlp.batch_max)
		c->max_batch = (uint32_t)o->otlp.batch_max;
	if (o->otlp.metrics_interval_ns)
		c->metric_interval_ns = o->otlp.metrics_interval_ns;
	if (o->otlp.metrics == CLV_SWITCH_OFF)
		c->target[CLV_EXPORT_METRICS].none = true;
	return 0;
}

int clv_export_plan(const struct clv_options *o, struct clv_otlp_config **out, char *why, size_t size)
{
	struct clv_otlp_config *c = malloc(sizeof(*c)); /* too large for a stack */

	snprintf(why, size, "no memory");
	if (!c)
		return -ENOMEM;
	int err = export_configure(o, c, why, size);
	bool wanted = clv_otlp_config_active(c, CLV_EXPORT_TRACES) || clv_otlp_config_active(c, CLV_EXPORT_METRICS);
	if (!err && !wanted && o->spool_dir) {
		snprintf(why, size, "--spool keeps spans for a collector: give its address with --otlp");
		err = -EINVAL;
	}
	if (err || !wanted) {
		free(c);
		c = NULL;
	}
	if (!err)
		*out = c;
	return err;
}

bool clv_export_may_count(const struct clv_options *o)
{
	static const char *const variables[] = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
						"OTEL_METRICS_EXPORTER"};
	bool may = o->otlp.endpoint || o->otlp.metrics_endpoint;

	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++)
		may |= getenv(variables[i]) != NULL;
	return o->metrics.listen || (may && o->otlp.metrics != CLV_SWITCH_OFF);
}

int clv_export_open(struct clv_otlp_config *c, bool live, const volatile sig_atomic_t *stop,
		    struct clv_metrics *metrics, struct clv_otlp **out, char *why, size_t size)
{
	c->wait = !live;
	c->stop = stop;
	c->collect = metrics ? export_collect : NULL;
	c->collect_ctx = metrics;
	c->json = export_json;
	return clv_otlp_open(c, why, size, out);
}
