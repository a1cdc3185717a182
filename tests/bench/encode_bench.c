/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What writing one usual span costs on one core: as a JSON line, as OTLP protobuf, and as OTLP/JSON made from that
 * (per span of a request of 512). Prints one line each, the best of some rounds; nothing is asserted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../laws/allocations.h"
#include "../unit/usual_span.h"
#include "export/json.h"
#include "export/otlp_encode.h"
#include "export/otlp_json.h"

#define ROUNDS    15
#define SPANS     100000u
#define BATCH     512u
#define TRANSCODE 40u /* requests a round */

static struct clv_span span;
static struct clv_json json;
static struct clv_otlp_json text;
static char *out;
static struct clv_slice request;

static size_t write_json(void)
{
	span.start_ns++;
	return clv_json_bound(&json, &span) ? clv_json_write(&json, &span, out) : 0;
}

static size_t write_otlp(void)
{
	span.start_ns++;
	return clv_otlp_span_bound(&span) ? clv_otlp_span_write(&span, out) : 0;
}

static size_t write_otlp_json(void)
{
	return clv_otlp_json_traces(&text, request) ? 0 : text.len;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* `spans` spans with each call. */
static void report(const char *name, size_t (*write)(void), unsigned calls, unsigned spans)
{
	size_t bytes = write();
	unsigned before = allocations;
	double best = 1e18;

	for (int round = 0; round < ROUNDS; round++) {
		double begin = now_ns();

		for (unsigned i = 0; i < calls; i++)
			if (write() < bytes / 2)
				abort();
		double ns = (now_ns() - begin) / calls / spans;
		best = ns < best ? ns : best;
	}
	printf("%-16s %5.0f ns/span %9.0f spans/s %5zu bytes/span %u allocations\n", name, best, 1e9 / best,
	       bytes / spans, allocations - before);
}

static void make_request(const struct clv_resource *r)
{
	static char encoded[8192], resource[8192];
	size_t len = clv_otlp_span_write(&span, encoded);
	char *buffer = malloc(CLV_OTLP_GROUP_BYTES + sizeof(resource) + BATCH * (len + CLV_OTLP_SPAN_BYTES)), *p;
	struct clv_otlp_group g;

	if (!buffer || clv_otlp_span_bound(&span) > sizeof(encoded) || clv_otlp_resource_bound(r) > sizeof(resource))
		abort();
	p = clv_otlp_group_begin(&g, buffer, clv_slice(resource, clv_otlp_resource_write(r, resource)));
	for (unsigned i = 0; i < BATCH; i++)
		p = clv_otlp_group_span(p, clv_slice(encoded, len));
	p = clv_otlp_group_end(&g, p);
	request = clv_slice(buffer, (size_t)(p - buffer));
}

int main(void)
{
	struct clv_resources *resources;

	if (clv_resources_new(CLV_LIT("shop"), NULL, 0, &resources))
		return 1;
	span = usual_span();
	span.resource = clv_resources_get(resources, 0);
	out = malloc(clv_json_bound(&json, &span) + clv_otlp_span_bound(&span));
	if (!out)
		return 1;
	make_request(span.resource);
	report("JSON lines", write_json, SPANS, 1);
	report("OTLP protobuf", write_otlp, SPANS, 1);
	report("OTLP/JSON", write_otlp_json, TRANSCODE, BATCH);
	clv_otlp_json_fini(&text);
	free((void *)request.data);
	free(out);
	clv_resources_free(resources);
	return 0;
}
