/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns all that a run gives out: the lines and their thread, the exporter, the metrics and their endpoint, the sampler,
 * and the lanes' outlets. What goes through these is outlet.c's. Main thread.
 */
#include "cli/outputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cli/export.h"
#include "cli/outputs_internal.h"
#include "export/metrics_http.h"

#define WHY_BYTES 512

/* ---- state --------------------------------------------------------------------------------------------------------
 */

bool clv_outputs_counts_events(const struct clv_outputs *o)
{
	return o->metrics;
}

bool clv_outputs_full(const struct clv_outputs *o)
{
	return o->options->limit && atomic_load_explicit(&o->shown, memory_order_relaxed) >= o->options->limit;
}

int clv_outputs_error(struct clv_outputs *o)
{
	return o->out ? clv_out_error(o->out) : 0;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* What metrics call some of the exporter's figures. */
static void outputs_export_metrics(struct clv_outputs *o, uint64_t now_ns)
{
	static const struct {
		const char *name;
		enum clv_otlp_figure figure;
	} names[] = {
		{"export_spans_sent", CLV_OTLP_export_sent},
		{"export_spans_rejected", CLV_OTLP_export_rejected},
		{"export_requests_ok", CLV_OTLP_export_requests},
		{"export_requests_retried", CLV_OTLP_export_retries},
		{"export_requests_failed", CLV_OTLP_export_failed},
		{"export_queue_used", CLV_OTLP_export_queue_bytes},
	};
	static const enum clv_otlp_figure dropped[] = {
		CLV_OTLP_drop_export_queue_full, CLV_OTLP_drop_export_budget, CLV_OTLP_drop_export_refused,
		CLV_OTLP_drop_export_damaged,    CLV_OTLP_drop_export_closed,
	};
	struct clv_figure figures[sizeof(names) / sizeof(*names) + 1];
	uint64_t lost = 0;
	size_t n = 0;

	for (; n < sizeof(names) / sizeof(*names); n++)
		figures[n] = (struct clv_figure){names[n].name, "", false, clv_otlp_figure(o->otlp, names[n].figure)};
	for (size_t i = 0; i < sizeof(dropped) / sizeof(*dropped); i++)
		lost += clv_otlp_figure(o->otlp, dropped[i]);
	figures[n++] = (struct clv_figure){"export_spans_dropped", "", false, lost};
	clv_metrics_figures(o->metrics, figures, n, now_ns);
}

void clv_outputs_second(struct clv_outputs *o)
{
	uint64_t now_ns = clv_clock_unix_ns();

	if (!o->metrics)
		return;
	clv_metrics_figures(o->metrics, o->summary.figure, o->summary.count, now_ns);
	if (o->otlp)
		outputs_export_metrics(o, now_ns);
	clv_metrics_sweep(o->metrics, now_ns);
}

void clv_outputs_gone(struct clv_outputs *o, uint32_t resource_id)
{
	if (o->metrics)
		clv_metrics_gone(o->metrics, resource_id, clv_clock_unix_ns());
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

/* What all samplers have left out. */
static void outputs_sampled(const struct clv_outputs *o, struct clv_summary *s)
{
	struct clv_figure all[CLV_SAMPLE_FIGURES], own[CLV_SAMPLE_FIGURES];

	clv_sampler_figures(&o->sampler, all);
	for (unsigned i = 0; i < o->count; i++) {
		clv_sampler_figures(&o->outlet[i].sampler, own);
		for (size_t j = 0; j < CLV_SAMPLE_FIGURES; j++)
			all[j].value += own[j].value;
	}
	for (size_t i = 0; i < CLV_SAMPLE_FIGURES; i++)
		clv_summary_set(s, all[i]);
}

void clv_outputs_figures(struct clv_outputs *o, struct clv_summary *s)
{
	struct clv_figure exported[CLV_OTLP_FIGURE_COUNT];

	clv_summary_set(s, (struct clv_figure){"output_full", "requests not shown because the output was too slow",
					       true, o->out ? clv_out_dropped(o->out) : 0});
	if (o->traces)
		outputs_sampled(o, s);
	if (o->metrics)
		clv_summary_set(s,
				(struct clv_figure){"metrics_overflow",
						    "measurements counted without labels, as there are too many series",
						    true, clv_metrics_overflowed(o->metrics)});
	if (!o->otlp)
		return;
	clv_otlp_figures(o->otlp, exported);
	for (size_t i = 0; i < CLV_OTLP_FIGURE_COUNT; i++)
		clv_summary_set(s, exported[i]);
}

struct clv_summary *clv_outputs_summary(struct clv_outputs *o)
{
	const struct clv_summary *shown[CLV_WORKERS_MOST];

	for (unsigned i = 0; i < o->count; i++)
		shown[i] = o->outlet[i].summary;
	if (o->count > 1)
		clv_summary_gather(&o->summary, shown, o->count);
	return &o->summary;
}

/* ---- start and end ----------------------------------------------------------------------------------------------- */

static void outputs_sample(struct clv_outputs *o)
{
	static const struct {
		enum clv_root_sampler root;
		bool parent_based;
	} samplers[] = {
		[CLV_SAMPLER_ALWAYS_ON] = {CLV_SAMPLE_ALL, false},
		[CLV_SAMPLER_ALWAYS_OFF] = {CLV_SAMPLE_NONE, false},
		[CLV_SAMPLER_RATIO] = {CLV_SAMPLE_RATIO, false},
		[CLV_SAMPLER_PARENT_ALWAYS_ON] = {CLV_SAMPLE_ALL, true},
		[CLV_SAMPLER_PARENT_ALWAYS_OFF] = {CLV_SAMPLE_NONE, true},
		[CLV_SAMPLER_PARENT_RATIO] = {CLV_SAMPLE_RATIO, true},
	};
	const struct clv_options *from = o->options;
	const struct clv_sampling sampling = {
		.root = samplers[from->sampler].root,
		.parent_based = samplers[from->sampler].parent_based,
		.ratio = from->sample_ratio,
		.per_second = from->sample_rate,
		.keep_errors = from->keep.errors,
		.keep_slow_ns = from->keep.slower_ns,
	};

	clv_sampler_init(&o->sampler, &sampling);
	for (unsigned i = 0; i < o->count; i++)
		clv_sampler_init(&o->outlet[i].sampler, &sampling);
}

void clv_outputs_configure(struct clv_outputs *o, const struct clv_options *options)
{
	o->options = options;
	outputs_sample(o);
}

/* A collector or a scraper is what somebody wants to read; lines then only if they are asked for. */
static enum clv_output outputs_format(const struct clv_options *options, bool elsewhere)
{
	if (options->output != CLV_OUTPUT_AUTO)
		return options->output;
	return elsewhere ? CLV_OUTPUT_NONE : CLV_OUTPUT_TEXT;
}

static int outputs_open_metrics(struct clv_outputs *o, struct clv_health *health)
{
	const struct clv_options *options = o->options;
	char why[CLV_METRICS_HTTP_WHY];
	const struct clv_metrics_config config = {
		.bounds = options->metrics.bounds.count ? options->metrics.bounds.item : NULL,
		.bound_count = options->metrics.bounds.count,
		.max_series = options->metrics.max_series,
		.now_ns = clv_clock_unix_ns(),
	};
	int err = clv_metrics_new(&config, &o->metrics);

	if (err) {
		clv_error("cannot count metrics: %s", strerror(-err));
		return err;
	}
	if (!options->metrics.listen)
		return 0;
	err = clv_metrics_http_open(options->metrics.listen, o->metrics, health, &o->endpoint, why);
	if (err)
		clv_error("%s", why);
	return err;
}

/* Whatever goes elsewhere than to standard output. */
static int outputs_open_export(struct clv_outputs *o, const struct clv_outputs_config *config)
{
	struct clv_otlp_config *plan = NULL;
	char why[WHY_BYTES];
	int err = clv_export_plan(o->options, &plan, why, sizeof(why));

	if (err) {
		clv_error("%s", why);
		return err;
	}
	if (!config->live && o->options->metrics.listen)
		clv_warn("--metrics is for live traffic: of a file no metrics are served");
	bool metrics = o->options->metrics.listen || (plan && clv_otlp_config_active(plan, CLV_EXPORT_METRICS));
	if (config->live && metrics) /* a file's metrics would be those of another time */
		err = outputs_open_metrics(o, config->health);
	o->traces = plan && clv_otlp_config_active(plan, CLV_EXPORT_TRACES);
	if (!err && plan &&
	    (err = clv_export_open(plan, config->live, config->stop, o->metrics, &o->otlp, why, sizeof(why))))
		clv_error("%s", why);
	free(plan);
	return err;
}

static void outputs_open_outlets(struct clv_outputs *o, enum clv_color color)
{
	for (unsigned i = 0; i < o->count; i++) {
		struct clv_outlet *t = &o->outlet[i];

		t->all = o;
		t->number = i;
		t->summary = o->count > 1 ? &t->own : &o->summary;
		clv_text_init(&t->text, STDOUT_FILENO, color);
		t->text.started = o->count > 1; /* outlet.c sees to the header */
	}
}

int clv_outputs_open(const struct clv_outputs_config *config, struct clv_outputs **out)
{
	size_t size = sizeof(struct clv_outputs) + config->lanes * sizeof(struct clv_outlet);
	struct clv_outputs *o = aligned_alloc(alignof(struct clv_outputs), size);

	if (!o) {
		clv_error("cannot start: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	memset(o, 0, size);
	o->resources = config->resources;
	o->count = config->lanes;
	clv_queue_lock_init(&o->lock);
	outputs_open_outlets(o, config->options->color);
	clv_outputs_configure(o, config->options);
	int err = outputs_open_export(o, config);
	if (err) {
		clv_outputs_close(o);
		return err;
	}
	o->format = outputs_format(config->options, o->otlp || o->endpoint);
	if (o->format != CLV_OUTPUT_NONE)
		err = clv_out_open(STDOUT_FILENO, o->count, !config->live, config->stop, &o->out);
	if (err) {
		clv_error("cannot start: %s", strerror(-err));
		clv_outputs_close(o);
		return err;
	}
	*out = o;
	return 0;
}

struct clv_outlet *clv_outputs_outlet(struct clv_outputs *o, unsigned lane)
{
	return &o->outlet[lane];
}

void clv_outputs_flush(struct clv_outputs *o)
{
	for (unsigned i = 0; i < o->count; i++)
		clv_outlet_flush(&o->outlet[i]);
	if (o->otlp)
		clv_otlp_flush(o->otlp, o->options->flush_timeout_ns);
}

bool clv_outputs_delivered(struct clv_outputs *o)
{
	return !o->otlp || clv_otlp_figure(o->otlp, CLV_OTLP_export_sent) ==
				   clv_otlp_figure(o->otlp, CLV_OTLP_export_queued) +
					   clv_otlp_figure(o->otlp, CLV_OTLP_export_recovered);
}

int clv_outputs_end_lines(struct clv_outputs *o)
{
	struct clv_out *out = o->out;

	o->out = NULL;
	return clv_out_close(out);
}

void clv_outputs_close(struct clv_outputs *o)
{
	if (!o)
		return;
	clv_out_close(o->out);
	clv_otlp_close(o->otlp);
	clv_metrics_http_close(o->endpoint);
	clv_metrics_free(o->metrics);
	for (unsigned i = 0; i < o->count; i++)
		clv_parcel_free(&o->outlet[i].spans.parcel);
	pthread_mutex_destroy(&o->lock);
	free(o);
}
