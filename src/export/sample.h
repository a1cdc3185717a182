/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which spans are exported: OpenTelemetry's samplers (SDK environment variables, OTEL_TRACES_SAMPLER), a rate limit,
 * and rules that keep a span whatever these say. Metrics see all spans, before any sampling.
 *
 * A span's own trace id decides by ratio, in the manner of W3C Trace Context level 2 (section "random trace id flag")
 * and OpenTelemetry's consistent probability sampling: the last 56 bits of the id against a threshold. So all who
 * sample a trace by the same ratio, two clovisors or an SDK, decide alike. A rate limit cannot do that.
 *
 * One sampler belongs to one thread. Its time is that of the spans.
 */
#ifndef CLV_EXPORT_SAMPLE_H
#define CLV_EXPORT_SAMPLE_H

#include "model/figure.h"
#include "model/span.h"

enum clv_root_sampler { CLV_SAMPLE_ALL, CLV_SAMPLE_NONE, CLV_SAMPLE_RATIO };

/* All zero: every span. */
struct clv_sampling {
	enum clv_root_sampler root;
	double ratio;          /* 0..1, with CLV_SAMPLE_RATIO */
	bool parent_based;     /* what the request's own context says comes first */
	uint64_t per_second;   /* at most so many spans; 0: no limit */
	bool keep_errors;      /* spans with status ERROR are always exported */
	uint64_t keep_slow_ns; /* and those that took at least so long; 0: no such rule */
};

/* X(name, text): spans that are not exported, by what decided so. */
#define CLV_SAMPLE_STATS(X)                                                                 \
	X(sampled_out_parent, "spans not exported: their trace's own decision, or sampler") \
	X(sampled_out_root, "spans not exported: the sampler's decision")                   \
	X(sampled_out_rate, "spans not exported: the rate limit")

struct clv_sampler {
	struct clv_sampling config;
	uint64_t threshold; /* of 2^56: a trace id's last 56 bits must reach it */
	double tokens;      /* spans that may pass now */
	uint64_t refilled_ns;
#define X(name, text) uint64_t name;
	CLV_SAMPLE_STATS(X)
#undef X
};

#define CLV_SAMPLE_FIGURES 3

/* Also to change the configuration: counts stay. Zeroed before the first time. */
void clv_sampler_init(struct clv_sampler *s, const struct clv_sampling *config);

/* Is this span to be exported? Counts it where not. */
bool clv_sampler_takes(struct clv_sampler *s, const struct clv_span *span);

void clv_sampler_figures(const struct clv_sampler *s, struct clv_figure out[CLV_SAMPLE_FIGURES]);

/*
 * A sampler's name as in OTEL_TRACES_SAMPLER and its argument (NULL: none). Returns 0, or -EINVAL with the reason in
 * *why (static, for people) and *out untouched.
 */
int clv_sampling_parse(const char *name, const char *argument, struct clv_sampling *out, const char **why);

#endif
