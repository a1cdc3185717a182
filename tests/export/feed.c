/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds synthetic spans to an exporter, as the engine would, and prints its figures as JSON. Their ids are numbers, so
 * that a collector can tell which it got. Takes its configuration from OTEL_* variables and from options:
 *
 *     feed [--otlp URL] [--spans N] [--first N] [--rate N] [--resources N] [--bytes N] [--spool DIR] [--spool-max N]
 *          [--memory N] [--flush-ms N] [--wait] [--metrics] [--progress] [--until-sent] [--linger-ms N] [--json]
 *          [--threads N]
 *
 * --progress: a line "spooled N" each time that more was written to the spool. --until-sent: waits for the collector
 * before the end. --json: http/json with a stand-in for the conversion. --threads: so many feed, each by parcels.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "export/otlp.h"

#define NS 1000000000ull

static volatile sig_atomic_t stop;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS + (uint64_t)t.tv_nsec;
}

static void sleep_ns(uint64_t ns)
{
	nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / NS), .tv_nsec = (long)(ns % NS)}, NULL);
}

struct feed {
	struct clv_otlp *otlp;
	struct clv_otlp_config config;
	uint64_t spans, first, rate, resources, bytes, flush_ms, linger_ms, threads;
	bool progress, until_sent, metrics, json;
	uint64_t spooled;
	struct clv_resource *resource;
	struct clv_span span;
	char name[65536];
};

/* As clv_resources would make them. */
static void feed_resources(struct feed *f)
{
	f->resource = calloc(f->resources, sizeof(*f->resource));
	for (uint32_t i = 0; i < f->resources; i++) {
		struct clv_resource *r = &f->resource[i];
		int n = snprintf(r->text, sizeof(r->text), "service.nameservice-%u", i);

		r->id = i + 1;
		r->count = 1;
		r->used = (size_t)n;
		r->attr[0].key = clv_slice(r->text, 12);
		r->attr[0].value = clv_slice(r->text + 12, (size_t)n - 12);
	}
}

static void feed_fill(const struct feed *f, uint64_t i, struct clv_span *span)
{
	uint64_t id = __builtin_bswap64(f->first + i);

	memcpy(span->span_id, &id, 8);
	memcpy(span->trace_id, &id, 8);
	memcpy(span->trace_id + 8, &id, 8);
	span->start_ns = span->end_ns = 1700000000000000000ull + i;
	span->resource = &f->resource[i % f->resources];
	span->method = span->name = clv_slice(f->name, f->bytes);
}

static void feed_one(struct feed *f, uint64_t i)
{
	feed_fill(f, i, &f->span);
	clv_otlp_span(f->otlp, &f->span);
}

/* One thread of several. */
struct feeder {
	const struct feed *feed;
	uint64_t number;
	pthread_t thread;
	struct clv_span span;
	struct clv_otlp_parcel parcel;
};

static void *feeder_run(void *arg)
{
	struct feeder *r = arg;
	const struct feed *f = r->feed;
	bool pressed;

	for (uint64_t i = r->number; i < f->spans; i += f->threads) {
		feed_fill(f, i, &r->span);
		clv_otlp_collect(f->otlp, &r->parcel, &r->span);
	}
	clv_otlp_put(f->otlp, &r->parcel, &pressed);
	clv_parcel_free(&r->parcel.parcel);
	return NULL;
}

static void feed_by_threads(struct feed *f)
{
	struct feeder *all = calloc(f->threads, sizeof(*all));

	for (uint64_t i = 0; i < f->threads; i++) {
		all[i].feed = f;
		all[i].number = i;
		pthread_create(&all[i].thread, NULL, feeder_run, &all[i]);
	}
	for (uint64_t i = 0; i < f->threads; i++)
		pthread_join(all[i].thread, NULL);
	free(all);
}

static void feed_tick(struct feed *f)
{
	clv_otlp_tick(f->otlp);
	uint64_t spooled = clv_otlp_figure(f->otlp, CLV_OTLP_export_spooled);
	if (f->progress && spooled != f->spooled) {
		printf("spooled %" PRIu64 "\n", spooled);
		fflush(stdout);
		f->spooled = spooled;
	}
}

static bool feed_settled(struct feed *f)
{
	return clv_otlp_figure(f->otlp, CLV_OTLP_export_waiting) == 0 &&
	       clv_otlp_figure(f->otlp, CLV_OTLP_export_sent) + clv_otlp_figure(f->otlp, CLV_OTLP_export_rejected) +
			       clv_otlp_figure(f->otlp, CLV_OTLP_drop_export_queue_full) +
			       clv_otlp_figure(f->otlp, CLV_OTLP_drop_export_budget) +
			       clv_otlp_figure(f->otlp, CLV_OTLP_drop_export_refused) >=
		       f->spans + clv_otlp_figure(f->otlp, CLV_OTLP_export_recovered);
}

static uint64_t feed_run(struct feed *f)
{
	uint64_t begin_ns = clock_ns(CLOCK_MONOTONIC), cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);

	if (f->threads)
		feed_by_threads(f);
	for (uint64_t i = 0; i < f->spans && !f->threads; i++) {
		while (f->rate && clock_ns(CLOCK_MONOTONIC) < begin_ns + i * NS / f->rate) {
			feed_tick(f);
			sleep_ns(1000000);
		}
		feed_one(f, i);
		if (i % 16 == 0)
			feed_tick(f);
	}
	cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_ns;
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + f->linger_ms * 1000000;
	while (clock_ns(CLOCK_MONOTONIC) < end_ns || (f->until_sent && !feed_settled(f))) {
		feed_tick(f);
		sleep_ns(1000000);
	}
	return cpu_ns;
}

static int feed_collect(void *ctx, char **data, size_t *len)
{
	*data = strdup("\n"); /* one ResourceMetrics without anything: 0x0a 0x00 */
	*len = 2;
	return 0;
}

static int feed_json(struct clv_slice message, enum clv_export_signal signal, char **out, size_t *len)
{
	char *room = malloc(2 * message.len + 16);
	struct clv_buf b = clv_buf(room, 2 * message.len + 16);

	if (!room)
		return -ENOMEM;
	clv_buf_lit(&b, "{\"hex\":\"");
	clv_buf_hex(&b, message.data, message.len);
	clv_buf_lit(&b, "\"}");
	*out = room;
	*len = b.len;
	return 0;
}

/* getrusage() would count what the parent had before exec. */
static unsigned long peak_rss_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kib = 0;
	char line[256];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lu", &kib) == 1)
			break;
	if (f)
		fclose(f);
	return kib;
}

static const struct option options[] = {{"otlp", 1, 0, 'o'},      {"spans", 1, 0, 'n'},     {"first", 1, 0, 'i'},
					{"rate", 1, 0, 'r'},      {"resources", 1, 0, 'R'}, {"bytes", 1, 0, 'b'},
					{"spool", 1, 0, 's'},     {"spool-max", 1, 0, 'S'}, {"memory", 1, 0, 'm'},
					{"flush-ms", 1, 0, 'f'},  {"wait", 0, 0, 'w'},      {"metrics", 0, 0, 'M'},
					{"progress", 0, 0, 'p'},  {"json", 0, 0, 'j'},      {"until-sent", 0, 0, 'u'},
					{"linger-ms", 1, 0, 'l'}, {"threads", 1, 0, 't'},   {0, 0, 0, 0}};

static int feed_options(struct feed *f, int argc, char **argv, const char **url)
{
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) >= 0;) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (c) {
		case 'o':
			*url = optarg;
			break;
		case 's':
			snprintf(f->config.spool, sizeof(f->config.spool), "%s", optarg);
			break;
		case 'w':
			f->config.wait = true;
			break;
		case 'M':
			f->metrics = true;
			break;
		case 'p':
			f->progress = true;
			break;
		case 'j':
			f->json = true;
			break;
		case 'u':
			f->until_sent = true;
			break;
		case '?':
			return -1;
		default:
			*(c == 'n'   ? &f->spans
			  : c == 'i' ? &f->first
			  : c == 'r' ? &f->rate
			  : c == 'R' ? &f->resources
			  : c == 'b' ? &f->bytes
			  : c == 'S' ? &f->config.spool_bytes
			  : c == 'm' ? &f->config.memory_bytes
			  : c == 'f' ? &f->flush_ms
			  : c == 't' ? &f->threads
				     : &f->linger_ms) = n;
		}
	}
	return 0;
}

static void feed_print(struct feed *f, uint64_t cpu_ns, uint64_t all_ns)
{
	struct clv_figure figures[CLV_OTLP_FIGURE_COUNT];

	clv_otlp_figures(f->otlp, figures);
	printf("{");
	for (int i = 0; i < CLV_OTLP_FIGURE_COUNT; i++)
		printf("\"%s\": %" PRIu64 ", ", figures[i].name, figures[i].value);
	printf("\"engine_ns\": %" PRIu64 ", \"cpu_ns\": %" PRIu64 ", \"max_rss_kib\": %lu}\n", cpu_ns, all_ns,
	       peak_rss_kib());
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct feed feed = {.spans = 1000, .first = 1, .resources = 3, .bytes = 100, .flush_ms = 10000};
	struct feed *f = &feed;
	const char *url = NULL;
	char why[512] = "";

	clv_otlp_config_init(&f->config);
	if (feed_options(f, argc, argv, &url))
		return 2;
	int err = clv_otlp_config_env(&f->config, why, sizeof(why));
	if (!err && url)
		err = clv_otlp_config_url(&f->config, url, why, sizeof(why));
	if (f->metrics)
		f->config.collect = feed_collect;
	if (f->json) {
		f->config.json = feed_json;
		f->config.target[CLV_EXPORT_TRACES].protocol = CLV_OTLP_HTTP_JSON;
	}
	f->config.stop = &stop;
	memset(f->name, 'n', sizeof(f->name));
	feed_resources(f);
	if (!err)
		err = clv_otlp_open(&f->config, why, sizeof(why), &f->otlp);
	if (err) {
		fprintf(stderr, "feed: %s\n", why);
		return 1;
	}
	uint64_t cpu_ns = feed_run(f), before_ns;
	clv_otlp_flush(f->otlp, f->flush_ms * 1000000);
	before_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	feed_print(f, cpu_ns, before_ns);
	clv_otlp_close(f->otlp);
	free(f->resource);
	return 0;
}
