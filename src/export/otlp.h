/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans and metrics to a collector, by OTLP. The engine's thread encodes into a queue; the exporter's thread takes
 * them from there, lets them wait in a store (memory or spool), sends and repeats. No span is lost without being
 * counted: at any time
 *
 *     export_queued + export_recovered = export_sent + export_rejected + drop_export_... + export_waiting
 *
 * What happens when a collector fails: docs/export.md.
 */
#ifndef CLV_EXPORT_OTLP_H
#define CLV_EXPORT_OTLP_H

#include "export/otlp_config.h"
#include "export/parcel.h"
#include "model/figure.h"
#include "model/span.h"

/* Requests with spans that are on their way, or wait to be sent again, at a time. */
#define CLV_OTLP_FLIGHTS 4
/* A request is no longer, unless a single chunk is. What OTLP allows is 64 MiB. */
#define CLV_OTLP_REQUEST_BYTES (1u << 20)
/* A chunk is no longer, unless a single span is. */
#define CLV_OTLP_CHUNK_BYTES (256u << 10)
/* Before the first repetition; then half as much again each time, up to the longest. */
#define CLV_OTLP_BACKOFF_NS     1000000000ull
#define CLV_OTLP_BACKOFF_MAX_NS 30000000000ull
/* How long clv_otlp_flush() gives the collector, unless told otherwise. */
#define CLV_OTLP_FLUSH_NS 10000000000ull
/* With `wait`: how long a collector that takes nothing holds up the engine, before spans are lost instead. */
#define CLV_OTLP_PATIENCE_NS 60000000000ull
/* Of the lines about one collector's failures, and about partial success. */
#define CLV_OTLP_QUIET_NS 60000000000ull

/* name, counts something lost, text */
#define CLV_OTLP_FIGURES(X)                                                                              \
	X(export_queued, false, "spans given to the exporter")                                           \
	X(export_recovered, false, "spans found in the spool, from earlier runs")                        \
	X(export_sent, false, "spans that the collector took")                                           \
	X(export_waiting, false, "spans that wait for the collector")                                    \
	X(export_spooled, false, "spans written to the spool")                                           \
	X(export_requests, false, "requests that the collector answered with success")                   \
	X(export_retries, false, "requests that failed and are sent again")                              \
	X(export_failed, false, "requests that failed for good")                                         \
	X(export_queue_bytes, false, "bytes of spans that wait")                                         \
	X(export_rejected, true, "spans that the collector rejected from a request (partial success)")   \
	X(drop_export_queue_full, true, "spans lost because the exporter's queue was full")              \
	X(drop_export_budget, true, "spans lost because too many waited for the collector")              \
	X(drop_export_refused, true, "spans that the collector refused")                                 \
	X(drop_export_damaged, true, "spans in the spool that could not be read back")                   \
	X(drop_export_closed, true, "spans lost because the collector did not take them before the end") \
	X(spool_damaged, true, "damaged places in the spool, left by earlier runs")                      \
	X(drop_export_metrics, true, "requests with metrics that were not delivered")

enum clv_otlp_figure {
#define X(name, drop, text) CLV_OTLP_##name,
	CLV_OTLP_FIGURES(X)
#undef X
		CLV_OTLP_FIGURE_COUNT
};

struct clv_otlp;

/*
 * Starts the exporter's thread. `config` is copied. Connects to nothing yet. Returns 0 or -errno and says what is
 * wrong with `why`; -EBUSY: another process uses the spool. Not on a thread that others must not wait for: the spool
 * is read through.
 */
int clv_otlp_open(const struct clv_otlp_config *config, char *why, size_t size, struct clv_otlp **out);

/* The engine's thread. Never blocks, unless config->wait. The span's resource is set; the signal is active. */
void clv_otlp_span(struct clv_otlp *o, const struct clv_span *span);

/*
 * Instead of clv_otlp_span(), by each of several threads, into a parcel of its own that clv_otlp_put() takes to the
 * queue. All zero: empty; clv_parcel_free() of its parcel ends it. It has the resources of its spans with it, so that
 * none depends on what others hold.
 */
struct clv_otlp_parcel {
	struct clv_parcel parcel;
	uint32_t announced[CLV_OTLP_SLOTS]; /* since it was empty */
};
/* The span's resource is set. When there is no more room for it in the parcel, that is put before. */
void clv_otlp_collect(struct clv_otlp *o, struct clv_otlp_parcel *p, const struct clv_span *span);
/*
 * Hands over what is in the parcel, and what waits as clv_otlp_tick() does. Tells in *pressed what clv_otlp_pressed()
 * would. Any thread.
 */
void clv_otlp_put(struct clv_otlp *o, struct clv_otlp_parcel *p, bool *pressed);

/* Often called by the engine's thread: hands over what waits, CLV_QUEUE_TICK_NS after the first at the latest. */
void clv_otlp_tick(struct clv_otlp *o);
/* The engine's thread: does the exporter's fall behind with taking what it is given? A slow collector is no reason. */
bool clv_otlp_pressed(struct clv_otlp *o);

/*
 * The engine's thread, at the end: sends what waits, for at most `patience_ns`. What is left then stays in the spool,
 * or is lost and counted; either is said. No more spans may come. Figures stay readable.
 */
void clv_otlp_flush(struct clv_otlp *o, uint64_t patience_ns);
/* Flushes, if that was not done, and frees. NULL is allowed. */
void clv_otlp_close(struct clv_otlp *o);

/* Any thread. */
uint64_t clv_otlp_figure(struct clv_otlp *o, enum clv_otlp_figure which);
void clv_otlp_figures(struct clv_otlp *o, struct clv_figure out[CLV_OTLP_FIGURE_COUNT]);

#endif
