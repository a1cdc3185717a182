/* SPDX-License-Identifier: Apache-2.0 */
/* Figures and quantiles of a run. Owns no source of them: run.c brings them before each report. Engine thread. */
#include "export/summary.h"

#include <errno.h>
#include <string.h>

#include "export/text.h"

/* These come first and are always there; other tools read them. */
static const char *const summary_first[] = {"packets", "bytes", "records", "record_bytes", "flows", "spans"};

#define FIRST_COUNT (sizeof(summary_first) / sizeof(*summary_first))

#define STEP_BITS 5

static size_t histogram_index(uint64_t v)
{
	if (v < 64)
		return (size_t)v;
	unsigned shift = 63u - (unsigned)__builtin_clzll(v) - STEP_BITS;
	return ((size_t)shift << STEP_BITS) + (size_t)(v >> shift);
}

/* The middle of a bucket. */
static uint64_t histogram_value(size_t index)
{
	if (index < 64)
		return index;
	unsigned shift = (unsigned)(index >> STEP_BITS) - 1;
	uint64_t least = (uint64_t)(index - ((size_t)shift << STEP_BITS)) << shift;
	return least + ((1ull << shift) - 1) / 2;
}

void clv_histogram_add(struct clv_histogram *h, uint64_t v)
{
	h->bucket[histogram_index(v)]++;
	h->count++;
	if (v > h->most)
		h->most = v;
}

uint64_t clv_histogram_quantile(const struct clv_histogram *h, double q)
{
	uint64_t rank = (uint64_t)(q * (double)h->count + 0.999), seen = 0;

	if (h->count == 0)
		return 0;
	for (size_t i = 0; i < CLV_HISTOGRAM_BUCKETS; i++) {
		seen += h->bucket[i];
		if (seen >= rank)
			return histogram_value(i) < h->most ? histogram_value(i) : h->most;
	}
	return h->most;
}

void clv_summary_span(struct clv_summary *s, const struct clv_span *span)
{
	s->requests++;
	if (span->status == CLV_STATUS_ERROR)
		s->errors++;
	if (span->first_ns && span->end_ns >= span->start_ns)
		clv_histogram_add(&s->latency_ns, span->end_ns - span->start_ns);
}

static void histogram_add_all(struct clv_histogram *h, const struct clv_histogram *more)
{
	for (size_t i = 0; i < CLV_HISTOGRAM_BUCKETS; i++)
		h->bucket[i] += more->bucket[i];
	h->count += more->count;
	h->most = more->most > h->most ? more->most : h->most;
}

void clv_summary_gather(struct clv_summary *s, const struct clv_summary *const *shown, size_t count)
{
	s->requests = s->errors = 0;
	memset(&s->latency_ns, 0, sizeof(s->latency_ns));
	for (size_t i = 0; i < count; i++) {
		s->requests += shown[i]->requests;
		s->errors += shown[i]->errors;
		histogram_add_all(&s->latency_ns, &shown[i]->latency_ns);
	}
}

void clv_summary_reset(struct clv_summary *s)
{
	s->count = 0;
}

static const struct clv_figure *summary_find(const struct clv_summary *s, const char *name)
{
	for (size_t i = 0; i < s->count; i++)
		if (strcmp(s->figure[i].name, name) == 0)
			return &s->figure[i];
	return NULL;
}

void clv_summary_set(struct clv_summary *s, struct clv_figure figure)
{
	if (figure.drop && strncmp(figure.name, "drop_", 5) == 0)
		figure.name += 5;
	if (s->count < CLV_SUMMARY_FIGURES && !summary_find(s, figure.name))
		s->figure[s->count++] = figure;
}

uint64_t clv_summary_get(const struct clv_summary *s, const char *name)
{
	const struct clv_figure *f = summary_find(s, name);

	return f ? f->value : 0;
}

static bool summary_is_first(const char *name)
{
	for (size_t i = 0; i < FIRST_COUNT; i++)
		if (strcmp(summary_first[i], name) == 0)
			return true;
	return false;
}

int clv_summary_json(const struct clv_summary *s, FILE *f)
{
	const char *comma = "";

	fputc('{', f);
	for (size_t i = 0; i < FIRST_COUNT; i++)
		fprintf(f, "\"%s\":%llu,", summary_first[i], (unsigned long long)clv_summary_get(s, summary_first[i]));
	fputs("\"drops\":{", f);
	for (size_t i = 0; i < s->count; i++) {
		if (!s->figure[i].drop)
			continue;
		fprintf(f, "%s\"%s\":%llu", comma, s->figure[i].name, (unsigned long long)s->figure[i].value);
		comma = ",";
	}
	fputc('}', f);
	for (size_t i = 0; i < s->count; i++)
		if (!s->figure[i].drop && !summary_is_first(s->figure[i].name))
			fprintf(f, ",\"%s\":%llu", s->figure[i].name, (unsigned long long)s->figure[i].value);
	fprintf(f, ",\"shown\":%llu,\"errors\":%llu", (unsigned long long)s->requests, (unsigned long long)s->errors);
	fprintf(f, ",\"latency_ns\":{\"p50\":%llu,\"p90\":%llu,\"p99\":%llu,\"max\":%llu}}\n",
		(unsigned long long)clv_histogram_quantile(&s->latency_ns, .5),
		(unsigned long long)clv_histogram_quantile(&s->latency_ns, .9),
		(unsigned long long)clv_histogram_quantile(&s->latency_ns, .99),
		(unsigned long long)s->latency_ns.most);
	return fflush(f) || ferror(f) ? -(errno ? errno : EIO) : 0;
}

/* "dropped: nothing", or each reason that is not 0. */
static void summary_drops(const struct clv_summary *s, FILE *f)
{
	bool any = false;

	fputs("dropped:", f);
	for (size_t i = 0; i < s->count; i++) {
		if (!s->figure[i].drop || s->figure[i].value == 0)
			continue;
		fprintf(f, "%s %s %llu", any ? "," : "", s->figure[i].name, (unsigned long long)s->figure[i].value);
		any = true;
	}
	fputs(any ? "\n" : " nothing\n", f);
}

void clv_summary_line(const struct clv_summary *s, FILE *f)
{
	char bytes[CLV_TEXT_DURATION];

	clv_text_bytes(bytes, clv_summary_get(s, "record_bytes"));
	fprintf(f, "clovisor: packets %llu, records %llu (%sB), flows %llu, spans %llu, ",
		(unsigned long long)clv_summary_get(s, "packets"), (unsigned long long)clv_summary_get(s, "records"),
		bytes, (unsigned long long)clv_summary_get(s, "flows"),
		(unsigned long long)clv_summary_get(s, "spans"));
	summary_drops(s, f);
}

void clv_summary_text(const struct clv_summary *s, FILE *f)
{
	char seen[CLV_TEXT_DURATION], read[CLV_TEXT_DURATION], p50[CLV_TEXT_DURATION], p99[CLV_TEXT_DURATION];

	clv_text_bytes(seen, clv_summary_get(s, "bytes"));
	clv_text_bytes(read, clv_summary_get(s, "record_bytes"));
	fprintf(f, "clovisor: packets %llu (%sB), records %llu (%sB), connections %llu, spans %llu\n",
		(unsigned long long)clv_summary_get(s, "packets"), seen,
		(unsigned long long)clv_summary_get(s, "records"), read,
		(unsigned long long)clv_summary_get(s, "flows"), (unsigned long long)clv_summary_get(s, "spans"));
	clv_text_duration(p50, clv_histogram_quantile(&s->latency_ns, .5));
	clv_text_duration(p99, clv_histogram_quantile(&s->latency_ns, .99));
	fprintf(f, "clovisor: requests %llu, errors %llu", (unsigned long long)s->requests,
		(unsigned long long)s->errors);
	if (s->latency_ns.count)
		fprintf(f, ", p50 %s, p99 %s", p50, p99);
	fputs("\nclovisor: ", f);
	summary_drops(s, f);
	for (size_t i = 0; i < s->count; i++)
		if (s->figure[i].drop && s->figure[i].value)
			fprintf(f, "clovisor:   %s: %s\n", s->figure[i].name, s->figure[i].text);
}
