/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run has seen and lost: figures of its parts under one roof, latency quantiles, and their two forms, JSON
 * (--summary) and lines for people (--stats, end of a run). docs/output.md fixes the JSON.
 *
 * One thread each. No allocation: a histogram of fixed size, its quantiles off by 1.6 % at most.
 */
#ifndef CLV_EXPORT_SUMMARY_H
#define CLV_EXPORT_SUMMARY_H

#include <stdio.h>

#include "model/figure.h"
#include "model/span.h"

#define CLV_SUMMARY_FIGURES 128

/* Durations by size: up to 2^6 ns exactly, above in 32 steps an octave. */
#define CLV_HISTOGRAM_BUCKETS (64 + 58 * 32)

struct clv_histogram {
	uint64_t count, most;
	uint64_t bucket[CLV_HISTOGRAM_BUCKETS];
};

void clv_histogram_add(struct clv_histogram *h, uint64_t v);
/* The value that a share `q` (0..1) of all is not above; 0 when there are none. */
uint64_t clv_histogram_quantile(const struct clv_histogram *h, double q);

struct clv_summary {
	uint64_t requests, errors; /* of the spans that were shown */
	struct clv_histogram latency_ns;
	size_t count;
	struct clv_figure figure[CLV_SUMMARY_FIGURES];
};

/* Counts a span that was shown. A request without an answer has no latency. */
void clv_summary_span(struct clv_summary *s, const struct clv_span *span);

/* What was shown becomes all that was shown in these; the figures stay. */
void clv_summary_gather(struct clv_summary *s, const struct clv_summary *const *shown, size_t count);

/* Starts the figures anew: before each report they are set again. */
void clv_summary_reset(struct clv_summary *s);
/* Adds a figure; a "drop_" before the name of a drop goes. Of two with one name the first stays. */
void clv_summary_set(struct clv_summary *s, struct clv_figure figure);
/* The figure of that name, 0 when there is none. */
uint64_t clv_summary_get(const struct clv_summary *s, const char *name);

/* The object and a newline. Returns 0, or -errno of the stream. */
int clv_summary_json(const struct clv_summary *s, FILE *f);
/* One line: what flows and what was lost. */
void clv_summary_line(const struct clv_summary *s, FILE *f);
/* The end of a run. */
void clv_summary_text(const struct clv_summary *s, FILE *f);

#endif
