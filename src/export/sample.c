/* SPDX-License-Identifier: Apache-2.0 */
/* Sampling of finished spans. Owns a token bucket and its counts; never looks at a clock. Engine thread. */
#include "export/sample.h"

#include <errno.h>
#include <stdlib.h>

/* Trace ids are random in their last 56 bits (Trace Context level 2, section 3.2.2.3). */
#define RANDOM_BITS  56
#define RANDOM_BYTES (RANDOM_BITS / 8)

void clv_sampler_init(struct clv_sampler *s, const struct clv_sampling *config)
{
	const double all = (double)(1ull << RANDOM_BITS);

	s->config = *config;
	s->threshold = (uint64_t)((1 - config->ratio) * all);
	s->tokens = (double)config->per_second;
}

static uint64_t trace_randomness(const struct clv_span *span)
{
	uint64_t v = 0;

	for (size_t i = sizeof(span->trace_id) - RANDOM_BYTES; i < sizeof(span->trace_id); i++)
		v = v << 8 | span->trace_id[i];
	return v;
}

static bool root_takes(const struct clv_sampler *s, const struct clv_span *span)
{
	switch (s->config.root) {
	case CLV_SAMPLE_ALL:
		return true;
	case CLV_SAMPLE_NONE:
		return false;
	case CLV_SAMPLE_RATIO:
		return trace_randomness(span) >= s->threshold;
	}
	return true;
}

static bool is_kept(const struct clv_sampling *c, const struct clv_span *span)
{
	if (c->keep_errors && span->status == CLV_STATUS_ERROR)
		return true;
	return c->keep_slow_ns && span->end_ns - span->start_ns >= c->keep_slow_ns;
}

/* A bucket that a second of quiet fills. Spans come by their ends, and an older one takes what is there. */
static bool rate_takes(struct clv_sampler *s, const struct clv_span *span)
{
	double most = (double)s->config.per_second;

	if (s->config.per_second == 0)
		return true;
	if (span->end_ns > s->refilled_ns) {
		s->tokens += (double)(span->end_ns - s->refilled_ns) * 1e-9 * most;
		s->tokens = s->tokens < most ? s->tokens : most;
		s->refilled_ns = span->end_ns;
	}
	if (s->tokens < 1)
		return false;
	s->tokens -= 1;
	return true;
}

bool clv_sampler_takes(struct clv_sampler *s, const struct clv_span *span)
{
	bool parent = s->config.parent_based && span->parent_sampled != CLV_UNDECIDED;

	if (is_kept(&s->config, span))
		return true;
	if (parent && span->parent_sampled == CLV_NOT_SAMPLED) {
		s->sampled_out_parent++;
		return false;
	}
	if (!parent && !root_takes(s, span)) {
		s->sampled_out_root++;
		return false;
	}
	if (!rate_takes(s, span)) {
		s->sampled_out_rate++;
		return false;
	}
	return true;
}

void clv_sampler_figures(const struct clv_sampler *s, struct clv_figure out[CLV_SAMPLE_FIGURES])
{
#define X(name, text) *out++ = (struct clv_figure){#name, text, false, s->name};
	CLV_SAMPLE_STATS(X)
#undef X
}

static int parse_ratio(const char *text, double *out)
{
	char *end;

	if (!text || ((*text < '0' || *text > '9') && *text != '.'))
		return -EINVAL;
	double v = strtod(text, &end);
	if (*end || !(v >= 0 && v <= 1))
		return -EINVAL;
	*out = v;
	return 0;
}

int clv_sampling_parse(const char *name, const char *argument, struct clv_sampling *out, const char **why)
{
	static const struct {
		const char *name;
		enum clv_root_sampler root;
		bool parent_based;
	} samplers[] = {
		{"always_on", CLV_SAMPLE_ALL, false},
		{"always_off", CLV_SAMPLE_NONE, false},
		{"traceidratio", CLV_SAMPLE_RATIO, false},
		{"parentbased_always_on", CLV_SAMPLE_ALL, true},
		{"parentbased_always_off", CLV_SAMPLE_NONE, true},
		{"parentbased_traceidratio", CLV_SAMPLE_RATIO, true},
	};
	double ratio = 1;

	for (size_t i = 0; i < sizeof(samplers) / sizeof(*samplers); i++) {
		if (strcmp(samplers[i].name, name) != 0)
			continue;
		*why = "the ratio must be a number from 0 to 1, as in traceidratio=0.1";
		if (samplers[i].root == CLV_SAMPLE_RATIO && argument && parse_ratio(argument, &ratio))
			return -EINVAL;
		out->root = samplers[i].root;
		out->parent_based = samplers[i].parent_based;
		out->ratio = ratio;
		return 0;
	}
	*why = "a sampler is always_on, always_off, traceidratio=RATIO, or one of these after parentbased_";
	return -EINVAL;
}
