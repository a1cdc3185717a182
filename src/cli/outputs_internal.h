/* SPDX-License-Identifier: Apache-2.0 */
/* What outputs.c, which opens and closes it, and outlet.c, which writes, share. Nobody else includes it. */
#ifndef CLV_CLI_OUTPUTS_INTERNAL_H
#define CLV_CLI_OUTPUTS_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "cli/outlet.h"
#include "cli/outputs.h"
#include "export/json.h"
#include "export/metrics.h"
#include "export/otlp.h"
#include "export/out.h"
#include "export/sample.h"
#include "export/text.h"

/* A lane's: on cache lines of its own. */
struct clv_outlet {
	alignas(64) struct clv_outputs *all;
	unsigned number;
	struct clv_text text;
	struct clv_json json;
	struct clv_summary *summary; /* gets what is shown */

	/* Of several outlets only. */
	struct clv_summary own;     /* where *summary is */
	struct clv_sampler sampler; /* without a rate limit, which is for all together */
	struct clv_otlp_parcel spans;
	bool spans_pressed; /* as of the last hand-over */
	bool headed;        /* there is a header for text */
	uint64_t ticked_ns;
};

struct clv_outputs {
	const struct clv_options *options;
	const struct clv_resources *resources;
	enum clv_output format; /* never AUTO */
	struct clv_out *out;    /* NULL: no lines */
	struct clv_summary summary;
	struct clv_otlp *otlp; /* NULL: no collector */
	bool traces;           /* it takes spans */
	struct clv_metrics *metrics;
	struct clv_metrics_http *endpoint;
	atomic_uint_fast64_t shown; /* spans, towards --limit */

	/* Under the lock where there are several outlets. */
	pthread_mutex_t lock;
	struct clv_sampler sampler;

	unsigned count; /* outlets */
	struct clv_outlet outlet[];
};

#endif
