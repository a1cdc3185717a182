/* SPDX-License-Identifier: Apache-2.0 */
/* The options about OTLP in the exporter's form: what the environment says, then what the options say over it. */
#ifndef CLV_CLI_EXPORT_H
#define CLV_CLI_EXPORT_H

#include "cli/options.h"
#include "export/metrics.h"
#include "export/otlp.h"

/*
 * What is to be sent where. *out is NULL when nothing is, otherwise the caller frees it with free(). Main thread.
 * Returns 0, or -errno and what is wrong in `why`.
 */
int clv_export_plan(const struct clv_options *o, struct clv_otlp_config **out, char *why, size_t size);

/* Might metrics go out? Asked before there is a plan; in doubt yes. */
bool clv_export_may_count(const struct clv_options *o);

/*
 * Starts the exporter. `live`: spans are lost rather than the engine held up. `metrics` may be NULL; it is read on
 * the exporter's thread until clv_otlp_close(). Returns as clv_otlp_open().
 */
int clv_export_open(struct clv_otlp_config *plan, bool live, const volatile sig_atomic_t *stop,
		    struct clv_metrics *metrics, struct clv_otlp **out, char *why, size_t size);

#endif
