/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans, records and events on their way out of a lane. Never blocks while packets come, unless a file is read. The
 * lane's thread; what several lanes share is under the outputs' lock, or taken by functions that any thread may call.
 */
#include "cli/outlet.h"

#include <unistd.h>

#include "base/clock.h"
#include "cli/outputs_internal.h"

static bool is_one_of_several(const struct clv_outlet *t)
{
	return t->all->count > 1;
}

/* ---- what all share ---------------------------------------------------------------------------------------------- */

/* Several lanes decide each by itself, unless that depends on how many spans there are of all. */
static bool outlet_samples(struct clv_outlet *t, const struct clv_span *span)
{
	struct clv_outputs *o = t->all;

	if (!is_one_of_several(t))
		return clv_sampler_takes(&o->sampler, span);
	if (!o->sampler.config.per_second)
		return clv_sampler_takes(&t->sampler, span);
	pthread_mutex_lock(&o->lock);
	bool takes = clv_sampler_takes(&o->sampler, span);
	pthread_mutex_unlock(&o->lock);
	return takes;
}

/* Is the span exported? And it is counted. `wanted`: the filter takes it. */
static bool outlet_count(struct clv_outlet *t, const struct clv_span *span, bool wanted)
{
	struct clv_outputs *o = t->all;
	bool kept = wanted && o->traces && outlet_samples(t, span);

	if (o->metrics) /* an exemplar is a span that can be found somewhere */
		clv_metrics_span(o->metrics, t->number, span, kept || (wanted && o->out && !o->traces));
	return kept;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* Lines of several lanes come in any order, but none before the header. */
static void outlet_put_header(struct clv_outlet *t)
{
	char header[CLV_TEXT_HEADER];

	clv_out_head(t->all->out, clv_slice(header, clv_text_header(&t->text, header)));
	t->headed = true;
}

static char *outlet_room(struct clv_outlet *t, size_t bytes)
{
	return clv_out_room(t->all->out, t->number, bytes);
}

static void outlet_commit(struct clv_outlet *t, size_t bytes)
{
	if (!t->headed && is_one_of_several(t) && t->all->format == CLV_OUTPUT_TEXT)
		outlet_put_header(t); /* now that the line has shown how wide columns are */
	clv_out_commit(t->all->out, t->number, bytes);
}

static bool outlet_line(struct clv_outlet *t, const struct clv_span *span)
{
	bool json = t->all->format == CLV_OUTPUT_JSON;
	char *line = outlet_room(t, json ? clv_json_bound(&t->json, span) : clv_text_bound(&t->text, span));

	if (line)
		outlet_commit(t, json ? clv_json_write(&t->json, span, line) : clv_text_write(&t->text, span, line));
	return line;
}

void clv_outlet_flow(struct clv_outlet *t, struct clv_flow_record *record)
{
	struct clv_outputs *o = t->all;
	bool json = o->format == CLV_OUTPUT_JSON;

	record->resource = clv_resources_get(o->resources, record->net);
	if (!o->out || clv_outputs_full(o))
		return;
	char *line = outlet_room(t, json ? clv_json_flow_bound(&t->json, record) : clv_text_flow_bound(record));
	if (line)
		outlet_commit(t, json ? clv_json_flow(&t->json, record, line) : clv_text_flow(&t->text, record, line));
}

/* ---- spans and events -------------------------------------------------------------------------------------------- */

/* One of as many as --limit says? Among several lanes it must be taken before the line is made. */
static bool outlet_take_turn(struct clv_outlet *t)
{
	struct clv_outputs *o = t->all;
	uint64_t shown = atomic_load_explicit(&o->shown, memory_order_relaxed);

	if (!is_one_of_several(t) || !o->options->limit)
		return !clv_outputs_full(o);
	do {
		if (shown >= o->options->limit)
			return false;
	} while (!atomic_compare_exchange_weak(&o->shown, &shown, shown + 1));
	return true;
}

static void outlet_shown(struct clv_outlet *t, bool shown)
{
	struct clv_outputs *o = t->all;

	if (is_one_of_several(t)) {
		if (!shown && o->options->limit) /* another one may */
			atomic_fetch_sub(&o->shown, 1);
	} else if (shown) {
		atomic_store_explicit(&o->shown, atomic_load_explicit(&o->shown, memory_order_relaxed) + 1,
				      memory_order_relaxed);
	}
}

void clv_outlet_span(struct clv_outlet *t, struct clv_span *span)
{
	struct clv_outputs *o = t->all;

	if (!span->resource)
		span->resource = clv_resources_get(o->resources, span->net);
	bool wanted = clv_filter_match(&o->options->filter, span) && outlet_take_turn(t);
	bool kept = outlet_count(t, span, wanted);

	if (!wanted)
		return;
	clv_summary_span(t->summary, span);
	outlet_shown(t, !o->out || outlet_line(t, span));
	if (kept && is_one_of_several(t))
		clv_otlp_collect(o->otlp, &t->spans, span);
	else if (kept)
		clv_otlp_span(o->otlp, span);
}

void clv_outlet_event(struct clv_outlet *t, const struct clv_event *event)
{
	const struct clv_outputs *o = t->all;

	clv_metrics_event(o->metrics, t->number, clv_resources_get(o->resources, event->net), event);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

bool clv_outlet_pressed(struct clv_outlet *t)
{
	struct clv_outputs *o = t->all;

	if (o->out && clv_out_pressed(o->out, t->number))
		return true;
	return is_one_of_several(t) ? t->spans_pressed : o->otlp && clv_otlp_pressed(o->otlp);
}

void clv_outlet_flush(struct clv_outlet *t)
{
	struct clv_outputs *o = t->all;

	if (is_one_of_several(t) && o->otlp)
		clv_otlp_put(o->otlp, &t->spans, &t->spans_pressed);
}

/* What waits in a parcel is put away as often as the queues are looked at. */
static void outlet_tick_parcel(struct clv_outlet *t)
{
	uint64_t now_ns = clv_clock_coarse_ns();

	if (now_ns - t->ticked_ns < CLV_QUEUE_TICK_NS)
		return;
	t->ticked_ns = now_ns;
	clv_outlet_flush(t);
}

void clv_outlet_tick(struct clv_outlet *t)
{
	struct clv_outputs *o = t->all;

	if (o->out)
		clv_out_tick(o->out, t->number);
	if (o->otlp && is_one_of_several(t))
		outlet_tick_parcel(t);
	else if (o->otlp)
		clv_otlp_tick(o->otlp);
	if (o->out && t->text.width)
		clv_text_resize(&t->text, STDOUT_FILENO);
}
